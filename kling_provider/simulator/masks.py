"""Masks of what was marked: run lengths as COCO writes them, and a PNG."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from itertools import groupby
from typing import Any

from PIL import Image, ImageDraw

from kling_provider.simulator.sessions import Point

#: Radius of what a point marks, as a share of the shorter side.
RADIUS = 0.12


def mask_of(points: Iterable[Point], size: tuple[int, int], object_id: int = 0) -> dict[str, Any]:
    """The mask of the object at these points, as the selection calls tell it.

    :param points: as shares of width and height.
    :param size: width and height in pixels.
    """
    mask = Image.new("L", size)
    pen = ImageDraw.Draw(mask)
    radius = RADIUS * min(size)
    for x, y in points:
        at = (x * size[0], y * size[1])
        pen.ellipse((at[0] - radius, at[1] - radius, at[0] + radius, at[1] + radius), fill=255)
    png = io.BytesIO()
    mask.save(png, "PNG")
    return {
        "object_id": object_id,
        "rle_mask": {"size": list(size), "counts": run_lengths(mask)},
        "png_mask": {"size": list(size), "base64": base64.b64encode(png.getvalue()).decode("ascii")},
    }


def run_lengths(mask: Image.Image) -> str:
    """Lengths of the runs of 0 and 255 by turns, column after column, in COCO's compressed text."""
    columns = mask.transpose(Image.Transpose.TRANSPOSE).tobytes()
    counts = [0] if columns[0] else []
    counts += [sum(1 for _ in run) for _, run in groupby(columns)]
    text = []
    for number, count in enumerate(counts):
        value = count - counts[number - 2] if number > 2 else count
        while True:
            low, value = value & 31, value >> 5
            is_last = value == (-1 if low & 16 else 0)
            text.append(chr((low if is_last else low | 32) + 48))
            if is_last:
                break
    return "".join(text)
