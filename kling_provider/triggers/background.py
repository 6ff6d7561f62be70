"""Work that goes on beside the triggers of an event loop for as long as somebody needs it."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

log = logging.getLogger(__name__)

#: Seconds until crashed work starts again, doubling up to a minute; work that ran longer starts afresh.
RESTART_AFTER_SECONDS = 1.0
LONGEST_RESTART_SECONDS = 60.0

K = TypeVar("K")
V = TypeVar("V")


class PerLoop(Generic[K, V]):
    """Named things that belong to one event loop each; they go with their loop."""

    def __init__(self) -> None:
        self._of: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[K, V]] = WeakKeyDictionary()

    def here(self) -> dict[K, V]:
        """The things of the running loop."""
        loop = asyncio.get_running_loop()
        if loop not in self._of:
            for old in [old for old in self._of if old.is_closed()]:
                del self._of[old]
            self._of[loop] = {}
        return self._of[loop]


class Background:
    """Runs a coroutine function until it returns, again where it crashed, in the running event loop.

    It keeps nothing of the loop when it has ended, so that neither keeps the other alive.

    :param name: what it is, for the log.
    :param work: the coroutine function; it returns when there is nothing more to do.
    :param is_needed: whether anybody still depends on it.
    """

    def __init__(
        self, name: str, work: Callable[[], Coroutine[Any, Any, None]], is_needed: Callable[[], bool]
    ):
        self._name = name
        self._work = work
        self._is_needed = is_needed
        self._task: asyncio.Task[None] | None = None
        self._restart_after = RESTART_AFTER_SECONDS
        self._started_at = 0.0

    def ensure(self) -> None:
        """Start it, unless it runs."""
        if self._task is None:
            self._start()

    def _start(self) -> None:
        loop = asyncio.get_running_loop()
        self._started_at = loop.time()
        # An empty context: else what it logs lands in the log of the task that came first.
        self._task = loop.create_task(self._work(), context=contextvars.Context())
        self._task.add_done_callback(self._ended, context=contextvars.Context())

    def _ended(self, task: asyncio.Task[None]) -> None:
        loop = task.get_loop()
        error = None if task.cancelled() else task.exception()
        if not self._is_needed():  # over, or the loop is closing
            self._task = None
            if error is not None:
                log.error("%s crashed when nobody needed it any more.", self._name, exc_info=error)
            return
        if loop.time() - self._started_at > LONGEST_RESTART_SECONDS:
            self._restart_after = RESTART_AFTER_SECONDS
        if error is not None:
            log.error("%s crashed; it goes on in %g s.", self._name, self._restart_after, exc_info=error)
        # Also where it has returned: somebody came while it did.
        pause = 0.0 if error is None and not task.cancelled() else self._restart_after
        loop.call_later(pause, self._start, context=contextvars.Context())
        if pause:
            self._restart_after = min(2 * self._restart_after, LONGEST_RESTART_SECONDS)
