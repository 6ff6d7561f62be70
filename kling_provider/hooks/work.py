"""Which piece of work a submit belongs to, read from Airflow's context."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from kling_provider.api.identity import TaskIdentity

OnClear = Literal["reattach", "resubmit"]


@dataclass(frozen=True, slots=True)
class Work:
    """A piece of work that is submitted once.

    :param identity: what makes it this one; None outside a running task.
    :param is_first: whether nothing can have been sent for it before.
    :param is_retry: whether an earlier try may have sent something.
    :param max_tries: Airflow's own; a clear raises it, and nothing else does.
    :param wants_new: whether a clear asks for a new video.
    :param key: tells several submits of one task apart.
    :param store: Airflow's task state (3.3+), or None.
    :param submits_once: whether all submits of the task are this one: an operator's is, a @task may have more.
    """

    identity: TaskIdentity | None
    is_first: bool = True
    is_retry: bool = False
    max_tries: int = 0
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
    cleared = times_cleared(context)
    key = None if key in (None, "") else str(key)
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
        is_first=try_number <= 1 and cleared == 0,
        is_retry=try_number > 1,
        max_tries=_number(getattr(ti, "max_tries", 0), 0),
        wants_new=on_clear == "resubmit",
        key=key,
        store=context.get("task_state_store"),
    )


def times_cleared(context: Mapping[str, Any]) -> int:
    """How many tries came before the last clear: clearing sets max_tries to try_number + retries."""
    ti, task = context.get("ti"), context.get("task")
    retries = _number(getattr(task, "retries", 0), 0)
    return max(0, _number(getattr(ti, "max_tries", retries), retries) - retries)


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
