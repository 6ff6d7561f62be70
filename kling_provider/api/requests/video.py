"""Classic videos from a prompt or from frames: text2video, image2video."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from kling_provider.api.capabilities import DEFAULT_DURATION
from kling_provider.api.requests.parts import (
    MAX_ELEMENTS,
    MAX_MASKS,
    MAX_PROMPT,
    MAX_SHOTS,
    MAX_VOICES,
    CameraControl,
    DynamicMask,
    ElementRef,
    Json,
    Picture,
    Seconds,
    Shot,
    VoiceRef,
    WatermarkedRequest,
)


class VideoRequest(WatermarkedRequest):
    """What text2video and image2video share."""

    model_name: Annotated[str | None, Field(pattern=r"^[A-Za-z0-9._-]{1,80}$")] = None
    prompt: Annotated[str | None, Field(max_length=MAX_PROMPT)] = None
    negative_prompt: Annotated[str | None, Field(max_length=MAX_PROMPT)] = None
    mode: Literal["std", "pro", "4k"] | None = None
    duration: Seconds | None = None
    sound: Literal["on", "off"] | None = None
    cfg_scale: Annotated[float | None, Field(ge=0, le=1)] = None
    camera_control: Annotated[CameraControl | None, Json] = None
    multi_shot: bool | None = None
    shot_type: Literal["customize", "intelligence"] | None = None
    multi_prompt: Annotated[list[Shot] | None, Json, Field(min_length=1, max_length=MAX_SHOTS)] = None

    @model_validator(mode="after")
    def _multi_shot_is_whole(self) -> Self:
        if not self.multi_shot:
            if self.multi_prompt or self.shot_type:
                raise ValueError("shot_type and multi_prompt only work with multi_shot=true; set it")
            return self
        if self.shot_type is None:
            raise ValueError("multi_shot=true needs shot_type: 'customize' or 'intelligence'")
        if self.shot_type == "intelligence" and not self.prompt:
            raise ValueError("shot_type='intelligence' needs prompt: Kling cuts it into shots itself")
        if self.shot_type == "customize":
            self._check_shots()
        return self

    def _check_shots(self) -> None:
        if not self.multi_prompt:
            raise ValueError(
                f"shot_type='customize' needs multi_prompt: 1 to {MAX_SHOTS} shots of index, prompt, duration"
            )
        total = sum(int(shot.duration) for shot in self.multi_prompt)
        if total != int(self.duration or DEFAULT_DURATION):
            raise ValueError(
                f"multi_prompt lasts {total} s in all, but duration={self.duration or DEFAULT_DURATION!r}; "
                "make the shots add up to duration"
            )


class Text2VideoRequest(VideoRequest):
    """A video from a prompt (``POST /v1/videos/text2video``)."""

    aspect_ratio: Literal["16:9", "9:16", "1:1"] | None = None

    @model_validator(mode="after")
    def _has_a_prompt(self) -> Self:
        if not self.prompt and self.shot_type != "customize":
            raise ValueError("prompt is required: say what the video shows")
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
        if not self.image and not self.image_tail:
            raise ValueError("image or image_tail is required: at least one frame as a path, URI or URL")
        kinds = {
            "image_tail": bool(self.image_tail),
            "static_mask/dynamic_masks": bool(self.static_mask or self.dynamic_masks),
            "camera_control": self.camera_control is not None,
        }
        chosen = [name for name, is_set in kinds.items() if is_set]
        if len(chosen) > 1:
            raise ValueError(f"{' and '.join(chosen)} exclude each other; keep one of them")
        if self.voice_list and self.element_list:
            raise ValueError("voice_list and element_list exclude each other; keep one of them")
        if self.voice_list and self.sound != "on":
            raise ValueError("voice_list needs sound='on'")
        if self.multi_shot and self.image and self.image_tail:
            raise ValueError("multi_shot takes no pair of image and image_tail; leave image_tail out")
        return self
