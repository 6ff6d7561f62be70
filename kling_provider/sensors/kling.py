"""KlingTaskSensor: wait for a task at Kling."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseSensorOperator,
    PokeReturnValue,
)

from kling_provider.api.polling import Finished, TaskPoller, TimedOut, Wait
from kling_provider.api.progress import Story
from kling_provider.api.tasks import KlingTask
from kling_provider.exceptions import KlingBadRequestError, KlingTaskTimeoutError
from kling_provider.links.kling import KlingConsoleLink, KlingVideoLink
from kling_provider.operators.guards import WaitsForUpstream, may_have_waited_for_upstream
from kling_provider.triggers.kling import kill_message
from kling_provider.waiting import (
    POKE_SECONDS,
    TaskRef,
    WaitsForTask,
    finished_already,
    positive_seconds,
    submitted_upstream,
)

log = logging.getLogger(__name__)

#: By default, a task comes back to the scheduler after so many seconds in reschedule mode.
RESCHEDULE_SECONDS = 10.0
#: In that mode, a refusal is asked about again in the same process, after so many seconds at most.
_ASK_AGAIN_SECONDS = 5.0


class KlingTaskSensor(WaitsForUpstream, WaitsForTask, BaseSensorOperator):
    """Wait until a task at Kling is over, and give its result.

    Deferrable (the default), in ``poke`` and in ``reschedule`` mode, with the same outcome. The result is
    ``KlingTask.to_dict()``; the first video is also pushed as ``video_url`` and ``video_id``.

    The wait ends ``timeout`` seconds after Kling booked the task, whatever was retried or restarted in
    between; after a clear, ``timeout`` seconds after the new try began. The task goes on at Kling: clear the
    sensor to collect it; that costs nothing.

    A ``KlingTask.to_dict()`` that is over is handed on without asking. Endpoints that answer at once (tts,
    identify-face, ...) have no task to wait for.

    :param kling_task_id: the id, the submit's ``kling_task`` or a ``KlingTask.to_dict()`` (templated).
    :param endpoint: endpoint of the task, where the id is given alone and comes from no submit right upstream, which
        has written it down (templated).
    :param kling_conn_id: Airflow connection of type ``kling`` (templated).
    :param poke_interval: smallest gap between two asks, in seconds, at least 1; by default 5, in reschedule mode
        10. In that mode use no less: Airflow's scheduler may fail a task that comes back before its executor has
        reported the last run.
    :param timeout: seconds.
    :param deferrable: wait in the triggerer, without a worker; False waits as ``mode`` says: Airflow's ``poke``, which
        holds a worker, or ``reschedule``. By default True, and False with ``mode="reschedule"``.
    :raises KlingTaskFailedError: if Kling says the task failed; not retried.
    :raises KlingTaskTimeoutError: if the task is not over in time; not retried.
    :raises KlingBadRequestError: if there is nothing to wait for: no id, or an endpoint that answers at once.
    """

    template_fields: Sequence[str] = ("kling_task_id", "endpoint", "kling_conn_id")
    template_fields_renderers = {"kling_task_id": "json"}
    operator_extra_links = (KlingVideoLink(), KlingConsoleLink())
    ui_color = "#e8f0fe"
    comes_from_upstream = "kling_task_id"

    def __init__(
        self,
        *,
        kling_task_id: Any,
        endpoint: str = "image2video",
        kling_conn_id: str = "kling_default",
        poke_interval: float | timedelta | None = None,
        timeout: float | timedelta = 3600,
        deferrable: bool | None = None,
        **kwargs: Any,
    ):
        given = POKE_SECONDS if poke_interval is None else poke_interval
        super().__init__(
            poke_interval=positive_seconds("poke_interval", given, least=1),
            timeout=positive_seconds("timeout", timeout, least=1),
            **kwargs,
        )
        # "poke" is Airflow's default: only "reschedule" tells that somebody has chosen.
        self.deferrable = self.mode != "reschedule" if deferrable is None else deferrable
        if poke_interval is None and self.mode == "reschedule" and not self.deferrable:
            self.poke_interval = RESCHEDULE_SECONDS
        self.kling_task_id = kling_task_id
        self.endpoint = endpoint
        self.kling_conn_id = kling_conn_id
        self._ref: TaskRef | None = None
        self._poller: TaskPoller | None = None
        self._story = Story()

    def execute(self, context: Mapping[str, Any]) -> Any:
        """Ask on the worker if the task may be over already, then wait the chosen way."""
        self.wait_for_upstream(context)
        try:
            if not self.deferrable:
                return self._poke_until_over(context)
            return self._ask_then_defer(context)
        except AirflowSkipException as skip:
            raise _with_reason(skip)
        except (AirflowFailException, AirflowSensorTimeout) as error:
            # The base class does this for poke, and for what happens after a deferral.
            if self.soft_fail or getattr(self, "never_fail", False):
                raise AirflowSkipException(str(error)) from error
            raise

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Any) -> Any:
        """See :meth:`WaitsForTask.resume_execution`."""
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except AirflowSkipException as skip:
            raise _with_reason(skip)

    def _poke_until_over(self, context: Mapping[str, Any]) -> Any:
        """Airflow looks at its own clock after each poke, and may find the time over a moment before we do."""
        try:
            return super().execute(context)  # type: ignore[arg-type]
        except (AirflowSensorTimeout, AirflowSkipException) as error:
            if isinstance(error, KlingTaskTimeoutError) or error.__cause__ is not None:
                raise
            task = self._poller.task if self._poller else None
            return self.finish(
                context, self.waits_for(context), TimedOut(task.status if task else "unknown", None)
            )

    def poke(self, context: Mapping[str, Any]) -> PokeReturnValue:
        """Ask once (poke and reschedule mode)."""
        if (over := self._over_already(context)) is not None:
            return PokeReturnValue(is_done=True, xcom_value=over)
        ref = self.waits_for(context)
        if self._poller is None:
            rescheduled = _first_reschedule(context) if self.reschedule else None
            # A process that was rescheduled remembers nothing, but was answered, or would not be here.
            answered = rescheduled is not None and not may_have_waited_for_upstream(context)
            self._poller = self.poller_for(
                context,
                ref,
                started_at=max(rescheduled, ref.submitted_at or 0.0)
                if rescheduled and answered
                else time.time(),
                answered=answered,
            )
        decision = self.ask(self._poller, ref)
        # The next process remembers no refusal, so this one finds out whether it is one.
        while self.reschedule and isinstance(decision, Wait) and self._poller.is_refused:
            time.sleep(min(decision.seconds, _ASK_AGAIN_SECONDS))
            decision = self.ask(self._poller, ref)
        if isinstance(decision, Wait):
            self._tell_the_log(ref, self._poller.task, context)
            if not self.reschedule and decision.seconds > self.poke_interval:  # back-off, or Retry-After
                time.sleep(decision.seconds - self.poke_interval)
            return PokeReturnValue(is_done=False)
        return PokeReturnValue(is_done=True, xcom_value=self.finish(context, ref, decision))

    def on_kill(self) -> None:
        """Say what goes on: Kling has no way to cancel."""
        if finished_already(self.kling_task_id) is not None:
            return
        with contextlib.suppress(KlingBadRequestError):
            ref = self._ref or TaskRef.read(self.kling_task_id, self.endpoint)
            log.warning("%s", kill_message(ref.task_id, ref.endpoint))

    def _tell_the_log(self, ref: TaskRef, task: KlingTask | None, context: Mapping[str, Any]) -> None:
        """Write what is new since the last poke; of a process that was rescheduled, the log knows what was told."""
        if task is not None and not self._story.status and self.reschedule and _first_reschedule(context):
            booked_at = ref.submitted_at or (task.created_at.timestamp() if task.created_at else time.time())
            self._story = Story(task.status, time.time() - booked_at - self.poke_interval)
        self.tell_the_log(self._story, ref, task)

    def waits_for(self, context: Mapping[str, Any]) -> TaskRef:
        """Whom to ask for; read once in a process.

        :param context: Airflow's context.
        """
        if self._ref is None:
            self._ref = submitted_upstream(context, TaskRef.read(self.kling_task_id, self.endpoint))
        return self._ref

    def _over_already(self, context: Mapping[str, Any]) -> dict[str, Any] | None:
        """The result, if it was handed in; a failure as the exception that it is."""
        task = finished_already(self.kling_task_id)
        if task is None:
            return None
        return self.finish(context, TaskRef(task.name, task.endpoint, task.external_task_id), Finished(task))

    def _ask_then_defer(self, context: Mapping[str, Any]) -> dict[str, Any]:
        if (over := self._over_already(context)) is not None:
            return over
        ref = self.waits_for(context)
        poller = self.poller_for(context, ref, started_at=time.time())
        if not self.may_be_over(context, ref):
            self.defer_until_over(ref, poller.deadline)
        decision = self.ask(poller, ref)
        if isinstance(decision, Wait):
            self.defer_until_over(ref, poller.deadline)
        return self.finish(context, ref, decision)


def _with_reason(skip: AirflowSkipException) -> AirflowSkipException:
    """Airflow logs the text of a skip only, and its own does not say that a video goes on, or why it failed."""
    return skip if skip.__cause__ is None else AirflowSkipException(str(skip.__cause__))


def _first_reschedule(context: Mapping[str, Any]) -> float | None:
    """When the first of these pokes was; in reschedule mode each runs in a process of its own."""
    first = getattr(context.get("ti"), "get_first_reschedule_date", lambda _: None)(context)
    return first.timestamp() if isinstance(first, datetime) else None
