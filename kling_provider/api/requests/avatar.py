"""Avatars: a picture that speaks."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import model_validator

from kling_provider.api.requests.parts import (
    Default,
    Id,
    Picture,
    Prompt,
    Sound,
    WatermarkedRequest,
    exactly_one,
)


class AvatarRequest(WatermarkedRequest):
    """A picture of a person that speaks a sound of 2 to 300 s (``POST /v1/videos/avatar/image2video``).

    ``audio_id`` is a sound that text to speech made at most 30 days ago.
    """

    image: Picture
    audio_id: Id | None = None
    sound_file: Sound | None = None
    prompt: Prompt | None = None
    mode: Annotated[Literal["std", "pro"] | None, Default("std", is_sent=True)] = None

    @model_validator(mode="after")
    def _one_sound(self) -> Self:
        """Exactly one of ``audio_id`` and ``sound_file``."""
        exactly_one(self, "audio_id", "sound_file")
        return self
