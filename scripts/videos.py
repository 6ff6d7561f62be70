"""Look at a stored video the way a doubtful person would: decode all of it and add up the bytes again."""

from __future__ import annotations

import hashlib
import urllib.parse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av


class BadVideo(RuntimeError):
    """The file is not there, does not decode or is not what the manifest says."""


@dataclass(frozen=True)
class Video:
    """What was found in the file."""

    path: Path
    size: int
    sha256: str
    frames: int
    duration: float
    width: int
    height: int


def check(entry: dict[str, Any]) -> Video:
    """Read the file of one manifest entry from the first byte to the last.

    :raises BadVideo: with what is wrong.
    """
    path = Path(urllib.parse.urlsplit(entry["uri"]).path)
    if not path.is_file():  # a blank in the path may be written as %20
        path = Path(urllib.parse.unquote(str(path)))
    if not path.is_file():
        raise BadVideo(f"The manifest names {entry['uri']}, but there is no such file.")
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if sha256 != entry["sha256"]:
        raise BadVideo(f"{path} has sha256 {sha256}, the manifest says {entry['sha256']}.")
    try:
        with av.open(path) as container:
            stream = container.streams.video[0]
            ends = [float((frame.pts + frame.duration) * frame.time_base) for frame in _frames(container)]
            width, height = stream.width, stream.height
    except (av.FFmpegError, IndexError) as error:
        raise BadVideo(f"{path} does not decode: {error}") from error
    if not ends:
        raise BadVideo(f"{path} has no frames.")
    return Video(path, path.stat().st_size, sha256, len(ends), max(ends), width, height)


def _frames(container: Any) -> Any:
    return container.decode(video=0)
