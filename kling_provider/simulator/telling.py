"""A task as Kling tells it, in the classic dialect and in the new one."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import Any

from kling_provider.api.tasks import SUCCEED
from kling_provider.simulator.refusals import Refusal
from kling_provider.simulator.tasks import SimTask

#: Makes the address of a video: (task, video id, watermarked).
Address = Callable[[SimTask, str, bool], str]


def success(data: object) -> dict[str, Any]:
    """The envelope of an answer."""
    return {"code": 0, "message": "SUCCEED", "request_id": str(uuid.uuid4()), "data": data}


def refusal(reason: Refusal, *, localised: bool = False) -> dict[str, Any]:
    """The envelope of a refusal."""
    message = reason.localised() if localised else reason.message
    return {"code": reason.code, "message": message, "request_id": str(uuid.uuid4())}


def booked(task: SimTask, skew: float) -> dict[str, Any]:
    """A task as the create tells it."""
    return {
        "task_id": task.task_id,
        "task_status": task.status,
        "task_info": _info(task),
        "created_at": _milliseconds(task.created_at + skew),
        "updated_at": _milliseconds(task.updated_at + skew),
    }


def told(task: SimTask, skew: float, address: Address) -> dict[str, Any]:
    """A task as query, list and callback tell it.

    :param task: the task.
    :param skew: seconds the simulated server's clock is ahead.
    :param address: makes the address of a video.
    """
    data = {
        **booked(task, skew),
        "task_status_msg": task.message,
        "watermark_info": {"enabled": _has_watermark(task.body)},
    }
    if task.has_result:
        data["task_result"] = {"videos": [_video(task, one, address) for one in task.video_ids]}
    if task.is_terminal:
        data["final_unit_deduction"] = f"{task.units.normalize():f}" if task.status == SUCCEED else "0"
    return data


def told_anew(task: SimTask, skew: float, address: Address) -> dict[str, Any]:
    """The same task as the new dialect tells it.

    :param task: the task.
    :param skew: seconds the simulated server's clock is ahead.
    :param address: makes the address of a video.
    """
    amount = f"{task.units.normalize():f}" if task.status == SUCCEED else "0"
    bill = {"charge_type": "unit", "amount": amount, "package_type": task.order.endpoint.kind}
    videos = task.video_ids if task.has_result else ()
    return {
        "id": task.task_id,
        "status": "succeeded" if task.status == SUCCEED else task.status,
        "message": task.message,
        "create_time": _milliseconds(task.created_at + skew),
        "update_time": _milliseconds(task.updated_at + skew),
        "external_id": task.external_task_id or "",
        "outputs": [{"type": "video", **_video(task, one, address)} for one in videos],
        "billing": [bill] if task.is_terminal else [],
    }


def _info(task: SimTask) -> dict[str, Any]:
    return {} if task.external_task_id is None else {"external_task_id": task.external_task_id}


def _video(task: SimTask, video_id: str, address: Address) -> dict[str, str]:
    return {
        "id": video_id,
        "url": address(task, video_id, False),
        "watermark_url": address(task, video_id, True) if _has_watermark(task.body) else "",
        "duration": f"{float(task.body.get('duration', 5)):.1f}",
    }


def _has_watermark(body: Mapping[str, Any]) -> bool:
    return bool((body.get("watermark_info") or {}).get("enabled"))


def _milliseconds(seconds: float) -> int:
    return int(seconds * 1000)
