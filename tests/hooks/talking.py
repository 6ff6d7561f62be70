"""What the tests of the hooks share: one face for both hooks, small servers, and the worlds they talk to."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit
from urllib.request import ProxyHandler, Request, build_opener

from kling_provider.hooks.config import KlingConfig
from kling_provider.hooks.kling import KlingAsyncHook, KlingHook

CONNECTION = "AIRFLOW_CONN_KLING_DEFAULT"
URL_PICTURE = "https://example.com/cat.png?size=1&b=%20#a"
REQUEST = {"image": URL_PICTURE, "prompt": "a cat"}


class Talker:
    """Either hook, called without await; the asynchronous one keeps one event loop."""

    def __init__(self, kind: str, conn_id: str = "kling_default", **arguments: Any):
        self.kind = kind
        self.loop = asyncio.new_event_loop() if kind == "async" else None
        self.hook: Any = (KlingHook if self.loop is None else KlingAsyncHook)(conn_id, **arguments)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self.hook, name)
        if self.loop is None:
            return method
        return lambda *args, **kwargs: self.loop.run_until_complete(method(*args, **kwargs))

    @property
    def config(self) -> KlingConfig:
        if self.loop is None:
            return self.hook.config
        return self.loop.run_until_complete(self.hook.get_config())

    def close(self) -> None:
        if self.loop is not None:
            self.loop.run_until_complete(self.hook.close())
            self.loop.close()


def connection(host: str | None, password: str | None, *, login: str = "", **extra: Any) -> str:
    """A connection of type kling as JSON."""
    fields = {"conn_type": "kling", "host": host, "login": login, "password": password, "extra": extra}
    return json.dumps({name: value for name, value in fields.items() if value})


class Listener:
    """Accepts connections and, unless told otherwise, never answers; counts them."""

    def __init__(self, answer: bytes | None = None):
        self.answer = answer
        self.heard: list[bytes] = []
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                self._sockets.append(sock)
                threading.Thread(target=self._hear, args=(sock,), daemon=True).start()

    def _hear(self, sock: socket.socket) -> None:
        with suppress(OSError):
            data = sock.recv(65536)
            self.heard.append(data)
            if self.answer is not None:
                sock.sendall(self.answer)
                sock.close()

    def has_heard(self, count: int) -> bool:
        """Whether it has been asked just so often; it may hear later than the caller gives up."""
        deadline = time.monotonic() + 10
        while len(self.heard) < count and time.monotonic() < deadline:
            time.sleep(0.01)
        return len(self.heard) == count

    def __enter__(self) -> Listener:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()
        for sock in self._sockets:
            sock.close()


class Proxy:
    """A forwarding HTTP proxy on loopback that remembers what went through it."""

    def __init__(self) -> None:
        self.forwarded: list[str] = []
        self.headers: list[dict[str, str]] = []
        proxy, opener = self, build_opener(ProxyHandler({}))

        class Handler(BaseHTTPRequestHandler):
            def _forward(self) -> None:
                proxy.forwarded.append(f"{self.command} {self.path}")
                proxy.headers.append({name.lower(): value for name, value in self.headers.items()})
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                headers = {n: v for n, v in self.headers.items() if n.lower() not in ("host", "connection")}
                with opener.open(
                    Request(self.path, body or None, headers, method=self.command), timeout=5
                ) as answer:
                    content = answer.read()
                    self.send_response(answer.status)
                    self.send_header("Content-Type", answer.headers.get("Content-Type", ""))
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = _forward

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.port = urlsplit(self.url).port
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
