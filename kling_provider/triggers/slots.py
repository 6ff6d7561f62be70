"""Placeholder of the lead until the slot queue lands; replace it wholly."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent


def task_finished(kling_conn_id: str, kind: str) -> None:
    """A task was seen to end."""


class KlingSlotTrigger(BaseTrigger):
    """Placeholder."""

    def __init__(self, **arguments: Any):
        super().__init__()  # type: ignore[no-untyped-call]
        self.arguments = arguments

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Give class path and arguments."""
        return f"{type(self).__module__}.{type(self).__qualname__}", dict(self.arguments)

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Release at once."""
        yield TriggerEvent({"status": "slot"})
