"""A task of the simulated Kling, from booked to finished."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from math import inf
from typing import Any

from kling_provider.api.endpoints import Endpoint
from kling_provider.api.tasks import FAILED, PROCESSING, SUBMITTED, SUCCEED
from kling_provider.simulator.asked import model_of, options_of
from kling_provider.simulator.results.planned import Planned, Result
from kling_provider.simulator.settings import Script

#: The part of its time a task waits before it is worked on.
WAITING_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class Order:
    """A create that Kling has nothing to say against.

    :param endpoint: where it came in.
    :param body: its fields, with the defaults that decide what is billed, files shortened.
    :param external_task_id: the caller's id, or None.
    :param results: what it will give.
    :param units: what it will cost, or None where no price is known.
    :param usd: the same in US dollars.
    :param fails_with: why it will fail, or None.
    :param parent: the video it was made from, as it is told, or None.
    """

    endpoint: Endpoint
    body: Mapping[str, Any]
    external_task_id: str | None = None
    results: tuple[Planned, ...] = ()
    units: Decimal | None = None
    usd: Decimal | None = None
    fails_with: str | None = None
    parent: Mapping[str, Any] | None = None

    def at_price(self, factor: Decimal) -> Order:
        """The same for a multiple of its price."""
        return replace(self, units=self.units and self.units * factor, usd=self.usd and self.usd * factor)

    @property
    def slots(self) -> int:
        """How many slots it holds: a picture takes one each, anything else one in all."""
        pictures = [one for one in self.results if one.list_name in ("images", "series_images")]
        return max(len(pictures), 1)


@dataclass(slots=True)
class SimTask:
    """One task. Times are epoch seconds.

    :param task_id: its id, digits.
    :param account: whose it is.
    :param gateway: through which gateway it came.
    :param order: what was asked.
    :param external_task_id: the id Kling knows it by; None if none was sent or the gateway swallowed it.
    :param status: a status word.
    :param message: why it failed.
    :param created_at: when it was booked.
    :param updated_at: when it last changed.
    :param processing_at: when work begins.
    :param ends_at: when work ends; infinite for a stuck task.
    :param vanished_until: not to be found before.
    :param script: what becomes of it.
    :param video_ids: ids of its videos.
    :param is_foreign: somebody else's work in the same account; nobody asks its price here.
    """

    task_id: str
    account: str
    gateway: str
    order: Order
    external_task_id: str | None
    created_at: float
    processing_at: float
    ends_at: float
    results: tuple[Result, ...] = ()
    script: Script = field(default_factory=Script)
    status: str = SUBMITTED
    message: str = ""
    updated_at: float = 0
    vanished_until: float = 0
    is_foreign: bool = False

    @property
    def endpoint(self) -> str:
        """Name of its endpoint."""
        return self.order.endpoint.name

    @property
    def body(self) -> Mapping[str, Any]:
        """What was asked, pictures shortened."""
        return self.order.body

    @property
    def model_name(self) -> str:
        """The model, or nothing where there is no choice."""
        return model_of(self.order.endpoint, self.body)

    @property
    def options(self) -> Mapping[str, Any]:
        """Where the fields stand that every task has: callback, watermark."""
        return options_of(self.order.endpoint, self.body)

    @property
    def video_ids(self) -> tuple[str, ...]:
        """Ids of its videos."""
        return tuple(one.id for one in self.results if one.planned.list_name == "videos")

    @property
    def result_ids(self) -> tuple[str, ...]:
        """Ids of all its results."""
        return tuple(one.id for one in self.results)

    @property
    def sent_external_task_id(self) -> str | None:
        """The caller's id as it was sent, whether or not the gateway swallowed it."""
        return self.order.external_task_id

    @property
    def units(self) -> Decimal:
        """What it costs, or would."""
        return self.order.units or Decimal(0)

    @property
    def is_terminal(self) -> bool:
        """Whether it is over, and its slot free."""
        return self.status in (SUCCEED, FAILED)

    @property
    def is_charged(self) -> bool:
        """Whether it is paid for: every booked task that does not fail, and calls that have a price."""
        is_free = self.order.endpoint.work == "call" and not self.units
        return self.status != FAILED and not self.is_foreign and not is_free

    @property
    def has_result(self) -> bool:
        """Whether there are results to fetch."""
        return self.status == SUCCEED and self.script.outcome != "no_result"

    @property
    def next_change(self) -> float:
        """When its status changes next; infinite if it never does by itself."""
        if self.is_terminal:
            return inf
        return self.processing_at if self.status == SUBMITTED else self.ends_at

    def walk(self, now: float) -> bool:
        """Take the next step if it is due; tells whether there was one."""
        due = self.next_change
        if now < due:
            return False
        if self.status == SUBMITTED:
            self.become(self.script.word if self.script.outcome == "unknown_word" else PROCESSING, due)
        elif self.order.fails_with or self.script.outcome == "fail":
            self.become(FAILED, due, self.order.fails_with or self.script.message)
        else:
            self.become(SUCCEED, due)
        return True

    def become(self, status: str, now: float, message: str = "") -> None:
        """Change the status."""
        self.status, self.message, self.updated_at = status, message, now

    def rescale(self, now: float, factor: float) -> None:
        """Let what is left of the work take ``factor`` times as long."""
        if not self.is_terminal:
            self.processing_at = now + (self.processing_at - now) * factor
            self.ends_at = now + (self.ends_at - now) * factor

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain JSON, for the control plane."""
        return {
            "task_id": self.task_id,
            "account": self.account,
            "gateway": self.gateway,
            "endpoint": self.endpoint,
            "external_task_id": self.external_task_id,
            "sent_external_task_id": self.sent_external_task_id,
            "status": self.status,
            "message": self.message,
            "created_at": self.created_at,
            "updated_at": self.updated_at,
            "ends_at": None if self.ends_at == inf else self.ends_at,
            "units": str(self.units),
            "is_charged": self.is_charged,
            "video_ids": list(self.video_ids),
            "result_ids": list(self.result_ids),
            "outcome": self.script.outcome,
            "body": dict(self.body),
        }
