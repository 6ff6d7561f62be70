"""What `make cluster` runs, and how it counts."""

from __future__ import annotations

import configparser
import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import pytest
import yaml

from scripts import chaos, cluster


def test_what_is_stored_once_for_each_is_good() -> None:
    row = cluster.count(["a", "b"], {"1": "a", "2": "b"}, ["1", "2"], 9.6)
    assert row.is_good
    assert str(row) == "| `kling_batch` | 2 | 2 | 0 | 2 | 2 | 0 | 0 | 10 s |"
    assert str(row).count("|") == cluster.HEAD.count("|")


@pytest.mark.parametrize(
    ("paid", "stored", "what"),
    [
        ({"1": "a", "2": "b", "3": "b"}, ["1", "2"], {"twice": 1, "lost": 1}),
        ({"1": "a", "2": "b"}, ["1"], {"twice": 0, "lost": 1}),
        ({"1": "a"}, ["1"], {"twice": 0, "lost": 0}),
    ],
)
def test_what_must_not_be_is_seen(paid: dict[str, str], stored: list[str], what: dict[str, int]) -> None:
    row = cluster.count(["a", "b"], paid, stored, 1)
    assert not row.is_good
    assert {"twice": row.twice, "lost": row.lost} == what


def test_the_example_has_the_schedule_that_is_taken_out() -> None:
    assert 'schedule="@daily"' in (chaos.ROOT / "dags" / f"{cluster.BATCH}.py").read_text()


def test_all_of_it_runs_twice_where_it_can() -> None:
    commands = cluster.Cluster.components
    assert set(commands) == {
        *("api-server", "scheduler", "dag-processor"),
        *cluster.WORKERS,
        *cluster.TRIGGERERS,
    }
    # What two workers on one machine must not share.
    assert len({part for name in cluster.WORKERS for part in commands[name] if "@" in part}) == 2
    assert len({part for name in cluster.WORKERS for part in commands[name] if part.endswith(".pid")}) == 2
    # Both triggerers together hold what the account may run, one alone does not.
    assert cluster.TRIGGERS_EACH < cluster.SLOTS <= cluster.TRIGGERS_EACH * len(cluster.TRIGGERERS)


def test_it_runs_with_the_settings_of_the_proof() -> None:
    env = cluster.settings("postgresql+psycopg2://airflow@127.0.0.1:1/airflow", "redis://127.0.0.1:2/0")
    assert chaos.AIRFLOW_SETTINGS.items() <= env.items()
    assert env["AIRFLOW__CORE__EXECUTOR"] == "CeleryExecutor"
    assert env["AIRFLOW__CELERY__RESULT_BACKEND"] == "db+postgresql+psycopg2://airflow@127.0.0.1:1/airflow"
    assert env["AIRFLOW__CELERY__BROKER_URL"] == "redis://127.0.0.1:2/0"


def test_a_run_in_which_nobody_died_is_no_proof(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Peace:
        """All videos are there, and the workers, triggerers and the scheduler were killed, but no task at a point."""

        def __init__(self, plan: chaos.Plan, *_: object) -> None:
            self.deaths = {"triggerer": [], "scheduler": []}
            self.asked = plan.videos

        def run(self, most_seconds: float) -> chaos.Accounts:
            done = Counter(f"{name} killed" for name in self.deaths)
            return chaos.Accounts(self.asked, self.asked, 0, self.asked, self.asked, done=done)

    monkeypatch.setattr(chaos, "Chaos", Peace)
    plan = chaos.Plan.draw(1, 20, "official", 60)
    row, wrong = cluster.run_chaos(cast(Any, None), cast(Any, None), tmp_path, plan)
    assert row.is_good
    assert wrong == [f"nobody was killed {point.replace('_', ' ')}" for point in chaos.POINTS]


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        (cluster, ["--videos", "0", "--chaos", "0"]),
        (cluster, ["--videos", "-1"]),
        (cluster, ["--chaos", "-1"]),
        (cluster, ["--chaos", "3"]),
        (chaos, ["--videos", "0"]),
        (chaos, ["--videos", "3"]),
    ],
)
def test_a_run_of_nothing_is_refused(
    command: ModuleType, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["make", *arguments])
    monkeypatch.setattr(command, "run", None)
    with pytest.raises(SystemExit) as ended:
        command.main()
    assert ended.value.code == 2


def test_a_clear_survives_an_api_server_whose_database_is_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As SQLite is when another process writes."""
    answers: list[Any] = [ConnectionError("500"), ConnectionError("500"), {}]
    asked = []

    class Locked:
        def clear(self, *arguments: Any, **options: Any) -> Any:
            asked.append((arguments, options))
            answer = answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

    monkeypatch.setattr(chaos.time, "sleep", lambda _: None)
    plan = chaos.Plan.draw(1, 20, "official", 60)
    run = chaos.Chaos(plan, "official", tmp_path, cast(Any, None), cast(Any, Locked()))
    run._clear([("clip.video", 3)], "while deferred")
    assert answers == []
    places = [["clip.video", 3], ["clip.store", 3]]
    assert asked[0] == asked[2] == (("chaos", "", places), {"include_downstream": False})
    assert run.done["cleared while deferred"] == 1


@pytest.mark.parametrize("name", ["chaos", "cluster"])
def test_who_is_stopped_says_where_everything_is(name: str, tmp_path: Path) -> None:
    code = f"""
import os, signal
from scripts import {name} as command
command.run = lambda *_, **__: os.kill(os.getpid(), signal.SIGTERM)
command.main()
"""
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=chaos.ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    (folder,) = tmp_path.glob(f"kling-{name}-*")
    assert done.returncode == 128 + signal.SIGTERM
    assert f"Logs, plan and videos are in {folder}." in done.stdout


def test_every_worker_and_the_other_triggerer_die_once() -> None:
    plan = chaos.Plan.draw(1, 100, "official", 200)
    deaths = cluster.more_deaths(plan)
    assert set(deaths) == {*cluster.WORKERS, "triggerer-2"}
    assert deaths == cluster.more_deaths(plan)
    assert all(20 <= at <= 150 for (at,) in deaths.values())


def test_the_page_names_the_settings_that_are_run() -> None:
    page = (chaos.ROOT / "docs/distributed.md").read_text()
    (ini,) = re.findall(r"^```ini\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    told = configparser.ConfigParser()
    told.read_string(ini)
    env = cluster.settings("postgresql+psycopg2://airflow@postgres/airflow", "redis://redis:6379/0")
    for section in told.sections():
        for name, value in told[section].items():
            assert env.get(f"AIRFLOW__{section}__{name}".upper()) == value, name


def test_the_values_for_the_chart_are_those_of_the_proof() -> None:
    page = (chaos.ROOT / "docs/distributed.md").read_text()
    (block,) = re.findall(r"^```yaml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    values = yaml.safe_load(block)
    recommended = {name.lower(): int(value) for name, value in chaos.AIRFLOW_SETTINGS.items()}
    for section in ("scheduler", "triggerer"):
        for name, value in values["config"][section].items():
            assert name == "capacity" or recommended[f"airflow__{section}__{name}"] == value
    (connection,) = yaml.safe_load(values["extraSecrets"]["kling"]["stringData"]).values()
    assert json.loads(connection)["extra"]["triggerers"] == values["triggerer"]["replicas"]
