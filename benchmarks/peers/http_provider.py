"""What Airflow's HTTP provider offers, unchanged: a sensor, its trigger, and the trigger of event-driven DAGs."""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

from benchmarks.peers.base import Opened
from benchmarks.peers.per_task import OVER
from benchmarks.server import Booked, Kling

HTTP = "_http"
#: The sensor in poke mode holds a worker; here a thread stands for it.
MOST_WORKERS = 128


class _Sensors:
    def __init__(self, conn_id: str, interval: float, workers: ThreadPoolExecutor):
        self._conn_id, self._interval, self._workers = conn_id, interval, workers

    async def wait(self, task: Booked) -> None:
        await asyncio.get_running_loop().run_in_executor(self._workers, self._poke_until_over, task)

    def _poke_until_over(self, task: Booked) -> None:
        from airflow.providers.http.sensors.http import HttpSensor

        sensor = HttpSensor(
            task_id="wait",
            http_conn_id=self._conn_id,
            endpoint=f"/v1/videos/{task.endpoint}/{task.task_id}",
            response_check=lambda response: response.json()["data"]["task_status"] in OVER,
        )
        while not sensor.poke({}):
            time.sleep(self._interval)


class _SensorTriggers:
    def __init__(self, conn_id: str, interval: float):
        self._conn_id, self._interval = conn_id, interval

    async def wait(self, task: Booked) -> None:
        from airflow.providers.http.triggers.http import HttpSensorTrigger

        trigger = HttpSensorTrigger(
            endpoint=f"/v1/videos/{task.endpoint}/{task.task_id}",
            http_conn_id=self._conn_id,
            poke_interval=self._interval,
        )
        async for _event in trigger.run():
            return


class _EventTriggers:
    def __init__(self, conn_id: str, interval: float):
        self._conn_id, self._interval = conn_id, interval

    async def wait(self, task: Booked) -> None:
        from airflow.providers.http.triggers.http import HttpEventTrigger

        trigger = HttpEventTrigger(
            response_check_path=f"{__name__}.is_over",
            http_conn_id=self._conn_id,
            endpoint=f"/v1/videos/{task.endpoint}/{task.task_id}",
            poll_interval=self._interval,
        )
        async for _event in trigger.run():
            return


async def is_over(response: Any) -> bool:
    """Whether a task is over, for the provider's response check."""
    return response.json()["data"]["task_status"] in OVER


@asynccontextmanager
async def sensor(kling: Kling, conn_id: str, interval: float) -> Opened:
    """HttpSensor with a response_check: a worker each."""
    _quiet()
    kling.connect_http(conn_id + HTTP)
    with ThreadPoolExecutor(MOST_WORKERS) as workers:
        yield _Sensors(conn_id + HTTP, interval, workers)


@asynccontextmanager
async def sensor_trigger(kling: Kling, conn_id: str, interval: float) -> Opened:
    """HttpSensor(deferrable=True): any 200 ends the wait."""
    _quiet()
    kling.connect_http(conn_id + HTTP)
    yield _SensorTriggers(conn_id + HTTP, interval)


@asynccontextmanager
async def event_trigger(kling: Kling, conn_id: str, interval: float) -> Opened:
    """HttpEventTrigger with a response check: made for AssetWatchers, but it can wait."""
    _quiet()
    kling.connect_http(conn_id + HTTP)
    yield _EventTriggers(conn_id + HTTP, interval)


def _quiet() -> None:
    """Each poke writes lines that would fill the terminal."""
    for name in ("airflow", "airflow.task", "airflow.providers.http"):
        logging.getLogger(name).setLevel(logging.ERROR)
