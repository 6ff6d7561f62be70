"""Kling's answers, whatever dialect they are told in, as :class:`~kling_provider.api.tasks.KlingTask`."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from kling_provider.api.endpoints import Endpoint
from kling_provider.api.errors import ApiFailure, Failure, Reaction, shorten, unreadable
from kling_provider.api.tasks import (
    FAILED,
    STATUSES,
    SUBMITTED,
    SUCCEED,
    KlingTask,
    KlingVideo,
    read_decimal,
    read_seconds,
    read_time,
)

log = logging.getLogger(__name__)

_told_words: set[str] = set()

_LISTS = ("images", "audios", "elements", "voices")
_KINDS = ("video", "image", "audio", "element", "voice")
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
_KNOWN_NEW = frozenset({"id", "status", "message", "outputs", "external_id", "create_time", "update_time"})


def decode_answer(row: Endpoint, data: object, request_id: str | None) -> KlingTask:
    """Read one task, in the dialect of its endpoint.

    :param row: the endpoint that was asked.
    :param data: the object in the answer's ``data``; of a query in the new dialect, a list of one.
    :param request_id: of the answer.
    :raises ApiFailure: unreadable, if it is not a task, or a success without a result; not found, for an empty
        list.
    """
    if row.work == "call" or (row.is_raw and _is_other_than_a_task(data)):
        return _decode_call(row, data, request_id)
    if row.dialect == "classic":
        return decode_task(data, row.name, request_id)
    if isinstance(data, list) and len(data) < 2:
        if not data:
            text = "Kling knows no such task (an empty list)"
            raise ApiFailure(Failure(Reaction.NOT_FOUND, text, 0, 200, request_id))
        data = data[0]
    return decode_told_anew(row, data, request_id)


def _is_other_than_a_task(data: object) -> bool:
    """Whether an endpoint that nobody knows has answered at once: with something, and no id to ask for."""
    return isinstance(data, Mapping) and bool(data) and not (data.get("task_id") or data.get("id"))


def decode_task(data: object, endpoint: str, request_id: str | None) -> KlingTask:
    """Read one classic task object.

    :param data: the object in the answer's ``data``.
    :param endpoint: name of the endpoint that was asked.
    :param request_id: of the answer.
    :raises ApiFailure: unreadable, if it is not a task, or a success without a result.
    """
    told, task_id = _object_with_id(data, "task_id", request_id)
    info, result = told.get("task_info"), told.get("task_result")
    info = info if isinstance(info, Mapping) else {}
    task = KlingTask(
        task_id=task_id,
        endpoint=endpoint,
        status=_status(told.get("task_status")),
        status_message=str(told.get("task_status_msg") or ""),
        external_task_id=_text(info.get("external_task_id")),
        **_results(result if isinstance(result, Mapping) else {}, request_id),
        data=_rest(told, info),
        units=read_decimal(told.get("final_unit_deduction")),
        created_at=read_time(told.get("created_at")),
        updated_at=read_time(told.get("updated_at")),
        request_id=request_id,
    )
    return _with_result(task, told)


def decode_told_anew(row: Endpoint, data: object, request_id: str | None) -> KlingTask:
    """Read one task object of the new dialect, which may tell of a classic task too.

    :param row: the endpoint it was made with.
    :param data: the object.
    :param request_id: of the answer.
    :raises ApiFailure: unreadable, if it is not a task, or a success without a result.
    """
    told, task_id = _object_with_id(data, "id", request_id)
    outputs = _items(told, "outputs", request_id)
    sorted_out = {}
    if outputs:
        sorted_out = {f"{kind}s": [item for item in outputs if item.get("type") == kind] for kind in _KINDS}
    bills = [bill for bill in _items(told, "billing", request_id) if bill.get("charge_type") == "unit"]
    amounts = [amount for bill in bills if (amount := read_decimal(bill.get("amount"))) is not None]
    task = KlingTask(
        task_id=task_id,
        endpoint=row.name,
        status=_status(told.get("status")),
        status_message=str(told.get("message") or ""),
        external_task_id=_text(told.get("external_id")),
        **_results(sorted_out, request_id),
        data={name: item for name, item in told.items() if name not in _KNOWN_NEW},
        units=sum(amounts, Decimal(0)) if amounts else None,
        created_at=read_time(told.get("create_time")),
        updated_at=read_time(told.get("update_time")),
        request_id=request_id,
    )
    return _with_result(task, told)


def _decode_call(row: Endpoint, data: object, request_id: str | None) -> KlingTask:
    """Read what is over with its answer; most of these have neither an id nor a status word."""
    if not isinstance(data, Mapping):
        raise unreadable(f"a {_kind(data)} where an object was due: {shorten(data)}", request_id)
    result = data.get("task_result")
    refusal = data.get("status")  # of a selection: anything but 0 means that Kling does not take the video
    is_refused = isinstance(refusal, int) and refusal != 0
    status = FAILED if is_refused else _status(data.get("task_status") or SUCCEED)
    if status not in (SUCCEED, FAILED):
        text = f"{row.name} is told to be {status}, but it is answered at once: {shorten(dict(data))}"
        raise unreadable(text, request_id)
    return KlingTask(
        task_id=str(data.get("task_id") or ""),
        endpoint=row.name,
        status=status,
        status_message=str(data.get("task_status_msg") or (f"status {refusal}" if is_refused else "")),
        **_results(result if isinstance(result, Mapping) else {}, request_id),
        data=_rest(data, {}),
        units=read_decimal(data.get("final_unit_deduction")),
        created_at=read_time(data.get("created_at")),
        updated_at=read_time(data.get("updated_at")),
        request_id=request_id,
    )


def _object_with_id(data: object, name: str, request_id: str | None) -> tuple[Mapping[str, Any], str]:
    if not isinstance(data, Mapping):
        raise unreadable(f"a {_kind(data)} where a task object was due: {shorten(data)}", request_id)
    task_id = data.get(name)
    if not isinstance(task_id, str | int) or isinstance(task_id, bool) or task_id == "":
        raise unreadable(f"a task without {name}: {shorten(dict(data))}", request_id)
    return data, str(task_id)


def _results(result: Mapping[str, Any], request_id: str | None) -> dict[str, Any]:
    if not result:  # as of most tasks that are asked for, and thousands are
        return {}
    videos = tuple(_video(item, request_id) for item in _items(result, "videos", request_id))
    lists = {name: tuple(_items(result, name, request_id)) for name in _LISTS}
    lists["images"] += tuple(_items(result, "series_images", request_id))
    return {"videos": videos, **lists}


def _rest(told: Mapping[str, Any], info: Mapping[str, Any]) -> dict[str, Any]:
    rest = {name: item for name, item in told.items() if name not in _KNOWN}
    parent = info.get("parent_video")
    return {**rest, "parent_video": parent} if parent else rest


def _with_result(task: KlingTask, told: Mapping[str, Any]) -> KlingTask:
    has_result = task.videos or task.images or task.audios or task.elements or task.voices
    if task.is_successful and not has_result:
        raise unreadable(
            f"task {task.task_id} is told to have succeeded, but there is no result in it: {shorten(dict(told))}",
            task.request_id,
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
        raise unreadable(f"task_result.{name} is not a list of objects: {shorten(items)}", request_id)
    return items


def _video(item: Mapping[str, Any], request_id: str | None) -> KlingVideo:
    url = item.get("url")
    if not isinstance(url, str) or not url:
        raise unreadable(f"a video without url: {shorten(dict(item))}", request_id)
    return KlingVideo(
        id=str(item.get("id") or ""),
        url=url,
        duration=read_seconds(item.get("duration")),
        watermark_url=_text(item.get("watermark_url")),
    )


def _text(value: object) -> str | None:
    return str(value) if value else None


def _kind(value: object) -> str:
    return "null" if value is None else type(value).__name__
