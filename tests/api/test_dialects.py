"""A classic request said in the new dialect: nothing dropped, nothing added that changes what is made or paid."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from kling_provider.api.dialects import (
    NEW_MODELS,
    NEW_PATHS,
    external_id_in,
    to_new,
    with_external_id,
)
from kling_provider.api.endpoints import ENDPOINTS
from kling_provider.api.errors import InvalidRequest
from kling_provider.api.requests import REQUESTS

PICTURE = "https://media.example/a.png"
VIDEO = "https://media.example/a.mp4"


def said(endpoint: str, **body: Any) -> tuple[str, dict[str, Any]]:
    before = copy.deepcopy(body)
    row, new = to_new(ENDPOINTS[endpoint], body)
    assert body == before
    REQUESTS[row.name].model_validate(new)
    return row.name, new


def refusal(endpoint: str, **body: Any) -> str:
    with pytest.raises(InvalidRequest) as caught:
        to_new(ENDPOINTS[endpoint], body)
    return str(caught.value)


def test_a_prompt_becomes_a_prompt_with_settings():
    assert said(
        "text2video",
        model_name="kling-v3",
        prompt="a boat",
        mode="pro",
        duration="7",
        aspect_ratio="9:16",
        sound="on",
        callback_url="https://hooks.example/k",
        watermark_info={"enabled": True},
    ) == (
        "text-to-video/kling-3.0",
        {
            "prompt": "a boat",
            "settings": {
                "resolution": "1080p",
                "duration": 7,
                "aspect_ratio": "9:16",
                "audio": "native",
                "multi_shot": False,
            },
            "options": {"callback_url": "https://hooks.example/k", "watermark_info": {"enabled": True}},
        },
    )


def test_frames_become_contents():
    assert said(
        "image2video",
        model_name="kling-v2-6",
        image=PICTURE,
        image_tail=VIDEO,
        prompt="drift",
        mode="pro",
        duration="5",
        sound="off",
    ) == (
        "image-to-video/kling-2.6",
        {
            "contents": [
                {"type": "prompt", "text": "drift"},
                {"type": "first_frame", "url": PICTURE},
                {"type": "last_frame", "url": VIDEO},
            ],
            "settings": {"resolution": "1080p", "duration": 5, "audio": "off"},
        },
    )


def test_references_in_the_prompt_become_names_of_contents():
    name, body = said(
        "omni-video",
        model_name="kling-v3-omni",
        prompt="<<<image_2>>> meets <<<element_1>>> as in <<<video_1>>>",
        image_list=[{"image_url": PICTURE, "type": "first_frame"}, {"image_url": PICTURE}],
        element_list=[{"element_id": 7}],
        video_list=[{"video_url": VIDEO, "refer_type": "feature"}],
        duration="5",
    )
    assert name == "omni-video/kling-3.0-omni"
    assert body["contents"] == [
        {"type": "prompt", "text": "@image_2 meets @element_1 as in @video_1"},
        {"type": "first_frame", "url": PICTURE, "id": "image_1"},
        {"type": "refer_image", "url": PICTURE, "id": "image_2"},
        {"type": "feature_video", "url": VIDEO, "id": "video_1"},
        {"type": "element", "element_id": 7, "id": "element_1"},
    ]
    assert body["settings"] == {
        "resolution": "1080p",
        "duration": 5,
        "multi_shot": False,
    }


def test_a_video_to_edit_keeps_its_sound_if_asked():
    _, body = said(
        "omni-video",
        model_name="kling-v3-omni",
        prompt="make it night",
        video_list=[{"video_url": VIDEO, "keep_original_sound": "yes"}],
    )
    assert body["contents"][-1] == {"type": "base_video", "url": VIDEO, "id": "video_1"}
    assert body["settings"]["audio"] == "original"


def test_the_sound_of_a_video_to_take_after_cannot_be_kept_there():
    text = refusal(
        "omni-video",
        model_name="kling-v3-omni",
        prompt="x",
        video_list=[{"video_url": VIDEO, "refer_type": "feature", "keep_original_sound": "yes"}],
    )
    assert "keep_original_sound='yes'" in text


def test_voices_are_named_too():
    _, body = said(
        "image2video",
        model_name="kling-v2-6",
        image=PICTURE,
        prompt="<<<voice_1>>> sings",
        mode="pro",
        sound="on",
        voice_list=[{"voice_id": "v-1"}],
    )
    assert body["contents"][-1] == {"type": "voice", "voice_id": "v-1", "id": "voice_1"}
    assert body["contents"][0]["text"] == "@voice_1 sings"


@pytest.mark.parametrize(("kept", "audio"), [("yes", "original"), ("no", "off")])
def test_motion_keeps_or_drops_the_sound_of_its_video(kept: str, audio: str):
    name, body = said(
        "motion-control",
        model_name="kling-v3",
        image_url=PICTURE,
        video_url=VIDEO,
        character_orientation="video",
        mode="std",
        keep_original_sound=kept,
        element_list=[{"element_id": 1}],
    )
    assert name == "motion-control/kling-3.0"
    assert body["settings"] == {"resolution": "720p", "character_orientation": "video", "audio": audio}
    assert [item["type"] for item in body["contents"]] == ["image", "video", "element"]


def test_shots_are_written_into_the_prompt():
    shots = [
        {"index": 1, "prompt": "a door", "duration": "2"},
        {"index": 2, "prompt": "a cat", "duration": "3"},
    ]
    _, body = said(
        "text2video",
        model_name="kling-v3",
        multi_shot=True,
        shot_type="customize",
        multi_prompt=shots,
        duration="5",
    )
    assert body["prompt"] == "shot 1, 2, a door; shot 2, 3, a cat"
    assert body["settings"]["multi_shot"] is True
    _, body = said("text2video", model_name="kling-3.0-turbo", multi_shot=True, multi_prompt=shots)
    assert "multi_shot" not in body["settings"]


def test_shots_are_told_in_their_order_and_none_can_end_another():
    shots = [
        {"index": 2, "prompt": "a cat", "duration": "3"},
        {"index": 1, "prompt": "a door", "duration": "2"},
    ]
    asked = {"model_name": "kling-v3", "multi_shot": True, "shot_type": "customize", "duration": "5"}
    assert (
        said("text2video", **asked, multi_prompt=shots)[1]["prompt"] == "shot 1, 2, a door; shot 2, 3, a cat"
    )
    shots[0]["prompt"] = "a cat; shot 3, 10, a storm"
    assert "holds ';', which ends a shot" in refusal("text2video", **asked, multi_prompt=shots)


@pytest.mark.parametrize(("field", "value"), [("mode", "8k"), ("duration", "5s"), ("duration", "long")])
def test_a_value_that_has_no_counterpart_is_refused_not_dropped(field: str, value: str):
    assert f"{field}='{value}'" in refusal("text2video", model_name="kling-v3", prompt="x", **{field: value})


def test_the_length_of_a_video_that_is_edited_is_not_said():
    video = {"video_url": VIDEO}
    body = {"model_name": "kling-video-o1", "prompt": "x", "duration": "7", "video_list": [video]}
    assert "duration" not in said("omni-video", **body)[1]["settings"]
    video["refer_type"] = "feature"
    assert to_new(ENDPOINTS["omni-video"], body)[1]["settings"]["duration"] == 7


def test_one_take_stays_one_take_where_the_new_dialect_would_cut():
    for model in ("kling-v3", "kling-3.0"):
        assert said("text2video", model_name=model, prompt="x")[1]["settings"]["multi_shot"] is False


def test_the_quality_that_is_billed_is_always_said():
    assert said("text2video", model_name="kling-v2-6", prompt="x")[1]["settings"]["resolution"] == "720p"
    name, body = said("omni-video", model_name="kling-video-o1", prompt="x", duration="5")
    assert (name, body["settings"]["resolution"]) == ("omni-video/kling-o1", "1080p")  # omni's default is pro
    assert (
        said("text2video", model_name="kling-v3", prompt="x", mode="4k")[1]["settings"]["resolution"] == "4k"
    )


@pytest.mark.parametrize(
    ("endpoint", "field", "value"),
    [
        ("text2video", "negative_prompt", "rain"),
        ("text2video", "cfg_scale", 0.5),
        ("text2video", "camera_control", {"type": "down_back"}),
        ("image2video", "static_mask", PICTURE),
        ("image2video", "dynamic_masks", [{"mask": PICTURE, "trajectories": []}]),
        ("text2video", "a_field_of_tomorrow", 1),
    ],
)
def test_what_cannot_be_said_is_refused_by_name(endpoint: str, field: str, value: Any):
    text = refusal(endpoint, model_name="kling-v2-6", prompt="x", **{field: value})
    assert field in text
    assert "leave dialect='new' out" in text


def test_a_cut_left_to_the_model_is_refused_where_no_setting_asks_for_it():
    assert "multi_shot" in refusal("text2video", model_name="kling-3.0-turbo", prompt="x", multi_shot=True)


def test_models_without_a_counterpart_are_refused_with_those_that_have_one():
    text = refusal("text2video", model_name="kling-v1-6", prompt="x")
    assert "model_name='kling-v1-6' is not offered in the new dialect" in text
    assert "kling-v3" in text
    assert "kling-3.0-turbo" in text


@pytest.mark.parametrize("endpoint", sorted(set(ENDPOINTS) - set(NEW_PATHS)))
def test_endpoints_without_a_counterpart_are_refused(endpoint: str):
    assert "has no counterpart in the new dialect" in refusal(endpoint)


def test_every_endpoint_of_the_new_dialect_can_be_reached_from_a_classic_request():
    models = {new: old for old, new in NEW_MODELS.items()}
    reached = set()
    for name, row in ENDPOINTS.items():
        path, _, model = name.rpartition("/")
        if row.dialect == "new" and row.work == "task":
            classic = next(old for old, new in NEW_PATHS.items() if new == path)
            body = {"model_name": models.get(model, model), "prompt": "x"}
            reached.add(to_new(ENDPOINTS[classic], body)[0].name)
    assert reached == {name for name, row in ENDPOINTS.items() if row.dialect == "new" and row.work == "task"}


@pytest.mark.parametrize("dialect", ["classic", "new"])
def test_the_callers_id_has_its_place_in_each_dialect(dialect: Any):
    fields = {"prompt": "x", **({"options": {"callback_url": "u"}} if dialect == "new" else {})}
    carried = with_external_id(dialect, fields, "mine-1")
    assert external_id_in(dialect, fields) is None
    assert external_id_in(dialect, carried) == "mine-1"
    assert with_external_id(dialect, carried, None) == fields
    assert with_external_id(dialect, carried, "mine-2") != carried
    assert "external_task_id" not in fields


def test_options_that_hold_nothing_are_not_sent():
    assert with_external_id("new", {"prompt": "x", "options": {"external_task_id": "a"}}, None) == {
        "prompt": "x"
    }
