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
    siblings: list[TaskInstance] = field(default_factory=list)
    state: str | None = "running"

    def xcom_push(self, key: str, value: Any) -> None:
        self.pushed[key] = value

    def xcom_pull(self, task_ids: str, key: str, map_indexes: int | None = None) -> Any:
        """Like Airflow's: without map_indexes of all of them, and not in a list if it is one value."""
        assert task_ids == self.task_id
        if map_indexes is not None:
            found = [ti.pushed.get(key) for ti in (self, *self.siblings) if ti.map_index == map_indexes]
            return found[0] if found else None
        values = [ti.pushed[key] for ti in (self, *self.siblings) if key in ti.pushed]
        return values[0] if len(values) == 1 else values

    def get_task_states(
        self, dag_id: str, map_index: int, task_ids: list[str], run_ids: list[str]
    ) -> dict[str, dict[str, str | None]]:
        assert (dag_id, task_ids, run_ids) == (self.dag_id, [self.task_id], [self.run_id])
        states = {
            f"{ti.task_id}_{ti.map_index}": ti.state for ti in self.siblings if ti.map_index == map_index
        }
        return {self.run_id: states}

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
