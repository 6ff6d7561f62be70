"""Say what a file is by its first bytes, and whether it is whole."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import BinaryIO

_BOX_HEADER = 8
_LONG_BOX_HEADER = 16
_READ_BYTES = 64 * 1024
#: Encoders that write into a pipe do not know how long a WAV will be, and write 0, or 2 or 4 GB.
_UNKNOWN_WAV_BYTES = 0x7FFFF000


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
    size = file.seek(0, os.SEEK_END)
    is_whole = _IS_WHOLE.get(kind)
    if is_whole and not is_whole(file, size):
        raise NotMedia(f"is {_NAMES[kind]} that is cut off after {size} bytes")
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


def _mp4_is_whole(file: BinaryIO, size: int) -> bool:
    """Walk the top-level boxes: a file that was cut off ends inside one."""
    position = 0
    while position < size:
        file.seek(position)
        header = file.read(_LONG_BOX_HEADER)
        if len(header) < _BOX_HEADER:
            return False
        if not header[4:8].isascii() or not header[4:8].decode().isprintable():
            return True  # padding of some encoder; players stop here too
        length = int.from_bytes(header[:4], "big")
        if length == 1:
            length = int.from_bytes(header[8:16], "big")
        elif length == 0:  # to the end of the file
            return True
        if length < _BOX_HEADER or position + length > size:
            return False
        position += length
    return True


def _png_is_whole(file: BinaryIO, size: int) -> bool:
    """Walk the chunks to the last one; what some programs append to it does no harm."""
    position = 8
    while position < size:
        file.seek(position)
        header = file.read(8)
        position += 12 + int.from_bytes(header[:4], "big")  # with type and checksum
        if header[4:] == b"IEND":
            return position <= size
    return False


def _jpeg_is_whole(file: BinaryIO, size: int) -> bool:
    """Walk to the picture's own data and look for its end; a preview before that has an end too."""
    position = 2
    while position < size:
        file.seek(position)
        marker = file.read(4)
        if marker[:2] == b"\xff\xff":  # a fill byte before a marker
            position += 1
        elif marker[:2] == b"\xff\xda":  # the data starts; only its end looks like ff d9 in it
            return _holds(file, b"\xff\xd9")
        elif marker[:1] == b"\xff":
            position += 2 + int.from_bytes(marker[2:], "big")
        else:
            return False
    return False


def _holds(file: BinaryIO, wanted: bytes) -> bool:
    before = b""
    while part := file.read(_READ_BYTES):
        if wanted in before + part:
            return True
        before = part[1 - len(wanted) :]
    return False


def _wav_is_whole(file: BinaryIO, size: int) -> bool:
    """Compare with the length it tells; some encoders count the eight bytes before it too."""
    file.seek(4)
    told = int.from_bytes(file.read(4), "little")
    return told <= size or told >= _UNKNOWN_WAV_BYTES


_IS_WHOLE: Mapping[MediaType, Callable[[BinaryIO, int], bool]] = {
    _MP4: _mp4_is_whole,
    _PNG: _png_is_whole,
    _JPEG: _jpeg_is_whole,
    _WAV: _wav_is_whole,
}
_NAMES: Mapping[MediaType, str] = {_MP4: "an MP4", _PNG: "a PNG", _JPEG: "a JPEG", _WAV: "a WAV"}
