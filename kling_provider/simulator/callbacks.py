"""Callbacks: the bare task object, posted at every change of status. Only to this machine."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from functools import partial
from typing import Any

from kling_provider.simulator.pictures import LOCAL, is_loopback
from kling_provider.simulator.simulation import Callback, Simulation
from kling_provider.simulator.tasks import SimTask
from kling_provider.simulator.telling import told_as_asked

EVERY_SECONDS = 0.05
SEND_SECONDS = 5


async def deliver_callbacks(simulation: Simulation) -> None:
    """Watch the world and send what is due, until cancelled."""
    sending: set[asyncio.Task[None]] = set()
    while True:
        await asyncio.sleep(EVERY_SECONDS)
        with simulation.lock:
            simulation.world.advance(simulation.now)
            due: dict[str, list[tuple[str, dict[str, Any]]]] = {}
            for task in simulation.world.take_changed():
                url = task.options.get("callback_url")
                if url:
                    due.setdefault(task.task_id, []).append((url, _tell(simulation, task)))
        for posts in due.values():
            job = asyncio.create_task(_send_all(simulation, posts))
            sending.add(job)
            job.add_done_callback(sending.discard)


def _tell(simulation: Simulation, task: SimTask) -> dict[str, Any]:
    return told_as_asked(task, simulation.settings.clock_skew, partial(simulation.address, simulation.base))


async def _send_all(simulation: Simulation, posts: list[tuple[str, dict[str, Any]]]) -> None:
    for url, body in posts:
        status, note = None, "not sent: only addresses on this machine are called"
        if is_loopback(url):
            status, note = await asyncio.to_thread(_post, url, body)
        simulation.callbacks.append(Callback(simulation.now, url, body, status, note))


def _post(url: str, body: Mapping[str, Any]) -> tuple[int | None, str]:
    request = urllib.request.Request(  # noqa: S310 - is_loopback has seen it, and only http(s) opens a host
        url, json.dumps(body).encode(), {"Content-Type": "application/json"}, method="POST"
    )
    try:
        with LOCAL.open(request, timeout=SEND_SECONDS) as answer:
            return answer.status, ""
    except urllib.error.HTTPError as error:
        return error.code, ""
    except (OSError, ValueError) as error:
        return None, str(error)
