"""Lip sync: find the faces of a video, then make one of them speak."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from kling_provider.api.requests.parts import (
    CallbackRequest,
    Default,
    Id,
    Inner,
    Json,
    KlingRequest,
    OneVideo,
    Sound,
    Speed,
    WatermarkedRequest,
    WebAddress,
    exactly_one,
)

#: Shortest piece of sound that is used, in milliseconds.
MIN_SOUND_MS = 2000
MAX_SPOKEN_TEXT = 120

Volume = Annotated[float, Field(ge=0, le=2)]


class IdentifyFaceRequest(OneVideo, KlingRequest):
    """Find the faces of a video of 2 to 60 s (``POST /v1/videos/identify-face``).

    ``video_id`` is a ``videos[].id`` of a result that is at most 30 days old.
    """


class FaceChoice(Inner):
    """Which face speaks, what, and when; times in milliseconds.

    The piece of sound from ``sound_start_time`` to ``sound_end_time`` is put at ``sound_insert_time`` of the
    video, where it has to meet the face for at least 2 s.
    """

    face_id: Id
    audio_id: Id | None = None
    sound_file: Sound | None = None
    sound_start_time: int
    sound_end_time: int
    sound_insert_time: int
    sound_volume: Annotated[Volume | None, Default(1)] = None
    original_audio_volume: Annotated[Volume | None, Default(1)] = None

    @model_validator(mode="after")
    def _one_sound_of_some_length(self) -> Self:
        """Exactly one of ``audio_id`` and ``sound_file``, of which at least 2 s are used."""
        exactly_one(self, "audio_id", "sound_file")
        length = self.sound_end_time - self.sound_start_time
        if length < MIN_SOUND_MS:
            raise ValueError(
                f"sound_start_time={self.sound_start_time} and sound_end_time={self.sound_end_time} leave {length} ms: "
                f"use at least {MIN_SOUND_MS} ms of the sound; times are in milliseconds"
            )
        return self


class AdvancedLipSyncRequest(WatermarkedRequest):
    """A face of identify-face speaks (``POST /v1/videos/advanced-lip-sync``)."""

    session_id: Id
    face_choose: Annotated[list[FaceChoice], Json, Field(min_length=1, max_length=1)]


class LipSyncInput(OneVideo, Inner):
    """A video, and a text to be spoken or a sound.

    ``text2video`` speaks ``text`` with ``voice_id``; ``audio2video`` takes a sound, of ``audio_type`` ``file`` or
    ``url``.
    """

    mode: Literal["text2video", "audio2video"]
    text: Annotated[str | None, Field(max_length=MAX_SPOKEN_TEXT)] = None
    voice_id: Id | None = None
    voice_language: Annotated[Literal["zh", "en"] | None, Default("zh")] = None
    voice_speed: Annotated[Speed | None, Default(1.0)] = None
    audio_type: Literal["file", "url"] | None = None
    audio_file: Sound | None = None
    audio_url: WebAddress | None = None

    @model_validator(mode="after")
    def _a_mode_has_its_own_fields(self) -> Self:
        """``text2video`` needs ``text`` and ``voice_id``.

        ``audio2video`` needs ``audio_type``, and the ``audio_file`` or ``audio_url`` that it names.
        """
        if self.mode == "text2video":
            needed, foreign = ["text", "voice_id"], ["audio_type", "audio_file", "audio_url"]
        elif self.audio_type == "url":
            needed, foreign = ["audio_url"], ["text", "audio_file"]
        else:
            needed, foreign = ["audio_type", "audio_file"], ["text", "audio_url"]
        for name in needed:
            if getattr(self, name) is None:
                raise ValueError(f"{name} is required with {self._which}: give it")
        for name in foreign:
            if getattr(self, name) is not None:
                raise ValueError(f"{name} is not for {self._which}; leave it out, or change the mode")
        return self

    @property
    def _which(self) -> str:
        kind = f" and audio_type={self.audio_type!r}" if self.audio_type else ""
        return f"mode={self.mode!r}{kind if self.mode == 'audio2video' else ''}"


class LipSyncRequest(CallbackRequest):
    """The older lip sync (``POST /v1/videos/lip-sync``); Kling recommends advanced-lip-sync instead."""

    input: Annotated[LipSyncInput, Json]
