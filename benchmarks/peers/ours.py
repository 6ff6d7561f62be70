"""This package: KlingTaskTrigger in a triggerer."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager

from benchmarks.peers.base import PATIENCE_SECONDS, Opened
from benchmarks.server import PROFILE_OF_BODY, Booked, Kling

#: Smallest gap between two asks for one task.
POKE_SECONDS = 5.0
SETTLE_SECONDS = 0.5


class _Triggers:
    def __init__(self, conn_id: str, poke_interval: float):
        self._conn_id = conn_id
        self._poke_interval = poke_interval

    async def wait(self, task: Booked) -> None:
        from kling_provider.triggers.kling import KlingTaskTrigger

        trigger = KlingTaskTrigger(
            task.task_id,
            task.endpoint,
            self._conn_id,
            self._poke_interval,
            task.created_at + PATIENCE_SECONDS,
            asked_at=task.created_at,
            profile=f"{task.endpoint} {PROFILE_OF_BODY}",
            booked_at=task.created_at,
        )
        async for event in trigger.run():
            if event.payload["status"] != "finished":
                raise RuntimeError(f"gave up: {event.payload}")


@asynccontextmanager
async def opened(_kling: Kling, conn_id: str, interval: float) -> Opened:
    """Wait with triggers of one connection, as a triggerer does; ``interval`` is the poke_interval."""
    yield _Triggers(conn_id, interval or POKE_SECONDS)


async def requests_of_the_worker(kling: Kling, conn_id: str, tasks: list[Booked]) -> float:
    """Run the sensor for fresh tasks as far as a worker does, and count what it asks for each."""
    before, last = sum(kling.requests().values()), -1
    while before != last:  # what was on its way when the last waits were cancelled still arrives
        await asyncio.sleep(SETTLE_SECONDS)
        last, before = before, sum(kling.requests().values())
    for task in tasks:
        await asyncio.to_thread(_defer, conn_id, task)
    return (sum(kling.requests().values()) - before) / len(tasks)


def _defer(conn_id: str, task: Booked) -> None:
    from datetime import UTC, datetime
    from types import SimpleNamespace

    from airflow.providers.common.compat.sdk import TaskDeferred

    from kling_provider.sensors.kling import KlingTaskSensor

    logging.getLogger("kling_provider").setLevel(logging.ERROR)
    submitted = datetime.fromtimestamp(task.created_at, UTC).isoformat()
    sensor = KlingTaskSensor(
        task_id="wait",
        kling_conn_id=conn_id,
        kling_task_id={
            "task_id": task.task_id,
            "endpoint": task.endpoint,
            "submitted_at": submitted,
            "profile": f"{task.endpoint} {PROFILE_OF_BODY}",
        },
    )
    instance = SimpleNamespace(try_number=1, max_tries=0, map_index=-1, start_date=datetime.now(UTC))
    instance.xcom_push = lambda key, value: None
    try:
        sensor.execute({"ti": instance, "task": sensor})
    except TaskDeferred:
        return
    raise RuntimeError("the sensor did not defer")
