"""The package's tables against the facts about Kling (``tests/data/kling-api.json``)."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from decimal import Decimal
from types import UnionType
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from kling_provider.api.capabilities import IMAGE_MODELS, MODELS, NOT_MODELS, models_at
from kling_provider.api.endpoints import ENDPOINTS, MAX_PAGE, TASKS_PATH
from kling_provider.api.errors import DUPLICATE_ID_TEXTS, KLING_CODES, TASK_NOT_FOUND_TEXT, Reaction
from kling_provider.api.gateways import GATEWAYS, PictureLimits
from kling_provider.api.pricing import USD_PER_VIDEO_UNIT, estimate_units
from kling_provider.api.requests import REQUESTS
from kling_provider.api.requests.effects import RETIRED_SCENES
from kling_provider.api.requests.new_dialect import HOLDS
from kling_provider.api.requests.parts import default_of
from tests.api.facts import ENDPOINT_FACTS, FACTS, durations_of, fields_of

NAMES = sorted(ENDPOINTS)
#: Endpoints whose body has a model: all but those that only read by query.
ASKED = sorted(REQUESTS)
FIELDS = [(endpoint, field) for endpoint in ASKED for field in fields_of(endpoint)]
#: Required unless the shots have prompts of their own; a rule of the model, tested in test_constraints.py.
REQUIRED_BY_A_RULE = {("text2video", "prompt"), ("omni-video", "prompt")}

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


# -- endpoints


def test_the_table_has_exactly_the_endpoints_of_the_facts():
    assert set(ENDPOINTS) == set(ENDPOINT_FACTS)
    assert len(ENDPOINTS) == 49


def test_every_endpoint_with_a_body_has_a_request_model_of_its_own_name():
    without_body = {name for name in NAMES if ENDPOINTS[name].work == "read" and not fields_of(name)}
    assert set(REQUESTS) == set(NAMES) - without_body
    assert without_body == {"advanced-presets-elements", "presets-voices", "account/costs"}
    shared = {"account/billing/package", "account/billing/balance"}
    models = [model for name, model in REQUESTS.items() if name not in shared]
    assert len(set(models)) == len(models)
    assert all(model.__doc__ for model in models)


@pytest.mark.parametrize("name", NAMES)
def test_an_endpoint_lives_where_the_facts_say(name: str):
    row, fact = ENDPOINTS[name], ENDPOINT_FACTS[name]
    assert (row.dialect, row.kind) == (fact["dialect"], fact["kind"])
    assert list(row.other_paths) == fact.get("alternative_paths", [])
    assert bool(row.successor) is fact.get("deprecated", False)
    if fact["create"] is None:
        assert row.work == "read"
        assert row.create_path == (fact["query"] or fact["list"])["path"]
        return
    assert (fact["create"]["method"], fact["create"]["path"]) == ("POST", row.create_path)
    assert row.work == ("task" if fact["create"]["async"] else "call")


@pytest.mark.parametrize("name", [name for name in NAMES if ENDPOINTS[name].work == "task"])
def test_a_task_is_asked_for_where_the_facts_say(name: str):
    row, query = ENDPOINTS[name], ENDPOINT_FACTS[name]["query"]
    assert query["method"] == "GET"
    if row.dialect == "new":
        assert query["path"] == TASKS_PATH
        assert [param["name"] for param in query["params"]] == ["task_ids", "external_task_ids"]
        assert row.external_id == "lookup"
        return
    assert row.query_path("ID") == query["path"].replace("{id}", "ID")
    takes_ours = "external_task_id" in fields_of(name)
    can_look_up = takes_ours and "external_task_id" in query["id_accepts"]
    assert row.external_id == ("lookup" if can_look_up else "list" if takes_ours else "none")


@pytest.mark.parametrize("name", [name for name in NAMES if ENDPOINT_FACTS[name]["list"]])
def test_a_list_is_read_as_the_facts_say(name: str):
    row, fact = ENDPOINTS[name], ENDPOINT_FACTS[name]["list"]
    assert row.list_path == fact["path"]
    if row.dialect == "new":
        assert (fact["method"], fact["params_in"]) == ("POST", "json body")
        return
    limits = {param["name"]: (param["min"], param["max"]) for param in fact["params"]}
    assert limits == {"pageNum": (1, MAX_PAGE), "pageSize": (1, row.max_page_size)}


# -- fields


@pytest.mark.parametrize("name", ASKED)
def test_a_request_has_exactly_the_fields_of_the_facts(name: str):
    # What lies inside `contents` depends on its type; the facts have the types, see below.
    fields = {field for field in model_fields(name) if not field.startswith("contents.")}
    assert fields == set(fields_of(name))


@pytest.mark.parametrize(("endpoint", "field"), FIELDS)
def test_a_field_is_required_where_the_facts_say(endpoint: str, field: str):
    required = model_fields(endpoint)[field].is_required()
    if (endpoint, field) in REQUIRED_BY_A_RULE:
        assert "unless" in fields_of(endpoint)[field]["notes"]
        assert not required
    elif (endpoint.partition("/")[0], field) == ("motion-control", "settings"):
        assert required  # it holds a field that is
    else:
        assert required is fields_of(endpoint)[field]["required"]


@pytest.mark.parametrize(("endpoint", "field"), FIELDS)
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
    is_a_choice_of_models = field == "model_name" or (field == "duration" and "enum" in fact)
    if is_a_choice_of_models or field == "multi_prompt.duration":
        expected["ge"] = expected["enum"] = None  # the model table decides; see below
    if field == "settings.duration":
        expected["enum"] = None
    if field == "multi_prompt.prompt":
        expected["min_length"] = 1  # an empty shot shows nothing
    if field == "series_amount":
        expected["enum"] = {"auto"}
    assert limits == {name: value for name, value in expected.items() if value is not None}


@pytest.mark.parametrize(("endpoint", "field"), [row for row in FIELDS if row[1] != "model_name"])
def test_a_default_is_the_one_of_the_facts(endpoint: str, field: str):
    default = default_of(model_fields(endpoint)[field])
    fact = fields_of(endpoint)[field].get("default")
    assert (None if default is None else default.value) == fact
    assert type(fact) in (type(None), str, bool, int, float)
    assert default is None or isinstance(default.value, bool) is isinstance(fact, bool)


@pytest.mark.parametrize("endpoint", NAMES)
def test_the_picture_fields_are_those_of_the_facts(endpoint: str):
    fields = fields_of(endpoint)
    pictures = {name for name, field in fields.items() if "image" in field}
    pictures |= {"scene_image", "style_image", "input.images"} & set(fields)  # the facts say so in words
    if "contents" in fields and any(
        "image" in kind or "frame" in kind for kind in fields["contents"]["item_types"]
    ):
        pictures.add("contents.url")
    assert {name.replace("[]", "") for name in ENDPOINTS[endpoint].pictures} == pictures


@pytest.mark.parametrize("endpoint", NAMES)
def test_the_sound_fields_are_those_of_the_facts(endpoint: str):
    sounds = {
        name
        for name, field in fields_of(endpoint).items()
        if "base64" in field.get("notes", "") and "5 MB" in field["notes"]
    }
    assert {name.replace("[]", "") for name in ENDPOINTS[endpoint].sounds} == sounds


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


@pytest.mark.parametrize("endpoint", [name for name in NAMES if "contents" in fields_of(name)])
def test_the_contents_are_of_the_types_of_the_facts(endpoint: str):
    kinds = fields_of(endpoint)["contents"]["item_types"]
    assert limits_of(model_fields(endpoint)["contents.type"])["enum"] == set(kinds)
    assert set(kinds) <= set(HOLDS)


def test_the_retired_scenes_are_those_of_the_facts():
    retired = ENDPOINT_FACTS["effects"]["retired_scenes"]
    assert {scene: day for day, scenes in retired.items() for scene in scenes} == RETIRED_SCENES


# -- models


@pytest.mark.parametrize("endpoint", [name for name in ASKED if "model_name" in fields_of(name)])
def test_the_known_models_are_those_of_the_facts(endpoint: str):
    older = set(FACTS["capability_matrix"]["image"]["older"])
    current = set(fields_of(endpoint)["model_name"]["enum"])
    known = models_at(endpoint)
    assert set(known) - current <= (older if ENDPOINTS[endpoint].kind == "image" else set())
    assert current <= set(known)


@pytest.mark.parametrize(
    "endpoint", [name for name in ASKED if models_at(name) and name not in ("effects", "video-extend")]
)
def test_the_modes_durations_and_resolutions_are_those_of_the_facts(endpoint: str):
    offers = [model.offers[endpoint] for model in models_at(endpoint).values()]
    before = "settings." if ENDPOINTS[endpoint].dialect == "new" else ""
    fields = fields_of(endpoint)
    durations = fields.get(f"{before}duration")
    assert {each for offer in offers for each in offer.durations} == set(
        durations_of(durations) if durations else ()
    )
    quality = fields.get("mode") or fields.get(f"{before}resolution")
    if endpoint in ("images/multi-image2image", "kolors-virtual-try-on"):
        assert quality is None
    else:
        assert {each for offer in offers for each in offer.qualities} == set(
            quality["enum"] if quality else ()
        )


def test_the_models_reported_as_retired_are_known_as_such():
    known = set(FACTS["retired"]["reported"]) & set(MODELS)
    assert {name for name, model in MODELS.items() if model.retired} == known
    assert all(MODELS[model.retired].retired is None for model in MODELS.values() if model.retired)


def test_the_old_models_of_pictures_are_known_as_retired():
    older = set(FACTS["capability_matrix"]["image"]["older"])
    assert {name for name, model in IMAGE_MODELS.items() if model.retired} == older
    assert all(
        IMAGE_MODELS[model.retired].retired is None for model in IMAGE_MODELS.values() if model.retired
    )


def test_the_names_that_do_not_exist_are_known_as_such():
    assert set(NOT_MODELS) == set(FACTS["capability_matrix"]["not_models"])
    assert set(NOT_MODELS.values()) <= set(MODELS)
    assert not set(NOT_MODELS) & set(MODELS)


# -- errors and hosts


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


# -- prices of text2video and image2video

#: What they offer there. Prices of the others: test_pricing.py.
OFFERS = {
    name: offer
    for name, model in MODELS.items()
    if (offer := model.offers.get("image2video", model.offers.get("text2video"))) is not None
}


def _prices() -> Iterator[tuple[dict[str, Any], Decimal]]:
    pricing = FACTS["pricing"]
    sounds = {
        "silent": {},
        "sound": {"sound": "on"},
        "sound_and_voice": {"sound": "on", "voice_list": [{"voice_id": "1"}]},
    }
    for model, modes in pricing["video_units_per_second"].items():
        for mode, price in modes.items() if model in OFFERS else ():
            if mode not in OFFERS[model].qualities:
                continue
            for sound, rate in (price if isinstance(price, dict) else {"silent": price}).items():
                for duration in OFFERS[model].durations:
                    request = {"model_name": model, "mode": mode, "duration": duration, **sounds[sound]}
                    yield request, Decimal(str(rate)) * int(duration)
    for model, price in pricing["video_units_per_clip_5s_10s"].items():
        for mode, pair in (price if isinstance(price, dict) else {"": price}).items():
            for duration, units in zip(("5", "10"), pair, strict=True) if model in OFFERS else ():
                yield (
                    {"model_name": model, "duration": duration} | ({"mode": mode} if mode else {}),
                    Decimal(str(units)),
                )


PRICES = list(_prices())


def test_the_price_list_of_the_facts_covers_every_known_model():
    assert {request["model_name"] for request, _ in PRICES} == set(OFFERS)


@pytest.mark.parametrize("model", sorted(OFFERS))
def test_an_estimate_is_the_published_price(model: str):
    published = [(body, units) for body, units in PRICES if body["model_name"] == model]
    assert [(body, estimate_units("image2video", body)) for body, _ in published] == published


def test_a_unit_costs_what_the_facts_say():
    assert Decimal(str(FACTS["pricing"]["currency_per_video_unit_usd"])) == USD_PER_VIDEO_UNIT
