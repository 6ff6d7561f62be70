"""Sounds: from a text, for a video, and speech."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from kling_provider.api.requests.parts import (
    Default,
    Id,
    KlingRequest,
    OneDecimal,
    OneVideo,
    Speed,
    TaskRequest,
    Words,
)

MAX_SPEECH = 1000

SoundPrompt = Annotated[str, Field(max_length=200), Words]


class TextToAudioRequest(TaskRequest):
    """A sound of 3 to 10 s from words (``POST /v1/audio/text-to-audio``)."""

    prompt: SoundPrompt
    duration: Annotated[float, Field(ge=3.0, le=10.0), OneDecimal]


class VideoToAudioRequest(OneVideo, TaskRequest):
    """Sound for a silent video of 3 to 20 s (``POST /v1/audio/video-to-audio``).

    ``video_id`` is a ``videos[].id`` of a result that is at most 30 days old.
    """

    sound_effect_prompt: SoundPrompt | None = None
    bgm_prompt: SoundPrompt | None = None
    asmr_mode: Annotated[bool | None, Default(False)] = None


class TtsRequest(KlingRequest):
    """Speech (``POST /v1/audio/tts``), answered at once.

    ``voice_language`` has to be said: Kling's default is Chinese.
    """

    text: Annotated[str, Field(max_length=MAX_SPEECH), Words]
    voice_id: Id
    voice_language: Annotated[Literal["zh", "en"], Default("zh")]
    voice_speed: Annotated[Speed | None, Default(1.0)] = None
