"""Reads the lists of an account for what has finished, at the pace of all that wait."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Sequence
from typing import TypeVar

from kling_provider.api.calls import Call
from kling_provider.api.endpoints import MAX_PAGE, Endpoint
from kling_provider.api.errors import ApiFailure
from kling_provider.api.finished import FinishedLists, FinishedTasks, PageOrder
from kling_provider.api.tasks import KlingTask
from kling_provider.hooks.kling import KlingAsyncHook
from kling_provider.triggers.pacing import send_once, set_pace, wait_for_turn
from kling_provider.triggers.watcher import watcher_for

T = TypeVar("T")
log = logging.getLogger(__name__)


class FinishedReader:
    """Reads the lists of some endpoints, as far back as something new can be.

    :param kling_conn_id: Airflow connection of type ``kling``; read anew for each round.
    :param endpoints: rows of the classic dialect, and ``tasks`` for the list of the new one.
    """

    def __init__(self, kling_conn_id: str, endpoints: Sequence[Endpoint]):
        self._conn_id = kling_conn_id
        self._endpoints = endpoints
        self._troubles: dict[str, object] = {}

    async def read(self, memory: FinishedLists) -> list[KlingTask]:
        """Read each list once, and give the tasks that are news to ``memory``.

        A list that cannot be read now is left for the next round; its trouble is logged once.

        :param memory: what was told; updated.
        """
        found: list[KlingTask] = []
        async with KlingAsyncHook(self._conn_id, attempts=1) as hook:
            for row in self._endpoints:
                known, is_complete = memory.of(row.name), True
                pages = self._new_pages if row.name == "tasks" else self._classic_pages
                try:
                    async for tasks in pages(hook, row, known):
                        found += known.news(tasks)
                except Exception as error:  # Kling, the network, a connection that is being edited
                    is_complete = False
                    self._on_trouble(row.name, error)
                else:
                    self._on_success(row.name)
                known.on_round(time.time(), is_complete=is_complete)
        return found

    async def _classic_pages(
        self, hook: KlingAsyncHook, row: Endpoint, memory: FinishedTasks
    ) -> AsyncIterator[Sequence[KlingTask]]:
        routes = (await hook.get_config()).routes
        order = PageOrder(memory.reach)
        for number in range(1, MAX_PAGE + 1):
            page = await self._send(hook, routes.list_ours(row, number, memory))
            yield list(page.told.values())
            if order.is_over(page.ids, page.times):
                return

    async def _new_pages(
        self, hook: KlingAsyncHook, row: Endpoint, memory: FinishedTasks
    ) -> AsyncIterator[Sequence[KlingTask]]:
        routes = (await hook.get_config()).routes
        cursor: str | None = None
        for _ in range(MAX_PAGE):
            start_time = str(int(memory.reach * 1000))
            page = await self._send(hook, routes.list_new(cursor, row.max_page_size, start_time=start_time))
            yield page.tasks
            if page.next_cursor in (None, cursor):
                return
            cursor = page.next_cursor

    async def _send(self, hook: KlingAsyncHook, call: Call[T]) -> T:
        """Send a question when the connection's pace lets it; those who wait for tasks ask at the same pace."""
        budget = watcher_for(self._conn_id).budget
        set_pace(budget, await hook.get_config())
        await wait_for_turn(budget)
        return await send_once(hook, budget, call)

    def _on_trouble(self, name: str, error: Exception) -> None:
        """Say once what is wrong: Kling's request_id is another one each time."""
        kind = error.failure.reaction if isinstance(error, ApiFailure) else str(error)
        if self._troubles.get(name) != kind:
            self._troubles[name] = kind
            log.warning(
                "%s: finished tasks of %s cannot be listed now (%s: %s); trying again.",
                self._conn_id,
                name,
                type(error).__name__,
                error,
            )

    def _on_success(self, name: str) -> None:
        if self._troubles.pop(name, None) is not None:
            log.info("%s: finished tasks of %s can be listed again.", self._conn_id, name)
