"""``GET /account/costs``: the free call that tells what is left in the resource packs."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from starlette.requests import Request

from kling_provider.simulator.accounts import Account
from kling_provider.simulator.refusals import Refusal
from kling_provider.simulator.simulation import Simulation

#: Units of the pack where the settings name none: the smallest one that is sold.
PACK_UNITS = Decimal(5000)
PACK_DAYS = 180
_DAY = 86400


async def account_costs(simulation: Simulation, request: Request, account: Account) -> Any:
    """Tell the account's one pack."""
    for name in ("start_time", "end_time"):
        if not request.query_params.get(name, "").isdecimal():
            raise Refusal(1201, f"{name} is required, in milliseconds")
    with simulation.lock:
        total = simulation.settings.balance_units
        total = PACK_UNITS if total is None else total
        left = max(total - simulation.world.spent(account.name), Decimal(0))
        now = simulation.now + simulation.settings.clock_skew
    bought = int(now // _DAY - 30) * _DAY * 1000
    pack = {
        "resource_pack_name": "Video units (simulated)",
        "resource_pack_id": f"pack-{account.name}",
        "resource_pack_type": "decreasing_total",
        "total_quantity": float(total),
        "remaining_quantity": float(left),
        "purchase_time": bought,
        "effective_time": bought,
        "invalid_time": bought + PACK_DAYS * _DAY * 1000,
        "status": "online" if left > 0 else "runOut",
    }
    wanted = request.query_params.get("resource_pack_name")
    packs = [pack] if wanted in (None, "", pack["resource_pack_name"]) else []
    return {"code": 0, "msg": "SUCCEED", "resource_pack_subscribe_infos": packs}
