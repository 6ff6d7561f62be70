"""KlingHook and KlingAsyncHook: two thin transports over ``kling_provider.api``.

What to send and how to read the answer is decided there, in which order in ``flows``; here are the sockets.
"""

from __future__ import annotations

import asyncio
import logging
import platform
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from functools import cached_property, partial
from typing import Any, TypeVar

import aiohttp
import requests
import tenacity
from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook, mask_secret

from kling_provider import __version__
from kling_provider.api.auth import KeyPair, TokenSource
from kling_provider.api.billing import BillingKind, BillingRow
from kling_provider.api.calls import TASK_IDS, Call, TaskPage
from kling_provider.api.endpoints import MAX_PAGE_SIZE, Dialect
from kling_provider.api.errors import ApiFailure, Failure, Reaction
from kling_provider.api.polling import Decision, TaskPoller
from kling_provider.api.replies import ANSWER_CHUNK_BYTES, Body, Reply, read_envelope
from kling_provider.api.requests import Validate
from kling_provider.api.submitting import Memory
from kling_provider.api.tasks import KlingTask, TaskList
from kling_provider.exceptions import KlingBadRequestError
from kling_provider.hooks import flows, submit_flow
from kling_provider.hooks.bodies import JsonBody
from kling_provider.hooks.config import KlingConfig, read_connection, unknown_extras
from kling_provider.hooks.names import checked, checked_endpoint, checked_id
from kling_provider.hooks.network import CutShort, failed, tls_for
from kling_provider.hooks.outcomes import OnExisting, OnUnknown
from kling_provider.hooks.preparing import PreparedSubmit, estimate, prepare
from kling_provider.hooks.sessions import MAX_IDLE_SECONDS, session_for
from kling_provider.hooks.work import Work, current_work

T = TypeVar("T")
log = logging.getLogger(__name__)
USER_AGENT = f"airflow-provider-kling/{__version__} python/{platform.python_version()}"
#: A safe request is tried so often in all.
DEFAULT_ATTEMPTS = 4
_LONGEST_RETRY_AFTER = 60.0


class _KlingBase(BaseHook):
    """What both hooks share: names for Airflow's connection form, and decisions about answers."""

    conn_name_attr = "kling_conn_id"
    default_conn_name = "kling_default"
    conn_type = "kling"
    hook_name = "Kling AI"

    def __init__(self, kling_conn_id: str = default_conn_name, *, attempts: int = DEFAULT_ATTEMPTS):
        super().__init__()
        self.kling_conn_id = kling_conn_id
        self.attempts = attempts
        self._tokens: TokenSource | None = None

    def _checked_config(self, conn: Any, extra: Mapping[str, Any]) -> KlingConfig:
        for message in unknown_extras(extra):
            self.log.warning("Connection %r: %s.", self.kling_conn_id, message)
        config = read_connection(self.kling_conn_id, conn, extra)
        self._tokens = TokenSource(config.credentials)
        return config

    def _missing_connection(self, error: Exception) -> KlingBadRequestError:
        return KlingBadRequestError(
            f"There is no connection {self.kling_conn_id!r} ({error}). Make one of type kling, for example with "
            f"`airflow connections add {self.kling_conn_id} --conn-type kling --conn-password <key>`."
        )

    def _headers(self, call: Call[Any], *, fresh: bool) -> dict[str, str]:
        assert self._tokens is not None
        token = self._tokens.token(time.time(), fresh=fresh)
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json", "User-Agent": USER_AGENT}
        return headers | {"Content-Type": "application/json"} if call.body is not None else headers

    def _may_resign(self, failure: Failure) -> bool:
        return failure.reaction is Reaction.RESIGN and self._tokens is not None and self._tokens.can_resign

    def _retry_policy(self, attempts: int | None) -> dict[str, Any]:
        """Safe requests are repeated: on lost connections, 5xx, unreadable answers and 1302."""
        return {
            "stop": tenacity.stop_after_attempt(attempts or self.attempts),
            "wait": _wait_before_retry,
            "retry": tenacity.retry_if_exception(
                lambda error: isinstance(error, ApiFailure) and error.failure.is_transient
            ),
            "reraise": True,
        }


class KlingHook(_KlingBase):
    """Talk to Kling, blocking; for workers.

    :param kling_conn_id: Airflow connection of type ``kling``.
    :param attempts: how often a safe request (never a submit) is tried in all.
    """

    # Airflow looks for these two in the class that the provider info names, not in what it is derived from.

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Field names of the connection form (Airflow 3.0 and 3.1; later ones read the provider info)."""
        from kling_provider.get_provider_info import UI_FIELD_BEHAVIOUR

        return {name.replace("-", "_"): told for name, told in UI_FIELD_BEHAVIOUR.items()}  # spelt so here

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Extra fields of the connection form (Airflow 3.0 and 3.1; later ones read the provider info).

        Those versions need the package ``wtforms`` for any provider's fields; without it they show none, and the
        extras go into the form's JSON.
        """
        from wtforms import StringField
        from wtforms.validators import any_of

        from kling_provider.get_provider_info import CONN_FIELDS

        return {
            name: StringField(
                field["label"],
                validators=[any_of(field["schema"]["enum"])] if "enum" in field["schema"] else [],
                default=field["schema"].get("default"),
                description=field["description"],
            )
            for name, field in CONN_FIELDS.items()
        }

    @cached_property
    def config(self) -> KlingConfig:
        """The connection, checked.

        :raises KlingBadRequestError: if it is missing or wrong.
        """
        try:
            conn = self.get_connection(self.kling_conn_id)
        except AirflowNotFoundException as error:
            raise self._missing_connection(error)
        config = self._checked_config(conn, conn.extra_dejson)
        if isinstance(config.credentials, KeyPair):
            mask_secret(config.credentials.secret_key)
        return config

    def get_conn(self) -> requests.Session:
        """Return this thread's pooled session, with proxies, TLS options and keep-alive from the connection."""
        return session_for(self.config)

    def prepare(
        self,
        endpoint: str,
        request: Mapping[str, Any],
        *,
        external_task_id: str | None = None,
        dialect: Dialect = "classic",
        validate: Validate = "strict",
        input_seconds: float | None = None,
    ) -> PreparedSubmit:
        """Check a request, read its pictures and sounds and estimate its price; send nothing.

        :param endpoint: name of the endpoint, or a raw path that starts with ``/``.
        :param request: Kling's own field names; pictures and sounds as URL, URI, path or bytes. Never changed.
        :param external_task_id: an id of the caller's choice.
        :param dialect: ``new`` sends a classic request in Kling's new dialect, where it can be said there.
        :param validate: what Kling's documents do not list is refused (``strict``), sent with a warning
            (``warn``), or not looked at (``off``).
        :param input_seconds: as for :meth:`estimate_units`.
        :raises KlingBadRequestError: naming field, value, rule and way out.
        """
        return prepare(
            self.config,
            endpoint,
            request,
            external_task_id,
            dialect=dialect,
            validate=validate,
            input_seconds=input_seconds,
        )

    def estimate_units(
        self, endpoint: str, request: Mapping[str, Any], *, input_seconds: float | None = None
    ) -> Decimal | None:
        """Say what a request will cost, with the model this gateway is sent by default; read and send nothing.

        :param endpoint: name of the endpoint, or a raw path that starts with ``/``.
        :param request: Kling's own field names.
        :param input_seconds: length of the video or sound that the price follows (motion-control, avatar, ...);
            by default the longest that Kling takes, so that it cannot cost more.
        :returns: units, or None where no price is published.
        :raises KlingBadRequestError: naming field, value, rule and way out.
        """
        return estimate(self.config, endpoint, request, input_seconds)

    def submit(
        self,
        endpoint: str,
        request: Mapping[str, Any],
        *,
        external_task_id: str | None = None,
        key: str | None = None,
        dialect: Dialect = "classic",
        validate: Validate = "strict",
    ) -> KlingTask:
        """Create a task. Costs money once: after an unclear answer nothing is sent before a look-up finds nothing.

        Inside a running Airflow task the external_task_id is derived as the operator does it. Outside, none
        is sent unless given, and an unclear answer raises KlingSubmissionUnknownError.

        :param endpoint: name of the endpoint, or a raw path that starts with ``/``.
        :param request: Kling's own field names; pictures as URL, URI, path or bytes. Never changed.
        :param external_task_id: an id of the caller's choice, unique per account.
        :param key: tells several submits of one Airflow task apart.
        :param dialect: ``new`` sends a classic request in Kling's new dialect, where it can be said there.
        :param validate: what Kling's documents do not list is refused (``strict``), sent with a warning
            (``warn``), or not looked at (``off``).
        :returns: the task, most often ``submitted``; of an endpoint that answers at once, finished.
        :raises KlingError: the class for what happened; rate and slot limits are raised at once.
        """
        prepared = self.prepare(
            endpoint, request, external_task_id=external_task_id, dialect=dialect, validate=validate
        )
        return self.submit_prepared(prepared, current_work(key))[0]

    def submit_prepared(
        self,
        prepared: PreparedSubmit,
        work: Work,
        *,
        on_existing: OnExisting = "error",
        on_unknown: OnUnknown = "fail",
    ) -> tuple[KlingTask, bool]:
        """Create the task of a prepared submit, or find the one this work has already.

        :param prepared: what :meth:`prepare` returned.
        :param work: which piece of work it is for.
        :param on_existing: what a task that was there before means, for an id of the caller's choice.
        :param on_unknown: whether an unclear answer that cannot be looked up may be tried again.
        :returns: the task, and whether it was there before.
        """
        end = self.submit_or_pause(prepared, work, on_existing=on_existing, on_unknown=on_unknown)
        return submit_flow.done_or_raise(end, prepared)

    def submit_or_pause(
        self,
        prepared: PreparedSubmit,
        work: Work,
        *,
        on_existing: OnExisting = "error",
        on_unknown: OnUnknown = "fail",
        memory: Memory | None = None,
        hold: float | None = None,
    ) -> submit_flow.End:
        """Submit as :meth:`submit_prepared` does, for callers that can wait for a slot or a long pause elsewhere.

        :param memory: from an earlier part of the same try.
        :param hold: pauses up to so many seconds are waited for here; None: all.
        :returns: ``Done``; or ``Paused`` or ``NoSlot`` with the memory to go on with.
        """
        return self._drive(
            submit_flow.submit(
                self.config,
                prepared,
                work,
                on_existing=on_existing,
                on_unknown=on_unknown,
                memory=memory,
                hold=hold,
            )
        )

    def get_task(self, task_id: str, *, endpoint: str = "image2video") -> KlingTask:
        """Ask for a task.

        :param task_id: Kling's id, as the submit returned it.
        :param endpoint: the endpoint it was made with.
        :raises KlingTaskNotFoundError: if this account does not know the id.
        """
        call = self.config.routes.get_task(checked_endpoint(endpoint), checked_id(task_id))
        return self._drive(flows.ask(call))

    def find_task(self, external_task_id: str, *, endpoint: str) -> KlingTask | None:
        """Ask for a task by the caller's id.

        :param external_task_id: the id that was sent.
        :param endpoint: the endpoint it was sent to.
        :returns: the task, or None if there is none.
        :raises KlingBadRequestError: if the gateway cannot look ids up.
        """
        return self._drive(_find(self.config, endpoint, external_task_id))

    def list_tasks(self, endpoint: str, *, page: int = 1, page_size: int = 30) -> TaskList:
        """Ask for one page of the account's tasks; their order is not documented.

        :param endpoint: name of the endpoint.
        :param page: 1 to 1000.
        :param page_size: 1 to 500 (voices: 1000).
        """
        return self._drive(flows.asked_page(self.config, checked_endpoint(endpoint), page, page_size))

    def list_new(self, cursor: str | None = None, *, limit: int = MAX_PAGE_SIZE, **wanted: Any) -> TaskPage:
        """Ask for one page of the new dialect's list, which holds the tasks of all its endpoints. API keys only.

        :param cursor: ``next_cursor`` of the page before; None for the first.
        :param limit: 1 to 500.
        :param wanted: ``start_time``, ``end_time`` (ms) and ``filters``, as Kling takes them; by default the last
            30 days.
        :returns: ``tasks``, whose endpoint is ``tasks``, and ``next_cursor``.
        """
        call = checked(lambda most: self.config.routes.list_new(cursor, most, **wanted), limit)
        return self._drive(flows.ask(call))

    def wait_for_task(
        self, task_id: str, *, endpoint: str = "image2video", timeout: float = 600, poke_interval: float = 10
    ) -> KlingTask:
        """Wait, blocking, until the task is over.

        :param task_id: Kling's id.
        :param endpoint: the endpoint it was made with.
        :param timeout: seconds from now.
        :param poke_interval: smallest gap between two asks, in seconds.
        :returns: the finished task.
        :raises KlingTaskFailedError: if Kling says it failed.
        :raises KlingTaskTimeoutError: if it is not over in time; it goes on at Kling.
        """
        row, task_id = checked_endpoint(endpoint), checked_id(task_id)
        return self._drive(flows.wait(self.config, task_id, row.name, timeout, poke_interval))

    def poll_once(self, poller: TaskPoller, task_id: str, endpoint: str) -> Decision:
        """Ask once for a task and let the poller decide.

        :param poller: the state of the wait.
        :param task_id: Kling's id.
        :param endpoint: the endpoint it was made with.
        """
        try:
            config = self.config
        except Exception as error:
            return flows.without_connection(poller, task_id, error)
        return self._drive(flows.poll(config, poller, task_id, endpoint))

    def read(self, endpoint: str, request: Mapping[str, Any] | None = None) -> Any:
        """Read what needs no task: preset elements and voices, the account, the tasks of the new dialect. Free.

        :param endpoint: name of an endpoint that only reads.
        :param request: its parameters, as Kling names them, for example ``{"pageNum": 1, "pageSize": 100}``.
        :returns: a list of tasks, or Kling's ``data`` where it tells of the account.
        :raises KlingBadRequestError: for an endpoint that does more than read.
        """
        return self._drive(flows.ask(_read_call(self.config, endpoint, request)))

    def get_account_costs(
        self, start: datetime, end: datetime, *, resource_pack_name: str | None = None
    ) -> dict[str, Any]:
        """Ask for the account's resource packs. Free; Kling allows one request per second.

        :param start: begin of the period.
        :param end: end of the period.
        :param resource_pack_name: only this pack.
        :returns: Kling's ``data``; ``remaining_quantity`` may lag 12 hours.
        """
        return self._drive(flows.ask(self.config.routes.account_costs(start, end, resource_pack_name)))

    def get_billing(
        self, start: datetime, end: datetime, *, kind: BillingKind = "package"
    ) -> list[BillingRow]:
        """Ask for every deduction of a period. Free.

        :param start: begin of the period.
        :param end: end of the period.
        :param kind: ``package`` for units of resource packs, ``balance`` for money of the account.
        :returns: all rows, in Kling's order, which is not documented.
        :raises KlingUnreadableResponseError: if Kling's pages do not end.
        """
        return self._drive(flows.billing(self.config, start, end, kind))

    def send(self, call: Call[T], *, attempts: int | None = None) -> T:
        """Send one request as it is, for tools that look at what a gateway answers. A POST costs money.

        :param call: of ``config.routes``.
        :param attempts: how often a GET is tried in all; a POST is never sent twice.
        :returns: what the answer decodes to.
        :raises ApiFailure: with Kling's own answer, instead of an exception of Airflow's.
        """
        return self._try(call, attempts)

    def test_connection(self) -> tuple[bool, str]:
        """Try the connection with a free request and say what is wrong, if anything is."""
        from kling_provider.hooks.diagnosis import diagnose

        return diagnose(self)

    def _drive(self, flow: flows.Flow[T]) -> T:
        """Carry out the steps of a flow, blocking."""
        advance: Callable[[], flows.Step] = partial(next, flow)
        while True:
            try:
                step = advance()
            except StopIteration as done:
                result: T = done.value
                return result
            try:
                advance = partial(flow.send, self._carry_out(step))
            except Exception as error:
                advance = partial(flow.throw, error)

    def _carry_out(self, step: flows.Step) -> Any:
        match step:
            case flows.Pause(seconds):
                time.sleep(seconds)
                return None
            case flows.Do(function):
                return function()
            case flows.Send(call, attempts, fresh):
                return self._try(call, attempts, fresh)

    def _try(self, call: Call[T], attempts: int | None = None, fresh: bool = False) -> T:
        """Send a call, again where that is safe.

        :raises ApiFailure: the last failure.
        """
        if not call.may_repeat:
            try:
                return self._exchange(call, fresh=fresh)
            except CutShort as error:
                log.info("%s: %s Sending it over a new connection.", call.what, error)
            return self._exchange(call, fresh=fresh)
        policy = self._retry_policy(attempts)
        for attempt in tenacity.Retrying(**policy):
            with attempt:
                return self._send(call)
        raise AssertionError("tenacity reraises")

    def _send(self, call: Call[T]) -> T:
        try:
            return self._exchange(call, fresh=False)
        except ApiFailure as error:
            if not self._may_resign(error.failure):
                raise
        return self._exchange(call, fresh=True)

    def _exchange(self, call: Call[T], *, fresh: bool) -> T:
        config = self.config
        headers = self._headers(call, fresh=fresh)
        if isinstance(config.credentials, KeyPair):
            mask_secret(headers["Authorization"].removeprefix("Bearer "))
        session = session_for(config)
        body = None if call.body is None else JsonBody(call.body)
        try:
            with session.request(
                call.method,
                config.base_url + call.path,
                params=dict(call.params),
                data=body,
                headers=headers,
                timeout=config.timeout,
                allow_redirects=False,
                # Said here because requests lets the environment win over its session: a REQUESTS_CA_BUNDLE
                # over the connection's verify, an HTTPS_PROXY over its proxies.
                verify=session.verify,
                proxies=dict(session.proxies),
                stream=True,
            ) as response:
                answer = Body(response.status_code)
                for chunk in response.iter_content(ANSWER_CHUNK_BYTES):
                    answer.add(chunk)
        except requests.RequestException as error:
            raise failed(error, body)
        reply = Reply(
            response.status_code,
            bytes(answer),
            response.headers.get("Retry-After"),
            response.headers.get("Location"),
        )
        return call.decode(read_envelope(reply, time.time()))


class KlingAsyncHook(_KlingBase):
    """Talk to Kling without blocking; for the triggerer. Use as ``async with KlingAsyncHook(...) as hook``.

    :param kling_conn_id: Airflow connection of type ``kling``.
    :param attempts: how often a safe request (never a submit) is tried in all.
    """

    def __init__(
        self, kling_conn_id: str = _KlingBase.default_conn_name, *, attempts: int = DEFAULT_ATTEMPTS
    ):
        super().__init__(kling_conn_id, attempts=attempts)
        self._config: KlingConfig | None = None
        self._client: aiohttp.ClientSession | None = None
        self._submitter: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> KlingAsyncHook:
        """Open nothing yet: connection and session are made when they are needed."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the session."""
        await self.close()

    async def close(self) -> None:
        """Close the session and forget the connection, so that it is read anew next time."""
        clients = self._client, self._submitter
        self._client = self._submitter = self._config = None
        for client in clients:
            if client is not None:
                await client.close()

    async def get_config(self) -> KlingConfig:
        """The connection, checked. See :attr:`KlingHook.config`."""
        if self._config is None:
            from airflow.providers.common.compat.connection import (
                get_async_connection,
                get_async_extra_dejson,
            )

            try:
                conn = await get_async_connection(self.kling_conn_id, hook=self)
            except AirflowNotFoundException as error:
                if _has_async_supervisor():
                    raise self._missing_connection(error)
                conn = await asyncio.to_thread(self._connection_of_the_worker)
            self._config = self._checked_config(conn, await get_async_extra_dejson(conn))
        return self._config

    def _connection_of_the_worker(self) -> Any:
        try:
            return self.get_connection(self.kling_conn_id)
        except AirflowNotFoundException as error:
            raise self._missing_connection(error)

    async def prepare(
        self,
        endpoint: str,
        request: Mapping[str, Any],
        *,
        external_task_id: str | None = None,
        dialect: Dialect = "classic",
        validate: Validate = "strict",
        input_seconds: float | None = None,
    ) -> PreparedSubmit:
        """See :meth:`KlingHook.prepare`."""
        config = await self.get_config()
        return await asyncio.to_thread(
            prepare,
            config,
            endpoint,
            request,
            external_task_id,
            dialect=dialect,
            validate=validate,
            input_seconds=input_seconds,
        )

    async def estimate_units(
        self, endpoint: str, request: Mapping[str, Any], *, input_seconds: float | None = None
    ) -> Decimal | None:
        """See :meth:`KlingHook.estimate_units`."""
        return estimate(await self.get_config(), endpoint, request, input_seconds)

    async def submit(
        self,
        endpoint: str,
        request: Mapping[str, Any],
        *,
        external_task_id: str | None = None,
        key: str | None = None,
        dialect: Dialect = "classic",
        validate: Validate = "strict",
    ) -> KlingTask:
        """See :meth:`KlingHook.submit`."""
        prepared = await self.prepare(
            endpoint, request, external_task_id=external_task_id, dialect=dialect, validate=validate
        )
        return (await self.submit_prepared(prepared, current_work(key)))[0]

    async def submit_prepared(
        self,
        prepared: PreparedSubmit,
        work: Work,
        *,
        on_existing: OnExisting = "error",
        on_unknown: OnUnknown = "fail",
    ) -> tuple[KlingTask, bool]:
        """See :meth:`KlingHook.submit_prepared`."""
        end = await self.submit_or_pause(prepared, work, on_existing=on_existing, on_unknown=on_unknown)
        return submit_flow.done_or_raise(end, prepared)

    async def submit_or_pause(
        self,
        prepared: PreparedSubmit,
        work: Work,
        *,
        on_existing: OnExisting = "error",
        on_unknown: OnUnknown = "fail",
        memory: Memory | None = None,
        hold: float | None = None,
    ) -> submit_flow.End:
        """See :meth:`KlingHook.submit_or_pause`."""
        return await self._drive(
            submit_flow.submit(
                await self.get_config(),
                prepared,
                work,
                on_existing=on_existing,
                on_unknown=on_unknown,
                memory=memory,
                hold=hold,
            )
        )

    async def get_task(self, task_id: str, *, endpoint: str = "image2video") -> KlingTask:
        """See :meth:`KlingHook.get_task`."""
        routes = (await self.get_config()).routes
        return await self._drive(flows.ask(routes.get_task(checked_endpoint(endpoint), checked_id(task_id))))

    async def find_task(self, external_task_id: str, *, endpoint: str) -> KlingTask | None:
        """See :meth:`KlingHook.find_task`."""
        return await self._drive(_find(await self.get_config(), endpoint, external_task_id))

    async def list_tasks(self, endpoint: str, *, page: int = 1, page_size: int = 30) -> TaskList:
        """See :meth:`KlingHook.list_tasks`."""
        row = checked_endpoint(endpoint)
        return await self._drive(flows.asked_page(await self.get_config(), row, page, page_size))

    async def list_new(
        self, cursor: str | None = None, *, limit: int = MAX_PAGE_SIZE, **wanted: Any
    ) -> TaskPage:
        """See :meth:`KlingHook.list_new`."""
        routes = (await self.get_config()).routes
        return await self._drive(
            flows.ask(checked(lambda most: routes.list_new(cursor, most, **wanted), limit))
        )

    async def wait_for_task(
        self, task_id: str, *, endpoint: str = "image2video", timeout: float = 600, poke_interval: float = 10
    ) -> KlingTask:
        """See :meth:`KlingHook.wait_for_task`."""
        row, task_id = checked_endpoint(endpoint), checked_id(task_id)
        config = await self.get_config()
        return await self._drive(flows.wait(config, task_id, row.name, timeout, poke_interval))

    async def poll_once(self, poller: TaskPoller, task_id: str, endpoint: str) -> Decision:
        """See :meth:`KlingHook.poll_once`."""
        try:
            config = await self.get_config()
        except Exception as error:
            return flows.without_connection(poller, task_id, error)
        decision = await self._drive(flows.poll(config, poller, task_id, endpoint))
        if poller.key_is_rejected:
            await self.close()  # a key may have been replaced: read the connection anew
        return decision

    async def read(self, endpoint: str, request: Mapping[str, Any] | None = None) -> Any:
        """See :meth:`KlingHook.read`."""
        return await self._drive(flows.ask(_read_call(await self.get_config(), endpoint, request)))

    async def get_account_costs(
        self, start: datetime, end: datetime, *, resource_pack_name: str | None = None
    ) -> dict[str, Any]:
        """See :meth:`KlingHook.get_account_costs`."""
        config = await self.get_config()
        return await self._drive(flows.ask(config.routes.account_costs(start, end, resource_pack_name)))

    async def get_billing(
        self, start: datetime, end: datetime, *, kind: BillingKind = "package"
    ) -> list[BillingRow]:
        """See :meth:`KlingHook.get_billing`."""
        return await self._drive(flows.billing(await self.get_config(), start, end, kind))

    async def send(self, call: Call[T], *, attempts: int | None = None) -> T:
        """See :meth:`KlingHook.send`."""
        return await self._try(call, attempts)

    async def test_connection(self) -> tuple[bool, str]:
        """See :meth:`KlingHook.test_connection`."""
        return await asyncio.to_thread(KlingHook(self.kling_conn_id).test_connection)

    async def _drive(self, flow: flows.Flow[T]) -> T:
        """Carry out the steps of a flow without blocking the loop."""
        advance: Callable[[], flows.Step] = partial(next, flow)
        while True:
            try:
                step = advance()
            except StopIteration as done:
                result: T = done.value
                return result
            try:
                advance = partial(flow.send, await self._carry_out(step))
            except Exception as error:
                advance = partial(flow.throw, error)

    async def _carry_out(self, step: flows.Step) -> Any:
        match step:
            case flows.Pause(seconds):
                await asyncio.sleep(seconds)
                return None
            case flows.Do(function):
                return await asyncio.to_thread(function)
            case flows.Send(call, attempts, fresh):
                return await self._try(call, attempts, fresh)

    async def _try(self, call: Call[T], attempts: int | None = None, fresh: bool = False) -> T:
        if not call.may_repeat:
            try:
                return await self._exchange(call, fresh=fresh)
            except CutShort as error:
                log.info("%s: %s Sending it over a new connection.", call.what, error)
            return await self._exchange(call, fresh=fresh)
        policy = self._retry_policy(attempts)
        async for attempt in tenacity.AsyncRetrying(**policy):
            with attempt:
                return await self._send(call)
        raise AssertionError("tenacity reraises")

    async def _send(self, call: Call[T]) -> T:
        try:
            return await self._exchange(call, fresh=False)
        except ApiFailure as error:
            if not self._may_resign(error.failure):
                raise
        return await self._exchange(call, fresh=True)

    async def _exchange(self, call: Call[T], *, fresh: bool) -> T:
        config = await self.get_config()
        headers = self._headers(call, fresh=fresh)
        body = None if call.body is None else JsonBody(call.body)
        if body is not None:  # otherwise aiohttp sends it chunked
            headers["Content-Length"] = str(len(body))
        try:
            client = self._session(config, may_repeat=call.may_repeat)
            async with client.request(
                call.method,
                config.base_url + call.path,
                params={name: str(item) for name, item in call.params.items()},
                data=body,
                headers=headers,
                allow_redirects=False,
                proxy=config.proxy_for(config.base_url),
            ) as response:
                answer = Body(response.status)
                async for chunk in response.content.iter_chunked(ANSWER_CHUNK_BYTES):
                    answer.add(chunk)
                reply = Reply(
                    response.status,
                    bytes(answer),
                    response.headers.get("Retry-After"),
                    response.headers.get("Location"),
                )
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise failed(error, body)
        return call.decode(read_envelope(reply, time.time()))

    def _session(self, config: KlingConfig, *, may_repeat: bool) -> aiohttp.ClientSession:
        """What costs money has connections of its own, which are not kept for long: see hooks.sessions."""
        if not may_repeat:
            self._submitter = self._submitter or _client(config, keepalive_timeout=MAX_IDLE_SECONDS)
            return self._submitter
        self._client = self._client or _client(config)
        return self._client


def _client(config: KlingConfig, **options: Any) -> aiohttp.ClientSession:
    connect, read = config.timeout
    return aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=None, connect=connect, sock_connect=connect, sock_read=read),
        connector=aiohttp.TCPConnector(ssl=tls_for(config), **options),
        trust_env=False,  # a ~/.netrc would fail every request; proxy_for reads the proxies
    )


def _has_async_supervisor() -> bool:
    """Whether an asynchronous look-up reaches Airflow's database.

    ``dag.test`` runs a trigger in its own process, whose supervisor answers synchronous questions only: there,
    a connection that is stored in the database is not found asynchronously.
    """
    from airflow.sdk.execution_time import task_runner

    return hasattr(getattr(task_runner, "SUPERVISOR_COMMS", None), "asend")


def _read_call(config: KlingConfig, endpoint: str, request: Mapping[str, Any] | None) -> Call[Any]:
    row = checked_endpoint(endpoint)
    if row.work != "read":
        raise KlingBadRequestError(
            f"endpoint={row.name!r} does not only read. "
            + (
                "List its tasks with list_tasks."
                if row.work == "task"
                else "Submit to it: it answers at once."
            ),
            endpoint=row.name,
        )
    given = {name: value for name, value in (request or {}).items() if value is not None}
    if row.name == "tasks" and not any(name in given for name in TASK_IDS):
        raise KlingBadRequestError(
            "endpoint='tasks' is read with task_ids or external_task_ids. For the list, which has pages, use list_new.",
            endpoint=row.name,
        )
    return config.routes.read(row, given)


def _find(config: KlingConfig, endpoint: str, external_task_id: str) -> flows.Flow[KlingTask | None]:
    row, external_task_id = checked_endpoint(endpoint), checked_id(external_task_id)
    if config.external_id_for(row) == "none":
        raise KlingBadRequestError(
            f"Gateway {config.gateway.name!r} is not known to find tasks of {row.name} by external_task_id. If yours "
            'does, set the extra external_id to "lookup".',
            endpoint=row.name,
        )
    try:
        return (yield from submit_flow.find(config, row, external_task_id))
    except ApiFailure as error:
        if error.failure.reaction is Reaction.NOT_FOUND:
            return None
        raise flows.call_error(error, config.routes.find_task(row, external_task_id))


def _wait_before_retry(state: tenacity.RetryCallState) -> float:
    """Half a second, doubling, with jitter; or what Retry-After says."""
    # Not with min=, which older versions of tenacity ignore.
    backoff = float(0.2 + tenacity.wait_random_exponential(multiplier=0.5, max=7.8)(state))
    error = state.outcome.exception() if state.outcome else None
    asked = error.failure.retry_after if isinstance(error, ApiFailure) else None
    return max(backoff, min(asked, _LONGEST_RETRY_AFTER)) if asked else backoff
