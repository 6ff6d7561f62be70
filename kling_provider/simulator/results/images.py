"""Pictures: of words, of the picture that came in, larger, worn, cut into parts, from other sides."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from PIL import Image

from kling_provider.simulator import art
from kling_provider.simulator.asked import Asked
from kling_provider.simulator.pictures import Picture
from kling_provider.simulator.results.planned import At, Planned
from kling_provider.simulator.still import Still, still_size

DEFAULT_SERIES = 4
#: Views of an element that ai-multi-shot makes.
VIEWS = 3
#: What image-recognize looks for, and where it usually is: left, top, right, bottom.
SEGMENTS = {
    "object_seg": (0.2, 0.1, 0.8, 0.95),
    "head_seg": (0.35, 0.08, 0.65, 0.42),
    "face_seg": (0.4, 0.14, 0.6, 0.38),
    "cloth_seg": (0.28, 0.4, 0.72, 0.85),
}


def of_words_and_pictures(asked: Asked) -> list[Planned]:
    """images/generations, omni-image, multi-image2image, try-on."""
    sources = asked.pictures_at(("human_image", "image", "image_list*", "subject_image_list*", "scene_image"))
    leading = next(iter(sources), None)
    is_series = asked.body.get("result_type") == "series"
    still = Still(
        size=_size(asked, leading),
        words=_words(asked, leading),
        picture=leading.file if leading else None,
        inset=_file(asked.picture("cloth_image", "style_image")),
    )
    return _images(asked, still, "series_images" if is_series else "images")


def larger(asked: Asked) -> list[Planned]:
    """images/editing/expand: the picture, and more around it."""
    picture = asked.picture("image")
    left, up, right, down = (
        float(asked.body.get(f"{side}_expansion_ratio") or 0) for side in ("left", "up", "right", "down")
    )
    width, height = (picture.size if picture else None) or (1024, 768)
    still = Still(
        size=(round(width * (1 + left + right)), round(height * (1 + up + down))),
        words=_words(asked, picture),
        picture=_file(picture),
        margins=(left, up, right, down),
    )
    return _images(asked, still, "images")


def other_sides(asked: Asked) -> list[Planned]:
    """ai-multi-shot: the element from three more sides."""
    picture = asked.picture("element_frontal_image")
    still = Still(_size(asked, picture), words=_words(asked, picture), picture=_file(picture))
    names = [f"-{number}.png" for number in range(1, VIEWS + 1)]
    told = {"index": 0, **{f"url_{number}": At(name) for number, name in enumerate(names, 1)}}
    return [Planned("images", told, {name: replace(still, variant=n) for n, name in enumerate(names)})]


def parts(asked: Asked) -> list[Planned]:
    """image-recognize: what is in the picture, part by part; there is nothing in a flat one."""
    picture = asked.picture("image")
    if _is_empty(picture):
        return [Planned("images", {"type": kind, "is_contain": False, "url": ""}) for kind in SEGMENTS]
    size = (picture.size if picture else None) or (1024, 1024)
    still = Still(size, words=_words(asked, picture), picture=_file(picture))
    return [
        Planned(
            "images",
            {"type": kind, "is_contain": True, "url": At(".png")},
            {".png": replace(still, marked=place)},
        )
        for kind, place in SEGMENTS.items()
    ]


def _is_empty(picture: Picture | None) -> bool:
    if picture is None or picture.file is None:
        return False
    with Image.open(picture.file) as opened:
        return art.is_flat(opened.convert("RGB"))


def _images(asked: Asked, still: Still, list_name: str) -> list[Planned]:
    made = []
    for number in range(_count(asked)):
        one = replace(still, variant=number)
        told: dict[str, Any] = {"index": number, "url": At(".png"), "watermark_url": ""}
        files = {".png": one}
        if asked.has_watermark:
            told["watermark_url"] = At("-watermark.png")
            files["-watermark.png"] = replace(one, watermark=True)
        made.append(Planned(list_name, told, files))
    return made


def _count(asked: Asked) -> int:
    if asked.body.get("result_type") != "series":
        return int(asked.body.get("n") or 1)
    amount = asked.body.get("series_amount") or DEFAULT_SERIES
    return DEFAULT_SERIES if amount == "auto" else int(amount)


def _size(asked: Asked, leading: Picture | None) -> tuple[int, int]:
    quality = asked.quality if asked.quality in ("1k", "2k", "4k") else "1k"
    return still_size(asked.ratio(leading, default=1.0 if asked.picture("*") else 16 / 9), quality)


def _words(asked: Asked, leading: Picture | None) -> str:
    unseen = leading.url if leading and leading.file is None else None
    return str(asked.words or unseen or asked.endpoint.name)


def _file(picture: Picture | None) -> str | None:
    return picture.file if picture else None
