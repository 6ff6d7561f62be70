"""Motion control: a picture that moves like the person in a video."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from kling_provider.api.requests.parts import (
    Default,
    ElementRef,
    Json,
    MediaUrl,
    ModelName,
    Picture,
    Prompt,
    WatermarkedRequest,
)


class MotionControlRequest(WatermarkedRequest):
    """A picture that moves like a video (``POST /v1/videos/motion-control``).

    The result is as long as the video: 3 to 30 s with ``character_orientation='video'``, else to 10 s.
    """

    model_name: ModelName | None = None
    image_url: Picture
    video_url: MediaUrl
    character_orientation: Literal["image", "video"]
    mode: Literal["std", "pro"]
    prompt: Prompt | None = None
    element_list: Annotated[list[ElementRef] | None, Json, Field(max_length=1)] = None
    keep_original_sound: Annotated[Literal["yes", "no"] | None, Default("yes")] = None
