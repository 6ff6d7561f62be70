"""Every endpoint of the table, over HTTP: what it answers decodes, and its files open."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from kling_provider.api.decoding import decode_answer
from kling_provider.api.endpoints import ENDPOINTS, Endpoint
from kling_provider.simulator.validation import VENDOR_DEFAULTS
from tests.api.facts import ENDPOINT_FACTS, fields_of
from tests.example_requests import EXAMPLES, FULL
from tests.simulator.maker import Maker, opened, told

ROWS = {work: [row for row in ENDPOINTS.values() if row.work == work] for work in ("task", "call", "read")}
REQUESTS = [
    pytest.param(ENDPOINTS[name], request, id=f"{name}-{kind}")
    for kind, table in (("short", EXAMPLES), ("full", FULL))
    for name, request in table.items()
]


@pytest.mark.parametrize(("row", "request_"), [one for one in REQUESTS if one.values[0].work == "task"])
def test_a_task_gives_what_the_facts_name(maker: Maker, row: Endpoint, request_: Mapping[str, Any]) -> None:
    task = maker.made(row.name, **maker.ready(row, request_))
    facts = ENDPOINT_FACTS[row.name]
    kind = facts["result_key"].rpartition(".")[2] if row.dialect == "classic" else "videos"
    results = getattr(task, kind)
    assert results
    for name in facts.get("result_fields", ()):
        assert name in results[0]
    charge = maker.client.server.charges[-1]
    assert (charge.task_id, charge.endpoint) == (task.task_id, row.name)


@pytest.mark.parametrize(("row", "request_"), [one for one in REQUESTS if one.values[0].work == "call"])
def test_a_call_answers_at_once_what_the_facts_name(
    maker: Maker, row: Endpoint, request_: Mapping[str, Any]
) -> None:
    ready = maker.ready(row, request_)
    data = maker.call(row.name, **ready)
    documented = ENDPOINT_FACTS[row.name].get("response_data", {})
    assert not documented or same_shape(data, documented)
    task = decode_answer(row, data, "r")
    assert task.is_successful
    assert maker.client.server.tasks[-1].endpoint == row.name
    assert maker.client.server.simulation.world.slots_held("main", row.slots) == 0


@pytest.mark.parametrize("row", ROWS["read"], ids=lambda row: row.name)
def test_a_read_answers_what_the_facts_name(maker: Maker, row: Endpoint) -> None:
    maker.video()
    facts, request = ENDPOINT_FACTS[row.name], EXAMPLES[row.name]
    if row.kind != "account" or row.name == "account/costs":
        data = told(maker.client.ask("GET", row.create_path, params=dict(request)))
    else:
        data = told(maker.client.ask("POST", row.create_path, json=dict(request)))
    if row.kind == "account":
        assert data.keys() == facts["response_data"].keys()
    else:
        kind = facts["result_key"].rpartition(".")[2]
        tasks = [decode_answer(row, item, "r") for item in data]
        assert all(getattr(task, kind)[0]["owned_by"] == "kling" for task in tasks)
        assert len({task.task_id for task in tasks}) == len(tasks) > 2
        for file in tasks[0].files:
            opened(file.url)


def same_shape(data: Any, documented: Any) -> bool:
    """Whether an answer has the fields, and the JSON types, of the documented one."""
    match documented:
        case dict():
            return data.keys() == documented.keys() and all(
                same_shape(data[name], item) for name, item in documented.items()
            )
        case list():
            return isinstance(data, list) and all(same_shape(item, documented[0]) for item in data)
    return type(data) is type(documented)


def test_the_models_kling_takes_where_none_is_named_are_those_of_the_facts() -> None:
    documented = {
        row.name: field["default"]
        for row in ENDPOINTS.values()
        for name, field in fields_of(row.name).items()
        if name == "model_name" and "default" in field
    }
    assert documented == VENDOR_DEFAULTS
