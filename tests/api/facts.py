"""The facts about Kling, for the tests that hold the package's tables against them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FACTS: dict[str, Any] = json.loads((Path(__file__).parent.parent / "data" / "kling-api.json").read_text())
ENDPOINT_FACTS: dict[str, dict[str, Any]] = {row["name"]: row for row in FACTS["endpoints"]}


def fields_of(endpoint: str) -> dict[str, dict[str, Any]]:
    """Every field of an endpoint's facts, parts of objects with a dotted name."""

    def walk(fields: list[dict[str, Any]], before: str) -> Iterator[tuple[str, dict[str, Any]]]:
        for field in fields:
            yield before + field["name"], field
            yield from walk(field.get("fields", []), f"{before}{field['name']}.")

    return dict(walk(ENDPOINT_FACTS[endpoint]["fields"], ""))


def durations_of(fact: dict[str, Any]) -> list[str]:
    """The lengths a field takes, as text: its list, or its limits."""
    return [str(value) for value in fact.get("enum") or range(int(fact["min"]), int(fact["max"]) + 1)]
