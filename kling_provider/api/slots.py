"""When a create that Kling had no slot for may be sent again: a state machine without I/O and without a clock.

Nobody can see a slot of the account get free. What shows is a task of ours that has ended, and whether a waiter
that was let go comes back refused.

Rules
  * A task seen to end lets the first waiter go, in order of arrival. One that needs several slots saves up as
    many ends for a while, then they go to those behind it.
  * Besides, one waiter at a time is let go as a probe: after 15 s, the gap doubling up to 60 s with each
    refusal, and halving with each probe that does not come back. This goes on while tasks of ours end: nothing
    else finds the slots that others have freed, or whose end another process has seen.
  * A refusal shows that all was taken then, so ends seen before it are worth nothing. An end seen while a probe
    is on its way is taken to be the probe's slot, unless probes are taken all the time: then there is more room.
  * Without a sign of free slots, a probe is the business of those with few refusals, and each waiter's own pause
    grows with every refusal, to an hour and a half. With a sign (an end, or probes taken) the order of arrival
    counts, and only the last refusals are saved. After hours without a sign the probes come every five minutes:
    an account that others hog uses nobody up.
  * A waiter that another process let go may come back here, and one of ours there. Where that happens, not
    coming back proves little: a probe counts as taken only if no refusal at all is seen for a while.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kling_provider.api.endpoints import Endpoint

#: Seconds from one probe to the next: at first and while probes are taken; while they are refused.
SHORTEST_PROBE_GAP = 15.0
LONG_PROBE_GAP = 60.0
#: Without any sign of a free slot the gap is a tenth of that time, up to so many seconds.
LONGEST_PROBE_GAP = 300.0
#: Spread the probes of several processes.
JITTER = 0.2
#: Seconds after its last refusal until a waiter may go, by its number of refusals: without a sign of free
#: slots; with one. The operator gives up at eight, so the seventh is followed by a long pause in any case.
PAUSES_UNSURE = (0.0, 0.0, 30.0, 120.0, 300.0, 600.0, 1800.0, 5400.0)
PAUSES_SURE = (0.0, 0.0, 0.0, 0.0, 0.0, 120.0, 600.0, 1800.0)
#: Waiters with no more refusals than this share the probes in order of arrival.
FEW_REFUSALS = 3
#: Pictures of a task at most; so many a series may have whose number Kling chooses itself.
MOST_PICTURES = 9
#: Pictures of a series where nothing is said.
DEFAULT_SERIES = 4


def slots_of(endpoint: Endpoint, body: Mapping[str, Any]) -> int:
    """How many slots of the account a task holds: as many as the pictures it makes, else one.

    The most that it may be, where the request holds words that nobody has checked.

    :param endpoint: where it goes.
    :param body: what is sent.
    """
    if endpoint.kind != "image":
        return 1
    single, series = _count(body.get("n"), 1), _count(body.get("series_amount"), DEFAULT_SERIES)
    match body.get("result_type"):
        case None | "" | "single":
            return single
        case "series":
            return series
    return max(single, series)


def _count(told: object, default: int) -> int:
    """A number of pictures; the most, for ``auto`` and for what is no number."""
    if told is None or told == "":
        return default
    try:
        number = int(told) if isinstance(told, str | int) and not isinstance(told, bool) else 0
    except ValueError:
        return MOST_PICTURES
    return number if number > 0 else MOST_PICTURES


#: A waiter that was let go and has not come back for so many seconds was taken. Grows where workers are slower.
RETURNS_WITHIN_SECONDS = 45.0
LONGEST_RETURN_SECONDS = 300.0
#: Until then a late return is known for what it is.
REMEMBERED_SECONDS = 900.0
#: So long a worker takes to start and post: ends seen in that time belong to the probe.
STARTS_WITHIN_SECONDS = 15.0
#: An end or a refusal says little about slots later than that, in seconds.
NEWS_SECONDS = 60.0
#: So long the ends seen are saved up for a waiter that needs several slots.
SAVED_UP_SECONDS = 30.0


@dataclass(frozen=True, eq=False, slots=True)
class Waiter:
    """A create that was refused; each wait is one object, compared by identity.

    :param first_wait_at: epoch seconds of its first refusal; its place in the line.
    :param refusals: how often it was refused.
    :param refused_at: epoch seconds of the last time.
    :param ready_at: epoch seconds before which it must not go.
    :param weight: slots it needs.
    """

    first_wait_at: float
    refusals: int
    refused_at: float
    ready_at: float
    weight: int = 1

    def may_go_at(self, pauses: Sequence[float]) -> float:
        """When its own pause is over, in epoch seconds."""
        return max(self.ready_at, self.refused_at + pauses[min(self.refusals, len(pauses) - 1)])


@dataclass(slots=True)
class _Release:
    """A waiter that was let go.

    :param is_probe: whether for no end of a task.
    :param may_use: so many ends that are seen on its way are its own.
    :param ends: those it used.
    """

    waiter: Waiter
    at: float
    is_probe: bool
    may_use: int = 0
    ends: list[float] = field(default_factory=list)
    is_settled: bool = False


class SlotQueue:
    """Decides which of the waiters of one account and kind may go, and when.

    All times are epoch seconds, and given by the caller.

    :param random: a number from 0 to 1, for the jitter.
    """

    def __init__(self, *, random: Callable[[], float]):
        self._random = random
        self._waiters: list[Waiter] = []
        self._releases: list[_Release] = []
        self._ends: list[float] = []
        self._gap = SHORTEST_PROBE_GAP
        self._next_probe = 0.0
        self._slots_seem_free = False
        self._last_sign: float | None = None
        self._has_company = False
        self._returns_within = RETURNS_WITHIN_SECONDS

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiters)

    def is_over(self, now: float) -> bool:
        """Whether nobody waits and nobody is expected back."""
        self._settle(now)
        return not self._waiters and all(release.is_settled for release in self._releases)

    def place(self, waiter: Waiter) -> int:
        """How many wait before this one."""
        return self._waiters.index(waiter)

    def join(self, waiter: Waiter, now: float) -> None:
        """Let a refused one wait; one that comes back after it was let go is recognised."""
        self._settle(now)
        if self._last_sign is None:
            self._last_sign = now
        release = self._release_of(waiter)
        if (
            release is not None or now < waiter.refused_at + NEWS_SECONDS
        ):  # not a row a new triggerer has loaded
            self._on_refusal(release, waiter, now)
        if waiter.weight == 1:  # one that needs more says nothing about the last slot
            self._ends = [end for end in self._ends if end >= waiter.refused_at]
        if not self._waiters:
            self._pause_probes(waiter.refused_at)
        insort(self._waiters, waiter, key=lambda one: one.first_wait_at)

    def leave(self, waiter: Waiter) -> None:
        """Forget a waiter that will not post; what it was let go for is the next one's."""
        if waiter in self._waiters:
            self._waiters.remove(waiter)
        for release in self._releases:
            if release.waiter is waiter:
                self._forget(release)
                return

    def on_finished(self, now: float) -> None:
        """Take note that a task was seen to end."""
        self._last_sign = now
        for release in self._releases:
            if len(release.ends) < release.may_use and now < release.at + STARTS_WITHIN_SECONDS:
                release.ends.append(now)
                return
        self._ends = [*self._fresh_ends(now), now]

    def slow_down(self, until: float) -> None:
        """Hold the probes back until then: Kling said that requests come too fast."""
        self._next_probe = max(self._next_probe, until)

    def next_release(self, now: float) -> tuple[Waiter | None, float]:
        """Let at most one waiter go.

        :returns: the waiter, or None and the seconds after which to ask again if nothing happens before.
        """
        self._settle(now)
        release = self._for_ends(now) or self._probe(now)
        if release is None:
            later = (moment for moment in self._moments() if moment > now)
            return None, min(later, default=now + LONG_PROBE_GAP) - now
        self._waiters.remove(release.waiter)
        self._releases.append(release)
        return release.waiter, 0.0

    def _for_ends(self, now: float) -> _Release | None:
        self._ends = self._fresh_ends(now)
        for waiter in self._waiters if self._ends else ():
            if now < waiter.may_go_at(PAUSES_SURE):
                continue
            if waiter.weight <= len(self._ends):
                used, self._ends = self._ends[: waiter.weight], self._ends[waiter.weight :]
                return _Release(waiter, now, is_probe=False, ends=used)
            if now < self._ends[0] + SAVED_UP_SECONDS:
                return None
        return None

    def _probe(self, now: float) -> _Release | None:
        if now < self._next_probe:
            return None
        pauses = PAUSES_SURE if self._slots_seem_free else PAUSES_UNSURE
        ready = [waiter for waiter in self._waiters if now >= waiter.may_go_at(pauses)]
        if not ready:
            return None
        if not self._slots_seem_free:
            ready.sort(key=lambda waiter: max(waiter.refusals, FEW_REFUSALS))
        self._pause_probes(now)
        may_use = ready[0].weight if self._gap > SHORTEST_PROBE_GAP else 0
        return _Release(ready[0], now, is_probe=True, may_use=may_use)

    def _on_refusal(self, release: _Release | None, waiter: Waiter, now: float) -> None:
        self._slots_seem_free = False
        if release is not None:
            self._forget(release)
            took = min(1.5 * (now - release.at), LONGEST_RETURN_SECONDS)
            self._returns_within = max(self._returns_within, took)
        elif waiter.refusals > 1:
            self._has_company = True  # another process let it go
        else:
            return  # nobody let it go, so it says nothing about probes
        if self._has_company:
            for other in self._releases:  # one of them may have been refused, and be back elsewhere
                other.is_settled |= other.at < waiter.refused_at
        without_sign = now - (self._last_sign or now)
        longest = min(max(LONG_PROBE_GAP, without_sign / 10), LONGEST_PROBE_GAP)
        self._gap = min(2 * self._gap, longest)
        self._pause_probes(waiter.refused_at)

    def _settle(self, now: float) -> None:
        """Believe that those who did not come back were taken."""
        for release in self._releases:
            if release.is_settled or now < self._settles_at(release):
                continue
            release.is_settled = True
            if release.is_probe:
                self._last_sign = now
                self._gap = max(min(self._gap, LONG_PROBE_GAP) / 2, SHORTEST_PROBE_GAP)
                self._next_probe = min(self._next_probe, max(now, release.at + self._gap))
                self._slots_seem_free = self._gap == SHORTEST_PROBE_GAP and not self._has_company
        self._releases = [one for one in self._releases if now < one.at + REMEMBERED_SECONDS]

    def _settles_at(self, release: _Release) -> float:
        doubt = 2 * self._gap if self._has_company else 0.0
        return release.at + max(self._returns_within, doubt)

    def _release_of(self, waiter: Waiter) -> _Release | None:
        told = (waiter.first_wait_at, waiter.refusals - 1)
        found = (one for one in self._releases if (one.waiter.first_wait_at, one.waiter.refusals) == told)
        return next(found, None)

    def _forget(self, release: _Release) -> None:
        self._releases.remove(release)
        self._ends = sorted(self._ends + release.ends)

    def _pause_probes(self, start: float) -> None:
        self._next_probe = max(self._next_probe, start + self._gap * (1 + JITTER * self._random()))

    def _fresh_ends(self, now: float) -> list[float]:
        return [end for end in self._ends if now < end + NEWS_SECONDS]

    def _moments(self) -> Iterator[float]:
        """Every time at which something may change by itself."""
        yield from (self._settles_at(one) for one in self._releases if not one.is_settled)
        if self._waiters:
            yield self._next_probe
            yield from (end + SAVED_UP_SECONDS for end in self._ends)
        for waiter in self._waiters:
            yield waiter.may_go_at(PAUSES_SURE)
            yield waiter.may_go_at(PAUSES_UNSURE)
