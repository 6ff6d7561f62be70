"""What a request will cost, from the published price list (:mod:`~kling_provider.api.price_list`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_HALF_UP, Decimal, InvalidOperation
from itertools import product
from types import MappingProxyType
from typing import Any

from kling_provider.api.dialects import RESOLUTIONS
from kling_provider.api.endpoints import ENDPOINTS, Endpoint
from kling_provider.api.errors import InvalidRequest, show
from kling_provider.api.price_list import (
    INPUT_LENGTHS,
    PRICES,
    USD_PER,
    USD_PER_VIDEO_UNIT,
    Currency,
    Per,
    Price,
    classic_names,
    prices_of,
)
from kling_provider.api.requests import REQUESTS
from kling_provider.api.slots import slots_of

__all__ = [
    "USD_PER_VIDEO_UNIT",
    "estimate_units",
    "estimate_usd",
    "pack_of",
    "units_left",
    "usd_of",
    "usd_per_unit",
]

_MODES = {resolution: mode for mode, resolution in RESOLUTIONS.items()}
#: ``settings.audio`` of the new dialect -> ``sound``; the sound of an input costs nothing.
_SOUNDS = {"native": "on", "original": "off", "off": "off"}
#: Whether it is there: what Kling makes of a word that nobody has checked is not known.
_YES, _NO, _PERHAPS = (True,), (False,), (False, True)
#: Kind of an endpoint -> what it is mostly paid with.
_PAID_WITH: Mapping[str, Currency] = MappingProxyType(
    {"video": "video units", "audio": "video units", "image": "image units"}
)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What decides the price of a request.

    :param endpoint: its classic name.
    :param model: None where a request cannot name one.
    :param quality: ``mode`` or ``resolution``; None where nothing is known of it.
    :param beside: as in :class:`Price`, several words at once having no price; each that the request may mean.
    :param seconds: whole seconds that are billed, if any.
    :param pictures: so many are made.
    """

    endpoint: str
    model: str | None
    quality: str | None
    beside: frozenset[str]
    seconds: int | None
    pictures: int


def estimate_units(
    endpoint: str, body: Mapping[str, Any], *, input_seconds: float | None = None
) -> Decimal | None:
    """Estimate what a request will cost in units of its resource pack.

    It is exact where the request says all that decides the price. Where it does not, it is the most that this
    can cost: of video-extend the price of the dearest clip (``model_name`` and ``mode`` of the source may be given
    to have its own); of a series with ``series_amount="auto"`` nine pictures; of an input without
    ``input_seconds`` the longest that Kling takes. A word that Kling's documents do not list (sent with
    ``validate="warn"`` or ``"off"``) is taken for the dearest that it may mean: ``sound="ON"`` for sound, where
    that is sold, ``duration="15.4"`` for 16 s; a model or a quality nobody knows has no price.

    :param endpoint: name of the endpoint, of either dialect.
    :param body: as it is sent, with ``model_name``; what is left out is taken as Kling takes it.
    :param input_seconds: length of the video or sound whose length decides the price: the video of
        motion-control, of lip sync and of an omni video with a base video, the sound of an avatar. Whole seconds
        are billed.
    :returns: units; 0 for what only reads or deletes. None where no price is published, and for
        kolors-virtual-try-on, which is sold for money (:func:`estimate_usd`).
    :raises InvalidRequest: if ``input_seconds`` is no length.
    """
    found = _cost(endpoint, body, input_seconds)
    return None if found is None or found[1] == "USD" else found[0]


def estimate_usd(
    endpoint: str, body: Mapping[str, Any], *, input_seconds: float | None = None
) -> Decimal | None:
    """Estimate what a request will cost in US dollars, at list price.

    :param endpoint: as for :func:`estimate_units`, like the rest.
    :returns: dollars, or None where no price is published.
    :raises InvalidRequest: if ``input_seconds`` is no length.
    """
    found = _cost(endpoint, body, input_seconds)
    return None if found is None else found[0] * USD_PER[found[1]]


def usd_per_unit(kind: str) -> Decimal:
    """List price of one unit in US dollars.

    :param kind: ``video``, ``audio`` (which is paid with units of a video pack) or ``image``.
    """
    return USD_PER[_PAID_WITH[kind]]


def usd_of(endpoint: str, units: Decimal) -> Decimal | None:
    """List price, in US dollars, of units that a request of this endpoint costs.

    :param endpoint: name of the endpoint, or a raw path, which is taken for one of videos.
    :param units: estimated or deducted.
    :returns: dollars, or None where nobody knows which units these are: of kolors-virtual-try-on.
    """
    currency = _currency_of(endpoint)
    return None if currency == "USD" else units * USD_PER[currency]


def pack_of(endpoint: str) -> str | None:
    """Which resource pack pays for an endpoint.

    :param endpoint: as for :func:`usd_of`.
    :returns: ``video`` or ``image``, or None for kolors-virtual-try-on, which is sold for money.
    """
    currency = _currency_of(endpoint)
    return None if currency == "USD" else currency.removesuffix(" units")


def _currency_of(endpoint: str) -> Currency:
    row = ENDPOINTS.get(endpoint)
    usual = "video units" if row is None else _PAID_WITH.get(row.kind, "video units")
    return next((price.currency for price in prices_of(endpoint)), usual)


def _cost(
    endpoint: str, body: Mapping[str, Any], input_seconds: float | None
) -> tuple[Decimal, Currency] | None:
    if input_seconds is not None and not 0 < input_seconds < float("inf"):
        raise InvalidRequest(
            f"input_seconds={show(input_seconds, 20)} is no length: give seconds, more than 0, or leave it out for the "
            "longest input that Kling takes."
        )
    row = ENDPOINTS.get(endpoint)
    if row is None:
        return None
    if row.work == "read" or row.is_free:
        return Decimal(0), _PAID_WITH.get(row.kind, "video units")
    asked = _read(row, body, input_seconds)
    costs = [
        (amount * count, price.currency)
        for price in _rows_for(asked)
        for amount in price.amounts_for(asked.quality)
        if (count := _COUNTS[price.per](asked)) is not None
    ]
    return max(costs, default=None)


def _rows_for(asked: _Asked) -> list[Price]:
    return [
        price
        for price in PRICES
        if asked.endpoint in price.endpoints
        and (not price.models or asked.model is None or asked.model in price.models)
        and not asked.beside.isdisjoint(price.beside)
    ]


#: What a price is for -> how often it is paid; None where no such thing is sold.
_COUNTS: Mapping[Per, Callable[[_Asked], int | None]] = MappingProxyType(
    {
        "second": lambda asked: asked.seconds,
        "clip of 5 s": lambda asked: {5: 1, 10: 2}.get(asked.seconds or 0),
        "5 s begun": lambda asked: None if asked.seconds is None else -(-asked.seconds // 5),
        "picture": lambda asked: asked.pictures,
        "task": lambda asked: 1,
    }
)


def _read(row: Endpoint, body: Mapping[str, Any], input_seconds: float | None) -> _Asked:
    model_class = REQUESTS[row.name]
    given = {name: value for name, value in body.items() if value is not None and value != ""}
    fields = model_class.with_defaults(given)
    endpoint, model = classic_names(row.name)
    if row.dialect == "new":
        fields = _in_classic_words(fields)
    fields["model_name"] = model or fields.get("model_name")
    if fields["model_name"] is None and "model_name" in model_class.model_fields:
        fields["model_name"] = "?"  # Kling's own default, which is being retired
    quality = fields.get("mode") or fields.get("resolution")
    return _Asked(
        endpoint,
        model=fields["model_name"],
        quality=None if quality is None else str(quality),
        beside=_beside(endpoint, fields),
        seconds=_seconds(endpoint, fields, input_seconds),
        pictures=slots_of(row, fields),
    )


def _in_classic_words(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Those parts of a request in the new dialect that decide the price."""
    from kling_provider.api.requests.new_dialect import HOLDS

    settings = fields.get("settings")
    settings = settings if isinstance(settings, Mapping) else {}
    resolution, audio = settings.get("resolution"), settings.get("audio")
    kinds = {str(item.get("type")) for item in _objects(fields.get("contents"))}
    videos = kinds & {"feature_video", "base_video"}
    return {
        "mode": None if resolution is None else _MODES.get(str(resolution), resolution),
        "duration": settings.get("duration"),
        "sound": None if audio in (None, "") else _SOUNDS.get(str(audio), audio),
        "voice_list": kinds & {"voice"},
        "video_list": [{"refer_type": kind.removesuffix("_video")} for kind in videos],
        "character_orientation": settings.get("character_orientation"),
        "odd_contents": kinds - HOLDS.keys(),
    }


def _beside(endpoint: str, fields: Mapping[str, Any]) -> frozenset[str]:
    """What is there of the things that the endpoint's prices tell apart; all that it may be, where it is not clear."""
    told_apart = {word for price in PRICES if endpoint in price.endpoints for word in price.beside}
    absent = _PERHAPS if fields.get("odd_contents") else _NO
    sound = fields.get("sound")
    may_be = {
        "video": _YES if fields.get("video_list") else absent,
        "voice": _YES if fields.get("voice_list") else absent,
        "sound": _NO if sound in (None, "off") else _YES if sound == "on" else _PERHAPS,
        "image": _YES if fields.get("image") else _NO,
    }
    found = set()
    for there in product(*(may_be[word] if word in told_apart else _NO for word in may_be)):
        words = {word for word, is_there in zip(may_be, there, strict=True) if is_there}
        words -= {"sound"} if "voice" in words else set()  # whose price has it in it
        found.add(" and ".join(word for word in may_be if word in words))
    return frozenset(found)


def _seconds(endpoint: str, fields: Mapping[str, Any], input_seconds: float | None) -> int | None:
    length = INPUT_LENGTHS.get(endpoint)
    if endpoint == "omni-video" and not _may_be_edited(fields):
        length = None
    if length is None:
        return _whole(fields.get("duration"), ROUND_CEILING)
    seconds = length.longest(fields.get(length.field)) if input_seconds is None else input_seconds
    return _whole(seconds, ROUND_HALF_UP)


def _may_be_edited(fields: Mapping[str, Any]) -> bool:
    """Whether there may be a base video, which the result is as long as."""
    told = fields.get("video_list")
    videos = _objects(told)
    are_references = bool(videos) and all(video.get("refer_type") == "feature" for video in videos)
    return bool(fields.get("odd_contents") or (told and not are_references))


def _whole(seconds: object, rounding: str) -> int | None:
    """Seconds as they are billed: of an input 3.041 are 3; a length that is asked for may be rounded up by Kling."""
    try:
        number = Decimal(str(seconds))
    except InvalidOperation:
        return None
    if not number.is_finite() or number <= 0:
        return None
    return max(1, int(number.to_integral_value(rounding)))


def _objects(value: object) -> list[Mapping[str, Any]]:
    """The objects of a list; nothing of what is no list of objects, which nobody has checked."""
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list | tuple) else []


def units_left(costs: Mapping[str, object], pack_name: str | None = None) -> Decimal | None:
    """Add up what is left in the resource packs that can be used now.

    :param costs: the ``data`` of ``GET /account/costs``. What it tells may be 12 hours old.
    :param pack_name: only packs of this name; without it all, although video packs do not pay for pictures.
    :returns: units, or None where no pack is told of: an account that pays by balance has none.
    """
    packs = costs.get("resource_pack_subscribe_infos")
    told = [pack for pack in packs if isinstance(pack, Mapping)] if isinstance(packs, list) else []
    wanted = [pack for pack in told if pack_name in (None, pack.get("resource_pack_name"))]
    if not wanted:
        return None
    usable = [pack for pack in wanted if pack.get("status") in ("online", None)]
    return sum((_units(pack.get("remaining_quantity")) for pack in usable), Decimal(0))


def _units(value: object) -> Decimal:
    try:
        units = Decimal(str(value))
    except InvalidOperation:
        return Decimal(0)
    return units if units.is_finite() else Decimal(0)
