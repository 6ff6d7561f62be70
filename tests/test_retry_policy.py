"""The ready retry policy: each of our exceptions, in Airflow's own hands."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import airflow
import pytest
import structlog
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSensorTimeout
from airflow.sdk import DAG
from packaging.version import Version

from kling_provider import exceptions
from kling_provider.exceptions import KlingError, KlingRateLimitError, KlingUnreadableResponseError
from kling_provider.hooks.kling import KlingHook
from kling_provider.operators.kling import KlingTextToVideoOperator
from kling_provider.retry_policy import KLING_RETRY_POLICY, RULES
from kling_provider.simulator.server import SimulatorServer

HAS_POLICIES = Version(airflow.__version__) >= Version("3.3")
needs_policies = pytest.mark.skipif(not HAS_POLICIES, reason="Airflow 3.3 has retry policies")
CLASSES = [
    kind for _, kind in inspect.getmembers(exceptions, inspect.isclass) if issubclass(kind, KlingError)
]
#: Airflow asks no policy about these.
FAIL_AT_ONCE = (AirflowFailException, AirflowSensorTimeout)
DELAYS = {
    "KlingRateLimitError": timedelta(minutes=2),
    "KlingConcurrencyLimitError": timedelta(minutes=10),
    "KlingServerError": timedelta(minutes=3),
    "KlingUnreadableResponseError": timedelta(minutes=1),
    "KlingStorageError": timedelta(minutes=10),
}


@needs_policies
@pytest.mark.parametrize(
    "kind", [kind for kind in CLASSES if kind is not KlingError], ids=lambda kind: kind.__name__
)
def test_every_exception_that_a_retry_may_mend_has_its_delay(kind: type[KlingError]) -> None:
    decision = KLING_RETRY_POLICY.evaluate(kind("trouble"), try_number=1, max_tries=3)
    if issubclass(kind, FAIL_AT_ONCE):
        assert (decision.action.value, kind.__name__ in DELAYS) == ("default", False)
    else:
        assert (decision.action.value, decision.retry_delay) == ("retry", DELAYS[kind.__name__])
        assert decision.reason


@needs_policies
def test_what_is_not_ours_keeps_the_task_s_own_delay() -> None:
    assert KLING_RETRY_POLICY.evaluate(ValueError("x"), 1, 3).action.value == "default"


@needs_policies
def test_it_survives_serialization() -> None:
    again = type(KLING_RETRY_POLICY).deserialize(KLING_RETRY_POLICY.serialize())
    assert again.evaluate(KlingRateLimitError("x"), 1, 3).retry_delay == DELAYS["KlingRateLimitError"]


def test_the_same_dag_file_serves_all_versions() -> None:
    with DAG("all_versions", schedule=None, default_args={"retries": 3, "retry_policy": KLING_RETRY_POLICY}):
        video = KlingTextToVideoOperator(task_id="video", prompt="a boat")
    assert getattr(video, "retry_policy", None) is KLING_RETRY_POLICY
    assert (KLING_RETRY_POLICY is not None) == HAS_POLICIES


@needs_policies
def test_a_task_that_fails_is_tried_again_after_the_delay_of_the_policy(
    kling_simulator: SimulatorServer, kling_connection: str
) -> None:
    """What Airflow's task runner makes of an exception of the real hook."""
    from airflow.sdk.execution_time import task_runner

    with DAG("refused", schedule=None):
        video = KlingTextToVideoOperator(
            task_id="video", prompt="a boat", retries=2, retry_policy=KLING_RETRY_POLICY
        )
    kling_simulator.fault("html", method="GET", times=0)
    with pytest.raises(KlingUnreadableResponseError) as raised:
        KlingHook(attempts=1).get_task("842", endpoint="text2video")
    ti = SimpleNamespace(task=video, try_number=1, _ti_context_from_server=SimpleNamespace(max_tries=2))
    decision = task_runner._evaluate_retry_policy(ti, raised.value, structlog.get_logger())
    assert decision is not None
    assert decision.retry_delay == DELAYS["KlingUnreadableResponseError"]


def test_importing_it_is_light() -> None:
    code = (
        "import sys, kling_provider.retry_policy; "
        "print([name for name in ('aiohttp', 'requests', 'av') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1] == "[]"


def test_rules_are_from_the_special_to_the_general() -> None:
    kinds = [kind for kind, *_ in RULES]
    assert not any(issubclass(later, kind) for n, kind in enumerate(kinds) for later in kinds[n + 1 :])


def test_the_docs_tell_the_delays() -> None:
    table = (Path(__file__).parent.parent / "docs/shorter-dags.md").read_text()
    told = dict(re.findall(r"^\| `(Kling\w+)`.* \| (\d+) minutes? \|$", table, re.MULTILINE))
    assert {name: timedelta(minutes=int(minutes)) for name, minutes in told.items()} == DELAYS
