"""What Kling has deducted, row by row, whatever an account pays with."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Literal, get_args

from kling_provider.api.errors import InvalidRequest, shorten, show, unreadable
from kling_provider.api.tasks import read_decimal, read_time

log = logging.getLogger(__name__)

#: ``package``: units of resource packs. ``balance``: money of the account.
BillingKind = Literal["package", "balance"]
BILLING_PATHS: Mapping[str, str] = MappingProxyType(
    {kind: f"/account/billing/{kind}" for kind in get_args(BillingKind)}
)
#: Rows a page may hold: the vendor's limit, and its default.
MAX_ROWS = 500
#: So many pages are read at most; more is an answer that does not end.
MAX_BILLING_PAGES = 1000

#: Kling bills by resolution what a request calls ``mode``.
MODES: Mapping[str, str] = MappingProxyType({"720p": "std", "1080p": "pro", "4k": "4k"})
#: What a request calls ``sound: on`` is billed as native sound.
SOUNDS: Mapping[str, str] = MappingProxyType({"native": "on"})
#: Values of ``voice_control`` without a voice; the vendor documents none.
_NO_VOICE = frozenset({"", "off", "none", "no", "false", "0"})


@dataclass(frozen=True, slots=True)
class BillingRow:
    """One deduction. What Kling left out or told unreadably is None, or empty for the task_id.

    :param task_id: what was paid for.
    :param product: Kling's name of it.
    :param model_name: the model.
    :param mode: ``std``, ``pro`` or ``4k``; another resolution stands as it was told.
    :param duration: seconds of the result, with a fraction.
    :param sound: ``off``, ``on`` or ``voice``, as prices are asked for; another word stands as it was told.
    :param units: units of a resource pack (kind ``package``).
    :param amount: money of the account, in ``currency`` (kind ``balance``).
    :param currency: of the amount.
    :param deducted_at: when (aware, UTC).
    """

    task_id: str
    product: str | None = None
    model_name: str | None = None
    mode: str | None = None
    duration: Decimal | None = None
    sound: str | None = None
    units: Decimal | None = None
    amount: Decimal | None = None
    currency: str | None = None
    deducted_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class BillingPage:
    """One answer.

    :param rows: in Kling's order, which is not documented.
    :param next_cursor: asks for the page after it; None on the last one.
    """

    rows: tuple[BillingRow, ...]
    next_cursor: str | None


def billing_body(start: datetime, end: datetime, cursor: str | None, limit: int) -> dict[str, Any]:
    """What is sent to ask for a page.

    :raises InvalidRequest: for a limit beyond the vendor's.
    """
    if not isinstance(limit, int) or not 1 <= limit <= MAX_ROWS:
        raise InvalidRequest(f"limit={show(limit, 20)}: use a whole number from 1 to {MAX_ROWS}.")
    body = {
        "start_time": str(int(start.timestamp() * 1000)),
        "end_time": str(int(end.timestamp() * 1000)),
        "limit": limit,
    }
    return body if cursor is None else {**body, "cursor": cursor}


def billing_path(kind: str) -> str:
    """Where the rows of a kind are asked for.

    :raises InvalidRequest: for a kind that does not exist.
    """
    if kind not in BILLING_PATHS:
        raise InvalidRequest(f"kind={show(kind, 20)}: use one of {', '.join(BILLING_PATHS)}.")
    return BILLING_PATHS[kind]


def decode_page(data: object, kind: str, request_id: str | None) -> BillingPage:
    """Read one page of either kind.

    :param data: the answer's ``data``.
    :param kind: which one was asked for.
    :param request_id: of the answer.
    :raises ApiFailure: unreadable, if it is not a page, or if it names no way to the rest.
    """
    if not isinstance(data, Mapping):
        raise unreadable(
            f"a {type(data).__name__} where a page of the billing was due: {shorten(data)}", request_id
        )
    result = data.get("result") or {}
    details = (result.get("detail") or []) if isinstance(result, Mapping) else None
    if not isinstance(details, list):
        raise unreadable(f"a page of the billing without a list of rows: {shorten(dict(data))}", request_id)
    rows = []
    for detail in details:
        if isinstance(detail, Mapping):
            rows.append(_row(detail, kind))
        else:
            log.warning("A row of the billing is left out, it is no object: %s", shorten(detail))
    if not data.get("has_more"):
        return BillingPage(tuple(rows), None)
    if not data.get("next_cursor"):
        raise unreadable("the billing has more rows, but no next_cursor leads to them", request_id)
    return BillingPage(tuple(rows), str(data["next_cursor"]))


def _row(detail: Mapping[str, Any], kind: str) -> BillingRow:
    resolution, sound = _text(detail, "resolution"), _text(detail, "video_sound")
    has_voice = str(detail.get("voice_control") or "").lower() not in _NO_VOICE
    is_package = kind == "package"
    return BillingRow(
        task_id=_text(detail, "task_id") or "",
        product=_text(detail, "product_function"),
        model_name=_text(detail, "model_name"),
        mode=MODES.get(resolution.lower(), resolution) if resolution else None,
        duration=read_decimal(detail.get("duration")),
        sound="voice" if has_voice else SOUNDS.get(sound.lower(), sound) if sound else None,
        units=read_decimal(detail.get("deduction_amount")) if is_package else None,
        amount=None if is_package else read_decimal(detail.get("list_price")),
        currency=None if is_package else _text(detail, "currency"),
        deducted_at=read_time(detail.get("deduction_time")),
    )


def _text(detail: Mapping[str, Any], name: str) -> str | None:
    value = detail.get(name)
    return str(value) if isinstance(value, str | int) and value != "" else None
