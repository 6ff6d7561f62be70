"""``POST /account/billing/{package,balance}``: every deduction of the account, a page at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from starlette.requests import Request

from kling_provider.api.billing import BILLING_PATHS, MAX_ROWS, MODES, SOUNDS
from kling_provider.api.capabilities import DEFAULT_DURATION, DEFAULT_MODE
from kling_provider.api.tasks import SUCCEED
from kling_provider.simulator.accounts import Account
from kling_provider.simulator.costs import PACK_UNITS
from kling_provider.simulator.listing import checked_page
from kling_provider.simulator.paging import cut, seconds_of
from kling_provider.simulator.refusals import Refusal
from kling_provider.simulator.simulation import Simulation
from kling_provider.simulator.tasks import SimTask
from kling_provider.simulator.validation import read_body
from kling_provider.simulator.world import pack_of

#: Without a begin, Kling tells the last thirty days.
DEFAULT_SECONDS = 30 * 86400
_RESOLUTIONS = {mode: resolution for resolution, mode in MODES.items()}
_SOUNDS = {word: billed for billed, word in SOUNDS.items()}


async def billing(simulation: Simulation, kind: str, request: Request, account: Account) -> Any:
    """Tell one page of what is certain: a task is deducted when it has succeeded, oldest first.

    :raises Refusal: 1200 and 1201 for what cannot be asked.
    """
    name, asked = BILLING_PATHS[kind].removeprefix("/"), read_body(await request.body())
    body = checked_page(name, asked, simulation.settings)
    with simulation.lock:
        skew = simulation.settings.clock_skew
        start, end = seconds_of(body, simulation.now + skew, DEFAULT_SECONDS)
        charged = _charged(simulation, account, kind, start - skew, end - skew)
        before = _left_before(simulation, charged)
        for wanted in body.get("filters") or ():
            passes = _filter(wanted, account)
            charged = [task for task in charged if passes(task)]
        page, cursor = cut(charged, body.get("cursor"), body.get("limit") or MAX_ROWS)
        rows = [_row(task, kind, account, skew, before[task.task_id]) for task in page]
    return {
        "result": {"detail": rows, "count": len(rows)},
        "next_cursor": cursor,
        "has_more": bool(cursor),
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


def _left_before(simulation: Simulation, charged: list[SimTask]) -> dict[str, Decimal]:
    """What was left in the pack that paid, before each deduction."""
    left: dict[str, Decimal] = {}
    before = {}
    for task in charged:
        pack = pack_of(task.order.endpoint)
        before[task.task_id] = left.get(pack) or simulation.settings.units_of(pack) or PACK_UNITS
        left[pack] = before[task.task_id] - task.units
    return before


def _filter(wanted: Mapping[str, Any], account: Account) -> Callable[[SimTask], bool]:
    values = wanted.get("values") or ()
    match wanted.get("key"):
        case "product_type":
            return lambda task: task.order.endpoint.slots in values
        case "api_key_name":
            return lambda _task: account.name in values
    raise Refusal(1201, f"filters: this simulator has none for {wanted.get('key')}")


def _row(task: SimTask, kind: str, account: Account, skew: float, before: Decimal) -> dict[str, Any]:
    row = {
        "task_id": task.task_id,
        "api_key_name": account.name,
        "product_function": task.endpoint,
        "model_name": task.model_name,
        "resolution": _resolution(task),
        "duration": _duration(task),
        "refer_video_input": "",
        "video_sound": _sound(task),
        "voice_control": "on" if task.body.get("voice_list") else "off",
        "deduction_time": str(int((task.updated_at + skew) * 1000)),
    }
    if kind == "balance":
        price = _plain(task.order.usd or Decimal(0))
        return {**row, "cash_type": "balance", "list_price": price, "currency": "USD"}
    return {
        **row,
        "unit_before_deduction": _plain(before),
        "deduction_amount": _plain(task.units),
        "unit_after_deduction": _plain(before - task.units),
    }


def _settings(task: SimTask) -> Mapping[str, Any]:
    return (task.body.get("settings") or {}) if task.order.endpoint.dialect == "new" else task.body


def _resolution(task: SimTask) -> str:
    settings, kind = _settings(task), task.order.endpoint.kind
    asked = settings.get("resolution") or _RESOLUTIONS.get(str(settings.get("mode")))
    return str(asked or (_RESOLUTIONS[DEFAULT_MODE] if kind == "video" else ""))


def _duration(task: SimTask) -> str:
    """Length of the result, never exactly what was asked for, as in life; nothing for pictures."""
    lengths = [one.planned.seconds for one in task.results if one.planned.seconds is not None]
    if not lengths and task.order.endpoint.kind == "image":
        return ""
    seconds = lengths[0] if lengths else float(_settings(task).get("duration") or DEFAULT_DURATION)
    return f"{seconds + 0.04:.2f}"


def _sound(task: SimTask) -> str:
    settings = _settings(task)
    if "audio" in settings:
        return str(settings["audio"])
    return _SOUNDS.get(str(settings.get("sound")), "off")


def _plain(number: Decimal) -> str:
    return f"{number.normalize():f}"
