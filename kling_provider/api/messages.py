"""Turn a pydantic error into a sentence that names field, value, rule and way out."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from difflib import get_close_matches
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError

from kling_provider.api.errors import show

#: How much of a wrong value is shown. Enough to recognise it, too little to leak a picture.
SHOWN = 32

#: What people write, and what is meant, where an endpoint has that. The ancient field `model` is accepted by Kling and
#: ignored, so the retired default model would be used.
_RENAMED: Mapping[str, tuple[str, ...]] = {
    "model": ("model_name",),
    "image_url": ("image", "image_list"),
    "image": ("image_url", "image_list", "human_image"),
    "images": ("image_list", "image"),
    "image_list": ("image",),
    "end_image": ("image_tail",),
    "audio_url": ("sound_file",),
    "audio": ("sound_file",),
    "video": ("video_url", "video_list"),
    "task_id": ("video_id",),
    "negative": ("negative_prompt",),
}


def problems_of(
    error: ValidationError,
    request: Mapping[str, Any],
    model: type[BaseModel],
    told: Callable[[Mapping[str, Any]], bool] = lambda item: True,
) -> list[str]:
    """Say everything that is wrong with a request, one sentence each.

    :param error: what pydantic found.
    :param request: the request it looked at.
    :param model: the model it was held against.
    :param told: which of pydantic's findings are told.
    """
    # A picture is text or bytes, so a wrong one is told twice: once is enough.
    found = error.errors(include_url=False)
    mistakes = [item for item in found if item["type"] != "bytes_type" and told(item)]
    return [_sentence(item, request, model) for item in mistakes]


def _sentence(item: Mapping[str, Any], request: Mapping[str, Any], model: type[BaseModel]) -> str:
    location = tuple(part for part in item["loc"] if not str(part).startswith("function-"))
    location = tuple(part for part in location if part not in ("str", "bytes"))
    name = _dotted(location)
    rule = _rule(item, location, model)
    if not name:
        return f"{rule}."
    if item["type"] in ("missing", "extra_forbidden"):
        return f"{name} {rule}."
    if rule.startswith(f"{location[-1]}="):
        return f"{rule}."
    value = _value(request, location)
    if isinstance(value, dict | list) and item["type"] == "value_error":
        return f"{name}: {rule}."
    return f"{name}={show(value, SHOWN)} {rule}." if value is not None else f"{name}: {rule}."


def _rule(  # noqa: PLR0911 - one return per kind of mistake reads best
    item: Mapping[str, Any], location: tuple[str | int, ...], model: type[BaseModel]
) -> str:
    context = item.get("ctx", {})
    match item["type"]:
        case "missing":
            return f"is required: give {_wanted(model, location)}"
        case "extra_forbidden":
            unknown = str(location[-1])
            known = _fields_at(model, location[:-1])
            meant = [name for name in _RENAMED.get(unknown, ()) if name in known]
            close = meant or get_close_matches(unknown, known)
            hint = f"did you mean {close[0]!r}" if close else f"known: {', '.join(known)}"
            return f"is not a field of this request; {hint}"
        case "literal_error":
            return f"is not one of {context['expected']}; use one of these"
        case "greater_than_equal":
            return f"is too small: use {context['ge']:g} or more"
        case "less_than_equal":
            return f"is too large: use {context['le']:g} or less"
        case "string_too_long":
            return f"is too long: at most {context['max_length']} characters; shorten it"
        case "string_too_short":
            return "is empty; say something"
        case "too_short":
            return f"has {context['actual_length']} items: give at least {context['min_length']}"
        case "too_long":
            return f"has {context['actual_length']} items: give at most {context['max_length']}"
        case "model_type" | "model_attributes_type":
            fields = ", ".join(_fields_at(model, location))
            return f"cannot be used: it has to be an object with {fields}"
        case "string_pattern_mismatch" if location and location[-1] == "duration":
            return "is not a whole number of seconds; write '5' or '10'"
        case "value_error":
            return str(context["error"]).rstrip(".")
        case _:
            return f"cannot be used: {str(item['msg'])[:1].lower()}{str(item['msg'])[1:]}"


def _dotted(location: tuple[str | int, ...]) -> str:
    name = ""
    for part in location:
        name += f"[{part}]" if isinstance(part, int) else f".{part}" if name else str(part)
    return name


def _value(request: Mapping[str, Any], location: tuple[str | int, ...]) -> object:
    value: Any = request
    for part in location:
        try:
            value = read_json(value[part])
        except (KeyError, IndexError, TypeError):
            return None
    return value


def read_json(value: Any) -> Any:
    """An object that came as a rendered string, to be looked into like any other; what is none stays."""
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        with suppress(ValueError):
            return json.loads(value)
    return value


def _wanted(model: type[BaseModel], location: tuple[str | int, ...]) -> str:
    """What a required field takes, where that is a few words."""
    for part in location[:-1]:
        if part in model.model_fields:
            model = _model_in(model.model_fields[str(part)].annotation) or model
    field = model.model_fields.get(str(location[-1]))
    if field is not None and get_origin(field.annotation) is Literal:
        return "one of " + ", ".join(repr(value) for value in get_args(field.annotation))
    return "it"


def _fields_at(model: type[BaseModel], location: tuple[str | int, ...]) -> list[str]:
    """The field names of the part of a request in which ``location`` lies."""
    for part in location:
        if part in model.model_fields:
            model = _model_in(model.model_fields[str(part)].annotation) or model
    return list(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for inner in get_args(annotation) if (found := _model_in(inner))), None)
