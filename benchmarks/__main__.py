"""``make bench``: measure, print one table and what it means, write numbers and plots."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import plots, shows, table
from benchmarks.rows import RESULTS, Row, Show, read, write
from benchmarks.runner import rows_of
from benchmarks.scenarios import plan

ABOUT = """\
What waiting for videos costs: this package against what Airflow and others do, on the bundled simulator, which runs
in a process of its own. Two to three minutes with --quick, half an hour without.
"""
NUMBERS, QUICK_NUMBERS = "bench.json", "quick.json"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        chosen = plan(quick=options.quick, wanted=options.rows)
    except ValueError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    if options.list:
        print("\n".join(f"{row.name:26} {row.kind:8} {', '.join(row.peers)}" for row in chosen))
        return 0
    path = Path(options.results) / (QUICK_NUMBERS if options.quick else NUMBERS)
    start, rows, throughput = time.monotonic(), list[Row](), list[Mapping[str, Any]]()
    print(table.header(), flush=True)
    failed = 0
    for scenario in chosen:
        try:
            for row in rows_of(scenario, options.seed):
                rows.append(row)
                print(table.line(row, table.ours_of(rows, row)), flush=True)
        except RuntimeError as error:
            failed += 1
            print(f"bench: {error}", file=sys.stderr)
    print(table.LEGEND)
    if options.rows:  # the rest stays as it was
        rows, throughput = _merged(path, rows)
    else:
        throughput = list(_throughput(quick=options.quick))
    judged = shows.judge(rows)
    _print_shows(judged)
    write(path, rows, judged, throughput, seed=options.seed, is_quick=options.quick)
    pictures = [] if options.quick else plots.draw(rows, path.parent)
    print(f"\n{time.monotonic() - start:.0f} s; numbers in {path}" + "".join(f"; {one}" for one in pictures))
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make bench", description=ABOUT)
    add = parser.add_argument
    add("--quick", action="store_true", help="two to three minutes instead of half an hour")
    add(
        "--rows",
        nargs="*",
        default=[],
        metavar="NAME",
        help="only these scenarios, by the beginning of the name",
    )
    add("--seed", type=int, default=20261127, help="of the durations (%(default)s)")
    add("--list", action="store_true", help="say what would be run")
    add("--results", default=str(RESULTS), metavar="FOLDER", help="where numbers and plots go")
    return parser


def _merged(path: Path, rows: list[Row]) -> tuple[list[Row], list[Mapping[str, Any]]]:
    """What an earlier run measured, with the new rows in their place."""
    try:
        before = read(path)
    except (FileNotFoundError, ValueError):
        return rows, []
    measured = {row.scenario.split(" (")[0] for row in rows}
    kept = [row for row in before["rows"] if row.scenario.split(" (")[0] not in measured]
    return kept + rows, before["throughput"]


def _throughput(*, quick: bool) -> Iterator[Mapping[str, Any]]:
    """Submits, stores and imports, which have a benchmark of their own."""
    yield from ()


def _print_shows(judged: Sequence[Show]) -> None:
    print()
    for show in judged:
        print(f"{'PASS' if show.passed else 'FAIL'}  {show.name}\n      {show.figures}")


if __name__ == "__main__":
    sys.exit(main())
