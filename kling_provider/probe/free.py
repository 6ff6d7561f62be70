"""The free part of a probe: GET requests only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from kling_provider.api.calls import Call
from kling_provider.api.endpoints import ENDPOINTS, Endpoint, check_id
from kling_provider.api.errors import ApiFailure, Failure, InvalidRequest, Reaction
from kling_provider.api.tasks import KlingTask
from kling_provider.probe.seen import Answer, Batch, Free

if TYPE_CHECKING:
    from kling_provider.hooks.kling import KlingHook

#: Largest first: the documented limit, and what is tried where it is refused.
PAGE_SIZES = (500, 100, 30)
BATCH_SIZES = (1, 50, 100, 200, 500)
#: Ids of that many listed tasks are put among the made-up ones.
_KNOWN_IN_BATCH = 10


def look_for_free(hook: KlingHook, row: Endpoint, say: Callable[[str], None]) -> Free:
    """Ask everything that costs nothing.

    :param hook: of the connection.
    :param row: the endpoint.
    :param say: tells what is being done.
    """
    say("Testing the connection.")
    works, says = hook.test_connection()
    if not works:
        return Free(works, says)
    say("Reading the list.")
    tasks, page_size, list_failure = _list(hook, row)
    known = newest_with_id(tasks)
    answer = None
    if known is not None:
        say(f"Looking up external_task_id {known.external_task_id}.")
        answer = ask(hook, hook.config.routes.find_task(row, str(known.external_task_id)))
    say("Asking GET /tasks for ever more ids.")
    batch = _batch(hook, [task.task_id for task in tasks][:_KNOWN_IN_BATCH])
    return Free(works, says, tasks, page_size, list_failure, known, answer, batch)


def newest_with_id(tasks: Sequence[KlingTask]) -> KlingTask | None:
    """The newest task with an external id that can be looked up."""
    candidates = []
    for task in tasks:
        with suppress(InvalidRequest):
            check_id(task.external_task_id)
            candidates.append(task)
    return max(
        candidates, key=lambda task: task.created_at.timestamp() if task.created_at else 0, default=None
    )


def ask(hook: KlingHook, call: Call[KlingTask], attempts: int | None = None) -> Answer:
    """Ask for one task."""
    try:
        return hook.send(call, attempts=attempts)
    except ApiFailure as error:
        return error.failure.of_a_query()


def _list(hook: KlingHook, row: Endpoint) -> tuple[tuple[KlingTask, ...], int, Failure | None]:
    """The first page, its size, and what was said to a larger one."""
    failure = None
    for size in PAGE_SIZES:
        try:
            tasks = hook.send(hook.config.routes.list_tasks(row, 1, size))
        except ApiFailure as error:
            failure = error.failure
            if failure.reaction is not Reaction.BAD_REQUEST:
                break
        else:
            return tuple(tasks), size, failure
    return (), 0, failure


def _batch(hook: KlingHook, known: Sequence[str]) -> Batch:
    largest, sees_classic = 0, None
    for size in BATCH_SIZES:
        made_up = [str(10**17 + number) for number in range(size)]  # unknown ids are passed over
        ids = [*known, *made_up][:size]
        try:
            told = hook.send(hook.config.routes.ask_many(dict.fromkeys(ids, ENDPOINTS["tasks"])), attempts=2)
        except ApiFailure as error:
            return Batch(largest, size, error.failure, sees_classic)
        largest = size
        if known:
            sees_classic = bool(set(told) & set(known))
    return Batch(largest, sees_classic=sees_classic)
