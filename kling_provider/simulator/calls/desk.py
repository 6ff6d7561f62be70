"""What the calls work with, and what they answer with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kling_provider.simulator.archive import Archive
from kling_provider.simulator.results.planned import Planned, Recipe
from kling_provider.simulator.world import World

#: Stands where a result has its list: the result is the whole answer.
WHOLE = ""


@dataclass(frozen=True, slots=True)
class Desk:
    """Where a call is answered, with the world locked.

    :param world: what is remembered.
    :param archive: what the account has.
    :param now: epoch seconds.
    """

    world: World
    archive: Archive
    now: float


def whole(told: Mapping[str, Any], files: Mapping[str, Recipe] | None = None) -> tuple[Planned, ...]:
    """An answer that is not a list of results.

    :param told: all of it. ``task_id`` and ``final_unit_deduction`` are filled in where they stand.
    :param files: the files it names.
    """
    return (Planned(WHOLE, told, files or {}),)
