"""Classic videos from a prompt, from frames, from several pictures, and their extension."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from kling_provider.api.requests.parts import (
    MAX_ELEMENTS,
    MAX_MASKS,
    MAX_VOICES,
    CameraControl,
    Default,
    DynamicMask,
    ElementRef,
    Guidance,
    Id,
    ImageItem,
    Json,
    ModelName,
    Picture,
    Prompt,
    Seconds,
    ShotsRequest,
    VideoRatio,
    VoiceRef,
    WatermarkedRequest,
    at_most_one,
    check_references,
)

#: Pictures of one multi-image video.
MAX_PICTURES = 4


class VideoRequest(ShotsRequest):
    """What text2video and image2video share."""

    negative_prompt: Prompt | None = None
    cfg_scale: Annotated[Guidance | None, Default(0.5)] = None
    camera_control: Annotated[CameraControl | None, Json] = None

    def given(self) -> dict[str, Any]:
        """The fields the caller gave; a preset's needless config is left out."""
        fields = super().given()
        camera = fields.get("camera_control")
        if camera and camera["type"] != "simple":
            camera.pop("config", None)
        return fields


class Text2VideoRequest(VideoRequest):
    """A video from a prompt (``POST /v1/videos/text2video``)."""

    aspect_ratio: Annotated[VideoRatio | None, Default("16:9")] = None

    @model_validator(mode="after")
    def _has_a_prompt(self) -> Self:
        """A prompt is required, unless the shots have their own."""
        self.need_a_prompt()
        return self


class Image2VideoRequest(VideoRequest):
    """A video from a first and/or last frame (``POST /v1/videos/image2video``)."""

    image: Picture | None = None
    image_tail: Picture | None = None
    static_mask: Picture | None = None
    dynamic_masks: Annotated[list[DynamicMask] | None, Json, Field(max_length=MAX_MASKS)] = None
    element_list: Annotated[list[ElementRef] | None, Json, Field(max_length=MAX_ELEMENTS)] = None
    voice_list: Annotated[list[VoiceRef] | None, Json, Field(max_length=MAX_VOICES)] = None

    @model_validator(mode="after")
    def _frames_and_exclusions(self) -> Self:
        """``image`` or ``image_tail`` is required.

        At most one of ``image_tail``, masks and ``camera_control``, and one of ``voice_list`` and ``element_list``.
        Voices need ``sound='on'``. ``multi_shot`` takes no pair of frames.
        """
        if not self.image and not self.image_tail:
            raise ValueError("image or image_tail is required: at least one frame as a path, URI or URL")
        at_most_one(
            {
                "image_tail": self.image_tail,
                "static_mask/dynamic_masks": self.static_mask or self.dynamic_masks,
                "camera_control": self.camera_control,
            }
        )
        at_most_one({"voice_list": self.voice_list, "element_list": self.element_list})
        if self.voice_list and self.sound != "on":
            raise ValueError(
                f"voice_list needs sound='on', but sound={self.sound or 'off'!r}; set sound='on', "
                "or leave voice_list out"
            )
        if self.multi_shot and self.image and self.image_tail:
            raise ValueError("multi_shot takes no pair of image and image_tail; leave image_tail out")
        return self

    @model_validator(mode="after")
    def _references_are_there(self) -> Self:
        """What the prompt refers to is there: ``<<<voice_1>>>``, ``<<<element_1>>>``."""
        fields = {"voice": "voice_list", "element": "element_list"}
        counts = {kind: (field, len(getattr(self, field) or ())) for kind, field in fields.items()}
        check_references(self.words(), counts)
        return self


class MultiImage2VideoRequest(WatermarkedRequest):
    """A video in which up to 4 pictures appear (``POST /v1/videos/multi-image2video``)."""

    model_name: ModelName | None = None
    image_list: Annotated[list[ImageItem], Json, Field(min_length=1, max_length=MAX_PICTURES)]
    prompt: Prompt
    negative_prompt: Prompt | None = None
    mode: Annotated[Literal["std", "pro"] | None, Default("std", is_sent=True)] = None
    duration: Annotated[Seconds | None, Default("5", is_sent=True)] = None
    aspect_ratio: Annotated[VideoRatio | None, Default("16:9")] = None


class VideoExtendRequest(WatermarkedRequest):
    """4 to 5 seconds more of a video (``POST /v1/videos/video-extend``).

    Only for clips of kling-v1, v1-5 and v1-6 that are at most 30 days old; model and mode follow the clip.
    """

    video_id: Id
    prompt: Prompt | None = None
    negative_prompt: Prompt | None = None
    cfg_scale: Annotated[Guidance | None, Default(0.5)] = None
