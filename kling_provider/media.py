"""Pictures and sounds: from a URL, a path, an object-storage URI or bytes to what the API takes."""

from __future__ import annotations

import io
import os
import re
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kling_provider.api.endpoints import Endpoint
from kling_provider.api.errors import InvalidRequest, shorten, show
from kling_provider.api.gateways import PictureLimits, SoundLimits
from kling_provider.api.places import change_each
from kling_provider.transfers.containers import NotMedia, recognise

_PASSED_THROUGH = re.compile(r"(https?|ftp)://", re.IGNORECASE)
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_LOCAL_URI = re.compile(r"(file|local)://", re.IGNORECASE)  # fsspec knows both names
_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"

#: Pictures scaled by hand rarely agree to the last pixel.
_RATIO_TOLERANCE = 0.01


class MediaUnavailable(Exception):
    """The storage of a picture or a sound does not answer now; a retry may find it."""


@dataclass(frozen=True, slots=True)
class _Size:
    field: str
    width: int
    height: int

    @property
    def ratio(self) -> float:
        return self.width / self.height


def load_media(
    request: Mapping[str, Any],
    endpoint: Endpoint,
    pictures: PictureLimits,
    sounds: SoundLimits,
    roots: Sequence[str] = (),
) -> dict[str, Any]:
    """Return a copy of ``request`` in which every picture and sound is a URL to pass on or the bytes of the file.

    :param request: checked fields; never changed.
    :param endpoint: says which fields take pictures and sounds.
    :param pictures: what the gateway takes.
    :param sounds: what the gateway takes.
    :param roots: folders and URIs that files may come from; empty allows all.
    :raises InvalidRequest: naming field, source, rule and way out.
    :raises MediaUnavailable: if object storage does not answer now.
    """
    sizes: list[_Size] = []

    def measure(label: str, shown: str, data: bytes) -> None:
        sizes.append(_check(label, shown, data, pictures))

    def picture(source: Any, label: str) -> Any:
        return _load(source, label, pictures.max_bytes, roots, measure)

    def sound(source: Any, label: str) -> Any:
        return _load(source, label, sounds.max_bytes, roots, _check_sound)

    loaded = change_each(request, endpoint.pictures, picture)
    _check_masks(sizes)
    return change_each(loaded, endpoint.sounds, sound)


def _load(
    source: Any, label: str, most: int, roots: Sequence[str], check: Callable[[str, str, bytes], None]
) -> Any:
    if isinstance(source, str) and _PASSED_THROUGH.match(source):
        return source
    is_data = isinstance(source, bytes | bytearray)
    data = bytes(source) if is_data else _read(label, source, most, roots)
    shown = f"<{len(data)} bytes>" if is_data else shorten(source)
    if len(data) > most:
        raise InvalidRequest(
            f"{label}={shown!r} is larger than {most / 2**20:g} MB. Make it smaller, or give a URL."
        )
    check(label, shown, data)
    return data


def _read(field: str, source: str, most: int, roots: Sequence[str]) -> bytes:
    try:
        read = _read_uri if _URI.match(source) else _read_file
        return read(field, source, most, roots)
    except InvalidRequest:
        raise
    except FileNotFoundError:
        raise InvalidRequest(
            f"{field}={show(source)}: there is no such file on this worker. Give a path the worker "
            "sees, an object-storage URI or a URL."
        )
    except Exception as error:
        is_remote = bool(_URI.match(source)) and not _local(source)
        if is_remote and not isinstance(error, PermissionError | ValueError | ImportError):
            raise MediaUnavailable(f"{field}={show(source)} cannot be read now: {shorten(error)}.")
        if not isinstance(error, OSError | ValueError | ImportError):
            raise
        raise InvalidRequest(f"{field}={show(source)} cannot be read: {shorten(error)}.")


def _read_file(field: str, source: str, most: int, roots: Sequence[str]) -> bytes:
    real = os.path.realpath(os.path.expanduser(source))
    folders = [os.path.realpath(os.path.expanduser(_local(root))) for root in roots if _local(root)]
    if roots and not any(os.path.commonpath((real, folder)) == folder for folder in folders):
        raise _outside(field, source, roots)
    # Not a plain open(): on a named pipe it would wait for a writer for ever.
    with open(real, "rb", opener=lambda path, flags: os.open(path, flags | os.O_NONBLOCK)) as file:
        about = os.fstat(file.fileno())
        if not stat.S_ISREG(about.st_mode):
            raise InvalidRequest(f"{field}={show(source)} is not a regular file. Give the file itself.")
        data = file.read(min(about.st_size, most) + 1)  # not most + 1, which is allocated before it is read
        if len(data) > about.st_size:  # it has grown, or it is of /proc, where no size is told
            data += file.read(most + 1 - len(data))
        return data


def _read_uri(field: str, source: str, most: int, roots: Sequence[str]) -> bytes:
    if _local(source):
        return _read_file(field, _local(source), most, roots)
    uris = [root.rstrip("/") + "/" for root in roots if not _local(root)]
    if roots and (".." in source.split("/") or not source.startswith(tuple(uris))):
        raise _outside(field, source, roots)
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    with ObjectStoragePath(source).open("rb") as file:
        return bytes(file.read(most + 1))


def _local(source: str) -> str:
    """The path of a local source, or an empty string for another URI."""
    local = _LOCAL_URI.match(source)
    if local:
        return source[local.end() :]
    return "" if _URI.match(source) else source


def _outside(field: str, source: str, roots: Sequence[str]) -> InvalidRequest:
    return InvalidRequest(
        f"{field}={show(source)} lies outside the connection's media_roots ({', '.join(roots)}). Put the "
        "file there, or add its folder to media_roots."
    )


def _check(field: str, source: str, data: bytes, limits: PictureLimits) -> _Size:
    def refuse(rule: str) -> InvalidRequest:
        return InvalidRequest(f"{field}={source!r} {rule}")

    if not data:
        raise refuse("is empty. Give a jpg or png picture.")
    if not data.startswith((_PNG, _JPEG)):
        raise refuse("is not a jpg or png picture, whatever its name says. Convert it.")
    import imagesize  # here, because importing an operator must stay cheap

    try:
        width, height = imagesize.get(io.BytesIO(data))
    except ValueError:  # imagesize 1; imagesize 2 says -1
        width = height = -1
    if width <= 0 or height <= 0 or not _is_whole(data):
        raise refuse("is a damaged or cut-off picture. Make it anew.")
    if min(width, height) < limits.min_side:
        raise refuse(
            f"is {width}x{height} pixels; every side must be at least {limits.min_side}. Enlarge it."
        )
    if not limits.min_ratio <= width / height <= limits.max_ratio:
        raise refuse(
            f"is {width}x{height} pixels; width:height must be between 1:{1 / limits.min_ratio:g} and "
            f"{limits.max_ratio:g}:1. Crop it."
        )
    return _Size(field, int(width), int(height))


def _check_sound(field: str, source: str, data: bytes) -> None:
    is_sound = (
        data.startswith((b"ID3", b"RIFF"))
        or data[4:8] == b"ftyp"
        or (data[:1] == b"\xff" and data[1:2] >= b"\xe0")
    )
    if not is_sound:
        raise InvalidRequest(
            f"{field}={source!r} is not an mp3, wav, m4a or aac file, whatever its name says. Convert it."
        )


def _is_whole(data: bytes) -> bool:
    try:
        recognise(io.BytesIO(data))
    except NotMedia:
        return False
    return True


def _check_masks(sizes: Sequence[_Size]) -> None:
    """Kling takes masks that do not fit, and fails the task later."""
    masks = [size for size in sizes if "mask" in size.field]
    image = next((size for size in sizes if size.field == "image"), None)
    for mask in masks:
        if (mask.width, mask.height) != (masks[0].width, masks[0].height):
            raise InvalidRequest(
                f"{mask.field} is {mask.width}x{mask.height} pixels, but {masks[0].field} is "
                f"{masks[0].width}x{masks[0].height}; all masks need one size. Scale them alike."
            )
        if image and abs(mask.ratio / image.ratio - 1) > _RATIO_TOLERANCE:
            raise InvalidRequest(
                f"{mask.field} is {mask.width}x{mask.height} pixels, but image is {image.width}x{image.height}; "
                "a mask needs the picture's ratio. Scale or crop it."
            )
