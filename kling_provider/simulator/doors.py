"""The doors of the API: one per path, from the tables of endpoints and gateways, in Kling's envelope."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from kling_provider.api.billing import BILLING_PATHS
from kling_provider.api.endpoints import ENDPOINTS, Endpoint
from kling_provider.api.gateways import GATEWAYS, Gateway
from kling_provider.simulator import taking
from kling_provider.simulator.accounts import Account
from kling_provider.simulator.auth import authenticate
from kling_provider.simulator.batch import many_tasks
from kling_provider.simulator.billing import billing
from kling_provider.simulator.costs import account_costs
from kling_provider.simulator.gate import Receive, Scope, Send
from kling_provider.simulator.listing import list_presets, list_tasks
from kling_provider.simulator.refusals import Refusal
from kling_provider.simulator.simulation import Simulation
from kling_provider.simulator.telling import refusal, success

#: Gives the ``data`` of an answer.
Handler = Callable[[Request, Account], Awaitable[Any]]


def api_routes(simulation: Simulation) -> list[Route]:
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
            doors.at(gateway, path)["POST"] = partial(taking.call, simulation, gateway, endpoint)
    elif endpoint.work == "read":
        for path in paths:
            doors.at(_only_keys(gateway) if endpoint.name == "tasks" else gateway, path).update(
                _reads(simulation, endpoint)
            )
    elif endpoint.dialect == "new":
        for path in paths:
            doors.at(_only_keys(gateway), path)["POST"] = partial(
                taking.create, simulation, gateway, endpoint
            )
    else:
        _open_classic(doors, simulation, gateway, endpoint, paths[0])


def _open_classic(
    doors: _Doors, simulation: Simulation, gateway: Gateway, endpoint: Endpoint, create: str
) -> None:
    door = doors.at(gateway, create)
    door["POST"] = partial(taking.create, simulation, gateway, endpoint)
    by_caller = gateway.external_id == "lookup" and endpoint.external_id == "lookup"
    asked: str | None = endpoint.name
    if gateway.query_path is None:
        door["GET"] = partial(taking.list_page, simulation, endpoint)
        query = f"{create}/{{task_id}}"
    else:
        query = gateway.query_path.replace("{endpoint}", endpoint.name)
        asked = endpoint.name if "{endpoint}" in gateway.query_path else None
    doors.at(gateway, query)["GET"] = partial(taking.query, simulation, asked, by_caller)


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


class _Door:
    """All methods of one path, behind one check of the Authorization header."""

    def __init__(self, simulation: Simulation, gateway: Gateway):
        self._simulation = simulation
        self._gateway = gateway
        self.handlers: dict[str, Handler] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        try:
            response = envelope(scope, 200, success(await self._data(request)))
        except Refusal as reason:
            localised = self._simulation.settings.localised_messages
            response = envelope(scope, reason.http_status, refusal(reason, localised=localised))
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


def envelope(scope: Scope, status: int, content: Mapping[str, Any]) -> Response:
    """An answer, which leaves its code for the journal."""
    scope.setdefault("state", {})["code"] = content["code"]
    return JSONResponse(dict(content), status)
