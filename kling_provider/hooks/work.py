"""Which piece of work a submit belongs to, read from Airflow's context."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

from kling_provider.api.identity import TaskIdentity

OnClear = Literal["reattach", "resubmit"]
RECORD_KEY = "kling_submit"
#: Airflow's limit.
LONGEST_RECORD_KEY = 512


@dataclass(frozen=True, slots=True)
class Work:
    """A piece of work that is submitted once.

    :param identity: what makes it this one; None outside a running task.
    :param is_first: whether nothing can have been sent for it before.
    :param is_retry: whether an earlier try may have sent something.
    :param max_tries: Airflow's own; a clear raises it, and nothing else does.
    :param retries: of the task, when it was first submitted.
    :param was_cleared: whether a person has cleared the task.
    :param since: epoch seconds before which nothing of this work was sent, or None.
    :param run_was_cleared: whether anything of the DAG run was cleared: a mapped list may have shifted since.
    :param wants_new: whether a clear asks for a new video.
    :param key: tells several submits of one task apart.
    :param store: Airflow's task state (3.3+), or None.
    :param submits_once: whether all submits of the task are this one: an operator's is, a @task may have more.
    """

    identity: TaskIdentity | None
    is_first: bool = True
    is_retry: bool = False
    max_tries: int = 0
    retries: int = 0
    was_cleared: bool = False
    since: float | None = None
    run_was_cleared: bool = False
    wants_new: bool = False
    key: str | None = None
    store: Any = None
    submits_once: bool = True


NO_TASK = Work(None)


def work_of(
    context: Mapping[str, Any] | None, key: str | None = None, on_clear: OnClear = "reattach"
) -> Work:
    """Read the identity of the running task instance.

    :param context: Airflow's context; None or without ``ti`` outside a task.
    :param key: the caller's idempotency_key, instead of the map_index.
    :param on_clear: whether a cleared task finds its old video again or makes a new one.
    """
    context = context or {}
    ti = context.get("ti")
    names = [getattr(ti, name, None) for name in ("dag_id", "run_id", "task_id")]
    if not all(isinstance(name, str) for name in names):
        return NO_TASK
    dag_id, run_id, task_id = (str(name) for name in names)
    key = None if key in (None, "") else str(key)
    store = context.get("task_state_store")
    retries = _recorded_retries(store, key, context)
    cleared = times_cleared(context, retries)
    try_number = _number(getattr(ti, "try_number", 1), 1)
    identity = TaskIdentity(
        dag_id,
        run_id,
        task_id,
        map_index=_number(getattr(ti, "map_index", -1), -1),
        key=key,
        clear_no=cleared if on_clear == "resubmit" else 0,
    )
    return Work(
        identity,
        is_first=try_number <= 1 and cleared == 0 and not run_was_cleared(context),
        is_retry=try_number > 1,
        max_tries=_number(getattr(ti, "max_tries", 0), 0),
        retries=retries,
        was_cleared=cleared > 0,
        since=_run_began(context),
        run_was_cleared=run_was_cleared(context),
        wants_new=on_clear == "resubmit",
        key=key,
        store=store,
    )


def record_key(key: str | None) -> str:
    """Where the record of a submit stands in Airflow's task state."""
    name = RECORD_KEY if key is None else f"{RECORD_KEY}:{key}"
    if len(name) <= LONGEST_RECORD_KEY:
        return name
    return f"{RECORD_KEY}:{hashlib.sha256(name.encode()).hexdigest()}"


def times_cleared(context: Mapping[str, Any], retries: int | None = None) -> int:
    """How many tries came before the last clear: clearing sets max_tries to try_number + retries.

    :param context: Airflow's context.
    :param retries: of the task, if another number than today's was true when it started.
    """
    ti = context.get("ti")
    retries = _retries_of(context) if retries is None else retries
    return max(0, _number(getattr(ti, "max_tries", retries), retries) - retries)


def _retries_of(context: Mapping[str, Any]) -> int:
    return _number(getattr(context.get("task"), "retries", 0), 0)


def _recorded_retries(store: Any, key: str | None, context: Mapping[str, Any]) -> int:
    """The task's retries as first recorded: lowering them in the DAG must not look like a clear."""
    record = store.get(record_key(key)) if store is not None else None
    retries = record.get("retries") if isinstance(record, dict) else None
    return _number(retries, _retries_of(context))


def run_was_cleared(context: Mapping[str, Any]) -> bool:
    """Whether anything of the DAG run was cleared.

    :param context: Airflow's context.
    """
    return _number(getattr(context.get("dag_run"), "clear_number", 0), 0) > 0


def _run_began(context: Mapping[str, Any]) -> float | None:
    """When the DAG run was due, which no clear changes; it cannot have sent anything before."""
    run_after = getattr(context.get("dag_run"), "run_after", None)
    return run_after.timestamp() if isinstance(run_after, datetime) else None


def current_work(key: str | None = None) -> Work:
    """The work of the task that is running now, or none outside of one.

    :param key: tells several submits of one task apart.
    """
    from airflow.sdk import get_current_context

    try:
        context = get_current_context()
    except (RuntimeError, LookupError):
        return NO_TASK
    return replace(work_of(context, key), submits_once=False)


def _number(value: object, default: int) -> int:
    return value if isinstance(value, int) else default
