"""KlingTaskTrigger: wait for one task in the triggerer."""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from collections.abc import AsyncIterator, Mapping
from decimal import Decimal
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from kling_provider.api.endpoints import check_id, endpoint_for
from kling_provider.api.errors import Failure, InvalidRequest, Reaction
from kling_provider.api.polling import Decision, Finished, GaveUp
from kling_provider.api.pricing import usd_of
from kling_provider.triggers.slots import GoOn, may_be_booked, task_finished
from kling_provider.waiting import event_of

log = logging.getLogger(__name__)

#: Not before so many seconds after the deferral: an event that overtakes the executor's report that the
#: worker is done makes the scheduler fail the task ("finished with state success, but queued").
FIRST_ASK_AFTER_SECONDS = 10.0


class KlingTaskTrigger(BaseTrigger):
    """Ask for a task until it is over or the deadline has passed, then fire once.

    The arguments are stored unencrypted by Airflow: plain values, never a key, a signed URL or a picture.
    New ones need defaults, because rows of an older version must still load.

    :param task_id: Kling's id.
    :param endpoint: the endpoint it was made with.
    :param kling_conn_id: Airflow connection of type ``kling``.
    :param poke_interval: smallest gap between two asks, in seconds.
    :param deadline: epoch seconds.
    :param asked_at: epoch seconds of the worker's last ask or submit.
    :param external_task_id: the id Kling's echo must show, if one is known; handed on to the worker.
    :param units: what it is expected to cost, for the message when it is killed.
    :param slots: how many slots of the account it holds; a result with pictures tells it better.
    :param profile: what its time depends on, as ``pace.profile_of`` names it; empty: the endpoint alone.
    :param booked_at: epoch seconds when it was submitted, by our clock, if known.
    """

    def __init__(
        self,
        task_id: str,
        endpoint: str,
        kling_conn_id: str,
        poke_interval: float,
        deadline: float,
        asked_at: float = 0.0,
        external_task_id: str | None = None,
        units: str | None = None,
        slots: int = 1,
        profile: str = "",
        booked_at: float | None = None,
    ):
        super().__init__()  # type: ignore[no-untyped-call]
        self.arguments: dict[str, Any] = {
            "task_id": task_id,
            "endpoint": endpoint,
            "kling_conn_id": kling_conn_id,
            "poke_interval": poke_interval,
            "deadline": deadline,
            "asked_at": asked_at,
            "external_task_id": external_task_id,
            "units": units,
            "slots": slots,
            "profile": profile,
            "booked_at": booked_at,
        }

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Give class path and arguments, to be stored."""
        return f"{type(self).__module__}.{type(self).__qualname__}", dict(self.arguments)

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and yield one event: finished, timeout or gave_up."""
        event = event_of(await self._wait())
        handed_on = ("task_id", "endpoint", "external_task_id")
        yield _WaitIsOver(payload={**event, **{name: self.arguments[name] for name in handed_on}})

    async def on_kill(self) -> None:
        """Say what goes on: Kling has no way to cancel."""
        units = Decimal(self.arguments["units"]) if self.arguments["units"] else None
        log.warning("%s", kill_message(self.arguments["task_id"], self.arguments["endpoint"], units))

    async def _wait(self) -> Decision:
        if not _loaded:  # with its HTTP clients, it would hold up the loop of all triggers
            await asyncio.to_thread(_load_watcher)
        from kling_provider.triggers.watch import Watch
        from kling_provider.triggers.watcher import watcher_for

        told = self.arguments
        now = time.time()
        asked_at = min(told["asked_at"], now)  # a worker's clock may be ahead
        try:
            row = endpoint_for(told["endpoint"])
            check_id(told["task_id"])
        except InvalidRequest as error:
            return GaveUp(Failure(Reaction.BAD_REQUEST, str(error)))
        watcher = watcher_for(told["kling_conn_id"])
        watch = Watch(
            task_id=told["task_id"],
            row=row,
            durations=watcher.durations,
            poke_interval=told["poke_interval"],
            earliest=asked_at + max(told["poke_interval"], FIRST_ASK_AFTER_SECONDS),
            deadline=told["deadline"],
            asked_at=asked_at,
            profile=told["profile"],
            booked_at=told["booked_at"],
        )
        decision = await watcher.wait(watch)
        if isinstance(decision, Finished):
            task_finished(told["kling_conn_id"], row.slots, len(decision.task.images) or told["slots"])
        # Others' questions may have brought the answer early.
        await asyncio.sleep(max(0.0, asked_at + FIRST_ASK_AFTER_SECONDS - time.time()))
        return decision


class _WaitIsOver(TriggerEvent):
    """The event of a wait. Airflow logs each event as it shows itself: this one without the signed addresses in it."""

    def __repr__(self) -> str:
        return "TriggerEvent<{status}: task {task_id} of {endpoint}>".format(**self.payload)

    def __str__(self) -> str:
        return repr(self)


#: Names of what was imported in a thread; ``sys.modules`` has it before it is whole.
_loaded: set[str] = set()


def _load_watcher() -> None:
    from kling_provider.triggers import watcher

    # All of Airflow is imported by now, for good. A full garbage collection that looks through it holds up the loop of
    # all triggers (0.13 s where nothing else is loaded; Airflow warns at 0.2 s); the next ones look at what came after.
    gc.freeze()
    _loaded.add(watcher.__name__)


class KlingPauseTrigger(BaseTrigger):
    """Wait until a moment, so that no worker does.

    :param until: epoch seconds.
    :param handed_on: what the submit is to be told afterwards.
    """

    def __init__(self, until: float, handed_on: Mapping[str, Any] | None = None):
        super().__init__()  # type: ignore[no-untyped-call]
        self.arguments: dict[str, Any] = {
            "until": until,
            "handed_on": None if handed_on is None else dict(handed_on),
        }

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Give class path and arguments, to be stored."""
        return f"{type(self).__module__}.{type(self).__qualname__}", dict(self.arguments)

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and yield one event."""
        await asyncio.sleep(max(0.0, self.arguments["until"] - time.time()))
        yield GoOn(payload={"status": "go", "handed_on": self.arguments["handed_on"]})

    async def on_kill(self) -> None:
        """Say whether there may be something to look after at Kling."""
        log.warning(
            "Killed while submitting: %s",
            may_be_booked(self.arguments["handed_on"])
            or "nothing is booked at Kling, and nothing is charged.",
        )


def kill_message(task_id: str, endpoint: str, units: Decimal | None = None) -> str:
    """Say what killing or clearing a waiting task means at Kling.

    :param task_id: Kling's id.
    :param endpoint: the endpoint it was made with.
    :param units: what it is expected to cost, if known.
    """
    return (
        f"Task {task_id} of {endpoint} goes on at Kling, which cannot cancel; it will be paid if it succeeds"
        f"{f' (about {priced(units, endpoint)})' if units else ''}. Clear the task to collect it, which submits "
        f"nothing; or collect it elsewhere with KlingAdoptOperator(kling_task_id={task_id!r}, endpoint={endpoint!r})."
    )


def priced(units: Decimal, endpoint: str) -> str:
    """Show units with their list price.

    :param units: of the pack that pays for the endpoint.
    :param endpoint: name of the endpoint.
    """
    usd = usd_of(endpoint, units)
    if usd is None:
        return f"{units} units"
    dollars = f"{usd:.2f}" if usd >= Decimal("0.01") else f"{usd.normalize():f}"
    return f"{units} units = {dollars} USD at list price"
