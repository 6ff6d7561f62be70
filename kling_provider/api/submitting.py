"""How a task is submitted once: a state machine without I/O and without a clock.

Rules
  * Only the very first POST of a piece of work goes out unasked; a later one looks the id up first.
  * An unclear answer (time-out, cut, 5xx, unreadable) is never followed by another POST here. If the id can
    be looked up, it is, after a pause, three times; else the outcome is unknown and said so.
  * A refusal because the id exists is a look-up, not an error. Any refusal of a later POST is believed only
    after a look-up finds nothing.
  * A task that is found is taken over only if it echoes our id and has not failed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from kling_provider.api.errors import Failure, Reaction
from kling_provider.api.tasks import FAILED, KlingTask

#: Pauses before each look-up after an unclear answer: Kling may still be booking the task.
LOOKUP_PAUSES = (2.0, 5.0, 10.0)


@dataclass(frozen=True, slots=True)
class Post:
    """Send the create."""


@dataclass(frozen=True, slots=True)
class LookUp:
    """Pause ``after`` seconds, then ask for the external_task_id."""

    after: float = 0.0


@dataclass(frozen=True, slots=True)
class Submitted:
    """There is a task. ``how``: this POST made it, an unclear POST did, or it was there before."""

    task: KlingTask
    how: Literal["posted", "unclear", "existed"]


@dataclass(frozen=True, slots=True)
class Refused:
    """Kling did not take it, and no task was booked."""

    failure: Failure


@dataclass(frozen=True, slots=True)
class NotThere:
    """The answer was unclear and no task can be found: safe to try again later with the same id."""

    failure: Failure


@dataclass(frozen=True, slots=True)
class Unknown:
    """The task may have been booked, and that cannot be found out."""

    failure: Failure


@dataclass(frozen=True, slots=True)
class FailedBefore:
    """The id belongs to a task that Kling has failed: this piece of work needs the next number."""

    task: KlingTask


@dataclass(frozen=True, slots=True)
class StillUnclear:
    """The answer was unclear and so were the look-ups: safe to try again later, looking first."""

    failure: Failure


Step = Post | LookUp
Outcome = Submitted | Refused | NotThere | StillUnclear | Unknown | FailedBefore


class Submission:
    """Decides after each answer to one submit what comes next.

    :param external_task_id: the id that is sent, or None.
    :param can_look_up: whether the gateway finds tasks by that id.
    :param is_first: whether nothing can have been sent before for this piece of work.
    """

    def __init__(self, *, external_task_id: str | None, can_look_up: bool, is_first: bool):
        self._external_task_id = external_task_id
        self._can_look_up = can_look_up and external_task_id is not None
        self._is_first = is_first
        self._failure: Failure | None = None
        self._pauses = list(LOOKUP_PAUSES)

    def start(self) -> Step:
        """Give the first step."""
        return Post() if self._is_first or not self._can_look_up else LookUp()

    def on_booked(self, task: KlingTask) -> Outcome:
        """The POST was answered with a task."""
        return Submitted(task, "posted")

    def on_post_failure(self, failure: Failure) -> Step | Outcome:
        """The POST was not answered with a task."""
        self._failure = failure
        if failure.leaves_submit_unclear and not self._can_look_up:
            return Unknown(failure)
        if failure.leaves_submit_unclear or (failure.is_duplicate_id and self._can_look_up):
            return self._look_again() or NotThere(failure)
        if self._can_look_up and not self._is_first and not failure.never_sent:
            self._pauses = []
            return LookUp()  # a refusal in words unknown to us may be about the id
        return Refused(failure)

    def on_found(self, task: KlingTask) -> Outcome:
        """The look-up was answered with a task."""
        if task.external_task_id != self._external_task_id:
            return Unknown(
                Failure(
                    Reaction.BAD_REQUEST,
                    f"asked for external_task_id {self._external_task_id}, told of {task.external_task_id}",
                    request_id=task.request_id,
                )
            )
        if task.status == FAILED:
            return FailedBefore(task)
        was_unclear = self._failure is not None and self._failure.leaves_submit_unclear
        return Submitted(task, "unclear" if was_unclear and self._is_first else "existed")

    def on_lookup_failure(self, failure: Failure) -> Step | Outcome:
        """The look-up gave no task: not found, or no answer."""
        is_missing = failure.reaction is Reaction.NOT_FOUND
        if self._failure is None:
            return Post() if is_missing else Refused(failure)
        again = self._look_again()
        if again:
            return again
        if not is_missing:
            return StillUnclear(self._failure)
        if self._failure.is_duplicate_id:
            return Unknown(self._failure)
        return NotThere(self._failure) if self._failure.leaves_submit_unclear else Refused(self._failure)

    def _look_again(self) -> LookUp | None:
        return LookUp(self._pauses.pop(0)) if self._pauses else None
