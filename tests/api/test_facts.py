"""The package's tables against the facts about Kling (``tests/data/kling-api.json``)."""

from __future__ import annotations

import json
import typing
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from types import UnionType
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from kling_provider.api.capabilities import MODELS
from kling_provider.api.endpoints import ENDPOINTS, MAX_PAGE, MAX_PAGE_SIZE
from kling_provider.api.errors import DUPLICATE_ID_TEXTS, KLING_CODES, TASK_NOT_FOUND_TEXT, Reaction
from kling_provider.api.gateways import GATEWAYS, PictureLimits
from kling_provider.api.pricing import USD_PER_VIDEO_UNIT, estimate_units
from kling_provider.api.requests import REQUESTS

FACTS: dict[str, Any] = json.loads((Path(__file__).parent.parent / "data" / "kling-api.json").read_text())
ENDPOINT_FACTS = {row["name"]: row for row in FACTS["endpoints"]}
NAMES = sorted(ENDPOINTS)

#: Scope of a code in the facts -> how we react. The codes that differ inside a scope stand below.
SCOPES = {
    "auth": Reaction.AUTH,
    "account": Reaction.ACCOUNT,
    "params": Reaction.BAD_REQUEST,
    "policy": Reaction.CONTENT_POLICY,
    "rate": Reaction.RATE,
    "concurrency": Reaction.CONCURRENCY,
    "server": Reaction.SERVER,
}
EXCEPTIONS_IN_A_SCOPE = {1003: Reaction.RESIGN, 1004: Reaction.RESIGN, 1304: Reaction.ACCOUNT}


def fields_of(endpoint: str) -> dict[str, dict[str, Any]]:
    """Every field of an endpoint's facts, parts of objects with a dotted name."""

    def walk(fields: list[dict[str, Any]], before: str) -> Iterator[tuple[str, dict[str, Any]]]:
        for field in fields:
            yield before + field["name"], field
            yield from walk(field.get("fields", []), f"{before}{field['name']}.")

    return dict(walk(ENDPOINT_FACTS[endpoint]["fields"], ""))


def model_in(annotation: Any) -> type[BaseModel] | None:
    """The model inside ``list[Model] | None`` and the like."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in typing.get_args(annotation):
        found = model_in(inner)
        if found is not None:
            return found
    return None


def limits_of(field: FieldInfo) -> dict[str, Any]:
    """What pydantic enforces on a field, through Annotated, unions and literals."""
    found: dict[str, Any] = {}

    def walk(annotation: Any, metadata: typing.Iterable[Any]) -> None:
        for item in metadata:
            for inner in getattr(item, "metadata", None) or [item]:
                for name in ("ge", "le", "min_length", "max_length"):
                    if getattr(inner, name, None) is not None:
                        found[name] = getattr(inner, name)
        origin, inside = typing.get_origin(annotation), typing.get_args(annotation)
        if origin is typing.Annotated:
            walk(inside[0], inside[1:])
        elif origin is typing.Literal:
            found["enum"] = set(inside)
        elif origin in (typing.Union, UnionType):
            for part in inside:
                walk(part, ())

    walk(field.annotation, field.metadata)
    return found


def model_fields(endpoint: str) -> dict[str, FieldInfo]:
    """Every field of an endpoint's request model, parts of objects with a dotted name."""

    def walk(model: type[BaseModel], before: str) -> Iterator[tuple[str, FieldInfo]]:
        for name, field in model.model_fields.items():
            yield before + name, field
            inner = model_in(field.annotation)
            if inner is not None:
                yield from walk(inner, f"{before}{name}.")

    return dict(walk(REQUESTS[endpoint], ""))


def test_every_row_of_the_table_has_a_request_model():
    assert set(ENDPOINTS) == set(REQUESTS)


@pytest.mark.parametrize("name", NAMES)
def test_an_endpoint_lives_where_the_facts_say(name: str):
    row, fact = ENDPOINTS[name], ENDPOINT_FACTS[name]
    assert fact["create"]["method"] == "POST"
    assert (row.create_path, row.dialect, row.kind) == (
        fact["create"]["path"],
        fact["dialect"],
        fact["kind"],
    )
    assert row.query_path("ID") == fact["query"]["path"].replace("{id}", "ID")
    assert row.list_path == fact["list"]["path"]
    pages = {param["name"]: param["max"] for param in fact["list"]["params"]}
    assert pages == {"pageNum": MAX_PAGE, "pageSize": MAX_PAGE_SIZE}


@pytest.mark.parametrize("name", NAMES)
def test_a_request_has_exactly_the_fields_of_the_facts(name: str):
    assert set(model_fields(name)) == set(fields_of(name))


@pytest.mark.parametrize(
    ("endpoint", "field"),
    [(endpoint, field) for endpoint in NAMES for field in fields_of(endpoint)],
)
def test_a_field_has_exactly_the_limits_of_the_facts(endpoint: str, field: str):
    fact = fields_of(endpoint)[field]
    limits = limits_of(model_fields(endpoint)[field])
    expected = {
        "ge": fact.get("min"),
        "le": fact.get("max"),
        "min_length": fact.get("min_items"),
        "max_length": fact.get("max_items", fact.get("max_length")),
        "enum": set(fact["enum"]) if "enum" in fact else None,
    }
    if field in ("duration", "multi_prompt.duration", "model_name"):
        expected["ge"] = expected["enum"] = None  # the model table decides; see below
    if field == "multi_prompt.prompt":
        expected["min_length"] = 1  # an empty shot shows nothing
    assert limits == {name: value for name, value in expected.items() if value is not None}


@pytest.mark.parametrize("endpoint", NAMES)
def test_the_picture_fields_are_those_of_the_facts(endpoint: str):
    pictures = {name for name, field in fields_of(endpoint).items() if "image" in field}
    assert {name.replace("[]", "") for name in ENDPOINTS[endpoint].pictures} == pictures


def test_the_vendors_picture_limits_are_those_of_the_facts():
    limits = PictureLimits()
    for name, field in fields_of("image2video").items():
        if "image" in field:
            fact = field["image"]
            assert (
                limits.max_bytes,
                limits.min_side,
                limits.min_ratio,
                limits.max_ratio,
            ) == (fact["max_bytes"], fact["min_side_px"], fact["min_aspect"], fact["max_aspect"]), name


@pytest.mark.parametrize("endpoint", NAMES)
def test_the_known_models_and_durations_are_those_of_the_facts(endpoint: str):
    fields = fields_of(endpoint)
    models = {model.name: model for model in MODELS.values() if endpoint in model.endpoints}
    assert set(models) == set(fields["model_name"]["enum"])
    assert {each for model in models.values() for each in model.durations} == set(fields["duration"]["enum"])
    assert {each for model in models.values() for each in model.modes} == set(fields["mode"]["enum"])


CLASSIC_MODELS = {
    name: fact for name, fact in FACTS["capability_matrix"]["classic_video"].items() if name in MODELS
}


@pytest.mark.parametrize("name", sorted(CLASSIC_MODELS))
def test_a_model_offers_what_the_capability_matrix_says(name: str):
    fact, model = CLASSIC_MODELS[name], MODELS[name]
    for endpoint in NAMES:
        offered = fact[endpoint]
        assert (endpoint in model.endpoints) is (offered is not None)
        if offered:
            assert list(model.modes) == (offered["modes"] or [])
            assert list(model.durations) == offered["durations"]

    def pairs(value: Any) -> set[str]:
        every = {f"{mode}/{duration}" for mode in model.modes or ("",) for duration in model.durations}
        if isinstance(value, list):
            return set(value)
        return every if value else set()

    camera = fact.get("camera_control", {})
    expected = {
        "cfg_scale": pairs(fact.get("cfg_scale", name == "kling-v3")),
        "image_tail": pairs(fact.get("image_tail_with_image")),
        "image_tail_only": pairs(fact.get("image_tail_only")),
        "masks": pairs(fact.get("motion_brush")),
        "sound": pairs(fact.get("sound")),
        "voice_list": pairs(fact.get("voice_list")),
        "multi_shot": pairs(fact.get("multi_shot")),
        "element_list": pairs(fact.get("element_list")),
        "text2video.camera_control": pairs(camera.get("text2video")),
        "image2video.camera_control": pairs(camera.get("image2video")),
    }
    offered = {
        feature: {
            f"{mode}/{duration}"
            for mode in model.modes or ("",)
            for duration in model.durations
            if model.offers(feature, mode, duration)
        }
        for feature in expected
    }
    assert offered == expected


def test_the_models_reported_as_retired_are_known_as_such():
    known = set(FACTS["retired"]["reported"]) & set(MODELS)
    assert {name for name, model in MODELS.items() if model.retired} == known
    assert all(MODELS[model.retired].retired is None for model in MODELS.values() if model.retired)


def test_the_error_table_has_exactly_the_codes_of_the_facts():
    facts = {row["code"]: row for row in FACTS["error_codes"] if row["code"] != 0}
    assert set(KLING_CODES) == set(facts)
    for code, fact in facts.items():
        row = KLING_CODES[code]
        assert row.http_status == fact["http_status"], code
        assert row.reaction is EXCEPTIONS_IN_A_SCOPE.get(code, SCOPES.get(fact["scope"])), code
        waits = row.reaction in (Reaction.RATE, Reaction.CONCURRENCY, Reaction.SERVER)
        assert waits is (fact["retryable"] is True), code
        assert row.meaning, code
        assert row.advice, code


def test_the_texts_we_recognise_are_the_ones_that_were_observed():
    observed = [row["message"].lower() for row in FACTS["observed_messages"] if row.get("code") == 1201]
    assert any(TASK_NOT_FOUND_TEXT in text for text in observed)
    assert any(DUPLICATE_ID_TEXTS[0] in text for text in observed)


def test_the_vendors_hosts_are_those_of_the_facts():
    current = {row["url"] for row in FACTS["base_urls"] if row["status"] == "current"}
    assert set(GATEWAYS["official"].hosts.values()) == current


def _prices() -> Iterator[tuple[dict[str, Any], Decimal]]:
    pricing = FACTS["pricing"]
    sounds = {
        "silent": {},
        "sound": {"sound": "on"},
        "sound_and_voice": {"sound": "on", "voice_list": [{"voice_id": "1"}]},
    }
    for model, modes in pricing["video_units_per_second"].items():
        for mode, price in modes.items() if model in MODELS else ():
            if mode not in MODELS[model].modes:
                continue
            for sound, rate in (price if isinstance(price, dict) else {"silent": price}).items():
                for duration in MODELS[model].durations:
                    request = {"model_name": model, "mode": mode, "duration": duration, **sounds[sound]}
                    yield request, Decimal(str(rate)) * int(duration)
    for model, price in pricing["video_units_per_clip_5s_10s"].items():
        for mode, pair in (price if isinstance(price, dict) else {"": price}).items():
            for duration, units in zip(("5", "10"), pair, strict=True) if model in MODELS else ():
                yield (
                    {"model_name": model, "duration": duration} | ({"mode": mode} if mode else {}),
                    Decimal(str(units)),
                )


PRICES = list(_prices())


def test_the_price_list_of_the_facts_covers_every_known_model():
    assert {request["model_name"] for request, _ in PRICES} == set(MODELS)


@pytest.mark.parametrize("model", sorted(MODELS))
def test_an_estimate_is_the_published_price(model: str):
    published = [(body, units) for body, units in PRICES if body["model_name"] == model]
    assert [(body, estimate_units("image2video", body)) for body, _ in published] == published


def test_a_unit_costs_what_the_facts_say():
    assert Decimal(str(FACTS["pricing"]["currency_per_video_unit_usd"])) == USD_PER_VIDEO_UNIT
