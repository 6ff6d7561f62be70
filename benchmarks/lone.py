"""One wait alone on its connection, many times side by side: what somebody with a single video sees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack

from benchmarks.batches import PATIENCE_SECONDS
from benchmarks.durations import Job
from benchmarks.meters import Meter, measured
from benchmarks.peers.base import Peer, Waiter
from benchmarks.rows import Row
from benchmarks.server import Booked, Kling
from benchmarks.waits import Ended, note_ends, wait_for_all

#: The jobs of each connection.
Round = Sequence[Sequence[Job]]


class _Alone:
    """Gives each task the waiter of its own connection."""

    def __init__(self, waiters: Mapping[str, Waiter]):
        self._waiters = waiters

    async def wait(self, task: Booked) -> None:
        await self._waiters[task.task_id].wait(task)


async def lone(
    rows: Sequence[Row],
    kling: Kling,
    peer: Peer,
    lessons: Sequence[Round],
    rounds: Sequence[Round],
    conn_id: str,
) -> list[Row]:
    """Fill a row for each round. A connection remembers what it learned before.

    :param lessons: before each round; not measured.
    :param rounds: what is measured.
    """
    connections = [f"{conn_id}_{number}" for number in range(len(rounds[0]))]
    async with AsyncExitStack() as stack:
        waiters = []
        for name in connections:
            kling.connect(name)
            waiters.append(await stack.enter_async_context(peer.open(kling, name, peer.interval)))
        for row, lesson, jobs in zip(rows, lessons, rounds, strict=True):
            await _round(kling, waiters, lesson)
            before = sum(kling.requests().values())
            ended, meter = await _round(kling, waiters, jobs)
            row.requests = (sum(kling.requests().values()) - before) / len(ended)
            row.cpu_ms = 1000 * meter.cpu / len(ended)
            note_ends(row, ended)
    return list(rows)


async def _round(kling: Kling, waiters: Sequence[Waiter], jobs: Round) -> tuple[list[Ended], Meter]:
    booked = kling.book([job for own in jobs for job in own])
    if not booked:
        return [], Meter()
    rest = iter(booked)
    owners = {next(rest).task_id: waiter for waiter, own in zip(waiters, jobs, strict=True) for _ in own}
    with measured() as meter:
        ended = await wait_for_all(_Alone(owners), booked, PATIENCE_SECONDS)
    return ended, meter
