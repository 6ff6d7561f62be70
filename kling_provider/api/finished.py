"""Which tasks of an account have finished and were not told of yet. No I/O and no clock.

All times are epoch seconds by Kling's clock. What is remembered is small, and survives a restart where it can be kept.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from kling_provider.api.tasks import KlingTask

#: A list may show a task so many seconds late.
LAG_SECONDS = 600.0
#: No task works for longer; one that seems to is stuck, and newest-first lists are not read back to it.
LONGEST_TASK_SECONDS = 86400.0
#: What ended longer ago is no news, even to a list that could never be read to its end: Kling has deleted it.
OLDEST_NEWS_SECONDS = 30 * 86400.0


@dataclass(slots=True)
class FinishedTasks:
    """Tells news from what is known, for one list in any order.

    :param since: what ended before is no news.
    :param told: when each task ended that was told of since.
    """

    since: float
    told: dict[str, float] = field(default_factory=dict)
    _reach: float = field(init=False)
    _open: list[float] = field(default_factory=list, init=False)
    _newest: float = field(default=0.0, init=False)
    _known: dict[str, float] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._reach = self.since - LONGEST_TASK_SECONDS

    def __contains__(self, task_id: object) -> bool:
        """Whether a task has to be read: nothing changes about those that are over.

        Those that were made before :attr:`reach` are forgotten, so that this does not grow; they are no news either.
        """
        return task_id not in self._known

    @property
    def reach(self) -> float:
        """A task that was created before cannot be news: it was over at the last look, or is stuck."""
        return self._reach - LAG_SECONDS

    def news(self, tasks: Iterable[KlingTask]) -> list[KlingTask]:
        """Those that have ended since and were not told of; they count as told from now on.

        A task without times is no news: nobody can tell when it ended.

        :param tasks: of one page of a list.
        """
        found = []
        for task in tasks:
            if not task.is_terminal:
                if task.created_at is not None:
                    self._open.append(task.created_at.timestamp())
                continue
            made = task.created_at or task.updated_at
            if made is not None and made.timestamp() >= self.reach:
                self._known[task.task_id] = made.timestamp()
            if task.task_id in self.told or task.updated_at is None:
                continue
            ended = task.updated_at.timestamp()
            self._newest = max(self._newest, ended)
            if ended >= self.since:
                self.told[task.task_id] = ended
                found.append(task)
        return sorted(found, key=lambda task: self.told[task.task_id])

    def on_round(self, now: float, *, is_complete: bool) -> None:
        """The list was read once: forget what cannot come again.

        :param now: by our clock; one odd task from the future must not hide all that come before it.
        :param is_complete: whether it was read as far as it had to be.
        """
        if is_complete:
            self.since = max(self.since, min(self._newest, now) - LAG_SECONDS)
            oldest = min(self._open, default=self.since)
            self._reach = max(min(self.since, oldest), self.since - LONGEST_TASK_SECONDS)
        elif self.since < now - OLDEST_NEWS_SECONDS:
            self.since = now - OLDEST_NEWS_SECONDS
            self._reach = self.since - LONGEST_TASK_SECONDS
        self.told = {task_id: ended for task_id, ended in self.told.items() if ended >= self.since}
        self._known = {task_id: made for task_id, made in self._known.items() if made >= self.reach}
        self._open = []

    def to_dict(self) -> dict[str, Any]:
        """Give what must be remembered, as plain JSON."""
        return {"since": self.since, "told": dict(self.told)}

    @classmethod
    def from_dict(cls, value: object, since: float) -> FinishedTasks:
        """Read back what :meth:`to_dict` gave.

        :param value: anything else counts as nothing.
        :param since: where nothing is remembered.
        """
        try:
            assert isinstance(value, Mapping)
            told = {str(task_id): float(ended) for task_id, ended in value["told"].items()}
            return cls(float(value["since"]), told)
        except (AssertionError, KeyError, TypeError, ValueError, AttributeError):
            return cls(since)


@dataclass(slots=True)
class FinishedLists:
    """What was told of each list, apart: one that cannot be read holds back nothing of the others.

    :param unknown: what a list begins with of which nothing is remembered.
    :param lists: by their endpoint.
    """

    unknown: FinishedTasks
    lists: dict[str, FinishedTasks] = field(default_factory=dict)

    def of(self, endpoint: str) -> FinishedTasks:
        """What was told of one list; updated by whoever reads it.

        :param endpoint: whose list.
        """
        if endpoint not in self.lists:
            self.lists[endpoint] = FinishedTasks(self.unknown.since, dict(self.unknown.told))
        return self.lists[endpoint]

    def to_dict(self) -> dict[str, Any]:
        """Give what must be remembered, as plain JSON."""
        return {"lists": {endpoint: known.to_dict() for endpoint, known in self.lists.items()}}

    @classmethod
    def from_dict(cls, value: object, since: float) -> FinishedLists:
        """Read back what :meth:`to_dict` gave.

        :param value: anything else counts as nothing, but what one memory of all lists has kept.
        :param since: where nothing is remembered.
        """
        kept = value.get("lists") if isinstance(value, Mapping) else None
        lists = kept if isinstance(kept, Mapping) else {}
        return cls(
            FinishedTasks.from_dict(value, since),
            {str(endpoint): FinishedTasks.from_dict(told, since) for endpoint, told in lists.items()},
        )


@dataclass(slots=True)
class PageOrder:
    """Says whether a list has to be read on, from the order of the pages that were read.

    :param reach: tasks that were created before are not looked for.
    """

    reach: float
    _last: float | None = field(default=None, init=False)
    _is_newest_first: bool = field(default=True, init=False)
    _pages: set[tuple[str, str, int]] = field(default_factory=set, init=False)

    def is_over(self, ids: tuple[str, str, int], times: Collection[float]) -> bool:
        """Take note of a page.

        :param ids: first and last task id, and how many tasks there are; tells pages apart.
        :param times: when its tasks were created, in the page's order.
        :returns: whether nothing that is looked for can come behind it.
        """
        if ids[2] == 0 or ids in self._pages:  # the end, or a list that does not know pages
            return True
        self._pages.add(ids)
        seen = [*([] if self._last is None else [self._last]), *times]
        self._is_newest_first &= all(later <= earlier for earlier, later in pairwise(seen))
        self._last = seen[-1] if seen else None
        # Two tasks at least, or it is no order.
        return self._is_newest_first and len(times) > 1 and min(times) < self.reach
