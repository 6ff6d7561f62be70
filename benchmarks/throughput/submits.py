"""How many submits a second one process makes, one after the other, against a server that books at once.

* **ours**: ``KlingHook().submit``, a new hook for each, as mapped tasks do; it also checks the request and the
  picture, digests it for the id and estimates the price. **async**: one ``KlingAsyncHook``.
* **new session each**: the same hook with a connection of its own for each submit, as before they were shared.
* **requests, new session each**: reads the file, ``requests.post(json=...)``; checks nothing.
* **requests, one session**: the same through one ``Session``: what a loop by hand would be at its best.

All send the same fields. Over https, connecting is what costs.
"""

from __future__ import annotations

import asyncio
import base64
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from benchmarks.throughput.row import Figures, row
from benchmarks.throughput.server import Server

CONNECTION = "AIRFLOW_CONN_KLING_DEFAULT"
_URL = "https://example.com/boat.png"
_ASKED = {"model_name": "kling-v2-6", "prompt": "a boat", "mode": "std", "duration": "5"}
_KEY = {"Authorization": "Bearer bench-key"}


def measure(picture: Path, *, quick: bool = False) -> list[Figures]:
    """Submits per second: small ones, small ones over https, and with a picture of 10 MB.

    :param picture: what the large ones hold.
    :param quick: fewer of them.
    """
    small, large, rounds = (50, 5, 2) if quick else (200, 15, 4)
    rows = []
    for tls in (False, True):
        with Server(tls=tls) as server:
            name = f"submits over {'https' if tls else 'http'}, picture by address"
            rows.append(_row(name, server, _URL, small, rounds))
    with Server() as server:
        rows.append(_row("submits over http, 10 MB picture", server, str(picture), large, rounds))
    return rows


def _row(name: str, server: Server, image: str, count: int, rounds: int) -> Figures:
    from kling_provider.hooks.kling import KlingAsyncHook, KlingHook
    from kling_provider.hooks.sessions import session_for

    os.environ[CONNECTION] = server.connection()
    asked = {"image": image, **_ASKED}

    def ours() -> None:
        KlingHook().submit("image2video", asked)

    def ours_anew() -> None:
        hook = KlingHook()
        hook.submit("image2video", asked)
        session_for(hook.config).close()

    async def many(hook: KlingAsyncHook) -> None:
        for _ in range(count):
            await hook.submit("image2video", asked)

    async def ours_async() -> float:
        async with KlingAsyncHook() as hook:
            await hook.submit("image2video", asked)
            return await _took(many, hook)

    post, close = _by_hand(server, image)
    works: dict[str, Callable[[], None]] = {
        "ours": ours,
        "ours, new session each": ours_anew,
        "requests, new session each": lambda: post(False),
        "requests, one session": lambda: post(True),
    }
    best: dict[str, float] = {}
    for _ in range(rounds):  # in turns: what else runs on the machine meets all
        for who, submit in works.items():
            submit()
            began = time.perf_counter()
            for _ in range(count):
                submit()
            best[who] = max(best.get(who, 0.0), count / (time.perf_counter() - began))
        took = asyncio.run(ours_async())
        best["ours, async"] = max(best.get("ours, async", 0.0), count / took)
    close()
    return row(name, "per second", best)


async def _took(work: Callable[[Any], Awaitable[None]], hook: Any) -> float:
    began = time.perf_counter()
    await work(hook)
    return time.perf_counter() - began


def _by_hand(server: Server, image: str) -> tuple[Callable[[bool], None], Callable[[], None]]:
    """What one writes without a provider."""
    import requests

    verify: str | bool = server.certificate or True
    kept = requests.Session()

    def post(reuse: bool) -> None:
        value = image if "://" in image else base64.b64encode(Path(image).read_bytes()).decode()
        body = {"image": value, **_ASKED}
        send = kept.post if reuse else requests.post
        answer = send(
            f"{server.url}/v1/videos/image2video", json=body, headers=_KEY, timeout=60, verify=verify
        )
        assert answer.json()["data"]["task_id"]

    return post, kept.close
