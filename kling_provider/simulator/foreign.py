"""Other people's tasks in the same account: an account is rarely ours alone."""

from __future__ import annotations

from kling_provider.api.endpoints import ENDPOINTS
from kling_provider.simulator.accounts import Account
from kling_provider.simulator.film import Film
from kling_provider.simulator.results.videos import video
from kling_provider.simulator.tasks import Order
from kling_provider.simulator.world import World

#: What most people make.
POPULAR = ("text2video", "image2video")
#: They made one video every so many seconds, back from now.
EVERY_SECONDS = 600

FILM = Film((1280, 720), 5, 24, words="somebody else's video")


def add_foreign(
    world: World, account: Account, now: float, count: int = 0, running: int | None = None
) -> None:
    """Put other people's tasks into an account.

    :param count: so many finished ones, back over the months, spread over what most people make.
    :param running: let exactly so many hold a video slot until this is called again.
    """
    made = (video(FILM),)
    orders = [Order(ENDPOINTS[name], {"model_name": "kling-v2-6"}, results=made) for name in POPULAR]
    for number in range(count):
        order = orders[number % len(orders)]
        created = now - (number + 1) * EVERY_SECONDS
        world.plant(account, order, created, created + order.endpoint.typical_seconds)
    if running is not None:
        held = [
            task.task_id
            for task in world.tasks.values()
            if task.is_foreign and task.account == account.name and not task.is_terminal
        ]
        world.finish(held[running:], now)
        for _ in range(running - len(held)):
            world.plant(account, orders[0], now)
