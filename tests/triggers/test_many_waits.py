"""Hundreds of waits in one event loop, against a Kling that makes it hard, on a clock that runs fast."""

from __future__ import annotations

import asyncio
import bisect
import gc
import inspect
import math
import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import aiohttp
import pytest

from kling_provider.hooks.kling import KlingAsyncHook
from kling_provider.triggers.kling import KlingTaskTrigger
from tests.nasty_server import IMAGE, NEW, TEXT, NastyKling, Task
from tests.patient_clock import PatientClock

#: Counting lines makes a wait five times as slow; other tests reach most of the same ones.
pytestmark = pytest.mark.no_cover

CONN = "kling_default"
ENDPOINTS = {IMAGE: "image2video", TEXT: "text2video", NEW: "image-to-video/kling-3.0"}
PROFILES = {
    IMAGE: "image2video/kling-v2-6/pro/5",
    TEXT: "text2video/kling-v2-6/pro/5",
    NEW: "image-to-video/kling-3.0",
}
FIRST_EVENT_AFTER = 10.0
#: What the connection allows unless it says otherwise, and how much of it may be saved up.
RATE, BURST_SECONDS = 4.0, 1.0
#: A list that shuffles, repeats and forgets, the newest tasks hidden, 429 in bursts, every tenth connection lost.
NASTY: dict[str, Any] = {
    "order": "shuffled",
    "repeats": 0.1,
    "missing": 0.1,
    "hide_newest": 10.0,
    "burst_every": 30.0,
    "burst_seconds": 3.0,
    "drop_every": 10,
}
#: And everything else at once.
VILE: dict[str, Any] = {
    **NASTY,
    "html": 0.05,
    "errors": 0.05,
    "slow": 0.05,
    "unreadable": 0.01,
    "forgetful": 0.1,
    "talkative": True,
    "bulk_limit": 30,
}


@pytest.fixture
def clock() -> PatientClock:
    return PatientClock()


@pytest.fixture(autouse=True)
def _as_in_a_triggerer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time costs nothing here: keep the distance to the executor's report that other tests do without."""
    monkeypatch.setattr("kling_provider.triggers.kling.FIRST_ASK_AFTER_SECONDS", FIRST_EVENT_AFTER)


#: When requests were sent, in seconds of the clock, by the address of the server.
Sent = dict[str, list[float]]


@pytest.fixture
def sent(clock: PatientClock, monkeypatch: pytest.MonkeyPatch) -> Sent:
    """At the sender: a busy machine lets requests arrive closer to each other than they were sent, and the HTTP
    client by itself sends a GET again whose connection was lost."""
    times: Sent = defaultdict(list)
    send = aiohttp.ClientSession.request

    def request(session: aiohttp.ClientSession, method: str, url: str, **more: Any) -> Any:
        times[url[: url.index("/", len("http://"))]].append(clock.time())
        return send(session, method, url, **more)

    monkeypatch.setattr(aiohttp.ClientSession, "request", request)
    return times


@pytest.fixture
def kling(clock: PatientClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[NastyKling]:
    with NastyKling(clock.time) as server:
        clock.at_work.append(server.is_at_work)
        connect(monkeypatch, server)
        yield server


def connect(monkeypatch: pytest.MonkeyPatch, server: NastyKling, conn_id: str = CONN, **how: Any) -> None:
    """Let a connection lead to a server; ``how``: auth and extras."""
    monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", server.connection(**how))


@dataclass
class Came:
    """An event and when it came."""

    task: Task
    event: dict[str, Any]
    at: float

    @property
    def lag(self) -> float:
        """Seconds since the task ended."""
        return self.at - self.task.ends


def trigger_for(task: Task, clock: PatientClock, **more: Any) -> KlingTaskTrigger:
    """The trigger as a worker makes it that has just submitted or asked."""
    now = clock.time()
    told = {
        "task_id": task.task_id,
        "endpoint": ENDPOINTS[task.path],
        "kling_conn_id": CONN,
        "poke_interval": 5.0,
        "deadline": now + 3600,
        "asked_at": now,
        "external_task_id": task.external_id or None,
        "profile": PROFILES[task.path],
        "booked_at": task.booked,
    }
    known = inspect.signature(KlingTaskTrigger.__init__).parameters
    return KlingTaskTrigger(**{name: value for name, value in (told | more).items() if name in known})


async def wait_for(task: Task, clock: PatientClock, after: float = 0.0, **more: Any) -> Came:
    """Run a trigger to its end; it must fire exactly once."""
    await asyncio.sleep(after)
    came = [Came(task, event.payload, clock.time()) async for event in trigger_for(task, clock, **more).run()]
    assert len(came) == 1
    return came[0]


async def wait_for_all(tasks: Iterable[Task], clock: PatientClock, **more: Any) -> list[Came]:
    """Run many triggers at once."""
    return await asyncio.gather(*(wait_for(task, clock, **more) for task in tasks))


def book(
    kling: NastyKling, count: int, seed: int = 0, paths: Sequence[str] = (IMAGE, IMAGE, TEXT), **more: Any
) -> list[Task]:
    """Book tasks that take as long as they do at Kling, a few of which fail; one in ten is over at once."""
    dice, tasks = random.Random(seed), []
    for number in range(count):
        path = paths[number % len(paths)]
        median = 319 if path == TEXT else 164
        seconds = dice.uniform(1, 30) if number % 10 == 9 else median * math.exp(dice.gauss(0, 0.15))
        told = {"outcome": "failed" if number % 33 == 5 else "succeed"} | more
        tasks.append(
            kling.book(seconds, path, units=f"{number + 1}.5", external_id=f"af1-{seed}-{number}", **told)
        )
    return tasks


def check_ended_right(came: Iterable[Came]) -> None:
    """Each event tells the end of its own task, as the server told it, and none came before it."""
    for one in came:
        task, event = one.task, one.event
        assert event["status"] == "finished", (task, event)
        assert event["task_id"] == event["task"]["task_id"] == task.task_id
        assert event["external_task_id"] == event["task"]["external_task_id"] == task.external_id
        assert event["endpoint"] == event["task"]["endpoint"] == ENDPOINTS[task.path]
        assert event["task"]["status"] == task.word(one.at)
        if task.outcome == "succeed":
            assert [video["url"] for video in event["task"]["videos"]] == [task.url]
            assert event["task"]["units"] == task.units
        else:
            assert (event["task"]["status"], event["task"]["videos"]) == ("failed", [])
            assert event["task"]["status_message"] == "Failure to pass the risk control system"
        assert one.lag >= 0, f"{-one.lag} s early"


def busiest(times: Sequence[float], window: float) -> int:
    """The most requests within so many seconds, wherever they begin."""
    return max((bisect.bisect_left(times, at + window) - index for index, at in enumerate(times)), default=0)


def check_rate(times: Sequence[float], rate: float = RATE) -> None:
    """No window of any length saw more than is allowed; one whose turn has come may still be on its way to be sent."""
    assert times
    for window in (1, 3, 10, 30, 60, 120, 300):
        assert busiest(times, window) <= rate * window + max(1.0, rate * BURST_SECONDS) + 1, window


def tell(kling: NastyKling, came: Sequence[Came]) -> str:
    """What it cost, for the report of a test."""
    lags = sorted(one.lag for one in came)
    return (
        f"{len(kling.requests) / len(came):.2f} requests per task {dict(kling.counts())}, faults "
        f"{sum(bool(one.fault) for one in kling.requests)}, lag mean {sum(lags) / len(lags):.1f} s, "
        f"p95 {lags[len(lags) * 95 // 100]:.1f} s, most {lags[-1]:.1f} s"
    )


async def nothing_left(kling: NastyKling, within: float = 15.0) -> None:
    """Wait until no task but this one and no connection is left, then see that nobody asks any more."""
    for _ in range(int(within * 2)):
        if len(asyncio.all_tasks()) == 1 and not kling.open_connections:
            break
        await asyncio.sleep(0.5)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert kling.open_connections == 0
    before = len(kling.requests)
    await asyncio.sleep(120)
    assert len(kling.requests) == before


# --- many, in many worlds -----------------------------------------------------------------------------


@dataclass(frozen=True)
class World:
    """A Kling to wait at, and what waiting there may cost.

    :param faults: settings of the server.
    :param how: of the connection.
    :param foreign: finished and running tasks of others.
    :param per_task: requests.
    :param lag: mean, in seconds.
    :param tasks: how many are waited for.
    """

    faults: dict[str, Any]
    how: dict[str, Any]
    foreign: tuple[int, int] = (0, 0)
    per_task: float = 0.5
    lag: float = 15.0
    tasks: int = 150


PAIR, KEY = {"auth": "pair"}, {"auth": "key"}
GATEWAY = {"auth": "key", "gateway": "custom"}
LISTS = {"blind_to_classic": True}
NO_ORDER = {"order": "shuffled", "repeats": 0.2, "missing": 0.2}
ONE_BY_ONE = {"no_bulk": True, "no_list": True}
#: One task is told of directly before a batch tells of it: no reason to do without batches.
BEHIND = {"hide_newest": 20.0, "hide_from": frozenset({"bulk", "list"}), "order": "shuffled"}
WORLDS = {
    "nasty": World(NASTY, KEY, (1000, 200), per_task=0.6, lag=15, tasks=500),
    "nasty, lists": World(NASTY | LISTS, KEY, (1000, 200), per_task=2, lag=30, tasks=500),
    "nasty, key pair": World(NASTY, PAIR, (1000, 200), per_task=2, lag=20, tasks=500),
    "vile": World(VILE, KEY, (1000, 200), per_task=1.5, lag=30, tasks=250),
    "vile, key pair": World(VILE, PAIR, (1000, 200), per_task=3, lag=30, tasks=250),
    "friendly": World({}, KEY, tasks=500),
    "friendly, lists": World({}, PAIR, tasks=500),
    "a large account": World({}, KEY, (20000, 5000), tasks=250),
    "a large account, lists": World({}, PAIR, (20000, 5000), per_task=1, tasks=250),
    "a large account, nasty lists": World(NASTY, PAIR, (20000, 5000), per_task=5, lag=60, tasks=150),
    "batches lag behind": World(BEHIND, KEY, (5000, 1000), per_task=1.5),
    "oldest first": World({"order": "oldest"}, PAIR, (3000, 100), per_task=2),
    "newest first": World({"order": "newest"}, PAIR, (3000, 100), per_task=2),
    "fixed disorder": World({"order": "fixed"}, PAIR, (3000, 100), per_task=5, lag=25),
    "pages shift": World(NO_ORDER, PAIR, (3000, 100), per_task=5, lag=25),
    "first page for ever": World({"first_page_for_ever": True, "order": "oldest"}, PAIR, (3000, 100), 7, 40),
    "a gateway without bulk": World({"no_bulk": True}, GATEWAY, per_task=1),
    "a gateway with one by one": World(ONE_BY_ONE, GATEWAY, per_task=9, lag=30),
    "dmxapi": World(ONE_BY_ONE, {"auth": "key", "gateway": "dmxapi"}, per_task=9, lag=30),
    "seven ids, 400": World({"bulk_limit": 7}, KEY, per_task=4, lag=20),
    "seven ids, 413": World({"bulk_limit": 7, "bulk_refusal": 413}, KEY, per_task=4, lag=20),
    "seven ids, 414": World({"bulk_limit": 7, "bulk_refusal": 414}, KEY, per_task=4, lag=20),
    "forgetful": World({"forgetful": 0.3, "talkative": True}, KEY, per_task=3, lag=20),
    "a clock that is late": World({"clock_ahead": -300.0}, KEY, per_task=1),
    "a clock that is early": World({"clock_ahead": 300.0}, KEY, per_task=1),
    "a clock that is late, lists": World({"clock_ahead": -300.0}, PAIR, (3000, 100), per_task=2),
    "a clock that is early, lists": World({"clock_ahead": 300.0}, PAIR, (3000, 100), per_task=2),
    "no times": World({"no_created_at": True}, PAIR, (500, 0), per_task=1, lag=30),
}


@pytest.mark.parametrize(
    ("name", "seed"), [*((name, 1) for name in WORLDS), *((name, 2) for name in list(WORLDS)[:3])]
)
def test_hundreds_of_waits_end_right(
    name: str, seed: int, clock: PatientClock, sent: Sent, kling: NastyKling, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = WORLDS[name]
    kling.dice.seed(seed)
    kling.faults = type(kling.faults)(**world.faults)
    connect(monkeypatch, kling, **world.how)
    if any(world.foreign):
        kling.book_foreign(*world.foreign, IMAGE)
        kling.book_foreign(world.foreign[0] // 20, 0, IMAGE, within=300)  # between ours
    paths = (IMAGE, IMAGE, TEXT) if world.how != KEY else (IMAGE, IMAGE, TEXT, NEW)
    tasks = book(kling, world.tasks, seed, paths)

    async def wait() -> list[Came]:
        came = await wait_for_all(tasks, clock)
        await nothing_left(kling)
        return came

    came = clock.run(wait())
    print(f"{name}, seed {seed}: {tell(kling, came)}")
    check_ended_right(came)
    assert all(one.at >= one.task.booked + FIRST_EVENT_AFTER for one in came)
    check_rate(sent[kling.url])
    assert len(kling.requests) <= world.per_task * len(tasks)
    assert sum(one.lag for one in came) / len(came) <= world.lag
    assert not clock.complaints


# --- one thing at a time ------------------------------------------------------------------------------


def test_a_slow_connection_bounds_the_rate_for_everybody(
    clock: PatientClock, sent: Sent, kling: NastyKling, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With nothing but single queries, and two processes that share two requests a second."""
    kling.faults.no_bulk = kling.faults.no_list = True
    connect(monkeypatch, kling, gateway="custom", requests_per_second=2, triggerers=2)
    came = clock.run(wait_for_all(book(kling, 100), clock))
    check_ended_right(came)
    check_rate(sent[kling.url], rate=1)


def test_the_rate_is_the_connections(
    clock: PatientClock, sent: Sent, kling: NastyKling, monkeypatch: pytest.MonkeyPatch
) -> None:
    kling.faults.no_bulk = kling.faults.no_list = True
    connect(monkeypatch, kling, gateway="custom", requests_per_second=12)
    check_ended_right(clock.run(wait_for_all(book(kling, 120), clock)))
    check_rate(sent[kling.url], rate=12)
    assert busiest(sent[kling.url], 60) > RATE * 60  # it made use of it


def test_what_was_over_long_ago_is_found_at_once(clock: PatientClock, kling: NastyKling) -> None:
    """A triggerer comes back: 500 rows, all over."""
    tasks = [kling.book(164, ago=600, external_id=f"x{number}") for number in range(500)]
    came = clock.run(wait_for_all(tasks, clock, asked_at=clock.time() - 600))
    check_ended_right(came)
    assert max(one.at for one in came) - kling.requests[0].at < 30
    assert len(kling.requests) <= 20


def test_a_deadline_that_passed_while_no_triggerer_ran_is_judged_after_an_answer(
    clock: PatientClock, kling: NastyKling
) -> None:
    over = [kling.book(164, ago=600, external_id=f"x{number}") for number in range(250)]
    running = [kling.book(9000, ago=600) for _ in range(250)]
    past = {"asked_at": clock.time() - 600, "deadline": clock.time() - 300}
    came = clock.run(wait_for_all([*over, *running], clock, **past))
    check_ended_right(came[:250])
    assert {one.event["status"] for one in came[250:]} == {"timeout"}
    assert {one.event["last_status"] for one in came[250:]} <= {"submitted", "processing"}
    assert max(one.at for one in came) - kling.requests[0].at < 60
    assert len(kling.requests) <= 40


def test_a_deadline_passes_and_is_judged_after_one_more_answer(
    clock: PatientClock, kling: NastyKling
) -> None:
    """The task that ends a moment before its deadline is collected, the others time out; nobody is early."""
    begin = clock.time()
    stuck = [kling.book(9000) for _ in range(20)]
    just = [kling.book(299, external_id=f"x{number}") for number in range(20)]
    came = clock.run(wait_for_all([*stuck, *just], clock, deadline=begin + 300))
    check_ended_right(came[20:])
    for one in came[:20]:
        assert (one.event["status"], one.event["last_status"]) == ("timeout", "processing")
        assert (one.event["task_id"], one.event["endpoint"]) == (one.task.task_id, "image2video")
        assert begin + 300 <= one.at < begin + 330
        asked = [request for request in kling.requests if one.task.task_id in request.told]
        assert begin + 300 <= asked[-1].at <= one.at


def test_a_deadline_before_the_first_ask_is_kept(clock: PatientClock, kling: NastyKling) -> None:
    begin = clock.time()
    (came,) = clock.run(wait_for_all([kling.book(9000)], clock, poke_interval=600, deadline=begin + 30))
    assert came.event["status"] == "timeout"
    assert begin + 30 <= came.at < begin + 45


def test_a_deadline_passes_during_an_outage(clock: PatientClock, kling: NastyKling) -> None:
    """Nobody can say how the task is: the wait ends all the same, and says why."""
    begin = clock.time()
    tasks = [kling.book(9000) for _ in range(30)]

    async def wait() -> list[Came]:
        waiting = asyncio.gather(*(wait_for(task, clock, deadline=begin + 300) for task in tasks))
        await asyncio.sleep(150)
        kling.faults.down = True
        return await waiting

    came = clock.run(wait())
    for one in came:
        assert (one.event["status"], one.event["last_status"]) == ("timeout", "processing")
        assert one.event["failure"] is not None
        assert begin + 300 <= one.at < begin + 400


def test_an_outage_of_an_hour_fails_nobody(clock: PatientClock, kling: NastyKling) -> None:
    tasks = book(kling, 100)

    async def wait() -> list[Came]:
        waiting = asyncio.gather(*(wait_for(task, clock, deadline=clock.time() + 9000) for task in tasks))
        await asyncio.sleep(60)
        kling.faults.down = True
        await asyncio.sleep(3600)
        kling.faults.down = False
        back = clock.time()
        came = await waiting
        assert max(one.at for one in came) - back < 180
        return came

    came = clock.run(wait())
    check_ended_right(came)
    assert len(kling.asked()) < 600  # it does not hammer on what is down


def test_no_event_overtakes_the_executors_report(clock: PatientClock, kling: NastyKling) -> None:
    begin = clock.time()
    came = clock.run(wait_for_all([kling.book(0.5) for _ in range(20)], clock, external_task_id=None))
    assert all(begin + FIRST_EVENT_AFTER <= one.at < begin + FIRST_EVENT_AFTER + 20 for one in came)


@pytest.mark.parametrize("auth", ["key", "pair"])
def test_late_comers_are_served_by_the_watcher_that_runs(
    auth: str, clock: PatientClock, sent: Sent, kling: NastyKling, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Waits begin all the time, as in a busy triggerer."""
    connect(monkeypatch, kling, auth=auth)
    dice = random.Random(3)

    async def come(number: int) -> Came:
        await asyncio.sleep(dice.uniform(0, 1200))
        task = kling.book(164 * math.exp(dice.gauss(0, 0.15)), external_id=f"x{number}")
        return await wait_for(task, clock)

    async def wait() -> list[Came]:
        return await asyncio.gather(*(come(number) for number in range(300)))

    came = clock.run(wait())
    print(f"late comers, {auth}, seed 3: {tell(kling, came)}")
    check_ended_right(came)
    check_rate(sent[kling.url])
    assert len(kling.requests) <= 2 * len(came)


def test_one_answer_ends_two_waits_for_the_same_task(clock: PatientClock, kling: NastyKling) -> None:
    tasks = book(kling, 20)
    came = clock.run(wait_for_all([*tasks, *tasks], clock))
    check_ended_right(came)
    for one, other in zip(came[:20], came[20:], strict=True):
        assert one.task is other.task
        assert abs(one.at - other.at) < 1


def test_the_poke_interval_is_the_smallest_gap_between_two_asks_for_a_task(
    clock: PatientClock, kling: NastyKling
) -> None:
    slow, quick = kling.book(700, external_id="slow"), kling.book(700, external_id="quick")

    async def wait() -> list[Came]:
        return await asyncio.gather(
            wait_for(slow, clock, poke_interval=60.0), wait_for(quick, clock, poke_interval=5.0)
        )

    check_ended_right(clock.run(wait()))
    asked = [request.at for request in kling.requests if slow.task_id in request.ids]
    assert len(asked) > 2
    assert min(later - at for at, later in pairwise(asked)) >= 60
    asked = [request.at for request in kling.requests if quick.task_id in request.ids]
    assert min(later - at for at, later in pairwise(asked)) >= 5


@pytest.mark.parametrize("auth", ["key", "pair"])
def test_a_task_that_vanishes_from_lists_and_bulk_for_a_while_is_asked_for_alone(
    auth: str, clock: PatientClock, sent: Sent, kling: NastyKling, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch, kling, auth=auth)
    hidden = {"hidden_until": clock.time() + 1e6, "hidden_from": frozenset({"list", "bulk"})}
    gone = [kling.book(164, external_id=f"gone{number}", **hidden) for number in range(3)]
    tasks = book(kling, 100)
    came = clock.run(wait_for_all([*gone, *tasks], clock))
    print(f"vanished, {auth}, seed 0: {tell(kling, came)}")
    check_ended_right(came)
    check_rate(sent[kling.url])
    assert kling.counts()["bulk" if auth == "key" else "list"] > 20  # the others are asked for together
    assert max(one.lag for one in came) < 180


@pytest.mark.parametrize("auth", ["key", "pair"])
def test_a_task_that_vanishes_altogether_for_a_while_is_not_given_up(
    auth: str, clock: PatientClock, kling: NastyKling, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was seen before: two minutes of "not found" in the middle are no end, if then it is told again.

    The gap is shorter than three asks in a row at this pace.
    """
    connect(monkeypatch, kling, auth=auth)
    tasks = book(kling, 60)

    async def wait() -> list[Came]:
        waiting = asyncio.gather(*(wait_for(task, clock, poke_interval=20.0) for task in tasks))
        await asyncio.sleep(150)
        for task in tasks[:10]:
            task.hidden_until = clock.time() + 30
        return await waiting

    check_ended_right(clock.run(wait()))


@pytest.mark.parametrize(("auth", "path"), [("key", IMAGE), ("key", NEW), ("pair", IMAGE)])
def test_a_task_that_nobody_knows_fails_alone_after_three_direct_answers(
    auth: str, path: str, clock: PatientClock, kling: NastyKling, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch, kling, auth=auth)
    begin = clock.time()
    unknown = kling.book(100, path, outcome="unknown")
    tasks = book(kling, 60)
    lost, *came = clock.run(wait_for_all([unknown, *tasks], clock))
    check_ended_right(came)
    assert lost.event["status"] == "gave_up", lost.event
    assert lost.event["failure"]["reaction"] == "not_found"
    assert begin + 120 <= lost.at < begin + 400
    direct = [request for request in kling.requests if request.ids == (unknown.task_id,)]
    assert len([request for request in direct if request.at >= begin + 120]) >= 3


@pytest.mark.parametrize("auth", ["key", "pair"])
def test_a_success_without_a_result_fails_alone(
    auth: str, clock: PatientClock, kling: NastyKling, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch, kling, auth=auth)
    empty = kling.book(164, outcome="no_result")
    tasks = book(kling, 60)
    lost, *came = clock.run(wait_for_all([empty, *tasks], clock))
    check_ended_right(came)
    assert lost.event["status"] == "gave_up", lost.event
    assert "no result" in lost.event["failure"]["message"]
    assert 0 <= lost.lag < 180


# --- the key ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("auth", ["key", "pair"])
def test_a_key_that_is_rejected_for_a_while_fails_nobody(
    auth: str, clock: PatientClock, kling: NastyKling, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch, kling, auth=auth)
    tasks = book(kling, 100)

    async def wait() -> list[Came]:
        waiting = asyncio.gather(*(wait_for(task, clock) for task in tasks))
        await asyncio.sleep(60)
        kling.faults.key_rejected = True
        await asyncio.sleep(540)
        kling.faults.key_rejected = False
        return await waiting

    came = clock.run(wait())
    check_ended_right(came)
    # at most every 30 s, whoever asks, and a little for what was under way
    assert len([request for request in kling.requests if request.fault]) <= 540 / 30 + 8
    # and a way to ask is not given up because of it
    assert kling.asked("bulk" if auth == "key" else "list", since=kling.requests[0].at + 600)


def test_a_key_that_is_replaced_is_picked_up(
    clock: PatientClock, kling: NastyKling, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = book(kling, 50)

    async def wait() -> list[Came]:
        waiting = asyncio.gather(*(wait_for(task, clock) for task in tasks))
        await asyncio.sleep(60)
        kling.api_key = "api-key-kling-another"  # the old one is revoked
        await asyncio.sleep(240)
        connect(monkeypatch, kling)
        replaced = clock.time()
        came = await waiting
        assert max(one.at for one in came) < replaced + 300
        return came

    check_ended_right(clock.run(wait()))


@pytest.mark.parametrize("auth", ["key", "pair"])
def test_a_key_that_stays_rejected_fails_everybody_after_ten_minutes(
    auth: str, clock: PatientClock, kling: NastyKling, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch, kling, auth=auth)
    tasks = [kling.book(9000) for _ in range(100)]
    rejected = 0.0

    async def wait() -> list[Came]:
        nonlocal rejected
        waiting = asyncio.gather(*(wait_for(task, clock) for task in tasks))
        await asyncio.sleep(60)
        kling.faults.key_rejected, rejected = True, clock.time()
        return await waiting

    came = clock.run(wait())
    for one in came:
        assert one.event["status"] == "gave_up"
        assert one.event["failure"]["code"] == 1002
        assert one.at >= rejected + 600
    assert max(one.at for one in came) < rejected + 900
    assert len(kling.asked(since=rejected)) <= 840 / 30 + 8


# --- ends and beginnings ------------------------------------------------------------------------------


def test_cancelling_one_cancels_one(clock: PatientClock, kling: NastyKling) -> None:
    """Also the one that came first, who may have started what serves them all."""
    tasks = book(kling, 50)

    async def wait() -> list[Came]:
        waiting = [asyncio.create_task(wait_for(task, clock)) for task in tasks]
        await asyncio.sleep(30)
        for number in (0, 1, 20):
            waiting[number].cancel()
        return [
            one for one in await asyncio.gather(*waiting, return_exceptions=True) if isinstance(one, Came)
        ]

    came = clock.run(wait())
    check_ended_right(came)
    assert len(came) == 47
    assert not clock.complaints


@pytest.mark.parametrize("after", [0.0, 5.0, 12.0, 40.0, 170.0])
@pytest.mark.parametrize("auth", ["key", "pair"])
def test_cancelling_all_stops_everything(
    auth: str, after: float, clock: PatientClock, kling: NastyKling, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch, kling, auth=auth)
    kling.faults.slow, kling.faults.slow_seconds = 1.0, 20.0  # so that some are cancelled in the midst of it
    tasks = [kling.book(9000) for _ in range(50)]

    async def wait() -> None:
        waiting = [asyncio.create_task(wait_for(task, clock)) for task in tasks]
        await asyncio.sleep(after)
        for one in waiting:
            one.cancel()
        ends = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in ends)
        await nothing_left(kling)
        gc.collect()  # an unclosed session complains when it is collected

    clock.run(wait())
    assert not clock.complaints


def test_after_everybody_has_left_a_new_wait_begins_anew(clock: PatientClock, kling: NastyKling) -> None:
    async def wait() -> list[Came]:
        came = await wait_for_all(book(kling, 20), clock)
        came += await wait_for_all(book(kling, 20, 1), clock)  # at once
        await nothing_left(kling)
        return came + await wait_for_all(book(kling, 20, 2), clock)

    check_ended_right(clock.run(wait()))


def test_one_event_loop_after_another(clock: PatientClock, kling: NastyKling) -> None:
    """The second may have the id of the first, whose waits were never finished."""
    for seed in range(3):
        tasks = book(kling, 20, seed)

        async def leave(tasks: list[Task] = tasks) -> None:
            for task in tasks:
                asyncio.create_task(wait_for(task, clock))  # noqa: RUF006
            await asyncio.sleep(40)

        clock.run(leave())
        gc.collect()
        check_ended_right(clock.run(wait_for_all(tasks, clock)))
    assert not clock.complaints


def test_two_connections_do_not_disturb_each_other(
    clock: PatientClock, sent: Sent, kling: NastyKling, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of them is down, slow to answer and out of keys; and ids may be the same at both."""
    with NastyKling(clock.time, seed=0) as other:
        clock.at_work.append(other.is_at_work)
        connect(monkeypatch, other, "other", auth="pair")
        here, there = book(kling, 60), book(other, 60)
        assert {task.task_id for task in here} & {task.task_id for task in there}
        for task in there:
            task.external_id = "other" + task.external_id
        other.faults.errors = other.faults.slow = 0.3

        async def wait() -> tuple[list[Came], list[Came]]:
            return await asyncio.gather(
                wait_for_all(here, clock), wait_for_all(there, clock, kling_conn_id="other")
            )

        at_kling, at_other = clock.run(wait())
        check_ended_right(at_kling)
        check_ended_right(at_other)
        told = {one for request in kling.requests for one in request.told}
        assert told == {task.task_id for task in here}
        check_rate(sent[kling.url])
        check_rate(sent[other.url])


@pytest.mark.parametrize(
    ("owner", "name"),
    [(KlingAsyncHook, "_exchange"), (KlingAsyncHook, "get_config")],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("times", [1, 5])
def test_a_crash_inside_fails_nobody(
    owner: Any, name: str, times: int, clock: PatientClock, kling: NastyKling, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever raises that nobody thought of, a few times in a row in the midst of it."""
    real: Callable[..., Any] = getattr(owner, name)
    tasks, raised = book(kling, 60), []

    async def raising(*arguments: Any, **named: Any) -> Any:
        if clock.time() > begin + 60 and len(raised) < times:
            raised.append(clock.time())
            raise RuntimeError("nobody thought of this")
        return await real(*arguments, **named)

    monkeypatch.setattr(owner, name, raising)
    begin = clock.time()
    came = clock.run(wait_for_all(tasks, clock))
    assert len(raised) == times
    check_ended_right(came)
    assert max(one.lag for one in came) < 180
    gc.collect()
    assert not clock.complaints
