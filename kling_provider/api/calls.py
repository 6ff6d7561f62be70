"""The requests themselves: what to send and how to read the answer, without sending it.

Sync and async hooks run the same :class:`Call` values; nothing about Kling is written in a hook.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Container, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar

from kling_provider.api.billing import MAX_ROWS, BillingPage, billing_body, billing_path, decode_page
from kling_provider.api.decoding import decode_answer, decode_told_anew
from kling_provider.api.dialects import external_id_in
from kling_provider.api.endpoints import (
    ENDPOINTS,
    MAX_PAGE,
    MAX_PAGE_SIZE,
    TASKS_PATH,
    Endpoint,
    check_id,
    path_segment,
)
from kling_provider.api.errors import ApiFailure, InvalidRequest, shorten, show, unreadable
from kling_provider.api.list_walk import ListPage
from kling_provider.api.replies import Envelope
from kling_provider.api.tasks import KlingTask, TaskList, read_time

T = TypeVar("T")
#: By these ``GET /tasks`` tells of single tasks.
TASK_IDS = ("task_ids", "external_task_ids")
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One request to Kling and the reading of its answer.

    :param method: GET or POST.
    :param path: absolute path on the gateway's host.
    :param decode: reads the answer's envelope.
    :param what: what is being done, for messages.
    :param params: query parameters.
    :param body: JSON body; pictures are bytes.
    :param endpoint: name of the endpoint.
    :param task_id: Kling's task id, if it is asked for by that.
    :param external_task_id: the caller's id, if it is sent or asked for.
    :param only_reads: a POST that changes nothing; a GET never does.
    """

    method: str
    path: str
    decode: Callable[[Envelope], T]
    what: str
    params: Mapping[str, str | int] = field(default_factory=dict)
    body: Mapping[str, Any] | None = field(default=None, repr=False)
    endpoint: str | None = None
    task_id: str | None = None
    external_task_id: str | None = None
    only_reads: bool = False

    @property
    def may_repeat(self) -> bool:
        """Whether sending it twice does no harm."""
        return self.method == "GET" or self.only_reads


@dataclass(frozen=True, slots=True)
class TaskPage:
    """One page of the new dialect's list.

    :param tasks: in Kling's order, which is not documented.
    :param next_cursor: of the page behind it, or None at the end.
    """

    tasks: TaskList
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Routes:
    """Where one gateway has what.

    :param prefix: put before every path.
    :param query_path: absolute template of the task query, or None for the endpoint's own.
    """

    prefix: str = ""
    query_path: str | None = None

    def submit(self, endpoint: Endpoint, body: Mapping[str, Any]) -> Call[KlingTask]:
        """Create a task, or ask for what is answered at once. Costs money."""
        external_id = external_id_in(endpoint.dialect, body)
        return Call(
            "POST",
            self.prefix + endpoint.create_path,
            lambda envelope: _one_task(envelope, endpoint),
            f"Submitting to {endpoint.name}" + (f" (external_task_id {external_id})" if external_id else ""),
            body=body,
            endpoint=endpoint.name,
            external_task_id=external_id,
        )

    def get_task(self, endpoint: Endpoint, task_id: str) -> Call[KlingTask]:
        """Ask for one task by Kling's id."""
        params: dict[str, str | int] = {}
        if endpoint.dialect == "new":
            path, params = self.prefix + TASKS_PATH, {"task_ids": check_id(task_id)}
        elif self.query_path is None:
            path = self.prefix + endpoint.query_path(task_id)
        else:
            path = self.query_path.format(endpoint=endpoint.name, task_id=path_segment(task_id))
        return Call(
            "GET",
            path,
            lambda envelope: _same_task(_one_task(envelope, endpoint), task_id),
            f"Asking for task {task_id} of {endpoint.name}",
            params=params,
            endpoint=endpoint.name,
            task_id=task_id,
        )

    def find_task(self, endpoint: Endpoint, external_task_id: str) -> Call[KlingTask]:
        """Ask for one task by the caller's id."""
        params: dict[str, str | int] = {}
        if endpoint.dialect == "new":
            path, params = self.prefix + TASKS_PATH, {"external_task_ids": check_id(external_task_id)}
        else:
            path = self.prefix + endpoint.query_path(external_task_id)
        return Call(
            "GET",
            path,
            lambda envelope: _one_task(envelope, endpoint),
            f"Looking up external_task_id {external_task_id} of {endpoint.name}",
            params=params,
            endpoint=endpoint.name,
            external_task_id=external_task_id,
        )

    def list_tasks(self, endpoint: Endpoint, page: int, page_size: int) -> Call[TaskList]:
        """Ask for one page of the account's tasks (classic dialect). Their order is not documented."""
        check_page(page, page_size, endpoint.max_page_size)
        return Call(
            "GET",
            self.prefix + endpoint.list_path,
            lambda envelope: _tasks(envelope, envelope.data, endpoint),
            f"Listing tasks of {endpoint.name}",
            params={"pageNum": page, "pageSize": page_size},
            endpoint=endpoint.name,
        )

    def list_new(self, cursor: str | None, limit: int, **wanted: Any) -> Call[TaskPage]:
        """Ask for one page of the new dialect's list: the tasks of all its endpoints. API keys only.

        :param cursor: where the page before ended; None for the first.
        :param limit: 1 to 500.
        :param wanted: ``start_time``, ``end_time``, ``filters``, as Kling takes them.
        """
        check_page(1, limit, MAX_PAGE_SIZE)
        body = {"limit": limit, **wanted, **({"cursor": cursor} if cursor else {})}
        return Call(
            "POST",
            self.prefix + TASKS_PATH,
            _page,
            "Listing the tasks of the new dialect",
            body=body,
            endpoint="tasks",
            only_reads=True,
        )

    def read(self, endpoint: Endpoint, request: Mapping[str, Any]) -> Call[Any]:
        """Read what needs no task: presets, costs, billing, tasks. Free.

        :param endpoint: a row that only reads.
        :param request: its parameters, as Kling names them.
        """
        is_query = endpoint.kind != "account" or endpoint.name == "account/costs"
        is_query = is_query or any(name in request for name in TASK_IDS)
        return Call(
            "GET" if is_query else "POST",
            self.prefix + endpoint.create_path,
            lambda envelope: _tasks_or_data(envelope, endpoint),
            f"Reading {endpoint.name}",
            params=dict(request) if is_query else {},
            body=None if is_query else dict(request),
            endpoint=endpoint.name,
            only_reads=True,
        )

    def ask_many(self, rows: Mapping[str, Endpoint]) -> Call[dict[str, KlingTask]]:
        """Ask the new dialect for many tasks at once; gives those it tells of, by id. API keys only.

        :param rows: the endpoint of each task that is asked for, by task id.
        """
        return Call(
            "GET",
            self.prefix + TASKS_PATH,
            lambda envelope: _ours(envelope, decode_told_anew, "id", rows),
            f"Asking for {len(rows)} tasks at once",
            params={"task_ids": ",".join(check_id(task_id) for task_id in rows)},
        )

    def list_ours(self, endpoint: Endpoint, page: int, ours: Container[str]) -> Call[ListPage]:
        """Ask for one of the largest pages of the account's tasks (classic dialect), and read only ours.

        :param endpoint: whose list.
        :param page: 1 to 1000.
        :param ours: the task ids that are read.
        """
        check_page(page, MAX_PAGE_SIZE)
        return Call(
            "GET",
            self.prefix + endpoint.list_path,
            lambda envelope: _page_of_list(envelope, endpoint, ours),
            f"Looking for tasks in the list of {endpoint.name}",
            params={"pageNum": page, "pageSize": MAX_PAGE_SIZE},
            endpoint=endpoint.name,
        )

    def account_costs(self, start: datetime, end: datetime, pack: str | None = None) -> Call[dict[str, Any]]:
        """Ask for the account's resource packs. Free; Kling allows one request per second."""
        params: dict[str, str | int] = {
            "start_time": int(start.timestamp() * 1000),
            "end_time": int(end.timestamp() * 1000),
        }
        if pack:
            params["resource_pack_name"] = pack
        return Call(
            "GET", self.prefix + "/account/costs", _object, "Asking for the account's costs", params=params
        )

    def billing(
        self, kind: str, start: datetime, end: datetime, cursor: str | None = None, limit: int = MAX_ROWS
    ) -> Call[BillingPage]:
        """Ask for one page of what was deducted. Free, although Kling wants a POST."""
        return Call(
            "POST",
            self.prefix + billing_path(kind),
            lambda envelope: decode_page(envelope.data, kind, envelope.request_id),
            f"Asking for the account's billing ({kind})",
            body=billing_body(start, end, cursor, limit),
            only_reads=True,
        )


def check_page(page: object, page_size: object, largest: int = MAX_PAGE_SIZE) -> None:
    """See that a page of a list can be asked for.

    :raises InvalidRequest: naming the limit.
    """
    for name, value, most in (("page", page, MAX_PAGE), ("page_size", page_size, largest)):
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
            raise InvalidRequest(f"{name}={show(value, 20)}: use a whole number from 1 to {most}.")


def _one_task(envelope: Envelope, endpoint: Endpoint) -> KlingTask:
    return decode_answer(endpoint, envelope.data, envelope.request_id)


def _same_task(task: KlingTask, task_id: str) -> KlingTask:
    if task.task_id != task_id:
        raise unreadable(f"asked for task {task_id}, told of {task.task_id}", task.request_id)
    return task


def _tasks(envelope: Envelope, items: object, endpoint: Endpoint) -> TaskList:
    tasks = TaskList()
    for item in _listed(items, envelope.request_id):
        try:
            tasks.append(decode_answer(endpoint, item, envelope.request_id))
        except ApiFailure as error:  # one odd task of the account must not hide the others
            tasks.left_out += 1
            log.warning("A task of the list is left out: %s", error)
    return tasks


def _listed(items: object, request_id: str | None) -> list[Any]:
    if not isinstance(items, list):
        text = f"a {type(items).__name__} where a list of tasks was due: {shorten(items)}"
        raise unreadable(text, request_id)
    return items


def _ours(
    envelope: Envelope,
    decode: Callable[[Endpoint, object, str | None], KlingTask],
    id_name: str,
    rows: Mapping[str, Endpoint],
) -> dict[str, KlingTask]:
    """Those of the tasks that are ours and can be read; an odd one is better asked for alone."""
    tasks = {}
    for item in _listed(envelope.data, envelope.request_id):
        task_id = str(item.get(id_name)) if isinstance(item, Mapping) else ""
        if row := rows.get(task_id):
            with suppress(ApiFailure):
                tasks[task_id] = decode(row, item, envelope.request_id)
    return tasks


def _page_of_list(envelope: Envelope, endpoint: Endpoint, ours: Container[str]) -> ListPage:
    items = [item for item in _listed(envelope.data, envelope.request_id) if isinstance(item, Mapping)]
    ids = [str(item.get("task_id")) for item in items]
    times = [read_time(item.get("created_at")) for item in items]
    return ListPage(
        _ours(envelope, decode_answer, "task_id", {one: endpoint for one in ids if one in ours}),
        tuple(time.timestamp() for time in times if time is not None),
        (ids[0], ids[-1], len(ids)) if ids else ("", "", 0),
    )


def _page(envelope: Envelope) -> TaskPage:
    data = _object(envelope)
    cursor = data.get("next_cursor") if data.get("has_more") else None
    return TaskPage(_tasks(envelope, data.get("result"), ENDPOINTS["tasks"]), str(cursor) if cursor else None)


def _tasks_or_data(envelope: Envelope, endpoint: Endpoint) -> Any:
    """Lists of tasks are decoded; what is told of the account stays as it is."""
    return _tasks(envelope, envelope.data, endpoint) if isinstance(envelope.data, list) else envelope.data


def _object(envelope: Envelope) -> dict[str, Any]:
    if not isinstance(envelope.data, dict):
        text = f"a {type(envelope.data).__name__} where an object was due: {shorten(envelope.data)}"
        raise unreadable(text, envelope.request_id)
    return envelope.data
