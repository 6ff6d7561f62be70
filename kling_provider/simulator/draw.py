"""Real PNGs: of words, or of the picture that came in, each a little different."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageOps

from kling_provider.simulator import art
from kling_provider.simulator.still import Still

LABEL = "Kling simulator"
#: How much of its pattern a varied picture shows.
_VARIED = 0.18


def draw(still: Still, target: Path) -> None:
    """Write the picture to ``target``. The same picture gives the same bytes."""
    picture = _of_words(still) if still.picture is None else _of_picture(still, still.picture)
    if still.inset:
        _put_in(picture, still.inset)
    if still.marked:
        picture = _mark(picture, still.marked)
    if still.watermark:
        art.watermark(picture)
    art.label(picture, LABEL)
    picture.save(target, "PNG", compress_level=1)


def _of_words(still: Still) -> Image.Image:
    seed = f"{still.words} {still.variant}" if still.variant else still.words
    picture = art.pattern(seed, still.size)
    art.caption(picture, still.words)
    return picture


def _of_picture(still: Still, file: str) -> Image.Image:
    left, up, right, down = still.margins
    with Image.open(file) as opened:
        source = opened.convert("RGB")
    width, height = still.size
    inner = (round(width / (1 + left + right)), round(height / (1 + up + down)))
    picture = ImageOps.fit(source, inner, Image.Resampling.BICUBIC)
    if any(still.margins):
        around = ImageOps.fit(source, still.size).filter(ImageFilter.GaussianBlur(max(still.size) // 40))
        around.paste(picture, (round(left * inner[0]), round(up * inner[1])))
        picture = around
    varied = Image.blend(picture, art.pattern(f"{still.words} {still.variant}", still.size), _VARIED)
    return varied if not any(still.margins) else _keep_inside(varied, picture, still, inner)


def _keep_inside(
    varied: Image.Image, picture: Image.Image, still: Still, inner: tuple[int, int]
) -> Image.Image:
    """What was there before an expansion stays as it was."""
    left, up, _, _ = still.margins
    at = (round(left * inner[0]), round(up * inner[1]))
    box = (*at, min(at[0] + inner[0], picture.width), min(at[1] + inner[1], picture.height))
    varied.paste(picture.crop(box), at)
    return varied


def _put_in(picture: Image.Image, file: str) -> None:
    """The second picture on the chest of the first."""
    with Image.open(file) as opened:
        inset = ImageOps.contain(opened.convert("RGB"), (picture.width // 3, picture.height // 3))
    picture.paste(inset, ((picture.width - inset.width) // 2, int(picture.height * 0.4)))


def _mark(picture: Image.Image, share: tuple[float, float, float, float]) -> Image.Image:
    """All but the marked part is darkened, as segmentations are shown."""
    width, height = picture.size
    mask = Image.new("L", picture.size)
    box = (share[0] * width, share[1] * height, share[2] * width, share[3] * height)
    ImageDraw.Draw(mask).ellipse(box, fill=255)
    return Image.composite(picture, ImageEnhance.Brightness(picture).enhance(0.25), mask)
