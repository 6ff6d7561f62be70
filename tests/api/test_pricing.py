"""What a request will cost, beyond the price list itself (``test_facts.py``)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from kling_provider.api.endpoints import ENDPOINTS
from kling_provider.api.pricing import estimate_units, units_left
from kling_provider.api.requests import check_request


@pytest.mark.parametrize(
    ("request_body", "units"),
    [
        ({"model_name": "kling-v2-6"}, "1.5"),
        ({"model_name": "kling-v2-6", "mode": "", "duration": ""}, "1.5"),
        ({"model_name": "kling-v3", "mode": "pro", "duration": "15", "sound": "on"}, "18"),
        ({"model_name": "kling-v3", "mode": "4k", "duration": "5", "sound": "on"}, "15"),
        ({"model_name": "kling-v1-6", "mode": "pro", "duration": 10}, "7"),
        ({"model_name": "kling-v2-master", "mode": "pro"}, "10"),
    ],
)
def test_missing_fields_cost_what_kling_takes_them_for(request_body: dict[str, Any], units: str):
    assert estimate_units("image2video", request_body) == Decimal(units)


@pytest.mark.parametrize(
    "request_body",
    [
        {},
        {"model_name": None},
        {"model_name": "kling-v9"},
        {"model_name": "kling-v2-6", "mode": "std", "sound": "on"},
        {"model_name": "kling-v2-6", "mode": "4k"},
        {"model_name": "kling-v1-6", "mode": "4k"},
        {"model_name": "kling-v1-6", "duration": "7"},
        {"model_name": "kling-v3", "mode": "pro", "voice_list": [{"voice_id": "1"}], "sound": "on"},
    ],
    ids=str,
)
def test_without_a_published_price_there_is_no_estimate(request_body: dict[str, Any]):
    assert estimate_units("image2video", request_body) is None


def test_a_checked_request_is_priced_with_its_defaults():
    body = check_request(ENDPOINTS["text2video"], {"prompt": "x"}, "kling-v3").body
    assert estimate_units("text2video", body) == Decimal("3.0")


def pack(name: str = "video", left: object = 5.5, status: object = "online") -> dict[str, Any]:
    return {"resource_pack_name": name, "remaining_quantity": left, "status": status}


@pytest.mark.parametrize(
    ("packs", "name", "left"),
    [
        ([pack()], None, "5.5"),
        ([pack(), pack("image", 3)], None, "8.5"),
        ([pack(), pack("image", 3)], "image", "3"),
        ([pack(status="expired"), pack(status="toBeOnline"), pack(left=2, status=None)], None, "2"),
        ([pack(status="runOut")], None, "0"),
        ([pack(left="?"), pack(left="nan"), pack(left=None)], None, "0"),
        ([pack()], "image", None),
        ([], None, None),
        (None, None, None),
        ("none", None, None),
        (["odd", pack()], None, "5.5"),
    ],
)
def test_what_is_left_is_that_of_the_packs_that_can_be_used_now(
    packs: Any, name: str | None, left: str | None
):
    costs = {"code": 0} if packs is None else {"code": 0, "resource_pack_subscribe_infos": packs}
    assert units_left(costs, name) == (None if left is None else Decimal(left))
