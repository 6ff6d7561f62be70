"""What a probe has seen, as values: the free part, and the part that costs a task."""

from __future__ import annotations

from dataclasses import dataclass, field

from kling_provider.api.errors import Failure
from kling_provider.api.tasks import FAILED, KlingTask

Answer = KlingTask | Failure


@dataclass(frozen=True, slots=True)
class Batch:
    """What ``GET /tasks`` said to ever more ids.

    :param largest: ids of the largest request that was answered, 0 if none was.
    :param refused: ids of the first request that was not.
    :param failure: what was said to that one.
    :param sees_classic: whether it tells of a task that the classic list tells of; None: there was none to ask for.
    """

    largest: int = 0
    refused: int = 0
    failure: Failure | None = None
    sees_classic: bool | None = None


@dataclass(frozen=True, slots=True)
class Free:
    """What free requests showed.

    :param works: whether the connection does.
    :param says: what the test of the connection says.
    :param tasks: the first page of the list.
    :param page_size: the largest page that is given, 0 if there is no list.
    :param list_failure: what was said to the page above that, or instead of the list.
    :param known: a listed task that shows an external id.
    :param known_answer: what the look-up by that id gave.
    :param batch: what ``GET /tasks`` said.
    """

    works: bool
    says: str
    tasks: tuple[KlingTask, ...] = ()
    page_size: int = 0
    list_failure: Failure | None = None
    known: KlingTask | None = None
    known_answer: Answer | None = None
    batch: Batch = field(default_factory=Batch)

    @property
    def failed(self) -> list[KlingTask]:
        """Listed tasks that Kling has failed and that show an external id."""
        return [task for task in self.tasks if task.status == FAILED and task.external_task_id]


@dataclass(frozen=True, slots=True)
class Sighting:
    """When a new task could first be seen in one way.

    :param task: as it was seen, or None.
    :param seconds: from the answer to its submit until then.
    :param asks: how often was asked.
    :param failure: the last answer that was none.
    """

    task: KlingTask | None = None
    seconds: float = 0.0
    asks: int = 0
    failure: Failure | None = None

    @property
    def lag(self) -> float:
        """Seconds it was not to be seen; none if the first ask saw it."""
        return self.seconds if self.asks > 1 else 0.0

    @property
    def is_undecided(self) -> bool:
        """Whether it was not seen, for reasons that may pass."""
        return self.task is None and self.failure is not None and self.failure.is_transient

    def shows(self, external_id: str) -> bool:
        """Whether the task was seen with this external id."""
        return self.task is not None and self.task.external_task_id == external_id

    def task_is(self, task: KlingTask) -> bool:
        """Whether it was this task."""
        return self.task is not None and self.task.task_id == task.task_id


@dataclass(frozen=True, slots=True)
class Paid:
    """What the submits showed.

    :param external_id: the id of the task.
    :param task: the task, once it is known to be booked.
    :param first: what the submit was answered, if not with a task.
    :param wide_refusal: what was said to the longest and most varied id, if it was refused.
    :param lookup: when the look-up by external id found the task.
    :param listed: when the list told of it.
    :param by_task_id: when it could be asked for by Kling's id.
    :param patience: seconds that were spent looking, at most.
    :param repeat: what a second submit with the same id was answered; None: not sent.
    :param failed_id: the id of a failed task that was sent again, or None.
    :param reuse: what that was answered.
    :param sees_new: whether ``GET /tasks`` tells of the task; None: not asked.
    :param booked: (task_id, external id) of every task that is known to be booked.
    :param unclear: external ids of submits nobody knows the outcome of.
    """

    external_id: str
    task: KlingTask | None = None
    first: Failure | None = None
    wide_refusal: Failure | None = None
    lookup: Sighting = field(default_factory=Sighting)
    listed: Sighting = field(default_factory=Sighting)
    by_task_id: Sighting = field(default_factory=Sighting)
    patience: float = 0.0
    repeat: Answer | None = None
    failed_id: str | None = None
    reuse: Answer | None = None
    sees_new: bool | None = None
    booked: tuple[tuple[str, str], ...] = ()
    unclear: tuple[str, ...] = ()

    @property
    def shown_ids(self) -> set[str]:
        """The external ids under which the task was seen; empty if the gateway keeps none."""
        seen = (self.task, self.lookup.task, self.listed.task, self.by_task_id.task)
        return {task.external_task_id for task in seen if task is not None and task.external_task_id}
