"""What the submit upstream of a store task knows about its video, and the result does not tell."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any


def model_upstream(context: Mapping[str, Any], task_id: str, given: object) -> str | None:
    """The model that was asked for: Kling's result does not name it.

    :param context: Airflow's context.
    :param task_id: Kling's id.
    :param given: what the store task was given; a ``kling_task`` tells it.
    :returns: None where nothing upstream in this DAG has submitted the task.
    """
    if isinstance(given, Mapping) and given.get("model_name"):
        return str(given["model_name"])
    ti, task = context.get("ti"), context.get("task")
    with contextlib.suppress(Exception):  # it is told where it is known; nothing depends on it
        tasks = task.get_dag().task_dict  # type: ignore[union-attr]
        for name in sorted(task.get_flat_relative_ids(upstream=True)):  # type: ignore[union-attr]
            if not hasattr(getattr(tasks[name], "operator_class", type(tasks[name])), "kling_task"):
                continue
            for map_index in dict.fromkeys((ti.map_index, -1)):  # type: ignore[union-attr]
                # One submit that is not mapped may have made what many store.
                told = ti.xcom_pull(task_ids=name, key="kling_task", map_indexes=map_index)  # type: ignore[union-attr]
                if isinstance(told, Mapping) and told.get("task_id") == task_id and told.get("model_name"):
                    return str(told["model_name"])
    return None
