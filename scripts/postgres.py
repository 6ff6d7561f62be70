"""A private PostgreSQL: its own folder and port, only on loopback, gone with the ``with`` block."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from scripts.debian import install
from scripts.private_airflow import free_port
from scripts.processes import Programs, tail

#: The server refuses to run as root; Debian's package makes this user.
USER = "postgres"


class PostgresError(RuntimeError):
    """There is no PostgreSQL, or it did not start."""


class PrivatePostgres:
    """Start a PostgreSQL with an empty database ``airflow``. Nothing is kept, and nothing is synced to disk."""

    def __init__(self) -> None:
        self.port = free_port()
        self._binaries = find_binaries()
        self._folder = Path(tempfile.mkdtemp(prefix="kling-postgres-"))
        self._programs = Programs()

    @property
    def server(self) -> str:
        """The address of the server; a slash and a database's name make it one of a database."""
        return f"postgresql+psycopg2://airflow@127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """For Airflow's ``[database] sql_alchemy_conn``."""
        return f"{self.server}/airflow"

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
        data, log = self._folder / "data", self._folder / "log"
        if os.geteuid() == 0:
            user = pwd.getpwnam(USER)
            os.chown(self._folder, user.pw_uid, user.pw_gid)
        self._run("initdb", "-D", str(data), "-U", "airflow", "-A", "trust", "-E", "UTF8", "--no-sync")
        options = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": self._folder,
        }
        options |= {
            "fsync": "off",
            "synchronous_commit": "off",
            "full_page_writes": "off",
            "max_connections": 200,
        }
        settings = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        command = [*self._as_user(), str(self._binaries / "postgres"), "-D", str(data), *settings]
        self._programs.start("postgres", command, log=log, env=dict(os.environ), cwd=self._folder)
        deadline = time.monotonic() + 30
        while not self._answers():
            if time.monotonic() > deadline:
                raise PostgresError(f"PostgreSQL did not start:\n{tail(log)}")
            time.sleep(0.2)
        self.create_database("airflow")

    def _stop(self) -> None:
        self._programs.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def create_database(self, name: str) -> None:
        """Create one more, empty."""
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "airflow", name)

    def _answers(self) -> bool:
        command = [str(self._binaries / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(command, check=False).returncode == 0

    def _run(self, name: str, *arguments: str) -> None:
        command = [*self._as_user(), str(self._binaries / name), *arguments]
        done = subprocess.run(command, cwd=self._folder, capture_output=True, text=True, check=False)
        if done.returncode:
            raise PostgresError(f"{name} failed:\n{done.stdout}{done.stderr}")

    def _as_user(self) -> list[str]:
        return ["runuser", "-u", USER, "--"] if os.geteuid() == 0 else []


def find_binaries() -> Path:
    """The folder with ``initdb`` and ``postgres``; as root on Debian or Ubuntu, they are installed if need be.

    :raises PostgresError: with what to install.
    """
    for attempt in range(2):
        versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: path.parts[-3])
        found = versions[-1] if versions else shutil.which("initdb")
        if found:
            return Path(found).resolve().parent
        if attempt == 0:
            install("postgresql")
    raise PostgresError(
        "There is no PostgreSQL server here. Install it (Debian, Ubuntu: apt install postgresql)."
    )
