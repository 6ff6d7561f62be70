"""KlingSubmitOperator: submit a task of any endpoint, and wait for it if asked."""

from __future__ import annotations

import json
import logging
import random
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from importlib.util import find_spec
from typing import Any, ClassVar, get_args

from airflow.providers.common.compat.sdk import BaseOperator, XComArg

from kling_provider.api.dialects import external_id_in, with_external_id
from kling_provider.api.endpoints import ENDPOINTS, Dialect, endpoint_for
from kling_provider.api.errors import InvalidRequest, Reaction, shorten, show
from kling_provider.api.pace import profile_of
from kling_provider.api.polling import Decision, Finished
from kling_provider.api.pricing import estimate_usd
from kling_provider.api.requests import WORDS, Validate, check_literals, looks_like_base64
from kling_provider.api.slots import slots_of
from kling_provider.api.submitting import Memory
from kling_provider.api.tasks import KlingTask
from kling_provider.exceptions import KlingBadRequestError, KlingSubmissionUnknownError
from kling_provider.hooks.counting import count_unknown
from kling_provider.hooks.outcomes import OnExisting, OnUnknown
from kling_provider.hooks.preparing import PreparedSubmit
from kling_provider.hooks.submit_flow import Done, NoSlot, Paused, slot_error
from kling_provider.hooks.work import OnClear, work_of
from kling_provider.links.kling import KlingConsoleLink, KlingVideoLink
from kling_provider.operators.guards import (
    WaitsForUpstream,
    check_destinations,
    has_own_template_marks,
    places_from_upstream,
    refuse_constant_id,
    refuse_equal_ids,
    refuse_renewed_ids,
    wait_for_places,
)
from kling_provider.triggers.kling import KlingPauseTrigger, kill_message, priced
from kling_provider.triggers.slots import CLEAR_TO_FIND_OUT, KlingSlotTrigger
from kling_provider.waiting import (
    POKE_SECONDS,
    TaskRef,
    WaitsForTask,
    backstop,
    positive_seconds,
    push_ids,
)

log = logging.getLogger(__name__)

#: Longer pauses of a submit are spent in the triggerer, in seconds.
LONGEST_PAUSE_ON_WORKER = 20.0
#: Without ``deferrable``: seconds until Kling is asked for a slot again, doubling up to 8 minutes.
FIRST_PAUSE_ON_WORKER = 15.0
#: So often Kling is asked for a slot before Airflow's retries take over.
MOST_REFUSALS = 8

#: Base64 inside what looks like an object or list and is no JSON; a signed address may hold as long a run.
_PICTURE_DATA = re.compile(r"(?P<url>[a-z][a-z0-9+.-]*://[^\s\"']+)|[A-Za-z0-9+/_-]{200,}={0,2}")


class KlingSubmitOperator(WaitsForUpstream, WaitsForTask, BaseOperator):
    """Submit a task to Kling; return its task_id.

    The task is paid once: a retry or a clear finds the task it made before by its external_task_id, where
    the gateway can look that up.

    Pushes ``task_id`` and ``kling_task`` (``{task_id, endpoint, external_task_id, model_name, submitted_at,
    adopted, profile, estimated_units}``) before any waiting. Returns the task_id; with ``wait_for_completion`` the
    finished task as ``KlingTask.to_dict()``, with ``video_url`` and ``video_id`` pushed as well.

    :param endpoint: name of the endpoint, or a raw path that starts with ``/`` (templated).
    :param request: Kling's own field names (templated). A picture field takes an http(s) or ftp URL, an
        object-storage URI or a path on the worker; the file is read when the task runs.
    :param external_task_id: an id of your choice, unique per account and the same in each try, instead of a derived
        one (templated).
    :param idempotency_key: what makes this piece of work the same one in a run, instead of the position of a
        mapped task, for example the picture's URI; the same in each try (templated). Airflow stores it as it is,
        so without a signature or another secret.
    :param kling_conn_id: Airflow connection of type ``kling`` (templated).
    :param wait_for_completion: also wait until the task is over.
    :param deferrable: wait in the triggerer, without a worker.
    :param poke_interval: smallest gap between two asks, in seconds, at least 1; by default 5.
    :param timeout: seconds from Kling's booking to the end of the wait.
    :param on_clear: a cleared task finds its old video again (``reattach``) or makes a new one (``resubmit``).
    :param on_existing: if your own external_task_id is taken: ``error``, or take that task over (``adopt``).
    :param on_unknown_submission: where the gateway cannot look ids up, an unclear submit fails for a person to
        check (``fail``), or may be tried again and be paid twice (``retry``).
    :param max_units: refuse before the request if the estimate is above this (templated).
    :param input_seconds: length of the video or sound that the price follows (motion-control, avatar, lip-sync, a
        video to edit), for the estimate; by default the longest that Kling takes (templated).
    :param slot_timeout: seconds to wait where all slots of the account are taken (1303), or for its pace (1302);
        by default a day. After eight refusals (for one task alone about two hours, for 1302 a few minutes) the try
        fails before that, and ``retries`` goes on; until then no retry is consumed, and with ``deferrable`` no
        worker held.
    :param check_destination: see that the store tasks downstream can write, before anything is paid.
    :param dialect: ``new`` sends the request, written in the classic fields, in Kling's new dialect, where it can
        be said there (text2video, image2video, omni-video, motion-control); needs an API key. Wait for such a task
        by its ``kling_task``, because its endpoint is another one.
    :param validate: what Kling's documents do not list is refused (``strict``), sent with a warning (``warn``, for
        when Kling has moved on), or not looked at (``off``). Literal values are checked when the DAG is parsed.
    :raises KlingError: the class for what happened; see ``kling_provider.exceptions``.
    """

    template_fields: Sequence[str] = (
        "endpoint",
        "request",
        "external_task_id",
        "idempotency_key",
        "kling_conn_id",
        "max_units",
        "input_seconds",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"request": "json"}
    operator_extra_links = (KlingVideoLink(), KlingConsoleLink())
    ui_color = "#d2e3fc"
    comes_from_upstream = "request"

    def __init__(
        self,
        *,
        endpoint: str = "image2video",
        request: Mapping[str, Any] | None = None,
        external_task_id: str | None = None,
        idempotency_key: str | None = None,
        kling_conn_id: str = "kling_default",
        wait_for_completion: bool = False,
        deferrable: bool = True,
        poke_interval: float | timedelta = POKE_SECONDS,
        timeout: float | timedelta = 3600,
        on_clear: OnClear = "reattach",
        on_existing: OnExisting = "error",
        on_unknown_submission: OnUnknown = "fail",
        max_units: float | str | Decimal | None = None,
        input_seconds: float | str | None = None,
        slot_timeout: float | timedelta = 86400,
        check_destination: bool = True,
        dialect: Dialect = "classic",
        validate: Validate = "strict",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.endpoint = endpoint
        self.request = request if request is not None else {}
        self.external_task_id = external_task_id
        self.idempotency_key = idempotency_key
        self.kling_conn_id = kling_conn_id
        self.wait_for_completion = wait_for_completion
        self.deferrable = deferrable
        self.poke_interval = positive_seconds("poke_interval", poke_interval, least=1)
        self.timeout = positive_seconds("timeout", timeout, least=1)
        self.on_clear = one_of("on_clear", on_clear, ("reattach", "resubmit"))
        self.on_existing = one_of("on_existing", on_existing, ("error", "adopt"))
        self.on_unknown_submission = one_of("on_unknown_submission", on_unknown_submission, ("fail", "retry"))
        self.max_units = max_units if max_units is None or isinstance(max_units, XComArg) else str(max_units)
        self._has_budget = max_units is not None
        self.input_seconds = input_seconds
        for name in ("max_units", "input_seconds"):
            if _is_number_already(getattr(self, name)):
                positive_units(name, getattr(self, name))
        self.slot_timeout = positive_seconds("slot_timeout", slot_timeout, least=1)
        self.check_destination = check_destination
        self.dialect: Dialect = one_of("dialect", dialect, ("classic", "new"))
        self.validate: Validate = one_of("validate", validate, ("strict", "warn", "off"))
        self._ids_in_the_dag_file = {
            "external_task_id": external_task_id,
            "idempotency_key": idempotency_key,
        }
        self._submitted: KlingTask | None = None
        self._finished: dict[str, Any] | None = None
        self._model_name: str | None = None
        self._submitting = ""
        self._goes_on = False
        self._estimate: Decimal | None = None
        self._from_upstream: dict[str, list[tuple[Any, ...]]] = {}
        if not hasattr(self, "kling_endpoint"):  # typed operators do it once they have their fields
            self._arguments_are_set()

    def __setattr__(self, key: str, value: Any) -> None:
        """Keep picture data out of attributes: Airflow stores templated ones before execute can refuse them."""
        if key == "request" and isinstance(value, dict):
            cut = {name: _without_data(name, item) for name, item in value.items()}
            value = cut if any(cut[name] is not value[name] for name in cut) else value
        super().__setattr__(key, _without_data(key, value))

    @property
    def kling_task(self) -> XComArg:
        """The ``kling_task`` XCom: what a sensor needs to know, and more than the bare id of ``output``."""
        return XComArg(self, key="kling_task")

    def kling_request(self) -> Mapping[str, Any]:
        """The request in Kling's own field names, as far as it was given."""
        return self.request

    def _arguments_are_set(self) -> None:
        """Note what comes from other tasks, and refuse, where the DAG is parsed, what no template can make right.

        :raises KlingBadRequestError: naming field, value, rule and way out.
        """
        request = self.kling_request()
        if self.external_task_id in (None, "") and isinstance(request, Mapping):
            in_request = [external_id_in(dialect, request) for dialect in get_args(Dialect)]
            self._ids_in_the_dag_file["external_task_id"] = in_request[0] or in_request[1]
        found = {name: list(places_from_upstream(getattr(self, name))) for name in self.template_fields}
        self._from_upstream = {name: places for name, places in found.items() if places}
        if has_own_template_marks(self):
            return
        try:
            check_literals(self.endpoint, self.kling_request(), self.validate, self.dialect)
        except InvalidRequest as error:
            raise KlingBadRequestError(f"{self.task_id}: {error}", endpoint=shorten(self.endpoint, 80))

    def execute(self, context: Mapping[str, Any]) -> Any:
        """Check, submit, push the id, and wait if asked to.

        :param context: Airflow's context.
        """
        self._wait_for_upstream(context)
        prepared = self._prepare(context)
        self._check_before_the_first_post(context)
        now = time.time()
        return self._submit(context, prepared, Memory(), now, now)

    def resume_submit(
        self,
        context: Mapping[str, Any],
        event: Mapping[str, Any],
        **of_an_older_version: Any,
    ) -> Any:
        """Go on submitting after a wait in the triggerer, for a slot or for an answer to settle.

        :param context: Airflow's context.
        :param event: what the trigger sent, with what the submit knew.
        :param of_an_older_version: the same, where an earlier version of this provider has deferred.
        """
        known = event.get("handed_on") or of_an_older_version
        for name in ("external_task_id", "idempotency_key"):  # a template may have rendered to another one
            setattr(self, name, known.get(name, getattr(self, name)))
        self._goes_on = True
        prepared = self._prepare(context)
        memory = Memory.from_dict(known["memory"])
        if prepared.digest != known["digest"]:
            if memory.posts or memory.may_be_booked:
                raise self._lost_request(context, replace(prepared, digest=known["digest"]), memory)
            raise KlingBadRequestError(
                "Nothing more was sent. The request is another one than before the wait: a template renders "
                "differently each time, or a picture was changed. Keep what differs out of the templates, then clear "
                "this task.",
                endpoint=self.endpoint,
            )
        if event.get("status") == "deadline":
            assert memory.failure is not None
            raise slot_error(memory.failure, prepared)
        return self._submit(context, prepared, memory, known["first_wait_at"], known["started_at"])

    def on_kill(self) -> None:
        """Say what goes on: Kling has no way to cancel."""
        if self._submitted is not None:
            log.warning("%s", kill_message(self._submitted.task_id, self._submitted.endpoint, self._estimate))
        elif self._submitting:
            log.warning(
                "Killed while submitting to %s: Kling may have booked the task%s. %s",
                self._submitting,
                f" ({priced(self._estimate, self._submitting)})" if self._estimate else "",
                CLEAR_TO_FIND_OUT,
            )

    def finish(self, context: Mapping[str, Any], ref: TaskRef, decision: Decision) -> dict[str, Any]:
        """See :meth:`WaitsForTask.finish`.

        :param context: Airflow's context.
        :param ref: the task that was waited for.
        :param decision: how the wait ended.
        """
        self._finished = super().finish(context, ref, decision)
        if self._submitted is None:
            self._recall(context)
        return self._finished

    def get_openlineage_facets_on_complete(self, _task_instance: Any) -> Any:
        """Tell OpenLineage which pictures the task at Kling was made from; see ``kling_provider.lineage``."""
        from kling_provider.lineage import lineage, sources_of

        known = self._finished or (self._submitted.to_dict() if self._submitted else None)
        if known is None:
            return None
        request = self.kling_request()
        model_name = self._model_name or request.get("model_name")
        units = known["units"] or self._estimate
        return lineage(
            inputs=sources_of(self.endpoint, request),
            made_task=known["task_id"] or known["request_id"],
            facts={**known, "model_name": model_name, "units": units},
        )

    def _recall(self, context: Mapping[str, Any]) -> None:
        """Know again, for OpenLineage, what was asked for before the wait; Kling's result does not tell it."""
        if find_spec("airflow.providers.openlineage") is None:
            return
        with suppress(Exception):  # it is told where it is known; nothing depends on it
            ti: Any = context["ti"]
            told = ti.xcom_pull(task_ids=self.task_id, key="kling_task", map_indexes=ti.map_index)
            self._model_name = told["model_name"]
            self._estimate = Decimal(told["estimated_units"]) if told["estimated_units"] else None

    def _wait_for_upstream(self, context: Mapping[str, Any]) -> None:
        """Send nothing that was made of a result which is still to come."""
        for name, places in self._from_upstream.items():
            wait_for_places(context, name, getattr(self, name), places)

    def _prepare(self, context: Mapping[str, Any]) -> PreparedSubmit:
        request = self.kling_request()
        if self._goes_on and self.external_task_id:
            request = with_external_id(endpoint_for(self.endpoint).dialect, request, None)
        prepared = self.hook.prepare(
            self.endpoint,
            request,
            external_task_id=self.external_task_id or None,
            dialect=self.dialect,
            validate=self.validate,
            input_seconds=float(positive_units("input_seconds", self.input_seconds))
            if self.input_seconds not in (None, "")
            else None,
        )
        self._check_budget(prepared)
        self._estimate, self._model_name = prepared.estimated_units, prepared.model_name
        return prepared

    def _check_before_the_first_post(self, context: Mapping[str, Any]) -> None:
        map_index = getattr(context.get("ti"), "map_index", -1)
        if context.get("task_state_store") is None:
            refuse_renewed_ids(self._ids_in_the_dag_file)
        if self.has_dag() and self.on_existing == "error":  # type: ignore[no-untyped-call]
            refuse_constant_id(self._ids_in_the_dag_file["external_task_id"], self.get_dag(), map_index)
        for name in ("external_task_id", "idempotency_key"):
            refuse_equal_ids(context, name, getattr(self, name))
        if self.check_destination:
            check_destinations(self, context)

    def _submit(
        self,
        context: Mapping[str, Any],
        prepared: PreparedSubmit,
        memory: Memory,
        first_wait_at: float,
        started_at: float,
    ) -> Any:
        """Submit; where it has to wait, in the triggerer or here."""
        work = work_of(context, self.idempotency_key, self.on_clear)
        self._submitting = prepared.endpoint.name
        while True:
            end = self.hook.submit_or_pause(
                prepared,
                work,
                on_existing=self.on_existing,
                on_unknown=self.on_unknown_submission,
                memory=memory if memory != Memory() else None,
                hold=LONGEST_PAUSE_ON_WORKER if self.deferrable else None,
            )
            if isinstance(end, Done):
                break
            if isinstance(end, NoSlot) and not memory.refusals:
                first_wait_at = time.time()
            memory = end.memory
            self._wait_to_submit(end, prepared, first_wait_at, started_at)
        self._submitted, task = end.task, end.task
        ref = self._hand_on(context, prepared, task, end.adopted)
        if prepared.endpoint.work == "call" or (prepared.endpoint.is_raw and task.is_terminal):
            return self.finish(context, ref, Finished(task))
        if not self.wait_for_completion:
            return task.task_id
        poller = self.poller_for(context, ref, started_at=started_at, answered=True)
        decision = poller.on_task(task, time.time())
        if self.deferrable and not task.is_terminal:
            self.defer_until_over(ref, poller.deadline)
        return self.finish(context, ref, decision if task.is_terminal else self.wait_here(ref, poller))

    def _lost_request(
        self, context: Mapping[str, Any], before: PreparedSubmit, known: Memory
    ) -> KlingSubmissionUnknownError:
        """Name what may have been booked for a request that cannot be rendered again."""
        count_unknown(self.kling_conn_id, before)
        identity = work_of(context, self.idempotency_key, self.on_clear).identity
        external_id = before.id_for(replace(identity, fail_no=known.fail_no) if identity else None)
        return KlingSubmissionUnknownError(
            f"Nothing more was sent. The request is another one than before the wait (a template renders differently "
            f"each time, or a picture was changed), and the one before it may have been booked as "
            f"external_task_id={external_id}. Collect that with KlingAdoptOperator(external_task_id={external_id!r}, "
            f"endpoint={before.endpoint.name!r}); only if it is not there, clear this task.",
            endpoint=before.endpoint.name,
            external_task_id=external_id,
        )

    def _wait_to_submit(
        self, end: Paused | NoSlot, prepared: PreparedSubmit, first_wait_at: float, started_at: float
    ) -> None:
        """Defer, or sleep here without ``deferrable``."""
        now = time.time()
        deadline = first_wait_at + self.slot_timeout
        if isinstance(self.execution_timeout, timedelta):
            deadline = min(deadline, started_at + self.execution_timeout.total_seconds())
        handed_on = {
            "memory": end.memory.to_dict(),
            "digest": prepared.digest,
            "first_wait_at": first_wait_at,
            "started_at": started_at,
            "external_task_id": prepared.own_id,  # also where it stands in the request
            "idempotency_key": self.idempotency_key,
        }
        trigger: KlingPauseTrigger | KlingSlotTrigger
        if isinstance(end, Paused):
            log.info("Kling's answer is not clear yet; looking again in %g s.", end.seconds)
            until = now + end.seconds
            trigger = KlingPauseTrigger(until, handed_on)
        else:
            log.info(
                "Kling takes no more tasks for now (refused %s of at most %s times): %s",
                end.memory.refusals,
                MOST_REFUSALS,
                end.failure.describe(),
            )
            if end.memory.refusals >= MOST_REFUSALS or now >= deadline:
                raise slot_error(end.failure, prepared)
            until = deadline
            trigger = KlingSlotTrigger(
                kling_conn_id=self.kling_conn_id,
                kind=prepared.endpoint.slots,
                weight=slots_of(prepared.endpoint, prepared.body),
                first_wait_at=first_wait_at,
                refusals=end.memory.refusals,
                not_before=now + (end.failure.retry_after or 0),
                deadline=deadline,
                reason="rate" if end.failure.reaction is Reaction.RATE else "concurrency",
                handed_on=handed_on,
            )
        if self.deferrable:
            self.defer(trigger=trigger, method_name="resume_submit", timeout=backstop(until, 0))
        assert isinstance(end, NoSlot)  # without `deferrable` a submit does not pause out
        pause = FIRST_PAUSE_ON_WORKER * 2 ** min(end.memory.refusals - 1, 5)
        pause *= random.uniform(1, 1.2)  # noqa: S311 - spreads tasks that were refused together
        time.sleep(min(max(pause, end.failure.retry_after or 0), max(0.0, deadline - now)))

    def _hand_on(
        self, context: Mapping[str, Any], prepared: PreparedSubmit, task: KlingTask, adopted: bool
    ) -> TaskRef:
        """Push its ids, say what it is, and give what a wait needs."""
        submitted_at = task.created_at or datetime.now(UTC)
        log.info(
            "%s task %s of %s (model %s%s%s%s).",
            "Found" if adopted else "Submitted",
            task.task_id or "without an id",
            task.endpoint,
            prepared.model_name,
            f", duration {prepared.body['duration']}" if prepared.body.get("duration") else "",
            f", external_task_id {task.external_task_id}" if task.external_task_id else "",
            f", about {priced(prepared.estimated_units, task.endpoint)}" if prepared.estimated_units else "",
        )
        if adopted and self.on_clear == "resubmit":
            log.info(
                "on_clear='resubmit' makes a new video when a task that is over was cleared. A retry finds the old "
                "one, and so may the clear of a task that is running; %s.",
                "clear it again for a new one"
                if prepared.own_id is None
                else f"with external_task_id={prepared.own_id!r} every clear does: choose another id for a new one",
            )
        profile = profile_of(prepared.endpoint, prepared.body)
        push_ids(
            context,
            task,
            submitted_at,
            model_name=prepared.model_name,
            adopted=adopted,
            profile=profile,
            estimated_units=prepared.estimated_units,
        )
        return TaskRef(
            task.task_id,
            task.endpoint,
            task.external_task_id,
            submitted_at.timestamp() if adopted else time.time(),
            profile=profile,
            units=str(prepared.estimated_units) if prepared.estimated_units else None,
            slots=slots_of(prepared.endpoint, prepared.body),
        )

    def _check_budget(self, prepared: PreparedSubmit) -> None:
        if not self._has_budget:
            return
        most = positive_units("max_units", self.max_units or "")  # one that rendered to nothing is a mistake
        cost = prepared.estimated_units
        if cost is None:
            model = f" with model_name={prepared.model_name!r}" if prepared.model_name else ""
            usd = estimate_usd(prepared.endpoint.name, prepared.body)
            told = f"it costs {usd} USD, no units" if usd is not None else "no price is published for it"
            raise KlingBadRequestError(
                f"Nothing was sent. max_units={most} cannot be kept for this {self.endpoint} request{model}: "
                f"{told}. Leave max_units out{', or choose a priced model' if model and usd is None else ''}.",
                endpoint=self.endpoint,
            )
        if cost > most:
            raise KlingBadRequestError(
                f"Nothing was sent. The request would cost about {cost} units, more than "
                f"max_units={most}. Raise max_units, or choose a cheaper mode, duration or model.",
                endpoint=self.endpoint,
            )


#: Top-level fields that hold pictures or sounds, of any endpoint.
_MEDIA_FIELDS = frozenset(
    re.split(r"[.\[]", name)[0] for row in ENDPOINTS.values() for name in (*row.pictures, *row.sounds)
)


def without_picture_data(value: Any) -> Any:
    """Return ``value`` with picture data cut to a stub that is still refused as picture data.

    A value without any is returned as it is; the caller's dicts and lists are never changed.

    :param value: an argument, maybe nested.
    """
    if isinstance(value, bytes | bytearray):
        return f"data: <{len(value)} bytes>"
    if isinstance(value, str):
        if len(value) > 64 and looks_like_base64(value):
            return f"data: {value[:32]}… ({len(value)} characters)"
        return _without_data_in_text(value) if value[:1] in "[{" else value
    if isinstance(value, Mapping) and type(value) is dict:
        cut = {
            name: item if name in WORDS and isinstance(item, str) else without_picture_data(item)
            for name, item in value.items()
        }
        return cut if any(cut[name] is not value[name] for name in cut) else value
    if type(value) in (list, tuple):
        items = [without_picture_data(item) for item in value]
        return items if any(new is not old for new, old in zip(items, value, strict=True)) else value
    return value


def _without_data_in_text(value: str) -> str:
    """The same of an object or list that a template rendered as text."""
    try:
        told = json.loads(value)
    except ValueError:
        return _PICTURE_DATA.sub(lambda data: data[0] if data["url"] else f"{data[0][:32]}…", value)
    cut = without_picture_data(told)
    return value if cut is told else json.dumps(cut, ensure_ascii=False)


def _without_data(field: str, value: Any) -> Any:
    """Cut picture data, in the fields that hold pictures; text that looks like it is left alone elsewhere."""
    is_bytes = isinstance(value, bytes | bytearray)
    return without_picture_data(value) if field in _MEDIA_FIELDS or is_bytes else value


def one_of(name: str, value: Any, allowed: tuple[str, ...]) -> Any:
    """Check an argument that is one of few words.

    :raises KlingBadRequestError: naming them.
    """
    if value not in allowed:
        raise KlingBadRequestError(f"{name}={value!r}: use one of {', '.join(allowed)}.")
    return value


def _is_number_already(value: Any) -> bool:
    """Whether nothing has to be rendered first."""
    return value not in (None, "") and not isinstance(value, XComArg) and "{" not in str(value)


def positive_units(name: str, value: float | str | Decimal) -> Decimal:
    """Check a number of units given by the user.

    :raises KlingBadRequestError: if it is not a number above 0.
    """
    try:
        units = Decimal(str(value))
    except InvalidOperation:
        units = Decimal(0)
    if units.is_nan() or units <= 0:
        raise KlingBadRequestError(f"{name}={show(value, 40)}: use a number above 0.")
    return units
