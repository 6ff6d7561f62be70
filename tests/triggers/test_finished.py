"""KlingFinishedTrigger against the simulator, and its memory alone."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs

import pytest
from airflow.sdk import Asset, AssetWatcher
from airflow.triggers.base import BaseEventTrigger

from kling_provider.api.finished import (
    LAG_SECONDS,
    LONGEST_TASK_SECONDS,
    OLDEST_NEWS_SECONDS,
    FinishedLists,
    FinishedTasks,
    PageOrder,
)
from kling_provider.api.identity import namespace_prefix
from kling_provider.api.tasks import KlingTask
from kling_provider.hooks.kling import KlingHook
from kling_provider.simulator.server import SimulatorServer
from kling_provider.triggers import finished as finished_trigger
from kling_provider.triggers.finished import KlingFinishedTrigger
from kling_provider.triggers.watcher import watcher_for
from tests.test_dags import load

Payloads = list[dict[str, Any]]


class AssetState:
    """Airflow's state of the watched asset (3.3+), in memory."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.writes = 0

    async def aget(self, key: str, default: Any = None) -> Any:
        return self.values.get(key, default)

    async def aset(self, key: str, value: Any) -> None:
        self.values[key] = json.loads(json.dumps(value))
        self.writes += 1


class BrokenState:
    async def aget(self, key: str) -> Any:
        raise ValueError("several assets")

    async def aset(self, key: str, value: Any) -> None:
        raise ValueError("several assets")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finished_trigger, "LEAST_INTERVAL_SECONDS", 0.01)
    monkeypatch.setattr(finished_trigger, "HANDED_OVER_SECONDS", 0.0)


@pytest.fixture
def kling(kling_simulator: SimulatorServer, monkeypatch: pytest.MonkeyPatch) -> SimulatorServer:
    monkeypatch.setenv(
        "AIRFLOW_CONN_KLING_DEFAULT", kling_simulator.connection_json(requests_per_second=1000)
    )
    kling_simulator.set(concurrency=10000, task_seconds=3600)
    return kling_simulator


def submit(kling: SimulatorServer, count: int = 1, endpoint: str = "text2video", **more: Any) -> list[str]:
    request = {"prompt": "a boat"} if endpoint == "text2video" else {"image": "https://p.example/a.jpg"}
    return [KlingHook().submit(endpoint, request, **more).task_id for _ in range(count)]


def finish(kling: SimulatorServer, *task_ids: str) -> None:
    for task_id in task_ids:
        kling.finish(task_id)


def told(
    trigger: KlingFinishedTrigger, count: int = 0, meanwhile: Any = None, rounds: int = 3, **state: Any
) -> Payloads:
    """What a watcher tells of tasks, until it is stopped after some of them, or else after some rounds."""
    return asyncio.run(_told(trigger, count, meanwhile, rounds, **state))


async def _told(
    trigger: KlingFinishedTrigger, count: int, meanwhile: Any, rounds: int, state: Any = None
) -> Payloads:
    from kling_provider.triggers.lists import FinishedReader

    if state is not None:
        trigger.asset_state_store = state
    payloads: Payloads = []
    done, looks = asyncio.Event(), 0
    read = FinishedReader.read

    async def counted(self: Any, memory: Any) -> Any:
        nonlocal looks
        if looks >= rounds and len(payloads) >= count:
            done.set()
        looks += 1
        if meanwhile is not None:
            await asyncio.to_thread(meanwhile, looks)
        return await read(self, memory)

    async def collect() -> None:
        async for event in trigger.run():
            payloads.extend(event.payload["tasks"])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FinishedReader, "read", counted)
        running = asyncio.create_task(collect())
        stop = asyncio.create_task(done.wait())
        await asyncio.wait({running, stop}, timeout=30, return_when=asyncio.FIRST_COMPLETED)
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
    assert done.is_set(), "it did not go on"
    return payloads


def watcher(**arguments: Any) -> KlingFinishedTrigger:
    return KlingFinishedTrigger(**{"interval": 0.05, **arguments})


def ids(payloads: Payloads) -> list[str]:
    return [payload["task_id"] for payload in payloads]


def test_a_video_that_finishes_is_told_of_once(kling: SimulatorServer) -> None:
    first, second = submit(kling, 2)
    payloads = told(watcher(), 2, lambda look: finish(kling, *{2: [first], 4: [second]}.get(look, [])), 7)
    assert ids(payloads) == [first, second]
    task = KlingHook().get_task(first, endpoint="text2video")
    assert task.updated_at is not None
    assert payloads[0] == {
        "task_id": first,
        "endpoint": "text2video",
        "status": "succeed",
        "external_task_id": None,
        "video_ids": [task.videos[0].id],
        "finished_at": task.updated_at.isoformat(),
    }
    assert "http" not in json.dumps(payloads)


@pytest.mark.parametrize("order", ["newest", "oldest", "shuffled"])
def test_every_list_is_read_as_far_as_it_must_be(order: str, kling: SimulatorServer) -> None:
    """Others have thousands of old ones; ours end in between, in an order that nobody has documented."""
    kling.set(list_order=order)
    kling.foreign(4000)
    ours = submit(kling, 6)
    payloads = told(
        watcher(endpoints=["text2video"]), 6, lambda look: finish(kling, *ours[look - 1 : look]), 10
    )
    others = [payload for payload in payloads if payload["task_id"] not in ours]
    assert sorted(
        ids(payloads)[len(others) :] if order != "shuffled" else set(ids(payloads)) & set(ours)
    ) == (sorted(ours))
    assert len(ids(payloads)) == len(set(ids(payloads)))
    assert len(others) <= 8  # what somebody else made in the last hour


def test_a_list_with_the_newest_first_costs_one_request_a_round(kling: SimulatorServer) -> None:
    kling.set(list_order="newest")
    kling.foreign(4000)
    told(watcher(endpoints=["text2video"]), rounds=6)
    pages = Counter(parse_qs(request.query)["pageNum"][0] for request in kling.requests)
    assert set(pages) == {"1"}
    assert pages["1"] >= 6


@pytest.mark.parametrize("order", ["newest", "oldest", "shuffled"])
def test_a_restart_misses_nothing_and_repeats_nothing(order: str, kling: SimulatorServer) -> None:
    kling.set(list_order=order)
    before, while_away, after = submit(kling, 3)
    state = AssetState()
    first = told(watcher(), 1, lambda look: finish(kling, *[before][: look == 2]), 4, state=state)
    finish(kling, while_away)
    second = told(watcher(), 2, lambda look: finish(kling, *[after][: look == 2]), 4, state=state)
    assert [ids(first), ids(second)] == [[before], [while_away, after]]


def test_what_is_remembered_is_written_when_something_was_told_only(kling: SimulatorServer) -> None:
    (task_id,) = submit(kling)
    state = AssetState()
    told(watcher(), 1, lambda look: finish(kling, *[task_id][: look == 2]), 8, state=state)
    assert state.writes <= 2
    (kept,) = state.values.values()
    assert {endpoint: list(one["told"]) for endpoint, one in kept["lists"].items()} == {
        "image2video": [],
        "text2video": [task_id],
    }


def events(trigger: KlingFinishedTrigger, count: int) -> list[dict[str, Any]]:
    """The first payloads as they are sent, one for an event."""

    async def collect() -> list[dict[str, Any]]:
        came: list[dict[str, Any]] = []
        async for event in trigger.run():
            came.append(event.payload)
            if len(came) == count:
                break
        return came

    return asyncio.run(asyncio.wait_for(collect(), 30))


def test_what_one_look_finds_is_one_event(kling: SimulatorServer) -> None:
    """Of events that come close together Airflow starts a run for the first only."""
    made = submit(kling, 3)
    finish(kling, *made)
    (event,) = events(watcher(), 1)
    assert set(ids(event["tasks"])) == set(made)


def test_a_crowd_comes_in_events_that_a_task_can_be_mapped_over(
    kling: SimulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.configuration import conf

    crowd = [task(f"t{number}", NOW + number) for number in range(1025)]

    class Reader:
        async def read(self, memory: FinishedLists) -> list[KlingTask]:
            return memory.of("text2video").news(crowd)

    slept: list[float] = []
    sleep = asyncio.sleep

    async def recorded(seconds: float) -> None:
        slept.append(seconds)
        await sleep(0)

    monkeypatch.setattr(finished_trigger, "_reader", lambda *_: Reader())
    monkeypatch.setattr(finished_trigger.asyncio, "sleep", recorded)
    came = events(watcher(interval=60), 3)
    assert [len(event["tasks"]) for event in came] == [500, 500, 25]
    assert max(len(event["tasks"]) for event in came) <= conf.getint("core", "max_map_length")
    assert ids([one for event in came for one in event["tasks"]]) == [one.task_id for one in crowd]
    assert slept.count(60) == 2  # the scheduler has made the run of each before the next one comes


def test_a_list_that_cannot_be_read_holds_back_nothing_of_the_others(
    kling: SimulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kling_provider.triggers.lists import FinishedReader

    monkeypatch.setattr(FinishedReader, "_classic_pages", _without(FinishedReader._classic_pages, "effects"))
    made = submit(kling, 2)
    finish(kling, *made)
    state = AssetState()
    assert set(made) <= set(ids(told(watcher(endpoints=["effects", "text2video"]), 2, rounds=6, state=state)))
    (kept,) = state.values.values()
    assert kept["lists"]["text2video"]["since"] > kept["lists"]["effects"]["since"]


def test_what_one_memory_of_all_lists_has_kept_is_told_by_none_again(kling: SimulatorServer) -> None:
    (text,) = submit(kling)
    (picture,) = submit(kling, endpoint="image2video")
    finish(kling, text)
    state = AssetState()
    told(watcher(), 1, state=state)
    ((key, kept),) = state.values.items()
    state.values[key] = kept["lists"]["text2video"]  # as it was before each list had its own
    finish(kling, picture)
    assert ids(told(watcher(), 1, rounds=6, state=state)) == [picture]


def _without(pages: Any, name: str) -> Any:
    """Lists of which one cannot be read."""

    async def some(self: Any, hook: Any, row: Any, memory: Any) -> Any:
        if row.name == name:
            raise OSError("not today")
        async for tasks in pages(self, hook, row, memory):
            yield tasks

    return some


def test_an_event_is_remembered_after_it_was_handed_over(
    kling: SimulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A triggerer that is killed in between tells it again, and does not lose it."""
    (task_id,) = submit(kling)
    finish(kling, task_id)
    state = AssetState()

    async def killed_after_the_event() -> Payloads:
        trigger = watcher()
        trigger.asset_state_store = state  # type: ignore[assignment]
        async for event in trigger.run():
            return list(event.payload["tasks"])
        return []

    assert ids(asyncio.run(killed_after_the_event())) == [task_id]
    assert ids(told(watcher(), 1, state=state)) == [task_id]


@pytest.mark.parametrize("state", [None, BrokenState()], ids=["before 3.3", "cannot be read"])
def test_without_a_memory_the_look_back_is_told_again(state: Any, kling: SimulatorServer) -> None:
    (task_id,) = submit(kling)
    finish(kling, task_id)
    assert ids(told(watcher(), 1, state=state)) == ids(told(watcher(), 1, state=state)) == [task_id]
    assert told(watcher(look_back=0), state=state) == []


def test_conditions_are_kept(kling: SimulatorServer) -> None:
    text, other = submit(kling, external_task_id="shop-1"), submit(kling, external_task_id="film-1")
    (picture,) = submit(kling, endpoint="image2video", external_task_id="shop-2")
    kling.change(other[0], status="failed", message="no")
    finish(kling, *text, picture)
    assert set(ids(told(watcher(), 2))) == {*text, picture}
    assert ids(told(watcher(endpoints="image2video"), 1)) == [picture]
    failed = told(watcher(statuses=["failed"]), 1)
    assert [(one["task_id"], one["status"], one["video_ids"]) for one in failed] == [(other[0], "failed", [])]
    both = told(watcher(statuses=["failed", "succeed"], external_task_id_prefix="film-"), 1)
    assert ids(both) == other
    assert told(watcher(external_task_id_prefix=namespace_prefix("another team"))) == []


def test_tasks_of_the_new_dialect_are_told_of_by_their_list(kling: SimulatorServer) -> None:
    made = KlingHook().submit("text-to-video/kling-3.0", {"prompt": "a boat"})
    finish(kling, made.task_id)
    (payload,) = told(watcher(endpoints=["tasks"]), 1)
    assert (payload["task_id"], payload["endpoint"]) == (made.task_id, "tasks")
    assert KlingHook().get_task(payload["task_id"], endpoint=payload["endpoint"]).videos


def test_trouble_is_told_once_and_survived(kling: SimulatorServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    (task_id,) = submit(kling)

    def meanwhile(look: int) -> None:
        if look == 2:
            kling.fault("envelope", method="GET", code=1302, times=4)
        if look == 6:
            kling.fault("cut_after", method="GET", times=2)
            finish(kling, task_id)

    assert ids(told(watcher(endpoints=["text2video"]), 1, meanwhile, 12)) == [task_id]
    lines = [record.getMessage() for record in caplog.records if "text2video" in record.getMessage()]
    warned = [line for line in lines if "cannot be listed now" in line]
    assert len(warned) == 2
    assert any("can be listed again" in line for line in lines)


def test_a_connection_that_is_not_there_yet_is_waited_for(
    kling: SimulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    (task_id,) = submit(kling)
    finish(kling, task_id)
    monkeypatch.setenv("AIRFLOW_CONN_LATER", "")
    monkeypatch.delenv("AIRFLOW_CONN_LATER")

    def meanwhile(look: int) -> None:
        if look == 3:
            monkeypatch.setenv("AIRFLOW_CONN_LATER", kling.connection_json())

    assert ids(told(watcher(kling_conn_id="later"), 1, meanwhile, 3)) == [task_id]


def test_all_that_ask_share_the_pace_of_the_connection(
    kling: SimulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(
        "AIRFLOW_CONN_KLING_DEFAULT", kling.connection_json(requests_per_second=8, triggerers=2)
    )

    async def pace() -> float:
        running = asyncio.create_task(_told(watcher(), 0, None, 1))
        await running
        return watcher_for("kling_default").budget.per_second

    assert asyncio.run(pace()) == 4


def test_what_kling_asks_for_is_kept(kling: SimulatorServer) -> None:
    kling.fault("envelope", method="GET", code=1302, times=1, retry_after=1)
    told(watcher(endpoints=["text2video"]), rounds=2)
    refused, again = [request.at for request in kling.requests][:2]
    assert again - refused >= 1


def test_equal_watchers_are_one_for_airflow() -> None:
    one = KlingFinishedTrigger(endpoints=["text2video", "image2video"], interval=timedelta(minutes=1))
    other = KlingFinishedTrigger(endpoints=("image2video", "text2video", "text2video"), interval=60.0)
    assert one.serialize() == other.serialize()
    assert BaseEventTrigger.hash(*one.serialize()) == BaseEventTrigger.hash(*other.serialize())
    path, arguments = KlingFinishedTrigger().serialize()
    assert path == "kling_provider.triggers.finished.KlingFinishedTrigger"
    assert json.loads(json.dumps(arguments)) == arguments
    assert KlingFinishedTrigger(**arguments).serialize() == (path, arguments)
    assert KlingFinishedTrigger().serialize()[1] == KlingFinishedTrigger(**{}).serialize()[1]


def test_watchers_for_different_things_remember_apart() -> None:
    keys = {
        KlingFinishedTrigger(**arguments)._state_key
        for arguments in (
            {},
            {"endpoints": ["effects"]},
            {"statuses": ["failed"]},
            {"external_task_id_prefix": "af1-"},
            {"kling_conn_id": "other"},
        )
    }
    assert len(keys) == 5
    assert KlingFinishedTrigger(interval=300, look_back=0)._state_key in keys


def test_it_is_the_trigger_of_an_asset_watcher() -> None:
    asset = Asset("kling_finished", watchers=[AssetWatcher(name="kling", trigger=KlingFinishedTrigger())])
    assert asset.watchers[0].trigger.serialize() == KlingFinishedTrigger().serialize()


def test_a_dag_file_that_names_it_stays_cheap() -> None:
    heavy = ("aiohttp", "requests", "av", "PIL", "kling_provider.hooks.kling")
    code = (
        "import sys, kling_provider.triggers.finished; "
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"endpoints": ["image2vdeo"]}, "endpoints=.*image2video"),
        ({"endpoints": []}, "endpoints="),
        ({"endpoints": ["tts"]}, "endpoints="),
        ({"endpoints": ["text-to-video/kling-3.0"]}, "endpoints=.*tasks"),
        ({"statuses": ["processing"]}, "statuses=.*succeed, failed"),
        ({"interval": 0}, "interval=0"),
        ({"interval": "60"}, "interval='60'"),
        ({"interval": float("inf")}, "interval=inf"),
        ({"look_back": -1}, "look_back=-1"),
        ({"external_task_id_prefix": None}, "external_task_id_prefix"),
        ({"kling_conn_id": None}, "kling_conn_id"),
    ],
)
def test_a_wrong_argument_is_a_type_error_which_a_triggerer_survives(
    arguments: dict[str, Any], said: str
) -> None:
    with pytest.raises(TypeError, match=said):
        KlingFinishedTrigger(**arguments)


def test_the_lists_are_not_read_all_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finished_trigger, "LEAST_INTERVAL_SECONDS", 5.0)
    with pytest.raises(TypeError, match="at least 5"):
        KlingFinishedTrigger(interval=4.9)


def test_the_next_look_comes_after_the_interval(
    kling: SimulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    sleep = asyncio.sleep

    async def recorded(seconds: float) -> None:
        slept.append(seconds)
        await sleep(0)

    monkeypatch.setattr(finished_trigger.asyncio, "sleep", recorded)
    told(watcher(interval=300, endpoints=["text2video"]), rounds=2)
    assert max(slept) == pytest.approx(300, abs=5)


# --- the example DAG ------------------------------------------------------------------------------


def told_at(seconds: float, *task_ids: str) -> Any:
    facts = [{"task_id": task_id, "endpoint": "text2video"} for task_id in task_ids]
    at = datetime.fromtimestamp(NOW + seconds, UTC)
    return SimpleNamespace(timestamp=at, extra={"payload": {"tasks": facts}}, created_dagruns=[])


class EventsOf:
    """Events by their asset, which is no key of a dict in Airflow 3.0."""

    def __init__(self, asset: Any, events: list[Any]) -> None:
        self.asset, self.events = asset, events

    def get(self, asset: Any) -> list[Any]:
        assert asset == self.asset
        return self.events

    __getitem__ = get


def called(name: str, *args: Any, **context: Any) -> Any:
    return load("kling_when_finished").task_dict[name].python_callable(*args, **context)


def test_the_example_takes_the_events_that_came_while_its_run_was_held_back() -> None:
    asset = load("kling_when_finished").task_dict["finished_tasks"].inlets[0]
    events = [told_at(0, "before"), told_at(60, "a", "b"), told_at(120, "c"), told_at(300, "after")]
    found = called(
        "finished_tasks",
        params={"tasks": []},
        dag_run=run_of(200),
        triggering_asset_events=EventsOf(asset, events[1:2]),
        inlet_events=EventsOf(asset, events),
    )
    assert ids(found) == ["a", "b", "c"]
    by_hand = {"params": {"tasks": [{"task_id": "x"}]}, "triggering_asset_events": EventsOf(asset, [])}
    assert ids(called("finished_tasks", **by_hand)) == ["x"]


def run_of(start: float, clear_number: int = 0) -> Any:
    return SimpleNamespace(
        dag_id="kling_when_finished",
        run_id="first",
        start_date=datetime.fromtimestamp(NOW + start, UTC),
        clear_number=clear_number,
    )


def started(event: Any, run_id: str, dag_id: str = "kling_when_finished") -> Any:
    event.created_dagruns.append(SimpleNamespace(dag_id=dag_id, run_id=run_id))
    return event


def test_a_run_of_the_example_that_is_cleared_leaves_to_later_runs_what_they_were_told() -> None:
    """Airflow gives it a new start_date: by that, it would store again whatever has finished since."""
    asset = load("kling_when_finished").task_dict["finished_tasks"].inlets[0]
    own = started(started(told_at(60, "a"), "first"), "elsewhere", "another_dag")
    later = [started(told_at(90, "b"), "second"), started(told_at(DAY, "c"), "second")]
    waits = started(
        told_at(2 * DAY, "d"), "elsewhere", "another_dag"
    )  # started no run here: it was held back
    found = called(
        "finished_tasks",
        params={"tasks": []},
        dag_run=run_of(30 * DAY, clear_number=1),
        triggering_asset_events=EventsOf(asset, [own]),
        inlet_events=EventsOf(asset, [own, *later, waits]),
    )
    assert ids(found) == ["a", "d"]


@pytest.mark.parametrize("extra", [{}, None, {"from_rest_api": True}, {"payload": None}, {"payload": {}}])
def test_an_event_made_by_hand_tells_the_example_of_no_task(extra: dict[str, Any] | None) -> None:
    asset = load("kling_when_finished").task_dict["finished_tasks"].inlets[0]
    by_hand = told_at(0)
    by_hand.extra = extra
    found = called(
        "finished_tasks",
        params={"tasks": []},
        dag_run=run_of(200),
        triggering_asset_events=EventsOf(asset, [by_hand]),
        inlet_events=EventsOf(asset, [by_hand, told_at(60, "a")]),
    )
    assert ids(found) == ["a"]


def test_the_example_gives_more_tasks_than_airflow_maps_runs_of_their_own() -> None:
    from airflow.configuration import conf

    crowd = [{"task_id": f"t{number}"} for number in range(2025)]
    here, rest = called("stored_here", crowd), called("the_rest", crowd)
    assert [len(here), *(len(run["tasks"]) for run in rest)] == [1000, 1000, 25]
    assert [*here, *(one for run in rest for one in run["tasks"])] == crowd
    assert len(here) <= conf.getint("core", "max_map_length")
    assert called("the_rest", crowd[:1000]) == []


# --- the memory alone -----------------------------------------------------------------------------

DAY = 86400.0
NOW = 1_800_000_000.0


def task(
    task_id: str, ended: float | None, created: float | None = None, status: str = "succeed"
) -> KlingTask:
    def moment(seconds: float | None) -> datetime | None:
        return None if seconds is None else datetime.fromtimestamp(seconds, UTC)

    return KlingTask(
        task_id, "text2video", status, created_at=moment(created or ended), updated_at=moment(ended)
    )


def test_a_task_without_times_is_no_news() -> None:
    assert FinishedTasks(NOW).news([task("a", None)]) == []


def test_an_odd_task_of_the_future_hides_nobody() -> None:
    memory = FinishedTasks(NOW)
    assert memory.news([task("odd", NOW + 100 * DAY)])
    memory.on_round(NOW + 60, is_complete=True)
    assert memory.since <= NOW + 60
    assert memory.news([task("next", NOW + 90)])


def test_what_is_told_late_by_the_list_is_news_still() -> None:
    memory = FinishedTasks(NOW)
    memory.news([task("a", NOW + 1000)])
    memory.on_round(NOW + 1000, is_complete=True)
    assert memory.news([task("late", NOW + 1000 - LAG_SECONDS)])
    assert not memory.news([task("old", NOW + 1000 - LAG_SECONDS - 1)])


def test_a_round_that_is_not_complete_moves_nothing() -> None:
    memory = FinishedTasks(NOW)
    memory.news([task("a", NOW + 5000)])
    memory.on_round(NOW + 5000, is_complete=False)
    assert (memory.since, memory.reach) == (NOW, NOW - LONGEST_TASK_SECONDS - LAG_SECONDS)
    assert memory.news([task("b", NOW + 1)])


def test_a_list_that_is_never_read_to_its_end_is_remembered_for_as_long_as_kling_keeps_videos() -> None:
    memory = FinishedTasks(NOW)
    for day in range(90):
        at = NOW + day * DAY
        assert memory.news([task(f"{day}", at)])
        memory.on_round(at, is_complete=False)
    assert len(memory.to_dict()["told"]) == OLDEST_NEWS_SECONDS / DAY + 1
    assert memory.reach == NOW + 89 * DAY - OLDEST_NEWS_SECONDS - LONGEST_TASK_SECONDS - LAG_SECONDS
    assert len(memory._known) <= OLDEST_NEWS_SECONDS / DAY + 2


def test_the_lists_are_read_back_to_the_oldest_that_runs_unless_it_is_stuck() -> None:
    memory = FinishedTasks(NOW)
    memory.news([task("runs", NOW, NOW - 5000, status="processing")])
    memory.on_round(NOW, is_complete=True)
    assert memory.reach == NOW - 5000 - LAG_SECONDS
    memory.news([task("stuck", NOW, NOW - 9 * DAY, status="processing")])
    memory.on_round(NOW, is_complete=True)
    assert memory.reach == NOW - LONGEST_TASK_SECONDS - LAG_SECONDS
    memory.on_round(NOW, is_complete=True)
    assert memory.reach == NOW - LAG_SECONDS


def test_the_memory_stays_small_and_plain() -> None:
    memory = FinishedTasks(NOW)
    for hour in range(48):
        memory.news([task(f"{hour}-{number}", NOW + hour * 3600 + number) for number in range(50)])
        memory.on_round(NOW + hour * 3600 + 50, is_complete=True)
    kept = memory.to_dict()
    assert len(kept["told"]) == 50
    assert len(memory._known) <= 2 * 50
    again = FinishedTasks.from_dict(json.loads(json.dumps(kept)), 0.0)
    assert again.to_dict() == kept
    assert again.news([task("47-0", NOW + 47 * 3600)]) == []


@pytest.mark.parametrize(
    "value", [None, "x", [], {}, {"since": "x", "told": {}}, {"since": 1, "told": {"a": "x"}}]
)
def test_a_memory_that_cannot_be_read_counts_as_none(value: Any) -> None:
    assert FinishedTasks.from_dict(value, 7.0).to_dict() == {"since": 7.0, "told": {}}
    assert FinishedLists.from_dict(value, 7.0).of("text2video").to_dict() == {"since": 7.0, "told": {}}
    assert FinishedLists.from_dict({"lists": value}, 7.0).of("effects").since == 7.0


def test_what_is_over_is_not_read_again() -> None:
    memory = FinishedTasks(NOW)
    memory.news([task("old", NOW - DAY / 2), task("new", NOW + 1), task("runs", NOW, status="processing")])
    assert [name for name in ("old", "new", "runs", "unknown") if name in memory] == ["runs", "unknown"]


def test_the_end_of_a_list_is_known_in_any_order() -> None:
    newest = PageOrder(reach=100)
    assert not newest.is_over(("a", "b", 2), [300, 200])
    assert newest.is_over(("c", "d", 2), [150, 50])
    oldest = PageOrder(reach=100)
    assert not oldest.is_over(("a", "b", 2), [10, 20])
    assert not oldest.is_over(("c", "d", 2), [30, 20])
    assert oldest.is_over(("", "", 0), [])
    mixed = PageOrder(reach=100)
    assert not mixed.is_over(("a", "b", 2), [300, 400])
    assert not mixed.is_over(("c", "d", 2), [50, 40])
    assert mixed.is_over(("a", "b", 2), [300, 400])  # it does not know pages
    alone = PageOrder(reach=100)
    assert not alone.is_over(("a", "a", 1), [50])
    without_times = PageOrder(reach=100)
    assert not without_times.is_over(("a", "b", 2), [])
