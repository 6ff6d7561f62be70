"""Who may try for a slot, and when: rule by rule, then any order of events, then whole nights played through."""

from __future__ import annotations

import heapq
import itertools
import random
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kling_provider.api.endpoints import ENDPOINTS
from kling_provider.api.slots import (
    FEW_REFUSALS,
    JITTER,
    LONG_PROBE_GAP,
    LONGEST_PROBE_GAP,
    NEWS_SECONDS,
    PAUSES_SURE,
    PAUSES_UNSURE,
    RETURNS_WITHIN_SECONDS,
    SAVED_UP_SECONDS,
    SHORTEST_PROBE_GAP,
    STARTS_WITHIN_SECONDS,
    SlotQueue,
    Waiter,
    slots_of,
)
from tests.api.properties import promise

NOW = 1790000000.0
MOST_REFUSALS = 8


def queue() -> SlotQueue:
    return SlotQueue(random=lambda: 0.0)


def waiter(first_wait_at: float = 0.0, **fields: Any) -> Waiter:
    """One refused at NOW; ``first_wait_at`` counts from NOW."""
    return Waiter(
        **{"refusals": 1, "refused_at": NOW, "ready_at": NOW, **fields}, first_wait_at=NOW + first_wait_at
    )


def back(before: Waiter, now: float) -> Waiter:
    """The same create after one more refusal."""
    return Waiter(before.first_wait_at, before.refusals + 1, now, now, before.weight)


def released_at(line: SlotQueue, now: float, until: float) -> list[tuple[float, Waiter]]:
    """Let time pass."""
    released = []
    while True:
        one, seconds = line.next_release(now)
        if one is not None:
            released.append((now, one))
        elif now + seconds > until:
            return released
        else:
            now += seconds + 1e-6  # epoch seconds as floats are that coarse


def test_an_end_lets_one_go_in_order_of_arrival():
    line = queue()
    late, early = waiter(5), waiter(1)
    line.join(late, NOW)
    line.join(early, NOW)
    assert (line.place(early), line.place(late)) == (0, 1)
    line.on_finished(NOW + 1)
    assert line.next_release(NOW + 1) == (early, 0.0)
    assert line.next_release(NOW + 1)[0] is None
    line.on_finished(NOW + 2)
    assert line.next_release(NOW + 2)[0] is late


def test_nobody_goes_before_it_is_ready():
    line = queue()
    line.join(waiter(ready_at=NOW + 10), NOW)
    line.on_finished(NOW + 1)
    nobody, seconds = line.next_release(NOW + 1)
    assert nobody is None
    assert seconds <= 9
    assert line.next_release(NOW + 10)[0] is not None


def test_one_that_is_not_ready_holds_nobody_up():
    line = queue()
    line.join(waiter(0, ready_at=NOW + 300), NOW)
    line.join(second := waiter(1), NOW)
    line.on_finished(NOW + 1)
    assert line.next_release(NOW + 1)[0] is second


def test_without_an_end_one_probe_goes_after_15_s():
    line = queue()
    for number in range(9):
        line.join(waiter(number), NOW)
    ((at, first),) = released_at(line, NOW, NOW + SHORTEST_PROBE_GAP + 1)
    assert at == pytest.approx(NOW + SHORTEST_PROBE_GAP, abs=0.1)
    assert first.first_wait_at == NOW


def test_the_probes_are_spread():
    line = SlotQueue(random=lambda: 1.0)
    line.join(waiter(), NOW)
    ((at, _),) = released_at(line, NOW, NOW + 60)
    assert at == pytest.approx(NOW + SHORTEST_PROBE_GAP * (1 + JITTER), abs=0.1)


def refuse_all(line: SlotQueue, now: float, until: float, after: float = 8) -> list[tuple[float, Waiter]]:
    """Let every one that goes come back refused."""
    released: list[tuple[float, Waiter]] = []
    while now < until:
        gone = released_at(line, now, now + 1)
        released += gone
        now += 1 if not gone else after
        for _, one in gone:
            line.join(back(one, now), now)
    return released


def test_refused_probes_come_ever_later_and_after_hours_every_five_minutes():
    line = queue()
    for number in range(200):
        line.join(waiter(number), NOW)
    times = [at for at, _ in refuse_all(line, NOW, NOW + 4 * 3600)]
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert gaps[0] >= SHORTEST_PROBE_GAP
    assert gaps[2] == pytest.approx(LONG_PROBE_GAP, abs=10)
    assert gaps[-1] == pytest.approx(LONGEST_PROBE_GAP, abs=10)


def test_probes_that_do_not_come_back_bring_the_short_gap_again():
    line = queue()
    for number in range(50):
        line.join(waiter(number), NOW)
    refuse_all(line, NOW, NOW + 300)
    times = [at for at, _ in released_at(line, NOW + 300, NOW + 900)]
    assert times[-1] - times[-2] == pytest.approx(SHORTEST_PROBE_GAP, abs=1)


def test_ends_do_not_stop_the_probes():
    """Else a slot that others have freed would never be found."""
    line = queue()
    for number in range(100):
        line.join(waiter(number), NOW)
    released = []
    for second in range(0, 300, 5):
        line.on_finished(NOW + second)
        released += released_at(line, NOW + second, NOW + second + 4)
    assert len(released) > 300 / 5 + 10


def with_a_probe_on_its_way() -> tuple[SlotQueue, float, Waiter]:
    """After one that was refused, so that all slots seem to be taken."""
    line = queue()
    for number in range(4):
        line.join(waiter(number), NOW)
    ((at, probe),) = released_at(line, NOW, NOW + SHORTEST_PROBE_GAP + 1)
    line.join(Waiter(probe.first_wait_at, 2, at + 5, at + 9999), at + 5)
    ((at, probe),) = released_at(line, at + 5, at + 5 + 2 * SHORTEST_PROBE_GAP + 1)
    return line, at, probe


def test_an_end_while_a_probe_is_on_its_way_is_the_probes():
    line, at, _ = with_a_probe_on_its_way()
    line.on_finished(at + STARTS_WITHIN_SECONDS - 1)
    assert line.next_release(at + STARTS_WITHIN_SECONDS - 1)[0] is None
    line.on_finished(at + STARTS_WITHIN_SECONDS - 1)
    assert line.next_release(at + STARTS_WITHIN_SECONDS - 1)[0] is not None


def test_an_end_is_given_back_when_its_probe_was_refused_before_it():
    line, at, probe = with_a_probe_on_its_way()
    line.on_finished(at + 8)
    line.join(Waiter(probe.first_wait_at, 2, at + 5, at + 20), at + 10)
    assert line.next_release(at + 10)[0] is not None


def test_ends_seen_before_a_refusal_are_worth_nothing():
    line = queue()
    line.join(waiter(0, ready_at=NOW + 10), NOW)
    line.on_finished(NOW + 1)
    line.join(waiter(3, refused_at=NOW + 3, ready_at=NOW + 13), NOW + 4)
    assert line.next_release(NOW + 13)[0] is None


def test_waiters_loaded_by_a_new_triggerer_are_no_news():
    line = queue()
    for number in range(20):
        line.join(waiter(number, refusals=3, ready_at=NOW + 3610), NOW + 3600)
        line.on_finished(NOW + 3601)
    assert len(released_at(line, NOW + 3610, NOW + 3611)) == 20


def test_an_end_is_not_kept_for_ever():
    line = queue()
    line.join(waiter(0, ready_at=NOW + 9999), NOW)
    line.on_finished(NOW + 1)
    line.join(waiter(-5, refused_at=NOW - 5), NOW + NEWS_SECONDS)
    assert line.next_release(NOW + NEWS_SECONDS + 1)[0] is not None  # the probe
    assert line.next_release(NOW + NEWS_SECONDS + 1)[0] is None


def test_one_that_needs_three_slots_saves_three_ends_up():
    line = queue()
    line.join(large := waiter(0, weight=3), NOW)
    line.join(waiter(1), NOW)
    for second in (1, 2):
        line.on_finished(NOW + second)
        assert line.next_release(NOW + second)[0] is None
    line.on_finished(NOW + 3)
    assert line.next_release(NOW + 3)[0] is large
    assert line.next_release(NOW + 3)[0] is None


def test_one_that_needs_many_slots_does_not_keep_those_behind_it_waiting_for_ever():
    line = queue()
    line.join(waiter(0, weight=9), NOW)
    line.join(small := waiter(1), NOW)
    line.slow_down(NOW + 9999)
    line.on_finished(NOW + 1)
    ((at, one),) = released_at(line, NOW + 1, NOW + 60)
    assert one is small
    assert at >= NOW + 1 + SAVED_UP_SECONDS


def test_what_a_cancelled_one_was_let_go_for_is_the_next_ones():
    line = queue()
    line.join(first := waiter(0), NOW)
    line.join(second := waiter(1), NOW)
    line.on_finished(NOW + 1)
    assert line.next_release(NOW + 1)[0] is first
    line.leave(first)
    assert line.next_release(NOW + 2)[0] is second


def test_one_that_leaves_is_not_let_go():
    line = queue()
    line.join(first := waiter(0), NOW)
    line.leave(first)
    line.leave(first)
    assert len(line) == 0
    assert line.is_over(NOW)


def test_it_is_over_when_nobody_waits_and_nobody_is_expected_back():
    line = queue()
    line.join(waiter(), NOW)
    assert not line.is_over(NOW)
    ((at, _),) = released_at(line, NOW, NOW + 20)
    assert not line.is_over(at)
    assert line.is_over(at + RETURNS_WITHIN_SECONDS)


def test_probes_wait_while_kling_wants_fewer_requests_but_ends_do_not():
    line = queue()
    line.join(waiter(0), NOW)
    line.slow_down(NOW + 100)
    assert released_at(line, NOW, NOW + 99) == []
    line.on_finished(NOW + 99)
    assert line.next_release(NOW + 99)[0] is not None


def test_a_line_learns_how_slow_its_workers_are():
    """Else every probe would be believed taken before its refusal can be here."""
    line = queue()
    for number in range(40):
        line.join(waiter(number), NOW)
    count = len(refuse_all(line, NOW, NOW + 3600, after=100))
    assert count <= 3600 / LONG_PROBE_GAP


def test_where_others_let_waiters_go_too_a_probe_that_stays_away_proves_little():
    """All slots are hogged; whoever this process lets go comes back to the other, and the other way round."""
    lines = [queue(), queue()]
    for number in range(100):
        lines[number % 2].join(waiter(number), NOW)
    count, now = 0, NOW
    while now < NOW + 7200:
        now += 8
        for index, line in enumerate(lines):
            for _, one in released_at(line, now, now + 1):
                count += 1
                lines[1 - index].join(back(one, now + 1), now + 1)
    assert count <= 2 * 7200 / LONG_PROBE_GAP


@pytest.mark.parametrize("refusals", range(1, MOST_REFUSALS))
def test_each_waits_longer_the_more_often_it_was_refused(refusals: int):
    line = queue()
    line.join(waiter(refusals=refusals), NOW)
    ((at, _),) = released_at(line, NOW, NOW + 86400)
    pause = PAUSES_UNSURE[refusals]
    assert at == pytest.approx(NOW + max(pause, SHORTEST_PROBE_GAP), abs=LONG_PROBE_GAP)


@pytest.mark.parametrize("refusals", range(1, MOST_REFUSALS))
def test_even_an_end_does_not_hurry_those_that_are_nearly_used_up(refusals: int):
    line = queue()
    line.join(waiter(refusals=refusals), NOW)
    line.slow_down(NOW + 86400)
    released: list[tuple[float, Waiter]] = []
    for second in range(0, 4000, 20):
        line.on_finished(NOW + second)
        released += released_at(line, NOW + second, NOW + second + 19)
    assert released[0][0] == pytest.approx(NOW + PAUSES_SURE[refusals], abs=20)


def test_those_with_few_refusals_probe_for_the_others():
    line = queue()
    line.join(waiter(0, refusals=FEW_REFUSALS + 1, refused_at=NOW - 3600), NOW)
    line.join(second := waiter(1), NOW)
    assert released_at(line, NOW, NOW + SHORTEST_PROBE_GAP + 1)[0][1] is second


Event = tuple[str, float, int]
EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["join", "end", "refuse", "leave", "cancel", "slow", "time"]),
        st.floats(0.1, 120),
        st.integers(0, 7),
    ),
    max_size=80,
)


@given(EVENTS, st.randoms(use_true_random=False))
@promise
def test_whatever_happens_nobody_is_lost_doubled_hurried_or_let_go_without_reason(
    events: list[Event], chance: random.Random
):
    line, now = SlotQueue(random=chance.random), NOW
    waiting: list[Waiter] = []
    gone: list[Waiter] = []
    ends = releases = cancelled = 0

    def advance(until: float) -> float:
        nonlocal now, releases
        while True:
            one, seconds = line.next_release(now)
            if one is not None:
                assert now >= one.ready_at
                assert now >= one.refused_at + min(PAUSES_SURE[one.refusals], PAUSES_UNSURE[one.refusals])
                waiting.remove(one)  # once, and only if it waits
                gone.append(one)
                releases += 1
                continue
            assert seconds > 0
            if now + seconds >= until:
                return until
            now += seconds + 1e-6

    for name, seconds, number in events:
        if name == "join":
            one = Waiter(now - seconds, max(number, 1), now, now + 10, 1 + number % 3)
            line.join(one, now)
            waiting.append(one)
        elif name == "end":
            ends += 1
            line.on_finished(now)
        elif name == "refuse" and gone and gone[-1].refusals < MOST_REFUSALS - 1:
            one = back(gone.pop(), now)
            line.join(one, now)
            waiting.append(one)
        elif name == "leave" and waiting:
            line.leave(waiting.pop(number % len(waiting)))
        elif name == "cancel" and gone:
            cancelled += 1
            line.leave(gone.pop())
        elif name == "slow":
            line.slow_down(now + seconds)
        now = advance(now + seconds)
        assert len(line) == len(waiting)
    assert releases <= ends + 3 * cancelled + 1 + (now - NOW) / SHORTEST_PROBE_GAP
    now = advance(now + len(waiting) * LONGEST_PROBE_GAP * (1 + JITTER) + max(PAUSES_UNSURE) + 300)
    assert not waiting


@given(st.lists(st.floats(-500, 0), min_size=1, max_size=30))
@promise
def test_ends_let_go_in_order_of_arrival(arrivals: list[float]):
    line = queue()
    for arrival in arrivals:
        line.join(waiter(arrival), NOW)
    for _ in arrivals:
        line.on_finished(NOW + 1)
    gone = [one.first_wait_at for _, one in released_at(line, NOW + 1, NOW + 2)]
    assert gone == sorted(NOW + arrival for arrival in arrivals)


@dataclass
class Night:
    """Mapped submits against an account, played event by event.

    :param foreigners: clients of others that want a slot all the time, without any manners.
    :param hogged_until: until then others hold all slots, in seconds.
    :param ends_are_seen: else nobody waits for the tasks in a triggerer.
    :param worker_starts_in: seconds, from and to.
    """

    seed: int
    submits: int = 100
    slots: int = 5
    triggerers: int = 1
    workers: int = 16
    worker_starts_in: tuple[float, float] = (2, 15)
    ends_are_seen: bool = True
    hogged_until: float = 0
    foreigners: int = 0
    now: float = 0
    held: int = 0
    booked: dict[int, float] = field(default_factory=dict)
    first_wait_at: dict[int, float] = field(default_factory=dict)
    gave_up: dict[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self.numbers = itertools.count()
        self.lines = [SlotQueue(random=self.random.random) for _ in range(self.triggerers)]
        self.wakes = [0] * self.triggerers
        self.submit_of: dict[Waiter, int] = {}
        self.refusals = [0] * self.submits
        self.for_a_worker: list[int] = []
        for submit in range(self.submits):
            self.after(0, self.start_worker, submit)
        for _ in range(self.foreigners):
            self.after(self.random.uniform(0, 60), self.foreign_post)
        while self.events and len(self.booked) + len(self.gave_up) < self.submits:
            self.now, _, happen, arguments = heapq.heappop(self.events)
            happen(*arguments)

    def after(self, seconds: float, happen: Callable[..., None], *arguments: Any) -> None:
        heapq.heappush(self.events, (self.now + seconds, next(self.numbers), happen, arguments))

    def takes_a_slot(self, seconds: float) -> bool:
        if self.now < self.hogged_until or self.held >= self.slots:
            return False
        self.held += 1
        self.after(seconds, self.free_a_slot)
        return True

    def free_a_slot(self) -> None:
        self.held -= 1

    def foreign_post(self) -> None:
        lasts = self.random.uniform(20, 120)
        self.after(lasts if self.takes_a_slot(lasts) else self.random.uniform(5, 30), self.foreign_post)

    def start_worker(self, submit: int) -> None:
        self.for_a_worker.append(submit)
        self.fill_workers()

    def fill_workers(self) -> None:
        while self.workers and self.for_a_worker:
            self.workers -= 1
            self.after(self.random.uniform(*self.worker_starts_in), self.post, self.for_a_worker.pop(0))

    def end_worker(self) -> None:
        self.workers += 1
        self.fill_workers()

    def post(self, submit: int) -> None:
        self.after(1, self.end_worker)
        lasts = self.random.uniform(4, 60)
        if self.takes_a_slot(lasts):
            self.booked[submit] = self.now
            if self.ends_are_seen:
                self.after(max(lasts, 12) + self.random.uniform(0, 10), self.see_an_end, self.any_triggerer())
            return
        self.refusals[submit] += 1
        self.first_wait_at.setdefault(submit, self.now)
        if self.refusals[submit] == MOST_REFUSALS:
            self.gave_up[submit] = self.now
        else:
            self.after(self.random.uniform(1, 3), self.wait, submit, self.now)

    def any_triggerer(self) -> int:
        return self.random.randrange(self.triggerers)

    def wait(self, submit: int, refused_at: float) -> None:
        one = Waiter(self.first_wait_at[submit], self.refusals[submit], refused_at, self.now + 10)
        self.submit_of[one] = submit
        index = self.any_triggerer()
        self.lines[index].join(one, self.now)
        self.drive(index)

    def see_an_end(self, index: int) -> None:
        if not self.lines[index].is_over(self.now):
            self.lines[index].on_finished(self.now)
            self.drive(index)

    def drive(self, index: int, wake: int | None = None) -> None:
        if wake not in (None, self.wakes[index]):
            return  # something happened before the alarm
        while True:
            one, seconds = self.lines[index].next_release(self.now)
            if one is None:
                break
            self.after(self.random.uniform(0.5, 2), self.start_worker, self.submit_of[one])
        self.wakes[index] += 1
        if not self.lines[index].is_over(self.now):
            self.after(seconds + 1e-6, self.drive, index, self.wakes[index])

    @property
    def displacement(self) -> float:
        """How many places from its own a submit was booked, on average."""
        arrived = sorted(self.booked.keys() & self.first_wait_at, key=self.first_wait_at.__getitem__)
        places = {submit: place for place, submit in enumerate(sorted(arrived, key=self.booked.__getitem__))}
        return statistics.mean(abs(place - places[submit]) for place, submit in enumerate(arrived))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("ends_are_seen", [True, False], ids=["seen", "unseen"])
@pytest.mark.parametrize("triggerers", [1, 2, 4])
@pytest.mark.parametrize("worker_starts_in", [(2, 15), (20, 90)], ids=["local", "pods"])
def test_a_hundred_submits_share_five_slots(
    seed: int, ends_are_seen: bool, triggerers: int, worker_starts_in: tuple[float, float]
):
    night = Night(seed, triggerers=triggerers, ends_are_seen=ends_are_seen, worker_starts_in=worker_starts_in)
    assert len(night.booked) == night.submits
    assert statistics.mean(night.refusals) < 2
    assert max(night.refusals) < MOST_REFUSALS
    if worker_starts_in == (2, 15):  # slow workers are themselves not in order
        # a waiter that was refused goes to any triggerer, and their lines do not advance alike
        assert night.displacement <= night.slots * (1 if triggerers == 1 else 2 * triggerers)


@pytest.mark.parametrize("seed", range(5))
def test_the_slots_are_used(seed: int):
    night = Night(seed)
    assert max(night.booked.values()) < 1.6 * 100 * 32 / 5


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("submits", [20, 100])
def test_an_account_that_is_hogged_for_hours_uses_nobody_up(seed: int, submits: int):
    night = Night(seed, submits=submits, hogged_until=3 * 3600)
    assert len(night.booked) == submits
    assert max(night.refusals) < MOST_REFUSALS
    assert max(night.booked.values()) < 1.5 * 3 * 3600


@pytest.mark.parametrize("seed", range(5))
def test_two_triggerers_do_not_take_each_others_waiters_for_booked(seed: int):
    night = Night(seed, triggerers=2, hogged_until=2 * 3600)
    assert len(night.booked) == night.submits
    assert statistics.mean(night.refusals) < 3


@pytest.mark.parametrize(("submits", "hours"), [(1, 2), (20, 10)])
def test_in_front_of_an_account_that_is_full_for_ever_they_give_up_when_the_page_says(
    submits: int, hours: int
):
    night = Night(0, submits=submits, hogged_until=3 * 86400)
    assert night.refusals == [MOST_REFUSALS] * submits
    assert round(min(night.gave_up.values()) / 3600) == hours
    page = (Path(__file__).parents[2] / "docs" / "pay-once.md").read_text()
    assert "about two hours for one task alone, ten for twenty in line" in " ".join(page.split())


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("triggerers", [1, 2])
def test_foreign_clients_are_lived_with(seed: int, triggerers: int):
    night = Night(seed, triggerers=triggerers, foreigners=3)
    assert len(night.booked) == night.submits
    assert statistics.mean(night.refusals) < 3
    assert max(night.refusals) < MOST_REFUSALS


@pytest.mark.parametrize(
    ("endpoint", "body", "slots"),
    [
        ("text2video", {"n": 5}, 1),
        ("tts", {}, 1),
        ("images/generations", {}, 1),
        ("images/generations", {"n": 9}, 9),
        ("images/omni-image", {"n": "3", "result_type": "single"}, 3),
        ("images/omni-image", {"n": 3, "result_type": "series"}, 4),
        ("images/omni-image", {"result_type": "series", "series_amount": 6}, 6),
        ("images/omni-image", {"result_type": "series", "series_amount": "auto"}, 9),
        ("images/omni-image", {"result_type": "Series", "series_amount": 6, "n": 2}, 6),
        ("images/omni-image", {"result_type": "Series", "n": 7}, 7),
        ("images/omni-image", {"result_type": ["series"]}, 4),
        ("images/generations", {"n": None}, 1),
        ("images/generations", {"n": ""}, 1),
        ("images/generations", {"n": 2.5}, 9),
        ("images/generations", {"n": True}, 9),
        ("images/generations", {"n": "all"}, 9),
        ("images/generations", {"n": float("inf")}, 9),
        ("images/generations", {"n": 0}, 9),
    ],
)
def test_a_task_holds_as_many_slots_as_it_makes_pictures(endpoint: str, body: dict[str, object], slots: int):
    assert slots_of(ENDPOINTS[endpoint], body) == slots
