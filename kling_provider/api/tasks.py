"""A task at Kling as one frozen value, whatever dialect it was told in."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from math import isfinite
from typing import Any

from kling_provider.api.errors import ApiFailure, Failure, Reaction, shorten

log = logging.getLogger(__name__)

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

_told_words: set[str] = set()


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
    def is_terminal(self) -> bool:
        """Whether nothing changes any more."""
        return self.status in (SUCCEED, FAILED)

    @property
    def is_successful(self) -> bool:
        """Whether it ended with a result."""
        return self.status == SUCCEED

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
            "data": dict(self.data),
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


_LISTS = ("images", "audios", "elements", "voices")
_KNOWN = frozenset(
    {
        "task_id",
        "task_status",
        "task_status_msg",
        "task_info",
        "task_result",
        "created_at",
        "updated_at",
        "final_unit_deduction",
    }
)


def decode_task(data: object, endpoint: str, request_id: str | None) -> KlingTask:
    """Read one classic task object.

    :param data: the object in the answer's ``data``.
    :param endpoint: name of the endpoint that was asked.
    :param request_id: of the answer.
    :raises ApiFailure: unreadable, if it is not a task, or a success without a result.
    """
    if not isinstance(data, Mapping):
        raise _unreadable(f"a {_kind(data)} where a task object was due: {shorten(data)}", request_id)
    task_id = data.get("task_id")
    if not isinstance(task_id, str | int) or isinstance(task_id, bool) or task_id == "":
        raise _unreadable(f"a task without task_id: {shorten(dict(data))}", request_id)
    status = _status(data.get("task_status"))
    result = data.get("task_result")
    result = result if isinstance(result, Mapping) else {}
    videos = tuple(_video(item, request_id) for item in _items(result, "videos", request_id))
    others = {name: tuple(_items(result, name, request_id)) for name in _LISTS}
    info = data.get("task_info")
    task = KlingTask(
        task_id=str(task_id),
        endpoint=endpoint,
        status=status,
        status_message=str(data.get("task_status_msg") or ""),
        external_task_id=_text(info.get("external_task_id")) if isinstance(info, Mapping) else None,
        videos=videos,
        **others,
        data={name: item for name, item in data.items() if name not in _KNOWN},
        units=read_decimal(data.get("final_unit_deduction")),
        created_at=read_time(data.get("created_at")),
        updated_at=read_time(data.get("updated_at")),
        request_id=request_id,
    )
    if task.is_successful and not (videos or any(others.values())):
        raise _unreadable(
            f"task {task.task_id} is told to have succeeded, but there is no result in it: "
            f"{shorten(dict(data))}",
            request_id,
            is_final=True,
        )
    return task


def _status(word: object) -> str:
    text = shorten(word, 60) if word else SUBMITTED
    if text in STATUSES:
        return STATUSES[text]
    if text not in _told_words:
        _told_words.add(text)
        log.warning("Kling told the unknown task status %r; it counts as still running.", text)
    return text


def _items(result: Mapping[str, Any], name: str, request_id: str | None) -> list[Mapping[str, Any]]:
    items = result.get(name) or []
    if not isinstance(items, list) or not all(isinstance(item, Mapping) for item in items):
        raise _unreadable(f"task_result.{name} is not a list of objects: {shorten(items)}", request_id)
    return items


def _video(item: Mapping[str, Any], request_id: str | None) -> KlingVideo:
    url = item.get("url")
    if not isinstance(url, str) or not url:
        raise _unreadable(f"a video without url: {shorten(dict(item))}", request_id)
    return KlingVideo(
        id=str(item.get("id") or ""),
        url=url,
        duration=_seconds(item.get("duration")),
        watermark_url=_text(item.get("watermark_url")),
    )


def _text(value: object) -> str | None:
    return str(value) if value else None


def _seconds(value: object) -> float | None:
    try:
        seconds = float(str(value))
    except ValueError:
        return None
    return seconds if isfinite(seconds) else None  # NaN is not JSON


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


def _kind(value: object) -> str:
    return "null" if value is None else type(value).__name__


def _unreadable(message: str, request_id: str | None, *, is_final: bool = False) -> ApiFailure:
    return ApiFailure(
        Failure(
            Reaction.UNREADABLE, message, code=0, http_status=200, request_id=request_id, is_final=is_final
        )
    )
