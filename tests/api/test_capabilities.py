"""Every row of the capability matrix, on both sides: what it lists is taken, what it does not list is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import pytest

from kling_provider.api.capabilities import IMAGE_MODELS, MODELS, NEW_MODELS, models_at, models_with_duration
from kling_provider.api.endpoints import ENDPOINTS
from kling_provider.api.errors import InvalidRequest
from kling_provider.api.requests import check_request
from tests.api.facts import FACTS

MATRIX = FACTS["capability_matrix"]
CLASSIC = MATRIX["classic_video"]
NEW = MATRIX["new_video"]
PICTURE = "https://media.example/a.png"
VIDEO = "https://media.example/a.mp4"
CAMERA = {"type": "simple", "config": {"zoom": 5}}
MASK = {"mask": PICTURE, "trajectories": [{"x": 1, "y": 2}, {"x": 30, "y": 40}]}
CUT = {"multi_shot": True, "shot_type": "intelligence", "prompt": "cut it"}

MODES = ("", "std", "pro", "4k")
DURATIONS = tuple(str(seconds) for seconds in range(2, 17))


def problems(endpoint: str, request: dict[str, Any]) -> str:
    """What strict says against a request; the other two modes have to agree with it."""
    row = ENDPOINTS[endpoint]
    off = check_request(row, request, validate="off")
    assert off.given == request
    assert off.warnings == ()
    warned = check_request(row, request, validate="warn")
    try:
        strict = check_request(row, request)
    except InvalidRequest as error:
        said = str(error)
        doubts = [warning for warning in warned.warnings if warning.startswith(f"{endpoint}: ")]
        assert doubts
        assert all(doubt.removeprefix(f"{endpoint}: ") in said for doubt in doubts)
        assert all(warned.body[name] == value for name, value in request.items() if name not in ("settings",))
        return said
    assert strict == warned
    assert strict.body.items() >= strict.given.items() or "settings" in request
    return ""


def pairs(value: Any, modes: list[str] | None, durations: list[str]) -> set[tuple[str, str]]:
    """The (mode, duration) pairs that a feature of the facts is listed for."""
    if isinstance(value, list):
        return {(mode, duration) for mode, _, duration in (pair.partition("/") for pair in value)}
    return set(product(modes or [""], durations)) if value else set()


# -- text2video and image2video

#: feature -> (its name in the facts, what asks for it, what a refusal has to name)
IMAGE_FEATURES: dict[str, tuple[str, dict[str, Any], str]] = {
    "cfg_scale": ("cfg_scale", {"cfg_scale": 0.5}, "cfg_scale=0.5"),
    "camera": ("camera_control", {"camera_control": CAMERA}, "camera_control="),
    "sound": ("sound", {"sound": "on"}, "sound='on'"),
    "multi_shot": ("multi_shot", CUT, "multi_shot=True"),
    "tail": ("image_tail_with_image", {"image_tail": PICTURE}, "image_tail="),
    "static mask": ("motion_brush", {"static_mask": PICTURE}, "static_mask="),
    "dynamic masks": ("motion_brush", {"dynamic_masks": [MASK]}, "dynamic_masks="),
    "elements": ("element_list", {"element_list": [{"element_id": 1}]}, "element_list="),
    "voices": ("voice_list", {"voice_list": [{"voice_id": "1"}], "sound": "on"}, "voice_list="),
}
TEXT_FEATURES = ("cfg_scale", "camera", "sound", "multi_shot")
WITH_A_MATRIX = [
    (model, endpoint)
    for model in sorted(MODELS)
    for endpoint in ("text2video", "image2video")
    if CLASSIC[model].get(endpoint)
]


def listed(model: str, endpoint: str, feature: str | None) -> set[tuple[str, str]]:
    fact = CLASSIC[model]
    modes, durations = fact[endpoint]["modes"], fact[endpoint]["durations"]
    if feature is None:
        return pairs(True, modes, durations)
    name = IMAGE_FEATURES[feature][0]
    if name == "cfg_scale":
        return pairs(fact.get(name, model == "kling-v3"), modes, durations)  # only v2.x are excluded
    value = fact.get(name)
    return pairs(value.get(endpoint) if isinstance(value, dict) else value, modes, durations)


def combinations(model: str, endpoint: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    base = {"prompt": "x"} if endpoint == "text2video" else {"image": PICTURE}
    for mode, duration in product(MODES, DURATIONS):
        request = {"model_name": model, **base, "duration": duration}
        yield mode, duration, {**request, "mode": mode} if mode else request


@pytest.mark.parametrize(
    ("model", "endpoint", "feature"),
    [
        (model, endpoint, feature)
        for model, endpoint in WITH_A_MATRIX
        for feature in (None, *(TEXT_FEATURES if endpoint == "text2video" else IMAGE_FEATURES))
    ],
)
def test_a_classic_model_does_what_the_matrix_lists_and_nothing_else(
    model: str, endpoint: str, feature: str | None
):
    basic, wanted = listed(model, endpoint, None), listed(model, endpoint, feature)
    fields, named = ({}, "") if feature is None else IMAGE_FEATURES[feature][1:]
    for mode, duration, request in combinations(model, endpoint):
        meant = mode or ("std" if CLASSIC[model][endpoint]["modes"] else "")
        said = problems(endpoint, {**request, **fields})
        assert bool(said) is ((meant, duration) not in wanted), (mode, duration, said)
        if said and (meant, duration) in basic:
            assert named in said
            assert model in said
            assert "eave it out" in said
        elif said:
            assert "is not offered by" in said
            assert "Use one of" in said or "eave mode out" in said


@pytest.mark.parametrize("model", [model for model, endpoint in WITH_A_MATRIX if endpoint == "image2video"])
def test_a_last_frame_alone_is_for_the_models_that_the_matrix_lists(model: str):
    wanted = pairs(CLASSIC[model].get("image_tail_only"), None, [])
    for mode, duration in product(CLASSIC[model]["image2video"]["modes"] or [""], ("5", "10")):
        request = {"model_name": model, "image_tail": PICTURE, "duration": duration}
        said = problems("image2video", {**request, "mode": mode} if mode else request)
        assert bool(said) is ((mode, duration) not in wanted)
        if said:
            assert "without image is not offered" in said


def test_kling_v1_5_has_only_the_simple_camera():
    assert CLASSIC["kling-v1-5"]["camera_control"]["types"] == ["simple"]
    request = {"model_name": "kling-v1-5", "image": PICTURE, "mode": "pro"}
    assert problems("image2video", {**request, "camera_control": CAMERA}) == ""
    said = problems("image2video", {**request, "camera_control": {"type": "down_back"}})
    assert "camera_control.type='down_back' is not offered by kling-v1-5. Use 'simple'" in said


def test_kling_v1_has_every_camera():
    request = {"model_name": "kling-v1", "prompt": "x", "camera_control": {"type": "down_back"}}
    assert problems("text2video", request) == ""


def test_a_last_frame_of_kling_v2_6_is_silent():
    assert CLASSIC["kling-v2-6"]["image_tail_note"] == "silent only"
    request = {"model_name": "kling-v2-6", "image": PICTURE, "image_tail": PICTURE, "mode": "pro"}
    assert problems("image2video", {**request, "sound": "off"}) == ""
    said = problems("image2video", {**request, "sound": "on"})
    assert f"image_tail='{PICTURE[:10]}" in said
    assert "does not go together with sound='on' in kling-v2-6. Leave one of them out" in said


@pytest.mark.parametrize("endpoint", ["text2video", "image2video"])
def test_a_model_that_is_offered_elsewhere_only_is_refused(endpoint: str):
    base = {"prompt": "x"} if endpoint == "text2video" else {"image": PICTURE}
    for model, fact in CLASSIC.items():
        said = problems(endpoint, {**base, "model_name": model})
        assert bool(said) is not bool(fact.get(endpoint)), model
        if said:
            assert f"model_name={model!r} is not offered by {endpoint}, only by" in said
            assert "kling-v3" in said


def test_where_a_feature_is_offered_is_told():
    request = {"model_name": "kling-v2-6", "prompt": "x", "sound": "on"}
    said = problems("text2video", request)
    assert "sound='on' is not offered by kling-v2-6 with mode='std' and duration='5'" in said
    assert "Use mode='pro', or a model that offers it: kling-v3, or leave it out" in said
    assert "validate='warn'" in said
    masks = {"model_name": "kling-v1-5", "image": PICTURE, "mode": "pro", "duration": "10"}
    assert "Use duration='5'" in problems("image2video", {**masks, "static_mask": PICTURE})
    masks = {"model_name": "kling-v1-5", "image": PICTURE, "mode": "std", "duration": "10"}
    said = problems("image2video", {**masks, "static_mask": PICTURE})
    assert "Use mode='pro' and duration='5'" in said


# -- what is built on the same models


def _pair_endpoint(endpoint: str, base: dict[str, Any], fact: str) -> Iterator[tuple[str, str, bool, str]]:
    for model in MODELS:
        wanted = pairs(CLASSIC[model].get(fact), None, [])
        for mode, duration in product(("std", "pro"), DURATIONS):
            said = problems(endpoint, {**base, "model_name": model, "mode": mode, "duration": duration})
            yield model, f"{mode}/{duration}", (mode, duration) in wanted, said


@pytest.mark.parametrize(
    ("endpoint", "base", "fact"),
    [
        ("multi-image2video", {"image_list": [{"image": PICTURE}], "prompt": "x"}, "multi_image2video"),
        ("multi-elements", {"session_id": "s", "edit_mode": "removal", "prompt": "x"}, "multi_elements"),
    ],
)
def test_multi_images_and_multi_elements_are_what_the_matrix_lists(
    endpoint: str, base: dict[str, Any], fact: str
):
    for model, pair, is_listed, said in _pair_endpoint(endpoint, base, fact):
        assert bool(said) is not is_listed, (model, pair, said)


@pytest.mark.parametrize("model", sorted(CLASSIC))
def test_motion_control_is_for_the_models_that_the_matrix_lists(model: str):
    modes = {pair.partition("/")[0] for pair in CLASSIC[model].get("motion_control", ())}
    for mode in ("std", "pro", "4k"):
        request = {
            "model_name": model,
            "image_url": PICTURE,
            "video_url": VIDEO,
            "character_orientation": "video",
            "mode": mode,
        }
        assert bool(problems("motion-control", request)) is (mode not in modes)


@pytest.mark.parametrize("model", sorted(CLASSIC))
def test_effects_for_two_are_what_the_matrix_lists(model: str):
    wanted = pairs(CLASSIC[model].get("dual_effects"), None, [])
    for mode, duration in product(("std", "pro", "4k"), DURATIONS):
        inner = {"images": [PICTURE, PICTURE], "model_name": model, "mode": mode, "duration": duration}
        said = problems("effects", {"effect_scene": "heart_gesture", "input": inner})
        assert bool(said) is ((mode, duration) not in wanted)


def test_the_models_whose_clips_can_be_extended_are_those_of_the_matrix():
    assert set(models_at("video-extend")) == {
        name for name, fact in CLASSIC.items() if fact.get("video_extend")
    }
    assert set(models_at("effects")) == {name for name, fact in CLASSIC.items() if fact.get("dual_effects")}


# -- omni

FRAME = {"image_url": PICTURE, "type": "first_frame"}
REFERENCE = {"image_url": PICTURE}
END = {"image_url": PICTURE, "type": "end_frame"}
FEATURE_VIDEO = {"video_url": VIDEO, "refer_type": "feature"}
OMNI = {name: fact for name, fact in CLASSIC.items() if "omni_video" in fact}

OMNI_FEATURES: dict[str, tuple[str, dict[str, Any]]] = {
    "reference": ("omni_video", {"image_list": [REFERENCE]}),
    "sound": ("sound", {"image_list": [REFERENCE], "sound": "on"}),
    "multi_shot": ("multi_shot", {"image_list": [REFERENCE], **CUT}),
    "elements": ("elements", {"element_list": [{"element_id": 1}]}),
    "video": ("reference_video", {"video_list": [FEATURE_VIDEO]}),
}


@pytest.mark.parametrize(("model", "feature"), list(product(sorted(OMNI), OMNI_FEATURES)))
def test_an_omni_model_does_what_the_matrix_lists_and_nothing_else(model: str, feature: str):
    fact, (name, fields) = OMNI[model], OMNI_FEATURES[feature]
    wanted = pairs(fact[name], fact["omni_video"]["modes"], fact["omni_video"]["durations"])
    for mode, duration in product(("std", "pro", "4k"), DURATIONS):
        request = {
            "prompt": "x",
            "aspect_ratio": "1:1",
            "model_name": model,
            "mode": mode,
            "duration": duration,
        }
        said = problems("omni-video", {**request, **fields})
        assert bool(said) is ((mode, duration) not in wanted), (mode, duration, said)


@pytest.mark.parametrize("model", sorted(OMNI))
@pytest.mark.parametrize(
    "fields", [{"aspect_ratio": "1:1"}, {"image_list": [FRAME]}, {"image_list": [FRAME, END]}]
)
def test_an_omni_video_without_references_has_the_lengths_of_the_matrix(model: str, fields: dict[str, Any]):
    fact = OMNI[model]
    assert fact["image_tail"] is True
    wanted = fact.get("text_or_first_frame_durations", fact["omni_video"]["durations"])
    for duration in DURATIONS:
        request = {"prompt": "x", "model_name": model, "duration": duration}
        assert bool(problems("omni-video", {**request, **fields})) is (duration not in wanted), duration


@pytest.mark.parametrize("model", sorted(set(CLASSIC) - set(OMNI)))
def test_other_models_make_no_omni_video(model: str):
    said = problems("omni-video", {"prompt": "x", "aspect_ratio": "1:1", "model_name": model})
    assert f"model_name={model!r} is not offered by omni-video" in said


# -- the new dialect

RESOLUTIONS = ("", "720p", "1080p", "4k")
NEW_DURATIONS = (0, *range(2, 17))  # 0: left out
AUDIO = ("", "off", "native", "original")

Rule = Callable[[str, str, str], bool]
#: A rule of the facts -> whether a request (resolution, audio, what it has) keeps it.
RULES: dict[str, Rule] = {
    "native requires 1080p": lambda resolution, audio, _: audio != "native" or resolution == "1080p",
    "first+last requires 1080p and audio=off": lambda resolution, audio, has: (
        has != "last_frame" or (resolution == "1080p" and audio in ("", "off"))
    ),
    "first+last requires 1080p": lambda resolution, _, has: has != "last_frame" or resolution == "1080p",
    "voice <= 2 requires audio=native": lambda _, audio, has: has != "voice" or audio == "native",
}
WITH_A_PATH = [(path, model) for model, fact in NEW.items() for path in fact["paths"]]


def new_request(path: str, has: str) -> dict[str, Any]:
    picture = {"url": PICTURE}
    extra = {
        "last_frame": {"type": "last_frame", **picture},
        "element": {"type": "element", "element_id": 1},
        "voice": {"type": "voice", "voice_id": "v"},
    }
    kinds = {
        "image-to-video": [{"type": "first_frame", **picture}],
        "motion-control": [{"type": "image", **picture}, {"type": "video", "url": VIDEO}],
        "omni-video": [{"type": "prompt", "text": "x"}, {"type": "refer_image", **picture}],
    }
    if path == "text-to-video":
        return {"prompt": "x"}
    contents = [*kinds[path], *([extra[has]] if has in extra else [])]
    if has == "last_frame" and path == "omni-video":
        contents.append({"type": "first_frame", **picture})
    return {"contents": contents}


def expected(path: str, model: str, resolution: str, duration: int, audio: str, has: str) -> bool:
    fact = NEW[model]
    is_motion = path == "motion-control"
    resolutions = fact.get("motion_resolution", fact["resolution"]) if is_motion else fact["resolution"]
    numbers = fact.get("duration_enum") or range(fact["duration"][0], fact["duration"][1] + 1)
    sounds = ["original", "off"] if is_motion else fact["audio"] if isinstance(fact["audio"], list) else []
    kinds = {
        "last_frame": path == "omni-video"
        or (path == "image-to-video" and fact.get("last_frame") is not False),
        "element": path == "omni-video" or ("elements" in fact and path != "text-to-video"),
        "voice": path == "image-to-video" and any("voice" in rule for rule in fact.get("rules", ())),
    }
    return (
        (resolution or "720p") in resolutions
        and (duration == 0 if is_motion else (duration or 5) in numbers)
        and (not audio or audio in sounds)
        and (not has or kinds[has])
        and (
            is_motion or all(RULES[rule](resolution or "720p", audio, has) for rule in fact.get("rules", ()))
        )
    )


@pytest.mark.parametrize(("path", "model"), WITH_A_PATH)
def test_a_model_of_the_new_dialect_does_what_the_matrix_lists_and_nothing_else(path: str, model: str):
    features = ("",) if path == "text-to-video" else ("", "last_frame", "element", "voice")
    for resolution, duration, audio, has in product(RESOLUTIONS, NEW_DURATIONS, AUDIO, features):
        chosen = {"resolution": resolution, "duration": duration, "audio": audio}
        settings: dict[str, Any] = {name: value for name, value in chosen.items() if value}
        if path == "motion-control":
            settings["character_orientation"] = "video"
        if path == "omni-video":
            settings["aspect_ratio"] = "1:1"
        request = new_request(path, has) | ({"settings": settings} if settings else {})
        said = problems(f"{path}/{model}", request)
        assert bool(said) is not expected(path, model, resolution, duration, audio, has), (
            settings,
            has,
            said,
        )


def test_the_new_dialect_is_offered_where_the_matrix_says():
    offered = {
        (endpoint.partition("/")[0], name) for name, model in NEW_MODELS.items() for endpoint in model.offers
    }
    assert offered == set(WITH_A_PATH)
    assert {f"{path}/{model}" for path, model in WITH_A_PATH} == {
        name for name, row in ENDPOINTS.items() if row.dialect == "new" and row.work == "task"
    }


@pytest.mark.parametrize(("path", "model"), WITH_A_PATH)
def test_several_shots_are_a_setting_where_the_matrix_says(path: str, model: str):
    request = new_request(path, "")
    settings: dict[str, Any] = {"multi_shot": True}
    if path == "motion-control":
        settings["character_orientation"] = "video"
    if path == "omni-video":
        settings["aspect_ratio"] = "1:1"
    has_it = model in ("kling-3.0", "kling-3.0-omni") and path != "motion-control"
    if model != "kling-3.0-omni":  # the matrix does not say; the endpoint's fields do
        assert has_it is (NEW[model].get("multi_shot") is True and path != "motion-control")
    assert bool(problems(f"{path}/{model}", {**request, "settings": settings})) is not has_it


# -- pictures


@pytest.mark.parametrize("model", sorted(set(MATRIX["image"]) - {"older"}))
def test_a_model_of_pictures_has_the_resolutions_of_the_matrix(model: str):
    endpoint = "images/omni-image" if model in models_at("images/omni-image") else "images/generations"
    for resolution in ("1k", "2k", "4k"):
        said = problems(endpoint, {"prompt": "x", "model_name": model, "resolution": resolution})
        assert bool(said) is (resolution not in MATRIX["image"][model]["resolution"])
        assert not said or f"resolution='{resolution}'" in said


def test_every_current_model_of_pictures_is_in_the_matrix():
    current = {
        name
        for name, model in IMAGE_MODELS.items()
        if not model.retired and "kolors-virtual-try-on" not in model.offers
    }
    assert current == set(MATRIX["image"]) - {"older"}


@pytest.mark.parametrize("model", ["kling-v2-1", "kling-v3"])
def test_only_some_models_of_pictures_need_to_be_told_what_the_picture_is_for(model: str):
    request = {"prompt": "x", "model_name": model, "image": PICTURE}
    said = problems("images/generations", request)
    assert bool(said) is (model == "kling-v2-1")
    assert not said or "needs image_reference with kling-v2-1" in said
    assert problems("images/generations", {**request, "image_reference": "face"}) == ""


def test_elements_are_for_the_newest_model_of_pictures():
    request = {"prompt": "x", "element_list": [{"element_id": 1}]}
    assert problems("images/generations", {**request, "model_name": "kling-v3"}) == ""
    said = problems("images/generations", {**request, "model_name": "kling-v2-1"})
    assert "element_list=[1 item] is not offered by kling-v2-1. Use a model that offers it: kling-v3" in said


# -- the table itself


def test_the_models_that_make_a_length_are_told_without_the_retired():
    assert models_with_duration("7", "image2video") == ["kling-v3"]
    assert models_with_duration("5", "text2video") == ["kling-v2-5-turbo", "kling-v2-6", "kling-v3"]
    assert models_with_duration("99", "text2video") == []


def test_every_model_has_a_height_for_every_quality():
    for table in (MODELS, NEW_MODELS):
        for model in table.values():
            for offer in model.offers.values():
                assert set(offer.qualities or ("",)) <= set(model.heights) or not offer.qualities
            assert model.fps in (24, 30)


def _output(fact: Any) -> dict[str, str]:
    return fact if isinstance(fact, dict) else {"": fact}


@pytest.mark.parametrize("model", [name for name, fact in CLASSIC.items() if "output" in fact])
def test_heights_and_frames_are_those_of_the_facts(model: str):
    heights = {"720p": 720, "1080p": 1080, "4k": 2160}
    for mode, said in _output(CLASSIC[model]["output"]).items():
        if mode == "fps":
            continue
        size, _, frames = said.partition(" ")
        assert MODELS[model].heights[mode] == heights[size]
        assert not frames or f"{MODELS[model].fps}fps" == frames
