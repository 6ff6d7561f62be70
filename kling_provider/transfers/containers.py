"""Say what a file is by its first bytes, and whether it is whole."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import BinaryIO

_BOX_HEADER = 8
_LONG_BOX_HEADER = 16


@dataclass(frozen=True, slots=True)
class MediaType:
    """A kind of file.

    :param mime: as in the manifest.
    :param extension: without dot.
    """

    mime: str
    extension: str


_MP4 = MediaType("video/mp4", "mp4")
_PNG = MediaType("image/png", "png")
_JPEG = MediaType("image/jpeg", "jpg")
_MP3 = MediaType("audio/mpeg", "mp3")
_WAV = MediaType("audio/wav", "wav")


class NotMedia(ValueError):
    """The file is not media, or not whole."""


def recognise(file: BinaryIO) -> MediaType:
    """Recognise a file and check that it is whole, as far as its container tells.

    :param file: open for reading; read from the start.
    :raises NotMedia: saying what it is instead.
    """
    file.seek(0)
    kind = by_first_bytes(file.read(16))
    if kind is _MP4:
        _check_boxes(file)
    return kind


def by_first_bytes(head: bytes) -> MediaType:
    """Recognise a file by how it begins, whether it is whole or not.

    :param head: its first 16 bytes.
    :raises NotMedia: saying what it is instead.
    """
    if head[4:8] == b"ftyp":
        return _MP4
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return _PNG
    if head.startswith(b"\xff\xd8\xff"):
        return _JPEG
    if head.startswith(b"RIFF") and head[8:12] == b"WAVE":
        return _WAV
    is_frame = head[:1] == b"\xff" and len(head) > 1 and head[1] & 0xE0 == 0xE0
    if head.startswith(b"ID3") or (is_frame and head[1] != 0xFE):  # FF FE begins a text in UTF-16
        return _MP3
    raise NotMedia(f"is not a video, picture or sound; it begins with {head!r}" if head else "is empty")


def _check_boxes(file: BinaryIO) -> None:
    """Walk the top-level boxes of an MP4: a file that was cut off ends inside one."""
    size = file.seek(0, os.SEEK_END)
    position = 0
    while position < size:
        file.seek(position)
        header = file.read(_LONG_BOX_HEADER)
        if len(header) < _BOX_HEADER:
            raise NotMedia(f"is an MP4 that is cut off after {size} bytes")
        if not header[4:8].isascii() or not header[4:8].decode().isprintable():
            return  # padding of some encoder; players stop here too
        length = int.from_bytes(header[:4], "big")
        if length == 1:
            length = int.from_bytes(header[8:16], "big")
        elif length == 0:  # to the end of the file
            return
        if length < _BOX_HEADER or position + length > size:
            raise NotMedia(f"is an MP4 that is cut off after {size} bytes")
        position += length
