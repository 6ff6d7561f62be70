"""On a real scheduler and triggerer: whatever is cleared, moved or refused, each video is paid once."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from kling_provider.simulator.server import SimulatorServer
from scripts import chaos, storm
from scripts.private_airflow import PrivateAirflow
from tests.live.test_live import ROOT, succeed, until

pytestmark = pytest.mark.live

MORE = """
from datetime import datetime, timedelta
from pathlib import Path
from airflow.sdk import DAG, Variable, task, task_group
from kling_provider.operators.kling import KlingTextToVideoOperator
from kling_provider.sensors.kling import KlingTaskSensor

with DAG("equal", schedule=None, start_date=datetime(2026, 1, 1)):
    KlingTextToVideoOperator.partial(task_id="video", prompt="twins").expand(idempotency_key=["a", "b", "a"])
with DAG(
    "daily",
    schedule="@daily",
    start_date=datetime(2026, 1, 1),
    end_date=datetime(2026, 1, 3),
    catchup=True,
    is_paused_upon_creation=True,
):
    KlingTextToVideoOperator(task_id="video", prompt="a {{ ds }} boat", wait_for_completion=True, retries=1)
with DAG("unseen", schedule=None, start_date=datetime(2026, 1, 1)):
    KlingTextToVideoOperator(
        task_id="video", prompt="a boat", kling_conn_id="unseen", retries=2, retry_delay=timedelta(seconds=1)
    )
with DAG("steps", schedule=None, start_date=datetime(2026, 1, 1)):

    @task
    def prompts():
        return sorted(path.name for path in Path(Variable.get("kling_pictures")).iterdir())

    @task_group
    def clip(prompt):
        submit = KlingTextToVideoOperator(task_id="submit", prompt=prompt, idempotency_key=prompt)
        KlingTaskSensor(task_id="deferred", kling_task_id=submit.kling_task)
        KlingTaskSensor(
            task_id="rescheduled", kling_task_id=submit.kling_task, deferrable=False, mode="reschedule"
        )

    clip.expand(prompt=prompts())
"""
#: Airflow gives up these deferrals a second after their deadline, and not two minutes.
OUTAGE = """
from datetime import datetime
from airflow.sdk import DAG
from kling_provider import waiting
from kling_provider.operators.kling import KlingTextToVideoOperator
from kling_provider.sensors.kling import KlingTaskSensor

waiting.BACKSTOP_SECONDS = 1.0
with DAG("outage", schedule=None, start_date=datetime(2026, 1, 1)):
    submit = KlingTextToVideoOperator(task_id="submit", prompt="a boat")
    KlingTaskSensor(task_id="wait", kling_task_id=submit.kling_task, poke_interval=1, timeout=30)
    KlingTextToVideoOperator(
        task_id="one_step", prompt="a ship", wait_for_completion=True, poke_interval=1, timeout=30
    )
"""
#: What a task says that Airflow started before its upstream.
TOO_EARLY = "Airflow started this task before its upstream was done"


@pytest.fixture(scope="module")
def kling() -> Iterator[SimulatorServer]:
    with SimulatorServer(speed=1, task_seconds=3) as server:
        yield server


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("paying")
    shutil.copytree(ROOT / "dags", folder / "dags", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "dags" / "more.py").write_text(MORE)
    (folder / "dags" / "outage.py").write_text(OUTAGE)
    batch = folder / "dags" / "kling_batch.py"  # else the schedule starts a run of its own
    text = batch.read_text().replace('schedule="@daily"', "schedule=None")
    batch.write_text(text.replace("is_paused_upon_creation=True", "is_paused_upon_creation=False"))
    (folder / "pictures").mkdir()
    for name in ("b.jpg", "c.jpg", "lighthouse.jpg"):
        shutil.copy(ROOT / "dags" / "pictures" / "lighthouse.jpg", folder / "pictures" / name)
    return folder


@pytest.fixture(scope="module")
def airflow(kling: SimulatorServer, folder: Path) -> Iterator[PrivateAirflow]:
    env = {
        "AIRFLOW_CONN_KLING_DEFAULT": kling.connection_json(),
        "AIRFLOW_CONN_UNSEEN": kling.connection_json("dmxapi"),
        "AIRFLOW_VAR_KLING_DESTINATION": f"file://{folder}/videos",
        "AIRFLOW_VAR_KLING_PICTURES": str(folder / "pictures"),
    }
    with PrivateAirflow(folder / "home", dags_folder=folder / "dags", env=env) as private:
        private.create_pool("kling", 5, include_deferred=True)
        private.wait_for_dag("kling_batch")
        private.wait_for_dag("unseen")
        yield private


def test_a_picture_at_the_head_of_a_cleared_batch_costs_one_video(
    airflow: PrivateAirflow, kling: SimulatorServer, folder: Path
) -> None:
    run_id = airflow.trigger("kling_batch")
    succeed(airflow, "kling_batch", run_id, 180)
    assert len(kling.charges) == 3
    shutil.copy(folder / "pictures" / "b.jpg", folder / "pictures" / "a.jpg")
    airflow.clear("kling_batch", run_id, ["list_pictures"], include_downstream=True)
    succeed(airflow, "kling_batch", run_id, 180)
    assert len(kling.charges) == 4
    assert airflow.xcom("kling_batch", run_id, "report")["videos"] == 4
    assert len(list((folder / "videos").rglob("*.mp4"))) == 4


def test_a_picture_at_the_end_of_a_cleared_batch_is_stored_although_airflow_starts_its_store_too_early(
    airflow: PrivateAirflow, kling: SimulatorServer, folder: Path
) -> None:
    run_id = airflow.trigger("kling_batch")
    succeed(airflow, "kling_batch", run_id, 180)
    before, paid = airflow.xcom("kling_batch", run_id, "report")["videos"], len(kling.charges)
    shutil.copy(folder / "pictures" / "b.jpg", folder / "pictures" / "y.jpg")
    made = len(kling.tasks)
    kling.next_task("stuck")  # the others are found, and their stores get ready
    airflow.clear("kling_batch", run_id, ["list_pictures"], include_downstream=True)
    until(lambda: ("clip.store", before, "up_for_reschedule") in places(airflow, "kling_batch", run_id), 180)
    until(lambda: len(kling.tasks) == made + 1, 60)
    kling.finish(kling.tasks[-1].task_id)
    succeed(airflow, "kling_batch", run_id, 180)
    assert TOO_EARLY in airflow.task_log("kling_batch", run_id, "clip.store", map_index=before)
    assert len(kling.charges) == paid + 1
    report = airflow.xcom("kling_batch", run_id, "report")
    assert report["videos"] == before + 1
    assert all(Path(uri.removeprefix("file://")).exists() for uri in report["uris"])
    assert places(airflow, "kling_batch", run_id)["clip.store", before, "success"] == 1


def test_a_prompt_at_the_end_of_a_cleared_batch_is_waited_for_in_three_steps_too(
    airflow: PrivateAirflow, kling: SimulatorServer, folder: Path
) -> None:
    run_id = airflow.trigger("steps")
    succeed(airflow, "steps", run_id, 180)
    before, paid = len(list((folder / "pictures").iterdir())), len(kling.charges)
    shutil.copy(folder / "pictures" / "b.jpg", folder / "pictures" / "z.jpg")
    kling.fault("latency", method="POST", seconds=40)
    airflow.clear("steps", run_id, ["prompts"], include_downstream=True)
    succeed(airflow, "steps", run_id, 240)
    for name in ("clip.deferred", "clip.rescheduled"):
        assert TOO_EARLY in airflow.task_log("steps", run_id, name, map_index=before)
        assert places(airflow, "steps", run_id)[name, before, "success"] == 1
    assert len(kling.charges) == paid + 1


def places(airflow: PrivateAirflow, dag_id: str, run_id: str) -> dict[tuple[str, int, str], int]:
    """Try number of each task, map index and state."""
    instances = airflow.task_instances(dag_id, run_id)
    return {(ti["task_id"], ti["map_index"], ti["state"]): ti["try_number"] for ti in instances}


def test_a_task_that_is_cleared_while_it_waits_is_found_again(
    airflow: PrivateAirflow, kling: SimulatorServer
) -> None:
    kling.next_task(seconds=15)
    paid = len(kling.charges)
    run_id = airflow.trigger("kling_one_step")
    until(
        lambda: any(
            ti["task_id"] == "video" and ti["state"] == "deferred"
            for ti in airflow.task_instances("kling_one_step", run_id)
        )
    )
    airflow.clear("kling_one_step", run_id, ["video"])
    succeed(airflow, "kling_one_step", run_id, 180)
    assert len(kling.charges) == paid + 1


def test_two_equal_keys_in_one_run_are_told_before_the_second_is_sent(
    airflow: PrivateAirflow, kling: SimulatorServer
) -> None:
    before = len(kling.tasks)
    run_id = airflow.trigger("equal")
    assert airflow.wait_for_run("equal", run_id, 180)["state"] == "failed"
    states = {ti["map_index"]: ti["state"] for ti in airflow.task_instances("equal", run_id)}
    assert sorted((states[0], states[2])) == ["failed", "success"]
    assert states[1] == "success"
    loser = 0 if states[0] == "failed" else 2
    assert "is also that of map_index" in airflow.task_log("equal", run_id, "video", map_index=loser)
    assert len(kling.tasks) == before + 2


def test_days_that_are_caught_up_and_run_again_pay_once_each(
    airflow: PrivateAirflow, kling: SimulatorServer
) -> None:
    def videos() -> dict[str, tuple[str, int]]:
        runs = airflow._request("GET", "/api/v2/dags/daily/dagRuns")["dag_runs"]
        found = [ti for run in runs for ti in airflow.task_instances("daily", run["dag_run_id"])]
        return {ti["dag_run_id"]: (ti["state"], ti["try_number"]) for ti in found}

    before = len(kling.charges)
    airflow._request("PATCH", "/api/v2/dags/daily", {"is_paused": False})
    until(lambda: [*videos().values()] == [("success", 1)] * 3, 120)
    assert len(kling.charges) == before + 3
    for run_id in videos():
        airflow.clear("daily", run_id, ["video"])
    until(lambda: [*videos().values()] == [("success", 2)] * 3, 120)
    assert len(kling.charges) == before + 3


def test_a_worker_that_dies_where_nothing_can_be_looked_up_pays_once_and_a_person_is_told(
    airflow: PrivateAirflow, kling: SimulatorServer
) -> None:
    before = len(kling.tasks)
    kling.fault("latency", method="POST", seconds=20, booked=True)
    run_id = airflow.trigger("unseen")
    until(lambda: len(kling.tasks) == before + 1)
    for task in airflow.task_processes():
        os.kill(task, signal.SIGKILL)
    assert airflow.wait_for_run("unseen", run_id, 120)["state"] == "failed"
    if chaos.FAILS_KILLED_TASKS:
        airflow.clear("unseen", run_id, ["video"])
        until(lambda: airflow.dag_run("unseen", run_id)["state"] != "failed")
        assert airflow.wait_for_run("unseen", run_id, 120)["state"] == "failed"
    (video,) = airflow.task_instances("unseen", run_id)
    assert video["try_number"] == 2  # it knew at once, and no retry was spent on it
    log = airflow.task_log("unseen", run_id, "video", try_number=2)
    assert "KlingSubmissionUnknownError" in log
    assert "Look for the task in the console (https://www.dmxapi.cn)" in log
    assert len(kling.tasks) == before + 1


def test_a_video_that_is_over_when_its_deadline_passes_without_a_triggerer_is_collected(
    airflow: PrivateAirflow, kling: SimulatorServer
) -> None:
    before = len(kling.creates)
    for _ in range(2):
        kling.next_task(seconds=15)
    airflow.kill("triggerer", signal.SIGKILL)
    try:
        run_id = airflow.trigger("outage")
        succeed(airflow, "outage", run_id, 180)
    finally:
        airflow.restart("triggerer")
    for name in ("wait", "one_step"):
        log = airflow.task_log("outage", run_id, name)
        assert "No triggerer told of the end of this wait until now" in log
        assert "succeeded" in log
    assert len(kling.creates) == before + 2


def test_a_storm_of_submits_waits_for_few_slots(tmp_path: Path) -> None:
    report = storm.run(tmp_path, tasks=24, slots=3, task_seconds=4)
    print(report)
    assert report.faults() == [], json.dumps(vars(report))
