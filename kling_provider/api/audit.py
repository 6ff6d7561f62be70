"""What was paid against what was collected: pure functions over tasks, billing rows and stored ids.

A task is *ours* if its external_task_id was derived in our namespace; ids that users chose themselves cannot be
told from anybody else's. It is *collected* if its id stands in the name of a stored file, or if there is no file in
its result: a voice or an element is used at Kling, by its id.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from kling_provider.api.billing import BillingRow
from kling_provider.api.dialects import NEW_MODELS
from kling_provider.api.endpoints import ENDPOINTS
from kling_provider.api.identity import identity_of, namespace_prefix
from kling_provider.api.price_list import classic_names
from kling_provider.api.pricing import estimate_units
from kling_provider.api.tasks import FAILED, SUCCEED, KlingTask

_NOTHING = Decimal(0)
#: Endpoints for which a row says all that the price depends on. Of an omni video it does not say whether there was
#: a reference video, of pictures not how many were made.
_PRICED_BY_ROWS = frozenset(
    {
        "text2video",
        "image2video",
        "multi-image2video",
        "motion-control",
        "video-extend",
        "avatar",
        "advanced-lip-sync",
        "lip-sync",
        "multi-elements",
    }
)
#: Seconds that no result has.
_ENDLESS = 86400
#: What a row may say of the sound. The original sound of an input costs nothing.
_PRICED_SOUNDS = (None, "off", "on", "voice", "original")


def uncollected(
    tasks: Iterable[KlingTask],
    namespace: str,
    collected: Collection[str],
    now: datetime,
    older_than: timedelta,
    younger_than: timedelta,
) -> list[KlingTask]:
    """Tell which files of succeeded tasks of a namespace nobody has stored, as their tasks, oldest first.

    :param tasks: tasks of the account, anybody's.
    :param namespace: the connection's extra ``namespace``.
    :param collected: task ids in the names of stored files.
    :param now: the time (aware).
    :param older_than: only those that ended at least so long ago; younger ones may be on their way.
    :param younger_than: only those that ended less long ago; results are deleted some day.
    :returns: each once. One whose end Kling does not tell counts as just old enough: better looked at than lost.
    """
    prefix = namespace_prefix(namespace)
    found: dict[str, tuple[datetime, KlingTask]] = {}
    for task in tasks:
        is_ours = task.external_task_id is not None and task.external_task_id.startswith(prefix)
        if not is_ours or not task.is_successful or not task.files or task.task_id in collected:
            continue
        ended = _ended(task) or now - older_than
        if older_than <= now - ended < younger_than:
            found[task.task_id] = (ended, task)
    return [task for _, task in sorted(found.values(), key=lambda one: (one[0], one[1].task_id))]


@dataclass(frozen=True, slots=True)
class PaidTask:
    """A task of ours and what was deducted for it.

    :param units: units, None if it was paid with money only.
    :param amounts: money per currency.
    """

    task_id: str
    endpoint: str
    external_task_id: str
    status: str
    ended_at: datetime | None
    units: Decimal | None
    amounts: Mapping[str, Decimal]


@dataclass(frozen=True, slots=True)
class PaidTwice:
    """Several paid tasks for one piece of work.

    :param identity: the part of their ids that names the work: DAG, run, task, key, number of clears and failures.
    :param is_same_request: whether all asked for the same; else the request was changed and the task cleared.
    """

    identity: str
    is_same_request: bool
    tasks: tuple[PaidTask, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """A task that was charged otherwise than the price list says."""

    task_id: str
    model_name: str | None
    mode: str | None
    duration: Decimal | None
    sound: str | None
    estimated: Decimal
    charged: Decimal


@dataclass(frozen=True, slots=True)
class Estimates:
    """The price list against the charges, over the tasks of ours that were paid in units.

    :param compared: so many had a price in the list.
    :param without_price: so many had none, or were paid with money.
    :param unnamed: of those without a price, so many whose endpoint neither the list nor the billing row tells:
        the new dialect has one list for all its endpoints.
    :param estimated: units of all that were compared, by the list.
    :param charged: units of the same, as deducted.
    :param differences: those that differ.
    """

    compared: int
    without_price: int
    unnamed: int
    estimated: Decimal
    charged: Decimal
    differences: tuple[Difference, ...]


@dataclass(frozen=True, slots=True)
class Sum:
    """So many tasks, and what was deducted for them."""

    tasks: int
    units: Decimal
    amounts: Mapping[str, Decimal]


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What an audit found.

    :param rows: so many billing rows were read.
    :param paid: tasks of ours.
    :param not_collected: paid, succeeded with files, and stored nowhere.
    :param pending: so many of ours are paid and still run, or ended too recently to be judged.
    :param failed: charged although Kling has failed them.
    :param paid_twice: works that were paid more than once.
    :param estimates: price list against charges.
    :param not_ours: tasks of other namespaces, or without a derived id.
    :param unlisted: rows whose task was not among the tasks: other endpoints, or records that are gone.
    """

    rows: int
    paid: Sum
    not_collected: tuple[PaidTask, ...]
    pending: int
    failed: tuple[PaidTask, ...]
    paid_twice: tuple[PaidTwice, ...]
    estimates: Estimates
    not_ours: Sum
    unlisted: Sum

    @property
    def findings(self) -> dict[str, int]:
        """How many of each kind a person should look at."""
        return {
            "paid, not collected": len(self.not_collected),
            "paid twice": len(self.paid_twice),
            "charged although failed": len(self.failed),
            "charge is not the estimate": len(self.estimates.differences),
        }

    def to_dict(self) -> dict[str, Any]:
        """Give the report as plain JSON: ISO times, numbers with a fraction as text; with ``findings``."""
        return {**_plain(asdict(self)), "findings": self.findings}


def audit(
    rows: Sequence[BillingRow],
    tasks: Iterable[KlingTask],
    collected: Collection[str],
    *,
    namespace: str = "",
    settled_before: datetime | None = None,
) -> AuditReport:
    """Join billing rows, tasks and stored files.

    :param rows: of any kind, of one period.
    :param tasks: tasks of the account, anybody's; those of other periods too, so that a payment of this period
        and one of the last for the same work are seen.
    :param collected: task ids in the names of stored files.
    :param namespace: the connection's extra ``namespace``.
    :param settled_before: tasks that ended later are not missed yet, because a run may be storing them.
    """
    known = {task.task_id: task for task in tasks}
    prefix = namespace_prefix(namespace)
    bills: dict[str, list[BillingRow]] = defaultdict(list)
    for row in rows:
        bills[row.task_id].append(row)
    ours, others, unlisted = {}, [], []
    for task_id, bill in bills.items():
        task = known.get(task_id)
        if task is None:
            unlisted += bill
        elif not (task.external_task_id or "").startswith(prefix):
            others += bill
        elif (paid := _paid(task, bill)) is not None:
            ours[task_id] = paid
    failed = tuple(paid for paid in ours.values() if paid.status == FAILED)
    waited_for = [
        paid
        for paid in ours.values()
        if not known[paid.task_id].is_terminal
        or (known[paid.task_id].files and paid.task_id not in collected)
    ]
    missed = [paid for paid in waited_for if _is_settled(paid, settled_before)]
    return AuditReport(
        rows=len(rows),
        paid=_sum(row for task_id in ours for row in bills[task_id]),
        not_collected=tuple(missed),
        pending=len(waited_for) - len(missed),
        failed=failed,
        paid_twice=_twice(ours, known.values(), prefix),
        estimates=_compare(
            {task_id: bills[task_id] for task_id in ours},
            {task_id: known[task_id].endpoint for task_id in ours},
        ),
        not_ours=_sum(others),
        unlisted=_sum(unlisted),
    )


def _ended(task: KlingTask) -> datetime | None:
    return task.updated_at or task.created_at


def _is_settled(paid: PaidTask, before: datetime | None) -> bool:
    """Whether its file should be there by now."""
    return paid.status == SUCCEED and (before is None or paid.ended_at is None or paid.ended_at < before)


def _paid(task: KlingTask, bill: Sequence[BillingRow]) -> PaidTask | None:
    """One task may have several rows: from two packs, or a refund. None if nothing remains."""
    total = _sum(bill)
    if total.units <= 0 and not any(amount > 0 for amount in total.amounts.values()):
        return None
    has_units = any(row.units is not None for row in bill)
    return _paid_task(task, total.units if has_units else None, total.amounts)


def _paid_task(task: KlingTask, units: Decimal | None, amounts: Mapping[str, Decimal]) -> PaidTask:
    return PaidTask(
        task.task_id,
        task.endpoint,
        task.external_task_id or "",
        task.status,
        _ended(task) if task.is_terminal else None,
        units,
        amounts,
    )


def _twice(ours: Mapping[str, PaidTask], tasks: Iterable[KlingTask], prefix: str) -> tuple[PaidTwice, ...]:
    """Works with several paid tasks, at least one of them in the rows."""
    works: dict[str, list[PaidTask]] = defaultdict(list)
    for task in tasks:
        external_id = task.external_task_id or ""
        work = identity_of(external_id)
        if work is None or not external_id.startswith(prefix) or task.status == FAILED:
            continue
        if task.task_id in ours:
            works[work].append(ours[task.task_id])
        elif task.units:  # paid in another period; Kling tells it in the task
            works[work].append(_paid_task(task, task.units, {}))
    return tuple(
        PaidTwice(work, len({one.external_task_id for one in paid}) == 1, tuple(paid))
        for work, paid in sorted(works.items())
        if len(paid) > 1 and any(one.task_id in ours for one in paid)
    )


def _compare(bills: Mapping[str, Sequence[BillingRow]], endpoints: Mapping[str, str]) -> Estimates:
    estimated = charged = _NOTHING
    compared, unnamed, differences = 0, 0, []
    for task_id, bill in bills.items():
        row, total = bill[0], _sum(bill)
        endpoint = _endpoint(endpoints[task_id], row)
        unnamed += endpoint is None
        price = None if total.amounts or endpoint is None else _price(endpoint, row)
        if price is None:
            continue
        compared += 1
        estimated += price
        charged += total.units
        if price != total.units:
            differences.append(
                Difference(task_id, row.model_name, row.mode, row.duration, row.sound, price, total.units)
            )
    return Estimates(compared, len(bills) - compared, unnamed, estimated, charged, tuple(differences))


def _endpoint(listed: str, row: BillingRow) -> str | None:
    """Which endpoint a task was made with; None where nothing tells it.

    What ``product_function`` holds is not documented; it is taken where it is the name of an endpoint, or a path of
    the new dialect that becomes one with the model.

    :param listed: as its list told it: ``tasks`` for anything of the new dialect.
    """
    if listed != "tasks":
        return listed
    product = re.sub("[ _]+", "-", (row.product or "").strip().lower()).strip("/")
    model = row.model_name or ""
    names = (f"{product}/{NEW_MODELS.get(model, model)}", product)
    return next((name for name in names if name in ENDPOINTS), None)


def _price(endpoint: str, row: BillingRow) -> Decimal | None:
    """What the price list says; None where it, or the row, says nothing."""
    classic, model = classic_names(endpoint)
    model = model or row.model_name
    if classic not in _PRICED_BY_ROWS or row.sound not in _PRICED_SOUNDS:
        return None
    if model is None or row.mode is None or row.duration is None or not 0 < row.duration < _ENDLESS:
        return None
    return estimate_units(
        classic,
        {
            "model_name": model,
            "mode": row.mode,
            "duration": row.duration.to_integral_value(ROUND_HALF_UP),  # 5.04 s were asked as 5
            "sound": "on" if row.sound in ("on", "voice") else "off",
            "voice_list": [row.sound] if row.sound == "voice" else None,
        },
        input_seconds=float(row.duration),  # what follows an input is as long as that
    )


def _sum(rows: Iterable[BillingRow]) -> Sum:
    units, task_ids = _NOTHING, set()
    amounts: dict[str, Decimal] = defaultdict(Decimal)
    for row in rows:
        task_ids.add(row.task_id)
        units += row.units or 0
        if row.amount is not None:
            amounts[row.currency or "?"] += row.amount
    return Sum(len(task_ids), units, dict(amounts))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, Decimal) else value
