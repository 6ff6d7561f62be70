"""Find some tasks in a list of thousands whose order nobody has documented. No I/O.

The walk learns the order from the pages it sees. In a list sorted by time, newest or oldest first, it jumps to the
pages where our tasks must be and reads on until all are seen or their time has passed. In any other list it reads
page after page as long as that is worth more than asking for single tasks.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from math import isfinite
from typing import Literal

from kling_provider.api.endpoints import MAX_PAGE
from kling_provider.api.tasks import KlingTask

#: A task whose time of creation is only known by our own clock is looked for so many seconds around it.
CLOCK_SLACK_SECONDS = 600.0
#: So many pages more than single queries would cost are spent on finding the place in a sorted list.
_SEARCH_ALLOWANCE = 12

Order = Literal["newest", "oldest", "mixed"]


@dataclass(frozen=True, slots=True)
class ListPage:
    """What a page of a list told.

    :param told: those of our tasks that are on it.
    :param times: when each task on it was created, epoch seconds by Kling's clock, in the page's order; those
        without a time are left out.
    :param ids: first and last task id, and how many tasks there are: tells pages apart.
    """

    told: Mapping[str, KlingTask]
    times: tuple[float, ...] = ()
    ids: tuple[str, str, int] = ("", "", 0)

    @property
    def is_empty(self) -> bool:
        """Whether the list has ended before this page."""
        return self.ids[2] == 0


@dataclass(frozen=True, slots=True)
class Span:
    """When a task was created, as far as is known, epoch seconds by Kling's clock."""

    earliest: float = float("-inf")
    latest: float = float("inf")

    @classmethod
    def of(cls, created_at: float | None, booked_at: float | None) -> Span:
        """By what Kling told, or else by our own clock, or unknown."""
        if created_at is not None:
            return cls(created_at, created_at)
        if booked_at is not None:
            return cls(booked_at - CLOCK_SLACK_SECONDS, booked_at + CLOCK_SLACK_SECONDS)
        return cls()


@dataclass(slots=True)
class ListMemory:
    """What a walk leaves to the next one.

    :param page: where the first of our tasks was.
    :param found: tasks that the last walk found per request.
    """

    page: int = 1
    found: float = 1.0


@dataclass(slots=True)
class ListWalk:
    """One walk: ask for :meth:`next_page`, tell :meth:`on_page`, until there is no next one.

    :param wanted: whom to find.
    :param memory: of the last walk; updated.
    """

    wanted: dict[str, Span]
    memory: ListMemory = field(default_factory=ListMemory)
    order: Order | None = None
    _asked: int = 0
    _found: int = 0
    _barren: int = 0  # pages in a row that told of none of ours
    _first_found: int | None = None
    _seen: set[tuple[str, str, int]] = field(default_factory=set)
    _read: set[int] = field(default_factory=set)
    _times: dict[int, tuple[float, float]] = field(default_factory=dict)  # of a page's first and last task
    _before: int = 0  # the last page that lies before ours
    _behind: int = MAX_PAGE + 1  # the first page that lies behind ours
    _end: int = MAX_PAGE + 1  # the first page behind the end of the list
    _inside: list[int] = field(default_factory=list)  # first and last page that was read where ours may be

    def next_page(self) -> int | None:
        """The page to ask for, or None if the walk is over."""
        is_worth_it = max(self._asked - self._found, self._barren) <= self._allowance
        page = self._next() if self.wanted and is_worth_it else None
        if page is None or page in self._read or not self._before < page < min(self._behind, self._end):
            self.memory.found = self._found / max(1, self._asked)
            self.memory.page = self._first_found or 1
            return None
        return page

    def on_page(self, number: int, page: ListPage) -> None:
        """Take note of what page ``number`` told."""
        self._asked += 1
        self._read.add(number)
        if page.is_empty or page.ids in self._seen:  # the end, or a list that does not know pages
            self._end = min(self._end, number)
            return
        self._seen.add(page.ids)
        hits = self.wanted.keys() & page.told.keys()
        for task_id in hits:
            del self.wanted[task_id]
        self._found += len(page.told)  # whoever else waits is served too
        self._barren = 0 if hits else self._barren + 1
        if hits:
            self._first_found = min(number, self._first_found or number)
        self._learn_order(page.times)
        if page.times:
            self._times[number] = (page.times[0], page.times[-1])
        place = self._place(page.times)
        if place == "before":
            self._before = max(self._before, number)
            self._inside = []  # whoever is left lies further on
        elif place == "behind":
            self._behind = min(self._behind, number)
            if self._inside and number < self._inside[0]:
                self._inside = []  # whoever is left lies before all that was read here
        else:
            self._inside = [min(number, *self._inside, number), max(number, *self._inside, number)]

    @property
    def _allowance(self) -> int:
        if self.order == "mixed":
            return 1
        return 1 + min(_SEARCH_ALLOWANCE, (len(self.wanted) + self._found) // 2)

    def _next(self) -> int | None:
        if self.order == "mixed":
            return next((page for page in range(1, self._end) if page not in self._read), None)
        if self._inside:
            first, last = self._inside
            return last + 1 if last + 1 < min(self._behind, self._end) else first - 1
        return self._search()

    def _search(self) -> int:
        """Ours were not met yet: guess the page from the times seen, and every other time halve what is left."""
        start = min(max(self.memory.page, 1), MAX_PAGE)
        if not self._read:
            return start
        low, high = self._before, min(self._behind, self._end)
        guess = self._guess() if len(self._read) % 2 else None
        if guess is None:
            guess = (low + high) // 2 if high <= MAX_PAGE else low + max(1, low - start + 1)
        return min(max(guess, low + 1), high - 1)

    def _guess(self) -> int | None:
        """The page where ours begin, if the list went on as evenly as between the two pages next to them."""
        if not self._times:
            return None
        spans = self.wanted.values()
        is_newest = self.order == "newest"
        sought = max(span.latest for span in spans) if is_newest else min(span.earliest for span in spans)
        known = sorted(self._times, key=lambda page: abs(self._times[page][0] - sought))[:2]
        page, (first, last) = known[0], self._times[known[0]]
        per_page = (self._times[known[1]][0] - first) / (known[1] - page) if len(known) == 2 else last - first
        if per_page == 0 or not isfinite(sought):
            return None
        return page + max(-MAX_PAGE, min(MAX_PAGE, int((sought - first) / per_page)))

    def _learn_order(self, times: Collection[float]) -> None:
        pairs = list(pairwise(times))
        falls = any(later < earlier for earlier, later in pairs)
        rises = any(later > earlier for earlier, later in pairs)
        seen: Order | None = (
            "mixed" if falls and rises else "newest" if falls else "oldest" if rises else None
        )
        if seen is None or self.order == seen:
            return
        self.order = seen if self.order is None else "mixed"
        if self.order == "mixed":
            self._before, self._behind = 0, MAX_PAGE + 1  # they were concluded from times

    def _place(self, times: tuple[float, ...]) -> Literal["before", "inside", "behind"]:
        """Where a page lies, seen from our tasks."""
        if self.order not in ("newest", "oldest") or not times or not self.wanted:
            return "inside"
        earliest = min(span.earliest for span in self.wanted.values())
        latest = max(span.latest for span in self.wanted.values())
        all_older, all_newer = max(times) < earliest, min(times) > latest
        if self.order == "newest":
            return "before" if all_newer else "behind" if all_older else "inside"
        return "before" if all_older else "behind" if all_newer else "inside"
