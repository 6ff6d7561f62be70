"""The web application behind the tab: two pages, and the stored files they show.

The pages hold nothing; their script asks Airflow's API with the viewer's own session. Only a stored file comes from
here, after Airflow's own check that this viewer may read the XComs and task instances of this DAG.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from configparser import Error as ConfigError
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import requires_access_dag
from airflow.providers.common.compat.sdk import conf
from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi import Path as InPath
from fastapi.responses import Response, StreamingResponse
from starlette.datastructures import MutableHeaders
from starlette.staticfiles import StaticFiles

from kling_provider.api.endpoints import ENDPOINTS
from kling_provider.api.gateways import GATEWAYS
from kling_provider.api.price_list import USD_PER_VIDEO_UNIT
from kling_provider.api.pricing import usd_of
from kling_provider.plugins.kling import Receive, Scope, Send
from kling_provider.plugins.manifests import asked_uri, stored_uri
from kling_provider.plugins.pages import PAGES, answer_with
from kling_provider.plugins.previews import NotReadable, NotShown, Root, open_stored, read_roots

log = logging.getLogger(__name__)

_STATIC = Path(__file__).parent / "static"
#: Of all answers; a page may do a little more, by headers of its own.
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'; sandbox"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}
_RANGE = re.compile(r"bytes=(\d{1,18})?-(\d{1,18})?")
#: As the database can hold it.
MapIndex = Annotated[int, InPath(ge=-1, lt=2**31)]

router = APIRouter(
    dependencies=[
        # Both read the path parameter that is called dag_id, so it must be called so.
        Depends(requires_access_dag("GET", DagAccessEntity.XCOM)),
        Depends(requires_access_dag("GET", DagAccessEntity.TASK_INSTANCE)),
    ]
)


@router.api_route("/stored/{dag_id}/{run_id}/{task_id}/{map_index}/{number}", methods=["GET", "HEAD"])
def stored(
    request: Request, dag_id: str, run_id: str, task_id: str, map_index: MapIndex, number: int
) -> Response:
    """Give a file of the manifest that this task instance returned.

    :param number: its place in the manifest, from 0.
    """
    return _answer(request, stored_uri(dag_id, run_id, task_id, map_index, number))


@router.api_route("/asked/{dag_id}/{run_id}/{task_id}/{map_index}/{field}", methods=["GET", "HEAD"])
def asked(
    request: Request, dag_id: str, run_id: str, task_id: str, map_index: MapIndex, field: str
) -> Response:
    """Give a picture that this task instance was asked to use.

    :param field: dotted name in the rendered fields: ``image``, ``image_list.0.image``.
    """
    return _answer(request, asked_uri(dag_id, run_id, task_id, map_index, field))


def make_app() -> FastAPI:
    """Make the application; once per api-server process."""
    app = FastAPI(title="Kling", docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(router)
    app.add_api_route("/facts.json", _facts, methods=["GET", "HEAD"])
    for page, script in PAGES.items():
        app.add_api_route(f"/{page}", partial(answer_with, script), methods=["GET", "HEAD"])
    app.mount("/", StaticFiles(directory=_STATIC))
    app.add_middleware(_SafeHeaders)
    return app


class _SafeHeaders:
    """Puts the headers that protect the viewer on every answer."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_safely(message: Any) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_safely)


def _facts() -> Mapping[str, Any]:
    """What the pages need of the provider's tables; nothing of this deployment but whether there are previews."""
    return {
        "previews": bool(_roots()),
        "usual_seconds": {row.name: row.typical_seconds for row in ENDPOINTS.values() if row.typical_seconds},
        "usd_per_unit": {name: _usd_per_unit(name) for name in ENDPOINTS},
        "usd_per_video_unit": float(USD_PER_VIDEO_UNIT),
        "result_ttl_days": GATEWAYS["official"].result_ttl_days,
    }


def _usd_per_unit(endpoint: str) -> float | None:
    usd = usd_of(endpoint, Decimal(1))
    return None if usd is None else float(usd)


def _roots() -> tuple[Root, ...]:
    try:
        return read_roots(conf.get("kling", "preview_roots", fallback=""))
    except (ValueError, ConfigError) as error:  # the tab is worth having without previews
        log.error("No stored file is shown in the Kling tab: %s", error)
        return ()


def _answer(request: Request, uri: str | None) -> Response:
    """The whole file or the part that was asked for; not found, whatever is wrong with it."""
    if uri is None:
        return Response(status_code=404)
    try:
        file = open_stored(uri, _roots())
    except NotShown as error:
        level = logging.WARNING if isinstance(error, NotReadable) else logging.INFO
        log.log(level, "Not shown in the Kling tab: %s", error)
        return Response(status_code=404)
    headers = {
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-store",  # rights end
        "Content-Disposition": "inline",
        "Content-Encoding": "identity",  # else some Airflow compresses it, and no range fits
    }
    status, start, end = _part(request.headers.get("range"), file.size)
    if status == 416:
        return Response(status_code=416, headers=headers | {"Content-Range": f"bytes */{file.size}"})
    if status == 206:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{file.size}"
    headers["Content-Length"] = str(end - start)
    body = iter(()) if request.method == "HEAD" else file.chunks(start, end)
    return StreamingResponse(body, status, headers=headers, media_type=file.media.mime)


def _part(asked_for: str | None, size: int) -> tuple[int, int, int]:
    """Status, first byte and the byte behind the last of what a Range header asks for; several ranges: all."""
    match = _RANGE.fullmatch(asked_for or "")
    if match is None or not (match[1] or match[2]):
        return 200, 0, size
    if not match[1]:
        last = int(match[2])
        return (206, max(0, size - last), size) if last and size else (416, 0, 0)
    start, end = int(match[1]), min(size, int(match[2]) + 1) if match[2] else size
    return (206, start, end) if start < end else (416, 0, 0)
