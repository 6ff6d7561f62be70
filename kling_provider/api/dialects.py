"""Kling's two ways to say the same: where each keeps the caller's id, and classic requests in the new dialect.

The new dialect names the model in the path and puts a request into ``prompt`` or ``contents``, ``settings`` and
``options``. What it has no words for is refused by name, never dropped.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from kling_provider.api.endpoints import ENDPOINTS, Dialect, Endpoint
from kling_provider.api.errors import InvalidRequest, show
from kling_provider.api.messages import read_json

#: Classic endpoint -> path of the new dialect that does the same.
NEW_PATHS: Mapping[str, str] = {
    "text2video": "text-to-video",
    "image2video": "image-to-video",
    "omni-video": "omni-video",
    "motion-control": "motion-control",
}
#: Classic model -> the same model's name in the new dialect's paths.
NEW_MODELS: Mapping[str, str] = {
    "kling-v3": "kling-3.0",
    "kling-v2-6": "kling-2.6",
    "kling-v2-5-turbo": "kling-2.5-turbo",
    "kling-v3-omni": "kling-3.0-omni",
    "kling-video-o1": "kling-o1",
}
#: Classic ``mode`` -> ``settings.resolution``.
RESOLUTIONS: Mapping[str, str] = {"std": "720p", "pro": "1080p", "4k": "4k"}

#: Those with the setting ``multi_shot``; it is on where nothing is said.
_WITH_SHOTS = ("text-to-video/kling-3.0", "image-to-video/kling-3.0", "omni-video/kling-3.0-omni")
#: Fields of a request that change nothing of its result.
NOT_ASKED = ("callback_url", "external_task_id")
_OPTIONS = (*NOT_ASKED, "watermark_info")
_REFERENCE = re.compile(r"<<<((?:image|element|video|voice)_\d+)>>>")


def external_id_in(dialect: Dialect, fields: Mapping[str, Any]) -> Any:
    """The caller's id in a request, or None.

    :param dialect: of the endpoint.
    :param fields: the request.
    """
    holder = fields if dialect == "classic" else fields.get("options")
    return holder.get("external_task_id") if isinstance(holder, Mapping) else None


def with_external_id(dialect: Dialect, fields: Mapping[str, Any], external_id: str | None) -> dict[str, Any]:
    """A copy of a request that carries this id of the caller's, or none.

    :param dialect: of the endpoint.
    :param fields: the request.
    :param external_id: None takes out the one that is in it.
    """
    if dialect == "new":
        options = read_json(fields.get("options") or {})
        if not isinstance(options, Mapping):
            return dict(fields)
        changed = with_external_id("classic", options, external_id)
        rest = {name: value for name, value in fields.items() if name != "options"}
        return {**rest, "options": changed} if changed else rest
    rest = {name: value for name, value in fields.items() if name != "external_task_id"}
    return {**rest, "external_task_id": external_id} if external_id is not None else rest


def what_is_asked(dialect: Dialect, fields: Mapping[str, Any]) -> dict[str, Any]:
    """A request without what changes nothing of the result: the caller's id and where changes are told.

    :param dialect: of the endpoint.
    :param fields: the request.
    """
    if dialect == "new" and isinstance(fields.get("options"), Mapping):
        options = what_is_asked("classic", fields["options"])
        rest = {name: value for name, value in fields.items() if name != "options"}
        return {**rest, "options": options} if options else rest
    return {name: value for name, value in fields.items() if name not in NOT_ASKED}


def to_new(endpoint: Endpoint, body: Mapping[str, Any]) -> tuple[Endpoint, dict[str, Any]]:
    """Say a classic request in the new dialect.

    :param endpoint: the classic endpoint.
    :param body: its fields, coerced, with ``model_name``. Never changed.
    :returns: the endpoint of the new dialect and its body.
    :raises InvalidRequest: for an endpoint, a model or a field that has no counterpart there.
    """
    path = NEW_PATHS.get(endpoint.name)
    if path is None:
        raise InvalidRequest(
            f"endpoint={endpoint.name!r} has no counterpart in the new dialect, which makes videos only "
            f"({', '.join(NEW_PATHS)}). Leave dialect='new' out."
        )
    row = _row(endpoint.name, path, str(body.get("model_name")))
    left = dict(body)
    left.pop("model_name", None)
    settings = {
        "resolution": _resolution(left.pop("mode", None) or ("pro" if path == "omni-video" else "std")),
        "duration": _seconds(left),
        "aspect_ratio": left.pop("aspect_ratio", None),
        "character_orientation": left.pop("character_orientation", None),
        "audio": _audio(path, left),
        "multi_shot": _multi_shot(row, left),
    }
    options = {name: left.pop(name) for name in _OPTIONS if left.get(name) is not None}
    prompt = left.pop("prompt", None)
    contents = [item for take in _CONTENTS.get(path, ()) for item in take(left)]
    if left:
        raise InvalidRequest(
            f"{endpoint.name}: {', '.join(sorted(left))} cannot be said in the new dialect. Leave it out, or leave "
            "dialect='new' out."
        )
    words = None if prompt is None else _REFERENCE.sub(r"@\1", str(prompt))
    said: dict[str, Any] = {"prompt": words} if path == "text-to-video" else {"contents": contents}
    if path != "text-to-video" and words is not None:
        contents.insert(0, {"type": "prompt", "text": words})
    told = {name: value for name, value in settings.items() if value is not None}
    said |= {"settings": told} if told else {}
    return row, said | ({"options": options} if options else {})


def _row(endpoint: str, path: str, model: str) -> Endpoint:
    row = ENDPOINTS.get(f"{path}/{NEW_MODELS.get(model, model)}")
    if row is None:
        names = [name.partition("/")[2] for name in ENDPOINTS if name.startswith(f"{path}/")]
        classic = [old for old, new in NEW_MODELS.items() if new in names]
        raise InvalidRequest(
            f"{endpoint}: model_name={show(model, 60)} is not offered in the new dialect. Use one of "
            f"{', '.join(classic)} (there {', '.join(names)}), or leave dialect='new' out."
        )
    return row


def _resolution(mode: Any) -> str:
    if mode not in RESOLUTIONS:
        known = ", ".join(RESOLUTIONS)
        raise InvalidRequest(f"mode={show(mode, 40)} cannot be said in the new dialect. Use one of {known}.")
    return RESOLUTIONS[mode]


def _seconds(left: dict[str, Any]) -> int | None:
    """Whole seconds; none beside a video that is edited, whose length the result has."""
    seconds = left.pop("duration", None)
    is_edit = any((video.get("refer_type") or "base") == "base" for video in left.get("video_list") or ())
    if seconds is None or is_edit:
        return None
    try:
        return int(str(seconds))
    except ValueError:
        raise InvalidRequest(f"duration={show(seconds, 40)} is not a whole number of seconds; write 5 or 10.")


def _audio(path: str, left: dict[str, Any]) -> str | None:
    """``sound`` and ``keep_original_sound`` are one setting there."""
    sound, kept = left.pop("sound", None), left.pop("keep_original_sound", None)
    for video in left.get("video_list") or ():
        kept = kept or video.get("keep_original_sound")
        if kept == "yes" and video.get("refer_type") == "feature":
            raise InvalidRequest(
                "omni-video: keep_original_sound='yes' of a video with refer_type='feature' cannot be said in the new "
                "dialect, where such a video goes with silence only. Leave it out, or leave dialect='new' out."
            )
    if sound == "on":
        return "native"
    if kept is not None:
        return "original" if kept == "yes" else "off"
    return sound if path != "motion-control" else None


def _multi_shot(row: Endpoint, left: dict[str, Any]) -> bool | None:
    """Shots are written into the prompt there; unlike here they are on where nothing is said."""
    is_asked, shots = left.pop("multi_shot", None), left.pop("multi_prompt", None)
    left.pop("shot_type", None)
    if shots:
        left["prompt"] = " ".join(_shot(shot) for shot in sorted(shots, key=lambda shot: int(shot["index"])))
        left["prompt"] = left["prompt"].rstrip(";")
    if row.name in _WITH_SHOTS:
        return bool(is_asked)
    if is_asked and not shots:
        left["multi_shot"] = True  # to be refused: nothing there lets the model cut the prompt into shots
    return None


def _shot(shot: Mapping[str, Any]) -> str:
    if ";" in shot["prompt"]:
        raise InvalidRequest(
            f"multi_prompt: prompt={show(shot['prompt'], 60)} holds ';', which ends a shot in the new dialect. Write "
            "it without, or leave dialect='new' out."
        )
    return f"shot {shot['index']}, {shot['duration']}, {shot['prompt']};"


def _frames(left: dict[str, Any]) -> list[dict[str, Any]]:
    frames = {"first_frame": left.pop("image", None), "last_frame": left.pop("image_tail", None)}
    return [{"type": kind, "url": url} for kind, url in frames.items() if url]


def _images(left: dict[str, Any]) -> list[dict[str, Any]]:
    kinds = {"first_frame": "first_frame", "end_frame": "last_frame"}
    return [
        {
            "type": kinds.get(image.get("type"), "refer_image"),
            "url": image["image_url"],
            "id": f"image_{number}",
        }
        for number, image in enumerate(left.pop("image_list", None) or (), 1)
    ]


def _videos(left: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "type": f"{video.get('refer_type') or 'base'}_video",
            "url": video["video_url"],
            "id": f"video_{number}",
        }
        for number, video in enumerate(left.pop("video_list", None) or (), 1)
    ]


def _elements(left: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"type": "element", "element_id": element["element_id"], "id": f"element_{number}"}
        for number, element in enumerate(left.pop("element_list", None) or (), 1)
    ]


def _voices(left: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"type": "voice", "voice_id": voice["voice_id"], "id": f"voice_{number}"}
        for number, voice in enumerate(left.pop("voice_list", None) or (), 1)
    ]


def _motion(left: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"type": kind, "url": left.pop(f"{kind}_url")} for kind in ("image", "video") if f"{kind}_url" in left
    ]


_CONTENTS: Mapping[str, tuple[Callable[[dict[str, Any]], list[dict[str, Any]]], ...]] = {
    "image-to-video": (_frames, _elements, _voices),
    "omni-video": (_images, _videos, _elements),
    "motion-control": (_motion, _elements),
}
