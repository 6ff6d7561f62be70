"""The control plane (``/_simulator/...``): sees everything, and turns everything."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from typing import Any

from pydantic_core import to_jsonable_python
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from kling_provider.api.endpoints import ENDPOINTS
from kling_provider.simulator.accounts import Account
from kling_provider.simulator.simulation import Simulation

PREFIX = "/_simulator"

#: Works on the simulation with the values of the request's JSON body.
Turn = Callable[[Simulation, dict[str, Any]], Any]
Look = Callable[[Simulation], Any]


def _look_settings(simulation: Simulation) -> Any:
    return simulation.settings.model_dump(mode="json")


def _turn_foreign(simulation: Simulation, values: dict[str, Any]) -> Any:
    simulation.foreign(**values)
    return {"tasks": len(simulation.world.tasks)}


def _turn_crowd(simulation: Simulation, values: dict[str, Any]) -> Any:
    tasks = simulation.crowd(values)
    return [{"task_id": one.task_id, "created_at": one.created_at, "ends_at": one.ends_at} for one in tasks]


def _turn_accounts(simulation: Simulation, values: dict[str, Any]) -> Any:
    simulation.add_account(Account(**values))
    return {"accounts": [account.name for account in simulation.accounts]}


def _turn_reset(simulation: Simulation, _values: dict[str, Any]) -> Any:
    simulation.reset()
    return _look_settings(simulation)


def _turn_clear_faults(simulation: Simulation) -> Any:
    with simulation.lock:
        simulation.faults.clear()
    return []


_LOOKS: Mapping[tuple[str, str], Look] = {
    ("GET", "/endpoints"): lambda _simulation: [asdict(row) for row in ENDPOINTS.values()],
    ("GET", "/requests"): lambda simulation: [asdict(one) for one in simulation.requests()],
    ("GET", "/counts"): lambda simulation: simulation.counts(),
    ("GET", "/tasks"): lambda simulation: [task.to_dict() for task in simulation.tasks()],
    ("GET", "/charges"): lambda simulation: [asdict(one) for one in simulation.charges()],
    ("GET", "/callbacks"): lambda simulation: [asdict(one) for one in simulation.callbacks],
    ("GET", "/settings"): _look_settings,
    ("GET", "/faults"): lambda simulation: [one.model_dump(mode="json") for one in simulation.faults.armed()],
    ("DELETE", "/faults"): _turn_clear_faults,
}

_TURNS: Mapping[str, Turn] = {
    "/settings": lambda simulation, values: simulation.set(values).model_dump(mode="json"),
    "/faults": lambda simulation, values: simulation.fault(values).model_dump(mode="json"),
    "/next_task": lambda simulation, values: simulation.next_task(values).model_dump(mode="json"),
    "/foreign": _turn_foreign,
    "/crowd": _turn_crowd,
    "/accounts": _turn_accounts,
    "/reset": _turn_reset,
}


def control_routes(simulation: Simulation) -> list[Route]:
    """The routes of the control plane."""

    def looking(look: Look) -> Callable[[Request], Awaitable[JSONResponse]]:
        async def answer(_request: Request) -> JSONResponse:
            return _json(look(simulation))

        return answer

    def turning(turn: Turn) -> Callable[[Request], Awaitable[JSONResponse]]:
        async def answer(request: Request) -> JSONResponse:
            return await _turned(request, lambda values: turn(simulation, values))

        return answer

    async def change(request: Request) -> JSONResponse:
        task_id = request.path_params["task_id"]
        return await _turned(request, lambda values: simulation.change(task_id, values).to_dict())

    async def index(_request: Request) -> JSONResponse:
        doors = [f"{method} {PREFIX}{path}" for method, path in _LOOKS]
        return _json(
            [*doors, *(f"POST {PREFIX}{path}" for path in _TURNS), f"POST {PREFIX}/tasks/{{task_id}}"]
        )

    return [
        Route(PREFIX, index, methods=["GET"]),
        *(Route(PREFIX + path, looking(look), methods=[method]) for (method, path), look in _LOOKS.items()),
        *(Route(PREFIX + path, turning(turn), methods=["POST"]) for path, turn in _TURNS.items()),
        Route(PREFIX + "/tasks/{task_id}", change, methods=["POST"]),
    ]


async def _turned(request: Request, turn: Callable[[dict[str, Any]], Any]) -> JSONResponse:
    """Answer 400 with the reason where the values are wrong, 404 for an unknown task."""
    try:
        values = await request.json() if await request.body() else {}
        if not isinstance(values, dict):
            raise ValueError("the body is not a JSON object")
        return _json(turn(values))
    except (ValueError, TypeError) as error:
        return _json({"error": str(error)}, 400)
    except KeyError as error:
        return _json({"error": f"no task {error}"}, 404)


def _json(content: Any, status: int = 200) -> JSONResponse:
    return JSONResponse(to_jsonable_python(content), status)
