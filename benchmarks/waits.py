"""Let a peer wait for tasks, and note when it believed that each was over."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.meters import mean, percentile
from benchmarks.peers.base import Waiter
from benchmarks.rows import Row
from benchmarks.server import Booked

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Ended:
    """The end of a wait.

    :param task: what was waited for.
    :param at: when the peer knew, by the benchmark's clock.
    :param error: why it gave up, or nothing.
    """

    task: Booked
    at: float
    error: str = ""

    @property
    def lag(self) -> float:
        """Seconds from the end of the task to the peer's knowing; below zero if it was believed too early."""
        return self.at - self.task.ends_at


async def wait_for(waiter: Waiter, task: Booked) -> Ended:
    """Wait for one task."""
    try:
        await waiter.wait(task)
    except Exception as error:
        log.warning("lost %s: %r", task.task_id, error)
        return Ended(task, time.time(), repr(error))
    return Ended(task, time.time())


async def wait_for_all(waiter: Waiter, tasks: Sequence[Booked], patience: float) -> list[Ended]:
    """Wait for tasks at the same time.

    :param patience: seconds after the last one's end; who still waits then is lost.
    """
    running = {asyncio.create_task(wait_for(waiter, task)): task for task in tasks}
    last = max(task.ends_at for task in tasks)
    done, pending = await asyncio.wait(running, timeout=max(0.0, last - time.time()) + patience)
    ended = [one.result() for one in done]
    for one in pending:
        one.cancel()
        ended.append(Ended(running[one], time.time(), "did not end"))
    await asyncio.gather(*pending, return_exceptions=True)
    return ended


def note_ends(row: Row, ended: Sequence[Ended]) -> None:
    """Write into a row what came of the waits."""
    good = [one for one in ended if not one.error]
    row.done = len(ended)
    row.lost = len(ended) - len(good)
    # Kling tells milliseconds: a lag of a hair below zero is none.
    row.early = sum(one.lag < -0.05 * row.scale for one in good)
    lags = [one.lag for one in good if one.lag >= -0.05 * row.scale]
    row.lag, row.lag_p95 = mean(lags), percentile(lags, 0.95)
    row.lag_max = max(lags, default=None)
