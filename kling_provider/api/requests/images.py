"""Pictures: from words, from pictures, larger ones, try-on, and what is in one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from kling_provider.api.requests.parts import (
    MAX_IMAGES,
    Count,
    Default,
    ElementRef,
    Guidance,
    ImageItem,
    ImageRatio,
    Json,
    KlingRequest,
    ModelName,
    Part,
    Picture,
    Prompt,
    TaskRequest,
    WatermarkedRequest,
    at_most_one,
)

#: Pictures and elements together that a picture can be made from.
MAX_SOURCES = 10
MAX_SUBJECTS = 4
#: The larger picture may have so many times the area of the original.
MAX_EXPANSION = 3


def _refuse_too_many(images: int, elements: int, where: str) -> None:
    if images + elements > MAX_SOURCES:
        raise ValueError(
            f"{where} and element_list have {images} and {elements} items: at most {MAX_SOURCES} together; "
            "leave some out"
        )


class ImageGenerationRequest(WatermarkedRequest):
    """1 to 9 pictures from words, and from a picture or elements (``POST /v1/images/generations``)."""

    model_name: ModelName | None = None
    prompt: Prompt
    negative_prompt: Prompt | None = None
    image: Picture | None = None
    image_reference: Literal["subject", "face"] | None = None
    image_fidelity: Annotated[Guidance | None, Default(0.5)] = None
    human_fidelity: Annotated[Guidance | None, Default(0.45)] = None
    element_list: Annotated[list[ElementRef] | None, Json] = None
    resolution: Annotated[Literal["1k", "2k"] | None, Default("1k", is_sent=True)] = None
    n: Annotated[Count | None, Default(1, is_sent=True)] = None
    aspect_ratio: Annotated[ImageRatio | None, Default("16:9")] = None

    @model_validator(mode="after")
    def _sources_go_together(self) -> Self:
        """At most 10 pictures and elements together.

        ``negative_prompt`` does not go with ``image``; ``human_fidelity`` needs ``image_reference='subject'``.
        """
        at_most_one({"negative_prompt": self.negative_prompt, "image": self.image})
        if self.human_fidelity is not None and self.image_reference != "subject":
            raise ValueError(
                f"human_fidelity={self.human_fidelity} needs image_reference='subject'; set it, or leave "
                "human_fidelity out"
            )
        _refuse_too_many(1 if self.image else 0, len(self.element_list or []), "image")
        return self


def _amount(value: object) -> object:
    if value == "auto":
        return value
    if isinstance(value, str) and value.strip().isdigit():
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 2 <= value <= MAX_IMAGES:
        raise ValueError(f"is neither a number from 2 to {MAX_IMAGES} nor 'auto'; use one of these")
    return value


class OmniImageRequest(WatermarkedRequest):
    """1 to 9 pictures, or a series of 2 to 9, from words and references (``POST /v1/images/omni-image``)."""

    model_name: ModelName | None = None
    prompt: Prompt
    image_list: Annotated[list[ImageItem] | None, Json, Field(max_length=MAX_SOURCES)] = None
    element_list: Annotated[list[ElementRef] | None, Json] = None
    resolution: Annotated[Literal["1k", "2k", "4k"] | None, Default("1k", is_sent=True)] = None
    result_type: Annotated[Literal["single", "series"] | None, Default("single")] = None
    n: Annotated[Count | None, Default(1, is_sent=True)] = None
    series_amount: Annotated[
        Annotated[int, Field(ge=2, le=MAX_IMAGES)] | Literal["auto"] | None,
        BeforeValidator(_amount),
        Default(4, is_sent=True),
    ] = None
    aspect_ratio: Annotated[Literal[ImageRatio, "auto"] | None, Default("auto")] = None

    @classmethod
    def ignored(cls, fields: Mapping[str, Any]) -> Mapping[str, str]:
        """One picture and a series are counted by different fields."""
        if fields.get("result_type") == "series":
            return {"n": "with result_type='series'; use series_amount"}
        return {"series_amount": "with result_type='single'; use n, or result_type='series'"}

    @model_validator(mode="after")
    def _sources_go_together(self) -> Self:
        """At most 10 pictures and elements together."""
        _refuse_too_many(len(self.image_list or []), len(self.element_list or []), "image_list")
        return self


class Subject(Part):
    """A picture of what is to be in the new one."""

    subject_image: Picture


class MultiImage2ImageRequest(WatermarkedRequest):
    """A picture from up to 4 subjects, a scene and a style (``POST /v1/images/multi-image2image``)."""

    model_name: ModelName | None = None
    subject_image_list: Annotated[list[Subject], Json, Field(min_length=1, max_length=MAX_SUBJECTS)]
    scene_image: Picture | None = None
    style_image: Picture | None = None
    prompt: Prompt | None = None
    n: Annotated[Count | None, Default(1, is_sent=True)] = None
    aspect_ratio: Annotated[ImageRatio | None, Default("16:9")] = None


Growth = Annotated[float, Field(ge=0, le=2)]


class ImageExpandRequest(WatermarkedRequest):
    """A picture with more around it (``POST /v1/images/editing/expand``).

    Each ratio is a share of the picture's height (up, down) or width (left, right) that is added.
    """

    image: Picture
    up_expansion_ratio: Growth
    down_expansion_ratio: Growth
    left_expansion_ratio: Growth
    right_expansion_ratio: Growth
    prompt: Prompt | None = None
    n: Annotated[Count | None, Default(1, is_sent=True)] = None

    @model_validator(mode="after")
    def _not_too_large(self) -> Self:
        """The larger picture has at most 3 times the area of the original."""
        up, down = self.up_expansion_ratio, self.down_expansion_ratio
        left, right = self.left_expansion_ratio, self.right_expansion_ratio
        area = (1 + up + down) * (1 + left + right)
        if area > MAX_EXPANSION + 1e-9:  # 0.2 + 0.3 is more than 0.5
            raise ValueError(
                f"up, down, left and right_expansion_ratio={up:g}, {down:g}, {left:g}, {right:g} make the picture "
                f"{area:.2f} times as large: at most {MAX_EXPANSION} times; make them smaller"
            )
        return self


class VirtualTryOnRequest(TaskRequest):
    """A person wears a piece of clothing (``POST /v1/images/kolors-virtual-try-on``)."""

    model_name: ModelName | None = None
    human_image: Picture
    cloth_image: Picture


class ImageRecognizeRequest(KlingRequest):
    """The parts of a picture: object, head, face, clothes (``POST /v1/videos/image-recognize``), at once."""

    image: Picture
