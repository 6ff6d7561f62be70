"""Twenty requests as people really get them wrong: refused before anything is sent, and told how to go on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kling_provider.api.endpoints import ENDPOINTS
from kling_provider.api.errors import InvalidRequest
from kling_provider.api.gateways import GATEWAYS
from kling_provider.api.requests import check_literals, check_request
from kling_provider.exceptions import KlingBadRequestError
from kling_provider.hooks.kling import KlingHook
from kling_provider.simulator.server import SimulatorServer
from tests.example_requests import EXAMPLES

BROKEN: list[dict[str, Any]] = json.loads(
    (Path(__file__).parent.parent / "data" / "broken_requests.json").read_text()
)
each = pytest.mark.parametrize("broken", BROKEN, ids=[row["mistake"].replace(" ", "-") for row in BROKEN])


def check_words(said: str, broken: dict[str, Any]) -> None:
    """Field, value, rule and way out, each in its own words."""
    assert f"{broken['endpoint']}: " in said
    for part in ("field", "value", "rule", "way_out"):
        assert broken[part] in said, (part, said)
    assert len(said) < 900


def test_there_are_twenty_over_many_endpoints():
    assert len(BROKEN) == 20
    assert len({row["endpoint"] for row in BROKEN}) >= 12
    assert len({row["rule"] for row in BROKEN}) >= 18


@each
def test_a_broken_request_is_refused_and_told_how_to_go_on(broken: dict[str, Any]):
    endpoint = broken["endpoint"]
    before = json.dumps(broken)
    with pytest.raises(InvalidRequest) as caught:
        check_request(ENDPOINTS[endpoint], broken["request"], GATEWAYS["official"].models.get(endpoint))
    check_words(str(caught.value), broken)
    assert json.dumps(broken) == before


@each
def test_nothing_is_sent_for_a_broken_request(
    broken: dict[str, Any], kling_simulator: SimulatorServer, kling_connection: str
):
    hook = KlingHook(kling_connection)
    with pytest.raises(KlingBadRequestError) as caught:
        hook.submit(broken["endpoint"], broken["request"])
    check_words(str(caught.value), broken)
    assert "Nothing was sent" in str(caught.value)
    assert kling_simulator.requests == []


@each
def test_a_broken_request_is_told_where_the_dag_is_parsed(
    broken: dict[str, Any],
):
    endpoint = broken["endpoint"]
    with pytest.raises(InvalidRequest) as caught:
        check_literals(endpoint, broken["request"])
    check_words(str(caught.value), broken)


@pytest.mark.parametrize("endpoint", sorted({row["endpoint"] for row in BROKEN}))
def test_the_same_endpoints_take_a_request_that_is_not_broken(endpoint: str):
    default = GATEWAYS["official"].models.get(endpoint)
    assert check_request(ENDPOINTS[endpoint], EXAMPLES[endpoint], default).body
