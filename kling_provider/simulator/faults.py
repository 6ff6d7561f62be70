"""What can go wrong between a client and Kling, as values: which requests it meets, and what it does."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from kling_provider.api.errors import KLING_CODES
from kling_provider.simulator.refusals import http_status_for
from kling_provider.simulator.settings import Knobs, Seconds

Kind = Literal[
    "latency",
    "status",
    "envelope",
    "html",
    "truncated",
    "empty",
    "list",
    "no_data",
    "cut_before",
    "cut_after",
    "cut_body",
    "redirect",
    "expired_token",
    "replay",
]

#: Kinds that spoil the answer of a request which was carried out all the same.
_AFTERWARDS = frozenset({"truncated", "empty", "list", "no_data", "cut_after", "cut_body", "replay"})

HTML = (
    "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad Gateway</h1>"
    "</center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
)


class Fault(Knobs):
    """A fault, and the requests it meets.

    ===============  =============================================================================
    kind             what the client sees
    ===============  =============================================================================
    latency          the answer ``seconds`` late; with ``booked`` the wait is after the work is done
    status           ``http_status`` (503) with a plain text instead of an envelope
    envelope         ``code`` (5000) with ``message`` in Kling's envelope
    html             a proxy's HTML page with ``http_status`` (502)
    truncated        half of the answer
    empty            an answer without a body
    list             a JSON list where an object was due
    no_data          code 0, but no ``data``
    cut_before       the connection is closed before the request was carried out
    cut_after        the connection is closed after it was carried out, without an answer
    cut_body         the connection is closed after ``bytes`` of the body (half of it)
    redirect         ``http_status`` (302) to ``location`` (the same path)
    expired_token    401/1004, whatever token was sent
    replay           a proxy sends the request twice; ``answer`` says which answer comes through
    ===============  =============================================================================

    :param kind: see above.
    :param method: only this HTTP method.
    :param path: only paths that begin with this, which may be a regular expression.
    :param times: how many requests it meets; 0: every one.
    :param skip: how many matching requests it lets pass first.
    :param booked: whether the request is carried out; without it, what the table says.
    :param retry_after: value of the Retry-After header.
    """

    kind: Kind
    method: str | None = None
    path: str = ""
    times: Annotated[int, Field(ge=0)] = 1
    skip: Annotated[int, Field(ge=0)] = 0
    booked: bool | None = None
    seconds: Seconds = 1
    http_status: Annotated[int | None, Field(ge=200, le=599)] = None
    code: int | None = None
    message: str | None = None
    body: str | None = None
    retry_after: int | float | str | None = None
    location: str | None = None
    bytes: Annotated[int | None, Field(ge=0)] = None
    answer: Literal["first", "second"] = "second"

    @field_validator("path")
    @classmethod
    def _is_a_pattern(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"is not a regular expression ({error})")
        return value

    @property
    def is_carried_out(self) -> bool:
        """Whether Kling gets the request although it goes wrong."""
        return self.kind in _AFTERWARDS if self.booked is None else self.booked

    def meets(self, method: str, path: str) -> bool:
        """Whether it is for this request."""
        return self.method in (None, method) and re.match(self.path, path) is not None


@dataclass(slots=True)
class _Armed:
    fault: Fault
    skip: int
    left: int  # 0: for ever


class Faults:
    """The faults that wait for their requests, in the order they were set."""

    def __init__(self) -> None:
        self._armed: list[_Armed] = []

    def add(self, fault: Fault) -> None:
        """Arm a fault."""
        self._armed.append(_Armed(fault, fault.skip, fault.times))

    def clear(self) -> None:
        """Disarm all."""
        self._armed.clear()

    def armed(self) -> list[Fault]:
        """Those that still wait."""
        return [one.fault for one in self._armed]

    def take(self, method: str, path: str) -> list[Fault]:
        """The faults of one request: every latency, and the first of the others."""
        met: list[Fault] = []
        for one in list(self._armed):
            is_second = one.fault.kind != "latency" and any(fault.kind != "latency" for fault in met)
            if is_second or not one.fault.meets(method, path):
                continue
            if one.skip:
                one.skip -= 1
                continue
            met.append(one.fault)
            if one.left == 1:
                self._armed.remove(one)
            one.left = max(one.left - 1, 0)
        return met


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer.

    :param status: HTTP status.
    :param headers: header lines.
    :param body: body.
    :param cut_at: so many bytes of the body go out before the connection is closed; None: all.
    """

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    cut_at: int | None = None


#: Carries the request out and gives its answer.
CarryOut = Callable[[], Awaitable[Answer]]


async def spoil(fault: Fault, path: str, carry_out: CarryOut) -> Answer | None:
    """Answer a request that a fault met; None is a closed connection.

    :param fault: any but ``latency``.
    :param path: path of the request.
    :param carry_out: gives the right answer; what it does is done even if the answer is thrown away.
    """
    right = await carry_out() if fault.is_carried_out else None
    if fault.kind == "replay":
        second = await carry_out()
        return second if fault.answer == "second" else right
    if fault.kind in ("cut_before", "cut_after"):
        return None
    if right is not None and fault.kind in ("truncated", "cut_body"):
        keep = len(right.body) // 2 if fault.bytes is None else fault.bytes
        if fault.kind == "cut_body":
            return Answer(right.status, right.headers, right.body, keep)
        return json_answer(right.status, right.body[:keep])
    if right is not None and fault.kind == "list":
        return json_answer(right.status, b"[" + right.body + b"]")
    return _made_up(fault, path)


def _made_up(fault: Fault, path: str) -> Answer:
    retry_after = {} if fault.retry_after is None else {"retry-after": f"{fault.retry_after}"}
    match fault.kind:
        case "html":
            return text_answer(fault.http_status or 502, fault.body or HTML, "text/html", retry_after)
        case "empty":
            return text_answer(fault.http_status or 200, "", "application/json", retry_after)
        case "redirect":
            return text_answer(
                fault.http_status or 302, "", "text/html", {"location": fault.location or path}
            )
        case "no_data":
            return _envelope(0, "SUCCEED", fault.http_status or 200, retry_after)
        case "envelope" | "expired_token":
            code = fault.code if fault.code is not None else 1004 if fault.kind == "expired_token" else 5000
            meaning = KLING_CODES[code].meaning if code in KLING_CODES else "unknown"
            status = fault.http_status or http_status_for(code)
            return _envelope(code, fault.message or meaning, status, retry_after)
        case _:
            text = fault.body or fault.message or "upstream connect error or disconnect/reset before headers"
            return text_answer(fault.http_status or 503, text, "text/plain", retry_after)


def _envelope(code: int, message: str, status: int, headers: Mapping[str, str]) -> Answer:
    envelope: dict[str, Any] = {"code": code, "message": message, "request_id": str(uuid.uuid4())}
    return text_answer(status, json.dumps(envelope), "application/json", headers)


def json_answer(status: int, body: bytes) -> Answer:
    """An answer that claims to be JSON."""
    headers = ((b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()))
    return Answer(status, headers, body)


def text_answer(status: int, text: str, media_type: str, headers: Mapping[str, str]) -> Answer:
    """An answer with a text."""
    body = text.encode()
    lines = {"content-type": media_type, "content-length": str(len(body)), **headers}
    return Answer(status, tuple((name.encode(), value.encode()) for name, value in lines.items()), body)
