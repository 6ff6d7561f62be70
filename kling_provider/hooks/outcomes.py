"""What a submit comes to: the task, or the exception with the next step in its text."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from kling_provider.api.errors import Failure, Reaction
from kling_provider.api.polling import Decision, Finished, GaveUp, TimedOut
from kling_provider.api.submitting import (
    NotThere,
    OtherRequest,
    Outcome,
    PerhapsTwice,
    Refused,
    StillUnclear,
    Submitted,
    Unknown,
    UsedUp,
)
from kling_provider.api.tasks import KlingTask
from kling_provider.exceptions import (
    KlingBadRequestError,
    KlingServerError,
    KlingSubmissionUnknownError,
    KlingTaskFailedError,
    KlingTaskTimeoutError,
    from_failure,
)
from kling_provider.hooks.config import KlingConfig
from kling_provider.hooks.preparing import PreparedSubmit

OnExisting = Literal["error", "adopt"]
OnUnknown = Literal["fail", "retry"]


def task_or_raise(
    outcome: Outcome,
    config: KlingConfig,
    prepared: PreparedSubmit,
    external_id: str | None,
    *,
    refuse_existing: bool = False,
    on_unknown: OnUnknown = "fail",
) -> KlingTask:
    """Return the submitted task.

    :param outcome: where the submit state machine ended.
    :param config: of the connection.
    :param prepared: the submit.
    :param external_id: the external_task_id that was sent, or None.
    :param refuse_existing: whether a task that was there before is a mistake of the caller.
    :param on_unknown: whether an unclear answer that cannot be looked up may be tried again.
    :raises KlingError: the class for what happened.
    """
    endpoint = prepared.endpoint.name
    match outcome:
        case Submitted(task, "existed") if refuse_existing:
            raise KlingBadRequestError(
                f"external_task_id={external_id!r} is taken: task {task.task_id} of {endpoint}, {_age(task)}, "
                f"status {task.status}. Nothing more is sent. Choose another id; or, if that task is yours (one "
                "that is a few seconds old may be this very submit, sent twice by a proxy), take it over with "
                "on_existing='adopt'.",
                endpoint=endpoint,
                task_id=task.task_id,
                external_task_id=external_id,
            )
        case Submitted(task):
            return task
        case UsedUp(task):
            raise KlingBadRequestError(
                f"external_task_id={external_id!r} belongs to task {task.task_id} of {endpoint}, which Kling has "
                f"failed ({task.status_message or 'no reason told'}). Kling takes an id once: choose another.",
                endpoint=endpoint,
                task_id=task.task_id,
                external_task_id=external_id,
            )
        case OtherRequest(task):
            raise KlingBadRequestError(
                f"Nothing was sent. An earlier try of this task submitted task {task.task_id} of {endpoint} with "
                f"another request (its external_task_id is {task.external_task_id}, this one's would be "
                f"{external_id}), and a retry must ask for the same. Keep what differs from try to try out of the "
                "templates, or clear the task to submit the new request.",
                endpoint=endpoint,
                task_id=task.task_id,
                external_task_id=external_id,
            )
        case PerhapsTwice(task, failure):
            raise KlingSubmissionUnknownError(
                f"{what(endpoint, external_id)} got no clear answer ({failure.describe()}), was not found, and was "
                f"sent again: task {task.task_id} was booked. But the answer does not show the external_task_id, so "
                f"gateway {config.gateway.name!r} may not keep it, and the first submit may have been booked (and "
                f"be paid) too. Look into the console ({config.console_url or config.base_url}). Collect "
                f"{task.task_id} with KlingAdoptOperator or KlingTaskSensor, and set the extra external_id to "
                '"none", so that this is found out before a second submit.',
                failure=failure,
                endpoint=endpoint,
                task_id=task.task_id,
                external_task_id=external_id,
            )
        case Refused(failure):
            raise from_failure(
                failure, what(endpoint, external_id), endpoint=endpoint, external_task_id=external_id
            )
        case NotThere(failure):
            raise KlingServerError(
                f"{what(endpoint, external_id)} got no clear answer: {failure.describe()} Kling was asked again "
                "and knows no such task, so nothing was booked as far as can be seen. A retry looks again "
                "before it sends.",
                failure=failure,
                endpoint=endpoint,
                external_task_id=external_id,
            )
        case StillUnclear(failure):
            raise KlingServerError(
                f"{what(endpoint, external_id)} got no clear answer: {failure.describe()} Kling could not be asked "
                "again either, so the task may have been booked. A retry looks for it before it sends.",
                failure=failure,
                endpoint=endpoint,
                external_task_id=external_id,
            )
        case Unknown(failure) if on_unknown == "retry":
            raise from_failure(
                failure, what(endpoint, external_id), endpoint=endpoint, external_task_id=external_id
            )
        case Unknown(failure):
            raise KlingSubmissionUnknownError(
                f"{what(endpoint, external_id)} got no clear answer: {failure.describe()} The task may have been "
                f"booked and will then be paid. Gateway {config.gateway.name!r} {_no_help(prepared, external_id)}. "
                f"Look for it in the console ({config.console_url or config.base_url}). If it is there, collect "
                "it with KlingAdoptOperator or KlingTaskSensor; if not, clear this task to submit again.",
                failure=failure,
                endpoint=endpoint,
                external_task_id=external_id,
            )


def _no_help(prepared: PreparedSubmit, external_id: str | None) -> str:
    if prepared.can_look_up and external_id:
        return "does not show the task under its external_task_id"
    return "cannot be asked whether it was"


def finished_task(decision: Decision, task_id: str, endpoint: str, timeout: float) -> KlingTask:
    """Return the successful task of a wait that is over.

    :param decision: where the poll state machine ended.
    :param task_id: Kling's id.
    :param endpoint: the endpoint it was made with.
    :param timeout: seconds that were granted, for the message.
    :raises KlingTaskFailedError: if Kling says it failed.
    :raises KlingTaskTimeoutError: if it was not over in time.
    :raises KlingError: if asking could not go on.
    """
    match decision:
        case Finished(task) if task.is_successful:
            return task
        case Finished(task):
            raise KlingTaskFailedError(
                f"Kling says task {task_id} of {endpoint} failed: "
                f"{task.status_message or 'no reason told'} [request_id {task.request_id}]. Failed tasks are not "
                "charged. Change the prompt or the picture, then clear the submit task with a changed request.",
                failure=Failure(Reaction.BAD_REQUEST, task.status_message, 0, 200, task.request_id),
                endpoint=endpoint,
                task_id=task_id,
                external_task_id=task.external_task_id,
            )
        case TimedOut(status, failure):
            last = f" The last ask failed: {failure.describe()}" if failure else ""
            raise KlingTaskTimeoutError(
                f"Task {task_id} of {endpoint} was not over after {timeout:g} s (last status: {status}).{last} It "
                "goes on at Kling, may still finish and is then paid. Clear this task to collect it, with a "
                "longer timeout or execution_timeout if need be, or collect it elsewhere with KlingAdoptOperator; "
                "neither submits anything.",
                failure=failure,
                endpoint=endpoint,
                task_id=task_id,
            )
        case GaveUp(failure):
            raise from_failure(
                failure,
                f"Asking for task {task_id} of {endpoint}",
                endpoint=endpoint,
                task_id=task_id,
                hint=""
                if failure.reaction is Reaction.NOT_FOUND
                else "The task may go on at Kling and is paid if it succeeds; a clear asks again and submits nothing.",
            )
        case _:
            raise AssertionError(f"the wait is not over: {decision}")


def what(endpoint: str, external_id: str | None) -> str:
    """Say what was being done, for the start of a message."""
    return f"Submitting to {endpoint}" + (f" (external_task_id {external_id})" if external_id else "")


def _age(task: KlingTask) -> str:
    if task.created_at is None:
        return "of unknown age"
    return f"{int((datetime.now(UTC) - task.created_at).total_seconds())} s old"
