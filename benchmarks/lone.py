"""One wait alone on its connection, many times side by side: what somebody with a single video sees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack

from benchmarks.batches import PATIENCE_SECONDS
from benchmarks.durations import Job
from benchmarks.meters import measured
from benchmarks.peers.base import Peer, Waiter
from benchmarks.rows import Row
from benchmarks.server import Booked, Kling
from benchmarks.waits import note_ends, wait_for_all


class _Alone:
    """Gives each task the waiter of its own connection."""

    def __init__(self, waiters: Mapping[str, Waiter]):
        self._waiters = waiters

    async def wait(self, task: Booked) -> None:
        await self._waiters[task.task_id].wait(task)


async def lone(
    rows: Sequence[Row], kling: Kling, peer: Peer, rounds: Sequence[Sequence[Sequence[Job]]], conn_id: str
) -> list[Row]:
    """Fill a row for each round. A connection remembers what it learned in the rounds before.

    :param rounds: in each, the jobs of every connection; those of one connection are waited for at the same time.
    """
    connections = [f"{conn_id}_{number}" for number in range(len(rounds[0]))]
    async with AsyncExitStack() as stack:
        waiters = []
        for name in connections:
            kling.connect(name)
            waiters.append(await stack.enter_async_context(peer.open(kling, name, peer.interval)))
        for row, jobs in zip(rows, rounds, strict=True):
            booked = iter(kling.book([job for own in jobs for job in own]))
            tasks = [[next(booked) for _ in own] for own in jobs]
            waiter = _Alone(
                {task.task_id: one for one, own in zip(waiters, tasks, strict=True) for task in own}
            )
            everything = [task for own in tasks for task in own]
            before = sum(kling.requests().values())
            async with measured(heart=False) as meter:
                ended = await wait_for_all(waiter, everything, PATIENCE_SECONDS)
            row.requests = (sum(kling.requests().values()) - before) / len(everything)
            row.cpu_ms = 1000 * meter.cpu / len(everything)
            note_ends(row, ended)
    return list(rows)
