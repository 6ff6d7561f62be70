"""The world without HTTP: time is what the test says."""

from __future__ import annotations

import pytest

from kling_provider.api.endpoints import ENDPOINTS
from kling_provider.simulator.accounts import Account
from kling_provider.simulator.refusals import Refusal
from kling_provider.simulator.settings import Settings
from kling_provider.simulator.tasks import Order
from kling_provider.simulator.world import World

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
