"""A private Redis: its own folder and port, only on loopback, gone with the ``with`` block."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from scripts.debian import install
from scripts.private_airflow import free_port
from scripts.processes import Programs, tail


class RedisError(RuntimeError):
    """There is no Redis, or it did not start."""


class PrivateRedis:
    """Start an empty Redis. Nothing is kept."""

    def __init__(self) -> None:
        self.port = free_port()
        self._server = find_server()
        self._folder = Path(tempfile.mkdtemp(prefix="kling-redis-"))
        self._programs = Programs()

    @property
    def url(self) -> str:
        """For Airflow's ``[celery] broker_url``."""
        return f"redis://127.0.0.1:{self.port}/0"

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _start(self) -> None:
        log = self._folder / "log"
        command = [self._server, "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        self._programs.start("redis", command, log=log, env=dict(os.environ), cwd=self._folder)
        deadline = time.monotonic() + 30
        while not self._answers():
            if time.monotonic() > deadline:
                raise RedisError(f"Redis did not start:\n{tail(log)}")
            time.sleep(0.1)

    def _stop(self) -> None:
        self._programs.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False


def find_server() -> str:
    """The path of ``redis-server``; as root on Debian or Ubuntu, it is installed if need be.

    :raises RedisError: with what to install.
    """
    if not shutil.which("redis-server"):
        install("redis-server")
    if found := shutil.which("redis-server"):
        return found
    raise RedisError("There is no Redis server here. Install it (Debian, Ubuntu: apt install redis-server).")
