"""How strict the tables are taken, and what is said of a request where a DAG is parsed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kling_provider.api.endpoints import ENDPOINTS, endpoint_for
from kling_provider.api.errors import InvalidRequest
from kling_provider.api.gateways import GATEWAYS
from kling_provider.api.requests import REQUESTS, Validate, check_literals, check_request
from tests.example_requests import EXAMPLES, FULL

MODES: tuple[Validate, ...] = ("strict", "warn", "off")
ROWS = sorted(REQUESTS)


def default(endpoint: str) -> str | None:
    return GATEWAYS["official"].models.get(endpoint)


@pytest.mark.parametrize("endpoint", ROWS)
@pytest.mark.parametrize("validate", MODES)
def test_every_example_is_read_the_same_in_every_mode(endpoint: str, validate: Validate):
    for example in (EXAMPLES[endpoint], FULL.get(endpoint, {})):
        if example or endpoint in EXAMPLES:
            request = example or EXAMPLES[endpoint]
            checked = check_request(ENDPOINTS[endpoint], request, default(endpoint), validate=validate)
            assert checked.given == request
            assert checked.body == check_request(ENDPOINTS[endpoint], request, default(endpoint)).body
            assert all("is being retired" in warning for warning in checked.warnings)


def test_the_examples_have_every_endpoint_and_every_field_somewhere():
    assert set(EXAMPLES) == set(ENDPOINTS)
    for endpoint, model in REQUESTS.items():
        given = set(EXAMPLES[endpoint]) | set(FULL.get(endpoint, ()))
        left = {
            "text2video": {"camera_control"},
            "image2video": {
                "camera_control",
                "static_mask",
                "dynamic_masks",
                "voice_list",
                "multi_shot",
                "shot_type",
                "multi_prompt",
            },
            "omni-video": {"multi_shot", "shot_type", "multi_prompt"},
            "images/generations": {"negative_prompt", "element_list"},
            "images/omni-image": {"n"},
            "identify-face": {"video_id"},
            "multi-elements/init-selection": {"video_id"},
        }.get(endpoint, set())
        assert set(model.model_fields) - given == left, endpoint


# -- warn


def test_warn_says_what_strict_would_refuse_and_sends_it():
    request = {
        "prompt": "x" * 2501,
        "model_name": "kling-v2-6",
        "mode": "ultra",
        "duration": 5.0,
        "cfg_scale": "0.5",
        "promt": "y",
    }
    checked = check_request(ENDPOINTS["text2video"], request, validate="warn")
    assert checked.given == {**request, "duration": "5", "cfg_scale": 0.5}
    assert checked.body == checked.given
    assert [warning.partition("=")[0] for warning in checked.warnings] == [
        "text2video: prompt",
        "text2video: mode",
        "text2video: promt is not a field of this request; did you mean 'prompt'.",
    ]
    with pytest.raises(InvalidRequest) as caught:
        check_request(ENDPOINTS["text2video"], request)
    assert all(warning.removeprefix("text2video: ") in str(caught.value) for warning in checked.warnings)


def test_warn_fills_in_what_decides_the_price_where_it_can_be_known():
    request = {"prompt": "x", "model_name": "kling-v2-6", "negative_prompt": "y" * 2501}
    body = check_request(ENDPOINTS["text2video"], request, validate="warn").body
    assert body == {**request, "mode": "std", "duration": "5"}


def test_warn_judges_the_matrix_beside_a_field_that_cannot_be_read():
    request = {"prompt": "x" * 2501, "model_name": "kling-v2-6", "sound": "on"}
    [length, sound] = check_request(ENDPOINTS["text2video"], request, validate="warn").warnings
    assert "prompt=" in length
    assert "sound='on' is not offered by kling-v2-6 with mode='std'" in sound
    with pytest.raises(InvalidRequest) as caught:
        check_request(ENDPOINTS["text2video"], request)
    assert "prompt=" in str(caught.value)
    assert "sound='on' is not offered" in str(caught.value)


def test_warn_sends_a_rule_that_was_broken_as_coerced():
    request = {"image": "a.png", "image_tail": "b.png", "static_mask": "c.png", "duration": 5}
    checked = check_request(ENDPOINTS["image2video"], request, "kling-v1", validate="warn")
    assert checked.given == {**request, "duration": "5"}
    assert "image_tail and static_mask/dynamic_masks exclude each other" in checked.warnings[0]


def test_warn_keeps_an_object_that_cannot_be_read_as_it_was_given():
    request = {"contents": [{"type": "hologram", "url": "https://media.example/a.holo"}]}
    checked = check_request(ENDPOINTS["image-to-video/kling-3.0"], request, validate="warn")
    assert checked.given == request
    assert checked.body["settings"] == {"resolution": "720p", "duration": 5, "audio": "off"}
    assert "contents[0].type='hologram' is not one of" in checked.warnings[0]


def test_a_name_that_does_not_exist_is_sent_where_the_caller_insists():
    request = {"prompt": "x", "model_name": "kling-v3-0"}
    checked = check_request(ENDPOINTS["text2video"], request, validate="warn")
    assert checked.body == request
    [warning] = checked.warnings
    assert "model_name='kling-v3-0' does not exist, Kling refuses it; did you mean 'kling-v3'?" in warning


# -- off


def test_off_reads_what_it_can_and_fills_in_what_decides_the_price():
    request = {"prompt": "", "whatever": {"a": None}, "duration": 99, "sound": "loud", "image": None}
    checked = check_request(ENDPOINTS["text2video"], request, "kling-v3", validate="off")
    kept = {"whatever": {"a": None}, "duration": "99", "sound": "loud"}  # Kling wants text
    assert checked.given == kept
    assert checked.body == {**kept, "model_name": "kling-v3", "mode": "std"}
    assert checked.warnings == ()


def test_off_reads_rendered_templates_and_paths_like_the_other_modes():
    request = {
        "image_list": '[{"image": "/pictures/a.png"}]',
        "prompt": "x",
        "duration": 5,
        "n": "2",
        "watermark_info": '{"enabled": "true"}',
    }
    body = check_request(ENDPOINTS["multi-image2video"], request, "kling-v1-6", validate="off").body
    assert body["image_list"] == [{"image": "/pictures/a.png"}]
    assert (body["duration"], body["watermark_info"], body["n"]) == ("5", {"enabled": True}, "2")
    picture = check_request(ENDPOINTS["image2video"], {"image": Path("/a.png")}, validate="off").body
    assert picture["image"] == "/a.png"


def test_off_knows_nothing_of_the_defaults_of_an_unknown_model():
    request = {"prompt": "x", "model_name": "kling-v9"}
    assert check_request(ENDPOINTS["text2video"], request, validate="off").body == request


def test_off_fills_in_the_settings_of_the_new_dialect():
    request = {"prompt": "x", "settings": {"duration": 7}, "options": '{"callback_url": "x"}'}
    body = check_request(ENDPOINTS["text-to-video/kling-3.0"], request, validate="off").body
    assert body == {**request, "settings": {"duration": 7, "resolution": "720p", "audio": "off"}}


@pytest.mark.parametrize("settings", ["{", 5, ["x"], "720p"])
def test_off_leaves_settings_alone_that_are_no_object(settings: Any):
    request = {"prompt": "x", "settings": settings}
    assert check_request(ENDPOINTS["text-to-video/kling-3.0"], request, validate="off").body == request


# -- literals

LATER = "{{ ds }}"


def said(endpoint: str, request: dict[str, Any]) -> str:
    with pytest.raises(InvalidRequest) as caught:
        check_literals(endpoint, request)
    return str(caught.value)


@pytest.mark.parametrize("endpoint", ROWS)
def test_every_example_may_stand_in_a_dag(endpoint: str):
    for example in (EXAMPLES[endpoint], FULL.get(endpoint, {})):
        request = dict(example or EXAMPLES[endpoint])
        assert all("is being retired" in warning for warning in check_literals(endpoint, request))
        for name in request:
            assert check_literals(endpoint, {**request, name: LATER}) == ()
            assert check_literals(endpoint, {**request, name: object()}) == ()


@pytest.mark.parametrize(
    ("endpoint", "request_body", "words"),
    [
        ("text2video", {"prompt": LATER, "mode": "ultra"}, "mode='ultra' is not one of"),
        ("text2video", {"prompt": LATER, "promt": "x"}, "promt is not a field"),
        ("text2video", {"prompt": LATER, "cfg_scale": "1.5"}, "cfg_scale='1.5' is too large"),
        (
            "image2video",
            {"image": LATER, "camera_control": {"type": "spin"}},
            "camera_control.type='spin' is not one of",
        ),
        ("text2video", {}, "prompt is required"),
        ("text2video", {"duration": "5"}, "prompt is required"),
        ("avatar", {"image": "a.png"}, "audio_id or sound_file is required"),
        ("tts", {"text": "x"}, "voice_id is required: give it"),
        (
            "text2video",
            {"prompt": "x", "model_name": "kling-v2-6", "sound": "on"},
            "sound='on' is not offered by kling-v2-6",
        ),
        (
            "image-to-video/kling-2.6",
            {
                "contents": [{"type": "first_frame", "url": "a.png"}],
                "settings": {"audio": "native", "resolution": "720p"},
            },
            "settings.audio='native' is not offered by kling-2.6",
        ),
        ("image2video", {"image": "data:image/png;base64,AAAA", "prompt": LATER}, "holds picture data"),
        ("identify-face", {"video_url": "/data/a.mp4"}, "is not an http or https address"),
    ],
)
def test_a_literal_mistake_is_told_where_the_dag_is_parsed(
    endpoint: str, request_body: dict[str, Any], words: str
):
    text = said(endpoint, request_body)
    assert text.startswith(f"{endpoint}: ")
    assert words in text
    assert any(words in warning for warning in check_literals(endpoint, request_body, "warn"))
    assert check_literals(endpoint, request_body, "off") == ()


@pytest.mark.parametrize(
    ("endpoint", "request_body"),
    [
        ("text2video", {"duration": LATER}),  # a rule over several fields: shots may come
        ("image2video", {"prompt": LATER}),
        ("image2video", {"image": "a.png", "image_tail": LATER, "static_mask": "m.png"}),
        ("text2video", {"prompt": "x", "mode": "{% if x %}std{% endif %}"}),
        ("text2video", {"prompt": "x", "mode": "{# later #}std"}),
        ("image2video", {"image": "a.png", "camera_control": {"type": LATER, "nonsense": 1}}),
        ("image2video", {"image": "a.png", "dynamic_masks": [{"mask": LATER, "nonsense": 1}]}),
        ("image2video", {"image": "a.png", "sound": "on"}),  # which model, the connection decides
        ("text2video", {"prompt": "x", "model_name": LATER, "sound": "on"}),
        ("text2video", {"prompt": LATER, "model_name": "kling-v2-6", "sound": "on"}),
        ("tts", {"text": LATER}),
        ("{{ endpoint }}", {"nonsense": 1}),
        ("/v1/videos/whatever", {"nonsense": 1}),
        ("account/costs", {"nonsense": 1}),
        ("presets-voices", {"pageNum": 1}),
    ],
)
def test_what_may_still_change_is_not_judged(endpoint: str, request_body: dict[str, Any]):
    for validate in MODES:
        assert check_literals(endpoint, request_body, validate) == ()


@pytest.mark.parametrize("value", [None, 5, LATER, ["x"], object()])
def test_a_request_or_endpoint_that_is_not_there_yet_is_left_to_the_worker(value: Any):
    assert check_literals("text2video", value) == ()
    assert check_literals(value, {"prompt": "x"}) == ()


def test_a_retired_or_unknown_model_is_warned_of_where_the_dag_is_parsed():
    [warning] = check_literals("text2video", {"prompt": "x", "model_name": "kling-v1-6"})
    assert "kling-v1-6 is being retired by Kling and may be refused; consider 'kling-v2-6'" in warning
    [warning] = check_literals("text2video", {"prompt": "x", "model_name": "kling-v9"})
    assert "is not a known model of text2video" in warning


# -- retired models


@pytest.mark.parametrize(
    ("endpoint", "model", "instead"),
    [
        ("image2video", "kling-v1-6", "consider 'kling-v2-6'"),
        ("multi-image2video", "kling-v1-6", "consider omni-video with kling-v3-omni and image_list"),
        ("multi-elements", "kling-v1-6", "consider omni-video with kling-v3-omni and a base video"),
        ("images/generations", "kling-v1", "consider 'kling-v3'"),
        ("images/multi-image2image", "kling-v2", "consider 'kling-v2-1'"),
    ],
)
def test_a_retired_model_is_warned_of_with_what_is_offered_there(endpoint: str, model: str, instead: str):
    checked = check_request(ENDPOINTS[endpoint], {**EXAMPLES[endpoint], "model_name": model})
    [warning] = checked.warnings
    assert warning.startswith(f"{model} is being retired by Kling and may be refused; {instead}")


def test_a_name_of_a_retired_video_model_may_be_a_current_model_of_pictures():
    assert check_request(ENDPOINTS["images/generations"], {"prompt": "x"}, "kling-v2-1").warnings == ()


@pytest.mark.parametrize("blank", [" ", "\n\t", "None", " None "])
@pytest.mark.parametrize(
    ("endpoint", "request_body"),
    [
        ("text2video", {"prompt": "WORDS"}),
        ("image2video", {"image": "https://p.example/a.png", "negative_prompt": "WORDS"}),
        ("tts", {"text": "WORDS", "voice_id": "v", "voice_language": "en"}),
        ("text-to-audio", {"prompt": "WORDS", "duration": 5}),
        ("text-to-video/kling-3.0", {"prompt": "WORDS"}),
        (
            "image-to-video/kling-3.0",
            {
                "contents": [
                    {"type": "prompt", "text": "WORDS"},
                    {"type": "first_frame", "url": "https://p.example/a.png"},
                ]
            },
        ),
    ],
)
def test_words_that_say_nothing_are_not_paid_for(endpoint: str, request_body: dict[str, Any], blank: str):
    said = json.loads(json.dumps(request_body).replace('"WORDS"', json.dumps(blank)))
    with pytest.raises(InvalidRequest, match=r"is blank|a template renders that finds nothing"):
        check_request(ENDPOINTS[endpoint], said, "kling-v2-6")


def test_a_raw_endpoint_takes_no_picture_data_as_text():
    with pytest.raises(InvalidRequest, match=r"dream\.of\[0\]='data: .*holds picture or sound data"):
        check_request(endpoint_for("/v1/videos/x"), {"dream": {"of": ["data: iVBOR… (300 characters)"]}})
    words = {"prompt": "word " * 60, "caption": "word " * 60, "text": "A" * 300}
    assert check_request(endpoint_for("/v1/videos/x"), words).body == words


@pytest.mark.parametrize("validate", MODES)
def test_a_name_that_no_template_changes_is_looked_up(validate: Validate):
    with pytest.raises(InvalidRequest, match="Did you mean 'text2video'"):
        check_literals("text2vidoe", {}, validate)
    with pytest.raises(InvalidRequest, match="has no counterpart in the new dialect"):
        check_literals("tts", {}, validate, "new")
