"""Per-task polling, as Airflow's providers of asynchronous services do it: one loop per task, nothing shared.

Written anew after the pattern: the Anthropic provider's trigger asks with ``asyncio.to_thread`` and a client of its
own, Databricks' with a session per trigger. The third shares one session, which none of them does, and is the best
that asking for each task alone can be.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import aiohttp
import requests

from benchmarks.peers.base import Opened
from benchmarks.server import Booked, Kling

OVER = ("succeed", "failed")
HEADERS = {"Authorization": "Bearer sim-key"}


def address_of(url: str, task: Booked) -> str:
    """Where a task is asked for, in the classic dialect."""
    return f"{url}/v1/videos/{task.endpoint}/{task.task_id}"


class _Threads:
    """A thread per ask (Anthropic)."""

    def __init__(self, url: str, interval: float):
        self._url, self._interval = url, interval

    async def wait(self, task: Booked) -> None:
        with requests.Session() as session:
            session.headers.update(HEADERS)
            while await asyncio.to_thread(self._status, session, task) not in OVER:
                await asyncio.sleep(self._interval)

    def _status(self, session: requests.Session, task: Booked) -> str:
        answer = session.get(address_of(self._url, task), timeout=60)
        answer.raise_for_status()
        return str(answer.json()["data"]["task_status"])


class _Sessions:
    """A session per task (Databricks)."""

    def __init__(self, url: str, interval: float):
        self._url, self._interval = url, interval

    async def wait(self, task: Booked) -> None:
        async with aiohttp.ClientSession(headers=HEADERS) as session:
            await _until_over(session, address_of(self._url, task), self._interval)


class _Shared:
    """One session for all."""

    def __init__(self, url: str, interval: float, session: aiohttp.ClientSession):
        self._url, self._interval, self._session = url, interval, session

    async def wait(self, task: Booked) -> None:
        await _until_over(self._session, address_of(self._url, task), self._interval)


async def _until_over(session: aiohttp.ClientSession, url: str, interval: float) -> None:
    while True:
        async with session.get(url) as answer:
            answer.raise_for_status()
            told = await answer.json()
        if told["data"]["task_status"] in OVER:
            return
        await asyncio.sleep(interval)


@asynccontextmanager
async def threads(kling: Kling, _conn_id: str, interval: float) -> Opened:
    """Ask in a thread."""
    yield _Threads(kling.url, interval)


@asynccontextmanager
async def sessions(kling: Kling, _conn_id: str, interval: float) -> Opened:
    """Ask with a session per task."""
    yield _Sessions(kling.url, interval)


@asynccontextmanager
async def shared(kling: Kling, _conn_id: str, interval: float) -> Opened:
    """Ask with one session."""
    async with aiohttp.ClientSession(headers=HEADERS) as session:
        yield _Shared(kling.url, interval, session)
