"""``make storm``: many mapped submits against an account with few slots, on a real Airflow.

What must hold: every video is made, no Airflow retry is consumed, no worker is held by a task that waits, and
Kling is asked in vain less than three times per task on average and never more than eight times.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kling_provider.simulator.server import SimulatorServer
from scripts.private_airflow import PrivateAirflow

#: No pool on purpose: the account's slots are all that holds the tasks back.
DAG = """
from datetime import datetime
from airflow.sdk import DAG, task
from kling_provider.operators.kling import KlingTextToVideoOperator

with DAG("storm", schedule=None, start_date=datetime(2026, 1, 1), max_active_tasks=1000):
    KlingTextToVideoOperator.partial(task_id="video", wait_for_completion=WAITS, retries=3, poke_interval=2).expand(
        prompt=[f"video {number:03}" for number in range(TASKS)]
    )
with DAG("bystander", schedule=None, start_date=datetime(2026, 1, 1)):
    @task
    def work():
        return "done"
    work()
"""


@dataclass(frozen=True)
class Report:
    """What a storm came to.

    :param tasks: mapped tasks.
    :param made: videos that Kling made.
    :param failed: tasks that did not succeed.
    :param refused: POSTs that Kling refused, per task.
    :param most_tries: the highest try_number of a task.
    :param held: the most workers that were seen at work at the same time, of so many.
    :param bystander_seconds: how long another DAG's task took in the midst of it, start to end.
    :param seconds: from trigger to the last task.
    :param disorder: how many places a task finished before or after its turn of arrival, on average.
    """

    tasks: int
    made: int
    failed: int
    refused: tuple[int, ...]
    most_tries: int
    held: int
    bystander_seconds: float
    seconds: float
    disorder: float

    @property
    def mean_refused(self) -> float:
        """Refused POSTs per task."""
        return sum(self.refused) / self.tasks

    def faults(self) -> list[str]:
        """What did not hold."""
        checks = {
            f"{self.made} videos for {self.tasks} tasks": self.made == self.tasks,
            f"{self.mean_refused:.2f} refused POSTs per task on average": self.mean_refused < 3,
            f"{max(self.refused)} refused POSTs for one task": max(self.refused) <= 8,
            f"{self.failed} tasks failed": self.failed == 0,
            "no other DAG's task got through in the midst of it": 0
            < self.bystander_seconds
            < self.seconds / 2,
            f"a task needed {self.most_tries} tries": self.most_tries == 1,
        }
        return [text for text, holds in checks.items() if not holds]

    def __str__(self) -> str:
        return (
            f"{self.tasks} tasks, {self.made} videos in {self.seconds:.0f} s; refused POSTs per task: mean "
            f"{self.mean_refused:.2f}, most {max(self.refused)}; most tries {self.most_tries}; most workers at work "
            f"{self.held}; another DAG's task took {self.bystander_seconds:.1f} s in the midst of it; mean distance "
            f"from the order of arrival {self.disorder:.1f} places"
        )


def run(folder: Path, *, tasks: int, slots: int, task_seconds: float, waits: bool = True) -> Report:
    """Run one storm.

    :param folder: for the Airflow home.
    :param tasks: mapped submits.
    :param slots: of the account.
    :param task_seconds: how long a video takes.
    :param waits: the one-operator form; else submits only, whose videos nobody waits for.
    """
    dags = folder / "dags"
    dags.mkdir()
    (dags / "storm.py").write_text(DAG.replace("TASKS", str(tasks)).replace("WAITS", str(waits)))
    with SimulatorServer(speed=1, task_seconds=task_seconds, concurrency=slots) as kling:
        env = {"AIRFLOW_CONN_KLING_DEFAULT": kling.connection_json()}
        with PrivateAirflow(folder / "home", dags_folder=dags, env=env) as airflow:
            airflow.wait_for_dag("storm")
            started = time.monotonic()
            run_id = airflow.trigger("storm")
            held, bystander = 0, 0.0
            while airflow.dag_run("storm", run_id)["state"] not in ("success", "failed"):
                states = Counter(ti["state"] for ti in airflow.task_instances("storm", run_id))
                held = max(held, states["running"])
                if not bystander and states["deferred"] > slots:  # so some wait in line
                    bystander = _time_of_bystander(airflow)
                airflow.check()
                time.sleep(1)
            seconds = time.monotonic() - started
            instances = airflow.task_instances("storm", run_id)
            if any(ti["state"] != "success" for ti in instances):
                print(airflow.explain("storm", run_id))
            refused: Counter[str] = Counter()
            first_asked: list[str] = []
            for request in kling.requests:
                if request.method == "POST":
                    prompt = request.body["prompt"]
                    refused[prompt] += request.code == 1303
                    if prompt not in first_asked:
                        first_asked.append(prompt)
            made = [task.body["prompt"] for task in kling.tasks]
            return Report(
                tasks=tasks,
                made=len(kling.charges) if waits else len(made),
                failed=sum(ti["state"] != "success" for ti in instances),
                refused=tuple(refused[prompt] for prompt in first_asked),
                most_tries=max(ti["try_number"] for ti in instances),
                held=held,
                bystander_seconds=bystander,
                seconds=seconds,
                disorder=sum(abs(made.index(one) - at) for at, one in enumerate(first_asked)) / tasks,
            )


def _time_of_bystander(airflow: PrivateAirflow) -> float:
    started = time.monotonic()
    run: dict[str, Any] = airflow.wait_for_run("bystander", airflow.trigger("bystander"), 120)
    assert run["state"] == "success", run
    return time.monotonic() - started


def main() -> int:
    """Run one storm and tell what it came to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, default=100)
    parser.add_argument("--slots", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=8, help="how long a video takes")
    parser.add_argument("--submit-only", action="store_true", help="nobody waits for the videos")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    told = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kling-storm-", ignore_cleanup_errors=True) as folder:
        report = run(
            Path(folder),
            tasks=told.tasks,
            slots=told.slots,
            task_seconds=told.seconds,
            waits=not told.submit_only,
        )
    print(json.dumps(vars(report)) if told.json else report)
    for fault in report.faults():
        print(f"FAULT: {fault}")
    return 1 if report.faults() else 0


if __name__ == "__main__":
    sys.exit(main())
