"""DAGs from YAML: every argument of ours is a plain value."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from typing import Any

import pytest
import yaml
from airflow.sdk import DAG

from kling_provider.api.endpoints import ENDPOINTS
from kling_provider.exceptions import KlingBadRequestError
from kling_provider.operators import kling
from kling_provider.operators.typed import KlingTypedOperator
from kling_provider.simulator.server import SimulatorServer
from kling_provider.triggers.finished import KlingFinishedTrigger
from tests.example_requests import EXAMPLES, FULL
from tests.test_docs import blocks, run_in_order

PAGE = "docs/yaml.md"
#: What every operator that submits takes besides Kling's fields.
COMMON = """
idempotency_key: boat.jpg
kling_conn_id: kling_default
wait_for_completion: true
deferrable: true
poke_interval: 7.5
timeout: 1800
on_clear: resubmit
on_existing: adopt
on_unknown_submission: retry
max_units: 5
input_seconds: 12
slot_timeout: 7200
check_destination: false
dialect: classic
validate: warn
pool: kling
retries: 3
"""
OTHERS = """
- operator: kling_provider.operators.kling.KlingSubmitOperator
  endpoint: text2video
  request: {prompt: a boat, duration: "5"}
- operator: kling_provider.operators.kling.KlingReadOperator
  endpoint: presets-voices
  request: {pageNum: 1}
- operator: kling_provider.operators.adopt.KlingAdoptOperator
  external_task_id: order-17
  endpoint: text2video
  wait_for_completion: true
  poke_interval: 10
  timeout: 600
- operator: kling_provider.operators.balance.KlingCheckBalanceOperator
  min_units: 10
  resource_pack_name: videos
  on_low: fail
- operator: kling_provider.sensors.kling.KlingTaskSensor
  kling_task_id: "842250903629086785"
  endpoint: text2video
  poke_interval: 10
  timeout: 600
  deferrable: false
  mode: reschedule
- operator: kling_provider.transfers.kling_to_object_storage.KlingToObjectStorageOperator
  task: {task_id: "842250903629086785", endpoint: text2video}
  destination: s3://bucket/videos/
  filename: "{task_id}.{extension}"
  storage_conn_id: aws_default
  max_bytes: 1000000
  asset_alias: videos
"""
TYPED = [
    operator
    for operator in (getattr(kling, name) for name in kling.__all__)
    if issubclass(operator, KlingTypedOperator)
]


def operator_of(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


@pytest.mark.parametrize("operator", TYPED, ids=lambda one: one.__name__)
def test_every_operator_is_built_from_text(operator: type[KlingTypedOperator]) -> None:
    request = {**FULL.get(operator.kling_endpoint, EXAMPLES[operator.kling_endpoint])}
    fields = {name: value for name, value in request.items() if name in operator.kling_fields}
    text = yaml.safe_dump(fields) + COMMON
    with DAG("from_yaml", schedule=None):
        made = operator(task_id="made", **yaml.safe_load(text))
    assert {name: getattr(made, name) for name in fields} == fields
    assert (made.on_clear, made.poke_interval, made.slot_timeout, made.max_units) == (
        "resubmit",
        7.5,
        7200,
        "5",
    )


@pytest.mark.parametrize("told", yaml.safe_load(OTHERS), ids=lambda told: told["operator"].rpartition(".")[2])
def test_whatever_else_there_is_is_built_from_text(told: dict[str, Any]) -> None:
    kind = operator_of(told.pop("operator"))
    with DAG("from_yaml", schedule=None):
        made = kind(task_id="made", **told)
    for name, value in told.items():
        kept = getattr(made, name)
        assert kept == value or kept == str(value)


def test_nothing_was_left_out() -> None:
    built = {told["operator"].rpartition(".")[2] for told in yaml.safe_load(OTHERS)}
    built |= {operator.__name__ for operator in TYPED}
    assert built >= set(kling.__all__)
    common = set(yaml.safe_load(COMMON)) - {"pool", "retries"}
    taken = set(inspect.signature(kling.KlingSubmitOperator.__init__).parameters)
    assert taken - common == {"self", "kwargs", "endpoint", "request", "external_task_id"}
    assert set(EXAMPLES) == set(ENDPOINTS)


def test_the_trigger_of_a_watcher_is_built_from_text() -> None:
    text = "{endpoints: [effects], statuses: [failed], external_task_id_prefix: af1-, interval: 300, look_back: 0}"
    made = KlingFinishedTrigger(**yaml.safe_load(text))
    assert made.serialize()[1] == {**yaml.safe_load(text), "kling_conn_id": "kling_default"}


def dags_of_the_page(text: str | None = None) -> dict[str, Any]:
    (example,), (loader,) = blocks(PAGE, "yaml"), blocks(PAGE, "python")
    names: dict[str, Any] = {"__name__": "block"}
    exec(compile(loader, PAGE, "exec"), names)
    dags: dict[str, Any] = names["dags_from"](text or example)
    return dags


def test_the_dag_of_the_page_stores_a_video(
    kling_simulator: SimulatorServer, kling_connection: str, tmp_path: Path
) -> None:
    dag = dags_of_the_page()["kling_from_yaml"]
    assert [sorted(task.upstream_task_ids) for task in dag.topological_sort()] == [[], ["submit"], ["wait"]]
    returned = run_in_order(dag, tmp_path)
    (entry,) = returned["store"]
    assert entry["task_id"] == returned["submit"] == returned["wait"]["task_id"]
    assert Path(entry["uri"].removeprefix("file://")).is_file()


def test_a_mistake_is_told_when_the_file_is_read() -> None:
    (example,) = blocks(PAGE, "yaml")
    with pytest.raises(KlingBadRequestError, match=r"submit: .*duration"):
        dags_of_the_page(example.replace('duration: "5"', 'duration: "7"\n      model_name: kling-v2-6'))
