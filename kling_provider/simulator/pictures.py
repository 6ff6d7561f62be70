"""Pictures as they arrive: raw base64 or an address, held against Kling's limits."""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import ipaddress
import urllib.error
import urllib.request
from dataclasses import dataclass
from http.client import HTTPMessage
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from PIL import Image, UnidentifiedImageError

from kling_provider.api.gateways import PictureLimits
from kling_provider.simulator.refusals import NOT_BASE64, WRONG_PICTURE, Refusal

FETCH_SECONDS = 5
_ADDRESSES = ("http", "https", "ftp")


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture that was accepted.

    :param size: width and height, None for one that was not fetched.
    :param file: where it is kept, None for one that was not fetched.
    :param url: its address, if it came as one.
    :param content: the bytes that came in the request, if they did.
    """

    size: tuple[int, int] | None
    file: str | None
    url: str | None = None
    content: bytes | None = None

    @property
    def ratio(self) -> float:
        """Width / height; 16:9 where nobody knows."""
        return self.size[0] / self.size[1] if self.size else 16 / 9


def read_picture(value: object, field: str, limits: PictureLimits, folder: Path) -> Picture:
    """Accept a picture field.

    :param value: what the request says.
    :param field: its name, for the refusal.
    :param limits: the gateway's limits.
    :param folder: where pictures are kept, by content.
    :raises Refusal: 1201.
    """
    if not isinstance(value, str):
        raise Refusal(1201, f"{field} is not a string")
    scheme = urlsplit(value[:2000]).scheme.lower() if "://" in value[:16] else ""
    if scheme in _ADDRESSES:
        if scheme == "ftp" or not is_loopback(value):
            return Picture(None, None, url=value)
        content = fetch(value, field, limits.max_bytes)
        return Picture(_check(content, limits), _keep(content, folder), url=value)
    try:
        content = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise Refusal(1201, NOT_BASE64) from None
    return Picture(_check(content, limits), _keep(content, folder), content=content)


def is_loopback(url: str) -> bool:
    """Whether an address is on this machine."""
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _check(content: bytes, limits: PictureLimits) -> tuple[int, int]:
    if len(content) > limits.max_bytes:
        raise Refusal(1201, f"The size of the input image exceeds {limits.max_bytes // 1024**2}MB")
    try:
        with Image.open(io.BytesIO(content), formats=("JPEG", "PNG")) as picture:
            width, height = picture.size
            if (
                min(width, height) < limits.min_side
                or not limits.min_ratio <= width / height <= limits.max_ratio
            ):
                raise Refusal(1201, WRONG_PICTURE)
            picture.load()  # finds what is cut off
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError):
        raise Refusal(1201, NOT_BASE64) from None
    return width, height


def _keep(content: bytes, folder: Path) -> str:
    file = folder / hashlib.sha256(content).hexdigest()
    if not file.exists():
        file.write_bytes(content)
    return str(file)


class _StayHere(urllib.request.HTTPRedirectHandler):
    """A picture on this machine must not send us to another one."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> None:
        return None


#: Asks this machine directly: no proxy, no redirect.
LOCAL = urllib.request.build_opener(urllib.request.ProxyHandler({}), _StayHere())


def fetch(url: str, field: str, limit: int) -> bytes:
    """Fetch a file from this machine; one byte more than the limit shows that it is too large.

    :raises Refusal: 1201.
    """
    try:
        with LOCAL.open(url, timeout=FETCH_SECONDS) as answer:
            return bytes(answer.read(limit + 1))
    except (OSError, ValueError, urllib.error.URLError):
        raise Refusal(1201, f"Failed to download {field}") from None
