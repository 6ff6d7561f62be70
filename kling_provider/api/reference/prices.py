"""The price list as tables, whole and by endpoint."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from decimal import Decimal

from kling_provider.api.capabilities import models_at
from kling_provider.api.dialects import RESOLUTIONS
from kling_provider.api.endpoints import ENDPOINTS, Endpoint
from kling_provider.api.price_list import INPUT_LENGTHS, PRICES, USD_PER, Price, classic_names, prices_of
from kling_provider.api.reference.writing import Block, Bullets, Heading, Paragraph, Table, in_code

COLUMNS = ("beside", "quality", "units", "pack", "USD", "per")

_LONG_CLIP = "A clip of 10 s costs twice as much as one of 5 s."


def price_list() -> Iterator[Block]:
    """Every published price."""
    yield Heading("What it costs", 1)
    yield Paragraph(
        "List prices. A unit of a video pack costs "
        f"{USD_PER['video units']} USD, one of an image pack {USD_PER['image units']} USD. Failed tasks cost nothing, "
        "whole seconds are billed, and the new dialect costs the same. "
        f"{_LONG_CLIP} `KlingHook.estimate_units` says what a request will cost."
    )
    rows = [
        (in_code(price.endpoints), *cells)
        for price in PRICES
        for cells in cells_of(price.endpoints[0], price)
    ]
    yield Table.of(("endpoint", "model", *COLUMNS), rows)
    yield Heading("Paid by the length of an input")
    yield Paragraph(
        "Where nobody says how long the input is, an estimate takes the longest that Kling accepts."
    )
    yield Table(
        ("endpoint", "where", "at most"),
        [
            (f"`{name}`", _where(length.field, value), f"{seconds} s")
            for name, length in INPUT_LENGTHS.items()
            for value, seconds in length.seconds.items()
        ],
    )
    yield Heading("Free, or without a published price")
    free = [name for name, row in ENDPOINTS.items() if _is_free(row)]
    unknown = [name for name, row in ENDPOINTS.items() if not _is_free(row) and not prices_of(name)]
    yield Bullets([f"Free: {in_code(free)}", f"No price is published: {in_code(unknown)}"])


def prices_at(row: Endpoint) -> Iterator[Block]:
    """What one endpoint costs.

    :param row: the endpoint.
    """
    prices = prices_of(row.name)
    if not prices:
        yield Paragraph("Free." if _is_free(row) else "No price is published.")
        return
    name, only = classic_names(row.name)
    models = {only} if only else set(models_at(row.name))
    rows = [cells for price in prices for cells in cells_of(row.name, price, models)]
    yield Table.of(("model", *COLUMNS), rows)
    if any(price.per == "clip of 5 s" for price in prices):
        yield Paragraph(_LONG_CLIP)
    length = INPUT_LENGTHS.get(name)
    if length is not None:
        limits = (
            f"{seconds} s {_where(length.field, value)}".strip()
            for value, seconds in length.seconds.items()
            if length.field != "model_name" or value in models
        )
        what = "a base video" if name == "omni-video" else "the input"
        yield Paragraph(
            f"The seconds are those of {what}. Where nobody says how many, an estimate takes the most: "
            f"{', '.join(limits)}."
        )


def _is_free(row: Endpoint) -> bool:
    return row.work == "read" or row.is_free


def _where(field: str, value: str) -> str:
    return f"with {field} {value}" if field else ""


def cells_of(endpoint: str, price: Price, models: Collection[str] | None = None) -> Iterator[tuple[str, ...]]:
    """Rows of a price, as under :data:`COLUMNS`, behind its models (only these, if some are given)."""
    is_new = ENDPOINTS[endpoint].dialect == "new"
    known = [name for name in price.models if models is None or name in models]
    names = [endpoint.rpartition("/")[2]] if is_new else known
    beside = " or ".join(word or "nothing" for word in price.beside) if price.beside != ("",) else ""
    same: dict[str, list[str]] = {}
    for quality, amount in price.amounts.items():
        same.setdefault(amount, []).append(RESOLUTIONS.get(quality, quality) if is_new else quality)
    for amount, qualities in same.items():
        yield (
            in_code(names),
            beside,
            ", ".join(filter(None, qualities)),
            *(("", "") if price.currency == "USD" else (amount, price.currency.removesuffix(" units"))),
            f"{(Decimal(amount) * USD_PER[price.currency]).normalize():f}",
            price.per,
        )
