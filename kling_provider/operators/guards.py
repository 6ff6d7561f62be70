"""Mistakes in a DAG that would cost a video or lose one, found before anything is sent."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator, Mapping
from typing import Any

from kling_provider.exceptions import KlingBadRequestError

log = logging.getLogger(__name__)

#: XCom with which a mapped task tells its siblings which id it uses.
CLAIM_KEY = "kling_claim"
#: A sibling that is just starting again may still show what it claimed before a clear.
RECHECKS = 5
RECHECK_SECONDS = 3.0
#: A template that means something else in another task than the one it stands in.
_OF_THE_STORE_TASK = re.compile(r"\{[{%][^}]*\b(ti|task|task_instance|map_index|task_instance_key_str)\b")
#: Airflow states of a task instance whose claim is from before a clear.
_NOT_CURRENT = (None, "scheduled", "queued", "removed")


def refuse_constant_id(own_id: object, dag: Any, map_index: int) -> None:
    """See that an id of the user's own can be new in every run.

    :param own_id: as it stands in the DAG file, before rendering.
    :param dag: the DAG.
    :param map_index: -1 for a task that is not mapped; mapped ones are compared with their siblings.
    :raises KlingBadRequestError: if it is a constant in a DAG with a schedule: the second run would be refused.
    """
    is_constant = isinstance(own_id, str) and own_id != "" and "{{" not in own_id and "{%" not in own_id
    schedule = getattr(dag, "schedule", None)
    if is_constant and map_index < 0 and schedule not in (None, "@once"):
        raise KlingBadRequestError(
            f"Nothing was sent. external_task_id={own_id!r} is the same in every run of DAG {dag.dag_id!r}, which runs "
            f"on a schedule ({schedule}), and Kling takes an id once. Leave it out (each run then gets its own), or "
            f"put the run into it: external_task_id='{own_id}-{{{{ ds_nodash }}}}'.",
            external_task_id=str(own_id),
        )


def refuse_equal_ids(context: Mapping[str, Any], argument: str, value: object) -> None:
    """See that no sibling of a mapped task uses the same id; both would get one video.

    The earlier one goes on, the later one fails.

    :param context: Airflow's context.
    :param argument: which argument ``value`` is, for the message.
    :param value: the idempotency_key or external_task_id, rendered.
    :raises KlingBadRequestError: naming the sibling.
    """
    ti: Any = context.get("ti")
    map_index = getattr(ti, "map_index", -1)
    if value in (None, "") or map_index < 0:
        return
    twin: Mapping[str, Any] | None = None
    mine = {"map_index": map_index, "id": f"{argument}={value}", "at": time.time()}
    for attempt in range(RECHECKS + 1):
        try:
            if attempt == 0:
                ti.xcom_push(key=CLAIM_KEY, value=mine)
            twin = next(_twins(ti, mine), None)
        except Exception as error:  # equal ids pay once all the same; not being able to ask stops nobody
            log.warning("Whether a sibling has the same %s could not be found out: %s", argument, error)
            return
        if twin is None:
            return
        if attempt < RECHECKS:
            time.sleep(RECHECK_SECONDS)
    assert twin is not None
    raise KlingBadRequestError(
        f"Nothing was sent. {argument}={value!r} of map_index {map_index} is also that of map_index "
        f"{twin['map_index']}: they would be one piece of work and get one video. Give each its own; for two videos "
        "of one picture, add what tells them apart, for example the position.",
    )


def check_destinations(operator: Any, context: Mapping[str, Any]) -> None:
    """See that the store tasks downstream of ``operator`` can write, before a video is paid for.

    A destination that cannot be known yet (it depends on the store task itself) is left to that task.

    :raises KlingBadRequestError: naming the destination and the way out.
    """
    for task_id, *templates in _destinations(operator):
        from kling_provider.transfers.destinations import check_destination

        try:
            destination, storage_conn_id = operator.render_template(templates, context)
        except Exception as error:
            log.info("The destination of %s is not known yet (%s).", task_id, error)
            continue
        log.debug("Checking that %s can write to %s.", task_id, destination)
        check_destination(destination, storage_conn_id)


def _twins(ti: Any, mine: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Siblings that claimed the same id before us and are at work, or done, in this run."""
    claims = ti.xcom_pull(task_ids=ti.task_id, key=CLAIM_KEY)
    for claim in claims if isinstance(claims, list) else [claims]:
        if not isinstance(claim, Mapping) or claim.get("id") != mine["id"]:
            continue
        index = claim["map_index"]
        is_earlier = (claim["at"], index) < (mine["at"], mine["map_index"])
        if index != mine["map_index"] and is_earlier:
            states = ti.get_task_states(
                dag_id=ti.dag_id, map_index=index, task_ids=[ti.task_id], run_ids=[ti.run_id]
            )
            if states.get(ti.run_id, {}).get(f"{ti.task_id}_{index}") not in _NOT_CURRENT:
                yield claim


def _destinations(operator: Any) -> Iterator[tuple[str, str, Any]]:
    """Task id, destination and storage_conn_id of every store task that comes after ``operator``."""
    if not operator.has_dag():
        return
    from kling_provider.transfers.kling_to_object_storage import KlingToObjectStorageOperator

    tasks, waiting, seen = operator.get_dag().task_dict, [operator.task_id], set[str]()
    while waiting:
        for task_id in tasks[waiting.pop()].downstream_task_ids - seen:
            seen.add(task_id)
            waiting.append(task_id)
            task = tasks[task_id]
            arguments = getattr(task, "partial_kwargs", None)
            if arguments is None:
                arguments = vars(task)
            kind = getattr(task, "operator_class", type(task))
            destination = arguments.get("destination")
            is_known = isinstance(destination, str) and not _OF_THE_STORE_TASK.search(destination)
            if isinstance(kind, type) and issubclass(kind, KlingToObjectStorageOperator) and is_known:
                yield task_id, str(destination), arguments.get("storage_conn_id")
