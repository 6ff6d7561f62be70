"""Read an HTTP answer as Kling's envelope, whatever really came back."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import Any
from urllib.parse import urlsplit

from kling_provider.api.errors import ApiFailure, Failure, Reaction, reaction_for, shorten

#: No answer of Kling's comes near it: a page of 500 tasks has about 1 MB.
MAX_ANSWER_BYTES = 16 * 1024 * 1024
#: Read at a time. A packed answer may become a thousand times as large, before it is known to be too much.
ANSWER_CHUNK_BYTES = 16 * 1024
_NUMBER = re.compile(r"-?[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer, without its client library.

    :param status: HTTP status.
    :param body: the whole body.
    :param retry_after: the header of that name.
    :param location: the header of that name.
    """

    status: int
    body: bytes
    retry_after: str | None = None
    location: str | None = None


class Body:
    """Collects the body of an answer while it comes in; what sends gigabytes must not fill this machine's memory.

    :param status: HTTP status of the answer.
    """

    def __init__(self, status: int):
        self._status = status
        self._data = bytearray()

    def add(self, chunk: bytes) -> None:
        """Take the next part, unpacked.

        :raises ApiFailure: if it is more than :data:`MAX_ANSWER_BYTES` in all.
        """
        self._data += chunk
        if len(self._data) > MAX_ANSWER_BYTES:
            text = (
                f"more than {MAX_ANSWER_BYTES // 1024**2} MiB where Kling's JSON was due; the rest was not read. Check "
                f"the connection's host. It begins: {shorten(bytes(self._data[:400]).decode(errors='replace'))}"
            )
            raise ApiFailure(Failure(Reaction.UNREADABLE, text, None, self._status))

    def __bytes__(self) -> bytes:
        return bytes(self._data)


@dataclass(frozen=True, slots=True)
class Envelope:
    """A successful answer: ``code`` was 0.

    :param data: what was asked for.
    :param request_id: Kling's id of this answer.
    """

    data: Any
    request_id: str | None


def read_envelope(reply: Reply, now: float) -> Envelope:
    """Return what a successful answer holds.

    :param reply: the HTTP answer.
    :param now: epoch seconds, for a Retry-After that is a date.
    :raises ApiFailure: for everything that is not ``code`` 0 with ``data``.
    """
    retry_after = seconds_from(reply.retry_after, now)
    if 300 <= reply.status < 400:
        raise ApiFailure(
            Failure(
                Reaction.BAD_REQUEST, _redirect_text(reply.location), None, reply.status, None, retry_after
            )
        )
    answer = _parse(reply)
    if not isinstance(answer, Mapping):
        reaction = reaction_for(None, reply.status, "")
        if reaction not in (Reaction.RATE, Reaction.AUTH):
            reaction = Reaction.UNREADABLE
        raise ApiFailure(Failure(reaction, _describe_body(reply), None, reply.status, None, retry_after))
    code = _code(answer.get("code"))
    request_id = str(answer["request_id"]) if answer.get("request_id") else None
    if code == 0 and reply.status < 400:
        if answer.get("data") is None:
            raise ApiFailure(
                Failure(
                    Reaction.UNREADABLE,
                    f"code 0 without data: {shorten(reply.body.decode(errors='replace'))}",
                    0,
                    reply.status,
                    request_id,
                )
            )
        return Envelope(answer["data"], request_id)
    if code is None and reply.status < 400:
        text = f"JSON without Kling's code: {shorten(reply.body.decode(errors='replace'))}"
        raise ApiFailure(Failure(Reaction.UNREADABLE, text, None, reply.status, request_id, retry_after))
    message = _message(answer, reply)
    reaction = reaction_for(code, reply.status, message)
    raise ApiFailure(Failure(reaction, message, code, reply.status, request_id, retry_after))


def seconds_from(retry_after: str | None, now: float) -> float | None:
    """Read a Retry-After header: seconds or a date. None if there is none that can be read."""
    if not retry_after:
        return None
    try:
        seconds = float(retry_after)
        return max(0.0, seconds) if isfinite(seconds) else None
    except ValueError:
        pass
    try:
        moment = parsedate_to_datetime(retry_after)
        return max(0.0, moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() - now)
    except (ValueError, OverflowError):
        return None


def _parse(reply: Reply) -> object:
    try:
        return json.loads(reply.body)
    except (ValueError, RecursionError):
        return None


def _code(value: object) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    return int(value) if isinstance(value, str) and _NUMBER.fullmatch(value) else None


def _message(answer: Mapping[str, Any], reply: Reply) -> str:
    """Kling says ``message``; gateways built on one-api say ``error.message``."""
    error = answer.get("error")
    inner = error.get("message") if isinstance(error, Mapping) else error
    return str(answer.get("message") or inner or reply.body.decode(errors="replace"))


def _describe_body(reply: Reply) -> str:
    text = reply.body.decode(errors="replace").strip()
    if not text:
        return "an empty answer where Kling's JSON was due"
    if text.startswith("<"):
        kind = "an HTML page"
    elif text.startswith("["):
        kind = "a JSON list"
    else:
        kind = "an unreadable answer (truncated JSON?)" if text.startswith("{") else "an unreadable answer"
    return f"{kind} where Kling's JSON object was due: {shorten(text)}"


def _redirect_text(location: str | None) -> str:
    try:
        parts = urlsplit(location or "")
    except ValueError:
        parts = urlsplit("")
    host = parts.netloc.rpartition("@")[2]  # whoever writes a password there does not want it logged
    where = f"{parts.scheme}://{host}{parts.path}" if host else parts.path or "nowhere"
    return (
        f"the host redirects to {shorten(where)}. API calls never follow a redirect: it would send the "
        "request, or turn it into another, somewhere else. Set the connection's host to the final address"
    )
