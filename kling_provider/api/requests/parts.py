"""What request models are made of: the base classes, the shared objects, and readers of field values.

Limits come from Kling's API documents.
"""

from __future__ import annotations

import json
import os
import re
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from kling_provider.api.identity import check_user_id

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


class Part(BaseModel):
    """A request or a part of one: unknown fields are mistakes."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        protected_namespaces=(),
        coerce_numbers_to_str=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,
    )


class CameraConfig(Part):
    """The six movements of a ``simple`` camera, each from -10 to 10; exactly one is not zero."""

    horizontal: CameraValue = 0
    vertical: CameraValue = 0
    pan: CameraValue = 0
    tilt: CameraValue = 0
    roll: CameraValue = 0
    zoom: CameraValue = 0


class CameraControl(Part):
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


class Point(Part):
    """One point of a path, in pixels, origin bottom-left."""

    x: int
    y: int


class DynamicMask(Part):
    """A part of the picture (``mask``) and the path it follows (2 to 77 points for a 5 s clip)."""

    mask: Picture
    trajectories: Annotated[list[Point], Json, Field(min_length=MIN_POINTS, max_length=MAX_POINTS)]


class Shot(Part):
    """One shot of a multi-shot video; ``duration`` in seconds."""

    index: int
    prompt: Annotated[str, Field(min_length=1, max_length=MAX_SHOT_PROMPT)]
    duration: Seconds


class ElementRef(Part):
    """An element of the account, by id."""

    element_id: int


class VoiceRef(Part):
    """A voice of the account, by id."""

    voice_id: str


class WatermarkInfo(Part):
    """Whether a watermarked copy is made as well."""

    enabled: bool = False


class KlingRequest(Part):
    """The body of one endpoint."""

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


class TaskRequest(KlingRequest):
    """What every classic create of a task takes."""

    callback_url: Annotated[str | None, BeforeValidator(_web_address)] = None
    external_task_id: Annotated[str | None, BeforeValidator(_user_id)] = None


class WatermarkedRequest(TaskRequest):
    """A task whose result can come with a watermarked copy."""

    watermark_info: Annotated[WatermarkInfo | None, Json] = None
