"""What a request will cost, in Kling's video units, from the published price list."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from types import MappingProxyType

from kling_provider.api.capabilities import DEFAULT_DURATION, DEFAULT_MODE

#: List price of one video unit in US dollars.
USD_PER_VIDEO_UNIT = Decimal("0.14")

#: model -> (mode, sound) -> units per second. Sound: off, on, voice.
_PER_SECOND: Mapping[str, Mapping[tuple[str, str], str]] = MappingProxyType(
    {
        "kling-v3": {
            ("std", "off"): "0.6",
            ("std", "on"): "0.9",
            ("pro", "off"): "0.8",
            ("pro", "on"): "1.2",
            ("4k", "off"): "3.0",
            ("4k", "on"): "3.0",
        },
        "kling-v2-6": {
            ("std", "off"): "0.3",
            ("pro", "off"): "0.5",
            ("pro", "on"): "1.0",
            ("pro", "voice"): "1.2",
        },
        "kling-v2-5-turbo": {("std", "off"): "0.3", ("pro", "off"): "0.5"},
    }
)

#: model -> mode -> units for (5 s, 10 s).
_PER_CLIP: Mapping[str, Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "kling-v1": {"std": ("1", "2"), "pro": ("3.5", "7")},
        "kling-v1-5": {"std": ("2", "4"), "pro": ("3.5", "7")},
        "kling-v1-6": {"std": ("2", "4"), "pro": ("3.5", "7")},
        "kling-v2-1": {"std": ("2", "4"), "pro": ("3.5", "7")},
        "kling-v2-master": {"": ("10", "20")},
        "kling-v2-1-master": {"": ("10", "20")},
    }
)


def estimate_units(
    endpoint: str, body: Mapping[str, object], *, input_seconds: float | None = None
) -> Decimal | None:
    """Estimate the units of a text2video or image2video request.

    :param endpoint: name of the endpoint.
    :param body: as it is sent, with ``model_name``.
    :param input_seconds: length of the video or sound that the price follows.
    :returns: units, or None where no price is published for this combination.
    """
    if endpoint not in ("text2video", "image2video"):
        return None
    model = str(body.get("model_name"))
    duration = str(body.get("duration") or DEFAULT_DURATION)
    mode = str(body.get("mode") or DEFAULT_MODE)
    if model in _PER_SECOND:
        sound = "voice" if body.get("voice_list") else str(body.get("sound") or "off")
        rate = _PER_SECOND[model].get((mode, sound))
        return Decimal(rate) * int(duration) if rate is not None else None
    if model in _PER_CLIP and duration in ("5", "10"):
        prices = _PER_CLIP[model].get(mode) or _PER_CLIP[model].get("")
        return Decimal(prices[duration == "10"]) if prices else None
    return None


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
