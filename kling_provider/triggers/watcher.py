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
from kling_provider.api.budget import RequestBudget
from kling_provider.api.errors import Failure, Reaction
from kling_provider.api.pace import Durations
from kling_provider.api.polling import Decision, Finished, TimedOut, Wait
from kling_provider.api.tasks import KlingTask
from kling_provider.exceptions import KlingBadRequestError
from kling_provider.hooks.config import KlingConfig
from kling_provider.triggers.asking import BATCH, SINGLE, Asking
from kling_provider.triggers.background import Background, PerLoop
from kling_provider.triggers.watch import Watch

log = logging.getLogger(__name__)

#: Two looks at who is due are so many seconds apart at least (or ``poke_interval``, where that is less), ...
ROUND_SECONDS = 1.0
#: ... and where several wait, the more the fewer they are, because they are asked for together: a second for so many
TASKS_PER_SECOND = 700
#: ... up to so many times ``poke_interval``.
LONGEST_ROUND = 1.8
LONGEST_SLEEP_SECONDS = 60.0
#: So many bars of progress are written between two looks; the others' turn comes later.
BARS_PER_ROUND = 5
#: The connection is read anew so often, and given up on for now if it takes as long.
CONFIG_SECONDS = 60.0


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
        self._read_at = 0.0
        self._changed: asyncio.Event | None = None
        self._soonest = 0.0
        self._probe_at = 0.0
        self._bars = BARS_PER_ROUND
        self._background = Background(
            f"The watcher of {kling_conn_id}", self._watch, lambda: bool(self._waits)
        )

    @property
    def budget(self) -> RequestBudget:
        """What this connection may be asked in this event loop, by whoever asks."""
        return self._asking.budget

    async def wait(self, watch: Watch) -> Decision:
        """Wait until a task is over, cannot be asked for, or its deadline has passed.

        :param watch: whom to wait for. Who is cancelled leaves, and nobody else does.
        """
        self._waits[watch] = None
        self._by_id.setdefault(watch.task_id, []).append(watch)
        try:
            self._background.ensure()
            if watch.due_at < self._soonest:
                self._look_at(watch.due_at)
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
                self._soonest = math.inf
                next_look = time.time() + await self._start_rounds()
                stats.gauge("watcher.in_flight", len(self._waits), conn_id=self._conn_id)
                while self._waits and (seconds := max(self._soonest, next_look) - time.time()) > 0:
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._changed.wait(), seconds)
                    self._changed.clear()
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

    async def _start_rounds(self) -> float:
        """Start asking for those who are due, and note when to look again.

        :returns: so many seconds pass until then at least.
        """
        now = time.time()
        self._bars = BARS_PER_ROUND
        self._look_at(now + LONGEST_SLEEP_SECONDS)
        self._send_back(now)
        if self._is_held_up(now):
            return ROUND_SECONDS
        due: list[Watch] = []
        early: list[Watch] = []
        smallest = LONGEST_SLEEP_SECONDS
        soonest = self._soonest
        for watch in self._waits:  # of thousands, once a second
            smallest = min(smallest, watch.poke_interval)
            if watch.is_asked or watch.is_over:
                continue
            if watch.due_at <= now:
                due.append(watch)
            else:
                soonest = min(soonest, watch.due_at)
                if watch.earliest <= now:
                    early.append(watch)
        self._soonest = soonest
        if due and (config := await self._config(due)):
            for kind, members in self._sorted(config, due, early).items():
                if kind not in self._rounds:  # its end wakes this up again
                    self._start(kind, self._round(kind, config, members, early))
        return self._pause(smallest)

    def _send_back(self, now: float) -> None:
        """End the wait of those who could not be asked although their time is up."""
        for watch in [watch for watch in self._waits if now >= watch.give_up_at]:
            status = watch.task.status if watch.task else "unknown"
            self._decide(watch, TimedOut(status, self._asking.rejected or self._asking.silence), now)

    def _is_held_up(self, now: float) -> bool:
        """Whether only one question is asked for all, now or later: the key is rejected, or Kling silent."""
        if self._asking.rejected is not None:
            at, ask = self._probe_at, self._probe
        elif self._asking.silence is not None:
            at, ask = self._asking.quiet_until, self._try_again
        else:
            return False
        if not self._rounds and now >= at:
            self._start(SINGLE, ask())
        elif not self._rounds:
            self._look_at(at)
        return True

    def _pause(self, smallest: float) -> float:
        """Seconds between two looks.

        :param smallest: of the ``poke_interval`` of those who wait.
        """
        least = min(ROUND_SECONDS, smallest)
        waiting = len(self._waits)
        return max(least, min(LONGEST_ROUND * smallest, TASKS_PER_SECOND / waiting)) if waiting > 1 else least

    def _look_at(self, moment: float) -> None:
        self._soonest = min(self._soonest, moment)

    async def _config(self, due: list[Watch]) -> KlingConfig | None:
        now = time.time()
        try:
            async with asyncio.timeout(CONFIG_SECONDS):
                if now - self._read_at > CONFIG_SECONDS and not self._rounds:  # it may have been edited
                    await self._asking.read_anew()
                    self._read_at = now
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

    def _sorted(self, config: KlingConfig, due: list[Watch], early: list[Watch]) -> dict[str, list[Watch]]:
        """Who is asked for how.

        :param early: those who are not due and may be asked for already.
        """
        kind_of = self._asking.kinds(config, time.time())
        kinds: dict[str, list[Watch]] = {}
        for watch in due:
            kinds.setdefault(kind_of(watch), []).append(watch)
        # For one task alone, the direct query is as cheap, and tells the most.
        for kind in [kind for kind, members in kinds.items() if len(members) == 1 and kind != SINGLE]:
            if not any(kind_of(watch) == kind for watch in early):
                kinds.setdefault(SINGLE, []).extend(kinds.pop(kind))
        return kinds

    def _riders(self, config: KlingConfig, due: list[Watch], early: list[Watch]) -> list[Watch]:
        """Those of the early ones who fill up the last batch, the next ones first."""
        kind_of = self._asking.kinds(config, time.time())
        room = -len(due) % self._asking.batch_route.limit
        free = [watch for watch in early if kind_of(watch) == BATCH and not watch.is_asked]
        return heapq.nsmallest(room, free, key=operator.attrgetter("due_at"))

    def _start(self, kind: str, work: Coroutine[Any, Any, None]) -> None:
        task = self._rounds[kind] = asyncio.get_running_loop().create_task(work)
        task.add_done_callback(partial(self._ended, kind))

    def _ended(self, kind: str, task: asyncio.Task[None]) -> None:
        if self._rounds.get(kind) is task:
            del self._rounds[kind]
        self._look_at(time.time())
        self._wake()

    async def _round(self, kind: str, config: KlingConfig, due: list[Watch], early: list[Watch]) -> None:
        """Ask once for those who are due, and for early ones where there is room."""
        due.sort(key=operator.attrgetter("due_at"))
        riders = self._riders(config, due, early) if kind == BATCH else []
        members = [*due, *riders]
        for watch in members:
            watch.is_asked = True
        try:
            if kind == BATCH:
                await self._asking.by_batch(config, due, riders)
            elif kind == SINGLE:
                await self._asking.singly(config, due)
            else:
                await self._asking.by_list(config, due[0].row, due)
        except Exception as error:
            log.exception(
                "%s: asking for %d tasks crashed; they are asked for again.", self._conn_id, len(due)
            )
            failure = Failure(Reaction.SERVER, f"asking for it crashed ({type(error).__name__}: {error})")
            for watch in due:
                self._on_failure(watch, failure)
        finally:
            for watch in members:
                watch.is_asked = False

    # --- what comes of it -------------------------------------------------------------------------

    async def _try_again(self) -> None:
        """Ask one question for all: does Kling answer again?"""
        if not self._waits:
            return
        first = min(self._waits, key=operator.attrgetter("due_at"))
        if (config := await self._config([first])) is not None:
            await self._asking.singly(config, [first])
        if self._asking.silence is not None:
            self._asking.on_silence(self._asking.silence)

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
        self._tell_the_log(watch, task, now)
        watch.task = task
        self._decide(watch, watch.poller.on_task(task, now), now)

    def _tell_the_log(self, watch: Watch, task: KlingTask, now: float) -> None:
        """Write a line where something is new; of the bars, a few each round: a line costs more than an answer."""
        elapsed, usual = watch.elapsed(now), watch.expected.seconds
        if not watch.story.is_change(task):
            if not self._bars or not watch.story.is_due(elapsed, usual):
                return
            self._bars -= 1
        watch.context.run(log.info, "%s", watch.story.next_line(task, elapsed, usual))

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
        if watch.is_over:
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
