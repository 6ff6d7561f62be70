"""How much memory a submit with a picture of 10 MB takes at its peak, as a multiple of the picture.

Each in a process of its own, counted by Python's allocator from the submit on; the picture is given as a path.
**requests, json=** reads the file, encodes it and lets ``requests`` build the body: what one writes by hand.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.throughput.row import Figures, row
from benchmarks.throughput.server import Server
from benchmarks.throughput.submits import CONNECTION

_SCRIPT = """
import asyncio, base64, sys, tracemalloc
import requests
from kling_provider.hooks.kling import KlingAsyncHook, KlingHook

kind, picture, url = sys.argv[1:]

def submit(image):
    asked = {"image": image, "prompt": "a boat"}
    if kind == "ours":
        KlingHook().submit("image2video", asked)
    elif kind == "ours, async":
        asyncio.run(submit_async(asked))
    else:
        if "://" not in image:
            asked["image"] = base64.b64encode(open(image, "rb").read()).decode()
        requests.post(url + "/v1/videos/image2video", json=asked, timeout=60).json()

async def submit_async(asked):
    async with KlingAsyncHook() as hook:
        await hook.submit("image2video", asked)

submit("https://example.com/boat.png")  # imports are not what is measured
tracemalloc.start()
submit(picture)
print(tracemalloc.get_traced_memory()[1])
"""


def measure(picture: Path) -> list[Figures]:
    """Peak memory of one submit.

    :param picture: what it holds.
    """
    figures = {}
    with Server() as server, tempfile.TemporaryDirectory(prefix="kling-bench-") as home:
        environment = {
            **os.environ,
            "AIRFLOW_HOME": home,
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
            CONNECTION: server.connection(),
        }
        for kind in ("ours", "ours, async", "requests, json="):
            told = subprocess.run(  # noqa: S603 - ourselves
                [sys.executable, "-c", _SCRIPT, kind, str(picture), server.url],
                env=environment,
                capture_output=True,
                text=True,
                check=True,
            )
            figures[kind] = int(told.stdout.split()[-1]) / picture.stat().st_size
    return [row("peak memory of a 10 MB submit", "x picture", figures)]
