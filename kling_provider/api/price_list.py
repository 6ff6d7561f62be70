"""Kling's published price list as a table.

A new price is one row of :data:`PRICES`. Prices are list prices; failed tasks cost nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from types import MappingProxyType
from typing import Literal

from kling_provider.api.capabilities import models_at
from kling_provider.api.dialects import NEW_MODELS, NEW_PATHS

#: What a price is for. A clip has 5 or 10 s, and the longer one costs twice as much.
Per = Literal["second", "clip of 5 s", "5 s begun", "picture", "task"]
#: Units of video packs, units of image packs, or money.
Currency = Literal["video units", "image units", "USD"]

#: List price of one unit of a video pack, in US dollars; sounds, voices and faces are paid with them too.
USD_PER_VIDEO_UNIT = Decimal("0.14")
USD_PER: Mapping[Currency, Decimal] = MappingProxyType(
    {"video units": USD_PER_VIDEO_UNIT, "image units": Decimal("0.0035"), "USD": Decimal(1)}
)


@dataclass(frozen=True, slots=True)
class Price:
    """One row of the price list.

    :param endpoints: classic names; the new dialect costs the same.
    :param per: what it is paid for.
    :param amounts: quality (``mode``, of pictures ``resolution``) -> price; "" stands for every quality.
    :param models: which models; empty where a request names none.
    :param beside: what the request holds that the price depends on, as one of these: nothing (""), ``sound``,
        ``voice`` (with sound), a reference ``video``, an ``image``.
    :param currency: what it is paid with.
    """

    endpoints: tuple[str, ...]
    per: Per
    amounts: Mapping[str, str]
    models: tuple[str, ...] = ()
    beside: tuple[str, ...] = ("",)
    currency: Currency = "video units"

    def amounts_for(self, quality: str | None) -> list[Decimal]:
        """What it costs in a quality; every amount, where the quality is not known."""
        if quality is None:
            return [Decimal(amount) for amount in self.amounts.values()]
        amount = self.amounts.get(quality, self.amounts.get(""))
        return [] if amount is None else [Decimal(amount)]


@dataclass(frozen=True, slots=True)
class InputLength:
    """How long an input may be whose length decides the price.

    :param field: the field of the request that it depends on; empty if on none.
    :param seconds: value of that field -> the longest that Kling takes.
    """

    field: str
    seconds: Mapping[str, str]

    def longest(self, value: object = "") -> Decimal:
        """The longest input, in seconds; of all, where the field says nothing known."""
        limits = {known: Decimal(seconds) for known, seconds in self.seconds.items()}
        return limits.get(str(value), max(limits.values()))


#: Endpoint -> the input that is paid for by its length. Of omni-video only a base video, whose length the result has.
INPUT_LENGTHS: Mapping[str, InputLength] = MappingProxyType(
    {
        "motion-control": InputLength("character_orientation", {"video": "30", "image": "10"}),
        "omni-video": InputLength("model_name", {"kling-v3-omni": "15.5", "kling-video-o1": "10"}),
        "avatar": InputLength("", {"": "300"}),
        "advanced-lip-sync": InputLength("", {"": "60"}),
        "lip-sync": InputLength("", {"": "60"}),
    }
)

_FRAMES = ("text2video", "image2video")


def _frames() -> Iterator[Price]:
    second, clip = partial(Price, _FRAMES, "second"), partial(Price, _FRAMES, "clip of 5 s")
    yield second({"std": "0.6", "pro": "0.8"}, ("kling-v3",))
    yield second({"std": "0.9", "pro": "1.2"}, ("kling-v3",), ("sound",))
    yield second({"4k": "3.0"}, ("kling-v3",), ("", "sound"))
    yield second({"std": "0.8", "pro": "1.0"}, ("kling-3.0-turbo",))
    yield second({"std": "0.3", "pro": "0.5"}, ("kling-v2-6", "kling-v2-5-turbo"))
    yield second({"pro": "1.0"}, ("kling-v2-6",), ("sound",))
    yield Price(("image2video",), "second", {"pro": "1.2"}, ("kling-v2-6",), ("voice",))
    yield clip({"": "10"}, ("kling-v2-1-master", "kling-v2-master"))
    yield clip({"std": "2", "pro": "3.5"}, ("kling-v2-1", "kling-v1-6", "kling-v1-5"))
    yield clip({"std": "1", "pro": "3.5"}, ("kling-v1",))


def _other_videos() -> Iterator[Price]:
    omni, omni_models = partial(Price, ("omni-video",), "second"), ("kling-v3-omni", "kling-video-o1")
    yield omni({"std": "0.6", "pro": "0.8"}, omni_models)
    yield omni({"std": "0.8", "pro": "1.0"}, ("kling-v3-omni",), ("sound",))
    yield omni({"4k": "3.0"}, ("kling-v3-omni",), ("", "sound"))
    yield omni({"std": "0.9", "pro": "1.2"}, omni_models, ("video",))
    yield Price(("motion-control",), "second", {"std": "0.9", "pro": "1.2"}, ("kling-v3",))
    yield Price(("motion-control",), "second", {"std": "0.5", "pro": "0.8"}, ("kling-v2-6",))
    yield Price(("multi-image2video",), "clip of 5 s", {"std": "2", "pro": "3.5"}, ("kling-v1-6",))
    yield Price(("multi-elements",), "clip of 5 s", {"std": "3", "pro": "5"}, ("kling-v1-6",))
    yield Price(("video-extend",), "task", {"std": "1", "pro": "3.5"}, ("kling-v1",))
    yield Price(("video-extend",), "task", {"std": "2", "pro": "3.5"}, ("kling-v1-5", "kling-v1-6"))
    yield Price(("avatar",), "second", {"std": "0.4", "pro": "0.8"})
    yield Price(("advanced-lip-sync", "lip-sync"), "5 s begun", {"": "0.5"})
    yield Price(("identify-face",), "task", {"": "0.05"})


def _picture(
    endpoint: str, model: str, amount: str, *resolutions: str, beside: tuple[str, ...] = ("",)
) -> Price:
    amounts = dict.fromkeys(resolutions or ("",), amount)
    return Price((endpoint,), "picture", amounts, (model,), beside, "image units")


def _images() -> Iterator[Price]:
    any_way = ("", "image")
    yield _picture("images/generations", "kling-v3", "8", "1k", "2k", beside=any_way)
    yield _picture("images/generations", "kling-v2-1", "4", "1k", "2k")
    yield _picture("images/generations", "kling-v2-1", "8", "1k", "2k", beside=("image",))
    yield _picture("images/generations", "kling-v1", "1", "1k", "2k", beside=any_way)
    yield _picture("images/omni-image", "kling-v3-omni", "8", "1k", "2k")
    yield _picture("images/omni-image", "kling-v3-omni", "16", "4k")
    yield _picture("images/omni-image", "kling-image-o1", "8", "1k", "2k")
    yield _picture("images/multi-image2image", "kling-v2-1", "16")
    yield Price(("images/editing/expand",), "picture", {"": "8"}, currency="image units")
    yield Price(("ai-multi-shot",), "task", {"": "20"}, currency="image units")
    yield Price(("kolors-virtual-try-on",), "task", {"": "0.07"}, currency="USD")
    yield Price(("image-recognize",), "task", {"": "0.1"})


def _sounds() -> Iterator[Price]:
    yield Price(("text-to-audio", "video-to-audio"), "task", {"": "0.25"})
    yield Price(("tts",), "task", {"": "0.05"})
    yield Price(("custom-voices",), "task", {"": "0.05"})


PRICES: tuple[Price, ...] = (*_frames(), *_other_videos(), *_images(), *_sounds())

_CLASSIC_PATHS = {new: classic for classic, new in NEW_PATHS.items()}
_CLASSIC_MODELS = {new: classic for classic, new in NEW_MODELS.items()}


def classic_names(endpoint: str) -> tuple[str, str | None]:
    """The classic endpoint and model under which an endpoint is priced; no model where the request names it.

    :param endpoint: name of an endpoint of either dialect.
    """
    path, _, model = endpoint.partition("/")
    if path not in _CLASSIC_PATHS or not model:
        return endpoint, None
    return _CLASSIC_PATHS[path], _CLASSIC_MODELS.get(model, model)


def prices_of(endpoint: str) -> tuple[Price, ...]:
    """The rows that an endpoint's requests are priced by, of models that it offers.

    :param endpoint: name of an endpoint of either dialect.
    """
    name, model = classic_names(endpoint)
    known = {model} if model else set(models_at(endpoint))
    return tuple(
        price
        for price in PRICES
        if name in price.endpoints and (not price.models or known.intersection(price.models))
    )
