"""What the sensor promises: the same outcome in every mode."""

from __future__ import annotations

import itertools
import json
import logging
import os
import re
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    TaskDeferred,
)
from airflow.sdk import DAG, task_group

try:
    from airflow.sdk.exceptions import AirflowRescheduleException
except ImportError:  # before Airflow 3.2
    from airflow.exceptions import AirflowRescheduleException
from kling_provider.api.tasks import KlingTask
from kling_provider.exceptions import (
    KlingAccountError,
    KlingAuthError,
    KlingBadRequestError,
    KlingTaskFailedError,
    KlingTaskNotFoundError,
    KlingTaskTimeoutError,
    KlingUnreadableResponseError,
)
from kling_provider.hooks.kling import KlingHook
from kling_provider.operators.kling import KlingTextToVideoOperator
from kling_provider.sensors.kling import KlingTaskSensor
from kling_provider.simulator.server import SimulatorServer
from kling_provider.waiting import TaskRef
from tests.contexts import TaskInstance, context_of
from tests.triggers.test_kling import fire

MODES = ["deferrable", "poke", "reschedule"]


def sensor(mode: str = "deferrable", **arguments: Any) -> KlingTaskSensor:
    how = {"deferrable": True} if mode == "deferrable" else {"deferrable": False, "mode": mode}
    operator = KlingTaskSensor(**{"task_id": "wait", "timeout": 60} | how | arguments)
    if "poke_interval" not in arguments:
        operator.poke_interval = 0.05  # more often than users may
    return operator


def run(operator: KlingTaskSensor, **ti: Any) -> tuple[Any, dict[str, Any]]:
    """Run a sensor to its end, as the worker, the triggerer and the scheduler would."""
    context = context_of(operator, **ti)
    for _ in range(50):
        try:
            return operator.execute(context), context["ti"].pushed
        except TaskDeferred as deferred:
            event = fire(deferred.trigger)
            return operator.resume_execution(deferred.method_name, {"event": event}, context), context[
                "ti"
            ].pushed
        except AirflowRescheduleException as again:
            time.sleep(max(0.0, (again.reschedule_date - datetime.now(UTC)).total_seconds()))
            first = context["ti"].first_reschedule or datetime.now(UTC)
            context["ti"].first_reschedule = first
            operator = sensor("reschedule", **{name: getattr(operator, name) for name in _CARRIED})
            context["task"] = operator
    raise AssertionError("the sensor never ends")


_CARRIED = ("kling_task_id", "endpoint", "kling_conn_id", "timeout", "soft_fail")


def submit(endpoint: str = "text2video", **request: Any) -> Any:
    return KlingHook().submit(
        endpoint, {"prompt": "a boat"} | request, external_task_id=request.pop("own", None)
    )


@pytest.mark.parametrize("mode", MODES)
def test_it_gives_the_finished_task_and_pushes_the_first_video(
    mode: str, kling_simulator: SimulatorServer, kling_connection: str
) -> None:
    task = submit()
    result, pushed = run(sensor(mode, kling_task_id=task.task_id, endpoint="text2video"))
    value = getattr(result, "xcom_value", result)
    assert value["task_id"] == task.task_id
    assert value["status"] == "succeed"
    assert pushed == {
        "video_url": value["videos"][0]["url"],
        "video_id": value["videos"][0]["id"],
        "video_duration": value["videos"][0]["duration"],
        "units": value["units"],
    }
    assert value["units"] == str(kling_simulator.charges[0].units)
    json.dumps(value)


@pytest.mark.parametrize("mode", MODES)
def test_a_failed_task_fails_it_with_klings_reason(
    mode: str, kling_simulator: SimulatorServer, kling_connection: str
) -> None:
    kling_simulator.next_task(outcome="fail", message="Image pixel is invalid")
    task = submit()
    with pytest.raises(
        KlingTaskFailedError, match=rf"{task.task_id}.*Image pixel is invalid.*request_id"
    ) as caught:
        run(sensor(mode, kling_task_id=task.task_id, endpoint="text2video"))
    assert isinstance(caught.value, AirflowFailException)


@pytest.mark.parametrize("mode", MODES)
def test_a_stuck_task_ends_in_our_timeout_which_says_that_it_can_be_collected(
    mode: str, kling_simulator: SimulatorServer, kling_connection: str
) -> None:
    kling_simulator.next_task(outcome="stuck")
    task = submit()
    expected = rf"Task {task.task_id} of text2video was not over after 1 s.*may still finish.*collect it"
    with pytest.raises(KlingTaskTimeoutError, match=expected) as caught:
        run(sensor(mode, kling_task_id=task.task_id, endpoint="text2video", timeout=1))
    assert isinstance(caught.value, AirflowSensorTimeout)


def test_a_timeout_that_airflow_notices_first_says_the_same(
    kling_simulator: SimulatorServer, kling_connection: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer to a poke came before our deadline, and the time was over when Airflow looked at it."""
    kling_simulator.next_task(outcome="stuck")
    task = submit()
    since_start = itertools.chain([0.0], itertools.repeat(60.1))
    monkeypatch.setattr("airflow.sdk.bases.sensor.time", SimpleNamespace(monotonic=since_start.__next__))
    last = "last status: (submitted|processing)"
    expected = rf"Task {task.task_id} of text2video was not over after 60 s \({last}\).*collect it"
    with pytest.raises(KlingTaskTimeoutError, match=expected):
        run(sensor("poke", kling_task_id=task.task_id, endpoint="text2video", timeout=60))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("outcome", ["fail", "stuck"])
def test_soft_fail_skips_in_every_mode(
    mode: str, outcome: str, kling_simulator: SimulatorServer, kling_connection: str
) -> None:
    kling_simulator.next_task(outcome=outcome)
    task = submit()
    reason = "says task .* failed" if outcome == "fail" else "goes on at Kling, may still finish"
    with pytest.raises(AirflowSkipException, match=reason):  # Airflow logs no more than this text
        run(sensor(mode, kling_task_id=task.task_id, endpoint="text2video", timeout=1, soft_fail=True))


@pytest.mark.parametrize("mode", MODES)
def test_soft_fail_skips_what_is_over_at_the_first_ask(
    mode: str, kling_simulator: SimulatorServer, kling_connection: str
) -> None:
    kling_simulator.next_task(outcome="fail", seconds=0)
    task = submit()
    with pytest.raises(AirflowSkipException):
        run(sensor(mode, kling_task_id=task.task_id, endpoint="text2video", soft_fail=True))


def test_a_task_that_is_over_is_not_deferred(kling_simulator: SimulatorServer, kling_connection: str) -> None:
    task = submit()
    kling_simulator.finish(task.task_id)
    operator = sensor(kling_task_id=task.task_id, endpoint="text2video")
    assert operator.execute(context_of(operator))["status"] == "succeed"
    assert operator.finished_video_url


@pytest.mark.parametrize("form", ["id", "number", "kling_task", "json", "to_dict"])
def test_it_takes_the_id_the_submits_xcom_or_a_task(
    form: str, kling_simulator: SimulatorServer, kling_connection: str
) -> None:
    task = submit()
    given: Any = {
        "id": task.task_id,
        "number": int(task.task_id),
        "kling_task": {"task_id": task.task_id, "endpoint": "text2video"},
        "json": json.dumps({"task_id": task.task_id, "endpoint": "text2video"}),
        "to_dict": task.to_dict(),
    }[form]
    endpoint = {"endpoint": "text2video"} if form in ("id", "number") else {}
    result, _ = run(sensor(kling_task_id=given, **endpoint))
    assert result["task_id"] == task.task_id


@dataclass
class Downstream(TaskInstance):
    """A task instance that reads what the submit upstream, of the same map_index, has pushed."""

    kling_task: dict[str, Any] = field(default_factory=dict)
    #: What the submit pushed at other places; where it has one place only, a dict.
    elsewhere: Any = None

    def xcom_pull(self, task_ids: str, key: str, map_indexes: int | None = None) -> Any:
        assert (task_ids, key) == ("submit", "kling_task")
        if map_indexes is None:
            return self.elsewhere
        assert map_indexes == self.map_index
        return self.kling_task


def after_a_submit(operator: KlingTaskSensor, task: KlingTask, map_index: int = -1, ago: float = 600) -> Any:
    """A context of ``operator`` behind a submit that has pushed what it knows about ``task``."""
    with DAG("clips", schedule=None, start_date=datetime(2026, 1, 1)) as dag:
        dag.add_task(operator)
        KlingTextToVideoOperator(task_id="submit", prompt="a boat") >> operator
    context = context_of(operator)
    context["ti"] = Downstream("clips", map_index=map_index, kling_task=reference(task, ago))
    return context


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("map_index", [-1, 3])
def test_of_a_bare_id_the_submit_upstream_knows_the_endpoint(
    mode: str, map_index: int, kling_simulator: SimulatorServer, kling_connection: str
) -> None:
    task = submit()
    kling_simulator.finish(task.task_id)
    operator = sensor(mode, kling_task_id=task.task_id)
    result = operator.execute(after_a_submit(operator, task, map_index))
    assert (result["status"], result["endpoint"]) == ("succeed", "text2video")
    assert operator.endpoint == "image2video"


@pytest.mark.parametrize("places", [1, 3])
def test_after_a_mapped_submit_that_failed_in_part_it_is_known_from_another_place(
    places: int, kling_simulator: SimulatorServer, kling_connection: str
) -> None:
    task = submit()
    kling_simulator.finish(task.task_id)
    operator = sensor(kling_task_id=task.task_id)
    context = after_a_submit(operator, submit(), map_index=3)
    told = reference(task, 600)
    context["ti"].elsewhere = told if places == 1 else [reference(submit(), 600), None, told]
    assert operator.execute(context)["endpoint"] == "text2video"


def test_the_triggerer_is_told_the_endpoint_that_the_submit_upstream_knows(
    kling_simulator: SimulatorServer, kling_connection: str, caplog: pytest.LogCaptureFixture
) -> None:
    task = submit()
    operator = sensor(kling_task_id=task.task_id)
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(after_a_submit(operator, task, ago=5))
    assert deferred.value.trigger.serialize()[1]["endpoint"] == "text2video"
    with caplog.at_level(logging.WARNING):
        operator.on_kill()
    assert f"Task {task.task_id} of text2video goes on" in caplog.text


def test_what_the_submit_upstream_knows_of_another_task_does_not_count(
    kling_simulator: SimulatorServer, kling_connection: str
) -> None:
    operator = sensor(kling_task_id="123")
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(after_a_submit(operator, submit()))
    assert deferred.value.trigger.serialize()[1]["endpoint"] == "image2video"


SPOKEN = {"text": "Hello", "voice_id": "genshin_vindi2", "voice_language": "en"}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("form", ["dict", "json"])
def test_a_result_that_is_handed_in_is_handed_on_without_asking(
    mode: str, form: str, kling_simulator: SimulatorServer, kling_connection: str
) -> None:
    made, spoken = submit(), KlingHook().submit("tts", SPOKEN)
    kling_simulator.finish(made.task_id)
    over = KlingHook().get_task(made.task_id, endpoint="text2video")
    asked = len(kling_simulator.requests)
    for task, name in ((over, "video_url"), (spoken, "audio_url")):
        given = task.to_dict() if form == "dict" else json.dumps(task.to_dict())
        result, pushed = run(sensor(mode, kling_task_id=given))
        assert getattr(result, "xcom_value", result) == task.to_dict()
        assert pushed[name] == task.first_results()[name]
    assert len(kling_simulator.requests) == asked


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("soft_fail", [False, True])
def test_a_failure_that_is_handed_in_fails_it_without_asking(
    mode: str, soft_fail: bool, kling_simulator: SimulatorServer, kling_connection: str
) -> None:
    given = KlingTask("1", "text2video", "failed", status_message="too many boats").to_dict()
    expected: type[Exception] = AirflowSkipException if soft_fail else KlingTaskFailedError
    text = "soft_fail|" * soft_fail + "task 1 of text2video failed: too many boats"
    with pytest.raises(expected, match=text):
        run(sensor(mode, kling_task_id=given, soft_fail=soft_fail))
    assert kling_simulator.requests == []


def test_what_only_looks_like_a_result_is_asked_for(
    kling_simulator: SimulatorServer, kling_connection: str
) -> None:
    task_id = submit().task_id
    odd = {"task_id": task_id, "endpoint": "text2video", "status": "succeed"}
    for given in (odd, {**odd, "videos": [{"odd": 1}]}, {**odd, "videos": [], "status": "processing"}):
        assert run(sensor(kling_task_id=given))[0]["videos"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("endpoint", "who"),
    [
        ("tts", "the operator that asked"),
        ("identify-face", "the operator that asked"),
        ("multi-elements/init-selection", "the operator that asked"),
        ("presets-voices", "KlingReadOperator"),
        ("account/costs", "KlingReadOperator"),
    ],
)
def test_what_is_answered_at_once_is_not_waited_for(
    mode: str, endpoint: str, who: str, kling_simulator: SimulatorServer, kling_connection: str
) -> None:
    expected = rf"Nothing was asked\. endpoint='{endpoint}' answers at once: {who} has returned.*No sensor"
    for given in ("123", {"task_id": "123", "endpoint": endpoint}):
        with pytest.raises(KlingBadRequestError, match=expected):
            run(sensor(mode, kling_task_id=given, endpoint=endpoint))
    assert kling_simulator.requests == []


def test_an_endpoint_that_does_not_exist_is_refused_with_the_closest(
    kling_simulator: SimulatorServer,
) -> None:
    with pytest.raises(KlingBadRequestError, match=r"Nothing was asked\. .*Did you mean 'text2video'"):
        run(sensor(kling_task_id="123", endpoint="text2vidoe"))


def test_a_task_of_the_new_dialects_list_is_waited_for(
    kling_simulator: SimulatorServer, kling_connection: str
) -> None:
    task = KlingHook().submit("text-to-video/kling-2.6", {"prompt": "a boat"})
    assert run(sensor(kling_task_id=task.task_id, endpoint="tasks"))[0]["videos"]
    assert TaskRef.read("1", "/v1/videos/unheard-of").endpoint == "/v1/videos/unheard-of"


def test_the_triggerer_is_told_how_many_slots_the_task_holds(
    kling_simulator: SimulatorServer, kling_connection: str
) -> None:
    operator = sensor(kling_task_id="1")
    with pytest.raises(TaskDeferred) as deferred:
        operator.defer_until_over(TaskRef("1", "images/generations", slots=9), time.time() + 60)
    assert deferred.value.trigger.serialize()[1]["slots"] == 9


def test_a_task_with_another_echo_is_not_ours(
    kling_simulator: SimulatorServer, kling_connection: str
) -> None:
    task = KlingHook().submit("text2video", {"prompt": "a boat"}, external_task_id="theirs")
    given = {"task_id": task.task_id, "endpoint": "text2video", "external_task_id": "ours"}
    with pytest.raises(KlingBadRequestError, match=r"not ours.*'theirs'.*'ours'"):
        run(sensor(kling_task_id=given))


@pytest.mark.parametrize("bad", ["../../account/costs", "", "..", "a b", None, True, {"task_id": "a/b"}, {}])
def test_an_id_that_cannot_be_one_is_refused_before_any_request(
    bad: Any, kling_simulator: SimulatorServer, kling_connection: str
) -> None:
    operator = sensor(kling_task_id=bad)
    with pytest.raises(KlingBadRequestError, match=r"Nothing was asked. kling_task_id="):
        operator.execute(context_of(operator))
    assert kling_simulator.requests == []


def test_the_deadline_counts_from_klings_booking_also_on_a_retry(
    kling_simulator: SimulatorServer, kling_connection: str
) -> None:
    kling_simulator.set(task_seconds=100)
    task = submit()
    for ti in ({}, {"try_number": 2, "max_tries": 2}):
        operator = sensor(kling_task_id=task.task_id, endpoint="text2video", timeout=50, retries=2)
        with pytest.raises(TaskDeferred) as deferred:
            operator.execute(context_of(operator, **{"max_tries": 2} | ti))
        deadline = deferred.value.trigger.serialize()[1]["deadline"]
        assert deadline == pytest.approx(task.created_at.timestamp() + 50, abs=0.01)


def test_after_a_clear_the_deadline_counts_from_the_new_try(
    kling_simulator: SimulatorServer, kling_connection: str
) -> None:
    kling_simulator.set(task_seconds=100)
    task = submit()
    time.sleep(0.1)
    started = time.time()
    operator = sensor(kling_task_id=task.task_id, endpoint="text2video", timeout=50)
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(context_of(operator, try_number=2, max_tries=1))
    assert deferred.value.trigger.serialize()[1]["deadline"] >= started + 50


def test_execution_timeout_counts_too(kling_simulator: SimulatorServer, kling_connection: str) -> None:
    kling_simulator.set(task_seconds=100)
    task = submit()
    operator = sensor(
        kling_task_id=task.task_id, endpoint="text2video", timeout=50, execution_timeout=timedelta(seconds=20)
    )
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(context_of(operator))
    left = deferred.value.trigger.serialize()[1]["deadline"] - time.time()
    assert 15 < left <= 20
    assert deferred.value.timeout.total_seconds() > left + 60


def test_a_timeout_event_is_checked_once_more_before_it_is_believed(
    kling_simulator: SimulatorServer, kling_connection: str
) -> None:
    task = submit()
    kling_simulator.finish(task.task_id)
    operator = sensor(kling_task_id=task.task_id, endpoint="text2video")
    event = {
        "status": "timeout",
        "last_status": "processing",
        "task_id": task.task_id,
        "endpoint": "text2video",
    }
    assert operator.execute_complete(context_of(operator), event)["status"] == "succeed"


@pytest.mark.parametrize(
    "event",
    [
        None,
        {},
        {"status": "success"},
        "done",
        {"status": "gave_up"},
        {"status": "gave_up", "failure": {"reaction": "unheard of"}},
        {"status": "finished"},
        {"status": "finished", "task": {"task_id": "1"}},
    ],
)
def test_an_unknown_event_is_never_taken_for_a_success(event: Any) -> None:
    operator = sensor(kling_task_id="1")
    with pytest.raises(KlingBadRequestError, match="does not know"):
        operator.execute_complete(context_of(operator), event)


@pytest.mark.parametrize("mode", MODES)
def test_a_wrong_key_fails_it_at_once(
    mode: str, kling_simulator: SimulatorServer, kling_connection: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(
        "AIRFLOW_CONN_WRONG",
        json.dumps({"conn_type": "kling", "host": kling_simulator.url, "password": "not-the-key"}),
    )
    with pytest.raises(KlingAuthError, match=r"1002.*request_id"):
        run(sensor(mode, kling_task_id="123", kling_conn_id="wrong"))


@pytest.mark.parametrize(("retries", "left"), [(2, 80), (0, 100)], ids=["retry", "clear"])
def test_a_retry_or_a_clear_while_the_key_is_replaced_waits_for_the_new_one(
    retries: int, left: float, kling_simulator: SimulatorServer, kling_connection: str
) -> None:
    """Whoever knows when the task was submitted knows that a key was good: the triggerer tries for ten minutes."""
    task = submit()
    kling_simulator.fault(kind="expired_token", method="GET", times=1)
    operator = sensor(kling_task_id=reference(task, ago=20), timeout=100, retries=retries)
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(context_of(operator, try_number=2, max_tries=2))
    assert gets(kling_simulator) == 1
    assert deferred.value.trigger.serialize()[1]["deadline"] == pytest.approx(time.time() + left, abs=3)


def test_on_the_worker_too_the_connection_is_read_anew_after_a_rejected_key(
    kling_simulator: SimulatorServer, kling_connection: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = submit()
    kling_simulator.finish(task.task_id)
    good = os.environ["AIRFLOW_CONN_KLING_DEFAULT"]
    old = json.dumps({**json.loads(good), "password": "the-old-key"})
    monkeypatch.setenv("AIRFLOW_CONN_KLING_DEFAULT", old)
    operator = sensor("poke", kling_task_id=reference(task))
    monkeypatch.setattr("kling_provider.sensors.kling.time.sleep", lambda _: None)
    context = context_of(operator)
    assert not operator.poke(context).is_done
    monkeypatch.setenv("AIRFLOW_CONN_KLING_DEFAULT", good)
    assert operator.poke(context).is_done


@pytest.mark.parametrize("trouble", ["no password", "a backend that does not answer"])
def test_on_the_worker_too_a_connection_that_is_edited_ends_no_wait(
    trouble: str, kling_simulator: SimulatorServer, kling_connection: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = submit()
    kling_simulator.finish(task.task_id)
    operator = sensor("poke", kling_task_id=reference(task))
    context = context_of(operator)
    good = os.environ["AIRFLOW_CONN_KLING_DEFAULT"]
    with monkeypatch.context() as edited:
        if trouble == "no password":
            edited.setenv("AIRFLOW_CONN_KLING_DEFAULT", json.dumps({**json.loads(good), "password": ""}))
        else:
            edited.setattr(KlingHook, "get_connection", lambda *_: 1 / 0)
        assert not operator.poke(context).is_done
        operator.__dict__.pop("_hook", None)
    assert operator.poke(context).is_done


def test_an_unknown_id_is_believed_after_a_while(
    kling_simulator: SimulatorServer, kling_connection: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kling_provider.waiting.NOT_FOUND_GRACE_SECONDS", 0)
    with pytest.raises(KlingTaskNotFoundError, match=r"Task not found.*1201"):
        run(sensor("poke", kling_task_id="123"))


def test_a_rescheduled_sensor_remembers_that_it_was_answered(
    kling_simulator: SimulatorServer, kling_connection: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kling_provider.sensors.kling._ASK_AGAIN_SECONDS", 0.01)
    operator = sensor("reschedule", kling_task_id="123", timeout=3600)
    long_ago = datetime.now(UTC) - timedelta(seconds=1800)
    with pytest.raises(KlingTaskNotFoundError):
        operator.execute(context_of(operator, first_reschedule=long_ago))
    assert len(kling_simulator.requests) == 3  # nor does it believe one refusal
    again = sensor("reschedule", kling_task_id="123")
    kling_simulator.fault(kind="expired_token", method="GET", times=1)
    with pytest.raises(AirflowRescheduleException):
        again.execute(context_of(again, first_reschedule=datetime.now(UTC)))


@pytest.mark.parametrize("mode", ["poke", "reschedule"])
def test_a_start_too_early_does_not_count_as_an_answer(
    mode: str, kling_simulator: SimulatorServer, kling_connection: str
) -> None:
    """It was sent back to wait for its upstream, half an hour ago; now it asks for the first time."""
    operator = sensor(mode, kling_task_id="123", timeout=3600)
    long_ago = datetime.now(UTC) - timedelta(seconds=1800)
    context = context_of(operator, map_index=3, first_reschedule=long_ago) | {"task_reschedule_count": 1}
    assert not operator.poke(context).is_done  # the task may take a while to appear


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("how", [{}, {"soft_fail": True}, {"never_fail": True}])
def test_in_every_mode_a_start_too_early_goes_back_to_wait(mode: str, how: dict[str, bool]) -> None:
    with DAG("night", schedule=None, start_date=datetime(2026, 1, 1)) as dag:

        @task_group
        def clip(prompt: str) -> None:
            submit = KlingTextToVideoOperator(task_id="submit", prompt=prompt)
            submit >> sensor(mode, task_id="wait", kling_task_id=None, **how)

        clip.expand(prompt=["a", "b"])
    operator = dag.task_dict["clip.wait"]
    context = context_of(operator, map_index=1)
    context["ti"].get_task_states = lambda **_: {"run": {"clip.submit_1": "running"}}
    with pytest.raises(AirflowRescheduleException):
        operator.execute(context)


@pytest.mark.parametrize("mode", MODES)
def test_a_success_without_a_result_is_told_as_that(
    mode: str, kling_simulator: SimulatorServer, kling_connection: str
) -> None:
    kling_simulator.next_task(outcome="no_result", seconds=0)
    task = submit()
    with pytest.raises(KlingUnreadableResponseError, match="no result in it"):
        run(sensor(mode, kling_task_id=task.task_id, endpoint="text2video", timeout=20))


@pytest.mark.parametrize("mode", MODES)
def test_never_fail_skips_in_every_mode(
    mode: str, kling_simulator: SimulatorServer, kling_connection: str
) -> None:
    kling_simulator.next_task(outcome="fail", seconds=0)
    task = submit()
    with pytest.raises(AirflowSkipException, match=r"says task .* failed"):
        run(sensor(mode, kling_task_id=task.task_id, endpoint="text2video", never_fail=True))


def test_poke_mode_waits_as_long_as_it_is_asked_to(
    kling_simulator: SimulatorServer, kling_connection: str
) -> None:
    task = submit()
    kling_simulator.finish(task.task_id)
    kling_simulator.fault(
        kind="envelope", method="GET", code=1302, http_status=429, message="fast", retry_after="1"
    )
    run(sensor("poke", kling_task_id=task.task_id, endpoint="text2video"))
    first, second = [request.at for request in kling_simulator.requests if request.method == "GET"]
    assert second - first >= 1


def test_odd_times_in_a_ref_do_not_matter(kling_simulator: SimulatorServer, kling_connection: str) -> None:
    task = submit()
    for when in (0, "soon", datetime.now(UTC), None):
        given = {"task_id": task.task_id, "endpoint": "text2video", "submitted_at": when}
        assert run(sensor(kling_task_id=given))[0]["status"] == "succeed"


def test_killing_it_says_that_the_task_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        sensor(kling_task_id="123").on_kill()
    assert "Task 123 of image2video goes on at Kling" in caplog.text


@pytest.mark.parametrize("given", [KlingTask("1", "tts", "succeed").to_dict(), "../x"], ids=["over", "no id"])
def test_killing_it_says_nothing_where_nothing_goes_on(given: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        sensor(kling_task_id=given).on_kill()
    assert caplog.text == ""


@pytest.mark.parametrize("arguments", [{"poke_interval": 0.9}, {"poke_interval": True}, {"timeout": 0}])
def test_intervals_are_checked_when_the_dag_is_read(arguments: dict[str, Any]) -> None:
    with pytest.raises(KlingBadRequestError, match=next(iter(arguments))):
        sensor(kling_task_id="1", **arguments)


def test_timedeltas_are_fine() -> None:
    operator = sensor(kling_task_id="1", poke_interval=timedelta(seconds=5), timeout=timedelta(minutes=2))
    assert (operator.poke_interval, operator.timeout) == (5, 120)


def test_templates_reach_what_names_the_task() -> None:
    assert set(KlingTaskSensor.template_fields) == {"kling_task_id", "endpoint", "kling_conn_id"}


def expecting(seconds: float, server: SimulatorServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_KLING_DEFAULT", server.connection_json(typical_seconds=seconds))


def gets(server: SimulatorServer) -> int:
    return len([request for request in server.requests if request.method == "GET"])


def reference(task: KlingTask, ago: float = 0.0, **more: Any) -> dict[str, Any]:
    submitted_at = datetime.now(UTC) - timedelta(seconds=ago)
    return {
        "task_id": task.task_id,
        "endpoint": "text2video",
        "submitted_at": submitted_at.isoformat(),
        **more,
    }


@pytest.mark.parametrize(("ago", "asks"), [(5, 0), (600, 1)])
def test_the_worker_asks_only_when_the_task_may_be_over(
    ago: float,
    asks: int,
    kling_simulator: SimulatorServer,
    kling_connection: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expecting(300, kling_simulator, monkeypatch)
    kling_simulator.next_task(outcome="stuck")
    operator = sensor(kling_task_id=reference(submit(), ago, profile="text2video kling-v2-6 std 5"))
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(context_of(operator))
    assert gets(kling_simulator) == asks
    arguments = deferred.value.trigger.serialize()[1]
    assert arguments["profile"] == "text2video kling-v2-6 std 5"
    assert arguments["booked_at"] == pytest.approx(time.time() - ago, abs=5)


@pytest.mark.parametrize(
    ("ti", "asks"), [({}, 1), ({"map_index": 3}, 0), ({"map_index": 3, "try_number": 2, "max_tries": 2}, 1)]
)
def test_of_a_bare_id_nobody_knows_the_worker_asks_unless_there_are_many(
    ti: dict[str, Any], asks: int, kling_simulator: SimulatorServer, kling_connection: str
) -> None:
    kling_simulator.next_task(outcome="stuck")
    operator = sensor(kling_task_id=submit().task_id, endpoint="text2video", timeout=100)
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(context_of(operator, **ti))
    assert gets(kling_simulator) == asks
    assert deferred.value.trigger.serialize()[1]["deadline"] == pytest.approx(time.time() + 100, abs=3)


def test_without_an_ask_the_deadline_counts_from_the_booking_all_the_same(
    kling_simulator: SimulatorServer, kling_connection: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expecting(300, kling_simulator, monkeypatch)
    kling_simulator.next_task(outcome="stuck")
    operator = sensor(kling_task_id=reference(submit(), ago=20), timeout=100)
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(context_of(operator))
    assert deferred.value.trigger.serialize()[1]["deadline"] == pytest.approx(time.time() + 80, abs=3)


@pytest.mark.parametrize(
    ("arguments", "seconds"),
    [
        ({}, 5),
        ({"deferrable": False}, 5),
        ({"mode": "reschedule"}, 10),
        ({"mode": "reschedule", "deferrable": True}, 5),
        ({"deferrable": False, "mode": "reschedule"}, 10),
        ({"deferrable": False, "default_args": {"mode": "reschedule"}}, 10),
        ({"deferrable": False, "mode": "reschedule", "poke_interval": 30}, 30),
        ({"poke_interval": 2}, 2),
    ],
)
def test_the_default_interval_suits_the_mode(arguments: dict[str, Any], seconds: float) -> None:
    assert KlingTaskSensor(task_id="wait", kling_task_id="1", **arguments).poke_interval == seconds


@pytest.mark.parametrize(
    ("arguments", "defers"),
    [
        ({}, True),
        ({"mode": "poke"}, True),
        ({"deferrable": False}, False),
        ({"mode": "reschedule"}, False),
        ({"default_args": {"mode": "reschedule"}}, False),
        ({"mode": "reschedule", "deferrable": True}, True),
        ({"mode": "reschedule", "default_args": {"deferrable": True}}, True),
    ],
)
def test_who_asks_for_reschedule_mode_is_not_deferred(arguments: dict[str, Any], defers: bool) -> None:
    assert KlingTaskSensor(task_id="wait", kling_task_id="1", **arguments).deferrable is defers


def recipes_with_a_sensor() -> list[Any]:
    """Rows of the table of worker starts: how the sensor is written, and how it waits."""
    page = (Path(__file__).parents[2] / "docs" / "operating.md").read_text()
    rows = re.findall(
        r"^\| submit, sensor(.*?), store \| 1 \| (.*?) \| 1 \| .*? \| (.*?) \|$", page, re.MULTILINE
    )
    return [pytest.param(*row, id=row[0].strip() or "sensor") for row in rows]


def test_the_recipes_with_a_sensor_are_found() -> None:
    assert len(recipes_with_a_sensor()) == 3


class Slept(Exception):
    """It holds the worker."""


@pytest.mark.parametrize(("written", "starts", "held"), recipes_with_a_sensor())
def test_each_recipe_with_a_sensor_waits_as_the_table_says(
    written: str,
    starts: str,
    held: str,
    kling_simulator: SimulatorServer,
    kling_connection: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def sleep(_: float) -> None:
        raise Slept

    kling_simulator.next_task(outcome="stuck")
    operator = eval(
        f"KlingTaskSensor(task_id='wait', kling_task_id=made, {''.join(re.findall('`(.*?)`', written))})",
        {"KlingTaskSensor": KlingTaskSensor, "made": reference(submit())},
    )
    monkeypatch.setattr("airflow.sdk.bases.sensor.time.sleep", sleep)
    ways: dict[tuple[str, str], type[BaseException]] = {
        ("2", "no"): TaskDeferred,
        ("1 per ask", "no"): AirflowRescheduleException,
        ("1", "yes, all the time"): Slept,
    }
    with pytest.raises(ways[starts, held]):
        operator.execute(context_of(operator))


#: How Airflow resumes a task that no triggerer has told of until Airflow's own limit.
UNTOLD = {"next_method": "__fail__", "next_kwargs": {"error": "Trigger timeout"}}


def test_airflow_says_so_in_these_words() -> None:
    from airflow.models.trigger import TRIGGER_FAIL_REPR, TriggerFailureReason

    assert UNTOLD["next_method"] == TRIGGER_FAIL_REPR
    assert UNTOLD["next_kwargs"] == {"error": TriggerFailureReason.TRIGGER_TIMEOUT}


def test_where_no_triggerer_came_in_time_what_is_over_is_collected(
    kling_simulator: SimulatorServer, kling_connection: str
) -> None:
    task = submit()
    kling_simulator.finish(task.task_id)
    operator = sensor(kling_task_id=task.task_id, endpoint="text2video")
    context = context_of(operator)
    assert operator.resume_execution(context=context, **UNTOLD)["status"] == "succeed"
    assert context["ti"].pushed["video_url"]


@pytest.mark.parametrize("soft_fail", [False, True])
def test_where_no_triggerer_came_in_time_what_goes_on_is_told_like_any_timeout(
    soft_fail: bool, kling_simulator: SimulatorServer, kling_connection: str
) -> None:
    task = submit()
    operator = sensor(kling_task_id=task.task_id, endpoint="text2video", soft_fail=soft_fail)
    expected: type[Exception] = AirflowSkipException if soft_fail else KlingTaskTimeoutError
    with pytest.raises(expected, match=rf"Task {task.task_id} of text2video was not over .* collect it"):
        operator.resume_execution(context=context_of(operator), **UNTOLD)


def test_another_failure_of_the_triggerer_is_airflows_to_tell(kling_connection: str) -> None:
    operator = sensor(kling_task_id="1")
    with pytest.raises(Exception, match="Trigger failure"):
        operator.resume_execution("__fail__", {"error": "Trigger failure"}, context_of(operator))


def test_an_execution_timeout_that_is_shorter_is_the_time_that_is_told(
    kling_simulator: SimulatorServer, kling_connection: str
) -> None:
    kling_simulator.next_task(outcome="stuck")
    task = submit()
    with pytest.raises(
        KlingTaskTimeoutError, match=r"was not over after 1 s .*or execution_timeout if need be"
    ):
        run(sensor(kling_task_id=task.task_id, endpoint="text2video", execution_timeout=timedelta(seconds=1)))


def test_a_wait_that_gives_up_says_that_the_task_goes_on(
    kling_simulator: SimulatorServer, kling_connection: str
) -> None:
    task = submit()
    kling_simulator.fault("envelope", code=1103, method="GET", times=0)
    with pytest.raises(
        KlingAccountError, match=r"may go on at Kling and is paid if it succeeds; a clear asks again"
    ):
        run(sensor("poke", kling_task_id=task.task_id, endpoint="text2video"))
