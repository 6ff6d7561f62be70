"""What follows from what a probe has seen: the order of the list, the use of ids, the extras to set. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import ceil
from typing import Any, Literal

from kling_provider.api import submitting
from kling_provider.api.endpoints import ExternalIdUse
from kling_provider.api.errors import Failure, Reaction, shorten
from kling_provider.api.tasks import KlingTask
from kling_provider.probe.seen import Free, Paid

#: Fewer tasks of different times can be in any order by chance.
FEWEST_IN_ORDER = 4
#: Longest time to settle that the extra takes.
_LONGEST_SETTLE = 600
#: A measured lag is one sample.
_LAG_MARGIN = 2

Order = Literal["newest", "oldest", "none", "unknown"]


def order_of(tasks: Sequence[KlingTask]) -> Order:
    """In which order a page tells its tasks."""
    times = [task.created_at for task in tasks if task.created_at is not None]
    if len(set(times)) < FEWEST_IN_ORDER:
        return "unknown"
    if all(first >= second for first, second in pairwise(times)):
        return "newest"
    return "oldest" if all(first <= second for first, second in pairwise(times)) else "none"


def proven_use(free: Free, paid: Paid | None) -> ExternalIdUse | None:
    """What an external id is good for, or None if that was not found out."""
    by_free_lookup = found_for_free(free)
    if paid is not None and paid.task is not None:
        name = paid.external_id
        if by_free_lookup or (paid.lookup.shows(name) and paid.lookup.task_is(paid.task)):
            return "lookup"
        if paid.lookup.is_undecided:
            return None
        if paid.listed.shows(name):
            return "list"
        return None if paid.listed.is_undecided else "none"
    if by_free_lookup is None:
        return None
    return "lookup" if by_free_lookup else "list"


def extras_to_set(
    free: Free,
    paid: Paid | None,
    endpoint: str,
    *,
    now: ExternalIdUse,
    external_id: Mapping[str, ExternalIdUse],
    settle: tuple[float, float] | None,
) -> dict[str, Any]:
    """What to change in the connection's extra.

    :param free: what the free part showed.
    :param paid: what the paid part showed, or None.
    :param endpoint: the endpoint.
    :param now: what counts for it now.
    :param external_id: the connection's own extra ``external_id``.
    :param settle: the connection's own extra ``settle``, or None.
    """
    extras: dict[str, Any] = {}
    use = proven_use(free, paid)
    if use not in (None, now):
        extras["external_id"] = {**external_id, endpoint: use}
    settle = settle or submitting.SETTLE_SECONDS
    lag = _lag(use, paid)
    if lag > settle[0]:
        seconds = min(_LONGEST_SETTLE, ceil(lag * _LAG_MARGIN))
        extras["settle"] = [seconds, max(seconds, ceil(settle[1]))]
    return extras


def found_for_free(free: Free) -> bool | None:
    """Whether the look-up finds a listed task by its external id; None if that was not found out."""
    known, answer = free.known, free.known_answer
    if known is None or answer is None:
        return None
    if isinstance(answer, KlingTask):
        return answer.external_task_id == known.external_task_id
    return False if answer.reaction is Reaction.NOT_FOUND else None


def said(failure: Failure | None) -> str:
    """Kling's words and numbers, without the advice."""
    if failure is None:
        return "no answer"
    numbers = [
        f"{label} {value}"
        for label, value in (("code", failure.code), ("HTTP", failure.http_status))
        if value
    ]
    return shorten(failure.message) + (f" [{', '.join(numbers)}]" if numbers else "")


def _lag(use: ExternalIdUse | None, paid: Paid | None) -> float:
    if paid is None or paid.task is None or use not in ("lookup", "list"):
        return 0.0
    seen = paid.lookup if use == "lookup" else paid.listed
    return seen.lag if seen.task is not None else paid.patience
