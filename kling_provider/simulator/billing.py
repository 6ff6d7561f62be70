"""``POST /account/billing/{package,balance}``: every deduction of the account, a page at a time."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from starlette.requests import Request

from kling_provider.api.billing import MAX_ROWS, MODES, SOUNDS
from kling_provider.api.capabilities import DEFAULT_DURATION, DEFAULT_MODE
from kling_provider.api.pricing import USD_PER_VIDEO_UNIT
from kling_provider.api.tasks import SUCCEED
from kling_provider.simulator.accounts import Account
from kling_provider.simulator.refusals import Refusal
from kling_provider.simulator.simulation import Simulation
from kling_provider.simulator.tasks import SimTask
from kling_provider.simulator.validation import read_body

#: Without a begin, Kling tells the last thirty days.
DEFAULT_SECONDS = 30 * 86400
_RESOLUTIONS = {mode: resolution for resolution, mode in MODES.items()}
_SOUNDS = {word: billed for billed, word in SOUNDS.items()}


async def billing(simulation: Simulation, kind: str, request: Request, account: Account) -> Any:
    """Tell one page of what is certain: a task is deducted when it has succeeded, oldest first.

    :raises Refusal: 1200 and 1201 for what cannot be asked.
    """
    body = read_body(await request.body())
    if body.get("filters"):
        raise Refusal(1201, "filters: this simulator has none")
    limit = body.get("limit", MAX_ROWS)
    if not isinstance(limit, int) or not 1 <= limit <= MAX_ROWS:
        raise Refusal(1201, f"limit must be between 1 and {MAX_ROWS}")
    with simulation.lock:
        skew = simulation.settings.clock_skew
        now = simulation.now + skew
        start = _seconds(body, "start_time", now - DEFAULT_SECONDS)
        end = _seconds(body, "end_time", now)
        charged = _charged(simulation, account, kind, start - skew, end - skew)
        first = _position(charged, body.get("cursor"))
        page = charged[first : first + limit]
        rows = [_row(task, kind, account, skew) for task in page]
    has_more = first + limit < len(charged)
    return {
        "result": {"detail": rows, "count": len(rows)},
        "next_cursor": page[-1].task_id if has_more else "",
        "has_more": has_more,
    }


def _charged(simulation: Simulation, account: Account, kind: str, start: float, end: float) -> list[SimTask]:
    world = simulation.world
    world.advance(simulation.now)
    if kind != simulation.settings.pays_with:
        return []
    tasks = [
        world.tasks[charge.task_id]
        for charge in world.charges()
        if charge.account == account.name and charge.status == SUCCEED
    ]
    return sorted(
        (task for task in tasks if start <= task.updated_at <= end),
        key=lambda task: (task.updated_at, task.task_id),
    )


def _position(charged: list[SimTask], cursor: object) -> int:
    """A cursor is the last row that was told."""
    if cursor in (None, ""):
        return 0
    for number, task in enumerate(charged, 1):
        if task.task_id == cursor:
            return number
    raise Refusal(1201, "cursor is invalid")


def _seconds(body: Mapping[str, Any], name: str, default: float) -> float:
    value = body.get(name)
    if value is None:
        return default
    if not isinstance(value, str) or not value.isdecimal():
        raise Refusal(1201, f"{name} must be a string of milliseconds")
    return int(value) / 1000


def _row(task: SimTask, kind: str, account: Account, skew: float) -> dict[str, Any]:
    body = task.body
    row = {
        "task_id": task.task_id,
        "api_key_name": account.name,
        "product_function": task.endpoint,
        "model_name": str(body.get("model_name")),
        "resolution": _RESOLUTIONS[str(body.get("mode") or DEFAULT_MODE)],
        "duration": f"{int(body.get('duration') or DEFAULT_DURATION) + 0.04:.2f}",  # never exactly, as in life
        "refer_video_input": "",
        "video_sound": _SOUNDS.get(str(body.get("sound")), "off"),
        "voice_control": "on" if body.get("voice_list") else "off",
        "deduction_time": str(int((task.updated_at + skew) * 1000)),
    }
    if kind == "balance":
        price = task.units * USD_PER_VIDEO_UNIT
        return {**row, "cash_type": "balance", "list_price": _plain(price), "currency": "USD"}
    return {**row, "deduction_amount": _plain(task.units)}


def _plain(number: Decimal) -> str:
    return f"{number.normalize():f}"
