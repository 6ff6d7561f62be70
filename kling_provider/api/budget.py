"""How many requests may be sent: a token bucket that Kling's 1302 makes slower. No I/O and no clock."""

from __future__ import annotations

#: Kling documents no limit, and answers 1302 to too much all the same.
DEFAULT_REQUESTS_PER_SECOND = 4.0
#: So many seconds' worth may be sent at once.
BURST_SECONDS = 1.0
#: 1302 halves the pace, down to this share of the full one; each answer after that gives a little back.
SLOWEST_SHARE = 1 / 16
RECOVERY_SHARE = 1 / 20
#: What was under way together is refused together, and halves the pace once.
ONE_REFUSAL_SECONDS = 3.0


class RequestBudget:
    """Says when the next request may be sent.

    In any time of ``t`` seconds at most ``t * per_second`` requests are let go, and :data:`BURST_SECONDS` worth (at
    least one) besides.

    :param per_second: the full pace of this process.
    """

    def __init__(self, per_second: float = DEFAULT_REQUESTS_PER_SECOND):
        self.per_second = per_second
        self._share = 1.0
        self._tokens = self._most
        self._counted_at = 0.0
        self._paused_until = 0.0
        self._slowed_at = -ONE_REFUSAL_SECONDS

    @property
    def pace(self) -> float:
        """Requests per second that are let go now."""
        return self.per_second * self._share

    @property
    def _most(self) -> float:
        return max(1.0, self.per_second * BURST_SECONDS)

    def take(self, now: float) -> float:
        """Reserve a request.

        :param now: seconds of a clock that is never set back.
        :returns: after so many seconds it may be sent.
        """
        at = max(now, self._counted_at)  # in a pause, its end
        self._tokens = min(self._most, self._tokens + (at - self._counted_at) * self.pace)
        self._counted_at = at
        self._tokens -= 1
        return at - now + max(0.0, -self._tokens) / self.pace

    def slow_down(self, now: float) -> None:
        """Kling wants fewer requests (1302), by the clock of :meth:`take`."""
        if now - self._slowed_at >= ONE_REFUSAL_SECONDS:
            self._slowed_at = now
            self._share = max(SLOWEST_SHARE, self._share / 2)

    def pause(self, until: float) -> None:
        """Let nothing go before ``until`` (Retry-After), and then one by one, by the clock of :meth:`take`."""
        if until > self._counted_at:
            self._tokens = min(self._tokens, 1.0)
            self._counted_at = self._paused_until = until

    def is_paused(self, now: float) -> bool:
        """Whether what was reserved before has to be reserved anew."""
        return now < self._paused_until

    def on_answer(self) -> None:
        """Kling has answered: a little faster again."""
        self._share = min(1.0, self._share + RECOVERY_SHARE)
