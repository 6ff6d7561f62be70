"""What a wait costs this process: CPU, memory, and how late its event loop is."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import math
import os
import statistics
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

BEAT_SECONDS = 0.01


def resident_bytes() -> int:
    """Memory of this process that is in RAM."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def percentile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that ``share`` of all do not exceed; None of nothing."""
    if not values:
        return None
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def mean(values: Sequence[float]) -> float | None:
    """The mean; None of nothing."""
    return statistics.fmean(values) if values else None


@dataclass
class Meter:
    """What was measured while a block ran.

    :param cpu: CPU seconds of this process, all threads.
    :param seconds: real seconds.
    :param foreign_cpu: CPU seconds that the benchmark itself used meanwhile; already taken off.
    """

    cpu: float = 0.0
    seconds: float = 0.0
    foreign_cpu: float = 0.0


@contextmanager
def measured() -> Iterator[Meter]:
    """Measure the CPU of a block."""
    meter = Meter()
    cpu, start = time.process_time(), time.perf_counter()
    try:
        yield meter
    finally:
        meter.seconds = time.perf_counter() - start
        meter.cpu = max(0.0, time.process_time() - cpu - meter.foreign_cpu)


@asynccontextmanager
async def heart() -> AsyncIterator[list[float]]:
    """Let a coroutine beat every 10 ms, in real time; gives how late each beat was, in seconds.

    Its own CPU is more than what it looks at: nobody's CPU is measured meanwhile.
    """
    late: list[float] = []
    beats = asyncio.create_task(_beat(late))
    try:
        yield late
    finally:
        beats.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await beats


async def _beat(late: list[float]) -> None:
    while True:
        start = time.perf_counter()
        await asyncio.sleep(BEAT_SECONDS)
        late.append(max(0.0, time.perf_counter() - start - BEAT_SECONDS))
