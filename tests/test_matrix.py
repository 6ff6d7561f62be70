"""The matrix covers what is promised, and its page tells of every cell."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

from scripts import matrix

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CELL = matrix.Cell("3.1", "3.12", "postgres")


def test_the_newest_airflow_is_run_with_every_python_and_database() -> None:
    assert Counter((cell.python, cell.database) for cell in matrix.PLAN if cell.lock == "newest") == Counter(
        (python, database) for python in matrix.PYTHONS for database in matrix.DATABASES
    )


def test_every_airflow_since_the_oldest_is_there() -> None:
    minors = {".".join(cell.airflow.split(".")[:2]) for cell in matrix.PLAN}
    newest = int(matrix.Cell("newest", "3.11", "sqlite").airflow.split(".")[1])
    assert minors == {f"3.{minor}" for minor in range(newest + 1)}


def test_the_pythons_are_those_of_the_metadata() -> None:
    prefix = "Programming Language :: Python :: "
    named = [line.removeprefix(prefix) for line in PROJECT["classifiers"] if line.startswith(prefix)]
    assert named == list(matrix.PYTHONS)
    assert PROJECT["requires-python"] == f">={matrix.PYTHONS[0]}"
    assert {cell.python for cell in matrix.PLAN} == set(matrix.PYTHONS)


def test_the_lowest_airflow_of_the_metadata_is_a_cell() -> None:
    (airflow,) = [line for line in PROJECT["dependencies"] if line.startswith("apache-airflow>")]
    versions = {cell.airflow.split(",")[0] for cell in matrix.PLAN}
    assert airflow.partition(">=")[2] in versions
    assert all(version in SpecifierSet(airflow.removeprefix("apache-airflow")) for version in versions)
    assert any(cell.lock == "lowest" for cell in matrix.PLAN)


def test_there_is_chaos_once_for_each_airflow_and_database() -> None:
    pairs = Counter((cell.lock, cell.database) for cell in matrix.PLAN if matrix.has_chaos(cell))
    assert pairs == Counter({(cell.lock, cell.database) for cell in matrix.PLAN})


def test_the_page_tells_of_every_cell_and_of_no_other() -> None:
    assert list(matrix.read_table(matrix.PAGE.read_text())) == [cell.key for cell in matrix.PLAN]


def test_a_run_writes_its_rows_and_leaves_the_others() -> None:
    empty = f"Above.\n\n{matrix.BEGIN}\n{matrix.END}\n\nBelow.\n"
    first = matrix.write_table(
        empty, {matrix.PLAN[0]: matrix.Result("all tests", 10, 0, 1, "10 videos", 99.6)}
    )
    page = matrix.write_table(first, {matrix.PLAN[1]: matrix.Result("tests/api", 5, 1, 0)})
    table = matrix.read_table(page)
    assert table[matrix.PLAN[0].key] == ("all tests", "10", "0", "1", "10 videos", "2 min")
    assert table[matrix.PLAN[1].key] == ("tests/api", "5", "1", "0", "-", "0 min")
    assert table[matrix.PLAN[2].key][0] == matrix.NOT_RUN
    assert page.startswith("Above.\n\n")
    assert page.endswith("\n\nBelow.\n")
    assert matrix.write_table(page, {}) == page


def test_the_row_of_a_cell_that_is_no_more_goes() -> None:
    row = "| 2.11.0 | 3.9 | SQLite | all tests | 1 | 0 | 0 | - | 1 s |"
    page = f"{matrix.BEGIN}\n{matrix.HEAD}\n| --- |\n{row}\n{matrix.END}"
    assert "2.11.0" not in matrix.write_table(page, {})


def test_what_pytest_wrote_is_counted(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    assert matrix.read_report(report) == {"passed": 0, "failed": 1, "skipped": 0}
    report.write_text('<testsuites><testsuite tests="9" failures="2" errors="1" skipped="3"/></testsuites>')
    assert matrix.read_report(report) == {"passed": 3, "failed": 3, "skipped": 3}


@pytest.mark.parametrize(
    ("result", "is_good"),
    [
        (matrix.Result("all tests", passed=1), True),
        (matrix.Result("all tests", passed=1, chaos="10 videos"), True),
        (matrix.Result("all tests", passed=0), False),
        (matrix.Result("all tests", passed=1, failed=1), False),
        (matrix.Result("all tests", passed=1, chaos="failed"), False),
        (matrix.Result("all tests", passed=1, code=2), False),
    ],
)
def test_only_what_ran_and_did_not_fail_is_good(result: matrix.Result, is_good: bool) -> None:
    assert result.is_good is is_good


def test_a_python_is_found_by_its_version_and_must_be_whole(tmp_path: Path) -> None:
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert matrix._version_of(Path(sys.executable)) == here
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    assert matrix._version_of(broken) == ""
    assert matrix._version_of(tmp_path / "nothing") == ""


def test_what_cannot_be_had_is_said_and_is_no_success(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def nothing(version: str) -> Path:
        raise matrix.NoPythonError(f"There is no Python {version} here.")

    monkeypatch.setattr(matrix, "find_python", nothing)
    monkeypatch.setattr(sys, "argv", ["matrix", "--list", "--cells", "3.1-*"])
    assert matrix.main() == 1
    said = capsys.readouterr().out
    assert f"{CELL.name}: NOT RUN. There is no Python 3.12 here." in said
    assert f"Not run: {CELL.name}." in said


@pytest.mark.parametrize(
    "error", [matrix.PostgresError("no server"), subprocess.CalledProcessError(2, ["uv", "pip", "install"])]
)
def test_what_a_cell_lacks_is_no_end_of_the_others(
    error: Exception,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def run(cell: matrix.Cell, *_: object) -> matrix.Result:
        if cell == CELL:
            raise error
        return matrix.Result("all tests", passed=1)

    page = tmp_path / "matrix.md"
    page.write_text(matrix.PAGE.read_text())
    monkeypatch.setattr(matrix, "PAGE", page)
    monkeypatch.setattr(matrix, "run", run)
    monkeypatch.setattr(matrix, "leave_in_order", lambda: None)
    monkeypatch.setattr(sys, "argv", ["matrix", "--cells", CELL.name, "3.0-*"])
    assert matrix.main() == 1
    said = capsys.readouterr().out
    assert f"{CELL.name}: NOT RUN. {error}" in said
    assert "3.0-py3.12-postgres: Airflow" in said
    assert f"Not run: {CELL.name}." in said
    assert "Failed" not in said


def test_a_pytest_that_was_interrupted_is_no_success(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(command: list[str], log: Path, environment: object) -> int:
        (report,) = [part.partition("=")[2] for part in command if part.startswith("--junitxml=")]
        Path(report).write_text(
            '<testsuites><testsuite tests="9" failures="0" errors="0" skipped="3"/></testsuites>'
        )
        return 2

    monkeypatch.setattr(matrix, "FOLDER", tmp_path)
    monkeypatch.setattr(matrix, "make_environment", lambda cell: Path(sys.executable))
    monkeypatch.setattr(matrix, "_run", interrupted)
    result = matrix.run(matrix.PLAN[0], [], videos=0)
    assert (result.passed, result.failed, result.is_good) == (6, 0, False)
    assert result.columns[0] == "all tests; pytest ended with 2"


def lives(pid: int) -> bool:
    """Whether the process is there; one that is dead may wait for somebody to read its exit code."""
    with contextlib.suppress(FileNotFoundError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


#: `make matrix` with a cell that says who it is, and cleans up when it is asked to end.
STOPPED = """
import os, sys
from pathlib import Path
from scripts import matrix
shell = 'trap "touch cleaned; exit" TERM; cd {folder}; sleep 60 & echo $$ $! > pids; wait'
matrix.run = lambda *_: matrix._run(["sh", "-c", shell], Path("{folder}/log"), os.environ)
sys.argv = ["matrix", "--cells", "newest-py3.11-sqlite"]
matrix.main()
"""


def test_whoever_is_stopped_leaves_nothing_running(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pids")
    with subprocess.Popen(
        [sys.executable, "-c", STOPPED.format(folder=tmp_path)], cwd=ROOT, stdout=subprocess.DEVNULL
    ) as make:
        pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
        try:
            make.terminate()
            assert make.wait() == 128 + signal.SIGTERM
            assert (tmp_path / "cleaned").exists()
            assert [pid for pid in pids if lives(pid)] == []
        finally:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def test_a_pattern_that_fits_no_cell_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["matrix", "--cells", "2.11-*"])
    with pytest.raises(SystemExit) as ended:
        matrix.main()
    assert ended.value.code == 2
