"""What the sensor and the one-operator form share: whom to wait for, until when, and what came of it."""

from __future__ import annotations

import contextlib
import logging
import random
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import XComArg

from kling_provider.api.endpoints import check_id, endpoint_for
from kling_provider.api.errors import Failure, InvalidRequest, shorten, show
from kling_provider.api.messages import read_json
from kling_provider.api.pace import Durations
from kling_provider.api.polling import (
    NOT_FOUND_GRACE_SECONDS,
    Decision,
    Finished,
    GaveUp,
    TaskPoller,
    TimedOut,
    Wait,
)
from kling_provider.api.progress import Story
from kling_provider.api.tasks import KlingTask
from kling_provider.exceptions import KlingBadRequestError, KlingServerError
from kling_provider.hooks.outcomes import finished_task
from kling_provider.hooks.work import times_cleared

if TYPE_CHECKING:
    from kling_provider.hooks.kling import KlingHook

log = logging.getLogger(__name__)

#: The Airflow-side time-out comes so much later than the trigger's own, in seconds: it knows no task.
BACKSTOP_SECONDS = 120.0
#: How Airflow resumes a task when that has passed, because no triggerer came: its own words, which it does not export.
_FAIL, _TRIGGER_TIMEOUT = "__fail__", "Trigger timeout"
#: ``poke_interval``, unless it is given: those who wait are asked for together, when it is worth a request.
POKE_SECONDS = 5.0
#: Ten years; a number without end cannot become a date.
LONGEST_SECONDS = 10 * 365 * 86400.0


@dataclass(frozen=True, slots=True)
class TaskRef:
    """A task to wait for.

    :param task_id: Kling's id.
    :param endpoint: the endpoint it was made with.
    :param external_task_id: the id its echo must show, if one is known.
    :param submitted_at: epoch seconds, if known.
    :param units: what it is expected to cost, if known.
    :param slots: how many slots of the account it holds, as far as is known.
    :param profile: what its time depends on, as ``pace.profile_of`` names it, if known.
    """

    task_id: str
    endpoint: str
    external_task_id: str | None = None
    submitted_at: float | None = None
    units: str | None = None
    slots: int = 1
    profile: str = ""

    @classmethod
    def read(cls, value: object, endpoint: str) -> TaskRef:
        """Read an id, the submit's ``kling_task``, or a ``KlingTask.to_dict()``.

        :param value: what the sensor was given.
        :param endpoint: used where ``value`` names none.
        :raises KlingBadRequestError: if it is none of these, or of an endpoint that has no tasks.
        """
        value = read_json(value)
        try:
            if isinstance(value, Mapping):
                ref = cls(
                    check_id(_text(value.get("task_id")), "kling_task_id"),
                    str(value.get("endpoint") or endpoint),
                    value.get("external_task_id") or None,
                    _epoch(value.get("submitted_at") or value.get("created_at")),
                    profile=str(value.get("profile") or ""),
                )
            else:
                ref = cls(check_id(_text(value), "kling_task_id"), endpoint)
        except InvalidRequest as error:
            raise KlingBadRequestError(f"Nothing was asked. {error}", endpoint=endpoint)
        check_has_tasks(ref.endpoint)
        return ref


def check_has_tasks(endpoint: str) -> None:
    """See that an endpoint makes tasks, which can be asked for.

    :param endpoint: its name, or a raw path.
    :raises KlingBadRequestError: if it answers at once or only reads, or if there is none of that name.
    """
    try:
        row = endpoint_for(endpoint)
    except InvalidRequest as error:
        raise KlingBadRequestError(f"Nothing was asked. {error}", endpoint=shorten(endpoint, 80))
    if row.work == "task" or row.name == "tasks":
        return
    who = "KlingReadOperator" if row.work == "read" else "the operator that asked"
    raise KlingBadRequestError(
        f"Nothing was asked. endpoint={endpoint!r} answers at once: {who} has returned the result already, and Kling "
        "has no task to wait for, to take over or to ask for again. No sensor and no KlingAdoptOperator is needed: use "
        "what the operator returned (its output).",
        endpoint=endpoint,
    )


def finished_already(value: object) -> KlingTask | None:
    """The task in a ``KlingTask.to_dict()`` that is over, which nothing changes any more; else None.

    :param value: what the sensor was given.
    """
    value = read_json(value)
    if not isinstance(value, Mapping) or "videos" not in value:
        return None
    with contextlib.suppress(TypeError, ValueError, AttributeError, ArithmeticError):
        task = KlingTask.from_dict(value)
        return task if task.is_terminal else None
    return None


def _epoch(value: object) -> float | None:
    """Epoch seconds of a time as XComs carry it; None for anything else, because nothing depends on it."""
    if isinstance(value, datetime):
        return value.timestamp()
    try:
        return datetime.fromisoformat(str(value)).timestamp()
    except ValueError:
        return None


def _text(value: object) -> object:
    """An id of digits becomes a number where a DAG renders templates as native objects."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


class HandsOn:
    """Mixin of operators whose results are indexed by name in a DAG."""

    @property
    def output(self) -> Any:
        """What the task returns, for a next one; ``output["video_url"]`` is what it pushes under that name.

        Airflow's own has a type that is neither indexed nor fits any argument.
        """
        return XComArg(self)  # type: ignore[call-overload]


class WaitsForTask(HandsOn):
    """Mixin of the sensor and the submit operator: the wait itself, on the worker or in the triggerer."""

    kling_conn_id: str
    poke_interval: float
    timeout: float
    #: Set when the wait is over; what the link in the UI shows.
    finished_video_url: str | None = None

    @property
    def hook(self) -> KlingHook:
        """The hook of ``kling_conn_id``; one per operator instance."""
        from kling_provider.hooks.kling import KlingHook

        hook: KlingHook | None = self.__dict__.get("_hook")
        if hook is None or hook.kling_conn_id != self.kling_conn_id:
            hook = self.__dict__["_hook"] = KlingHook(self.kling_conn_id)
        return hook

    def poller_for(
        self,
        context: Mapping[str, Any],
        ref: TaskRef,
        *,
        started_at: float,
        answered: bool = False,
        from_start: bool = False,
    ) -> TaskPoller:
        """Start the state machine of a wait on this worker.

        :param context: Airflow's context.
        :param ref: whom to wait for.
        :param started_at: when this try started, epoch seconds.
        :param answered: whether this wait was answered before.
        :param from_start: whether the clock starts with this try, not when Kling booked the task.
        """
        submitted_at = None if ref.submitted_at is None else datetime.fromtimestamp(ref.submitted_at, UTC)

        def deadline(task: KlingTask | None) -> float:
            booked_at = (task and task.created_at) or submitted_at
            return deadline_for(context, self.timeout, None if from_start else booked_at, started_at)

        return TaskPoller(
            poke_interval=self.poke_interval,
            deadline=deadline,
            visible_by=(ref.submitted_at or started_at) + NOT_FOUND_GRACE_SECONDS,
            random=random.random,
            # A submit was answered: the key was good then, and may be on the way to be replaced now.
            answered=answered or submitted_at is not None,
        )

    def ask(self, poller: TaskPoller, ref: TaskRef) -> Decision:
        """Ask once on this worker; after a rejected key, the connection is read anew for the next time.

        :param poller: the state of the wait.
        :param ref: whom to ask for.
        """
        decision = self.hook.poll_once(poller, ref.task_id, ref.endpoint)
        if poller.key_is_rejected:
            self.__dict__.pop("_hook", None)
        return decision

    def may_be_over(self, context: Mapping[str, Any], ref: TaskRef) -> bool:
        """Whether it is worth a request to ask before deferring; the triggerer asks for many at once.

        :param context: Airflow's context.
        :param ref: whom to wait for.
        """
        if (
            ref.submitted_at is None
        ):  # many at once are left to the triggerer, unless they are to be collected
            ti = context.get("ti")
            is_first_try = getattr(ti, "try_number", 1) == 1 and not times_cleared(context)
            return not (getattr(ti, "map_index", -1) >= 0 and is_first_try)
        expected = Durations(self.hook.config.typical_seconds).expect(ref.endpoint, ref.profile)
        return expected.may_be_over(time.time() - ref.submitted_at)

    def defer_until_over(self, ref: TaskRef, deadline: float) -> None:
        """Give the worker back; the triggerer waits."""
        from kling_provider.triggers.kling import KlingTaskTrigger

        log.info(
            "Waiting in the triggerer for task %s of %s, until %s at the latest.",
            ref.task_id,
            ref.endpoint,
            datetime.fromtimestamp(deadline).astimezone().isoformat(timespec="seconds"),
        )
        self.defer(  # type: ignore[attr-defined]
            trigger=KlingTaskTrigger(
                task_id=ref.task_id,
                endpoint=ref.endpoint,
                kling_conn_id=self.kling_conn_id,
                poke_interval=self.poke_interval,
                deadline=deadline,
                asked_at=time.time(),
                external_task_id=ref.external_task_id,
                units=ref.units,
                slots=ref.slots,
                profile=ref.profile,
                booked_at=ref.submitted_at,
            ),
            method_name="execute_complete",
            timeout=backstop(deadline, self.poke_interval),
        )

    def wait_here(self, ref: TaskRef, poller: TaskPoller) -> Decision:
        """Wait on the worker."""
        story = Story()
        while True:
            decision = self.ask(poller, ref)
            if not isinstance(decision, Wait):
                return decision
            self.tell_the_log(story, ref, poller.task)
            time.sleep(decision.seconds)

    def tell_the_log(self, story: Story, ref: TaskRef, task: KlingTask | None) -> None:
        """Write a line if there is something new about a task that is waited for on the worker.

        :param story: what the log was told before.
        :param ref: whom is waited for.
        :param task: as Kling told it last, if it did.
        """
        if task is None:
            return
        booked_at = ref.submitted_at or (task.created_at.timestamp() if task.created_at else None)
        elapsed = None if booked_at is None else max(0.0, time.time() - booked_at)
        usual = Durations(self.hook.config.typical_seconds).expect(ref.endpoint, ref.profile).seconds
        if story.is_change(task) or story.is_due(elapsed, usual):
            log.info("%s", story.next_line(task, elapsed, usual))

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Any) -> Any:
        """Resume as Airflow does; where no triggerer told of the end in time, ask what became of the task.

        :param next_method: name of a method, or Airflow's word for a deferral that failed.
        :param next_kwargs: its arguments, or why that failed.
        :param context: Airflow's context.
        :raises KlingServerError: if a submit was waiting that may have to be looked up; a retry does that.
        """
        if next_method == _FAIL and (next_kwargs or {}).get("error") == _TRIGGER_TIMEOUT:
            ref = self.waits_for(context)
            log.warning(
                "No triggerer told of the end of this wait until now: see that one runs. Asking for task %s.",
                ref.task_id,
            )
            event = event_of(TimedOut("unknown", None)) | asdict(ref)
            next_method, next_kwargs = "execute_complete", {"event": event}
        return super().resume_execution(next_method, next_kwargs, context)  # type: ignore[misc]

    def waits_for(self, context: Mapping[str, Any]) -> TaskRef:
        """Whom this try waits for, of which only its XComs are left.

        :param context: Airflow's context.
        :raises KlingServerError: if it has pushed none: it was still submitting.
        """
        ti = context["ti"]
        told = ti.xcom_pull(task_ids=ti.task_id, key="kling_task", map_indexes=ti.map_index)
        if told is None:
            raise KlingServerError(
                "No triggerer resumed this submit in time: see that one runs. Kling may have booked a task. A retry or "
                "a clear looks it up before it sends anything, where the gateway can."
            )
        return TaskRef.read(told, "")

    def execute_complete(self, context: Mapping[str, Any], event: Any = None) -> dict[str, Any]:
        """Resume after the trigger fired.

        :param context: Airflow's context.
        :param event: what the trigger sent.
        :returns: the finished task, as ``KlingTask.to_dict()``.
        """
        decision = decision_of(event)
        ref = TaskRef.read(event, event.get("endpoint"))
        if isinstance(decision, TimedOut):  # it may have finished while the event travelled
            poller = TaskPoller(
                poke_interval=self.poke_interval,
                deadline=lambda _: 0.0,
                visible_by=0.0,
                random=random.random,
                answered=True,
            )
            again = self.ask(poller, ref)
            if not (isinstance(again, TimedOut) and again.failure):  # no answer: what the trigger saw stands
                decision = again
        return self.finish(context, ref, decision)

    def finish(self, context: Mapping[str, Any], ref: TaskRef, decision: Decision) -> dict[str, Any]:
        """Turn the end of a wait into the task's result, or raise what happened.

        :param context: Airflow's context.
        :param ref: the task that was waited for.
        :param decision: how the wait ended.
        """
        if isinstance(decision, Finished):
            check_echo(decision.task, ref.external_task_id)
        limit = getattr(context.get("task"), "execution_timeout", None)
        granted = min(self.timeout, limit.total_seconds()) if isinstance(limit, timedelta) else self.timeout
        task = finished_task(decision, ref.task_id, ref.endpoint, granted)
        seconds = _lasted(task)
        log.info(
            "%s of %s succeeded%s%s.",
            f"Task {task.task_id}" if task.task_id else "The call",
            task.endpoint,
            f" after {seconds:.0f} s" if seconds is not None else "",
            f"; Kling deducted {task.units} units" if task.units is not None else "",
        )
        self.finished_video_url = task.files[0].url if task.files else None
        if (ti := context.get("ti")) is not None:
            for name, value in task.first_results().items():
                ti.xcom_push(key=name, value=value)
            if task.units is not None:
                ti.xcom_push(key="units", value=str(task.units))
        return task.to_dict()


def push_ids(
    context: Mapping[str, Any],
    task: KlingTask,
    booked_at: datetime,
    *,
    model_name: Any,
    adopted: bool,
    profile: str = "",
    estimated_units: Decimal | None = None,
) -> None:
    """Push what is needed to find the task again; a bare id is not enough to ask for it.

    :param context: Airflow's context.
    :param task: as Kling told it.
    :param booked_at: when Kling booked it, or our clock where it does not say.
    :param model_name: the model that was asked for, if known.
    :param adopted: whether the task was there before.
    :param profile: what its time depends on, as ``pace.profile_of`` names it, if known.
    :param estimated_units: what it is expected to cost, if known.
    """
    if (ti := context.get("ti")) is None:
        return
    ti.xcom_push(key="task_id", value=task.task_id)
    ti.xcom_push(
        key="kling_task",
        value={
            "task_id": task.task_id,
            "endpoint": task.endpoint,
            "external_task_id": task.external_task_id,
            "model_name": model_name,
            "submitted_at": booked_at.isoformat(),
            "adopted": adopted,
            "profile": profile,
            "estimated_units": None if estimated_units is None else str(estimated_units),
        },
    )


def submitted_upstream(context: Mapping[str, Any], ref: TaskRef) -> TaskRef:
    """Add what the submit upstream knows about a task whose bare id was handed on.

    :param context: Airflow's context.
    :param ref: whom to wait for.
    :returns: with ``endpoint``, ``submitted_at`` and ``profile`` of the submit, or as it was if nothing upstream
        tells of this task.
    """
    ti, task = context.get("ti"), context.get("task")
    dag = None if task is None else task.get_dag()
    if ref.submitted_at is not None or ti is None or task is None or dag is None:
        return ref
    for name in sorted(task.upstream_task_ids):
        upstream = dag.task_dict[name]
        if not hasattr(getattr(upstream, "operator_class", type(upstream)), "kling_task"):
            continue
        for told in _told_by(ti, name):
            if not isinstance(told, Mapping) or told.get("task_id") != ref.task_id:
                continue
            return replace(
                ref,
                endpoint=str(told.get("endpoint") or ref.endpoint),
                submitted_at=_epoch(told.get("submitted_at")),
                profile=str(told.get("profile") or ""),
            )
    return ref


def _told_by(ti: Any, task_id: str) -> Iterator[Any]:
    """What a submit upstream pushed: at the same place, then anywhere.

    A list of results has no gap where a mapped submit failed, so what was mapped over it has other places.
    """
    yield ti.xcom_pull(task_ids=task_id, key="kling_task", map_indexes=ti.map_index)
    if ti.map_index >= 0:
        told = ti.xcom_pull(task_ids=task_id, key="kling_task")
        yield from told if isinstance(told, list) else [told]


def positive_seconds(name: str, value: Any, least: float) -> float:
    """Check a number of seconds given by the user; a timedelta is fine too.

    :raises KlingBadRequestError: if it is not a number or too small.
    """
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if not is_number or not least <= seconds <= LONGEST_SECONDS:
        raise KlingBadRequestError(
            f"{name}={show(value, 40)}: use {least:g} seconds or more, up to ten years."
        )
    return float(seconds)


def check_echo(task: KlingTask, external_task_id: str | None, *, strict: bool = False) -> KlingTask:
    """Return ``task`` if it is the one that was submitted.

    :param task: as Kling tells it.
    :param external_task_id: the id it must show; None for any.
    :param strict: whether a task that shows none is another one, too.
    :raises KlingBadRequestError: if Kling echoes another external_task_id.
    """
    is_told = strict or task.external_task_id
    if external_task_id and is_told and task.external_task_id != external_task_id:
        raise KlingBadRequestError(
            f"Task {task.task_id} of {task.endpoint} is not ours: its external_task_id is "
            f"{show(task.external_task_id or '', 80)}, expected {external_task_id!r}. Check where the id came from.",
            endpoint=task.endpoint,
            task_id=task.task_id,
            external_task_id=external_task_id,
        )
    return task


def deadline_for(
    context: Mapping[str, Any], timeout: float, created_at: datetime | None, started_at: float
) -> float:
    """When the wait is over, in epoch seconds.

    The clock starts when Kling booked the task, so that a retry gets no second helping; after a clear it
    starts with the new try. Airflow does not apply execution_timeout to a deferred task; this does.

    :param context: Airflow's context.
    :param timeout: seconds.
    :param created_at: when Kling booked the task, if known.
    :param started_at: when this try started, epoch seconds.
    """
    start = started_at if created_at is None or times_cleared(context) else created_at.timestamp()
    limit = getattr(context.get("task"), "execution_timeout", None)
    if isinstance(limit, timedelta):
        return min(start + timeout, started_at + limit.total_seconds())
    return start + timeout


def backstop(deadline: float, poke_interval: float) -> timedelta:
    """Airflow's own limit for the deferral: always later than the trigger's."""
    return timedelta(seconds=max(0.0, deadline - time.time()) + poke_interval + BACKSTOP_SECONDS)


def event_of(decision: Decision) -> dict[str, Any]:
    """Put the end of a wait into plain values for the trigger's event."""
    match decision:
        case Finished(task):
            return {"status": "finished", "task": task.to_dict()}
        case TimedOut(status, failure):
            return {
                "status": "timeout",
                "last_status": status,
                "failure": failure.to_dict() if failure else None,
            }
        case GaveUp(failure):
            return {"status": "gave_up", "failure": failure.to_dict()}
        case _:
            raise AssertionError(f"the wait is not over: {decision}")


def decision_of(event: object) -> Decision:
    """Read back what :func:`event_of` wrote.

    :raises KlingBadRequestError: for anything else; never taken for a success.
    """
    if isinstance(event, Mapping):
        with contextlib.suppress(KeyError, TypeError, ValueError, AttributeError):
            match event.get("status"):
                case "finished":
                    return Finished(KlingTask.from_dict(event["task"]))
                case "timeout":
                    failure = event.get("failure")
                    return TimedOut(
                        str(event.get("last_status")), Failure.from_dict(failure) if failure else None
                    )
                case "gave_up":
                    return GaveUp(Failure.from_dict(event["failure"]))
    raise KlingBadRequestError(
        f"The trigger sent an event this version does not know: {shorten(event)}. Clear this task; it asks again."
    )


def _lasted(task: KlingTask) -> float | None:
    if task.created_at is None or task.updated_at is None:
        return None
    return (task.updated_at - task.created_at).total_seconds()
