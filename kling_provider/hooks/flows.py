"""What both hooks do, step by step, without doing it: generators that yield steps and are sent the answers.

The rules of a wait stand here once, those of a submit in ``submit_flow``. KlingHook carries the steps out
blocking, KlingAsyncHook without blocking; neither knows what they are for.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from kling_provider.api.billing import MAX_BILLING_PAGES, BillingRow
from kling_provider.api.calls import Call, TaskPage, check_page
from kling_provider.api.endpoints import Endpoint
from kling_provider.api.errors import ApiFailure, Failure, Reaction, unreadable
from kling_provider.api.polling import NOT_FOUND_GRACE_SECONDS, Decision, TaskPoller, Wait
from kling_provider.api.tasks import KlingTask, TaskList
from kling_provider.exceptions import KlingBadRequestError, KlingError, from_failure
from kling_provider.hooks.config import KlingConfig
from kling_provider.hooks.names import checked, checked_endpoint, checked_id
from kling_provider.hooks.outcomes import finished_task

log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Send:
    """Send a call and answer with what it decodes to.

    :param attempts: how often in all, if it may be repeated; None: as the hook was told.
    :param fresh: sign a new token for it.
    """

    call: Call[Any]
    attempts: int | None = None
    fresh: bool = False


@dataclass(frozen=True, slots=True)
class Pause:
    """Do nothing for so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Do:
    """Call a function that may block, and answer with what it returns."""

    function: Callable[[], Any]


Step = Send | Pause | Do
Flow = Generator[Step, Any, T]


def poll(config: KlingConfig, poller: TaskPoller, task_id: str, endpoint: str) -> Flow[Decision]:
    """Ask once for a task and let the poller decide."""
    call = config.routes.get_task(checked_endpoint(endpoint), checked_id(task_id))
    try:
        task = yield Send(call, attempts=1)
    except ApiFailure as error:
        log.info("Asking for task %s got no answer: %s", task_id, error)
        return poller.on_failure(error.failure.of_a_query(), time.time())
    return poller.on_task(task, time.time())


def without_connection(poller: TaskPoller, task_id: str, error: Exception) -> Decision:
    """Let the poller decide where the connection cannot be read: it may be edited just now."""
    log.warning("Task %s cannot be asked for now: %s: %s", task_id, type(error).__name__, error)
    if isinstance(error, KlingBadRequestError):  # it is gone or broken
        return poller.on_failure(Failure(Reaction.BAD_REQUEST, str(error)), time.time())
    # a secrets backend that does not answer is a blip like any other
    return poller.on_failure(Failure(Reaction.SERVER, f"connection not read: {error}"), time.time())


def wait(
    config: KlingConfig, task_id: str, endpoint: str, timeout: float, poke_interval: float
) -> Flow[KlingTask]:
    """Ask for a task until it is over or ``timeout`` seconds have passed."""
    started = time.time()
    poller = TaskPoller(
        poke_interval=poke_interval,
        deadline=lambda _: started + timeout,
        visible_by=started + NOT_FOUND_GRACE_SECONDS,
        random=random.random,
    )
    while True:
        decision = yield from poll(config, poller, task_id, endpoint)
        if not isinstance(decision, Wait):
            return finished_task(decision, task_id, endpoint, timeout)
        yield Pause(decision.seconds)


def ask(call: Call[T]) -> Flow[T]:
    """Send a call; a failure becomes the exception that says what was being done."""
    try:
        answer: T = yield Send(call)
    except ApiFailure as error:
        raise call_error(error, call)
    return answer


def list_page(config: KlingConfig, endpoint: Endpoint, page: int, page_size: int) -> Flow[TaskList]:
    """Read one page of an endpoint's list; in the new dialect those before it too, because it has cursors only.

    :raises ApiFailure: if it cannot be had.
    """
    if endpoint.dialect == "classic":
        tasks: TaskList = yield Send(config.routes.list_tasks(endpoint, page, page_size))
        return tasks
    check_page(page, page_size)
    cursor: str | None = None
    for number in range(1, page + 1):
        told: TaskPage = yield Send(config.routes.list_new(cursor, page_size))
        if number == page:
            return told.tasks
        cursor = told.next_cursor
        if cursor is None:
            break
    return TaskList()


def asked_page(config: KlingConfig, endpoint: Endpoint, page: int, page_size: int) -> Flow[TaskList]:
    """The same; a failure becomes the exception that says what was being done."""
    checked(lambda size: check_page(page, size, endpoint.max_page_size), page_size)
    try:
        return (yield from list_page(config, endpoint, page, page_size))
    except ApiFailure as error:
        raise from_failure(error.failure, f"Listing tasks of {endpoint.name}", endpoint=endpoint.name)


def billing(config: KlingConfig, start: datetime, end: datetime, kind: str) -> Flow[list[BillingRow]]:
    """Read all pages of what was deducted; a list that does not end is an error, because sums are made of it."""
    rows: list[BillingRow] = []
    cursor: str | None = None
    seen: set[str | None] = set()
    while cursor not in seen and len(seen) < MAX_BILLING_PAGES:
        seen.add(cursor)
        call = checked(lambda at: config.routes.billing(kind, start, end, at), cursor)
        page = yield from ask(call)
        rows += page.rows
        cursor = page.next_cursor
        if cursor is None:
            return rows
    raise call_error(
        unreadable(f"after {len(seen)} pages the cursor {cursor!r} leads on, or round again"), call
    )


def call_error(error: ApiFailure, call: Call[Any]) -> KlingError:
    """Make the exception for a call that failed."""
    return from_failure(
        error.failure,
        call.what,
        endpoint=call.endpoint,
        task_id=call.task_id,
        external_task_id=call.external_task_id,
    )
