"""How the watcher asks, against the simulator: many at once, through lists, alone; and what it learns."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from typing import Any
from urllib.parse import parse_qs

import pytest

from kling_provider import stats
from kling_provider.api.endpoints import ENDPOINTS
from kling_provider.api.pace import Durations
from kling_provider.hooks.kling import KlingHook
from kling_provider.simulator.server import SimulatorServer
from kling_provider.triggers import asking, routes, watcher
from kling_provider.triggers.kling import KlingTaskTrigger
from kling_provider.triggers.watch import Watch
from kling_provider.triggers.watcher import watcher_for

Events = list[dict[str, Any]]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kling_provider.triggers.kling.FIRST_ASK_AFTER_SECONDS", 0.0)
    monkeypatch.setattr(watcher, "ROUND_SECONDS", 0.1)


@pytest.fixture
def connected(kling_simulator: SimulatorServer, monkeypatch: pytest.MonkeyPatch) -> Any:
    def connect(gateway: str = "official", **extra: Any) -> None:
        extra = {"requests_per_second": 100, **extra}
        monkeypatch.setenv("AIRFLOW_CONN_KLING_DEFAULT", kling_simulator.connection_json(gateway, **extra))

    kling_simulator.set(concurrency=1000)
    connect()
    return connect


def submit(count: int, endpoint: str = "text2video") -> list[str]:
    hook = KlingHook()
    return [hook.submit(endpoint, {"prompt": "a boat"}).task_id for _ in range(count)]


def wait_for(task_ids: list[str], **arguments: Any) -> Events:
    """Wait for all of them in one event loop; the watcher is that of the loop."""
    return asyncio.run(_wait_for(task_ids, **arguments))


async def _wait_for(task_ids: list[str], **arguments: Any) -> Events:
    now = time.time()
    told = {
        "endpoint": "text2video",
        "kling_conn_id": "kling_default",
        "poke_interval": 0.1,
        "deadline": now + 20,
        "asked_at": now - 60,
        "booked_at": now,
    }

    async def one(task_id: str) -> dict[str, Any]:
        async for event in KlingTaskTrigger(task_id=task_id, **{**told, **arguments}).run():
            return dict(event.payload)
        raise AssertionError("no event")

    return list(await asyncio.wait_for(asyncio.gather(*map(one, task_ids)), 30))


def asked(server: SimulatorServer) -> Counter[str]:
    """How often each way of asking was used since the submits."""

    def way(path: str) -> str:
        return "batch" if path == "/tasks" else "list" if path.endswith("2video") else "single"

    return Counter(way(request.path) for request in server.requests if request.method == "GET")


def check(events: Events, task_ids: list[str]) -> None:
    assert [event["task"]["task_id"] for event in events] == task_ids
    assert {event["task"]["status"] for event in events} == {"succeed"}


def test_many_are_asked_for_at_once(kling_simulator: SimulatorServer, connected: Any) -> None:
    ids = submit(40)
    check(wait_for(ids), ids)
    assert asked(kling_simulator)["batch"] <= 6
    assert sum(asked(kling_simulator).values()) <= 8


def test_a_task_alone_is_asked_for_directly(kling_simulator: SimulatorServer, connected: Any) -> None:
    ids = submit(1)
    check(wait_for(ids), ids)
    assert set(asked(kling_simulator)) == {"single"}


@pytest.mark.parametrize("why", ["key pair", "gateway", "not told of"])
def test_where_a_batch_tells_nothing_the_list_does(
    why: str, kling_simulator: SimulatorServer, connected: Any
) -> None:
    if why == "key pair":
        connected(auth="pair")
    elif why == "gateway":
        connected("custom")
    else:
        kling_simulator.set(tasks_see_classic=False)
    ids = submit(40)
    check(wait_for(ids), ids)
    assert asked(kling_simulator)["batch"] == (1 if why == "not told of" else 0)
    assert asked(kling_simulator)["list"] <= 6
    assert asked(kling_simulator)["single"] <= 2


def test_a_batch_that_is_too_long_is_halved_and_the_limit_remembered(
    kling_simulator: SimulatorServer, connected: Any
) -> None:
    kling_simulator.set(batch_limit=7, task_seconds=3600)
    ids = submit(28)

    def sizes() -> list[int]:
        batches = [one.query for one in kling_simulator.requests if one.path == "/tasks"]
        return [len(parse_qs(query)["task_ids"][0].split(",")) for query in batches]

    async def finish_after_thirty_batches() -> None:
        while len(sizes()) < 30:
            await asyncio.sleep(0.02)
        for task_id in ids:
            kling_simulator.finish(task_id)

    async def both() -> Events:
        events, _ = await asyncio.gather(_wait_for(ids), finish_after_thirty_batches())
        return events

    check(asyncio.run(both()), ids)
    assert 1 <= len([size for size in sizes() if size > 7]) <= 6
    assert max(sizes()[20:30]) <= 7


def test_tasks_of_both_dialects_share_a_batch(kling_simulator: SimulatorServer, connected: Any) -> None:
    classic = submit(3)
    new = submit(3, "text-to-video/kling-3.0")

    async def both() -> tuple[Events, Events]:
        return await asyncio.gather(_wait_for(classic), _wait_for(new, endpoint="text-to-video/kling-3.0"))

    told, told_anew = asyncio.run(both())
    check(told, classic)
    check(told_anew, new)
    assert set(asked(kling_simulator)) == {"batch"}


def test_the_list_of_a_busy_account_is_left_alone_where_single_queries_are_cheaper(
    kling_simulator: SimulatorServer, connected: Any
) -> None:
    connected(auth="pair")
    kling_simulator.set(list_order="shuffled")
    kling_simulator.foreign(6000)
    ids = submit(3)
    check(wait_for(ids), ids)
    assert asked(kling_simulator)["list"] <= 5


@pytest.mark.parametrize("order", ["newest", "oldest", "shuffled"])
def test_in_a_busy_account_nobody_is_lost(
    order: str, kling_simulator: SimulatorServer, connected: Any
) -> None:
    connected(auth="pair")
    kling_simulator.set(list_order=order)
    kling_simulator.foreign(3000, running=500)
    ids = submit(60)
    check(wait_for(ids), ids)
    assert sum(asked(kling_simulator).values()) <= 60


def test_what_it_learned_spares_questions(kling_simulator: SimulatorServer, connected: Any) -> None:
    kling_simulator.set(task_seconds=1.5)

    async def two_waves() -> tuple[int, int]:
        counts = []
        for _ in range(2):
            ids = await asyncio.to_thread(submit, 10)
            before = sum(asked(kling_simulator).values())
            check(await _wait_for(ids, asked_at=time.time(), poke_interval=0.2), ids)
            counts.append(sum(asked(kling_simulator).values()) - before)
        assert watcher_for("kling_default").durations.expect("text2video").seen == 20
        return counts[0], counts[1]

    first, second = asyncio.run(two_waves())
    assert second < first


def test_the_connection_says_how_fast_it_may_ask(kling_simulator: SimulatorServer, connected: Any) -> None:
    connected(auth="pair", requests_per_second=8, triggerers=4)  # two a second for this one
    kling_simulator.set(lookup_lag=60)  # the list shows nothing, so each is asked for alone
    ids = submit(10)
    kling_simulator.set(task_seconds=0.3)
    check(wait_for(ids), ids)
    times = sorted(one.at for one in kling_simulator.requests if one.method == "GET")
    for first, start in enumerate(times):
        for last in range(first, len(times)):
            assert last - first + 1 <= 2 * (times[last] - start) + 2 + 0.2


def test_a_line_about_a_task_lands_in_its_own_log(
    kling_simulator: SimulatorServer, connected: Any, caplog: pytest.LogCaptureFixture
) -> None:
    import contextvars

    whose: contextvars.ContextVar[str] = contextvars.ContextVar("whose", default="nobody's")
    seen: list[tuple[str, str]] = []

    class Whose(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append((whose.get(), record.getMessage()))

    ids = submit(5)

    async def main() -> None:
        async def one(task_id: str) -> None:
            whose.set(task_id)
            await _wait_for([task_id])

        await asyncio.gather(*map(one, ids))

    handler = Whose()
    logging.getLogger("kling_provider").addHandler(handler)
    caplog.set_level(logging.INFO)
    try:
        asyncio.run(main())
    finally:
        logging.getLogger("kling_provider").removeHandler(handler)
    named = [(owner, task_id) for owner, text in seen for task_id in ids if task_id in text]
    assert {task_id for _, task_id in named} == set(ids)
    assert all(owner == task_id for owner, task_id in named)


def test_the_numbers_of_the_watcher_are_told(
    kling_simulator: SimulatorServer, connected: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[str, float]] = []
    for kind in ("count", "gauge", "timing"):
        monkeypatch.setattr(stats, kind, lambda name, value=1, **tags: told.append((name, value)))
    ids = submit(3)
    check(wait_for(ids), ids)
    sums = Counter[str]()
    for name, value in told:
        sums[name] += value
    assert sums["watcher.requests"] == sum(asked(kling_simulator).values())
    assert [value for name, value in told if name == "watcher.in_flight"][-1] == 0
    assert max(value for name, value in told if name == "watcher.in_flight") == 3
    assert len([value for name, value in told if name == "watcher.lag"]) == 3
    assert all(0.2 < value < 1 for name, value in told if name == "wait.seconds")


def test_a_batch_grows_while_it_is_taken_and_settles_where_it_is_not() -> None:
    route = routes.BatchRoute()
    for _ in range(5):
        route.on_taken(route.limit)
    assert route.limit == routes.LARGEST_BATCH
    route = routes.BatchRoute()
    route.on_too_many(50)
    assert route.limit == 25
    route.on_taken(25)
    assert route.limit == 37
    route.on_too_many(37)
    assert route.limit == 25
    route.on_taken(25)
    assert route.limit == 25  # near enough


def test_a_storm_does_not_close_a_way_but_silence_again_and_again_does() -> None:
    route = routes.BatchRoute()
    assert not any(route.on_silence(100.0 + number / 10) for number in range(20))
    assert route.is_open(103.0)
    assert not route.on_silence(110.0)
    assert route.on_silence(120.0)
    assert not route.is_open(120.0 + routes.NOT_WORTH_IT_SECONDS - 1)
    assert route.is_open(120.0 + routes.NOT_WORTH_IT_SECONDS)
    for now in (1000.0, 1010.0):
        assert not route.on_silence(now)
    route.on_answer()
    assert not route.on_silence(1020.0)


def test_a_way_that_is_refused_rests() -> None:
    route = routes.ListRoute()
    assert route.is_open(0.0)
    route.on_refused(100.0)
    assert not route.is_open(100.0 + routes.REFUSED_SECONDS - 1)
    assert route.is_open(100.0 + routes.REFUSED_SECONDS)


def test_thousands_of_answers_do_not_hold_up_the_loop(
    kling_simulator: SimulatorServer, connected: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "AT_A_TIME", 5)
    ids = submit(40)
    for task_id in ids:
        kling_simulator.finish(task_id)
    turns: list[int] = []

    async def main() -> None:
        waiting = asyncio.create_task(_wait_for(ids))
        fired = 0
        while not waiting.done():
            one = watcher_for("kling_default")
            over = sum(watch.is_over for watch in one._waits)
            turns.append(over)
            await asyncio.sleep(0)
            fired += 1
        check(await waiting, ids)

    asyncio.run(main())
    assert max(turns) <= 10


def test_that_a_batch_tells_of_no_classic_tasks_is_learned_again_with_one(
    kling_simulator: SimulatorServer, connected: Any
) -> None:
    """After an hour one batch finds out whether that has changed; the others do not pay for it."""
    kling_simulator.set(tasks_see_classic=False)

    async def two_waves() -> Counter[str]:
        for _ in range(2):
            ids = await asyncio.to_thread(submit, 40)
            before = asked(kling_simulator)
            check(await _wait_for(ids, booked_at=time.time() - 100), ids)
            route = watcher_for("kling_default")._asking.batch_route
            assert route.tells_classic is False
            assert not route.is_open_for_classic(time.time())
            route._classic_rests_until = time.time()
        return asked(kling_simulator) - before

    second = asyncio.run(two_waves())
    assert second["batch"] == 1
    assert second["single"] <= 2


@pytest.mark.parametrize(
    "trouble", [{"kind": "envelope", "code": 1000}, {"kind": "html", "http_status": 502}]
)
def test_questions_that_stand_in_line_are_not_put_to_a_kling_that_answers_none(
    trouble: dict[str, Any], kling_simulator: SimulatorServer, connected: Any
) -> None:
    ids = submit(40)
    kling_simulator.fault(method="GET", times=0, **trouble)
    failed: list[Watch] = []

    async def ask_once() -> None:
        now = time.time()
        row, durations = ENDPOINTS["text2video"], Durations()
        watches = [Watch(task_id, row, durations, 5.0, now, now + 3600, booked_at=now) for task_id in ids]
        ours = {watch.task_id: [watch] for watch in watches}
        one = asking.Asking("kling_default", ours, lambda *_: None, lambda watch, _: failed.append(watch))
        one.open()
        await one.singly(await one.config(), watches)
        await one.close()

    asyncio.run(ask_once())
    sent = sum(asked(kling_simulator).values())
    assert 1 <= sent <= asking.MOST_AT_ONCE + asking.OUTAGE_AFTER
    assert len(failed) == (40 if trouble["kind"] == "html" else sent)
