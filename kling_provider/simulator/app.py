"""The HTTP side as one ASGI app: the doors of the API, the files, the control plane, and what none of them knows."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from kling_provider.simulator.callbacks import deliver_callbacks
from kling_provider.simulator.control import control_routes
from kling_provider.simulator.doors import api_routes, envelope
from kling_provider.simulator.files import send_file
from kling_provider.simulator.gate import Gate
from kling_provider.simulator.refusals import Refusal
from kling_provider.simulator.simulation import Simulation
from kling_provider.simulator.telling import refusal

log = logging.getLogger(__name__)


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

    routes: list[BaseRoute] = list(api_routes(simulation))
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


class _Unknown:
    """Answers paths nobody knows."""

    def __init__(self, simulation: Simulation):
        self._simulation = simulation

    async def __call__(self, request: Request, _error: Exception) -> Response:
        reason = Refusal(1203, f"Resource {request.url.path} does not exist")
        localised = self._simulation.settings.localised_messages
        return envelope(request.scope, reason.http_status, refusal(reason, localised=localised))


class _Broken(_Unknown):
    """Answers when this program is wrong."""

    async def __call__(self, request: Request, error: Exception) -> Response:
        log.error("The simulator failed at %s.", request.url.path, exc_info=error)
        reason = Refusal(5000, f"the simulator itself failed: {error!r}")
        return envelope(request.scope, reason.http_status, refusal(reason))
