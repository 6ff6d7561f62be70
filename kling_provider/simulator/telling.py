"""A task as Kling tells it, in the classic dialect and in the new one."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from kling_provider.api.tasks import SUCCEED
from kling_provider.simulator.refusals import Refusal
from kling_provider.simulator.tasks import SimTask

#: Makes the address of a file: (task, name of the file).
Address = Callable[[SimTask, str], str]

#: Where a result stands in the classic dialect -> its type in the new one.
_OUTPUT_TYPES: Mapping[str, str] = {
    "videos": "video",
    "images": "image",
    "series_images": "image",
    "audios": "audio",
    "elements": "element",
    "voices": "voice",
}


def success(data: object) -> dict[str, Any]:
    """The envelope of an answer."""
    return {"code": 0, "message": "SUCCEED", "request_id": str(uuid.uuid4()), "data": data}


def refusal(reason: Refusal, *, localised: bool = False) -> dict[str, Any]:
    """The envelope of a refusal."""
    message = reason.localised() if localised else reason.message
    return {"code": reason.code, "message": message, "request_id": str(uuid.uuid4())}


def booked(task: SimTask, skew: float) -> dict[str, Any]:
    """A task as the create tells it, in the dialect of its endpoint."""
    return _booked_anew(task, skew) if task.order.endpoint.dialect == "new" else _booked(task, skew)


def told_as_asked(task: SimTask, skew: float, address: Address) -> dict[str, Any]:
    """A task in the dialect of its endpoint, as its callbacks tell it."""
    tell = told_anew if task.order.endpoint.dialect == "new" else told
    return tell(task, skew, address)


def told(task: SimTask, skew: float, address: Address) -> dict[str, Any]:
    """A task as query and list of the classic dialect tell it.

    :param task: the task.
    :param skew: seconds the simulated server's clock is ahead.
    :param address: makes the address of a file.
    """
    data = {
        **_booked(task, skew),
        "task_status_msg": task.message,
        "watermark_info": {"enabled": _has_watermark(task)},
    }
    if task.has_result:
        result: dict[str, list[Any]] = {}
        for list_name, item in _items(task, address):
            result.setdefault(list_name, []).append(item)
        data["task_result"] = result
    if task.is_terminal:
        data["final_unit_deduction"] = _deducted(task)
    return data


def told_anew(task: SimTask, skew: float, address: Address) -> dict[str, Any]:
    """The same task as the new dialect tells it.

    :param task: the task.
    :param skew: seconds the simulated server's clock is ahead.
    :param address: makes the address of a file.
    """
    bill = {"charge_type": "unit", "amount": _deducted(task), "package_type": task.order.endpoint.slots}
    items = _items(task, address) if task.has_result else []
    return {
        **_booked_anew(task, skew),
        "outputs": [{"type": _OUTPUT_TYPES[name], **item} for name, item in items],
        "billing": [bill] if task.is_terminal else [],
    }


def _booked(task: SimTask, skew: float) -> dict[str, Any]:
    return {
        "task_id": task.task_id,
        "task_status": task.status,
        "task_info": _info(task),
        "created_at": _milliseconds(task.created_at + skew),
        "updated_at": _milliseconds(task.updated_at + skew),
    }


def _booked_anew(task: SimTask, skew: float) -> dict[str, Any]:
    return {
        "id": task.task_id,
        "status": new_word(task.status),
        "message": task.message,
        "create_time": _milliseconds(task.created_at + skew),
        "update_time": _milliseconds(task.updated_at + skew),
        "external_id": task.external_task_id or "",
    }


def new_word(status: str) -> str:
    """The new dialect's word for a status."""
    return "succeeded" if status == SUCCEED else status


def _items(task: SimTask, address: Address) -> list[tuple[str, dict[str, Any]]]:
    return [(one.planned.list_name, one.tell(partial(address, task))) for one in task.results]


def _deducted(task: SimTask) -> str:
    return f"{task.units.normalize():f}" if task.status == SUCCEED else "0"


def _info(task: SimTask) -> dict[str, Any]:
    parent = {} if task.order.parent is None else {"parent_video": dict(task.order.parent)}
    caller = {} if task.external_task_id is None else {"external_task_id": task.external_task_id}
    return {**parent, **caller}


def _has_watermark(task: SimTask) -> bool:
    return bool((task.options.get("watermark_info") or {}).get("enabled"))


def _milliseconds(seconds: float) -> int:
    return int(seconds * 1000)
