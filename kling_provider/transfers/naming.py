"""Whether a stored file's name is its own, told from how the DAG writes it."""

from __future__ import annotations

import re
from string import Formatter
from typing import Any

from kling_provider.api.tasks import KlingFile, KlingTask

_JINJA = re.compile(r"\{[{%].*?[}%]\}", re.DOTALL)
#: What of Airflow's context can differ between the mapped tasks of a run.
_OF_ONE_MAPPED_TASK = re.compile(
    r"\b(?:ti|task_instance|task)\b(?!\.(?:dag_id|run_id|task_id)\b)|\b(?:map_index\w*|uuid|random)\b"
)


def fields_of(filename: str) -> set[str | None]:
    """The names in braces of a pattern.

    :param filename: as the transfer takes it, rendered.
    """
    return {name for _, name, _, _ in Formatter().parse(filename)}


def is_named(task: KlingTask, file: KlingFile, destination: str, filename: str) -> bool:
    """Whether the file's name can be no other task's.

    :param task: whose file it is.
    :param file: one of its files.
    :param destination: as the transfer takes it, rendered.
    :param filename: the same.
    """
    fields = fields_of(filename)
    if (task.name and "task_id" in fields) or (file.has_own_id and "media_id" in fields):
        return True
    return any(name and name in f"{destination}/{filename}" for name in (task.name, task.external_task_id))


def may_differ(template: Any) -> bool:
    """Whether a template may give each mapped task of a run something of its own; what is not known may.

    :param template: an operator's field before it is rendered.
    """
    if not isinstance(template, str):
        return True
    return any(_OF_ONE_MAPPED_TASK.search(code) for code in _JINJA.findall(template))
