"""Collecting a task that exists at Kling, against the simulator over loopback."""

from __future__ import annotations

import json
import logging
import time
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred

from kling_provider.exceptions import (
    KlingBadRequestError,
    KlingTaskFailedError,
    KlingTaskNotFoundError,
    KlingTaskTimeoutError,
)
from kling_provider.hooks.kling import KlingHook
from kling_provider.operators.adopt import KlingAdoptOperator
from kling_provider.simulator.server import SimulatorServer
from tests.contexts import context_of


@pytest.fixture(autouse=True)
def _connected(kling_connection: str) -> None:
    """Every operator here talks to the simulator."""


def submitted(external_task_id: str | None = "boat") -> str:
    return KlingHook().submit("text2video", {"prompt": "a boat"}, external_task_id=external_task_id).task_id


def adopt(**arguments: Any) -> KlingAdoptOperator:
    return KlingAdoptOperator(**{"task_id": "collect", "endpoint": "text2video"} | arguments)


def posts(simulator: SimulatorServer) -> int:
    return len(simulator.creates)


@pytest.mark.parametrize("by", ["kling_task_id", "external_task_id", "both"])
def test_a_task_is_found_by_either_id_and_nothing_is_submitted(
    by: str, kling_simulator: SimulatorServer
) -> None:
    task_id = submitted()
    ids = {"kling_task_id": task_id, "external_task_id": "boat"}
    operator = adopt(**(ids if by == "both" else {by: ids[by]}))
    context = context_of(operator)
    assert operator.execute(context) == task_id
    pushed = context["ti"].pushed
    assert pushed["task_id"] == task_id
    assert pushed["kling_task"]["task_id"] == task_id
    assert pushed["kling_task"]["external_task_id"] == "boat"
    assert pushed["kling_task"]["endpoint"] == "text2video"
    assert pushed["kling_task"]["adopted"] is True
    assert pushed["kling_task"]["estimated_units"] is None  # Kling does not tell what was asked
    assert posts(kling_simulator) == 1


def test_the_kling_task_of_a_submit_is_an_id_too(kling_simulator: SimulatorServer) -> None:
    task_id = submitted()
    kling_task = {"task_id": task_id, "endpoint": "text2video", "external_task_id": "boat"}
    operator = adopt(kling_task_id=kling_task, endpoint="image2video")
    assert operator.execute(context_of(operator)) == task_id


def test_it_waits_in_the_triggerer_from_now_on(kling_simulator: SimulatorServer) -> None:
    kling_simulator.next_task(outcome="stuck")
    task_id = submitted()
    kling_simulator.set(clock_skew=-86400)  # it was made long ago
    operator = adopt(kling_task_id=task_id, wait_for_completion=True, timeout=500, poke_interval=7)
    with pytest.raises(TaskDeferred) as caught:
        operator.execute(context_of(operator))
    arguments = caught.value.trigger.serialize()[1]
    assert arguments["task_id"] == task_id
    assert arguments["poke_interval"] == 7
    assert arguments["deadline"] == pytest.approx(time.time() + 500, abs=10)


def test_it_waits_on_the_worker_without_deferrable(kling_simulator: SimulatorServer) -> None:
    task_id = submitted()
    operator = adopt(kling_task_id=task_id, wait_for_completion=True, deferrable=False)
    operator.poke_interval = 0.05
    result = operator.execute(context_of(operator))
    assert (result["task_id"], result["status"]) == (task_id, "succeed")
    kling_simulator.next_task(outcome="stuck")
    stuck = adopt(kling_task_id=submitted("other"), wait_for_completion=True, deferrable=False, timeout=1)
    stuck.poke_interval = 0.05
    with pytest.raises(KlingTaskTimeoutError):
        stuck.execute(context_of(stuck))


def test_a_task_that_is_over_is_handed_on_at_once(kling_simulator: SimulatorServer) -> None:
    task_id = submitted()
    kling_simulator.finish(task_id)
    operator = adopt(kling_task_id=task_id, wait_for_completion=True)
    context = context_of(operator)
    assert operator.execute(context)["videos"]
    assert context["ti"].pushed["video_url"]


def test_another_connection_is_used(
    kling_simulator: SimulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", kling_simulator.connection_json())
    monkeypatch.delenv("AIRFLOW_CONN_KLING_DEFAULT")
    task_id = KlingHook("other").submit("text2video", {"prompt": "a boat"}).task_id
    operator = adopt(kling_task_id=task_id, kling_conn_id="other")
    assert operator.execute(context_of(operator)) == task_id


@pytest.mark.parametrize("ids", [{}, {"kling_task_id": "", "external_task_id": None}])
def test_without_an_id_nothing_is_asked(ids: dict[str, Any], kling_simulator: SimulatorServer) -> None:
    operator = adopt(**ids)
    with pytest.raises(KlingBadRequestError, match="Give kling_task_id"):
        operator.execute(context_of(operator))
    assert kling_simulator.requests == []


@pytest.mark.parametrize("tampered", ["../../account/costs", "1/2", "..", "a b", {"task_id": None}])
def test_a_tampered_id_is_refused_before_anything_is_asked(
    tampered: Any, kling_simulator: SimulatorServer
) -> None:
    for name in ("kling_task_id", "external_task_id") if isinstance(tampered, str) else ("kling_task_id",):
        operator = adopt(**{name: tampered})
        with pytest.raises(KlingBadRequestError):
            operator.execute(context_of(operator))
    assert kling_simulator.requests == []


@pytest.mark.parametrize("by", ["kling_task_id", "external_task_id"])
def test_an_id_that_the_account_does_not_know_is_told(by: str, kling_simulator: SimulatorServer) -> None:
    operator = adopt(**{by: "9999"})
    with pytest.raises(KlingTaskNotFoundError, match="9999"):
        operator.execute(context_of(operator))


def test_a_foreign_task_is_not_taken_over(kling_simulator: SimulatorServer) -> None:
    for other in ("boat", None):
        operator = adopt(kling_task_id=submitted(other), external_task_id="car")
        with pytest.raises(KlingBadRequestError, match="is not ours"):
            operator.execute(context_of(operator))


def test_a_failed_task_is_told(kling_simulator: SimulatorServer) -> None:
    task_id = submitted()
    kling_simulator.change(task_id, status="failed", message="too many boats")
    operator = adopt(kling_task_id=task_id)
    with pytest.raises(KlingTaskFailedError, match="too many boats"):
        operator.execute(context_of(operator))


def test_a_result_that_may_be_deleted_by_now_is_told_and_taken_over(
    kling_simulator: SimulatorServer, caplog: pytest.LogCaptureFixture
) -> None:
    task_id = submitted()
    kling_simulator.finish(task_id)
    kling_simulator.set(clock_skew=-29.5 * 86400)
    operator = adopt(kling_task_id=task_id)
    assert operator.execute(context_of(operator)) == task_id
    assert "keeps results for 30 days" in caplog.text


@pytest.mark.parametrize("ids", [{"kling_task_id": "1"}, {"external_task_id": "boat"}], ids=str)
@pytest.mark.parametrize(
    "endpoint", ["tts", "identify-face", "image-recognize", "delete-voices", "presets-voices"]
)
def test_what_is_answered_at_once_is_not_taken_over(
    ids: dict[str, str], endpoint: str, kling_simulator: SimulatorServer
) -> None:
    operator = adopt(endpoint=endpoint, **ids)
    with pytest.raises(
        KlingBadRequestError, match=rf"endpoint='{endpoint}' answers at once.*No sensor and no KlingA"
    ):
        operator.execute(context_of(operator))
    assert kling_simulator.requests == []


def test_a_gateway_that_looks_nothing_up_says_so(
    kling_simulator: SimulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_DMX", kling_simulator.connection_json("dmxapi"))
    operator = adopt(external_task_id="boat", kling_conn_id="dmx")
    with pytest.raises(KlingBadRequestError, match="not known to find tasks"):
        operator.execute(context_of(operator))


def test_what_it_pushes_is_plain_and_a_kill_says_what_goes_on(
    kling_simulator: SimulatorServer, caplog: pytest.LogCaptureFixture
) -> None:
    kling_simulator.next_task(outcome="stuck")
    operator = adopt(kling_task_id=submitted())
    operator.on_kill()
    context = context_of(operator)
    operator.execute(context)
    json.dumps(context["ti"].pushed)
    assert operator.kling_task.key == "kling_task"
    with caplog.at_level(logging.WARNING):
        operator.on_kill()
    assert "goes on at Kling" in caplog.text
