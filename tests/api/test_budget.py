"""The budget of requests: a rate that no window of time exceeds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kling_provider.api.budget import RequestBudget


@given(
    per_second=st.floats(0.1, 50),
    gaps=st.lists(st.floats(0, 3), min_size=1, max_size=60),
)
def test_no_window_of_time_holds_more_than_the_rate_and_one_burst(
    per_second: float, gaps: list[float]
) -> None:
    budget, now, sent = RequestBudget(per_second), 1000.0, []
    for gap in gaps:
        now += gap
        sent.append(now + budget.take(now))
    for first, start in enumerate(sent):
        for last in range(first, len(sent)):
            allowed = per_second * (sent[last] - start) + max(1.0, per_second)
            assert last - first + 1 <= allowed + 1e-6


def test_a_quiet_time_earns_a_burst_and_no_more() -> None:
    budget = RequestBudget(4)
    assert [budget.take(100.0) for _ in range(6)] == [0, 0, 0, 0, 0.25, 0.5]
    assert [budget.take(5000.0) for _ in range(5)] == [0, 0, 0, 0, 0.25]


def test_too_fast_halves_the_pace_and_answers_bring_it_back() -> None:
    budget = RequestBudget(8)
    for now in (100.0, 101.0, 104.0):  # the second is of the same storm
        budget.slow_down(now)
    assert budget.pace == 2
    for _ in range(100):
        budget.on_answer()
    assert budget.pace == 8
    for now in range(200, 300, 5):
        budget.slow_down(now)
    assert budget.pace == pytest.approx(0.5)


def test_a_pause_holds_everybody_back() -> None:
    budget = RequestBudget(4)
    budget.pause(130.0)
    budget.pause(110.0)
    assert budget.is_paused(129.0)
    assert [budget.take(100.0) for _ in range(3)] == [30, 30.25, 30.5]
    assert not budget.is_paused(130.0)
    assert budget.take(132.0) == 0
