"""Sounds and videos as they arrive: raw base64 or an address, held against Kling's limits."""

from __future__ import annotations

import base64
import binascii
from urllib.parse import urlsplit

from kling_provider.api.gateways import SoundLimits
from kling_provider.simulator.asked import Clip, Heard
from kling_provider.simulator.measuring import measure
from kling_provider.simulator.pictures import fetch, is_loopback
from kling_provider.simulator.refusals import NOT_BASE64, Refusal

MAX_VIDEO_BYTES = 200 * 1024 * 1024
#: How mp3, wav and m4a or aac begin. An m4a names its kind after four bytes.
_BEGINNINGS = (b"ID3", b"\xff\xfb", b"\xff\xf3", b"\xff\xf2", b"\xff\xf1", b"\xff\xf9", b"RIFF")
WRONG_SOUND = "The format of the input audio is invalid: mp3, wav, m4a or aac"


def read_sound(value: object, field: str, limits: SoundLimits) -> tuple[object, Heard]:
    """Accept a sound field.

    :param value: what the request says.
    :param field: its name, for the refusal.
    :param limits: the gateway's limits.
    :returns: the address or the bytes, and how long it is.
    :raises Refusal: 1201.
    """
    if not isinstance(value, str):
        raise Refusal(1201, f"{field} is not a string")
    if _is_address(value):
        if not is_loopback(value):
            return value, Heard()
        return value, _heard(fetch(value, field, limits.max_bytes), limits)
    try:
        content = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise Refusal(1201, NOT_BASE64) from None
    return content, _heard(content, limits)


def read_clip(url: str, field: str) -> Clip:
    """What is known of a video at an address: nothing, unless it is on this machine.

    :raises Refusal: 1201.
    """
    if not is_loopback(url):
        return Clip(url)
    content = fetch(url, field, MAX_VIDEO_BYTES)
    measured = measure(content)
    if measured is None or measured[1] is None:
        raise Refusal(1201, f"{field} is not a video")
    return Clip(url, measured[0], measured[1], is_seen=True)


def _heard(content: bytes, limits: SoundLimits) -> Heard:
    if len(content) > limits.max_bytes:
        raise Refusal(1201, f"The size of the input audio exceeds {limits.max_bytes // 1024**2}MB")
    measured = measure(content) if content.startswith(_BEGINNINGS) or content[4:8] == b"ftyp" else None
    if measured is None:
        raise Refusal(1201, WRONG_SOUND)
    return Heard(measured[0], is_heard=True)


def _is_address(value: str) -> bool:
    return "://" in value[:16] and urlsplit(value[:2000]).scheme.lower() in ("http", "https")
