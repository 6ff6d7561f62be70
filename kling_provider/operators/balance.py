"""KlingCheckBalanceOperator: stop a run before it starts on a pack that cannot pay for it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from airflow.providers.common.compat.sdk import AirflowSkipException, BaseOperator, XComArg

from kling_provider.api.pricing import units_left
from kling_provider.exceptions import KlingAccountError
from kling_provider.hooks.work import run_was_cleared
from kling_provider.operators.submit import one_of, positive_units

if TYPE_CHECKING:
    from kling_provider.hooks.kling import KlingHook

log = logging.getLogger(__name__)

#: Packs are told for a period; those that can be used now are in the last one.
_PERIOD = timedelta(days=30)


class KlingCheckBalanceOperator(BaseOperator):
    """Skip what comes next when the account's resource packs are nearly empty. Costs nothing.

    Kling's figure may be 12 hours old, so it does not see what was spent tonight: bound that with
    ``max_units`` per request and, as ``kling_batch`` does, a limit per run.

    A run that was cleared goes on all the same, with a warning: what it has paid for is collected for nothing.

    Returns the units left as text, or None where they cannot be known (a gateway that does not tell, an account
    without packs); the run then goes on, with a warning in the log.

    :param min_units: so many units must be left (templated).
    :param resource_pack_name: count this pack only; by default all, although a video pack does not pay for
        pictures (templated).
    :param on_low: ``skip`` this task and what depends on it, or ``fail``.
    :param kling_conn_id: Airflow connection of type ``kling`` (templated).
    :raises AirflowSkipException: if less is left, with ``on_low="skip"``.
    :raises KlingAccountError: if less is left, with ``on_low="fail"``.
    """

    template_fields: Sequence[str] = ("min_units", "resource_pack_name", "kling_conn_id")
    ui_color = "#fef7e0"

    def __init__(
        self,
        *,
        min_units: float | str | Decimal | XComArg,
        resource_pack_name: str | None = None,
        on_low: Literal["skip", "fail"] = "skip",
        kling_conn_id: str = "kling_default",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        # A task's output stays one: as text, Airflow would not see what this depends on.
        self.min_units: Any = min_units if isinstance(min_units, XComArg) else str(min_units)
        self.resource_pack_name = resource_pack_name
        self.on_low = one_of("on_low", on_low, ("skip", "fail"))
        self.kling_conn_id = kling_conn_id

    @cached_property
    def hook(self) -> KlingHook:
        """The hook of ``kling_conn_id``."""
        from kling_provider.hooks.kling import KlingHook

        return KlingHook(self.kling_conn_id)

    def execute(self, context: Mapping[str, Any]) -> str | None:
        """Ask what is left, and go on or not.

        :param context: Airflow's context.
        """
        needed = positive_units("min_units", self.min_units)
        left = self._left()
        if left is None:
            return None
        if left >= needed:
            log.info("%s units are left, %s are needed.", left, needed)
            return str(left)
        message = (
            f"Nothing was sent. {left} units are left in the resource packs of connection {self.kling_conn_id!r}, "
            f"less than min_units={needed} (Kling's figure may be 12 hours old). Buy units in the console"
            f"{self._console()}, or lower min_units; then clear this task."
        )
        if run_was_cleared(context):  # what it has paid for already is collected for nothing
            log.warning("%s This run was cleared, so it goes on.", message.removeprefix("Nothing was sent. "))
            return str(left)
        raise AirflowSkipException(message) if self.on_low == "skip" else KlingAccountError(message)

    def _left(self) -> Decimal | None:
        if not self.hook.config.gateway.tells_costs:
            log.warning(
                "Gateway %r does not tell what is left; the run goes on unchecked.",
                self.hook.config.gateway.name,
            )
            return None
        now = datetime.now(UTC)
        costs = self.hook.get_account_costs(now - _PERIOD, now, resource_pack_name=self.resource_pack_name)
        left = units_left(costs, self.resource_pack_name)
        if left is None:
            which = f" named {self.resource_pack_name!r}" if self.resource_pack_name else ""
            log.warning("The account tells of no resource pack%s; the run goes on unchecked.", which)
        return left

    def _console(self) -> str:
        return f" ({self.hook.config.console_url})" if self.hook.config.console_url else ""
