"""A private, real Airflow: its own home, database, ports and processes, started as fast as we know how.

Four processes as in production (api-server, scheduler, dag-processor, triggerer), SQLite, LocalExecutor, open
only on 127.0.0.1 and only to this machine: everybody is an admin, so never point it at a shared address.

    with PrivateAirflow(tmp_path / "home", dags_folder="dags") as airflow:
        airflow.wait_for_dag("kling_image_to_video")
        run_id = airflow.trigger("kling_image_to_video", {"picture": "lighthouse.jpg"})
        assert airflow.wait_for_run("kling_image_to_video", run_id)["state"] == "success"
"""

from __future__ import annotations

import base64
import contextlib
import importlib.metadata
import json
import os
import secrets
import signal
import socket
import sqlite3
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from scripts.airflow_client import AirflowClient, AirflowClientError
from scripts.processes import GRACE_SECONDS, Programs, children_of

# Logs of tasks and triggers are read from disk; serving them would open a port on every interface.
COMPONENTS: dict[str, tuple[str, ...]] = {
    "api-server": ("api-server",),
    "scheduler": ("scheduler", "--skip-serve-logs"),
    "dag-processor": ("dag-processor",),
    "triggerer": ("triggerer", "--skip-serve-logs"),
}
# Seconds a component gets to stop by itself. The first two have nothing to lose and might take 4 and 10 s; a
# scheduler waits for running tasks, and now and then for an idle worker that missed the message.
GRACE = {"api-server": 1.0, "triggerer": 2.0, "scheduler": 4.0}
# below the ephemeral ones: no outgoing connection can take such a port before the server binds it
PORTS = range(20000, 32000)


class PrivateAirflowError(AirflowClientError):
    """The private Airflow could not be started."""


class PrivateAirflow(AirflowClient):
    """Start and drive an Airflow that lives in ``home`` and stops with the ``with`` block.

    :param home: its AIRFLOW_HOME; a second start finds the migrated database, the runs and the keys again.
    :param dags_folder: the folder with the DAG files; default ``<home>/dags``.
    :param env: environment variables for all its processes (connections, variables, settings); they win over
        ours. AIRFLOW* variables of the caller are not passed on.
    :param template_db: a migrated SQLite database to copy instead of migrating a new one (about 7 s less).
    """

    #: Name of each process, and the command after ``airflow``. The scheduler's children are the tasks.
    components: Mapping[str, tuple[str, ...]] = COMPONENTS

    def __init__(
        self,
        home: str | Path,
        *,
        dags_folder: str | Path | None = None,
        env: Mapping[str, str] | None = None,
        template_db: str | Path | None = None,
    ) -> None:
        super().__init__(f"http://127.0.0.1:{free_port()}")
        self.home = Path(home).absolute()
        self.dags_folder = Path(dags_folder).absolute() if dags_folder else self.home / "dags"
        self.logs_dir = self.home / "logs"
        self.db_path = self.home / "airflow.db"
        self._extra_env = dict(env or {})
        self._template_db = Path(template_db).absolute() if template_db else None
        self._executable = Path(sys.executable).with_name("airflow")
        self._programs = Programs()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def env(self) -> dict[str, str]:
        """The whole environment of its processes; also right for running ``airflow`` commands by hand."""
        keys = self._keys()
        port = urllib.parse.urlsplit(self.url).port
        settings = {
            "AIRFLOW_HOME": self.home,
            "AIRFLOW_CONFIG": self.home / "airflow.cfg",
            "AIRFLOW__CORE__DAGS_FOLDER": self.dags_folder,
            "AIRFLOW__CORE__PLUGINS_FOLDER": self.home / "plugins",
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            "AIRFLOW__CORE__PARALLELISM": 4,
            "AIRFLOW__CORE__LOAD_EXAMPLES": False,
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": False,
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": True,
            "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
            "AIRFLOW__CORE__FERNET_KEY": keys["fernet_key"],
            "AIRFLOW__CORE__HOSTNAME_CALLABLE": "socket.gethostname",  # the default one asks the DNS
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{self.db_path}",
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": port,
            "AIRFLOW__API__WORKERS": 1,
            "AIRFLOW__API__BASE_URL": self.url,
            "AIRFLOW__API__SECRET_KEY": keys["secret_key"],
            "AIRFLOW__API_AUTH__JWT_SECRET": keys["jwt_secret"],
            "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": 0.1,
            "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": 1,
            "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": 5,  # how soon a file added later is seen
            "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": 30,  # the first request takes 5 s or more
            "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": 1,  # else an ended task can hold its slot for 5 s
            "AIRFLOW__LOGGING__BASE_LOG_FOLDER": self.logs_dir,
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": free_port(),
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": free_port(),
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": False,
            "SCARF_ANALYTICS": "false",
            "DO_NOT_TRACK": "1",
            "PYTHONUNBUFFERED": "1",
        }
        inherited = {
            name: value
            for name, value in os.environ.items()
            # without .pyc files each process would compile all of Airflow again
            if not name.upper().startswith("AIRFLOW") and name != "PYTHONDONTWRITEBYTECODE"
        }
        for name in ("NO_PROXY", "no_proxy"):
            inherited[name] = ",".join(filter(None, [inherited.get(name), "127.0.0.1", "localhost"]))
        return inherited | {name: str(value) for name, value in settings.items()} | self._extra_env

    def prepare(self) -> None:
        """Create the home and a migrated database, unless they are there. `start` does it by itself."""
        if not self._executable.exists():
            raise PrivateAirflowError(f"There is no Airflow beside {sys.executable}: run `make venv` first.")
        for folder in (self.home, self.logs_dir, self.dags_folder, self.home / "plugins"):
            folder.mkdir(parents=True, exist_ok=True)
        config = self.home / "airflow.cfg"
        if not config.exists():  # else four processes write a default one at the same time
            config.write_text("# Empty on purpose: this Airflow is configured by environment variables.\n")
        version, stamp = importlib.metadata.version("apache-airflow"), _stamp_of(self.db_path)
        if not (self.db_path.exists() and stamp.exists()):  # without a stamp its making was interrupted
            for leftover in (stamp, *self.home.glob(f"{self.db_path.name}*")):
                leftover.unlink(missing_ok=True)
            if self._template_db:
                _copy_database(self._template_db, self.db_path)
        if not stamp.exists() or stamp.read_text() != version:
            self.cli("db", "migrate")
            stamp.write_text(version)

    def start(self) -> None:
        """Start all processes and wait until the API answers."""
        self.prepare()
        self.started_at = datetime.now(UTC)
        for component in self.components:
            self._start(component)
        self._wait_for_api()

    def stop(self) -> None:
        """Stop all processes, tasks included; the home stays."""
        # the api-server last: ending tasks still report to it
        self._programs.stop(*(component for component in self.components if component != "api-server"))
        self._programs.stop()

    def check(self) -> None:
        """Raise with the end of its log if a component has died by itself."""
        self._programs.check()

    def restart(self, component: str) -> None:
        """Stop one component and start it again."""
        self._programs.stop(component)
        self._start(component)
        if component == "api-server":
            self._wait_for_api()

    def kill(self, component: str, sig: int = signal.SIGKILL) -> None:
        """Send a signal to a component and all its children; the scheduler's are the running tasks."""
        self._programs.kill(component, sig)

    def task_processes(self) -> dict[int, int]:
        """The processes of running tasks, each with its LocalExecutor worker."""
        workers = children_of(self._programs.pid("scheduler"))
        return {task: worker for worker in workers for task in children_of(worker)}

    def cli(self, *args: str) -> str:
        """Run ``airflow <args>`` in this home and return what it prints."""
        done = subprocess.run(
            [self._executable, *args],
            env=self.env,
            cwd=self.home,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise PrivateAirflowError(f"`airflow {' '.join(args)}` failed:\n{done.stdout}{done.stderr}")
        return done.stdout

    def _start(self, component: str) -> None:
        command = [str(self._executable), *self.components[component]]
        log = self.logs_dir / f"{component}.log"
        grace = GRACE.get(component, GRACE_SECONDS)
        self._programs.start(component, command, log=log, env=self.env, cwd=self.home, grace=grace)

    def _wait_for_api(self, timeout: float = 180) -> None:
        token = self._wait("the api-server to answer", timeout, lambda: self._request("GET", "/auth/token"))
        self._token = token["access_token"]
        # The first request to the task API builds it, which takes longer than a task's first request may.
        self._wait("the task API to answer", timeout, lambda: self._send("GET", "/execution/health"))

    def _keys(self) -> dict[str, str]:
        path = self.home / "keys.json"
        if not path.exists():
            self.home.mkdir(parents=True, exist_ok=True)
            keys = {name: secrets.token_urlsafe(64) for name in ("jwt_secret", "secret_key")}
            keys["fernet_key"] = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                json.dump(keys, file)
        return dict(json.loads(path.read_text()))


def _copy_database(source: Path, target: Path) -> None:
    with (
        contextlib.closing(sqlite3.connect(source)) as old,
        contextlib.closing(sqlite3.connect(target)) as new,
    ):
        old.backup(new)
    if _stamp_of(source).exists():  # else it is of unknown age and gets migrated
        _stamp_of(target).write_text(_stamp_of(source).read_text())


def _stamp_of(database: Path) -> Path:
    return database.with_suffix(".version")


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    while True:
        port = secrets.choice(PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
