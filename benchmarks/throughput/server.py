"""A Kling that answers at once, in a process of its own: so that the client is measured, not the server.

It reads each POST to its end and books it, unseen; ``/file.mp4`` is a file on disk, sent by the kernel.
"""

from __future__ import annotations

import json
import os
import re
import ssl
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self

_BOOKED = json.dumps(
    {"code": 0, "message": "", "request_id": "r", "data": {"task_id": "7", "task_status": "submitted"}}
).encode()


class Server:
    """The server in another process. Use as a context manager.

    :param file: what ``/file.mp4`` is.
    :param tls: whether it speaks https; its certificate is in ``certificate``.
    """

    def __init__(self, file: Path | None = None, *, tls: bool = False):
        self._file, self._tls = file, tls
        self._process: subprocess.Popen[str] | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="kling-bench-")
        self.url = self.certificate = ""

    def __enter__(self) -> Self:
        arguments = [str(self._file or "")]
        if self._tls:
            from kling_provider.simulator.tls import make_certificate

            certificate, key = make_certificate(Path(self._folder.name), "127.0.0.1")
            self.certificate = str(certificate)
            arguments += [str(certificate), str(key)]
        self._process = subprocess.Popen(  # noqa: S603 - ourselves
            [sys.executable, "-m", "benchmarks.throughput.server", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()
        if not self.url:
            raise RuntimeError("the server of the benchmark did not start")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        self._process.communicate()  # the end of its input ends it
        self._folder.cleanup()

    def connection(self) -> str:
        """The Airflow connection that leads here."""
        extra = {"verify": self.certificate} if self._tls else {}
        return json.dumps({"conn_type": "kling", "host": self.url, "password": "bench-key", "extra": extra})


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body of an answer in one packet
    path_of_file = ""

    def do_POST(self) -> None:
        left = int(self.headers["Content-Length"])
        while left:
            left -= len(self.rfile.read(min(left, 2**18)))
        self._head(200, len(_BOOKED))
        self.wfile.write(_BOOKED)

    def do_GET(self) -> None:
        with open(self.path_of_file, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            begin = re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))
            at = int(begin[1]) if begin else 0
            self._head(206 if at else 200, size - at, f"bytes {at}-{size - 1}/{size}" if at else None)
            self.wfile.flush()
            with suppress(OSError):
                self.connection.sendfile(file, at)

    def _head(self, status: int, length: int, content_range: str | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        if content_range:
            self.send_header("Content-Range", content_range)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def main() -> None:
    """Serve until standard input ends."""
    file, *certificate = sys.argv[1:]
    _Handler.path_of_file = file
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"{'https' if certificate else 'http'}://127.0.0.1:{server.server_port}", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
