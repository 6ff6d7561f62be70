"""A clock that runs faster, for the whole process: 164 s pass in 8, and no code in it knows."""

from __future__ import annotations

import selectors
import time
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Clock:
    """How fast time passes, and since when. Processes with equal ones tell the same time.

    :param factor: seconds told per real second.
    :param epoch: real epoch seconds when both clocks agreed.
    :param monotonic: the same moment on the monotonic clock, which Linux shares between processes.
    """

    factor: float
    epoch: float
    monotonic: float

    @classmethod
    def starting_now(cls, factor: float) -> Clock:
        """A clock that agrees with the real one now."""
        return cls(factor, time.time(), time.monotonic())

    @classmethod
    def read(cls, text: str) -> Clock:
        """Read what ``str`` wrote."""
        return cls(*(float(part) for part in text.split(",")))

    def __str__(self) -> str:
        return f"{self.factor!r},{self.epoch!r},{self.monotonic!r}"


def install(clock: Clock) -> None:
    """Let this process live by a clock. Before anything is imported that takes ``time`` apart.

    ``time.time``, ``time.monotonic``, ``time.sleep`` and the waiting of event loops are changed; CPU time,
    ``perf_counter`` and the time-outs of sockets stay real.
    """
    if clock.factor == 1:
        return
    factor, real_time, real_monotonic, real_sleep = clock.factor, time.time, time.monotonic, time.sleep

    def fast_time() -> float:
        return clock.epoch + (real_time() - clock.epoch) * factor

    def fast_monotonic() -> float:
        return clock.monotonic + (real_monotonic() - clock.monotonic) * factor

    def fast_sleep(seconds: Any, /) -> None:
        real_sleep(seconds / factor)

    class FastSelector(selectors.DefaultSelector):
        """Waits as long as the event loop means."""

        def select(self, timeout: float | None = None) -> Any:
            return super().select(timeout if timeout is None or timeout <= 0 else timeout / factor)

    time.time, time.monotonic, time.sleep = fast_time, fast_monotonic, fast_sleep
    selectors.DefaultSelector = FastSelector  # type: ignore[misc]
