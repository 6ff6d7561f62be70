"""How the watcher asks for tasks that are due: many at once, through a list, or one by one.

What a batch or a list refuses, or passes over, never fails a wait: it closes that way for a while, and the tasks are
asked for directly. What it tells of a task counts like a direct answer, also that it has failed.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import time
from collections.abc import AsyncIterator, Callable, Container, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Literal, TypeVar

from kling_provider import stats
from kling_provider.api.auth import Bearer
from kling_provider.api.budget import RequestBudget
from kling_provider.api.calls import Call
from kling_provider.api.endpoints import Endpoint
from kling_provider.api.errors import ApiFailure, Failure, Reaction
from kling_provider.api.list_walk import ListWalk
from kling_provider.api.tasks import KlingTask
from kling_provider.hooks.config import KlingConfig
from kling_provider.hooks.kling import KlingAsyncHook
from kling_provider.triggers.pacing import send_once, set_pace, wait_for_turn
from kling_provider.triggers.routes import BatchRoute, ListRoute, Route
from kling_provider.triggers.watch import DOUBTFUL_MISSES, MOST_MISSES, Watch

T = TypeVar("T")
Kind = Literal["bulk", "list", "single"]
#: How a task is asked for; by a list: the name of its endpoint.
BATCH, SINGLE = "GET /tasks", "single"
MissCounter = Literal["batch_misses", "list_misses"]
log = logging.getLogger(__name__)

#: Requests on their way at the same time.
MOST_AT_ONCE = 8
#: A task of this age is told of by every way that knows it. A younger one that is passed over is asked for again after
#: so many seconds.
SURELY_VISIBLE_SECONDS = 60.0
YOUNG_SECONDS = 10.0
#: So many single queries in a row without an answer: Kling is not there, and the rest is not tried.
OUTAGE_AFTER = 4
#: Single queries of one round; who is due still comes in the next.
MOST_SINGLES = 64
#: ... and no more than fit into so many seconds, because the other ways share the budget.
SECONDS_OF_SINGLES = 15.0
#: Seconds until a question for many is asked once more.
SECOND_TRY_AFTER = 1.0
#: While Kling gives no answer at all, one question is asked after so many seconds, doubling.
FIRST_QUIET_SECONDS = 5.0
LONGEST_QUIET_SECONDS = 60.0
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

    ``rejected`` is Kling's refusal of the key, ``silence`` the last failure while no question gets an answer; until
    either is None again, one question is asked for all. ``budget`` is what the connection may be asked.
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
        self.silence: Failure | None = None
        self.quiet_until = 0.0
        self._quiet_seconds = 0.0
        self._conn_id = kling_conn_id
        self._ours = ours
        self._told = told
        self._failed = failed
        self.budget = RequestBudget()
        self._lists: dict[str, ListRoute] = {}

    def on_silence(self, failure: Failure) -> None:
        """No question got an answer: the next one comes later, doubling."""
        self.silence = failure
        self._quiet_seconds = min(max(FIRST_QUIET_SECONDS, 2 * self._quiet_seconds), LONGEST_QUIET_SECONDS)
        self.quiet_until = time.time() + self._quiet_seconds

    def open(self) -> None:
        """Get ready in the running event loop."""
        self.rejected = self.silence = None
        self._quiet_seconds = 0.0
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
        set_pace(self.budget, config)
        return config

    async def read_anew(self) -> None:
        """Read the connection anew before the next question: a key may have been replaced."""
        await self._hook.close()

    def kinds(self, config: KlingConfig, now: float) -> Callable[[Watch], str]:
        """Say how a task is asked for now, if others are asked for too.

        :param now: epoch seconds.
        :returns: a function that gives :data:`BATCH`, the name of an endpoint for its list, or :data:`SINGLE`.
        """
        may_batch = self.batch_route.is_open(now)
        speaks_new = config.gateway.has_new_dialect and isinstance(config.credentials, Bearer)
        may_batch_classic = speaks_new and self.batch_route.is_open_for_classic(now)
        closed = {name for name, route in self._lists.items() if not route.is_open(now)}

        def kind(watch: Watch) -> str:
            is_new = watch.row.dialect == "new"
            if (may_batch if is_new else may_batch_classic) and watch.in_batch:
                return BATCH
            return watch.row.name if watch.in_list and watch.row.name not in closed else SINGLE

        return kind

    # --- the three ways ---------------------------------------------------------------------------

    async def by_batch(self, config: KlingConfig, due: Sequence[Watch], riders: Sequence[Watch]) -> None:
        """Ask for many at once.

        :param due: must be told of, or are asked for directly.
        :param riders: fill up the last batch.
        """
        everybody = [*due, *riders]
        limit = self.batch_route.limit
        if not self.batch_route.tells_classic and any(one.row.dialect == "classic" for one in due):
            everybody = everybody[:limit]  # the others learn from it, in the next round
        async with asyncio.TaskGroup() as group:
            for first in range(0, len(everybody), limit):
                group.create_task(self._one_batch(config, everybody[first : first + limit]))

    async def _one_batch(self, config: KlingConfig, batch: Sequence[Watch]) -> bool:
        """Ask for some; tells whether Kling has taken the question, or parts of it, as it was put."""
        rows = {watch.task_id: watch.row for watch in batch}
        if len(rows) == 1:
            await self.singly(config, batch)
            return False
        try:
            tasks = await self._send(config.routes.ask_many(rows), "bulk")
        except ApiFailure as error:
            failure = error.failure
            if failure.http_status in _TOO_LONG and failure.reaction not in REJECTED:
                return await self._in_parts(config, batch)
            due = [watch for watch in batch if watch.due_at <= time.time()]
            if await self._is_refused(config, self.batch_route, due, failure):
                log.info("%s: GET /tasks is refused (%s); there are other ways.", self._conn_id, error)
            return False
        self.batch_route.on_taken(len(rows))
        await self._tell(tasks)
        await self._learn_classic(config, batch, tasks)
        missed = self._missed(batch, tasks.keys(), "batch_misses")
        if not self.batch_route.is_open_for_classic(time.time()):  # the next round has other ways
            missed = [watch for watch in missed if watch.row.dialect == "new"]
        await self.singly(config, missed)
        return True

    async def _in_parts(self, config: KlingConfig, batch: Sequence[Watch]) -> bool:
        """Ask again for half as many; whether it was their number, or one of them, is seen then."""
        if len(batch) == 2:
            if len(await self.singly(config, batch)) == 2:  # nothing is wrong with them, so it takes none
                self.batch_route.on_refused(time.time())
            return False
        middle = (len(batch) + 1) // 2
        taken = []
        for half in (batch[:middle], batch[middle:]):
            if self.batch_route.is_open(time.time()):
                taken.append(await self._one_batch(config, half))
        if len(taken) == 2 and all(taken):
            self.batch_route.on_too_many(len(batch))
        return any(taken)

    async def _learn_classic(
        self, config: KlingConfig, batch: Sequence[Watch], tasks: Mapping[str, KlingTask]
    ) -> None:
        """Find out whether batches tell of classic tasks: one that was passed over is asked for directly."""
        classic = [watch for watch in batch if watch.row.dialect == "classic"]
        if any(watch.task_id in tasks for watch in classic):
            self.batch_route.tells_classic = True
        elif classic and not self.batch_route.tells_classic:
            await self.singly(config, classic[:1])
            if classic[0].task is not None:
                log.info("%s: GET /tasks tells of no classic tasks; their lists are read.", self._conn_id)
                now = time.time()
                self.batch_route.on_no_classic(now, is_sure=classic[0].age(now) > SURELY_VISIBLE_SECONDS)

    async def by_list(self, config: KlingConfig, row: Endpoint, due: Sequence[Watch]) -> None:
        """Look for tasks in the list of their endpoint, and ask directly for those it passes over."""
        route = self._lists.setdefault(row.name, ListRoute())
        walk = ListWalk({watch.task_id: watch.span for watch in due}, route.memory)
        seen: set[str] = set()
        while (number := walk.next_page()) is not None:
            try:
                page = await self._send(config.routes.list_ours(row, number, self._ours), "list")
            except ApiFailure as error:
                rest = [one for one in due if one.task_id not in seen]
                if await self._is_refused(config, route, rest, error.failure):
                    log.info("%s: the list of %s is refused (%s).", self._conn_id, row.name, error)
                return
            route.on_answer()
            walk.on_page(number, page)
            seen |= page.told.keys()
            await self._tell(page.told)
        route.on_walked(time.time())
        missed = self._missed(due, seen, "list_misses")
        is_open = route.is_open(time.time())
        await self.singly(config, missed if is_open else [one for one in due if one.task_id not in seen])

    async def _is_refused(
        self, config: KlingConfig, route: Route, due: Sequence[Watch], failure: Failure
    ) -> bool:
        """Close a way that Kling refuses, and say so; a direct query tells it from a Kling that refuses all.

        Those who are due stay due for another way, or have got no answer.
        """
        if failure.reaction is Reaction.RATE:
            self._fail_all(due, failure)
            return False
        is_about_the_way = bool(await self.singly(config, due[:1]))
        if self.rejected is not None:
            return False
        if not is_about_the_way:
            self._fail_all(due[1:], failure)
            if failure.is_transient and self.silence is None:
                self.on_silence(failure)
            return False
        if failure.is_transient:
            return route.on_silence(time.time())
        route.on_refused(time.time())
        return True

    def _missed(self, due: Sequence[Watch], told: Container[str], counter: MissCounter) -> list[Watch]:
        """Count whom a way of asking for many has passed over; gives those who should be asked for directly.

        The others are due still, and the next round asks for them again: lists shift while they are read.
        """
        doubtful = []
        now = time.time()
        for watch in due:
            if watch.task_id in told:
                setattr(watch, counter, 0)
            elif watch.due_at > now:
                continue
            elif watch.age(now) < SURELY_VISIBLE_SECONDS and now < watch.deadline:
                watch.due_at = now + max(watch.poke_interval, YOUNG_SECONDS)
            else:
                setattr(watch, counter, getattr(watch, counter) + 1)
                if getattr(watch, counter) >= DOUBTFUL_MISSES or now >= watch.deadline:
                    doubtful.append(watch)
        return doubtful

    async def singly(self, config: KlingConfig, due: Sequence[Watch]) -> set[str]:
        """Ask for tasks one by one; gives the ids of those that Kling told of."""
        silent: list[Failure] = []
        told: set[str] = set()

        def is_useless(watch: Watch) -> bool:
            if self.rejected is not None or watch.is_over:
                return True
            if len(silent) >= OUTAGE_AFTER:
                self._fail_same(watch, silent[-1])
                return True
            return False

        async def ask(watch: Watch) -> None:
            try:
                async with self._turn():
                    if is_useless(watch):  # those before it were answered while it waited for its turn
                        return
                    task = await self._send_now(config.routes.get_task(watch.row, watch.task_id), "single")
            except ApiFailure as error:
                failure = error.failure.of_a_query()
                if failure.is_transient:
                    silent.append(failure)
                    if len(silent) == OUTAGE_AFTER and self.silence is None:
                        self.on_silence(failure)
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
                told.add(watch.task_id)
                await self._tell({watch.task_id: task})

        unique = {(watch.task_id, watch.row.name): watch for watch in due}
        most = min(MOST_SINGLES, max(MOST_AT_ONCE, int(self.budget.pace * SECONDS_OF_SINGLES)))
        async with asyncio.TaskGroup() as group:
            for watch in itertools.islice(unique.values(), most):
                group.create_task(ask(watch))
        return told

    def _fail_same(self, watch: Watch, failure: Failure) -> None:
        """Everybody who waits for the same task has got no answer."""
        for same in tuple(self._ours.get(watch.task_id, ())):
            if same.row.name == watch.row.name:
                self._failed(same, failure)

    # --- one request ------------------------------------------------------------------------------

    async def _send(self, call: Call[T], kind: Kind) -> T:
        """Send a call that asks for many within the budget; once more before they all go without an answer."""
        try:
            async with self._turn():
                return await self._send_now(call, kind)
        except ApiFailure as error:
            if not error.failure.is_transient:
                raise
        await asyncio.sleep(SECOND_TRY_AFTER)
        async with self._turn():
            return await self._send_now(call, kind)

    @contextlib.asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        await wait_for_turn(self.budget)
        async with self._at_once:
            yield

    async def _send_now(self, call: Call[T], kind: Kind) -> T:
        stats.count("watcher.requests", kind=kind, conn_id=self._conn_id)
        answer = await send_once(self._hook, self.budget, call)
        self.silence, self._quiet_seconds = None, 0.0
        return answer

    async def _tell(self, tasks: Mapping[str, KlingTask]) -> None:
        for number, (task_id, task) in enumerate(tasks.items(), 1):
            for watch in tuple(self._ours.get(task_id, ())):
                if watch.row.name == task.endpoint:
                    self._told(watch, task)
            if number % AT_A_TIME == 0:
                await asyncio.sleep(0)

    def _fail_all(self, watches: Iterable[Watch], failure: Failure) -> None:
        """No answer to a question for many is no refusal of anybody: they wait on, or their time is up."""
        failure = replace(
            failure, reaction=Reaction.RATE if failure.reaction is Reaction.RATE else Reaction.SERVER
        )
        log.info(
            "%s: no answer for tasks that were asked for together: %s", self._conn_id, failure.describe()
        )
        for watch in watches:
            self._failed(watch, failure)
