"""A clock for tests with real sockets: time passes quickly while nobody is at work, else not at all.

A wait of ten minutes takes seconds, and what is measured in it does not depend on how busy the machine is:
the clock stands still but for leaps, and leaps only while the event loop has nothing to do, no thread of its
executor runs, and no server that was named to it has a request in hand or unread. ``clock.run(coroutine)`` is
``asyncio.run`` on it.
"""

from __future__ import annotations

import asyncio
import contextlib
import selectors
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar
from unittest import mock

T = TypeVar("T")

#: Looks so long, in real seconds, whether something happens, before it leaps so far at most.
LOOK, LEAP = 0.001, 10.0


class PatientClock:
    """The clock; it starts at the real time.

    ``at_work``: functions that tell whether somebody is; append those of servers.
    """

    def __init__(self) -> None:
        self.at_work: list[Callable[[], bool]] = []
        self.complaints: list[str] = []
        self._started = time.time()
        self._elapsed = 0.0
        self._in_threads = 0

    def time(self) -> float:
        """Epoch seconds."""
        return self._started + self._elapsed

    def monotonic(self) -> float:
        """Seconds for the event loop."""
        return self._elapsed

    @contextlib.contextmanager
    def everywhere(self) -> Iterator[None]:
        """``time.time`` and ``time.monotonic`` are this clock's, for all of the process."""
        with mock.patch("time.time", self.time), mock.patch("time.monotonic", self.monotonic):
            yield

    def run(self, main: Coroutine[Any, Any, T], most: float = 24 * 3600) -> T:
        """Run to completion in a new event loop; what the loop complains about ends up in ``complaints``.

        :param most: seconds of this clock, after which it is an error.
        """
        with self.everywhere(), asyncio.Runner(loop_factory=lambda: _Loop(self)) as runner:
            runner.get_loop().set_exception_handler(
                lambda _, context: self.complaints.append(
                    f"{context['message']} {context.get('exception')!r}"
                )
            )
            return runner.run(_in_time(main, most))

    @property
    def somebody_works(self) -> bool:
        """Whether there is a reason not to leap."""
        return self._in_threads > 0 or any(is_at_work() for is_at_work in self.at_work)

    def leap(self, seconds: float) -> None:
        """Let time pass."""
        self._elapsed += seconds

    def thread_starts(self) -> None:
        """Do not leap until as many have ended."""
        self._in_threads += 1

    def thread_ends(self, _: object = None) -> None:
        """See above."""
        self._in_threads -= 1


async def _in_time(main: Coroutine[Any, Any, T], most: float) -> T:
    async with asyncio.timeout(most):
        return await main


class _Selector(selectors.DefaultSelector):
    def __init__(self, clock: PatientClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None and timeout <= 0:
            return super().select(timeout)
        found = super().select(LOOK if timeout is None else min(timeout, LOOK))
        if not found and timeout is not None and not self._clock.somebody_works:
            found = super().select(0)  # an answer may have come since the first look
            if not found:
                self._clock.leap(min(timeout, LEAP))
        return found


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self, clock: PatientClock) -> None:
        self._clock = clock
        super().__init__(_Selector(clock))

    def time(self) -> float:
        return self._clock.monotonic()

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:
        self._clock.thread_starts()
        future = super().run_in_executor(executor, func, *args)
        future.add_done_callback(self._clock.thread_ends)
        return future
