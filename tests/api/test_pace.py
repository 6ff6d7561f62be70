"""When it is worth asking again: rarely before the usual end, often around it, ever less behind it."""

from __future__ import annotations

import math
import random
from itertools import pairwise
from statistics import mean

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kling_provider.api.endpoints import ENDPOINTS, endpoint_for
from kling_provider.api.pace import BELIEVED_FROM, LONGEST_GAP_SECONDS, Durations, Expectation, profile_of

#: Published averages, which the expectations start from.
BUILT_IN = {
    "image2video": 164,
    "text2video": 319,
    "lip-sync": 455,
    "effects": 320,
    "images/generations": 32,
    "kolors-virtual-try-on": 19,
}


def asks(expected: Expectation, end: float, least: float = 5.0, start: float = 10.0) -> list[float]:
    """When a task that takes ``end`` seconds is asked for."""
    times = [start]
    while times[-1] < end:
        times.append(times[-1] + expected.gap(times[-1], least))
    return times


def waits(durations: Durations, median: float, tasks: int, seed: int) -> list[tuple[int, float]]:
    """Requests and lag of tasks, one after the other, each learned from."""
    dice, seen = random.Random(seed), []
    for _ in range(tasks):
        end = median * math.exp(dice.gauss(0, 0.15))
        expected = durations.expect("image2video", "p")
        start = 10.0 if expected.seen < BELIEVED_FROM else 10.0 + expected.gap(10.0, 5.0)  # as a watch does
        times = asks(expected, end, start=start)
        seen.append((len(times), times[-1] - end))
        durations.learn("image2video", "p", end)
    return seen


def figures(seen: list[tuple[int, float]]) -> tuple[float, float]:
    return mean(requests for requests, _ in seen), mean(lag for _, lag in seen)


@pytest.mark.parametrize(("endpoint", "seconds"), BUILT_IN.items())
def test_the_first_expectation_is_the_published_average(endpoint: str, seconds: float) -> None:
    assert Durations().expect(endpoint).seconds == seconds


def test_a_connection_may_say_how_long_tasks_take() -> None:
    durations = Durations({"image2video": 40, "*": 90})
    assert durations.expect("image2video").seconds == 40
    assert durations.expect("text2video").seconds == 90
    durations.set_typical({"*": 70})
    assert durations.expect("image2video").seconds == 70


@pytest.mark.parametrize("seed", range(5))
def test_with_the_right_expectation_a_wait_takes_few_requests_and_little_lag(seed: int) -> None:
    requests, lag = figures(waits(Durations(), 164, 300, seed))
    assert requests <= 8
    assert lag <= 5


@pytest.mark.parametrize("wrong", [0.7, 1.3, 1 / 0.7, 1 / 1.3])
def test_a_wrong_expectation_is_unlearned_after_twenty_tasks(wrong: float) -> None:
    seen = waits(Durations({"*": 164 * wrong}), 164, 400, 1)
    assert figures(seen[:20])[1] <= 10
    requests, lag = figures(seen[20:])
    assert requests <= 8
    assert lag <= 5


def test_asks_are_rare_early_dense_around_the_end_and_rarer_in_the_tail() -> None:
    times = asks(Expectation(164, 0.15, seen=50), 1500)
    early = [later - earlier for earlier, later in pairwise(times) if later < 110]
    dense = [later - earlier for earlier, later in pairwise(times) if 150 < earlier < 180]
    tail = [later - earlier for earlier, later in pairwise(times) if earlier > 600]
    assert len(early) <= 1
    assert max(dense) <= 10
    assert min(tail) > 2 * max(dense)


@given(
    seconds=st.floats(0.1, 5000),
    spread=st.floats(0.05, 1),
    elapsed=st.floats(0, 1e5),
    least=st.floats(0.05, 600),
)
@example(seconds=2.0, spread=1.0, elapsed=5e-324, least=1.0)
def test_a_gap_is_never_shorter_than_asked_nor_without_end(
    seconds: float, spread: float, elapsed: float, least: float
) -> None:
    gap = Expectation(seconds, spread).gap(elapsed, least)
    assert least <= gap <= max(least, LONGEST_GAP_SECONDS)


@given(st.floats(1, 4000), st.floats(1, 4000))
def test_the_share_that_is_over_grows(first: float, second: float) -> None:
    expected = Expectation(164, 0.2)
    early, late = sorted((first, second))
    assert 0 <= expected.share_over(early) <= expected.share_over(late) <= 1


def test_asking_once_is_worth_it_only_when_the_task_may_be_over() -> None:
    expected = Expectation(164, 0.2)
    assert not expected.may_be_over(-5)
    assert not expected.may_be_over(60)
    assert expected.may_be_over(140)


def test_what_is_learned_of_one_kind_of_work_is_the_first_guess_of_another() -> None:
    durations = Durations()
    for _ in range(10):
        durations.learn("image2video", "image2video kling-v3 pro 5", 80.0)
    assert durations.expect("image2video", "image2video kling-v3 pro 5").seconds == pytest.approx(80, rel=0.1)
    other = durations.expect("image2video", "image2video kling-v3 pro 10")
    assert other.seconds == pytest.approx(80, rel=0.1)
    durations.learn("image2video", "image2video kling-v3 pro 10", 200.0)
    assert durations.expect("image2video", "image2video kling-v3 pro 10").seconds > 110
    assert durations.expect("text2video").seconds == 319


def test_one_that_hung_for_hours_does_not_spoil_what_was_learned() -> None:
    durations = Durations()
    for _ in range(20):
        durations.learn("image2video", "", 100.0)
    before = durations.expect("image2video")
    durations.learn("image2video", "", 40_000.0)
    after = durations.expect("image2video")
    assert after.seconds == pytest.approx(before.seconds, rel=0.05)


def test_only_the_last_ones_count() -> None:
    durations = Durations()
    for seconds in (100.0, 60.0):
        for _ in range(80):
            durations.learn("image2video", "", seconds)
    assert durations.expect("image2video").seconds == pytest.approx(60, rel=0.05)


@pytest.mark.parametrize("seconds", [0.0, -1.0, math.inf, math.nan])
def test_a_time_that_cannot_be_is_not_learned(seconds: float) -> None:
    durations = Durations()
    durations.learn("image2video", "", seconds)
    assert durations.expect("image2video").seen == 0


def test_what_nobody_knows_is_expected_within_wide_bounds() -> None:
    raw = Durations().expect("/v2/videos/new-thing")
    assert raw.spread > 0.5
    assert Durations().expect("no such endpoint").spread > 0.5


@pytest.mark.parametrize(
    ("endpoint", "body", "profile"),
    [
        (
            "image2video",
            {"model_name": "kling-v2-6", "mode": "pro", "duration": "5", "prompt": "x"},
            "image2video kling-v2-6 pro 5",
        ),
        ("image2video", {"image": b"data"}, "image2video - - -"),
        (
            "text-to-video/kling-3.0",
            {"settings": {"resolution": "1080p", "duration": 5}},
            "text-to-video/kling-3.0 - 1080p 5",
        ),
        ("image2video", {"model_name": "m" * 500}, "image2video " + "m" * 108),
    ],
)
def test_the_profile_names_what_the_time_depends_on(endpoint: str, body: dict, profile: str) -> None:
    assert profile_of(endpoint_for(endpoint), body) == profile


def test_every_task_endpoint_has_an_expectation() -> None:
    for row in ENDPOINTS.values():
        if row.work == "task":
            assert Durations().expect(row.name).seconds > 0
