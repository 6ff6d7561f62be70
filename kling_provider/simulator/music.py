"""Real MP3s and WAVs: a melody of the asked length, the same for the same words."""

from __future__ import annotations

import hashlib
import math
import random
import sys
import wave
from array import array
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Literal

import av
from av.container import OutputContainer

from kling_provider.simulator.tune import Tune

RATE = 44_100
NOTE_SECONDS = 0.25
#: Frequencies of two octaves of a pentatonic scale: no two of its notes sound wrong together.
SCALE = tuple(220 * 2 ** (step / 12) for step in (0, 2, 4, 7, 9, 12, 14, 16, 19, 21))
_LOUDNESS = 9000
_BYTES = 2
#: Samples handed over at once.
_PIECE = 1024


def play(tune: Tune, target: Path) -> None:
    """Write the tune to ``target``. The same tune gives the same bytes."""
    if tune.form == "wav":
        with wave.open(str(target), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(_BYTES)
            file.setframerate(RATE)
            file.writeframes(samples_of(tune))
        return
    with av.open(str(target), "w", format="mp3") as container:
        write_track(container, tune, "libmp3lame")


def write_track(container: OutputContainer, tune: Tune, codec: Literal["aac", "libmp3lame"]) -> None:
    """Give a file a sound track, the last of its tracks, and write all of it."""
    stream = container.add_stream(codec, rate=RATE, layout="mono")
    for frame in _frames(samples_of(tune)):
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def samples_of(tune: Tune) -> bytes:
    """16-bit samples, mono."""
    dice = random.Random(hashlib.sha256(tune.words.encode()).digest())  # noqa: S311 - music, not a secret
    wanted = round(tune.seconds * RATE) * _BYTES
    notes = math.ceil(tune.seconds / NOTE_SECONDS)
    return b"".join(_note(dice.randrange(len(SCALE))) for _ in range(notes))[:wanted]


@cache
def _note(number: int) -> bytes:
    """One note that fades in and out, so that nothing clicks."""
    count = int(RATE * NOTE_SECONDS)
    step = 2 * math.pi * SCALE[number] / RATE
    values = array(
        "h",
        (int(_LOUDNESS * math.sin(step * at) * math.sin(math.pi * at / count) ** 0.5) for at in range(count)),
    )
    if sys.byteorder == "big":
        values.byteswap()
    return values.tobytes()


def _frames(samples: bytes) -> Iterator[av.AudioFrame]:
    for at in range(0, len(samples), _PIECE * _BYTES):
        piece = samples[at : at + _PIECE * _BYTES]
        frame = av.AudioFrame(format="s16", layout="mono", samples=len(piece) // _BYTES)
        frame.sample_rate = RATE
        frame.pts = at // _BYTES
        plane = frame.planes[0]
        plane.update(piece + bytes(plane.buffer_size - len(piece)))
        yield frame
