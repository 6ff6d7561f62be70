"""What is answered at once: paid once, never lost, and no retry or clear asks (and pays) again unasked."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from kling_provider.exceptions import KlingBadRequestError, KlingSubmissionUnknownError, KlingTaskFailedError
from kling_provider.hooks.kling import KlingHook
from kling_provider.hooks.work import work_of
from kling_provider.operators.kling import (
    KlingDeleteVoiceOperator,
    KlingInitSelectionOperator,
    KlingTextToSpeechOperator,
)
from kling_provider.simulator.server import SimulatorServer
from tests.contexts import StateStore, context_of


@pytest.fixture(autouse=True)
def _connected(kling_connection: str) -> None:
    """Every operator here talks to the simulator."""


def speech(**arguments: Any) -> KlingTextToSpeechOperator:
    defaults = {"task_id": "say", "text": "hello", "voice_id": "v-1", "voice_language": "en", "retries": 3}
    return KlingTextToSpeechOperator(**{**defaults, **arguments})


def attempt(
    store: StateStore | None, *, try_number: int = 1, max_tries: int = 3, **arguments: Any
) -> dict[str, Any]:
    operator = speech(**arguments)
    context = context_of(operator, store, try_number=try_number, max_tries=max_tries)
    result: dict[str, Any] = operator.execute(context)
    result["pushed"] = context["ti"].pushed
    return result


def posts(simulator: SimulatorServer) -> int:
    return sum(request.method == "POST" for request in simulator.requests)


def test_the_result_is_there_at_once_and_pushed_for_the_next_step(kling_simulator: SimulatorServer) -> None:
    done = attempt(StateStore())
    assert done["status"] == "succeed"
    assert done["audios"][0]["url"].startswith("http")
    assert done["pushed"]["audio_id"] == done["audios"][0]["id"]
    assert done["pushed"]["audio_url"] == done["audios"][0]["url"]
    assert [request.body["text"] for request in kling_simulator.requests] == ["hello"]


def test_a_retry_after_the_answer_gives_the_same_answer_and_sends_nothing(
    kling_simulator: SimulatorServer,
) -> None:
    store = StateStore()
    first = attempt(store)
    assert attempt(store, try_number=2)["audios"] == first["audios"]
    assert posts(kling_simulator) == 1


def test_a_clear_gives_the_same_answer_unless_another_one_is_asked_for(
    kling_simulator: SimulatorServer,
) -> None:
    store = StateStore()
    first = attempt(store)
    cleared = {"try_number": 2, "max_tries": 4}
    assert attempt(store, **cleared)["audios"] == first["audios"]
    assert posts(kling_simulator) == 1
    assert attempt(store, **cleared, on_clear="resubmit")["audios"] != first["audios"]
    assert posts(kling_simulator) == 2


def test_a_clear_with_another_text_is_another_piece_of_work(kling_simulator: SimulatorServer) -> None:
    store = StateStore()
    attempt(store)
    attempt(store, try_number=2, max_tries=4, text="good bye")
    assert [request.body["text"] for request in kling_simulator.requests] == ["hello", "good bye"]


def test_a_retry_with_another_text_is_refused(kling_simulator: SimulatorServer) -> None:
    store = StateStore()
    attempt(store)
    with pytest.raises(KlingBadRequestError, match="text changed"):
        attempt(store, try_number=2, text="good bye")
    assert posts(kling_simulator) == 1


@pytest.mark.parametrize("store", [None, StateStore()], ids=["3.0", "3.3"])
def test_an_answer_that_got_lost_is_not_asked_for_again(
    store: StateStore | None, kling_simulator: SimulatorServer
) -> None:
    kling_simulator.fault("cut_after", method="POST")
    with pytest.raises(KlingSubmissionUnknownError):
        attempt(store)
    with pytest.raises(KlingSubmissionUnknownError):
        attempt(store, try_number=2)
    assert posts(kling_simulator) == 1


def test_who_accepts_the_risk_asks_again(kling_simulator: SimulatorServer) -> None:
    store = StateStore()
    kling_simulator.fault("cut_after", method="POST")
    with pytest.raises(Exception, match=r"got no answer|[Cc]onnection"):
        attempt(store, on_unknown_submission="retry")
    assert attempt(store, try_number=2, on_unknown_submission="retry")["status"] == "succeed"
    assert posts(kling_simulator) == 2


@pytest.mark.parametrize("store", [None, StateStore()], ids=["3.0", "3.3"])
def test_what_is_free_may_be_asked_again(store: StateStore | None, kling_simulator: SimulatorServer) -> None:
    def delete(try_number: int) -> Any:
        operator = KlingDeleteVoiceOperator(task_id="delete", voice_id="v-9", retries=3)
        return operator.execute(context_of(operator, store, try_number=try_number, max_tries=3))

    kling_simulator.fault("cut_before", method="POST")
    with pytest.raises(Exception, match=r"got no answer|[Cc]onnection"):
        delete(1)
    kling_simulator.fault("envelope", method="POST", code=1201, message="no such voice")
    with pytest.raises(KlingBadRequestError, match="no such voice"):
        delete(2)
    assert posts(kling_simulator) == 2


def test_an_answer_is_handed_on_however_old_unless_a_new_one_is_wanted(
    kling_simulator: SimulatorServer,
) -> None:
    """Its file may be stored; to pay again is for a person to decide."""
    store = StateStore()
    answer = attempt(store)
    for record in store.values.values():
        if isinstance(record, dict):
            record["posted_at"] -= 31 * 86400
    assert attempt(store, try_number=2, max_tries=4)["audios"] == answer["audios"]
    assert posts(kling_simulator) == 1
    attempt(store, try_number=3, max_tries=5, on_clear="resubmit")
    assert posts(kling_simulator) == 2


def test_an_answer_lives_no_longer_than_its_session(kling_simulator: SimulatorServer) -> None:
    store = StateStore()

    def start(try_number: int, max_tries: int) -> Any:
        operator = KlingInitSelectionOperator(task_id="init", video_url="https://media.example/v.mp4")
        return operator.execute(context_of(operator, store, try_number=try_number, max_tries=max_tries))

    start(1, 3)
    start(2, 4)
    assert posts(kling_simulator) == 1
    for record in store.values.values():
        if isinstance(record, dict):
            record["posted_at"] -= 25 * 3600
    start(2, 4)
    assert posts(kling_simulator) == 2


def test_a_refusal_is_no_answer_to_keep(kling_simulator: SimulatorServer) -> None:
    store = StateStore()
    answer = {"code": 0, "message": "SUCCEED", "request_id": "r", "data": {"status": 3, "session_id": ""}}
    kling_simulator.fault("html", method="POST", http_status=200, body=json.dumps(answer))
    operator = KlingInitSelectionOperator(task_id="init", video_url="https://media.example/v.mp4")
    with pytest.raises(KlingTaskFailedError):
        operator.execute(context_of(operator, store))
    cleared = context_of(operator, store, try_number=2, max_tries=1)
    assert operator.execute(cleared)["data"]["session_id"]
    assert posts(kling_simulator) == 2


def test_speech_that_is_told_to_be_under_way_may_be_paid(kling_simulator: SimulatorServer) -> None:
    data = {"task_id": "7", "task_status": "processing"}
    answer = {"code": 0, "message": "SUCCEED", "request_id": "r", "data": data}
    kling_simulator.fault("html", method="POST", http_status=200, body=json.dumps(answer))
    with pytest.raises(KlingSubmissionUnknownError, match="told to be processing"):
        attempt(StateStore())


def test_one_python_task_may_ask_for_several_things(kling_simulator: SimulatorServer) -> None:
    store = StateStore()
    context = context_of(speech(), store)
    prepared = KlingHook().prepare
    asked = [
        ("tts", {"text": text, "voice_id": "v-1", "voice_language": "en"}) for text in ("one", "two", "one")
    ] + [("identify-face", {"video_url": "https://media.example/v.mp4"})]
    work = replace(work_of(context), submits_once=False)
    told = [KlingHook().submit_prepared(prepared(*what), work)[0] for what in asked]
    assert [request.body.get("text") for request in kling_simulator.requests] == ["one", "two", None]
    assert told[0].audios == told[2].audios != told[1].audios


def test_a_selection_that_kling_does_not_take_fails_and_says_so(kling_simulator: SimulatorServer) -> None:
    answer = {"code": 0, "message": "SUCCEED", "request_id": "r", "data": {"status": 3, "session_id": ""}}
    kling_simulator.fault("html", method="POST", http_status=200, body=json.dumps(answer))
    operator = KlingInitSelectionOperator(task_id="init", video_url="https://media.example/v.mp4")
    with pytest.raises(KlingTaskFailedError, match="status 3"):
        operator.execute(context_of(operator))
