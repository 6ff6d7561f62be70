"""A steady state in real time: so many waits of all ages, a new one for each that ends, measured for a minute or two.

Nobody's clock is changed, so that CPU and the lag of the event loop (seen after it) are what they are.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from benchmarks.batches import computed
from benchmarks.durations import Job, Mix
from benchmarks.meters import heart, measured, percentile, resident_bytes
from benchmarks.peers.base import Peer, Waiter
from benchmarks.rows import Row
from benchmarks.server import Booked, Kling
from benchmarks.waits import Ended, note_ends, wait_for

#: More than this and the simulator would be the one who is measured.
MOST_REQUESTS_PER_SECOND = 400.0
#: New tasks are submitted so often.
SUBMIT_SECONDS = 1.0
#: For those who ask at intervals, unless these are longer.
WARM_SECONDS, WINDOW_SECONDS = 10.0, 40.0
#: The lag of the event loop is looked at after that, so long.
LOOP_SECONDS = 30.0
#: Who still waits so long after the end, and after an interval, is lost.
OVERDUE_SECONDS = 90.0


@dataclass
class _Stream:
    """Waits that never get fewer."""

    kling: Kling
    waiter: Waiter
    mix: Mix
    ended: list[Ended] = field(default_factory=list)
    own_cpu: float = 0.0
    waiting: dict[asyncio.Task[None], Booked] = field(default_factory=dict)
    _due: int = 0

    def begin(self, tasks: Sequence[Booked], within: float = 0.0) -> None:
        """Begin to wait for tasks.

        :param within: each one at some time in so many seconds: those that began long ago do not ask in step.
        """
        for number, task in enumerate(tasks):
            wait = asyncio.create_task(self._wait(task, within * number / len(tasks)))
            self.waiting[wait] = task
            wait.add_done_callback(self.waiting.pop)

    async def keep_full(self) -> None:
        """Submit as many as have ended, once a second."""
        while True:
            await asyncio.sleep(SUBMIT_SECONDS)
            jobs, self._due = self.mix.new(self._due), 0
            if jobs:
                self.begin(await asyncio.to_thread(self._book, jobs))

    async def stop(self) -> None:
        """Cancel all that still wait."""
        waits = list(self.waiting)
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)

    def _book(self, jobs: Sequence[Job]) -> list[Booked]:
        start = time.thread_time()
        tasks = self.kling.book(jobs)
        self.own_cpu += time.thread_time() - start
        return tasks

    async def _wait(self, task: Booked, later: float) -> None:
        await asyncio.sleep(later)
        self.ended.append(await wait_for(self.waiter, task))
        self._due += 1


async def window(
    row: Row,
    kling: Kling,
    peer: Peer,
    mix: Mix,
    conn_id: str,
    *,
    warm: float,
    seconds: float,
    interval: float | None = None,
) -> Row:
    """Fill a row.

    :param mix: draws the jobs.
    :param warm: seconds until measuring begins: at first all waits ask at once, as after a triggerer's restart. A peer
        with an interval needs only that.
    :param seconds: how long is measured; the same.
    :param interval: instead of the peer's own.
    """
    every = peer.interval if interval is None else interval
    row.interval = every or None
    if every:  # nothing to settle but the phases
        warm, seconds = max(WARM_SECONDS, every), max(WINDOW_SECONDS, every)
    if peer.rate(row.waits, every) > MOST_REQUESTS_PER_SECOND or row.waits > peer.most:
        return computed(row, mix.new(1000), every, peer)
    base = resident_bytes()
    async with _streaming(kling, peer, mix, row.waits, conn_id, every) as stream:
        with measured() as first:
            async with heart() as late_at_start:
                await asyncio.sleep(warm)
        await _measure(row, stream, seconds)
        async with heart() as late:
            await asyncio.sleep(min(seconds, LOOP_SECONDS))
        row.loop_p99_ms = 1000 * (percentile(late, 0.99) or 0.0)
        row.loop_max_ms = 1000 * max(late, default=0.0)
        row.rss_kb = max(0.0, (resident_bytes() - base) / row.waits / 1024)
    row.details["loop_max_ms_at_start"] = 1000 * max(late_at_start, default=0.0)
    row.details["cpu_seconds_at_start"] = first.cpu
    return row


async def _measure(row: Row, stream: _Stream, seconds: float) -> None:
    kling, mix = stream.kling, stream.mix
    before, already, own_before = sum(kling.requests().values()), len(stream.ended), stream.own_cpu
    with measured() as meter:
        await asyncio.sleep(seconds)
        meter.foreign_cpu = stream.own_cpu - own_before
    requests = sum(kling.requests().values()) - before
    # By Little's law so many end on average; how many did in this minute is chance.
    ends = row.waits * meter.seconds / mix.mean
    note_ends(row, stream.ended[already:])
    row.requests, row.cpu_ms = requests / ends, 1000 * meter.cpu / ends
    row.core_percent = 100 * meter.cpu / meter.seconds
    row.details["requests_per_second"] = requests / meter.seconds
    row.details["seconds"] = meter.seconds
    overdue = time.time() - OVERDUE_SECONDS - (row.interval or 0)
    row.lost += sum(task.ends_at < overdue for task in stream.waiting.values())


@asynccontextmanager
async def _streaming(
    kling: Kling, peer: Peer, mix: Mix, waits: int, conn_id: str, every: float
) -> AsyncIterator[_Stream]:
    async with peer.open(kling, conn_id, every) as waiter:
        stream = _Stream(kling, waiter, mix)
        stream.begin(kling.book(mix.under_way(waits)), within=every)
        filling = asyncio.create_task(stream.keep_full())
        try:
            yield stream
        finally:
            filling.cancel()
            with suppress(asyncio.CancelledError):
                await filling
            await stream.stop()
