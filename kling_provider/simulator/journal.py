"""What was asked and what was answered, without keys and without pictures."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from kling_provider.simulator.auth import kind_of

#: Longer strings in a body are shortened, and so are pictures of any length.
LONG = 4096
_PICTURES = ("iVBORw0KGgo", "/9j/")
#: So many requests are remembered.
REMEMBERED = 20_000
#: Kling's ids in a path.
_ID = re.compile(r"\d{6,}")


@dataclass(slots=True)
class Recorded:
    """One request.

    :param at: when it came, epoch seconds.
    :param method: HTTP method.
    :param path: path without query.
    :param query: query string.
    :param headers: lower-case names; Authorization only by its kind.
    :param body: the JSON body with pictures shortened, or the text, or None.
    :param status: HTTP status of the answer; None while there is none, and for a connection that was cut.
    :param code: Kling's code in the answer, if it had one.
    :param faults: kinds of the faults that met it.
    :param seconds: how long the answer took.
    """

    at: float
    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: Any
    status: int | None = None
    code: int | None = None
    faults: list[str] = field(default_factory=list)
    seconds: float | None = None


class Journal:
    """The last requests, oldest first, and how many there were in all."""

    def __init__(self) -> None:
        self.requests: deque[Recorded] = deque(maxlen=REMEMBERED)
        self.counts: Counter[str] = Counter()

    def write(
        self,
        at: float,
        method: str,
        path: str,
        query: str,
        headers: Iterable[tuple[bytes, bytes]],
        body: bytes,
    ) -> Recorded:
        """Note a request; the answer is filled in later."""
        told = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in headers}
        if "authorization" in told:
            told["authorization"] = kind_of(told["authorization"])
        record = Recorded(at, method, path, query, told, _shown(body))
        self.requests.append(record)
        self.counts[f"{method} {_ID.sub('{id}', path)}"] += 1
        return record


def _shown(body: bytes) -> Any:
    if not body:
        return None
    try:
        return _shorten(json.loads(body))
    except ValueError:
        return body[:LONG].decode("utf-8", "replace")


def _shorten(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _shorten(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_shorten(item) for item in value]
    if isinstance(value, str) and (len(value) > LONG or value.startswith(_PICTURES)):
        return _describe(value)
    return value


def _describe(value: str) -> str:
    try:
        content = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return f"{value[:32]}… ({len(value)} characters)"
    return f"<base64 of {len(content)} bytes, sha256 {hashlib.sha256(content).hexdigest()}>"
