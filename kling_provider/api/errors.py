"""What went wrong, and how to react: Kling's codes as a table, and a failure as a value.

A new error code is one row of :data:`KLING_CODES`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Any


class Reaction(StrEnum):
    """The ways a caller can react. ``kling_provider.exceptions`` has one exception class for each."""

    BAD_REQUEST = "bad_request"  # change the request
    NOT_FOUND = "not_found"  # this account does not know the id
    CONTENT_POLICY = "content_policy"  # change the prompt or the picture
    AUTH = "auth"  # fix the key, the region or the clock
    RESIGN = "resign"  # sign a new token once, then treat as AUTH
    ACCOUNT = "account"  # top up, buy a pack, ask for the right, allow the IP
    RATE = "rate"  # slow down
    CONCURRENCY = "concurrency"  # wait for a free slot
    SERVER = "server"  # Kling's side or the network: ask again later
    UNREADABLE = "unreadable"  # an answer that is not Kling's envelope


@dataclass(frozen=True, slots=True)
class KlingCode:
    """One row of Kling's error table.

    :param code: Kling's own code, in the field ``code`` of every answer.
    :param http_status: the HTTP status Kling documents for it.
    :param reaction: what a caller does about it.
    :param meaning: what it means, for a person.
    :param advice: the next step, for the person on call.
    """

    code: int
    http_status: int
    reaction: Reaction
    meaning: str
    advice: str


_FIX_KEY = (
    "check the connection: the key belongs to one region (extra `region`), and a gateway token needs "
    "the extra `gateway`"
)
_FIX_CLOCK = "check this machine's clock (NTP); the token is signed with the local time"
_READ_MESSAGE = "correct the field Kling's message names"

KLING_CODES: Mapping[int, KlingCode] = MappingProxyType(
    {
        row.code: row
        for row in (
            KlingCode(1000, 401, Reaction.AUTH, "authentication failed", _FIX_KEY),
            KlingCode(1001, 401, Reaction.AUTH, "the Authorization header is missing or empty", _FIX_KEY),
            KlingCode(1002, 401, Reaction.AUTH, "the key or token is not valid", _FIX_KEY),
            KlingCode(1003, 401, Reaction.RESIGN, "the token is not valid yet", _FIX_CLOCK),
            KlingCode(1004, 401, Reaction.RESIGN, "the token has expired", _FIX_CLOCK),
            KlingCode(
                1100, 429, Reaction.ACCOUNT, "account problem", "look at the account in Kling's console"
            ),
            KlingCode(1101, 429, Reaction.ACCOUNT, "account in arrears", "top the account up"),
            KlingCode(1102, 429, Reaction.ACCOUNT, "resource pack used up or expired", "buy units"),
            KlingCode(
                1103,
                403,
                Reaction.ACCOUNT,
                "no right to this API or model",
                "ask Kling for the right, or choose another model_name",
            ),
            KlingCode(1200, 400, Reaction.BAD_REQUEST, "bad request", _READ_MESSAGE),
            KlingCode(1201, 400, Reaction.BAD_REQUEST, "bad parameter name or value", _READ_MESSAGE),
            KlingCode(1202, 404, Reaction.BAD_REQUEST, "wrong HTTP method", "check endpoint and gateway"),
            KlingCode(
                1203, 404, Reaction.BAD_REQUEST, "no such resource or model", "check model_name and endpoint"
            ),
            KlingCode(
                1300,
                400,
                Reaction.CONTENT_POLICY,
                "refused by the platform's policy",
                "change prompt or picture",
            ),
            KlingCode(
                1301, 400, Reaction.CONTENT_POLICY, "refused by content safety", "change prompt or picture"
            ),
            KlingCode(1302, 429, Reaction.RATE, "requests too fast", "ask less often"),
            KlingCode(
                1303,
                429,
                Reaction.CONCURRENCY,
                "more parallel tasks than the resource pack allows",
                "wait for running tasks, or put the tasks into an Airflow pool of the pack's size",
            ),
            KlingCode(
                1304,
                429,
                Reaction.ACCOUNT,
                "IP address not allowed",
                "add this machine's address in the console",
            ),
            KlingCode(5000, 500, Reaction.SERVER, "internal error at Kling", "try again later"),
            KlingCode(5001, 503, Reaction.SERVER, "Kling is under maintenance", "try again later"),
            KlingCode(5002, 504, Reaction.SERVER, "Kling timed out (backlog)", "try again later"),
        )
    }
)

#: An unknown id on a classic query path is answered with the general 1201 and this text (live observation).
TASK_NOT_FOUND_TEXT = "task not found"

#: The answer to a second create with the same external_task_id is the general 1201 with this text (the second
#: is what it would be in Chinese; not observed).
DUPLICATE_ID_TEXTS = ("already exist", "已存在")

SHOWN_CHARACTERS = 200
#: ``user:password@`` in an address, as proxies and stores are given.
_USERINFO = re.compile(r"(?<=://)[^/\s@]+@")


def shorten(value: object, limit: int = SHOWN_CHARACTERS) -> str:
    """Show ``value`` in at most ``limit`` characters, on one line, without passwords of addresses."""
    text = " ".join(str(value).split()) if not isinstance(value, bytes) else f"<{len(value)} bytes>"
    text = _USERINFO.sub("***@", text)
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text)} characters)"


def show(value: object, limit: int = SHOWN_CHARACTERS) -> str:
    """Show a wrong value the way it would be written in Python, shortened."""
    return repr(shorten(value, limit)) if isinstance(value, str) else shorten(repr(value), limit)


@dataclass(frozen=True, slots=True)
class Failure:
    """One request that did not give what it should.

    :param reaction: how to react.
    :param message: Kling's own message, or what is wrong with the answer.
    :param code: Kling's code, None where there was no envelope.
    :param http_status: None where there was no answer at all.
    :param request_id: Kling's request_id, or None.
    :param retry_after: seconds the server asked to wait, or None.
    :param is_final: whether asking again would give the same answer, although its kind is transient.
    :param never_sent: whether it is certain that the request did not leave this machine whole.
    :param timed_out: whether nothing was heard in time: the server may still be at it.
    """

    reaction: Reaction
    message: str
    code: int | None = None
    http_status: int | None = None
    request_id: str | None = None
    retry_after: float | None = None
    never_sent: bool = False
    is_final: bool = False
    timed_out: bool = False

    @property
    def is_transient(self) -> bool:
        """Whether asking again later can help. A lookup may be repeated; a create must not blindly be."""
        return self.reaction in _TRANSIENT and not self.is_final

    @property
    def leaves_submit_unclear(self) -> bool:
        """Whether a create that failed like this may have booked a task all the same."""
        return not self.never_sent and self.reaction in (Reaction.SERVER, Reaction.UNREADABLE)

    @property
    def is_slot_refusal(self) -> bool:
        """Whether Kling took nothing because of how much or how fast, not because of what."""
        return self.reaction in (Reaction.CONCURRENCY, Reaction.RATE)

    @property
    def is_duplicate_id(self) -> bool:
        """Whether Kling refused a create because the external_task_id is taken."""
        is_told = any(text in self.message.lower() for text in DUPLICATE_ID_TEXTS)
        return self.reaction is Reaction.BAD_REQUEST and is_told

    def describe(self) -> str:
        """Say what Kling said: its message, code, HTTP status and request_id, and the way out."""
        parts = [f"{label} {value}" for label, value in self._numbers() if value is not None]
        row = KLING_CODES.get(self.code) if self.code is not None else None
        known = f" ({row.meaning}; {row.advice})" if row else ""
        return (
            f"{shorten(self.message, 400)} [{', '.join(parts)}]{known}"
            if parts
            else shorten(self.message, 400)
        )

    def of_a_query(self) -> Failure:
        """The same, in answer to a query for one id: a bad parameter can then only be that id.

        Kling says "Task not found" with the general 1201, and what that is in other languages is not known.
        """
        is_about_the_id = self.code in (1201, 1203) and self.reaction is Reaction.BAD_REQUEST
        return replace(self, reaction=Reaction.NOT_FOUND) if is_about_the_id else self

    def to_dict(self) -> dict[str, Any]:
        """What a later process needs of it, as plain values."""
        return {
            "reaction": self.reaction.value,
            "message": shorten(self.message, 400),
            "code": self.code,
            "http_status": self.http_status,
            "request_id": self.request_id,
            "timed_out": self.timed_out,
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Failure:
        """Read what :meth:`to_dict` wrote."""
        return cls(**{**value, "reaction": Reaction(value["reaction"])})

    def _numbers(self) -> tuple[tuple[str, object], ...]:
        return (("code", self.code), ("HTTP", self.http_status), ("request_id", self.request_id))


_TRANSIENT = frozenset({Reaction.RATE, Reaction.CONCURRENCY, Reaction.SERVER, Reaction.UNREADABLE})


class ApiFailure(Exception):
    """Carries a :class:`Failure` from the pure core to whoever owns the socket."""

    def __init__(self, failure: Failure):
        super().__init__(failure.describe())
        self.failure = failure


def unreadable(message: str, request_id: str | None = None, *, is_final: bool = False) -> ApiFailure:
    """Make the failure for an answer of Kling's that says success and cannot be read.

    :param message: what is wrong with it.
    :param request_id: of the answer.
    :param is_final: whether asking again would give the same.
    """
    return ApiFailure(Failure(Reaction.UNREADABLE, message, 0, 200, request_id, is_final=is_final))


class InvalidRequest(ValueError):
    """The request cannot be right; nothing was sent. The text names field, value, rule and way out."""


def reaction_for(code: int | None, http_status: int, message: str) -> Reaction:
    """Map an answer that is not a success to a reaction.

    A known code decides; the HTTP status only where there is none, because Kling's 429 covers an empty
    account (never wait) as well as a rate limit (wait).
    """
    if code in (1200, 1201, 1203) and TASK_NOT_FOUND_TEXT in message.lower():
        return Reaction.NOT_FOUND
    if code is not None and code in KLING_CODES:
        return KLING_CODES[code].reaction
    if http_status == 429:
        return Reaction.RATE
    if http_status >= 500 or http_status == 408:
        return Reaction.SERVER
    if http_status in (401, 407):
        return Reaction.AUTH
    if http_status == 403:
        return Reaction.ACCOUNT
    if code is not None and code >= 5000:
        return Reaction.SERVER
    return Reaction.BAD_REQUEST
