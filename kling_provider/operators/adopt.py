"""KlingAdoptOperator: collect a task that exists at Kling into a DAG run, and submit nothing."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.common.compat.sdk import BaseOperator, XComArg

from kling_provider import stats
from kling_provider.api.tasks import FAILED, KlingTask
from kling_provider.exceptions import KlingBadRequestError, KlingTaskFailedError, KlingTaskNotFoundError
from kling_provider.links.kling import KlingConsoleLink, KlingVideoLink
from kling_provider.operators.guards import WaitsForUpstream
from kling_provider.triggers.kling import kill_message
from kling_provider.waiting import (
    POKE_SECONDS,
    TaskRef,
    WaitsForTask,
    check_echo,
    check_has_tasks,
    positive_seconds,
    push_ids,
)

log = logging.getLogger(__name__)


class KlingAdoptOperator(WaitsForUpstream, WaitsForTask, BaseOperator):
    """Take over a task that was submitted elsewhere, or whose DAG run is gone. Costs nothing.

    Pushes what a submit pushes (``task_id``, ``kling_task`` with ``adopted``) and returns the task_id; with
    ``wait_for_completion`` the finished task as ``KlingTask.to_dict()``.

    :param kling_task_id: Kling's id, or a ``kling_task`` (templated).
    :param external_task_id: the id it was submitted with (templated). One of the two; with both, the task must
        show this one.
    :param endpoint: the endpoint it was made with (templated).
    :param kling_conn_id: Airflow connection of type ``kling`` (templated).
    :param wait_for_completion: also wait until it is over.
    :param deferrable: wait in the triggerer, without a worker.
    :param poke_interval: smallest gap between two asks, in seconds, at least 1; by default 5.
    :param timeout: seconds from the start of this task to the end of the wait.
    :raises KlingTaskNotFoundError: if the account has no such task.
    :raises KlingTaskFailedError: if Kling has failed it.
    :raises KlingBadRequestError: if it is another task than was said, or if the endpoint answers at once and has no
        tasks.
    """

    template_fields: Sequence[str] = ("kling_task_id", "external_task_id", "endpoint", "kling_conn_id")
    comes_from_upstream = "kling_task_id"
    operator_extra_links = (KlingVideoLink(), KlingConsoleLink())
    ui_color = "#d2e3fc"

    def __init__(
        self,
        *,
        kling_task_id: Any = None,
        external_task_id: str | None = None,
        endpoint: str = "image2video",
        kling_conn_id: str = "kling_default",
        wait_for_completion: bool = False,
        deferrable: bool = True,
        poke_interval: float | timedelta = POKE_SECONDS,
        timeout: float | timedelta = 3600,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.kling_task_id = kling_task_id
        self.external_task_id = external_task_id
        self.endpoint = endpoint
        self.kling_conn_id = kling_conn_id
        self.wait_for_completion = wait_for_completion
        self.deferrable = deferrable
        self.poke_interval = positive_seconds("poke_interval", poke_interval, least=1)
        self.timeout = positive_seconds("timeout", timeout, least=1)
        self._adopted: KlingTask | None = None

    @property
    def kling_task(self) -> XComArg:
        """The ``kling_task`` XCom, as of a submit."""
        return XComArg(self, key="kling_task")

    def execute(self, context: Mapping[str, Any]) -> Any:
        """Find the task, push its ids, and wait if asked to.

        :param context: Airflow's context.
        """
        if not self.external_task_id:
            self.wait_for_upstream(context)
        task = self._adopted = self._find()
        self._check(task)
        stats.count("adopted", endpoint=task.endpoint, conn_id=self.kling_conn_id)
        log.info(
            "Took over task %s of %s (%s, created %s).",
            task.task_id,
            task.endpoint,
            task.status,
            task.created_at,
        )
        booked_at = task.created_at or datetime.now(UTC)
        ref = TaskRef(task.task_id, task.endpoint, task.external_task_id, booked_at.timestamp())
        push_ids(context, task, booked_at, model_name=None, adopted=True)  # Kling does not tell the model
        if not self.wait_for_completion:
            return task.task_id
        started = time.time()  # not from Kling's booking: who takes over an old task wants it now
        poller = self.poller_for(context, ref, started_at=started, answered=True, from_start=True)
        decision = poller.on_task(task, started)
        if self.deferrable and not task.is_terminal:
            self.defer_until_over(ref, poller.deadline)
        return self.finish(context, ref, decision if task.is_terminal else self.wait_here(ref, poller))

    def on_kill(self) -> None:
        """Say what goes on: Kling has no way to cancel."""
        if self._adopted is not None and not self._adopted.is_terminal:
            log.warning("%s", kill_message(self._adopted.task_id, self._adopted.endpoint))

    def _find(self) -> KlingTask:
        if self.kling_task_id in (None, "") and self.external_task_id in (None, ""):
            raise KlingBadRequestError(
                "Nothing was asked. Give kling_task_id (Kling's id) or external_task_id (the id it was submitted "
                "with).",
                endpoint=self.endpoint,
            )
        if self.kling_task_id in (None, ""):
            external_id = str(self.external_task_id)
            check_has_tasks(self.endpoint)
            found = self.hook.find_task(external_id, endpoint=self.endpoint)
            if found is None:
                raise KlingTaskNotFoundError(
                    f"This account has no task of {self.endpoint} with external_task_id={external_id!r}. Check the "
                    f"id, the endpoint, and that connection {self.kling_conn_id!r} is of the account that was "
                    "submitted to.",
                    endpoint=self.endpoint,
                    external_task_id=external_id,
                )
            return check_echo(found, external_id)
        ref = TaskRef.read(self.kling_task_id, self.endpoint)
        task = self.hook.get_task(ref.task_id, endpoint=ref.endpoint)
        check_echo(task, ref.external_task_id)
        return check_echo(task, self.external_task_id or None, strict=True)

    def _check(self, task: KlingTask) -> None:
        from kling_provider.hooks.submit_flow import is_gone

        if task.status == FAILED:
            raise KlingTaskFailedError(
                f"Task {task.task_id} of {task.endpoint} has failed at Kling "
                f"({task.status_message or 'no reason told'}) and was not charged. There is nothing to collect; "
                "submit anew.",
                endpoint=task.endpoint,
                task_id=task.task_id,
                external_task_id=task.external_task_id,
            )
        if is_gone(self.hook.config, task):
            log.warning(
                "Task %s of %s was over on %s, and this gateway keeps results for %g days: its files may be deleted by "
                "now, or will be within the day. It is taken over all the same; the store says what is still there.",
                task.task_id,
                task.endpoint,
                task.updated_at,
                self.hook.config.gateway.result_ttl_days,
            )
