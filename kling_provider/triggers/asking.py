"""How the watcher asks for tasks that are due: many at once, through a list, or one by one.

Only a direct answer about a single task can fail its wait. What a batch or a list refuses, or passes over, closes
that way for a while, and the tasks are asked for directly.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import Literal, TypeVar

from kling_provider import stats
from kling_provider.api.auth import Bearer
from kling_provider.api.budget import RequestBudget
from kling_provider.api.calls import Call
from kling_provider.api.endpoints import Endpoint
from kling_provider.api.errors import ApiFailure, Failure, Reaction
from kling_provider.api.list_walk import ListWalk
from kling_provider.api.polling import LONGEST_RETRY_AFTER_SECONDS
from kling_provider.api.tasks import KlingTask
from kling_provider.hooks.config import KlingConfig
from kling_provider.hooks.kling import KlingAsyncHook
from kling_provider.triggers.routes import BatchRoute, ListRoute
from kling_provider.triggers.watch import DOUBTFUL_MISSES, MOST_MISSES, Watch

T = TypeVar("T")
Kind = Literal["bulk", "list", "single"]
MissCounter = Literal["batch_misses", "list_misses"]
log = logging.getLogger(__name__)

#: Requests on their way at the same time.
MOST_AT_ONCE = 8
#: So many single queries in a row without an answer: Kling is not there, and the rest is not tried.
OUTAGE_AFTER = 4
#: Single queries of one round; who is due still comes in the next.
MOST_SINGLES = 64
#: Seconds until a question for many is asked once more.
SECOND_TRY_AFTER = 1.0
#: So many answers are handed out at once; between them, others have a turn in the event loop.
AT_A_TIME = 50
#: Kling's, or its proxy's, answer to a question that is too long.
_TOO_LONG = (400, 413, 414)
REJECTED = (Reaction.AUTH, Reaction.RESIGN)


class Asking:
    """Asks for tasks of one connection, under one budget, and remembers which ways lead somewhere.

    :param kling_conn_id: Airflow connection of type ``kling``.
    :param ours: the waits for each task id; read while asking.
    :param told: called for each wait whose task Kling has told of.
    :param failed: called for each wait that got no answer, or a bad one.
    """

    def __init__(
        self,
        kling_conn_id: str,
        ours: Mapping[str, Sequence[Watch]],
        told: Callable[[Watch, KlingTask], None],
        failed: Callable[[Watch, Failure], None],
    ):
        self.batch_route = BatchRoute()
        self.rejected: Failure | None = None
        self._conn_id = kling_conn_id
        self._ours = ours
        self._told = told
        self._failed = failed
        self._budget = RequestBudget()
        self._lists: dict[str, ListRoute] = {}

    def open(self) -> None:
        """Get ready in the running event loop."""
        self.rejected = None
        self._hook = KlingAsyncHook(self._conn_id, attempts=1)
        self._at_once = asyncio.Semaphore(MOST_AT_ONCE)

    async def close(self) -> None:
        """Let go of everything that belongs to the event loop."""
        hook = self._hook
        del self._hook, self._at_once
        await hook.close()

    async def config(self) -> KlingConfig:
        """The connection.

        :raises Exception: whatever a secrets backend raises.
        """
        config = await self._hook.get_config()
        self._budget.per_second = config.requests_per_second / config.triggerers
        return config

    async def read_anew(self) -> None:
        """Read the connection anew before the next question: a key may have been replaced."""
        await self._hook.close()

    def may_batch(self, config: KlingConfig, watch: Watch) -> bool:
        """Whether ``GET /tasks`` may tell of a task."""
        if not (watch.in_batch and self.batch_route.is_open(time.time())):
            return False
        if watch.row.dialect == "new":
            return True
        speaks_new = config.gateway.has_new_dialect and isinstance(config.credentials, Bearer)
        return speaks_new and self.batch_route.tells_classic is not False

    def may_list(self, watch: Watch) -> bool:
        """Whether the list of the task's endpoint may tell of it at a fair price."""
        route = self._lists.get(watch.row.name)
        return watch.in_list and (route is None or route.is_open(time.time()))

    # --- the three ways ---------------------------------------------------------------------------

    async def by_batch(self, config: KlingConfig, due: Sequence[Watch], riders: Sequence[Watch]) -> None:
        """Ask for many at once.

        :param due: must be told of, or are asked for directly.
        :param riders: fill up the last batch.
        """
        limit = self.batch_route.limit
        batches = self._batches([*due, *riders[: -len(due) % limit]])
        if self.batch_route.tells_classic is None and any(one.row.dialect == "classic" for one in due):
            await self._one_batch(config, batches[0])  # the others learn from it, in the next round
            return
        await asyncio.gather(*(self._one_batch(config, batch) for batch in batches))

    def _batches(self, watches: Sequence[Watch]) -> list[Sequence[Watch]]:
        limit = self.batch_route.limit
        return [watches[first : first + limit] for first in range(0, len(watches), limit)]

    async def _one_batch(self, config: KlingConfig, batch: Sequence[Watch]) -> None:
        rows = {watch.task_id: watch.row for watch in batch}
        if len(rows) == 1:
            await self.singly(config, batch)
            return
        try:
            tasks = await self._send(config.routes.ask_many(rows), "bulk")
        except ApiFailure as error:
            failure = error.failure
            if failure.http_status in _TOO_LONG and failure.reaction not in REJECTED:
                self.batch_route.on_too_many(len(rows))
                for part in self._batches(batch):
                    await self._one_batch(config, part)
                if any(not watch.in_batch for watch in batch):  # it was one of the ids, not their number
                    self.batch_route.forget_limit()
            elif failure.is_transient:
                self._fail_all(batch, failure)
            elif await self._is_refused(config, batch, failure):
                log.info("%s: GET /tasks is refused (%s); there are other ways.", self._conn_id, error)
                self.batch_route.on_refused(time.time())
            return
        self.batch_route.on_answer(len(rows))
        await self._tell(tasks)
        await self._learn_classic(config, batch, tasks)
        missed = self._missed(batch, tasks.keys(), "batch_misses")
        if self.batch_route.tells_classic is False:  # the next round has other ways
            missed = [watch for watch in missed if watch.row.dialect == "new"]
        await self.singly(config, missed)

    async def _learn_classic(
        self, config: KlingConfig, batch: Sequence[Watch], tasks: Mapping[str, KlingTask]
    ) -> None:
        """Find out once whether batches tell of classic tasks: one that was passed over is asked for directly."""
        classic = [watch for watch in batch if watch.row.dialect == "classic"]
        if any(watch.task_id in tasks for watch in classic):
            self.batch_route.tells_classic = True
        elif classic and self.batch_route.tells_classic is None:
            await self.singly(config, classic[:1])
            if classic[0].task is not None:
                log.info("%s: GET /tasks tells of no classic tasks; their lists are read.", self._conn_id)
                self.batch_route.tells_classic = False

    async def by_list(self, config: KlingConfig, row: Endpoint, due: Sequence[Watch]) -> None:
        """Look for tasks in the list of their endpoint, and ask directly for those it passes over."""
        route = self._lists.setdefault(row.name, ListRoute())
        walk = ListWalk({watch.task_id: watch.span for watch in due}, route.memory)
        seen: set[str] = set()
        while (number := walk.next_page()) is not None:
            try:
                page = await self._send(config.routes.list_ours(row, number, self._ours), "list")
            except ApiFailure as error:
                if error.failure.is_transient:
                    self._fail_all([one for one in due if one.task_id not in seen], error.failure)
                    return
                if await self._is_refused(config, due, error.failure):
                    log.info("%s: the list of %s is refused (%s).", self._conn_id, row.name, error)
                    route.on_refused(time.time())
                return
            walk.on_page(number, page)
            seen |= page.told.keys()
            await self._tell(page.told)
        route.on_walked(time.time())
        missed = self._missed(due, seen, "list_misses")
        is_open = route.is_open(time.time())
        await self.singly(config, missed if is_open else [one for one in due if one.task_id not in seen])

    async def _is_refused(self, config: KlingConfig, due: Sequence[Watch], failure: Failure) -> bool:
        """Whether it is this way of asking that Kling refuses, and not the key; the next round takes another."""
        if failure.reaction in REJECTED:
            await self.singly(config, due[:1])
        return self.rejected is None

    def _missed(self, due: Sequence[Watch], told: Container[str], counter: MissCounter) -> list[Watch]:
        """Count whom a way of asking for many has passed over; gives those who should be asked for directly.

        The others are due still, and the next round asks for them again: lists shift while they are read.
        """
        doubtful = []
        now = time.time()
        for watch in due:
            if watch.task_id in told:
                setattr(watch, counter, 0)
            elif watch.due_at <= now:
                setattr(watch, counter, getattr(watch, counter) + 1)
                if getattr(watch, counter) >= DOUBTFUL_MISSES or now >= watch.deadline:
                    doubtful.append(watch)
        return doubtful

    async def singly(self, config: KlingConfig, due: Sequence[Watch]) -> None:
        """Ask for tasks one by one."""
        silent: list[Failure] = []

        async def ask(watch: Watch) -> None:
            if self.rejected is not None or watch.is_over:
                return
            if len(silent) >= OUTAGE_AFTER:
                self._fail_same(watch, silent[-1])
                return
            try:
                task = await self._send(config.routes.get_task(watch.row, watch.task_id), "single")
            except ApiFailure as error:
                failure = error.failure.of_a_query()
                if failure.is_transient:
                    silent.append(failure)
                else:
                    silent.clear()
                if failure.reaction in REJECTED:
                    self.rejected = failure
                elif failure.http_status in _TOO_LONG:
                    watch.batch_misses = MOST_MISSES  # maybe it was its id that made a batch fail
                watch.context.run(log.info, "Asking for task %s got no answer: %s", watch.task_id, error)
                self._fail_same(watch, failure)
            else:
                silent.clear()
                await self._tell({watch.task_id: task})

        unique = {watch.task_id: watch for watch in due}
        await asyncio.gather(*(ask(watch) for watch in itertools.islice(unique.values(), MOST_SINGLES)))

    def _fail_same(self, watch: Watch, failure: Failure) -> None:
        """Everybody who waits for the same task has got no answer."""
        for same in tuple(self._ours.get(watch.task_id, ())):
            self._failed(same, failure)

    # --- one request ------------------------------------------------------------------------------

    async def _send(self, call: Call[T], kind: Kind) -> T:
        """Send a call within the budget; one that asks for many, once more before many go without an answer."""
        try:
            return await self._send_once(call, kind)
        except ApiFailure as error:
            if kind == "single" or not error.failure.is_transient:
                raise
        await asyncio.sleep(SECOND_TRY_AFTER)
        return await self._send_once(call, kind)

    async def _send_once(self, call: Call[T], kind: Kind) -> T:
        loop = asyncio.get_running_loop()
        async with self._at_once:
            await asyncio.sleep(self._budget.take(loop.time()))
            while self._budget.is_paused(loop.time()):
                await asyncio.sleep(self._budget.take(loop.time()))
            stats.count("watcher.requests", kind=kind, conn_id=self._conn_id)
            try:
                answer = await self._hook.send(call, attempts=1)
            except ApiFailure as error:
                self._slow_down(error.failure, loop.time())
                raise
            self._budget.on_answer()
            return answer

    def _slow_down(self, failure: Failure, now: float) -> None:
        if failure.reaction is Reaction.RATE:
            self._budget.slow_down(now)
        if failure.retry_after is not None:
            self._budget.pause(now + min(failure.retry_after, LONGEST_RETRY_AFTER_SECONDS))

    async def _tell(self, tasks: Mapping[str, KlingTask]) -> None:
        for number, (task_id, task) in enumerate(tasks.items(), 1):
            for watch in tuple(self._ours.get(task_id, ())):
                self._told(watch, task)
            if number % AT_A_TIME == 0:
                await asyncio.sleep(0)

    def _fail_all(self, watches: Iterable[Watch], failure: Failure) -> None:
        """No answer is no refusal: they wait on, or their time is up."""
        log.info(
            "%s: no answer for tasks that were asked for together: %s", self._conn_id, failure.describe()
        )
        for watch in watches:
            self._failed(watch, failure)
