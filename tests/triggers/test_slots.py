"""What the slot trigger promises, on real event loops with small times."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import inspect
import json
import logging
import time
import weakref
from typing import Any

import pytest

from kling_provider.api.slots import SlotQueue
from kling_provider.api.submitting import Memory
from kling_provider.triggers import background, slots
from kling_provider.triggers.slots import KlingSlotTrigger, task_finished

WITHIN = 20


@pytest.fixture(autouse=True)
def _small_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "FIRST_EVENT_AFTER_SECONDS", 0.0)
    monkeypatch.setattr(background, "RESTART_AFTER_SECONDS", 0.01)
    monkeypatch.setattr("kling_provider.api.slots.RETURNS_WITHIN_SECONDS", 0.05)
    only_ends_count(monkeypatch)


def only_ends_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kling_provider.api.slots.SHORTEST_PROBE_GAP", 3600.0)


def probes_every(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    monkeypatch.setattr("kling_provider.api.slots.SHORTEST_PROBE_GAP", seconds)
    monkeypatch.setattr("kling_provider.api.slots.LONG_PROBE_GAP", seconds)


def trigger(**arguments: Any) -> KlingSlotTrigger:
    return KlingSlotTrigger(**{"kling_conn_id": "kling_default"} | arguments)


async def fire(one: KlingSlotTrigger) -> dict[str, Any]:
    (payload,) = [event.payload async for event in one.run()]
    return payload


def start(**arguments: Any) -> asyncio.Task[dict[str, Any]]:
    return asyncio.create_task(fire(trigger(**arguments)))


async def line_of(length: int, kind: str = "video") -> Any:
    """The line, as soon as so many stand in it."""
    async with asyncio.timeout(WITHIN):
        while True:
            line = slots._lines().get(("kling_default", kind))
            if line is not None and len(line.queue) == length:
                return line
            await asyncio.sleep(0.001)


async def over() -> None:
    """As soon as no line is left."""
    async with asyncio.timeout(WITHIN):
        while slots._lines():
            await asyncio.sleep(0.001)


async def result(waiting: asyncio.Task[dict[str, Any]]) -> dict[str, Any]:
    return await asyncio.wait_for(waiting, WITHIN)


async def test_a_probe_fires_once_and_hands_its_arguments_on(monkeypatch: pytest.MonkeyPatch) -> None:
    probes_every(monkeypatch, 0.05)
    event = await result(start(kind="image", first_wait_at=time.time() - 5, refusals=3, not_before=1.0))
    assert event["status"] == "slot"
    assert event.keys() == {"status", "kling_conn_id", "kind", "first_wait_at", "refusals", "handed_on"}
    assert (event["kling_conn_id"], event["kind"], event["refusals"]) == ("kling_default", "image", 3)
    json.dumps(event)


async def test_a_finished_task_lets_the_first_one_go() -> None:
    now = time.time()
    late, early = start(first_wait_at=now - 1), start(first_wait_at=now - 2)
    await line_of(2)
    task_finished("kling_default", "video")
    assert (await result(early))["first_wait_at"] == now - 2
    assert not late.done()
    task_finished("kling_default", "video")
    await result(late)


async def test_a_finished_task_of_another_kind_or_connection_lets_nobody_go() -> None:
    waiting = start(deadline=time.time() + 0.2)
    await line_of(1)
    task_finished("kling_default", "image")
    task_finished("kling_other", "video")
    assert (await result(waiting))["status"] == "deadline"


async def test_a_finished_task_with_nobody_waiting_is_nothing() -> None:
    task_finished("kling_default", "video")
    assert slots._lines() == {}


async def test_one_that_needs_two_slots_waits_for_two_ends() -> None:
    waiting = start(weight=2)
    await line_of(1)
    task_finished("kling_default", "video")
    await asyncio.sleep(0.05)
    assert not waiting.done()
    task_finished("kling_default", "video")
    await result(waiting)


async def test_a_task_that_held_two_slots_frees_both() -> None:
    waiting = start(weight=2)
    await line_of(1)
    task_finished("kling_default", "video", 2)
    await result(waiting)


@pytest.mark.parametrize("reason", ["concurrency", "rate"])
async def test_the_event_leaves_the_executor_time_to_report(
    reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slots, "FIRST_EVENT_AFTER_SECONDS", 0.3)
    probes_every(monkeypatch, 0.01)
    started = time.time()
    await result(start(reason=reason))
    assert time.time() - started >= 0.3
    await result(start(reason=reason, deadline=started - 100))
    assert time.time() - started >= 0.6


@pytest.mark.parametrize("reason", ["concurrency", "rate"])
async def test_retry_after_is_kept(reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "LONGEST_RATE_PAUSE_SECONDS", 0.0)
    probes_every(monkeypatch, 0.01)
    not_before = time.time() + 0.4
    await result(start(reason=reason, not_before=not_before))
    assert time.time() >= not_before


@pytest.mark.parametrize("reason", ["concurrency", "rate"])
async def test_it_fires_at_the_deadline(reason: str) -> None:
    event = await result(start(reason=reason, refusals=6, deadline=time.time() + 0.2))
    assert event["status"] == "deadline"
    assert (event["kling_conn_id"], event["refusals"]) == ("kling_default", 6)
    await over()


async def test_too_fast_stands_in_no_line_but_holds_the_probes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "LONGEST_RATE_PAUSE_SECONDS", 0.0)
    probes_every(monkeypatch, 0.5)
    not_before = time.time() + 1
    waiting = start()
    line = await line_of(1)
    fast = start(reason="rate", not_before=not_before)
    await asyncio.sleep(0.01)
    assert len(line.queue) == 1
    await result(waiting)
    assert time.time() >= not_before
    await result(fast)


@pytest.mark.parametrize(
    ("refusals", "least", "most"), [(1, 10, 20), (3, 10, 20), (5, 16, 32), (6, 30, 60), (7, 30, 60)]
)
async def test_the_pauses_after_1302_double_up_to_a_minute(
    refusals: int, least: float, most: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slots, "FIRST_EVENT_AFTER_SECONDS", 10.0)
    slept: list[float] = []
    ours, real_sleep = asyncio.get_running_loop(), asyncio.sleep

    async def sleep(seconds: float) -> None:
        if asyncio.get_running_loop() is not ours:  # a server of another test, which has not stopped yet
            return await real_sleep(seconds)
        slept.append(seconds)

    monkeypatch.setattr(slots.asyncio, "sleep", sleep)
    await fire(trigger(reason="rate", refusals=refusals))
    assert least <= slept[0] <= most


async def test_a_cancelled_trigger_cancels_only_itself() -> None:
    now = time.time()
    first, second = start(first_wait_at=now - 2), start(first_wait_at=now - 1)
    await line_of(2)
    first.cancel()
    await line_of(1)
    assert first.cancelled()
    task_finished("kling_default", "video")
    await result(second)


async def test_a_slot_that_was_given_to_a_trigger_just_cancelled_is_the_next_ones() -> None:
    now = time.time()
    first, second = start(first_wait_at=now - 2), start(first_wait_at=now - 1)
    line = await line_of(2)
    task_finished("kling_default", "video")
    while len(line.queue) == 2:
        await asyncio.sleep(0)
    first.cancel()
    await result(second)
    assert first.cancelled()


async def test_it_leaves_nothing_behind() -> None:
    waiting = [start() for _ in range(3)]
    line = await line_of(3)
    for _ in waiting:
        task_finished("kling_default", "video")
    await asyncio.gather(*waiting)
    await over()
    async with asyncio.timeout(WITHIN):
        while line._background._task is not None:
            await asyncio.sleep(0.001)
    assert line._futures == {}
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_crash_of_the_driver_fails_and_forgets_nobody(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real, crashes = SlotQueue.next_release, []

    def crashing(self: SlotQueue, now: float) -> Any:
        if len(crashes) < 3:
            crashes.append(now)
            raise RuntimeError("a bug")
        return real(self, now)

    monkeypatch.setattr(SlotQueue, "next_release", crashing)
    now = time.time()
    waiting = [start(first_wait_at=now - 2), start(first_wait_at=now - 1)]
    await line_of(2)
    for _ in waiting:
        task_finished("kling_default", "video")
    assert [(await result(one))["status"] for one in waiting] == ["slot", "slot"]
    assert len(crashes) == 3
    assert caplog.text.count("crashed") == 3
    await over()


async def test_a_driver_that_is_cancelled_starts_again() -> None:
    waiting = start()
    line = await line_of(1)
    line._background._task.cancel()
    task_finished("kling_default", "video")
    await result(waiting)
    await over()


async def test_the_driver_logs_into_no_tasks_log(monkeypatch: pytest.MonkeyPatch) -> None:
    whose: contextvars.ContextVar[str] = contextvars.ContextVar("whose", default="nobody's")
    seen: list[str] = []
    real = SlotQueue.next_release

    def looking(self: SlotQueue, now: float) -> Any:
        seen.append(whose.get())
        if len(seen) == 1:
            raise RuntimeError("a bug")
        return real(self, now)

    class Whose(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.levelno >= logging.ERROR:
                seen.append(whose.get())

    monkeypatch.setattr(SlotQueue, "next_release", looking)
    handler = Whose()
    background.log.addHandler(handler)
    try:
        whose.set("the first one's")
        waiting = start()
        await line_of(1)
        task_finished("kling_default", "video")
        await result(waiting)
    finally:
        background.log.removeHandler(handler)
    assert set(seen) == {"nobody's"}
    assert len(seen) > 2


def test_every_loop_has_lines_of_its_own_and_a_closed_one_is_let_go() -> None:
    loops = []

    async def abandoned() -> None:
        loops.append(weakref.ref(asyncio.get_running_loop()))
        waiting = start()
        await line_of(1)
        assert not waiting.done()

    async def served() -> None:
        loops.append(weakref.ref(asyncio.get_running_loop()))
        assert slots._lines() == {}
        waiting = start()
        await line_of(1)
        task_finished("kling_default", "video")
        await result(waiting)

    asyncio.run(abandoned())
    asyncio.run(served())

    async def nothing_is_left() -> None:
        assert slots._lines() == {}
        gc.collect()
        assert [loop() for loop in loops] == [None, None]

    asyncio.run(nothing_is_left())


async def test_a_hundred_triggers_go_in_order() -> None:
    now = time.time()
    order: list[float] = []

    async def one(first_wait_at: float) -> None:
        order.append((await fire(trigger(first_wait_at=first_wait_at)))["first_wait_at"])

    waiting = [asyncio.create_task(one(now - number)) for number in range(100)]
    await line_of(100)
    for _ in waiting:
        task_finished("kling_default", "video")
    async with asyncio.timeout(WITHIN):
        await asyncio.gather(*waiting)
    assert order == sorted(order)


def test_its_arguments_survive_storage_and_rows_of_an_older_version_still_load() -> None:
    path, arguments = trigger(
        kind="image", weight=4, deadline=5.0, reason="rate", handed_on={"digest": "d"}
    ).serialize()
    assert path == "kling_provider.triggers.slots.KlingSlotTrigger"
    again = KlingSlotTrigger(**json.loads(json.dumps(arguments)))
    assert again.serialize() == (path, arguments)
    parameters = inspect.signature(KlingSlotTrigger).parameters
    assert set(parameters) == set(arguments)
    required = [name for name, one in parameters.items() if one.default is inspect.Parameter.empty]
    assert required == ["kling_conn_id"]


async def test_killing_it_says_that_nothing_is_charged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        await trigger(refusals=2).on_kill()
    assert "nothing runs at Kling for this task, and nothing is charged" in caplog.text


@pytest.mark.parametrize("known", [Memory(posts=1), Memory(may_be_booked=True)])
async def test_killing_it_after_an_unclear_answer_says_that_a_task_may_be_booked(
    known: Memory, caplog: pytest.LogCaptureFixture
) -> None:
    handed_on = {"memory": known.to_dict(), "external_task_id": "boat"}
    with caplog.at_level(logging.WARNING):
        await trigger(handed_on=handed_on).on_kill()
    assert (
        "submit (external_task_id=boat) may be booked at Kling, and is then paid. Clear this" in caplog.text
    )
    assert "nothing is charged" not in caplog.text
