"""What a submit does where Kling takes no more for now: wait without a worker, and without a retry."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, TaskDeferred

from kling_provider.api.submitting import Memory
from kling_provider.exceptions import (
    KlingAccountError,
    KlingBadRequestError,
    KlingConcurrencyLimitError,
    KlingRateLimitError,
    KlingSubmissionUnknownError,
)
from kling_provider.operators import submit as module
from kling_provider.operators.kling import KlingTextToVideoOperator
from kling_provider.operators.submit import KlingSubmitOperator
from kling_provider.simulator.server import SimulatorServer
from kling_provider.triggers.kling import KlingPauseTrigger
from kling_provider.triggers.slots import KlingSlotTrigger
from tests.contexts import StateStore, context_of

RELEASED = {"status": "slot"}


@pytest.fixture(autouse=True)
def _connected(kling_connection: str) -> None:
    """Every operator here talks to the simulator."""


def video(**arguments: Any) -> KlingTextToVideoOperator:
    return KlingTextToVideoOperator(**{"task_id": "video", "prompt": "a boat"} | arguments)


def handed_on(wait: TaskDeferred) -> dict[str, Any]:
    """What comes back with the trigger's event; Airflow is given nothing else to keep."""
    assert wait.kwargs is None
    told: dict[str, Any] = wait.trigger.arguments["handed_on"]
    return told


def deferred(operator: Any, context: dict[str, Any], event: Any = None, **kwargs: Any) -> TaskDeferred:
    run = operator.execute if event is None else partial(operator.resume_submit, event=event, **kwargs)
    with pytest.raises(TaskDeferred) as caught:
        run(context)
    json.dumps(handed_on(caught.value))
    assert caught.value.method_name == "resume_submit"
    return caught.value


def posts(simulator: SimulatorServer) -> int:
    return len([request for request in simulator.requests if request.method == "POST"])


@pytest.mark.parametrize("store", [None, StateStore()], ids=["3.0", "3.3"])
def test_a_full_account_is_waited_for_in_the_triggerer(
    store: StateStore | None, kling_simulator: SimulatorServer
) -> None:
    kling_simulator.set(concurrency=0)
    operator = video(slot_timeout=5000)
    before = time.time()
    first = deferred(operator, context_of(operator, store))
    assert isinstance(first.trigger, KlingSlotTrigger)
    arguments = first.trigger.serialize()[1]
    assert arguments["kling_conn_id"] == "kling_default"
    assert (arguments["kind"], arguments["refusals"], arguments["reason"]) == ("video", 1, "concurrency")
    assert before <= arguments["first_wait_at"] <= time.time()
    assert arguments["deadline"] == pytest.approx(arguments["first_wait_at"] + 5000)
    assert first.timeout.total_seconds() > 5000
    assert "a boat" not in json.dumps(arguments)

    again = video(slot_timeout=5000)
    second = deferred(again, context_of(again, store), RELEASED, **handed_on(first))
    later = second.trigger.serialize()[1]
    assert later["refusals"] == 2
    assert later["first_wait_at"] == arguments["first_wait_at"]

    kling_simulator.set(concurrency=1)
    last = video()
    context = context_of(last, store)
    task_id = last.resume_submit(context, RELEASED, **handed_on(second))
    assert [task.task_id for task in kling_simulator.tasks] == [task_id]
    assert context["ti"].pushed["kling_task"]["adopted"] is False
    assert posts(kling_simulator) == 3


def test_a_gateway_that_looks_nothing_up_is_waited_for_too(
    kling_simulator: SimulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_DMX", kling_simulator.connection_json("dmxapi"))
    kling_simulator.set(concurrency=0)
    for store in (None, StateStore()):
        operator = video(kling_conn_id="dmx")
        wait = deferred(operator, context_of(operator, store))
        kling_simulator.set(concurrency=9)
        task_id = video(kling_conn_id="dmx").resume_submit(
            context_of(operator, store), RELEASED, **handed_on(wait)
        )
        assert kling_simulator.tasks[-1].task_id == task_id
        kling_simulator.set(concurrency=0)
    assert len(kling_simulator.tasks) == 2


def test_too_fast_is_waited_for_as_long_as_kling_says(kling_simulator: SimulatorServer) -> None:
    kling_simulator.fault("envelope", code=1302, method="POST", retry_after=77)
    operator = video()
    arguments = deferred(operator, context_of(operator)).trigger.serialize()[1]
    assert arguments["reason"] == "rate"
    assert arguments["not_before"] == pytest.approx(time.time() + 77, abs=5)


@pytest.mark.parametrize(
    ("code", "expected"), [(1303, KlingConcurrencyLimitError), (1302, KlingRateLimitError)]
)
def test_after_eight_refusals_airflows_retries_take_over(
    code: int, expected: type[Exception], kling_simulator: SimulatorServer
) -> None:
    kling_simulator.fault("envelope", code=code, method="POST", times=0)
    operator = video()
    wait = deferred(operator, context_of(operator))
    for _ in range(module.MOST_REFUSALS - 2):
        wait = deferred(operator, context_of(operator), RELEASED, **handed_on(wait))
    with pytest.raises(expected, match=str(code)) as caught:
        operator.resume_submit(context_of(operator), RELEASED, **handed_on(wait))
    assert not isinstance(caught.value, AirflowFailException)
    assert posts(kling_simulator) == module.MOST_REFUSALS == 8


@pytest.mark.parametrize("arguments", [{"slot_timeout": 1}, {"execution_timeout": timedelta(seconds=1)}])
def test_the_wait_for_a_slot_ends(arguments: dict[str, Any], kling_simulator: SimulatorServer) -> None:
    kling_simulator.set(concurrency=0)
    operator = video(**arguments)
    wait = deferred(operator, context_of(operator))
    deadline = wait.trigger.serialize()[1]["deadline"]
    assert deadline == pytest.approx(handed_on(wait)["first_wait_at"] + 1)
    asked = posts(kling_simulator)
    with pytest.raises(KlingConcurrencyLimitError, match="1303"):
        operator.resume_submit(context_of(operator), {"status": "deadline"}, **handed_on(wait))
    assert posts(kling_simulator) == asked


def test_a_request_that_changed_during_the_wait_is_not_sent(kling_simulator: SimulatorServer) -> None:
    kling_simulator.set(concurrency=0)
    operator = video()
    wait = deferred(operator, context_of(operator))
    kling_simulator.set(concurrency=1)
    other = video(prompt="a car")
    with pytest.raises(KlingBadRequestError, match="another one than before the wait"):
        other.resume_submit(context_of(other), RELEASED, **handed_on(wait))
    assert kling_simulator.tasks == []


@pytest.mark.parametrize("code", [1100, 1101, 1102, 1103, 1304])
def test_an_account_that_cannot_pay_is_never_waited_for(code: int, kling_simulator: SimulatorServer) -> None:
    kling_simulator.fault("envelope", code=code, method="POST")
    operator = video()
    with pytest.raises(KlingAccountError, match=rf"code {code}, .*\(.+; .+\)"):
        operator.execute(context_of(operator))
    assert posts(kling_simulator) == 1


def test_without_deferrable_the_worker_waits(
    kling_simulator: SimulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    kling_simulator.fault("envelope", code=1303, method="POST", times=3)
    slept: list[float] = []
    monkeypatch.setattr(module.time, "sleep", slept.append)
    monkeypatch.setattr(module, "FIRST_PAUSE_ON_WORKER", 15.0)
    operator = video(deferrable=False)
    assert operator.execute(context_of(operator)) == kling_simulator.tasks[0].task_id
    pauses = [pause for pause in slept if pause >= 1]
    assert [15 <= pauses[0] < 18.1, 30 <= pauses[1] < 36.1, 60 <= pauses[2] < 72.1] == [True] * 3


def test_execution_timeout_counts_the_wait_for_a_slot_too(kling_simulator: SimulatorServer) -> None:
    kling_simulator.set(concurrency=0)
    arguments = {"execution_timeout": timedelta(seconds=900), "wait_for_completion": True}
    operator = video(**arguments)
    wait = deferred(operator, context_of(operator))
    kling_simulator.set(concurrency=1)
    began = time.time() - 600  # ten minutes in line
    again = video(**arguments)
    with pytest.raises(TaskDeferred) as running:
        again.resume_submit(context_of(again), RELEASED, **handed_on(wait) | {"started_at": began})
    assert running.value.trigger.serialize()[1]["deadline"] == pytest.approx(began + 900)


def test_a_worker_does_not_wait_for_a_slot_past_the_deadline(
    kling_simulator: SimulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    kling_simulator.set(concurrency=0)
    monkeypatch.setattr(module, "FIRST_PAUSE_ON_WORKER", 60.0)
    operator = video(deferrable=False, slot_timeout=1)
    with pytest.raises(KlingConcurrencyLimitError):
        operator.execute(context_of(operator))
    assert posts(kling_simulator) == 2


def test_a_long_pause_is_spent_in_the_triggerer_and_the_task_found_after_it(
    kling_simulator: SimulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kling_provider.api.submitting.SETTLE_SECONDS", (40.0, 60.0))
    kling_simulator.set(lookup_lag=0.5)
    kling_simulator.fault("cut_after", method="POST")
    operator = video()
    before = time.time()
    wait = deferred(operator, context_of(operator))
    assert isinstance(wait.trigger, KlingPauseTrigger)
    assert wait.trigger.arguments["until"] == pytest.approx(before + 40, abs=5)
    assert Memory.from_dict(handed_on(wait)["memory"]).posts == 1
    time.sleep(0.6)
    again = video()
    context = context_of(again)
    task_id = again.resume_submit(context, {"status": "go"}, **handed_on(wait))
    assert [task.task_id for task in kling_simulator.tasks] == [task_id]
    assert context["ti"].pushed["kling_task"]["adopted"] is False
    assert posts(kling_simulator) == 1


@pytest.fixture
def lost_post(kling_simulator: SimulatorServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first POST is booked and its answer lost, and what settles it is a wait in the triggerer."""
    monkeypatch.setattr("kling_provider.api.submitting.SETTLE_SECONDS", (40.0, 40.0))
    kling_simulator.set(lookup_lag=0.5)
    kling_simulator.fault("cut_after", method="POST")


@pytest.mark.parametrize(
    ("dialect", "endpoint"), [("classic", "text2video"), ("new", "text-to-video/kling-2.6")]
)
def test_a_request_that_changed_after_an_unclear_answer_names_what_may_be_booked(
    dialect: str, endpoint: str, kling_simulator: SimulatorServer, lost_post: None
) -> None:
    operator = video(dialect=dialect)
    wait = deferred(operator, context_of(operator))
    other = video(prompt="a car", dialect=dialect)
    (task,) = kling_simulator.tasks
    with pytest.raises(KlingSubmissionUnknownError, match="another one than before the wait") as caught:
        other.resume_submit(context_of(other), {"status": "go"}, **handed_on(wait))
    assert caught.value.external_task_id == task.external_task_id
    adopt = f"KlingAdoptOperator(external_task_id='{task.external_task_id}', endpoint='{endpoint}')"
    assert adopt in str(caught.value)


@pytest.mark.parametrize("argument", ["external_task_id", "idempotency_key"])
def test_an_id_that_renders_anew_after_a_wait_stays_the_one_that_was_sent(
    argument: str, kling_simulator: SimulatorServer, lost_post: None
) -> None:
    operator = video(**{argument: "boat-1"})
    wait = deferred(operator, context_of(operator))
    time.sleep(0.6)
    again = video(**{argument: "boat-2"})
    task_id = again.resume_submit(context_of(again), {"status": "go", "handed_on": handed_on(wait)})
    assert [task.task_id for task in kling_simulator.tasks] == [task_id]
    assert posts(kling_simulator) == 1


@pytest.mark.parametrize(
    ("endpoint", "form"),
    [
        ("text2video", "{}"),
        ("text-to-video/kling-2.6", '{"options": {}}'),
        ("text-to-video/kling-2.6", '{"options": "text"}'),
    ],
)
def test_so_does_one_in_the_request(
    endpoint: str, form: str, kling_simulator: SimulatorServer, lost_post: None
) -> None:
    def asking(own_id: str) -> KlingSubmitOperator:
        request = json.loads(form)
        if request.get("options") == "text":  # as a template renders it
            told = {"external_task_id": own_id, "watermark_info": {"enabled": True}}
            request["options"] = json.dumps(told)
        else:
            request.get("options", request)["external_task_id"] = own_id
        return KlingSubmitOperator(
            task_id="video", endpoint=endpoint, request={"prompt": "a boat", **request}
        )

    operator = asking("boat-1")
    wait = deferred(operator, context_of(operator))
    time.sleep(0.6)
    again = asking("boat-2")
    task_id = again.resume_submit(context_of(again), {"status": "go", "handed_on": handed_on(wait)})
    assert [task.task_id for task in kling_simulator.tasks] == [task_id]
    assert kling_simulator.tasks[0].external_task_id == "boat-1"
    assert posts(kling_simulator) == 1


def test_what_an_older_version_has_deferred_goes_on(kling_simulator: SimulatorServer) -> None:
    """Its trigger handed nothing on; Airflow kept these."""
    kling_simulator.fault("envelope", method="POST", code=1303)
    operator = video(external_task_id="boat-1")
    told = handed_on(deferred(operator, context_of(operator)))
    older = {name: told[name] for name in ("memory", "digest", "first_wait_at", "started_at")}
    again = video(external_task_id="boat-1")
    assert (
        again.resume_submit(context_of(again), {"status": "slot"}, **older)
        == kling_simulator.tasks[0].task_id
    )
    assert kling_simulator.tasks[0].external_task_id == "boat-1"


@pytest.mark.parametrize("fault", ["envelope", "cut_after"])
def test_airflow_s_own_test_of_a_dag_goes_on_after_a_wait(
    fault: str, kling_simulator: SimulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It calls the method with the event, and with nothing that was deferred beside it."""
    monkeypatch.setattr("kling_provider.api.submitting.SETTLE_SECONDS", (40.0, 40.0))
    monkeypatch.setattr("kling_provider.triggers.slots.FIRST_EVENT_AFTER_SECONDS", 0.1)
    kling_simulator.set(lookup_lag=0.5)
    kling_simulator.fault(fault, method="POST", **({"code": 1303} if fault == "envelope" else {}))
    operator = video()
    wait = deferred(operator, context_of(operator))
    monkeypatch.setattr(time, "time", partial(lambda real, ahead: real() + ahead, time.time, 600))
    event = asyncio.run(anext(wait.trigger.run()))
    assert "memory" not in f"{event} {event!r}"  # Airflow logs it
    method = getattr(video(), wait.method_name)
    task_id = method(context_of(operator), event=json.loads(json.dumps(event.payload)))
    assert [task.task_id for task in kling_simulator.tasks] == [task_id]


def test_the_connections_settle_counts(
    kling_simulator: SimulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = json.loads(kling_simulator.connection_json())
    connection["extra"] = json.dumps({"settle": [33, 99]})
    monkeypatch.setenv("AIRFLOW_CONN_KLING_DEFAULT", json.dumps(connection))
    kling_simulator.fault("cut_before", method="POST")
    operator = video()
    wait = deferred(operator, context_of(operator))
    assert wait.trigger.arguments["until"] == pytest.approx(time.time() + 33, abs=5)
