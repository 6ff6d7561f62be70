"""What a measurement of throughput is written as."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict


class Figures(TypedDict):
    """One row.

    ``ratio`` says how many times ours an alternative's figure is: of what is better small (ms, memory), more than 1
    means that ours is better; of what is better large (per second), less than 1 does.
    """

    name: str
    ours: float
    unit: str
    alternatives: dict[str, float]
    ratio: dict[str, float]


def row(name: str, unit: str, figures: Mapping[str, float]) -> Figures:
    """Make a row of figures, of which one is called ``ours``.

    :param name: what was measured.
    :param unit: of all figures.
    :param figures: by who was measured.
    """
    ours = figures["ours"]
    alternatives = {who: figure for who, figure in figures.items() if who != "ours"}
    return {
        "name": name,
        "ours": ours,
        "unit": unit,
        "alternatives": alternatives,
        "ratio": {who: figure / ours for who, figure in alternatives.items()},
    }
