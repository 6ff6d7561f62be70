"""A picture of 10 MB: noise, which no compression makes smaller."""

from __future__ import annotations

import random
from pathlib import Path

WIDTH, HEIGHT = 1800, 1900


def make_picture(path: Path) -> Path:
    """Write it to ``path``."""
    from PIL import Image

    pixels = random.Random(0).randbytes(WIDTH * HEIGHT * 3)  # noqa: S311 - a picture
    Image.frombytes("RGB", (WIDTH, HEIGHT), pixels).save(path, compress_level=0)
    return path
