"""An account's tasks in the order of a list: a busy account holds tens of thousands, and each page asks for them."""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Iterable
from typing import Any

from kling_provider.simulator.tasks import SimTask

#: An account, and an endpoint or None for all of them.
Owner = tuple[str, str | None]


class Shelves:
    """Tasks sorted by one key. A list is sorted when it is asked for first, and kept in order from then on.

    :param key: what a list is sorted by; of a task it never changes.
    """

    def __init__(self, key: Callable[[SimTask], Any]):
        self._key = key
        self._shelves: dict[Owner, list[SimTask]] = {}

    def add(self, task: SimTask) -> None:
        """Put a new task into every list that it belongs to."""
        for owner, shelf in self._shelves.items():
            if _belongs(task, owner):
                insort(shelf, task, key=self._key)

    def of(self, owner: Owner, tasks: Iterable[SimTask]) -> list[SimTask]:
        """The list of an owner.

        :param owner: whose, and of which endpoint.
        :param tasks: all there are, for the first time.
        """
        if owner not in self._shelves:
            self._shelves[owner] = sorted((one for one in tasks if _belongs(one, owner)), key=self._key)
        return self._shelves[owner]


def _belongs(task: SimTask, owner: Owner) -> bool:
    account, endpoint = owner
    return (
        task.account == account and task.order.endpoint.work == "task" and endpoint in (None, task.endpoint)
    )
