"""All tasks of an account, walked page by page through the list of every endpoint."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from kling_provider.api.auth import Bearer
from kling_provider.api.endpoints import ENDPOINTS, MAX_PAGE_SIZE
from kling_provider.api.tasks import KlingTask
from kling_provider.exceptions import KlingAccountError, KlingBadRequestError

if TYPE_CHECKING:
    from kling_provider.hooks.kling import KlingHook

log = logging.getLogger(__name__)

#: So far back the new dialect's list is read, which shows 30 days unless it is told more: results are kept so long,
#: and what was lost after that is to be seen for a while.
LOOK_BACK = timedelta(days=60)


@dataclass(frozen=True, slots=True)
class Listing:
    """What the lists told.

    :param tasks: each once, anybody's.
    :param is_complete: whether every list was read to its end; that of the new dialect as far back as was asked.
    """

    tasks: tuple[KlingTask, ...]
    is_complete: bool


def list_account(hook: KlingHook, *, max_pages: int = 100, look_back: timedelta = LOOK_BACK) -> Listing:
    """List the tasks of every endpoint of the table. Free; 500 tasks a request.

    Their order is not documented and records outlive results by months, so the lists are read to their ends. Tasks
    of the new dialect, which has one list for all its endpoints, carry the endpoint ``tasks``.

    :param hook: of the connection.
    :param max_pages: so many pages per endpoint at most; what lies beyond is left out, with a warning.
    :param look_back: only tasks of the new dialect that were created so long ago at most; the classic lists take
        no time, and tell all.
    :raises KlingBadRequestError: if this gateway shows no external_task_id: nobody can tell whose a task is.
    :raises KlingError: if a list cannot be had now, or all are refused. One that is refused for good (an endpoint that
        this account may not use, or that Kling has retired) is left out, with a warning.
    """
    config = hook.config
    classic = [row for row in ENDPOINTS.values() if row.work == "task" and row.dialect == "classic"]
    shows_ids = [row for row in classic if row.external_id != "none"]
    rows = [row for row in shows_ids if config.external_id_for(row) != "none"]
    if not rows:
        raise KlingBadRequestError(
            f"Gateway {config.gateway.name!r} is not known to show external_task_ids, so tasks of this deployment "
            'cannot be told from others. If yours does, set the extra external_id to "lookup" or "list" '
            "(python -m kling_provider.probe finds out)."
        )
    found: dict[str, KlingTask] = {}
    is_complete = len(rows) == len(shows_ids)
    refused = 0
    for row in rows:
        try:
            is_complete &= _read_classic(hook, row.name, found, max_pages)
        except (KlingAccountError, KlingBadRequestError) as error:
            is_complete, refused = False, refused + 1
            if refused == len(rows):
                raise
            log.warning("The list of %s is left out: %s", row.name, error)
    if config.gateway.has_new_dialect and isinstance(config.credentials, Bearer):
        is_complete &= _read_new_dialect(hook, found, max_pages, look_back)
    return Listing(tuple(found.values()), is_complete)


def _read_classic(hook: KlingHook, endpoint: str, found: dict[str, KlingTask], max_pages: int) -> bool:
    """Add the tasks of one endpoint; tells whether its list was read whole."""
    for page in range(1, max_pages + 1):
        tasks = hook.list_tasks(endpoint, page=page, page_size=MAX_PAGE_SIZE)
        if tasks.is_behind_the_end(found):
            return True
        found.update((task.task_id, task) for task in tasks)
    _tell_rest(endpoint, max_pages)
    return False


def _read_new_dialect(
    hook: KlingHook, found: dict[str, KlingTask], max_pages: int, look_back: timedelta
) -> bool:
    """Add the tasks of the new dialect; tells whether its list was read whole."""
    start_time = str(int((time.time() - look_back.total_seconds()) * 1000))
    cursor: str | None = None
    for _ in range(max_pages):
        page = hook.list_new(cursor, start_time=start_time)
        for task in page.tasks:
            found.setdefault(task.task_id, task)
        if page.next_cursor in (None, cursor):
            return True
        cursor = page.next_cursor
    _tell_rest("tasks", max_pages)
    return False


def _tell_rest(endpoint: str, max_pages: int) -> None:
    log.warning("The list of %s goes on after %d pages; the rest is not looked at.", endpoint, max_pages)
