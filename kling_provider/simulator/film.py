"""What a video shows, as a value. The room next door, ``render``, makes it."""

from __future__ import annotations

from dataclasses import dataclass

from kling_provider.simulator.tune import Tune


@dataclass(frozen=True, slots=True)
class Film:
    """What a video shows.

    :param size: width and height in pixels, both even.
    :param seconds: length.
    :param fps: frames per second.
    :param picture: file of the first frame, or None to draw ``words``.
    :param tail: file of the last frame, or None.
    :param words: drawn where there is no picture.
    :param watermark: whether it says so in large letters.
    :param sound: what is heard, or None for a silent film.
    """

    size: tuple[int, int]
    seconds: float
    fps: int
    picture: str | None = None
    tail: str | None = None
    words: str = ""
    watermark: bool = False
    sound: Tune | None = None

    @property
    def frames(self) -> int:
        """How many frames it has."""
        return max(round(self.seconds * self.fps), 1)


def frame_size(ratio: float, shorter_side: int) -> tuple[int, int]:
    """Width and height for a picture of that ratio (width / height), both even."""
    if ratio >= 1:
        return even(shorter_side * ratio), even(shorter_side)
    return even(shorter_side), even(shorter_side / ratio)


def even(value: float) -> int:
    """The nearest even number of pixels, as yuv420p needs it; at least two."""
    return max(round(value / 2) * 2, 2)
