"""The tab "Kling" of task instances and DAG runs.

Every Airflow process imports this module, so nothing but Airflow's own base class is imported here; the web
application is made in the api-server, when the tab is first looked at.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from airflow.providers.common.compat.sdk import AirflowPlugin, conf

#: Below the address of Airflow. Never change one without the other: links to tabs are kept.
PREFIX = "/kling"

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


class KlingUI:
    """The web application behind the tab, made at the first request."""

    def __init__(self) -> None:
        self._app: Any = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request (ASGI)."""
        if self._app is None:
            from kling_provider.plugins.app import make_app

            self._app = make_app()
        await self._app(scope, receive, send)


def _views() -> list[dict[str, Any]]:
    """Addresses are relative: Airflow may live below a path. What Airflow does not know stays ``{MAP_INDEX}``."""
    look = {
        "name": "Kling",
        "icon": f"{PREFIX[1:]}/icon.svg",
        "icon_dark_mode": f"{PREFIX[1:]}/icon-dark.svg",
    }
    task = "task.html?dag={DAG_ID}&run={RUN_ID}&task={TASK_ID}&map={MAP_INDEX}"
    return [
        look | {"destination": "task_instance", "url_route": "kling-task", "href": f"{PREFIX[1:]}/{task}"},
        look
        | {
            "destination": "dag_run",
            "url_route": "kling-run",
            "href": f"{PREFIX[1:]}/run.html?dag={{DAG_ID}}&run={{RUN_ID}}",
        },
    ]


class KlingPlugin(AirflowPlugin):
    """Adds the tab, from Airflow 3.1 on, unless ``[kling] ui_tab`` is off; 3.0 has no such tabs."""

    name = "kling"
    _shown = hasattr(AirflowPlugin, "external_views") and conf.getboolean("kling", "ui_tab", fallback=True)
    fastapi_apps = [{"app": KlingUI(), "url_prefix": PREFIX, "name": "Kling"}] if _shown else []
    external_views = _views() if _shown else []
