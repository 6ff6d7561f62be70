"""What a probe would submit, and what that costs at worst."""

from __future__ import annotations

import random
import secrets
import string
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from kling_provider.api.capabilities import models_with_duration
from kling_provider.api.endpoints import Endpoint, endpoint_for
from kling_provider.api.identity import is_derived
from kling_provider.api.pricing import usd_of
from kling_provider.api.tasks import KlingTask

if TYPE_CHECKING:
    from kling_provider.hooks.kling import KlingHook

_PREFIX = "probe-"
_ALLOWED = string.ascii_letters + string.digits + "_-"
#: As long as the ids this provider derives.
_DERIVED_LENGTH = 40
_PICTURE_SIDE = 300
_CHEAP = {"duration": "5", "mode": "std"}


def _grey_picture() -> bytes:
    """The smallest picture Kling takes, as a PNG."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", _PICTURE_SIDE, _PICTURE_SIDE, 8, 0, 0, 0, 0)
    rows = (b"\0" + b"\x80" * _PICTURE_SIDE) * _PICTURE_SIDE
    start = b"\x89PNG\r\n\x1a\n"
    return start + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


#: endpoint -> the least that can be asked of it.
SAMPLES: Mapping[str, Mapping[str, Any]] = {
    "text2video": {"prompt": "A candle flame, still camera."},
    "image2video": {"image": _grey_picture()},
}


@dataclass(frozen=True, slots=True)
class Plan:
    """What is submitted once somebody has agreed to pay for it.

    :param endpoint: where it goes.
    :param body: what is sent, without an external id.
    :param units: price of one task, None where none is published.
    :param wide_id: 64 characters, each that this provider sends once: what is kept of it is kept of any id.
    :param plain_id: an id like the derived ones, for where the wide one is refused.
    :param failed_id: the id of a failed task to send again, or None.
    :param tries_all: whether a repeat is sent even where no id was kept, so that it is most likely paid.
    """

    endpoint: Endpoint
    body: Mapping[str, Any]
    units: Decimal | None
    wide_id: str
    plain_id: str
    failed_id: str | None = None
    tries_all: bool = False

    @property
    def most_tasks(self) -> int:
        """How many tasks are paid at worst."""
        return 2 if self.failed_id is None else 3

    @property
    def request(self) -> str:
        """Model and length, in words."""
        return f"{self.body['model_name']}, {self.body['duration']} s, {self.body['mode']}"

    def price(self, tasks: int = 1) -> str:
        """What so many tasks cost, in words."""
        if self.units is None:
            return "no published price"
        units = self.units * tasks
        return (
            f"{units.normalize():f} units, {usd_of(self.endpoint.name, units):.2f} USD at Kling's list price"
        )


def plan_for(
    hook: KlingHook, endpoint: str, model: str | None, failed: Sequence[KlingTask], *, thorough: bool
) -> Plan:
    """Choose the cheapest request of an endpoint.

    :param hook: of the connection.
    :param endpoint: a name of :data:`SAMPLES`.
    :param model: the model to use; None: the cheapest of those in sale at this gateway.
    :param failed: tasks whose ids may be tried again.
    :param thorough: also do what costs another task.
    :raises KlingBadRequestError: if the model cannot do it.
    """
    row = endpoint_for(endpoint)
    request = {**SAMPLES[endpoint], **_CHEAP}
    prepared = hook.prepare(endpoint, {**request, "model_name": model or _cheapest(hook, row, request)})
    rest = list(set(_ALLOWED) - set(_PREFIX))
    random.SystemRandom().shuffle(rest)
    spare = "".join(secrets.choice(string.ascii_lowercase) for _ in range(_DERIVED_LENGTH - len(_PREFIX)))
    return Plan(
        row,
        prepared.body,
        prepared.estimated_units,
        wide_id=_PREFIX + "".join(rest),
        plain_id=_PREFIX + spare,
        failed_id=reusable_id(failed) if thorough else None,
        tries_all=thorough,
    )


def reusable_id(failed: Sequence[KlingTask]) -> str | None:
    """An id of a failed task that may be tried again.

    Never a derived one: a retry of the DAG's task it belongs to would collect the probe's video as its own.
    """
    ids = [str(task.external_task_id) for task in failed if not is_derived(str(task.external_task_id))]
    return min(ids, key=lambda name: not name.startswith(_PREFIX), default=None)


def _cheapest(hook: KlingHook, row: Endpoint, request: Mapping[str, Any]) -> str:
    """The cheapest model; the gateway's own default of equal ones, and where that is of the old models."""
    default = hook.config.model_for(row)
    current = models_with_duration(str(request["duration"]), row.name)
    candidates = list(current) if default in (None, *current) else [str(default)]

    def price(model: str) -> tuple[Decimal, bool]:
        units = hook.estimate_units(row.name, {**request, "model_name": model})
        return (Decimal("Infinity") if units is None else units, model != default)

    return min(candidates, key=price)
