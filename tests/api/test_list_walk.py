"""Finding our tasks in a list of any order, among any number of others', for few requests."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kling_provider.api.list_walk import CLOCK_SLACK_SECONDS, ListMemory, ListPage, ListWalk, Span
from kling_provider.api.tasks import KlingTask

PAGE = 20
NOW = 1_790_000_000.0


class Account:
    """A list of tasks: those of others, one a second, and ours between them."""

    def __init__(self, others: int, ours: dict[str, float], order: str, *, seed: int = 0, times: bool = True):
        rows = [(NOW - number - 0.5, f"o{number}") for number in range(others)]
        rows += [(created, task_id) for task_id, created in ours.items()]
        rows.sort(reverse=order == "newest")
        self.dice = random.Random(seed)
        if order == "mixed":
            self.dice.shuffle(rows)
        self.rows, self.ours, self.times, self.asked = rows, ours, times, 0

    def page(self, number: int) -> ListPage:
        self.asked += 1
        rows = self.rows[(number - 1) * PAGE : number * PAGE]
        return ListPage(
            {name: KlingTask(name, "image2video", "processing") for _, name in rows if name in self.ours},
            tuple(created for created, _ in rows) if self.times else (),
            (rows[0][1], rows[-1][1], len(rows)) if rows else ("", "", 0),
        )

    def walk(self, memory: ListMemory | None = None, wanted: dict[str, Span] | None = None) -> set[str]:
        """Walk to the end; gives whom it has not found."""
        spans = {name: Span.of(created, None) for name, created in self.ours.items()}
        walk = ListWalk(spans if wanted is None else wanted, memory or ListMemory())
        while (number := walk.next_page()) is not None:
            assert self.asked < 2000, "it does not end"
            walk.on_page(number, self.page(number))
        return set(walk.wanted)


def recent(count: int, gap: float = 1.0) -> dict[str, float]:
    return {f"m{number}": NOW - number * gap for number in range(count)}


@pytest.mark.parametrize("order", ["newest", "oldest", "mixed"])
def test_an_account_of_our_own_is_read_once(order: str) -> None:
    account = Account(0, recent(100), order)
    assert account.walk() == set()
    assert account.asked == 5


def test_newest_first_it_stops_when_all_are_seen() -> None:
    account = Account(5000, recent(30), "newest")
    assert account.walk() == set()
    assert account.asked <= 4


@pytest.mark.parametrize("order", ["newest", "oldest"])
def test_in_a_sorted_list_it_jumps_to_where_ours_are(order: str) -> None:
    account = Account(5000, {f"m{n}": NOW - 2500 - n for n in range(40)}, order)
    assert account.walk() == set()
    assert account.asked <= 12  # of 252 pages


def test_the_next_walk_starts_where_the_last_one_found_something() -> None:
    memory = ListMemory()
    account = Account(5000, recent(40), "oldest")
    assert account.walk(memory) == set()
    first, account.asked = account.asked, 0
    assert account.walk(memory) == set()
    assert account.asked < first
    assert account.asked <= 5


def test_a_task_that_is_not_in_the_list_does_not_lead_to_its_end() -> None:
    account = Account(5000, recent(30), "newest")
    wanted = {name: Span.of(created, None) for name, created in account.ours.items()} | {
        "gone": Span.of(NOW, None)
    }
    assert account.walk(wanted=wanted) == {"gone"}
    assert account.asked <= 5


def test_without_an_order_it_reads_on_while_a_page_is_worth_a_request() -> None:
    account = Account(1000, recent(200), "mixed")
    assert account.walk() == set()
    assert account.asked <= 60


def test_without_an_order_a_needle_in_a_haystack_is_asked_for_otherwise() -> None:
    memory = ListMemory()
    account = Account(5000, recent(5), "mixed")
    assert account.walk(memory)
    assert account.asked <= 3
    assert memory.found < 1


def test_the_end_of_a_shuffled_list_is_not_read_for_one_that_vanished() -> None:
    account = Account(0, recent(400), "mixed")
    wanted = {name: Span.of(created, None) for name, created in account.ours.items()} | {
        "gone": Span.of(NOW, None)
    }
    assert account.walk(wanted=wanted) == {"gone"}
    assert account.asked <= 21


def test_a_list_that_does_not_know_pages_is_read_twice_at_most() -> None:
    account = Account(100, recent(50), "newest")
    first = account.page(1)
    account.asked = 0
    walk = ListWalk({name: Span.of(created, None) for name, created in account.ours.items()})
    while (number := walk.next_page()) is not None:
        account.asked += 1
        walk.on_page(number, first)
    assert account.asked == 2


def test_without_times_it_still_finds_what_is_worth_it() -> None:
    account = Account(0, recent(100), "newest", times=False)
    assert account.walk() == set()
    assert account.asked == 5


def test_a_clock_that_is_minutes_off_hides_nobody() -> None:
    account = Account(3000, recent(10), "newest")
    wanted = {name: Span.of(None, created - 300) for name, created in account.ours.items()}
    assert account.walk(wanted=wanted) == set()


def test_the_span_of_a_task_is_what_kling_told_or_ours_with_slack() -> None:
    assert Span.of(5.0, 9.0) == Span(5.0, 5.0)
    assert Span.of(None, 9.0) == Span(9.0 - CLOCK_SLACK_SECONDS, 9.0 + CLOCK_SLACK_SECONDS)
    assert Span.of(None, None) == Span(float("-inf"), float("inf"))


def test_entries_that_shift_between_pages_are_only_missed_this_time() -> None:
    account = Account(200, recent(60), "newest")
    walk = ListWalk({name: Span.of(created, None) for name, created in account.ours.items()})
    pages = 0
    while (number := walk.next_page()) is not None:
        walk.on_page(number, account.page(number))
        account.rows.insert(0, (NOW + pages, f"new{pages}"))
        pages += 1
    assert len(walk.wanted) <= 3
    again = ListWalk(dict(walk.wanted))
    while (number := again.next_page()) is not None:
        again.on_page(number, account.page(number))
    assert again.wanted == {}


@settings(max_examples=200, deadline=None)
@given(
    order=st.sampled_from(["newest", "oldest", "mixed"]),
    others=st.integers(0, 900),
    ages=st.lists(st.floats(0, 900), min_size=1, max_size=40, unique=True),
    start=st.integers(1, 60),
    missing=st.integers(0, 3),
    seed=st.integers(0, 5),
)
def test_a_walk_ends_and_costs_little_more_than_single_queries(
    order: str, others: int, ages: list[float], start: int, missing: int, seed: int
) -> None:
    account = Account(others, {f"m{n}": NOW - age for n, age in enumerate(ages)}, order, seed=seed)
    wanted = {name: Span.of(created, None) for name, created in account.ours.items()}
    wanted |= {f"gone{n}": Span.of(NOW - 100, None) for n in range(missing)}
    account.walk(ListMemory(page=start), wanted)
    assert account.asked <= len(ages) + missing + 14


@settings(max_examples=200, deadline=None)
@given(
    order=st.sampled_from(["newest", "oldest"]),
    others=st.integers(0, 900),
    start=st.integers(1, 60),
    first=st.integers(0, 800),
    count=st.integers(20, 60),
)
def test_in_a_sorted_list_neighbours_are_all_found_wherever_the_walk_starts(
    order: str, others: int, start: int, first: int, count: int
) -> None:
    account = Account(others, {f"m{n}": NOW - first - n for n in range(count)}, order)
    assert account.walk(ListMemory(page=start)) == set()
