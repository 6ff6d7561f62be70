"""A task at Kling as one frozen value, whatever dialect it was told in."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from math import isfinite
from typing import Any

from kling_provider.api.errors import shorten

SUBMITTED = "submitted"
PROCESSING = "processing"
SUCCEED = "succeed"
FAILED = "failed"

#: Status word of either dialect -> the classic word. Any other word counts as still running.
STATUSES: Mapping[str, str] = {
    SUBMITTED: SUBMITTED,
    PROCESSING: PROCESSING,
    SUCCEED: SUCCEED,
    "succeeded": SUCCEED,
    FAILED: FAILED,
}

#: Longer texts inside ``data`` are no result to hand on (masks as base64); the hook's task has them whole.
LONGEST_TEXT = 4096


@dataclass(frozen=True, slots=True)
class KlingVideo:
    """One video of a result.

    :param id: Kling's id of the video.
    :param url: where it can be fetched, for a limited time.
    :param duration: length in seconds, None if Kling did not say.
    :param watermark_url: the watermarked copy, if one was asked for.
    """

    id: str
    url: str
    duration: float | None = None
    watermark_url: str | None = None


@dataclass(frozen=True, slots=True)
class KlingFile:
    """One file of a result, of whatever kind.

    :param media_id: what tells it from the others of its task: Kling's id, or kind and position.
    :param url: where it can be fetched, for a limited time.
    :param duration: length in seconds, None for pictures and where Kling did not say.
    :param has_own_id: whether ``media_id`` is of Kling, and so no other task's: Kling gives pictures none.
    """

    media_id: str
    url: str
    duration: float | None = None
    has_own_id: bool = True


@dataclass(frozen=True, slots=True)
class KlingTask:
    """A task as Kling tells it.

    :param task_id: Kling's id; opaque.
    :param endpoint: name of the endpoint it was made with; needed to ask for it again.
    :param status: ``submitted``, ``processing``, ``succeed`` or ``failed``; an unknown word is kept as it is
        and counts as running.
    :param status_message: Kling's reason, for a failed task.
    :param external_task_id: the caller's id, as Kling echoes it, or None.
    :param videos: every video of the result.
    :param images: every image of the result, as told.
    :param audios: every audio of the result, as told.
    :param elements: every element of the result, as told.
    :param voices: every voice of the result, as told.
    :param data: what fits none of these.
    :param units: what Kling says it deducted, or None.
    :param created_at: when Kling booked it (aware, UTC), or None.
    :param updated_at: when it last changed (aware, UTC), or None.
    :param request_id: Kling's request_id of the answer this was read from.
    """

    task_id: str
    endpoint: str
    status: str
    status_message: str = ""
    external_task_id: str | None = None
    videos: tuple[KlingVideo, ...] = ()
    images: tuple[Mapping[str, Any], ...] = ()
    audios: tuple[Mapping[str, Any], ...] = ()
    elements: tuple[Mapping[str, Any], ...] = ()
    voices: tuple[Mapping[str, Any], ...] = ()
    data: Mapping[str, Any] = field(default_factory=dict)
    units: Decimal | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    request_id: str | None = None

    @property
    def name(self) -> str:
        """What tells it from all others: its id, or for an answer without one, Kling's request_id."""
        return self.task_id or self.request_id or ""

    @property
    def is_terminal(self) -> bool:
        """Whether nothing changes any more."""
        return self.status in (SUCCEED, FAILED)

    @property
    def is_successful(self) -> bool:
        """Whether it ended with a result."""
        return self.status == SUCCEED

    @property
    def files(self) -> tuple[KlingFile, ...]:
        """Every file of the result: videos, pictures and sounds, in every form Kling gives."""
        found = [
            KlingFile(video.id or f"video-{n}", video.url, video.duration, bool(video.id))
            for n, video in enumerate(self.videos)
        ]
        for kind, items in (("image", self.images), ("audio", self.audios), ("voice", self.voices)):
            for number, item in enumerate(items):
                media_id = str(item.get("id") or f"{kind}-{item.get('index', number)}")
                found += _files(item, media_id, bool(item.get("id")))
        return tuple(found)

    def first_results(self) -> dict[str, Any]:
        """What a next step most often needs, by plain names; only what there is.

        ``video_id``, ``video_url``, ``video_duration``, ``image_url``, ``image_urls`` (a list of all),
        ``audio_id``, ``audio_url``, ``audio_duration``, ``element_id``, ``voice_id``, ``session_id``, ``face_id``,
        ``face_start_time``, ``face_end_time``: of the first of each kind. Ids and addresses are text, durations
        seconds, the times of a face milliseconds.
        """
        found: dict[str, Any] = {}
        if self.videos:
            video = self.videos[0]
            found |= {"video_id": video.id, "video_url": video.url, "video_duration": video.duration}
        if self.images:
            found["image_urls"] = [file.url for item in self.images for file in _files(item, "")]
            found["image_url"] = next(iter(found["image_urls"]), None)
        if self.audios:
            sounds = _files(self.audios[0], "")
            found |= {"audio_id": _text(self.audios[0].get("id"))}
            if sounds:
                found |= {"audio_url": sounds[0].url, "audio_duration": sounds[0].duration}
        if self.elements:
            found["element_id"] = _text(self.elements[0].get("element_id"))
        if self.voices:
            found["voice_id"] = _text(self.voices[0].get("voice_id"))
        found["session_id"] = _text(self.data.get("session_id"))
        faces = self.data.get("face_data")
        if isinstance(faces, list) and faces and isinstance(faces[0], Mapping):
            found["face_id"] = _text(faces[0].get("face_id"))
            found |= {f"face_{name}": faces[0].get(name) for name in ("start_time", "end_time")}
        return {name: value for name, value in found.items() if value not in (None, "", [])}

    def to_dict(self) -> dict[str, Any]:
        """Give the task as small, plain JSON: ISO times, units as a string."""
        return {
            "task_id": self.task_id,
            "endpoint": self.endpoint,
            "status": self.status,
            "status_message": self.status_message,
            "external_task_id": self.external_task_id,
            "videos": [
                {
                    "id": video.id,
                    "url": video.url,
                    "duration": video.duration,
                    "watermark_url": video.watermark_url,
                }
                for video in self.videos
            ],
            "images": [dict(item) for item in self.images],
            "audios": [dict(item) for item in self.audios],
            "elements": [dict(item) for item in self.elements],
            "voices": [dict(item) for item in self.voices],
            "data": _small(self.data),
            "units": None if self.units is None else str(self.units),
            "created_at": None if self.created_at is None else self.created_at.isoformat(),
            "updated_at": None if self.updated_at is None else self.updated_at.isoformat(),
            "request_id": self.request_id,
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> KlingTask:
        """Read back what :meth:`to_dict` gave."""
        plain = dict(value)
        plain["videos"] = tuple(KlingVideo(**video) for video in plain.get("videos") or ())
        for name in ("images", "audios", "elements", "voices"):
            plain[name] = tuple(plain.get(name) or ())
        plain["units"] = None if plain.get("units") is None else Decimal(plain["units"])
        for name in ("created_at", "updated_at"):
            plain[name] = datetime.fromisoformat(plain[name]) if plain.get(name) else None
        return cls(**plain)


class TaskList(list[KlingTask]):
    """The tasks of one page of a list; ``left_out`` counts those on it that cannot be read."""

    left_out = 0

    def is_behind_the_end(self, seen: Container[str]) -> bool:
        """Whether the list has ended before this page. A gateway that knows no pages tells the first one for ever.

        :param seen: ids of the tasks of the pages before.
        """
        return all(task.task_id in seen for task in self) and (bool(self) or not self.left_out)


def read_decimal(value: object) -> Decimal | None:
    """Read a number as Kling tells it, most often as text; None for anything else."""
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def read_time(value: object) -> datetime | None:
    """Read a time as Kling tells it, in milliseconds; None for anything else."""
    try:
        return datetime.fromtimestamp(int(str(value)) / 1000, UTC) if value else None
    except (ValueError, OverflowError, OSError):
        return None


def read_seconds(value: object) -> float | None:
    """Read a length as Kling tells it, most often as text; None for anything else."""
    try:
        seconds = float(str(value))
    except ValueError:
        return None
    return seconds if isfinite(seconds) else None  # NaN is not JSON


def _text(value: object) -> str | None:
    return str(value) if value else None


def _files(item: Mapping[str, Any], media_id: str, has_own_id: bool = False) -> list[KlingFile]:
    """The addresses of one item: ``url``, or ``url_mp3`` and ``url_wav``, or ``url_1`` to ``url_3``."""
    found = []
    for name, url in item.items():
        if (name == "url" or name.startswith("url_")) and isinstance(url, str) and url:
            form = name.removeprefix("url").removeprefix("_")
            duration = item.get(f"duration_{form}" if form else "duration")
            file_id = f"{media_id}-{form}" if form else media_id
            found.append(KlingFile(file_id, url, read_seconds(duration), has_own_id))
    return found


def _small(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _small(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_small(item) for item in value]
    return shorten(value, 32) if isinstance(value, str) and len(value) > LONGEST_TEXT else value
