"""What a request will cost: every price of the facts, and what decides which one it is."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kling_provider.api.dialects import to_new
from kling_provider.api.endpoints import ENDPOINTS
from kling_provider.api.errors import InvalidRequest
from kling_provider.api.price_list import INPUT_LENGTHS, PRICES, USD_PER, classic_names, prices_of
from kling_provider.api.pricing import (
    USD_PER_VIDEO_UNIT,
    estimate_units,
    estimate_usd,
    units_left,
    usd_of,
    usd_per_unit,
)
from kling_provider.api.requests import REQUESTS, check_request
from tests.api.properties import promise

FACTS = json.loads((Path(__file__).parent.parent / "data" / "kling-api.json").read_text())["pricing"]

#: Those that say something else than a price.
NO_PRICES = {
    "currency_per_video_unit_usd",
    "currency_per_image_unit_usd",
    "failed_tasks_charged",
    "billed_on",
    "smallest_packs",
}
VOICE = [{"voice_id": "1"}]
SOUNDS: Mapping[str, Mapping[str, Any]] = {
    "silent": {},
    "sound": {"sound": "on"},
    "sound_and_voice": {"sound": "on", "voice_list": VOICE},
}
RESOLUTIONS = {"720p": "std", "1080p": "pro"}
VIDEO = {"video_url": "https://a.example/v.mp4", "refer_type": "feature"}
IMAGE = {"image": "https://a.example/a.png"}

Path_ = tuple[str, ...]
#: Endpoint, request, seconds of its input, and how often the price of the facts is to be paid.
Case = tuple[str, dict[str, Any], float | None, int]


def leaves(facts: Any, path: Path_ = ()) -> Iterator[tuple[Path_, Any]]:
    if isinstance(facts, dict):
        for name, inner in facts.items():
            yield from leaves(inner, (*path, name))
    elif isinstance(facts, list):
        for number, inner in enumerate(facts):
            yield from leaves(inner, (*path, str(number)))
    else:
        yield path, facts


PUBLISHED: dict[Path_, Any] = {path: price for path, price in leaves(FACTS) if path[0] not in NO_PRICES}


def new_dialect(endpoint: str, body: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    row, said = to_new(ENDPOINTS[endpoint], body)
    return row.name, said


def per_second(model: str, variant: Path_) -> Iterator[Case]:
    """The requests that one price per second is for."""
    name, _, is_motion = model.partition(" ")
    if name == "kling-3.0-turbo":
        for path in ("text-to-video", "image-to-video"):
            yield f"{path}/{name}", {"settings": {"resolution": variant[0], "duration": 7}}, None, 7
        return
    if is_motion or variant[0] == "motion":
        body = {"model_name": name, "mode": variant[-1], "character_orientation": "video"}
        yield "motion-control", body, 7.3, 7
        yield *new_dialect("motion-control", body), 7.3, 7
        return
    mode, sound = (*variant, "silent")[:2]
    if variant[0] in ("no_video", "with_video"):
        mode, sound = (*variant[1:], "silent")[:2]
        extra = {"video_list": [VIDEO]} if variant[0] == "with_video" else {}
        body = {"model_name": name, "mode": mode, "duration": "8", **SOUNDS[sound], **extra}
        yield "omni-video", body, None, 8
        yield *new_dialect("omni-video", body), None, 8
        if extra:
            base = {**body, "video_list": [{**VIDEO, "refer_type": "base"}]}
            yield "omni-video", base, 9.6, 10
            yield *new_dialect("omni-video", base), 9.6, 10
        return
    for endpoint in ("text2video", "image2video"):
        body = {"model_name": name, "mode": mode, "duration": "10", **SOUNDS[sound]}
        if "voice_list" not in body or endpoint == "image2video":
            yield endpoint, body, None, 10
            yield *new_dialect(endpoint, body), None, 10


def per_clip(name: str, variant: Path_) -> Iterator[Case]:
    """The requests that one price of a clip is for."""
    if name == "video-extend":
        for model in {"kling-v1 std": ("kling-v1",), "v1-5/v1-6 std": ("kling-v1-5", "kling-v1-6")}.get(
            variant[0], ("kling-v1", "kling-v1-5", "kling-v1-6")
        ):
            yield name, {"model_name": model, "mode": variant[0].rpartition(" ")[2]}, None, 1
        return
    mode = {"mode": variant[0]} if len(variant) > 1 else {}
    duration = ("5", "10")[int(variant[-1])]
    if name in ENDPOINTS:
        yield name, {"model_name": "kling-v1-6", "duration": duration, **mode}, None, 1
        return
    for endpoint in ("text2video", "image2video"):
        yield endpoint, {"model_name": name, "duration": duration, **mode}, None, 1


GENERATIONS, OMNI, MULTI = "images/generations", "images/omni-image", "images/multi-image2image"
PICTURES: Mapping[str, list[Case]] = {
    "kling-image-o1": [(OMNI, {"model_name": "kling-image-o1", "resolution": "2k", "n": 2}, None, 2)],
    "kling-v3": [
        (GENERATIONS, {"model_name": "kling-v3", "n": 9}, None, 9),
        (GENERATIONS, {"model_name": "kling-v3", "resolution": "2k", **IMAGE}, None, 1),
    ],
    "kling-v3-omni": [(OMNI, {"model_name": "kling-v3-omni", "n": 3}, None, 3)],
    "kling-v3-omni 4k": [(OMNI, {"model_name": "kling-v3-omni", "resolution": "4k", "n": 3}, None, 3)],
    "kling-v2-1 text": [(GENERATIONS, {"model_name": "kling-v2-1", "n": 2}, None, 2)],
    "kling-v2-1 image": [(GENERATIONS, {"model_name": "kling-v2-1", **IMAGE}, None, 1)],
    "kling-v2-1 multi": [(MULTI, {"model_name": "kling-v2-1", "n": 2}, None, 2)],
    "kling-v1": [
        (GENERATIONS, {"model_name": "kling-v1"}, None, 1),
        (GENERATIONS, {"model_name": "kling-v1", **IMAGE}, None, 1),
    ],
    "expand": [("images/editing/expand", {**IMAGE, "n": 4}, None, 4)],
    "ai-multi-shot": [("ai-multi-shot", {"element_frontal_image": "a.png"}, None, 1)],
}
OTHERS: Mapping[str, list[Case]] = {
    "text/video-to-audio": [
        ("text-to-audio", {"prompt": "rain", "duration": 10.0}, None, 1),
        ("video-to-audio", {"video_id": "1"}, None, 1),
    ],
    "tts": [("tts", {"text": "Hello", "voice_id": "1", "voice_language": "en"}, None, 1)],
    "custom-voices": [("custom-voices", {"voice_name": "a", "video_id": "1"}, None, 1)],
    "identify-face": [("identify-face", {"video_id": "1"}, None, 1)],
    "image-recognize": [("image-recognize", IMAGE, None, 1)],
    "avatar per s": [("avatar", IMAGE, 12.4, 12)],
    "lip-sync per 5 s": [
        (endpoint, {}, seconds, times)
        for endpoint in ("advanced-lip-sync", "lip-sync")
        for seconds, times in ((0.2, 1), (5, 1), (5.04, 1), (6, 2), (60, 12))
    ],
}


def cases(path: Path_) -> list[Case]:
    """The requests that a price of the facts is for."""
    table, *variant = path
    if table == "video_units_per_second":
        return list(per_second(variant[0], tuple(variant[1:])))
    if table == "video_units_per_clip_5s_10s":
        return list(per_clip(variant[0], tuple(variant[1:])))
    if table == "image_units_per_image":
        return PICTURES.get(variant[0], [])
    if table == "other_units":
        mode = {"mode": variant[1]} if len(variant) > 1 else {}
        return [(name, {**body, **mode}, *rest) for name, body, *rest in OTHERS.get(variant[0], [])]  # type: ignore[misc]
    if table == "try_on_usd":
        return [("kolors-virtual-try-on", {"model_name": "kolors-virtual-try-on-v1-5"}, None, 1)]
    return []


@pytest.mark.parametrize("path", PUBLISHED, ids="/".join)
def test_an_estimate_is_the_published_price(path: Path_) -> None:
    estimate = estimate_usd if path[0] == "try_on_usd" else estimate_units
    price = Decimal(str(PUBLISHED[path]))
    assert cases(path), "no request is priced by this row of the facts"
    for endpoint, body, seconds, times in cases(path):
        assert estimate(endpoint, body, input_seconds=seconds) == price * times, (endpoint, body)


def test_no_price_is_listed_that_the_facts_do_not_have() -> None:
    published = set()
    for path in PUBLISHED:
        for endpoint, body, seconds, times in cases(path):
            name, model = classic_names(endpoint)
            usd = estimate_usd(endpoint, body, input_seconds=seconds)
            assert usd is not None
            published.add((name, model or body.get("model_name"), usd / times))
            published.add((name, None, usd / times))
    listed = {
        (endpoint, model, amount * USD_PER[price.currency])
        for price in PRICES
        for endpoint in price.endpoints
        for model in price.models or (None,)
        for amount in price.amounts_for(None)
    }
    assert listed - published == set()


def test_what_a_unit_costs_is_what_the_facts_say() -> None:
    assert Decimal(str(FACTS["currency_per_video_unit_usd"])) == USD_PER_VIDEO_UNIT == usd_per_unit("video")
    assert Decimal(str(FACTS["currency_per_image_unit_usd"])) == usd_per_unit("image")
    assert usd_per_unit("audio") == USD_PER_VIDEO_UNIT


@pytest.mark.parametrize(
    ("endpoint", "body", "usd"),
    [
        ("text2video", {"model_name": "kling-v3"}, "0.42"),
        ("images/generations", {"model_name": "kling-v3", "n": 2}, "0.056"),
        ("image-recognize", IMAGE, "0.014"),  # an image tool that is paid from the video pack
        ("tts", {"text": "Hello"}, "0.007"),
        ("kolors-virtual-try-on", {}, "0.07"),
        ("delete-voices", {"voice_id": "1"}, "0"),
        ("effects", {}, None),
    ],
)
def test_money_is_estimated_at_list_price(endpoint: str, body: dict[str, Any], usd: str | None) -> None:
    assert estimate_usd(endpoint, body) == (None if usd is None else Decimal(usd))


def test_try_on_is_sold_for_money() -> None:
    assert estimate_units("kolors-virtual-try-on", {}) is None
    assert usd_of("kolors-virtual-try-on", Decimal(1)) is None


@pytest.mark.parametrize("path", [path for path in PUBLISHED if path[0] != "try_on_usd"], ids="/".join)
def test_units_are_worth_what_the_estimate_in_money_says(path: Path_) -> None:
    for endpoint, body, seconds, _ in cases(path):
        units = estimate_units(endpoint, body, input_seconds=seconds)
        assert units is not None
        assert usd_of(endpoint, units) == estimate_usd(endpoint, body, input_seconds=seconds)


@pytest.mark.parametrize(
    ("endpoint", "usd"), [("effects", "0.14"), ("advanced-custom-elements", "0.0035"), ("/v1/any", "0.14")]
)
def test_units_without_a_price_are_those_of_the_kind(endpoint: str, usd: str) -> None:
    assert usd_of(endpoint, Decimal(1)) == Decimal(usd)


# --- what a request leaves out --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("endpoint", "body", "units"),
    [
        ("image2video", {"model_name": "kling-v2-6"}, "1.5"),
        ("image2video", {"model_name": "kling-v2-6", "mode": "", "duration": ""}, "1.5"),
        ("image2video", {"model_name": "kling-v3", "mode": "4k", "sound": "on"}, "15"),
        ("image2video", {"model_name": "kling-v1-6", "mode": "pro", "duration": 10}, "7"),
        ("image2video", {"model_name": "kling-v2-master", "mode": "pro"}, "10"),
        ("omni-video", {"model_name": "kling-v3-omni"}, "4.0"),  # pro, unlike the others
        ("omni-video/kling-3.0-omni", {}, "3.0"),  # 720p
        ("text-to-video/kling-3.0-turbo", {"prompt": "x"}, "4.0"),
        ("text-to-video/kling-2.6", {"prompt": "x", "settings": {"audio": "off"}}, "1.5"),
        ("multi-image2video", {"model_name": "kling-v1-6"}, "2"),
        ("images/generations", {"model_name": "kling-v3"}, "8"),
        ("images/omni-image", {"model_name": "kling-v3-omni", "result_type": "series"}, "32"),  # of four
        ("avatar", {"image": "a.png"}, "120"),
    ],
)
def test_missing_fields_cost_what_kling_takes_them_for(
    endpoint: str, body: dict[str, Any], units: str
) -> None:
    assert estimate_units(endpoint, body) == Decimal(units)


@pytest.mark.parametrize(
    ("endpoint", "body", "units"),
    [
        ("video-extend", {"video_id": "1"}, "3.5"),
        ("images/omni-image", {"result_type": "series", "series_amount": "auto"}, "72"),
        ("images/omni-image", {"result_type": "series", "series_amount": 3}, "24"),
        ("motion-control", {"mode": "std", "character_orientation": "video"}, "27.0"),
        ("motion-control", {"mode": "std", "character_orientation": "image"}, "9.0"),
        ("motion-control", {}, "36.0"),
        ("omni-video", {"mode": "std", "video_list": [{"video_url": "v"}], "duration": "3"}, "14.4"),
        ("omni-video", {"mode": "std", "video_list": [VIDEO], "duration": "3"}, "2.7"),
        ("advanced-lip-sync", {}, "6"),
        ("lip-sync", {"input": {"mode": "text2video"}}, "6"),
    ],
)
def test_where_a_request_does_not_tell_it_is_the_most_that_it_can_cost(
    endpoint: str, body: dict[str, Any], units: str
) -> None:
    models = {
        "images/omni-image": "kling-v3-omni",
        "motion-control": "kling-v3",
        "omni-video": "kling-v3-omni",
    }
    model = {"model_name": models[endpoint]} if endpoint in models else {}
    assert estimate_units(endpoint, {**model, **body}) == Decimal(units)


def test_the_edited_video_of_o1_is_shorter() -> None:
    body = {"model_name": "kling-video-o1", "mode": "pro", "video_list": [{"video_url": "v"}]}
    assert estimate_units("omni-video", body) == Decimal("12.0")


@pytest.mark.parametrize(
    ("endpoint", "body", "units"),
    [
        ("text2video", {"model_name": "kling-v3", "sound": "ON"}, "4.5"),
        ("text2video", {"model_name": "kling-v3", "sound": True}, "4.5"),
        ("text2video", {"model_name": "kling-v3", "sound": ["on"]}, "4.5"),
        ("image2video", {"model_name": "kling-v2-6", "mode": "pro", "sound": "yes"}, "5"),
        ("image2video", {"model_name": "kling-v2-6", "sound": "yes"}, "1.5"),  # std is sold without only
        ("omni-video", {"model_name": "kling-v3-omni", "mode": "std", "sound": "ON"}, "4.0"),
        ("text-to-video/kling-3.0", {"settings": {"audio": "Native"}}, "4.5"),
        ("text-to-video/kling-3.0", {"settings": {"audio": True}}, "4.5"),
        ("text-to-video/kling-3.0", {"settings": {"audio": "original"}}, "3.0"),
        (
            "image-to-video/kling-2.6",
            {"settings": {"resolution": "1080p"}, "contents": [{"type": "Voice"}]},
            "6",
        ),
        ("omni-video/kling-3.0-omni", {"contents": [{"type": "Feature_Video"}]}, "14.4"),  # or a base video
        ("omni-video", {"model_name": "kling-v3-omni", "mode": "std", "video_list": "a.mp4"}, "14.4"),
        (
            "omni-video",
            {"model_name": "kling-v3-omni", "mode": "std", "video_list": [{**VIDEO, "refer_type": "F"}]},
            "14.4",
        ),
        ("text2video", {"model_name": "kling-v3", "duration": "15.4"}, "9.6"),
        ("text2video", {"model_name": "kling-v3", "duration": 4.01}, "3.0"),
        ("text-to-video/kling-3.0", {"settings": {"duration": 4.01}}, "3.0"),
        ("multi-image2video", {"model_name": "kling-v1-6", "duration": 9.2}, "4"),
        (
            "images/omni-image",
            {"model_name": "kling-v3-omni", "result_type": "Series", "series_amount": 9},
            "72",
        ),
        ("images/omni-image", {"model_name": "kling-v3-omni", "result_type": "Series", "n": 7}, "56"),
        ("images/generations", {"model_name": "kling-v3", "n": "two"}, "72"),
    ],
    ids=str,
)
def test_a_word_that_nobody_has_checked_costs_the_most_that_it_may_mean(
    endpoint: str, body: dict[str, Any], units: str
) -> None:
    assert estimate_units(endpoint, body) == Decimal(units)


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
def test_no_length_is_refused(seconds: float) -> None:
    with pytest.raises(InvalidRequest, match="input_seconds="):
        estimate_units("avatar", {}, input_seconds=seconds)


def test_whole_seconds_are_billed() -> None:
    pairs = [(0.2, 1), (3.041, 3), (3.5, 4), (9.99, 10)]
    assert [
        (seconds, estimate_units("avatar", {"mode": "pro"}, input_seconds=seconds)) for seconds, _ in pairs
    ] == [(seconds, Decimal("0.8") * whole) for seconds, whole in pairs]


def test_the_length_of_an_input_changes_no_price_that_does_not_follow_it() -> None:
    for endpoint in ENDPOINTS.keys() - INPUT_LENGTHS.keys():
        if classic_names(endpoint)[0] not in INPUT_LENGTHS:
            assert estimate_units(endpoint, {}, input_seconds=1) == estimate_units(endpoint, {})


# --- what has no price ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("endpoint", "body"),
    [
        ("image2video", {}),
        ("image2video", {"model_name": None}),
        ("image2video", {"model_name": "kling-v9"}),
        ("image2video", {"model_name": "kling-v2-6", "mode": "std", "sound": "on"}),
        ("image2video", {"model_name": "kling-v2-6", "mode": "4k"}),
        ("image2video", {"model_name": "kling-v2-6", "duration": "soon"}),
        ("image2video", {"model_name": "kling-v2-6", "duration": "-5"}),
        ("image2video", {"model_name": "kling-v1-6", "mode": "4k"}),
        ("image2video", {"model_name": "kling-v1-6", "duration": "7"}),
        ("image2video", {"model_name": "kling-v3", "mode": "pro", "voice_list": VOICE, "sound": "on"}),
        ("omni-video", {"model_name": "kling-v3-omni", "sound": "on", "video_list": [VIDEO]}),
        ("omni-video", {"model_name": "kling-v3-omni", "mode": "4k", "video_list": [VIDEO]}),
        ("omni-video", {"model_name": "kling-video-o1", "mode": "4k"}),
        ("omni-video", {"model_name": "kling-video-o1", "sound": "on"}),
        ("motion-control", {"model_name": "kling-v2-6", "mode": "4k"}),
        ("text-to-video/kling-2.6", {"prompt": "x", "settings": {"audio": "native"}}),
        ("text-to-video/kling-3.0", {"prompt": "x", "settings": {"resolution": "8k"}}),
        ("images/generations", {"model_name": "kling-v1-5"}),
        ("images/generations", {"model_name": "kling-v3", "resolution": "4k"}),
        ("images/omni-image", {"model_name": "kling-image-o1", "resolution": "4k"}),
        ("images/multi-image2image", {"model_name": "kling-v2"}),
        ("effects", {"effect_scene": "squish", "input": IMAGE}),
        ("multi-elements/init-selection", {"video_id": "1"}),
        ("advanced-custom-elements", {}),
        ("/v1/videos/text2video", {"model_name": "kling-v3"}),
        ("unheard-of", {}),
    ],
    ids=str,
)
def test_without_a_published_price_there_is_no_estimate(endpoint: str, body: dict[str, Any]) -> None:
    assert estimate_units(endpoint, body) is None
    assert estimate_usd(endpoint, body) is None


@pytest.mark.parametrize(
    "name", [name for name, row in ENDPOINTS.items() if row.work == "read" or row.is_free]
)
def test_reading_and_deleting_are_free(name: str) -> None:
    assert estimate_units(name, {}) == 0


def test_a_checked_request_is_priced_with_its_defaults() -> None:
    body = check_request(ENDPOINTS["text2video"], {"prompt": "x"}, "kling-v3").body
    assert estimate_units("text2video", body) == Decimal("3.0")


#: What nobody has checked: with ``validate="off"``, anything.
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["type", "audio"]), inner),
    max_leaves=5,
)
NAMES = sorted({field for model in REQUESTS.values() for field in model.model_fields})


@promise
@given(st.sampled_from(sorted(ENDPOINTS)), st.dictionaries(st.sampled_from(NAMES), JUNK, max_size=6))
def test_a_body_that_nobody_has_checked_breaks_nothing(endpoint: str, body: dict[str, Any]) -> None:
    units = estimate_units(endpoint, body)
    assert units is None or units >= 0


# --- the rows of an endpoint ----------------------------------------------------------------------------


def test_every_row_belongs_to_an_endpoint_and_a_model_that_it_offers() -> None:
    listed = {price for name in ENDPOINTS for price in map(id, prices_of(name))}
    assert [price for price in PRICES if id(price) not in listed] == []
    assert {name for price in PRICES for name in price.endpoints} <= ENDPOINTS.keys()


def test_an_endpoint_has_the_rows_of_its_models_only() -> None:
    of_frames, of_words = prices_of("image-to-video/kling-2.6"), prices_of("text-to-video/kling-2.6")
    assert [price for price in of_frames if price.beside != ("voice",)] == list(of_words) != list(of_frames)
    models = {model for price in prices_of("text2video") for model in price.models}
    assert "kling-3.0-turbo" not in models
    assert prices_of("effects") == ()


# --- what is left ---------------------------------------------------------------------------------------


def pack(name: str = "video", left: object = 5.5, status: object = "online") -> dict[str, Any]:
    return {"resource_pack_name": name, "remaining_quantity": left, "status": status}


@pytest.mark.parametrize(
    ("packs", "name", "left"),
    [
        ([pack()], None, "5.5"),
        ([pack(), pack("image", 3)], None, "8.5"),
        ([pack(), pack("image", 3)], "image", "3"),
        ([pack(status="expired"), pack(status="toBeOnline"), pack(left=2, status=None)], None, "2"),
        ([pack(status="runOut")], None, "0"),
        ([pack(left="?"), pack(left="nan"), pack(left=None)], None, "0"),
        ([pack()], "image", None),
        ([], None, None),
        (None, None, None),
        ("none", None, None),
        (["odd", pack()], None, "5.5"),
    ],
)
def test_what_is_left_is_that_of_the_packs_that_can_be_used_now(
    packs: Any, name: str | None, left: str | None
):
    costs = {"code": 0} if packs is None else {"code": 0, "resource_pack_subscribe_infos": packs}
    assert units_left(costs, name) == (None if left is None else Decimal(left))
