"""Many sensors that wait at once on a real Airflow: ``python -m scripts.many_waits --tasks 1000``.

The videos are booked at the simulator, which is a process of its own, and end only when all sensors have been
deferred. What must hold: every sensor resumes and returns the result of its own video, its log tells of no other
one, and from the moment all wait the triggerer never warns that something blocked its event loop. (While Airflow
starts hundreds of triggers at once it does warn, whatever they are: 500 of its own DateTimeTrigger block it for
1.8 s on 2 cores. Those warnings are counted apart.) With ``--kill-triggerer`` that process is killed while all wait
and another is started: all resume, and no row that Airflow keeps of a wait has changed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from scripts.chaos import database
from scripts.private_airflow import PrivateAirflow, free_port
from scripts.processes import Programs

ROOT = Path(__file__).parent.parent
DAG_ID = "many_waits"
#: The ids are known when the DAG is parsed: 1,000 map indexes at once, none of them submitted by Airflow.
DAG = """
import json
from datetime import UTC, datetime
from pathlib import Path
from airflow.sdk import DAG
from kling_provider.sensors.kling import KlingTaskSensor

with DAG("many_waits", schedule=None, start_date=datetime(2026, 1, 1), max_active_tasks=10000):
    KlingTaskSensor.partial(task_id="wait", timeout=TIMEOUT, retries=0).expand(
        kling_task_id=json.loads(Path("IDS").read_text())
    )
"""
#: All may be deferred at once, and as many workers run as this machine starts without falling behind.
SETTINGS: Mapping[str, str] = {
    "AIRFLOW__CORE__PARALLELISM": "6",
    "AIRFLOW__CORE__MAX_MAP_LENGTH": "10000",
    "AIRFLOW__SCHEDULER__MAX_TIS_PER_QUERY": "64",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "600",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "3600",
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "30",
}
#: Workers are forked from the scheduler: what that has imported they need not import 2,000 times. Nobody else does.
PRELOAD = """
import sys

if "scheduler" in sys.argv:
    import kling_provider.hooks.kling
    import kling_provider.sensors.kling
    import kling_provider.triggers.kling
"""
TIMEOUT_SECONDS = 4 * 3600
MOST_SECONDS_TO_TAKE_OVER = 300
#: A worker's start opens its task's log with a line of this; the one that was deferred before does so again.
START_OF_A_WORKER = re.compile(r'"DAG bundles loaded')
#: What Airflow says when something held the event loop of the triggerer for more than 0.2 s.
BLOCKED = "async thread was blocked"
#: Run with Airflow's environment: what it keeps of each wait.
_ROWS = """
import json
from airflow.models.taskinstance import TaskInstance
from airflow.models.trigger import Trigger
from airflow.utils.session import create_session

with create_session() as session:
    rows = session.query(Trigger, TaskInstance).join(TaskInstance, TaskInstance.trigger_id == Trigger.id).all()
    print(json.dumps([
        [row.id, row.classpath, row.kwargs, waiting.map_index, str(waiting.trigger_timeout)] for row, waiting in rows
    ], default=str))
"""


@dataclass(frozen=True)
class Report:
    """What it came to.

    :param tasks: sensors.
    :param succeeded: those that returned the result of their own video.
    :param at_once: the most that were deferred at the same time.
    :param strange_lines: per map index, lines of its log that tell of other videos.
    :param blocked: warnings of the triggerer that its event loop was blocked, since all waited.
    :param blocked_at_start: those before, while Airflow started triggers.
    :param requests: at the simulator, by method and path.
    :param worker_starts: of all tasks together.
    :param changed_rows: rows of waits that the killed triggerer's successor found changed; None: nobody was killed.
    :param seconds_to_defer: until all were deferred.
    :param seconds_to_end: from the first video's end to the last task's.
    :param lag: mean and largest number of seconds from a video's end to the moment its trigger fired.
    """

    tasks: int
    succeeded: int
    at_once: int
    strange_lines: Mapping[int, list[str]]
    blocked: list[str]
    blocked_at_start: list[str]
    requests: Mapping[str, int]
    worker_starts: int
    changed_rows: list[Any] | None
    seconds_to_defer: float
    seconds_to_end: float
    lag: tuple[float, float]

    def faults(self) -> list[str]:
        """What did not hold."""
        checks = {
            f"{self.succeeded} of {self.tasks} tasks returned their own result": self.succeeded == self.tasks,
            f"only {self.at_once} waited at once": self.at_once == self.tasks,
            f"other videos in logs: {dict(list(self.strange_lines.items())[:3])}": not self.strange_lines,
            f"blocked: {self.blocked[:3]}": not self.blocked,
            f"{self.worker_starts} worker starts": self.worker_starts == 2 * self.tasks,
            f"changed rows: {(self.changed_rows or [])[:3]}": not self.changed_rows,
        }
        return [text for text, holds in checks.items() if not holds]

    def __str__(self) -> str:
        asked = ", ".join(f"{number} {what}" for what, number in sorted(self.requests.items()))
        killed = (
            "" if self.changed_rows is None else "; the triggerer was killed meanwhile, and no row changed"
        )
        return (
            f"{self.tasks} tasks, {self.at_once} deferred at once after {self.seconds_to_defer:.0f} s; "
            f"{self.succeeded} resumed with their own result within {self.seconds_to_end:.0f} s, "
            f"{self.worker_starts} worker starts; Kling was asked {sum(self.requests.values())} times ({asked}); "
            f"triggers fired {self.lag[0]:.1f} s after the end on average, {self.lag[1]:.1f} s at most; "
            f"{len(self.blocked)} warnings of a blocked loop since all waited, {len(self.blocked_at_start)} before"
            f"{killed}"
        )


class Kling:
    """The simulator, in a process of its own.

    :param url: where it listens.
    """

    def __init__(self, url: str) -> None:
        self.url = url

    def ask(self, path: str, values: Mapping[str, Any] | None = None) -> Any:
        """Turn something on its control plane, or look at it."""
        body = None if values is None else json.dumps(values).encode()
        with urllib.request.urlopen(f"{self.url}/_simulator{path}", data=body, timeout=60) as answer:
            return json.load(answer)

    def book(self, count: int) -> list[str]:
        """Book videos that end only when they are told to."""
        booked = self.ask("/crowd", {"endpoint": "image2video", "seconds": [10 * TIMEOUT_SECONDS] * count})
        return [task["task_id"] for task in booked]

    def finish(self, task_id: str) -> None:
        """Let a video end."""
        self.ask(f"/tasks/{task_id}", {"status": "succeed"})

    @property
    def connection(self) -> str:
        """The Airflow connection that leads to it."""
        return json.dumps({"conn_type": "kling", "host": self.url, "password": "sim-key"})


@contextmanager
def simulator(folder: Path) -> Iterator[Kling]:
    """Run it while the block does."""
    programs, ready = Programs(), folder / "simulator.json"
    command = [sys.executable, "-m", "kling_provider.simulator", "--speed", "1", "--port", str(free_port())]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    try:
        programs.start(
            "simulator",
            [*command, "--ready-file", str(ready)],
            log=folder / "simulator.log",
            env=environment,
            cwd=folder,
        )
        while not ready.exists():
            programs.check()
            time.sleep(0.1)
        yield Kling(json.loads(ready.read_text())["url"])
    finally:
        programs.stop()


def run(
    folder: Path,
    *,
    tasks: int,
    kill_triggerer: bool = False,
    over: float = 60,
    kind: str = "sqlite",
    seed: int = 1,
) -> Report:
    """Run it once.

    :param folder: for everything; kept by the caller.
    :param tasks: how many sensors wait.
    :param kill_triggerer: kill it while all wait.
    :param over: within so many seconds the videos end.
    :param kind: ``postgres`` or ``sqlite``.
    :param seed: of the order in which they end.
    """
    dags, config = folder / "dags", folder / "home" / "config"
    dags.mkdir()
    config.mkdir(parents=True)
    (config / "airflow_local_settings.py").write_text(PRELOAD)
    with simulator(folder) as kling, database(kind) as where:
        ids = kling.book(tasks)
        (folder / "ids.json").write_text(json.dumps(ids))
        (dags / "many_waits.py").write_text(
            DAG.replace("IDS", str(folder / "ids.json")).replace("TIMEOUT", str(TIMEOUT_SECONDS))
        )
        env = {"AIRFLOW_CONN_KLING_DEFAULT": kling.connection, "PYTHONPATH": str(ROOT), **SETTINGS, **where}
        with PrivateAirflow(folder / "home", dags_folder=dags, env=env) as airflow:
            airflow.wait_for_dag(DAG_ID)
            run_id = airflow.trigger(DAG_ID)
            started = time.monotonic()
            at_once = wait_until(airflow, run_id, lambda states: states["deferred"] >= tasks)["deferred"]
            seconds_to_defer = time.monotonic() - started
            changed = _kill_triggerer(airflow, run_id, tasks) if kill_triggerer else None
            all_wait = datetime.now(UTC).isoformat()
            ended = _let_end(kling, ids, over, random.Random(seed))  # noqa: S311
            started = time.monotonic()
            wait_until(airflow, run_id, lambda states: states["success"] + states["failed"] >= tasks)
            seconds_to_end = over + time.monotonic() - started
            logs = {index: _log_of(airflow, run_id, index) for index in range(tasks)}
            fired = [
                at - ended[ids[index]] for index, log in logs.items() if (at := _fired_at(log)) is not None
            ]
            results = [_result(airflow, run_id, index) for index in range(tasks)]
            blocked = [line for line in _triggerer_log(airflow) if BLOCKED in line]
            at_start = [line for line in blocked if line < all_wait]  # each begins with its time
            return Report(
                tasks=tasks,
                succeeded=sum(
                    told == ("succeed", task_id) for told, task_id in zip(results, ids, strict=True)
                ),
                at_once=at_once,
                strange_lines=strange_lines(logs, ids),
                blocked=blocked[len(at_start) :],
                blocked_at_start=at_start,
                requests=kling.ask("/counts"),
                worker_starts=sum(len(START_OF_A_WORKER.findall(log)) for log in logs.values()),
                changed_rows=changed,
                seconds_to_defer=seconds_to_defer,
                seconds_to_end=seconds_to_end,
                lag=(sum(fired) / len(fired), max(fired)) if fired else (0.0, 0.0),
            )


def wait_until(
    airflow: PrivateAirflow, run_id: str, holds: Callable[[Counter[str]], bool], most_seconds: float = 3600
) -> Counter[str]:
    """Look at the states of the run's tasks until they are as they should; tells them.

    :raises SystemExit: with the logs, if that does not come.
    """
    begin, pause = time.monotonic(), 1.0
    while time.monotonic() - begin < most_seconds:
        airflow.check()
        states: Counter[str] = Counter(str(ti["state"]) for ti in airflow.task_instances(DAG_ID, run_id))
        print(f"{time.monotonic() - begin:5.0f} s  {dict(sorted(states.items()))}", flush=True)
        if holds(states):
            return states
        if states["failed"]:
            break
        pause = min(10.0, pause * 1.5)
        time.sleep(pause)
    print(airflow.explain(DAG_ID, run_id)[:20000])
    raise SystemExit(f"The tasks are not as they should be after {time.monotonic() - begin:.0f} s: {states}")


def strange_lines(logs: Mapping[int, str], ids: list[str]) -> dict[int, list[str]]:
    """Lines in the log of one wait that tell of the video of another.

    :param logs: by map index.
    :param ids: by map index.
    """
    known, found = set(ids), dict[int, list[str]]()
    for index, log in logs.items():
        others = known - {ids[index]}
        lines = [line for line in log.splitlines() if others.intersection(re.findall(r"\d{6,}", line))]
        if lines:
            found[index] = lines
    return found


def rows_of(airflow: PrivateAirflow) -> dict[int, Any]:
    """What Airflow keeps of each wait, by the id of its trigger: arguments, map index and time-out."""
    done = subprocess.run(
        [sys.executable, "-c", _ROWS], env=airflow.env, capture_output=True, text=True, check=True
    )
    return {row[0]: row[1:] for row in json.loads(done.stdout.splitlines()[-1])}


def _kill_triggerer(airflow: PrivateAirflow, run_id: str, tasks: int) -> list[Any]:
    """Kill it, start another, and tell which rows differ once that waits for all."""
    before = rows_of(airflow)
    airflow.kill("triggerer")
    print("         the triggerer was killed", flush=True)
    airflow.restart("triggerer")
    started = time.monotonic()
    # It takes over what nobody has claimed for a while, and then writes a log file of its own for each wait.
    while any(len(list(_logs_of(airflow, run_id, index).glob("*.trigger.*"))) < 2 for index in range(tasks)):
        if time.monotonic() - started > MOST_SECONDS_TO_TAKE_OVER:
            raise SystemExit("The second triggerer did not take over all waits.")
        airflow.check()
        time.sleep(1)
    print(f"         the next one waits for all after {time.monotonic() - started:.0f} s", flush=True)
    after = rows_of(airflow)
    return [
        (key, before.get(key), after.get(key)) for key in before | after if before.get(key) != after.get(key)
    ]


def _let_end(kling: Kling, ids: list[str], over: float, dice: random.Random) -> dict[str, float]:
    """Let the videos end one after the other, in any order; tells when each did."""
    ended, begin = dict[str, float](), time.monotonic()
    for number, task_id in enumerate(dice.sample(ids, len(ids))):
        time.sleep(max(0.0, begin + over * number / len(ids) - time.monotonic()))
        kling.finish(task_id)
        ended[task_id] = time.time()
    return ended


def _triggerer_log(airflow: PrivateAirflow) -> list[str]:
    return (airflow.logs_dir / "triggerer.log").read_text(errors="replace").splitlines()


def _log_of(airflow: PrivateAirflow, run_id: str, index: int) -> str:
    """All that stands in the log files of one wait, the worker's and the triggerer's."""
    files = sorted(_logs_of(airflow, run_id, index).iterdir())
    return "\n".join(path.read_text(errors="replace") for path in files)


def _logs_of(airflow: PrivateAirflow, run_id: str, index: int) -> Path:
    run = airflow.logs_dir / f"dag_id={DAG_ID}" / f"run_id={run_id}"
    return run / "task_id=wait" / f"map_index={index}"


def _fired_at(log: str) -> float | None:
    """When the trigger fired, epoch seconds, from its line in the log."""
    for line in log.splitlines():
        if "Trigger fired event" in line:
            return datetime.fromisoformat(json.loads(line)["timestamp"]).timestamp()
    return None


def _result(airflow: PrivateAirflow, run_id: str, index: int) -> tuple[str, str] | None:
    try:
        told = airflow.xcom(DAG_ID, run_id, "wait", map_index=index)
    except FileNotFoundError:
        return None
    told = json.loads(told) if isinstance(told, str) else told
    return told["status"], told["task_id"]


def main() -> int:
    """Run it and tell what it came to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--kill-triggerer", action="store_true", help="kill it while all wait")
    parser.add_argument("--over", type=float, default=300, help="the videos end within so many seconds")
    parser.add_argument("--database", choices=("postgres", "sqlite"), default="postgres")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--keep", action="store_true", help="keep the folder also if all is well")
    told = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="kling-many-waits-"))
    report = run(
        folder, tasks=told.tasks, kill_triggerer=told.kill_triggerer, over=told.over, kind=told.database
    )
    print(json.dumps(vars(report)) if told.json else report)
    for fault in report.faults():
        print(f"FAULT: {fault}")
    if report.faults() or told.keep:
        print(f"Logs are in {folder}.")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if report.faults() else 0


if __name__ == "__main__":
    sys.exit(main())
