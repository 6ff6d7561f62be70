"""JSON types as they have to arrive: the request models are kinder, they also read rendered templates."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from kling_provider.api.errors import shorten
from kling_provider.api.requests import REQUESTS
from kling_provider.simulator.refusals import Refusal

#: Type of a schema -> the types of Python that JSON of it is read as.
_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "number": (int, float),
    "integer": (int,),
    "boolean": (bool,),
    "object": (dict,),
    "array": (list,),
    "null": (type(None),),
}


def check_types(endpoint: str, fields: Mapping[str, Any]) -> None:
    """See that every field has the JSON type of its request model. Unknown fields are not looked at.

    :raises Refusal: 1201, naming the field.
    """
    if endpoint in REQUESTS:
        schema = _schema(endpoint)
        _check(fields, schema, schema.get("$defs", {}), "")


def known_fields(endpoint: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that are in the documents, in the objects of a request too; of any type."""
    if endpoint not in REQUESTS:
        return dict(fields)
    schema = _schema(endpoint)
    return dict(_known(fields, schema, schema.get("$defs", {})))


@cache
def _schema(endpoint: str) -> Mapping[str, Any]:
    return REQUESTS[endpoint].model_json_schema()


def _check(value: Any, schema: Mapping[str, Any], parts: Mapping[str, Any], label: str) -> None:
    allowed = [one for one in _branches(schema, parts) if one.get("type")]
    fitting = [one for one in allowed if _is(value, one["type"])]
    if allowed and not fitting:
        words = " or ".join(dict.fromkeys(one["type"] for one in allowed if one["type"] != "null"))
        raise Refusal(1201, f"{label} invalid: {shorten(value, 32)} is not a {words}")
    for one in fitting[:1]:
        for name, inner in one.get("properties", {}).items():
            if isinstance(value, Mapping) and value.get(name) not in (None, ""):
                _check(value[name], inner, parts, f"{label}.{name}" if label else name)
        if isinstance(value, list) and "items" in one:
            for number, item in enumerate(value):
                _check(item, one["items"], parts, f"{label}[{number}]")


def _known(value: Any, schema: Mapping[str, Any], parts: Mapping[str, Any]) -> Any:
    for one in _branches(schema, parts):
        if isinstance(value, Mapping) and "properties" in one:
            inner = one["properties"]
            return {name: _known(item, inner[name], parts) for name, item in value.items() if name in inner}
        if isinstance(value, list) and "items" in one:
            return [_known(item, one["items"], parts) for item in value]
    return value


def _branches(schema: Mapping[str, Any], parts: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """A schema without references and alternatives."""
    if "$ref" in schema:
        return _branches(parts[schema["$ref"].rpartition("/")[2]], parts)
    alternatives = schema.get("anyOf") or schema.get("oneOf")
    if alternatives:
        return [one for alternative in alternatives for one in _branches(alternative, parts)]
    return [schema]


def _is(value: Any, name: str) -> bool:
    is_boolean = isinstance(value, bool)
    return isinstance(value, _TYPES[name]) and (name == "boolean" or not is_boolean)
