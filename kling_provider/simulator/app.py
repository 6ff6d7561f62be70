"""The HTTP side: routes derived from the tables of endpoints and gateways, in Kling's envelope."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from kling_provider.api.billing import BILLING_PATHS
from kling_provider.api.endpoints import ENDPOINTS, Endpoint
from kling_provider.api.gateways import GATEWAYS, Gateway
from kling_provider.simulator.accounts import Account
from kling_provider.simulator.archive import Archive
from kling_provider.simulator.auth import authenticate
from kling_provider.simulator.batch import many_tasks
from kling_provider.simulator.billing import billing
from kling_provider.simulator.callbacks import deliver_callbacks
from kling_provider.simulator.calls.desk import Desk
from kling_provider.simulator.calls.table import answer, told_at_once
from kling_provider.simulator.control import control_routes
from kling_provider.simulator.costs import account_costs
from kling_provider.simulator.files import send_file
from kling_provider.simulator.gate import Gate, Receive, Scope, Send
from kling_provider.simulator.listing import list_presets, list_tasks
from kling_provider.simulator.paging import by_number
from kling_provider.simulator.refusals import Refusal
from kling_provider.simulator.simulation import Simulation
from kling_provider.simulator.telling import booked, refusal, success, told
from kling_provider.simulator.validation import Reader, order_of, read_body

log = logging.getLogger(__name__)

#: Gives the ``data`` of an answer.
Handler = Callable[[Request, Account], Awaitable[Any]]


def create_app(simulation: Simulation, *, control: bool = True) -> Gate:
    """Build the ASGI app.

    :param simulation: what it serves.
    :param control: whether it has the control plane (``/_simulator/...``).
    """

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        pump = asyncio.create_task(deliver_callbacks(simulation))
        yield
        pump.cancel()

    routes: list[BaseRoute] = list(_api_routes(simulation))
    routes.append(Route("/_files/{name}", partial(send_file, simulation), methods=["GET"]))
    if control:
        routes += control_routes(simulation)
    app = Starlette(
        routes=routes,
        lifespan=lifespan,
        exception_handlers={404: _Unknown(simulation), Exception: _Broken(simulation)},
    )
    app.router.redirect_slashes = False
    return Gate(app, simulation)


def _api_routes(simulation: Simulation) -> list[Route]:
    """One door per path: what each gateway offers of each endpoint."""
    doors = _Doors(simulation)
    for gateway in (GATEWAYS["official"], GATEWAYS["dmxapi"]):
        for endpoint in ENDPOINTS.values():
            if gateway.name == "official" or (endpoint.dialect == "classic" and endpoint.work != "read"):
                _open(doors, simulation, gateway, endpoint)
    return doors.routes()


def _open(doors: _Doors, simulation: Simulation, gateway: Gateway, endpoint: Endpoint) -> None:
    paths = [gateway.path_prefix + path for path in (endpoint.create_path, *endpoint.other_paths)]
    if endpoint.work == "call":
        for path in paths:
            doors.at(gateway, path)["POST"] = partial(_call, simulation, gateway, endpoint)
    elif endpoint.work == "read":
        for path in paths:
            doors.at(_only_keys(gateway) if endpoint.name == "tasks" else gateway, path).update(
                _reads(simulation, endpoint)
            )
    elif endpoint.dialect == "new":
        for path in paths:
            doors.at(_only_keys(gateway), path)["POST"] = partial(_create, simulation, gateway, endpoint)
    else:
        _open_classic(doors, simulation, gateway, endpoint, paths[0])


def _open_classic(
    doors: _Doors, simulation: Simulation, gateway: Gateway, endpoint: Endpoint, create: str
) -> None:
    door = doors.at(gateway, create)
    door["POST"] = partial(_create, simulation, gateway, endpoint)
    by_caller = gateway.external_id == "lookup" and endpoint.external_id == "lookup"
    asked: str | None = endpoint.name
    if gateway.query_path is None:
        door["GET"] = partial(_list, simulation, endpoint)
        query = f"{create}/{{task_id}}"
    else:
        query = gateway.query_path.replace("{endpoint}", endpoint.name)
        asked = endpoint.name if "{endpoint}" in gateway.query_path else None
    doors.at(gateway, query)["GET"] = partial(_query, simulation, asked, by_caller)


def _reads(simulation: Simulation, endpoint: Endpoint) -> dict[str, Handler]:
    if endpoint.name == "tasks":
        return {"GET": partial(many_tasks, simulation), "POST": partial(list_tasks, simulation)}
    if endpoint.name == "account/costs":
        return {"GET": partial(account_costs, simulation)}
    for kind, path in BILLING_PATHS.items():
        if endpoint.create_path == path:
            return {"POST": partial(billing, simulation, kind)}
    return {"GET": partial(list_presets, simulation, endpoint)}


def _only_keys(gateway: Gateway) -> Gateway:
    """The new dialect takes API keys only."""
    return replace(gateway, signs_jwt=False)


async def _create(
    simulation: Simulation, gateway: Gateway, endpoint: Endpoint, request: Request, account: Account
) -> Any:
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


async def _call(
    simulation: Simulation, gateway: Gateway, endpoint: Endpoint, request: Request, account: Account
) -> Any:
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


async def _query(
    simulation: Simulation, endpoint: str | None, external: bool, request: Request, account: Account
) -> Any:
    name = request.path_params["task_id"]
    with simulation.lock:
        task = simulation.world.find(account, name, simulation.now, endpoint=endpoint, external=external)
        return told(task, simulation.settings.clock_skew, partial(simulation.address, base_of(request)))


async def _list(simulation: Simulation, endpoint: Endpoint, request: Request, account: Account) -> Any:
    first, last = by_number(request, endpoint.max_page_size)
    with simulation.lock:
        tasks = simulation.world.listed(account, simulation.now, endpoint.name)[first:last]
        address = partial(simulation.address, base_of(request))
        return [told(task, simulation.settings.clock_skew, address) for task in tasks]


def base_of(request: Request) -> str:
    """The address this server was asked at."""
    return f"{request.url.scheme}://{request.url.netloc}"


class _Door:
    """All methods of one path, behind one check of the Authorization header."""

    def __init__(self, simulation: Simulation, gateway: Gateway):
        self._simulation = simulation
        self._gateway = gateway
        self.handlers: dict[str, Handler] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        try:
            response = _envelope(scope, 200, success(await self._data(request)))
        except Refusal as reason:
            localised = self._simulation.settings.localised_messages
            response = _envelope(scope, reason.http_status, refusal(reason, localised=localised))
        await response(scope, receive, send)

    async def _data(self, request: Request) -> Any:
        handler = self.handlers.get(request.method)
        if handler is None:
            raise Refusal(1202, f"Method {request.method} is not allowed on {request.url.path}")
        simulation = self._simulation
        account = authenticate(
            request.headers.get("authorization"),
            simulation.accounts,
            simulation.now + simulation.settings.clock_skew,
            jwt_allowed=self._gateway.signs_jwt,
        )
        return await handler(request, account)


class _Doors:
    """All doors, by path."""

    def __init__(self, simulation: Simulation):
        self._simulation = simulation
        self._doors: dict[str, _Door] = {}

    def at(self, gateway: Gateway, path: str) -> dict[str, Handler]:
        """The handlers of the door at a path, which is made where there is none."""
        return self._doors.setdefault(path, _Door(self._simulation, gateway)).handlers

    def routes(self) -> list[Route]:
        """Plain paths before those with an id in them: an endpoint may live below another one."""
        return [
            Route(path, door) for path, door in sorted(self._doors.items(), key=lambda one: "{" in one[0])
        ]


class _Unknown:
    """Answers paths nobody knows."""

    def __init__(self, simulation: Simulation):
        self._simulation = simulation

    async def __call__(self, request: Request, _error: Exception) -> Response:
        reason = Refusal(1203, f"Resource {request.url.path} does not exist")
        localised = self._simulation.settings.localised_messages
        return _envelope(request.scope, reason.http_status, refusal(reason, localised=localised))


class _Broken(_Unknown):
    """Answers when this program is wrong."""

    async def __call__(self, request: Request, error: Exception) -> Response:
        log.error("The simulator failed at %s.", request.url.path, exc_info=error)
        reason = Refusal(5000, f"the simulator itself failed: {error!r}")
        return _envelope(request.scope, reason.http_status, refusal(reason))


def _envelope(scope: Scope, status: int, content: Mapping[str, Any]) -> Response:
    scope.setdefault("state", {})["code"] = content["code"]
    return JSONResponse(dict(content), status)
