"""How both hooks submit: the state machine of ``api.submitting``, driven for one piece of work.

The machine decides about one external_task_id. Here is what surrounds it: the record in Airflow's task state,
the walk over the numbers of failed tasks, and what is told to whoever may have to wait.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial

from kling_provider.api.auth import KeyPair
from kling_provider.api.endpoints import MAX_PAGE_SIZE, Endpoint
from kling_provider.api.errors import ApiFailure, Failure, Reaction
from kling_provider.api.submitting import (
    CheckList,
    LookUp,
    Memory,
    Outcome,
    Post,
    Refused,
    Submission,
    Submitted,
    UsedUp,
)
from kling_provider.api.submitting import Step as MachineStep
from kling_provider.api.tasks import FAILED, KlingTask, TaskList
from kling_provider.exceptions import (
    KlingBadRequestError,
    KlingError,
    KlingServerError,
    KlingSubmissionUnknownError,
    KlingTaskFailedError,
    KlingTaskNotFoundError,
    from_failure,
)
from kling_provider.hooks import flows
from kling_provider.hooks.config import KlingConfig
from kling_provider.hooks.counting import count_answer, count_task, count_unknown
from kling_provider.hooks.flows import Do, Flow, Pause, Send, ask
from kling_provider.hooks.intents import Intent
from kling_provider.hooks.outcomes import OnExisting, OnUnknown, task_or_raise, what
from kling_provider.hooks.preparing import PreparedSubmit
from kling_provider.hooks.work import Work

log = logging.getLogger(__name__)

#: Numbers tried for a piece of work whose tasks Kling keeps failing.
MOST_FAILED_TASKS = 20
#: Kling's clock and ours may differ by so many seconds.
CLOCK_SKEW_SECONDS = 300.0
#: Pages of a list that are searched for an id: the 10,000 newest, if that is the order.
MOST_LIST_PAGES = 20


@dataclass(frozen=True, slots=True)
class Done:
    """There is a task; ``adopted`` if it was there before."""

    task: KlingTask
    adopted: bool


@dataclass(frozen=True, slots=True)
class Paused:
    """Go on with ``memory`` in ``seconds``: longer than the caller wanted to be held."""

    seconds: float
    memory: Memory


@dataclass(frozen=True, slots=True)
class NoSlot:
    """Kling took nothing: all slots are taken, or it went too fast."""

    failure: Failure
    memory: Memory
    external_task_id: str | None


End = Done | Paused | NoSlot


def submit(
    config: KlingConfig,
    prepared: PreparedSubmit,
    work: Work,
    *,
    on_existing: OnExisting = "error",
    on_unknown: OnUnknown = "fail",
    memory: Memory | None = None,
    hold: float | None = None,
) -> Flow[End]:
    """Create the task of a prepared submit, or find the one this work has already.

    :param config: of the connection.
    :param prepared: the submit.
    :param work: which piece of work it is for.
    :param on_existing: what a task that was there before means, for an id of the caller's choice.
    :param on_unknown: whether an unclear answer that cannot be looked up may be tried again.
    :param memory: from an earlier part of the same try.
    :param hold: pauses up to so many seconds are waited for here; None: all.
    """
    try:
        end = yield from _submit(config, prepared, work, on_existing, on_unknown, memory, hold)
    except KlingSubmissionUnknownError:
        count_unknown(config.conn_id, prepared)
        raise
    if isinstance(end, Done):
        count_task(config.conn_id, prepared, end.task, end.adopted)
    return end


def _submit(
    config: KlingConfig,
    prepared: PreparedSubmit,
    work: Work,
    on_existing: OnExisting,
    on_unknown: OnUnknown,
    memory: Memory | None,
    hold: float | None,
) -> Flow[End]:
    """The same, uncounted."""
    if prepared.endpoint.is_free:
        on_unknown = "retry"  # there is nothing to pay twice
    intent = Intent(config, prepared, work, on_unknown)
    yield Do(intent.read)
    answer = intent.earlier_answer
    if answer is not None:
        return Done(answer, adopted=True)
    if not prepared.can_look_up:
        return (yield from _submit_unseen(config, prepared, intent, on_unknown, memory))
    earlier = yield from _recorded(config, prepared, intent, work)
    if earlier is not None:
        _tell_gone(earlier, config, prepared, work)
        return Done(earlier, adopted=True)
    for number, external_id in _ids(prepared, work, intent, memory.fail_no if memory else 0):
        may_be_booked = intent.may_be_booked(external_id)
        if may_be_booked and memory:
            may_be_booked = memory.may_be_booked  # what stands in the record may be of this very try
        # A try may run again under its own number, after a lost message of Airflow's: then there is a record.
        is_first = work.is_first and number == 0 and (memory is not None or not intent.is_recorded)
        posted_at, sent_at = intent.posted_at, intent.sent_at
        goes_on = (
            memory is not None and memory.question != "before"
        )  # then this try knows what came of its POSTs
        machine = Submission(
            external_task_id=external_id,
            can_look_up=True,
            is_first=is_first,
            may_be_booked=may_be_booked,
            other_request=prepared.other_request(work),
            can_resign=isinstance(config.credentials, KeyPair),
            settle=config.settle,
            sent_ago=time.time() - sent_at if may_be_booked and sent_at and not goes_on else None,
            memory=replace(memory, fail_no=number) if memory else None,
        )
        outcome = yield from _run(config, prepared, work, intent, machine, external_id, hold)
        kept = replace(machine.memory, fail_no=number)
        is_alone = not (kept.posts or kept.may_be_booked)
        if isinstance(outcome, Paused):
            return replace(outcome, memory=kept)
        if isinstance(outcome, Refused) and outcome.failure.is_slot_refusal:
            yield Do(partial(intent.after_post, outcome, is_alone=is_alone))
            kept = replace(kept, question="", looks=0, failure=outcome.failure)
            return NoSlot(outcome.failure, kept, external_id)
        if isinstance(outcome, UsedUp) and external_id != prepared.own_id:
            log.info("Task %s of an earlier try has failed at Kling; submitting anew.", outcome.task.task_id)
            memory = None
            continue
        existed = isinstance(outcome, Submitted) and outcome.how == "existed"
        is_mistake = existed and on_existing == "error" and prepared.own_id is not None
        refuse = is_mistake and (
            intent.is_other_request or not _is_ours(outcome, work, may_be_booked, posted_at)
        )
        if (
            existed
            and not refuse
            and _may_be_of_another_endpoint(prepared, outcome, work, may_be_booked, posted_at)
        ):
            raise _unproven(prepared, outcome)
        yield Do(intent.forget if refuse else partial(intent.after_post, outcome, is_alone=is_alone))
        task = task_or_raise(outcome, config, prepared, external_id, refuse_existing=refuse)
        if existed:
            _tell_age(task, work)
            _tell_gone(task, config, prepared, work)
        return Done(task, adopted=existed)
    raise _failed_too_often(prepared)


def done_or_raise(end: End, prepared: PreparedSubmit) -> tuple[KlingTask, bool]:
    """Give the task and whether it was there before, for callers that do not wait for a slot.

    :raises KlingConcurrencyLimitError: or KlingRateLimitError, if Kling took nothing.
    """
    match end:
        case Done(task, adopted):
            return task, adopted
        case NoSlot(failure, _, external_id):
            raise slot_error(failure, prepared, external_id)
        case _:
            raise AssertionError("a submit without `hold` does not pause out")


def slot_error(failure: Failure, prepared: PreparedSubmit, external_id: str | None = None) -> KlingError:
    """Make the exception for a create that Kling had no room for."""
    name = prepared.endpoint.name
    return from_failure(failure, what(name, external_id), endpoint=name, external_task_id=external_id)


def find(config: KlingConfig, endpoint: Endpoint, external_id: str) -> Flow[KlingTask]:
    """Ask for a task by the caller's id, in the way this gateway knows.

    :raises ApiFailure: if there is none, or no answer.
    """
    if config.external_id_for(endpoint) == "lookup":
        try:
            found: KlingTask = yield Send(config.routes.find_task(endpoint, external_id))
        except ApiFailure as error:
            raise ApiFailure(error.failure.of_a_query())
        return found
    seen: set[str] = set()
    for page in range(1, MOST_LIST_PAGES + 1):
        tasks: TaskList = yield from flows.list_page(config, endpoint, page, MAX_PAGE_SIZE)
        for task in tasks:
            if task.external_task_id == external_id:
                return task
        if tasks.is_behind_the_end(seen):
            raise ApiFailure(Failure(Reaction.NOT_FOUND, f"no task in the list shows {external_id}"))
        seen.update(task.task_id for task in tasks)
    raise ApiFailure(
        Failure(
            Reaction.SERVER,
            f"{external_id} is not among the {MOST_LIST_PAGES * MAX_PAGE_SIZE} tasks of the list that were read",
            is_final=True,
        )
    )


def is_gone(config: KlingConfig, task: KlingTask) -> bool:
    """Whether a finished task's result is deleted by now, or will be within the day."""
    if not task.is_successful or task.updated_at is None:
        return False
    kept = timedelta(days=config.gateway.result_ttl_days)
    return datetime.now(UTC) - task.updated_at > kept - min(timedelta(days=1), kept / 4)


def _submit_unseen(
    config: KlingConfig,
    prepared: PreparedSubmit,
    intent: Intent,
    on_unknown: OnUnknown,
    memory: Memory | None,
) -> Flow[End]:
    """Submit where the task cannot be looked up by the caller's id: guarded by the record instead."""
    earlier: str | None = yield Do(intent.earlier_task)
    if earlier is not None:
        try:
            task = yield from ask(config.routes.get_task(prepared.endpoint, earlier))
        except KlingTaskNotFoundError:
            intent.refuse_another_account()
            raise
        intent.account_is_known = True
        if task.status != FAILED:
            return Done(task, adopted=True)
        if not intent.was_cleared:
            raise KlingTaskFailedError(
                f"An earlier try of this task submitted task {task.task_id} of {task.endpoint}, which Kling has "
                f"failed ({task.status_message or 'no reason told'}). Clear this task to submit again.",
                endpoint=task.endpoint,
                task_id=task.task_id,
            )
    machine = Submission(
        external_task_id=prepared.own_id,
        can_look_up=False,
        is_first=True,
        can_resign=isinstance(config.credentials, KeyPair),
        memory=memory,
    )
    step: MachineStep | Outcome = machine.start()
    while isinstance(step, Post):
        yield Do(lambda: intent.before_post(prepared.own_id))
        step = yield from _post(config, prepared, machine, prepared.own_id, step)
    assert isinstance(step, Outcome)
    outcome = step
    yield Do(lambda: intent.after_post(outcome))
    if isinstance(outcome, Refused) and outcome.failure.is_slot_refusal:
        refusals = machine.memory.refusals + 1
        memory = replace(machine.memory, refusals=refusals, failure=outcome.failure)
        return NoSlot(outcome.failure, memory, prepared.own_id)
    return Done(
        task_or_raise(outcome, config, prepared, prepared.own_id, on_unknown=on_unknown), adopted=False
    )


def _run(
    config: KlingConfig,
    prepared: PreparedSubmit,
    work: Work,
    intent: Intent,
    machine: Submission,
    external_id: str | None,
    hold: float | None,
) -> Flow[Outcome | Paused]:
    """Carry out the steps of the machine for one external id."""
    step: MachineStep | Outcome = machine.start()
    while not isinstance(step, Outcome):
        match step:
            case Post():
                if not machine.memory.posted_at:
                    machine.memory = replace(machine.memory, posted_at=time.time())
                yield Do(lambda: intent.before_post(external_id))
                step = yield from _post(config, prepared, machine, external_id, step)
            case LookUp(after):
                if hold is not None and after > hold:
                    return Paused(after, machine.memory)
                yield Pause(after)
                try:
                    task = yield from find(config, prepared.endpoint, str(external_id))
                except ApiFailure as error:
                    step = machine.on_lookup_failure(error.failure)
                else:
                    step = machine.on_found(task)
            case CheckList():
                tasks = yield from _first_page(config, prepared.endpoint)
                step = machine.on_listed(
                    tasks, _first_sent(machine.memory, intent, work) - CLOCK_SKEW_SECONDS
                )
    return step


def _first_sent(memory: Memory, intent: Intent, work: Work) -> float:
    """Epoch seconds since which any try may have sent this: what an earlier one left must not pass for old."""
    own = 0.0 if memory.may_be_booked else memory.posted_at
    return intent.posted_at or own or work.since or time.time() - 3600


def _post(
    config: KlingConfig, prepared: PreparedSubmit, machine: Submission, external_id: str | None, step: Post
) -> Flow[MachineStep | Outcome]:
    call = config.routes.submit(prepared.endpoint, prepared.body_with(external_id))
    try:
        task = yield Send(call, fresh=step.fresh)
    except ApiFailure as error:
        log.info("%s got: %s", what(prepared.endpoint.name, external_id), error)
        count_answer(config.conn_id, prepared, error.failure)
        return machine.on_post_failure(error.failure)
    return machine.on_booked(task)


def _first_page(config: KlingConfig, endpoint: Endpoint) -> Flow[TaskList | None]:
    try:
        tasks: TaskList = yield from flows.list_page(config, endpoint, 1, MAX_PAGE_SIZE)
    except ApiFailure as error:
        log.info("The list of %s could not be had: %s", endpoint.name, error)
        return None
    return tasks


def _recorded(
    config: KlingConfig, prepared: PreparedSubmit, intent: Intent, work: Work
) -> Flow[KlingTask | None]:
    """The task an earlier try was given by Kling, if it is still worth having.

    :raises KlingTaskNotFoundError: if Kling does not know it any more; KlingServerError in a retry, which may
        have come before Kling shows it.
    """
    task_id = intent.wanted_task_id
    if task_id is None:
        return None
    try:
        task: KlingTask = yield Send(config.routes.get_task(prepared.endpoint, task_id))
    except ApiFailure as error:
        if error.failure.of_a_query().reaction is not Reaction.NOT_FOUND:
            raise from_failure(
                error.failure, f"Asking for task {task_id}", endpoint=prepared.endpoint.name, task_id=task_id
            )
        intent.refuse_another_account()
        if not intent.is_same_account:  # a person has cleared it, to go on with the new one
            return None
        task = yield from _found_by_our_id(config, prepared, intent, task_id, work)
    intent.account_is_known = True
    if task.status == FAILED:
        return None  # the walk over the numbers meets it again and goes on to the next
    return task


def _found_by_our_id(
    config: KlingConfig, prepared: PreparedSubmit, intent: Intent, task_id: str, work: Work
) -> Flow[KlingTask]:
    """The recorded task by the id that we gave it, where Kling does not find it by its own."""
    sent, name = intent.external_task_id, prepared.endpoint.name
    try:
        if sent is None:
            raise ApiFailure(Failure(Reaction.NOT_FOUND, "it has no external_task_id"))
        task: KlingTask = yield from find(config, prepared.endpoint, sent)
    except ApiFailure as error:
        failure = error.failure.of_a_query()
        about = f"Nothing was sent. Kling does not show task {task_id}, which an earlier try of this task submitted"
        if failure.reaction is not Reaction.NOT_FOUND:
            raise from_failure(
                failure, f"{about}; asking for its external_task_id {sent}", endpoint=name, task_id=task_id
            )
        if not intent.was_cleared:
            raise KlingServerError(
                f"{about}. A retry asks for it again.", endpoint=name, task_id=task_id, external_task_id=sent
            )
        raise KlingTaskNotFoundError(
            f"{about}: it seems to be deleted. Unless Kling had failed it, it was paid; what was stored of it is in "
            f"your storage. For a new one, which is paid again, {_way_to_a_new_one(prepared, work)}.",
            endpoint=name,
            task_id=task_id,
            external_task_id=sent,
        )
    return task


def _ids(
    prepared: PreparedSubmit, work: Work, intent: Intent, start: int
) -> Iterator[tuple[int, str | None]]:
    """The external ids to try in turn: a new number for each task that Kling has failed."""
    if prepared.own_id is not None:
        if (sent := intent.other_id_sent(prepared.own_id)) is not None:
            log.warning(
                "external_task_id=%s is another one than %s of an earlier try, which may be booked: going on with that "
                "one. It must be the same in each try.",
                prepared.own_id,
                sent,
            )
            yield 0, sent
        yield 0, prepared.own_id
        return
    if work.identity is None:
        yield 0, None
        return
    for number in range(start, MOST_FAILED_TASKS):
        yield number, prepared.id_for(replace(work.identity, fail_no=number))


def _is_ours(outcome: Outcome, work: Work, may_be_booked: bool | None, posted_at: float | None) -> bool:
    """Whether a task with the caller's own id was made by an earlier try of this very work.

    :param may_be_booked: whether the record has a POST of an earlier try; None: there is no record.
    :param posted_at: epoch seconds of that POST.
    """
    was_sent = not work.is_first if may_be_booked is None else may_be_booked
    if not was_sent or not isinstance(outcome, Submitted):
        return False
    created, since = outcome.task.created_at, posted_at or work.since
    return created is None or since is None or created.timestamp() >= since - CLOCK_SKEW_SECONDS


def _may_be_of_another_endpoint(
    prepared: PreparedSubmit,
    outcome: Outcome,
    work: Work,
    may_be_booked: bool | None,
    posted_at: float | None,
) -> bool:
    """Whether nothing shows that a task found by the caller's own id is of this endpoint.

    The new dialect has one query for all its endpoints, and its answer does not name the one.
    """
    is_own = prepared.own_id is not None and prepared.endpoint.dialect == "new"
    return is_own and not _is_ours(outcome, work, may_be_booked, posted_at)


def _unproven(prepared: PreparedSubmit, outcome: Outcome) -> KlingBadRequestError:
    assert isinstance(outcome, Submitted)
    task, name = outcome.task, prepared.endpoint.name
    return KlingBadRequestError(
        f"Nothing was sent. external_task_id={prepared.own_id!r} belongs to task {task.task_id}, and the new dialect "
        f"does not tell whether that is one of {name}. If it is, collect it with "
        f"KlingAdoptOperator(kling_task_id={task.task_id!r}, endpoint={name!r}); if not, choose another id.",
        endpoint=name,
        task_id=task.task_id,
        external_task_id=prepared.own_id,
    )


def _way_to_a_new_one(prepared: PreparedSubmit, work: Work) -> str:
    if not work.submits_once:
        names = ["key="] if work.key is not None else []
        names += ["external_task_id="] if prepared.own_id is not None or not names else []
        return f"submit with another {' and another '.join(names)}"
    other = "" if prepared.own_id is None else f"choose another external_task_id than {prepared.own_id!r}, "
    return f"{other}set on_clear='resubmit' and clear this task"


def _tell_gone(task: KlingTask, config: KlingConfig, prepared: PreparedSubmit, work: Work) -> None:
    if is_gone(config, task):
        log.warning(
            "Task %s succeeded on %s, and results are kept for %g days only: its file may be deleted at Kling by now. "
            "It is taken over all the same, which costs nothing; what is stored is found there. For a new one, which "
            "is paid again, %s.",
            task.task_id,
            task.updated_at,
            config.gateway.result_ttl_days,
            _way_to_a_new_one(prepared, work),
        )


def _tell_age(task: KlingTask, work: Work) -> None:
    if work.since and task.created_at and task.created_at.timestamp() < work.since - CLOCK_SKEW_SECONDS:
        log.warning("Task %s was created at %s, before this DAG run.", task.task_id, task.created_at)


def _failed_too_often(prepared: PreparedSubmit) -> KlingError:
    return KlingTaskFailedError(
        f"Kling has failed {MOST_FAILED_TASKS} tasks of {prepared.endpoint.name} for this piece of work. Nothing "
        "more was sent. Change the prompt or the picture.",
        endpoint=prepared.endpoint.name,
    )
