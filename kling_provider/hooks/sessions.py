"""Pooled sessions that all blocking hooks of a process share, so that a mapped task need not connect anew."""

from __future__ import annotations

import json
import os
import threading
import time
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
from airflow.providers.common.compat.sdk import Connection
from airflow.providers.http.hooks.http import HttpHook
from requests_toolbelt.adapters.socket_options import TCPKeepAliveAdapter  # type: ignore[import-untyped]

from kling_provider.hooks.config import KlingConfig

#: A POST goes out over a connection that was used so recently, or over a new one. Servers close idle connections after
#: 2 s (gunicorn), 5 s (Node.js, Apache) or more, and a POST that meets the closing is lost without an answer: it may
#: be paid, and is looked for until that is known. Connecting anew costs a fraction of that.
MAX_IDLE_SECONDS = 1.0
#: Connections with different hosts, proxies or TLS options that one thread keeps open; the oldest is closed.
MOST_SESSIONS = 8


class _FreshForPosts(TCPKeepAliveAdapter):  # type: ignore[misc]
    """Sends a POST over a connection that the other side cannot have closed for being idle."""

    _used_at = 0.0

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        if request.method == "POST" and time.monotonic() - self._used_at > MAX_IDLE_SECONDS:
            self.close()  # of the pool's connections only: it opens new ones
        try:
            response: requests.Response = super().send(request, *args, **kwargs)
        finally:
            self._used_at = time.monotonic()
        return response


class _SessionMaker(HttpHook):
    """The HTTP provider's session (proxies, TLS, keep-alive) without its headers and its authentication.

    HttpHook turns every extra it does not know into a request header; so it is shown only those it knows.
    """

    def __init__(self, config: KlingConfig):
        super().__init__(adapter=_FreshForPosts(idle=120, count=20, interval=30))
        self._shown = Connection(
            conn_id=config.conn_id,
            conn_type="http",
            host=config.base_url,
            extra=json.dumps(dict(config.http_extras)),
        )

    def get_connection(self, conn_id: str) -> Any:  # type: ignore[override]
        """Give the sanitized connection, whatever is asked for."""
        return self._shown


class _PerThread(threading.local):
    """Sessions by what they were made for. A fork must not speak into its parent's sockets."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.sessions: dict[str, requests.Session] = {}


_kept = _PerThread()


def session_for(config: KlingConfig) -> requests.Session:
    """Give this thread's session for a connection; hooks with equal host, proxies and TLS options get the same.

    The key is no part of it: each request brings its own Authorization.

    :param config: of the connection.
    """
    if _kept.pid != os.getpid():
        _kept.pid, _kept.sessions = os.getpid(), {}
    wanted = json.dumps([config.base_url, dict(config.http_extras)], sort_keys=True)
    session = _kept.sessions.pop(wanted, None) or _made(config)
    _kept.sessions[wanted] = session  # the last one used stands last
    while len(_kept.sessions) > MOST_SESSIONS:
        _kept.sessions.pop(next(iter(_kept.sessions))).close()
    return session


def _made(config: KlingConfig) -> requests.Session:
    session = _SessionMaker(config).get_conn()
    # Otherwise requests replaces our Authorization by what a ~/.netrc says about the host.
    session.auth = _keep_authorization
    # What is told to one account must not come back with a request of another.
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
    if isinstance(session.cert, list):  # JSON knows no tuples, and requests no lists
        session.cert = (session.cert[0], session.cert[1])
    return session


def _keep_authorization(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request
