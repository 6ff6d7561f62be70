"""What a peer is: somebody who waits for tasks of the simulator, the way his own code does."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from benchmarks.server import Booked, Kling

#: Long enough for every wait here.
PATIENCE_SECONDS = 3600.0


class Waiter(Protocol):
    """Waits for single tasks."""

    async def wait(self, task: Booked) -> None:
        """Return as soon as the peer believes that the task is over; raise if it gives up."""


#: Opens a peer: (simulator, connection id, seconds between two asks).
Open = Callable[[Kling, str, float], AbstractAsyncContextManager[Waiter]]


@dataclass(frozen=True, slots=True)
class Peer:
    """One way to wait.

    :param name: as the table shows it.
    :param interval: seconds between two asks that it has by itself; 0 where it decides.
    :param open: makes its waiter.
    :param is_ours: whether it is this package.
    :param threads: threads that each wait holds.
    :param asks_at_end: requests for the result once the task is over.
    :param most: the most waits that it is asked to hold in one process.
    :param note: what has to be known about it.
    """

    name: str
    interval: float
    open: Open
    is_ours: bool = False
    threads: int = 0
    asks_at_end: int = 0
    most: int = 1_000_000
    note: str = ""

    def rate(self, waits: int, interval: float | None = None) -> float:
        """Requests per second that so many waits make, as arithmetic says; 0 where it decides itself."""
        every = self.interval if interval is None else interval
        return waits / every if every else 0.0


Opened = AsyncIterator[Waiter]
