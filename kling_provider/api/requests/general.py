"""What videos and pictures are made with: shots of an element, elements, voices."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from kling_provider.api.requests.parts import (
    Id,
    Inner,
    Json,
    KlingRequest,
    MediaUrl,
    Part,
    Picture,
    TaskRequest,
    exactly_one,
)

MAX_NAME = 20
MAX_DESCRIPTION = 100
MAX_VIEWS = 3

Name = Annotated[str, Field(max_length=MAX_NAME)]


class MultiShotRequest(TaskRequest):
    """An element from three more sides (``POST /v1/general/ai-multi-shot``)."""

    element_frontal_image: Picture


class View(Part):
    """The element from another side."""

    image_url: Picture


class ElementImages(Inner):
    """An element from the front, and 1 to 3 more views of it."""

    frontal_image: Picture
    refer_images: Annotated[list[View], Json, Field(min_length=1, max_length=MAX_VIEWS)]


class ElementVideo(Part):
    """A clip of the element: mp4 or mov, 3-8 s, 1080p, 16:9 or 9:16, up to 200 MB. By URL only."""

    video_url: MediaUrl


class ElementVideos(Inner):
    """The one clip an element can be made from."""

    refer_videos: Annotated[list[ElementVideo], Json, Field(max_length=1)]


class ElementTag(Part):
    """What kind of thing an element is."""

    tag_id: Literal["o_101", "o_102", "o_103", "o_104", "o_105", "o_106", "o_107", "o_108"]


class CustomElementRequest(TaskRequest):
    """An element of your own, from pictures or a clip (``POST /v1/general/advanced-custom-elements``)."""

    element_name: Name
    element_description: Annotated[str, Field(max_length=MAX_DESCRIPTION)]
    reference_type: Literal["video_refer", "image_refer"]
    element_image_list: Annotated[ElementImages | None, Json] = None
    element_video_list: Annotated[ElementVideos | None, Json] = None
    element_voice_id: Id | None = None
    tag_list: Annotated[list[ElementTag] | None, Json] = None

    @model_validator(mode="after")
    def _a_reference_of_its_kind(self) -> Self:
        """``image_refer`` needs ``element_image_list``, ``video_refer`` needs ``element_video_list``.

        ``element_voice_id`` is for elements of a video only.
        """
        kind = self.reference_type
        needed = "element_image_list" if kind == "image_refer" else "element_video_list"
        if getattr(self, needed) is None:
            raise ValueError(
                f"{needed} is required with reference_type={kind!r}: give it, or change the type"
            )
        if self.element_voice_id is not None and kind != "video_refer":
            raise ValueError(
                f"element_voice_id={self.element_voice_id!r} is for elements of a video only; use "
                "reference_type='video_refer', or leave it out"
            )
        return self


class DeleteElementRequest(KlingRequest):
    """Take an element of your own away (``POST /v1/general/delete-elements``)."""

    element_id: Id


class CustomVoiceRequest(TaskRequest):
    """A voice like the one in a recording of 5-30 s (``POST /v1/general/custom-voices``).

    ``voice_url`` is mp3, wav, mp4 or mov with one clean voice, by URL only; ``video_id`` a clip of kling-v2-6
    with sound, of an avatar or of a lip sync.
    """

    voice_name: Name
    voice_url: MediaUrl | None = None
    video_id: Id | None = None

    @model_validator(mode="after")
    def _one_recording(self) -> Self:
        """Exactly one of ``voice_url`` and ``video_id``."""
        exactly_one(self, "voice_url", "video_id")
        return self


class DeleteVoiceRequest(KlingRequest):
    """Take a voice of your own away (``POST /v1/general/delete-voices``)."""

    voice_id: Id
