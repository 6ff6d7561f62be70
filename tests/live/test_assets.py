"""DAGs that start when videos finish or are stored, and what OpenLineage is told, on a real Airflow."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import airflow as airflow_package
import pytest
from packaging.version import Version

from kling_provider.simulator.server import SimulatorServer
from scripts.private_airflow import PrivateAirflow

pytestmark = pytest.mark.live

DAGS = Path(__file__).parent.parent.parent / "dags"
REMEMBERS = Version(airflow_package.__version__) >= Version("3.3")
#: Airflow 3.0 starts a DAG that is scheduled on an alias, and does not tell it why.
TELLS_EVENTS_OF_AN_ALIAS = Version(airflow_package.__version__) >= Version("3.1")
HAS_OPENLINEAGE = importlib.util.find_spec("airflow.providers.openlineage") is not None

#: Runs on what any store task of the deployment has stored.
INDEX = """
from datetime import datetime
from airflow.sdk import DAG, AssetAlias, task

with DAG("index", schedule=[AssetAlias("kling_results")], start_date=datetime(2026, 1, 1), catchup=False):

    @task
    def stored(triggering_asset_events=None):
        events = triggering_asset_events[AssetAlias("kling_results")]
        return [{"uri": event.asset.uri, **event.extra} for event in events]

    stored()
"""


@pytest.fixture(scope="module")
def kling() -> Iterator[SimulatorServer]:
    with SimulatorServer(speed=1, task_seconds=4) as server:
        yield server


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("assets")


@pytest.fixture(scope="module")
def airflow(kling: SimulatorServer, folder: Path) -> Iterator[PrivateAirflow]:
    (folder / "dags").mkdir()
    shutil.copytree(DAGS / "pictures", folder / "dags" / "pictures")
    shutil.copy(DAGS / "kling_one_step.py", folder / "dags")
    example = (DAGS / "kling_when_finished.py").read_text()
    quick = example.replace('"text2video"])', '"text2video"], interval=5)').replace(
        "creation=True", "creation=False"
    )
    quick = quick.replace("catchup=False,", "catchup=False,\n    max_active_runs=1,")
    assert quick.count("interval=5") == quick.count("creation=False") == quick.count("runs=1,") == 1
    (folder / "dags" / "kling_when_finished.py").write_text(quick)
    (folder / "dags" / "index.py").write_text(INDEX)
    transport = {"type": "file", "log_file_path": str(folder / "lineage.jsonl"), "append": True}
    env = {
        "AIRFLOW_CONN_KLING_DEFAULT": kling.connection_json(),
        "AIRFLOW_VAR_KLING_DESTINATION": f"file://{folder}/videos",
        "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(transport),
        "AIRFLOW__OPENLINEAGE__NAMESPACE": "live",
    }
    with PrivateAirflow(folder / "home", dags_folder=folder / "dags", env=env) as private:
        for dag_id in ("kling_one_step", "kling_when_finished", "index"):
            private.wait_for_dag(dag_id)
        yield private


def events_of(airflow: PrivateAirflow, name: str) -> list[dict[str, Any]]:
    """Asset events, oldest first. Airflow's API cannot show one while a DAG run that it made has not begun."""
    path = "/api/v2/assets/events?limit=100&order_by=timestamp"
    found = airflow._wait("the events", 60, lambda: airflow._request("GET", path))["asset_events"]
    return [event for event in found if event["name"] == name]


def next_run(airflow: PrivateAirflow, dag_id: str, seen: int) -> str:
    """The run after so many, when it has succeeded."""

    def started() -> str | None:
        runs = airflow._request("GET", f"/api/v2/dags/{dag_id}/dagRuns?order_by=id")["dag_runs"]
        return runs[seen]["dag_run_id"] if len(runs) > seen else None

    run_id = airflow._wait(f"run {seen + 1} of {dag_id}", 120, started)
    run = airflow.wait_for_run(dag_id, run_id, 120)
    assert run["state"] == "success", airflow.explain(dag_id, run_id)
    return run_id


def assert_told(airflow: PrivateAirflow, expected: list[str]) -> None:
    told = [
        task["task_id"]
        for event in events_of(airflow, "kling_finished")
        for task in event["extra"]["payload"]["tasks"]
    ]
    assert told == expected if REMEMBERS else list(dict.fromkeys(told)) == expected


def switch(airflow: PrivateAirflow, dag_id: str, *, paused: bool) -> None:
    airflow._request("PATCH", f"/api/v2/dags/{dag_id}", {"is_paused": paused})


def set_slots(airflow: PrivateAirflow, slots: int) -> None:
    airflow._request("PATCH", "/api/v2/pools/default_pool?update_mask=slots", {"slots": slots})


def watchers(airflow: PrivateAirflow) -> int:
    """How many triggers Airflow holds: none of a task here."""
    return count(airflow, "select count(*) from trigger")


def told_so_far(airflow: PrivateAirflow) -> int:
    """How many events of the watcher there are, also of those that have started no run."""
    where = "asset_id in (select id from asset where name = 'kling_finished')"
    return count(airflow, f"select count(*) from asset_event where {where}")


def count(airflow: PrivateAirflow, query: str) -> int:
    with contextlib.closing(sqlite3.connect(airflow.db_path)) as database:
        return int(database.execute(query).fetchone()[0])


def stored_in(folder: Path) -> list[Path]:
    return list((folder / "videos" / "finished").glob("*.mp4"))


def finish_some(kling: SimulatorServer, count: int = 1) -> list[str]:
    """Videos of somebody are done, all at once."""
    made = kling.crowd("text2video", [3600] * count)
    for task in made:
        kling.finish(task.task_id)
    return [task.task_id for task in made]


def test_a_video_that_finishes_starts_a_dag_which_stores_it_also_after_a_restart(
    airflow: PrivateAirflow, kling: SimulatorServer, folder: Path
) -> None:
    (first,) = finish_some(kling)
    run_id = next_run(airflow, "kling_when_finished", 0)
    (entry,) = airflow.xcom("kling_when_finished", run_id, "store", map_index=0)
    assert (entry["task_id"], entry["media_type"]) == (first, "video/mp4")
    assert Path(entry["uri"].removeprefix("file://")).read_bytes()[4:8] == b"ftyp"
    (event,) = events_of(airflow, "kling_finished")
    (told,) = event["extra"]["payload"]["tasks"]
    assert (event["extra"]["from_trigger"], told["task_id"], told["status"]) == (True, first, "succeed")
    assert "http" not in json.dumps(told)

    asked = len(kling.requests)
    airflow._wait(
        "two more looks", 60, lambda: len(kling.requests) >= asked + 4
    )  # what it told is kept by then
    airflow.restart("triggerer")
    (second,) = finish_some(kling)
    airflow._wait("the second file", 120, lambda: len(stored_in(folder)) == 2)
    assert_told(airflow, [first, second])

    switch(airflow, "kling_when_finished", paused=True)
    airflow._wait("the watcher to stop", 120, lambda: not watchers(airflow))
    (third,) = finish_some(kling)
    switch(airflow, "kling_when_finished", paused=False)
    airflow._wait("the third file", 120, lambda: len(stored_in(folder)) == 3)
    assert_told(airflow, [first, second, third])


def test_videos_that_finish_at_once_are_all_stored_without_another_event(
    airflow: PrivateAirflow, kling: SimulatorServer, folder: Path
) -> None:
    """Airflow keeps one place in the queue for each asset and DAG: of events close together, one starts a run."""
    before = len(stored_in(folder))
    finish_some(kling, 3)
    airflow._wait("three more files", 120, lambda: len(stored_in(folder)) == before + 3)


def test_videos_that_finish_while_airflow_holds_the_run_back_are_stored_by_it(
    airflow: PrivateAirflow, kling: SimulatorServer, folder: Path
) -> None:
    before, events = len(stored_in(folder)), told_so_far(airflow)
    set_slots(airflow, 0)  # the first run goes on, and with max_active_runs no other is made
    for number in range(1, 4):
        finish_some(kling)
        airflow._wait("its event", 60, lambda so_far=events + number: told_so_far(airflow) == so_far)
    set_slots(airflow, 128)
    airflow._wait("three more files", 180, lambda: len(stored_in(folder)) == before + 3)


def test_what_is_stored_starts_a_dag_and_its_event_tells_all_of_it(
    airflow: PrivateAirflow, kling: SimulatorServer, folder: Path
) -> None:
    run_id = airflow.trigger("kling_one_step")
    run = airflow.wait_for_run("kling_one_step", run_id, 120)
    assert run["state"] == "success", airflow.explain("kling_one_step", run_id)
    (entry,) = airflow.xcom("kling_one_step", run_id, "store")
    if not TELLS_EVENTS_OF_AN_ALIAS:
        next_run(airflow, "index", 0)
        return
    told: list[dict[str, Any]] = []
    told_by: list[list[dict[str, Any]]] = []
    while not any(one["uri"] == entry["uri"] for one in told):  # it runs for what others have stored, too
        told = airflow.xcom("index", next_run(airflow, "index", len(told_by)), "stored")
        told_by.append(told)
    (event,) = [one for one in told if one["uri"] == entry["uri"]]
    task = kling.tasks[-1]
    assert event == {
        **{name: entry[name] for name in ("uri", "bytes", "sha256", "media_type", "duration", "media_id")},
        "task_id": task.task_id,
        "endpoint": "image2video",
        "external_task_id": kling.creates[-1].body["external_task_id"],
        "model_name": kling.creates[-1].body["model_name"],
        "units": event["units"],
    }
    assert float(event["units"]) > 0
    if HAS_OPENLINEAGE:
        check_lineage(folder, entry, task.task_id)


def check_lineage(folder: Path, entry: dict[str, Any], task_id: str) -> None:
    """Picture -> task at Kling -> file, of the two Airflow tasks, after a deferral."""
    lines = [json.loads(line) for line in (folder / "lineage.jsonl").read_text().splitlines()]
    ended = {
        line["job"]["name"]: line
        for line in lines
        if line["eventType"] == "COMPLETE" and line["job"]["name"].startswith("kling_one_step.")
    }

    def names(job: str, side: str) -> list[tuple[str, str]]:
        return [(dataset["namespace"], dataset["name"]) for dataset in ended[job].get(side, [])]

    picture = ("file", str(folder / "dags" / "pictures" / "lighthouse.jpg"))
    assert names("kling_one_step.video", "inputs") == [picture]
    assert names("kling_one_step.video", "outputs") == [("kling", task_id)]
    assert names("kling_one_step.store", "inputs") == [("kling", task_id)]
    assert names("kling_one_step.store", "outputs") == [("file", entry["uri"].removeprefix("file://"))]
    for job in ("kling_one_step.video", "kling_one_step.store"):
        facet = ended[job]["run"]["facets"]["kling"]
        assert (facet["task_id"], facet["endpoint"]) == (task_id, "image2video")
