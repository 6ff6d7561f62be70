"""Make one picture a stored video on a private Airflow (`make demo`), or keep that Airflow open (`make ui`).

Without a key it talks to the simulator. With KLING_API_KEY, KLING_ACCESS_KEY and KLING_SECRET_KEY, or
AIRFLOW_CONN_KLING_DEFAULT in the environment it makes and pays a real video; KLING_GATEWAY and KLING_REGION
choose where, YES=1 skips the question.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import importlib.metadata
import json
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import IO, Any

from scripts import accounts, videos
from scripts.airflow_client import AirflowClientError
from scripts.private_airflow import PrivateAirflow
from scripts.processes import ProgramDied, Programs, leave_in_order, tail

CHECKOUT = Path(__file__).resolve().parent.parent
HOME = CHECKOUT / ".airflow"
DAGS = CHECKOUT / "dags"
PICTURES = HOME / "pictures"
DAG_ID = "kling_image_to_video"
POOL, POOL_SLOTS = "kling", 5
SIMULATED_RUN_SECONDS, REAL_RUN_SECONDS = 180, 4000

_began = time.monotonic()


class DemoError(RuntimeError):
    """The demo cannot go on; the message says why and what to do."""


def main() -> int:
    """Run the command line and return its exit code."""
    arguments = _arguments()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it for its background jobs
    leave_in_order()
    try:
        with _only_one():
            # before the caller's picture comes, which may have the name of one of these
            shutil.copytree(DAGS / "pictures", PICTURES, dirs_exist_ok=True)
            return show_ui(arguments) if arguments.ui else make_video(arguments)
    except KeyboardInterrupt:
        say("Stopped.")
        return 0 if arguments.ui else 130
    except (DemoError, ValueError) as error:
        print(error, file=sys.stderr)
    except (AirflowClientError, ProgramDied, videos.BadVideo, OSError) as error:
        print(f"\n{error}\n\nThe demo failed. All logs: {HOME / 'logs'}", file=sys.stderr)
    return 1


def make_video(arguments: argparse.Namespace) -> int:
    """Run the DAG once, check the file it stored and print what is known about it."""
    conf = _conf(arguments)
    with _airflow(arguments) as (airflow, account):
        run_id = airflow.trigger(DAG_ID, conf)
        say(f"Run {run_id} of {DAG_ID}: {conf['picture']}")
        limit = REAL_RUN_SECONDS if account else SIMULATED_RUN_SECONDS
        run = airflow.wait_for_run(DAG_ID, run_id, limit, on_poll=_progress())
        if run["state"] != "success":
            raise AirflowClientError(airflow.explain(DAG_ID, run_id))
        task = airflow.xcom(DAG_ID, run_id, "wait")
        found = [videos.check(entry) for entry in airflow.xcom(DAG_ID, run_id, "store")]
        if not found:
            raise videos.BadVideo("The run succeeded but stored no video.")
        say("Stopping Airflow")
    _report(found, task, paid=account is not None)
    return 0


def show_ui(arguments: argparse.Namespace) -> int:
    """Keep Airflow open until Ctrl-C."""
    with _airflow(arguments) as (airflow, _):
        print(f"\n  {airflow.url}/dags/{DAG_ID}\n\nCtrl-C stops it.", flush=True)
        while True:
            time.sleep(1)
            airflow.check()


@contextlib.contextmanager
def _airflow(arguments: argparse.Namespace) -> Iterator[tuple[PrivateAirflow, accounts.Account | None]]:
    """Start the Kling and the Airflow; stop both at the end, whatever happens."""
    account = accounts.account_in(os.environ)
    for name in accounts.SECRETS:
        os.environ.pop(name, None)
    if account:
        _ask_before_paying(account, arguments)
    else:
        say(
            "No Kling key in the environment: using the simulator that ships with the package. Nothing to pay."
        )
    programs = Programs()
    try:
        connection = account.connection if account else _start_simulator(programs)
        airflow = PrivateAirflow(
            HOME,
            dags_folder=DAGS,
            env={
                accounts.CONNECTION: connection,
                "AIRFLOW_VAR_KLING_PICTURES": str(PICTURES),
                "AIRFLOW_VAR_KLING_DESTINATION": f"file://{HOME}/videos",
            },
        )
        say(f"Starting Airflow {importlib.metadata.version('apache-airflow')}; logs in {airflow.logs_dir}")
        with airflow:
            say(f"Airflow answers at {airflow.url}")
            airflow.create_pool(POOL, POOL_SLOTS, include_deferred=True)
            airflow.wait_for_dag(DAG_ID)
            yield airflow, account
    finally:
        programs.stop()


def _start_simulator(programs: Programs) -> str:
    """Start a simulator on a free port and return the connection that leads to it."""
    say("Starting the Kling simulator")
    ready, log = HOME / "simulator.json", HOME / "logs" / "simulator.log"
    ready.unlink(missing_ok=True)
    command = [sys.executable, "-m", "kling_provider.simulator", "--host", "127.0.0.1", "--port", "0"]
    command += ["--speed", "20", "--ready-file", str(ready)]
    programs.start("simulator", command, log=log, env=os.environ, cwd=HOME, grace=2)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        programs.check()
        with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):
            return json.dumps(json.loads(ready.read_text())["connection"])
        time.sleep(0.1)
    raise DemoError(f"The simulator did not start within 60 s; {log} ends with:\n{tail(log)}")


def _ask_before_paying(account: accounts.Account, arguments: argparse.Namespace) -> None:
    print(
        f"{account.source} is set: THIS USES A REAL KLING ACCOUNT AND SPENDS FROM IT.\n"
        f"  gateway   {account.gateway}\n"
        f"  estimate  {account.estimate(arguments.model)}\n"
        f"Unset {account.source} to use the simulator.",
        flush=True,
    )
    if arguments.yes:
        return
    if not sys.stdin.isatty():
        raise DemoError("Nothing was sent. There is no terminal to ask at; YES=1 says yes.")
    if input("Go on? [y/N] ").strip().lower() not in ("y", "yes"):
        raise DemoError("Nothing was sent.")


def _conf(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what the DAG is run with; a picture of the caller's is laid where the DAG looks for it."""
    conf: dict[str, Any] = {"picture": arguments.picture or "lighthouse.jpg"}
    if arguments.picture and not re.match(r"https?://", arguments.picture):
        given = Path(arguments.picture).expanduser()
        if not given.is_file():
            raise DemoError(f"PICTURE={arguments.picture} is neither a file nor an http(s) address.")
        conf["picture"] = re.sub(r"[^A-Za-z0-9_.-]", "_", given.name).lstrip(".-") or "picture"
        shutil.copy(given, PICTURES / conf["picture"])
    for name, value in (("prompt", arguments.prompt), ("model_name", arguments.model)):
        if value:
            conf[name] = value
    return conf


def _progress() -> Callable[[dict[str, Any], list[dict[str, Any]]], None]:
    """Return a watcher that says each change of a task's state once."""
    seen: dict[str, str | None] = {}

    def watch(_: dict[str, Any], tasks: list[dict[str, Any]]) -> None:
        for task in sorted(tasks, key=lambda task: task["start_date"] or "9"):
            name, state = task["task_id"], task["state"]
            if seen.get(name) != state:
                seen[name] = state
                attempt = f", try {task['try_number']}" if (task["try_number"] or 0) > 1 else ""
                say(f"{name:>8}: {state or 'cleared'}{attempt}")

    return watch


def _report(found: list[videos.Video], task: dict[str, Any], *, paid: bool) -> None:
    units = task.get("units")
    cost = accounts.usd(Decimal(units)) if units else "not reported by this gateway"
    for video in found:
        print(
            f"\n  video       {video.path}\n"
            f"  size        {video.size:,} bytes\n"
            f"  duration    {video.duration:.2f} s, {video.frames} frames, all decoded\n"
            f"  resolution  {video.width}x{video.height}\n"
            f"  sha256      {video.sha256}, as in the manifest"
        )
    print(f"  Kling task  {task['task_id']}\n  {'cost      ' if paid else 'would cost'}  {cost}\n")
    say("Done.")


def say(text: str) -> None:
    """Print a line with the seconds since the start."""
    print(f"[{time.monotonic() - _began:5.1f} s] {text}", flush=True)


@contextlib.contextmanager
def _only_one() -> Iterator[None]:
    """Refuse a second demo in this checkout. The kernel drops the lock with its owner, so none goes stale."""
    HOME.mkdir(parents=True, exist_ok=True)
    with (HOME / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise DemoError(f"`make demo` or `make ui` already runs here{_owner(lock)}.") from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def _owner(lock: IO[str]) -> str:
    lock.seek(0)
    pid = lock.read().strip()
    return f" as process {pid}; wait for it, or stop it with Ctrl-C there or `kill {pid}`" if pid else ""


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m scripts.demo", description=__doc__)
    parser.add_argument("--ui", action="store_true", help="keep Airflow open instead of making a video")
    for name, what in (
        ("picture", "a file or an http(s) address (default: a lighthouse)"),
        ("prompt", "what happens in the video"),
        ("model", "model_name, such as kling-v2-6"),
    ):
        parser.add_argument(
            f"--{name}", default=os.environ.get(name.upper(), ""), help=f"{what}; {name.upper()}="
        )
    parser.add_argument(
        "--yes",
        action="store_true",
        default=os.environ.get("YES", "") not in ("", "0"),
        help="do not ask; YES=1",
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
