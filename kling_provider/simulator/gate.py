"""The gate every request passes: it is noted, meets its faults, and is answered or cut off."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from email.utils import formatdate
from typing import Any

from kling_provider.simulator.faults import Answer, spoil, text_answer
from kling_provider.simulator.journal import Recorded
from kling_provider.simulator.simulation import Simulation

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

CONTROL_PLANE = "/_simulator"
MAX_BODY = 128 * 1024**2
#: The ASGI extension under which the server offers to close a connection without an answer.
CUT = "kling_simulator.cut"


class Cut(Exception):
    """The connection is to be closed without an answer."""


class Gate:
    """ASGI middleware around the whole app; the control plane passes freely."""

    def __init__(self, app: App, simulation: Simulation):
        self._app = app
        self._simulation = simulation

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or scope["path"].startswith(CONTROL_PLANE):
            await self._app(scope, receive, send)
            return
        body = await _read(receive)
        if body is None:
            await _send(send, text_answer(413, "too large", "text/plain", {}))
            return
        simulation = self._simulation
        with simulation.lock:
            record = simulation.journal.write(
                simulation.now,
                scope["method"],
                scope["path"],
                scope["query_string"].decode("latin-1"),
                scope["headers"],
                body,
            )
        try:
            answer = await self._answer(scope, body, record)
        except Cut:
            answer = None
        record.seconds = simulation.now - record.at
        if answer is None:
            await _cut(scope, receive, flush=False)
            return
        record.status = answer.status
        date = formatdate(simulation.now + simulation.settings.clock_skew, usegmt=True).encode()
        await _send(
            send, Answer(answer.status, (*answer.headers, (b"date", date)), answer.body, answer.cut_at)
        )
        if answer.cut_at is not None:
            await _cut(scope, receive, flush=True)

    async def _answer(self, scope: Scope, body: bytes, record: Recorded) -> Answer | None:
        simulation = self._simulation
        generation = simulation.generation
        with simulation.lock:
            faults = simulation.faults.take(scope["method"], scope["path"])
        record.faults = [fault.kind for fault in faults]

        async def late(booked: bool) -> None:
            seconds = sum(
                one.seconds for one in faults if one.kind == "latency" and one.is_carried_out is booked
            )
            await asyncio.sleep(seconds)
            # A request that hung over a reset must not book a task in the next test's world.
            if simulation.generation != generation:
                raise Cut

        async def carry_out() -> Answer:
            await late(booked=False)
            answer = await _run(self._app, scope, body, record)
            await late(booked=True)
            return answer

        for fault in faults:
            if fault.kind != "latency":
                if not fault.is_carried_out:
                    await late(booked=False)
                return await spoil(fault, scope["path"], carry_out)
        return await carry_out()


async def _read(receive: Receive) -> bytes | None:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > MAX_BODY:
            return None
        if not message.get("more_body", False):
            return b"".join(parts)


async def _run(app: App, scope: Scope, body: bytes, record: Recorded) -> Answer:
    """Let the app answer into memory."""
    start: Message = {}
    parts: list[bytes] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            start.update(message)
        else:
            parts.append(message.get("body", b""))

    inner = dict(scope)
    inner["state"] = {}
    try:
        await app(inner, receive, send)
    except Exception:  # Starlette answers 500 and raises all the same; the app has logged it
        if not start:
            raise
    record.code = inner["state"].get("code")
    return Answer(start["status"], tuple(start["headers"]), b"".join(parts))


async def _send(send: Send, answer: Answer) -> None:
    await send({"type": "http.response.start", "status": answer.status, "headers": list(answer.headers)})
    body = answer.body if answer.cut_at is None else answer.body[: answer.cut_at]
    await send({"type": "http.response.body", "body": body, "more_body": answer.cut_at is not None})


async def _cut(scope: Scope, receive: Receive, *, flush: bool) -> None:
    """Close the connection; ASGI has no word for it, so the server must offer one."""
    cut = scope.get("extensions", {}).get(CUT)
    if cut is None:
        raise ConnectionAbortedError("a fault cut this connection; the server cannot do that politely")
    cut(flush)
    while (await receive())["type"] != "http.disconnect":
        pass
