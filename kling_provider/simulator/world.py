"""The state of the simulated Kling: accounts, tasks, slots, ledger. No HTTP and no clock of its own."""

from __future__ import annotations

import hashlib
import heapq
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from decimal import Decimal
from math import inf

from kling_provider.api.endpoints import ENDPOINTS, Endpoint
from kling_provider.api.tasks import FAILED, SUCCEED
from kling_provider.simulator.accounts import Account, Charge
from kling_provider.simulator.refusals import NOT_FOUND, Refusal, duplicate
from kling_provider.simulator.results.planned import Planned, Result
from kling_provider.simulator.sessions import Sessions
from kling_provider.simulator.settings import Script, Settings
from kling_provider.simulator.shelves import Shelves
from kling_provider.simulator.tasks import WAITING_SHARE, Order, SimTask


def pack_of(endpoint: Endpoint) -> str:
    """Which pack pays: that of pictures, or that of everything else."""
    return "image" if endpoint.kind == "image" else "video"


class World:
    """Everything the simulated Kling knows. Whoever calls supplies the time (epoch seconds).

    :param settings: how it behaves.
    :param seed: of ids, jitter and shuffled lists.
    """

    def __init__(self, settings: Settings, seed: int = 0):
        self.settings = settings
        self.tasks: dict[str, SimTask] = {}
        self.changed: list[SimTask] = []  # tasks whose status changed since somebody took them
        self._seed = seed
        self._dice = random.Random(seed)  # noqa: S311 - ids and jitter, no secrets
        self._last_id = 860_000_000_000_000_000 + seed % 1000 * 10_000_000_000_000
        self._scripts: list[Script] = []
        self._due: list[tuple[float, str]] = []
        self._by_external: dict[tuple[str, str], list[SimTask]] = {}
        self._by_result: dict[str, SimTask] = {}
        self.deleted: set[str] = set()  # ids of elements and voices that were there
        self.sessions = Sessions()
        self._slots: Counter[tuple[str, str]] = Counter()
        self._by_time = Shelves(lambda task: (task.created_at, task.task_id))
        self._by_chance = Shelves(self._shuffled)
        self._has_vanished = False  # whether a task ever did: else a list need not be looked through

    # --- time -------------------------------------------------------------------------------------

    def advance(self, now: float) -> None:
        """Let happen what is due."""
        while self._due and self._due[0][0] <= now:
            task = self.tasks[heapq.heappop(self._due)[1]]
            if task.walk(now):
                self._settle(task)

    def take_changed(self) -> list[SimTask]:
        """Copies of the tasks whose status changed since the last call, in that order."""
        changed, self.changed = self.changed, []
        return changed

    def set(self, settings: Settings, now: float) -> None:
        """Behave otherwise from now on. Running work takes the new speed at once."""
        self.advance(now)
        factor = self.settings.speed / settings.speed
        self.settings = settings
        if factor != 1:
            for task in self.tasks.values():
                task.rescale(now, factor)
                self._schedule(task)

    # --- creates ----------------------------------------------------------------------------------

    def book(self, account: Account, gateway: str, order: Order, now: float, *, drops_id: bool) -> SimTask:
        """Book a task.

        :param drops_id: whether this gateway swallows external_task_id.
        :raises Refusal: 1201 for an external id that is taken, 1102 with no units left, 1303 with no slot.
        """
        self.advance(now)
        external = None if drops_id else order.external_task_id
        if external is not None and self._is_taken(account.name, external, now):
            raise duplicate(external)
        order = order.at_price(self.settings.price_factor)
        self._refuse_unpaid(account, order)
        held = self.slots_held(account.name, order.endpoint.slots)
        if held + order.slots > self.settings.concurrency:
            raise Refusal(1303, "parallel task over resource pack limit")
        script = self._next_script(order.endpoint.name)
        task = self._new(account.name, gateway, order, external, now, script)
        return replace(task)

    def answer(
        self,
        account: Account,
        gateway: str,
        order: Order,
        now: float,
        work: Callable[[], tuple[Planned, ...]],
    ) -> SimTask:
        """Book what is over with its answer; it holds no slot.

        :param work: does it, and gives its results; only called where nothing speaks against it.
        :raises Refusal: 1102 with no units left, 1301 where a script of this very endpoint lets it fail.
        """
        self.advance(now)
        order = order.at_price(self.settings.price_factor)
        self._refuse_unpaid(account, order)
        script = self._next_script(order.endpoint.name)
        if script.outcome == "fail":
            raise Refusal(1301, script.message)
        order = replace(order, results=work())
        task = self._new(account.name, gateway, order, None, now, script)
        task.become(SUCCEED, now)
        self._slots[account.name, order.endpoint.slots] -= order.slots
        return replace(task)

    def _refuse_unpaid(self, account: Account, order: Order) -> None:
        pack = pack_of(order.endpoint)
        balance = self.settings.units_of(pack)
        if balance is not None and self.spent(account.name, pack) + (order.units or 0) > balance:
            raise Refusal(1102, "Account balance not enough")

    def next_tasks(self, script: Script) -> None:
        """Script what becomes of the next task or tasks."""
        self._scripts += [script] * script.times

    def _new(
        self, account: str, gateway: str, order: Order, external: str | None, now: float, script: Script
    ) -> SimTask:
        seconds = self._seconds(order.endpoint, script) / self.settings.speed
        task = SimTask(
            task_id=self.new_id(),
            account=account,
            gateway=gateway,
            order=order,
            external_task_id=external,
            created_at=now,
            updated_at=now,
            processing_at=now + seconds * WAITING_SHARE,
            ends_at=inf if script.outcome == "stuck" else now + seconds,
            results=tuple(
                Result(self.new_id(), planned)
                for planned in order.results
                for _ in range(script.videos if planned.list_name == "videos" else 1)
            ),
            script=script,
        )
        if script.outcome == "vanish":
            self._has_vanished = True
            task.vanished_until = inf if script.vanish_seconds is None else now + script.vanish_seconds
        self.tasks[task.task_id] = task
        self._by_result.update(dict.fromkeys(task.result_ids, task))
        if external is not None:
            self._by_external.setdefault((account, external), []).append(task)
        self._slots[account, order.endpoint.slots] += order.slots
        self._by_time.add(task)
        self._by_chance.add(task)
        self._schedule(task)
        return task

    def _is_taken(self, account: str, external: str, now: float) -> bool:
        if self.settings.accepts_duplicates:
            return False
        return any(
            now - task.created_at >= self.settings.unique_lag
            for task in self._by_external.get((account, external), ())
            if not (task.status == FAILED and self.settings.reuses_failed_id)
        )

    def _seconds(self, endpoint: Endpoint, script: Script) -> float:
        if script.seconds is not None:
            return script.seconds
        fixed = self.settings.task_seconds
        if isinstance(fixed, dict):
            fixed = fixed.get(endpoint.name)
        return endpoint.typical_seconds * self._dice.uniform(0.9, 1.1) if fixed is None else fixed

    def _next_script(self, endpoint: str) -> Script:
        for number, script in enumerate(self._scripts):
            is_meant = script.endpoint == endpoint
            if is_meant or (script.endpoint is None and ENDPOINTS[endpoint].work == "task"):
                return self._scripts.pop(number)
        return Script()

    def new_id(self) -> str:
        """An id nobody has."""
        self._last_id += self._dice.randrange(1, 50_000_000)
        return str(self._last_id)

    # --- queries ----------------------------------------------------------------------------------

    def find(
        self, account: Account, name: str, now: float, *, endpoint: str | None = None, external: bool = True
    ) -> SimTask:
        """The task called ``name``: its own id or, with ``external``, the caller's.

        :raises Refusal: 1201, if this account has no such task, or not yet, or of another endpoint.
        """
        self.advance(now)
        task = self.tasks.get(name)
        lag = self.settings.query_lag
        if task is None and external:
            task = next(reversed(self._by_external.get((account.name, name), [])), None)
            lag = self.settings.lookup_lag
        if task is None or task.account != account.name or endpoint not in (None, task.endpoint):
            raise Refusal(1201, NOT_FOUND)
        if task.order.endpoint.work != "task":  # its answer was all
            raise Refusal(1201, NOT_FOUND)
        if now < max(task.created_at + lag, task.vanished_until):
            raise Refusal(1201, NOT_FOUND)
        return task

    def listed(self, account: Account, now: float, endpoint: str | None = None) -> list[SimTask]:
        """The tasks an account can see in a list, in the order the settings say.

        :param endpoint: only those of this endpoint.
        """
        self.advance(now)
        order, lag = self.settings.list_order, self.settings.lookup_lag
        shelves = self._by_chance if order == "shuffled" else self._by_time  # the same order for every page
        tasks = shelves.of((account.name, endpoint), self.tasks.values())
        listed = tasks[::-1] if order == "newest" else tasks[:]
        if not lag and not self._has_vanished:
            return listed
        return [task for task in listed if now >= max(task.created_at + lag, task.vanished_until)]

    def maker(self, result_id: str) -> SimTask | None:
        """The task that made a result."""
        return self._by_result.get(result_id)

    def result(self, result_id: str) -> Result | None:
        """The result with this id."""
        task = self._by_result.get(result_id)
        return next((one for one in task.results if one.id == result_id), None) if task else None

    def slots_held(self, account: str, kind: str) -> int:
        """How many slots of that pack are held."""
        return self._slots[account, kind]

    def spent(self, account: str, pack: str) -> Decimal:
        """Units that a pack paid, or will, for all tasks that did not fail."""
        return sum(
            (
                task.units
                for task in self.tasks.values()
                if task.is_charged and task.account == account and pack_of(task.order.endpoint) == pack
            ),
            Decimal(0),
        )

    def charges(self) -> Iterator[Charge]:
        """The ledger: every booked task that did not fail, and every call that has a price."""
        for task in self.tasks.values():
            if task.is_charged:
                yield Charge(
                    task.task_id,
                    task.account,
                    task.endpoint,
                    task.sent_external_task_id,
                    task.model_name,
                    task.units,
                    task.status,
                )

    # --- the hand of the tester -------------------------------------------------------------------

    def change(
        self,
        task_id: str,
        now: float,
        *,
        status: str | None = None,
        message: str | None = None,
        vanish_for: float | None = None,
        stuck: bool | None = None,
        no_result: bool | None = None,
    ) -> SimTask:
        """Change a task.

        :param status: any word; a terminal one frees the slot.
        :param message: Kling's reason.
        :param vanish_for: real seconds it cannot be found; 0 brings it back.
        :param stuck: True: never ends by itself; False: ends now.
        :param no_result: whether it succeeds without a result.
        :raises KeyError: for an unknown id.
        """
        self.advance(now)
        task = self.tasks[task_id]
        if vanish_for is not None:
            self._has_vanished = True
            task.vanished_until = now + vanish_for
        if no_result is not None:
            task.script = task.script.model_copy(update={"outcome": "no_result" if no_result else "succeed"})
        if stuck is not None:
            task.ends_at = inf if stuck else now
            task.processing_at = task.processing_at if stuck else now
            self._schedule(task)
        if status is not None:
            was_running = not task.is_terminal
            task.become(status, now, task.message if message is None else message)
            self._settle(task, was_running=was_running)
        elif message is not None:
            task.message = message
        self.advance(now)
        return replace(task)

    def finish(self, task_ids: Iterable[str], now: float) -> None:
        """Let tasks succeed now."""
        for task_id in task_ids:
            if not self.tasks[task_id].is_terminal:
                self.change(task_id, now, status=SUCCEED)

    def plant(self, account: Account, order: Order, now: float, finished_at: float | None = None) -> SimTask:
        """Put somebody else's task into the account, unasked: stuck, or finished long ago."""
        task = self._new(account.name, "official", order, None, now, Script(outcome="stuck"))
        task.is_foreign = True
        if finished_at is not None:
            task.become(SUCCEED, finished_at)
            self._slots[account.name, order.endpoint.slots] -= order.slots
        return task

    def put(self, account: Account, order: Order, created_at: float, seconds: float) -> SimTask:
        """Put a task of ours into the account, unasked and whatever the account allows.

        :param seconds: how long it works in all, in simulated seconds.
        """
        return self._new(account.name, "official", order, None, created_at, Script(seconds=seconds))

    # --- inside -----------------------------------------------------------------------------------

    def _settle(self, task: SimTask, *, was_running: bool = True) -> None:
        """A status changed: free or take the slot, tell the callback, plan the next change."""
        held, holds = was_running, not task.is_terminal
        self._slots[task.account, task.order.endpoint.slots] += (holds - held) * task.order.slots
        self.changed.append(replace(task))
        self._schedule(task)

    def _schedule(self, task: SimTask) -> None:
        if task.next_change < inf:
            heapq.heappush(self._due, (task.next_change, task.task_id))

    def _shuffled(self, task: SimTask) -> bytes:
        return hashlib.sha256(f"{self._seed}{task.task_id}".encode()).digest()
