"""Stopping politely before a run that the account cannot pay for."""

from __future__ import annotations

import logging
from datetime import datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowSkipException
from airflow.sdk import DAG

from kling_provider.exceptions import KlingAccountError, KlingBadRequestError
from kling_provider.operators.balance import KlingCheckBalanceOperator
from kling_provider.simulator.server import SimulatorServer
from tests.contexts import context_of

PACK = "Video units (simulated)"


def check(**arguments: Any) -> str | None:
    operator = KlingCheckBalanceOperator(**{"task_id": "balance", "min_units": 10} | arguments)
    return operator.execute(context_of(operator))


@pytest.fixture(autouse=True)
def _connected(kling_connection: str) -> None:
    """Every operator here talks to the simulator."""


@pytest.mark.parametrize(("left", "min_units"), [("10", 10), ("10.5", "10.5"), ("5000", Decimal(1))])
def test_enough_units_let_the_run_go_on(left: str, min_units: Any, kling_simulator: SimulatorServer) -> None:
    kling_simulator.set(balance_units=left)
    assert Decimal(str(check(min_units=min_units))) == Decimal(left)
    assert kling_simulator.creates == []


def test_too_few_units_skip_what_comes_next_and_say_what_to_do(kling_simulator: SimulatorServer) -> None:
    kling_simulator.set(balance_units="9.9")
    with pytest.raises(AirflowSkipException) as caught:
        check()
    assert "9.9 units are left" in str(caught.value)
    assert "less than min_units=10" in str(caught.value)
    assert "https://kling.ai/dev" in str(caught.value)


def test_a_run_that_was_cleared_goes_on_to_collect_what_it_has_paid_for(
    kling_simulator: SimulatorServer, caplog: pytest.LogCaptureFixture
) -> None:
    kling_simulator.set(balance_units="1")
    operator = KlingCheckBalanceOperator(task_id="balance", min_units=10)
    context = context_of(operator) | {"dag_run": SimpleNamespace(clear_number=1)}
    with caplog.at_level(logging.WARNING):
        assert operator.execute(context) == "1.0"
    assert "This run was cleared, so it goes on" in caplog.text


def test_it_can_fail_instead(kling_simulator: SimulatorServer) -> None:
    kling_simulator.set(balance_units="0")
    with pytest.raises(KlingAccountError, match="less than min_units=10"):
        check(on_low="fail")


def test_one_pack_can_be_asked_for(
    kling_simulator: SimulatorServer, caplog: pytest.LogCaptureFixture
) -> None:
    assert check(resource_pack_name=PACK) == "5000.0"
    with caplog.at_level(logging.WARNING):
        assert check(resource_pack_name="another") is None
    assert "no resource pack named 'another'" in caplog.text


def test_a_gateway_that_does_not_tell_is_not_asked(
    kling_simulator: SimulatorServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_DMX", kling_simulator.connection_json("dmxapi"))
    with caplog.at_level(logging.WARNING):
        assert check(kling_conn_id="dmx") is None
    assert "does not tell what is left" in caplog.text
    assert kling_simulator.requests == []


@pytest.mark.parametrize("min_units", [0, -1, "much", "nan"])
def test_a_limit_is_a_number_above_zero(min_units: Any, kling_simulator: SimulatorServer) -> None:
    with pytest.raises(KlingBadRequestError, match="min_units="):
        check(min_units=min_units)
    assert kling_simulator.requests == []


def test_what_to_do_is_one_of_two() -> None:
    with pytest.raises(KlingBadRequestError, match="on_low='wait': use one of skip, fail"):
        check(on_low="wait")


def test_templates_are_rendered(kling_simulator: SimulatorServer) -> None:
    operator = KlingCheckBalanceOperator(
        task_id="balance",
        min_units="{{ need }}",
        resource_pack_name="{{ pack }}",
        kling_conn_id="{{ conn }}",
    )
    operator.render_template_fields({"need": 7000, "pack": PACK, "conn": "kling_default"})
    with pytest.raises(AirflowSkipException, match="less than min_units=7000"):
        operator.execute(context_of(operator))


def test_what_another_task_computes_is_waited_for() -> None:
    with DAG("balance", schedule=None, start_date=datetime(2026, 1, 1)):
        needed = KlingCheckBalanceOperator(task_id="needed", min_units=1)
        operator = KlingCheckBalanceOperator(task_id="balance", min_units=needed.output)
    assert operator.upstream_task_ids == {"needed"}
