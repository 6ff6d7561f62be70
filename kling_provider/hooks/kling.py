"""KlingHook and KlingAsyncHook: two thin transports over ``kling_provider.api``.

What to send, how to read the answer and when to ask again is decided there; here are only the sockets.
"""

from __future__ import annotations

import asyncio
import json
import logging
import platform
import random
import ssl
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import aiohttp
import requests
import tenacity
import urllib3
from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook, Connection, mask_secret
from airflow.providers.http.hooks.http import HttpHook

from kling_provider import __version__
from kling_provider.api.auth import KeyPair, TokenSource
from kling_provider.api.calls import Call
from kling_provider.api.endpoints import Endpoint, check_id, endpoint_for
from kling_provider.api.errors import ApiFailure, Failure, InvalidRequest, Reaction
from kling_provider.api.polling import (
    NOT_FOUND_GRACE_SECONDS,
    Decision,
    Finished,
    GaveUp,
    TaskPoller,
    TimedOut,
    Wait,
)
from kling_provider.api.replies import Reply, read_envelope
from kling_provider.api.submitting import FailedBefore, LookUp, Outcome, Post, Submission
from kling_provider.api.tasks import KlingTask
from kling_provider.exceptions import (
    KlingBadRequestError,
    KlingError,
    KlingTaskFailedError,
    KlingTaskTimeoutError,
    from_failure,
)
from kling_provider.hooks.config import KlingConfig, read_connection, unknown_extras
from kling_provider.hooks.intents import Intent
from kling_provider.hooks.outcomes import OnExisting, OnUnknown, task_or_raise
from kling_provider.hooks.preparing import PreparedSubmit, prepare
from kling_provider.hooks.work import Work, current_work
from kling_provider.media import encode_pictures

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
log = logging.getLogger(__name__)

USER_AGENT = f"airflow-provider-kling/{__version__} python/{platform.python_version()}"
#: A safe request is tried so often in all.
DEFAULT_ATTEMPTS = 4
#: Numbers tried for a piece of work whose tasks Kling keeps failing.
MOST_FAILED_TASKS = 20
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

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Field names of the connection form (Airflow 3.0 and 3.1; later ones read the provider info)."""
        from kling_provider.get_provider_info import UI_FIELD_BEHAVIOUR

        return dict(UI_FIELD_BEHAVIOUR)

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Extra fields of the connection form (Airflow 3.0 and 3.1; later ones read the provider info)."""
        from flask_appbuilder.fieldwidgets import BS3TextFieldWidget
        from flask_babel import lazy_gettext
        from wtforms import StringField

        from kling_provider.get_provider_info import CONN_FIELDS

        return {
            name: StringField(
                lazy_gettext(field["label"]),
                widget=BS3TextFieldWidget(),
                default=field["schema"].get("default"),
                description=field["description"],
            )
            for name, field in CONN_FIELDS.items()
        }

    def _checked_config(self, conn: Any, extra: Mapping[str, Any]) -> KlingConfig:
        for message in unknown_extras(extra):
            self.log.warning("Connection %r: %s.", self.kling_conn_id, message)
        config = read_connection(self.kling_conn_id, conn, extra)
        if isinstance(config.credentials, KeyPair):
            mask_secret(config.credentials.secret_key)
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

    def _retry_policy(self, call: Call[Any]) -> dict[str, Any]:
        """Only safe requests are repeated: on lost connections, 5xx, unreadable answers and 1302."""
        return {
            "stop": tenacity.stop_after_attempt(self.attempts if call.may_repeat else 1),
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

    @cached_property
    def config(self) -> KlingConfig:
        """The connection, checked.

        :raises KlingBadRequestError: if it is missing or wrong.
        """
        try:
            conn = self.get_connection(self.kling_conn_id)
        except AirflowNotFoundException as error:
            raise self._missing_connection(error)
        return self._checked_config(conn, conn.extra_dejson)

    def get_conn(self) -> requests.Session:
        """Return the pooled session, with proxies, TLS options and keep-alive from the connection."""
        return self._session

    def prepare(
        self, endpoint: str, request: Mapping[str, Any], *, external_task_id: str | None = None
    ) -> PreparedSubmit:
        """Check a request, read its pictures and estimate its price; send nothing.

        :param endpoint: name of the endpoint, or a raw path that starts with ``/``.
        :param request: Kling's own field names; pictures as URL, URI, path or bytes. Never changed.
        :param external_task_id: an id of the caller's choice.
        :raises KlingBadRequestError: naming field, value, rule and way out.
        """
        return prepare(self.config, endpoint, request, external_task_id)

    def submit(
        self,
        endpoint: str,
        request: Mapping[str, Any],
        *,
        external_task_id: str | None = None,
        key: str | None = None,
    ) -> KlingTask:
        """Create a task. Costs money once: an unclear answer is looked up, never sent again.

        Inside a running Airflow task the external_task_id is derived as the operator does it. Outside, none
        is sent unless given, and an unclear answer raises KlingSubmissionUnknownError.

        :param endpoint: name of the endpoint, or a raw path that starts with ``/``.
        :param request: Kling's own field names; pictures as URL, URI, path or bytes. Never changed.
        :param external_task_id: an id of the caller's choice, unique per account.
        :param key: tells several submits of one Airflow task apart.
        :returns: the task, most often ``submitted``.
        :raises KlingError: the class for what happened; rate and slot limits are raised at once.
        """
        prepared = self.prepare(endpoint, request, external_task_id=external_task_id)
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
        if not prepared.can_look_up:
            return self._submit_unseen(prepared, work, on_unknown)
        for external_id, is_first in _ids(prepared, work):
            outcome = self._submit_once(prepared, external_id, is_first)
            if isinstance(outcome, FailedBefore) and prepared.own_id is None:
                continue
            refuse = on_existing == "error" and prepared.own_id is not None and is_first
            task = task_or_raise(outcome, self.config, prepared, external_id, refuse_existing=refuse)
            return task, getattr(outcome, "how", "posted") == "existed"
        raise _failed_too_often(prepared)

    def _submit_unseen(
        self, prepared: PreparedSubmit, work: Work, on_unknown: OnUnknown
    ) -> tuple[KlingTask, bool]:
        """Submit where the task cannot be looked up by the caller's id: guarded by a record instead."""
        intent = Intent(self.config, prepared, work, on_unknown)
        earlier = intent.earlier_task()
        if earlier is not None:
            return self.get_task(earlier, endpoint=prepared.endpoint.name), True
        intent.before_post()
        outcome = self._submit_once(prepared, prepared.own_id, is_first=True)
        intent.after_post(outcome)
        return task_or_raise(outcome, self.config, prepared, prepared.own_id, on_unknown=on_unknown), False

    def get_task(self, task_id: str, *, endpoint: str = "image2video") -> KlingTask:
        """Ask for a task.

        :param task_id: Kling's id, as the submit returned it.
        :param endpoint: the endpoint it was made with.
        :raises KlingTaskNotFoundError: if this account does not know the id.
        """
        return self._run(self.config.routes.get_task(_endpoint(endpoint), _id(task_id)))

    def find_task(self, external_task_id: str, *, endpoint: str) -> KlingTask | None:
        """Ask for a task by the caller's id.

        :param external_task_id: the id that was sent.
        :param endpoint: the endpoint it was sent to.
        :returns: the task, or None if there is none.
        :raises KlingBadRequestError: if the gateway cannot look ids up.
        """
        call = self.config.routes.find_task(_lookup_row(self.config, endpoint), _id(external_task_id))
        try:
            return self._try(call)
        except ApiFailure as error:
            if error.failure.reaction is Reaction.NOT_FOUND:
                return None
            _raise_for(error.failure, call)

    def list_tasks(self, endpoint: str, *, page: int = 1, page_size: int = 30) -> list[KlingTask]:
        """Ask for one page of the account's tasks; their order is not documented.

        :param endpoint: name of the endpoint.
        :param page: 1 to 1000.
        :param page_size: 1 to 500.
        """
        return self._run(_list_call(self.config, endpoint, page, page_size))

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
        row, started = _endpoint(endpoint), time.time()
        poller = TaskPoller(
            poke_interval=poke_interval,
            deadline=lambda _: started + timeout,
            visible_by=started + NOT_FOUND_GRACE_SECONDS,
            random=random.random,
        )
        while True:
            decision = self.poll_once(poller, _id(task_id), row.name)
            if isinstance(decision, Wait):
                time.sleep(decision.seconds)
                continue
            return finished_task(decision, task_id, row.name, timeout)

    def poll_once(self, poller: TaskPoller, task_id: str, endpoint: str) -> Decision:
        """Ask once for a task and let the poller decide.

        :param poller: the state of the wait.
        :param task_id: Kling's id.
        :param endpoint: the endpoint it was made with.
        """
        try:
            task = self._try(self.config.routes.get_task(_endpoint(endpoint), task_id), attempts=1)
        except ApiFailure as error:
            log.info("Asking for task %s got no answer: %s", task_id, error)
            return poller.on_failure(error.failure, time.time())
        return poller.on_task(task, time.time())

    def get_account_costs(
        self, start: datetime, end: datetime, *, resource_pack_name: str | None = None
    ) -> dict[str, Any]:
        """Ask for the account's resource packs. Free; Kling allows one request per second.

        :param start: begin of the period.
        :param end: end of the period.
        :param resource_pack_name: only this pack.
        :returns: Kling's ``data``; ``remaining_quantity`` may lag 12 hours.
        """
        return self._run(self.config.routes.account_costs(start, end, resource_pack_name))

    def test_connection(self) -> tuple[bool, str]:
        """Try the connection with a free request and say what is wrong, if anything is."""
        from kling_provider.hooks.diagnosis import diagnose

        return diagnose(self)

    def _run(self, call: Call[T]) -> T:
        try:
            return self._try(call)
        except ApiFailure as error:
            _raise_for(error.failure, call)

    def _try(self, call: Call[T], attempts: int | None = None) -> T:
        """Send a call, again where that is safe.

        :raises ApiFailure: the last failure.
        """
        policy = self._retry_policy(call)
        if attempts is not None:
            policy["stop"] = tenacity.stop_after_attempt(attempts)
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
        try:
            response = self._session.request(
                call.method,
                config.base_url + call.path,
                params=dict(call.params),
                data=_encoded(call),
                headers=headers,
                timeout=config.timeout,
                allow_redirects=False,
                # Said here because requests lets the environment win over its session: a REQUESTS_CA_BUNDLE
                # over the connection's verify, an HTTPS_PROXY over its proxies.
                verify=self._session.verify,
                proxies=dict(self._session.proxies),
            )
        except requests.RequestException as error:
            raise ApiFailure(_network_failure(error, never_sent=_requests_never_sent(error)))
        reply = Reply(
            response.status_code,
            response.content,
            response.headers.get("Retry-After"),
            response.headers.get("Location"),
        )
        return call.decode(read_envelope(reply, time.time()))

    @cached_property
    def _session(self) -> requests.Session:
        session = _SessionMaker(self.config).get_conn()
        # Otherwise requests replaces our Authorization by what a ~/.netrc says about the host.
        session.auth = _keep_authorization
        if isinstance(session.cert, list):  # JSON knows no tuples, and requests no lists
            session.cert = (session.cert[0], session.cert[1])
        return session

    def _submit_once(self, prepared: PreparedSubmit, external_id: str | None, is_first: bool) -> Outcome:
        machine = Submission(
            external_task_id=external_id, can_look_up=prepared.can_look_up, is_first=is_first
        )
        routes = self.config.routes
        step: Post | LookUp | Outcome = machine.start()
        while isinstance(step, Post | LookUp):
            if isinstance(step, Post):
                try:
                    step = machine.on_booked(
                        self._send(routes.submit(prepared.endpoint, prepared.body_with(external_id)))
                    )
                except ApiFailure as error:
                    step = machine.on_post_failure(error.failure)
            else:
                assert external_id is not None
                time.sleep(step.after)
                try:
                    step = machine.on_found(self._try(routes.find_task(prepared.endpoint, external_id)))
                except ApiFailure as error:
                    step = machine.on_lookup_failure(error.failure)
        return step


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

    async def __aenter__(self) -> KlingAsyncHook:
        """Open nothing yet: connection and session are made when they are needed."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the session."""
        await self.close()

    async def close(self) -> None:
        """Close the session and forget the connection, so that it is read anew next time."""
        client, self._client, self._config = self._client, None, None
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
                raise self._missing_connection(error)
            self._config = self._checked_config(conn, await get_async_extra_dejson(conn))
        return self._config

    async def prepare(
        self, endpoint: str, request: Mapping[str, Any], *, external_task_id: str | None = None
    ) -> PreparedSubmit:
        """See :meth:`KlingHook.prepare`."""
        return await asyncio.to_thread(prepare, await self.get_config(), endpoint, request, external_task_id)

    async def submit(
        self,
        endpoint: str,
        request: Mapping[str, Any],
        *,
        external_task_id: str | None = None,
        key: str | None = None,
    ) -> KlingTask:
        """See :meth:`KlingHook.submit`."""
        prepared = await self.prepare(endpoint, request, external_task_id=external_task_id)
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
        config = await self.get_config()
        if not prepared.can_look_up:
            return await self._submit_unseen(prepared, work, on_unknown)
        for external_id, is_first in _ids(prepared, work):
            outcome = await self._submit_once(prepared, external_id, is_first)
            if isinstance(outcome, FailedBefore) and prepared.own_id is None:
                continue
            refuse = on_existing == "error" and prepared.own_id is not None and is_first
            task = task_or_raise(outcome, config, prepared, external_id, refuse_existing=refuse)
            return task, getattr(outcome, "how", "posted") == "existed"
        raise _failed_too_often(prepared)

    async def _submit_unseen(
        self, prepared: PreparedSubmit, work: Work, on_unknown: OnUnknown
    ) -> tuple[KlingTask, bool]:
        config = await self.get_config()
        intent = Intent(config, prepared, work, on_unknown)
        earlier = await asyncio.to_thread(intent.earlier_task)
        if earlier is not None:
            return await self.get_task(earlier, endpoint=prepared.endpoint.name), True
        await asyncio.to_thread(intent.before_post)
        outcome = await self._submit_once(prepared, prepared.own_id, is_first=True)
        await asyncio.to_thread(intent.after_post, outcome)
        return task_or_raise(outcome, config, prepared, prepared.own_id, on_unknown=on_unknown), False

    async def get_task(self, task_id: str, *, endpoint: str = "image2video") -> KlingTask:
        """See :meth:`KlingHook.get_task`."""
        routes = (await self.get_config()).routes
        return await self._run(routes.get_task(_endpoint(endpoint), _id(task_id)))

    async def find_task(self, external_task_id: str, *, endpoint: str) -> KlingTask | None:
        """See :meth:`KlingHook.find_task`."""
        config = await self.get_config()
        call = config.routes.find_task(_lookup_row(config, endpoint), _id(external_task_id))
        try:
            return await self._try(call)
        except ApiFailure as error:
            if error.failure.reaction is Reaction.NOT_FOUND:
                return None
            _raise_for(error.failure, call)

    async def list_tasks(self, endpoint: str, *, page: int = 1, page_size: int = 30) -> list[KlingTask]:
        """See :meth:`KlingHook.list_tasks`."""
        return await self._run(_list_call(await self.get_config(), endpoint, page, page_size))

    async def wait_for_task(
        self, task_id: str, *, endpoint: str = "image2video", timeout: float = 600, poke_interval: float = 10
    ) -> KlingTask:
        """See :meth:`KlingHook.wait_for_task`."""
        row, started = _endpoint(endpoint), time.time()
        poller = TaskPoller(
            poke_interval=poke_interval,
            deadline=lambda _: started + timeout,
            visible_by=started + NOT_FOUND_GRACE_SECONDS,
            random=random.random,
        )
        while True:
            decision = await self.poll_once(poller, _id(task_id), row.name)
            if isinstance(decision, Wait):
                await asyncio.sleep(decision.seconds)
                continue
            return finished_task(decision, task_id, row.name, timeout)

    async def poll_once(self, poller: TaskPoller, task_id: str, endpoint: str) -> Decision:
        """See :meth:`KlingHook.poll_once`."""
        try:
            config = await self.get_config()
            task = await self._try(config.routes.get_task(_endpoint(endpoint), task_id), attempts=1)
        except ApiFailure as error:
            log.info("Asking for task %s got no answer: %s", task_id, error)
            if error.failure.reaction in (Reaction.AUTH, Reaction.RESIGN):
                await self.close()  # a key may have been replaced: read the connection anew
            return poller.on_failure(error.failure, time.time())
        return poller.on_task(task, time.time())

    async def get_account_costs(
        self, start: datetime, end: datetime, *, resource_pack_name: str | None = None
    ) -> dict[str, Any]:
        """See :meth:`KlingHook.get_account_costs`."""
        config = await self.get_config()
        return await self._run(config.routes.account_costs(start, end, resource_pack_name))

    async def test_connection(self) -> tuple[bool, str]:
        """See :meth:`KlingHook.test_connection`."""
        return await asyncio.to_thread(KlingHook(self.kling_conn_id).test_connection)

    async def _run(self, call: Call[T]) -> T:
        try:
            return await self._try(call)
        except ApiFailure as error:
            _raise_for(error.failure, call)

    async def _try(self, call: Call[T], attempts: int | None = None) -> T:
        policy = self._retry_policy(call)
        if attempts is not None:
            policy["stop"] = tenacity.stop_after_attempt(attempts)
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
        client = self._session(config)
        try:
            async with client.request(
                call.method,
                config.base_url + call.path,
                params={name: str(item) for name, item in call.params.items()},
                data=_encoded(call),
                headers=headers,
                allow_redirects=False,
                proxy=config.proxy_for(config.base_url),
            ) as response:
                reply = Reply(
                    response.status,
                    await response.read(),
                    response.headers.get("Retry-After"),
                    response.headers.get("Location"),
                )
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise ApiFailure(_network_failure(error, never_sent=_aiohttp_never_sent(error)))
        return call.decode(read_envelope(reply, time.time()))

    def _session(self, config: KlingConfig) -> aiohttp.ClientSession:
        if self._client is None:
            connect, read = config.timeout
            self._client = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(
                    total=None, connect=connect, sock_connect=connect, sock_read=read
                ),
                connector=aiohttp.TCPConnector(ssl=_tls(config)),
                trust_env=False,  # a ~/.netrc would fail every request; proxy_for reads the proxies
            )
        return self._client

    async def _submit_once(
        self, prepared: PreparedSubmit, external_id: str | None, is_first: bool
    ) -> Outcome:
        machine = Submission(
            external_task_id=external_id, can_look_up=prepared.can_look_up, is_first=is_first
        )
        routes = (await self.get_config()).routes
        step: Post | LookUp | Outcome = machine.start()
        while isinstance(step, Post | LookUp):
            if isinstance(step, Post):
                try:
                    step = machine.on_booked(
                        await self._send(routes.submit(prepared.endpoint, prepared.body_with(external_id)))
                    )
                except ApiFailure as error:
                    step = machine.on_post_failure(error.failure)
            else:
                assert external_id is not None
                await asyncio.sleep(step.after)
                try:
                    step = machine.on_found(await self._try(routes.find_task(prepared.endpoint, external_id)))
                except ApiFailure as error:
                    step = machine.on_lookup_failure(error.failure)
        return step


class _SessionMaker(HttpHook):
    """The HTTP provider's session (proxies, TLS, keep-alive) without its headers and its authentication.

    HttpHook turns every extra it does not know into a request header; so it is shown only those it knows.
    """

    def __init__(self, config: KlingConfig):
        super().__init__(tcp_keep_alive=True)
        self._shown = Connection(
            conn_id=config.conn_id,
            conn_type="http",
            host=config.base_url,
            extra=json.dumps(dict(config.http_extras)),
        )

    def get_connection(self, conn_id: str) -> Any:  # type: ignore[override]
        """Give the sanitized connection, whatever is asked for."""
        return self._shown


def finished_task(decision: Decision, task_id: str, endpoint: str, timeout: float) -> KlingTask:
    """Return the successful task of a wait that is over.

    :param decision: where the poll state machine ended.
    :param task_id: Kling's id.
    :param endpoint: the endpoint it was made with.
    :param timeout: seconds that were granted, for the message.
    :raises KlingTaskFailedError: if Kling says it failed.
    :raises KlingTaskTimeoutError: if it was not over in time.
    :raises KlingError: if asking could not go on.
    """
    match decision:
        case Finished(task) if task.is_successful:
            return task
        case Finished(task):
            raise KlingTaskFailedError(
                f"Kling says task {task_id} of {endpoint} failed: "
                f"{task.status_message or 'no reason told'} [request_id {task.request_id}]. Failed tasks are not "
                "charged. Change the prompt or the picture, then clear the submit task with a changed request.",
                failure=Failure(Reaction.BAD_REQUEST, task.status_message, 0, 200, task.request_id),
                endpoint=endpoint,
                task_id=task_id,
                external_task_id=task.external_task_id,
            )
        case TimedOut(status, failure):
            last = f" The last ask failed: {failure.describe()}" if failure else ""
            raise KlingTaskTimeoutError(
                f"Task {task_id} of {endpoint} was not over after {timeout:g} s (last status: {status}).{last} It "
                "goes on at Kling, may still finish and is then paid. Clear this task to collect it, with a "
                "longer timeout if need be; that submits nothing.",
                failure=failure,
                endpoint=endpoint,
                task_id=task_id,
            )
        case GaveUp(failure):
            raise from_failure(
                failure, f"Asking for task {task_id} of {endpoint}", endpoint=endpoint, task_id=task_id
            )
        case _:
            raise AssertionError(f"the wait is not over: {decision}")


def _ids(prepared: PreparedSubmit, work: Work) -> list[tuple[str | None, bool]]:
    """The external ids to try in turn: a new number for each task that Kling has failed."""
    if work.identity is None or prepared.own_id is not None:
        return [(prepared.id_for(work.identity), work.is_first)]
    identity = work.identity
    return [
        (prepared.id_for(replace(identity, fail_no=number)), work.is_first and number == 0)
        for number in range(MOST_FAILED_TASKS)
    ]


def _failed_too_often(prepared: PreparedSubmit) -> KlingError:
    return KlingTaskFailedError(
        f"Kling has failed {MOST_FAILED_TASKS} tasks of {prepared.endpoint.name} for this piece of work. Nothing "
        "more was sent. Change the prompt or the picture.",
        endpoint=prepared.endpoint.name,
    )


def _raise_for(failure: Failure, call: Call[Any]) -> NoReturn:
    raise from_failure(
        failure,
        call.what,
        endpoint=call.endpoint,
        task_id=call.task_id,
        external_task_id=call.external_task_id,
    )


def _endpoint(name: str) -> Endpoint:
    return _checked(endpoint_for, name)


def _id(task_id: str) -> str:
    return _checked(check_id, task_id)


def _list_call(config: KlingConfig, endpoint: str, page: int, page_size: int) -> Call[list[KlingTask]]:
    return _checked(lambda row: config.routes.list_tasks(row, page, page_size), _endpoint(endpoint))


def _lookup_row(config: KlingConfig, endpoint: str) -> Endpoint:
    row = _endpoint(endpoint)
    if config.external_id_for(row) != "lookup":
        raise KlingBadRequestError(
            f"Gateway {config.gateway.name!r} is not known to find tasks of {row.name} by external_task_id. If yours "
            'does, set the extra external_id to "lookup".',
            endpoint=row.name,
        )
    return row


def _checked(check: Callable[[Any], T], value: Any) -> T:
    try:
        return check(value)
    except InvalidRequest as error:
        raise KlingBadRequestError(f"Nothing was sent. {error}")


def _encoded(call: Call[Any]) -> bytes | None:
    if call.body is None:
        return None
    return json.dumps(encode_pictures(call.body), ensure_ascii=False, separators=(",", ":")).encode()


def _wait_before_retry(state: tenacity.RetryCallState) -> float:
    """Half a second, doubling, with jitter; or what Retry-After says."""
    backoff = tenacity.wait_random_exponential(multiplier=0.5, min=0.2, max=8)(state)
    error = state.outcome.exception() if state.outcome else None
    asked = error.failure.retry_after if isinstance(error, ApiFailure) else None
    return max(backoff, min(asked, _LONGEST_RETRY_AFTER)) if asked else backoff


def _network_failure(error: Exception, *, never_sent: bool) -> Failure:
    state = (
        "the request did not get through" if never_sent else "the connection was lost before an answer came"
    )
    # The text of requests begins with the URL, and the reason is what gets cut off.
    cause = error.args[0] if isinstance(error, requests.RequestException) and error.args else error
    reason = getattr(cause, "reason", None) or cause
    return Failure(Reaction.SERVER, f"{state} ({type(error).__name__}: {reason})", never_sent=never_sent)


def _requests_never_sent(error: requests.RequestException) -> bool:
    if isinstance(error, requests.ConnectTimeout | requests.exceptions.ProxyError):
        return True
    cause = error.args[0] if error.args else None
    reason = getattr(cause, "reason", cause)
    # An SSLError may also come after the request; only a refused certificate surely came before it.
    is_bad_certificate = "CERTIFICATE_VERIFY_FAILED" in str(reason)
    return is_bad_certificate or isinstance(reason, urllib3.exceptions.NewConnectionError)


def _aiohttp_never_sent(error: Exception) -> bool:
    return isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError)


def _keep_authorization(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _tls(config: KlingConfig) -> bool | ssl.SSLContext:
    verify = config.http_extras.get("verify", True)
    cert = config.http_extras.get("cert")
    if verify is False:
        return False
    if verify is True and cert is None:
        return True
    context = ssl.create_default_context(cafile=verify if isinstance(verify, str) else None)
    if cert is not None:
        context.load_cert_chain(*([cert] if isinstance(cert, str) else cert))
    return context
