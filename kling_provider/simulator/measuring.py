"""How long a video or a sound is, and how large, read from the file itself."""

from __future__ import annotations

import io

import av
from av.error import FFmpegError


def measure(content: bytes) -> tuple[float, tuple[int, int] | None] | None:
    """Seconds, and width and height of a video; None for what is neither a video nor a sound.

    :param content: the file.
    """
    try:
        with av.open(io.BytesIO(content), "r") as container:
            if container.duration is None or not (container.streams.video or container.streams.audio):
                return None
            seconds = container.duration / av.time_base
            if not container.streams.video:
                return seconds, None
            shown = container.streams.video[0]
            return seconds, (shown.width, shown.height)
    except (FFmpegError, OSError, ValueError):
        return None
