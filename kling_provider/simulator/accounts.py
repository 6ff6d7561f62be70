"""Whose keys are good here, and what they pay."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Account:
    """An account and its keys."""

    name: str
    api_key: str
    access_key: str
    secret_key: str


@dataclass(frozen=True, slots=True)
class Charge:
    """One line of the ledger.

    :param task_id: what was paid for.
    :param account: who pays.
    :param endpoint: name of the endpoint.
    :param external_task_id: the caller's id as it was sent.
    :param model_name: the model.
    :param units: the price.
    :param status: of the task; a charge is certain with ``succeed`` and falls away with ``failed``.
    """

    task_id: str
    account: str
    endpoint: str
    external_task_id: str | None
    model_name: str
    units: Decimal
    status: str
