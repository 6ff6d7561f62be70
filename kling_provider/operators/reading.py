"""KlingReadOperator: presets, the account, and lists of tasks, as plain JSON."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import BaseOperator

from kling_provider.api.calls import TASK_IDS
from kling_provider.api.endpoints import MAX_PAGE, Endpoint, endpoint_for
from kling_provider.api.errors import InvalidRequest, shorten, show
from kling_provider.api.requests import REQUESTS, Validate, check_literals, check_request
from kling_provider.exceptions import KlingBadRequestError
from kling_provider.hooks.names import checked, checked_endpoint
from kling_provider.operators.guards import has_own_template_marks
from kling_provider.operators.submit import one_of
from kling_provider.waiting import HandsOn

if TYPE_CHECKING:
    from kling_provider.hooks.kling import KlingHook

log = logging.getLogger(__name__)

#: Kling's names of the page, and what it takes without them.
_PAGE: Mapping[str, int] = {"pageNum": 1, "pageSize": 30}


class KlingReadOperator(HandsOn, BaseOperator):
    """Read what Kling tells for nothing: preset elements and voices, the account, lists of tasks.

    Returns plain JSON: for lists of tasks, elements and voices a list of ``KlingTask.to_dict()``, for the account
    Kling's own ``data``. Of the first in the list ``voice_id``, ``element_id``, ``video_url``, ... are pushed by
    themselves. A preset voice is one of ``["voices"]``, a preset element one of ``["elements"]`` in it.

    :param endpoint: ``presets-voices``, ``advanced-presets-elements``, ``account/costs``,
        ``account/billing/package``, ``account/billing/balance``, ``tasks`` (those of the new dialect); or an endpoint
        that makes something, for the list of what was made with it: ``image2video``, ``custom-voices``, ...
        (templated).
    :param request: Kling's own parameters (templated). Lists, presets included: ``{"pageNum": 1, "pageSize": 30}``,
        up to page 1000 and 500 on a page (voices: 1000). ``account/costs``: ``start_time`` and ``end_time`` in
        milliseconds, required, and ``resource_pack_name``. Billing and ``tasks``: ``start_time``, ``end_time``,
        ``cursor``, ``limit`` (1 to 500), ``filters``. ``tasks`` also takes ``task_ids`` or ``external_task_ids``, as a
        list or separated by commas, and then tells of these; without, ``next_cursor`` is pushed where the list goes on.
    :param kling_conn_id: Airflow connection of type ``kling`` (templated).
    :param validate: what Kling's documents do not list is refused (``strict``), sent with a warning (``warn``), or
        not looked at (``off``). Literal values are checked when the DAG is parsed.
    :raises KlingBadRequestError: for parameters Kling does not have, and endpoints that have no list.
    :raises KlingError: the class for what happened; see ``kling_provider.exceptions``.
    """

    template_fields: Sequence[str] = ("endpoint", "request", "kling_conn_id")
    template_fields_renderers: ClassVar[dict[str, str]] = {"request": "json"}
    ui_color = "#e6f4ea"

    def __init__(
        self,
        *,
        endpoint: str,
        request: Mapping[str, Any] | None = None,
        kling_conn_id: str = "kling_default",
        validate: Validate = "strict",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.endpoint = endpoint
        self.request = request if request is not None else {}
        self.kling_conn_id = kling_conn_id
        self.validate: Validate = one_of("validate", validate, ("strict", "warn", "off"))
        self._check_what_is_literal()

    @cached_property
    def hook(self) -> KlingHook:
        """The hook of ``kling_conn_id``."""
        from kling_provider.hooks.kling import KlingHook

        return KlingHook(self.kling_conn_id)

    def execute(self, context: Mapping[str, Any]) -> Any:
        """Ask, and give what was told.

        :param context: Airflow's context.
        """
        row = checked_endpoint(self.endpoint)
        fields = checked(lambda request: _checked(row, request, self.validate), self.request)
        ti = context.get("ti")
        if row.name == "tasks" and not any(name in fields for name in TASK_IDS):
            page = self.hook.list_new(fields.pop("cursor", None), **fields)
            told: Any = page.tasks
            if page.next_cursor and ti is not None:
                ti.xcom_push(key="next_cursor", value=page.next_cursor)
        elif row.work == "task":
            told = self.hook.list_tasks(row.name, page=fields["pageNum"], page_size=fields["pageSize"])
        else:
            told = self.hook.read(row.name, fields)
        if not isinstance(told, list):
            return told
        log.info("Kling told of %s of %s.", len(told), row.name)
        if told and ti is not None:
            for name, value in told[0].first_results().items():
                ti.xcom_push(key=name, value=value)
        return [task.to_dict() for task in told]

    def _check_what_is_literal(self) -> None:
        if has_own_template_marks(self):
            return
        try:
            if isinstance(self.endpoint, str) and "{" not in self.endpoint:
                row = endpoint_for(self.endpoint)
                if _is_modelled(row, self.request):
                    check_literals(row.name, self.request, self.validate)
                elif isinstance(self.request, Mapping) and not any(
                    _may_change(item) for item in self.request.values()
                ):
                    _checked(row, self.request, self.validate)
        except InvalidRequest as error:
            raise KlingBadRequestError(f"{self.task_id}: {error}", endpoint=shorten(self.endpoint, 80))


def _may_change(value: object) -> bool:
    """Whether a value is rendered before it is used."""
    return "{" in value if isinstance(value, str) else not isinstance(value, int | list | tuple | None)


def _checked(row: Endpoint, request: object, validate: Validate) -> dict[str, Any]:
    """Kling's parameters of the request, as it wants them."""
    if row.work == "call":
        raise InvalidRequest(
            f"endpoint={row.name!r} answers at once and keeps no list. Use its own operator to ask it for something."
        )
    if not isinstance(request, Mapping):
        raise InvalidRequest(f"request={show(request, 60)} is not a dict of Kling's parameters.")
    if _is_modelled(row, request):
        answer = check_request(row, request, validate=validate)
        for warning in answer.warnings:
            log.warning("%s", warning)
        return answer.body
    fields = {str(name): value for name, value in request.items() if value is not None and value != ""}
    if row.kind == "account" and row.work == "read":
        return {name: _ids(value) if name in TASK_IDS else value for name, value in fields.items()}
    return _page(row, fields)


def _is_modelled(row: Endpoint, request: object) -> bool:
    """Whether a request model says what may be asked: that of a row that makes something is for making it."""
    if row.work != "read" or row.name not in REQUESTS:
        return False
    return not (isinstance(request, Mapping) and any(request.get(name) for name in TASK_IDS))


def _page(row: Endpoint, fields: Mapping[str, Any]) -> dict[str, int]:
    foreign = sorted(set(fields) - set(_PAGE))
    if foreign:
        raise InvalidRequest(
            f"{foreign[0]}={show(fields[foreign[0]], 40)} is not a parameter of the list of {row.name}. It takes "
            f"{' and '.join(_PAGE)} only."
        )
    page = {name: fields.get(name, default) for name, default in _PAGE.items()}
    for (name, value), most in zip(page.items(), (MAX_PAGE, row.max_page_size), strict=True):
        text = str(value).strip()  # a rendered template
        if isinstance(value, bool) or not text.isdecimal() or not 1 <= int(text) <= most:
            raise InvalidRequest(f"{name}={show(value, 20)}: use a whole number from 1 to {most}.")
        page[name] = int(text)
    return page


def _ids(value: object) -> str:
    """One id, or several, in the form Kling takes."""
    if isinstance(value, str | int):
        return str(value)
    if isinstance(value, Sequence):
        return ",".join(str(item) for item in value)
    raise InvalidRequest(f"{shorten(value, 60)} is not a list of ids.")
