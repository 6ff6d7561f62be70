"""KlingSlotTrigger: wait in the triggerer until a create that Kling had no room for may be sent again."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any, Literal

from airflow.triggers.base import BaseTrigger, TriggerEvent

from kling_provider.api.slots import SlotQueue, Waiter
from kling_provider.triggers.background import Background, PerLoop

log = logging.getLogger(__name__)

#: Not before so many seconds after the deferral: an event that overtakes the executor's report that the
#: worker is done makes the scheduler fail the task ("finished with state success, but queued").
FIRST_EVENT_AFTER_SECONDS = 10.0
#: Pauses after 1302 double up to so many seconds.
LONGEST_RATE_PAUSE_SECONDS = 60.0
#: The line is looked at this often at least: the clock may be set anew while it sleeps.
LONGEST_SLEEP_SECONDS = 60.0


class GoOn(TriggerEvent):
    """The event that lets a submit go on: its ``status``, and as ``handed_on`` what the submit knew.

    Airflow's own ``kwargs`` would not do for that: ``dag.test()`` drops them where there is an event. And Airflow logs
    each event as it shows itself: this one without what it hands on.

    :param payload: ``status``, ``handed_on``, and what else the trigger tells.
    """

    def __repr__(self) -> str:
        return f"TriggerEvent<{self.payload['status']}>"

    def __str__(self) -> str:
        return repr(self)


CLEAR_TO_FIND_OUT = (
    "Clear this task to find out: it looks the task up before it sends anything, where the gateway can."
)


def may_be_booked(handed_on: Mapping[str, Any] | None) -> str:
    """Say what to do about a submit that waits, if this try or an earlier one may have left a task; else nothing.

    :param handed_on: what the submit knew.
    """
    known = handed_on or {}
    memory = known.get("memory") or {}
    if not (memory.get("posts") or memory.get("may_be_booked")):
        return ""
    about = f" (external_task_id={own_id})" if (own_id := known.get("external_task_id")) else ""
    return f"an earlier submit{about} may be booked at Kling, and is then paid. {CLEAR_TO_FIND_OUT}"


class KlingSlotTrigger(BaseTrigger):
    """Wait for a slot, or for Kling's pace, then fire once. It sends nothing; the worker does.

    The event is ``{"status": "slot"}`` or ``{"status": "deadline"}`` with the arguments that name the wait, and
    ``handed_on`` as it was given.
    The arguments are stored unencrypted by Airflow: plain values, never a key or the request. New ones need
    defaults, because rows of an older version must still load.

    :param kling_conn_id: Airflow connection of type ``kling``.
    :param kind: of the resource pack whose slots are waited for.
    :param weight: slots the create needs; for images their number.
    :param first_wait_at: epoch seconds of the first refusal, the place in the line; 0 means now.
    :param refusals: how often Kling refused this create so far.
    :param not_before: epoch seconds of the last refusal, plus what its Retry-After asked for; 0 means now.
    :param deadline: epoch seconds, or None for no end.
    :param reason: ``concurrency`` (1303) waits in line for a slot, ``rate`` (1302) for a while only.
    :param handed_on: what the submit is to be told afterwards.
    """

    def __init__(
        self,
        kling_conn_id: str,
        kind: str = "video",
        weight: int = 1,
        first_wait_at: float = 0.0,
        refusals: int = 1,
        not_before: float = 0.0,
        deadline: float | None = None,
        reason: Literal["concurrency", "rate"] = "concurrency",
        handed_on: Mapping[str, Any] | None = None,
    ):
        super().__init__()  # type: ignore[no-untyped-call]
        self.arguments: dict[str, Any] = {
            "kling_conn_id": kling_conn_id,
            "kind": kind,
            "weight": weight,
            "first_wait_at": first_wait_at,
            "refusals": refusals,
            "not_before": not_before,
            "deadline": deadline,
            "reason": reason,
            "handed_on": None if handed_on is None else dict(handed_on),
        }

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Give class path and arguments, to be stored."""
        return f"{type(self).__module__}.{type(self).__qualname__}", dict(self.arguments)

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and yield one event: slot or deadline."""
        status = await self._wait(time.time())
        about = {
            name: self.arguments[name] for name in ("kling_conn_id", "kind", "first_wait_at", "refusals")
        }
        yield GoOn(payload={"status": status, **about, "handed_on": self.arguments["handed_on"]})

    async def on_kill(self) -> None:
        """Say whether there may be something to look after at Kling."""
        told = self.arguments
        log.warning(
            "Killed while waiting for Kling to take it: %s",
            may_be_booked(told["handed_on"])
            or f"every create was refused so far ({told['refusals']}), so nothing runs at Kling for this task, and "
            "nothing is charged.",
        )

    async def _wait(self, now: float) -> str:
        told = self.arguments
        earliest = now + FIRST_EVENT_AFTER_SECONDS
        deadline = None if told["deadline"] is None else max(told["deadline"], earliest) - now
        try:
            async with asyncio.timeout(deadline):
                if told["reason"] == "rate":
                    await self._slow_down(now, max(earliest, told["not_before"]))
                else:
                    await self._stand_in_line(now, max(earliest, told["not_before"]))
        except TimeoutError:
            log.info("Kling took nothing until the deadline.")
            return "deadline"
        return "slot"

    async def _slow_down(self, now: float, ready_at: float) -> None:
        """Wait twice as long each time, spread: those refused together must not come back together."""
        doubled = min(2.0 ** min(self.arguments["refusals"], 10), LONGEST_RATE_PAUSE_SECONDS)
        half = max(doubled / 2, FIRST_EVENT_AFTER_SECONDS)
        until = max(ready_at, now + half * (1 + random.random()))  # noqa: S311 - not a secret
        for (kling_conn_id, _), line in _lines().items():
            if kling_conn_id == self.arguments["kling_conn_id"]:
                line.queue.slow_down(until)
        log.info("Kling wants fewer requests; back to a worker in %.0f s.", until - now)
        await asyncio.sleep(until - now)

    async def _stand_in_line(self, now: float, ready_at: float) -> None:
        told = self.arguments
        waiter = Waiter(
            first_wait_at=told["first_wait_at"] or now,
            refusals=told["refusals"],
            refused_at=min(told["not_before"] or now, now),
            ready_at=ready_at,
            weight=told["weight"],
        )
        await _line(told["kling_conn_id"], told["kind"]).wait(waiter)
        log.info("A slot may be free: back to a worker after %.0f s in line.", time.time() - now)


def task_finished(kling_conn_id: str, kind: str, slots: int = 1) -> None:
    """Tell the line of this process that a task was seen to end, which lets its first waiter go.

    :param kling_conn_id: the connection the task was asked for with.
    :param kind: of the resource pack whose slots it held.
    :param slots: how many it held.
    """
    if line := _lines().get((kling_conn_id, kind)):
        for _ in range(slots):
            line.on_finished()


class _Line:
    """The waiters of one connection and kind in this event loop, and the task that lets them go."""

    def __init__(self, kling_conn_id: str, kind: str):
        self.queue = SlotQueue(random=random.random)
        self._key = (kling_conn_id, kind)
        self._futures: dict[Waiter, asyncio.Future[None]] = {}
        self._changed = asyncio.Event()
        self._background = Background(
            f"The line for {kind} slots of {kling_conn_id}", self._drive, lambda: bool(self._futures)
        )

    async def wait(self, waiter: Waiter) -> None:
        """Wait for one's turn; whoever is cancelled leaves the line, and nobody else."""
        future = self._futures[waiter] = asyncio.get_running_loop().create_future()
        is_released = False
        try:
            self.queue.join(waiter, time.time())
            self._changed.set()
            self._background.ensure()
            log.info(
                "In line for a %s slot of %s: %d before this one, refused %d times so far.",
                self._key[1],
                self._key[0],
                self.queue.place(waiter),
                waiter.refusals,
            )
            await future
            is_released = True
        finally:
            del self._futures[waiter]
            if not is_released:
                self.queue.leave(waiter)
                self._changed.set()

    def on_finished(self) -> None:
        """Take note that a task was seen to end."""
        self.queue.on_finished(time.time())
        self._changed.set()

    async def _drive(self) -> None:
        try:
            while not self.queue.is_over(now := time.time()):
                waiter, seconds = self.queue.next_release(now)
                if waiter is None:
                    self._changed.clear()
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._changed.wait(), min(seconds, LONGEST_SLEEP_SECONDS))
                elif (future := self._futures[waiter]).done():  # cancelled, and not awake yet
                    self.queue.leave(waiter)
                else:
                    future.set_result(None)
        finally:
            if not self._futures:
                _lines().pop(self._key, None)


#: A line keeps its loop alive while somebody waits in it; it goes when nobody does, or with a closed loop.
_LINES: PerLoop[tuple[str, str], _Line] = PerLoop()
_lines = _LINES.here


def _line(kling_conn_id: str, kind: str) -> _Line:
    """The line to stand in; a new one where there is none."""
    key = (kling_conn_id, kind)
    return _lines().get(key) or _lines().setdefault(key, _Line(*key))
