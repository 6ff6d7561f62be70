"""What the trigger promises, with the real asynchronous hook against the simulator."""

from __future__ import annotations

import asyncio
import gc
import inspect
import json
import logging
import time
from itertools import pairwise
from typing import Any

import pytest
import structlog
from airflow.triggers.base import DiscrimatedTriggerEvent
from pydantic import TypeAdapter

from kling_provider.api.submitting import Memory
from kling_provider.hooks.kling import KlingHook
from kling_provider.simulator.server import SimulatorServer
from kling_provider.triggers.kling import KlingPauseTrigger, KlingTaskTrigger


def fire(trigger: Any, within: float = 20) -> dict[str, Any]:
    """Run a trigger in a loop of its own until it fires."""

    async def first() -> Any:
        async for event in trigger.run():
            return event.payload
        raise AssertionError("the trigger ended without an event")

    return asyncio.run(asyncio.wait_for(first(), within))


def trigger(task_id: str, **arguments: Any) -> KlingTaskTrigger:
    return KlingTaskTrigger(
        **{
            "task_id": task_id,
            "endpoint": "text2video",
            "kling_conn_id": "kling_default",
            "poke_interval": 0.05,
            "deadline": time.time() + 30,
        }
        | arguments
    )


def submit() -> str:
    return KlingHook().submit("text2video", {"prompt": "a boat"}).task_id


def test_it_fires_once_with_the_finished_task(
    kling_simulator: SimulatorServer, kling_connection: str
) -> None:
    task_id = submit()

    async def all_events() -> list[Any]:
        return [event.payload async for event in trigger(task_id, external_task_id="x").run()]

    (event,) = asyncio.run(all_events())
    assert event["status"] == "finished"
    assert event["task"]["task_id"] == task_id
    assert event["external_task_id"] == "x"
    json.dumps(event)


def test_airflow_logs_the_event_without_signed_addresses_and_carries_all_of_it(
    kling_simulator: SimulatorServer, kling_connection: str
) -> None:
    task_id = submit()

    async def events() -> list[Any]:
        return [event async for event in trigger(task_id).run()]

    (event,) = asyncio.run(events())
    line = structlog.processors.JSONRenderer()(
        None, "info", {"event": "Trigger fired event", "result": event}
    )
    assert f"TriggerEvent<finished: task {task_id} of text2video>" in str(line)
    assert str(event) == repr(event)
    assert "http" not in f"{line}{event}{event!r}"
    wire = TypeAdapter(DiscrimatedTriggerEvent)
    came = wire.validate_json(wire.dump_json(event, warnings="error"))
    assert came.payload == event.payload
    assert came.payload["task"]["videos"][0]["url"].startswith("http")


def test_it_fires_at_the_deadline(kling_simulator: SimulatorServer, kling_connection: str) -> None:
    kling_simulator.next_task(outcome="stuck")
    task_id = submit()
    started = time.time()
    event = fire(trigger(task_id, deadline=started + 1.5))
    assert event["status"] == "timeout"
    assert event["last_status"] == "processing"
    assert (event["task_id"], event["endpoint"]) == (task_id, "text2video")
    assert 1.4 < time.time() - started < 4


def test_a_deadline_that_passed_while_no_triggerer_ran_is_checked_with_one_ask(
    kling_simulator: SimulatorServer, kling_connection: str
) -> None:
    task_id = submit()
    kling_simulator.finish(task_id)
    assert fire(trigger(task_id, deadline=time.time() - 100))["status"] == "finished"


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "status", "http_status": 502},
        {"kind": "html"},
        {"kind": "truncated"},
        {"kind": "empty"},
        {"kind": "cut_before"},
        {"kind": "envelope", "code": 1302, "http_status": 429, "message": "too fast"},
        {"kind": "envelope", "code": 5001, "http_status": 503, "message": "maintenance"},
        {"kind": "envelope", "code": 1002, "http_status": 401, "message": "api key not found"},
        {"kind": "envelope", "code": 1201, "http_status": 400, "message": "Task not found"},
    ],
    ids=lambda fault: f"{fault['kind']}-{fault.get('code', '')}",
)
def test_a_blip_never_ends_the_wait(
    fault: dict[str, Any],
    kling_simulator: SimulatorServer,
    kling_connection: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("kling_provider.api.polling.AUTH_RETRY_SECONDS", 0.1)
    task_id = submit()
    kling_simulator.finish(task_id)
    kling_simulator.fault(method="GET", path="/v1/videos", times=1, **fault)
    event = fire(trigger(task_id, asked_at=time.time()))
    assert event["status"] == "finished"


def test_what_asking_cannot_heal_ends_it_after_three_answers(
    kling_simulator: SimulatorServer, kling_connection: str
) -> None:
    task_id = submit()
    kling_simulator.fault(
        method="GET",
        path="/v1/videos",
        times=9,
        kind="envelope",
        code=1103,
        http_status=403,
        message="no right",
    )
    event = fire(trigger(task_id))
    assert event["status"] == "gave_up"
    assert event["failure"]["code"] == 1103
    assert len([request for request in kling_simulator.requests if request.method == "GET"]) == 3


def test_a_replaced_key_is_read_anew(
    kling_simulator: SimulatorServer, kling_connection: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kling_provider.api.polling.AUTH_RETRY_SECONDS", 0.1)
    task_id = submit()
    kling_simulator.finish(task_id)
    good = kling_simulator.connection_json()
    wrong = json.dumps({"conn_type": "kling", "host": kling_simulator.url, "password": "old-key"})
    monkeypatch.setenv("AIRFLOW_CONN_KLING_DEFAULT", wrong)

    async def replace_while_waiting() -> Any:
        waiting = asyncio.create_task(anext(aiter(trigger(task_id).run())))  # type: ignore[arg-type]
        while not any(request.status == 401 for request in kling_simulator.requests):
            await asyncio.sleep(0.01)
        monkeypatch.setenv("AIRFLOW_CONN_KLING_DEFAULT", good)
        return (await asyncio.wait_for(waiting, 10)).payload

    assert asyncio.run(replace_while_waiting())["status"] == "finished"


def test_a_connection_that_is_gone_for_a_moment_is_waited_for(
    kling_simulator: SimulatorServer, kling_connection: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kling_provider.api.polling.AUTH_GRACE_SECONDS", 0)
    monkeypatch.delenv("AIRFLOW_CONN_KLING_DEFAULT")
    event = fire(trigger("1"))
    assert event["status"] == "gave_up"
    assert "kling_default" in event["failure"]["message"]


def test_a_secrets_backend_that_fails_once_is_a_blip(
    kling_simulator: SimulatorServer, kling_connection: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.providers.common.compat import connection

    task_id, real, asked = submit(), connection.get_async_connection, []
    kling_simulator.finish(task_id)

    async def failing(*args: Any, **kwargs: Any) -> Any:
        asked.append(args)
        if len(asked) == 1:
            raise RuntimeError("vault: 503")
        return await real(*args, **kwargs)

    monkeypatch.setattr(connection, "get_async_connection", failing)
    assert fire(trigger(task_id))["status"] == "finished"
    assert len(asked) == 2


def test_the_deadline_is_kept_although_it_comes_before_the_first_ask(
    kling_simulator: SimulatorServer, kling_connection: str
) -> None:
    kling_simulator.next_task(outcome="stuck")
    started = time.time()
    event = fire(trigger(submit(), poke_interval=60, asked_at=started, deadline=started + 0.5))
    assert event["status"] == "timeout"
    assert time.time() - started < 5


def test_the_first_ask_leaves_the_executor_time_to_report(
    kling_simulator: SimulatorServer, kling_connection: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kling_provider.triggers.kling.FIRST_ASK_AFTER_SECONDS", 1.5)
    task_id = submit()
    kling_simulator.finish(task_id)
    started = time.time()
    fire(trigger(task_id, asked_at=started))
    assert time.time() - started >= 1.5


def test_the_poke_interval_is_the_smallest_gap(
    kling_simulator: SimulatorServer, kling_connection: str
) -> None:
    kling_simulator.next_task(outcome="stuck")
    fire(trigger(submit(), poke_interval=0.3, deadline=time.time() + 2, booked_at=time.time() - 1))
    asks = [request.at for request in kling_simulator.requests if request.method == "GET"]
    gaps = [later - earlier for earlier, later in pairwise(asks[:-1])]  # the last one is the deadline's
    assert gaps
    assert min(gaps) >= 0.28


def test_its_arguments_survive_storage_and_rows_of_an_older_version_still_load() -> None:
    path, arguments = trigger("1", external_task_id="x", asked_at=5.0).serialize()
    assert path == "kling_provider.triggers.kling.KlingTaskTrigger"
    again = KlingTaskTrigger(**json.loads(json.dumps(arguments)))
    assert again.serialize() == (path, arguments)
    oldest = {
        "task_id": "1",
        "endpoint": "image2video",
        "kling_conn_id": "kling_default",
        "poke_interval": 10.0,
        "deadline": 1790000000.0,
    }
    assert KlingTaskTrigger(**oldest).serialize()[1].items() >= oldest.items()
    assert set(inspect.signature(KlingTaskTrigger).parameters) == set(arguments)


def freed(monkeypatch: pytest.MonkeyPatch, one: KlingTaskTrigger) -> list[tuple[str, str, int]]:
    """What the line is told when a trigger has fired."""
    told: list[tuple[str, str, int]] = []
    monkeypatch.setattr("kling_provider.triggers.kling.task_finished", lambda *args: told.append(args))
    fire(one)
    return told


@pytest.mark.parametrize(("outcome", "slots"), [("succeed", 3), ("fail", 4)])
def test_a_picture_task_that_is_over_frees_as_many_slots_as_it_held(
    outcome: str,
    slots: int,
    kling_simulator: SimulatorServer,
    kling_connection: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kling_simulator.next_task(outcome=outcome)
    request = {"prompt": "a boat", "n": 3}
    task_id = KlingHook().submit("images/generations", request).task_id
    one = trigger(
        task_id, endpoint="images/generations", slots=4
    )  # what was told is trusted less than the result
    assert freed(monkeypatch, one) == [("kling_default", "image", slots)]


def test_whose_slots_are_not_known_frees_one(
    kling_simulator: SimulatorServer, kling_connection: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kling_simulator.next_task(outcome="fail")
    task_id = KlingHook().submit("images/generations", {"prompt": "a boat", "n": 3}).task_id
    told = freed(monkeypatch, trigger(task_id, endpoint="images/generations"))
    assert told == [("kling_default", "image", 1)]
    assert freed(monkeypatch, trigger(submit())) == [("kling_default", "video", 1)]


def test_killing_it_says_that_the_task_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        asyncio.run(trigger("42").on_kill())
    assert "Task 42 of text2video goes on at Kling" in caplog.text


def test_many_waits_do_not_block_the_loop(kling_simulator: SimulatorServer, kling_connection: str) -> None:
    task_ids = [submit() for _ in range(20)]

    async def lag_while_waiting() -> float:
        waits = [asyncio.create_task(anext(aiter(trigger(one).run()))) for one in task_ids]  # type: ignore[arg-type]
        worst = 0.0
        while not all(wait.done() for wait in waits):
            before = time.monotonic()
            await asyncio.sleep(0.01)
            worst = max(worst, time.monotonic() - before)
        assert {wait.result().payload["status"] for wait in waits} == {"finished"}
        return worst

    assert asyncio.run(lag_while_waiting()) < 1


def test_two_triggerers_that_run_one_trigger_only_ask(
    kling_simulator: SimulatorServer, kling_connection: str
) -> None:
    one = trigger(submit())
    other = KlingTaskTrigger(**one.serialize()[1])

    async def both() -> list[Any]:
        return await asyncio.gather(*(anext(aiter(each.run())) for each in (one, other)))

    first, second = (event.payload for event in asyncio.run(both()))
    assert first["status"] == second["status"] == "finished"
    assert first["task"]["task_id"] == second["task"]["task_id"]
    assert len(kling_simulator.creates) == 1


def test_a_pause_fires_at_its_moment() -> None:
    until = time.time() + 0.3
    pause = KlingPauseTrigger(until, {"memory": {}})
    assert KlingPauseTrigger(**pause.serialize()[1]).serialize() == pause.serialize()
    assert fire(pause) == {"status": "go", "handed_on": {"memory": {}}}
    assert time.time() >= until
    assert fire(KlingPauseTrigger(time.time() - 9)) == {"status": "go", "handed_on": None}


@pytest.mark.parametrize(
    ("known", "said"),
    [(Memory(posts=1), "an earlier submit may be booked at Kling"), (Memory(), "nothing is booked at Kling")],
)
def test_killing_a_pause_says_whether_a_task_may_be_booked(
    known: Memory, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        asyncio.run(KlingPauseTrigger(time.time() + 9, {"memory": known.to_dict()}).on_kill())
    assert f"Killed while submitting: {said}" in caplog.text


def test_a_killed_trigger_tells_the_price(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        asyncio.run(trigger("1", units="3.5").on_kill())
    assert "about 3.5 units = 0.49 USD" in caplog.text


def test_what_airflow_has_imported_is_not_looked_through_by_later_garbage_collections(
    kling_simulator: SimulatorServer, kling_connection: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kling_provider.triggers.kling._loaded", set())
    gc.unfreeze()
    fire(trigger(submit()))
    frozen = gc.get_freeze_count()
    assert frozen > 10_000
    fire(trigger(submit()))
    assert 0 < gc.get_freeze_count() <= frozen, "once is enough: what waits must not stay for ever"
