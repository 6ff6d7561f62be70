"""How a task is submitted once: a state machine without I/O and without a clock.

Rules
  * Only the very first POST of a piece of work goes out unasked. Every later one comes after a look-up that
    found nothing and, where an earlier POST may have been booked, after a look at the list. What an earlier try
    may have sent a moment before it died is given time to settle, and looked up again.
  * An unclear answer (time-out, cut, 5xx, unreadable) is looked up at once, given time to settle, looked up
    three times more, then sent again with the same id. Without a look-up the outcome is unknown, and said so.
  * A refusal of a repeated POST is believed only after a look-up finds nothing, whatever it says. A refusal
    because the id exists means booked: it is looked for, for five minutes.
  * A task that is found is taken over only if it echoes our id and has not failed. How old it is does not matter:
    its file may be stored, and to pay again is for a person to decide.
  * The list is a second witness: it may show our task although the look-up does not; an earlier try's task
    with another request; or that this gateway keeps no ids at all.
  * A repeated POST whose answer does not show our id may be the second payment, because nothing that was asked
    before could tell: that is said, unless the list rules it out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from kling_provider.api.endpoints import MAX_PAGE_SIZE
from kling_provider.api.errors import Failure, Reaction
from kling_provider.api.tasks import FAILED, KlingTask, TaskList

#: Seconds that an unclear answer is given to settle before "not found" counts; after a read time-out.
SETTLE_SECONDS = (15.0, 60.0)
#: Seconds before the two look-ups after that one.
LOOKUP_PAUSES = (10.0, 20.0)
#: Seconds before each look-up for a task that exists and is not visible yet: five minutes in all.
EXISTS_PAUSES = (5.0, 10.0, 15.0, 60.0, 90.0, 120.0)
#: A refusal of a repeated POST that says nothing about the id is looked into for half a minute.
REFUSAL_PAUSES = (0.0, 10.0, 20.0)
#: So many POSTs in one try; the next try goes on.
MOST_POSTS = 3


@dataclass(frozen=True, slots=True)
class Post:
    """Send the create, with a newly signed token if ``fresh``."""

    fresh: bool = False


@dataclass(frozen=True, slots=True)
class LookUp:
    """Pause ``after`` seconds, then ask for the external_task_id."""

    after: float = 0.0


@dataclass(frozen=True, slots=True)
class CheckList:
    """Ask for the first page of the account's tasks."""


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
class PerhapsTwice:
    """``task`` was booked, but an earlier POST may have been too: this gateway does not keep our ids."""

    task: KlingTask
    failure: Failure


@dataclass(frozen=True, slots=True)
class UsedUp:
    """The id belongs to a task that has failed: the next number is needed."""

    task: KlingTask


@dataclass(frozen=True, slots=True)
class OtherRequest:
    """An earlier try of this work submitted ``task`` with another request."""

    task: KlingTask


@dataclass(frozen=True, slots=True)
class StillUnclear:
    """The answer was unclear and so were the look-ups: safe to try again later, looking first."""

    failure: Failure


#: The failure of a submit that an earlier try may have sent, and whose answer this one does not know.
EARLIER_TRY = Failure(Reaction.SERVER, "an earlier try may have sent this, and its answer is not known")

Step = Post | LookUp | CheckList
Outcome = Submitted | Refused | NotThere | StillUnclear | Unknown | PerhapsTwice | UsedUp | OtherRequest

#: What is being found out: whether an earlier try left a task; whether an unclear POST was booked; where the
#: task is that exists; whether a refusal of a repeated POST is true; whether the key was refused in passing.
Question = Literal["", "before", "settling", "exists", "refused", "key"]


@dataclass(frozen=True, slots=True)
class Memory:
    """What a submit remembers while it has given its worker back: plain values.

    :param posts: POSTs that may have been booked, in this try.
    :param refusals: POSTs that were refused because all slots were taken or for their pace, and the look-ups
        before them.
    :param question: what is being found out.
    :param looks: look-ups that were made for it.
    :param failure: the answer that raised the question.
    :param may_be_booked: whether an earlier try may have left a task.
    :param fail_no: of the external id it is about.
    :param posted_at: epoch seconds of the first POST of this try, 0 before.
    """

    posts: int = 0
    refusals: int = 0
    question: Question = ""
    looks: int = 0
    failure: Failure | None = None
    may_be_booked: bool = False
    fail_no: int = 0
    posted_at: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {**fields, "failure": self.failure.to_dict() if self.failure else None}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Memory:
        """Read what :meth:`to_dict` wrote."""
        failure = value.get("failure")
        return cls(**{**value, "failure": Failure.from_dict(failure) if failure else None})


class Submission:
    """Decides after each answer to one submit what comes next.

    :param external_task_id: the id that is sent, or None.
    :param can_look_up: whether the gateway finds tasks by that id.
    :param is_first: whether nothing can have been sent before for this piece of work.
    :param may_be_booked: whether an earlier try may have left a task. None: unless ``is_first``.
    :param other_request: tells an id of the same work with another request; None where that is allowed.
    :param can_resign: whether a new token can be signed after 1003 or 1004.
    :param settle: seconds that an unclear answer is given to settle; after a read time-out.
    :param sent_ago: seconds since an earlier try sent what it died over, where that is known.
    :param memory: from an earlier part of the same try.
    """

    def __init__(
        self,
        *,
        external_task_id: str | None,
        can_look_up: bool,
        is_first: bool,
        may_be_booked: bool | None = None,
        other_request: Callable[[str], bool] | None = None,
        can_resign: bool = True,
        settle: tuple[float, float] | None = None,
        sent_ago: float | None = None,
        memory: Memory | None = None,
    ):
        self._external_task_id = external_task_id
        self._can_look_up = can_look_up and external_task_id is not None
        self._is_first = is_first
        self._other_request = other_request
        self._settle = settle or SETTLE_SECONDS
        self._settle_left = 0.0 if sent_ago is None else max(0.0, max(self._settle) - max(0.0, sent_ago))
        booked = not is_first if may_be_booked is None else may_be_booked
        self.memory = memory or Memory(may_be_booked=booked)
        self._last_lookup_failed = False
        self._is_ruled_out = False
        self._may_resign = can_resign

    def start(self) -> Step:
        """Give the first step."""
        if not self._can_look_up:
            return Post()
        if self.memory.question not in ("", "before"):  # going on after a pause
            return LookUp()
        is_unasked = self._is_first and not self.memory.refusals and not self.memory.question
        return Post() if is_unasked else self._ask("before")

    def on_booked(self, task: KlingTask) -> Outcome:
        """The POST was answered with a task."""
        is_repeated = self.memory.posts or (self.memory.may_be_booked and not self._is_ruled_out)
        if is_repeated and task.external_task_id != self._external_task_id:
            return PerhapsTwice(task, self.memory.failure or EARLIER_TRY)
        return Submitted(task, "posted")

    def on_post_failure(self, failure: Failure) -> Step | Outcome:
        """The POST was not answered with a task."""
        if not self._can_look_up:
            if failure.reaction is Reaction.RESIGN and self._may_resign:
                self._may_resign = False
                return Post(fresh=True)
            return Unknown(failure) if failure.leaves_submit_unclear else Refused(failure)
        if failure.leaves_submit_unclear:
            self._note(posts=self.memory.posts + 1)
            return self._ask("settling", failure)
        if failure.is_duplicate_id:
            return self._ask("exists", failure)
        if failure.reaction is Reaction.RESIGN and self._may_resign:  # a token may end during a long upload
            return self._ask("key", failure)
        self._count_refusal(failure)
        is_repeated = self.memory.posts or self.memory.may_be_booked
        if is_repeated and not failure.never_sent:
            return self._ask("refused", failure)  # words unknown to us may be about the id
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
            return UsedUp(task)
        return Submitted(task, "unclear" if self.memory.posts else "existed")

    def on_lookup_failure(self, failure: Failure) -> Step | Outcome:
        """The look-up gave no task: not found, or no answer."""
        is_missing = failure.reaction is Reaction.NOT_FOUND
        if self.memory.question == "before":
            if not is_missing:
                self._count_refusal(failure)
                return Refused(failure)
            pauses = self._pauses()
            if self.memory.looks < len(pauses):
                return self._look(pauses)
            return CheckList() if self.memory.may_be_booked or self.memory.posts else Post()
        self._last_lookup_failed = not is_missing
        pauses = self._pauses()
        if self.memory.looks < len(pauses):
            return self._look(pauses)
        return self._conclude()

    def on_listed(self, tasks: TaskList | None, since: float) -> Step | Outcome:
        """Take note of the first page of the list.

        :param tasks: of the page, or None if it could not be had: it is a second witness only.
        :param since: epoch seconds at Kling since which a POST of ours may have been booked.
        """
        if tasks is None:
            return Post()
        kept = [task for task in tasks if task.external_task_id]
        for task in kept:
            if task.external_task_id == self._external_task_id:
                return self.on_found(task)
        for task in kept:
            if (
                self._other_request
                and task.status != FAILED
                and self._other_request(str(task.external_task_id))
            ):
                return OtherRequest(task)
        recent = [
            task
            for task in tasks
            if task.status != FAILED and (task.created_at is None or task.created_at.timestamp() >= since)
        ]
        if recent and not kept:
            return Unknown(
                Failure(
                    Reaction.BAD_REQUEST,
                    f"no task of the account shows an external_task_id, as if they were not kept; the earlier POST "
                    f"may be task {' or '.join(task.task_id for task in recent[:3])}",
                    request_id=recent[0].request_id,
                )
            )
        is_full = len(tasks) + tasks.left_out >= MAX_PAGE_SIZE
        is_told = bool(recent) or not is_full  # a full page of old tasks may hide a recent one
        self._is_ruled_out = is_told and all(task.external_task_id for task in recent)
        return Post()

    def _ask(self, question: Question, failure: Failure | None = None) -> Step:
        self._note(question=question, looks=0, failure=failure or self.memory.failure)
        return self._look(self._pauses())

    def _look(self, pauses: Sequence[float]) -> LookUp:
        after = pauses[self.memory.looks]
        self._note(looks=self.memory.looks + 1)
        return LookUp(after)

    def _pauses(self) -> Sequence[float]:
        match self.memory.question:
            case "before" if self._settle_left > 0:
                return (0.0, self._settle_left)
            case "settling":
                timed_out = self.memory.failure is not None and self.memory.failure.timed_out
                return (
                    0.0,
                    self._settle[timed_out],
                    *LOOKUP_PAUSES,
                )  # what is found at once needs no settling
            case "exists":
                return (0.0, *EXISTS_PAUSES)
            case "refused" if self.memory.failure and self.memory.failure.reaction is Reaction.BAD_REQUEST:
                return (0.0, *EXISTS_PAUSES) if self.memory.posts else REFUSAL_PAUSES
            case _:
                return (0.0,)

    def _conclude(self) -> Step | Outcome:
        failure = self.memory.failure
        assert failure is not None
        if self._last_lookup_failed:
            if self.memory.question == "key" and not self.memory.posts:
                return Refused(failure)
            return StillUnclear(failure)
        match self.memory.question:
            case "exists":
                return Unknown(failure)
            case "settling":
                return CheckList() if self.memory.posts < MOST_POSTS else NotThere(failure)
            case "key" if failure.reaction is Reaction.RESIGN and self._may_resign:
                self._may_resign = False
                return Post(fresh=True)
        return Refused(failure)

    def _count_refusal(self, failure: Failure) -> None:
        """Look-ups count as well: a caller that waits for a slot would else wait for ever."""
        if failure.is_slot_refusal:
            self._note(refusals=self.memory.refusals + 1)

    def _note(self, **changes: Any) -> None:
        self.memory = replace(self.memory, **changes)
