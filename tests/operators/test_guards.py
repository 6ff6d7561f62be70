"""Mistakes in a DAG that are found before anything is sent."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import XComNotFound
from airflow.sdk import DAG, task, task_group
from airflow.sdk.definitions._internal.expandinput import MappedArgument
from airflow.sdk.definitions.xcom_arg import PlainXComArg

from kling_provider.exceptions import KlingBadRequestError
from kling_provider.operators import guards
from kling_provider.operators.guards import AirflowRescheduleException
from kling_provider.operators.kling import (
    KlingOmniVideoOperator,
    KlingSubmitOperator,
    KlingTextToVideoOperator,
)
from kling_provider.sensors.kling import KlingTaskSensor
from kling_provider.simulator.server import SimulatorServer
from kling_provider.transfers.kling_to_object_storage import KlingToObjectStorageOperator
from tests.contexts import StateStore, TaskInstance, context_of

START = datetime(2026, 1, 1)


@pytest.fixture(autouse=True)
def _connected(kling_connection: str) -> None:
    """Every operator here talks to the simulator."""


def video(**arguments: Any) -> KlingTextToVideoOperator:
    return KlingTextToVideoOperator(**{"task_id": "video", "prompt": "a boat"} | arguments)


def sibling(operator: Any, map_index: int, *, state: str | None = "running") -> TaskInstance:
    """A mapped task instance of the same task that has claimed its key already."""
    context = context_of(operator, map_index=map_index)
    for name in ("external_task_id", "idempotency_key"):
        guards.refuse_equal_ids(context, name, getattr(operator, name))
    ti: TaskInstance = context["ti"]
    ti.state = state
    return ti


# --- equal ids in one run ------------------------------------------------------------------------------


@pytest.mark.parametrize("argument", ["idempotency_key", "external_task_id"])
@pytest.mark.parametrize("state", ["running", "deferred", "success", "failed", "up_for_retry"])
def test_two_mapped_tasks_with_one_id_are_a_mistake(
    argument: str, state: str, kling_simulator: SimulatorServer
) -> None:
    operator = video(**{argument: "boat"})
    twin = sibling(operator, 4, state=state)
    with pytest.raises(KlingBadRequestError) as caught:
        operator.execute(context_of(operator, map_index=2, siblings=[twin]))
    assert f"Nothing was sent. {argument}='boat' of map_index 2 is also that of map_index 4" in str(
        caught.value
    )
    assert kling_simulator.requests == []


def test_the_earlier_of_two_goes_on(kling_simulator: SimulatorServer) -> None:
    operator = video(idempotency_key="boat")
    context = context_of(operator, map_index=2)
    later = sibling(operator, 4)
    later.pushed[guards.CLAIM_KEY]["at"] += 3600
    context["ti"].siblings = [later]
    assert operator.execute(context) == kling_simulator.tasks[0].task_id


@pytest.mark.parametrize("state", [None, "scheduled", "queued", "removed"])
def test_what_was_claimed_before_a_clear_counts_no_more(
    state: str | None, kling_simulator: SimulatorServer
) -> None:
    operator = video(idempotency_key="boat")
    moved = sibling(operator, 0, state=state)
    operator.execute(context_of(operator, map_index=1, siblings=[moved]))
    assert len(kling_simulator.tasks) == 1


def test_a_sibling_that_is_just_starting_again_is_given_time_to_say_what_it_is_now(
    kling_simulator: SimulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    operator = video(idempotency_key="boat")
    starting = sibling(operator, 0)
    looks = itertools.count(1)
    real = TaskInstance.xcom_pull

    def pull(self: TaskInstance, task_ids: str, key: str) -> Any:
        if next(looks) == 3:
            starting.pushed.clear()
        return real(self, task_ids, key)

    monkeypatch.setattr(TaskInstance, "xcom_pull", pull)
    operator.execute(context_of(operator, map_index=1, siblings=[starting]))
    assert len(kling_simulator.tasks) == 1


def test_other_ids_and_tasks_that_are_not_mapped_are_left_alone(kling_simulator: SimulatorServer) -> None:
    operator, other = video(idempotency_key="boat"), video(idempotency_key="car")
    both = video(task_id="video", external_task_id="boat")
    twins = [sibling(other, 0), sibling(both, 3)]
    operator.execute(context_of(operator, map_index=1, siblings=twins))
    alone = video(idempotency_key="boat", task_id="alone")
    context = context_of(alone)
    alone.execute(context)
    assert guards.CLAIM_KEY not in context["ti"].pushed
    assert len(kling_simulator.tasks) == 2


def test_an_airflow_that_does_not_answer_stops_nobody(
    kling_simulator: SimulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TaskInstance, "xcom_pull", lambda *_, **__: 1 / 0)
    operator = video(idempotency_key="boat")
    operator.execute(context_of(operator, map_index=1))
    assert len(kling_simulator.tasks) == 1


# --- an id of the user's own that never changes ---------------------------------------------------------


@pytest.mark.parametrize("schedule", ["@daily", "0 3 * * *"])
def test_a_constant_id_in_a_scheduled_dag_is_a_mistake(
    schedule: str, kling_simulator: SimulatorServer
) -> None:
    with DAG("nightly", schedule=schedule, start_date=START):
        operator = video(external_task_id="boat")
    with pytest.raises(KlingBadRequestError) as caught:
        operator.execute(context_of(operator))
    text = str(caught.value)
    assert text.startswith(
        "Nothing was sent. external_task_id='boat' is the same in every run of DAG 'nightly'"
    )
    assert "external_task_id='boat-{{ ds_nodash }}'" in text
    assert kling_simulator.requests == []


@pytest.mark.parametrize(
    ("schedule", "own_id", "arguments"),
    [
        (None, "boat", {}),
        ("@once", "boat", {}),
        ("@daily", "boat-{{ ds_nodash }}", {}),
        ("@daily", "{% if 1 %}boat{% endif %}", {}),
        ("@daily", None, {}),
        ("@daily", "boat", {"on_existing": "adopt"}),
    ],
)
def test_an_id_that_can_be_new_in_every_run_is_fine(
    schedule: str | None, own_id: str | None, arguments: dict[str, Any], kling_simulator: SimulatorServer
) -> None:
    with DAG("nightly", schedule=schedule, start_date=START):
        operator = video(external_task_id=own_id, **arguments)
    operator.external_task_id = "boat-rendered" if own_id else None
    operator.execute(context_of(operator))
    assert len(kling_simulator.tasks) == 1


@pytest.mark.parametrize("argument", ["external_task_id", "idempotency_key"])
@pytest.mark.parametrize(
    "template",
    [
        "boat-{{ ti.try_number }}",
        "{{ macros.uuid.uuid4() }}",
        "boat-{{ macros.datetime.now().timestamp() }}",
        "{% set at = macros.time.time() %}boat-{{ at }}",
    ],
)
def test_where_no_record_is_kept_an_id_that_is_new_in_each_try_is_refused(
    argument: str, template: str, kling_simulator: SimulatorServer
) -> None:
    operator = video(**{argument: template})
    setattr(operator, argument, "boat-rendered")
    with pytest.raises(KlingBadRequestError, match=f"{argument}=.*another one in each try"):
        operator.execute(context_of(operator))
    assert kling_simulator.requests == []
    assert operator.execute(context_of(operator, StateStore()))  # 3.3: the first one is kept


@pytest.mark.parametrize("endpoint", ["text2video", "text-to-video/kling-2.6"])
def test_so_is_one_in_the_request(endpoint: str, kling_simulator: SimulatorServer) -> None:
    own_id = {"external_task_id": "{{ macros.uuid.uuid4() }}"}
    request = {"prompt": "a boat", **(own_id if endpoint == "text2video" else {"options": own_id})}
    operator = KlingSubmitOperator(task_id="video", endpoint=endpoint, request=request)
    operator.request = {"prompt": "a boat"}
    with pytest.raises(KlingBadRequestError, match=r"external_task_id=.*another one in each try"):
        operator.execute(context_of(operator))
    assert kling_simulator.requests == []


@pytest.mark.parametrize(
    "template", ["boat-{{ ds_nodash }}", "{{ params.uuid }}", "{{ dag_run.conf.try_number_of }}"]
)
def test_an_id_that_is_the_same_in_each_try_is_fine(template: str) -> None:
    operator = video(external_task_id=template)
    operator.external_task_id = "boat-rendered"
    assert operator.execute(context_of(operator))


def test_an_id_that_was_derived_for_another_request_is_refused(kling_simulator: SimulatorServer) -> None:
    first = video()
    context = context_of(first)
    first.execute(context)
    derived = context["ti"].pushed["kling_task"]["external_task_id"]
    asked = len(kling_simulator.requests)
    other = video(prompt="a car", external_task_id=derived, on_existing="adopt")
    with pytest.raises(KlingBadRequestError, match="was derived for another request"):
        other.execute(context_of(other))
    assert len(kling_simulator.requests) == asked
    same = video(external_task_id=derived, on_existing="adopt")
    assert same.execute(context_of(same)) == kling_simulator.tasks[0].task_id


# --- where the video is to go ---------------------------------------------------------------------------


def test_a_destination_that_cannot_be_written_is_told_before_a_video_is_paid(
    tmp_path: Path, kling_simulator: SimulatorServer
) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("not a folder")
    with DAG("night", schedule=None, start_date=START, user_defined_macros={"root": str(in_the_way)}):
        operator = video(wait_for_completion=True)
        between = video(task_id="between")
        store = KlingToObjectStorageOperator(
            task_id="store", task="1", destination="file://{{ root }}/videos/"
        )
        operator >> between >> store
    with pytest.raises(KlingBadRequestError, match="file"):
        operator.execute(context_of(operator) | {"root": str(in_the_way)})
    assert kling_simulator.requests == []


def test_a_mapped_store_task_is_checked_too(tmp_path: Path, kling_simulator: SimulatorServer) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("not a folder")
    with DAG("night", schedule=None, start_date=START):
        operator = video()
        mapped = KlingToObjectStorageOperator.partial(
            task_id="store", destination=f"file://{in_the_way}/videos/"
        ).expand(task=["1", "2"])
        operator >> mapped
    with pytest.raises(KlingBadRequestError):
        operator.execute(context_of(operator))
    assert kling_simulator.requests == []


@pytest.mark.parametrize(
    "destination", ["file://{{ ti.xcom_pull('elsewhere') }}/", "file:///{{ no_such_name.part }}/", "GOOD"]
)
def test_a_destination_that_is_good_or_not_known_yet_is_no_mistake(
    destination: str, tmp_path: Path, kling_simulator: SimulatorServer
) -> None:
    with DAG("night", schedule=None, start_date=START):
        operator = video()
        operator >> KlingToObjectStorageOperator(
            task_id="store", task="1", destination=destination.replace("GOOD", f"file://{tmp_path}/new/")
        )
    operator.execute(context_of(operator))
    assert len(kling_simulator.tasks) == 1
    assert list(tmp_path.iterdir()) == []


def test_the_check_of_the_destination_can_be_left_out(
    tmp_path: Path, kling_simulator: SimulatorServer
) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("not a folder")
    with DAG("night", schedule=None, start_date=START):
        operator = video(check_destination=False)
        operator >> KlingToObjectStorageOperator(
            task_id="store", task="1", destination=f"file://{in_the_way}/videos/"
        )
    operator.execute(context_of(operator))
    assert len(kling_simulator.tasks) == 1


# --- a start before upstream is done --------------------------------------------------------------------


class StartedEarly(TaskInstance):
    """One of a mapped group; Airflow tells the states of the tasks before it."""

    def __init__(self, task_id: str, states: dict[str, str | None], map_index: int = 3) -> None:
        super().__init__(task_id=task_id, map_index=map_index)
        self.states = states
        self.asked: list[str] = []

    def get_task_states(
        self, dag_id: str, map_index: int, task_ids: list[str], run_ids: list[str]
    ) -> dict[str, Any]:
        assert (dag_id, map_index, run_ids) == (self.dag_id, self.map_index, [self.run_id])
        self.asked += task_ids
        told = {f"{name}_{map_index}": state for name, state in self.states.items() if name in task_ids}
        return {self.run_id: told} if told else {}


def group(tmp_path: Path) -> DAG:
    """Submit, wait and store of several prompts; `alone` is outside the group."""
    with DAG("night", schedule=None, start_date=START) as dag:
        alone = video(task_id="alone")

        @task_group
        def clip(prompt: str) -> None:
            submit = video(task_id="submit", prompt=prompt)
            wait = KlingTaskSensor(task_id="wait", kling_task_id=submit.output)
            store = KlingToObjectStorageOperator(task_id="store", task=wait.output, destination=str(tmp_path))
            alone >> store

        clip.expand(prompt=["a", "b", "c", "d"])
    return dag


def start(
    dag: DAG, task_id: str, value: Any, states: dict[str, str | None], *, starts: int = 0, map_index: int = 3
) -> StartedEarly:
    """Execute one task of the group; what becomes of it is raised."""
    operator: Any = dag.task_dict[task_id]
    setattr(operator, operator.comes_from_upstream, value)
    ti = StartedEarly(task_id, states, map_index)
    operator.execute({"ti": ti, "task": operator, "task_reschedule_count": starts})
    return ti


STEPS = [("clip.wait", "clip.submit"), ("clip.store", "clip.wait")]


@pytest.mark.parametrize(("task_id", "upstream"), STEPS)
@pytest.mark.parametrize(
    ("nothing", "state"),
    [(nothing, "running") for nothing in (None, "", "None", [], {})]
    + [(None, state) for state in ("deferred", "queued", "scheduled", "up_for_retry", None, "not created")],
)
def test_a_task_that_airflow_starts_before_its_upstream_goes_back_to_wait(
    task_id: str,
    upstream: str,
    nothing: Any,
    state: str | None,
    tmp_path: Path,
    kling_simulator: SimulatorServer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    told = {} if state == "not created" else {upstream: state}
    with pytest.raises(AirflowRescheduleException) as caught:
        start(group(tmp_path), task_id, nothing, told)
    assert 5 < (caught.value.reschedule_date - datetime.now(UTC)).total_seconds() <= 10
    assert f"({upstream}: {told.get(upstream) or 'not started'})" in caplog.text
    assert "no retry is consumed" in caplog.text
    assert kling_simulator.requests == []


@pytest.mark.parametrize(("task_id", "upstream"), STEPS)
@pytest.mark.parametrize("state", ["failed", "skipped", "upstream_failed", "removed"])
def test_what_a_finished_upstream_has_not_given_is_a_mistake_as_ever(
    task_id: str, upstream: str, state: str, tmp_path: Path, kling_simulator: SimulatorServer
) -> None:
    with pytest.raises(KlingBadRequestError, match="kling_task_id=None is not a task id"):
        start(group(tmp_path), task_id, None, {upstream: state})
    assert kling_simulator.requests == []


@pytest.mark.parametrize(("task_id", "upstream"), STEPS)
def test_an_upstream_that_ended_just_after_the_start_is_believed_at_the_second_start(
    task_id: str, upstream: str, tmp_path: Path
) -> None:
    with pytest.raises(AirflowRescheduleException):
        start(group(tmp_path), task_id, None, {upstream: "success"})
    with pytest.raises(KlingBadRequestError, match="kling_task_id=None is not a task id"):
        start(group(tmp_path), task_id, None, {upstream: "success"}, starts=1)


@pytest.mark.parametrize("states", [{"clip.wait": "running"}, {}])
def test_a_task_that_is_started_too_early_again_and_again_ends(
    states: dict[str, str | None], tmp_path: Path
) -> None:
    with pytest.raises(AirflowRescheduleException):
        start(group(tmp_path), "clip.store", None, states, starts=guards.EARLY_STARTS - 1)
    with pytest.raises(KlingBadRequestError):
        start(group(tmp_path), "clip.store", None, states, starts=guards.EARLY_STARTS)


def test_only_the_tasks_before_it_in_its_own_group_are_waited_for(tmp_path: Path) -> None:
    dag = group(tmp_path)
    assert dag.task_dict["clip.store"].upstream_task_ids == {"alone", "clip.wait"}
    with pytest.raises(KlingBadRequestError):
        start(dag, "clip.store", None, {"clip.wait": "failed", "alone": "running"})


def test_a_task_that_has_its_value_asks_nothing(tmp_path: Path, kling_simulator: SimulatorServer) -> None:
    operator = video()
    made = operator.execute(context_of(operator))
    kling_simulator.finish(made)
    ti = start(group(tmp_path), "clip.store", {"task_id": made, "endpoint": "text2video"}, {})
    assert ti.asked == []
    assert len(list(tmp_path.iterdir())) == 1


def test_outside_a_mapped_group_nothing_is_waited_for(tmp_path: Path) -> None:
    with pytest.raises(KlingBadRequestError):
        start(group(tmp_path), "clip.store", None, {"clip.wait": "running"}, map_index=-1)
    with DAG("plain", schedule=None, start_date=START) as dag:
        KlingTaskSensor(task_id="wait", kling_task_id=None).set_upstream(video(task_id="submit"))
    with pytest.raises(KlingBadRequestError):
        start(dag, "wait", None, {"submit": "running"})


def test_where_airflow_cannot_be_asked_the_mistake_is_told_as_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StartedEarly, "get_task_states", lambda *_, **__: 1 / 0)
    with pytest.raises(KlingBadRequestError):
        start(group(tmp_path), "clip.store", None, {"clip.wait": "running"})
    alone = KlingToObjectStorageOperator(task_id="store", task=None, destination=str(tmp_path))
    for context in (
        {},
        {"ti": None},
        {"ti": object(), "task": alone},
        {"ti": StartedEarly("store", {}), "task": alone},
    ):
        with pytest.raises(KlingBadRequestError):
            alone.execute(context)


def chosen() -> DAG:
    """In a group, the request of a submit is made of what a task before it has chosen, in several ways."""
    with DAG("night", schedule=None, start_date=START) as dag:

        @task
        def animal() -> str:
            return "whale"

        @task.kling(endpoint="text2video")
        def called(what: Any, *, more: dict[str, Any] | None = None) -> dict[str, Any]:
            return {"prompt": f"A {what or (more or {}).get('animals')} at sea"}

        @task_group
        def clip(number: int) -> None:
            one = animal()
            called(one)
            called.override(task_id="by_name")(what=one)
            called.override(task_id="nested")(None, more={"animals": [one, number]})
            KlingSubmitOperator(
                task_id="request",
                endpoint="image2video",
                request={"image": "https://p.example/a.jpg", "dynamic_masks": [{"mask": one}]},
            )
            KlingOmniVideoOperator(task_id="typed", prompt="a boat", image_list=[{"image_url": one}])

        clip.expand(number=[1, 2])
    return dag


@pytest.mark.parametrize("task_id", ["called", "by_name", "nested", "request", "typed"])
def test_nothing_is_sent_that_was_made_of_a_result_which_is_still_to_come(
    task_id: str, kling_simulator: SimulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    operator: Any = chosen().task_dict[f"clip.{task_id}"]
    monkeypatch.setattr(PlainXComArg, "resolve", lambda *_, **__: None)
    monkeypatch.setattr(MappedArgument, "resolve", lambda *_, **__: 1)
    ti = StartedEarly(operator.task_id, {"clip.animal": "running"})
    context = {"ti": ti, "task": operator, "task_reschedule_count": 0, "expanded_ti_count": None}
    operator.render_template_fields(context)
    with pytest.raises(AirflowRescheduleException):
        operator.execute(context)
    assert kling_simulator.requests == []


@pytest.mark.parametrize("task_id", ["called", "by_name", "nested"])
def test_what_is_there_is_sent(
    task_id: str, kling_simulator: SimulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    operator: Any = chosen().task_dict[f"clip.{task_id}"]
    monkeypatch.setattr(PlainXComArg, "resolve", lambda *_, **__: "whale")
    monkeypatch.setattr(MappedArgument, "resolve", lambda *_, **__: 1)
    context = context_of(operator)
    operator.render_template_fields(context)
    operator.execute(context)
    assert "whale" in kling_simulator.creates[0].body["prompt"]


@pytest.mark.parametrize("task_id", ["clip.wait", "clip.store"])
def test_an_xcom_that_is_not_there_yet_is_waited_for_too(
    task_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dag = group(tmp_path)
    operator: Any = dag.task_dict[task_id]
    setattr(operator, operator.comes_from_upstream, dag.task_dict["clip.submit"].kling_task)  # type: ignore[union-attr]

    def missing(*_: Any) -> None:
        raise XComNotFound("night", "clip.submit", "kling_task")

    monkeypatch.setattr(type(dag.task_dict["clip.submit"].kling_task), "resolve", missing)  # type: ignore[union-attr]
    upstream = dict.fromkeys(operator.upstream_task_ids, "running")
    ti = StartedEarly(task_id, upstream)
    with pytest.raises(AirflowRescheduleException):
        operator.render_template_fields({"ti": ti, "task": operator})
    ti.states = dict.fromkeys(upstream, "failed")
    with pytest.raises(XComNotFound):
        operator.render_template_fields({"ti": ti, "task": operator})
