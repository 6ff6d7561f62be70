"""The part of a probe that costs a task: submit once, watch it appear, submit once more with the same id.

A submit with an unclear answer is looked for and never sent again; the repeat is sent only when the first is
known to be booked. Ids are told before and after each submit, so that nothing is lost if the probe is stopped.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from kling_provider.api.endpoints import MAX_PAGE_SIZE
from kling_provider.api.errors import ApiFailure, Failure, Reaction
from kling_provider.api.tasks import KlingTask
from kling_provider.hooks.submit_flow import MOST_LIST_PAGES
from kling_provider.probe.concluding import order_of, said
from kling_provider.probe.free import ask
from kling_provider.probe.plan import Plan
from kling_provider.probe.seen import Answer, Free, Paid, Sighting

if TYPE_CHECKING:
    from kling_provider.hooks.kling import KlingHook

#: Seconds between two looks, growing.
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 3.0
_PAUSE_GROWTH = 1.5
#: The codes under which Kling refuses a field.
_ABOUT_A_FIELD = (1200, 1201)

_NOT_LISTED = Failure(Reaction.NOT_FOUND, "the list does not tell of it")


def look_for_money(
    hook: KlingHook, plan: Plan, free: Free, patience: float, say: Callable[[str], None]
) -> Paid:
    """Submit what was agreed to, and look what becomes of it.

    :param hook: of the connection.
    :param plan: what was agreed to.
    :param free: what the free part showed.
    :param patience: seconds to look for a task, at most.
    :param say: tells what is being done, ids above all.
    """
    return _Purchase(hook, plan, free, patience, say).make()


class _Purchase:
    def __init__(self, hook: KlingHook, plan: Plan, free: Free, patience: float, say: Callable[[str], None]):
        self._hook, self._plan, self._free, self._patience, self._say = hook, plan, free, patience, say
        self._routes = hook.config.routes
        self._booked: list[tuple[str, str]] = []
        self._unclear: list[str] = []

    def make(self) -> Paid:
        paid = self._watched(self._first())
        if paid.task is not None:
            paid = self._told_in_batch(self._repeated(paid, paid.task), paid.task)
            if self._plan.failed_id is not None:
                paid = replace(paid, failed_id=self._plan.failed_id, reuse=self._reuse(self._plan.failed_id))
        return replace(paid, booked=tuple(self._booked), unclear=tuple(self._unclear))

    def _first(self) -> Paid:
        """Submit with the wide id, or with a plain one where that is refused."""
        external_id, refusal = self._plan.wide_id, None
        answer = self._submit(external_id)
        if isinstance(answer, Failure) and answer.code in _ABOUT_A_FIELD and not _may_be_booked(answer):
            # A proxy may have sent it twice, and the second be refused in words unknown to us.
            seen = self._seen(external_id)
            if seen is None:
                external_id, refusal = self._plan.plain_id, answer
                answer = self._submit(external_id)
            else:
                self._note(seen, external_id)
                answer = seen
        paid = Paid(external_id, wide_refusal=refusal, patience=self._patience)
        return replace(paid, task=answer) if isinstance(answer, KlingTask) else replace(paid, first=answer)

    def _watched(self, paid: Paid) -> Paid:
        """Look until the task is seen in every way there is, or patience is over."""
        if paid.first is not None and not _may_be_booked(paid.first):
            return paid
        self._say(f"Looking for it for up to {self._patience:g} s.")
        row, name = self._plan.endpoint, paid.external_id
        ways: dict[str, Callable[[], Answer]] = {
            "lookup": lambda: ask(self._hook, self._routes.find_task(row, name), attempts=1)
        }
        if self._free.page_size:
            task_id = paid.task.task_id if paid.task else None
            ways["listed"] = lambda: self._listed(name, task_id)
        if paid.task is not None:
            by_task_id = self._routes.get_task(row, paid.task.task_id)
            ways["by_task_id"] = lambda: ask(self._hook, by_task_id, attempts=1)
        seen = self._sightings(ways)
        paid = replace(
            paid,
            lookup=seen["lookup"],
            listed=seen.get("listed", Sighting()),
            by_task_id=seen.get("by_task_id", Sighting()),
        )
        if paid.task is None:
            found = next((one.task for one in (paid.lookup, paid.listed) if one.shows(name)), None)
            if found is None:
                self._unclear.append(name)
                return paid
            self._note(found, name)
            paid = replace(paid, task=found)
        return paid

    def _sightings(self, ways: dict[str, Callable[[], Answer]]) -> dict[str, Sighting]:
        seen = dict.fromkeys(ways, Sighting())
        started = time.monotonic()
        pause = FIRST_PAUSE
        while True:
            for way, look in ways.items():
                if seen[way].task is None:
                    answer, asks = look(), seen[way].asks + 1
                    passed = time.monotonic() - started
                    if isinstance(answer, KlingTask):
                        seen[way] = Sighting(answer, passed, asks)
                    else:
                        seen[way] = Sighting(asks=asks, failure=answer)
            left = self._patience - (time.monotonic() - started)
            if left <= 0 or all(sighting.task for sighting in seen.values()):
                return seen
            time.sleep(min(pause, left))
            pause = min(pause * _PAUSE_GROWTH, LONGEST_PAUSE)

    def _listed(self, external_id: str, task_id: str | None, *, other_than: str | None = None) -> Answer:
        """The task in the list, by either id."""
        size = self._free.page_size
        pages = 1 if order_of(self._free.tasks) == "newest" else MOST_LIST_PAGES * MAX_PAGE_SIZE // size
        for page in range(1, pages + 1):
            try:
                tasks = self._hook.send(self._routes.list_tasks(self._plan.endpoint, page, size), attempts=1)
            except ApiFailure as error:
                return error.failure
            for task in tasks:
                is_it = task.external_task_id == external_id or task.task_id == task_id
                if is_it and task.task_id != other_than:
                    return task
            if len(tasks) < size:
                break
        return _NOT_LISTED

    def _repeated(self, paid: Paid, task: KlingTask) -> Paid:
        """Submit again with the same id, where there is something to learn from it."""
        name = paid.external_id
        if name not in paid.shown_ids and not self._plan.tries_all:
            self._say("Not submitting again: the id was not kept, so that would be a second paid task.")
            return paid
        answer = self._settled(self._submit(name), name, task.task_id)
        if isinstance(answer, KlingTask) and answer.task_id != task.task_id:
            self._say(
                f"THIS GATEWAY ACCEPTS DUPLICATES: task {answer.task_id} is a second one, and is paid too."
            )
        return replace(paid, repeat=answer)

    def _settled(self, answer: Answer, external_id: str, task_id: str) -> Answer:
        """Look for a second task beside ``task_id``, if the answer leaves it unclear whether there is one."""
        if isinstance(answer, KlingTask) or not answer.leaves_submit_unclear:
            return answer
        self._say("Looking whether there are two now.")
        other = self._other(external_id, task_id)
        if other is None:
            self._unclear.append(external_id)
            return answer
        self._note(other, external_id)
        return other

    def _other(self, external_id: str, task_id: str) -> KlingTask | None:
        """A second task with this id, which may take a while to be seen."""
        started = time.monotonic()
        while True:
            task = self._seen(external_id, other_than=task_id)
            if task is not None or time.monotonic() - started > self._patience:
                return task
            time.sleep(min(LONGEST_PAUSE, self._patience / 10))

    def _seen(self, external_id: str, *, other_than: str | None = None) -> KlingTask | None:
        """A task with this id, that the look-up or the list shows now."""
        answers = [ask(self._hook, self._routes.find_task(self._plan.endpoint, external_id), attempts=1)]
        if self._free.page_size:
            answers.append(self._listed(external_id, None, other_than=other_than))
        for answer in answers:
            if (
                isinstance(answer, KlingTask)
                and answer.external_task_id == external_id
                and answer.task_id != other_than
            ):
                return answer
        return None

    def _reuse(self, failed_id: str) -> Answer:
        failed = next(task.task_id for task in self._free.failed if task.external_task_id == failed_id)
        return self._settled(self._submit(failed_id), failed_id, failed)

    def _told_in_batch(self, paid: Paid, task: KlingTask) -> Paid:
        """Ask GET /tasks for the new task, where the list had none to ask for."""
        if self._free.batch.sees_classic is not None or not self._free.batch.largest:
            return paid
        try:
            told = self._hook.send(self._routes.ask_many({task.task_id: self._plan.endpoint}))
        except ApiFailure:
            return paid
        return replace(paid, sees_new=task.task_id in told)

    def _submit(self, external_id: str) -> Answer:
        """Submit once."""
        self._say(f"Submitting with external_task_id {external_id}.")
        body = {**self._plan.body, "external_task_id": external_id}
        try:
            task = self._hook.send(self._routes.submit(self._plan.endpoint, body))
        except ApiFailure as error:
            is_unclear = error.failure.leaves_submit_unclear
            self._say(f"{'An unclear answer' if is_unclear else 'Refused'}: {said(error.failure)}.")
            return error.failure
        self._note(task, external_id)
        return task

    def _note(self, task: KlingTask, external_id: str) -> None:
        if (task.task_id, external_id) not in self._booked:
            self._booked.append((task.task_id, external_id))
            self._say(f"Task {task.task_id} is booked.")


def _may_be_booked(failure: Failure) -> bool:
    """Whether a submit with a new id may have been booked; "exists" then means that a proxy sent it twice."""
    return failure.leaves_submit_unclear or failure.is_duplicate_id
