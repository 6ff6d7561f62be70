"""Effects: a ready-made scene with one or two pictures."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from kling_provider.api.requests.parts import (
    Default,
    Inner,
    Json,
    Picture,
    WatermarkedRequest,
    WholeSeconds,
    exactly_one,
)

#: Scenes that Kling has taken away, and when. There are over 200 others, and they change.
RETIRED_SCENES: Mapping[str, str] = MappingProxyType(
    {
        "celebration": "2025-12-30",
        "c4d_cartoon": "2025-12-30",
        "kiss": "2026-01-30",
        "fight": "2026-01-30",
        "hug": "2026-01-30",
        "thumbs_up": "2026-01-30",
        "tiger_hug": "2026-01-30",
        "pet_lion": "2026-01-30",
        "3d_cartoon_1": "2026-01-30",
        "magic_match_tree": "2026-07-03",
    }
)


def _living_scene(value: str) -> str:
    if value in RETIRED_SCENES:
        raise ValueError(
            f"was retired by Kling on {RETIRED_SCENES[value]} and is refused; choose a scene of its current list"
        )
    return value


class EffectInput(Inner):
    """One picture, or two for scenes with two characters (the first one stands on the left).

    ``model_name``, ``mode`` and ``duration`` stand in older documents only.
    """

    image: Picture | None = None
    images: Annotated[list[Picture] | None, Json, Field(min_length=2, max_length=2)] = None
    model_name: Literal["kling-v1", "kling-v1-5", "kling-v1-6"] | None = None
    mode: Annotated[Literal["std", "pro"] | None, Default("std")] = None
    duration: Annotated[Literal["5", "10"] | None, WholeSeconds, Default("5")] = None

    @model_validator(mode="after")
    def _one_kind_of_pictures(self) -> Self:
        """Exactly one of ``image`` and ``images``; 10 s are for scenes with two images."""
        exactly_one(self, "image", "images")
        if self.image and self.duration == "10":
            raise ValueError("duration='10' is for scenes with two images; use '5', or leave it out")
        return self


class EffectsRequest(WatermarkedRequest):
    """A scene from Kling's list with your pictures in it (``POST /v1/videos/effects``)."""

    effect_scene: Annotated[str, AfterValidator(_living_scene)]
    input: Annotated[EffectInput, Json]
