"""A host of files on loopback that misbehaves on request."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ETAG = '"version-1"'


def video(size: int = 4096, seed: bytes = b"kling") -> bytes:
    """A whole MP4, as far as its boxes tell."""
    head = (28).to_bytes(4, "big") + b"ftypisom\x00\x00\x02\x00isomiso2mp41"
    return head + (size + 8).to_bytes(4, "big") + b"mdat" + (seed * (size // len(seed) + 1))[:size]


def picture(seed: bytes = b"kling") -> bytes:
    """A whole PNG, as far as its chunks tell."""

    def chunk(kind: bytes, content: bytes = b"") -> bytes:
        return len(content).to_bytes(4, "big") + kind + content + b"crc."

    return b"\x89PNG\r\n\x1a\n" + chunk(b"IDAT", seed * 20) + chunk(b"IEND")


class FileHost:
    """Serves ``content`` under every path; each request takes the next ``script`` first.

    A script is a dict: ``status``, ``headers``, ``body``; ``cut`` (bytes of the body before the connection is
    closed); ``length`` (what Content-Length says); ``ranges`` False (the Range header is ignored); ``etag``;
    ``chunked``; ``before`` (called when half of the body is out); ``send`` (writes the body), ``before_headers``
    (writes a header before the others).
    """

    def __init__(self, content: bytes = b"", *, ranges: bool = True, etag: str | None = ETAG):
        self.content, self.ranges, self.etag = content, ranges, etag
        self.script: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.headers: list[dict[str, str]] = []
        host = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                host.paths.append(self.path)
                headers = {name.lower(): value for name, value in self.headers.items()}
                host.headers.append(headers)
                with suppress(OSError):
                    host._answer(self, headers, host.script.pop(0) if host.script else {})

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def ranges_asked(self) -> list[str | None]:
        return [headers.get("range") for headers in self.headers]

    def _answer(self, to: BaseHTTPRequestHandler, headers: dict[str, str], how: dict[str, Any]) -> None:
        body, status, extra = (
            how.get("body", self.content),
            how.get("status", 200),
            dict(how.get("headers", {})),
        )
        etag = how.get("etag", self.etag)
        wanted = re.fullmatch(r"bytes=(\d+)-", headers.get("range", ""))
        unchanged = headers.get("if-range", etag) == etag
        if wanted and how.get("ranges", self.ranges) and unchanged and status == 200:
            begin, whole = int(wanted[1]), len(body)
            status, body = 206, body[begin:]
            extra.setdefault("Content-Range", f"bytes {begin}-{whole - 1}/{whole}")
        if etag:
            extra.setdefault("ETag", etag)
        to.send_response(status)
        if "before_headers" in how:
            to.flush_headers()
            how["before_headers"](to.wfile, b"X-Note: " + b"x" * 4000 + b"\r\n")
        for name, value in extra.items():
            to.send_header(name, value)
        chunked = how.get("chunked", False)
        if chunked:
            to.send_header("Transfer-Encoding", "chunked")
        elif how.get("length", "right") is not None:
            to.send_header("Content-Length", str(how.get("length", len(body))))
        to.end_headers()
        body = body[: how.get("cut", len(body))]
        before: Callable[[], object] | None = how.get("before")
        if before is not None:
            to.wfile.write(body[: len(body) // 2])
            to.wfile.flush()
            before()
            body = body[len(body) // 2 :]
        if chunked:
            body = b"%x\r\n%b\r\n" % (len(body), body) + (b"" if "cut" in how else b"0\r\n\r\n")
        how.get("send", lambda wfile, rest: wfile.write(rest))(to.wfile, body)
