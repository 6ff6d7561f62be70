"""One result as a value: what is told of it, and which files it has. The files are made when they are fetched."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from kling_provider.simulator.film import Film
from kling_provider.simulator.still import Still
from kling_provider.simulator.tune import Tune

Recipe = Film | Still | Tune


@dataclass(frozen=True, slots=True)
class At:
    """Stands in what is told for the address of the result's file with this ending."""

    ending: str


@dataclass(frozen=True, slots=True)
class OwnId:
    """Stands in what is told for the result's id.

    :param is_number: whether it is told as one.
    """

    is_number: bool = False


@dataclass(frozen=True, slots=True)
class Planned:
    """One result of a task, before the task has run.

    :param list_name: where it stands in ``task_result``.
    :param told: what is told of it, with :class:`At` and :class:`OwnId` for what is not known yet.
    :param files: its files: what follows the id in their names -> what they hold.
    :param seconds: length, None for what has none.
    """

    list_name: str
    told: Mapping[str, Any]
    files: Mapping[str, Recipe] = field(default_factory=dict)
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """A planned result that has its id."""

    id: str
    planned: Planned

    def tell(self, address: Callable[[str], str]) -> dict[str, Any]:
        """What is told of it.

        :param address: gives the address of a file by its name.
        """
        filled = self._fill(self.planned.told, address)
        return dict(filled)

    def _fill(self, value: Any, address: Callable[[str], str]) -> Any:
        match value:
            case At():
                return address(f"{self.id}{value.ending}")
            case OwnId():
                return int(self.id) if value.is_number else self.id
            case Mapping():
                return {name: self._fill(item, address) for name, item in value.items()}
            case list() | tuple():
                return [self._fill(item, address) for item in value]
        return value
