"""What may be asked: every limit on both sides, every exclusion, coercion, defaults and what a refusal says."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kling_provider.api.endpoints import ENDPOINTS, endpoint_for
from kling_provider.api.errors import InvalidRequest
from kling_provider.api.gateways import GATEWAYS
from kling_provider.api.requests import (
    REQUESTS,
    CheckedRequest,
    Validate,
    check_literals,
    check_request,
    looks_like_base64,
)
from kling_provider.api.requests.video import Image2VideoRequest
from tests.api.properties import promise
from tests.example_requests import EXAMPLES

TEXT = {"prompt": "a boat"}
IMAGE = {"image": "boat.png"}
CAMERA = {"type": "simple", "config": {"zoom": 5}}
LINE = [{"x": 1, "y": 2}, {"x": 30, "y": 40}]
MASK = {"mask": "mask.png", "trajectories": LINE}
SHOTS = [{"index": 1, "prompt": "a", "duration": "2"}, {"index": 2, "prompt": "b", "duration": "3"}]
CUT = {"multi_shot": True, "shot_type": "customize", "multi_prompt": SHOTS}


def check(request: dict[str, Any], endpoint: str = "image2video", model: str = "kling-v3") -> CheckedRequest:
    return check_request(ENDPOINTS[endpoint], request, model)


def refusal(request: dict[str, Any], endpoint: str = "image2video", model: str = "kling-v3") -> str:
    with pytest.raises(InvalidRequest) as caught:
        check(request, endpoint, model)
    assert str(caught.value).startswith(f"{endpoint}: ")
    return str(caught.value)


def read(request: dict[str, Any]) -> dict[str, Any]:
    """How the fields of image2video are read, whatever the model offers."""
    return check_request(ENDPOINTS["image2video"], request, "kling-v3", validate="warn").given


def times(count: int, item: Any) -> list[Any]:
    return [item] * count


TAKEN: list[tuple[str, Any]] = [
    ("prompt", "x" * 2500),
    ("prompt", "图" * 2500),
    ("negative_prompt", "x" * 2500),
    ("cfg_scale", 0),
    ("cfg_scale", 1),
    ("mode", "std"),
    ("mode", "pro"),
    ("mode", "4k"),
    ("duration", "3"),
    ("duration", "15"),
    ("sound", "on"),
    ("sound", "off"),
    ("callback_url", "https://me.example/hook?a=b"),
    ("external_task_id", "order-17"),
    ("external_task_id", "x" * 64),
    ("watermark_info", {"enabled": True}),
    ("model_name", "kling-v3"),
    ("element_list", times(3, {"element_id": 1})),
    ("image", b"bytes come from hooks"),
    ("image", "s3://bucket/boat.png"),
    ("image", "HTTPS://media.example/boat.png"),
]


@pytest.mark.parametrize(("field", "value"), TAKEN)
def test_the_largest_and_smallest_values_are_taken(field: str, value: Any):
    assert check({**IMAGE, field: value}).body[field] == value


@pytest.mark.parametrize(
    "masks", [times(6, MASK), [{"mask": "m.png", "trajectories": times(77, {"x": 1, "y": 2})}]]
)
def test_the_most_masks_and_points_are_taken(masks: list[Any]):
    assert check({**IMAGE, "dynamic_masks": masks}, model="kling-v1").body["dynamic_masks"] == masks


@pytest.mark.parametrize(
    "camera",
    [
        {"type": "simple", "config": {"zoom": -10}},
        {"type": "simple", "config": {"zoom": 10, "pan": 0, "roll": 0.0}},
        {"type": "down_back"},
        {"type": "forward_up"},
        {"type": "right_turn_forward"},
        {"type": "left_turn_forward"},
    ],
)
def test_every_camera_is_taken(camera: dict[str, Any]):
    assert (
        check({**TEXT, "camera_control": camera}, "text2video", "kling-v1").body["camera_control"] == camera
    )


REFUSED: list[tuple[str, Any, str]] = [
    ("prompt", "x" * 2501, "at most 2500 characters; shorten it"),
    ("negative_prompt", "x" * 2501, "at most 2500 characters; shorten it"),
    ("cfg_scale", -0.01, "use 0 or more"),
    ("cfg_scale", 1.01, "use 1 or less"),
    ("cfg_scale", 1.5, "use 1 or less"),
    ("cfg_scale", float("nan"), "finite"),
    ("cfg_scale", float("inf"), "finite"),
    ("cfg_scale", "much", "number"),
    ("mode", "ultra", "is not one of 'std', 'pro' or '4k'"),
    ("duration", "2", "3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15"),
    ("duration", "16", "Use one of these"),
    ("duration", "0", "is not a whole number of seconds; write '5' or '10'"),
    ("duration", "05", "whole number"),
    ("duration", "5s", "whole number"),
    ("duration", 5.5, "whole number"),
    ("duration", -5, "whole number"),
    ("duration", True, "cannot be used"),
    ("sound", "loud", "is not one of 'on' or 'off'"),
    ("callback_url", "ftp://me.example/x", "is not an http or https address"),
    ("callback_url", "me.example", "is not an http or https address"),
    ("callback_url", "https://", "is not an http or https address"),
    ("external_task_id", "x" * 65, "1 to 64"),
    ("external_task_id", "17", "at least one letter"),
    ("external_task_id", "None", "not 'None'"),
    ("watermark_info", "yes", "cannot be used"),
    ("model_name", "kling v1", "cannot be used"),
    ("model_name", "x" * 81, "cannot be used"),
    ("dynamic_masks", times(7, MASK), "has 7 items: give at most 6"),
    ("element_list", times(4, {"element_id": 1}), "has 4 items: give at most 3"),
    ("camera_control", '{"type": "simple"', "is not valid JSON"),
    ("camera_control", "simple", "cannot be used"),
    ("multi_shot", "perhaps", "cannot be used"),
    ("shot_type", "random", "is not one of 'customize' or 'intelligence'"),
    ("image", "data:image/png;base64," + "A" * 99, "give a path, a URI or a URL instead"),
]


@pytest.mark.parametrize(("field", "value", "rule"), REFUSED)
def test_one_step_further_is_refused_with_field_value_and_rule(field: str, value: Any, rule: str):
    text = refusal({**IMAGE, field: value})
    assert f"{field}=" in text
    assert rule in text
    assert repr(value)[:16] in text or str(value)[:16] in text
    assert len(text) < 500


PARTS_REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"camera_control": {"type": "spin"}}, "camera_control.type='spin'", "is not one of 'simple'"),
    ({"camera_control": {"config": {"zoom": 1}}}, "camera_control.type", "is required"),
    ({"camera_control": {}}, "camera_control.type", "is required"),
    (
        {"camera_control": {"type": "simple", "config": {"zoom": 10.1}}},
        "camera_control.config.zoom=10.1",
        "use 10 or less",
    ),
    (
        {"camera_control": {"type": "simple", "config": {"zoom": -10.1}}},
        "camera_control.config.zoom=-10.1",
        "use -10 or more",
    ),
    (
        {"camera_control": {"type": "simple", "config": {"zoom": 1, "pan": -2}}},
        "camera_control: config={'pan': -2.0, 'zoom': 1.0}",
        "exactly one value that is not zero; keep one of them",
    ),
    ({"camera_control": {"type": "simple"}}, "camera_control: config={}", "set one of horizontal, vertical"),
    (
        {"camera_control": {"type": "simple", "config": {"zoom": 0}}},
        "camera_control: config={}",
        "exactly one value that is not zero",
    ),
    (
        {"camera_control": {"type": "down_back", "config": {"zoom": 1}}},
        "camera_control: config={'zoom': 1.0}",
        "takes no config; leave config out",
    ),
    ({"dynamic_masks": [{"mask": "m.png"}]}, "dynamic_masks[0].trajectories", "is required"),
    ({"dynamic_masks": [MASK, {"trajectories": LINE}]}, "dynamic_masks[1].mask", "is required"),
    (
        {"dynamic_masks": [{"mask": "m.png", "trajectories": LINE[:1]}]},
        "dynamic_masks[0].trajectories=",
        "has 1 items: give at least 2",
    ),
    (
        {"dynamic_masks": [{"mask": "m.png", "trajectories": times(78, LINE[0])}]},
        "dynamic_masks[0].trajectories=",
        "has 78 items: give at most 77",
    ),
    (
        {"dynamic_masks": [{"mask": "m.png", "trajectories": [{"x": 1}, {"x": 1, "y": 2.5}]}]},
        "dynamic_masks[0].trajectories[1].y=2.5",
        "cannot be used",
    ),
    ({"element_list": [{}]}, "element_list[0].element_id", "is required"),
    ({"element_list": [{"element_id": "x"}]}, "element_list[0].element_id='x'", "cannot be used"),
    ({"voice_list": times(3, {"voice_id": "1"}), "sound": "on"}, "voice_list=", "at most 2"),
    ({**CUT, "multi_prompt": times(7, SHOTS[0])}, "multi_prompt=", "at most 6"),
    ({**CUT, "multi_prompt": []}, "multi_prompt=", "at least 1"),
    (
        {**CUT, "multi_prompt": [{"index": 1, "prompt": "x" * 513, "duration": "5"}]},
        "multi_prompt[0].prompt=",
        "at most 512 characters",
    ),
    (
        {**CUT, "multi_prompt": [{"index": 1, "prompt": "", "duration": "5"}]},
        "multi_prompt[0].prompt=''",
        "is empty; say something",
    ),
    (
        {**CUT, "multi_prompt": [{"index": 1, "prompt": "x", "duration": "0"}]},
        "multi_prompt[0].duration='0'",
        "is not a whole number of seconds",
    ),
]


@pytest.mark.parametrize(("changes", "field", "rule"), PARTS_REFUSED)
def test_a_mistake_inside_an_object_is_named_with_its_place(changes: dict[str, Any], field: str, rule: str):
    text = refusal({**IMAGE, **changes})
    assert field in text
    assert rule in text


@pytest.mark.parametrize(("changes", "field", "rule"), PARTS_REFUSED)
def test_the_same_mistake_is_found_in_a_rendered_string(changes: dict[str, Any], field: str, rule: str):
    rendered = {
        name: json.dumps(value) if isinstance(value, dict | list) else value
        for name, value in changes.items()
    }
    text = refusal({**IMAGE, **rendered})
    assert field.partition("=")[0] in text
    assert rule in text
    assert "='['" not in text
    assert "='{'" not in text


# -- exclusions


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        (
            {"image_tail": "t.png", "camera_control": CAMERA},
            "image_tail and camera_control exclude each other",
        ),
        (
            {"image_tail": "t.png", "static_mask": "m.png"},
            "image_tail and static_mask/dynamic_masks exclude each other",
        ),
        (
            {"image_tail": "t.png", "dynamic_masks": [MASK]},
            "image_tail and static_mask/dynamic_masks exclude each other",
        ),
        (
            {"static_mask": "m.png", "camera_control": CAMERA},
            "static_mask/dynamic_masks and camera_control exclude each other",
        ),
        (
            {"dynamic_masks": [MASK], "camera_control": CAMERA},
            "static_mask/dynamic_masks and camera_control exclude each other",
        ),
        (
            {"image_tail": "t.png", "static_mask": "m.png", "camera_control": CAMERA},
            "image_tail and static_mask/dynamic_masks and camera_control exclude each other",
        ),
        (
            {"voice_list": [{"voice_id": "1"}], "element_list": [{"element_id": 1}], "sound": "on"},
            "voice_list and element_list exclude each other",
        ),
        ({"voice_list": [{"voice_id": "1"}]}, "voice_list needs sound='on'"),
        ({"voice_list": [{"voice_id": "1"}], "sound": "off"}, "voice_list needs sound='on'"),
        ({**CUT, "image_tail": "t.png"}, "multi_shot takes no pair of image and image_tail"),
        ({"multi_shot": True}, "multi_shot=true needs shot_type"),
        ({"shot_type": "customize"}, "only work with multi_shot=true"),
        ({"multi_prompt": SHOTS}, "only work with multi_shot=true"),
        ({**CUT, "multi_shot": False}, "only work with multi_shot=true"),
        ({"multi_shot": True, "shot_type": "customize"}, "needs multi_prompt"),
        ({"multi_shot": True, "shot_type": "intelligence"}, "needs prompt"),
        ({**CUT, "duration": "6"}, "multi_prompt lasts 5 s in all, but duration='6'"),
        ({**CUT, "multi_prompt": SHOTS[:1]}, "multi_prompt lasts 2 s in all, but duration='5'"),
    ],
)
def test_what_excludes_each_other_is_refused(changes: dict[str, Any], rule: str):
    assert rule in refusal({**IMAGE, **changes})


@pytest.mark.parametrize(
    ("model", "request_body"),
    [
        ("kling-v3", {"image": "a.png"}),
        ("kling-v1-6", {"image_tail": "t.png", "mode": "pro"}),
        ("kling-v3", {"image": "a.png", "image_tail": "t.png"}),
        ("kling-v1", {"image": "a.png", "static_mask": "m.png", "dynamic_masks": [MASK]}),
        ("kling-v1-5", {"image": "a.png", "camera_control": CAMERA, "mode": "pro"}),
        (
            "kling-v2-6",
            {"image": "a.png", "voice_list": times(2, {"voice_id": "1"}), "sound": "on", "mode": "pro"},
        ),
        ("kling-v3", {"image": "a.png", **CUT}),
        ("kling-v3", {"image": "a.png", **CUT, "duration": "5"}),
        ("kling-v3", {"image": "a.png", "multi_shot": True, "shot_type": "intelligence", "prompt": "cut it"}),
        ("kling-v3", {"image": "a.png", "multi_shot": False}),
    ],
)
def test_what_goes_together_is_taken(model: str, request_body: dict[str, Any]):
    assert check(request_body, model=model).given == request_body


@pytest.mark.parametrize("request_body", [{}, {"prompt": "x"}, {"image": "", "image_tail": None}])
def test_a_video_from_a_picture_needs_a_picture(request_body: dict[str, Any]):
    assert "image or image_tail is required" in refusal(request_body)


@pytest.mark.parametrize("request_body", [{}, {"prompt": ""}, {"prompt": None}, {"duration": "5"}])
def test_a_video_from_text_needs_a_text(request_body: dict[str, Any]):
    assert "prompt is required" in refusal(request_body, "text2video")


def test_shots_of_its_own_make_the_prompt_needless():
    assert check(CUT, "text2video").given == CUT


@pytest.mark.parametrize("ratio", ["16:9", "9:16", "1:1"])
def test_a_video_from_text_takes_the_three_ratios(ratio: str):
    assert check({**TEXT, "aspect_ratio": ratio}, "text2video").body["aspect_ratio"] == ratio


def test_another_ratio_is_refused():
    text = refusal({**TEXT, "aspect_ratio": "4:3"}, "text2video")
    assert "aspect_ratio='4:3' is not one of '16:9', '9:16' or '1:1'" in text


def test_a_video_from_a_picture_takes_no_ratio():
    assert "aspect_ratio is not a field of this request" in refusal({**IMAGE, "aspect_ratio": "16:9"})


def test_all_problems_are_told_at_once():
    text = refusal({**IMAGE, "cfg_scale": 7, "mode": "ultra", "promt": "x"})
    assert "cfg_scale=7 is too large" in text
    assert "mode='ultra' is not one of" in text
    assert "promt is not a field" in text


@pytest.mark.parametrize("value", [[1], {"a": 1}, True])
def test_a_picture_of_another_type_is_refused_once(value: Any):
    assert refusal({"image": value}).count("image=") == 1


# -- names


@pytest.mark.parametrize(
    ("unknown", "meant"),
    [
        ("model", "model_name"),
        ("promt", "prompt"),
        ("image_tial", "image_tail"),
        ("negativ_prompt", "negative_prompt"),
        ("dynamic_mask", "dynamic_masks"),
    ],
)
def test_an_unknown_field_is_answered_with_the_one_that_was_meant(unknown: str, meant: str):
    assert f"{unknown} is not a field of this request; did you mean {meant!r}" in refusal(
        {**IMAGE, unknown: "x"}
    )


def test_an_unknown_field_like_no_other_is_answered_with_all_names():
    text = refusal({**IMAGE, "zzz": 1})
    assert all(name in text for name in Image2VideoRequest.model_fields)


@pytest.mark.parametrize(
    ("changes", "place", "meant"),
    [
        ({"camera_control": {"type": "simple", "config": {"zom": 1}}}, "camera_control.config.zom", "zoom"),
        ({"camera_control": {"typ": "simple"}}, "camera_control.typ", "type"),
        ({"dynamic_masks": [{**MASK, "trajectory": []}]}, "dynamic_masks[0].trajectory", "trajectories"),
        ({"watermark_info": {"enable": True}}, "watermark_info.enable", "enabled"),
    ],
)
def test_an_unknown_field_inside_an_object_is_compared_with_that_objects_fields(
    changes: dict[str, Any], place: str, meant: str
):
    assert f"{place} is not a field of this request; did you mean {meant!r}" in refusal({**IMAGE, **changes})


def test_an_unknown_field_inside_an_object_is_answered_with_that_objects_fields():
    text = refusal({**IMAGE, "camera_control": {"type": "simple", "config": {"zoom": 1, "qqq": 1}}})
    assert "known: horizontal, vertical, pan, tilt, roll, zoom" in text


# -- coercion


@pytest.mark.parametrize(
    ("field", "rendered", "meant"),
    [
        ("cfg_scale", "0.5", 0.5),
        ("cfg_scale", 1, 1.0),
        ("duration", 5, "5"),
        ("duration", 5.0, "5"),
        ("duration", "5.0", "5"),
        ("duration", "10", "10"),
        ("prompt", 1984, "1984"),
        ("multi_shot", "false", False),
        ("watermark_info", '{"enabled": true}', {"enabled": True}),
        ("watermark_info", {"enabled": "True"}, {"enabled": True}),
        ("camera_control", json.dumps(CAMERA), CAMERA),
        ("camera_control", {"type": "simple", "config": '{"zoom": "5"}'}, CAMERA),
        ("dynamic_masks", f" {json.dumps([MASK])}\n", [MASK]),
        ("dynamic_masks", [{"mask": "mask.png", "trajectories": json.dumps(LINE)}], [MASK]),
        (
            "dynamic_masks",
            [{"mask": Path("mask.png"), "trajectories": [{"x": "1", "y": 2.0}, LINE[1]]}],
            [MASK],
        ),
        ("element_list", '[{"element_id": "12"}]', [{"element_id": 12}]),
        ("image", Path("/data/boat.png"), "/data/boat.png"),
        ("external_task_id", "a1", "a1"),
    ],
)
def test_a_rendered_value_becomes_what_it_stands_for(field: str, rendered: Any, meant: Any):
    value = read({**IMAGE, field: rendered})[field]
    assert value == meant
    assert type(value) is type(meant)


def test_the_same_request_is_the_same_however_it_was_rendered():
    plain = check(
        {**TEXT, "cfg_scale": 0.5, "duration": "5", "camera_control": CAMERA}, "text2video", "kling-v1"
    )
    rendered = check(
        {**TEXT, "cfg_scale": "0.50", "duration": 5.0, "camera_control": json.dumps(CAMERA), "mode": ""},
        "text2video",
        "kling-v1",
    )
    assert plain == rendered


@pytest.mark.parametrize("field", sorted(set(Image2VideoRequest.model_fields) - {"image"}))
@pytest.mark.parametrize("unset", ["", None])
def test_an_empty_field_is_unset_and_not_sent(field: str, unset: Any):
    checked = check({**IMAGE, field: unset})
    assert checked.given == IMAGE
    assert checked.body == check(IMAGE).body


def test_a_presets_needless_config_is_not_sent():
    camera = {"type": "down_back", "config": {"pan": 0}}
    checked = check({**TEXT, "camera_control": camera}, "text2video", "kling-v1")
    assert checked.body["camera_control"] == {"type": "down_back"}


# -- defaults


@pytest.mark.parametrize("endpoint", ["text2video", "image2video"])
def test_model_mode_and_duration_are_always_sent_because_they_decide_the_price(endpoint: str):
    request = TEXT if endpoint == "text2video" else IMAGE
    checked = check(request, endpoint, "kling-v2-6")
    assert checked.body == {**request, "model_name": "kling-v2-6", "mode": "std", "duration": "5"}
    assert checked.given == request
    assert checked.endpoint is ENDPOINTS[endpoint]
    assert checked.warnings == ()


@pytest.mark.parametrize(
    ("endpoint", "sent"),
    [
        ("multi-image2video", {"mode": "std", "duration": "5"}),
        ("multi-elements", {"mode": "std", "duration": "5"}),
        ("omni-video", {"mode": "pro", "duration": "5"}),
        ("motion-control", {}),
        ("avatar", {"mode": "std"}),
        ("effects", {}),
        ("video-extend", {}),
        ("images/generations", {"n": 1, "resolution": "1k"}),
        ("images/omni-image", {"n": 1, "resolution": "1k"}),
        ("images/multi-image2image", {"n": 1}),
        ("images/editing/expand", {"n": 1}),
        ("kolors-virtual-try-on", {}),
        ("tts", {}),
        ("text-to-video/kling-3.0", {"settings": {"resolution": "720p", "duration": 5, "audio": "off"}}),
        ("text-to-video/kling-3.0-turbo", {"settings": {"resolution": "720p", "duration": 5}}),
        (
            "motion-control/kling-3.0",
            {"settings": {"resolution": "720p", "audio": "original", "character_orientation": "image"}},
        ),
    ],
)
def test_what_decides_the_price_is_sent_everywhere(endpoint: str, sent: dict[str, Any]):
    request, model = EXAMPLES[endpoint], GATEWAYS["official"].models.get(endpoint)
    body = check_request(ENDPOINTS[endpoint], request, model).body
    assert body == {**request, **sent, **({"model_name": model} if model else {})}


def test_a_series_is_counted_by_its_own_field():
    series = {**TEXT, "result_type": "series"}
    body = check(series, "images/omni-image", "kling-v3-omni").body
    assert (body["series_amount"], body.get("n")) == (4, None)


def test_a_video_that_is_edited_is_sent_without_a_length():
    request = {**TEXT, "video_list": [{"video_url": "https://media.example/a.mp4"}]}
    assert "duration" not in check(request, "omni-video", "kling-v3-omni").body


@pytest.mark.parametrize(
    ("endpoint", "request_body", "ignored"),
    [
        ("images/omni-image", {**TEXT, "result_type": "series", "n": 3}, "n=3 is ignored by Kling with"),
        ("images/omni-image", {**TEXT, "series_amount": 3}, "series_amount=3 is ignored by Kling with"),
        (
            "omni-video",
            {**TEXT, "video_list": [{"video_url": "https://media.example/a.mp4"}], "duration": "7"},
            "duration='7' is ignored by Kling with a base video",
        ),
        ("omni-video", {**TEXT, **CUT, "aspect_ratio": "1:1"}, "prompt='a boat' is ignored by Kling with"),
    ],
)
def test_what_kling_ignores_is_said(endpoint: str, request_body: dict[str, Any], ignored: str):
    [warning] = check(request_body, endpoint, "kling-v3-omni").warnings
    assert warning.startswith(f"{endpoint}: {ignored}")


def test_a_request_without_any_model_is_said_and_not_filled_in():
    checked = check_request(ENDPOINTS["text2video"], TEXT)
    assert checked.body == TEXT
    [warning] = checked.warnings
    assert "text2video is sent without model_name" in warning
    assert "Name one: kling-v2-5-turbo, kling-v2-6, kling-v3" in warning


def test_what_the_caller_chose_is_not_replaced():
    request = {**IMAGE, "model_name": "kling-v3", "mode": "4k", "duration": "15"}
    assert check(request, model="kling-v1").body == request


@pytest.mark.parametrize("model", ["kling-v2-master", "kling-v2-1-master"])
def test_a_master_model_is_sent_without_mode(model: str):
    assert check(IMAGE, model=model).body == {**IMAGE, "model_name": model, "duration": "5"}
    text = refusal({**IMAGE, "mode": "pro"}, model=model)
    assert f"mode='pro' is not offered by {model}. Leave mode out" in text


@pytest.mark.parametrize("model", ["kling-v9", "kling-v3-1"])
def test_an_unknown_model_is_sent_as_it_is_with_a_warning(model: str):
    request = {**IMAGE, "model_name": model, "sound": "on", "duration": "30"}
    checked = check(request)
    assert checked.body == request
    [warning] = checked.warnings
    assert f"model_name={model!r} is not a known model of image2video" in warning
    assert "Did you mean 'kling-v3'?" in warning


@pytest.mark.parametrize(("name", "meant"), [("kling-v3-0", "kling-v3"), ("kling-v2-5", "kling-v2-5-turbo")])
def test_a_name_that_is_known_not_to_exist_is_refused_with_the_one_that_was_meant(name: str, meant: str):
    text = refusal({**IMAGE, "model_name": name, "mode": "4k"})
    assert f"model_name={name!r} does not exist, Kling refuses it; did you mean {meant!r}?" in text


def test_a_model_of_another_endpoint_is_refused_with_those_of_this_one():
    text = refusal({**TEXT, "model_name": "kling-v2-1"}, "text2video")
    assert "model_name='kling-v2-1' is not offered by text2video, only by image2video" in text
    assert "Use one of kling-v2-5-turbo, kling-v2-6, kling-v3" in text


# -- what a model does not do


def test_a_duration_that_the_model_does_not_make_is_refused_with_both_ways_out():
    text = refusal({**IMAGE, "duration": 7}, model="kling-v1-6")
    assert "duration='7' is not offered by kling-v1-6, which makes clips of 5, 10 s" in text
    assert "or a model that makes 7 s clips: kling-v3" in text


def test_a_mode_that_the_model_does_not_have_is_refused_with_the_ones_it_has():
    text = refusal({**IMAGE, "mode": "4k"}, model="kling-v2-6")
    assert "mode='4k' is not offered by kling-v2-6. Use one of std, pro" in text


@pytest.mark.parametrize(
    ("model", "request_body", "doubt"),
    [
        ("kling-v2-6", {**IMAGE, "cfg_scale": 0.5}, "cfg_scale=0.5"),
        ("kling-v2-6", {**IMAGE, "camera_control": CAMERA}, "camera_control={"),
        ("kling-v2-6", {**IMAGE, "image_tail": "t.png"}, "image_tail='t.png'"),
        ("kling-v2-6", {"image_tail": "t.png", "mode": "pro"}, "image_tail='t.png' without image"),
        ("kling-v2-6", {"image_tail": "t.png", "mode": "std"}, "image_tail='t.png' without image"),
        ("kling-v2-6", {**IMAGE, "sound": "on"}, "sound='on'"),
        ("kling-v2-6", {**IMAGE, **CUT}, "multi_shot=True"),
        ("kling-v2-6", {**IMAGE, "static_mask": "m.png"}, "static_mask='m.png'"),
        ("kling-v2-6", {**IMAGE, "dynamic_masks": [MASK]}, "dynamic_masks=[1 item]"),
        ("kling-v2-6", {**IMAGE, "element_list": [{"element_id": 1}]}, "element_list=[1 item]"),
        ("kling-v3", {**IMAGE, "voice_list": [{"voice_id": "1"}], "sound": "on"}, "voice_list=[1 item]"),
    ],
)
def test_what_the_capability_matrix_does_not_list_is_refused_or_warned_of_and_sent(
    model: str, request_body: dict[str, Any], doubt: str
):
    text = refusal(request_body, model=model)
    assert doubt in text
    assert f"is not offered by {model}" in text
    assert "eave it out" in text
    assert "If Kling offers it by now, validate='warn' sends it all the same" in text
    warned = check_request(ENDPOINTS["image2video"], request_body, model, validate="warn")
    assert warned.body.items() >= request_body.items()
    [warning] = warned.warnings
    assert warning in text


@pytest.mark.parametrize(
    ("model", "request_body"),
    [
        ("kling-v2-6", {**IMAGE, "image_tail": "t.png", "mode": "pro"}),
        ("kling-v2-6", {**IMAGE, "sound": "on", "mode": "pro"}),
        ("kling-v2-6", {**IMAGE, "sound": "off"}),
        ("kling-v2-6", {**IMAGE, "voice_list": [{"voice_id": "1"}], "sound": "on", "mode": "pro"}),
        ("kling-v2-6", {**IMAGE, "multi_shot": False}),
        ("kling-v3", {**IMAGE, "cfg_scale": 0.5, "sound": "on", "image_tail": "t.png"}),
        ("kling-v3", {**IMAGE, **CUT}),
    ],
)
def test_what_the_capability_matrix_lists_is_not_warned_of(model: str, request_body: dict[str, Any]):
    assert check(request_body, model=model).warnings == ()


def test_a_model_that_is_being_retired_is_warned_of_with_its_successor():
    assert check(IMAGE, model="kling-v1-6").warnings == (
        "kling-v1-6 is being retired by Kling and may be refused; consider 'kling-v2-6'.",
    )


# -- pictures that are not places

PNG_TEXT = "iVBORw0KGgoAAAANSUhEUgAA" + "Ab1/" * 100
PICTURE_TEXTS = [
    PNG_TEXT,
    "/9j/4AAQSkZJRgABAQ" + "Ab1/" * 100,
    "Q" * 200,
    ("Q" * 76 + "\n") * 5,
    "data:image/png;base64," + PNG_TEXT,
    "DATA:image/png;base64," + PNG_TEXT,
    " \n data:image/png;base64," + PNG_TEXT,
    "\n" + PNG_TEXT,
    "_9j_4AAQSkZJRgABAQ" + "A_-9" * 100,
]


@pytest.mark.parametrize("text", PICTURE_TEXTS)
@pytest.mark.parametrize("field", ["image", "image_tail", "static_mask", "dynamic_masks"])
def test_a_picture_as_text_is_refused_and_hardly_shown(text: str, field: str):
    value: Any = [{"mask": text, "trajectories": LINE}] if field == "dynamic_masks" else text
    said = refusal({"image": "a.png", field: value})
    assert "holds picture data; give a path, a URI or a URL instead" in said
    name = "dynamic_masks[0].mask" if field == "dynamic_masks" else field
    assert f"{name}=" in said
    body = " ".join(text.split())
    assert body[:20] in said
    assert body[:33] not in said


@pytest.mark.parametrize(
    "place",
    [
        "boat.png",
        "/data/in/boat.png",
        "/9j/boat.jpg",
        "s3://bucket/" + "k" * 300,
        "https://media.example/" + "k" * 300,
        "a/" * 110 + "boat.jpeg",
        "../boat.png",
        "Q" * 199,
        "data/in/boat",
    ],
)
def test_a_place_is_not_taken_for_a_picture(place: str):
    assert not looks_like_base64(place)
    assert check({"image": place}).given["image"] == place


# -- edges


@pytest.mark.parametrize("value", ["prompt", None, [("prompt", "x")], 5])
def test_a_request_that_is_no_dict_is_refused(value: Any):
    with pytest.raises(InvalidRequest, match=r"request=.* is not a dict of Kling's fields"):
        check_request(ENDPOINTS["text2video"], value)


def test_a_raw_path_has_no_model_and_is_only_copied():
    request = {"anything": {"goes": 1}, "empty": "", "nothing": None}
    checked = check_request(endpoint_for("/v1/videos/whatever"), request, "kling-v3")
    assert checked.body == checked.given == {"anything": {"goes": 1}}
    assert checked.warnings == ()


MIXED: list[dict[str, Any]] = [
    {**IMAGE, "dynamic_masks": [copy.deepcopy(MASK)], "negative_prompt": "", "cfg_scale": "0.5"},
    {**IMAGE, "camera_control": {"type": "down_back", "config": {"pan": 0}}, "prompt": None},
    {**IMAGE, **CUT, "watermark_info": {"enabled": "true"}},
    {**IMAGE, "camera_control": {"type": "simple", "config": {"pan": 99}}, "model": 1},
]


@pytest.mark.parametrize("request_body", MIXED)
def test_the_callers_dict_is_never_changed(request_body: dict[str, Any]):
    before = copy.deepcopy(request_body)
    try:
        checked = check(request_body)
    except InvalidRequest:
        pass
    else:
        for inner in checked.body.values():
            if isinstance(inner, dict | list):
                inner.clear()
    assert request_body == before


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


NAMES = sorted({name for model in REQUESTS.values() for name in model.model_fields} | {"model", "x"})


@promise
@given(
    st.sampled_from(sorted(ENDPOINTS)),
    st.dictionaries(st.sampled_from(NAMES), values, max_size=6),
    st.sampled_from(["strict", "warn", "off"]),
)
def test_any_request_is_checked_or_refused_and_nothing_else(
    endpoint: str, request_body: dict[str, Any], validate: Validate
):
    before = copy.deepcopy(request_body)
    try:
        checked = check_request(ENDPOINTS[endpoint], request_body, "kling-v3", validate=validate)
    except InvalidRequest as error:
        said = str(error)
        assert said.startswith(f"{endpoint}: ")
        assert validate == "strict" or "data; give a path" in said
    else:
        takes_a_model = endpoint in REQUESTS and "model_name" in REQUESTS[endpoint].model_fields
        assert not takes_a_model or "model_name" in checked.body
        assert set(checked.body) >= set(checked.given)
        assert validate != "off" or checked.warnings == ()
    assert repr(request_body) == repr(before)


@promise
@given(
    st.sampled_from([*sorted(ENDPOINTS), "{{ x }}", "/v1/raw"]),
    st.dictionaries(st.sampled_from(NAMES), values | st.just("{{ x }}"), max_size=6),
    st.sampled_from(["strict", "warn", "off"]),
)
def test_any_literals_are_checked_or_refused_and_nothing_else(
    endpoint: str, request_body: dict[str, Any], validate: Validate
):
    before = copy.deepcopy(request_body)
    try:
        warnings = check_literals(endpoint, request_body, validate)
    except InvalidRequest as error:
        said = str(error)
        assert said.startswith(f"{endpoint}: ")
        assert validate == "strict" or "data; give a path" in said
    else:
        assert validate != "off" or warnings == ()
    assert repr(request_body) == repr(before)
