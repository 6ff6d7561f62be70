"""Every shape in which Kling tells of a task or answers at once, read into one value."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from kling_provider.api.decoding import decode_answer
from kling_provider.api.endpoints import ENDPOINTS
from kling_provider.api.errors import ApiFailure, Reaction
from kling_provider.api.tasks import KlingTask

FACTS = json.loads((Path(__file__).parent.parent / "data" / "kling-api.json").read_text())
SAMPLES = FACTS["samples"]
NEW = ENDPOINTS["text-to-video/kling-3.0"]


def decoded(endpoint: str, data: Any) -> KlingTask:
    task = decode_answer(ENDPOINTS[endpoint], data, "r-1")
    assert KlingTask.from_dict(json.loads(json.dumps(task.to_dict()))) == task
    return task


def finished(endpoint: str, **result: Any) -> KlingTask:
    return decoded(endpoint, {"task_id": "1", "task_status": "succeed", "task_result": result})


def failure(endpoint: str, data: Any) -> Reaction:
    with pytest.raises(ApiFailure) as caught:
        decode_answer(ENDPOINTS[endpoint], data, "r-1")
    return caught.value.failure.reaction


# -- the new dialect


def test_the_new_dialects_finished_task_of_the_facts():
    task = decoded(NEW.name, SAMPLES["new_query_response"]["data"])
    assert (task.task_id, task.status, task.external_task_id) == (
        "900000000000000001",
        "succeed",
        "dag1-run1-task1",
    )
    assert (task.videos[0].id, task.videos[0].url, task.videos[0].duration) == (
        "900000000000000101",
        "https://cdn.example/v/n.mp4",
        5.041,
    )
    assert task.units == Decimal(3)
    assert task.created_at == datetime.fromtimestamp(1790000000, UTC)
    assert task.updated_at == datetime.fromtimestamp(1790000090, UTC)
    assert task.endpoint == NEW.name


def test_the_new_dialects_create_of_the_facts():
    task = decoded(NEW.name, SAMPLES["new_create_response"]["data"])
    assert (task.task_id, task.status, task.units, task.videos) == (
        "900000000000000001",
        "submitted",
        None,
        (),
    )


def test_the_new_dialects_failed_task_tells_why_and_costs_nothing():
    bill = [{"charge_type": "unit", "amount": "0"}]
    task = decoded(NEW.name, [{"id": "1", "status": "failed", "message": "risk control", "billing": bill}])
    assert (task.status, task.status_message, task.units) == ("failed", "risk control", Decimal(0))


def test_units_of_several_bills_add_up_and_money_is_no_unit():
    bills = [
        {"charge_type": "unit", "amount": "1.5"},
        {"charge_type": "unit", "amount": "0.5"},
        {"charge_type": "cash", "amount": "9.99", "currency": "USD"},
    ]
    outputs = [{"type": "video", "id": "v", "url": "https://cdn.example/v.mp4"}]
    task = decoded(NEW.name, [{"id": "1", "status": "succeeded", "outputs": outputs, "billing": bills}])
    assert task.units == Decimal(2)
    assert task.data["billing"] == bills


def test_every_kind_of_output_goes_to_its_place():
    kinds = ("video", "image", "audio", "voice", "element")
    outputs = [{"type": kind, "id": kind, "url": f"https://cdn.example/{kind}"} for kind in kinds]
    task = decoded("tasks", [{"id": "1", "status": "succeeded", "outputs": outputs}])
    assert [len(getattr(task, f"{kind}s")) for kind in kinds] == [1] * 5


def test_an_empty_list_means_that_kling_knows_no_such_task():
    assert failure(NEW.name, []) is Reaction.NOT_FOUND


@pytest.mark.parametrize("data", [[{"id": "1"}, {"id": "2"}], ["x"], [{}], {"status": "x"}, None, 7, "x"])
def test_what_is_no_task_of_the_new_dialect_is_unreadable(data: Any):
    assert failure(NEW.name, data) is Reaction.UNREADABLE


def test_a_success_without_outputs_is_said_to_be_one():
    assert failure(NEW.name, [{"id": "1", "status": "succeeded", "outputs": []}]) is Reaction.UNREADABLE


# -- what is answered at once


@pytest.mark.parametrize(
    "endpoint", [name for name, row in ENDPOINTS.items() if row.work == "call" and row.kind == "video"]
)
def test_the_answers_of_the_facts_are_successes_with_their_data(endpoint: str):
    row = next(row for row in FACTS["endpoints"] if row["name"] == endpoint)
    task = decoded(endpoint, row["response_data"])
    assert (task.status, task.task_id, task.is_terminal) == ("succeed", "", True)
    assert task.data["session_id"] == "string"
    assert "final_unit_deduction" not in task.data


def test_the_face_to_go_on_with_is_at_hand():
    faces = [{"face_id": "f-1", "start_time": 0, "end_time": 5200}, {"face_id": "f-2"}]
    task = decoded("identify-face", {"session_id": "s-1", "face_data": faces, "final_unit_deduction": "0.05"})
    assert task.first_results() == {
        "session_id": "s-1",
        "face_id": "f-1",
        "face_start_time": 0,
        "face_end_time": 5200,
    }
    assert task.data["face_data"] == faces
    assert task.units == Decimal("0.05")


def test_a_selection_that_kling_does_not_take_has_failed():
    task = decoded("multi-elements/init-selection", {"status": 3, "session_id": ""})
    assert (task.status, task.status_message) == ("failed", "status 3")


def test_speech_is_finished_with_its_answer():
    sound = {"id": "a-1", "url": "https://cdn.example/a.mp3", "duration": "3.2"}
    task = decoded(
        "tts", {"task_id": "7", "task_status": "succeed", "task_result": {"audios": [sound]}, "created_at": 1}
    )
    assert task.first_results() == {
        "audio_id": "a-1",
        "audio_url": "https://cdn.example/a.mp3",
        "audio_duration": 3.2,
    }
    assert [(file.media_id, file.duration) for file in task.files] == [("a-1", 3.2)]


def test_a_deletion_is_a_success_without_a_result():
    task = decoded("delete-elements", {"task_id": "7", "task_status": "succeed"})
    assert (task.status, task.task_id, task.files) == ("succeed", "7", ())


@pytest.mark.parametrize("data", [None, [], "x", 7])
def test_an_answer_that_is_no_object_is_unreadable(data: Any):
    assert failure("identify-face", data) is Reaction.UNREADABLE


# -- results of every kind


def test_pictures_of_a_series_are_pictures():
    images = [
        {"index": 0, "url": "https://cdn.example/0.png"},
        {"index": 1, "url": "https://cdn.example/1.png"},
    ]
    task = finished("images/omni-image", series_images=images)
    assert list(task.images) == images
    assert [file.media_id for file in task.files] == ["image-0", "image-1"]


def test_each_form_of_a_result_is_a_file():
    task = finished(
        "text-to-audio",
        audios=[
            {
                "id": "a",
                "url_mp3": "https://cdn.example/a.mp3",
                "url_wav": "https://cdn.example/a.wav",
                "duration_mp3": "3.0",
                "duration_wav": "3.1",
            }
        ],
    )
    assert [(file.media_id, file.url[-3:], file.duration) for file in task.files] == [
        ("a-mp3", "mp3", 3.0),
        ("a-wav", "wav", 3.1),
    ]
    shots = finished(
        "ai-multi-shot", images=[{"index": 0, **{f"url_{n}": f"https://c.example/{n}" for n in (1, 2, 3)}}]
    )
    assert [file.media_id for file in shots.files] == ["image-0-1", "image-0-2", "image-0-3"]
    urls = [f"https://c.example/{number}" for number in (1, 2, 3)]
    assert shots.first_results() == {"image_url": urls[0], "image_urls": urls}


def test_elements_and_voices_are_no_files_but_can_be_gone_on_with():
    element = finished("advanced-custom-elements", elements=[{"element_id": 12, "element_name": "cat"}])
    assert (element.files, element.first_results()) == ((), {"element_id": "12"})
    voice = finished("custom-voices", voices=[{"voice_id": "v-1", "trial_url": "https://c.example/v.mp3"}])
    assert (voice.files, voice.first_results()) == ((), {"voice_id": "v-1"})


def test_no_two_files_of_a_task_have_one_name():
    task = finished(
        "video-to-audio",
        videos=[{"id": "", "url": "https://c.example/v"}, {"url": "https://c.example/w"}],
        audios=[{"url": "https://c.example/a"}, {"url_mp3": "https://c.example/b"}],
        images=[{"url": "https://c.example/i"}],
    )
    names = [file.media_id for file in task.files]
    assert len(set(names)) == len(names) == 5


def test_the_parent_of_an_extended_video_is_kept():
    info = {"external_task_id": "mine", "parent_video": {"id": "v-0"}}
    task = decoded("video-extend", {"task_id": "1", "task_info": info})
    assert (task.external_task_id, task.data["parent_video"]) == ("mine", {"id": "v-0"})


def test_a_mask_as_base64_does_not_travel_with_the_result():
    answer = {"status": 0, "session_id": "s", "res": {"png_mask": {"base64": "A" * 100_000, "size": [1, 2]}}}
    task = decode_answer(ENDPOINTS["multi-elements/add-selection"], answer, None)
    assert len(task.data["res"]["png_mask"]["base64"]) == 100_000
    assert len(json.dumps(task.to_dict())) < 1000
    assert task.to_dict()["data"]["res"]["png_mask"]["size"] == [1, 2]
