"""The pipelines of several families on a real scheduler: made, stored, and cleared without a second payment."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from kling_provider.simulator.server import SimulatorServer
from scripts import chaos
from scripts.private_airflow import PrivateAirflow
from tests.live.test_live import ROOT, succeed, until

pytestmark = pytest.mark.live

#: DAG -> the kinds of what it stores.
PIPELINES = {
    "kling_presenter": {"mp4": 2},
    "kling_story": {"mp4": 2},
    "kling_pictures_to_videos": {"png": 2, "mp4": 2},
    "kling_product_clips": {"png": 2, "mp4": 2, "mp3": 2},
}
#: What is answered at once is kept for a clear from Airflow 3.3 on; before it, a retry sends nothing and says so.
CLEARED = [
    name
    for name in PIPELINES
    if not chaos.FAILS_KILLED_TASKS or "tts" not in (ROOT / "dags" / f"{name}.py").read_text().lower()
]


@pytest.fixture(scope="module")
def kling() -> Iterator[SimulatorServer]:
    with SimulatorServer(speed=1, task_seconds=3, resigns_addresses=True) as server:
        yield server


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("families")
    shutil.copytree(ROOT / "dags", folder / "dags", ignore=shutil.ignore_patterns("__pycache__"))
    products = folder / "dags" / "kling_product_clips.py"  # else the schedule starts a run of its own
    products.write_text(products.read_text().replace('schedule="@daily"', "schedule=None"))
    return folder


@pytest.fixture(scope="module")
def airflow(kling: SimulatorServer, folder: Path) -> Iterator[PrivateAirflow]:
    env = {
        "AIRFLOW_CONN_KLING_DEFAULT": kling.connection_json(),
        "AIRFLOW_VAR_KLING_DESTINATION": f"file://{folder}/stored",
    }
    with PrivateAirflow(folder / "home", dags_folder=folder / "dags", env=env) as private:
        private.create_pool("kling", 5, include_deferred=True)
        for name in PIPELINES:
            private.wait_for_dag(name)
            private._request("PATCH", f"/api/v2/dags/{name}", {"is_paused": False})
        yield private


def test_what_several_families_make_is_stored_and_a_clear_of_all_pays_nothing(
    airflow: PrivateAirflow, kling: SimulatorServer, folder: Path
) -> None:
    runs = {name: airflow.trigger(name) for name in PIPELINES}
    for name, run_id in runs.items():
        succeed(airflow, name, run_id, 240)
    kinds = Counter(path.suffix[1:] for path in (folder / "stored").rglob("*") if path.is_file())
    assert kinds == sum((Counter(stored) for stored in PIPELINES.values()), Counter())
    paid = len(kling.charges)
    for name in CLEARED:
        clear_all(airflow, name, runs[name])
        until(lambda name=name: airflow.dag_run(name, runs[name])["state"] != "success")
        succeed(airflow, name, runs[name], 240)
    assert len(kling.charges) == paid


def clear_all(airflow: PrivateAirflow, dag_id: str, run_id: str) -> None:
    airflow.clear(dag_id, run_id, sorted({ti["task_id"] for ti in airflow.task_instances(dag_id, run_id)}))
