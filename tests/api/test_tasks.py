"""Every task Kling tells of becomes one KlingTask, or a failure that says what was told instead."""

from __future__ import annotations

import dataclasses
import json
import logging
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kling_provider.api.decoding import decode_task
from kling_provider.api.errors import ApiFailure, Reaction
from kling_provider.api.tasks import KlingTask, KlingVideo
from tests.api.properties import promise

SAMPLES: dict[str, Any] = json.loads((Path(__file__).parent.parent / "data" / "kling-api.json").read_text())[
    "samples"
]
BOOKED_AT = datetime(2026, 9, 21, 14, 13, 20, 123000, tzinfo=UTC)


def decode(**data: Any) -> KlingTask:
    return decode_task({"task_id": "1", **data}, "image2video", "r")


def unreadable(data: Any) -> str:
    with pytest.raises(ApiFailure) as caught:
        decode_task(data, "image2video", "r-9")
    failure = caught.value.failure
    assert (failure.reaction, failure.code, failure.request_id) == (Reaction.UNREADABLE, 0, "r-9")
    return failure.message


def test_the_answer_to_a_create_is_a_submitted_task():
    sample = SAMPLES["classic_create_response"]
    assert decode_task(sample["data"], "text2video", sample["request_id"]) == KlingTask(
        task_id="867283741759111202",
        endpoint="text2video",
        status="submitted",
        external_task_id="dag1-run1-task1",
        created_at=BOOKED_AT,
        updated_at=BOOKED_AT,
        request_id=sample["request_id"],
    )


@pytest.mark.parametrize("place", ["classic_query_succeed", "classic_list"])
def test_a_finished_task_has_its_video_its_price_and_its_times(place: str):
    data = SAMPLES[place]["data"]
    task = decode_task(data[0] if isinstance(data, list) else data, "text2video", "r")
    assert task == KlingTask(
        task_id="867283741759111202",
        endpoint="text2video",
        status="succeed",
        external_task_id="dag1-run1-task1",
        videos=(KlingVideo("867283743071928320", "https://cdn.example/v/abc.mp4?pkey=sample", 5.1, None),),
        data={"watermark_info": {"enabled": False}},
        units=Decimal("3.5"),
        created_at=BOOKED_AT,
        updated_at=BOOKED_AT + timedelta(milliseconds=181333),
        request_id="r",
    )
    assert task.is_terminal
    assert task.is_successful


def test_a_failed_task_has_klings_reason_and_cost_nothing():
    task = decode_task(SAMPLES["classic_query_failed"]["data"], "text2video", "r")
    assert (task.status, task.status_message) == ("failed", "Failure to pass the risk control system")
    assert task.units == Decimal("0")
    assert task.is_terminal
    assert not task.is_successful


def test_images_are_a_result_too():
    task = decode(task_status="succeed", **SAMPLES["classic_images_result"])
    assert task.images == ({"index": 0, "url": "https://cdn.example/i/abc.png", "watermark_url": ""},)
    assert task.is_successful


@pytest.mark.parametrize("name", ["images", "audios", "elements", "voices"])
def test_every_kind_of_result_is_kept_as_told(name: str):
    items = [{"id": "1", "url": "u"}, {"id": "2", "url": "v"}]
    assert getattr(decode(task_status="succeed", task_result={name: items}), name) == tuple(items)


def test_all_videos_of_a_result_are_kept_in_order():
    videos = [{"id": str(number), "url": f"https://cdn.example/{number}"} for number in range(4)]
    task = decode(task_status="succeed", task_result={"videos": videos})
    assert [(video.id, video.url) for video in task.videos] == [(each["id"], each["url"]) for each in videos]


def test_a_watermarked_copy_is_kept():
    video = {"id": 7, "url": "u", "watermark_url": "w", "duration": 5}
    assert decode(task_result={"videos": [video]}).videos == (KlingVideo("7", "u", 5.0, "w"),)


@pytest.mark.parametrize(
    ("told", "status", "is_terminal", "is_successful"),
    [
        ("submitted", "submitted", False, False),
        ("processing", "processing", False, False),
        ("failed", "failed", True, False),
        ("succeed", "succeed", True, True),
        ("succeeded", "succeed", True, True),
        ("queueing", "queueing", False, False),
        ("completed", "completed", False, False),
        ("SUCCEED", "SUCCEED", False, False),
        (None, "submitted", False, False),
        ("", "submitted", False, False),
    ],
)
def test_a_status_word_is_told_in_classic_words_and_an_unknown_one_counts_as_running(
    told: str | None, status: str, is_terminal: bool, is_successful: bool
):
    task = decode(task_status=told, task_result={"videos": [{"url": "u"}]})
    assert (task.status, task.is_terminal, task.is_successful) == (status, is_terminal, is_successful)


def test_an_unknown_status_is_logged_once(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("kling_provider.api.decoding._told_words", set())
    with caplog.at_level(logging.WARNING, "kling_provider.api.decoding"):
        for _ in range(3):
            decode(task_status="dreaming")
        decode(task_status="processing")
    assert [record.getMessage() for record in caplog.records] == [
        "Kling told the unknown task status 'dreaming'; it counts as still running."
    ]


@pytest.mark.parametrize("result", [None, {}, {"videos": []}, {"videos": None}, {"images": []}, [], "x"])
def test_a_success_without_a_result_is_an_error_that_says_so(result: Any):
    text = unreadable({"task_id": "77", "task_status": "succeed", "task_result": result})
    assert text.startswith("task 77 is told to have succeeded, but there is no result in it: {")


@pytest.mark.parametrize("status", ["submitted", "processing", "failed", "dreaming"])
def test_without_success_no_result_is_due(status: str):
    assert decode(task_status=status).videos == ()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (None, "a null where a task object was due"),
        ([], "a list where a task object was due: []"),
        ([{"task_id": "1"}], "a list where a task object was due"),
        ("ok", "a str where a task object was due: ok"),
        (5, "a int where a task object was due"),
        ({}, "a task without task_id: {}"),
        ({"task_id": None}, "a task without task_id"),
        ({"task_id": ""}, "a task without task_id"),
        ({"task_id": True}, "a task without task_id"),
        ({"task_id": {"id": 1}}, "a task without task_id"),
        ({"id": "1", "task_status": "succeed"}, "a task without task_id"),
        (
            {"task_id": "1", "task_result": {"videos": {"url": "u"}}},
            "task_result.videos is not a list of objects",
        ),
        ({"task_id": "1", "task_result": {"videos": ["u"]}}, "task_result.videos is not a list of objects"),
        ({"task_id": "1", "task_result": {"images": [1]}}, "task_result.images is not a list of objects"),
        ({"task_id": "1", "task_result": {"videos": [{"id": "1"}]}}, "a video without url"),
        ({"task_id": "1", "task_result": {"videos": [{"url": ""}]}}, "a video without url"),
        ({"task_id": "1", "task_result": {"videos": [{"url": 5}]}}, "a video without url"),
    ],
)
def test_what_is_not_a_task_is_unreadable_and_described(data: Any, said: str):
    assert unreadable(data).startswith(said)


def test_a_task_id_that_came_as_a_number_is_text():
    assert decode_task({"task_id": 867283741759111202}, "x", None).task_id == "867283741759111202"


@pytest.mark.parametrize(
    ("told", "units"),
    [
        ("3.5", Decimal("3.5")),
        ("0", Decimal("0")),
        (0, Decimal("0")),
        (0.1, Decimal("0.1")),
        (None, None),
        ("", None),
        ("free", None),
        ("NaN", None),
        ("Infinity", None),
        ({}, None),
        (True, None),
    ],
)
def test_units_are_exact_or_none(told: Any, units: Decimal | None):
    found = decode(final_unit_deduction=told).units
    assert found == units
    assert found is None or isinstance(found, Decimal)


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        ("5.041", 5.041),
        (5, 5.0),
        ("", None),
        (None, None),
        ("long", None),
        ("nan", None),
        ("inf", None),
        ([], None),
    ],
)
def test_a_videos_duration_is_seconds_or_none(told: Any, seconds: float | None):
    assert decode(task_result={"videos": [{"url": "u", "duration": told}]}).videos[0].duration == seconds


@pytest.mark.parametrize(
    ("told", "moment"),
    [
        (1790000000123, BOOKED_AT),
        ("1790000000123", BOOKED_AT),
        (None, None),
        (0, None),
        ("", None),
        ("yesterday", None),
        (10**30, None),
        (10**400, None),
        ([], None),
    ],
)
def test_times_are_aware_utc_or_none(told: Any, moment: datetime | None):
    task = decode(created_at=told, updated_at=told)
    assert task.created_at == task.updated_at == moment
    assert moment is None or (task.created_at is not None and task.created_at.tzinfo is UTC)


@pytest.mark.parametrize(
    ("info", "echo"),
    [
        ({"external_task_id": "mine"}, "mine"),
        ({"external_task_id": 17}, "17"),
        ({"external_task_id": ""}, None),
        ({"external_task_id": None}, None),
        ({}, None),
        (None, None),
        ("mine", None),
        ({"parent_video": {"id": "1"}}, None),
    ],
)
def test_the_callers_id_is_told_as_kling_echoes_it(info: Any, echo: str | None):
    assert decode(task_info=info).external_task_id == echo


def test_what_fits_nowhere_is_kept_as_data():
    assert decode(session_id="s", face_data=[{"id": 1}]).data == {"session_id": "s", "face_data": [{"id": 1}]}


def test_a_task_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        decode().status = "failed"  # type: ignore[misc]


def test_the_dict_for_xcom_is_plain_and_has_these_names():
    data = decode_task(SAMPLES["classic_query_succeed"]["data"], "image2video", "r").to_dict()
    assert data == {
        "task_id": "867283741759111202",
        "endpoint": "image2video",
        "status": "succeed",
        "status_message": "",
        "external_task_id": "dag1-run1-task1",
        "videos": [
            {
                "id": "867283743071928320",
                "url": "https://cdn.example/v/abc.mp4?pkey=sample",
                "duration": 5.1,
                "watermark_url": None,
            }
        ],
        "images": [],
        "audios": [],
        "elements": [],
        "voices": [],
        "data": {"watermark_info": {"enabled": False}},
        "units": "3.5",
        "created_at": "2026-09-21T14:13:20.123000+00:00",
        "updated_at": "2026-09-21T14:16:21.456000+00:00",
        "request_id": "r",
    }


@pytest.mark.parametrize(
    "sample", ["classic_create_response", "classic_query_succeed", "classic_query_failed"]
)
def test_a_task_survives_the_way_through_json(sample: str):
    task = decode_task(SAMPLES[sample]["data"], "image2video", "r")
    assert KlingTask.from_dict(json.loads(json.dumps(task.to_dict()))) == task


def test_reading_a_dict_back_leaves_it_as_it_was():
    data = decode(task_status="succeed", task_result={"videos": [{"url": "u"}]}).to_dict()
    before = json.dumps(data)
    KlingTask.from_dict(data)
    assert json.dumps(data) == before


# -- anything at all

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["succeed", "failed", "processing", "NaN", "1790000000123", "5.1"])
)
junk = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
videos = st.dictionaries(
    st.sampled_from(["id", "url", "duration", "watermark_url"]), scalars | st.just("https://u"), max_size=4
)
tasks = st.fixed_dictionaries(
    {"task_id": st.just("1") | scalars},
    optional={
        "task_status": st.sampled_from(["succeed", "processing", "failed"]) | junk,
        "task_status_msg": junk,
        "task_info": st.dictionaries(st.just("external_task_id"), junk) | junk,
        "task_result": st.dictionaries(
            st.sampled_from(["videos", "images", "voices"]), st.lists(videos, max_size=3) | junk
        )
        | junk,
        "created_at": junk,
        "updated_at": junk,
        "final_unit_deduction": junk,
        "else": junk,
    },
)


@promise
@given(tasks | junk)
def test_anything_at_all_is_a_task_or_a_failure_and_a_task_is_json(data: Any):
    try:
        task = decode_task(json.loads(json.dumps(data)), "image2video", "r")
    except ApiFailure as error:
        found = error.failure
        assert found.reaction is Reaction.UNREADABLE
        return
    assert isinstance(task.external_task_id, str | None)
    assert all(isinstance(video.watermark_url, str | None) for video in task.videos)
    assert task.task_id
    assert task.units is None or task.units.is_finite()
    plain = {**task.to_dict(), "data": {}, "images": [], "voices": []}  # told by Kling, kept as told
    again = json.loads(json.dumps(plain, allow_nan=False))
    assert again == plain
    assert KlingTask.from_dict(again).to_dict() == plain
