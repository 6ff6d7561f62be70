"""What a waiting task weighs, as Python's allocator counts it. Counting slows down: nothing else is measured."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc

from benchmarks.durations import Mix
from benchmarks.peers.base import Peer
from benchmarks.rows import Row
from benchmarks.server import Kling
from benchmarks.waits import wait_for

#: How long the waits are let ask.
SETTLE_SECONDS = 16.0
#: Nobody finishes while it is weighed.
FACTOR = 20.0


async def weigh(row: Row, kling: Kling, peer: Peer, mix: Mix, conn_id: str) -> Row:
    """Fill a row.

    :param mix: draws the jobs; each takes much longer, so that none ends meanwhile.
    """
    row.interval = peer.interval or None
    jobs = [type(job)(job.endpoint, job.seconds * FACTOR, job.age) for job in mix.under_way(row.waits)]
    async with peer.open(kling, conn_id, peer.interval) as waiter:
        first, *tasks = kling.book([jobs[0], *jobs])
        # What the first wait loads and opens is the base.
        waits = [asyncio.create_task(wait_for(waiter, first))]
        await asyncio.sleep(SETTLE_SECONDS / 2)
        gc.collect()
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        waits += [asyncio.create_task(wait_for(waiter, task)) for task in tasks]
        await asyncio.sleep(SETTLE_SECONDS)
        gc.collect()
        row.heap_kb = (tracemalloc.get_traced_memory()[0] - before) / len(tasks) / 1024
        tracemalloc.stop()
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
    return row
