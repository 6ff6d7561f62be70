"""One wait of one trigger, as the watcher keeps it."""

from __future__ import annotations

import asyncio
import contextvars
import random
import time
from dataclasses import dataclass, field

from kling_provider.api.endpoints import Endpoint
from kling_provider.api.list_walk import Span
from kling_provider.api.pace import BELIEVED_FROM, Durations, Expectation
from kling_provider.api.polling import JITTER, NOT_FOUND_GRACE_SECONDS, Decision, TaskPoller
from kling_provider.api.progress import Story
from kling_provider.api.tasks import KlingTask

#: Whoever could not be asked once more so long after the deadline, because Kling or the budget does not let it, is sent
#: back to the worker, which asks; before Airflow's own backstop, which knows no task.
OVERDUE_SECONDS = 30.0
#: A way of asking for many that passed a task over so often in a row is not taken for it any more, ...
MOST_MISSES = 6
#: ... and from so many on, the task is asked for directly besides.
DOUBTFUL_MISSES = 3


@dataclass(slots=True, eq=False)
class Watch:
    """Who waits for which task, and when it is asked for again.

    :param task_id: Kling's id.
    :param row: the endpoint it was made with.
    :param durations: how long tasks take.
    :param poke_interval: smallest gap between two asks, in seconds.
    :param earliest: epoch seconds before which it is not asked for.
    :param deadline: epoch seconds at which it is asked for once more.
    :param asked_at: epoch seconds of the worker's last ask or submit.
    :param profile: of ``pace.profile_of``.
    :param booked_at: epoch seconds by our clock when it was submitted, if known.
    """

    task_id: str
    row: Endpoint
    durations: Durations
    poke_interval: float
    earliest: float
    deadline: float
    asked_at: float = 0.0
    profile: str = ""
    booked_at: float | None = None
    poller: TaskPoller = field(init=False)
    due_at: float = field(init=False)
    #: When it is sent back to the worker, asked or not.
    give_up_at: float = field(init=False)
    task: KlingTask | None = field(init=False, default=None)
    #: How often in a row ``GET /tasks``, and the list, have passed it over.
    batch_misses: int = field(init=False, default=0)
    list_misses: int = field(init=False, default=0)
    #: Whether it is being asked for right now.
    is_asked: bool = field(init=False, default=False)
    #: What its log was told.
    story: Story = field(init=False, default_factory=Story)
    future: asyncio.Future[Decision] = field(init=False)
    #: What is logged in this context lands in the log of the task that waits.
    context: contextvars.Context = field(init=False, default_factory=contextvars.copy_context)

    def __post_init__(self) -> None:
        self.future = asyncio.get_running_loop().create_future()
        self.poller = TaskPoller(
            poke_interval=self.poke_interval,
            deadline=self._deadline,
            visible_by=self.asked_at + NOT_FOUND_GRACE_SECONDS,
            random=random.random,
            answered=True,
            gap=self._gap,
        )
        self.due_at = min(self._first_ask(), self.deadline)
        self.give_up_at = max(self.deadline, time.time()) + OVERDUE_SECONDS

    @property
    def is_over(self) -> bool:
        """Whether nobody waits any more."""
        return self.future.done()

    @property
    def in_batch(self) -> bool:
        """Whether ``GET /tasks`` may tell of it."""
        return self.batch_misses < MOST_MISSES

    @property
    def in_list(self) -> bool:
        """Whether the endpoint's list may tell of it."""
        return not self.row.is_raw and self.row.dialect == "classic" and self.list_misses < MOST_MISSES

    @property
    def expected(self) -> Expectation:
        """How long it takes, from booking to end."""
        return self.durations.expect(self.row.name, self.profile)

    @property
    def span(self) -> Span:
        """When it was created, as far as is known, for the walk through a list."""
        created = self.task.created_at if self.task else None
        return Span.of(created.timestamp() if created else None, self.booked_at)

    def elapsed(self, now: float) -> float | None:
        """Seconds since it was booked; by our clock where that is known, because Kling's may be wrong."""
        start = self.booked_at
        if start is None and self.task is not None and self.task.created_at is not None:
            start = self.task.created_at.timestamp()
        return None if start is None else max(0.0, now - start)

    def age(self, now: float) -> float:
        """Seconds since it was booked, or else since a worker knew of it."""
        elapsed = self.elapsed(now)
        return now - self.asked_at if elapsed is None else elapsed

    def _first_ask(self) -> float:
        """At once, where it is not known yet how long tasks take: to learn whether all is well."""
        expected, elapsed = self.expected, self.elapsed(self.earliest)
        if elapsed is None or expected.seen < BELIEVED_FROM or expected.may_be_over(elapsed):
            return self.earliest
        gap = expected.gap(elapsed, self.poke_interval)
        return self.earliest + gap * (1 + JITTER * random.random())  # noqa: S311 - not a secret

    def _gap(self, _task: KlingTask, now: float) -> float:
        elapsed = self.elapsed(now)
        return 0.0 if elapsed is None else self.expected.gap(elapsed, self.poke_interval)

    def _deadline(self, _task: KlingTask | None) -> float:
        return self.deadline
