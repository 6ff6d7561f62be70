"""Hold a request against its model and the capability matrix."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from kling_provider.api.capabilities import (
    DEFAULT_DURATION,
    DEFAULT_MODE,
    MODELS,
    Model,
    closest_model,
    models_for,
    models_with_duration,
)
from kling_provider.api.endpoints import Endpoint
from kling_provider.api.errors import InvalidRequest, show
from kling_provider.api.messages import explain
from kling_provider.api.requests.table import REQUESTS


@dataclass(frozen=True, slots=True)
class CheckedRequest:
    """A request that passed every rule that can be checked without its pictures.

    :param endpoint: where it goes.
    :param given: what the caller gave, coerced; pictures still as path, URI, URL or bytes.
    :param body: the same with the defaults that decide what is billed.
    :param warnings: what the vendor may refuse although it is not certain.
    """

    endpoint: Endpoint
    given: dict[str, Any]
    body: dict[str, Any]
    warnings: tuple[str, ...] = ()


def check_request(
    endpoint: Endpoint, request: Mapping[str, Any], default_model: str | None = None
) -> CheckedRequest:
    """Check a request against the endpoint's model and the capability matrix.

    :param endpoint: where it goes; a raw path has no model and is only copied.
    :param request: Kling's own field names. An empty string or None means unset. Never changed.
    :param default_model: sent as ``model_name`` where the caller gave none.
    :raises InvalidRequest: naming field, value, rule and way out, all problems at once.
    """
    if not isinstance(request, Mapping):
        raise InvalidRequest(f"request={show(request, 60)} is not a dict of Kling's fields.")
    fields = {str(name): value for name, value in request.items() if value is not None and value != ""}
    model_class = REQUESTS.get(endpoint.name)
    if model_class is None:
        return CheckedRequest(endpoint, fields, dict(fields))
    try:
        given = model_class.model_validate(fields).given()
    except ValidationError as error:
        raise InvalidRequest(explain(error, fields, model_class, endpoint.name))
    camera = given.get("camera_control")
    if camera and camera["type"] != "simple":
        camera.pop("config", None)
    body = {"model_name": given.get("model_name") or default_model, **given}
    return CheckedRequest(endpoint, given, *_apply_model(endpoint.name, body))


def _apply_model(endpoint: str, body: dict[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Fill in mode and duration, which decide the price, and hold the request against its model."""
    name = str(body["model_name"])
    model = MODELS.get(name)
    if model is None or endpoint not in model.endpoints:
        close = closest_model(name, endpoint)
        hint = f" Did you mean {close!r}?" if close else ""
        known = ", ".join(models_for(endpoint))
        return body, (
            f"model_name={name!r} is not a known model of {endpoint} and is sent as it is.{hint} Known: {known}.",
        )
    if model.modes:
        body = {**body, "mode": body.get("mode", DEFAULT_MODE)}
    body = {**body, "duration": body.get("duration", DEFAULT_DURATION)}
    _refuse_what_never_worked(endpoint, body, model)
    return body, tuple(_doubts(endpoint, body, model))


def _refuse_what_never_worked(endpoint: str, body: Mapping[str, Any], model: Model) -> None:
    if body["duration"] not in model.durations:
        others = models_with_duration(body["duration"], endpoint)
        way_out = f", or a model that makes {body['duration']} s clips: {', '.join(others)}" if others else ""
        raise InvalidRequest(
            f"{endpoint}: duration={body['duration']!r} is not offered by {model.name}, which makes clips of "
            f"{', '.join(model.durations)} s. Use one of these{way_out}."
        )
    mode = body.get("mode")
    if mode is not None and mode not in model.modes:
        way_out = f"Use one of {', '.join(model.modes)}" if model.modes else "Leave mode out"
        raise InvalidRequest(f"{endpoint}: mode={mode!r} is not offered by {model.name}. {way_out}.")


def _doubts(endpoint: str, body: Mapping[str, Any], model: Model) -> list[str]:
    """What the vendor's matrix does not list. A gateway may do it, so it is said, not refused."""
    mode, duration = str(body.get("mode") or ""), str(body["duration"])
    asked = {
        "cfg_scale": "cfg_scale" in body,
        f"{endpoint}.camera_control": "camera_control" in body,
        "image_tail": "image_tail" in body and "image" in body,
        "image_tail_only": "image_tail" in body and "image" not in body,
        "masks": "static_mask" in body or "dynamic_masks" in body,
        "sound": body.get("sound") == "on",
        "multi_shot": bool(body.get("multi_shot")),
        "element_list": "element_list" in body,
        "voice_list": "voice_list" in body,
    }
    doubts = [
        f"Kling's documents do not list {feature.split('.')[-1].replace('_only', ' without image')} for "
        f"{model.name} with mode={mode or 'none'} and duration={duration}; it may be refused."
        for feature, is_asked in asked.items()
        if is_asked and not model.offers(feature, mode, duration)
    ]
    if model.retired:
        doubts.append(
            f"{model.name} is being retired by Kling and may be refused; consider {model.retired!r}."
        )
    return doubts
