"""All tasks are submitted within a moment and waited for until the last one is over: short waits, or a fast clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from benchmarks.durations import Job
from benchmarks.meters import measured
from benchmarks.peers.base import Peer
from benchmarks.rows import Row
from benchmarks.scenarios import Scenario
from benchmarks.server import Kling
from benchmarks.waits import note_ends, wait_for_all

#: More requests per real second would measure the simulator.
MOST_REQUESTS_PER_SECOND = 250.0
#: Longer than any interval here, and than a full walk of a long list.
PATIENCE_SECONDS = 200.0


async def batch(
    row: Row, kling: Kling, peer: Peer, jobs: Sequence[Job], conn_id: str, interval: float | None = None
) -> Row:
    """Fill a row.

    :param jobs: what is submitted. Those of an age were submitted so much earlier.
    :param interval: instead of the peer's own.
    """
    every = peer.interval if interval is None else interval
    row.interval = every or None
    if peer.rate(len(jobs), every) * row.scale > MOST_REQUESTS_PER_SECOND or len(jobs) > peer.most:
        return computed(row, jobs, every, peer)
    async with peer.open(kling, conn_id, every) as waiter:
        tasks = kling.book(jobs)
        before = sum(kling.requests().values())
        with measured() as meter:
            ended = await wait_for_all(waiter, tasks, PATIENCE_SECONDS)
        row.requests = (sum(kling.requests().values()) - before) / len(jobs)
    note_ends(row, ended)
    row.cpu_ms = meter.cpu / len(jobs) * 1000
    if row.scale == 1:
        row.core_percent = 100 * meter.cpu / meter.seconds
    return row


def affordable(peer: Peer, scenario: Scenario, interval: float | None) -> int:
    """How many of a scenario's waits this machine can hold at the same time; the clock counts."""
    rate = peer.rate(1, interval) * scenario.scale
    return scenario.waits if not rate else max(1, min(scenario.waits, int(MOST_REQUESTS_PER_SECOND / rate)))


def computed(row: Row, jobs: Sequence[Job], every: float, peer: Peer) -> Row:
    """What cannot run on this machine, as arithmetic says it: an ask at each interval, the last after the end."""
    row.requests = sum(job.seconds / every + 0.5 for job in jobs) / len(jobs) + peer.asks_at_end
    row.lag, row.is_computed = every / 2, True
    return row


def spread(jobs: Sequence[Job], seconds: float) -> list[Job]:
    """The same jobs, submitted one after the other in so many seconds: a mapped task does not start all at once."""
    return [replace(job, age=seconds * number / len(jobs)) for number, job in enumerate(jobs)]
