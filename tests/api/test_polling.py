"""When to ask again and when to stop: the rules one by one, then any sequence of answers at all."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kling_provider.api.errors import Failure, Reaction
from kling_provider.api.polling import (
    AUTH_GRACE_SECONDS,
    AUTH_RETRY_SECONDS,
    BELIEVED_AFTER,
    JITTER,
    LONGEST_BACKOFF_SECONDS,
    LONGEST_RETRY_AFTER_SECONDS,
    Decision,
    Finished,
    GaveUp,
    TaskPoller,
    TimedOut,
    Wait,
)
from kling_provider.api.tasks import KlingTask
from tests.api.properties import promise

NOW = 1790000000.0
RUNNING = KlingTask("1", "image2video", "processing")
SUCCEEDED = KlingTask("1", "image2video", "succeed")
FAILED = KlingTask("1", "image2video", "failed")
BLIP = Failure(Reaction.SERVER, "cut")
MISSING = Failure(Reaction.NOT_FOUND, "Task not found", 1201, 400)
REJECTED = Failure(Reaction.AUTH, "no", 1002, 401)
ARREARS = Failure(Reaction.ACCOUNT, "no", 1101, 429)
TRANSIENT = [Reaction.SERVER, Reaction.UNREADABLE, Reaction.RATE, Reaction.CONCURRENCY]
FINAL = [Reaction.BAD_REQUEST, Reaction.CONTENT_POLICY, Reaction.ACCOUNT, Reaction.NOT_FOUND]


def poller(
    *,
    poke_interval: float = 10,
    deadline: float | Callable[[KlingTask | None], float] = NOW + 3600,
    visible_by: float = NOW,
    random: float = 0.0,
    answered: bool = False,
) -> TaskPoller:
    return TaskPoller(
        poke_interval=poke_interval,
        deadline=deadline if callable(deadline) else lambda _: deadline,
        visible_by=visible_by,
        random=lambda: random,
        answered=answered,
    )


@pytest.mark.parametrize("task", [SUCCEEDED, FAILED])
@pytest.mark.parametrize("now", [NOW, NOW + 3600, NOW + 99999])
def test_a_finished_task_ends_the_wait_even_after_the_deadline(task: KlingTask, now: float):
    assert poller().on_task(task, now) == Finished(task)


@pytest.mark.parametrize("status", ["submitted", "processing", "dreaming"])
def test_a_running_task_is_asked_for_again_after_the_interval(status: str):
    assert poller(poke_interval=7).on_task(KlingTask("1", "x", status), NOW) == Wait(7)


def test_the_last_ask_is_at_the_deadline_and_only_then_it_is_over():
    asking = poller(poke_interval=10, deadline=NOW + 25)
    assert asking.on_task(RUNNING, NOW) == Wait(10)
    assert asking.on_task(RUNNING, NOW + 10) == Wait(10)
    assert asking.on_task(RUNNING, NOW + 20) == Wait(5)
    assert asking.on_task(RUNNING, NOW + 25) == TimedOut("processing", None)


def test_a_deadline_without_any_answer_says_so():
    assert poller(deadline=NOW).on_failure(BLIP, NOW) == TimedOut("unknown", BLIP)


def test_a_deadline_tells_the_last_known_status_and_the_last_failure():
    asking = poller(deadline=NOW + 10)
    asking.on_task(RUNNING, NOW)
    assert asking.on_failure(BLIP, NOW + 10) == TimedOut("processing", BLIP)


def test_the_deadline_moves_with_what_the_task_tells():
    asking = poller(deadline=lambda task: NOW + (100 if task else 10))
    assert asking.deadline == NOW + 10
    assert asking.on_task(RUNNING, NOW + 50) == Wait(10)
    assert asking.deadline == NOW + 100


def test_a_blip_doubles_the_gap_up_to_a_minute_and_an_answer_resets_it():
    asking = poller(poke_interval=10)
    waits = [asking.on_failure(BLIP, NOW) for _ in range(6)]
    assert waits == [Wait(10), Wait(20), Wait(40), Wait(60), Wait(60), Wait(60)]
    assert asking.on_task(RUNNING, NOW) == Wait(10)
    assert asking.on_failure(BLIP, NOW) == Wait(10)


def test_a_long_interval_is_not_shortened_by_a_blip():
    assert poller(poke_interval=300).on_failure(BLIP, NOW) == Wait(300)
    assert LONGEST_BACKOFF_SECONDS < 300


@pytest.mark.parametrize("reaction", TRANSIENT)
def test_a_transient_failure_never_ends_the_wait(reaction: Reaction):
    asking = poller(deadline=NOW + 10**6)
    assert all(isinstance(asking.on_failure(Failure(reaction, "x"), NOW), Wait) for _ in range(500))


@pytest.mark.parametrize("reaction", FINAL)
def test_a_final_refusal_is_believed_after_three_in_a_row(reaction: Reaction):
    asking, failure = poller(), Failure(reaction, "no")
    assert BELIEVED_AFTER == 3
    assert isinstance(asking.on_failure(failure, NOW), Wait)
    assert isinstance(asking.on_failure(failure, NOW), Wait)
    assert asking.on_failure(failure, NOW) == GaveUp(failure)


@pytest.mark.parametrize("between", [RUNNING, BLIP])
def test_anything_else_between_two_refusals_starts_the_count_anew(between: KlingTask | Failure):
    asking = poller()
    for _ in range(5):
        asking.on_failure(ARREARS, NOW)
        decision = asking.on_failure(ARREARS, NOW)
        assert isinstance(decision, Wait)
        if isinstance(between, KlingTask):
            asking.on_task(between, NOW)
        else:
            asking.on_failure(between, NOW)


def test_not_found_is_normal_until_the_task_must_be_visible():
    asking = poller(visible_by=NOW + 120)
    assert all(isinstance(asking.on_failure(MISSING, NOW + 119), Wait) for _ in range(20))
    assert isinstance(asking.on_failure(MISSING, NOW + 120), Wait)
    assert isinstance(asking.on_failure(MISSING, NOW + 120), Wait)
    assert asking.on_failure(MISSING, NOW + 120) == GaveUp(MISSING)


def test_another_refusal_has_no_such_time():
    asking = poller(visible_by=NOW + 120)
    decisions = [asking.on_failure(ARREARS, NOW) for _ in range(3)]
    assert decisions[-1] == GaveUp(ARREARS)


@pytest.mark.parametrize("reaction", [Reaction.AUTH, Reaction.RESIGN])
def test_a_key_that_never_worked_ends_the_wait_at_once(reaction: Reaction):
    failure = Failure(reaction, "no")
    assert poller().on_failure(failure, NOW) == GaveUp(failure)


@pytest.mark.parametrize("reaction", [Reaction.AUTH, Reaction.RESIGN])
@pytest.mark.parametrize("answered", [True, False])
def test_a_key_that_worked_is_given_ten_minutes_to_be_replaced(reaction: Reaction, answered: bool):
    failure, asking = Failure(reaction, "no"), poller(answered=answered, poke_interval=1)
    if not answered:
        asking.on_task(RUNNING, NOW - 50)
    assert asking.on_failure(failure, NOW) == Wait(AUTH_RETRY_SECONDS)
    assert isinstance(asking.on_failure(failure, NOW + AUTH_GRACE_SECONDS - 1), Wait)
    assert asking.on_failure(failure, NOW + AUTH_GRACE_SECONDS) == GaveUp(failure)


def test_a_replaced_key_starts_the_ten_minutes_anew():
    asking = poller(answered=True)
    asking.on_failure(REJECTED, NOW)
    asking.on_task(RUNNING, NOW + 300)
    assert isinstance(asking.on_failure(REJECTED, NOW + AUTH_GRACE_SECONDS + 1), Wait)


@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [(0, 10), (3, 10), (45, 45), (300, 300), (301, 300), (10**9, 300), (float("inf"), 300)],
)
def test_retry_after_is_honoured_and_bounded(retry_after: float, seconds: float):
    assert LONGEST_RETRY_AFTER_SECONDS == 300
    failure = Failure(Reaction.RATE, "slow", retry_after=retry_after)
    assert poller(poke_interval=10).on_failure(failure, NOW) == Wait(seconds)


def test_retry_after_never_leads_past_the_deadline():
    failure = Failure(Reaction.RATE, "slow", retry_after=200)
    assert poller(deadline=NOW + 30).on_failure(failure, NOW) == Wait(30)


@pytest.mark.parametrize(("random", "seconds"), [(0, 10), (0.5, 10.5), (1, 11)])
def test_asks_that_started_together_are_spread(random: float, seconds: float):
    assert poller(poke_interval=10, random=random).on_task(RUNNING, NOW) == Wait(pytest.approx(seconds))


# -- any sequence at all

failures = st.builds(
    Failure, st.sampled_from(list(Reaction)), st.just("x"), retry_after=st.none() | st.floats(0, 10**6)
)
blips = st.builds(
    Failure, st.sampled_from(TRANSIENT), st.just("x"), retry_after=st.none() | st.floats(0, 10**6)
)
tasks = st.sampled_from([RUNNING, SUCCEEDED, FAILED])


def ask(asking: TaskPoller, answer: KlingTask | Failure, now: float) -> Decision:
    return asking.on_task(answer, now) if isinstance(answer, KlingTask) else asking.on_failure(answer, now)


@promise
@given(
    st.lists(tasks | failures, max_size=40),
    st.floats(1, 600),
    st.floats(0, 4000),
    st.floats(0, 1),
    st.floats(-100, 500),
    st.booleans(),
)
def test_any_sequence_of_answers_keeps_the_deadline(
    answers: list[KlingTask | Failure],
    interval: float,
    timeout: float,
    random: float,
    visible_in: float,
    answered: bool,
):
    now, deadline = NOW, NOW + timeout
    asking = poller(
        poke_interval=interval,
        deadline=deadline,
        visible_by=NOW + visible_in,
        random=random,
        answered=answered,
    )
    for answer in answers:
        decision = ask(asking, answer, now)
        if isinstance(answer, KlingTask) and answer.is_terminal:
            assert decision == Finished(answer)
        else:
            assert not isinstance(decision, Finished)
        if isinstance(decision, GaveUp):
            assert not decision.failure.is_transient
            assert decision.failure is answer
        if isinstance(decision, TimedOut):
            assert now >= deadline
        if not isinstance(decision, Wait):
            return
        assert now < deadline
        assert decision.seconds > 0
        assert now + decision.seconds <= deadline + 1e-6
        asked = answer.retry_after or 0 if isinstance(answer, Failure) else 0
        most = max(interval, LONGEST_BACKOFF_SECONDS, min(asked, LONGEST_RETRY_AFTER_SECONDS)) * (1 + JITTER)
        assert decision.seconds <= most + 1e-6
        assert decision.seconds >= min(interval, deadline - now) - 1e-6
        now += decision.seconds


@promise
@given(st.lists(st.just(RUNNING) | blips, min_size=1, max_size=5), st.floats(1, 60), st.floats(0, 900))
def test_a_wait_that_is_never_answered_well_ends_exactly_at_the_deadline(
    answers: list[KlingTask | Failure], interval: float, timeout: float
):
    now, asking = NOW, poller(poke_interval=interval, deadline=NOW + timeout)
    for number in range(1000):
        decision = ask(asking, answers[number % len(answers)], now)
        if isinstance(decision, TimedOut):
            assert now == pytest.approx(NOW + timeout, abs=1e-5)
            return
        assert isinstance(decision, Wait)
        now = max(now + decision.seconds, now + 1e-6)  # a clock moves
    pytest.fail("it never ended")
