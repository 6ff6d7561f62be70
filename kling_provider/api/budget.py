"""How many requests may be sent: a token bucket that Kling's 1302 makes slower. No I/O and no clock."""

from __future__ import annotations

#: Kling documents no limit, and answers 1302 to too much all the same.
DEFAULT_REQUESTS_PER_SECOND = 4.0
#: So many seconds' worth may be sent at once.
BURST_SECONDS = 1.0
#: 1302 halves the pace, down to this share of the full one; each answer after that gives a little back.
SLOWEST_SHARE = 1 / 32
RECOVERY_SHARE = 1 / 50


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
        since = max(0.0, now - self._counted_at)
        self._tokens = min(self._most, self._tokens + since * self.pace)
        self._counted_at = max(now, self._counted_at)
        self._tokens -= 1
        missing = max(0.0, -self._tokens) / self.pace
        return max(missing, self._paused_until - now)

    def slow_down(self) -> None:
        """Kling wants fewer requests (1302)."""
        self._share = max(SLOWEST_SHARE, self._share / 2)

    def pause(self, until: float) -> None:
        """Let nothing go before ``until`` (Retry-After), by the clock of :meth:`take`."""
        self._paused_until = max(self._paused_until, until)

    def on_answer(self) -> None:
        """Kling has answered: a little faster again."""
        self._share = min(1.0, self._share + RECOVERY_SHARE)
