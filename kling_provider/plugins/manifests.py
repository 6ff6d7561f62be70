"""Where the files of a task instance lie, as Airflow's database tells; never as a request tells."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from airflow.models.renderedtifields import RenderedTaskInstanceFields
from airflow.models.xcom import XComModel
from airflow.utils.session import create_session
from sqlalchemy import select

from kling_provider.api.messages import read_json


def stored_uri(dag_id: str, run_id: str, task_id: str, map_index: int, number: int) -> str | None:
    """Tell where a file of a manifest lies.

    :param dag_id: of exactly this task instance, as the others.
    :param run_id: its DAG run.
    :param task_id: its task.
    :param map_index: -1 if it is not mapped.
    :param number: place in the manifest, from 0.
    :returns: what the task has returned there, to be believed as little as any XCom; None if there is nothing.
    """
    value = _value(XComModel, "value", dag_id, run_id, task_id, map_index, XComModel.key == "return_value")
    manifest = read_json(value)  # some Airflow stores a list or object as its text
    entry = manifest[number] if isinstance(manifest, list) and 0 <= number < len(manifest) else None
    return _text(entry.get("uri")) if isinstance(entry, Mapping) else None


def asked_uri(dag_id: str, run_id: str, task_id: str, map_index: int, field: str) -> str | None:
    """Tell where an input of a task instance lies.

    :param dag_id: of exactly this task instance, as the others.
    :param run_id: its DAG run.
    :param task_id: its task.
    :param map_index: -1 if it is not mapped.
    :param field: dotted name in its rendered fields; a number is a place in a list.
    :returns: the text that stands there, or None.
    """
    found = _value(RenderedTaskInstanceFields, "rendered_fields", dag_id, run_id, task_id, map_index)
    for name in field.split("."):
        found = read_json(found)
        if isinstance(found, Mapping):
            found = found.get(name)
        elif isinstance(found, list) and re.fullmatch(r"\d{1,9}", name) and int(name) < len(found):
            found = found[int(name)]
        else:
            return None
    return _text(found)


def _value(
    model: Any, column: str, dag_id: str, run_id: str, task_id: str, map_index: int, *more: Any
) -> Any:
    is_it = (
        model.dag_id == dag_id,
        model.run_id == run_id,
        model.task_id == task_id,
        model.map_index == map_index,
    )
    with create_session() as session:
        return session.scalar(select(getattr(model, column)).where(*is_it, *more))


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
