"""Real MP4s: H.264, yuv420p, exactly the asked length, the picture visibly moving; AAC where it has a sound.

A camera slides over the picture, which is enlarged and converted to yuv420p once; each frame only copies
rows. 5 s at 720p take about a second on one core.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
from av.video.reformatter import ColorRange, Colorspace
from PIL import Image

from kling_provider.simulator import art
from kling_provider.simulator.film import Film, even
from kling_provider.simulator.music import write_track

#: How much larger than the frame the picture is; the camera slides over the rest.
ENLARGED = 1.15
#: The last part of a clip in which the picture fades into image_tail.
FADE_FROM = 0.55

LABEL = "Kling simulator"


def render(film: Film, target: Path) -> None:
    """Write the film to ``target``. The same film gives the same bytes."""
    first = _Canvas(_picture(film, film.picture), film.size)
    last = _Canvas(_picture(film, film.tail), film.size) if film.tail else None
    with av.open(str(target), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("h264", rate=film.fps, options={"preset": "ultrafast", "crf": "23"})
        stream.width, stream.height = film.size
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        context.thread_count = 1  # with more, the bytes depend on the machine
        context.colorspace, context.color_range = Colorspace.ITU709, ColorRange.MPEG
        context.color_primaries = context.color_trc = 1  # BT.709, as players assume for HD
        if film.sound:  # before the pictures: it waits for them in less memory than they for it
            write_track(container, film.sound, "aac")
        for number, frame in enumerate(_frames(film, first, last)):
            frame.pts = number
            frame.time_base = Fraction(1, film.fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


class _Canvas:
    """A picture larger than the frame, as three planes; :meth:`cut` copies out what the camera sees."""

    def __init__(self, picture: Image.Image, size: tuple[int, int]):
        width, height = (even(side * ENLARGED) for side in size)
        enlarged = _fill(picture, (width, height))
        art.label(enlarged, LABEL)
        whole: av.VideoFrame = av.VideoFrame.from_image(enlarged)  # type: ignore[no-untyped-call]
        frame = whole.reformat(
            format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
        )
        self._planes = [(memoryview(bytes(plane)), plane.line_size) for plane in frame.planes]
        self._room = (width - size[0], height - size[1])

    def cut(self, progress: float, heights: Sequence[int], widths: Sequence[int]) -> list[bytes]:
        """Rows of the three planes at ``progress`` (0 to 1) of the way."""
        x, y = (int(side * progress) // 2 * 2 for side in self._room)
        cuts = []
        for index, (plane, stride) in enumerate(self._planes):
            half = 1 if index == 0 else 2
            start = (y // half) * stride + x // half
            starts = range(start, start + heights[index] * stride, stride)
            cuts.append(b"".join([plane[at : at + widths[index]] for at in starts]))
        return cuts


def _frames(film: Film, first: _Canvas, last: _Canvas | None) -> Iterator[av.VideoFrame]:
    width, height = film.size
    heights, widths = (height, height // 2, height // 2), (width, width // 2, width // 2)
    for number in range(film.frames):
        progress = number / max(film.frames - 1, 1)
        share = max(0.0, (progress - FADE_FROM) / (1 - FADE_FROM)) if last else 0.0
        cuts = first.cut(progress, heights, widths) if share < 1 or last is None else []
        if last and share > 0:
            tails = last.cut(progress, heights, widths)
            cuts = [
                _mix(cut, tail, widths[index], heights[index], share)
                for index, (cut, tail) in enumerate(zip(cuts or tails, tails, strict=True))
            ]
        frame = av.VideoFrame(width, height, "yuv420p")
        for plane, cut, row in zip(frame.planes, cuts, widths, strict=True):
            plane.update(cut if plane.line_size == row else _pad(cut, row, plane.line_size))
        yield frame


def _mix(one: bytes, other: bytes, width: int, height: int, share: float) -> bytes:
    size = (width, height)
    return Image.blend(Image.frombytes("L", size, one), Image.frombytes("L", size, other), share).tobytes()


def _pad(rows: bytes, row: int, line_size: int) -> bytes:
    rest = bytes(line_size - row)
    return b"".join([rows[at : at + row] + rest for at in range(0, len(rows), row)])


def _picture(film: Film, file: str | None) -> Image.Image:
    if file is None:
        picture = art.picture_of_words(film.words, film.size)
    else:
        with Image.open(file) as opened:
            width, height = film.size
            opened.draft("RGB", (even(width * ENLARGED), even(height * ENLARGED)))  # a large JPEG, read small
            picture = opened.convert("RGB")
        if art.is_flat(picture):
            picture = art.enliven(picture)
    if film.watermark:
        art.watermark(picture)
    return picture


def _fill(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Scale to cover ``size``; what is over is cut off at both sides alike."""
    scale = max(size[0] / picture.width, size[1] / picture.height)
    over = (max(picture.width - size[0] / scale, 0.0), max(picture.height - size[1] / scale, 0.0))
    box = (over[0] / 2, over[1] / 2, picture.width - over[0] / 2, picture.height - over[1] / 2)
    return picture.resize(size, Image.Resampling.BICUBIC, box=box, reducing_gap=2.0)
