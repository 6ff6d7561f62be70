"""One watcher per event loop and connection asks Kling for everybody who waits.

Rules
  * Tasks that are due are asked for together; whoever is not due yet rides along where there is room.
  * A rejected key stops all questions but one in half a minute, with the connection read anew, until it is taken
    again, or has been rejected for ten minutes.
  * Nobody hangs and nobody fails because of a mistake in here: what crashes is logged, and goes on after a pause.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import logging
import math
import operator
import time
from collections.abc import Coroutine
from functools import partial
from typing import Any

from kling_provider import stats
from kling_provider.api import polling
from kling_provider.api.errors import Failure, Reaction
from kling_provider.api.pace import Durations
from kling_provider.api.polling import Decision, Finished, Wait
from kling_provider.api.tasks import KlingTask
from kling_provider.exceptions import KlingBadRequestError
from kling_provider.hooks.config import KlingConfig
from kling_provider.triggers.asking import Asking
from kling_provider.triggers.background import Background, PerLoop
from kling_provider.triggers.routes import LARGEST_BATCH
from kling_provider.triggers.watch import Watch

log = logging.getLogger(__name__)

#: Rounds of one kind are so many seconds apart at least, so that those who become due together are asked together.
ROUND_SECONDS = 2.5
LONGEST_SLEEP_SECONDS = 60.0
#: Whoever was in a round that crashed is asked again after so many seconds.
AFTER_CRASH_SECONDS = 10.0

#: The kinds of rounds; that of a list has the name of its endpoint.
_BATCH, _SINGLE = "GET /tasks", "single"


class Watcher:
    """Asks for the tasks of one connection in one event loop. It works while somebody waits, and remembers.

    :param kling_conn_id: Airflow connection of type ``kling``.
    """

    def __init__(self, kling_conn_id: str):
        self.durations = Durations()
        self._conn_id = kling_conn_id
        self._waits: dict[Watch, None] = {}
        self._by_id: dict[str, list[Watch]] = {}
        self._asking = Asking(kling_conn_id, self._by_id, self._on_task, self._on_failure)
        self._rounds: dict[str, asyncio.Task[None]] = {}
        self._next_round: dict[str, float] = {}
        self._changed: asyncio.Event | None = None
        self._soonest = 0.0
        self._probe_at = 0.0
        self._background = Background(
            f"The watcher of {kling_conn_id}", self._watch, lambda: bool(self._waits)
        )

    async def wait(self, watch: Watch) -> Decision:
        """Wait until a task is over, cannot be asked for, or its deadline has passed.

        :param watch: whom to wait for. Who is cancelled leaves, and nobody else does.
        """
        self._waits[watch] = None
        self._by_id.setdefault(watch.task_id, []).append(watch)
        try:
            self._background.ensure()
            if watch.due_at < self._soonest:
                self._wake()
            return await watch.future
        finally:
            del self._waits[watch]
            same = self._by_id[watch.task_id]
            same.remove(watch)
            if not same:
                del self._by_id[watch.task_id]
            if not self._waits:
                self._wake()

    def _wake(self) -> None:
        if self._changed is not None:
            self._changed.set()

    # --- who is asked for, and when ---------------------------------------------------------------

    async def _watch(self) -> None:
        self._changed = asyncio.Event()
        self._asking.open()
        try:
            while self._waits:
                self._changed.clear()
                self._soonest = math.inf  # whoever comes while it looks wakes it again
                await self._start_rounds()
                stats.gauge("watcher.in_flight", len(self._waits), conn_id=self._conn_id)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), max(0.0, self._soonest - time.time()))
        finally:
            rounds = list(self._rounds.values())
            self._changed, self._soonest, self._rounds = None, 0.0, {}
            for task in rounds:
                task.cancel()
            try:
                await asyncio.gather(*rounds, return_exceptions=True)
            finally:
                stats.gauge("watcher.in_flight", len(self._waits), conn_id=self._conn_id)
                await self._asking.close()

    async def _start_rounds(self) -> None:
        """Start asking for those who are due, and note when to look again."""
        now = time.time()
        self._look_at(now + LONGEST_SLEEP_SECONDS)
        if self._asking.rejected is not None:
            if not self._rounds and now >= self._probe_at:
                self._start(_SINGLE, self._probe())
            elif not self._rounds:
                self._look_at(self._probe_at)
            return
        waiting = [watch for watch in self._waits if not watch.is_asked and not watch.is_over]
        due = [watch for watch in waiting if watch.due_at <= now]
        self._look_at(min((watch.due_at for watch in waiting if watch.due_at > now), default=math.inf))
        if not due or not (config := await self._config(due)):
            return
        for kind, members in self._sorted(config, due).items():
            if kind in self._rounds:  # its end wakes this up again
                continue
            if now < (may_start_at := self._next_round.get(kind, 0.0)):
                self._look_at(may_start_at)
                continue
            gap = min(ROUND_SECONDS, *(watch.poke_interval for watch in members))
            self._next_round[kind] = now + gap
            self._start(kind, self._round(kind, config, members))

    def _look_at(self, moment: float) -> None:
        self._soonest = min(self._soonest, moment)

    async def _config(self, due: list[Watch]) -> KlingConfig | None:
        try:
            config = await self._asking.config()
        except KlingBadRequestError as error:  # the connection is gone or broken, maybe being edited
            failure = Failure(Reaction.BAD_REQUEST, str(error))
        except Exception as error:  # a secrets backend that does not answer is a blip like any other
            failure = Failure(Reaction.SERVER, f"connection not read: {type(error).__name__}: {error}")
        else:
            self.durations.set_typical(config.typical_seconds)
            return config
        log.warning("%s: %d tasks cannot be asked for now: %s", self._conn_id, len(due), failure.message)
        for watch in due:
            self._on_failure(watch, failure)
        return None

    def _sorted(self, config: KlingConfig, due: list[Watch]) -> dict[str, list[Watch]]:
        """Who is asked for how."""
        kinds: dict[str, list[Watch]] = {}
        for watch in due:
            kinds.setdefault(self._kind(config, watch), []).append(watch)
        # For one task alone, the direct query is as cheap, and tells the most.
        for kind in [kind for kind, members in kinds.items() if len(members) == 1 and kind != _SINGLE]:
            if not self._riders(kind, config):
                kinds.setdefault(_SINGLE, []).extend(kinds.pop(kind))
        return kinds

    def _kind(self, config: KlingConfig, watch: Watch) -> str:
        if self._asking.may_batch(config, watch):
            return _BATCH
        return watch.row.name if self._asking.may_list(watch) else _SINGLE

    def _riders(self, kind: str, config: KlingConfig) -> list[Watch]:
        """Those who are not due and may be asked for already, the next ones first."""
        now = time.time()
        free = [
            watch
            for watch in self._waits
            if watch.earliest <= now < watch.due_at
            and not (watch.is_asked or watch.is_over)
            and self._kind(config, watch) == kind
        ]
        return heapq.nsmallest(LARGEST_BATCH, free, key=operator.attrgetter("due_at"))

    def _start(self, kind: str, work: Coroutine[Any, Any, None]) -> None:
        task = self._rounds[kind] = asyncio.get_running_loop().create_task(work)
        task.add_done_callback(partial(self._ended, kind))

    def _ended(self, kind: str, task: asyncio.Task[None]) -> None:
        if self._rounds.get(kind) is task:
            del self._rounds[kind]
        self._wake()

    async def _round(self, kind: str, config: KlingConfig, due: list[Watch]) -> None:
        """Ask once for those who are due."""
        due.sort(key=operator.attrgetter("due_at"))
        riders = self._riders(kind, config) if kind == _BATCH else []
        members = [*due, *riders]
        for watch in members:
            watch.is_asked = True
        try:
            if kind == _BATCH:
                await self._asking.by_batch(config, due, riders)
            elif kind == _SINGLE:
                await self._asking.singly(config, due)
            else:
                await self._asking.by_list(config, due[0].row, due)
        except Exception:
            log.exception(
                "%s: asking for %d tasks crashed; they are asked for again.", self._conn_id, len(due)
            )
            for watch in due:
                watch.due_at = max(watch.due_at, time.time() + AFTER_CRASH_SECONDS)
        finally:
            for watch in members:
                watch.is_asked = False

    # --- what comes of it -------------------------------------------------------------------------

    async def _probe(self) -> None:
        """Ask one question with the connection read anew, for all: is the key taken now?"""
        rejected, self._probe_at = self._asking.rejected, time.time() + polling.AUTH_RETRY_SECONDS
        assert rejected is not None
        if not self._waits:
            return
        first = min(self._waits, key=operator.attrgetter("due_at"))
        self._asking.rejected = None
        await self._asking.read_anew()
        config = await self._config([first])
        if config is not None:
            await self._asking.singly(config, [first])
        if config is None or self._asking.rejected is not None:
            failure = self._asking.rejected = self._asking.rejected or rejected
            for watch in [watch for watch in self._waits if watch is not first]:
                self._on_failure(watch, failure)

    def _on_task(self, watch: Watch, task: KlingTask) -> None:
        """Kling has told of a task."""
        if watch.is_over:
            return
        now = time.time()
        if watch.task is None or watch.task.status != task.status:
            elapsed = watch.elapsed(now)
            watch.task = task
            watch.context.run(
                log.info,
                "Task %s: %s%s; %s usually takes about %.3g s.",
                task.task_id,
                task.status,
                "" if elapsed is None else f" after {elapsed:.0f} s",
                watch.row.name,
                watch.expected.seconds,
            )
        watch.task = task
        self._decide(watch, watch.poller.on_task(task, now), now)

    def _on_failure(self, watch: Watch, failure: Failure) -> None:
        """Kling has told of no task."""
        if not watch.is_over:
            now = time.time()
            self._decide(watch, watch.poller.on_failure(failure, now), now)

    def _decide(self, watch: Watch, decision: Decision, now: float) -> None:
        if isinstance(decision, Wait):
            watch.due_at = now + decision.seconds
            watch.earliest = min(watch.due_at, now + watch.poke_interval)
            self._look_at(watch.due_at)
            return
        watch.future.set_result(decision)
        if isinstance(decision, Finished):
            self._learn(watch, decision.task, now)

    def _learn(self, watch: Watch, task: KlingTask, now: float) -> None:
        name = watch.row.name
        if task.updated_at is None:
            return
        stats.timing("watcher.lag", max(0.0, now - task.updated_at.timestamp()), endpoint=name)
        if task.created_at is not None and task.is_successful:
            seconds = (task.updated_at - task.created_at).total_seconds()
            stats.timing("wait.seconds", seconds, endpoint=name)
            self.durations.learn(name, watch.profile, seconds)


_WATCHERS: PerLoop[str, Watcher] = PerLoop()


def watcher_for(kling_conn_id: str) -> Watcher:
    """The watcher of a connection in the running event loop.

    :param kling_conn_id: Airflow connection of type ``kling``.
    """
    return _WATCHERS.here().get(kling_conn_id) or _WATCHERS.here().setdefault(
        kling_conn_id, Watcher(kling_conn_id)
    )
