"""What a request will cost, beyond the price list itself (``test_facts.py``)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from kling_provider.api.endpoints import ENDPOINTS
from kling_provider.api.pricing import estimate_units
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
    assert estimate_units(request_body) == Decimal(units)


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
    assert estimate_units(request_body) is None


def test_a_checked_request_is_priced_with_its_defaults():
    body = check_request(ENDPOINTS["text2video"], {"prompt": "x"}, "kling-v3").body
    assert estimate_units(body) == Decimal("3.0")
