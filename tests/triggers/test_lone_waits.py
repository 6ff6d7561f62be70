"""What one video alone costs: requests and lag of waits that share a connection with nobody."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Iterator
from statistics import mean

import pytest

from tests.nasty_server import NastyKling
from tests.patient_clock import PatientClock
from tests.triggers.test_many_waits import IMAGE, Came, connect, wait_for

pytestmark = pytest.mark.no_cover  # as in test_many_waits

MEDIAN, SPREAD = 164.0, 0.15


@pytest.fixture
def clock() -> PatientClock:
    return PatientClock()


@pytest.fixture
def kling(clock: PatientClock) -> Iterator[NastyKling]:
    with NastyKling(clock.time) as server:
        clock.at_work.append(server.is_at_work)
        yield server


def wait_alone(
    clock: PatientClock,
    kling: NastyKling,
    monkeypatch: pytest.MonkeyPatch,
    *,
    connections: int,
    each: int,
    seed: int,
    expected: float | None = None,
) -> list[list[tuple[int, float]]]:
    """Wait for ``each`` videos one after the other on every connection; gives requests and lag, per position.

    :param expected: what the connection takes for the usual time; None: the built-in one.
    """
    dice = random.Random(seed)
    extra = {} if expected is None else {"typical_seconds": expected}
    for number in range(connections):
        connect(monkeypatch, kling, f"lone_{number}", auth="key", **extra)

    async def one_after_the_other(number: int) -> list[Came]:
        came = []
        for _ in range(each):
            task = kling.book(MEDIAN * math.exp(dice.gauss(0, SPREAD)), IMAGE)
            came.append(await wait_for(task, clock, kling_conn_id=f"lone_{number}"))
        return came

    async def all_of_them() -> list[list[Came]]:
        return await asyncio.gather(*map(one_after_the_other, range(connections)))

    came = clock.run(all_of_them())
    asked: dict[str, int] = {}
    for request in kling.requests:
        for task_id in request.ids:
            asked[task_id] = asked.get(task_id, 0) + 1
    return [[(asked[one.task.task_id], one.lag) for one in row] for row in zip(*came, strict=True)]


def figures(rows: list[list[tuple[int, float]]]) -> tuple[float, float]:
    seen = [one for row in rows for one in row]
    return mean(requests for requests, _ in seen), mean(lag for _, lag in seen)


def test_a_video_alone_takes_few_requests_and_is_seen_soon(
    clock: PatientClock, kling: NastyKling, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So many that their mean is one: of 120 it was between 4.0 and 5.01 seconds."""
    requests, lag = figures(wait_alone(clock, kling, monkeypatch, connections=400, each=1, seed=1))
    print(f"fresh: {requests:.2f} requests, {lag:.2f} s")
    assert requests <= 8
    assert lag <= 5


@pytest.mark.parametrize("wrong", [0.7, 1.0, 1.3])
def test_a_wrong_expectation_costs_little_and_is_unlearned(
    wrong: float, clock: PatientClock, kling: NastyKling, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = wait_alone(clock, kling, monkeypatch, connections=12, each=30, seed=3, expected=MEDIAN * wrong)
    for name, some in (("first", rows[:1]), ("up to 20", rows[:20]), ("then", rows[20:])):
        print(f"{wrong:g} {name}: {figures(some)[0]:.2f} requests, {figures(some)[1]:.2f} s")
    assert figures(rows[:20])[1] <= 10
    requests, lag = figures(rows[20:])
    assert requests <= 8
    assert lag <= 5
