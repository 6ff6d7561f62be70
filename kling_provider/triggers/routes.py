"""What the watcher has found out about the ways to ask: for one task, for many, through a list. No I/O."""

from __future__ import annotations

from dataclasses import dataclass, field

from kling_provider.api.list_walk import ListMemory

#: How many ids one ``GET /tasks`` may hold is not documented: it starts with so many, doubles where that is taken,
#: halves where it is refused (400, 413, 414), and settles between. More would make addresses longer than servers take.
FIRST_BATCH = 50
LARGEST_BATCH = 200
#: A way that Kling refuses is tried again after so many seconds, ...
REFUSED_SECONDS = 3600.0
#: ... a batch that may only lag behind after so many.
LAGGING_SECONDS = 30.0
#: A way that gave no answer so often in a row, while single queries did, ...
MOST_SILENCES = 3
#: (what was under way together counts once) ...
ONE_SILENCE_SECONDS = 5.0
#: ... is left alone for so many seconds, as is a list with little of ours in it.
NOT_WORTH_IT_SECONDS = 600.0


@dataclass(slots=True)
class Route:
    """A way to ask for many tasks at once, which may be closed for a while."""

    _rests_until: float = field(default=0.0, init=False)
    _silences: int = field(default=0, init=False)
    _silent_at: float = field(default=0.0, init=False)

    def is_open(self, now: float) -> bool:
        """Whether it may be taken at ``now``."""
        return now >= self._rests_until

    def on_refused(self, now: float) -> None:
        """Kling does not take this kind of question."""
        self._rests_until = now + REFUSED_SECONDS

    def on_silence(self, now: float) -> bool:
        """It gave no answer while Kling answers otherwise; tells whether it is left alone from now on."""
        if now - self._silent_at >= ONE_SILENCE_SECONDS:
            self._silences, self._silent_at = self._silences + 1, now
        if self._silences < MOST_SILENCES:
            return False
        self._silences, self._rests_until = 0, now + NOT_WORTH_IT_SECONDS
        return True

    def on_answer(self) -> None:
        """It gave an answer."""
        self._silences = 0


@dataclass(slots=True)
class BatchRoute(Route):
    """``GET /tasks`` for many tasks.

    :param tells_classic: whether it tells of tasks that were made in the classic dialect; None: not known yet.
    """

    tells_classic: bool | None = None
    limit: int = FIRST_BATCH
    _taken: int = 0
    _refused: int = LARGEST_BATCH + 1
    _classic_rests_until: float = 0.0

    def is_open_for_classic(self, now: float) -> bool:
        """Whether it may be asked at ``now`` for tasks of the classic dialect."""
        return self.is_open(now) and now >= self._classic_rests_until

    def on_no_classic(self, now: float, *, is_sure: bool) -> None:
        """It told of no classic task; unless it is sure, it may only lag behind."""
        self.tells_classic = False if is_sure else None
        self._classic_rests_until = now + (REFUSED_SECONDS if is_sure else LAGGING_SECONDS)

    def on_taken(self, count: int) -> None:
        """So many ids were taken."""
        self.on_answer()
        self._taken = max(self._taken, count)
        if count < self.limit:
            return
        if self._refused > LARGEST_BATCH:
            self.limit = min(2 * self.limit, LARGEST_BATCH)
        elif self._refused - self._taken > self._taken / 2:
            self.limit = (self._taken + self._refused) // 2

    def on_too_many(self, count: int) -> None:
        """So many ids were refused."""
        self._refused = min(self._refused, count)
        self._taken = min(self._taken, count - 1)
        self.limit = max(1, self._taken or count // 2)


@dataclass(slots=True)
class ListRoute(Route):
    """The list of one endpoint of the classic dialect."""

    memory: ListMemory = field(default_factory=ListMemory)

    def on_walked(self, now: float) -> None:
        """A walk is over: did it tell of more tasks than it cost requests?"""
        if self.memory.found < 1:
            self._rests_until = now + NOT_WORTH_IT_SECONDS
