"""From a request that passed the rules to what is booked: its results, its price, and why it will fail."""

from __future__ import annotations

from collections.abc import Mapping

from kling_provider.api.pricing import estimate_units, estimate_usd
from kling_provider.simulator.asked import Asked
from kling_provider.simulator.pictures import Picture
from kling_provider.simulator.refusals import Refusal
from kling_provider.simulator.results.planned import Planned
from kling_provider.simulator.results.table import plan
from kling_provider.simulator.tasks import Order

#: Whose ``task_info`` names the video that they are made from.
_TELL_THEIR_PARENT = frozenset({"video-extend", "video-to-audio"})


def order_of(asked: Asked) -> Order:
    """What is booked for a request, at the price that the real length of its inputs makes."""
    name, body, seconds = asked.endpoint.name, asked.body, asked.input_seconds
    return Order(
        asked.endpoint,
        body,
        asked.external_task_id,
        _planned(asked),
        units=estimate_units(name, body, input_seconds=seconds),
        usd=estimate_usd(name, body, input_seconds=seconds),
        fails_with=_wrong_masks(asked.pictures),
        parent=_parent(asked),
    )


def _planned(asked: Asked) -> tuple[Planned, ...]:
    """What a task will give; calls do their work first.

    :raises Refusal: 1201 for what passed only because the setting ``validate_requests`` lets it.
    """
    if asked.endpoint.work != "task":
        return ()
    try:
        return plan(asked)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise Refusal(1201, f"request is invalid: {error}") from error


def _parent(asked: Asked) -> dict[str, str] | None:
    """The video of ours that another one is made from."""
    clip = asked.clip
    if clip is None or clip.task is None or asked.endpoint.name not in _TELL_THEIR_PARENT:
        return None
    return {"id": clip.shown, "duration": f"{clip.seconds:.1f}"}


def _wrong_masks(pictures: Mapping[str, Picture]) -> str | None:
    """Masks of another shape than the picture fail later, not at once."""
    masks = [picture for name, picture in pictures.items() if "mask" in name and picture.size]
    image = pictures.get("image")
    if len({mask.size for mask in masks}) > 1:
        return "The resolutions of static_mask and dynamic_masks differ"
    if masks and image and image.size and abs(masks[0].ratio - image.ratio) > 0.01:
        return "The aspect ratio of the mask differs from the image"
    return None
