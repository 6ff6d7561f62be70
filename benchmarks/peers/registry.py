"""Clients that anybody can install, with their own loops and intervals; only their addresses are translated.

Each speaks its own vendor's API. A transport of httpx turns the question into Kling's, and the answer back.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import httpx

from benchmarks.peers.base import PATIENCE_SECONDS, Opened
from benchmarks.server import Booked, Kling

#: Threads for the client that has no other way.
MOST_THREADS = 1024
#: Reads a vendor's path: the task's endpoint and id, and what is asked of it.
Read = Callable[[str], tuple[str, str, str]]
#: Tells Kling's task in a vendor's words.
Tell = Callable[[dict[str, Any], str], dict[str, Any]]


class Translating(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """A transport that asks Kling what a vendor's client asks its vendor.

    :param url: of the simulator.
    :param read: reads the vendor's path.
    :param tell: tells the answer in the vendor's words.
    """

    def __init__(self, url: str, read: Read, tell: Tell):
        self._url, self._read, self._tell = url, read, tell
        self._sync = httpx.HTTPTransport(limits=httpx.Limits(max_connections=None))
        self._async = httpx.AsyncHTTPTransport(limits=httpx.Limits(max_connections=None))

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Translate there and back."""
        what, question = self._question(request)
        answer = self._sync.handle_request(question)
        answer.read()
        return self._answer(answer, what)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Translate there and back."""
        what, question = self._question(request)
        answer = await self._async.handle_async_request(question)
        await answer.aread()
        return self._answer(answer, what)

    def _question(self, request: httpx.Request) -> tuple[str, httpx.Request]:
        endpoint, task_id, what = self._read(request.url.path)
        url = f"{self._url}/v1/videos/{endpoint}/{task_id}"
        headers = {"Authorization": "Bearer sim-key"}
        return what, httpx.Request("GET", url, headers=headers, extensions=request.extensions)

    def _answer(self, answer: httpx.Response, what: str) -> httpx.Response:
        if answer.status_code != 200:
            return httpx.Response(answer.status_code, content=answer.content)
        return httpx.Response(200, json=self._tell(json.loads(answer.content)["data"], what))


# --- runapi-kling: a thread per wait, 2 s -----------------------------------------------------------


def _read_runapi(path: str) -> tuple[str, str, str]:
    *_, operation, task_id = path.split("/")  # /api/v1/kling/image_to_video/{id}
    return operation.replace("_to_", "2"), task_id, ""


def _tell_runapi(data: dict[str, Any], _what: str) -> dict[str, Any]:
    words = {"submitted": "pending", "succeed": "completed"}
    videos = [{"url": one["url"]} for one in data.get("task_result", {}).get("videos", [])]
    return {
        "id": data["task_id"],
        "status": words.get(data["task_status"], data["task_status"]),
        "videos": videos,
    }


class _RunApi:
    def __init__(self, client: Any, workers: ThreadPoolExecutor):
        self._client, self._workers = client, workers

    async def wait(self, task: Booked) -> None:
        resource = getattr(self._client, task.endpoint.replace("2", "_to_"))
        # What ``run`` does after its create.
        await asyncio.get_running_loop().run_in_executor(
            self._workers, lambda: resource._poll_until_complete(lambda: resource.get(task.task_id))
        )


@asynccontextmanager
async def runapi(kling: Kling, _conn_id: str, _interval: float) -> Opened:
    """runapi-kling."""
    from runapi.core.http_client import HttpClient
    from runapi.core.options import ClientOptions
    from runapi.kling import KlingClient

    transport = Translating(kling.url, _read_runapi, _tell_runapi)
    options = ClientOptions(api_key="sk-sample", base_url="http://runapi.invalid")
    client = KlingClient(api_key="sk-sample", http_client=HttpClient(options, transport=transport))
    with ThreadPoolExecutor(MOST_THREADS) as workers:
        yield _RunApi(client, workers)


# --- fal-client: 0.1 s -------------------------------------------------------------------------------


def _read_fal(path: str) -> tuple[str, str, str]:
    _, _owner, endpoint, _requests, task_id, *rest = path.split(
        "/"
    )  # /kling/image2video/requests/{id}/status
    return endpoint, task_id, rest[0] if rest else "result"


def _tell_fal(data: dict[str, Any], what: str) -> dict[str, Any]:
    if what == "result":
        return {"video": {"url": data["task_result"]["videos"][0]["url"]}}
    words = {"submitted": "IN_QUEUE", "succeed": "COMPLETED", "failed": "COMPLETED"}
    return {"status": words.get(data["task_status"], "IN_PROGRESS"), "queue_position": 0, "logs": []}


class _Fal:
    def __init__(self, client: httpx.AsyncClient):
        self._client = client

    async def wait(self, task: Booked) -> None:
        from fal_client import AsyncRequestHandle

        await AsyncRequestHandle.from_request_id(self._client, f"kling/{task.endpoint}", task.task_id).get()


@asynccontextmanager
async def fal(kling: Kling, _conn_id: str, _interval: float) -> Opened:
    """fal-client, its asynchronous half."""
    logging.getLogger("httpx").setLevel(logging.WARNING)
    transport = Translating(kling.url, _read_fal, _tell_fal)
    async with httpx.AsyncClient(transport=transport, timeout=PATIENCE_SECONDS) as client:
        yield _Fal(client)


# --- replicate: 0.5 s --------------------------------------------------------------------------------


def _read_replicate(path: str) -> tuple[str, str, str]:
    endpoint, _, task_id = path.rpartition("/")[2].partition("-")  # /v1/predictions/{endpoint}-{id}
    return endpoint, task_id, endpoint


def _tell_replicate(data: dict[str, Any], what: str) -> dict[str, Any]:
    words = {"submitted": "starting", "succeed": "succeeded"}
    return _prediction(what, data["task_id"], words.get(data["task_status"], data["task_status"]))


def _prediction(endpoint: str, task_id: str, status: str) -> dict[str, Any]:
    return {
        "id": f"{endpoint}-{task_id}",
        "model": "kwaivgi/kling-v2.6",
        "version": "1",
        "status": status,
        "input": {},
        "output": None,
        "logs": "",
        "error": None,
        "metrics": {},
        "created_at": None,
        "started_at": None,
        "completed_at": None,
        "urls": {},
    }


class _Replicate:
    def __init__(self, client: Any):
        self._client = client

    async def wait(self, task: Booked) -> None:
        from replicate.prediction import Prediction

        prediction = Prediction(**_prediction(task.endpoint, task.task_id, "starting"))
        prediction._client = self._client
        await prediction.async_wait()


@asynccontextmanager
async def replicate(kling: Kling, _conn_id: str, _interval: float) -> Opened:
    """replicate, its asynchronous half."""
    from replicate.client import Client

    logging.getLogger("httpx").setLevel(logging.WARNING)
    transport = Translating(kling.url, _read_replicate, _tell_replicate)
    yield _Replicate(Client(api_token="r8_sample", base_url="http://replicate.invalid", transport=transport))  # noqa: S106
