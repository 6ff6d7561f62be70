"""Many tasks at once, without a request each: for measurements with thousands of waits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kling_provider.api.endpoints import endpoint_for
from kling_provider.simulator.accounts import Account
from kling_provider.simulator.film import Film
from kling_provider.simulator.results.videos import video
from kling_provider.simulator.tasks import Order, SimTask
from kling_provider.simulator.world import World

FILM = Film((1280, 720), 5, 24, words="one of many videos")


def add_crowd(
    world: World,
    account: Account,
    now: float,
    *,
    endpoint: str,
    seconds: Sequence[float],
    ages: Sequence[float] = (),
    body: Mapping[str, Any] | None = None,
) -> list[SimTask]:
    """Book tasks that hold their slots and are paid as if each had been submitted, whatever the account allows.

    :param endpoint: name of their endpoint.
    :param seconds: how long each works, in simulated seconds.
    :param ages: how many real seconds ago each was booked; now, where it is left out.
    :param body: what was asked, for all of them.
    :raises ValueError: if there are ages, but not one for each.
    """
    if ages and len(ages) != len(seconds):
        raise ValueError(f"{len(seconds)} tasks, but {len(ages)} ages")
    order = Order(endpoint_for(endpoint), dict(body or {}), results=(video(FILM),))
    return [
        world.put(account, order, now - age, lasts)
        for lasts, age in zip(seconds, ages or [0.0] * len(seconds), strict=True)
    ]
