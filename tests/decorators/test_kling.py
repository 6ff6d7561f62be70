"""@task.kling: a function writes the request; everything else is the submit operator's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred
from airflow.sdk import DAG, task

from kling_provider.decorators.kling import KlingDecoratedOperator, kling_task
from kling_provider.exceptions import KlingBadRequestError, KlingSubmissionUnknownError
from kling_provider.operators.kling import KlingSubmitOperator
from kling_provider.simulator.server import SimulatorServer
from tests.contexts import StateStore, context_of, is_derived
from tests.test_dags import load, metadata_database, run, stored  # noqa: F401 - fixtures


@pytest.fixture(autouse=True)
def dag(request: pytest.FixtureRequest) -> Iterator[Any]:
    """The DAG that all tasks of these tests belong to, unless they bring their own."""
    if "metadata_database" in request.fixturenames:
        yield None
        return
    with DAG("decorated", schedule=None) as dag:
        yield dag


def decorated(function: Any, *args: Any, **options: Any) -> Any:
    arguments = options.pop("arguments", {})
    return kling_task(**{"endpoint": "text2video", **options})(function)(*args, **arguments).operator


def boat(what: str = "a boat") -> dict[str, Any]:
    return {"prompt": what, "duration": "5"}


def test_airflow_finds_it_by_its_name(dag: Any) -> None:
    @task.kling(endpoint="text2video", max_units=5)
    def video(what: str) -> dict[str, Any]:
        return {"prompt": what}

    made = video("a boat")
    assert isinstance(made.operator, KlingDecoratedOperator)
    assert (made.operator.task_id, made.operator.max_units) == ("video", "5")
    assert made.operator.multiple_outputs is False


def test_multiple_outputs_are_refused_with_the_reason() -> None:
    with pytest.raises(KlingBadRequestError, match=r"multiple_outputs=True is not for @task\.kling"):
        decorated(boat, multiple_outputs=True)
    assert decorated(boat, multiple_outputs=False).multiple_outputs is False


def test_what_the_function_returns_is_submitted_and_waited_for(
    kling_simulator: SimulatorServer, kling_connection: str
) -> None:
    video = decorated(
        boat, "a whale", wait_for_completion=True, deferrable=False, poke_interval=1, idempotency_key="whale"
    )
    context = context_of(video)
    done = video.execute(context)
    (create,) = kling_simulator.creates
    assert (create.body["prompt"], create.body["duration"]) == ("a whale", "5")
    assert (done["status"], done["external_task_id"]) == ("succeed", create.body["external_task_id"])
    assert context["ti"].pushed["kling_task"]["model_name"] == create.body["model_name"]
    assert video.request == {"prompt": "a whale", "duration": "5"}


def test_arguments_are_rendered_and_the_context_is_there(
    kling_simulator: SimulatorServer, kling_connection: str
) -> None:
    def of_the_day(what: str, ds: str | None = None, *, ti: Any = None) -> dict[str, Any]:
        return {"prompt": f"{what} {ds} {ti.task_id} {{{{ kept }}}}"}

    video = decorated(of_the_day, arguments={"what": "{{ ds }}"})
    context = {**context_of(video), "ds": "2026-01-01"}
    video.render_template_fields(context)
    video.execute(context)
    assert kling_simulator.creates[0].body["prompt"] == "2026-01-01 2026-01-01 of_the_day {{ kept }}"


def test_it_is_paid_once_as_any_submit(kling_simulator: SimulatorServer, kling_connection: str) -> None:
    """The id is that of the operator with the same request in the same place; a retry finds the task."""
    first = decorated(boat)
    task_id = first.execute(context_of(first))
    assert is_derived(kling_simulator.creates[0].body["external_task_id"])
    retry = decorated(boat)
    context = context_of(retry, try_number=2)
    context["ti"].task_id = "boat"
    assert retry.execute(context) == task_id
    same = KlingSubmitOperator(task_id="other", endpoint="text2video", request=boat())
    context = context_of(same, try_number=2)
    context["ti"].task_id = "boat"
    assert same.execute(context) == task_id
    assert len(kling_simulator.creates) == 1


def test_a_retry_that_asks_for_something_else_sends_nothing(
    kling_simulator: SimulatorServer, kling_connection: str
) -> None:
    said = iter(["a boat", "a whale"])

    def changing() -> dict[str, Any]:
        return {"prompt": next(said)}

    store = StateStore()
    first = decorated(changing)
    first.execute(context_of(first, store))
    retry = decorated(changing)
    context = context_of(retry, store, try_number=2)
    context["ti"].task_id = "changing"
    with pytest.raises((KlingBadRequestError, KlingSubmissionUnknownError), match="prompt"):
        retry.execute(context)
    assert len(kling_simulator.creates) == 1


def test_a_wait_for_a_slot_goes_on_with_the_same_request(
    kling_simulator: SimulatorServer, kling_connection: str
) -> None:
    kling_simulator.fault("envelope", method="POST", code=1303)
    video = decorated(boat, "a whale")
    with pytest.raises(TaskDeferred) as deferred:
        video.execute(context_of(video))
    resumed = decorated(boat, "a whale")
    context = context_of(resumed)
    context["ti"].task_id = "boat"
    handed_on = deferred.value.trigger.arguments["handed_on"]
    task_id = resumed.resume_submit(context, {"status": "go", "handed_on": handed_on})
    assert [created.task_id for created in kling_simulator.tasks] == [task_id]
    assert kling_simulator.creates[-1].body["prompt"] == "a whale"


@pytest.mark.parametrize("fails", [False, True])
def test_after_the_wait_it_shows_what_was_asked_for_and_never_fails_for_it(
    fails: bool, kling_simulator: SimulatorServer, kling_connection: str
) -> None:
    first = decorated(boat, wait_for_completion=True)
    kling_simulator.set(task_seconds=3600)
    with pytest.raises(TaskDeferred):
        first.execute(context_of(first))
    (made,) = kling_simulator.tasks
    kling_simulator.finish(made.task_id)

    def later(what: str = "a boat") -> dict[str, Any]:
        if fails:
            raise ValueError("the file is gone")
        return boat(what)

    resumed = decorated(later, wait_for_completion=True)
    told = resumed.hook.get_task(made.task_id, endpoint="text2video").to_dict()
    event = {"status": "finished", "task": told, "task_id": made.task_id, "endpoint": "text2video"}
    assert resumed.execute_complete(context_of(resumed), event)["task_id"] == made.task_id
    assert resumed.request == ({} if fails else boat())


@pytest.mark.parametrize("value", [None, "a boat", ["a boat"]])
def test_a_function_that_returns_no_request_sends_nothing(
    value: Any, kling_simulator: SimulatorServer, kling_connection: str
) -> None:
    def wrong() -> Any:
        return value

    with pytest.raises(KlingBadRequestError, match="return the request as a dict"):
        (operator := decorated(wrong)).execute(context_of(operator))
    assert kling_simulator.creates == []


def test_what_is_wrong_is_refused_before_anything_is_sent(
    kling_simulator: SimulatorServer, kling_connection: str
) -> None:
    with pytest.raises(KlingBadRequestError, match="text2vdeo"):
        decorated(boat, endpoint="text2vdeo")
    with pytest.raises(KlingBadRequestError, match="the function returns the request"):
        decorated(boat, request={})

    def wrong() -> dict[str, Any]:
        return {"prompt": "a boat", "duration": "7"}

    with pytest.raises(KlingBadRequestError, match="duration"):
        (operator := decorated(wrong)).execute(context_of(operator))
    assert kling_simulator.creates == []


def test_it_is_mapped_like_any_task(dag: Any, picture: Path) -> None:
    mapped = kling_task(endpoint="text2video", retries=3)(boat).expand(what=["a boat", "a whale"])
    assert mapped.operator.operator_class is KlingDecoratedOperator
    assert mapped.operator.partial_kwargs["endpoint"] == "text2video"


def test_it_runs_mapped_in_a_real_dag(
    metadata_database: None,  # noqa: F811
    stored: Path,  # noqa: F811
    kling_simulator: SimulatorServer,
    kling_connection: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = Path(__file__).parent / "dags"
    bundle = {"name": "decorated", "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle"}
    monkeypatch.setenv(
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST",
        json.dumps([{**bundle, "kwargs": {"path": str(folder)}}]),
    )
    monkeypatch.setattr("tests.test_dags.DAGS", folder)
    values = run(load("decorated"))
    assert [done["status"] for done in values["video"]] == ["succeed", "succeed"]
    prompts = sorted(create.body["prompt"] for create in kling_simulator.creates)
    assert prompts == ["A blue teapot of decorated.", "A red shirt of decorated."]
    assert all(is_derived(create.body["external_task_id"]) for create in kling_simulator.creates)
    files = [entry for manifest in values["store"] for entry in manifest]
    assert [entry["task_id"] for entry in files] == [done["task_id"] for done in values["video"]]
    assert len(list(stored.rglob("*.mp4"))) == 2
