"""What it costs to run, on a real Airflow: worker starts per video, what a deferral keeps, and the numbers it tells.

Worker starts are counted in the logs that Airflow itself writes on disk, one opening line per start of a task's
process, and never by code of ours.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from kling_provider.simulator.server import SimulatorServer
from scripts.private_airflow import PrivateAirflow
from tests.live.test_live import succeed, until

pytestmark = pytest.mark.live

#: The recipes of docs/operating.md; a video is over when the test has seen it waited for.
DAGS = """
from datetime import datetime
from airflow.sdk import DAG
from kling_provider.operators.kling import KlingImageToVideoOperator, KlingTextToVideoOperator
from kling_provider.sensors.kling import KlingTaskSensor
from kling_provider.transfers.kling_to_object_storage import KlingToObjectStorageOperator

when = {"schedule": None, "start_date": datetime(2026, 1, 1), "catchup": False}
placed = {"queue": "videos", "pool": "kling", "priority_weight": 7, "weight_rule": "absolute"}
folder = "{{ var.value.kling_destination }}/{{ dag.dag_id }}/"

with DAG("one", **when):
    KlingTextToVideoOperator(task_id="video", prompt="one", wait_for_completion=True, **placed)
with DAG("one_stored", **when):
    video = KlingTextToVideoOperator(task_id="video", prompt="one_stored", wait_for_completion=True)
    KlingToObjectStorageOperator(task_id="store", task=video.output, destination=folder)
with DAG("one_held", **when):
    KlingTextToVideoOperator(
        task_id="video", prompt="one_held", wait_for_completion=True, deferrable=False, poke_interval=1
    )
with DAG("one_no_slot", **when):
    KlingImageToVideoOperator(
        task_id="video", image="https://pictures.example/a.jpg", prompt="one_no_slot", wait_for_completion=True
    )
for mode in ("deferred", "reschedule", "poke"):
    with DAG(f"three_{mode}", **when):
        submit = KlingTextToVideoOperator(task_id="submit", prompt=f"three_{mode}")
        wait = KlingTaskSensor(
            task_id="wait",
            kling_task_id=submit.kling_task,
            deferrable=mode == "deferred",
            mode="reschedule" if mode == "reschedule" else "poke",
            poke_interval=7 if mode == "reschedule" else 1,
            **placed,
        )
        KlingToObjectStorageOperator(task_id="store", task=wait.output, destination=folder)
with DAG("refused", **when):
    KlingTextToVideoOperator(task_id="video", prompt="refused")
with DAG("unknown", **when):
    KlingTextToVideoOperator(task_id="video", prompt="unknown", kling_conn_id="unseen")
"""
#: For each recipe: who waits, the state that is seen before the video is over, and the starts of each task. The
#: sensor that is rescheduled starts once for each time it asks, and `one_no_slot` is refused once for want of a slot.
RECIPES: dict[str, tuple[str, str, dict[str, int]]] = {
    "one": ("video", "deferred", {"video": 2}),
    "one_stored": ("video", "deferred", {"video": 2, "store": 1}),
    "one_no_slot": ("video", "deferred", {"video": 3}),
    "one_held": ("video", "running", {"video": 1}),
    "three_deferred": ("wait", "deferred", {"submit": 1, "wait": 2, "store": 1}),
    "three_reschedule": ("wait", "up_for_reschedule", {"submit": 1, "store": 1}),
    "three_poke": ("wait", "running", {"submit": 1, "wait": 1, "store": 1}),
}
#: Names of docs/operating.md; a name with the first tag in it stands for those that tell tags.
NUMBERS = {
    "kling.submitted",
    "kling.adopted",
    "kling.refused",
    "kling.refused.1301",
    "kling.unclear",
    "kling.unknown",
    "kling.units",
    "kling.units.text2video",
    "kling.wait.seconds",
    "kling.watcher.requests",
    "kling.watcher.in_flight",
    "kling.watcher.lag",
}
#: What Airflow writes at every start of a task's process, in all versions.
OPENING_LINE = '"event":"DAG bundles loaded'
PLACE = ("queue", "pool", "priority_weight")


class StatsD:
    """Listens for metrics, from all processes of an Airflow."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.socket.bind(("127.0.0.1", 0))
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while line := self.socket.recv(65535).decode():
            self.lines.append(line.removeprefix("airflow."))

    @property
    def env(self) -> dict[str, str]:
        host, port = self.socket.getsockname()
        settings = {"STATSD_ON": "True", "STATSD_HOST": host, "STATSD_PORT": str(port)}
        return {f"AIRFLOW__METRICS__{name}": value for name, value in settings.items()}

    @property
    def totals(self) -> dict[str, float]:
        """Every name with the sum of its values: of a counter, its count."""
        sums: Counter[str] = Counter()
        for line in list(self.lines):
            name, _, value = line.partition(":")
            sums[name] += float(value.partition("|")[0])  # type: ignore[assignment]
        return dict(sums)


@pytest.fixture(scope="module")
def kling() -> Iterator[SimulatorServer]:
    with SimulatorServer(speed=1, task_seconds=3600) as server:
        yield server


@pytest.fixture(scope="module")
def statsd() -> StatsD:
    return StatsD()


@pytest.fixture(scope="module")
def airflow(
    kling: SimulatorServer, statsd: StatsD, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PrivateAirflow]:
    folder = tmp_path_factory.mktemp("operating")
    (folder / "dags").mkdir()
    (folder / "dags" / "recipes.py").write_text(DAGS)
    env = {
        "AIRFLOW_CONN_KLING_DEFAULT": kling.connection_json(),
        "AIRFLOW_CONN_UNSEEN": kling.connection_json(external_id="none"),
        "AIRFLOW_VAR_KLING_DESTINATION": f"file://{folder}/videos",
    }
    with PrivateAirflow(folder / "home", dags_folder=folder / "dags", env=env | statsd.env) as private:
        private.create_pool("kling", 5, include_deferred=True)
        private.wait_for_dag("unknown")
        yield private


Run = tuple[str, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def runs(airflow: PrivateAirflow, kling: SimulatorServer) -> dict[str, Run]:
    """One run of each recipe, with all that was seen of its task instances; all wait at the same time."""
    kling.fault("envelope", method="POST", path=".*/image2video", code=1303)
    begun: dict[str, Run] = {recipe: (airflow.trigger(recipe), []) for recipe in RECIPES}

    def look(*_: Any) -> None:
        for recipe, (run_id, seen) in begun.items():
            tasks = airflow.task_instances(recipe, run_id)
            seen.extend(tasks)
            waiter, state, _ = RECIPES[recipe]
            if any(ti["task_id"] == waiter and ti["state"] == state for ti in tasks):
                end_waiting(kling, recipe, was_asked=state != "deferred")

    for recipe, (run_id, _) in begun.items():
        run = airflow.wait_for_run(recipe, run_id, 300, look)
        assert run["state"] == "success", airflow.explain(recipe, run_id)
    return begun


def end_waiting(kling: SimulatorServer, prompt: str, was_asked: bool) -> None:
    """Finish the video of this prompt, if it is waited for by now."""
    for task in kling.tasks:
        is_due = task.order.body["prompt"] == prompt and task.status != "succeed"
        if is_due and (not was_asked or asks_for(kling, task.task_id)):
            kling.finish(task.task_id)


def asks_for(kling: SimulatorServer, task_id: str) -> int:
    """How often one task was asked for by its own id."""
    return sum(request.method == "GET" and request.path.endswith(f"/{task_id}") for request in kling.requests)


def starts(airflow: PrivateAirflow, dag_id: str, run_id: str) -> dict[str, int]:
    """How often a worker started each task of a run, from Airflow's logs."""
    found: Counter[str] = Counter()
    for log in (airflow.logs_dir / f"dag_id={dag_id}" / f"run_id={run_id}").glob("task_id=*/attempt=*.log"):
        if ".trigger." not in log.name:
            found[log.parent.name.removeprefix("task_id=")] += log.read_text().count(OPENING_LINE)
    return dict(found)


@pytest.mark.parametrize("recipe", RECIPES)
def test_how_often_a_worker_starts_for_a_video(
    recipe: str, runs: dict[str, Run], airflow: PrivateAirflow, kling: SimulatorServer, statsd: StatsD
) -> None:
    run_id, _ = runs[recipe]
    expected = dict(RECIPES[recipe][2])
    if recipe == "three_reschedule":
        expected["wait"] = asks_for(kling, airflow.xcom(recipe, run_id, "submit"))
        assert expected["wait"] > 1
    counted = starts(airflow, recipe, run_id)
    assert counted == expected
    told = {name: statsd.totals.get(f"ti.start.{recipe}.{name}") for name in counted}
    if "ti.start" in statsd.totals:  # Airflow 3.0 does not count them
        assert told == counted


@pytest.mark.parametrize("recipe", ["one", "three_deferred"])
def test_queue_pool_and_priority_are_the_same_before_and_after_a_deferral(
    recipe: str, runs: dict[str, Run], airflow: PrivateAirflow
) -> None:
    run_id, seen = runs[recipe]
    waiter = RECIPES[recipe][0]
    now = [ti for ti in airflow.task_instances(recipe, run_id) if ti["task_id"] == waiter]
    looks = [ti for ti in seen if ti["task_id"] == waiter] + now
    assert {"deferred", "success"} <= {ti["state"] for ti in looks}
    assert {tuple(ti[name] for name in PLACE) for ti in looks} == {("videos", "kling", 7)}


def test_every_number_is_told_by_a_running_airflow(
    runs: dict[str, Run], airflow: PrivateAirflow, kling: SimulatorServer, statsd: StatsD
) -> None:
    booked = len(kling.charges)
    units = sum(float(charge.units) for charge in kling.charges)
    airflow.clear("one", runs["one"][0], ["video"])
    succeed(airflow, "one", runs["one"][0], 120)
    kling.fault("envelope", method="POST", code=1301)
    assert airflow.wait_for_run("refused", airflow.trigger("refused"), 120)["state"] == "failed"
    kling.fault("cut_after", method="POST")
    assert airflow.wait_for_run("unknown", airflow.trigger("unknown"), 120)["state"] == "failed"
    with contextlib.suppress(AssertionError):  # the next line says which are missing
        until(lambda: statsd.totals.keys() >= NUMBERS)
    assert NUMBERS - statsd.totals.keys() == set()
    counted = statsd.totals
    assert counted["kling.submitted"] == booked == len(RECIPES)
    assert counted["kling.submitted.text2video"] == len(RECIPES) - 1
    assert counted["kling.units"] == units
    assert counted["kling.adopted"] == 1
    assert counted["kling.refused"] == 2
    assert counted["kling.refused.1301"] == counted["kling.refused.1303"] == 1
    assert counted["kling.unclear"] == counted["kling.unclear.cut"] == 1
    assert counted["kling.unknown"] == 1
    assert counted["kling.watcher.requests"] >= 1
    assert counted["kling.wait.seconds"] > 0
