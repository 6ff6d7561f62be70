"""The table of a run, for a terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from benchmarks.peers.table import PEERS
from benchmarks.rows import Row
from benchmarks.throughput.row import Figures

#: Heading -> what stands below it; a number is followed by how many times ours it is.
COLUMNS: Mapping[str, Callable[[Row], float | None]] = {
    "requests": lambda row: row.requests,
    "CPU ms": lambda row: row.cpu_ms,
    "lag s": lambda row: row.lag,
    "p95": lambda row: row.lag_p95,
    "RSS KB": lambda row: row.rss_kb,
    "heap KB": lambda row: row.heap_kb,
    "% core": lambda row: row.core_percent,
    "loop p99 ms": lambda row: row.loop_p99_ms,
    "max": lambda row: row.loop_max_ms,
}
WITH_RATIO = frozenset({"requests", "CPU ms", "heap KB", "% core"})
LEGEND = """\
requests, CPU: per waited task; the account's view, the worker's ask included, and the waiting process's CPU only.
lag: from the end of the task at Kling to the waiter's knowing. (12x): twelve times ours in the same scenario.
~ computed as duration by interval, because so many requests per second would measure this machine.
clock 20x: 20 s pass in one, for client and server; CPU is real, shares of a core and loop lag need a clock of 1x.
=lag: at the interval whose mean lag is ours."""


def legend() -> str:
    """What stands below: the columns, and what has to be known about the others."""
    return "\n".join([LEGEND, *(f"{peer.name}: {peer.note}." for peer in PEERS.values() if peer.note)])


def header() -> str:
    """The first line."""
    return _line(["scenario", "waits", "clock", "who", "every", *COLUMNS, "ended", "lost", "early"])


def line(row: Row, ours: Row | None) -> str:
    """One row.

    :param ours: the row of this package in the same scenario, for the ratios.
    """
    every = (
        "-"
        if row.interval is None or row.is_ours
        else f"{row.interval:.3g} s{' =lag' if row.is_same_lag else ''}"
    )
    cells = [row.scenario, f"{row.waits:,}", f"{row.scale:g}x", PEERS[row.peer].name, every]
    cells += [_cell(name, row, ours) for name in COLUMNS]
    return _line([*cells, f"{row.done:,}", str(row.lost), str(row.early)])


def throughput_line(row: Figures) -> str:
    """A row of :mod:`benchmarks.throughput`."""
    others = (
        f"{who} {number(one)} ({number(row['ratio'][who])}x)" for who, one in row["alternatives"].items()
    )
    return f"{row['name']:28} {number(row['ours'])} {row['unit']}; " + ", ".join(others)


def ours_of(rows: Sequence[Row], row: Row) -> Row | None:
    """This package's row of the same scenario."""
    return next((one for one in rows if one.is_ours and one.scenario == row.scenario), None)


def ratio(value: float | None, ours: float | None) -> float | None:
    """How many times ours a value is."""
    return None if not value or not ours else value / ours


def number(value: float | None) -> str:
    """A number with the digits that mean something."""
    if value is None:
        return "-"
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _cell(name: str, row: Row, ours: Row | None) -> str:
    value = COLUMNS[name](row)
    text = ("~" if row.is_computed and value is not None else "") + number(value)
    if row.is_ours or ours is None or name not in WITH_RATIO:
        return text
    times = ratio(value, COLUMNS[name](ours))
    return text if times is None else f"{text} ({number(times)}x)"


_WIDTHS = (37, 6, 5, 27, 13, 14, 14, 7, 7, 7, 13, 13, 11, 7, 6, 5, 5)


def _line(cells: Sequence[str]) -> str:
    return " ".join(cell.ljust(width) for cell, width in zip(cells, _WIDTHS, strict=True)).rstrip()
