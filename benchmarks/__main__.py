"""``make bench``: measure, print one table and what it means, write numbers and plots."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import plots, shows, table, throughput
from benchmarks.rows import RESULTS, Row, Show, read, write
from benchmarks.runner import rows_of
from benchmarks.scenarios import Scenario, plan
from benchmarks.throughput.row import Figures

ABOUT = """\
What waiting for videos costs: this package against what Airflow and others do, on the bundled simulator, which runs
in a process of its own. Two to three minutes with --quick, half an hour without.
"""
#: What is run besides the scenarios.
OTHERS = ("throughput", "airflow")
#: Made and stored on a real Airflow.
VIDEOS_OF_AIRFLOW = 30
NUMBERS, QUICK_NUMBERS = "bench.json", "quick.json"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; returns the exit code."""
    options = _parser().parse_args(arguments)
    others = [name for name in OTHERS if name in options.rows] if options.rows else list(OTHERS)
    wanted = [name for name in options.rows if name not in OTHERS]
    try:
        chosen = plan(quick=options.quick, wanted=wanted) if wanted or not options.rows else []
    except ValueError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    if options.list:
        print("\n".join(f"{row.name:26} {row.kind:8} {', '.join(row.peers)}" for row in chosen))
        print("\n".join(others))
        return 0
    start = time.monotonic()
    path = Path(options.results) / (QUICK_NUMBERS if options.quick else NUMBERS)
    run = Run.before(path) if options.rows else Run()

    def save() -> None:
        write(
            path,
            run.rows,
            shows.judge(run.rows),
            run.throughput,
            run.airflow,
            seed=options.seed,
            is_quick=options.quick,
        )

    is_whole = run.add(chosen, options.seed, save)
    if "throughput" in others:
        is_whole &= run.add_throughput(quick=options.quick)
    if "airflow" in others and not options.quick:
        is_whole &= run.add_airflow_costs()
    save()
    _print_shows(shows.judge(run.rows))
    pictures = [] if options.quick else plots.draw(run.rows, path.parent)
    print(f"\n{time.monotonic() - start:.0f} s; numbers in {path}" + "".join(f"; {one}" for one in pictures))
    if not options.quick:
        print("docs/capacity.md shows the last full run: python -m benchmarks.capacity --write")
    return 0 if is_whole else 1


@dataclass
class Run:
    """What was measured.

    :param rows: of the scenarios.
    :param throughput: of submits, stores and imports.
    :param airflow: what a video costs Airflow itself.
    """

    rows: list[Row] = field(default_factory=list)
    throughput: list[Figures] = field(default_factory=list)
    airflow: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def before(cls, path: Path) -> Run:
        """What an earlier run measured, where there is one."""
        try:
            told = read(path)
        except (FileNotFoundError, ValueError):
            return cls()
        return cls(told["rows"], told["throughput"], told["airflow"])

    def add(self, scenarios: Sequence[Scenario], seed: int, save: Callable[[], None]) -> bool:
        """Run scenarios and print their rows, which take the place of earlier ones; tells whether all ran.

        :param seed: of the durations.
        :param save: called after each.
        """
        is_whole = True
        if scenarios:
            print(table.header(), flush=True)
        for scenario in scenarios:
            rows: list[Row] = []
            try:
                for row in rows_of(scenario, seed):
                    rows.append(row)
                    print(table.line(row, table.ours_of(rows, row)), flush=True)
            except RuntimeError as error:
                is_whole = _failed(error)
            self.rows = [row for row in self.rows if row.scenario.split(" (")[0] != scenario.name] + rows
            save()
        if scenarios:
            print(table.legend())
        return is_whole

    def add_throughput(self, *, quick: bool) -> bool:
        """Run what does not depend on waiting."""
        self.throughput = []
        print()
        with tempfile.TemporaryDirectory(prefix="kling-bench-") as home:
            os.environ |= {"AIRFLOW_HOME": home, "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR"}
            logging.disable(logging.WARNING)
            try:
                for row in throughput.rows(quick=quick):
                    self.throughput.append(row)
                    print(table.throughput_line(row), flush=True)
            except Exception as error:  # the rest is measured all the same
                return _failed(error)
        return True

    def add_airflow_costs(self) -> bool:
        """Let a real Airflow make videos, for the capacity page."""
        from benchmarks.airflow_costs import measure

        try:
            self.airflow = measure(VIDEOS_OF_AIRFLOW)
        except Exception as error:  # a busy machine may not start an Airflow in time
            return _failed(error)
        print(
            "\nAirflow itself: "
            + ", ".join(f"{name} {table.number(one)}" for name, one in self.airflow.items())
        )
        return True


def _failed(error: Exception) -> bool:
    print(f"bench: {error}", file=sys.stderr)
    return False


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make bench", description=ABOUT)
    add = parser.add_argument
    add("--quick", action="store_true", help="two to three minutes instead of half an hour")
    add(
        "--rows",
        nargs="*",
        default=[],
        metavar="NAME",
        help=f"only these scenarios, or {' or '.join(OTHERS)}",
    )
    add("--seed", type=int, default=20261127, help="of the durations (%(default)s)")
    add("--list", action="store_true", help="say what would be run")
    add("--results", default=str(RESULTS), metavar="FOLDER", help="where numbers and plots go")
    return parser


def _print_shows(judged: Sequence[Show]) -> None:
    print()
    for show in judged:
        print(f"{'PASS' if show.passed else 'FAIL'}  {show.name}\n      {show.figures}")


if __name__ == "__main__":
    sys.exit(main())
