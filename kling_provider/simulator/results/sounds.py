"""Sounds: of words, for a video, and speech."""

from __future__ import annotations

from typing import Literal

from kling_provider.simulator.asked import Asked
from kling_provider.simulator.results import videos
from kling_provider.simulator.results.planned import At, OwnId, Planned
from kling_provider.simulator.tune import Tune

#: Characters that are spoken in a second.
CHARACTERS_A_SECOND = 12
SHORTEST_SPEECH = 1.0


def of_words(asked: Asked) -> list[Planned]:
    """text-to-audio: a sound of the asked length."""
    return [sound(asked.seconds(), asked.words)]


def for_a_video(asked: Asked) -> list[Planned]:
    """video-to-audio: the video with its sound, and the sound alone."""
    assert asked.clip is not None
    return [*videos.with_sound(asked), sound(asked.clip.seconds, asked.clip.shown)]


def speech(asked: Asked) -> list[Planned]:
    """tts: as long as it takes to say it."""
    speed = float(asked.body.get("voice_speed") or 1)
    seconds = round(max(len(asked.words) / CHARACTERS_A_SECOND / speed, SHORTEST_SPEECH), 1)
    told = {"id": OwnId(), "url": At(".mp3"), "duration": f"{seconds:.1f}"}
    return [Planned("audios", told, {".mp3": _tune(seconds, asked.words, "mp3")}, seconds)]


def sound(seconds: float, words: str) -> Planned:
    """A sound as a result, in both forms."""
    told = {
        "id": OwnId(),
        "url_mp3": At(".mp3"),
        "url_wav": At(".wav"),
        "duration_mp3": f"{seconds:.1f}",
        "duration_wav": f"{seconds:.1f}",
    }
    files = {".mp3": _tune(seconds, words, "mp3"), ".wav": _tune(seconds, words, "wav")}
    return Planned("audios", told, files, seconds)


def _tune(seconds: float, words: str, form: Literal["mp3", "wav"]) -> Tune:
    return Tune(seconds, words, form)
