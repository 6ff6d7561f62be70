"""What may be asked of each endpoint: one pydantic model per endpoint, with every field and limit.

Limits come from Kling's API documents. A new endpoint is one model here and one row in ``endpoints.py``.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

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
from kling_provider.api.identity import check_user_id
from kling_provider.api.messages import explain

#: Longest prompt and negative_prompt of the classic dialect, in characters.
MAX_PROMPT = 2500
MAX_SHOT_PROMPT = 512
MAX_SHOTS = 6
MAX_MASKS = 6
MIN_POINTS = 2
MAX_POINTS = 77  # for a clip of 5 s
MAX_ELEMENTS = 3
MAX_VOICES = 2
MAX_CAMERA = 10.0

_BASE64_START = re.compile(r"iVBORw0KGgo|[/_]9j[/_][A-Za-z0-9+/_-]{8}|R0lGOD|UklGR")
_BASE64 = re.compile(r"[A-Za-z0-9+/\s]{200,}={0,2}\s*")


def _from_json(value: object) -> object:
    """A rendered template is a string; read it as the object or list it stands for."""
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        try:
            return json.loads(value)
        except ValueError as error:
            raise ValueError(f"is not valid JSON ({error})")
    return value


def _whole_number(value: object) -> object:
    """``5.0`` means ``5``: templates and JSON make floats of whole numbers."""
    if isinstance(value, str):
        return value.removesuffix(".0")
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _picture(value: object) -> object:
    """A picture is a URL, a URI or a path; bytes come from hooks. Never text that holds the picture."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, str) and looks_like_base64(value):
        raise ValueError("holds picture data; give a path, a URI or a URL instead")
    return value


def looks_like_base64(value: str) -> bool:
    """Whether a string is a picture itself rather than the place where one lies."""
    value = value.strip()
    if value[:5].lower() == "data:":
        return True
    if "://" in value[:16] or "." in value[-6:]:
        return False
    return bool(_BASE64_START.match(value) or _BASE64.fullmatch(value))


def _web_address(value: object) -> object:
    if isinstance(value, str):
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise ValueError("is not an http or https address; Kling calls it from outside")
    return value


def _user_id(value: object) -> object:
    return check_user_id(str(value))


Json = BeforeValidator(_from_json)
Picture = Annotated[str | bytes, BeforeValidator(_picture)]
Seconds = Annotated[str, BeforeValidator(_whole_number), Field(pattern=r"^[1-9][0-9]?$")]
CameraValue = Annotated[float, Field(ge=-MAX_CAMERA, le=MAX_CAMERA)]


class _Part(BaseModel):
    """A request or a part of one: unknown fields are mistakes."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        protected_namespaces=(),
        coerce_numbers_to_str=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,
    )


class CameraConfig(_Part):
    """The six movements of a ``simple`` camera, each from -10 to 10; exactly one is not zero."""

    horizontal: CameraValue = 0
    vertical: CameraValue = 0
    pan: CameraValue = 0
    tilt: CameraValue = 0
    roll: CameraValue = 0
    zoom: CameraValue = 0


class CameraControl(_Part):
    """A camera movement: ``simple`` with one value, or a preset without any."""

    type: Literal["simple", "down_back", "forward_up", "right_turn_forward", "left_turn_forward"]
    config: Annotated[CameraConfig | None, Json] = None

    @model_validator(mode="after")
    def _one_value_for_simple(self) -> Self:
        values = self.config.model_dump() if self.config else {}
        moved = {name: value for name, value in values.items() if value != 0}
        if self.type == "simple" and len(moved) != 1:
            raise ValueError(
                f"config={moved}: type 'simple' needs exactly one value that is not zero; "
                f"{'keep one of them' if moved else 'set one of ' + ', '.join(CameraConfig.model_fields)}"
            )
        if self.type != "simple" and moved:
            raise ValueError(
                f"config={moved}: type {self.type!r} is a preset and takes no config; leave config out, "
                "or use type 'simple'"
            )
        return self


class Point(_Part):
    """One point of a path, in pixels, origin bottom-left."""

    x: int
    y: int


class DynamicMask(_Part):
    """A part of the picture (``mask``) and the path it follows (2 to 77 points for a 5 s clip)."""

    mask: Picture
    trajectories: Annotated[list[Point], Json, Field(min_length=MIN_POINTS, max_length=MAX_POINTS)]


class Shot(_Part):
    """One shot of a multi-shot video; ``duration`` in seconds."""

    index: int
    prompt: Annotated[str, Field(min_length=1, max_length=MAX_SHOT_PROMPT)]
    duration: Seconds


class ElementRef(_Part):
    """An element of the account, by id."""

    element_id: int


class VoiceRef(_Part):
    """A voice of the account, by id."""

    voice_id: str


class WatermarkInfo(_Part):
    """Whether a watermarked copy is made as well."""

    enabled: bool = False


class KlingRequest(_Part):
    """What every classic create takes."""

    callback_url: Annotated[str | None, BeforeValidator(_web_address)] = None
    external_task_id: Annotated[str | None, BeforeValidator(_user_id)] = None
    watermark_info: Annotated[WatermarkInfo | None, Json] = None

    def given(self) -> dict[str, Any]:
        """The fields the caller gave, coerced to their types, without nulls."""
        return self.model_dump(exclude_unset=True, exclude_none=True)

    @classmethod
    def own_fields(cls) -> list[str]:
        """The endpoint's fields, without the caller's id, which operators take for every endpoint."""
        return [name for name in cls.model_fields if name != "external_task_id"]

    @classmethod
    def json_fields(cls) -> list[str]:
        """The fields that are objects or lists."""
        return [name for name, field in cls.model_fields.items() if Json in field.metadata]


class VideoRequest(KlingRequest):
    """What text2video and image2video share."""

    model_name: Annotated[str | None, Field(pattern=r"^[A-Za-z0-9._-]{1,80}$")] = None
    prompt: Annotated[str | None, Field(max_length=MAX_PROMPT)] = None
    negative_prompt: Annotated[str | None, Field(max_length=MAX_PROMPT)] = None
    mode: Literal["std", "pro", "4k"] | None = None
    duration: Seconds | None = None
    sound: Literal["on", "off"] | None = None
    cfg_scale: Annotated[float | None, Field(ge=0, le=1)] = None
    camera_control: Annotated[CameraControl | None, Json] = None
    multi_shot: bool | None = None
    shot_type: Literal["customize", "intelligence"] | None = None
    multi_prompt: Annotated[list[Shot] | None, Json, Field(min_length=1, max_length=MAX_SHOTS)] = None

    @model_validator(mode="after")
    def _multi_shot_is_whole(self) -> Self:
        if not self.multi_shot:
            if self.multi_prompt or self.shot_type:
                raise ValueError("shot_type and multi_prompt only work with multi_shot=true; set it")
            return self
        if self.shot_type is None:
            raise ValueError("multi_shot=true needs shot_type: 'customize' or 'intelligence'")
        if self.shot_type == "intelligence" and not self.prompt:
            raise ValueError("shot_type='intelligence' needs prompt: Kling cuts it into shots itself")
        if self.shot_type == "customize":
            self._check_shots()
        return self

    def _check_shots(self) -> None:
        if not self.multi_prompt:
            raise ValueError(
                f"shot_type='customize' needs multi_prompt: 1 to {MAX_SHOTS} shots of index, prompt, duration"
            )
        total = sum(int(shot.duration) for shot in self.multi_prompt)
        if total != int(self.duration or DEFAULT_DURATION):
            raise ValueError(
                f"multi_prompt lasts {total} s in all, but duration={self.duration or DEFAULT_DURATION!r}; "
                "make the shots add up to duration"
            )


class Text2VideoRequest(VideoRequest):
    """A video from a prompt (``POST /v1/videos/text2video``)."""

    aspect_ratio: Literal["16:9", "9:16", "1:1"] | None = None

    @model_validator(mode="after")
    def _has_a_prompt(self) -> Self:
        if not self.prompt and self.shot_type != "customize":
            raise ValueError("prompt is required: say what the video shows")
        return self


class Image2VideoRequest(VideoRequest):
    """A video from a first and/or last frame (``POST /v1/videos/image2video``)."""

    image: Picture | None = None
    image_tail: Picture | None = None
    static_mask: Picture | None = None
    dynamic_masks: Annotated[list[DynamicMask] | None, Json, Field(max_length=MAX_MASKS)] = None
    element_list: Annotated[list[ElementRef] | None, Json, Field(max_length=MAX_ELEMENTS)] = None
    voice_list: Annotated[list[VoiceRef] | None, Json, Field(max_length=MAX_VOICES)] = None

    @model_validator(mode="after")
    def _frames_and_exclusions(self) -> Self:
        if not self.image and not self.image_tail:
            raise ValueError("image or image_tail is required: at least one frame as a path, URI or URL")
        kinds = {
            "image_tail": bool(self.image_tail),
            "static_mask/dynamic_masks": bool(self.static_mask or self.dynamic_masks),
            "camera_control": self.camera_control is not None,
        }
        chosen = [name for name, is_set in kinds.items() if is_set]
        if len(chosen) > 1:
            raise ValueError(f"{' and '.join(chosen)} exclude each other; keep one of them")
        if self.voice_list and self.element_list:
            raise ValueError("voice_list and element_list exclude each other; keep one of them")
        if self.voice_list and self.sound != "on":
            raise ValueError("voice_list needs sound='on'")
        if self.multi_shot and self.image and self.image_tail:
            raise ValueError("multi_shot takes no pair of image and image_tail; leave image_tail out")
        return self


REQUESTS: Mapping[str, type[VideoRequest]] = {
    "text2video": Text2VideoRequest,
    "image2video": Image2VideoRequest,
}


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
