"""What there is to say about endpoints, from the tables alone, and the pages of the whole reference."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace

from kling_provider.api.capabilities import models_at
from kling_provider.api.endpoints import ENDPOINTS, Endpoint, endpoint_for
from kling_provider.api.errors import InvalidRequest, show
from kling_provider.api.gateways import DEFAULT_GATEWAY, GATEWAYS, NEW_DIALECT_PICTURE_BYTES
from kling_provider.api.reference.fields import FieldRow, docstring_of, rows_of, rules_of, summary_of
from kling_provider.api.reference.models import models_matrix, offers_at
from kling_provider.api.reference.operators import operator_for
from kling_provider.api.reference.prices import price_list, prices_at
from kling_provider.api.reference.writing import Block, Bullets, Heading, Paragraph, Table, in_code
from kling_provider.api.requests import REQUESTS

#: Pages that are no family.
INDEX, MODELS_PAGE, PRICES_PAGE = "README", "models", "prices"

_GATEWAY = GATEWAYS[DEFAULT_GATEWAY]
_WORK = {
    "task": "a task, takes about {seconds:.0f} s",
    "call": "answered at once",
    "read": "only reads",
}
_LOOKED_UP = {
    "lookup": "can be asked for, so that a submit whose answer was lost is found again",
    "list": "is found in the list of tasks only",
    "none": "is not taken, so a submit whose answer was lost is not found again",
}


@dataclass(frozen=True, slots=True)
class Family:
    """Endpoints that belong together: those whose request models stand in one module.

    :param name: the module's, as the name of a page.
    :param title: from its docstring.
    :param endpoints: their names.
    """

    name: str
    title: str
    endpoints: tuple[str, ...]


def families() -> list[Family]:
    """Every endpoint, in families, in the order of the endpoint table."""
    found: dict[str, list[str]] = {}
    for name, row in ENDPOINTS.items():
        found.setdefault(_module_of(row), []).append(name)
    return [
        Family(
            module.rpartition(".")[2].replace("_", "-"),
            docstring_of(sys.modules[module]).partition("\n")[0].rstrip("."),
            tuple(names),
        )
        for module, names in found.items()
    ]


def _module_of(row: Endpoint) -> str:
    """An endpoint without a body belongs to those that live beside it."""
    if row.name in REQUESTS:
        return REQUESTS[row.name].__module__
    folder = row.create_path.rpartition("/")[0] + "/"
    return next(
        REQUESTS[name].__module__
        for name, other in ENDPOINTS.items()
        if name in REQUESTS and other.create_path.startswith(folder)
    )


def pages() -> dict[str, list[Block]]:
    """Every page of the reference: name -> what it says."""
    return {
        INDEX: list(_index()),
        **{family.name: list(_family(family)) for family in families()},
        MODELS_PAGE: list(models_matrix()),
        PRICES_PAGE: list(price_list()),
    }


def _index() -> Iterator[Block]:
    yield Heading("Kling's API, endpoint by endpoint", 1)
    yield Paragraph(
        f"{len(ENDPOINTS)} endpoints, and what each takes. [The models]({MODELS_PAGE}.md) and "
        f"[the prices]({PRICES_PAGE}.md) have pages of their own. The same in a terminal: "
        "`python -m kling_provider.api`."
    )
    yield Bullets(_legend())
    for family in families():
        yield Heading(f"[{family.title}]({family.name}.md)")
        yield _endpoint_table(family)


def _legend() -> list[str]:
    pictures, sounds = _GATEWAY.pictures, _GATEWAY.sounds
    return [
        "A default is what Kling takes where a field is left out. Those that are *always sent* decide the price, or "
        "would be a retired model.",
        f"A picture is a path, a URI, a URL or bytes: jpg or png, up to {pictures.max_bytes // 2**20} MB "
        f"({NEW_DIALECT_PICTURE_BYTES // 2**20} MB in the new dialect), every side at least {pictures.min_side} px, "
        f"width / height from {pictures.min_ratio:g} to {pictures.max_ratio:g}.",
        f"A sound is the same: mp3, wav, m4a or aac, up to {sounds.max_bytes // 2**20} MB. Videos go by URL only.",
        "What is not listed is refused before anything is paid, unless a request is sent with `validate='warn'` or "
        "`'off'`; a model that is not listed is only warned about.",
    ]


def endpoint_list() -> Iterator[Block]:
    """Every endpoint with one line, for a terminal."""
    for family in families():
        yield Heading(family.title)
        yield _endpoint_table(family)


def _endpoint_table(family: Family) -> Table:
    return Table(
        ("endpoint", "operator", "what it is", "work"),
        [
            (f"`{row.name}`", f"`{operator_for(row)}`", _sentence(row), _work(row))
            for row in map(ENDPOINTS.__getitem__, family.endpoints)
        ],
    )


def _sentence(row: Endpoint) -> str:
    if row.name in REQUESTS:
        return summary_of(REQUESTS[row.name]).partition(" (`POST ")[0]
    return f"`GET {row.create_path}`"


def _work(row: Endpoint) -> str:
    return _WORK[row.work].format(seconds=row.typical_seconds)


def _family(family: Family) -> Iterator[Block]:
    yield Heading(family.title, 1)
    for name in family.endpoints:
        yield from endpoint(name)


def endpoint(name: str) -> Iterator[Block]:
    """All about one endpoint: what it is, fields, rules, models, prices.

    :param name: of the table.
    :raises InvalidRequest: for one that is not in it, with the closest name.
    """
    row = endpoint_for(name)
    if row.name not in ENDPOINTS:
        raise InvalidRequest(
            f"endpoint={show(name, 60)} is a raw path, of which nothing is known. Give a name."
        )
    model = REQUESTS.get(row.name)
    yield Heading(f"`{row.name}`")
    if model is not None:
        yield from (Paragraph(part.replace("\n", " ")) for part in docstring_of(model).split("\n\n"))
    yield Bullets(list(_facts(row)))
    if model is not None:
        yield Heading("Fields", 3)
        rows = [_cells(row, item) for item in rows_of(model)]
        yield Table.of(("field", "type", "Kling's default", "limits"), rows)
        if rules := rules_of(model):
            yield Heading("Rules", 3)
            yield Bullets(rules)
    if models_at(row.name):
        yield Heading("Models", 3)
        yield offers_at(row.name)
    yield Heading("Prices", 3)
    yield from prices_at(row)


def _facts(row: Endpoint) -> Iterator[str]:
    model = REQUESTS.get(row.name)
    if model is None:
        yield _sentence(row)
    yield f"Operator: `{operator_for(row)}`"
    if row.other_paths:
        yield f"Other documents call it {in_code(row.other_paths)}"
    yield f"{_work(row)[0].upper()}{_work(row)[1:]}"
    if row.work == "task":
        makes_several = model is not None and "n" in model.model_fields
        each = "each of its pictures" if makes_several else "it"
        yield f"While it runs, {each} holds a slot of the {row.slots} pack"
        yield f"An `external_task_id` {_LOOKED_UP[row.external_id]}"
    if row.pictures:
        yield f"Pictures: {in_code(row.pictures)}"
    if row.sounds:
        yield f"Sounds: {in_code(row.sounds)}"
    if row.answer_lives_hours:
        yield f"What it answers is worth something for {row.answer_lives_hours:g} h"
    if row.successor:
        yield f"Kling recommends {row.successor} instead"


def _cells(row: Endpoint, item: FieldRow) -> tuple[str, ...]:
    model = _GATEWAY.models.get(row.name)
    if item.name == "model_name" and model:
        item = replace(item, default=f"`{model}`, always sent", limits="one of the models below")
    return (f"`{item.name}`", item.kind, item.default, item.limits)
