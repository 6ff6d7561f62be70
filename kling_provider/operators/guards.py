"""What would cost a video or lose one, found before anything is sent: mistakes in a DAG, and a start too early."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.common.compat.sdk import XComArg, XComNotFound

from kling_provider.exceptions import KlingBadRequestError

try:
    from airflow.sdk.exceptions import AirflowRescheduleException
except ImportError:  # before Airflow 3.2
    from airflow.exceptions import AirflowRescheduleException

log = logging.getLogger(__name__)

#: XCom with which a mapped task tells its siblings which id it uses.
CLAIM_KEY = "kling_claim"
#: A sibling that is just starting again may still show what it claimed before a clear.
RECHECKS = 5
RECHECK_SECONDS = 3.0
#: A template that means something else in another task than the one it stands in.
_OF_THE_STORE_TASK = re.compile(r"\{[{%][^}]*\b(ti|task|task_instance|map_index|task_instance_key_str)\b")
#: What a template gives anew each time it is rendered.
_RENDERS_ANEW = re.compile(
    r"\{[{%].*?\b(try_number|macros\.(?:random|uuid\.uuid[14]|time\.time|datetime\.(?:now|utcnow|today)))\b"
)
#: Airflow states of a task instance whose claim is from before a clear.
_NOT_CURRENT = (None, "scheduled", "queued", "removed")
#: Airflow states of a task instance that does nothing more by itself.
_FINISHED = ("success", "failed", "skipped", "upstream_failed", "removed")
#: A task that was started too early comes back after so many seconds (3.0 does not count them) ...
EARLY_START_SECONDS = 10.0
#: ... and so often: Airflow looks at what a task depends on each time but the first.
EARLY_STARTS = 5


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


def refuse_renewed_ids(ids: Mapping[str, object]) -> None:
    """See that a retry will have the same id again, where no record of Airflow's tells which one was sent.

    :param ids: by argument, as they stand in the DAG file, before rendering.
    :raises KlingBadRequestError: naming the argument, if its template renders to another one in each try.
    """
    for argument, value in ids.items():
        if isinstance(value, str) and (found := _RENDERS_ANEW.search(value)):
            raise KlingBadRequestError(
                f"Nothing was sent. {argument}={value!r} is another one in each try ({found[1]}), so a retry could not "
                "find what an earlier one has paid. Leave it out (the derived one is new for each run and the same in "
                "each try), or put the run into it: {{ ds_nodash }}.",
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


def has_own_template_marks(operator: Any) -> bool:
    """Whether templates may look otherwise in this operator's DAG, so that nothing is known to be literal."""
    return operator.has_dag() and bool(operator.get_dag().jinja_environment_kwargs)


class WaitsForUpstream:
    """Mixin: a task that Airflow starts before its upstream is sent back to wait for it."""

    #: The argument that comes from upstream.
    comes_from_upstream: str

    def render_template_fields(self, context: Any, jinja_env: Any = None) -> None:
        """Render the arguments; an XCom that is not there yet is waited for.

        :param context: Airflow's context.
        :param jinja_env: Jinja's environment, if not the DAG's.
        """
        try:
            super().render_template_fields(context, jinja_env)  # type: ignore[misc]
        except XComNotFound:  # of any key but return_value, which arrives as None
            wait_for_upstream(context, self.comes_from_upstream, None)
            raise

    def wait_for_upstream(self, context: Mapping[str, Any]) -> None:
        """See :func:`wait_for_upstream`."""
        wait_for_upstream(context, self.comes_from_upstream, getattr(self, self.comes_from_upstream))


def wait_for_upstream(context: Mapping[str, Any], argument: str, value: object) -> None:
    """See that Airflow has not started this task before what it depends on.

    It does, in a mapped task group that is cleared after its list has grown: for the new places it checks
    nothing, once any other place is ready (``DagRun._revise_map_indexes_if_mapped``). What is sent back is
    scheduled as any other task, so it waits for its upstream, and no try is spent.

    :param context: Airflow's context.
    :param argument: which argument ``value`` is, for the log.
    :param value: the argument, rendered.
    :raises AirflowRescheduleException: if ``value`` is nothing and its upstream may have yet to push it.
    """
    is_nothing = not value or (isinstance(value, str) and value.strip() in ("", "None"))  # "None": from Jinja
    if not is_nothing:
        return
    try:
        starts = int(context.get("task_reschedule_count") or 0)
        states = _upstream_in_group(context)
    except Exception as error:  # what is missing is told by the task itself
        log.info("Whether %s is still to come could not be found out: %s", argument, error)
        return
    to_come = [name for name, state in states.items() if state not in _FINISHED]
    if not to_come and starts == 0:  # it may have ended since this task was rendered
        to_come = [name for name, state in states.items() if state == "success"]
    if not to_come or starts >= EARLY_STARTS:
        return
    log.warning(
        "Airflow started this task before its upstream was done (%s), as it does at a new place of a mapped task "
        "group whose list has grown: there is no %s yet. It goes back to wait; no retry is consumed.",
        ", ".join(f"{name}: {states[name] or 'not started'}" for name in to_come),
        argument,
    )
    raise AirflowRescheduleException(datetime.now(UTC) + timedelta(seconds=EARLY_START_SECONDS))


def places_from_upstream(value: object) -> Iterator[tuple[Any, ...]]:
    """Where other tasks' results are in an argument: the keys and positions that lead to each of them.

    :param value: an argument before it is rendered, maybe nested.
    """
    if isinstance(value, XComArg):
        yield ()
    inside: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, dict):
        inside = value.items()
    elif isinstance(value, list | tuple):
        inside = enumerate(value)
    for key, item in inside:
        for rest in places_from_upstream(item):
            yield (key, *rest)


def wait_for_places(context: Mapping[str, Any], argument: str, value: Any, places: Iterable[Any]) -> None:
    """See :func:`wait_for_upstream`, for each result of another task in an argument.

    :param context: Airflow's context.
    :param argument: its name.
    :param value: the argument, rendered.
    :param places: what :func:`places_from_upstream` gave before.
    """
    for place in places:
        told = value
        with suppress(LookupError, TypeError):  # a pre_execute hook may have made another one of it
            for key in place:
                told = told[key]
        if told is None:  # so a result that is not there yet arrives
            wait_for_upstream(context, argument + "".join(f"[{key!r}]" for key in place), None)


def may_have_waited_for_upstream(context: Mapping[str, Any]) -> bool:
    """Whether the one reschedule of this task may have been that of :func:`wait_for_upstream`."""
    ti: Any = context.get("ti")
    return context.get("task_reschedule_count") == 1 and getattr(ti, "map_index", -1) >= 0


def _upstream_in_group(context: Mapping[str, Any]) -> dict[str, str | None]:
    """State of each task right before this one in its mapped task group, at the same place; {} if there is none."""
    ti, task = context.get("ti"), context.get("task")
    if ti is None or task is None or ti.map_index < 0:
        return {}
    group = task.get_closest_mapped_task_group()
    if group is None:
        return {}
    tasks = task.get_dag().task_dict
    names = [
        name
        for name in sorted(task.upstream_task_ids)
        if getattr(tasks[name].get_closest_mapped_task_group(), "group_id", None) == group.group_id
    ]
    if not names:
        return {}
    states = ti.get_task_states(dag_id=ti.dag_id, map_index=ti.map_index, task_ids=names, run_ids=[ti.run_id])
    told = states.get(ti.run_id, {})
    return {name: told.get(f"{name}_{ti.map_index}") for name in names}


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
