"""The capability matrix as tables: whole, by endpoint, by model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from kling_provider.api.capabilities import IMAGE_MODELS, MODELS, NEW_MODELS, Model, Offer, models_at
from kling_provider.api.dialects import NEW_MODELS as NEW_NAMES
from kling_provider.api.errors import InvalidRequest, show
from kling_provider.api.price_list import classic_names, prices_of
from kling_provider.api.reference import prices
from kling_provider.api.reference.writing import Block, Heading, Paragraph, Table

COLUMNS = ("quality", "seconds", "can besides", "notes")

_MODEL_TABLES: Mapping[str, Mapping[str, Model]] = {
    "Videos": MODELS,
    "Pictures": IMAGE_MODELS,
    "Videos, new dialect": NEW_MODELS,
}


def models_matrix() -> Iterator[Block]:
    """The capability matrix: every model at every endpoint."""
    yield Heading("What each model can do", 1)
    for title, models in _MODEL_TABLES.items():
        yield Heading(title)
        rows = [
            (f"`{model.name}`", f"`{name.removesuffix(f'/{model.name}')}`", *_offer_cells(model, offer))
            for model in models.values()
            for name, offer in model.offers.items()
        ]
        yield Table.of(("model", "endpoint", *COLUMNS), rows)
    yield Heading("Output")
    films = (*MODELS.values(), *NEW_MODELS.values())
    sizes = [(f"`{model.name}`", _heights(model), str(model.fps)) for model in films]
    yield Table(("model", "height", "frames per second"), sizes)


def model(name: str) -> Iterator[Block]:
    """What one model can do and costs, wherever it goes by this name.

    :param name: ``model_name``, or the last part of a path of the new dialect.
    :raises InvalidRequest: for an unknown one.
    """
    found = [(title, models[name]) for title, models in _MODEL_TABLES.items() if name in models]
    if not found:
        known = dict.fromkeys(known for models in _MODEL_TABLES.values() for known in models)
        raise InvalidRequest(f"model={show(name, 60)} is not known. Known: {', '.join(known)}.")
    for title, row in found:
        yield Heading(f"`{name}` ({title[0].lower()}{title[1:]})")
        rows = [(f"`{endpoint}`", *_offer_cells(row, offer)) for endpoint, offer in row.offers.items()]
        yield Table.of(("endpoint", *COLUMNS), rows)
        if name in NEW_NAMES and title != "Pictures":
            yield Paragraph(f"In the new dialect it is called `{NEW_NAMES[name]}`.")
        listed = [
            (f"`{endpoint}`", *cells[1:])
            for endpoint in row.offers
            for price in prices_of(endpoint)
            if not price.models or (classic_names(endpoint)[1] or name) in price.models
            for cells in prices.cells_of(endpoint, price)
        ]
        if listed:
            yield Heading("Prices", 3)
            yield Table.of(("endpoint", *prices.COLUMNS), listed)


def offers_at(endpoint: str) -> Table:
    """What each model can do at one endpoint.

    :param endpoint: name of the endpoint.
    """
    return Table.of(
        ("model", *COLUMNS),
        [
            (f"`{name}`", *_offer_cells(model, model.offers[endpoint]))
            for name, model in models_at(endpoint).items()
        ],
    )


def _offer_cells(model: Model, offer: Offer) -> tuple[str, str, str, str]:
    return (
        ", ".join(offer.qualities) or ("no choice" if offer.quality_field == "mode" else ""),
        _span(offer.durations),
        ", ".join(_ability(offer, feature) for feature in offer.features),
        "; ".join(_notes(model, offer)),
    )


def _span(durations: tuple[str, ...]) -> str:
    if len(durations) > 2:
        return f"{durations[0]} to {durations[-1]}"
    return ", ".join(durations)


def _ability(offer: Offer, feature: str) -> str:
    """A feature, and for what it is offered if not for all."""
    pairs = offer.pairs_of(feature)
    if len(pairs) == len(offer.qualities or "-") * len(offer.durations or "-"):
        return feature
    whole = [
        quality
        for quality in offer.qualities
        if all(offer.offers(feature, quality, duration) for duration in offer.durations or ("",))
    ]
    rest = [pair for pair in pairs if pair.partition("/")[0] not in whole]
    return f"{feature} ({', '.join([*whole, *rest])})"


def _notes(model: Model, offer: Offer) -> Iterator[str]:
    if model.retired:
        yield f"being retired, use {offer.instead or model.retired}"
    if offer.durations_without_references:
        yield f"{_span(offer.durations_without_references)} s without references"
    for first, second in sorted(offer.excludes):
        yield f"{first} and {second} exclude each other"
    for feature, needed in offer.needs.items():
        yield f"{feature} needs {needed}"
    if offer.max_pictures_with_a_tail is not None:
        yield f"at most {offer.max_pictures_with_a_tail} pictures beside a last frame"
    if offer.camera_types:
        yield f"camera {', '.join(offer.camera_types)} only"
    if offer.max_elements is not None:
        yield f"elements: at most {offer.max_elements}"


def _heights(model: Model) -> str:
    return ", ".join(
        quality if quality == f"{height}p" else f"{quality} {height} px".strip()
        for quality, height in model.heights.items()
    )
