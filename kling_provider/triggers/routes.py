"""What the watcher has found out about the ways to ask: for one task, for many, through a list. No I/O."""

from __future__ import annotations

from dataclasses import dataclass, field

from kling_provider.api.list_walk import ListMemory

#: How many ids one ``GET /tasks`` may hold is not documented: it starts with so many, doubles where that is taken, and
#: halves where it is refused (400, 413, 414). More would make addresses longer than servers take.
FIRST_BATCH = 50
LARGEST_BATCH = 200
#: A way that Kling refuses is tried again after so many seconds, ...
REFUSED_SECONDS = 3600.0
#: ... a list with little of ours in it after so many.
NOT_WORTH_IT_SECONDS = 600.0


@dataclass(slots=True)
class BatchRoute:
    """``GET /tasks`` for many tasks.

    :param tells_classic: whether it tells of tasks that were made in the classic dialect; None: not tried yet.
    """

    tells_classic: bool | None = None
    limit: int = FIRST_BATCH
    _largest: int = LARGEST_BATCH
    _rests_until: float = 0.0

    def is_open(self, now: float) -> bool:
        """Whether it may be asked at ``now``."""
        return now >= self._rests_until

    def on_answer(self, count: int) -> None:
        """So many ids were taken."""
        if count >= self.limit:
            self.limit = min(2 * self.limit, self._largest)

    def on_too_many(self, count: int) -> None:
        """So many ids were refused."""
        self._largest = max(1, min(self._largest, count - 1))
        self.limit = max(1, min(self.limit, count // 2))

    def forget_limit(self) -> None:
        """Something else was wrong than the number of ids."""
        self.limit, self._largest = FIRST_BATCH, LARGEST_BATCH

    def on_refused(self, now: float) -> None:
        """Kling does not take this kind of question."""
        self._rests_until = now + REFUSED_SECONDS


@dataclass(slots=True)
class ListRoute:
    """The list of one endpoint of the classic dialect."""

    memory: ListMemory = field(default_factory=ListMemory)
    _rests_until: float = 0.0

    def is_open(self, now: float) -> bool:
        """Whether it may be read at ``now``."""
        return now >= self._rests_until

    def on_walked(self, now: float) -> None:
        """A walk is over: did it tell of more tasks than it cost requests?"""
        if self.memory.found < 1:
            self._rests_until = now + NOT_WORTH_IT_SECONDS

    def on_refused(self, now: float) -> None:
        """Kling does not take this kind of question."""
        self._rests_until = now + REFUSED_SECONDS
