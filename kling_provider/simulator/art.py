"""Pictures made from words: what a prompt, or a picture nobody fetched, looks like."""

from __future__ import annotations

import hashlib
import random
import textwrap

from PIL import Image, ImageDraw, ImageFont, ImageOps, ImageStat

Colour = tuple[int, int, int]

#: Below this spread of grey levels a picture has nothing in it that could be seen moving.
FLAT = 6.0

#: Tried in turn for words; the font that comes with Pillow has no Chinese.
_FONTS = ("NotoSansCJK-Regular.ttc", "wqy-zenhei.ttc", "PingFang.ttc", "msyh.ttc", "DejaVuSans.ttf")


def picture_of_words(words: str, size: tuple[int, int]) -> Image.Image:
    """Draw an abstract picture from the hash of ``words``, with the words written on it."""
    picture = pattern(words, size)
    caption(picture, words)
    return picture


def pattern(seed: str, size: tuple[int, int]) -> Image.Image:
    """Draw an abstract picture; the same seed gives the same picture."""
    # Drawn small and enlarged: soft shapes do not need the pixels.
    small = (max(size[0] // 4, 16), max(size[1] // 4, 16))
    dice = random.Random(hashlib.sha256(seed.encode()).digest())  # noqa: S311 - a picture, not a secret
    dark, light = _colour(dice, 0.15, 0.4), _colour(dice, 0.6, 0.95)
    slope = Image.linear_gradient("L").rotate(dice.uniform(-40, 40), resample=Image.Resampling.BILINEAR)
    # The middle only: turning leaves the corners black.
    picture = ImageOps.colorize(slope.crop((58, 58, 198, 198)).resize(small), dark, light)
    for _ in range(9):
        radius = int(min(small) * dice.uniform(0.15, 0.55))
        glow = Image.radial_gradient("L").point(_glow).resize((radius * 2, radius * 2))
        centre = (dice.randrange(small[0]) - radius, dice.randrange(small[1]) - radius)
        picture.paste(_colour(dice, 0.35, 1.0), centre, glow)
    return picture.resize(size, Image.Resampling.BICUBIC)


def is_flat(picture: Image.Image) -> bool:
    """Whether a picture is so even that nobody could see it move."""
    return max(ImageStat.Stat(picture.resize((64, 64))).stddev) < FLAT


def enliven(picture: Image.Image) -> Image.Image:
    """Lay a soft pattern over a flat picture, so that there is something to see moving."""
    return Image.blend(picture, pattern("light", picture.size), 0.25)


def caption(picture: Image.Image, words: str) -> None:
    """Write words across the middle of the picture, in place."""
    _write(picture, words, share=0.055, at=0.5)


def label(picture: Image.Image, words: str) -> None:
    """Write a small label into the lower part of the picture, in place."""
    _write(picture, words, share=0.025, at=0.8)


def watermark(picture: Image.Image) -> None:
    """Write what a watermarked copy says into the middle of the picture, in place."""
    _write(picture, "KlingAI (simulated)", share=0.09, at=0.3)


def _write(picture: Image.Image, words: str, share: float, at: float) -> None:
    width, height = picture.size
    font = _font(max(int(height * share), 10))
    per_line = max(int(width * 0.7 / (height * share * 0.55)), 8)
    text = "\n".join(textwrap.wrap(" ".join(words.split()), per_line)[:6]) or "…"
    draw = ImageDraw.Draw(picture)
    draw.multiline_text(
        (width // 2, int(height * at)),
        text,
        font=font,
        anchor="mm",
        align="center",
        fill=(255, 255, 255),
        stroke_width=max(int(height * share / 14), 1),
        stroke_fill=(20, 20, 20),
    )


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    for name in _FONTS:
        try:
            return ImageFont.truetype(name, size)
        except OSError:
            continue
    return ImageFont.load_default(size)


def _glow(distance: int) -> int:
    """Strong in the middle, nothing from the nearest edge on (Pillow's gradient is 255 in the corner)."""
    return max(0, int(210 * (1 - distance / 178)))


def _colour(dice: random.Random, low: float, high: float) -> Colour:
    return (
        int(255 * dice.uniform(low, high)),
        int(255 * dice.uniform(low, high)),
        int(255 * dice.uniform(low, high)),
    )
