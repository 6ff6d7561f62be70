"""What a picture shows, as a value. The room next door, ``draw``, makes it."""

from __future__ import annotations

from dataclasses import dataclass

#: Pixels of a picture of each resolution: as many as a square of this side has.
SIDES = {"1k": 1024, "2k": 2048, "4k": 4096}


@dataclass(frozen=True, slots=True)
class Still:
    """What a picture shows.

    :param size: width and height in pixels.
    :param words: drawn where there is no picture, and what tells two pictures apart.
    :param picture: file it is made from, or None.
    :param margins: share of the picture's width (left, right) and height (up, down) that is added around it, in
        the order left, up, right, down.
    :param inset: file of a second picture that is put into it, or None.
    :param variant: pictures of one request differ by this.
    :param marked: share of the picture that is marked, as left, top, right, bottom; or None.
    :param watermark: whether it says so in large letters.
    """

    size: tuple[int, int]
    words: str = ""
    picture: str | None = None
    margins: tuple[float, float, float, float] = (0, 0, 0, 0)
    inset: str | None = None
    variant: int = 0
    marked: tuple[float, float, float, float] | None = None
    watermark: bool = False


def still_size(ratio: float, resolution: str) -> tuple[int, int]:
    """Width and height of a picture of that ratio (width / height) and resolution."""
    side = SIDES[resolution]
    return max(round(side * ratio**0.5), 1), max(round(side / ratio**0.5), 1)
