"""Endpoints that this version does not know, by their path: whatever they answer is paid once and handed on."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kling_provider.exceptions import KlingBadRequestError, KlingSubmissionUnknownError
from kling_provider.operators.kling import KlingSubmitOperator
from kling_provider.simulator.server import SimulatorServer
from tests.contexts import StateStore, context_of

SPEECH = {"text": "hello", "voice_id": "v-1", "voice_language": "en"}
FACE = {"video_url": "https://media.example/v.mp4"}


@pytest.fixture(autouse=True)
def _connected(kling_connection: str, kling_simulator: SimulatorServer) -> None:
    """Every operator here talks to a simulator that has moved on: it takes what our tables do not list."""
    kling_simulator.set(validate_requests="off")


def attempt(
    endpoint: str, request: Any, store: StateStore | None, *, try_number: int = 1, **arguments: Any
) -> Any:
    operator = KlingSubmitOperator(
        **{"task_id": "raw", "endpoint": endpoint, "request": request, "retries": 3} | arguments
    )
    return operator.execute(context_of(operator, store, try_number=try_number, max_tries=3))


def posts(simulator: SimulatorServer) -> int:
    return sum(request.method == "POST" for request in simulator.requests)


@pytest.mark.parametrize("store", [None, StateStore()], ids=["3.0", "3.3"])
def test_a_model_of_tomorrow_in_the_new_dialect_is_paid_once(
    store: StateStore | None, kling_simulator: SimulatorServer
) -> None:
    path = "/text-to-video/kling-3.0"
    task_id = attempt(path, {"prompt": "a boat"}, store)
    assert attempt(path, {"prompt": "a boat"}, store, try_number=2) == task_id
    assert [task.task_id for task in kling_simulator.tasks] == [task_id]
    done = attempt(
        path, {"prompt": "a boat"}, store, try_number=3, wait_for_completion=True, deferrable=False
    )
    assert done["videos"][0]["url"]
    assert posts(kling_simulator) == 1


@pytest.mark.parametrize("fault", ["cut_after", "truncated", "html"])
def test_an_unclear_answer_of_the_new_dialect_is_looked_up(
    fault: str, kling_simulator: SimulatorServer
) -> None:
    kling_simulator.fault(fault, method="POST")
    task_id = attempt("/text-to-video/kling-3.0", {"prompt": "a boat"}, None)
    assert [task.task_id for task in kling_simulator.tasks] == [task_id]


@pytest.mark.parametrize(
    ("path", "request_body", "told"),
    [
        ("/v1/audio/tts", SPEECH, "audios"),
        ("/v1/videos/identify-face", FACE, "data"),
        ("/v1/videos/image-recognize", {"image": "https://media.example/a.png"}, "images"),
    ],
)
def test_what_is_answered_at_once_is_asked_for_once(
    path: str, request_body: dict[str, str], told: str, kling_simulator: SimulatorServer
) -> None:
    store = StateStore()
    first = attempt(path, request_body, store)
    assert first["status"] == "succeed"
    assert first[told]
    assert attempt(path, request_body, store, try_number=2)[told] == first[told]
    assert posts(kling_simulator) == 1


TASK = {
    "task_id": "7",
    "task_status": "succeed",
    "task_result": {"videos": [{"id": "v", "url": "https://c.example/v.mp4"}]},
}


@pytest.mark.parametrize("data", [{"session": "s-1"}, TASK])
def test_whatever_an_unknown_path_answers_at_once_is_its_result(
    data: dict[str, Any], kling_simulator: SimulatorServer
) -> None:
    store = StateStore()
    answer = {"code": 0, "message": "SUCCEED", "request_id": "r", "data": data}
    kling_simulator.fault("html", method="POST", http_status=200, body=json.dumps(answer), times=0)
    first = attempt("/v1/videos/of-tomorrow", {"dream": 1}, store)
    assert first["status"] == "succeed"
    assert first["data"] == ({} if "task_id" in data else data)
    assert attempt("/v1/videos/of-tomorrow", {"dream": 1}, store, try_number=2) == first
    assert posts(kling_simulator) == 1


@pytest.mark.parametrize("store", [None, StateStore()], ids=["3.0", "3.3"])
def test_an_unclear_answer_of_an_unknown_path_is_never_sent_again(
    store: StateStore | None, kling_simulator: SimulatorServer
) -> None:
    kling_simulator.fault("html", method="POST", times=0)
    for try_number in (1, 2):
        with pytest.raises(KlingSubmissionUnknownError):
            attempt("/v1/videos/of-tomorrow", {"dream": 1}, store, try_number=try_number)
    assert posts(kling_simulator) == 1


def test_words_reach_an_unknown_path_whole_and_picture_data_does_not(
    kling_simulator: SimulatorServer,
) -> None:
    words = {"prompt": "a", "image_list": [{"caption": "word " * 60}], "image": "word " * 60}
    attempt("/v1/videos/text2video", words, None)
    sent = kling_simulator.requests[0].body
    assert {name: sent[name] for name in words} == words
    before = posts(kling_simulator)
    for image in ("iVBORw0KGgo" + "A" * 300, "data:image/png;base64,AAAA"):
        with pytest.raises(KlingBadRequestError, match="holds picture or sound data"):
            attempt("/v1/videos/of-tomorrow", {"image": image}, None)
    assert posts(kling_simulator) == before
