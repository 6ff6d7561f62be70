"""``make cluster``: a distributed Airflow on one machine, a night's work on it, and then everything dies.

PostgreSQL, Redis, a scheduler, an api-server, a dag-processor, two Celery workers and two triggerers, all of them
private and only on loopback. First `kling_batch` makes a video of each of 100 pictures; then the DAG of ``make
chaos`` runs while workers, triggerers and the scheduler are killed. The accounts are counted after each.

    make cluster                                     # 100 videos each
    make cluster ARGS="--videos 20 --chaos 20"

It installs PostgreSQL and Redis if they are missing (as root, on Debian or Ubuntu), stops everything it has
started, and ends with 1 if a video was paid twice, or paid and not stored. docs/distributed.md tells the rest.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from kling_provider.simulator.server import SimulatorServer
from scripts import chaos, videos
from scripts.airflow_client import AirflowClientError
from scripts.postgres import PrivatePostgres
from scripts.private_airflow import COMPONENTS, PrivateAirflow
from scripts.processes import children_of, leave_in_order
from scripts.redis import PrivateRedis

BATCH = "kling_batch"
#: Of the account, and of the pool.
SLOTS = 20
WORKERS = ("worker-1", "worker-2")
TRIGGERERS = ("triggerer", "triggerer-2")
TASKS_PER_WORKER = 4
#: Airflow gives a triggerer as much as it can hold. With less than all there is, both get some.
TRIGGERS_EACH = 12
HEAD = "| run | asked | created | failed at Kling | paid | stored | paid twice | lost | took |"


def settings(postgres: str, redis: str) -> dict[str, str]:
    """What makes an Airflow distributed, besides the processes.

    :param postgres: address of the metadata database.
    :param redis: address of the broker.
    """
    return {
        "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
        "AIRFLOW__CORE__PARALLELISM": str(TASKS_PER_WORKER * len(WORKERS)),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": postgres,
        "AIRFLOW__DATABASE__SQL_ALCHEMY_POOL_SIZE": "10",
        "AIRFLOW__CELERY__BROKER_URL": redis,
        # not `db+postgresql://`: since SQLAlchemy 2.1 that means another driver
        "AIRFLOW__CELERY__RESULT_BACKEND": f"db+{postgres}",
        # a worker takes no more than it works on: what it has taken dies with it
        "AIRFLOW__CELERY__WORKER_PREFETCH_MULTIPLIER": "1",
        "AIRFLOW__TRIGGERER__CAPACITY": str(TRIGGERS_EACH),
        **chaos.AIRFLOW_SETTINGS,
    }


class Cluster(PrivateAirflow):
    """A private Airflow whose tasks run in Celery workers. Logs are on the disk that all of them share."""

    components = (
        COMPONENTS
        | dict.fromkeys(TRIGGERERS, COMPONENTS["triggerer"])
        | {
            name: (
                *("celery", "worker", "--skip-serve-logs", "--concurrency", str(TASKS_PER_WORKER)),
                *("--celery-hostname", f"{name}@%h", "--pid", f"{name}.pid"),
            )
            for name in WORKERS
        }
    )

    def start(self) -> None:
        """Start all processes and wait until the API answers and the workers take tasks."""
        super().start()
        self._wait("the workers to take tasks", 120, self._workers_are_ready)

    def _workers_are_ready(self) -> bool:
        logs = [self.logs_dir / f"{name}.log" for name in WORKERS]
        return all(" ready." in log.read_text(errors="replace") for log in logs)

    def task_processes(self) -> dict[int, int]:
        """The processes of running tasks, each with the one of its worker's pool that looks after it."""
        pools = [pool for name in WORKERS for pool in children_of(self._programs.pid(name))]
        return {task: pool for pool in pools for task in children_of(pool)}

    def finished_by(self) -> dict[str, int]:
        """How many task runs each worker has ended."""
        logs = {name: (self.logs_dir / f"{name}.log").read_text(errors="replace") for name in WORKERS}
        return {name: len(re.findall(r"Task \S+ succeeded in", log)) for name, log in logs.items()}


@dataclass(frozen=True)
class Row:
    """The accounts of one run.

    :param twice: videos that were paid more than once.
    :param lost: tasks that were paid and not stored.
    """

    run: str
    asked: int
    created: int
    failed: int
    paid: int
    stored: int
    twice: int
    lost: int
    seconds: float

    @property
    def is_good(self) -> bool:
        """Whether everything is there, once."""
        return self.asked == self.paid == self.stored and not self.twice and not self.lost

    def __str__(self) -> str:
        numbers = (self.asked, self.created, self.failed, self.paid, self.stored, self.twice, self.lost)
        return f"| {self.run} | {' | '.join(map(str, numbers))} | {self.seconds:.0f} s |"


def count(asked: Collection[str], paid: Mapping[str, str], stored: Collection[str], seconds: float) -> Row:
    """The accounts of a run in which nothing fails at Kling.

    :param asked: the pictures, each of which is to become one video.
    :param paid: the tasks that Kling charged for, each with what tells its picture from the others.
    :param stored: the tasks whose video is stored and whole.
    """
    return Row(
        run=f"`{BATCH}`",
        asked=len(asked),
        created=len(paid),
        failed=0,
        paid=len(paid),
        stored=len(set(stored)),
        twice=len(paid) - len(set(paid.values())),
        lost=len(set(paid) - set(stored)),
        seconds=seconds,
    )


def run_batch(airflow: Cluster, kling: SimulatorServer, names: Collection[str]) -> Row:
    """Run the example DAG over all pictures, and look at every file from its first byte to its last."""
    began = time.monotonic()
    airflow.cli("dags", "unpause", BATCH)
    run_id = airflow.trigger(BATCH, {"limit": len(names), "min_units": 1})
    run = airflow.wait_for_run(BATCH, run_id, timeout=60 + 15 * len(names))
    seconds = time.monotonic() - began
    if run["state"] != "success":
        raise AirflowClientError(airflow.explain(BATCH, run_id))
    stored = []
    for index in range(len(names)):
        for entry in airflow.xcom(BATCH, run_id, "clip.store", map_index=index):
            stored.append(videos.check(entry).path.name.partition("-")[0])
    asked_for = {task.task_id: str(task.external_task_id) for task in kling.tasks}  # one for each picture
    return count(
        names, {charge.task_id: asked_for[charge.task_id] for charge in kling.charges}, stored, seconds
    )


def run_chaos(
    airflow: Cluster, kling: SimulatorServer, folder: Path, plan: chaos.Plan
) -> tuple[Row, list[str]]:
    """Run the chaos; gives the accounts and what must not be."""
    began = time.monotonic()
    run = chaos.Chaos(plan, "official", folder, kling, airflow)
    run.deaths |= more_deaths(plan)
    accounts = run.run(most_seconds=300 + 12 * plan.videos)
    print(accounts)
    row = Row(
        run="chaos",
        asked=accounts.asked,
        created=accounts.created,
        failed=accounts.failed,
        paid=accounts.paid,
        stored=accounts.stored,
        twice=len(accounts.duplicates),
        lost=len(accounts.orphans),
        seconds=time.monotonic() - began,
    )
    alive = [name for name in run.deaths if not accounts.done[f"{name} killed"]]
    violations = accounts.violations("official") + accounts.spared()
    return row, violations + [f"{name} was not killed" for name in alive]


def more_deaths(plan: chaos.Plan) -> dict[str, list[float]]:
    """When each worker and the second triggerer are killed, in seconds after the start."""
    dice = random.Random(plan.seed + 2)  # noqa: S311 - it must be the same every time
    latest = max(40.0, plan.videos * 1.5)
    return {name: [dice.uniform(20, latest)] for name in (*WORKERS, TRIGGERERS[1])}


def make_pictures(folder: Path, number: int) -> list[str]:
    """So many pictures, no two alike; gives their names."""
    from PIL import Image

    folder.mkdir()
    names = [f"{index:04}.png" for index in range(number)]
    for index, name in enumerate(names):
        Image.new("RGB", (320, 320), (index % 256, index // 256, 120)).save(folder / name)
    return names


def run(folder: Path, *, batch: int, chaos_videos: int, seed: int) -> tuple[list[Row], list[str]]:
    """Start the cluster, run both, stop it.

    :param folder: for everything; kept by the caller.
    :param batch: pictures for ``kling_batch``; 0 leaves it out.
    :param chaos_videos: videos of the chaos; 0 leaves it out.
    :param seed: of the chaos.
    """
    plan = chaos.Plan.draw(seed, max(1, chaos_videos), "official", seconds=max(40.0, chaos_videos * 2.0))
    chaos.prepare(folder, plan)
    # without its schedule, which would add a run of its own as soon as it is unpaused
    dag = (chaos.ROOT / "dags" / f"{BATCH}.py").read_text()
    (folder / "dags" / f"{BATCH}.py").write_text(dag.replace('schedule="@daily"', "schedule=None"))
    names = make_pictures(folder / "batch", batch)
    with (
        SimulatorServer(speed=1, task_seconds=12, concurrency=SLOTS, seed=seed) as kling,
        PrivatePostgres() as postgres,
        PrivateRedis() as redis,
    ):
        env = {
            "AIRFLOW_CONN_KLING_DEFAULT": kling.connection_json(auth="pair", triggerers=len(TRIGGERERS)),
            "AIRFLOW_VAR_KLING_PICTURES": str(folder / "batch"),
            "AIRFLOW_VAR_KLING_DESTINATION": f"file://{folder}/batch-videos",
            "CHAOS_FOLDER": str(folder),
            "PYTHONPATH": str(chaos.ROOT),
            **settings(postgres.url, redis.url),
        }
        began = time.monotonic()
        with Cluster(folder / "home", dags_folder=folder / "dags", env=env) as airflow:
            airflow.create_pool("kling", SLOTS, include_deferred=True)
            print(
                f"The cluster is up after {time.monotonic() - began:.0f} s: {', '.join(airflow.components)}.",
                flush=True,
            )
            rows, wrong = list[Row](), list[str]()
            if batch:
                airflow.wait_for_dag(BATCH)
                rows.append(run_batch(airflow, kling, names))
                print(f"{rows[-1]}\n  task runs: {airflow.finished_by()}", flush=True)
            if chaos_videos:
                kling.reset()
                airflow.wait_for_dag(chaos.DAG_ID)
                row, wrong = run_chaos(airflow, kling, folder, plan)
                rows.append(row)
    return rows, wrong + [f"not in order: {row}" for row in rows if not row.is_good]


def main() -> int:
    """Run it and tell what it came to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--videos", type=int, default=100, help="of kling_batch; 0: without it (default: 100)"
    )
    parser.add_argument(
        "--chaos", type=int, default=100, help="videos of the chaos; 0: without it (default: 100)"
    )
    parser.add_argument("--seed", type=int, default=1, help="of the chaos (default: 1)")
    parser.add_argument("--keep", action="store_true", help="keep the folder also if all is well")
    told = parser.parse_args()
    if told.videos < 0:
        parser.error("--videos: not less than none")
    if told.chaos and told.chaos < chaos.LEAST_VIDEOS:
        parser.error(f"--chaos: 0, or {chaos.LEAST_VIDEOS} at least, so that somebody dies at every point")
    if not told.videos and not told.chaos:
        parser.error("--videos 0 --chaos 0: there is nothing to run")
    leave_in_order()
    with chaos.folder_of_a_run("kling-cluster-") as folder:
        rows, violations = run(folder, batch=told.videos, chaos_videos=told.chaos, seed=told.seed)
        print("", HEAD, re.sub(r"[^|]+", "---", HEAD), *rows, "", sep="\n")
        return chaos.conclude(folder, violations, keep=told.keep)


if __name__ == "__main__":
    sys.exit(main())
