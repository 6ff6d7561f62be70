"""What both hooks do, step by step, without doing it: generators that yield steps and are sent the answers.

The rules of a submit and of a wait stand here once. KlingHook carries the steps out blocking, KlingAsyncHook
without blocking; neither knows what they are for.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from kling_provider.api.calls import Call
from kling_provider.api.errors import ApiFailure
from kling_provider.api.polling import NOT_FOUND_GRACE_SECONDS, Decision, TaskPoller, Wait
from kling_provider.api.submitting import FailedBefore, Outcome, Post, Submission, Submitted
from kling_provider.api.submitting import Step as MachineStep
from kling_provider.api.tasks import FAILED, KlingTask
from kling_provider.exceptions import KlingError, KlingTaskFailedError, from_failure
from kling_provider.hooks.config import KlingConfig
from kling_provider.hooks.intents import Intent
from kling_provider.hooks.names import checked_endpoint, checked_id
from kling_provider.hooks.outcomes import OnExisting, OnUnknown, finished_task, task_or_raise
from kling_provider.hooks.preparing import PreparedSubmit
from kling_provider.hooks.work import Work

log = logging.getLogger(__name__)
T = TypeVar("T")

#: Numbers tried for a piece of work whose tasks Kling keeps failing.
MOST_FAILED_TASKS = 20


@dataclass(frozen=True, slots=True)
class Send:
    """Send a call and answer with what it decodes to; ``attempts`` in all if it may be repeated."""

    call: Call[Any]
    attempts: int | None = None


@dataclass(frozen=True, slots=True)
class Pause:
    """Do nothing for so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Do:
    """Call a function that may block, and answer with what it returns."""

    function: Callable[[], Any]


Step = Send | Pause | Do
Flow = Generator[Step, Any, T]


def submit(
    config: KlingConfig,
    prepared: PreparedSubmit,
    work: Work,
    on_existing: OnExisting,
    on_unknown: OnUnknown,
) -> Flow[tuple[KlingTask, bool]]:
    """Create the task of a prepared submit, or find the one this work has already."""
    intent = Intent(config, prepared, work, on_unknown)
    if not prepared.can_look_up:
        return (yield from _submit_unseen(config, prepared, intent, on_unknown))
    if prepared.own_id is None and work.submits_once:
        yield Do(intent.refuse_another_request)
    for external_id, is_first in _ids(prepared, work):
        outcome = yield from _submit_once(config, prepared, external_id, is_first)
        if isinstance(outcome, FailedBefore) and prepared.own_id is None:
            continue
        refuse = on_existing == "error" and prepared.own_id is not None and is_first
        task = task_or_raise(outcome, config, prepared, external_id, refuse_existing=refuse)
        return task, isinstance(outcome, Submitted) and outcome.how == "existed"
    raise _failed_too_often(prepared)


def _submit_unseen(
    config: KlingConfig, prepared: PreparedSubmit, intent: Intent, on_unknown: OnUnknown
) -> Flow[tuple[KlingTask, bool]]:
    """Submit where the task cannot be looked up by the caller's id: guarded by a record instead."""
    earlier = yield Do(intent.earlier_task)
    if earlier is not None:
        task = yield from ask(config.routes.get_task(prepared.endpoint, earlier))
        if task.status != FAILED:
            return task, True
        if not intent.was_cleared:
            raise KlingTaskFailedError(
                f"An earlier try of this task submitted task {task.task_id} of {task.endpoint}, which Kling has "
                f"failed ({task.status_message or 'no reason told'}). Clear this task to submit again.",
                endpoint=task.endpoint,
                task_id=task.task_id,
            )
    yield Do(intent.before_post)
    outcome = yield from _submit_once(config, prepared, prepared.own_id, is_first=True)
    try:
        yield Do(lambda: intent.after_post(outcome))
    except Exception as error:  # whatever it is, an id that was paid for must not go down with it
        told = f"task {outcome.task.task_id}" if isinstance(outcome, Submitted) else "what came of the submit"
        log.warning("Airflow's task state did not take %s: %s", told, error)
    return task_or_raise(outcome, config, prepared, prepared.own_id, on_unknown=on_unknown), False


def _submit_once(
    config: KlingConfig, prepared: PreparedSubmit, external_id: str | None, is_first: bool
) -> Flow[Outcome]:
    """Run the submit state machine for one external id."""
    machine = Submission(external_task_id=external_id, can_look_up=prepared.can_look_up, is_first=is_first)
    step: MachineStep | Outcome = machine.start()
    while not isinstance(step, Outcome):
        if isinstance(step, Post):
            call = config.routes.submit(prepared.endpoint, prepared.body_with(external_id))
            told, failed = machine.on_booked, machine.on_post_failure
        else:
            yield Pause(step.after)
            call = config.routes.find_task(prepared.endpoint, str(external_id))
            told, failed = machine.on_found, machine.on_lookup_failure
        try:
            task = yield Send(call)
        except ApiFailure as error:
            step = failed(error.failure)
        else:
            step = told(task)
    return step


def poll(config: KlingConfig, poller: TaskPoller, task_id: str, endpoint: str) -> Flow[Decision]:
    """Ask once for a task and let the poller decide."""
    call = config.routes.get_task(checked_endpoint(endpoint), checked_id(task_id))
    try:
        task = yield Send(call, attempts=1)
    except ApiFailure as error:
        log.info("Asking for task %s got no answer: %s", task_id, error)
        return poller.on_failure(error.failure, time.time())
    return poller.on_task(task, time.time())


def wait(
    config: KlingConfig, task_id: str, endpoint: str, timeout: float, poke_interval: float
) -> Flow[KlingTask]:
    """Ask for a task until it is over or ``timeout`` seconds have passed."""
    started = time.time()
    poller = TaskPoller(
        poke_interval=poke_interval,
        deadline=lambda _: started + timeout,
        visible_by=started + NOT_FOUND_GRACE_SECONDS,
        random=random.random,
    )
    while True:
        decision = yield from poll(config, poller, task_id, endpoint)
        if not isinstance(decision, Wait):
            return finished_task(decision, task_id, endpoint, timeout)
        yield Pause(decision.seconds)


def ask(call: Call[T]) -> Flow[T]:
    """Send a call; a failure becomes the exception that says what was being done."""
    try:
        answer: T = yield Send(call)
    except ApiFailure as error:
        raise call_error(error, call)
    return answer


def call_error(error: ApiFailure, call: Call[Any]) -> KlingError:
    """Make the exception for a call that failed."""
    return from_failure(
        error.failure,
        call.what,
        endpoint=call.endpoint,
        task_id=call.task_id,
        external_task_id=call.external_task_id,
    )


def _ids(prepared: PreparedSubmit, work: Work) -> list[tuple[str | None, bool]]:
    """The external ids to try in turn: a new number for each task that Kling has failed."""
    if work.identity is None or prepared.own_id is not None:
        return [(prepared.id_for(work.identity), work.is_first)]
    identity = work.identity
    return [
        (prepared.id_for(replace(identity, fail_no=number)), work.is_first and number == 0)
        for number in range(MOST_FAILED_TASKS)
    ]


def _failed_too_often(prepared: PreparedSubmit) -> KlingError:
    return KlingTaskFailedError(
        f"Kling has failed {MOST_FAILED_TASKS} tasks of {prepared.endpoint.name} for this piece of work. Nothing "
        "more was sent. Change the prompt or the picture.",
        endpoint=prepared.endpoint.name,
    )
