"""What Kling refuses before it books anything, with its codes and texts."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from kling_provider.api.capabilities import MODELS, Model
from kling_provider.api.endpoints import Endpoint
from kling_provider.api.errors import InvalidRequest, shorten
from kling_provider.api.gateways import PictureLimits
from kling_provider.api.pricing import estimate_units
from kling_provider.api.requests import check_request
from kling_provider.simulator.film import Film, frame_size
from kling_provider.simulator.pictures import Picture, read_picture
from kling_provider.simulator.refusals import UNKNOWN_MODEL, Refusal
from kling_provider.simulator.tasks import Order

#: The vendor's own default: a model that is being retired. It is why a client always sends one.
VENDOR_DEFAULT_MODEL = "kling-v1"

#: Accepted and ignored by Kling, from an older version of its API.
_IGNORED = frozenset({"model"})

#: JSON types of the wire. The request models are kinder: they also read rendered templates.
_WIRE_TYPES: Mapping[type | tuple[type, ...], tuple[str, frozenset[str]]] = {
    str: (
        "string",
        frozenset(
            {
                "model_name", "prompt", "negative_prompt", "mode", "duration", "sound", "aspect_ratio",
                "callback_url", "external_task_id", "shot_type",
            }
        ),
    ),
    (int, float): ("number", frozenset({"cfg_scale"})),
    dict: ("object", frozenset({"camera_control", "watermark_info"})),
    list: ("array", frozenset({"dynamic_masks", "multi_prompt", "element_list", "voice_list"})),
    bool: ("boolean", frozenset({"multi_shot"})),
}  # fmt: skip

_RATIOS: Mapping[str, float] = {"16:9": 16 / 9, "9:16": 9 / 16, "1:1": 1.0}


def read_body(content: bytes) -> dict[str, Any]:
    """Read the JSON object of a create.

    :raises Refusal: 1200.
    """
    try:
        body = json.loads(content)
    except ValueError:
        raise Refusal(1200, "The request body is not valid JSON") from None
    if not isinstance(body, dict):
        raise Refusal(1200, "The request body is not a JSON object")
    return body


def read_order(
    endpoint: Endpoint, body: Mapping[str, Any], limits: PictureLimits, folder: Path, *, strict: bool = False
) -> Order:
    """Hold a create against every rule, and plan the film.

    :param endpoint: where it came in.
    :param body: its fields.
    :param limits: the gateway's limits for pictures.
    :param folder: where pictures are kept.
    :param strict: refuse what the capability matrix does not list as well.
    :raises Refusal: 1201.
    """
    fields = {
        name: value
        for name, value in body.items()
        if name not in _IGNORED and value is not None and value != ""
    }
    _check_types(fields)
    external = fields.pop("external_task_id", None)
    pictures: dict[str, Picture] = {}

    def accept(value: object, field: str) -> object:
        pictures[field] = picture = read_picture(value, field, limits, folder)
        return picture.url if picture.content is None else picture.content

    fields = _each_picture(fields, endpoint, accept)
    try:
        checked = check_request(endpoint, fields, VENDOR_DEFAULT_MODEL)
    except InvalidRequest as error:
        raise Refusal(1201, str(error)) from None
    model = MODELS.get(str(checked.body["model_name"]))
    if model is None or endpoint.name not in model.endpoints:
        raise Refusal(1201, UNKNOWN_MODEL)
    if strict and checked.warnings:
        raise Refusal(1201, checked.warnings[0])
    return Order(
        endpoint,
        _each_picture(checked.body, endpoint, _short),
        external,
        _plan(checked.body, model, pictures),
        estimate_units(endpoint.name, checked.body),
        _wrong_masks(pictures),
    )


def _check_types(fields: Mapping[str, Any]) -> None:
    for wanted, (word, names) in _WIRE_TYPES.items():
        for name in names & fields.keys():
            value = fields[name]
            if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
                raise Refusal(1201, f"{name} invalid: {shorten(value, 32)} is not a {word}")


def _each_picture(
    fields: Mapping[str, Any], endpoint: Endpoint, change: Callable[[object, str], object]
) -> dict[str, Any]:
    """A copy of the fields with every picture changed."""
    copy = dict(fields)
    for path in endpoint.pictures:
        name, is_list, inner = path.partition("[].")
        value = copy.get(name)
        if value is None:
            continue
        if not is_list:
            copy[name] = change(value, name)
        elif isinstance(value, list):
            copy[name] = [
                {**item, inner: change(item[inner], f"{name}[{number}].{inner}")}
                if isinstance(item, dict) and inner in item
                else item
                for number, item in enumerate(value)
            ]
    return copy


def _short(value: object, _field: str) -> object:
    return f"<picture of {len(value)} bytes>" if isinstance(value, bytes) else value


def _plan(body: Mapping[str, Any], model: Model, pictures: Mapping[str, Picture]) -> Film:
    first, tail = pictures.get("image"), pictures.get("image_tail")
    leading = first or tail
    ratio = leading.ratio if leading else _RATIOS[body.get("aspect_ratio", "16:9")]
    heights = model.heights
    mode = str(body.get("mode", ""))
    shots = [str(shot["prompt"]) for shot in body.get("multi_prompt", ())]
    words = leading.url if leading and leading.file is None else body.get("prompt")
    return Film(
        size=frame_size(ratio, heights.get(mode) or next(iter(heights.values()))),
        seconds=int(body["duration"]),
        fps=model.fps,
        picture=leading.file if leading else None,
        tail=tail.file if tail and first else None,
        words=str(words or " / ".join(shots)),
    )


def _wrong_masks(pictures: Mapping[str, Picture]) -> str | None:
    """Masks of another shape than the picture fail later, not at once."""
    masks = [picture for name, picture in pictures.items() if "mask" in name and picture.size]
    image = pictures.get("image")
    if len({mask.size for mask in masks}) > 1:
        return "The resolutions of static_mask and dynamic_masks differ"
    if masks and image and image.size and abs(masks[0].ratio - image.ratio) > 0.01:
        return "The aspect ratio of the mask differs from the image"
    return None
