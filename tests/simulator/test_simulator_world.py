"""The world without HTTP: time is what the test says."""

from __future__ import annotations

import time
from typing import Any

import pytest

from kling_provider.api.endpoints import ENDPOINTS
from kling_provider.simulator.accounts import Account
from kling_provider.simulator.refusals import Refusal
from kling_provider.simulator.server import SimulatorServer
from kling_provider.simulator.settings import Settings
from kling_provider.simulator.tasks import Order
from kling_provider.simulator.world import World
from tests.simulator.simulator_client import Client

ACCOUNT = Account("main", "k", "a", "s")
NOW = 1_790_000_000.0


def order(external: str | None = None, endpoint: str = "image2video") -> Order:
    return Order(ENDPOINTS[endpoint], {"model_name": "kling-v1-6"}, external)


def test_a_task_takes_the_endpoints_time_divided_by_speed() -> None:
    for endpoint in (row.name for row in ENDPOINTS.values() if row.work == "task"):
        world = World(Settings(speed=10))
        usual = ENDPOINTS[endpoint].typical_seconds / 10
        for _ in range(20):
            task = world.book(ACCOUNT, "official", order(endpoint=endpoint), NOW, drops_id=False)
            assert usual * 0.9 <= task.ends_at - NOW <= usual * 1.1


def test_what_was_due_happened_when_it_was_due() -> None:
    world = World(Settings(speed=1, task_seconds=100))
    name = world.book(ACCOUNT, "official", order(), NOW, drops_id=False).task_id
    world.advance(NOW + 10_000)
    assert [(task.status, task.updated_at - NOW) for task in world.take_changed()] == [
        ("processing", 10),
        ("succeed", 100),
    ]
    assert world.find(ACCOUNT, name, NOW + 10_000).status == "succeed"
    assert world.slots_held("main", "video") == 0


def test_lags_pass() -> None:
    world = World(Settings(lookup_lag=5, query_lag=2, unique_lag=3))
    name = world.book(ACCOUNT, "official", order("mine"), NOW, drops_id=False).task_id
    for asked, age in ((name, 1.9), ("mine", 4.9)):
        with pytest.raises(Refusal, match="not found"):
            world.find(ACCOUNT, asked, NOW + age)
    assert world.find(ACCOUNT, name, NOW + 2).task_id == name
    assert world.find(ACCOUNT, "mine", NOW + 5).task_id == name
    world.book(ACCOUNT, "official", order("mine"), NOW + 2.9, drops_id=False)
    with pytest.raises(Refusal, match="already exists"):
        world.book(ACCOUNT, "official", order("mine"), NOW + 3, drops_id=False)


def test_ending_a_task_twice_frees_one_slot() -> None:
    world = World(Settings())
    names = [world.book(ACCOUNT, "official", order(), NOW, drops_id=False).task_id for _ in range(2)]
    world.change(names[0], NOW, status="succeed")
    world.change(names[0], NOW, status="failed")
    assert world.slots_held("main", "video") == 1
    world.change(names[0], NOW, status="processing")
    assert world.slots_held("main", "video") == 2


def test_a_crowd_is_booked_at_once_and_ends_when_it_was_told_to() -> None:
    with SimulatorServer(speed=1, concurrency=1) as server:
        now = time.time()
        old, young = server.crowd("text2video", [100, 1000], ages=[150, 200], body={"duration": "10"})
        assert [one.status for one in server.tasks] == ["succeed", "processing"]
        assert old.ends_at == pytest.approx(now - 50, abs=5)
        assert young.ends_at == pytest.approx(now + 800, abs=5)
        assert young.body == {"duration": "10"}
        assert [one.endpoint for one in server.tasks] == ["text2video"] * 2
        with pytest.raises(ValueError, match="2 tasks, but 1 ages"):
            server.crowd("text2video", [1, 1], ages=[1])


def test_requests_are_counted_beyond_what_is_remembered() -> None:
    with SimulatorServer() as server:
        names = [task.task_id for task in server.crowd("image2video", [1, 1, 1])]
        for name in names:
            Client(server).task(name)
        assert server.counts == {"GET /v1/videos/image2video/{id}": 3}
        server.reset()
        assert server.counts == {}


@pytest.mark.parametrize("order", ["newest", "oldest", "shuffled"])
def test_lists_keep_their_order_while_tasks_come_in(order: Any) -> None:
    world = World(Settings(list_order=order, concurrency=100))
    rows = [
        ("image2video", NOW - 5),
        ("text2video", NOW - 50),
        ("image2video", NOW - 500),
        ("image2video", NOW),
    ]
    seen: list[list[str]] = []
    for endpoint, at in rows:
        asked = Order(ENDPOINTS[endpoint], {})
        world.book(ACCOUNT, "official", asked, at, drops_id=False)
        seen = [[one.task_id for one in world.listed(ACCOUNT, NOW, name)] for name in (None, "image2video")]
    anew = World(Settings(list_order=order))
    anew.tasks = world.tasks
    assert seen == [
        [one.task_id for one in anew.listed(ACCOUNT, NOW, name)] for name in (None, "image2video")
    ]
    assert len(seen[0]) == 4
    assert len(seen[1]) == 3
    if order != "shuffled":
        times = [one.created_at for one in world.listed(ACCOUNT, NOW)]
        assert times == sorted(times, reverse=order == "newest")
