"""Elements and voices of the account can be deleted, nothing else can."""

from __future__ import annotations

from kling_provider.api.tasks import SUCCEED
from kling_provider.simulator.asked import Asked
from kling_provider.simulator.calls.desk import Desk, whole
from kling_provider.simulator.results.planned import Planned


def delete_element(desk: Desk, asked: Asked) -> tuple[Planned, ...]:
    """delete-elements."""
    return _delete(desk, asked, "element_id", "elements")


def delete_voice(desk: Desk, asked: Asked) -> tuple[Planned, ...]:
    """delete-voices."""
    return _delete(desk, asked, "voice_id", "voices")


def _delete(desk: Desk, asked: Asked, field: str, list_name: str) -> tuple[Planned, ...]:
    desk.world.deleted.add(desk.archive.own(asked.body[field], list_name, field).id)
    return whole({"task_id": "", "task_status": SUCCEED})
