"""``POST /tasks``: the new dialect's list, a page at a time; and the lists of what comes with Kling."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from starlette.requests import Request

from kling_provider.api.endpoints import ENDPOINTS, Endpoint
from kling_provider.api.errors import InvalidRequest
from kling_provider.api.requests import check_request
from kling_provider.simulator.accounts import Account
from kling_provider.simulator.files import base_of
from kling_provider.simulator.paging import by_number, cut, seconds_of
from kling_provider.simulator.presets import PRESETS
from kling_provider.simulator.refusals import Refusal
from kling_provider.simulator.settings import Settings
from kling_provider.simulator.simulation import Simulation
from kling_provider.simulator.tasks import SimTask
from kling_provider.simulator.telling import new_word, told, told_anew
from kling_provider.simulator.validation import read_body
from kling_provider.simulator.wire import check_types, known_fields

#: Without a begin, Kling lists the last thirty days.
DEFAULT_SECONDS = 30 * 86400
DEFAULT_LIMIT = 100


async def list_tasks(simulation: Simulation, request: Request, account: Account) -> Any:
    """Tell one page of the account's tasks.

    :raises Refusal: 1200 and 1201 for what cannot be asked.
    """
    body = read_body(await request.body())
    settings = simulation.settings
    asked = checked_page("tasks", body, settings)
    with simulation.lock:
        now = simulation.now + settings.clock_skew
        start, end = seconds_of(asked, now, DEFAULT_SECONDS)
        visible = [
            task
            for task in simulation.world.listed(account, simulation.now)
            if start <= task.created_at + settings.clock_skew <= end
            and (task.order.endpoint.dialect == "new" or settings.tasks_see_classic)
            and all(_passes(task, one) for one in asked.get("filters") or ())
        ]
        page, cursor = cut(visible, asked.get("cursor"), asked.get("limit") or DEFAULT_LIMIT)
        address = partial(simulation.address, base_of(request))
        result = [told_anew(task, settings.clock_skew, address) for task in page]
    return {"result": result, "count": len(result), "next_cursor": cursor, "has_more": bool(cursor)}


async def list_presets(
    simulation: Simulation, endpoint: Endpoint, request: Request, _account: Account
) -> Any:
    """Tell one page of the elements or voices that come with Kling, each as a task."""
    first, last = by_number(request, endpoint.max_page_size)
    tasks = [task for task in PRESETS.values() if task.endpoint == endpoint.name][first:last]
    address = partial(simulation.address, base_of(request))
    return [told(task, simulation.settings.clock_skew, address) for task in tasks]


def checked_page(endpoint: str, body: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """Hold the body of a paged read against its model.

    :raises Refusal: 1201.
    """
    if settings.ignores_unknown_fields:
        body = known_fields(endpoint, body)
    check_types(endpoint, body)
    try:
        return check_request(ENDPOINTS[endpoint], body).body
    except InvalidRequest as error:
        raise Refusal(1201, str(error)) from None


def _passes(task: SimTask, wanted: Mapping[str, Any]) -> bool:
    pack = task.order.endpoint.slots.replace("-", "_")
    return (new_word(task.status) if wanted["key"] == "status" else pack) in wanted["values"]
