"""How long tasks take, and when it is worth asking again. No I/O and no clock.

The time a task takes is taken as log-normal: around the endpoint's usual time at first, around what was seen after
that. A task is asked for as soon as the lag that has to be expected since the last ask (the time for which it may
have been finished, unnoticed) reaches :data:`LAG_WORTH_A_REQUEST`. This is rarely while it can hardly be over, often
around its usual end, and ever less in the tail.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from kling_provider.api.endpoints import ENDPOINTS, Endpoint, endpoint_for
from kling_provider.api.errors import InvalidRequest

#: Seconds of expected lag that justify one more request. With it, a video alone of 164 s (give or take 15 %) costs
#: about seven requests and four seconds of lag at first, a little less of both after twenty (``test_lone_waits``).
LAG_WORTH_A_REQUEST = 0.43
#: Spread (standard deviation of the logarithm) of a time that nobody has measured here yet.
UNKNOWN_SPREAD = 0.25
#: The same where not even the vendor's usual time is known.
WILD_SPREAD = 0.8
#: Nothing is believed to be more regular than this.
LEAST_SPREAD = 0.05
#: This share of tasks behaves like no other: fails early, hangs.
ODD_SHARE = 0.02
ODD_SPREAD = 1.0
#: So many seen tasks weigh as much as the built-in time.
PRIOR_WEIGHT = 1.0
PRIOR_SPREAD_WEIGHT = 2.0
#: Only the last ones count: Kling is faster at night.
REMEMBERED = 50
#: From so many on, one that took far longer than all others is not believed wholly.
BELIEVED_FROM = 5
#: Behind the expected end, the gap grows with this share of the time it took so far.
TAIL_SHARE = 0.15
#: The gap between two asks is never longer, unless ``poke_interval`` is.
LONGEST_GAP_SECONDS = 120.0
#: Where nothing is known, a task is thought to take so many seconds.
UNKNOWN_SECONDS = 180.0
_MOST_PROFILES = 1000
_STEPS = 12

#: Per endpoint (or for all, as ``*``): seconds a task usually takes, where the connection says so.
TypicalSeconds = Mapping[str, float]


def profile_of(endpoint: Endpoint, body: Mapping[str, Any]) -> str:
    """Name the kind of work a request is: what its time depends on.

    :param endpoint: where it is sent.
    :param body: what is sent, with defaults filled in.
    :returns: endpoint, model, mode and duration, as in ``image2video kling-v2-6 pro 5``; never more than 120
        characters.
    """
    settings = body.get("settings")
    settings = settings if isinstance(settings, Mapping) else {}
    told = (
        body.get("model_name"),
        body.get("mode") or settings.get("resolution"),
        body.get("duration") or settings.get("duration"),
    )
    words = [
        endpoint.name,
        *(str(word) if isinstance(word, str | int) and word != "" else "-" for word in told),
    ]
    return " ".join(words)[:120]


@dataclass(frozen=True, slots=True)
class Expectation:
    """When a task will be over: a log-normal time with a few odd ones.

    :param seconds: the usual time, from booking to end.
    :param spread: standard deviation of its logarithm.
    :param seen: how many tasks it was learned from; 0: built in.
    """

    seconds: float
    spread: float
    seen: int = 0

    def share_over(self, elapsed: float) -> float:
        """Share of tasks that are over after ``elapsed`` seconds."""
        return _curve(self.seconds, self.spread)[0](elapsed)

    def may_be_over(self, elapsed: float) -> bool:
        """Whether asking now may be worth a request, for somebody who asks only once."""
        return self.share_over(elapsed) > ODD_SHARE

    def gap(self, elapsed: float, least: float) -> float:
        """Seconds until the next ask.

        :param elapsed: seconds since the task was booked; it was not over then.
        :param least: smallest gap, in seconds.
        """
        most = max(least, LONGEST_GAP_SECONDS)
        if elapsed > self.seconds:
            most = min(most, max(least, TAIL_SHARE * elapsed))
        share_until, area_until = _curve(self.seconds, self.spread)
        over, area = share_until(elapsed), area_until(elapsed)
        worth = LAG_WORTH_A_REQUEST * (1 - over)
        if over > 1 - 1e-6:
            return most
        gap = max(least, 0.1)
        for _ in range(_STEPS):
            # lag to be expected from asking so much later, times the share that is still running now
            lag = area_until(elapsed + gap) - area - gap * over
            if lag >= worth or gap >= most:
                break
            # it grows with the square of the gap where ends are spread evenly, faster before the usual end
            gap *= min(2.0, max(1.05, math.sqrt(worth / lag))) if lag > 0 else 2.0
        return min(gap, most)


@dataclass(slots=True)
class _Seen:
    """The logarithms of the times seen lately for one kind of work."""

    logs: deque[float] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    news: int = 0


class Durations:
    """What is known about how long tasks take, and learned from those that end.

    :param typical_seconds: what the connection says, per endpoint or for all (``*``); else the endpoint table.
    """

    def __init__(self, typical_seconds: TypicalSeconds | None = None):
        self._typical: TypicalSeconds = typical_seconds or {}
        self._seen: dict[str, _Seen] = {}
        self._expected: dict[tuple[str, str], Expectation] = {}

    def set_typical(self, typical_seconds: TypicalSeconds) -> None:
        """Take note of what the connection says now."""
        if typical_seconds != self._typical:
            self._typical = typical_seconds
            self._expected.clear()

    def learn(self, endpoint: str, profile: str, seconds: float) -> None:
        """Take note of a task that succeeded.

        :param endpoint: its endpoint.
        :param profile: of :func:`profile_of`, or empty.
        :param seconds: from booking to end, both by Kling's clock.
        """
        if not (0 < seconds < math.inf):
            return
        for name in dict.fromkeys((endpoint, profile or endpoint)):
            expected = self.expect(endpoint, name)
            log = math.log(seconds)
            if expected.seen >= BELIEVED_FROM:
                usual, far = math.log(expected.seconds), 3 * expected.spread
                log = min(max(log, usual - far), usual + far)
            if name not in self._seen and len(self._seen) >= _MOST_PROFILES:
                del self._seen[next(iter(self._seen))]
            seen = self._seen.setdefault(name, _Seen())
            seen.logs.append(log)
            seen.news += 1
            if seen.news * 10 >= len(seen.logs):  # one among fifty changes little, and thousands may wait
                seen.news = 0
                self._expected.clear()

    def expect(self, endpoint: str, profile: str = "") -> Expectation:
        """Say how long a task will take.

        :param endpoint: its endpoint.
        :param profile: of :func:`profile_of`; what is not known about it is taken from the endpoint.
        """
        known = self._expected.get((endpoint, profile))
        if known is None:
            known = self._expected[endpoint, profile] = self._learned(endpoint, profile)
        return known

    def _learned(self, endpoint: str, profile: str) -> Expectation:
        expected = self._built_in(endpoint)
        for name in dict.fromkeys((endpoint, profile or endpoint)):
            if seen := self._seen.get(name):
                expected = _updated(expected, seen.logs)
        return expected

    def _built_in(self, endpoint: str) -> Expectation:
        told = self._typical.get(endpoint, self._typical.get("*"))
        if told:
            return Expectation(told, UNKNOWN_SPREAD)
        try:
            row = ENDPOINTS.get(endpoint) or endpoint_for(endpoint)
        except InvalidRequest:
            return Expectation(UNKNOWN_SECONDS, WILD_SPREAD)
        if row.is_raw or not row.typical_seconds:
            return Expectation(row.typical_seconds or UNKNOWN_SECONDS, WILD_SPREAD)
        return Expectation(row.typical_seconds, UNKNOWN_SPREAD)


def _updated(prior: Expectation, logs: deque[float]) -> Expectation:
    """What is expected after ``logs`` were seen (a normal-inverse-gamma posterior of the logarithm)."""
    count = len(logs)
    mean = sum(logs) / count
    usual = math.log(prior.seconds)
    weight = PRIOR_WEIGHT + count
    squares = sum((log - mean) ** 2 for log in logs)
    squares += PRIOR_WEIGHT * count / weight * (mean - usual) ** 2
    squares += PRIOR_SPREAD_WEIGHT * prior.spread**2
    spread = math.sqrt(squares / (PRIOR_SPREAD_WEIGHT + count) * (1 + 1 / weight))
    centre = (PRIOR_WEIGHT * usual + sum(logs)) / weight
    return Expectation(math.exp(centre), max(LEAST_SPREAD, spread), count)


@lru_cache(maxsize=_MOST_PROFILES)
def _curve(seconds: float, spread: float) -> tuple[Callable[[float], float], Callable[[float], float]]:
    """The share of tasks that are over after so many seconds, and its integral from 0.

    Thousands who wait ask for it several times each, so what stays the same is worked out once.
    """
    odd = max(spread, ODD_SPREAD)
    parts = [
        (weight, sigma, seconds * math.exp(sigma**2 / 2))
        for weight, sigma in ((1 - ODD_SHARE, spread), (ODD_SHARE, odd))
    ]
    (usual_weight, usual, usual_mean), (odd_weight, _, odd_mean) = parts
    log, erf, root = math.log, math.erf, math.sqrt(2)
    usual_log = log(seconds)  # the smallest of numbers, divided by it, is 0, which has no logarithm

    def share(elapsed: float) -> float:
        if elapsed <= 0:
            return 0.0
        away = (log(elapsed) - usual_log) / root
        return 0.5 * (1 + usual_weight * erf(away / usual) + odd_weight * erf(away / odd))

    def area(elapsed: float) -> float:
        if elapsed <= 0:
            return 0.0
        away = (log(elapsed) - usual_log) / root
        near, far = away / usual, away / odd
        return 0.5 * (
            elapsed * (1 + usual_weight * erf(near) + odd_weight * erf(far))
            - usual_weight * usual_mean * (1 + erf(near - usual / root))
            - odd_weight * odd_mean * (1 + erf(far - odd / root))
        )

    return share, area
