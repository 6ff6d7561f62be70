"""Hold a request against its model and the capability matrix."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import ValidationError

from kling_provider.api.dialects import NEW_PATHS, to_new
from kling_provider.api.endpoints import Dialect, Endpoint, endpoint_for
from kling_provider.api.errors import InvalidRequest, show
from kling_provider.api.messages import problems_of, read_json
from kling_provider.api.places import change_each
from kling_provider.api.requests.matrix import doubts_about, notes_on_the_model, offer_for
from kling_provider.api.requests.parts import WORDS, KlingRequest, looks_like_base64, show_value
from kling_provider.api.requests.table import REQUESTS

#: How strict the tables are taken: what they do not list is refused, warned about, or not looked at.
Validate = Literal["strict", "warn", "off"]

_JINJA = ("{{", "{%", "{#")
#: Where one of these cannot be read, nothing can be said about what the model offers.
_DECISIVE = frozenset({"model_name", "mode", "duration", "resolution", "settings", "contents"})
_IF_WE_ARE_OLD = "If Kling offers it by now, validate='warn' sends it all the same."


@dataclass(frozen=True, slots=True)
class CheckedRequest:
    """A request that passed every rule that can be checked without its pictures.

    :param endpoint: where it goes.
    :param given: what the caller gave, coerced; pictures still as path, URI, URL or bytes.
    :param body: the same with the defaults that decide what is billed.
    :param warnings: what the vendor may refuse although it is not certain, and what it ignores.
    """

    endpoint: Endpoint
    given: dict[str, Any]
    body: dict[str, Any]
    warnings: tuple[str, ...] = ()


def check_request(
    endpoint: Endpoint,
    request: Mapping[str, Any],
    default_model: str | None = None,
    *,
    validate: Validate = "strict",
) -> CheckedRequest:
    """Check a request against the endpoint's model and the capability matrix.

    :param endpoint: where it goes; a raw path has no model and is only copied.
    :param request: Kling's own field names. An empty string or None means unset. Never changed.
    :param default_model: sent as ``model_name`` where the caller gave none.
    :param validate: ``strict`` refuses what breaks a rule or is not in the tables; ``warn`` says it and sends the
        request as far as it can be read, the rest as given; ``off`` does the same and says nothing.
    :raises InvalidRequest: naming field, value, rule and way out, all problems at once. In every mode for
        pictures and sounds that are given as text.
    """
    if not isinstance(request, Mapping):
        raise InvalidRequest(f"request={show(request, 60)} is not a dict of Kling's fields.")
    fields = _without_unset(request)
    model_class = REQUESTS.get(endpoint.name)
    if model_class is None:
        _refuse_data_anywhere(endpoint, fields)
        return CheckedRequest(endpoint, fields, dict(fields))
    given, problems, unread = _read(model_class, fields)
    if validate == "off":
        _refuse_data(endpoint, fields)
        return CheckedRequest(endpoint, given, _body(endpoint, model_class, given, default_model))
    body = _body(endpoint, model_class, given, default_model)
    notes: list[str] = []
    if not unread & _DECISIVE:
        read = {name: value for name, value in body.items() if name not in unread}
        doubts = doubts_about(endpoint.name, read)
        problems += [*doubts, _IF_WE_ARE_OLD] if doubts and validate == "strict" else doubts
        notes = _notes(endpoint, model_class, read)
    if problems and validate == "strict":
        raise InvalidRequest(f"{endpoint.name}: {' '.join(problems)}")
    _refuse_data(endpoint, fields)
    return CheckedRequest(endpoint, given, body, (*(f"{endpoint.name}: {said}" for said in problems), *notes))


def check_literals(
    endpoint: str,
    request: Mapping[str, Any],
    validate: Validate = "strict",
    dialect: Dialect = "classic",
) -> tuple[str, ...]:
    """Check those values of a request that no template can change, where a DAG is parsed.

    A field with a template in it is not judged, nor is a rule over several fields as long as one of them may
    change; the capability matrix only where the model is named, because the default depends on the connection.

    :param endpoint: name of the endpoint; one with a template or a raw path is left to the worker.
    :param request: Kling's own field names.
    :param validate: as for :func:`check_request`; with ``off`` no field is looked at.
    :param dialect: ``new`` for a classic request that is to be said in the new dialect.
    :returns: warnings.
    :raises InvalidRequest: for an endpoint that there is not; with ``strict``: naming field, value, rule and way out.
    """
    if not isinstance(endpoint, str) or not _is_literal(endpoint):
        return ()
    row = endpoint_for(endpoint)
    is_said_anew = dialect == "new" and row.dialect == "classic" and not row.is_raw
    if is_said_anew and row.name not in NEW_PATHS:
        to_new(row, {})  # says that there is no counterpart
    if row.name not in REQUESTS or validate == "off" or not isinstance(request, Mapping):
        return ()
    model_class, given = REQUESTS[row.name], _without_unset(request)
    literal = {name: value for name, value in given.items() if _is_literal(value)}
    is_whole = len(literal) == len(given)
    if is_whole and ("model_name" in literal or "model_name" not in model_class.model_fields):
        checked = check_request(row, literal, validate=validate)
        if is_said_anew and validate == "strict":
            to_new(row, checked.body)
        return checked.warnings
    problems = _problems(model_class, literal, _any if is_whole else _is_about_one_of(literal))
    if problems and validate == "strict":
        raise InvalidRequest(f"{row.name}: {' '.join(problems)}")
    return tuple(f"{row.name}: {said}" for said in problems)


def _without_unset(request: Mapping[str, Any]) -> dict[str, Any]:
    return {str(name): value for name, value in request.items() if value is not None and value != ""}


def _read(
    model_class: type[KlingRequest], fields: Mapping[str, Any]
) -> tuple[dict[str, Any], list[str], set[str]]:
    """The fields as far as they can be read, what is wrong with them, and the names of those left as given."""
    try:
        return model_class.model_validate(fields).given(), [], set()
    except ValidationError as error:
        problems = problems_of(error, fields, model_class)
    given: dict[str, Any] = {}
    unread = set()
    for name, value in fields.items():
        try:
            given |= model_class.read_one(name, value)
        except ValidationError:
            given[name] = value
            unread.add(name)
    return given, problems, unread


def _notes(endpoint: Endpoint, model_class: type[KlingRequest], body: Mapping[str, Any]) -> list[str]:
    notes = [
        f"{endpoint.name}: {name}={show_value(body[name])} is ignored by Kling {why}."
        for name, why in model_class.ignored(body).items()
        if name in body
    ]
    if "model_name" in model_class.model_fields:
        notes += notes_on_the_model(endpoint.name, body)
    return notes


def _problems(
    model_class: type[KlingRequest], fields: Mapping[str, Any], told: Callable[[Mapping[str, Any]], bool]
) -> list[str]:
    try:
        model_class.model_validate(fields)
    except ValidationError as error:
        return problems_of(error, fields, model_class, told)
    return []


def _any(_item: Mapping[str, Any]) -> bool:
    return True


def _is_about_one_of(names: Mapping[str, Any]) -> Callable[[Mapping[str, Any]], bool]:
    return lambda item: bool(item["loc"]) and item["loc"][0] in names


def _is_literal(value: Any) -> bool:
    if isinstance(value, str):
        return not any(mark in value for mark in _JINJA)
    if isinstance(value, Mapping):
        return all(_is_literal(item) for item in value.values())
    if isinstance(value, list | tuple):
        return all(_is_literal(item) for item in value)
    return value is None or isinstance(value, bool | int | float | bytes | bytearray)


def _body(
    endpoint: Endpoint, model_class: type[KlingRequest], given: Mapping[str, Any], default_model: str | None
) -> dict[str, Any]:
    """Fill in what decides the price. Where the model is not known, nobody knows its defaults either."""
    body = dict(given)
    if "model_name" in model_class.model_fields:
        if not body.get("model_name") and default_model:
            body = {"model_name": default_model, **body}
        offer = offer_for(endpoint.name, body)
        if offer is None:
            return body
        quality = () if offer.qualities else (offer.quality_field,)
        return model_class.with_defaults(body, without={*quality, *model_class.ignored(body)})
    return model_class.with_defaults(body, without=model_class.ignored(body))


def _refuse_data_anywhere(endpoint: Endpoint, value: Any, label: str = "") -> None:
    """The same where nobody knows which fields take pictures."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            _refuse_data_anywhere(endpoint, item, f"{label}.{name}" if label else str(name))
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            _refuse_data_anywhere(endpoint, item, f"{label}[{number}]")
    elif isinstance(value, str) and label.rpartition(".")[2] not in WORDS and looks_like_base64(value):
        raise InvalidRequest(
            f"{endpoint.name}: {label}={show(value, 32)} holds picture or sound data; give a URL instead, or bytes to "
            "KlingHook.submit."
        )


def _refuse_data(endpoint: Endpoint, fields: Mapping[str, Any]) -> None:
    """A picture as text would stand in logs, XComs and the database."""

    def refuse(value: Any, label: str) -> Any:
        if isinstance(value, str) and looks_like_base64(value):
            raise InvalidRequest(
                f"{endpoint.name}: {label}={show(value, 32)} holds picture or sound data; give a path, a URI or "
                "a URL instead."
            )
        return value

    change_each(
        {name: read_json(value) for name, value in fields.items()},
        (*endpoint.pictures, *endpoint.sounds),
        refuse,
    )
