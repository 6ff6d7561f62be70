"""What a retry or a clear finds, in the documented Kling and in weaker ones, with the real hook."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, TaskDeferred
from airflow.sdk.definitions._internal import contextmanager

from kling_provider.exceptions import (
    KlingAccountError,
    KlingBadRequestError,
    KlingServerError,
    KlingSubmissionUnknownError,
    KlingTaskNotFoundError,
)
from kling_provider.hooks.kling import KlingHook
from kling_provider.operators.kling import KlingTextToVideoOperator
from kling_provider.simulator.server import SimulatorServer
from tests.contexts import StateStore, context_of


@pytest.fixture(autouse=True)
def _connected(kling_connection: str) -> None:
    """Every operator here talks to the simulator."""


@pytest.fixture(params=["3.0", "3.3"])
def store(request: pytest.FixtureRequest) -> StateStore | None:
    """Airflow's task state, where it has one."""
    return StateStore() if request.param == "3.3" else None


def video(**arguments: Any) -> KlingTextToVideoOperator:
    return KlingTextToVideoOperator(**{"task_id": "video", "prompt": "a boat", "retries": 3} | arguments)


def attempt(
    store: StateStore | None = None,
    *,
    try_number: int = 1,
    max_tries: int = 3,
    run_after: datetime | None = None,
    **arguments: Any,
) -> str:
    operator = video(**arguments)
    context = context_of(operator, store, try_number=try_number, max_tries=max_tries)
    if run_after:
        context["dag_run"] = SimpleNamespace(run_after=run_after)
    return str(operator.execute(context))


def ids(simulator: SimulatorServer) -> list[str]:
    return [task.task_id for task in simulator.tasks]


@pytest.mark.parametrize(
    "world", [{}, {"accepts_duplicates": True}, {"unique_lag": 60}, {"localised_messages": True}]
)
@pytest.mark.parametrize("fault", ["cut_after", "cut_before", "truncated", "html", "empty", "no_data"])
def test_whatever_becomes_of_an_answer_there_is_one_task(
    world: dict[str, Any], fault: str, store: StateStore | None, kling_simulator: SimulatorServer
) -> None:
    kling_simulator.set(**world)
    kling_simulator.fault(fault, method="POST")
    task_id = attempt(store)
    assert ids(kling_simulator) == [task_id]
    assert attempt(store, try_number=2) == task_id
    assert len(kling_simulator.tasks) == 1


@pytest.mark.parametrize("answer", ["first", "second"])
def test_a_proxy_that_sends_a_submit_twice_pays_once(
    answer: str, store: StateStore | None, kling_simulator: SimulatorServer
) -> None:
    kling_simulator.fault("replay", method="POST", answer=answer)
    assert [attempt(store)] == ids(kling_simulator)


def test_a_gateway_that_keeps_no_ids_is_found_out_before_a_second_payment(
    store: StateStore | None, kling_simulator: SimulatorServer
) -> None:
    kling_simulator.set(drops_external_id=True)
    kling_simulator.fault("cut_after", method="POST")
    with pytest.raises(KlingSubmissionUnknownError) as caught:
        attempt(store)
    assert "no task of the account shows an external_task_id" in str(caught.value)
    assert kling_simulator.tasks[0].task_id in str(caught.value)
    with pytest.raises(KlingSubmissionUnknownError):
        attempt(store, try_number=2)
    assert len(kling_simulator.tasks) == 1


def test_a_second_payment_that_cannot_be_excluded_is_told(
    store: StateStore | None, kling_simulator: SimulatorServer
) -> None:
    """The gateway keeps no ids, and the list that would have shown it cannot be had."""
    kling_simulator.set(drops_external_id=True)
    kling_simulator.fault("cut_before", method="POST")
    kling_simulator.fault("html", method="GET", path=r"/v1/videos/text2video$", times=0)
    with pytest.raises(KlingSubmissionUnknownError) as caught:
        attempt(store)
    (task,) = kling_simulator.tasks
    assert f"task {task.task_id} was booked" in str(caught.value)
    assert "the first submit may have been booked (and be paid) too" in str(caught.value)
    assert caught.value.task_id == task.task_id


def test_a_task_that_exists_and_stays_invisible_is_unknown_and_never_paid_again(
    store: StateStore | None, kling_simulator: SimulatorServer
) -> None:
    kling_simulator.set(lookup_lag=3600)
    kling_simulator.fault("cut_after", method="POST")
    with pytest.raises(KlingSubmissionUnknownError, match="already exists"):
        attempt(store)
    with pytest.raises(KlingSubmissionUnknownError, match="already exists"):
        attempt(store, try_number=2)
    assert len(kling_simulator.tasks) == 1


def test_the_list_shows_what_the_look_up_does_not(
    store: StateStore | None, kling_simulator: SimulatorServer
) -> None:
    kling_simulator.set(accepts_duplicates=True)
    kling_simulator.fault("cut_after", method="POST")
    kling_simulator.fault(
        "envelope",
        code=1201,
        message="Task not found",
        method="GET",
        path=r"/v1/videos/text2video/af1",
        times=0,
    )
    assert [attempt(store)] == ids(kling_simulator)


def test_rows_that_show_ids_in_the_list_only_are_found_there(
    store: StateStore | None, kling_simulator: SimulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = kling_simulator.connection_json(external_id="list")
    monkeypatch.setenv("AIRFLOW_CONN_KLING_DEFAULT", listed)
    kling_simulator.fault("cut_after", method="POST")
    assert [attempt(store)] == ids(kling_simulator)
    assert attempt(store, try_number=2) == ids(kling_simulator)[0]
    asked = {request.path for request in kling_simulator.requests if request.method == "GET"}
    assert not any("/af1-" in path for path in asked)


def test_a_retry_asks_by_the_id_that_was_written_down(kling_simulator: SimulatorServer) -> None:
    store = StateStore()
    task_id = attempt(store)
    kling_simulator.set(lookup_lag=3600)
    assert attempt(store, try_number=2) == task_id
    assert kling_simulator.requests[-1].path == f"/v1/videos/text2video/{task_id}"
    assert len(kling_simulator.tasks) == 1


@pytest.mark.parametrize("version", ["3.0", "3.3"])
def test_a_retry_that_asks_for_something_else_is_refused(
    version: str, kling_simulator: SimulatorServer
) -> None:
    store = StateStore() if version == "3.3" else None
    attempt(store)
    with pytest.raises(KlingBadRequestError) as caught:
        attempt(store, try_number=2, prompt="a boat, 12:01", duration="10")
    assert str(caught.value).startswith("Nothing was sent. An earlier")
    assert ("(duration, prompt changed)" in str(caught.value)) is (version == "3.3")
    assert caught.value.task_id == kling_simulator.tasks[0].task_id
    assert len(kling_simulator.tasks) == 1
    attempt(store, try_number=2, max_tries=4, prompt="a boat, 12:02")  # cleared: a person's decision
    assert len(kling_simulator.tasks) == 2


def test_a_connection_that_leads_to_another_account_pays_nothing_there(
    kling_simulator: SimulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = StateStore()
    task_id = attempt(store)
    kling_simulator.add_account("other", "other-key")
    old = kling_simulator.connection_json()
    connection = json.loads(old) | {"password": "other-key"}
    monkeypatch.setenv("AIRFLOW_CONN_KLING_DEFAULT", json.dumps(connection))
    with pytest.raises(KlingBadRequestError) as caught:
        attempt(store, try_number=2)
    assert f"submitted task {task_id}, connection 'kling_default' was changed to another key" in str(
        caught.value
    )
    assert len(kling_simulator.tasks) == 1
    monkeypatch.setenv("AIRFLOW_CONN_KLING_DEFAULT", old)
    assert attempt(store, try_number=3) == task_id


def test_a_new_key_of_the_same_account_finds_its_task(
    kling_simulator: SimulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = StateStore()
    task_id = attempt(store)
    (record,) = store.values.values()
    record["account"] = "of-an-old-key"
    assert attempt(store, try_number=2) == task_id


@pytest.mark.parametrize(("days", "is_gone"), [(28, False), (29.5, True)])
def test_a_clear_long_after_pays_nothing_though_the_result_is_deleted_by_now(
    days: float,
    is_gone: bool,
    store: StateStore | None,
    kling_simulator: SimulatorServer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    task_id = attempt(store)
    kling_simulator.finish(task_id)
    kling_simulator.set(clock_skew=-days * 86400)
    assert attempt(store, try_number=2, max_tries=4) == task_id
    assert ("results are kept for 30 days only" in caplog.text) is is_gone
    assert attempt(store, try_number=3, max_tries=5, on_clear="resubmit") != task_id  # who wants it pays it


@pytest.mark.parametrize("own_id", [None, "boat"])
def test_a_clear_does_not_pay_for_what_kling_has_forgotten(
    own_id: str | None, kling_simulator: SimulatorServer
) -> None:
    store = StateStore()
    task_id = attempt(store, external_task_id=own_id)
    kling_simulator.change(task_id, vanish_for=3600)
    with pytest.raises(KlingServerError, match=f"does not show task {task_id}.*A retry asks"):
        attempt(store, external_task_id=own_id, try_number=2)
    with pytest.raises(KlingTaskNotFoundError) as caught:
        attempt(store, external_task_id=own_id, try_number=3, max_tries=5)
    other = "choose another external_task_id than 'boat', " if own_id else ""
    assert f"paid again, {other}set on_clear='resubmit' and clear this task." in str(caught.value)
    assert len(kling_simulator.tasks) == 1
    other = "ship" if own_id else None
    new = attempt(store, external_task_id=other, on_clear="resubmit", try_number=4, max_tries=6)
    assert new != task_id  # as it said


@pytest.mark.parametrize(
    ("own", "other", "way"),
    [
        ({}, {"external_task_id": "ship"}, "another external_task_id="),
        ({"key": "a"}, {"key": "b"}, "another key="),
        (
            {"key": "a", "external_task_id": "boat"},
            {"key": "b", "external_task_id": "ship"},
            "another key= and another external_task_id=",
        ),
    ],
)
def test_a_python_task_is_told_how_it_gets_a_new_video(
    own: dict[str, str],
    other: dict[str, str],
    way: str,
    kling_simulator: SimulatorServer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = StateStore()

    def submit(ids: dict[str, str], **attempt: int) -> str:
        monkeypatch.setattr(contextmanager, "_CURRENT_CONTEXT", [context_of(video(), store, **attempt)])
        return KlingHook().submit("text2video", {"prompt": "a boat"}, **ids).task_id

    task_id = submit(own)
    kling_simulator.finish(task_id)
    kling_simulator.set(clock_skew=-29.5 * 86400)
    assert submit(own, try_number=2, max_tries=4) == task_id
    assert f"which is paid again, submit with {way}." in caplog.text
    assert submit(other, try_number=3, max_tries=5) != task_id  # as it said


def test_where_no_triggerer_came_in_time_a_wait_is_collected_and_a_submit_looked_up_by_a_retry(
    kling_simulator: SimulatorServer, store: StateStore | None
) -> None:
    operator = video(wait_for_completion=True)
    context = context_of(operator, store)
    untold = ("__fail__", {"error": "Trigger timeout"}, context)
    with pytest.raises(KlingServerError, match="A retry or a clear looks it up before it sends anything"):
        operator.resume_execution(*untold)  # it was still submitting
    with pytest.raises(TaskDeferred):
        operator.execute(context)
    task_id = context["ti"].pushed["task_id"]
    kling_simulator.finish(task_id)
    assert operator.resume_execution(*untold)["task_id"] == task_id
    assert len(kling_simulator.tasks) == 1


def test_a_task_that_is_older_than_the_run_is_taken_over_with_a_warning(
    store: StateStore | None, kling_simulator: SimulatorServer, caplog: pytest.LogCaptureFixture
) -> None:
    task_id = attempt(store)
    later = datetime.now(UTC) + timedelta(hours=1)
    assert attempt(store, try_number=2, run_after=later) == task_id
    if store is None:
        assert "before this DAG run" in caplog.text


def test_a_retry_with_an_own_id_does_not_take_over_what_another_run_made(
    store: StateStore | None, kling_simulator: SimulatorServer
) -> None:
    attempt(StateStore() if store else None, external_task_id="boat")
    later = datetime.now(UTC) + timedelta(hours=1)
    for try_number in (2, 3):
        with pytest.raises(KlingBadRequestError, match="is taken: task"):
            attempt(store, external_task_id="boat", try_number=try_number, run_after=later)
    with pytest.raises(KlingBadRequestError, match="is taken: task"):
        attempt(store, external_task_id="boat", run_after=later)
    with pytest.raises(KlingBadRequestError, match="is taken: task"):
        attempt(store, external_task_id="boat", try_number=2, max_tries=4, run_after=later)
    assert len(kling_simulator.tasks) == 1


def test_a_retry_with_an_own_id_finds_its_own_task(
    store: StateStore | None, kling_simulator: SimulatorServer
) -> None:
    began = datetime.now(UTC) - timedelta(minutes=1)
    kling_simulator.fault("cut_after", method="POST")
    task_id = attempt(store, external_task_id="boat", run_after=began)
    assert attempt(store, external_task_id="boat", try_number=2, run_after=began) == task_id
    assert len(kling_simulator.tasks) == 1


def test_an_own_id_that_was_refused_may_be_changed(kling_simulator: SimulatorServer) -> None:
    store = StateStore()
    kling_simulator.fault("envelope", method="POST", code=1102)
    with pytest.raises(KlingAccountError):
        attempt(store, external_task_id="boat")
    attempt(store, external_task_id="ship", try_number=2, max_tries=4)
    assert [task.external_task_id for task in kling_simulator.tasks] == ["ship"]


def test_with_an_own_id_a_clear_for_a_new_video_says_what_it_takes(
    store: StateStore | None, kling_simulator: SimulatorServer, caplog: pytest.LogCaptureFixture
) -> None:
    arguments: dict[str, Any] = {"external_task_id": "boat", "on_clear": "resubmit"}
    arguments["run_after"] = datetime.now(UTC) - timedelta(minutes=1)
    task_id = attempt(store, **arguments)
    with caplog.at_level(logging.INFO):
        assert attempt(store, try_number=2, max_tries=4, **arguments) == task_id
    assert "with external_task_id='boat' every clear does: choose another id for a new one" in caplog.text


def test_fewer_retries_in_the_dag_are_not_taken_for_a_clear_that_wants_a_new_video(
    kling_simulator: SimulatorServer,
) -> None:
    store = StateStore()
    task_id = attempt(store, on_clear="resubmit", retries=3, max_tries=3)
    assert attempt(store, on_clear="resubmit", retries=1, max_tries=3, try_number=2) == task_id
    new = attempt(store, on_clear="resubmit", retries=1, max_tries=4, try_number=2)
    assert new != task_id
    assert attempt(store, on_clear="resubmit", retries=1, max_tries=4, try_number=3) == new


def test_the_deferral_race_that_runs_execute_again_finds_the_task(
    store: StateStore | None, kling_simulator: SimulatorServer
) -> None:
    assert attempt(store) == attempt(store)
    assert len(kling_simulator.tasks) == 1


def test_look_ups_that_fail_leave_it_to_a_retry(
    store: StateStore | None, kling_simulator: SimulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kling_provider.hooks.kling._wait_before_retry", lambda _: 0)
    kling_simulator.fault("cut_after", method="POST")
    kling_simulator.fault("html", method="GET", times=16)
    with pytest.raises(KlingServerError, match="A retry looks for it before it sends") as caught:
        attempt(store)
    assert not isinstance(caught.value, AirflowFailException)
    assert [attempt(store, try_number=2)] == ids(kling_simulator)


# --- mapped lists that shift ------------------------------------------------------------------------------


def batch(
    keys: str, stores: dict[int, StateStore] | None, *, cleared: int = 0, conn: str = "kling_default"
) -> list[Any]:
    """Each task of a mapped list: its task_id, or what it raised. Cleared positions are in their second try."""
    results: list[Any] = []
    for index, key in enumerate(keys):
        operator = video(idempotency_key=key, prompt=f"a boat {key}", kling_conn_id=conn)
        ti = (
            {"map_index": index, "try_number": 2, "max_tries": 4}
            if index < cleared
            else {"map_index": index, "max_tries": 3}
        )
        context = context_of(
            operator, stores.setdefault(index, StateStore()) if stores is not None else None, **ti
        )
        context["dag_run"] = SimpleNamespace(clear_number=int(bool(cleared)), run_after=datetime.now(UTC))
        try:
            results.append(operator.execute(context))
        except KlingSubmissionUnknownError as error:
            results.append(error)
    return results


@pytest.mark.parametrize("world", [{}, {"accepts_duplicates": True}, {"list_order": "shuffled"}])
@pytest.mark.parametrize("version", ["3.0", "3.3"])
def test_a_picture_at_the_head_of_a_cleared_list_costs_one_video(
    version: str, world: dict[str, Any], kling_simulator: SimulatorServer
) -> None:
    kling_simulator.set(**world)
    stores: dict[int, StateStore] | None = {} if version == "3.3" else None
    first = batch("bcd", stores)
    second = batch("abcd", stores, cleared=3)
    assert second[1:] == first
    assert ids(kling_simulator) == [*first, second[0]]


@pytest.mark.parametrize("version", ["3.0", "3.3"])
def test_where_nothing_can_be_looked_up_a_list_that_has_shifted_pays_nothing_again(
    version: str, kling_simulator: SimulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_DMX", kling_simulator.connection_json("dmxapi"))
    stores: dict[int, StateStore] | None = {} if version == "3.3" else None
    first = batch("bcd", stores, conn="dmx")
    told = batch("abcd", stores, cleared=3, conn="dmx")
    looked = told if version == "3.3" else told[:3]  # before 3.3 nothing tells that the last one is not new
    assert all("Nothing was sent" in str(one) for one in looked)
    assert ids(kling_simulator)[:3] == first
    assert len(kling_simulator.tasks) == (3 if version == "3.3" else 4)
    if stores:
        assert batch("bcd", stores, cleared=3, conn="dmx") == first


def test_a_cleared_task_with_an_own_id_and_another_request_does_not_get_the_old_video(
    kling_simulator: SimulatorServer,
) -> None:
    store = StateStore()
    task_id = attempt(store, external_task_id="boat")
    with pytest.raises(KlingBadRequestError, match=f"is taken: task {task_id}"):
        attempt(store, external_task_id="boat", prompt="a car", try_number=2, max_tries=4)
    assert attempt(store, external_task_id="boat", try_number=2, max_tries=4) == task_id
