"""What a video costs Airflow itself: worker starts per second of this machine, and rows in its database.

A real Airflow (LocalExecutor, SQLite) makes and stores videos with the one-operator recipe as fast as it can.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections import Counter
from datetime import datetime
from pathlib import Path

from kling_provider.simulator.server import SimulatorServer
from scripts.private_airflow import PrivateAirflow

DAG = """
from datetime import datetime
from airflow.sdk import DAG, task_group
from kling_provider.operators.kling import KlingTextToVideoOperator
from kling_provider.transfers.kling_to_object_storage import KlingToObjectStorageOperator

with DAG("videos", schedule=None, start_date=datetime(2026, 1, 1), max_active_tasks=10_000):

    @task_group
    def clip(prompt):
        video = KlingTextToVideoOperator(task_id="video", prompt=prompt, wait_for_completion=True)
        KlingToObjectStorageOperator(task_id="store", task=video.output, destination="FOLDER")

    clip.expand(prompt=[f"video {number:03}" for number in range(VIDEOS)])
"""
#: One to submit, one when it resumes, one to store.
STARTS_PER_VIDEO = 3
#: Longer than the least wait, so that all wait in the triggerer.
TASK_SECONDS = 12.0
PATIENCE_SECONDS = 900.0


def measure(videos: int) -> dict[str, float]:
    """Make videos; gives ``starts_per_second`` and, per table that grew, ``rows of <table>`` per video.

    :raises RuntimeError: if a video was not made and stored.
    """
    with tempfile.TemporaryDirectory(prefix="kling-bench-", ignore_cleanup_errors=True) as folder:
        dags = Path(folder) / "dags"
        dags.mkdir()
        text = DAG.replace("VIDEOS", str(videos)).replace("FOLDER", f"file://{folder}/stored")
        (dags / "videos.py").write_text(text)
        with SimulatorServer(speed=1, task_seconds=TASK_SECONDS, concurrency=videos) as kling:
            settings = {
                "AIRFLOW_CONN_KLING_DEFAULT": kling.connection_json(),
                "AIRFLOW__CORE__PARALLELISM": str(2 * (os.cpu_count() or 1)),
            }
            with PrivateAirflow(Path(folder) / "home", dags_folder=dags, env=settings) as airflow:
                airflow.wait_for_dag("videos")
                before = _rows(airflow.db_path)
                run_id = airflow.trigger("videos")
                if airflow.wait_for_run("videos", run_id, PATIENCE_SECONDS)["state"] != "success":
                    raise RuntimeError(airflow.explain("videos", run_id))
                instances = airflow.task_instances("videos", run_id)
                after = _rows(airflow.db_path)
    begin = min(datetime.fromisoformat(one["start_date"]) for one in instances)
    end = max(datetime.fromisoformat(one["end_date"]) for one in instances)
    grown = {f"rows of {table}": (after[table] - before[table]) / videos for table in after}
    seconds = (end - begin).total_seconds()
    return {
        "videos": float(videos),
        "starts_per_second": STARTS_PER_VIDEO * videos / seconds,
        **{name: count for name, count in sorted(grown.items()) if count >= 0.5},
    }


def _rows(database: Path) -> Counter[str]:
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=30) as connection:
        tables = [
            name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        ]
        counts = {name: connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in tables}  # noqa: S608
    return Counter(counts)
