"""What Kling refuses before it books anything, with its codes and texts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from kling_provider.api.billing import MODES
from kling_provider.api.capabilities import models_at
from kling_provider.api.endpoints import Endpoint
from kling_provider.api.errors import InvalidRequest
from kling_provider.api.gateways import NEW_DIALECT_PICTURE_BYTES, Gateway
from kling_provider.api.places import change_each
from kling_provider.api.requests import REQUESTS, check_request
from kling_provider.simulator.archive import Archive
from kling_provider.simulator.asked import Asked, Clip, Heard, model_of
from kling_provider.simulator.inputs import read_sound
from kling_provider.simulator.lengths import refuse_wrong_lengths
from kling_provider.simulator.pictures import Picture, read_picture
from kling_provider.simulator.refusals import UNKNOWN_MODEL, Refusal, discontinued
from kling_provider.simulator.sessions import Session, SessionKind
from kling_provider.simulator.settings import Settings
from kling_provider.simulator.wire import check_types, known_fields

#: What the vendor takes where a request names no model. Some are being retired: it is why a client sends one.
VENDOR_DEFAULTS: Mapping[str, str] = {
    "text2video": "kling-v1",
    "image2video": "kling-v1",
    "multi-image2video": "kling-v1-6",
    "omni-video": "kling-video-o1",
    "motion-control": "kling-v2-6",
    "multi-elements": "kling-v1-6",
    "images/generations": "kling-v3",
    "images/omni-image": "kling-image-o1",
    "images/multi-image2image": "kling-v2-1",
    "kolors-virtual-try-on": "kolors-virtual-try-on-v1",
}

#: Accepted and ignored by Kling, from an older version of its API.
_IGNORED = frozenset({"model"})
#: The same of one endpoint: not documented there, yet clients in use send it; the output follows the picture.
_IGNORED_AT = {"image2video": frozenset({"aspect_ratio"})}
#: Endpoint -> a number that Kling brings between two limits instead of refusing it, and these limits.
_CLAMPED: Mapping[str, tuple[str, float, float]] = {"tts": ("voice_speed", 0.8, 2.0)}

#: Where requests name what is known by id, or lies at an address.
_CLIP_IDS = ("video_id", "input.video_id")
_CLIP_ADDRESSES = (
    "video_url",
    "input.video_url",
    "video_list[].video_url",
    "element_video_list.refer_videos[].video_url",
)
_SOUND_IDS = ("audio_id", "face_choose[].audio_id")
_SOUND_ADDRESSES = ("input.audio_url", "voice_url")
_ELEMENTS = ("element_list[].element_id", "contents[].element_id")
_VOICES = ("voice_id", "voice_list[].voice_id", "contents[].voice_id", "input.voice_id", "element_voice_id")
#: Contents whose address is that of a video.
_VIDEO_CONTENTS = frozenset({"feature_video", "base_video", "video"})
#: Models whose videos can be made longer.
EXTENDABLE = frozenset({"kling-v1", "kling-v1-5", "kling-v1-6"})
_EXTENDABLE_ENDPOINTS = frozenset({"text2video", "image2video", "video-extend"})


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


class Reader:
    """Holds a request against every rule.

    :param endpoint: where it came in.
    :param gateway: whose limits count.
    :param settings: how this Kling behaves.
    :param folder: where pictures are kept.
    :param archive: what the account has.
    :param account: name of the account.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        gateway: Gateway,
        settings: Settings,
        folder: Path,
        archive: Archive,
        account: str,
    ):
        self._endpoint = endpoint
        self._gateway = gateway
        self._settings = settings
        self._folder = folder
        self._archive = archive
        self._account = account
        self._pictures: dict[str, Picture] = {}
        self._clips: dict[str, Clip] = {}
        self._sounds: dict[str, Heard] = {}

    def read(self, body: Mapping[str, Any]) -> Asked:
        """Read a request.

        :raises Refusal: 1201.
        """
        row = self._endpoint
        if self._settings.ignores_unknown_fields:
            body = known_fields(row.name, body)
        ignored = _IGNORED | _IGNORED_AT.get(row.name, frozenset())
        fields = {
            name: value
            for name, value in body.items()
            if name not in ignored and value is not None and value != ""
        }
        check_types(row.name, fields)
        if row.name in _CLAMPED:
            name, least, most = _CLAMPED[row.name]
            fields |= {name: min(max(fields[name], least), most)} if name in fields else {}
        if "contents" in REQUESTS[row.name].model_fields and not fields.get("contents"):
            raise Refusal(1201, "contents cannot be empty")
        fields = change_each(fields, row.pictures, lambda value, label: self._picture(value, label, fields))
        fields = change_each(fields, row.sounds, self._sound)
        checked = self._checked(fields)
        self._look_up(checked)
        asked = Asked(
            row,
            change_each(checked, (*row.pictures, *row.sounds), _short),
            self._pictures,
            self._clips,
            self._sounds,
            self._session(checked),
            self._account,
        )
        refuse_wrong_lengths(asked)
        if row.name == "custom-voices" and asked.clip and not asked.clip.as_film().sound:
            raise Refusal(1201, "video_id is invalid: the video has no voice")
        return _like_its_source(asked) if row.name == "video-extend" else asked

    def _picture(self, value: Any, label: str, fields: Mapping[str, Any]) -> Any:
        item = fields["contents"][int(label[9:].partition("]")[0])] if label.startswith("contents[") else {}
        if item.get("type") in _VIDEO_CONTENTS:
            return value
        limits = self._gateway.pictures
        if self._endpoint.dialect == "new":
            limits = replace(limits, max_bytes=NEW_DIALECT_PICTURE_BYTES)
        self._pictures[label] = picture = read_picture(value, label, limits, self._folder)
        return picture.url if picture.content is None else picture.content

    def _sound(self, value: Any, label: str) -> Any:
        value, self._sounds[label] = read_sound(value, label, self._gateway.sounds)
        return value

    def _checked(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        row, settings = self._endpoint, self._settings
        default = VENDOR_DEFAULTS.get(row.name)
        if settings.validate_requests != "off":
            self._refuse_model({"model_name": default, **fields})
        try:
            return check_request(row, fields, default, validate=settings.validate_requests).body
        except InvalidRequest as error:
            raise Refusal(1201, _in_klings_words(row, fields) or str(error)) from None

    def _refuse_model(self, fields: Mapping[str, Any]) -> None:
        name, known = model_of(self._endpoint, fields), models_at(self._endpoint.name)
        if name and known and name not in known:
            raise Refusal(1201, UNKNOWN_MODEL)
        if name in known and known[name].retired and self._settings.refuses_retired:
            raise discontinued(name)

    def _look_up(self, body: Mapping[str, Any]) -> None:
        archive, row = self._archive, self._endpoint

        def see(value: Any, label: str) -> None:
            self._clips[label] = archive.clip(value, label)

        def see_at(value: Any, label: str) -> None:
            self._clips[label] = archive.clip_at(str(value), label)

        def hear(value: Any, label: str) -> None:
            self._sounds[label] = archive.sound(value, label)

        def hear_at(value: Any, label: str) -> None:
            self._sounds[label] = archive.sound_at(str(value), label, self._gateway.sounds)

        change_each(body, _CLIP_IDS, see)
        change_each(body, _CLIP_ADDRESSES, see_at)
        for number, item in enumerate(body.get("contents") or ()):
            if item.get("type") in _VIDEO_CONTENTS:
                see_at(item["url"], f"contents[{number}].url")
        change_each(body, _SOUND_IDS, hear)
        change_each(body, _SOUND_ADDRESSES, hear_at)
        if row.work == "call" and row.is_free:
            return  # a deletion looks more closely
        change_each(body, _ELEMENTS, lambda value, label: archive.refuse_gone(value, "elements", label))
        change_each(body, _VOICES, lambda value, label: archive.refuse_gone(value, "voices", label))

    def _session(self, body: Mapping[str, Any]) -> Session | None:
        if "session_id" not in body:
            return None
        kind: SessionKind = "faces" if self._endpoint.name == "advanced-lip-sync" else "selection"
        return self._archive.session(body["session_id"], kind)


def _in_klings_words(row: Endpoint, fields: Mapping[str, Any]) -> str | None:
    """The text of Kling's own that somebody has seen for this refusal, if there is one."""
    offer = next((model.offers[row.name] for model in models_at(row.name).values()), None)
    lengths = offer.durations_without_references if offer else ()
    seconds = (fields.get("settings") or {}).get("duration")
    has_reference = any(item.get("type") == "refer_image" for item in fields.get("contents") or ())
    if row.dialect == "new" and lengths and not has_reference and seconds and str(seconds) not in lengths:
        return f"Duration only supports {' or '.join(lengths)} seconds when no refer_image is provided"
    return None


def _like_its_source(asked: Asked) -> Asked:
    """Model and mode of an extension are those of the video it extends.

    :raises Refusal: 1201 for a video that cannot be extended.
    """
    source = asked.clip.task if asked.clip else None
    assert source is not None
    if source.endpoint not in _EXTENDABLE_ENDPOINTS or source.model_name not in EXTENDABLE:
        made_with = source.model_name or source.endpoint
        raise Refusal(1201, f"video_id is invalid: a video of {made_with} cannot be extended")
    mode = source.body.get("mode") or next(iter(MODES.values()))
    return replace(asked, body={**asked.body, "model_name": source.model_name, "mode": mode})


def _short(value: object, _label: str) -> object:
    return f"<file of {len(value)} bytes>" if isinstance(value, bytes) else value
