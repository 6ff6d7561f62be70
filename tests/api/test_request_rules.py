"""Rules over several fields that stand with single fields in the facts, on both sides of their border."""

from __future__ import annotations

from typing import Any

import pytest

from kling_provider.api.endpoints import ENDPOINTS
from kling_provider.api.errors import InvalidRequest
from kling_provider.api.gateways import GATEWAYS
from kling_provider.api.requests import check_request

P = "https://media.example/a.png"
V = "https://media.example/a.mp4"
S = "https://media.example/a.mp3"
NO_PROMPT = {"duration": "5"}
GROW = dict.fromkeys((f"{side}_expansion_ratio" for side in ("up", "down", "left", "right")), 0.0)
ELEMENT = {"element_name": "x", "element_description": "x", "reference_type": "image_refer"}
PICTURES = {"element_image_list": {"frontal_image": P, "refer_images": [{"image_url": P}]}}
CLIP = {"element_video_list": {"refer_videos": [{"video_url": V}]}}
FACE = {"face_id": "1", "sound_file": S, "sound_start_time": 500, "sound_insert_time": 0}
SPOKEN = {"video_id": "1", "mode": "text2video", "text": "x", "voice_id": "v"}
HEARD = {"video_id": "1", "mode": "audio2video"}
EDIT = {"session_id": "s", "prompt": "x"}
ONE = {"image": P}
I2V, OMNI, MOTION = "image-to-video/kling-3.0", "omni-video/kling-3.0-omni", "motion-control/kling-3.0"


def part(kind: str, **more: Any) -> dict[str, Any]:
    return {"type": kind, "url": V if "video" in kind else P, **more}


PROMPT = {"type": "prompt", "text": "x"}
VOICE = {"type": "voice", "voice_id": "v"}
THING = {"type": "element", "element_id": 1}


def contents(*items: dict[str, Any], **settings: Any) -> dict[str, Any]:
    return {"contents": list(items), **({"settings": settings} if settings else {})}


def omni(*items: dict[str, Any], **settings: Any) -> dict[str, Any]:
    return contents(PROMPT, *items, aspect_ratio="1:1", **settings)


#: (endpoint, a request that keeps the rule, one that breaks it, words of the refusal)
RULES: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    ("text2video", {"prompt": "x"}, NO_PROMPT, "prompt is required: say what the video shows"),
    ("omni-video", {"prompt": "x", "aspect_ratio": "1:1"}, {"aspect_ratio": "1:1"}, "prompt is required"),
    (
        "omni-video",
        {"prompt": "x", "image_list": [{"image_url": P, "type": "first_frame"}]},
        {"prompt": "x", "image_list": [{"image_url": P}]},
        "aspect_ratio is required where neither a first_frame nor a base video gives one: use '16:9'",
    ),
    (
        "omni-video",
        {"prompt": "x", "video_list": [{"video_url": V, "refer_type": "base"}]},
        {"prompt": "x", "video_list": [{"video_url": V, "refer_type": "feature"}]},
        "aspect_ratio is required",
    ),
    (
        "omni-video",
        {"prompt": "x", "image_list": [{"image_url": P, "type": "first_frame"}, {"image_url": P}]},
        {"prompt": "x", "image_list": [{"image_url": P, "type": "first_frame"}] * 2},
        "image_list has 2 of type 'first_frame': keep one of them",
    ),
    (
        "omni-video",
        {
            "prompt": "x",
            "image_list": [{"image_url": P, "type": "first_frame"}],
            "element_list": [{"element_id": 1}] * 3,
        },
        {
            "prompt": "x",
            "image_list": [{"image_url": P, "type": "first_frame"}],
            "element_list": [{"element_id": 1}] * 4,
        },
        "element_list has 4 items: at most 3 beside frames",
    ),
    (
        "effects",
        {"effect_scene": "squish", "input": ONE},
        {"effect_scene": "squish", "input": {}},
        "input: image or images is required: give exactly one of them",
    ),
    (
        "effects",
        {"effect_scene": "x", "input": {"images": [P, P]}},
        {"effect_scene": "x", "input": {"images": [P, P], "image": P}},
        "input: image and images exclude each other; keep one of them",
    ),
    (
        "effects",
        {"effect_scene": "x", "input": {"images": [P, P], "duration": "10"}},
        {"effect_scene": "x", "input": {"image": P, "duration": "10"}},
        "duration='10' is for scenes with two images; use '5'",
    ),
    (
        "effects",
        {"effect_scene": "hug_me", "input": ONE},
        {"effect_scene": "hug", "input": ONE},
        "effect_scene='hug' was retired by Kling on 2026-01-30",
    ),
    (
        "advanced-lip-sync",
        {"session_id": "s", "face_choose": [{**FACE, "sound_end_time": 2500}]},
        {"session_id": "s", "face_choose": [{**FACE, "sound_end_time": 2499}]},
        "face_choose[0]: sound_start_time=500 and sound_end_time=2499 leave 1999 ms: use at least 2000 ms",
    ),
    (
        "lip-sync",
        {"input": SPOKEN},
        {"input": {**SPOKEN, "text": ""}},
        "text is required with mode='text2video'",
    ),
    (
        "lip-sync",
        {"input": SPOKEN},
        {"input": {**SPOKEN, "voice_id": None}},
        "voice_id is required with mode=",
    ),
    (
        "lip-sync",
        {"input": SPOKEN},
        {"input": {**SPOKEN, "audio_file": S}},
        "audio_file is not for mode='text2video'; leave it out, or change the mode",
    ),
    (
        "lip-sync",
        {"input": {**HEARD, "audio_type": "file", "audio_file": S}},
        {"input": {**HEARD, "audio_file": S}},
        "audio_type is required with mode='audio2video'",
    ),
    (
        "lip-sync",
        {"input": {**HEARD, "audio_type": "url", "audio_url": S}},
        {"input": {**HEARD, "audio_type": "url", "audio_file": S}},
        "audio_url is required with mode='audio2video' and audio_type='url'",
    ),
    (
        "lip-sync",
        {"input": {**HEARD, "audio_type": "file", "audio_file": S}},
        {"input": {**HEARD, "audio_type": "file", "audio_file": S, "audio_url": S}},
        "audio_url is not for mode='audio2video' and audio_type='file'",
    ),
    *(
        (
            "multi-elements",
            {**EDIT, "edit_mode": mode, **({"image_list": [ONE] * kept} if kept else {})},
            {**EDIT, "edit_mode": mode, **({"image_list": [ONE] * broken} if broken else {})},
            f"image_list has {broken} items, but edit_mode={mode!r} takes {wanted}; change one of the two",
        )
        for mode, kept, broken, wanted in (
            ("addition", 1, 0, "1 to 2"),
            ("swap", 1, 0, "exactly 1"),
            ("swap", 1, 2, "exactly 1"),
            ("removal", 0, 1, "none"),
        )
    ),
    (
        "multi-elements",
        {**EDIT, "edit_mode": "addition", "image_list": [ONE] * 2},
        {**EDIT, "edit_mode": "addition", "image_list": [ONE] * 3},
        "give at most 2",
    ),
    (
        "images/generations",
        {"prompt": "x", "negative_prompt": "y"},
        {"prompt": "x", "negative_prompt": "y", "image": P},
        "negative_prompt and image exclude each other",
    ),
    (
        "images/generations",
        {"prompt": "x", "image": P, "image_reference": "subject", "human_fidelity": 0.5},
        {"prompt": "x", "image": P, "image_reference": "face", "human_fidelity": 0.5},
        "human_fidelity=0.5 needs image_reference='subject'; set it, or leave",
    ),
    (
        "images/generations",
        {"prompt": "x", "image": P, "element_list": [{"element_id": 1}] * 9},
        {"prompt": "x", "image": P, "element_list": [{"element_id": 1}] * 10},
        "image and element_list have 1 and 10 items: at most 10 together",
    ),
    (
        "images/omni-image",
        {"prompt": "x", "image_list": [ONE] * 4, "element_list": [{"element_id": 1}] * 6},
        {"prompt": "x", "image_list": [ONE] * 4, "element_list": [{"element_id": 1}] * 7},
        "image_list and element_list have 4 and 7 items: at most 10 together",
    ),
    *(
        (
            "images/omni-image",
            {"prompt": "x", "result_type": "series", "series_amount": kept},
            {"prompt": "x", "result_type": "series", "series_amount": broken},
            f"series_amount={broken!r} is neither a number from 2 to 9 nor 'auto'",
        )
        for kept, broken in ((2, 1), (9, 10), ("auto", "many"), (2, 2.5), (2, True))
    ),
    (
        "images/editing/expand",
        {
            "image": P,
            **GROW,
            "up_expansion_ratio": 0.2,
            "down_expansion_ratio": 0.3,
            "left_expansion_ratio": 1,
        },
        {
            "image": P,
            **GROW,
            "up_expansion_ratio": 0.2,
            "down_expansion_ratio": 0.31,
            "left_expansion_ratio": 1,
        },
        "make the picture 3.02 times as large: at most 3 times; make them smaller",
    ),
    (
        "images/editing/expand",
        {"image": P, **GROW, "right_expansion_ratio": 2},
        {"image": P, **GROW, "right_expansion_ratio": 2, "up_expansion_ratio": 0.1},
        "3.30 times as large",
    ),
    (
        "advanced-custom-elements",
        {**ELEMENT, **PICTURES},
        ELEMENT,
        "element_image_list is required with reference_type='image_refer': give it, or change the type",
    ),
    (
        "advanced-custom-elements",
        {**ELEMENT, "reference_type": "video_refer", **CLIP},
        {**ELEMENT, "reference_type": "video_refer", **PICTURES},
        "element_video_list is required with reference_type='video_refer'",
    ),
    (
        "advanced-custom-elements",
        {**ELEMENT, "reference_type": "video_refer", **CLIP, "element_voice_id": "v"},
        {**ELEMENT, **PICTURES, "element_voice_id": "v"},
        "element_voice_id='v' is for elements of a video only",
    ),
    (
        "custom-voices",
        {"voice_name": "x", "video_id": "1"},
        {"voice_name": "x"},
        "voice_url or video_id is required: give exactly one of them",
    ),
    (
        "custom-voices",
        {"voice_name": "x", "voice_url": S},
        {"voice_name": "x", "voice_url": S, "video_id": "1"},
        "voice_url and video_id exclude each other",
    ),
    ("text-to-audio", {"prompt": "x", "duration": 3.1}, {"prompt": "x", "duration": 3.14}, "use 3.1"),
    (
        "tts",
        {"text": "x", "voice_id": "v", "voice_language": "en", "voice_speed": "1.2"},
        {"text": "x", "voice_id": "v", "voice_language": "en", "voice_speed": 1.25},
        "voice_speed=1.25 has more than one decimal; use 1.2",
    ),
    (
        "tts",
        {"text": "x", "voice_id": "v", "voice_language": "en"},
        {"text": "x", "voice_id": "v"},
        "voice_language is required: give one of 'zh', 'en'",
    ),
    (
        "avatar",
        {"image": P, "sound_file": "s3://bucket/a.m4a"},
        {"image": P, "sound_file": "s3://bucket/a.ogg"},
        "sound_file='s3://bucket/a.ogg' is no sound that Kling takes (.ogg); make it mp3, wav, m4a or aac",
    ),
    (
        "avatar",
        {"image": P, "sound_file": b"RIFF"},
        {"image": P, "sound_file": "SUQzBAAAAAAAI1RTU0UAAAAPAAADTGF2"},
        "holds sound data; give a path, a URI or a URL instead",
    ),
    (
        "multi-image2video",
        {"prompt": "x", "image_list": [ONE]},
        {"prompt": "x", "image_list": [P]},
        "image_list[0]='https://media.example/a.png' cannot be used: it has to be an object with image",
    ),
    (
        "multi-image2video",
        {"prompt": "x", "image_list": [ONE]},
        {"prompt": "x", "image_list": [{"image": " "}]},
        "image_list[0].image='' is empty; give a picture as a path, a URI or a URL",
    ),
    ("delete-voices", {"voice_id": "v"}, {"voice_id": " "}, "voice_id='' is empty; give an id"),
    (
        "account/billing/package",
        {"start_time": 1790000000000, "end_time": "1790000000000"},
        {"start_time": 1790000000001, "end_time": "1790000000000"},
        "start_time='1790000000001' is after end_time='1790000000000'; change them round",
    ),
    (
        "account/billing/balance",
        {"start_time": "1790000000000"},
        {"start_time": 1790000000},
        "is not a time in milliseconds since 1970",
    ),
    (
        "tasks",
        {"filters": [{"key": "status", "values": ["failed"]}]},
        {"filters": [{"key": "status", "values": ["failed", "succeed"]}]},
        "values=['succeed'] do not exist for status; use some of submitted, processing, succeeded, failed",
    ),
    # -- the new dialect
    (I2V, contents(part("first_frame")), contents(PROMPT), "contents has no first_frame: add"),
    (
        I2V,
        contents(part("first_frame"), part("last_frame")),
        contents(part("last_frame")),
        "contents has a last_frame without a first_frame; add the first frame",
    ),
    (
        I2V,
        contents(part("first_frame")),
        contents(part("first_frame"), part("first_frame")),
        "contents has 2 of type 'first_frame': keep one of them",
    ),
    (
        I2V,
        contents(part("first_frame"), THING, THING, THING),
        contents(part("first_frame"), THING, THING, THING, THING),
        "contents has 4 elements: at most 3; leave some out",
    ),
    (
        I2V,
        contents(part("first_frame"), {"type": "prompt", "text": "x" * 3072}),
        contents(part("first_frame"), {"type": "prompt", "text": "x" * 3073}),
        "of the prompt is too long: at most 3072 characters; shorten it",
    ),
    (
        "image-to-video/kling-3.0-turbo",
        contents(part("first_frame"), {"type": "prompt", "text": "x" * 2500}),
        contents(part("first_frame"), {"type": "prompt", "text": "x" * 2501}),
        "at most 2500 characters",
    ),
    (
        "image-to-video/kling-2.6",
        contents(part("first_frame"), VOICE, VOICE, audio="native", resolution="1080p"),
        contents(part("first_frame"), VOICE, VOICE, VOICE, audio="native", resolution="1080p"),
        "contents has 3 voices: at most 2",
    ),
    (
        "image-to-video/kling-2.6",
        contents(part("first_frame"), VOICE, audio="native", resolution="1080p"),
        contents(part("first_frame"), VOICE, resolution="1080p"),
        "contents has a voice, which needs settings.audio='native'",
    ),
    (
        I2V,
        contents(part("first_frame", id="boat")),
        contents({"type": "first_frame"}),
        "contents[0]: type='first_frame' needs url: give it",
    ),
    (
        I2V,
        contents(part("first_frame"), PROMPT),
        contents(part("first_frame"), {**PROMPT, "url": P}),
        "contents[1]: url='https://media.example/a.png' is not for type='prompt'; use text",
    ),
    (OMNI, omni(), contents(part("first_frame"), aspect_ratio="1:1"), "contents has no prompt: add"),
    (
        OMNI,
        contents(PROMPT, part("first_frame")),
        contents(PROMPT, part("refer_image")),
        "settings.aspect_ratio is required where neither a first_frame nor a base_video gives one",
    ),
    (
        OMNI,
        contents(PROMPT, part("base_video")),
        contents(PROMPT, part("feature_video")),
        "settings.aspect_ratio is required",
    ),
    (
        OMNI,
        omni(part("feature_video"), audio="off"),
        omni(part("feature_video"), audio="original"),
        "settings.audio='original' does not go with a feature_video; use 'off'",
    ),
    (
        OMNI,
        omni(part("base_video"), audio="original"),
        omni(part("base_video"), audio="native"),
        "settings.audio='native' does not go with a base_video",
    ),
    (
        OMNI,
        omni(part("base_video"), part("refer_image")),
        omni(part("base_video"), part("first_frame")),
        "contents has a first_frame beside a base_video; leave one of them out",
    ),
    (
        OMNI,
        omni(part("base_video"), multi_shot=False),
        omni(part("base_video"), multi_shot=True),
        "settings.multi_shot=true does not go with a base_video",
    ),
    (
        OMNI,
        omni(part("base_video")),
        omni(part("base_video"), part("feature_video")),
        "contents has a base_video and a feature_video: keep one of them",
    ),
    (
        OMNI,
        omni(part("first_frame"), part("last_frame")),
        omni(part("last_frame")),
        "contents has a last_frame without a first_frame",
    ),
    (
        "omni-video/kling-o1",
        contents(PROMPT, part("refer_image"), duration=7),
        contents(PROMPT, duration=7),
        "settings.duration=7 is not offered by kling-o1 without a reference. Use 5 or 10, or give a refer_image",
    ),
    (
        MOTION,
        contents(part("image"), part("video"), character_orientation="image"),
        contents(part("video"), character_orientation="image"),
        "contents has no image: add {'type': 'image', 'url': ...}",
    ),
    (
        MOTION,
        contents(part("image"), part("video"), character_orientation="image"),
        contents(part("image"), character_orientation="image"),
        "contents has no video",
    ),
    (
        MOTION,
        contents(part("image"), part("video"), THING, character_orientation="image"),
        contents(part("image"), part("video"), THING, THING, character_orientation="image"),
        "contents has 2 elements: at most 1",
    ),
    (
        MOTION,
        contents(part("image"), part("video"), character_orientation="image"),
        contents(part("image"), part("video"), resolution="720p"),
        "settings.character_orientation is required: give one of 'image', 'video'",
    ),
    (
        "text-to-video/kling-2.6",
        {"prompt": "x", "settings": {"duration": "10"}},
        {"prompt": "x", "settings": {"duration": 7}},
        "settings.duration=7 is not offered: use 5 or 10",
    ),
    (
        "text-to-video/kling-3.0",
        {"prompt": "x", "settings": '{"duration": 15}'},
        {"prompt": "x", "settings": '{"duration": 16}'},
        "settings.duration=16 is too large: use 15 or less",
    ),
]


@pytest.mark.parametrize(
    ("endpoint", "kept", "broken", "words"),
    [pytest.param(*rule, id=f"{rule[0]}-{number}") for number, rule in enumerate(RULES)],
)
def test_a_rule_holds_on_both_sides(endpoint: str, kept: dict[str, Any], broken: dict[str, Any], words: str):
    row, model = ENDPOINTS[endpoint], GATEWAYS["official"].models.get(endpoint)
    assert check_request(row, kept, model).given
    with pytest.raises(InvalidRequest) as caught:
        check_request(row, broken, model)
    assert str(caught.value).startswith(f"{endpoint}: ")
    assert words in str(caught.value)


def test_what_is_unset_inside_an_object_is_not_sent():
    spoken = {**SPOKEN, "audio_type": "", "voice_speed": None}
    assert check_request(ENDPOINTS["lip-sync"], {"input": spoken}).given == {"input": SPOKEN}
    settings = {"duration": "", "resolution": "1080p"}
    given = check_request(ENDPOINTS["text-to-video/kling-2.6"], {"prompt": "x", "settings": settings}).given
    assert given["settings"] == {"resolution": "1080p"}


@pytest.mark.parametrize(("rendered", "meant"), [("4", 4), (4.0, 4), ("auto", "auto"), ("9", 9)])
def test_the_length_of_a_series_is_read_from_a_template(rendered: Any, meant: Any):
    request = {"prompt": "x", "result_type": "series", "series_amount": rendered}
    given = check_request(ENDPOINTS["images/omni-image"], request, "kling-v3-omni").given
    assert given["series_amount"] == meant


@pytest.mark.parametrize(
    ("endpoint", "fields", "reference", "field"),
    [
        (
            "omni-video",
            {"image_list": [{"image_url": P}], "aspect_ratio": "1:1"},
            "image_2",
            "image_list has 1",
        ),
        ("omni-video", {"aspect_ratio": "1:1"}, "element_1", "element_list has 0"),
        ("omni-video", {"aspect_ratio": "1:1"}, "video_1", "video_list has 0"),
        ("image2video", {"image": P}, "voice_1", "voice_list has 0"),
        ("image2video", {"image": P}, "element_1", "element_list has 0"),
    ],
)
def test_what_a_prompt_refers_to_is_there(
    endpoint: str, fields: dict[str, Any], reference: str, field: str
) -> None:
    model = GATEWAYS["official"].models[endpoint]
    request = {**fields, "prompt": f"<<<{reference}>>> turns round"}
    with pytest.raises(InvalidRequest, match=rf"prompt refers to <<<{reference}>>>, but {field}; add it"):
        check_request(ENDPOINTS[endpoint], request, model)
    plain = {**request, "prompt": "<<<image_1>>> turns round" if "image_list" in fields else "turns round"}
    check_request(ENDPOINTS[endpoint], plain, model)


@pytest.mark.parametrize(
    ("endpoint", "wrong", "meant"),
    [
        ("image2video", "image_url", "image"),
        ("avatar", "audio_url", "sound_file"),
        ("images/generations", "image_list", "image"),
        ("video-extend", "task_id", "video_id"),
        ("motion-control", "video", "video_url"),
        ("text2video", "model", "model_name"),
        ("multi-image2video", "images", "image_list"),
    ],
)
def test_names_that_people_write_lead_to_what_is_meant(endpoint: str, wrong: str, meant: str) -> None:
    with pytest.raises(
        InvalidRequest, match=rf"{wrong} is not a field of this request; did you mean '{meant}'"
    ):
        check_request(ENDPOINTS[endpoint], {wrong: P})


def test_an_address_is_no_id() -> None:
    with pytest.raises(InvalidRequest, match=r"audio_id='https://.*' is an address, and an id is wanted"):
        check_request(ENDPOINTS["avatar"], {"image": P, "audio_id": S})
