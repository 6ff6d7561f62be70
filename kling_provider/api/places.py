"""Values inside a request, by dotted names such as ``dynamic_masks[].mask`` or ``input.images[]``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

#: Gives the new value for (value, its label such as ``dynamic_masks[0].mask``).
Change = Callable[[Any, str], Any]


def change_each(fields: Mapping[str, Any], paths: Iterable[str], change: Change) -> dict[str, Any]:
    """Return a copy of ``fields`` in which every value at one of ``paths`` is changed.

    What is not there, or has another shape than the path says, is left as it is. ``fields`` is never changed.

    :param fields: a request.
    :param paths: dotted names, ``[]`` marks a list.
    :param change: called with each value that is not None and its label; returns the new one.
    """
    copy: Any = dict(fields)
    for path in paths:
        parts = [
            part for name in path.split(".") for part in ([name[:-2], "[]"] if name[-2:] == "[]" else [name])
        ]
        copy = _changed(copy, parts, "", change)
    return dict(copy)


def _changed(value: Any, parts: list[str], label: str, change: Change) -> Any:
    if value is None:
        return None
    if not parts:
        return change(value, label)
    first, rest = parts[0], parts[1:]
    if first == "[]":
        if not isinstance(value, list | tuple):
            return value
        return [_changed(item, rest, f"{label}[{number}]", change) for number, item in enumerate(value)]
    if not isinstance(value, Mapping) or first not in value:
        return value
    return {**value, first: _changed(value[first], rest, f"{label}.{first}" if label else first, change)}
