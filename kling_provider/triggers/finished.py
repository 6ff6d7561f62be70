"""KlingFinishedTrigger: starts DAGs when videos finish, as the trigger of an AssetWatcher."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import time
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.triggers import BaseEventTrigger
from airflow.triggers.base import TriggerEvent

from kling_provider.api.endpoints import ENDPOINTS
from kling_provider.api.finished import FinishedLists
from kling_provider.api.tasks import FAILED, SUCCEED, KlingTask

if TYPE_CHECKING:
    from kling_provider.triggers.lists import FinishedReader

log = logging.getLogger(__name__)

#: The lists are not read more often, in seconds.
LEAST_INTERVAL_SECONDS = 5.0
#: One event tells of at most so many tasks: Airflow maps a task over 1,024 at most ([core] max_map_length).
MOST_TASKS = 500
#: After so many seconds an event is in Airflow's database; only then is it remembered as told.
HANDED_OVER_SECONDS = 5.0
#: Key in Airflow's asset state (3.3+), with a digest of the arguments.
STATE_KEY = "kling_finished"


class KlingFinishedTrigger(BaseEventTrigger):
    """Tell of each task of the account that finishes, whoever submitted it.

    For an ``AssetWatcher``: the DAGs that are scheduled on its asset run when videos have finished. What one look finds
    is one event, whose payload is ``{"tasks": [{task_id, endpoint, status, external_task_id, video_ids,
    finished_at}, ...]}``, and ``KlingToObjectStorageOperator.partial(...).expand(task=payload["tasks"])`` stores the
    results. More than 500 come as several events, an ``interval`` apart: of events that come close together, Airflow
    starts a run for the first only, and the rest wait for another event.

    Every ``interval`` the lists of the endpoints are read: one request each where Kling lists the newest first, in any
    other order one for each 500 tasks, all under the connection's ``requests_per_second``. What goes wrong is logged
    once and tried again at the next interval; the trigger never ends.

    On Airflow 3.3 and later it remembers across restarts what it has told: nothing is missed, and nothing is told
    twice unless the triggerer stops within seconds after an event. Before 3.3 it has no memory: after a restart
    it tells again what has finished in the last ``look_back``.

    Arguments are plain values, because Airflow stores them and recognises the watcher by them.

    :param endpoints: whose tasks: names of endpoints of the classic dialect, and ``tasks`` for all tasks of the new
        one (API keys only); by default text2video and image2video.
    :param statuses: how they ended: ``succeed``, ``failed``; by default ``succeed`` only.
    :param external_task_id_prefix: only tasks whose external_task_id begins so, for accounts that are shared:
        ``af1-`` for all that this provider submitted, ``kling_provider.api.identity.namespace_prefix("...")`` for
        those of one namespace. Empty: all tasks.
    :param kling_conn_id: Airflow connection of type ``kling``.
    :param interval: seconds between two looks at the lists, at least 5.
    :param look_back: at the very first look, tasks that finished so many seconds ago are news.
    :raises TypeError: for arguments that are none of these.
    """

    def __init__(
        self,
        endpoints: Sequence[str] = ("text2video", "image2video"),
        statuses: Sequence[str] = (SUCCEED,),
        external_task_id_prefix: str = "",
        kling_conn_id: str = "kling_default",
        interval: float | timedelta = 60,
        look_back: float | timedelta = 3600,
    ):
        super().__init__()  # type: ignore[no-untyped-call]
        # Always a TypeError: what else is raised while a trigger is loaded ends the triggerer.
        self.endpoints = _words("endpoints", endpoints, [name for name in ENDPOINTS if has_list(name)])
        self.statuses = _words("statuses", statuses, [SUCCEED, FAILED])
        if not isinstance(external_task_id_prefix, str) or not isinstance(kling_conn_id, str):
            raise TypeError("external_task_id_prefix and kling_conn_id are text.")
        self.external_task_id_prefix = external_task_id_prefix
        self.kling_conn_id = kling_conn_id
        self.interval = _seconds("interval", interval, LEAST_INTERVAL_SECONDS)
        self.look_back = _seconds("look_back", look_back, 0.0)
        self._saved: dict[str, Any] | None = None

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Give class path and arguments, to be stored; equal watchers give equal ones."""
        return f"{type(self).__module__}.{type(self).__qualname__}", {
            "endpoints": self.endpoints,
            "statuses": self.statuses,
            "external_task_id_prefix": self.external_task_id_prefix,
            "kling_conn_id": self.kling_conn_id,
            "interval": self.interval,
            "look_back": self.look_back,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Read the lists again and again, and yield what has finished in each look as one event."""
        reader = await asyncio.to_thread(_reader, self.kling_conn_id, self.endpoints)
        memory = FinishedLists.from_dict(await self._recall(), time.time() - self.look_back)
        while True:
            started = time.time()
            told = [fact_of(task) for task in await reader.read(memory) if self._is_wanted(task)]
            for first in range(0, len(told), MOST_TASKS):
                if first:
                    await asyncio.sleep(self.interval)
                yield TriggerEvent({"tasks": told[first : first + MOST_TASKS]})
            if memory.to_dict() != self._saved:
                await asyncio.sleep(min(HANDED_OVER_SECONDS, self.interval))
                await self._remember(memory.to_dict())
            await asyncio.sleep(max(0.0, started + self.interval - time.time()))

    def _is_wanted(self, task: KlingTask) -> bool:
        return task.status in self.statuses and (task.external_task_id or "").startswith(
            self.external_task_id_prefix
        )

    @property
    def _state_key(self) -> str:
        """Differs for watchers that look for something else, on the same asset."""
        what = [self.kling_conn_id, self.endpoints, self.statuses, self.external_task_id_prefix]
        return f"{STATE_KEY}:{hashlib.sha256(json.dumps(what).encode()).hexdigest()[:16]}"

    async def _recall(self) -> object:
        store = getattr(self, "asset_state_store", None)
        if store is None:  # before Airflow 3.3, or not in a watcher
            return None
        try:
            return await store.aget(self._state_key)
        except Exception as error:  # without memory is better than without events
            log.warning("What was told before the restart is not known: %s: %s", type(error).__name__, error)
            return None

    async def _remember(self, told: dict[str, Any]) -> None:
        self._saved = told
        store = getattr(self, "asset_state_store", None)
        if store is None:
            return
        try:
            await store.aset(self._state_key, told)
        except Exception as error:
            log.warning("What was told could not be remembered: %s: %s", type(error).__name__, error)


def fact_of(task: KlingTask) -> dict[str, Any]:
    """What an event tells of a task: small, plain JSON, without addresses that are signed.

    :param task: one that is over.
    """
    return {
        "task_id": task.task_id,
        "endpoint": task.endpoint,
        "status": task.status,
        "external_task_id": task.external_task_id,
        "video_ids": [video.id for video in task.videos],
        "finished_at": None if task.updated_at is None else task.updated_at.isoformat(),
    }


def has_list(name: str) -> bool:
    """Whether the tasks of an endpoint can be listed; those of the new dialect are, together, as ``tasks``.

    :param name: of an endpoint.
    """
    row = ENDPOINTS[name]
    return name == "tasks" or (row.work == "task" and row.dialect == "classic")


def _reader(kling_conn_id: str, endpoints: Sequence[str]) -> FinishedReader:
    """Called in a thread: importing the HTTP clients would hold up the loop of all triggers."""
    from kling_provider.triggers.lists import FinishedReader

    return FinishedReader(kling_conn_id, [ENDPOINTS[name] for name in endpoints])


def _words(name: str, given: Sequence[str], known: Sequence[str]) -> list[str]:
    """Sorted and once each, so that equal watchers have equal arguments."""
    words = [given] if isinstance(given, str) else list(given)
    unknown = [word for word in words if word not in known]
    if unknown or not words:
        raise TypeError(f"{name}={given!r}: use one or more of {', '.join(known)}.")
    return sorted(set(words))


def _seconds(name: str, given: float | timedelta, least: float) -> float:
    seconds = given.total_seconds() if isinstance(given, timedelta) else given
    if (
        not isinstance(seconds, int | float)
        or isinstance(seconds, bool)
        or not least <= seconds < float("inf")
    ):
        raise TypeError(f"{name}={given!r}: use a number of seconds, at least {least:g}.")
    return float(seconds)
