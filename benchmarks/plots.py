"""The picture of a run: what a wait costs, ours against the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers.table import PEERS
from benchmarks.rows import RESULTS, Row
from benchmarks.table import number

PICTURE = "waiting.png"
#: Of scenarios with so many waits, the one with the most alternatives is shown.
SHOWN_FROM = 1000
OURS_COLOUR, OTHERS_COLOUR, COMPUTED_COLOUR = "#1a73e8", "#9aa0a6", "#dadce0"


def draw(rows: Sequence[Row], folder: Path = RESULTS) -> list[Path]:
    """Write the pictures; gives their files."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(15, 4.2), dpi=110, width_ratios=(1, 1, 0.8))
    others = Counter(row.waits for row in rows if _is_mix(row) and row.waits > 1 and not row.is_ours)
    largest = max(
        (waits for waits in others if waits >= SHOWN_FROM),
        key=others.__getitem__,
        default=max(others, default=0),
    )
    _bars(
        left,
        [row for row in rows if _is_mix(row) and row.waits == largest],
        lambda row: row.requests,
        scale="log",
    )
    left.set_title(f"Requests per video, {largest:,} waits")
    _bars(
        middle,
        [row for row in rows if _is_mix(row) and row.waits == largest],
        lambda row: row.cpu_ms,
        scale="linear",
    )
    middle.set_title(f"CPU per video (ms), {largest:,} waits")
    _lines(right, rows)
    figure.tight_layout()
    path = folder / PICTURE
    figure.savefig(path)
    plt.close(figure)
    return [path]


def _is_mix(row: Row) -> bool:
    return (
        row.scenario.startswith(("mix-", "lone")) and row.account == "alone" and "default" not in row.scenario
    )


def _bars(axes: Any, rows: Sequence[Row], value: Callable[[Row], float | None], *, scale: str) -> None:
    shown = [row for row in rows if value(row)]
    shown.sort(key=lambda row: value(row) or 0, reverse=True)
    names = [_label(row) for row in shown]
    colours = [
        OURS_COLOUR if row.is_ours else COMPUTED_COLOUR if row.is_computed else OTHERS_COLOUR for row in shown
    ]
    axes.barh(names, [value(row) for row in shown], color=colours)
    axes.set_xscale(scale)
    axes.margins(x=0.45)
    for place, row in enumerate(shown):
        lag = "" if row.lag is None else f"  lag {row.lag:.2g} s"
        axes.text(value(row), place, f" {number(value(row))}{lag}", va="center", fontsize=7)
    axes.tick_params(axis="y", labelsize=8)
    _open(axes)


def _lines(axes: Any, rows: Sequence[Row]) -> None:
    """Requests per video by how many wait: ours, and one by one at the same lag."""
    for label, colour, chosen in (
        ("airflow-provider-kling", OURS_COLOUR, [row for row in rows if row.is_ours]),
        (
            "one by one, same lag",
            OTHERS_COLOUR,
            [row for row in rows if row.is_same_lag and row.peer == "shared"],
        ),
    ):
        points = sorted(
            (1 if row.scenario.startswith("lone") else row.waits, row.requests)
            for row in chosen
            if _is_mix(row) and row.requests and "learned)" not in row.scenario
        )
        axes.plot(*zip(*points, strict=True), marker="o", color=colour, label=label) if points else None
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("waits at the same time")
    axes.set_title("Requests per video")
    axes.legend(fontsize=8, frameon=False, loc="lower left")
    _open(axes)


def _label(row: Row) -> str:
    every = "" if row.is_ours or row.interval is None else f", {row.interval:.2g} s"
    return PEERS[row.peer].name + every + (" (computed)" if row.is_computed else "")


def _open(axes: Any) -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
