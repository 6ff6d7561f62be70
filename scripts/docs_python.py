"""The Python reference of the site: every public class with its arguments, from docstrings and signatures."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterable, Iterator
from typing import Any

from kling_provider.api.reference.endpoints import families
from kling_provider.get_provider_info import get_provider_info
from kling_provider.operators import kling

_INTRODUCTION = "\nWritten from the docstrings. What all share is in the [reference](../reference.md).\n"
_ROLE = re.compile(r":[a-z]+:`~?([^`]+)`")
_FIELD = re.compile(r"^:(param|returns|raises)(?: (\S+))?: ?", re.MULTILINE)


def python_pages() -> dict[str, str]:
    """Every page: its path below docs/ -> Markdown."""
    info = get_provider_info()
    typed = [getattr(kling, name) for name in kling.__all__]
    modules = {
        kind: _modules(info[kind]) for kind in ("operators", "sensors", "triggers", "hooks", "transfers")
    }
    classes = {
        kind: [found for name in names for found in _classes_in(name)] for kind, names in modules.items()
    }
    classes["operators"] = sorted([*typed, *classes["operators"]], key=lambda found: found.__name__)
    return {f"python/{kind}.md": page(kind.capitalize(), found) for kind, found in classes.items()}


def page(title: str, classes: Iterable[type]) -> str:
    """One page.

    :param title: its heading.
    :param classes: what it tells of.
    """
    return f"# {title}\n{_INTRODUCTION}" + "".join("".join(_told(found)) for found in classes)


def _modules(rows: Iterable[dict[str, Any]]) -> list[str]:
    return [
        name
        for row in rows
        for name in row.get("python-modules", []) or [row.get("python-module", "")]
        if name
    ]


def _classes_in(module: str) -> list[type]:
    """The public classes that are written in a module."""
    return [
        found
        for name, found in vars(importlib.import_module(module)).items()
        if inspect.isclass(found) and found.__module__ == module and not name.startswith("_")
    ]


def _told(found: type) -> Iterator[str]:
    yield f"\n## {found.__name__}\n\n"
    yield f"`from {_public_module(found)} import {found.__name__}`\n\n"
    if endpoint := getattr(found, "kling_endpoint", ""):
        yield f"Endpoint [`{endpoint}`](../api/{_page_of(endpoint)}.md): its fields, limits, models, prices.\n\n"
    yield from _documented(found, inspect.signature(found))
    if getattr(found, "conn_type", ""):
        for name, method in inspect.getmembers(found, inspect.isfunction):
            if not name.startswith("_") and method.__module__.startswith("kling_provider"):
                yield f"\n### {found.__name__}.{name}\n\n"
                yield from _documented(method, inspect.signature(method))


def _public_module(found: type) -> str:
    return kling.__name__ if found.__name__ in kling.__all__ else found.__module__


def _page_of(endpoint: str) -> str:
    return next(family.name for family in families() if endpoint in family.endpoints)


def _documented(what: Any, signature: inspect.Signature) -> Iterator[str]:
    """A docstring: its text, a table of the arguments, what is returned and raised."""
    text, *fields = _FIELD.split(inspect.getdoc(what) or "")
    yield _markdown(text).strip() + "\n\n"
    rows, others = [], []
    for kind, name, told in zip(fields[::3], fields[1::3], fields[2::3], strict=True):
        line = " ".join(_markdown(told).split())
        if kind == "param":
            rows.append(
                f"| `{name}` | {_default(signature.parameters.get(name))} | {line.replace('|', chr(92) + '|')} |\n"
            )
        else:
            others.append(f"- {kind}{f' `{name}`' if name else ''}: {line}\n")
    if rows:
        yield "| argument | default | |\n|---|---|---|\n" + "".join(rows) + "\n"
    if others:
        yield "".join(others) + "\n"


def _default(parameter: inspect.Parameter | None) -> str:
    if parameter is None:  # one of **kwargs
        return ""
    if parameter.default is inspect.Parameter.empty:
        return "required"
    return f"`{parameter.default!r}`"


def _markdown(text: str) -> str:
    """Sphinx's marks as Markdown's."""
    return _ROLE.sub(r"`\1`", text).replace("``", "`").replace("::\n", ":\n")
