"""Operators, sensor and transfer against a Kling that was written from the facts alone, in both dialects."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kling_provider.exceptions import (
    KlingAuthError,
    KlingBadRequestError,
    KlingError,
    KlingSubmissionUnknownError,
    KlingTaskFailedError,
    KlingTaskTimeoutError,
)
from kling_provider.operators.kling import KlingImageToVideoOperator, KlingSubmitOperator
from kling_provider.sensors.kling import KlingTaskSensor
from kling_provider.transfers.kling_to_object_storage import KlingToObjectStorageOperator
from tests.contexts import context_of
from tests.independent_server import IndependentKling

GATEWAYS = ["official-key", "official-pair", "dmxapi"]


@pytest.fixture
def kling() -> Iterator[IndependentKling]:
    with IndependentKling(schedule=(0.05, 0.1)) as server:
        yield server


@pytest.fixture(params=GATEWAYS)
def gateway(request: pytest.FixtureRequest, kling: IndependentKling, monkeypatch: pytest.MonkeyPatch) -> str:
    """The connection kling_default of each kind, leading to the independent server."""
    fields: dict[str, Any] = {
        "official-key": {"password": "api-key-kling-independent"},
        "official-pair": {"login": "ak-independent", "password": "sk-independent"},
        "dmxapi": {"password": "sk-seed-independent", "extra": {"gateway": "dmxapi"}},
    }[request.param]
    monkeypatch.setenv(
        "AIRFLOW_CONN_KLING_DEFAULT", json.dumps({"conn_type": "kling", "host": kling.url, **fields})
    )
    return str(request.param)


def submit(**arguments: Any) -> str:
    operator = KlingImageToVideoOperator(
        **{"task_id": "submit", "model_name": "kling-v1-6", "image": "https://pictures.example/a.png"}
        | arguments
    )
    return str(operator.execute(context_of(operator)))


def wait(task_id: str, **arguments: Any) -> dict[str, Any]:
    operator = KlingTaskSensor(task_id="wait", kling_task_id=task_id, deferrable=False, **arguments)
    operator.poke_interval = 0.05
    result: dict[str, Any] = operator.execute(context_of(operator))
    return result


def test_a_video_goes_all_the_way(
    gateway: str, kling: IndependentKling, picture: Path, tmp_path: Path
) -> None:
    kling.videos_per_task = 2
    task_id = submit(image=str(picture), prompt="soft wind", negative_prompt="", cfg_scale=0.5, mode="std")
    result = wait(task_id)
    assert [video["id"] for video in result["videos"]]
    assert len(result["videos"]) == 2
    store = KlingToObjectStorageOperator(task_id="store", task=result, destination=str(tmp_path / "videos"))
    manifest = store.execute(context_of(store))
    assert [Path(entry["uri"].removeprefix("file://")).stat().st_size for entry in manifest] == [
        entry["bytes"] for entry in manifest
    ]
    assert len(kling.ledger) == 1


def test_what_is_sent_is_what_was_asked_byte_for_byte(
    gateway: str, kling: IndependentKling, picture: Path
) -> None:
    request = {
        "model_name": "kling-v1-5",
        "image": str(picture),
        "prompt": 'a boat  on <<water>>\nwith "quotes" 和 中文',
        "negative_prompt": "blur",
        "cfg_scale": "0.7",
        "mode": "pro",
        "duration": 5,
        "camera_control": {"type": "simple", "config": {"zoom": 3}},
        "callback_url": "https://hooks.example/kling?x=1&y=2",
    }
    before = json.dumps(request)
    operator = KlingSubmitOperator(task_id="submit", request=request, external_task_id="mine-1")
    operator.execute(context_of(operator))
    assert json.dumps(request) == before
    (recorded,) = kling.seen("POST")
    prefix = "/kling" if gateway == "dmxapi" else ""
    assert recorded.path == f"{prefix}/v1/videos/image2video"
    assert recorded.headers["authorization"].startswith("Bearer ")
    assert recorded.headers["user-agent"].startswith("airflow-provider-kling/")
    assert recorded.body == {
        **request,
        "image": base64.b64encode(picture.read_bytes()).decode(),
        "cfg_scale": 0.7,
        "duration": "5",
        "external_task_id": "mine-1",
    }


@pytest.mark.parametrize(
    "asked",
    [
        {"image_tail": "PICTURE", "mode": "pro"},
        {
            "model_name": "kling-v1",
            "static_mask": "PICTURE",
            "dynamic_masks": [{"mask": "PICTURE", "trajectories": [{"x": 1, "y": 2}, {"x": 30, "y": 40}]}],
        },
    ],
)
def test_pictures_of_every_field_arrive(
    asked: dict[str, Any], gateway: str, kling: IndependentKling, picture: Path
) -> None:
    encoded = base64.b64encode(picture.read_bytes()).decode()
    arguments = json.loads(json.dumps(asked).replace("PICTURE", str(picture)))
    submit(image=str(picture), **arguments)
    body = kling.seen("POST")[0].body
    for name, value in json.loads(json.dumps(asked).replace("PICTURE", encoded)).items():
        assert body[name] == value
    assert body["image"] == encoded


def test_a_wrong_token(gateway: str, kling: IndependentKling, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = json.loads(os.environ["AIRFLOW_CONN_KLING_DEFAULT"]) | {"password": "wrong-key"}
    monkeypatch.setenv("AIRFLOW_CONN_KLING_DEFAULT", json.dumps(connection))
    with pytest.raises(KlingAuthError, match=r"code 100\d, HTTP 401, request_id") as caught:
        submit()
    assert "wrong-key" not in str(caught.value)
    assert kling.ledger == []


def test_an_unknown_model(gateway: str, kling: IndependentKling) -> None:
    with pytest.raises(KlingBadRequestError, match=r"code 120\d.*request_id"):
        submit(model_name="kling-v99")


def test_a_failed_task(gateway: str, kling: IndependentKling) -> None:
    kling.next_task("fail", message="Failure to pass the risk control system")
    with pytest.raises(KlingTaskFailedError, match=r"risk control.*request_id"):
        wait(submit())


def test_a_stuck_task(gateway: str, kling: IndependentKling) -> None:
    kling.next_task("stuck")
    with pytest.raises(KlingTaskTimeoutError, match="may still finish"):
        wait(submit(), timeout=1)


@pytest.mark.parametrize("kind", ["html", "truncated", "empty", "list", "no_data", "cut", "error"])
def test_a_wait_survives_any_single_blip(kind: str, gateway: str, kling: IndependentKling) -> None:
    task_id = submit()
    more = {"code": 5000, "message": "internal", "status": 500} if kind == "error" else {}
    kling.fail_next("GET", "/", kind, count=1, **more)
    assert wait(task_id)["status"] == "succeed"


@pytest.mark.parametrize("kind", ["html", "truncated", "empty", "list", "no_data", "cut"])
def test_an_unclear_answer_to_a_submit_is_never_paid_twice(
    kind: str, gateway: str, kling: IndependentKling
) -> None:
    kling.fail_next("POST", "/", kind, count=1, booked=True)
    if gateway == "dmxapi":
        with pytest.raises(KlingSubmissionUnknownError, match="may have been booked"):
            submit()
    else:
        assert submit() == kling.ledger[0].task_id
    assert len(kling.ledger) == 1
    assert len(kling.seen("POST")) == 1


@pytest.mark.parametrize("gateway", ["official-key", "official-pair"], indirect=True)
@pytest.mark.parametrize(
    "answer",
    [
        {"kind": "cut"},
        {"kind": "error", "code": 5002, "status": 504},
        {"kind": "error", "status": 504, "envelope": False},
        {"kind": "error", "code": 1201, "message": "External_task_id {id} already exists"},
    ],
    ids=["cut", "5002", "a proxy's 504", "already exists"],
)
def test_a_task_that_was_booked_behind_a_bad_answer_is_taken_over(
    answer: dict[str, Any], gateway: str, kling: IndependentKling
) -> None:
    kling.fail_next("POST", "/", booked=True, **answer)
    assert submit() == kling.ledger[0].task_id
    assert len(kling.ledger) == len(kling.seen("POST")) == 1


@pytest.mark.parametrize("gateway", ["official-key", "official-pair"], indirect=True)
def test_work_that_is_done_again_meets_already_exists_and_takes_its_task_over(
    gateway: str, kling: IndependentKling
) -> None:
    """As Airflow's own deferral race does it: the same try runs twice, and remembers nothing."""
    assert submit() == submit()
    assert len(kling.ledger) == 1
    assert len(kling.seen("POST")) == 2


@pytest.mark.parametrize("gateway", ["official-key", "official-pair"], indirect=True)
def test_a_submit_that_got_lost_before_it_was_booked_is_sent_again(
    gateway: str, kling: IndependentKling
) -> None:
    kling.fail_next("POST", "/", "cut", count=1)
    assert submit() == kling.ledger[0].task_id
    assert len(kling.ledger) == 1


def test_an_expired_token_is_signed_anew_once(gateway: str, kling: IndependentKling) -> None:
    kling.expire_token_once()
    if gateway == "official-pair":
        assert submit() in kling.tasks
        assert len(kling.seen("POST")) == 2
    else:
        with pytest.raises(KlingAuthError, match="1004"):
            submit()


def test_a_redirect_in_answer_to_the_submit_is_not_followed(gateway: str, kling: IndependentKling) -> None:
    kling.fail_next("POST", "/", "redirect", count=1, location=f"{kling.url}/v1/videos/text2video")
    with pytest.raises(KlingBadRequestError, match="never follow a redirect"):
        submit()
    assert len(kling.requests) == 1
    assert kling.ledger == []


@pytest.mark.parametrize("task_id", ["../../account/costs", "a/b", "..", "x?y=1"])
def test_an_id_that_leaves_its_path_is_never_asked_for(
    task_id: str, gateway: str, kling: IndependentKling
) -> None:
    with pytest.raises(KlingError, match="is not a task id"):
        wait(task_id)
    assert kling.requests == []
