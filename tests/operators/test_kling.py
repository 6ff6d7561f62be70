"""What the submit operators promise, against the simulator over loopback."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import inspect
import json
import logging
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred
from airflow.sdk import DAG

from kling_provider.exceptions import (
    KlingBadRequestError,
    KlingContentPolicyError,
    KlingError,
    KlingSubmissionUnknownError,
    KlingTaskFailedError,
    KlingTaskTimeoutError,
)
from kling_provider.operators.kling import (
    KlingImageToVideoOperator,
    KlingMultiImageToVideoOperator,
    KlingSubmitOperator,
    KlingTextToVideoOperator,
)
from kling_provider.simulator.server import SimulatorServer
from tests.contexts import StateStore, context_of, is_derived


def sent(simulator: SimulatorServer) -> list[dict[str, Any]]:
    """Bodies of the submits the simulator saw."""
    return [request.body for request in simulator.requests if request.method == "POST"]


def text(**arguments: Any) -> KlingTextToVideoOperator:
    return KlingTextToVideoOperator(**{"task_id": "task", "prompt": "a boat"} | arguments)


def waiting_here(**arguments: Any) -> KlingTextToVideoOperator:
    """Waits on the worker, more often than users may."""
    operator = text(wait_for_completion=True, deferrable=False, **arguments)
    operator.poke_interval = 0.05
    return operator


# --- what it returns and pushes -----------------------------------------------------------------------


def test_it_returns_the_task_id_and_pushes_what_is_needed_to_find_the_task_again(
    kling_simulator: SimulatorServer, kling_connection: str
) -> None:
    operator = text()
    context = context_of(operator)
    task_id = operator.execute(context)
    assert isinstance(task_id, str)
    pushed = context["ti"].pushed
    assert pushed["task_id"] == task_id
    assert pushed["kling_task"]["task_id"] == task_id
    assert pushed["kling_task"]["endpoint"] == "text2video"
    assert pushed["kling_task"]["model_name"] == "kling-v2-6"
    assert pushed["kling_task"]["adopted"] is False
    assert is_derived(pushed["kling_task"]["external_task_id"])
    assert pushed["kling_task"]["submitted_at"].endswith("+00:00")
    assert [task.task_id for task in kling_simulator.tasks] == [task_id]


@pytest.mark.parametrize(
    ("endpoint", "more", "estimate"),
    [
        ("text2video", {}, "1.5"),
        ("text2video", {"duration": "10", "mode": "pro"}, "5.0"),
        ("/v1/videos/text2video", {"model_name": "kling-v2-6"}, None),
    ],
)
def test_it_pushes_what_the_task_will_cost_where_that_is_known(
    endpoint: str,
    more: dict[str, str],
    estimate: str | None,
    kling_simulator: SimulatorServer,
    kling_connection: str,
) -> None:
    operator = KlingSubmitOperator(task_id="task", endpoint=endpoint, request={"prompt": "a boat"} | more)
    context = context_of(operator)
    operator.execute(context)
    assert context["ti"].pushed["kling_task"]["estimated_units"] == estimate


def test_the_same_work_gets_the_same_id_and_other_work_another(
    kling_simulator: SimulatorServer, kling_connection: str
) -> None:
    for ti in ({}, {"map_index": 0}, {"map_index": 1}, {"run_id": "other"}):
        operator = text()
        operator.execute(context_of(operator, **ti))
    ids = [body["external_task_id"] for body in sent(kling_simulator)]
    assert len(set(ids)) == 4


def test_a_retry_finds_the_task_it_made_and_pays_nothing(
    kling_simulator: SimulatorServer, kling_connection: str
) -> None:
    first, again = text(retries=1), text(retries=1)
    task_id = first.execute(context_of(first, max_tries=1))
    context = context_of(again, try_number=2, max_tries=1)
    assert again.execute(context) == task_id
    assert context["ti"].pushed["kling_task"]["adopted"] is True
    assert context["ti"].pushed["kling_task"]["estimated_units"] == "1.5"
    assert len(kling_simulator.tasks) == 1


def test_a_clear_reattaches_unless_a_new_video_is_asked_for(
    kling_simulator: SimulatorServer, kling_connection: str
) -> None:
    first = text()
    task_id = first.execute(context_of(first))
    cleared = {"try_number": 2, "max_tries": 1}
    again, anew = text(), text(on_clear="resubmit")
    assert again.execute(context_of(again, **cleared)) == task_id
    assert anew.execute(context_of(anew, **cleared)) != task_id
    assert len(kling_simulator.tasks) == 2


def test_an_idempotency_key_ties_the_video_to_its_picture_not_to_its_place(
    kling_simulator: SimulatorServer, kling_connection: str
) -> None:
    first, moved = text(idempotency_key="boat.png"), text(idempotency_key="boat.png")
    task_id = first.execute(context_of(first, map_index=0))
    assert moved.execute(context_of(moved, map_index=1, try_number=2)) == task_id
    assert len(kling_simulator.tasks) == 1


def test_a_task_that_kling_failed_is_followed_by_a_new_one_on_the_next_try(
    kling_simulator: SimulatorServer, kling_connection: str
) -> None:
    first, again = text(retries=2), text(retries=2)
    kling_simulator.next_task(outcome="fail", message="risk control", seconds=0)
    failed_id = first.execute(context_of(first, max_tries=2))
    task_id = again.execute(context_of(again, try_number=2, max_tries=2))
    assert task_id != failed_id
    assert len(kling_simulator.tasks) == 2


def test_an_own_external_task_id_is_sent_and_a_taken_one_is_an_error_that_names_the_task(
    kling_simulator: SimulatorServer, kling_connection: str
) -> None:
    first = text(external_task_id="my-boat-1")
    task_id = first.execute(context_of(first))
    assert sent(kling_simulator)[0]["external_task_id"] == "my-boat-1"
    other = text(external_task_id="my-boat-1")
    with pytest.raises(KlingBadRequestError, match=rf"my-boat-1.*{task_id}.*s old.*on_existing='adopt'"):
        other.execute(context_of(other, run_id="other"))
    adopting = text(external_task_id="my-boat-1", on_existing="adopt")
    assert adopting.execute(context_of(adopting, run_id="third")) == task_id
    assert len(kling_simulator.tasks) == 1


def test_a_lost_answer_is_looked_up_and_the_booked_task_taken(
    kling_simulator: SimulatorServer, kling_connection: str
) -> None:
    kling_simulator.fault(method="POST", path="/v1/videos", kind="cut_after", times=1)
    operator = text()
    task_id = operator.execute(context_of(operator))
    assert [task.task_id for task in kling_simulator.tasks] == [task_id]
    assert len(sent(kling_simulator)) == 1


def test_a_retry_that_asks_for_something_else_is_refused_before_it_pays(
    kling_simulator: SimulatorServer, kling_connection: str
) -> None:
    store = StateStore()
    first, changed = text(retries=1), text(retries=1, prompt="another boat")
    first.execute(context_of(first, store, max_tries=1))
    with pytest.raises(KlingBadRequestError, match=r"^Nothing was sent.*must ask for the same"):
        changed.execute(context_of(changed, store, try_number=2, max_tries=1))
    assert len(kling_simulator.tasks) == 1
    changed.execute(context_of(changed, store, try_number=2, max_tries=2))  # cleared by a person
    assert len(kling_simulator.tasks) == 2


def test_a_key_of_zero_is_a_key(kling_simulator: SimulatorServer, kling_connection: str) -> None:
    for map_index in (0, 1):
        operator = text(idempotency_key=0)
        operator.execute(context_of(operator, map_index=map_index, try_number=1 + map_index))
    assert len(kling_simulator.tasks) == 1


# --- a gateway that looks nothing up ----------------------------------------------------------------


@pytest.fixture
def dmxapi(kling_simulator: SimulatorServer, monkeypatch: pytest.MonkeyPatch) -> SimulatorServer:
    monkeypatch.setenv("AIRFLOW_CONN_KLING_DEFAULT", kling_simulator.connection_json("dmxapi"))
    return kling_simulator


def test_dmxapi_gets_no_derived_id_and_its_own_default_model(dmxapi: SimulatorServer) -> None:
    operator = text()
    operator.execute(context_of(operator))
    assert sent(dmxapi) == [{"prompt": "a boat", "model_name": "kling-v1-6", "mode": "std", "duration": "5"}]
    assert dmxapi.requests[0].path == "/kling/v1/videos/text2video"


def test_a_lost_answer_at_dmxapi_is_never_sent_again(dmxapi: SimulatorServer) -> None:
    dmxapi.fault(method="POST", path="/kling/v1/videos", kind="cut_after", times=1)
    store = StateStore()
    first, again = text(retries=1), text(retries=1)
    with pytest.raises(KlingSubmissionUnknownError, match=r"may have been booked.*console.*clear this task"):
        first.execute(context_of(first, store, max_tries=1))
    with pytest.raises(KlingSubmissionUnknownError, match=r"^Nothing was sent"):
        again.execute(context_of(again, store, try_number=2, max_tries=1))
    assert len(dmxapi.tasks) == 1


def test_below_airflow_3_3_a_retry_at_dmxapi_sends_nothing(dmxapi: SimulatorServer) -> None:
    operator = text(retries=1)
    with pytest.raises(KlingSubmissionUnknownError, match=r"before 3\.3"):
        operator.execute(context_of(operator, try_number=2, max_tries=1))
    assert dmxapi.requests == []


def test_a_retry_at_dmxapi_takes_the_task_that_was_written_down(dmxapi: SimulatorServer) -> None:
    store = StateStore()
    first, again = text(retries=1), text(retries=1)
    task_id = first.execute(context_of(first, store, max_tries=1))
    assert again.execute(context_of(again, store, try_number=2, max_tries=1)) == task_id
    assert len(dmxapi.tasks) == 1


def test_a_task_that_kling_failed_at_dmxapi_is_made_again_after_a_clear(dmxapi: SimulatorServer) -> None:
    store = StateStore()
    dmxapi.next_task(outcome="fail", message="risk control", seconds=0)
    first, retry, cleared = text(retries=1), text(retries=1), text(retries=1)
    failed_id = first.execute(context_of(first, store, max_tries=1))
    with pytest.raises(KlingTaskFailedError, match=rf"{failed_id}.*risk control.*Clear this task"):
        retry.execute(context_of(retry, store, try_number=2, max_tries=1))
    assert cleared.execute(context_of(cleared, store, try_number=3, max_tries=3)) != failed_id
    assert len(dmxapi.tasks) == 2


def test_fewer_retries_in_the_dag_are_not_taken_for_a_clear_at_dmxapi(dmxapi: SimulatorServer) -> None:
    dmxapi.fault(method="POST", path="/kling/v1/videos", kind="cut_after", times=1)
    store = StateStore()
    first, edited = text(retries=3), text(retries=1)
    with pytest.raises(KlingSubmissionUnknownError):
        first.execute(context_of(first, store, max_tries=3))
    with pytest.raises(KlingSubmissionUnknownError, match=r"^Nothing was sent"):
        edited.execute(context_of(edited, store, try_number=2, max_tries=3))
    assert len(dmxapi.tasks) == 1


def test_an_id_that_was_paid_for_survives_a_task_state_that_fails(
    dmxapi: SimulatorServer, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(StateStore):
        def set(self, key: str, value: Any) -> None:
            if "task_id" in value:
                raise RuntimeError("the API server is gone")
            super().set(key, value)

    operator = text()
    task_id = operator.execute(context_of(operator, Failing()))
    assert task_id == dmxapi.tasks[0].task_id
    assert f"did not take task {task_id}: the API server is gone" in caplog.text


def test_whoever_accepts_the_risk_may_submit_again_at_dmxapi(dmxapi: SimulatorServer) -> None:
    operator = text(retries=1, on_unknown_submission="retry")
    operator.execute(context_of(operator, try_number=2, max_tries=1))
    assert len(dmxapi.tasks) == 1


# --- waiting ------------------------------------------------------------------------------------------


def test_one_operator_submits_then_waits_in_the_triggerer(
    kling_simulator: SimulatorServer, kling_connection: str
) -> None:
    operator = text(wait_for_completion=True, poke_interval=7, timeout=900)
    context = context_of(operator)
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(context)
    kling_task = context["ti"].pushed["kling_task"]
    arguments = deferred.value.trigger.serialize()[1]
    assert arguments["task_id"] == kling_task["task_id"]
    assert arguments["endpoint"] == "text2video"
    assert arguments["poke_interval"] == 7
    assert arguments["external_task_id"] == kling_task["external_task_id"]
    created = kling_simulator.tasks[0].created_at
    assert arguments["deadline"] == pytest.approx(created + 900, abs=0.01)
    assert deferred.value.timeout > timedelta(seconds=900 + 7)
    assert "a boat" not in json.dumps(arguments)


def test_it_can_wait_on_the_worker(kling_simulator: SimulatorServer, kling_connection: str) -> None:
    operator = waiting_here()
    context = context_of(operator)
    result = operator.execute(context)
    assert result["status"] == "succeed"
    assert result["videos"][0]["url"] == context["ti"].pushed["video_url"]
    assert result["videos"][0]["id"] == context["ti"].pushed["video_id"]
    assert result["units"] == "1.5"


def test_a_task_that_is_over_already_needs_no_waiting(
    kling_simulator: SimulatorServer, kling_connection: str
) -> None:
    first, again = text(), text(wait_for_completion=True)
    kling_simulator.finish(first.execute(context_of(first)))
    assert again.execute(context_of(again, try_number=2))["status"] == "succeed"


def test_a_wait_on_the_worker_ends_at_the_deadline(
    kling_simulator: SimulatorServer, kling_connection: str
) -> None:
    kling_simulator.next_task(outcome="stuck")
    operator = waiting_here(timeout=1)
    with pytest.raises(KlingTaskTimeoutError, match=r"goes on at Kling.*Clear this task to collect it"):
        operator.execute(context_of(operator))


def test_a_failed_task_raises_with_klings_reason(
    kling_simulator: SimulatorServer, kling_connection: str
) -> None:
    kling_simulator.next_task(outcome="fail", message="Failure to pass the risk control system")
    operator = waiting_here()
    with pytest.raises(KlingTaskFailedError, match=r"risk control system.*request_id") as caught:
        operator.execute(context_of(operator))
    assert caught.value.task_id == kling_simulator.tasks[0].task_id


def test_killing_it_says_that_the_task_goes_on(
    kling_simulator: SimulatorServer, kling_connection: str, caplog: pytest.LogCaptureFixture
) -> None:
    operator = text()
    operator.on_kill()
    assert "goes on" not in caplog.text
    task_id = operator.execute(context_of(operator))
    with caplog.at_level(logging.WARNING):
        operator.on_kill()
    assert f"Task {task_id} of text2video goes on at Kling" in caplog.text
    assert "about 1.5 units = 0.21 USD" in caplog.text
    assert f"KlingAdoptOperator(kling_task_id='{task_id}', endpoint='text2video')" in caplog.text


def test_killing_it_in_mid_submit_says_that_it_may_be_booked(
    kling_simulator: SimulatorServer, kling_connection: str, caplog: pytest.LogCaptureFixture
) -> None:
    kling_simulator.fault("envelope", code=1300, method="POST")
    operator = text()
    with pytest.raises(KlingContentPolicyError):
        operator.execute(context_of(operator))
    with caplog.at_level(logging.WARNING):
        operator.on_kill()
    assert "Killed while submitting to text2video: Kling may have booked the task" in caplog.text


# --- what it refuses before anything is spent ----------------------------------------------------------


def test_a_request_above_the_budget_is_not_sent(
    kling_simulator: SimulatorServer, kling_connection: str
) -> None:
    operator = text(max_units=1.4)
    with pytest.raises(KlingBadRequestError, match=r"about 1\.5 units, more than max_units=1\.4"):
        operator.execute(context_of(operator))
    assert kling_simulator.requests == []
    exact = text(max_units="1.5")
    exact.execute(context_of(exact))


def test_a_budget_needs_a_price(kling_simulator: SimulatorServer, kling_connection: str) -> None:
    operator = text(max_units=5, model_name="kling-v9")
    with pytest.raises(KlingBadRequestError, match=r"kling-v9.*no price is published"):
        operator.execute(context_of(operator))
    assert kling_simulator.requests == []


def test_a_budget_in_units_says_nothing_about_what_is_paid_in_money(
    kling_simulator: SimulatorServer, kling_connection: str
) -> None:
    operator = KlingSubmitOperator(
        task_id="task",
        endpoint="kolors-virtual-try-on",
        request={"human_image": "https://p.example/a.jpg", "cloth_image": "https://p.example/b.jpg"},
        max_units=5,
    )
    with pytest.raises(KlingBadRequestError, match=r"it costs 0\.07 USD, no units\. Leave max_units out\.$"):
        operator.execute(context_of(operator))
    assert kling_simulator.requests == []


@pytest.mark.parametrize("nothing", ["", None])
def test_a_budget_that_rendered_to_nothing_is_no_leave_to_spend(
    nothing: str | None, kling_simulator: SimulatorServer, kling_connection: str
) -> None:
    operator = text(max_units="{{ params.most }}")
    operator.max_units = nothing
    with pytest.raises(KlingBadRequestError, match="max_units='': use a number above 0"):
        operator.execute(context_of(operator))
    assert kling_simulator.requests == []


SIGNED = "https://storage.example/a.png?X-Goog-Signature=" + "a1b2" * 128


@pytest.mark.parametrize("as_text", [json.dumps, str])
def test_a_long_signature_inside_a_rendered_list_is_not_cut(
    as_text: Any, kling_simulator: SimulatorServer, kling_connection: str
) -> None:
    pictures = as_text([{"image": SIGNED}])
    operator = KlingMultiImageToVideoOperator(task_id="task", prompt="x", image_list="{{ pictures }}")
    operator.image_list = pictures
    assert operator.image_list == pictures
    if as_text is json.dumps:
        operator.execute(context_of(operator))
        assert sent(kling_simulator)[0]["image_list"] == [{"image": SIGNED}]


def test_picture_data_inside_a_rendered_list_is_cut_and_refused(
    kling_simulator: SimulatorServer, kling_connection: str
) -> None:
    data = "iVBORw0KGgo" + "A" * 5000
    operator = KlingMultiImageToVideoOperator(task_id="task", prompt="x", image_list="{{ pictures }}")
    operator.image_list = json.dumps([{"image": data}])
    assert "A" * 100 not in operator.image_list
    with pytest.raises(KlingBadRequestError, match="holds picture data"):
        operator.execute(context_of(operator))
    assert kling_simulator.requests == []


def test_the_wait_for_several_pictures_knows_how_many_slots_they_hold(
    kling_simulator: SimulatorServer, kling_connection: str
) -> None:
    operator = KlingSubmitOperator(
        task_id="pictures",
        endpoint="images/generations",
        request={"prompt": "a boat", "n": 3},
        wait_for_completion=True,
    )
    kling_simulator.next_task("stuck")
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(context_of(operator))
    assert deferred.value.trigger.arguments["slots"] == 3


def test_an_own_id_in_the_new_dialect_does_not_adopt_what_may_be_another_endpoints(
    kling_simulator: SimulatorServer, kling_connection: str
) -> None:
    def own(endpoint: str, request: Any, **arguments: Any) -> Any:
        operator = KlingSubmitOperator(
            task_id="own", endpoint=endpoint, request=request, external_task_id="mine-1", **arguments
        )
        return operator.execute(context_of(operator))

    made = own("text-to-video/kling-3.0", {"prompt": "x"})
    frame = {"contents": [{"type": "first_frame", "url": "https://p.example/a.png"}]}
    with pytest.raises(KlingBadRequestError, match="does not tell whether that is one of") as caught:
        own("image-to-video/kling-2.6", frame, on_existing="adopt")
    assert f"kling_task_id={made!r}" in str(caught.value)
    assert len(kling_simulator.tasks) == 1


def test_a_budget_can_come_from_a_template(kling_simulator: SimulatorServer, kling_connection: str) -> None:
    assert "max_units" in KlingSubmitOperator.template_fields
    operator = text(max_units="{{ params.most }}")
    operator.max_units = "1.4"
    with pytest.raises(KlingBadRequestError, match=r"more than max_units=1\.4"):
        operator.execute(context_of(operator))
    operator.max_units = "much"
    with pytest.raises(KlingBadRequestError, match="max_units='much': use a number above 0"):
        operator.execute(context_of(operator))
    assert kling_simulator.requests == []


MOVED = {
    "image_url": "https://p.example/a.jpg",
    "video_url": "https://p.example/a.mp4",
    "character_orientation": "video",
    "mode": "std",
}


def test_the_length_of_an_input_decides_what_is_estimated(
    kling_simulator: SimulatorServer, kling_connection: str
) -> None:
    def moved(**arguments: Any) -> KlingSubmitOperator:
        return KlingSubmitOperator(task_id="task", endpoint="motion-control", request=MOVED, **arguments)

    longest = moved(max_units=26)  # 30 s at 0.9
    with pytest.raises(KlingBadRequestError, match=r"about 27\.0 units, more than max_units=26"):
        longest.execute(context_of(longest))
    assert kling_simulator.requests == []
    short = moved(max_units=26, input_seconds="{{ 4 }}")
    short.input_seconds = "4"
    short.execute(context_of(short))
    assert len(kling_simulator.tasks) == 1
    with pytest.raises(KlingBadRequestError, match="input_seconds='long'"):
        moved(input_seconds="long")


@pytest.mark.parametrize("units", [0, -1, "much", float("nan")])
def test_a_budget_is_a_number_above_zero(units: Any) -> None:
    with pytest.raises(KlingBadRequestError, match="max_units"):
        text(max_units=units)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"on_clear": "again"}, "on_clear='again'"),
        ({"on_existing": "take"}, "on_existing='take'"),
        ({"on_unknown_submission": "hope"}, "on_unknown_submission='hope'"),
        ({"poke_interval": 0.5}, "poke_interval=0.5"),
        ({"timeout": "long"}, "timeout='long'"),
        ({"timeout": float("inf")}, "timeout=inf"),
        ({"timeout": timedelta.max}, "timeout="),
    ],
)
def test_a_wrong_option_is_told_when_the_dag_is_read(arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(KlingBadRequestError, match=named):
        text(**arguments)


def test_picture_data_is_refused_where_the_dag_is_parsed(picture: Path) -> None:
    data = base64.b64encode(picture.read_bytes()).decode()
    request = {
        "image": data,
        "dynamic_masks": [{"mask": "data:image/png;base64," + data, "trajectories": []}],
    }
    before = json.dumps(request)
    for operator_class, arguments in (
        (KlingSubmitOperator, {"request": request}),
        (KlingImageToVideoOperator, {"image": data}),
        (KlingImageToVideoOperator, {"image": picture.read_bytes()}),
    ):
        with pytest.raises(KlingBadRequestError, match=r"image=.*holds picture data") as caught:
            operator_class(task_id="task", **arguments)
        assert data[40:200] not in str(caught.value)
    assert json.dumps(request) == before


@pytest.mark.parametrize("validate", ["warn", "off"])
def test_picture_data_never_becomes_an_attribute_and_is_refused_however_little_is_checked(
    validate: Any, kling_simulator: SimulatorServer, kling_connection: str, picture: Path
) -> None:
    data = base64.b64encode(picture.read_bytes()).decode()
    for operator in (
        KlingSubmitOperator(task_id="task", request={"image": data}, validate=validate),
        KlingImageToVideoOperator(task_id="task", image=data, validate=validate),
        KlingImageToVideoOperator(task_id="task", image=picture.read_bytes(), validate=validate),  # type: ignore[arg-type]
    ):
        fields = {name: getattr(operator, name) for name in operator.template_fields}
        assert data[40:200] not in repr(fields)
        with pytest.raises(KlingBadRequestError, match=r"image=.*holds picture"):
            operator.execute(context_of(operator))
    assert kling_simulator.requests == []


@pytest.mark.parametrize(
    "prompt",
    [
        "a lighthouse on a rocky coast at dusk " * 6,
        "Data: a glowing river of numbers flows through the valley " * 2,
    ],
)
def test_a_prompt_is_never_taken_for_a_picture(
    prompt: str, kling_simulator: SimulatorServer, kling_connection: str, picture: Path
) -> None:
    image = str(picture)
    for operator in (
        KlingImageToVideoOperator(task_id="task", image=image, prompt=prompt),
        KlingSubmitOperator(task_id="task", request={"image": image, "prompt": prompt}),
    ):
        operator.execute(context_of(operator, run_id=type(operator).__name__))
        assert sent(kling_simulator)[-1]["prompt"] == prompt
    contents = [{"type": "prompt", "text": prompt}, {"type": "first_frame", "url": image}]
    new = KlingSubmitOperator(
        task_id="task", endpoint="image-to-video/kling-3.0", request={"contents": contents}
    )
    assert new.request == {"contents": contents}


def test_picture_data_in_rendered_json_is_cut_too(picture: Path) -> None:
    data = base64.b64encode(picture.read_bytes()).decode()
    masks = json.dumps([{"mask": data, "trajectories": [{"x": 1, "y": 2}, {"x": 3, "y": 4}]}])
    operator = KlingImageToVideoOperator(task_id="task", image="a.png", dynamic_masks="{{ masks }}")
    operator.dynamic_masks = masks  # as rendering does
    assert data[40:200] not in str(operator.dynamic_masks)
    assert json.loads(operator.dynamic_masks)[0]["trajectories"][1] == {"x": 3, "y": 4}


# --- what is known where the DAG is parsed ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"cfg_scale": 2}, r"^task: text2video: cfg_scale=2.*1"),
        ({"aspect_ratio": "5:4"}, "aspect_ratio='5:4'"),
        ({"promt": "a boat"}, "promt"),
        ({"camera_control": {"type": "simple", "config": {}}}, "camera_control"),
        ({"model_name": "kling-v2-5-turbo", "duration": "7"}, "duration='7'.*kling-v2-5-turbo"),
        # What is literal is judged although something else is not.
        ({"prompt": "{{ params.prompt }}", "mode": "ultra"}, "mode='ultra'"),
        ({"negative_prompt": "{{ params.no }}", "multi_prompt": [{"index": 1}]}, "multi_prompt"),
    ],
)
def test_a_literal_mistake_is_told_where_the_dag_is_parsed(arguments: dict[str, Any], told: str) -> None:
    typed = {"prompt": "a boat"} | arguments
    if "promt" in arguments:
        with pytest.raises(TypeError, match=told):
            KlingTextToVideoOperator(task_id="task", **typed)
    else:
        with pytest.raises(KlingBadRequestError, match=told):
            KlingTextToVideoOperator(task_id="task", **typed)
    with pytest.raises(KlingBadRequestError, match=told):
        KlingSubmitOperator(task_id="task", endpoint="text2video", request=typed)


@pytest.mark.parametrize(
    "arguments",
    [
        {"cfg_scale": "{{ params.scale }}"},
        {"camera_control": {"type": "simple", "config": {"zoom": "{{ params.zoom }}", "pan": 1}}},
        {"camera_control": "{{ params.camera | tojson }}"},
        {"duration": "{{ params.seconds }}", "model_name": "kling-v2-6"},
        {"model_name": "{{ params.model }}", "duration": "7"},
        {"duration": "7"},  # which model is sent, and what that offers, depends on the connection
    ],
)
def test_what_a_template_or_the_connection_decides_is_not_judged_before(arguments: dict[str, Any]) -> None:
    KlingTextToVideoOperator(task_id="task", prompt="a boat", **arguments)
    KlingSubmitOperator(task_id="task", endpoint="text2video", request={"prompt": "a boat", **arguments})
    KlingSubmitOperator(task_id="task", endpoint="{{ params.endpoint }}", request={"cfg_scale": 7})


def test_what_an_upstream_task_gives_is_not_judged_before() -> None:
    with DAG("upstream", schedule=None):
        first = KlingTextToVideoOperator(task_id="first", prompt="a boat")
        told: Any = first.output
        KlingTextToVideoOperator(task_id="later", prompt=told, multi_prompt=[told])
        KlingTextToVideoOperator(task_id="shots", prompt="a boat", multi_prompt=[{"index": told}])
        KlingSubmitOperator(task_id="raw", endpoint="text2video", request=told)
        with pytest.raises(KlingBadRequestError, match="mode='ultra'"):
            KlingTextToVideoOperator(task_id="wrong", prompt=told, mode="ultra")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [({"mode": "ultra"}, "mode='ultra'"), ({"prompt": "{{ params.prompt }}", "cfg_scale": 3}, "cfg_scale=3")],
)
def test_a_literal_mistake_in_what_is_mapped_is_told_where_the_dag_is_parsed(
    arguments: dict[str, Any], told: str
) -> None:
    with pytest.raises(KlingBadRequestError, match=rf"^task: text2video: {told}"):
        KlingTextToVideoOperator.partial(task_id="task", **arguments)


def test_what_is_mapped_is_judged_without_what_expand_will_give() -> None:
    with DAG("mapped", schedule=None):
        KlingTextToVideoOperator.partial(task_id="clips", mode="pro").expand(prompt=["a boat", "a car"])
        KlingTextToVideoOperator.partial(task_id="new", mode="ultra", validate="warn").expand(
            prompt=["a boat"]
        )


def test_what_the_dag_says_of_strictness_and_of_templates_counts_for_what_is_mapped() -> None:
    for arguments in (
        {"default_args": {"validate": "warn"}},
        {"jinja_environment_kwargs": {"variable_start_string": "[["}},
    ):
        with DAG("lenient", schedule=None, **arguments):
            KlingTextToVideoOperator.partial(task_id="mapped", mode="[[ params.mode ]]").expand(
                prompt=["a", "b"]
            )
            KlingTextToVideoOperator(task_id="plain", prompt="x", mode="[[ params.mode ]]")
    with DAG("own", schedule=None):
        KlingTextToVideoOperator.partial(
            task_id="mapped", mode="ultra", default_args={"validate": "off"}
        ).expand(prompt=["a", "b"])
    with (
        DAG("wrong", schedule=None, default_args={"mode": "ultra"}),
        pytest.raises(KlingBadRequestError, match="mode='ultra'"),
    ):
        KlingTextToVideoOperator.partial(task_id="mapped")


def test_what_a_template_rendered_wrongly_is_told_before_anything_is_sent(
    kling_simulator: SimulatorServer, kling_connection: str
) -> None:
    operator = text(cfg_scale="{{ params.scale }}", mode="{{ params.mode }}")
    operator.cfg_scale, operator.mode = "2", "ultra"  # as rendering does
    with pytest.raises(KlingBadRequestError, match=r"^Nothing was sent\..*mode='ultra'.*cfg_scale='2'"):
        operator.execute(context_of(operator))
    assert kling_simulator.requests == []


def test_a_request_outside_of_the_tables_is_sent_if_the_caller_knows_better(
    kling_simulator: SimulatorServer, kling_connection: str
) -> None:
    new = {"model_name": "kling-v2-6", "duration": "7"}
    with pytest.raises(KlingBadRequestError, match=r"duration='7'.*validate='warn'"):
        text(**new)
    for number, validate in enumerate(("warn", "off")):
        operator = text(**new, validate=validate)
        with contextlib.suppress(KlingError):  # whether this Kling takes it is not our business
            operator.execute(context_of(operator, map_index=number))
        assert {name: sent(kling_simulator)[-1][name] for name in new} == new
        assert len(sent(kling_simulator)) == number + 1


def test_a_new_field_can_be_sent_before_this_package_knows_it(
    kling_simulator: SimulatorServer, kling_connection: str, caplog: pytest.LogCaptureFixture
) -> None:
    request = {"prompt": "a boat", "film_grain": 3}
    operator = KlingSubmitOperator(task_id="task", endpoint="text2video", request=request, validate="warn")
    with contextlib.suppress(KlingError):
        operator.execute(context_of(operator))
    assert sent(kling_simulator)[0]["film_grain"] == 3
    assert "film_grain" in caplog.text


@pytest.mark.parametrize("argument", ["endpoint", "request"])
def test_a_typed_operator_takes_no_raw_request(argument: str) -> None:
    with pytest.raises(KlingBadRequestError, match=rf"{argument}= is not for KlingTextToVideoOperator"):
        text(**{argument: "text2video"})


# --- what reaches Kling; of the typed operators, see test_families -------------------------------------


def test_every_argument_of_its_own_is_documented() -> None:
    names = list(inspect.signature(KlingSubmitOperator.__init__).parameters)
    own = [name for name in names if name not in ("self", "kwargs")]
    assert [name for name in own if f":param {name}:" not in (KlingSubmitOperator.__doc__ or "")] == []


def test_a_file_reaches_kling_as_plain_base64_and_a_url_as_it_is(
    kling_simulator: SimulatorServer, kling_connection: str, picture: Path
) -> None:
    operator = KlingImageToVideoOperator(
        task_id="task", image=str(picture), image_tail="https://pictures.example/End.png?x=1", mode="pro"
    )
    operator.execute(context_of(operator))
    body = sent(kling_simulator)[0]
    # The simulator decodes what it gets: a data: prefix or a broken encoding would have been refused.
    digest = hashlib.sha256(picture.read_bytes()).hexdigest()
    assert body["image"] == f"<base64 of {picture.stat().st_size} bytes, sha256 {digest}>"
    assert body["image_tail"] == "https://pictures.example/End.png?x=1"


def test_empty_strings_are_not_sent(kling_simulator: SimulatorServer, kling_connection: str) -> None:
    operator = text(negative_prompt="", callback_url="", external_task_id="", model_name="", aspect_ratio="")
    operator.execute(context_of(operator))
    assert set(sent(kling_simulator)[0]) == {"prompt", "model_name", "mode", "duration", "external_task_id"}


def test_templates_reach_every_field() -> None:
    assert set(KlingSubmitOperator.template_fields) == {
        "endpoint",
        "request",
        "external_task_id",
        "idempotency_key",
        "kling_conn_id",
        "max_units",
        "input_seconds",
    }


def test_another_connection_is_used(
    kling_simulator: SimulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", kling_simulator.connection_json("dmxapi"))
    operator = text(kling_conn_id="other")
    operator.execute(context_of(operator))
    assert kling_simulator.requests[0].path.startswith("/kling/")


def test_any_endpoint_can_be_used_by_its_name(
    kling_simulator: SimulatorServer, kling_connection: str
) -> None:
    operator = KlingSubmitOperator(task_id="task", endpoint="text2video", request={"prompt": "a boat"})
    operator.execute(context_of(operator))
    assert kling_simulator.requests[0].path == "/v1/videos/text2video"
    with pytest.raises(KlingBadRequestError, match="Did you mean 'text2video'"):
        KlingSubmitOperator(task_id="task", endpoint="text2vido", request={"prompt": "a boat"})
    wrong = KlingSubmitOperator(task_id="task", endpoint="{{ name }}", request={"prompt": "a boat"})
    wrong.endpoint = "text2vido"
    with pytest.raises(KlingBadRequestError, match="Did you mean 'text2video'"):
        wrong.execute(context_of(wrong))


@pytest.mark.parametrize(
    ("endpoint", "request_body", "told"),
    [
        ("images/generations", {"prompt": "x"}, "has no counterpart in the new dialect"),
        ("text2video", {"prompt": "x", "model_name": "kling-v1-6"}, "is not offered in the new dialect"),
        (
            "text2video",
            {"prompt": "x", "model_name": "kling-v3", "negative_prompt": "rain"},
            "negative_prompt cannot be said in the new dialect",
        ),
    ],
)
def test_what_cannot_be_said_in_the_new_dialect_is_told_where_the_dag_is_parsed(
    endpoint: str, request_body: dict[str, str], told: str
) -> None:
    with pytest.raises(KlingBadRequestError, match=told):
        KlingSubmitOperator(task_id="task", endpoint=endpoint, request=request_body, dialect="new")
    templated = {**request_body, "prompt": "{{ params.prompt }}"}
    if endpoint == "text2video":
        KlingSubmitOperator(task_id="task", endpoint=endpoint, request=templated, dialect="new")
