"""When to ask again for a task, and when to stop: a state machine without I/O and without a clock.

Rules
  * A finished task ends the wait. So does the deadline, but only after one more answer.
  * A blip (connection lost, 5xx, HTML, 1302) never ends it: the next ask comes later, doubling, or when
    Retry-After says.
  * An id that is not found is given time to appear, then believed after three answers in a row.
  * A rejected key ends it at once if nothing was ever answered, else after ten minutes: keys are rotated.
  * Anything else that asking cannot heal ends it after three answers in a row.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from kling_provider.api.errors import Failure, Reaction
from kling_provider.api.tasks import KlingTask

#: A booked task may take a while to become visible.
NOT_FOUND_GRACE_SECONDS = 120.0
#: How long a rejected key is put up with while it is being replaced.
AUTH_GRACE_SECONDS = 600.0
#: The connection is read anew before each of these asks.
AUTH_RETRY_SECONDS = 30.0
#: So many answers in a row make a final refusal believable.
BELIEVED_AFTER = 3
LONGEST_BACKOFF_SECONDS = 60.0
LONGEST_RETRY_AFTER_SECONDS = 300.0
#: Spread asks that started together.
JITTER = 0.1

_REJECTED = (Reaction.AUTH, Reaction.RESIGN)


@dataclass(frozen=True, slots=True)
class Wait:
    """Ask again in ``seconds``."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Finished:
    """Kling says the task is over, well or not."""

    task: KlingTask


@dataclass(frozen=True, slots=True)
class GaveUp:
    """Asking further cannot help."""

    failure: Failure


@dataclass(frozen=True, slots=True)
class TimedOut:
    """The deadline has passed; the task may still be running at Kling."""

    status: str
    failure: Failure | None


Decision = Wait | Finished | GaveUp | TimedOut


class TaskPoller:
    """Decides after each answer about one task what comes next.

    :param poke_interval: smallest gap between two asks, in seconds.
    :param deadline: gives the epoch seconds after which the wait is over, from the task as last told (None
        before the first answer): the clock starts when Kling booked it.
    :param visible_by: epoch seconds until which "not found" is normal.
    :param random: a number from 0 to 1, for the jitter.
    :param answered: whether this wait was answered before, by another process.
    :param gap: seconds until the next ask of a running task at a time (epoch seconds); never less than
        ``poke_interval``. By default that.
    """

    __slots__ = (
        "_answered",
        "_auth_failing_since",
        "_deadline",
        "_failures_in_a_row",
        "_gap",
        "_poke_interval",
        "_random",
        "_refusals_in_a_row",
        "_task",
        "_visible_by",
    )

    def __init__(
        self,
        *,
        poke_interval: float,
        deadline: Callable[[KlingTask | None], float],
        visible_by: float,
        random: Callable[[], float],
        answered: bool = False,
        gap: Callable[[KlingTask, float], float] | None = None,
    ):
        self._poke_interval = poke_interval
        self._deadline = deadline
        self._visible_by = visible_by
        self._random = random
        self._task: KlingTask | None = None
        self._answered = answered
        self._gap = gap
        self._failures_in_a_row = 0
        self._refusals_in_a_row = 0
        self._auth_failing_since: float | None = None

    @property
    def task(self) -> KlingTask | None:
        """As Kling told it last."""
        return self._task

    @property
    def key_is_rejected(self) -> bool:
        """Whether the last answer was that the key is not valid."""
        return self._auth_failing_since is not None

    @property
    def is_refused(self) -> bool:
        """Whether the last answer was a refusal, of which too few have come to be believed."""
        return self._refusals_in_a_row > 0

    @property
    def deadline(self) -> float:
        """When the wait is over, in epoch seconds, as far as is known."""
        return self._deadline(self._task)

    def on_task(self, task: KlingTask, now: float) -> Decision:
        """Take note of what Kling told about the task at ``now`` (epoch seconds)."""
        self._answered = True
        self._failures_in_a_row = self._refusals_in_a_row = 0
        self._auth_failing_since = None
        self._task = task
        if task.is_terminal:
            return Finished(task)
        gap = self._gap(task, now) if self._gap else 0.0
        return self._again(max(self._poke_interval, gap), now, None)

    def on_failure(self, failure: Failure, now: float) -> Decision:
        """Take note of an ask that failed at ``now`` (epoch seconds)."""
        self._failures_in_a_row += 1
        if failure.code is not None and failure.reaction not in _REJECTED:  # Kling knew the key
            self._answered, self._auth_failing_since = True, None
        if not failure.is_transient:
            if self._is_believed(failure, now):
                return GaveUp(failure)
        else:
            self._refusals_in_a_row = 0
        backoff = self._poke_interval * 2 ** min(self._failures_in_a_row - 1, 10)
        seconds = min(backoff, max(LONGEST_BACKOFF_SECONDS, self._poke_interval))
        if failure.reaction in _REJECTED:
            seconds = max(seconds, AUTH_RETRY_SECONDS)
        if failure.retry_after is not None:
            seconds = max(seconds, min(failure.retry_after, LONGEST_RETRY_AFTER_SECONDS))
        return self._again(seconds, now, failure)

    def _is_believed(self, failure: Failure, now: float) -> bool:
        if failure.reaction in _REJECTED:
            if self._auth_failing_since is None:
                self._auth_failing_since = now
            self._refusals_in_a_row = 0
            return not self._answered or now - self._auth_failing_since >= AUTH_GRACE_SECONDS
        if failure.reaction is Reaction.NOT_FOUND and now < self._visible_by:
            return False
        self._refusals_in_a_row += 1
        return self._refusals_in_a_row >= BELIEVED_AFTER

    def _again(self, seconds: float, now: float, failure: Failure | None) -> Decision:
        if now >= self.deadline:
            return TimedOut(self._task.status if self._task else "unknown", failure)
        spread = seconds * (1 + JITTER * self._random())
        return Wait(min(spread, self.deadline - now))
