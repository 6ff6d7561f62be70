"""JSON types on the wire are strict, for every field of every endpoint."""

from __future__ import annotations

from typing import Any

import pytest

from kling_provider.api.endpoints import ENDPOINTS
from kling_provider.simulator.refusals import Refusal
from kling_provider.simulator.wire import check_types
from tests.api.facts import ENDPOINT_FACTS
from tests.example_requests import EXAMPLES, FULL

#: Type of the facts -> a value of another type.
WRONG: dict[str, Any] = {
    "string": 5,
    "int": "5",
    "long": "5",
    "float": "0.5",
    "boolean": "true",
    "object": "{}",
    "array": {},
}
FIELDS = [
    (row.name, field["name"], field["type"].partition("<")[0])
    for row in ENDPOINTS.values()
    if row.work != "read"
    for field in ENDPOINT_FACTS[row.name]["fields"]
    if "|" not in field["type"]
]


@pytest.mark.parametrize(("endpoint", "field", "kind"), FIELDS)
def test_another_type_is_refused(endpoint: str, field: str, kind: str) -> None:
    with pytest.raises(Refusal, match=f"^{field} invalid: .* is not a ") as refusal:
        check_types(endpoint, {field: WRONG[kind]})
    assert refusal.value.code == 1201


@pytest.mark.parametrize("table", [EXAMPLES, FULL], ids=["short", "full"])
def test_what_kling_takes_has_the_right_types(table: Any) -> None:
    for endpoint, request in table.items():
        check_types(endpoint, request)


@pytest.mark.parametrize(
    ("endpoint", "fields", "text"),
    [
        (
            "text2video",
            {"watermark_info": {"enabled": "yes"}},
            "watermark_info.enabled invalid: yes is not a boolean",
        ),
        ("image2video", {"element_list": [{"element_id": "1"}]}, r"element_list\[0\].element_id invalid"),
        (
            "omni-video/kling-o1",
            {"settings": {"duration": "5"}},
            "settings.duration invalid: 5 is not a integer",
        ),
        (
            "images/omni-image",
            {"series_amount": 2.5},
            "series_amount invalid: 2.5 is not a integer or string",
        ),
        ("images/generations", {"n": True}, "n invalid: True is not a integer"),
    ],
)
def test_the_field_is_named_with_its_place(endpoint: str, fields: dict[str, Any], text: str) -> None:
    with pytest.raises(Refusal, match=text):
        check_types(endpoint, fields)
