"""What request models are made of: the base classes, the shared objects, and readers of field values.

Limits come from Kling's API documents.
"""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, Self, get_args, get_origin
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    create_model,
    model_validator,
)
from pydantic.fields import FieldInfo

from kling_provider.api.capabilities import DEFAULT_DURATION
from kling_provider.api.errors import show
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
#: Images of one request: Kling makes up to 9 at once.
MAX_IMAGES = 9

_BASE64_START = re.compile(r"iVBORw0KGgo|[/_]9j[/_][A-Za-z0-9+/_-]{8}|R0lGOD|UklGR|SUQz[A-Za-z0-9+/]{8}")
#: Sounds that are no mp3, wav, m4a or aac. An ending that is in neither list says nothing.
_OTHER_SOUNDS = frozenset({".ogg", ".oga", ".opus", ".flac", ".wma", ".aiff", ".aif", ".amr"})
_BASE64 = re.compile(r"[A-Za-z0-9+/\r\n]{200,}={0,2}\s*")  # with blanks between, it is words


_REFERENCE = re.compile(r"<<<(image|element|video|voice)_(\d+)>>>")
#: Fields that hold words, which may look like base64: a long prompt without punctuation.
WORDS = frozenset({"text", "prompt"})


def _from_json(value: object) -> object:
    """A rendered template is a string; read it as the object or list it stands for."""
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        try:
            return json.loads(value)
        except ValueError as error:
            raise ValueError(f"is not valid JSON ({error})")
    return value


def _whole_seconds(value: object) -> object:
    """Kling wants text. ``5.0`` means ``5``: templates and JSON make floats of whole numbers."""
    if isinstance(value, str):
        return value.removesuffix(".0")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _picture(value: object) -> object:
    """A picture is a URL, a URI or a path; bytes come from hooks. Never text that holds the picture."""
    return _place_of(value, "picture")


def _sound(value: object) -> object:
    """A sound is given like a picture; the ending says whether Kling takes its kind."""
    value = _place_of(value, "sound")
    if isinstance(value, str):
        ending = PurePosixPath(urlsplit(value).path if "://" in value else value).suffix.lower()
        if ending in _OTHER_SOUNDS:
            raise ValueError(f"is no sound that Kling takes ({ending}); make it mp3, wav, m4a or aac")
    return value


def _place_of(value: object, kind: str) -> object:
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, str):
        if looks_like_base64(value):
            raise ValueError(f"holds {kind} data; give a path, a URI or a URL instead")
        if not value.strip():
            raise ValueError(f"is empty; give a {kind} as a path, a URI or a URL")
    return value


def looks_like_base64(value: str) -> bool:
    """Whether a string is a picture or sound itself rather than the place where one lies."""
    value = value.strip()
    if value[:5].lower() == "data:":
        return True
    if "://" in value[:16] or "." in value[-6:]:
        return False
    return bool(_BASE64_START.match(value) or _BASE64.fullmatch(value))


def _web_address(value: object) -> object:
    if isinstance(value, str) and not _is_web_address(value):
        raise ValueError("is not an http or https address; Kling calls it from outside")
    return value


def check_media_address(value: object) -> object:
    """Return ``value`` if it can be the address of a video (or of a voice to copy).

    :raises ValueError: for a path, a URI or data: unlike pictures, these have no way to Kling but a URL.
    """
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if isinstance(value, str) and not _is_web_address(value):
        raise ValueError(
            "is not an http or https address: Kling takes it only by URL and has no upload endpoint; store it "
            "where Kling can fetch it and give that URL, for example a presigned one"
        )
    return value


def _is_web_address(value: str) -> bool:
    try:
        parts = urlsplit(value)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.netloc)


def _user_id(value: object) -> object:
    return check_user_id(str(value))


def _is_an_id(value: str) -> str:
    if not value.strip():
        raise ValueError("is empty; give an id")
    if "://" in value:
        raise ValueError("is an address, and an id is wanted; look for a field that takes addresses")
    return value


def _says_something(value: str) -> str:
    """``None`` is what a template renders that finds nothing."""
    if not value.strip():
        raise ValueError("is blank; say something, or leave it out")
    if value.strip() == "None":
        raise ValueError("is what a template renders that finds nothing; look at where it comes from")
    return value


def check_references(words: Iterable[str | None], counts: Mapping[str, tuple[str, int]]) -> None:
    """See that what a prompt refers to is there.

    :param words: the prompt, or those of its shots.
    :param counts: kind of reference -> the field that holds it, and how many there are.
    :raises ValueError: naming the reference and the field.
    """
    for text in words:
        for kind, number in _REFERENCE.findall(text or ""):
            if kind in counts and not 1 <= int(number) <= counts[kind][1]:
                field, count = counts[kind]
                raise ValueError(
                    f"prompt refers to <<<{kind}_{number}>>>, but {field} has {count}; add it, or correct the number"
                )


def _one_decimal(value: float) -> float:
    if round(value, 1) != value:
        raise ValueError(f"has more than one decimal; use {round(value, 1)}")
    return value


@dataclass(frozen=True, slots=True)
class Default:
    """What Kling takes where a field is left out.

    :param value: Kling's default.
    :param is_sent: whether it is sent all the same, because it decides what is billed.
    """

    value: Any
    is_sent: bool = False


def default_of(field: FieldInfo) -> Default | None:
    """What Kling takes where this field of a model is left out; None where it has no default."""
    return next((item for item in field.metadata if isinstance(item, Default)), None)


Json = BeforeValidator(_from_json)
Picture = Annotated[str | bytes, BeforeValidator(_picture)]
Sound = Annotated[str | bytes, BeforeValidator(_sound)]
MediaUrl = Annotated[str, BeforeValidator(check_media_address)]
WebAddress = Annotated[str, BeforeValidator(_web_address)]
UserId = Annotated[str, BeforeValidator(_user_id)]
Id = Annotated[str, AfterValidator(_is_an_id)]
WholeSeconds = BeforeValidator(_whole_seconds)
Seconds = Annotated[str, WholeSeconds, Field(pattern=r"^[1-9][0-9]?$")]
CameraValue = Annotated[float, Field(ge=-MAX_CAMERA, le=MAX_CAMERA)]
ModelName = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,80}$")]
Words = AfterValidator(_says_something)
Prompt = Annotated[str, Field(max_length=MAX_PROMPT), Words]
OneDecimal = AfterValidator(_one_decimal)
Speed = Annotated[float, Field(ge=0.8, le=2.0), OneDecimal]
Guidance = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1, le=MAX_IMAGES)]
VideoRatio = Literal["16:9", "9:16", "1:1"]
ImageRatio = Literal["16:9", "9:16", "1:1", "4:3", "3:4", "3:2", "2:3", "21:9"]


_building = threading.RLock()


class Part(BaseModel):
    """A request or a part of one: unknown fields are mistakes.

    Docstrings of the validators below are the rules that the reference pages list.
    """

    model_config = ConfigDict(
        defer_build=True,  # until the first check: a DAG file needs two or three of the models
        extra="forbid",
        frozen=True,
        protected_namespaces=(),
        coerce_numbers_to_str=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,
    )

    @classmethod
    def model_rebuild(cls, **options: Any) -> bool | None:
        """Build what was deferred, one thread at a time: older pydantics leave that to the caller."""
        with _building:
            return super().model_rebuild(**options)

    @classmethod
    def with_defaults(cls, fields: Mapping[str, Any], without: Collection[str] = ()) -> dict[str, Any]:
        """A copy of some fields with those defaults that are always sent, in its objects too.

        :param fields: of a request; never changed.
        :param without: defaults that are not wanted.
        """
        filled = dict(fields)
        for name, field in cls.model_fields.items():
            default = default_of(field)
            if default is not None and default.is_sent and name not in without:
                filled.setdefault(name, default.value)
            inner = _object_in(field.annotation)
            if inner is not None and isinstance(filled.get(name, {}), Mapping):
                inside = inner.with_defaults(filled.get(name, {}))
                filled |= {name: inside} if inside or name in filled else {}
        return filled


@lru_cache(maxsize=1024)
def _alone(model: type[Part], name: str) -> type[Part]:
    """A model with this one field, if it has it."""
    field = model.model_fields.get(name)
    fields: dict[str, Any] = {} if field is None else {name: (field.rebuild_annotation(), ...)}
    return create_model(model.__name__, __base__=Part, **fields)


def _object_in(annotation: Any) -> type[Part] | None:
    """The part that a field holds, unless it holds a list of them."""
    candidates = (annotation, *(get_args(annotation) if get_origin(annotation) is not list else ()))
    return next((item for item in candidates if isinstance(item, type) and issubclass(item, Part)), None)


class Inner(Part):
    """An object whose fields can be unset like those of the request itself: an empty string or None."""

    @model_validator(mode="before")
    @classmethod
    def _without_unset(cls, value: object) -> object:
        if isinstance(value, Mapping):
            return {name: item for name, item in value.items() if item is not None and item != ""}
        return value


class CameraConfig(Part):
    """The six movements of a ``simple`` camera, each from -10 to 10; exactly one is not zero."""

    horizontal: Annotated[CameraValue, Default(0)] = 0
    vertical: Annotated[CameraValue, Default(0)] = 0
    pan: Annotated[CameraValue, Default(0)] = 0
    tilt: Annotated[CameraValue, Default(0)] = 0
    roll: Annotated[CameraValue, Default(0)] = 0
    zoom: Annotated[CameraValue, Default(0)] = 0


class CameraControl(Part):
    """A camera movement: ``simple`` with one value, or a preset without any."""

    type: Literal["simple", "down_back", "forward_up", "right_turn_forward", "left_turn_forward"]
    config: Annotated[CameraConfig | None, Json] = None

    @model_validator(mode="after")
    def _one_value_for_simple(self) -> Self:
        """``simple`` needs a ``config`` with exactly one value that is not zero; the presets take none."""
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
    prompt: Annotated[str, Field(min_length=1, max_length=MAX_SHOT_PROMPT), Words]
    duration: Seconds


class ElementRef(Part):
    """An element of the account, by id."""

    element_id: int


class VoiceRef(Part):
    """A voice of the account, by id."""

    voice_id: Id


class ImageItem(Part):
    """One picture of a list."""

    image: Picture


class OneVideo(Part):
    """A video by the ``videos[].id`` of a result that is at most 30 days old, or by its URL."""

    video_id: Id | None = None
    video_url: MediaUrl | None = None

    @model_validator(mode="after")
    def _one_video(self) -> Self:
        """Exactly one of ``video_id`` and ``video_url``."""
        exactly_one(self, "video_id", "video_url")
        return self


class WatermarkInfo(Part):
    """Whether a watermarked copy is made as well."""

    enabled: Annotated[bool, Default(False)] = False


class KlingRequest(Part):
    """The body of one endpoint."""

    def given(self) -> dict[str, Any]:
        """The fields the caller gave, coerced to their types, without nulls."""
        return self.model_dump(exclude_unset=True, exclude_none=True)

    @classmethod
    def ignored(cls, fields: Mapping[str, Any]) -> Mapping[str, str]:
        """Fields that Kling ignores beside the others of a request -> why."""
        return {}

    @classmethod
    def read_one(cls, name: str, value: object) -> dict[str, Any]:
        """One field by itself, coerced; the rules over several fields are not looked at.

        :raises ValidationError: if it cannot be read, or is no field.
        """
        return (
            _alone(cls, name).model_validate({name: value}).model_dump(exclude_unset=True, exclude_none=True)
        )

    @classmethod
    def own_fields(cls) -> list[str]:
        """The endpoint's fields, without the caller's id, which operators take for every endpoint."""
        return [name for name in cls.model_fields if name != "external_task_id"]

    @classmethod
    def json_fields(cls) -> list[str]:
        """The fields that are objects or lists."""
        return [name for name, field in cls.model_fields.items() if Json in field.metadata]


class CallbackRequest(KlingRequest):
    """A task that tells when its status changes."""

    callback_url: WebAddress | None = None


class TaskRequest(CallbackRequest):
    """What every classic create of a task takes."""

    external_task_id: UserId | None = None


class WatermarkedRequest(TaskRequest):
    """A task whose result can come with a watermarked copy."""

    watermark_info: Annotated[WatermarkInfo | None, Json] = None


class ShotsRequest(WatermarkedRequest):
    """What every classic video that can have several shots takes: text2video, image2video, omni-video."""

    model_name: ModelName | None = None
    prompt: Prompt | None = None
    mode: Annotated[Literal["std", "pro", "4k"] | None, Default("std", is_sent=True)] = None
    duration: Annotated[Seconds | None, Default("5", is_sent=True)] = None
    sound: Annotated[Literal["on", "off"] | None, Default("off")] = None
    multi_shot: Annotated[bool | None, Default(False)] = None
    shot_type: Literal["customize", "intelligence"] | None = None
    multi_prompt: Annotated[list[Shot] | None, Json, Field(min_length=1, max_length=MAX_SHOTS)] = None

    @classmethod
    def ignored(cls, fields: Mapping[str, Any]) -> Mapping[str, str]:
        """Shots of their own make the prompt needless."""
        is_cut = bool(fields.get("multi_shot")) and fields.get("shot_type") == "customize"
        return {"prompt": "with shot_type='customize', whose shots have their own"} if is_cut else {}

    @model_validator(mode="after")
    def _multi_shot_is_whole(self) -> Self:
        """``multi_shot`` needs ``shot_type``.

        ``intelligence`` needs a prompt, ``customize`` ``multi_prompt``, whose shots add up to ``duration``.
        """
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

    def words(self) -> list[str | None]:
        """The prompt, and those of the shots."""
        return [self.prompt, *(shot.prompt for shot in self.multi_prompt or ())]

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

    def need_a_prompt(self) -> None:
        """Refuse a request that says nothing.

        :raises ValueError: without prompt, unless the shots have their own.
        """
        if not self.prompt and self.shot_type != "customize":
            raise ValueError("prompt is required: say what the video shows")


def exactly_one(part: BaseModel, *names: str) -> None:
    """Refuse a request that has none, or more than one, of some fields.

    :param part: the request, or an object of it.
    :param names: the fields that stand for each other.
    :raises ValueError: with the way out.
    """
    if not any(_is_set(getattr(part, name)) for name in names):
        raise ValueError(f"{' or '.join(names)} is required: give exactly one of them")
    at_most_one({name: getattr(part, name) for name in names})


def at_most_one(kinds: Mapping[str, object]) -> None:
    """Refuse a request that has more than one of the things that exclude each other.

    :param kinds: what they are called -> the value; what is None, empty or false is not there.
    :raises ValueError: with the values and the way out.
    """
    chosen = {name: value for name, value in kinds.items() if _is_set(value)}
    if len(chosen) > 1:
        values = ", ".join(f"{name}={show_value(value)}" for name, value in chosen.items())
        raise ValueError(f"{' and '.join(chosen)} exclude each other; keep one of them (given: {values})")


def show_value(value: object, limit: int = 32) -> str:
    """Show what was given, too short to leak a picture."""
    if isinstance(value, bytes):
        return f"<{len(value)} bytes>"
    if isinstance(value, BaseModel):
        value = value.model_dump(exclude_unset=True)
    if isinstance(value, list | tuple):
        return f"[{len(value)} {'item' if len(value) == 1 else 'items'}]"
    return show(value, limit)


def _is_set(value: object) -> bool:
    return value not in (None, "", b"", False) and value != []
