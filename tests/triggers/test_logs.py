"""What the logs of tasks tell while the watcher, or a worker, waits for them."""

from __future__ import annotations

import contextvars
import logging
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kling_provider.api.endpoints import ENDPOINTS
from kling_provider.api.pace import Durations
from kling_provider.api.tasks import KlingTask
from kling_provider.hooks.kling import KlingHook
from kling_provider.operators.kling import KlingTextToVideoOperator
from kling_provider.sensors.kling import KlingTaskSensor
from kling_provider.simulator.server import SimulatorServer
from kling_provider.triggers.watch import Watch
from kling_provider.triggers.watcher import BARS_PER_ROUND, Watcher
from tests.contexts import context_of

WHOSE: contextvars.ContextVar[str] = contextvars.ContextVar("whose", default="nobody")


@pytest.fixture
def lines() -> Iterator[list[tuple[str, str]]]:
    """What was logged, with the task whose context it was logged in."""
    told: list[tuple[str, str]] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            told.append((WHOSE.get(), record.getMessage()))

    handler, logger = Handler(), logging.getLogger("kling_provider")
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield told
    logger.removeHandler(handler)
    logger.setLevel(before)


def watch_of(task_id: str, elapsed: float) -> Watch:
    WHOSE.set(task_id)
    now = time.time()
    return Watch(
        task_id, ENDPOINTS["image2video"], Durations(), 5.0, now, now + 3600, now, booked_at=now - elapsed
    )


def running(task_id: str) -> KlingTask:
    return KlingTask(task_id, "image2video", "processing")


async def test_each_log_gets_its_own_lines_and_no_poll_noise(lines: list[tuple[str, str]]) -> None:
    watcher = Watcher("kling_default")
    watches = [watch_of("one", 20.0), watch_of("two", 102.0)]
    WHOSE.set("the watcher")
    for _ in range(20):
        for watch in watches:
            watcher._on_task(watch, running(watch.task_id))
    assert lines == [
        ("one", "Task one: processing now, [#.........] 12 %, 20 of about 164 s."),
        ("two", "Task two: processing now, [######....] 62 %, 102 of about 164 s."),
    ]
    watches[0].booked_at = time.time() - 50
    watcher._on_task(watches[0], running("one"))
    assert lines[2:] == [("one", "Task one: still processing, [###.......] 30 %, 50 of about 164 s.")]


async def test_thousands_who_wait_write_a_few_bars_a_round(lines: list[tuple[str, str]]) -> None:
    watcher = Watcher("kling_default")
    watches = [watch_of(str(number), 20.0) for number in range(100)]
    for watch in watches:
        watcher._on_task(watch, running(watch.task_id))
        watch.booked_at = time.time() - 100
    lines.clear()
    for watch in watches:
        watcher._on_task(watch, running(watch.task_id))
    assert len(lines) == BARS_PER_ROUND


@pytest.mark.parametrize("mode", ["poke", "reschedule"])
def test_a_worker_that_waits_tells_the_same(
    mode: str, kling_simulator: SimulatorServer, monkeypatch: pytest.MonkeyPatch, lines: Any
) -> None:
    extra = {"typical_seconds": 1000}
    monkeypatch.setenv("AIRFLOW_CONN_KLING_DEFAULT", kling_simulator.connection_json(**extra))
    kling_simulator.next_task(outcome="stuck")
    task_id = KlingHook().submit("text2video", {"prompt": "a boat"}).task_id
    submitted_at = (datetime.now(UTC) - timedelta(seconds=620)).isoformat()
    given = {"task_id": task_id, "endpoint": "text2video", "submitted_at": submitted_at}

    def poke(first: bool) -> list[str]:
        sensor = KlingTaskSensor(task_id="wait", kling_task_id=given, deferrable=False, mode=mode)
        since = None if first or mode == "poke" else datetime.now(UTC) - timedelta(seconds=60)
        context = context_of(sensor, first_reschedule=since)
        lines.clear()
        for _ in range(1 if mode == "reschedule" else 3):
            monkeypatch.setattr("kling_provider.sensors.kling.time.sleep", lambda _: None)
            assert not sensor.poke(context).is_done
        return [line for _, line in lines if line.startswith("Task ")]

    told = poke(first=True)
    assert told
    assert all(" now, [######....] 62 %, 62" in line for line in told)
    assert len(told) <= 2  # submitted, processing
    if mode == "reschedule":  # nothing is new since ten seconds ago
        assert poke(first=False) == []


def test_the_log_of_a_submit_says_what_was_sent(
    kling_simulator: SimulatorServer, kling_connection: str, lines: Any
) -> None:
    operator = KlingTextToVideoOperator(task_id="video", prompt="a secret plan", duration="10")
    task_id = operator.execute(context_of(operator))
    (line,) = [line for _, line in lines if line.startswith("Submitted")]
    assert line.startswith(f"Submitted task {task_id} of text2video (model kling-v2-6, duration 10, ")
    assert "external_task_id af1-" in line
    assert line.endswith("USD at list price).")
    assert "secret" not in line
