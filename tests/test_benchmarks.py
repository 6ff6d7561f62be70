"""The benchmark works, and what it writes can be read; how fast anything is, is no test."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from benchmarks import capacity, plots, shows, table
from benchmarks.clock import Clock
from benchmarks.durations import SIGMA, TYPICAL, Mix
from benchmarks.peers.table import PEERS
from benchmarks.rows import NUMBERS, Row, Show, read, write
from benchmarks.runner import rows_of
from benchmarks.scenarios import PLAN, Scenario, plan

ROOT = Path(__file__).parent.parent
has_others = pytest.mark.skipif(find_spec("runapi") is None, reason="needs the extra bench")
FAST = {"image2video": 30.0}


def run(**values: object) -> list[Row]:
    plain = {"name": "short", "kind": "batch", "waits": 3, "scale": 50, "medians": FAST, **values}
    return list(rows_of(Scenario(**plain), seed=1))  # type: ignore[arg-type]


def test_everybody_in_airflow_waits_for_three() -> None:
    names = ("kling", "threads", "sessions", "http-event", "http-sensor", "http-deferrable")
    ours, *others = run(peers=names, at_same_lag=("shared",))
    assert (ours.peer, ours.done, ours.lost, ours.early) == ("kling", 3, 0, 0)
    assert ours.requests is not None
    assert ours.lag is not None
    assert [row.peer for row in others] == [*names[1:], "shared"]
    for row in others:
        assert (row.done, row.lost) == (3, 0)
        assert row.requests
        # The HTTP provider's deferrable sensor takes any answer for the end.
        assert row.early == (3 if row.peer == "http-deferrable" else 0)
    assert [row.is_same_lag for row in others] == [False] * 5 + [True]


@has_others
def test_the_clients_of_the_registry_wait_with_their_own_loops() -> None:
    for row in run(peers=("runapi", "replicate"), scale=20):
        assert (row.done, row.lost, row.early, row.is_computed) == (3, 0, 0, False)
        assert row.requests is not None
        assert row.requests > 2
    (fal,) = run(peers=("fal",), scale=1, waits=1, medians={"image2video": 1.0})
    assert (fal.done, fal.lost, fal.early) == (1, 0, 0)


@pytest.mark.parametrize(
    ("account", "order", "is_shared"),
    [("lists", "shuffled", True), ("hidden", "oldest", False)],
)
def test_whatever_the_account_allows_is_measured(account: str, order: str, is_shared: bool) -> None:
    (row,) = run(account=account, order=order, is_shared=is_shared)
    assert (row.done, row.lost, row.early) == (3, 0, 0)
    assert row.account.startswith("shared") is is_shared
    assert order in row.account


def test_a_lone_wait_is_measured_before_and_after_it_has_learned() -> None:
    rows = run(kind="lone", lessons=(0, 3))
    assert [(row.scenario, row.waits, row.done, row.lost) for row in rows] == [
        ("short", 1, 3, 0),
        ("short (3 learned)", 1, 3, 0),
    ]


def test_a_window_measures_what_goes_on() -> None:
    (row,) = run(kind="window", scale=1, waits=20, warm=1.0, seconds=3.0)
    assert row.core_percent is not None
    assert row.loop_p99_ms is not None
    assert row.rss_kb is not None
    assert row.lost == 0


def test_the_clock_of_both_processes_is_the_same() -> None:
    clock = Clock.starting_now(50)
    assert Clock.read(str(clock)) == clock
    script = (
        "import sys; from benchmarks.clock import Clock, install; install(Clock.read(sys.argv[1]));"
        "import asyncio, time; a = time.perf_counter(), time.time(), time.monotonic(); asyncio.run(asyncio.sleep(20));"
        "time.sleep(20); b = time.perf_counter(), time.time(), time.monotonic();"
        "print(*(after - before for before, after in zip(a, b)))"
    )
    told = subprocess.run(
        [sys.executable, "-c", script, str(clock)], capture_output=True, text=True, check=True, cwd=ROOT
    )
    real, wall, monotonic = (float(word) for word in told.stdout.split())
    assert real < 40
    assert wall == pytest.approx(50 * real, rel=0.1)
    assert monotonic == pytest.approx(wall, rel=0.1)


def test_the_seed_decides_how_long_videos_take() -> None:
    def drawn(seed: int) -> list[float]:
        return [job.seconds for job in Mix(TYPICAL, SIGMA, seed).new(5)]

    assert drawn(1) == drawn(1) != drawn(2)
    mix = Mix(TYPICAL, SIGMA, 1)
    assert sum(job.seconds for job in mix.new(5000)) / 5000 == pytest.approx(mix.mean, rel=0.05)
    old = mix.under_way(5000)
    assert all(0 <= job.age <= job.seconds for job in old)
    assert sum(job.seconds for job in old) / 5000 > mix.mean  # the longer ones are met more often


def test_scenarios_are_chosen_by_name_and_survive_the_command_line() -> None:
    assert [row.name for row in plan(quick=False, wanted=["mix-1000"])] == ["mix-1000"]
    assert len(plan(quick=False, wanted=["lone"])) == 1
    assert len(plan(quick=False, wanted=["lone, default"])) == 2
    with pytest.raises(ValueError, match="no scenario begins with 'fast'"):
        plan(quick=True, wanted=["fast"])
    for row in PLAN:
        assert Scenario.read(row.to_json()) == row
        assert set(row.peers) | set(row.at_same_lag) <= set(PEERS)


def row_of(scenario: str, peer: str, waits: int, **values: object) -> Row:
    return Row(scenario, peer, waits, **{"done": waits, "requests": 1.0, "cpu_ms": 1.0, "lag": 3.0, **values})  # type: ignore[arg-type]


ROWS = [
    row_of("lone", "kling", 1, requests=7.0),
    row_of("mix-1000", "kling", 1000, requests=0.3),
    row_of("mix-1000", "shared", 1000, requests=40.0, cpu_ms=40.0, interval=6.0, is_same_lag=True),
    row_of("mix-1000", "fal", 1000, requests=2000.0, cpu_ms=None, interval=0.1, is_computed=True),
    row_of("memory-1000", "kling", 1000, heap_kb=5.0, requests=None, cpu_ms=None, lag=None),
]
AIRFLOW = {"videos": 30.0, "starts_per_second": 2.0, "rows of xcom": 10.0, "rows of task_instance": 2.0}


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "results" / "bench.json"
    write(path, ROWS, [Show("fast", True, "1 s")], [{"name": "submits"}], AIRFLOW, seed=5, is_quick=True)
    told = read(path)
    assert told["rows"] == ROWS
    assert (told["seed"], told["is_quick"], told["throughput"], told["airflow"]) == (
        5,
        True,
        [{"name": "submits"}],
        AIRFLOW,
    )
    assert set(told["machine"]) == {"cores", "python", "airflow"}
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema": 0}))
    with pytest.raises(ValueError, match="has schema 0"):
        read(path)


def test_promises_are_held_against_the_figures() -> None:
    kept = {show.name: show.passed for show in shows.judge(ROWS)}
    assert kept == {
        "1,000 waits, per task, one session at the same lag: 100x requests, 30x CPU": True,
        "mix-1000: at most 0.5 requests per task": True,
        "lone: lag at most 5 s, at most 8 requests": True,
    }
    worse = [row_of("mix-1000", "kling", 1000, requests=0.6), *ROWS[2:], row_of("lone", "kling", 1, lag=5.1)]
    assert [show.passed for show in shows.judge(worse)] == [False] * 3


def test_the_table_tells_how_many_times_ours_the_others_are() -> None:
    line = table.line(ROWS[2], ROWS[1])
    assert "per task, one session" in line
    assert "6 s =lag" in line
    assert "40 (133x)" in line
    assert "~2,000 (6,667x)" in table.line(ROWS[3], ROWS[1])


@pytest.mark.skipif(find_spec("matplotlib") is None, reason="needs the extra bench")
def test_a_picture_is_drawn(tmp_path: Path) -> None:
    (path,) = plots.draw(ROWS, tmp_path)
    assert path.read_bytes().startswith(b"\x89PNG")


def test_every_need_changes_what_is_sized(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bench.json"
    write(path, ROWS, [], [], AIRFLOW, seed=5, is_quick=False)

    def told(*arguments: str) -> str:
        assert capacity.main(["--numbers", str(path), *arguments]) == 0
        return capsys.readouterr().out

    usual = told()
    assert usual.splitlines()[0].count("|") == len(capacity.LADDER) + 2
    names = (
        "seconds",
        "peak",
        "megabytes",
        "pack",
        "starts",
        "start-seconds",
        "starts-per-second",
        "waits",
        "workers",
    )
    for name in names:
        assert told(f"--{name}", "1.5") != usual, name
    assert "| videos per day | 36 |" in told("--videos-per-day", "36")
    with pytest.raises(SystemExit):
        capacity.main(["--pack", "0"])


def test_a_run_that_is_not_whole_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "quick.json"
    write(path, ROWS[:2], [], [], {}, seed=5, is_quick=True)
    assert capacity.main(["--numbers", str(path)]) == 2
    assert "has no scenario memory-..." in capsys.readouterr().err


def test_the_page_shows_what_the_script_says() -> None:
    page = capacity.PAGE.read_text(encoding="utf-8")
    assert capacity.section(capacity.Measured.of(read(NUMBERS))) in page
    assert "write" in capacity.BEGIN  # which says how to mend it


def test_the_numbers_and_the_picture_are_of_a_full_run() -> None:
    told = read(NUMBERS)
    assert not told["is_quick"]
    assert (NUMBERS.parent / plots.PICTURE).exists()
    assert {row.scenario.split(" (")[0] for row in told["rows"]} <= {row.name for row in PLAN}
    assert {row.peer for row in told["rows"]} <= set(PEERS)
