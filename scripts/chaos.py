"""``make chaos``: hundreds of videos while everything dies, and the accounts after it.

A real Airflow (scheduler, LocalExecutor, triggerer) on PostgreSQL and the simulator. Workers are killed with
SIGKILL at chosen points and at random, the triggerer is killed, the scheduler is restarted, 10 % of Kling's
answers are faulted, 5 % of the tasks fail at Kling, and task instances are cleared while deferred. All of that
is drawn from one seed and written to plan.json. Nobody helps, but for the clears that are announced.

    make chaos                       # 200 videos, seed 1
    make chaos SEED=2 VIDEOS=50
    make chaos GATEWAY=dmxapi        # a gateway that cannot look ids up

It ends with the accounts, and with 1 if a video was paid twice, lost, or not told of.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from kling_provider.api.tasks import FAILED, SUCCEED
from kling_provider.simulator.server import SimulatorServer
from scripts.airflow_client import AirflowClientError
from scripts.postgres import PrivatePostgres
from scripts.private_airflow import PrivateAirflow
from scripts.processes import age_of, leave_in_order

ROOT = Path(__file__).parent.parent
DAG_ID = "chaos"
POINTS = ("before_the_post", "after_booking", "before_the_xcom", "in_mid_download")
#: One for each of them.
LEAST_VIDEOS = len(POINTS)
LEFT = "Logs, plan and videos are in {}."
#: Spoiled answers: before and after the work is done. Kling's real ones, a proxy's, and the network's.
FAULTS: tuple[dict[str, Any], ...] = (
    {"kind": "cut_before"},
    {"kind": "cut_after"},
    {"kind": "cut_body"},
    {"kind": "html"},
    {"kind": "html", "booked": True, "http_status": 504},
    {"kind": "status"},
    {"kind": "truncated"},
    {"kind": "empty"},
    {"kind": "no_data"},
    {"kind": "envelope", "code": 5000},
    {"kind": "envelope", "code": 5002, "booked": True},
    {"kind": "envelope", "code": 1302},
    {"kind": "envelope", "code": 1303},
    {"kind": "expired_token"},
    {"kind": "latency", "seconds": 3, "booked": True},
)
#: What Airflow is run with, besides the settings of PrivateAirflow. docs/chaos.md says why.
AIRFLOW_SETTINGS: Mapping[str, str] = {
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_SEC": "5",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "30",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "15",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "120",
    "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "5",
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "15",
}
MOST_CLEARS = 6
#: So often, two seconds apart, an api-server is asked that does not answer.
MOST_ASKS = 10
#: Airflow 3.0 fails a task whose process was killed, whatever retries it has left: a person clears it there.
FAILS_KILLED_TASKS = version("apache-airflow").startswith("3.0.")
#: So long after its start a task has surely told Airflow that it runs.
TOLD_AFTER_SECONDS = 1.0
RETRIES = 8

T = TypeVar("T")


@dataclass
class Plan:
    """What is done to whom, drawn from one seed.

    :param seed: of everything.
    :param videos: how many are asked for.
    :param kills: point -> map indexes whose worker kills itself there, once.
    :param fails: numbers of tasks, in the order Kling books them, that Kling fails.
    :param faults: positions of spoiled answers among the requests, with what happens.
    :param clears: map indexes that are cleared while they are deferred.
    :param random_kills: seconds after the start at which a worker is killed, whatever it does.
    :param triggerer_kills: seconds after the start at which the triggerer is.
    :param scheduler_kills: seconds after the start at which the scheduler is, with all its workers.
    """

    seed: int
    videos: int
    retries: int
    kills: dict[str, list[int]]
    fails: list[int]
    faults: list[tuple[int, dict[str, Any]]]
    clears: list[int]
    random_kills: list[float]
    triggerer_kills: list[float]
    scheduler_kills: list[float]

    @classmethod
    def draw(cls, seed: int, videos: int, gateway: str, seconds: float) -> Plan:
        """Draw a plan.

        :param seconds: how long the run is expected to take; what is timed happens in its first part.
        """
        dice = random.Random(seed)  # noqa: S311 - it must be the same every time
        each = max(1, videos // 20)
        order = dice.sample(range(videos), videos)
        kills = {point: sorted(order[at * each : (at + 1) * each]) for at, point in enumerate(POINTS)}
        requests = range(videos * 40)
        possible = (
            FAULTS if gateway == "official" else [one for one in FAULTS if one["kind"] != "expired_token"]
        )
        spoiled = sorted(dice.sample(requests, len(requests) // 10))
        return cls(
            seed=seed,
            videos=videos,
            retries=RETRIES,
            kills=kills,
            fails=sorted(dice.sample(range(videos), max(1, videos // 20))),
            faults=[(at, dice.choice(possible)) for at in spoiled],
            clears=sorted(order[-each:]),
            random_kills=sorted(dice.uniform(20, seconds) for _ in range(max(2, videos // 10))),
            triggerer_kills=sorted(dice.uniform(20, seconds) for _ in range(max(1, videos // 60))),
            scheduler_kills=[seconds * dice.uniform(0.4, 0.6)],
        )


@dataclass
class Accounts:
    """What the run came to."""

    asked: int
    created: int = 0
    failed: int = 0
    paid: int = 0
    stored: int = 0
    duplicates: list[str] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)

    def violations(self, gateway: str) -> list[str]:
        """What must not be."""
        if gateway == "official":
            rules = {
                f"created {self.created} != asked {self.asked} + failed {self.failed}": (
                    self.created == self.asked + self.failed
                ),
                f"paid {self.paid} != asked {self.asked}": self.paid == self.asked,
                f"stored {self.stored} != asked {self.asked}": self.stored == self.asked,
                f"duplicates: {self.duplicates}": not self.duplicates,
                f"orphans: {self.orphans}": not self.orphans,
            }
        else:
            untold = sorted(set(self.missing) - set(self.unknown))
            rules = {
                f"paid {self.paid} > asked {self.asked}": self.paid <= self.asked,
                f"duplicates: {self.duplicates}": not self.duplicates,
                f"not stored and not told as unknown: {untold}": not untold,
            }
        return [text for text, holds in rules.items() if not holds]

    def spared(self) -> list[str]:
        """At which points nobody was killed, though a run is a proof of all of them."""
        idle = [what for point in POINTS if not self.done[what := f"killed {point.replace('_', ' ')}"]]
        return [f"nobody was {what}" for what in idle]

    def __str__(self) -> str:
        figures = {
            "asked": self.asked,
            "created at Kling": self.created,
            "failed at Kling": self.failed,
            "paid": self.paid,
            "stored and verified by sha256": self.stored,
            "duplicates": len(self.duplicates),
            "orphans": len(self.orphans),
            "named unknown": len(self.unknown),
        }
        lines = [f"  {name:32}{number:6}" for name, number in figures.items()]
        happened = ", ".join(f"{number} {name}" for name, number in sorted(self.done.items()))
        return "\n".join([*lines, f"  what was done: {happened}"])


class Chaos:
    """One run: the things that happen while it lasts, and the accounts after it."""

    def __init__(
        self, plan: Plan, gateway: str, folder: Path, kling: SimulatorServer, airflow: PrivateAirflow
    ):
        self.plan = plan
        self.gateway = gateway
        self.folder = folder
        self.kling = kling
        self.airflow = airflow
        self.run_id = ""
        self.dice = random.Random(plan.seed + 1)  # noqa: S311
        self.done: Counter[str] = Counter()
        #: Component -> seconds after the start at which it is killed, with all it started.
        self.deaths = {"triggerer": plan.triggerer_kills, "scheduler": plan.scheduler_kills}
        self._failed_here: set[str] = set()
        self._to_clear = set(plan.clears)

    def run(self, most_seconds: float) -> Accounts:
        """Trigger the DAG, let things happen until all is done, and count."""
        for at, fault in self.plan.faults:
            told = dict(fault)
            self.kling.fault(told.pop("kind"), skip=at, **told)
        self.run_id = self.airflow.trigger(DAG_ID)
        started = time.monotonic()
        clears = 0
        last_look = 0.0
        while True:
            now = time.monotonic() - started
            if now > most_seconds:
                print(self._explain())
                raise SystemExit(f"It was not over after {most_seconds:.0f} s.")
            self._kill_what_is_due(now)
            self._fail_what_is_due()
            if time.monotonic() - last_look > 4:
                last_look = time.monotonic()
                states = self._look(now)
                if states is None:
                    continue
                if self._is_over():
                    again = self._to_be_cleared() if clears < MOST_CLEARS else {}
                    if not again:
                        break
                    clears += 1
                    for why, tasks in again.items():
                        self._clear(tasks, why)
            time.sleep(0.3)
        print(f"Everything is over after {time.monotonic() - started:.0f} s.")
        return self._count()

    # --- what happens -------------------------------------------------------------------------------

    def _kill_what_is_due(self, now: float) -> None:
        for name, due in self.deaths.items():
            if due and now >= due[0]:
                due.pop(0)
                self._say(f"killing the {name}, and starting it again")
                self.done[f"{name} killed"] += 1
                self.airflow.kill(name)
                self.airflow.restart(name)
        if self.plan.random_kills and now >= self.plan.random_kills[0]:
            tasks = self.airflow.task_processes()
            if tasks:
                self._kill_a_worker(tasks)
                self.plan.random_kills.pop(0)

    def _kill_a_worker(self, tasks: dict[int, int]) -> None:
        """Kill a task's process, and in a quarter of the cases what supervises it."""
        task = self.dice.choice(sorted(tasks))
        victims, what = [task], "tasks killed at random"
        # A LocalExecutor whose worker dies before it has told that the task runs leaves it queued for ever: it
        # cannot revoke a task, so not even [scheduler] task_queued_timeout helps. No DAG could mend that.
        if self.dice.random() < 0.25 and age_of(task) > TOLD_AFTER_SECONDS:
            victims, what = [task, tasks[task]], "whole workers killed at random"
        self.done[what] += 1
        for pid in victims:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _fail_what_is_due(self) -> None:
        for number, task in enumerate(self.kling.tasks):
            if number in self.plan.fails and task.task_id not in self._failed_here and not task.is_terminal:
                self._failed_here.add(task.task_id)
                self.kling.change(
                    task.task_id, status=FAILED, message="Failure to pass the risk control system"
                )

    def _look(self, now: float) -> Counter[str] | None:
        try:
            instances = self.airflow.task_instances(DAG_ID, self.run_id)
        except (AirflowClientError, OSError):  # an api-server that is busy is no reason to stop
            return None
        states = Counter(f"{ti['task_id']} {ti['state']}" for ti in instances)
        print(f"{now:5.0f} s  {dict(sorted(states.items()))}", flush=True)
        waiting = {ti["map_index"] for ti in instances if ti["state"] == "deferred"} & self._to_clear
        if waiting:
            self._to_clear -= waiting
            self._clear([("clip.video", index) for index in sorted(waiting)], "while deferred")
        return states

    def _is_over(self) -> bool:
        run = self._patiently(lambda: self.airflow.dag_run(DAG_ID, self.run_id))
        return run["state"] in ("success", "failed")

    def _to_be_cleared(self) -> dict[str, list[tuple[str, int]]]:
        """What a person is to clear, by its reason. Whatever else has failed stays as it is."""
        found: dict[str, list[tuple[str, int]]] = defaultdict(list)
        for ti in self._patiently(lambda: self.airflow.task_instances(DAG_ID, self.run_id)):
            if ti["state"] != "failed":
                continue
            log = self._log(ti)
            has_raised = re.search(r"^  [\w.]+: ", log, re.MULTILINE)  # a killed process cannot
            if "KlingTaskFailedError" in log:
                found["failed at Kling"].append((ti["task_id"], ti["map_index"]))
            elif FAILS_KILLED_TASKS and log and not has_raised and ti["try_number"] <= self.plan.retries:
                found["killed"].append((ti["task_id"], ti["map_index"]))
        return found

    def _clear(self, tasks: list[tuple[str, int]], why: str) -> None:
        self._say(f"clearing, {why}: {tasks}")
        self.done[f"cleared {why}"] += len(tasks)
        # Airflow 3.0 takes `include_downstream` for all places of a mapped task, and never starts a task again that was
        # running when it was cleared: each place by name, and its store.
        mapped: list[Any] = [
            [name, place]
            for task, place in tasks
            if place >= 0
            for name in dict.fromkeys((task, "clip.store"))
        ]
        others: list[Any] = [task for task, place in tasks if place < 0]
        for named, downstream in ((mapped, False), (others, True)):
            if named:
                clear = partial(self.airflow.clear, DAG_ID, self.run_id, named, include_downstream=downstream)
                self._patiently(clear)

    def _patiently(self, ask: Callable[[], T]) -> T:
        """Ask an api-server again that does not answer, or answers 500 because another holds SQLite's lock."""
        for _ in range(MOST_ASKS - 1):
            with contextlib.suppress(OSError):
                return ask()
            time.sleep(2)
        return ask()

    # --- the accounts -------------------------------------------------------------------------------

    def _count(self) -> Accounts:
        accounts = Accounts(self.plan.videos, done=self.done)
        self.done["answers spoiled"] = sum(bool(request.faults) for request in self.kling.requests)
        self.done["requests"] = len(self.kling.requests)
        self.kling.simulation.faults.clear()  # the accounts are looked at without them
        for point in POINTS:
            self.done[f"killed {point.replace('_', ' ')}"] = len(list(self.folder.glob(f"killed-{point}-*")))
        tasks = self.kling.tasks
        accounts.created = len(tasks)
        accounts.failed = sum(task.status == FAILED for task in tasks)
        charged = {charge.task_id for charge in self.kling.charges}
        accounts.paid = len(self.kling.charges)
        made = defaultdict(list)
        for task in tasks:
            if task.status != FAILED:
                made[task.body["prompt"]].append(task.task_id)
        accounts.duplicates = [f"{name}: {ids}" for name, ids in sorted(made.items()) if len(ids) > 1]
        stored = {path.name.partition("-")[0]: path for path in (self.folder / "videos").rglob("*.mp4")}
        good = {task_id for task_id, path in stored.items() if self._is_the_video(task_id, path)}
        accounts.stored = len(good & charged)
        accounts.orphans = sorted(charged - good)
        accounts.missing = [
            name
            for name in (f"video {number:04}" for number in range(self.plan.videos))
            if not set(made.get(name, [])) & good
        ]
        for ti in self._patiently(lambda: self.airflow.task_instances(DAG_ID, self.run_id)):
            if ti["state"] == "failed" and "KlingSubmissionUnknownError" in self._log(ti):
                accounts.unknown.append(f"video {ti['map_index']:04}")
        return accounts

    def _is_the_video(self, task_id: str, path: Path) -> bool:
        """Whether a stored file is, byte for byte, what Kling made of this task."""
        task = next((task for task in self.kling.tasks if task.task_id == task_id), None)
        if task is None or task.status != SUCCEED:
            return False
        request = urllib.request.Request(
            f"{self.kling.url}/v1/videos/image2video/{task_id}",
            headers={"Authorization": f"Bearer {self.kling.api_key}"},
        )
        with urllib.request.urlopen(request) as answer:
            url = json.load(answer)["data"]["task_result"]["videos"][0]["url"]
        with urllib.request.urlopen(url) as answer:
            return hashlib.sha256(answer.read()).digest() == hashlib.sha256(path.read_bytes()).digest()

    def _log(self, ti: dict[str, Any]) -> str:
        with contextlib.suppress(AirflowClientError, OSError):
            return self.airflow.task_log(
                DAG_ID, self.run_id, ti["task_id"], ti["try_number"], ti["map_index"]
            )
        return ""

    def _explain(self) -> str:
        with contextlib.suppress(AirflowClientError, OSError):
            return self.airflow.explain(DAG_ID, self.run_id, lines=12)
        return ""

    def _say(self, text: str) -> None:
        print(f"         {text}", flush=True)


@contextlib.contextmanager
def database(kind: str) -> Iterator[dict[str, str]]:
    """The setting that leads Airflow to its database."""
    if kind == "sqlite":
        yield {}
        return
    with PrivatePostgres() as postgres:
        yield {
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": postgres.url,
            "AIRFLOW__DATABASE__SQL_ALCHEMY_POOL_SIZE": "10",
        }


def make_pictures(folder: Path, count: int = 8) -> None:
    """Pictures that can be told apart."""
    from PIL import Image

    folder.mkdir()
    for number in range(count):
        shade = (30 * number, 250 - 30 * number, 120)
        Image.new("RGB", (320, 320), shade).save(folder / f"{number}.png")


def prepare(folder: Path, plan: Plan) -> None:
    """Lay out what the DAG reads: its plan, its pictures and itself, in ``dags``."""
    (folder / "plan.json").write_text(json.dumps(vars(plan), indent=1))
    make_pictures(folder / "pictures")
    shutil.copytree(
        ROOT / "scripts" / "chaos_dags", folder / "dags", ignore=shutil.ignore_patterns("__pycache__")
    )


def run(
    folder: Path,
    *,
    seed: int,
    videos: int,
    gateway: str,
    kind: str,
    parallelism: int = 5,
    most_seconds: float = 1200,
) -> Accounts:
    """Run it once.

    :param folder: for everything; kept by the caller.
    :param seed: of the plan.
    :param videos: how many are asked for.
    :param gateway: ``official`` or ``dmxapi``.
    :param kind: ``postgres`` or ``sqlite``.
    :param parallelism: workers.
    :param most_seconds: after which it is given up.
    """
    plan = Plan.draw(seed, videos, gateway, seconds=max(40.0, videos * 2.0))
    prepare(folder, plan)
    print(f"Seed {seed}, {videos} videos, {gateway}, {kind}. The plan: {folder / 'plan.json'}")
    print("Airflow runs with:", *(f"  {name}={value}" for name, value in AIRFLOW_SETTINGS.items()), sep="\n")
    with (
        SimulatorServer(speed=1, task_seconds=12, concurrency=20, seed=seed) as kling,
        database(kind) as where,
    ):
        auth = {"auth": "pair"} if gateway == "official" else {}
        env = {
            "AIRFLOW_CONN_KLING_DEFAULT": kling.connection_json(gateway, **auth),  # type: ignore[arg-type]
            "AIRFLOW__CORE__PARALLELISM": str(parallelism),
            "CHAOS_FOLDER": str(folder),
            "PYTHONPATH": str(ROOT),
            **AIRFLOW_SETTINGS,
            **where,
        }
        with PrivateAirflow(folder / "home", dags_folder=folder / "dags", env=env) as airflow:
            airflow.create_pool("kling", 20, include_deferred=True)
            airflow.wait_for_dag(DAG_ID)
            return Chaos(plan, gateway, folder, kling, airflow).run(most_seconds)


@contextlib.contextmanager
def folder_of_a_run(prefix: str) -> Iterator[Path]:
    """A new folder. If the run does not come to its end, whoever looks into it is told where it is.

    :param prefix: of its name.
    """
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    try:
        yield folder
    except BaseException:
        print(f"It did not come to its end. {LEFT.format(folder)}", flush=True)
        raise


def conclude(folder: Path, violations: Sequence[str], *, keep: bool) -> int:
    """Tell what did not hold, and leave the folder only to who has to look into it; returns the exit code.

    :param keep: leave it in any case.
    """
    for violation in violations:
        print(f"VIOLATION: {violation}")
    if violations or keep:
        print(LEFT.format(folder))
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if violations else 0


def main() -> int:
    """Run it and tell what it came to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--videos", type=int, default=200)
    parser.add_argument("--gateway", choices=("official", "dmxapi"), default="official")
    parser.add_argument("--database", choices=("postgres", "sqlite"), default="postgres")
    parser.add_argument("--parallelism", type=int, default=5)
    parser.add_argument("--keep", action="store_true", help="keep the folder also if all is well")
    told = parser.parse_args()
    if told.videos < LEAST_VIDEOS:
        parser.error(f"--videos: {LEAST_VIDEOS} at least, so that somebody dies at every point")
    leave_in_order()
    with folder_of_a_run("kling-chaos-") as folder:
        accounts = run(
            folder,
            seed=told.seed,
            videos=told.videos,
            gateway=told.gateway,
            kind=told.database,
            parallelism=told.parallelism,
        )
        print(accounts)
        return conclude(folder, accounts.violations(told.gateway) + accounts.spared(), keep=told.keep)


if __name__ == "__main__":
    sys.exit(main())
