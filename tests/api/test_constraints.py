"""Every rule that the facts list under ``constraints``, on both sides of its border.

A rule of a request is a row of :data:`CASES`. What cannot be seen in a request (the size of a file, the length
of an input, the age of a clip) is tested where the package keeps it, below.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from kling_provider.api.endpoints import ENDPOINTS
from kling_provider.api.errors import InvalidRequest
from kling_provider.api.gateways import GATEWAYS, PictureLimits, SoundLimits
from kling_provider.api.pricing import estimate_units
from kling_provider.api.requests import REQUESTS, check_request
from kling_provider.api.slots import slots_of
from kling_provider.hooks.config import NEW_DIALECT_PICTURE_BYTES
from kling_provider.media import load_media
from tests.api.facts import FACTS, fields_of
from tests.example_requests import EXAMPLES, FULL

CONSTRAINTS = {row["id"]: row for row in FACTS["constraints"]}

P = "https://media.example/a.png"
V = "https://media.example/a.mp4"
S = "https://media.example/a.mp3"
CAMERA = {"type": "simple", "config": {"zoom": 5}}
POINT = {"x": 1, "y": 2}


def mask(points: int) -> dict[str, Any]:
    return {"mask": P, "trajectories": [POINT] * points}


def shots(*seconds: int, prompt: str = "x") -> dict[str, Any]:
    cut = [
        {"index": number, "prompt": prompt, "duration": str(length)}
        for number, length in enumerate(seconds, 1)
    ]
    return {"multi_shot": True, "shot_type": "customize", "multi_prompt": cut}


def omni(images: int, elements: int = 0, **more: Any) -> dict[str, Any]:
    fields = {"prompt": "x", "aspect_ratio": "1:1", "image_list": [{"image_url": P}] * images, **more}
    return {**fields, "element_list": [{"element_id": 1}] * elements} if elements else fields


def frames(*kinds: str | None, **more: Any) -> dict[str, Any]:
    images = [{"image_url": P, "type": kind} if kind else {"image_url": P} for kind in kinds]
    return {"prompt": "x", "aspect_ratio": "1:1", "image_list": images, **more}


FEATURE = [{"video_url": V, "refer_type": "feature"}]
BASE = [{"video_url": V}]  # Kling's default is refer_type=base
FACE = {"face_id": "1", "sound_start_time": 0, "sound_end_time": 2000, "sound_insert_time": 0}
V1 = {"model_name": "kling-v1", "image": P}
V3 = {"model_name": "kling-v3"}
O1 = {"model_name": "kling-video-o1"}

#: id -> (endpoint, a request that keeps the rule, one that breaks it, words of the refusal)
CASES: dict[str, list[tuple[str, dict[str, Any], dict[str, Any], str]]] = {
    "i2v_one_frame": [
        ("image2video", {"image": P}, {"prompt": "x"}, "image or image_tail is required"),
        (
            "image2video",
            {"image_tail": P, "model_name": "kling-v1-6", "mode": "pro"},
            {"image_tail": "", "model_name": "kling-v1-6", "mode": "pro"},
            "image or image_tail is required",
        ),
    ],
    "i2v_exclusive": [
        (
            "image2video",
            {**V1, "image_tail": P},
            {**V1, "image_tail": P, "static_mask": P},
            "image_tail and static_mask/dynamic_masks exclude each other; keep one of them",
        ),
        (
            "image2video",
            {**V1, "dynamic_masks": [mask(2)], "static_mask": P},
            {**V1, "dynamic_masks": [mask(2)], "image_tail": P},
            "exclude each other",
        ),
        (
            "image2video",
            {"model_name": "kling-v1-5", "image": P, "mode": "pro", "camera_control": CAMERA},
            {
                "model_name": "kling-v1-5",
                "image": P,
                "mode": "pro",
                "camera_control": CAMERA,
                "image_tail": P,
            },
            "image_tail and camera_control exclude each other",
        ),
        (
            "image2video",
            {"model_name": "kling-v1-5", "image": P, "mode": "pro", "static_mask": P},
            {
                "model_name": "kling-v1-5",
                "image": P,
                "mode": "pro",
                "static_mask": P,
                "camera_control": CAMERA,
            },
            "static_mask/dynamic_masks and camera_control exclude each other",
        ),
    ],
    "camera_simple": [
        (
            endpoint,
            {**base, "camera_control": {"type": "simple", "config": {"zoom": 1, "pan": 0}}},
            {**base, "camera_control": {"type": "simple", "config": {"zoom": 1, "pan": 1}}},
            "needs exactly one value that is not zero; keep one of them",
        )
        for endpoint, base in (
            ("text2video", {"model_name": "kling-v1", "prompt": "x"}),
            ("image2video", {"model_name": "kling-v1-5", "image": P, "mode": "pro"}),
        )
    ]
    + [
        (
            "text2video",
            {"model_name": "kling-v1", "prompt": "x", "camera_control": {"type": "down_back"}},
            {
                "model_name": "kling-v1",
                "prompt": "x",
                "camera_control": {"type": "down_back", "config": {"zoom": 1}},
            },
            "is a preset and takes no config; leave config out",
        ),
        (
            "text2video",
            {"model_name": "kling-v1", "prompt": "x", "camera_control": CAMERA},
            {"model_name": "kling-v1", "prompt": "x", "camera_control": {"type": "simple"}},
            "needs exactly one value that is not zero; set one of",
        ),
    ],
    "masks": [
        (
            "image2video",
            {**V1, "dynamic_masks": [mask(2)] * 6},
            {**V1, "dynamic_masks": [mask(2)] * 7},
            "has 7 items: give at most 6",
        ),
        (
            "image2video",
            {**V1, "dynamic_masks": [mask(2)]},
            {**V1, "dynamic_masks": [mask(1)]},
            "give at least 2",
        ),
        (
            "image2video",
            {**V1, "dynamic_masks": [mask(77)]},
            {**V1, "dynamic_masks": [mask(78)]},
            "give at most 77",
        ),
    ],
    "voice_sound": [
        (
            "image2video",
            {"model_name": "kling-v2-6", "mode": "pro", "image": P, "sound": "on", "voice_list": voices},
            {"model_name": "kling-v2-6", "mode": "pro", "image": P, **broken},
            words,
        )
        for voices, broken, words in (
            (
                [{"voice_id": "1"}],
                {"voice_list": [{"voice_id": "1"}]},
                "voice_list needs sound='on', but sound='off'; set sound='on'",
            ),
            (
                [{"voice_id": "1"}] * 2,
                {"voice_list": [{"voice_id": "1"}] * 3, "sound": "on"},
                "give at most 2",
            ),
            (
                [{"voice_id": "1"}],
                {"voice_list": [{"voice_id": "1"}], "sound": "on", "element_list": [{"element_id": 1}]},
                "voice_list and element_list exclude each other",
            ),
        )
    ],
    "multi_shot": [
        case
        for endpoint, base in (
            ("text2video", {**V3, "prompt": "x"}),
            ("image2video", {**V3, "image": P}),
            ("omni-video", {"model_name": "kling-v3-omni", "prompt": "x", "aspect_ratio": "1:1"}),
        )
        for case in (
            (
                endpoint,
                {**base, "prompt": "x", "multi_shot": True, "shot_type": "intelligence"},
                {**base, "prompt": "x", "multi_shot": True},
                "multi_shot=true needs shot_type: 'customize' or 'intelligence'",
            ),
            (
                endpoint,
                {**base, **shots(5)},
                {**base, "multi_shot": True, "shot_type": "customize"},
                "shot_type='customize' needs multi_prompt: 1 to 6 shots",
            ),
            (
                endpoint,
                {**base, **shots(1, 1, 1, 1, 1, 1), "duration": "6"},
                {**base, **shots(1, 1, 1, 1, 1, 1, 1), "duration": "7"},
                "give at most 6",
            ),
            (
                endpoint,
                {**base, **shots(5, prompt="x" * 512)},
                {**base, **shots(5, prompt="x" * 513)},
                "at most 512 characters; shorten it",
            ),
            (
                endpoint,
                {**base, **shots(1, 4)},
                {**base, **shots(0, 5)},
                "is not a whole number of seconds",
            ),
            (
                endpoint,
                {**base, **shots(2, 3), "duration": "5"},
                {**base, **shots(2, 4), "duration": "5"},
                "lasts 6 s in all, but duration='5'; make the shots add up",
            ),
        )
    ]
    + [
        (
            "image2video",
            {**V3, "image": P, **shots(5)},
            {**V3, "image": P, "image_tail": P, **shots(5)},
            "takes no pair of image and image_tail; leave image_tail out",
        ),
        (
            "omni-video",
            {**frames("first_frame"), "model_name": "kling-v3-omni", **shots(5)},
            {**frames("first_frame", "end_frame"), "model_name": "kling-v3-omni", **shots(5)},
            "takes no pair of first_frame and end_frame; leave the end_frame out",
        ),
    ],
    "omni_counts": [
        ("omni-video", omni(7), omni(8), "has 8 items: give at most 7"),
        ("omni-video", omni(4, 3), omni(4, 4), "4 and 4 items: at most 7 together; leave some out"),
        (
            "omni-video",
            omni(3, 1, video_list=FEATURE),
            omni(3, 2, video_list=FEATURE),
            "3 and 2 items: at most 4 beside a reference video",
        ),
        (
            "omni-video",
            frames("first_frame", "end_frame"),
            frames("end_frame"),
            "type='end_frame' without a 'first_frame'; add the first frame",
        ),
        (
            "omni-video",
            {**frames("first_frame", "end_frame"), **O1},
            {**frames("first_frame", "end_frame", None), **O1},
            "image_list has 3 items beside type='end_frame': at most 2 with kling-video-o1",
        ),
    ],
    "omni_video": [
        (
            "omni-video",
            omni(1, video_list=FEATURE, sound="off"),
            omni(1, video_list=FEATURE, sound="on"),
            "sound='on' does not go with a reference video in video_list; use sound='off'",
        ),
        (
            "omni-video",
            omni(1, video_list=BASE, sound="off"),
            omni(1, video_list=BASE, sound="on"),
            "sound='on' does not go with a reference video",
        ),
        (
            "omni-video",
            frames(None, video_list=BASE),
            frames("first_frame", video_list=BASE),
            "image_list has type='first_frame', but a video with refer_type='base' takes no frames; leave type out",
        ),
    ],
    "xor_audio": [
        case
        for endpoint, wrap in (
            ("avatar", lambda sound: {"image": P, **sound}),
            ("advanced-lip-sync", lambda sound: {"session_id": "s", "face_choose": [{**FACE, **sound}]}),
        )
        for case in (
            (
                endpoint,
                wrap({"audio_id": "1"}),
                wrap({}),
                "audio_id or sound_file is required: give exactly one of them",
            ),
            (
                endpoint,
                wrap({"sound_file": S}),
                wrap({"sound_file": S, "audio_id": "1"}),
                "audio_id and sound_file exclude each other; keep one of them (given: audio_id='1', sound_file=",
            ),
        )
    ],
    "xor_video": [
        case
        for endpoint, wrap in (
            ("identify-face", lambda video: video),
            ("video-to-audio", lambda video: video),
            ("multi-elements/init-selection", lambda video: video),
            (
                "lip-sync",
                lambda video: {"input": {"mode": "text2video", "text": "x", "voice_id": "v", **video}},
            ),
        )
        for case in (
            (
                endpoint,
                wrap({"video_id": "1"}),
                wrap({}),
                "video_id or video_url is required: give exactly one",
            ),
            (
                endpoint,
                wrap({"video_url": V}),
                wrap({"video_id": "1", "video_url": V}),
                "video_id and video_url exclude each other; keep one of them",
            ),
        )
    ],
}

#: Rules of what a request only points at; each has a test of its own, below.
OF_THE_INPUTS = {"base64", "video_inputs", "motion_duration", "video_id_age", "image_concurrency"}


def refusal(endpoint: str, request: dict[str, Any]) -> str:
    with pytest.raises(InvalidRequest) as caught:
        check_request(ENDPOINTS[endpoint], request, GATEWAYS["official"].models.get(endpoint))
    return str(caught.value)


def accept(endpoint: str, request: dict[str, Any]) -> dict[str, Any]:
    return check_request(ENDPOINTS[endpoint], request, GATEWAYS["official"].models.get(endpoint)).given


def test_every_rule_of_the_facts_has_a_test():
    assert set(CASES) | OF_THE_INPUTS == set(CONSTRAINTS)
    assert not set(CASES) & OF_THE_INPUTS


@pytest.mark.parametrize("rule", sorted(CASES))
def test_every_endpoint_of_a_rule_is_tested(rule: str):
    assert {endpoint for endpoint, *_ in CASES[rule]} == set(CONSTRAINTS[rule]["endpoints"])


@pytest.mark.parametrize(
    ("rule", "endpoint", "kept", "broken", "words"),
    [
        pytest.param(rule, *case, id=f"{rule}-{case[0]}-{number}")
        for rule, cases in CASES.items()
        for number, case in enumerate(cases)
    ],
)
def test_a_rule_holds_on_both_sides(
    rule: str, endpoint: str, kept: dict[str, Any], broken: dict[str, Any], words: str
):
    assert endpoint in CONSTRAINTS[rule]["endpoints"]
    assert accept(endpoint, kept) == kept
    said = refusal(endpoint, broken)
    assert said.startswith(f"{endpoint}: ")
    assert words in said


# -- base64: what a picture may be


def picture(width: int, height: int, **save: Any) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(file, save.pop("format", "PNG"), **save)
    return file.getvalue()


def load(value: Any, limits: PictureLimits = PictureLimits()) -> Any:  # noqa: B008 - frozen
    return load_media({"image": value}, ENDPOINTS["image2video"], limits, SoundLimits())["image"]


@pytest.mark.parametrize(
    ("kept", "broken"),
    [((300, 300), (299, 300)), ((300, 300), (300, 299)), ((300, 750), (300, 760)), ((750, 300), (760, 300))],
)
def test_base64_a_picture_has_sides_and_a_ratio(kept: tuple[int, int], broken: tuple[int, int]):
    data = picture(*kept)
    assert load(data) == data
    with pytest.raises(InvalidRequest, match="image="):
        load(picture(*broken))


def test_base64_a_file_has_a_size():
    data = picture(300, 300)
    assert load(data, replace(PictureLimits(), max_bytes=len(data))) == data
    with pytest.raises(InvalidRequest, match="is larger than"):
        load(data, replace(PictureLimits(), max_bytes=len(data) - 1))
    assert (PictureLimits().max_bytes, NEW_DIALECT_PICTURE_BYTES) == (10 * 2**20, 50 * 2**20)


def _values(value: Any, parts: list[str]) -> Iterator[tuple[Any, Any]]:
    """(holder, key) of every value at a dotted path."""
    name = parts[0].removesuffix("[]")
    if not isinstance(value, dict) or name not in value:
        return
    if parts[0].endswith("[]"):
        for number, item in enumerate(value[name]):
            yield from _values(item, parts[1:]) if len(parts) > 1 else [(value[name], number)]
    elif len(parts) == 1:
        yield value, name
    else:
        yield from _values(value[name], parts[1:])


def _with(endpoint: str, path: str, value: Any) -> Iterator[dict[str, Any]]:
    """The examples of an endpoint that have something at ``path``, with ``value`` there."""
    for example in (EXAMPLES[endpoint], FULL.get(endpoint, {})):
        request = deepcopy(dict(example))
        places = list(_values(request, path.split(".")))
        for holder, key in places:
            holder[key] = value
        if places:
            yield request


MEDIA = [(name, path) for name, row in ENDPOINTS.items() for path in (*row.pictures, *row.sounds)]


@pytest.mark.parametrize(("endpoint", "path"), MEDIA)
@pytest.mark.parametrize("validate", ["strict", "warn", "off"])
def test_base64_no_field_takes_a_picture_or_sound_as_text(endpoint: str, path: str, validate: Any):
    """Not even where nothing else is checked: it would stand in the log and in the database."""
    for text in ("data:image/png;base64,iVBORw0KGgo", "Q" * 300):
        for request in _with(endpoint, path, text):
            with pytest.raises(InvalidRequest, match="data") as caught:
                check_request(ENDPOINTS[endpoint], request, "kling-v9", validate=validate)
            assert "give a path, a URI or a URL instead" in str(caught.value) or "only by URL" in str(
                caught.value
            )
            assert text[:60] not in str(caught.value)


def test_base64_masks_have_the_size_of_each_other_and_the_ratio_of_the_picture(tmp_path: Path):
    def loaded(*masks: tuple[int, int]) -> Any:
        request = {
            "image": picture(600, 400),
            "dynamic_masks": [{"mask": picture(*size), "trajectories": []} for size in masks],
        }
        return load_media(request, ENDPOINTS["image2video"], PictureLimits(), SoundLimits())

    assert loaded((450, 300), (450, 300))
    with pytest.raises(InvalidRequest, match="all masks need one size"):
        loaded((450, 300), (600, 400))
    with pytest.raises(InvalidRequest, match="a mask needs the picture's ratio"):
        loaded((450, 310))


# -- video_inputs: videos only by URL

URLS = [
    (endpoint, field)
    for endpoint in REQUESTS
    for field in fields_of(endpoint)
    if field.rpartition(".")[2] in ("video_url", "voice_url", "audio_url")
]


@pytest.mark.parametrize(("endpoint", "field"), URLS)
@pytest.mark.parametrize("place", ["/data/a.mp4", "s3://bucket/a.mp4", "a.mp4", "file:///a.mp4", "https://"])
def test_video_inputs_a_video_comes_by_url_only(endpoint: str, field: str, place: str):
    path = {
        "video_list.video_url": "video_list[].video_url",
        "element_video_list.refer_videos.video_url": "element_video_list.refer_videos[].video_url",
    }.get(field, field)
    assert list(_with(endpoint, path, place))
    for request in _with(endpoint, path, V):
        accept(endpoint, request)
    for request in _with(endpoint, path, place):
        said = refusal(endpoint, request)
        assert f"{field.rpartition('.')[2]}={place!r} is not an http or https address" in said
        assert "Kling" in said


@pytest.mark.parametrize(
    ("endpoint", "kind"),
    [
        ("omni-video/kling-3.0-omni", "feature_video"),
        ("omni-video/kling-o1", "base_video"),
        ("motion-control/kling-3.0", "video"),
        ("motion-control/kling-2.6", "video"),
    ],
)
def test_video_inputs_the_new_dialect_takes_them_by_url_only_too(endpoint: str, kind: str):
    request = deepcopy(dict(FULL[endpoint]))
    accept(endpoint, request)
    for content in request["contents"]:
        if content["type"] == kind:
            content["url"] = "s3://bucket/a.mp4"
    assert "url='s3://bucket/a.mp4' is not an http or https address" in refusal(endpoint, request)


# -- the rules of what only Kling sees


@pytest.mark.parametrize(("orientation", "longest"), [("video", 30), ("image", 10)])
def test_motion_duration_the_longest_video_is_assumed_and_said(orientation: str, longest: int):
    """Kling measures the video. The estimate may not be below what the longest one costs."""
    request = {**EXAMPLES["motion-control"], "character_orientation": orientation}
    body = check_request(ENDPOINTS["motion-control"], request, "kling-v3").body
    rate = Decimal(str(FACTS["pricing"]["video_units_per_second"]["kling-v3 motion"]["std"]))
    assert estimate_units("motion-control", body) == rate * longest
    assert estimate_units("motion-control", body, input_seconds=longest - 1) == rate * (longest - 1)


def test_video_id_age_results_live_as_long_as_their_ids_can_be_used():
    assert GATEWAYS["official"].result_ttl_days == 30
    for endpoint in CONSTRAINTS["video_id_age"]["endpoints"]:
        assert "30 days" in str(REQUESTS[endpoint].__doc__)
        assert "video_id" in REQUESTS[endpoint].model_fields


@pytest.mark.parametrize(
    ("endpoint", "more", "slots"),
    [
        ("images/generations", {}, 1),
        ("images/generations", {"n": 9}, 9),
        ("images/omni-image", {"n": 3}, 3),
        ("images/multi-image2image", {"n": 2}, 2),
        ("images/editing/expand", {"n": 4}, 4),
        ("kolors-virtual-try-on", {}, 1),
        ("text2video", {}, 1),
        ("omni-video", {}, 1),
    ],
)
def test_image_concurrency_a_task_holds_as_many_slots_as_it_makes_pictures(
    endpoint: str, more: dict[str, Any], slots: int
):
    row = ENDPOINTS[endpoint]
    checked = check_request(row, {**EXAMPLES[endpoint], **more}, GATEWAYS["official"].models.get(endpoint))
    assert slots_of(row, checked.body) == slots
