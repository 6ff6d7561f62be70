"""The requests themselves: what to send and how to read the answer, without sending it.

Sync and async hooks run the same :class:`Call` values; nothing about Kling is written in a hook.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar

from kling_provider.api.billing import MAX_ROWS, BillingPage, billing_body, billing_path, decode_page
from kling_provider.api.endpoints import MAX_PAGE, MAX_PAGE_SIZE, Endpoint, check_id, path_segment
from kling_provider.api.errors import ApiFailure, Failure, InvalidRequest, Reaction, shorten, show
from kling_provider.api.replies import Envelope
from kling_provider.api.tasks import KlingTask, decode_task

T = TypeVar("T")
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
class Routes:
    """Where one gateway has what.

    :param prefix: put before every path.
    :param query_path: absolute template of the task query, or None for the endpoint's own.
    """

    prefix: str = ""
    query_path: str | None = None

    def submit(self, endpoint: Endpoint, body: Mapping[str, Any]) -> Call[KlingTask]:
        """Create a task. Costs money."""
        external_id = body.get("external_task_id")
        return Call(
            "POST",
            self.prefix + endpoint.create_path,
            lambda envelope: decode_task(envelope.data, endpoint.name, envelope.request_id),
            f"Submitting to {endpoint.name}" + (f" (external_task_id {external_id})" if external_id else ""),
            body=body,
            endpoint=endpoint.name,
            external_task_id=external_id,
        )

    def get_task(self, endpoint: Endpoint, task_id: str) -> Call[KlingTask]:
        """Ask for one task by Kling's id."""
        if self.query_path is None:
            path = self.prefix + endpoint.query_path(task_id)
        else:
            path = self.query_path.format(endpoint=endpoint.name, task_id=path_segment(task_id))
        return Call(
            "GET",
            path,
            lambda envelope: _same_task(_one_task(envelope, endpoint.name), task_id),
            f"Asking for task {task_id} of {endpoint.name}",
            endpoint=endpoint.name,
            task_id=task_id,
        )

    def find_task(self, endpoint: Endpoint, external_task_id: str) -> Call[KlingTask]:
        """Ask for one task by the caller's id."""
        return Call(
            "GET",
            self.prefix + endpoint.query_path(external_task_id),
            lambda envelope: _one_task(envelope, endpoint.name),
            f"Looking up external_task_id {external_task_id} of {endpoint.name}",
            endpoint=endpoint.name,
            external_task_id=external_task_id,
        )

    def list_tasks(self, endpoint: Endpoint, page: int, page_size: int) -> Call[list[KlingTask]]:
        """Ask for one page of the account's tasks. Their order is not documented."""
        for name, value, most in (("page", page, MAX_PAGE), ("page_size", page_size, MAX_PAGE_SIZE)):
            if not isinstance(value, int) or not 1 <= value <= most:
                raise InvalidRequest(f"{name}={show(value, 20)}: use a whole number from 1 to {most}.")
        return Call(
            "GET",
            self.prefix + endpoint.list_path,
            lambda envelope: _tasks(envelope, endpoint.name),
            f"Listing tasks of {endpoint.name}",
            params={"pageNum": page, "pageSize": page_size},
            endpoint=endpoint.name,
        )

    def tell_many(self, task_ids: Sequence[str]) -> Call[tuple[str, ...]]:
        """Ask the new dialect for many tasks at once; gives the ids it tells of. API keys only."""
        return Call(
            "GET",
            self.prefix + "/tasks",
            lambda envelope: tuple(str(item.get("id")) for item in _objects(envelope)),
            f"Asking for {len(task_ids)} tasks at once",
            params={"task_ids": ",".join(check_id(task_id) for task_id in task_ids)},
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


def _one_task(envelope: Envelope, endpoint: str) -> KlingTask:
    return decode_task(envelope.data, endpoint, envelope.request_id)


def _same_task(task: KlingTask, task_id: str) -> KlingTask:
    if task.task_id != task_id:
        raise ApiFailure(
            Failure(
                Reaction.UNREADABLE,
                f"asked for task {task_id}, told of {task.task_id}",
                0,
                200,
                task.request_id,
            )
        )
    return task


def _tasks(envelope: Envelope, endpoint: str) -> list[KlingTask]:
    if not isinstance(envelope.data, list):
        raise ApiFailure(
            Failure(
                Reaction.UNREADABLE,
                f"a {type(envelope.data).__name__} where a list of tasks was due: {shorten(envelope.data)}",
                0,
                200,
                envelope.request_id,
            )
        )
    tasks = []
    for item in envelope.data:
        try:
            tasks.append(decode_task(item, endpoint, envelope.request_id))
        except ApiFailure as error:  # one odd task of the account must not hide the others
            log.warning("A task of the list is left out: %s", error)
    return tasks


def _objects(envelope: Envelope) -> list[Mapping[str, Any]]:
    items = envelope.data if isinstance(envelope.data, list) else None
    if items is None or not all(isinstance(item, Mapping) for item in items):
        raise ApiFailure(
            Failure(
                Reaction.UNREADABLE,
                f"{shorten(envelope.data)} where a list of tasks was due",
                0,
                200,
                envelope.request_id,
            )
        )
    return items


def _object(envelope: Envelope) -> dict[str, Any]:
    if not isinstance(envelope.data, dict):
        raise ApiFailure(
            Failure(
                Reaction.UNREADABLE,
                f"a {type(envelope.data).__name__} where an object was due: {shorten(envelope.data)}",
                0,
                200,
                envelope.request_id,
            )
        )
    return envelope.data
