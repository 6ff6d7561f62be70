"""A task instance's context, as far as operators read it, without a database."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any


def is_derived(value: str) -> bool:
    """Whether an external_task_id has the frozen format."""
    return re.fullmatch(r"af1-[a-z2-7]{6}-[a-z2-7]{16}-[a-z2-7]{12}", value) is not None


@dataclass
class TaskInstance:
    """What operators use of Airflow's RuntimeTaskInstance."""

    dag_id: str = "dag"
    run_id: str = "run"
    task_id: str = "task"
    map_index: int = -1
    try_number: int = 1
    max_tries: int = 0
    start_date: datetime = field(default_factory=lambda: datetime.now(UTC))
    first_reschedule: datetime | None = None
    pushed: dict[str, Any] = field(default_factory=dict)

    def xcom_push(self, key: str, value: Any) -> None:
        self.pushed[key] = value

    def get_first_reschedule_date(self, context: Any) -> datetime | None:
        return self.first_reschedule


class StateStore:
    """Airflow's task state, in memory."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def get(self, key: str, default: Any = None) -> Any:
        return self.values.get(key, default)

    def set(self, key: str, value: Any) -> None:
        self.values[key] = value

    def delete(self, key: str) -> None:
        self.values.pop(key, None)


def context_of(operator: Any, store: StateStore | None = None, **ti: Any) -> dict[str, Any]:
    """A context for ``operator.execute``; ``ti`` sets fields of the task instance."""
    context: dict[str, Any] = {"ti": TaskInstance(task_id=operator.task_id, **ti), "task": operator}
    return context | ({"task_state_store": store} if store is not None else {})
