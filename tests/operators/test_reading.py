"""What KlingReadOperator asks, gives and refuses; nothing of it is paid."""

from __future__ import annotations

import contextlib
import inspect
import json
from typing import Any

import pytest

from kling_provider.exceptions import KlingAuthError, KlingBadRequestError
from kling_provider.operators.kling import KlingReadOperator, KlingSubmitOperator
from kling_provider.simulator.server import SimulatorServer
from tests.contexts import context_of


@pytest.fixture(autouse=True)
def _connected(kling_connection: str) -> None:
    """Every operator here talks to the simulator."""


def read(endpoint: str, request: Any = None, **arguments: Any) -> Any:
    operator = KlingReadOperator(task_id="read", endpoint=endpoint, request=request, **arguments)
    return operator.execute(context_of(operator))


def make(count: int, endpoint: str = "text2video") -> list[str]:
    """Submit some tasks; gives their ids."""
    ids = []
    for number in range(count):
        operator = KlingSubmitOperator(task_id="make", endpoint=endpoint, request={"prompt": "a boat"})
        ids.append(str(operator.execute(context_of(operator, map_index=number))))
    return ids


def test_every_argument_is_documented_and_what_may_be_a_template_is_one() -> None:
    own = [
        name
        for name in inspect.signature(KlingReadOperator.__init__).parameters
        if name not in ("self", "kwargs")
    ]
    assert [name for name in own if f":param {name}:" not in (KlingReadOperator.__doc__ or "")] == []
    assert set(KlingReadOperator.template_fields) == set(own) - {"validate"}
    assert KlingReadOperator.template_fields_renderers == {"request": "json"}


def test_the_list_of_an_endpoint_is_the_tasks_that_were_made_with_it(
    kling_simulator: SimulatorServer,
) -> None:
    made = make(3)
    told = read("text2video")
    assert {task["task_id"] for task in told} == set(made)
    assert {task["endpoint"] for task in told} == {"text2video"}
    assert json.loads(json.dumps(told)) == told
    assert kling_simulator.requests[-1].query == "pageNum=1&pageSize=30"
    assert read("image2video") == []


def test_what_a_next_step_needs_of_the_first_is_at_hand(kling_simulator: SimulatorServer) -> None:
    operator = KlingReadOperator(task_id="read", endpoint="presets-voices")
    context = context_of(operator)
    told = operator.execute(context)
    assert context["ti"].pushed["voice_id"] == told[0]["voices"][0]["voice_id"]


def test_a_page_may_be_a_rendered_template(kling_simulator: SimulatorServer) -> None:
    made = make(3)
    pages = [read("text2video", {"pageNum": str(number), "pageSize": " 2 "}) for number in (1, 2)]
    assert [len(page) for page in pages] == [2, 1]
    assert {task["task_id"] for page in pages for task in page} == set(made)


def test_unset_parameters_are_left_out(kling_simulator: SimulatorServer) -> None:
    read("text2video", {"pageNum": None, "pageSize": ""})
    assert kling_simulator.requests[-1].query == "pageNum=1&pageSize=30"


@pytest.mark.parametrize(
    ("endpoint", "request_", "told"),
    [
        ("text2video", {"pageSize": 501}, r"pageSize=501: use a whole number from 1 to 500"),
        ("presets-voices", {"pageSize": 1001}, r"pageSize=1001: use a whole number from 1 to 1000"),
        ("custom-voices", {"pageSize": 1001}, "from 1 to 1000"),
        ("advanced-presets-elements", {"pageNum": 0}, "pageNum=0: use a whole number from 1 to 1000"),
        ("text2video", {"pageNum": True}, "pageNum=True"),
        ("text2video", {"pageNum": "two"}, "pageNum='two'"),
        (
            "text2video",
            {"page": 2},
            r"page=2 is not a parameter of the list of text2video.*pageNum and pageSize",
        ),
        ("text2video", "all", r"request='all' is not a dict"),
        ("tts", {}, r"endpoint='tts' answers at once and keeps no list"),
        ("text2vido", {}, "Did you mean 'text2video'"),
        ("tasks", {"task_ids": {"a": 1}}, "is not a list of ids"),
    ],
)
def test_a_mistake_is_told_and_nothing_is_asked(
    endpoint: str, request_: Any, told: str, kling_simulator: SimulatorServer
) -> None:
    operator = KlingReadOperator(task_id="read", endpoint="{{ endpoint }}", request="{{ request }}")
    operator.endpoint, operator.request = endpoint, request_
    with pytest.raises(KlingBadRequestError, match=rf"^Nothing was sent\..*{told}"):
        operator.execute(context_of(operator))
    assert kling_simulator.requests == []
    if isinstance(request_, dict) and endpoint != "tasks":
        with pytest.raises(KlingBadRequestError, match=rf"^read: .*{told}"):
            KlingReadOperator(task_id="read", endpoint=endpoint, request=request_)


@pytest.mark.parametrize(
    ("endpoint", "request_", "told"),
    [
        ("tasks", {"limit": 501}, "limit=501"),
        ("tasks", {"filters": [{"key": "colour", "values": ["red"]}]}, "filters"),
        ("account/billing/package", {"start_time": "2026-01-01"}, "start_time='2026-01-01'.*milliseconds"),
        ("account/billing/balance", {"begin": 1}, "begin"),
    ],
)
def test_a_literal_mistake_is_told_where_the_dag_is_parsed(
    endpoint: str, request_: dict[str, Any], told: str, kling_simulator: SimulatorServer
) -> None:
    with pytest.raises(KlingBadRequestError, match=rf"^read: {endpoint}: .*{told}"):
        KlingReadOperator(task_id="read", endpoint=endpoint, request=request_)
    for validate in ("warn", "off"):
        KlingReadOperator(task_id="read", endpoint=endpoint, request=request_, validate=validate)
    operator = KlingReadOperator(task_id="read", endpoint=endpoint, request={"cursor": "{{ params.at }}"})
    operator.request = request_  # as rendering does
    with pytest.raises(KlingBadRequestError, match=rf"^Nothing was sent\. {endpoint}: .*{told}"):
        operator.execute(context_of(operator))
    assert kling_simulator.requests == []


def test_numbers_that_a_template_rendered_are_numbers_for_kling(kling_simulator: SimulatorServer) -> None:
    read("tasks", {"limit": "100", "filters": '[{"key": "status", "values": ["failed"]}]'})
    assert kling_simulator.requests[-1].body == {
        "limit": 100,
        "filters": [{"key": "status", "values": ["failed"]}],
    }


def test_a_parameter_this_package_does_not_know_can_be_sent(kling_simulator: SimulatorServer) -> None:
    with contextlib.suppress(KlingBadRequestError):  # whether this Kling takes it is not our business
        read("account/billing/package", {"order": "oldest"}, validate="off")
    assert kling_simulator.requests[-1].body["order"] == "oldest"


@pytest.mark.parametrize("form", ["list", "text"])
def test_tasks_of_the_new_dialect_are_told_by_their_ids(form: str, kling_simulator: SimulatorServer) -> None:
    made = make(2, "text-to-video/kling-3.0")
    told = read("tasks", {"task_ids": made if form == "list" else ",".join(made)})
    asked = kling_simulator.requests[-1]
    assert (asked.method, asked.path) == ("GET", "/tasks")
    assert {task["task_id"] for task in told} == set(made)


def test_the_list_of_the_new_dialect_has_pages_too(kling_simulator: SimulatorServer) -> None:
    made = make(3, "text-to-video/kling-3.0")
    pages = [read("text-to-video/kling-3.0", {"pageNum": number, "pageSize": 2}) for number in (1, 2, 3)]
    assert [len(page) for page in pages] == [2, 1, 0]
    assert {task["task_id"] for page in pages for task in page} == set(made)


def test_another_connection_is_used(
    kling_simulator: SimulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = json.loads(kling_simulator.connection_json()) | {"password": "another-key"}
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", json.dumps(other))
    with pytest.raises(KlingAuthError):
        read("text2video", kling_conn_id="other")


def test_a_wrong_way_to_check_is_told_when_the_dag_is_read() -> None:
    with pytest.raises(KlingBadRequestError, match="validate='maybe'"):
        KlingReadOperator(task_id="read", endpoint="tasks", validate="maybe")  # type: ignore[arg-type]
