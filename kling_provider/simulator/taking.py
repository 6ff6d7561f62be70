"""What the doors do: take a create or a call, tell one task or a page of them."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from starlette.requests import Request

from kling_provider.api.endpoints import Endpoint
from kling_provider.api.gateways import Gateway
from kling_provider.simulator.accounts import Account
from kling_provider.simulator.archive import Archive
from kling_provider.simulator.calls.desk import Desk
from kling_provider.simulator.calls.table import answer, told_at_once
from kling_provider.simulator.files import base_of
from kling_provider.simulator.ordering import order_of
from kling_provider.simulator.paging import by_number
from kling_provider.simulator.refusals import Refusal
from kling_provider.simulator.simulation import Simulation
from kling_provider.simulator.telling import booked, told
from kling_provider.simulator.validation import Reader, read_body


async def create(
    simulation: Simulation, gateway: Gateway, endpoint: Endpoint, request: Request, account: Account
) -> Any:
    """Book a task."""
    body = read_body(await request.body())
    generation = simulation.generation
    simulation.base = base_of(request)
    order = await asyncio.to_thread(
        lambda: order_of(_reader(simulation, gateway, endpoint, account).read(body))
    )
    with simulation.lock:
        simulation.base = base_of(request)
        if simulation.generation != generation:
            raise Refusal(5000, "the simulator was reset")
        drops = simulation.settings.drops_external_id
        task = simulation.world.book(
            account,
            gateway.name,
            order,
            simulation.now,
            drops_id=gateway.external_id == "none" if drops is None else drops,
        )
        return booked(task, simulation.settings.clock_skew)


async def call(
    simulation: Simulation, gateway: Gateway, endpoint: Endpoint, request: Request, account: Account
) -> Any:
    """Answer what is over with its answer."""
    body = read_body(await request.body())
    generation = simulation.generation
    simulation.base = base_of(request)
    asked = await asyncio.to_thread(_reader(simulation, gateway, endpoint, account).read, body)
    with simulation.lock:
        if simulation.generation != generation:
            raise Refusal(5000, "the simulator was reset")
        desk = Desk(simulation.world, Archive(simulation, account), simulation.now)
        task = simulation.world.answer(
            account, gateway.name, order_of(asked), simulation.now, partial(answer, desk, asked)
        )
        address = partial(simulation.address, base_of(request))
        return told_at_once(task, simulation.settings.clock_skew, address)


def _reader(simulation: Simulation, gateway: Gateway, endpoint: Endpoint, account: Account) -> Reader:
    return Reader(
        endpoint,
        gateway,
        simulation.settings,
        simulation.studio.pictures,
        Archive(simulation, account),
        account.name,
    )


async def query(
    simulation: Simulation, endpoint: str | None, external: bool, request: Request, account: Account
) -> Any:
    """Tell one task in the classic dialect."""
    name = request.path_params["task_id"]
    with simulation.lock:
        task = simulation.world.find(account, name, simulation.now, endpoint=endpoint, external=external)
        return told(task, simulation.settings.clock_skew, partial(simulation.address, base_of(request)))


async def list_page(simulation: Simulation, endpoint: Endpoint, request: Request, account: Account) -> Any:
    """Tell one page of an endpoint's tasks in the classic dialect."""
    first, last = by_number(request, endpoint.max_page_size)
    with simulation.lock:
        tasks = simulation.world.listed(account, simulation.now, endpoint.name)[first:last]
        address = partial(simulation.address, base_of(request))
        return [told(task, simulation.settings.clock_skew, address) for task in tasks]
