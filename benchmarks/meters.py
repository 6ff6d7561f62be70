"""What a wait costs this process: CPU, memory, and how late its event loop is."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import math
import os
import statistics
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

BEAT_SECONDS = 0.01
IDLE_SECONDS = 2.0


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

    :param cpu: CPU seconds of this process, all threads, without the heart.
    :param seconds: real seconds.
    :param late: how late each beat of the heart was, in seconds.
    :param foreign_cpu: CPU seconds that the benchmark itself used meanwhile; already taken off.
    """

    cpu: float = 0.0
    seconds: float = 0.0
    late: list[float] = field(default_factory=list)
    foreign_cpu: float = 0.0


@asynccontextmanager
async def measured(*, heart: bool, heart_share: float = 0.0) -> AsyncIterator[Meter]:
    """Measure a block.

    :param heart: whether a coroutine beats every 10 ms to see how late the event loop is. Only in real time.
    :param heart_share: share of a core that the heart alone uses, taken off.
    """
    meter = Meter()
    beats = asyncio.create_task(_beat(meter.late)) if heart else None
    cpu, start = time.process_time(), time.perf_counter()
    try:
        yield meter
    finally:
        meter.seconds = time.perf_counter() - start
        used = time.process_time() - cpu - meter.foreign_cpu
        meter.cpu = max(0.0, used - (heart_share * meter.seconds if heart else 0))
        if beats is not None:
            beats.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await beats


async def idle_share() -> float:
    """Share of a core that the heart alone uses in this process."""
    async with measured(heart=True) as meter:
        await asyncio.sleep(IDLE_SECONDS)
    return meter.cpu / meter.seconds


async def _beat(late: list[float]) -> None:
    while True:
        start = time.perf_counter()
        await asyncio.sleep(BEAT_SECONDS)
        late.append(max(0.0, time.perf_counter() - start - BEAT_SECONDS))
