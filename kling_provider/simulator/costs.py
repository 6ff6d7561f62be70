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
    """Tell the account's packs: the one that pays for everything but pictures, and theirs if it has an end."""
    for name in ("start_time", "end_time"):
        if not request.query_params.get(name, "").isdecimal():
            raise Refusal(1201, f"{name} is required, in milliseconds")
    with simulation.lock:
        settings = simulation.settings
        now = simulation.now + settings.clock_skew
        packs = [_pack(simulation, account, "video", now)]
        if settings.image_units is not None:
            packs.append(_pack(simulation, account, "image", now))
    wanted = request.query_params.get("resource_pack_name")
    told = [pack for pack in packs if wanted in (None, "", pack["resource_pack_name"])]
    return {"code": 0, "msg": "SUCCEED", "resource_pack_subscribe_infos": told}


def _pack(simulation: Simulation, account: Account, pays_for: str, now: float) -> dict[str, Any]:
    total = simulation.settings.units_of(pays_for)
    total = PACK_UNITS if total is None else total
    left = max(total - simulation.world.spent(account.name, pays_for), Decimal(0))
    bought = int(now // _DAY - 30) * _DAY * 1000
    return {
        "resource_pack_name": f"{pays_for.capitalize()} units (simulated)",
        "resource_pack_id": f"pack-{account.name}"
        if pays_for == "video"
        else f"pack-{account.name}-{pays_for}",
        "resource_pack_type": "decreasing_total",
        "total_quantity": float(total),
        "remaining_quantity": float(left),
        "purchase_time": bought,
        "effective_time": bought,
        "invalid_time": bought + PACK_DAYS * _DAY * 1000,
        "status": "online" if left > 0 else "runOut",
    }
