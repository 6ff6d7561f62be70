"""``make matrix``: the tests on every Airflow, Python and database that is supported, and the table of it.

A cell gets an environment below .matrix/ with the versions its file in constraints/ pins, and runs the tests that
need no scheduler there. Once for each Airflow and database follows a small ``make chaos``: a real scheduler, its
workers and triggerer on the cell's database, killed at every point. The newest Airflow gets every Python with every
database, each older one a pair, and one cell the lowest versions that pyproject.toml allows.

    make matrix                                             # everything; more than an hour
    make matrix ARGS="--list"                               # the cells, and which Python each would get
    make matrix ARGS="--cells '3.2-*' 'newest-py3.13-*'"    # some cells
    make matrix ARGS="--tests tests/operators --videos 0"   # some tests, without the chaos

After each cell, its row in docs/matrix.md is written anew, with what was run. It ends with 1 if a test failed, or if
what a cell needs (its Python, its packages, PostgreSQL) could not be had.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import re
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from scripts.postgres import PostgresError, PrivatePostgres
from scripts.processes import Programs, leave_in_order

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / ".matrix"
PAGE = ROOT / "docs" / "matrix.md"
BEGIN, END = "<!-- make matrix: begin -->", "<!-- make matrix: end -->"
HEAD = "| Airflow | Python | database | what was run | passed | failed | skipped | chaos | took |"
PYTHONS = ("3.11", "3.12", "3.13")
DATABASES = ("sqlite", "postgres")
EXTRAS = "simulator,s3,dev"
#: Processes of pytest, as in the Makefile.
PROCESSES = 4
#: Their databases; the main one is for a run without -n.
WORKERS = ("main", *(f"gw{number}" for number in range(PROCESSES)))
#: In which a chaos stops its Airflow and its database; then it is killed.
GRACE_SECONDS = 30.0
ALL_TESTS = "all tests"
NOT_RUN = "not run yet"
#: Asks a Python for its version; an incomplete one cannot answer.
VERSION = "import ssl, sqlite3, sys; print('%d.%d' % sys.version_info[:2])"


@dataclass(frozen=True)
class Cell:
    """One combination.

    :param lock: name of its file in constraints/.
    :param python: version of Python, without the patch.
    :param database: ``sqlite`` or ``postgres``.
    """

    lock: str
    python: str
    database: str

    @property
    def name(self) -> str:
        """What ``--cells`` is compared with."""
        return f"{self.lock}-py{self.python}-{self.database}"

    @property
    def constraints(self) -> Path:
        """The versions it is made of."""
        return ROOT / "constraints" / f"{self.lock}.txt"

    @property
    def airflow(self) -> str:
        """The version of Airflow, as the table tells it."""
        pinned = re.search(r"^apache-airflow==(\S+)", self.constraints.read_text(), re.MULTILINE)
        if pinned is None:
            raise ValueError(f"{self.constraints} pins no apache-airflow; `make lock` writes it.")
        return f"{pinned[1]}, lowest versions" if self.lock == "lowest" else pinned[1]

    @property
    def key(self) -> tuple[str, str, str]:
        """Its first three columns in the table."""
        return self.airflow, self.python, {"sqlite": "SQLite", "postgres": "PostgreSQL"}[self.database]

    @property
    def home(self) -> Path:
        """Its environment, shared by both databases."""
        return FOLDER / f"{self.lock}-py{self.python}"


#: Airflow 3.0 refuses Python 3.13.
PLAN = (
    *(Cell("newest", python, database) for python in PYTHONS for database in DATABASES),
    Cell("3.2", "3.13", "sqlite"),
    Cell("3.1", "3.12", "postgres"),
    Cell("3.0", "3.12", "postgres"),
    Cell("lowest", "3.11", "sqlite"),
)


@dataclass(frozen=True)
class Result:
    """What became of a cell.

    :param code: exit code of pytest. An interrupted one may have written a report in which nothing has failed.
    """

    what: str
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    chaos: str = "-"
    seconds: float = 0
    code: int = 0

    @property
    def is_good(self) -> bool:
        """Whether tests were run and nothing went wrong."""
        return self.code == 0 and self.passed > 0 and self.failed == 0 and self.chaos != "failed"

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns of the table but those of the cell."""
        numbers = (self.passed, self.failed, self.skipped)
        ended = f"; pytest ended with {self.code}" if self.code and not self.failed else ""
        return self.what + ended, *map(str, numbers), self.chaos, f"{self.seconds / 60:.0f} min"


def has_chaos(cell: Cell) -> bool:
    """Whether the cell is the first with its Airflow and database; another Python dies no other deaths."""
    return cell == next(one for one in PLAN if (one.lock, one.database) == (cell.lock, cell.database))


class NoPythonError(RuntimeError):
    """This machine has no such Python and cannot get it."""


def find_python(version: str) -> Path:
    """Find a Python that works: uv's, one on the PATH, one of pyenv; else let uv fetch it.

    :param version: without the patch.
    :raises NoPythonError: if none of that gives one.
    """
    uv = str(Path(sys.executable).with_name("uv"))
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    find = [uv, "python", "find", "--no-project", "--no-python-downloads", "--system", version]
    for attempt in ("here", "fetched"):
        found = subprocess.run(find, capture_output=True, text=True, check=False).stdout.split()
        for path in (*map(Path, found), *sorted(pyenv.glob(f"{version}.*/bin/python"), reverse=True)):
            if _version_of(path) == version:
                return path
        if attempt == "here":
            subprocess.run([uv, "python", "install", "--quiet", version], capture_output=True, check=False)
    raise NoPythonError(
        f"There is no Python {version} here, and `uv python install {version}` cannot fetch one. Install it with your "
        f"system's packages or with `pyenv install {version}`."
    )


def _version_of(python: Path) -> str:
    with contextlib.suppress(OSError):
        done = subprocess.run([python, "-c", VERSION], capture_output=True, text=True, check=False)
        return done.stdout.strip()
    return ""


def make_environment(cell: Cell) -> Path:
    """Make the cell's environment, unless it is there; give its Python."""
    python, stamp = cell.home / "bin" / "python", cell.home / "made-of"
    made_of = hashlib.sha256(
        cell.constraints.read_bytes() + (ROOT / "pyproject.toml").read_bytes()
    ).hexdigest()
    if stamp.exists() and stamp.read_text() == made_of:
        return python
    uv = str(Path(sys.executable).with_name("uv"))
    if _version_of(python) != cell.python:
        subprocess.run(
            [uv, "venv", "--quiet", "--clear", "--python", find_python(cell.python), cell.home], check=True
        )
    install = [uv, "pip", "install", "--quiet", "--python", str(python)]
    subprocess.run(
        [*install, "--constraint", cell.constraints, "--editable", f"{ROOT}[{EXTRAS}]"], check=True
    )
    stamp.write_text(made_of)
    return python


@contextlib.contextmanager
def database(cell: Cell) -> Iterator[dict[str, str]]:
    """The setting that leads the tests to a database of their own."""
    if cell.database == "sqlite":
        yield {}
        return
    with PrivatePostgres() as postgres:
        for worker in WORKERS:
            postgres.create_database(worker)
        yield {"TEST_POSTGRES": postgres.server}


def run(cell: Cell, tests: Sequence[str], videos: int) -> Result:
    """Run one cell.

    :param tests: what pytest is given; empty for all.
    :param videos: of the chaos, where the cell has one; 0 for none.
    :raises NoPythonError: if its Python cannot be had.
    :raises PostgresError: if its database cannot be had.
    :raises subprocess.CalledProcessError: if its environment cannot be made; what uv says of it has been printed.
    """
    python = make_environment(cell)
    report, log = FOLDER / f"{cell.name}.xml", FOLDER / f"{cell.name}.log"
    for left in (report, log):
        left.unlink(missing_ok=True)
    began = time.monotonic()
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with database(cell) as where:
        command = [str(python), "-m", "pytest", "-m", "not live", "-n", str(PROCESSES)]
        command += ["--dist", "worksteal", "-p", "no:cacheprovider", f"--junitxml={report}", *tests]
        code = _run(command, log, environment | where)
    chaos = "-"
    if videos and has_chaos(cell):
        command = [str(python), "-m", "scripts.chaos", f"--videos={videos}", f"--database={cell.database}"]
        chaos = "failed" if _run(command, log, environment) else f"{videos} videos"
    what = " ".join(tests) or ALL_TESTS
    return Result(what, **read_report(report), chaos=chaos, seconds=time.monotonic() - began, code=code)


def _run(command: Sequence[str], log: Path, environment: Mapping[str, str]) -> int:
    """Run a command to its end, or stop it and all it has started when this process is stopped; gives its exit code."""
    programs = Programs()
    try:
        return programs.start("cell", command, log=log, env=environment, cwd=ROOT, grace=GRACE_SECONDS).wait()
    finally:
        programs.stop()


def read_report(report: Path) -> dict[str, int]:
    """Count what pytest has written; nothing if it has not come so far."""
    if not report.exists():
        return {"passed": 0, "failed": 1, "skipped": 0}
    suites = list(ET.parse(report).getroot().iter("testsuite"))  # noqa: S314 - pytest has just written it
    count = {name: sum(int(suite.get(name, 0)) for suite in suites) for name in ("tests", "skipped")}
    failed = sum(int(suite.get(name, 0)) for suite in suites for name in ("failures", "errors"))
    return {
        "passed": count["tests"] - count["skipped"] - failed,
        "failed": failed,
        "skipped": count["skipped"],
    }


def read_table(page: str) -> dict[tuple[str, ...], tuple[str, ...]]:
    """The rows of the page: the columns of a cell, and what became of it."""
    rows = page.partition(BEGIN)[2].partition(END)[0].strip().splitlines()[2:]
    found = [tuple(column.strip() for column in row.strip("|").split("|")) for row in rows]
    return {columns[:3]: columns[3:] for columns in found}


def write_table(page: str, results: Mapping[Cell, Result]) -> str:
    """The page with the rows of what was run written anew, and without rows of cells that are no more."""
    before = read_table(page)
    unknown = (NOT_RUN, *["-"] * 5)
    rows = [
        (*cell.key, *(results[cell].columns if cell in results else before.get(cell.key, unknown)))
        for cell in PLAN
    ]
    table = [HEAD, re.sub(r"[^|]+", "---", HEAD), *(f"| {' | '.join(row)} |" for row in rows)]
    head, rest = page.split(BEGIN)
    return "\n".join([f"{head}{BEGIN}", *table, f"{END}{rest.partition(END)[2]}"])


def main() -> int:
    """Run the cells that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--cells", nargs="+", default=["*"], metavar="PATTERN", help="names, as --list tells them"
    )
    parser.add_argument("--tests", nargs="+", default=[], metavar="PATH", help="instead of all tests")
    parser.add_argument("--videos", type=int, default=20, help="of the chaos; 0: no chaos (default: 20)")
    parser.add_argument("--list", action="store_true", help="only tell the cells")
    told = parser.parse_args()
    cells = [cell for cell in PLAN if any(fnmatch(cell.name, pattern) for pattern in told.cells)]
    if not cells:
        parser.error(f"no cell is named {' or '.join(told.cells)}")
    FOLDER.mkdir(exist_ok=True)
    leave_in_order()
    results: dict[Cell, Result] = {}
    missing: list[str] = []
    for cell in cells:
        try:
            if told.list:
                print(f"{cell.name:32}{find_python(cell.python)}", flush=True)
                continue
            print(f"{cell.name}: Airflow {cell.airflow}; {FOLDER / cell.name}.log", flush=True)
            results[cell] = run(cell, told.tests, told.videos)
            print(f"    {' | '.join(results[cell].columns)}", flush=True)
            PAGE.write_text(write_table(PAGE.read_text(), results))
        except (NoPythonError, PostgresError, subprocess.CalledProcessError) as error:
            missing.append(cell.name)
            print(f"{cell.name}: NOT RUN. {error}", flush=True)
    if results:
        ran = write_table(f"{BEGIN}{END}", results).splitlines()[1:-1]
        print("", *(row for row in ran if NOT_RUN not in row), sep="\n")
    bad = [cell.name for cell, result in results.items() if not result.is_good]
    for names, what in ((bad, "Failed"), (missing, "Not run")):
        if names:
            print(f"{what}: {', '.join(names)}.")
    return 1 if bad or missing else 0


if __name__ == "__main__":
    sys.exit(main())
