"""Result files, as a CDN serves them: Content-Length, ETag, Range, HEAD, and an end."""

from __future__ import annotations

import asyncio
import hashlib
import re

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from kling_provider.simulator.simulation import Simulation

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")

#: Ending of a file -> what it is.
_TYPES = {"mp4": "video/mp4", "png": "image/png", "mp3": "audio/mpeg", "wav": "audio/wav"}


def base_of(request: Request) -> str:
    """The address this server was asked at."""
    return f"{request.url.scheme}://{request.url.netloc}"


async def send_file(simulation: Simulation, request: Request) -> Response:
    """Send a file, or the part of it that was asked for."""
    name = request.path_params["name"]
    recipe = simulation.recipe(name)
    if recipe is None:
        return PlainTextResponse("not found", 404)
    if not simulation.may_fetch(name, request.query_params):
        return PlainTextResponse("this address is over", 403)
    file = await asyncio.wrap_future(simulation.studio.make(recipe))
    content = await asyncio.to_thread(file.read_bytes)
    etag = f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'
    headers = {"accept-ranges": "bytes", "etag": etag, "content-type": _TYPES[name.rpartition(".")[2]]}
    wanted = _part(request, len(content), etag)
    if wanted is None:
        return _content(request, content, 200, headers)
    start, end = wanted
    if start >= end:
        return Response(status_code=416, headers={**headers, "content-range": f"bytes */{len(content)}"})
    headers["content-range"] = f"bytes {start}-{end - 1}/{len(content)}"
    return _content(request, content[start:end], 206, headers)


def _part(request: Request, size: int, etag: str) -> tuple[int, int] | None:
    """The asked part as start and end; None for the whole; an empty one cannot be had."""
    match = _RANGE.fullmatch(request.headers.get("range", "").replace(" ", ""))
    if match is None or request.headers.get("if-range", etag) != etag:
        return None
    first, last = match.groups()
    if not first:
        return (max(size - int(last), 0), size) if last else None
    return int(first), min(int(last) + 1, size) if last else size


def _content(request: Request, content: bytes, status: int, headers: dict[str, str]) -> Response:
    if request.method == "HEAD":
        return Response(status_code=status, headers={**headers, "content-length": str(len(content))})
    return Response(content, status, headers)
