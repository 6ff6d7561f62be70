"""Sounds: from a text, for a video, and speech."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from kling_provider.api.requests.parts import (
    Default,
    Id,
    KlingRequest,
    MediaUrl,
    OneDecimal,
    Speed,
    TaskRequest,
    exactly_one,
)

MAX_SPEECH = 1000

SoundPrompt = Annotated[str, Field(max_length=200)]


class TextToAudioRequest(TaskRequest):
    """A sound of 3 to 10 s from words (``POST /v1/audio/text-to-audio``)."""

    prompt: SoundPrompt
    duration: Annotated[float, Field(ge=3.0, le=10.0), OneDecimal]


class VideoToAudioRequest(TaskRequest):
    """Sound for a silent video of 3 to 20 s (``POST /v1/audio/video-to-audio``).

    ``video_id`` is a ``videos[].id`` of a result that is at most 30 days old.
    """

    video_id: Id | None = None
    video_url: MediaUrl | None = None
    sound_effect_prompt: SoundPrompt | None = None
    bgm_prompt: SoundPrompt | None = None
    asmr_mode: Annotated[bool | None, Default(False)] = None

    @model_validator(mode="after")
    def _one_video(self) -> Self:
        """Exactly one of ``video_id`` and ``video_url``."""
        exactly_one(self, "video_id", "video_url")
        return self


class TtsRequest(KlingRequest):
    """Speech (``POST /v1/audio/tts``), answered at once.

    ``voice_language`` has to be said: Kling's default is Chinese.
    """

    text: Annotated[str, Field(max_length=MAX_SPEECH)]
    voice_id: Id
    voice_language: Annotated[Literal["zh", "en"], Default("zh")]
    voice_speed: Annotated[Speed | None, Default(1.0)] = None
