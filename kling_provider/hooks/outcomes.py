"""What a submit comes to: the task, or the exception with the next step in its text."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from kling_provider.api.submitting import FailedBefore, NotThere, Outcome, Refused, Submitted, Unknown
from kling_provider.api.tasks import KlingTask
from kling_provider.exceptions import (
    KlingBadRequestError,
    KlingServerError,
    KlingSubmissionUnknownError,
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
                f"status {task.status}. Nothing was sent. Choose another id, or set on_existing='adopt' to take "
                "that task over.",
                endpoint=endpoint,
                task_id=task.task_id,
                external_task_id=external_id,
            )
        case Submitted(task):
            return task
        case FailedBefore(task):
            raise KlingBadRequestError(
                f"external_task_id={external_id!r} belongs to task {task.task_id} of {endpoint}, which Kling has "
                f"failed ({task.status_message or 'no reason told'}). Kling takes an id once: choose another.",
                endpoint=endpoint,
                task_id=task.task_id,
                external_task_id=external_id,
            )
        case Refused(failure):
            raise from_failure(
                failure, _what(endpoint, external_id), endpoint=endpoint, external_task_id=external_id
            )
        case NotThere(failure):
            raise KlingServerError(
                f"{_what(endpoint, external_id)} got no clear answer: {failure.describe()} Kling was asked again "
                "and knows no such task, so nothing was booked as far as can be seen. A retry looks again "
                "before it sends.",
                failure=failure,
                endpoint=endpoint,
                external_task_id=external_id,
            )
        case Unknown(failure) if on_unknown == "retry":
            raise from_failure(
                failure, _what(endpoint, external_id), endpoint=endpoint, external_task_id=external_id
            )
        case Unknown(failure):
            raise KlingSubmissionUnknownError(
                f"{_what(endpoint, external_id)} got no clear answer: {failure.describe()} The task may have been "
                f"booked and will then be paid. Gateway {config.gateway.name!r} cannot be asked whether it was. "
                f"Look for it in the console ({config.console_url or config.base_url}). If it is there, give its "
                "id to KlingTaskSensor; if not, clear this task to submit again.",
                failure=failure,
                endpoint=endpoint,
                external_task_id=external_id,
            )


def _what(endpoint: str, external_id: str | None) -> str:
    return f"Submitting to {endpoint}" + (f" (external_task_id {external_id})" if external_id else "")


def _age(task: KlingTask) -> str:
    if task.created_at is None:
        return "of unknown age"
    return f"{int((datetime.now(UTC) - task.created_at).total_seconds())} s old"
