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
from kling_provider.api.endpoints import ENDPOINTS, MAX_PAGE, MAX_PAGE_SIZE, Endpoint
from kling_provider.api.gateways import GATEWAYS, Gateway
from kling_provider.simulator.accounts import Account
from kling_provider.simulator.auth import authenticate
from kling_provider.simulator.batch import PATH as MANY_TASKS
from kling_provider.simulator.batch import many_tasks
from kling_provider.simulator.billing import billing
from kling_provider.simulator.callbacks import deliver_callbacks
from kling_provider.simulator.control import control_routes
from kling_provider.simulator.costs import account_costs
from kling_provider.simulator.files import send_file
from kling_provider.simulator.gate import Gate, Receive, Scope, Send
from kling_provider.simulator.refusals import Refusal
from kling_provider.simulator.simulation import Simulation
from kling_provider.simulator.telling import booked, refusal, success, told
from kling_provider.simulator.validation import read_body, read_order

log = logging.getLogger(__name__)

DEFAULT_PAGE_SIZE = 30

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
    routes.append(Route("/_files/{name}.mp4", partial(send_file, simulation), methods=["GET"]))
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
    paths: dict[str, _Door] = {"/account/costs": _Door(simulation, GATEWAYS["official"])}
    paths["/account/costs"].handlers["GET"] = partial(account_costs, simulation)
    paths[MANY_TASKS] = _Door(simulation, replace(GATEWAYS["official"], signs_jwt=False))
    paths[MANY_TASKS].handlers["GET"] = partial(many_tasks, simulation)
    for kind, path in BILLING_PATHS.items():
        paths[path] = _Door(simulation, GATEWAYS["official"])
        paths[path].handlers["POST"] = partial(billing, simulation, kind)
    for gateway in (GATEWAYS["official"], GATEWAYS["dmxapi"]):
        for endpoint in ENDPOINTS.values():
            if endpoint.dialect != "classic" or endpoint.work != "task":
                continue
            create = gateway.path_prefix + endpoint.create_path
            door = paths.setdefault(create, _Door(simulation, gateway))
            door.handlers["POST"] = partial(_create, simulation, gateway, endpoint)
            if gateway.query_path is None:
                door.handlers["GET"] = partial(_list, simulation, endpoint)
                query, asked = f"{create}/{{task_id}}", endpoint.name
            else:
                query, asked = gateway.query_path.replace("{endpoint}", endpoint.name), None
                if "{endpoint}" in gateway.query_path:
                    asked = endpoint.name
            paths.setdefault(query, _Door(simulation, gateway)).handlers["GET"] = partial(
                _query, simulation, asked, gateway.external_id == "lookup"
            )
    return [Route(path, door) for path, door in paths.items()]


async def _create(
    simulation: Simulation, gateway: Gateway, endpoint: Endpoint, request: Request, account: Account
) -> Any:
    body = read_body(await request.body())
    generation = simulation.generation
    order = await asyncio.to_thread(
        read_order,
        endpoint,
        body,
        gateway.pictures,
        simulation.studio.pictures,
        strict=simulation.settings.strict,
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


async def _query(
    simulation: Simulation, endpoint: str | None, external: bool, request: Request, account: Account
) -> Any:
    name = request.path_params["task_id"]
    with simulation.lock:
        task = simulation.world.find(account, name, simulation.now, endpoint=endpoint, external=external)
        return told(task, simulation.settings.clock_skew, partial(simulation.address, base_of(request)))


async def _list(simulation: Simulation, endpoint: Endpoint, request: Request, account: Account) -> Any:
    page = _number(request, "pageNum", 1, MAX_PAGE)
    size = _number(request, "pageSize", DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)
    with simulation.lock:
        tasks = simulation.world.page(account, endpoint.name, page, size, simulation.now)
        address = partial(simulation.address, base_of(request))
        return [told(task, simulation.settings.clock_skew, address) for task in tasks]


def base_of(request: Request) -> str:
    """The address this server was asked at."""
    return f"{request.url.scheme}://{request.url.netloc}"


def _number(request: Request, name: str, default: int, largest: int) -> int:
    text = request.query_params.get(name, str(default))
    if not text.isdecimal() or not 1 <= int(text) <= largest:
        raise Refusal(1201, f"{name} must be between 1 and {largest}")
    return int(text)


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
