"""``python -m kling_provider.simulator``: run it from a shell until Ctrl-C."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

#: What the extra ``simulator`` brings.
_NEEDED = {"av", "PIL", "fastapi", "starlette", "uvicorn"}

_ABOUT = """\
A Kling on loopback: no key, no account, nothing to pay. It speaks all endpoints of the vendor in both
dialects, and DMXAPI's; checks keys and requests as Kling does; and makes real MP4s, PNGs, MP3s and WAVs
of the submitted words and pictures.
"""

_EXAMPLE = """\
In Airflow, a connection that leads to it:

  export AIRFLOW_CONN_KLING_DEFAULT='{"conn_type": "kling", "host": "http://127.0.0.1:8900",
                                      "password": "sim-key",
                                      "extra": {"gateway": "official", "typical_seconds": 15}}'

With "gateway": "dmxapi" it speaks DMXAPI's dialect. With "login": "ak-sample" and
"password": "sk-sample" the requests are signed with access key and secret key.

What it was asked, what it would have cost, and what can be made to go wrong:

  curl http://127.0.0.1:8900/_simulator            all doors of the control plane
  curl http://127.0.0.1:8900/_simulator/endpoints  what it speaks
  curl http://127.0.0.1:8900/_simulator/charges    the ledger
  curl http://127.0.0.1:8900/_simulator/faults -d '{"kind": "cut_after", "method": "POST"}'
"""


def main(arguments: list[str] | None = None) -> int:
    """Run the simulator; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        from kling_provider.simulator.accounts import Account
        from kling_provider.simulator.server import DEFAULT_ACCOUNT, SimulatorServer
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _NEEDED:
            raise
        return _fail(f"{error.name} is missing: pip install 'airflow-provider-kling[simulator]'")

    settings: dict[str, Any] = {"speed": options.speed, "concurrency": options.concurrency}
    if options.task_seconds is not None:
        settings["task_seconds"] = options.task_seconds
    account = Account(
        DEFAULT_ACCOUNT.name,
        options.api_key or DEFAULT_ACCOUNT.api_key,
        options.access_key or DEFAULT_ACCOUNT.access_key,
        options.secret_key or DEFAULT_ACCOUNT.secret_key,
    )
    stop = threading.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: stop.set())
    try:
        server = SimulatorServer(
            options.host,
            options.port,
            account=account,
            seed=options.seed,
            tls=options.tls,
            allow_remote=options.allow_remote,
            control=not options.no_control,
            **settings,
        )
    except ValueError as error:
        return _fail(
            f"{error} Use --allow-remote if you mean it." if "loopback" in str(error) else str(error)
        )
    try:
        server.start()
    except OSError as error:
        server.close()
        return _fail(f"cannot listen on {options.host}:{options.port}: {error.strerror or error}")
    with_ready_file = Path(options.ready_file) if options.ready_file else None
    try:
        print(f"Kling simulator listening on {server.url}", flush=True)
        print(f"export AIRFLOW_CONN_KLING_DEFAULT='{server.connection_json()}'", flush=True)
        print(f"speaks {_spoken()}", flush=True)
        if server.certificate:
            print(f"certificate: {server.certificate}", flush=True)
        if with_ready_file:
            told = {"url": server.url, "pid": os.getpid(), "connection": json.loads(server.connection_json())}
            _write_whole(with_ready_file, told)
        stop.wait()
    finally:
        if with_ready_file:
            with_ready_file.unlink(missing_ok=True)
        server.close()
    return 0


def _spoken() -> str:
    """All endpoints, by what they are."""
    from kling_provider.api.endpoints import ENDPOINTS

    works = {"task": "tasks", "call": "answered at once", "read": "only read"}
    return "; ".join(
        f"{words}: {', '.join(row.name for row in ENDPOINTS.values() if row.work == work)}"
        for work, words in works.items()
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m kling_provider.simulator",
        description=_ABOUT,
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="loopback address to listen on (127.0.0.1)")
    add("--port", type=int, default=8900, help="port; 0 finds a free one (8900)")
    add("--speed", type=float, default=20, help="how much faster than Kling tasks are done (20)")
    add("--task-seconds", type=float, help="how long a task takes, before --speed (Kling's usual time)")
    add("--concurrency", type=int, default=20, help="tasks that may run at once (20)")
    add("--api-key", metavar="KEY", help="the API key or gateway token it accepts (sim-key)")
    add("--access-key", metavar="KEY", help="the access key it accepts (ak-sample)")
    add("--secret-key", metavar="KEY", help="the secret key it accepts (sk-sample)")
    add("--seed", type=int, default=0, help="of ids and of the jitter of task times (0)")
    add("--ready-file", metavar="PATH", help="JSON, written when it accepts requests: url, pid, connection")
    add("--tls", action="store_true", help="serve https, with a certificate it makes and names")
    add("--no-control", action="store_true", help="without the control plane /_simulator")
    add("--allow-remote", action="store_true", help="listen on an address that others can reach")
    return parser


def _write_whole(path: Path, content: dict[str, Any]) -> None:
    """Write a file so that nobody sees half of it."""
    handle, unfinished = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    with os.fdopen(handle, "w") as file:
        json.dump(content, file)
    os.replace(unfinished, path)


def _fail(message: str) -> int:
    print(f"kling simulator: {message}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
