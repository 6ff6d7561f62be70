"""The fields of a request model as rows of text: name, type, default, limits."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from kling_provider.api.requests.parts import (
    Id,
    KlingRequest,
    MediaUrl,
    OneDecimal,
    Part,
    Picture,
    Sound,
    UserId,
    WatermarkedRequest,
    WebAddress,
    WholeSeconds,
    default_of,
)

_WORDS: Mapping[Any, str] = {str: "text", int: "whole number", float: "number", bool: "true or false"}
#: What the readers of field values make of a plain type.
_READERS: tuple[tuple[Any, str], ...] = (
    (get_args(Picture)[1], "picture"),
    (get_args(Sound)[1], "sound"),
    (get_args(MediaUrl)[1], "http(s) address"),
    (get_args(WebAddress)[1], "http(s) address"),
    (get_args(UserId)[1], "id of your own"),
    (get_args(Id)[1], "id"),
    (WholeSeconds, "seconds, as text"),
)
#: Every task takes them; they stand last.
_SHARED = frozenset({*WatermarkedRequest.model_fields, "options"})


@dataclass(frozen=True, slots=True)
class FieldRow:
    """One field.

    :param name: its name; dotted inside an object, with ``[]`` inside a list.
    :param kind: what it holds.
    :param default: what Kling takes where it is left out; ``required``, or empty where there is nothing to take.
    :param limits: which values it may have, and what an object in it is.
    """

    name: str
    kind: str
    default: str
    limits: str


@dataclass(frozen=True, slots=True)
class _Type:
    kind: str
    limits: tuple[str, ...] = ()
    part: type[Part] | None = None
    is_list: bool = False
    choices: tuple[str, ...] = field(default=())


def rows_of(model: type[Part], before: str = "") -> Iterator[FieldRow]:
    """The fields of a model, and of the objects in it: required ones first, those of every task last.

    :param model: a request model, or an object of one.
    :param before: put before every name.
    """
    fields = model.model_fields
    for name in sorted(fields, key=lambda name: (name in _SHARED, not fields[name].is_required())):
        info = fields[name]
        read = _type_of(info.annotation, info.metadata)
        said = [info.description or "", summary_of(read.part) if read.part else ""]
        limits = ". ".join(filter(None, ["; ".join([*_choices(read), *read.limits]), *said]))
        yield FieldRow(before + name, read.kind, _default(info), limits)
        if read.part is not None:
            yield from rows_of(read.part, f"{before}{name}{'[]' if read.is_list else ''}.")


def summary_of(model: type[Any]) -> str:
    """The first sentence of a model's docstring, on one line."""
    return docstring_of(model).partition("\n\n")[0].replace("\n", " ").rstrip(".")


def docstring_of(model: Any) -> str:
    """A docstring without its indentation, code in single backticks."""
    return inspect.cleandoc(model.__doc__ or "").replace("``", "`")


def rules_of(model: type[KlingRequest]) -> list[str]:
    """The rules over several fields of a request and of its objects, one sentence each."""
    rules = [docstring_of(model.ignored)] if _has_own(model, "ignored") else []
    for part in _parts_of(model):
        for validator in part.__pydantic_decorators__.model_validators.values():
            if validator.info.mode == "after":
                rules.append(docstring_of(validator.func))
    return list(dict.fromkeys(" ".join(rule.split()) for rule in rules if rule))


def _has_own(model: type[KlingRequest], name: str) -> bool:
    return getattr(model, name).__func__ is not getattr(KlingRequest, name).__func__


def _parts_of(model: type[Part]) -> Iterator[type[Part]]:
    yield model
    for info in model.model_fields.values():
        part = _type_of(info.annotation, info.metadata).part
        if part is not None:
            yield from _parts_of(part)


def _default(info: FieldInfo) -> str:
    default = default_of(info)
    if info.is_required():
        return "required"
    if default is None:
        return ""
    return f"`{json.dumps(default.value)}`" + (", always sent" if default.is_sent else "")


def _choices(read: _Type) -> list[str]:
    return [", ".join(f"`{choice}`" for choice in read.choices)] if read.choices else []


def _type_of(annotation: Any, metadata: Iterable[Any] = ()) -> _Type:
    marks = list(metadata)
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        for mark in inner[1:]:
            marks += mark.metadata if isinstance(mark, FieldInfo) else [mark]
        return _type_of(inner[0], marks)
    reader = next((word for mark, word in _READERS if mark in marks), None)
    if reader is not None:
        return _Type(reader, tuple(_limits(marks)))
    if origin in (Union, UnionType):
        kinds = [_type_of(kind, marks) for kind in inner if kind is not NoneType]
        return kinds[0] if len(kinds) == 1 else _either(kinds)
    if origin is Literal:
        return _Type("text", choices=tuple(str(choice) for choice in inner))
    if origin is list:
        item = _type_of(inner[0])
        limits = (*_limits(marks, "items"), *(f"each {limit}" for limit in item.limits))
        return replace(item, kind=f"list of {_plural(item.kind)}", limits=limits, is_list=True)
    if isinstance(annotation, type) and issubclass(annotation, Part):
        return _Type("object", part=annotation)
    return _Type(_WORDS.get(annotation, "object"), tuple(_limits(marks)))


def _either(kinds: list[_Type]) -> _Type:
    """Several types at once. Choices stand for their type."""
    return _Type(
        " or ".join(dict.fromkeys(kind.kind for kind in kinds)),
        tuple(dict.fromkeys(limit for kind in kinds for limit in kind.limits)),
        choices=tuple(choice for kind in kinds for choice in kind.choices),
    )


def _plural(kind: str) -> str:
    return {"text": "texts", "id": "ids"}.get(kind, f"{kind}s")


def _limits(marks: list[Any], counted: str = "characters") -> Iterator[str]:
    """What the marks of pydantic say, in words."""
    yield from _between(_found(marks, "ge"), _found(marks, "le"), "")
    yield from _between(_found(marks, "min_length"), _found(marks, "max_length"), f" {counted}")
    if OneDecimal in marks:
        yield "one decimal"


def _between(least: Any, most: Any, what: str) -> Iterator[str]:
    if least is not None and least == most:
        yield f"exactly {_counted(most, what)}"
    elif least is not None and most is not None:
        yield f"{least:g} to {_counted(most, what)}"
    elif most is not None:
        yield f"at most {_counted(most, what)}"
    elif least is not None:
        yield f"at least {_counted(least, what)}"


def _counted(number: float, what: str) -> str:
    return f"{number:g}{what.removesuffix('s') if number == 1 else what}"


def _found(marks: list[Any], name: str) -> Any:
    return next((value for mark in marks if (value := getattr(mark, name, None)) is not None), None)
