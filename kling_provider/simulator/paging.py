"""Pages: by number in the classic dialect, by cursor in the new one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from starlette.requests import Request

from kling_provider.api.endpoints import MAX_PAGE
from kling_provider.simulator.refusals import Refusal
from kling_provider.simulator.tasks import SimTask

DEFAULT_PAGE_SIZE = 30


def by_number(request: Request, largest: int) -> tuple[int, int]:
    """Where the page of ``pageNum`` and ``pageSize`` begins and ends.

    :param largest: the largest page of this list.
    :raises Refusal: 1201.
    """
    page = _number(request, "pageNum", 1, MAX_PAGE)
    size = _number(request, "pageSize", DEFAULT_PAGE_SIZE, largest)
    return (page - 1) * size, page * size


def cut(tasks: Sequence[SimTask], cursor: object, limit: int) -> tuple[list[SimTask], str]:
    """The page behind a cursor, which is the last task that was told, and the cursor of the next one.

    :returns: the page, and an empty cursor at the end.
    :raises Refusal: 1201 for a cursor nobody told.
    """
    first = 0
    if cursor not in (None, ""):
        ids = [task.task_id for task in tasks]
        if cursor not in ids:
            raise Refusal(1201, "cursor is invalid")
        first = ids.index(str(cursor)) + 1
    page = list(tasks[first : first + limit])
    return page, page[-1].task_id if first + limit < len(tasks) else ""


def seconds_of(body: Mapping[str, Any], now: float, default: float) -> tuple[float, float]:
    """Begin and end of the time that is asked for, epoch seconds.

    :param default: seconds back from now where no begin is given.
    """
    start, end = (body.get(name) for name in ("start_time", "end_time"))
    return int(start) / 1000 if start else now - default, int(end) / 1000 if end else now


def _number(request: Request, name: str, default: int, largest: int) -> int:
    text = request.query_params.get(name, str(default))
    if not text.isdecimal() or not 1 <= int(text) <= largest:
        raise Refusal(1201, f"{name} must be between 1 and {largest}")
    return int(text)
