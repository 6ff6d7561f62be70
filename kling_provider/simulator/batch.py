"""``GET /tasks``: the new dialect's query for many tasks at once."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import Any

from starlette.requests import Request

from kling_provider.simulator.accounts import Account
from kling_provider.simulator.files import base_of
from kling_provider.simulator.refusals import Refusal
from kling_provider.simulator.simulation import Simulation
from kling_provider.simulator.telling import told_anew

_BY_ID, _BY_EXTERNAL_ID = "task_ids", "external_task_ids"


async def many_tasks(simulation: Simulation, request: Request, account: Account) -> Any:
    """Tell those of the tasks asked for that this account has; unknown ids are passed over."""
    asked = {name: request.query_params.get(name) for name in (_BY_ID, _BY_EXTERNAL_ID)}
    parameter = next((name for name, value in asked.items() if value), None)
    if parameter is None:
        raise Refusal(1201, "task_ids or external_task_ids is required")
    names = str(asked[parameter]).split(",")
    with simulation.lock:
        settings = simulation.settings
        if len(names) > settings.batch_limit:
            raise Refusal(1201, f"{parameter} must hold at most {settings.batch_limit} ids")
        tasks = []
        for name in names:
            with suppress(Refusal):
                is_external = parameter == _BY_EXTERNAL_ID
                task = simulation.world.find(account, name, simulation.now, external=is_external)
                is_told = task.order.endpoint.dialect == "new" or settings.tasks_see_classic
                if is_told and name == (task.external_task_id if is_external else task.task_id):
                    tasks.append(task)
        address = partial(simulation.address, base_of(request))
        return [told_anew(task, settings.clock_skew, address) for task in tasks]
