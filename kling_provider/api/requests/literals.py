"""What can be said of a request where a DAG is parsed: its literal values are checked, its templates are not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from kling_provider.api.endpoints import ENDPOINTS
from kling_provider.api.errors import InvalidRequest
from kling_provider.api.messages import explain
from kling_provider.api.requests.checking import Validate, check_request
from kling_provider.api.requests.table import REQUESTS

_JINJA = ("{{", "{%", "{#")


def check_literals(endpoint: str, request: Mapping[str, Any], validate: Validate = "strict") -> None:
    """Check those values of a request that no template can change.

    A field with a template in it is not judged, nor is a rule over several fields as long as one of them may
    change; the capability matrix only where the model is named, because the default depends on the connection.

    :param endpoint: name of the endpoint; one with a template, a raw path or a wrong one is left to the worker.
    :param request: Kling's own field names.
    :param validate: nothing is refused but with ``strict``.
    :raises InvalidRequest: naming field, value, rule and way out.
    """
    row = ENDPOINTS.get(endpoint) if isinstance(endpoint, str) else None
    if row is None or row.name not in REQUESTS or validate != "strict" or not isinstance(request, Mapping):
        return
    given = {name: value for name, value in request.items() if value is not None and value != ""}
    literal = {name: value for name, value in given.items() if _is_literal(value)}
    is_whole = len(literal) == len(given)
    if is_whole and ("model_name" in literal or "model_name" not in REQUESTS[row.name].model_fields):
        check_request(row, literal, validate=validate)
        return
    try:
        REQUESTS[row.name].model_validate(literal)
    except ValidationError as error:

        def is_certain(item: Mapping[str, Any]) -> bool:
            return is_whole or bool(item["loc"] and item["loc"][0] in literal)

        if any(is_certain(item) for item in error.errors()):
            raise InvalidRequest(explain(error, literal, REQUESTS[row.name], row.name, is_certain))


def _is_literal(value: Any) -> bool:
    if isinstance(value, str):
        return not any(mark in value for mark in _JINJA)
    if isinstance(value, Mapping):
        return all(_is_literal(item) for item in value.values())
    if isinstance(value, list | tuple):
        return all(_is_literal(item) for item in value)
    return isinstance(value, bool | int | float | bytes | bytearray)
