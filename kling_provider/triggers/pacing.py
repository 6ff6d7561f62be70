"""Requests at the pace of a connection, whoever asks in the triggerer."""

from __future__ import annotations

import asyncio
from typing import TypeVar

from kling_provider.api.budget import RequestBudget
from kling_provider.api.calls import Call
from kling_provider.api.errors import ApiFailure, Failure, Reaction
from kling_provider.api.polling import LONGEST_RETRY_AFTER_SECONDS
from kling_provider.hooks.config import KlingConfig
from kling_provider.hooks.kling import KlingAsyncHook

T = TypeVar("T")

#: An answer that trickles in for longer is none.
REQUEST_SECONDS = 120.0


def set_pace(budget: RequestBudget, config: KlingConfig) -> None:
    """Take the pace from the connection: this triggerer's part of it.

    :param budget: of the connection.
    :param config: the connection, as it is now.
    """
    budget.per_second = config.requests_per_second / config.triggerers


async def wait_for_turn(budget: RequestBudget) -> None:
    """Wait until the next request may be sent.

    :param budget: of the connection.
    """
    loop = asyncio.get_running_loop()
    await asyncio.sleep(budget.take(loop.time()))
    while budget.is_paused(loop.time()):
        await asyncio.sleep(budget.take(loop.time()))


async def send_once(hook: KlingAsyncHook, budget: RequestBudget, call: Call[T]) -> T:
    """Send a call whose turn it is, once, and let the pace follow from what comes of it.

    :param hook: of the connection.
    :param budget: of the connection.
    :param call: what to send.
    :raises ApiFailure: if there is no answer, or a bad one.
    """
    try:
        async with asyncio.timeout(REQUEST_SECONDS):
            answer = await hook.send(call, attempts=1)
    except TimeoutError:
        text = f"no whole answer in {REQUEST_SECONDS:g} s"
        raise ApiFailure(Failure(Reaction.SERVER, text, timed_out=True)) from None
    except ApiFailure as error:
        now = asyncio.get_running_loop().time()
        if error.failure.reaction is Reaction.RATE:
            budget.slow_down(now)
        if error.failure.retry_after is not None:
            budget.pause(now + min(error.failure.retry_after, LONGEST_RETRY_AFTER_SECONDS))
        raise
    budget.on_answer()
    return answer
