"""``python -m kling_provider.simulator`` and the fixtures for our users."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import requests

from kling_provider.api.endpoints import ENDPOINTS
from kling_provider.simulator.__main__ import main
from kling_provider.simulator.server import SimulatorServer
from tests.simulator.simulator_client import Client, until

COMMAND = [sys.executable, "-m", "kling_provider.simulator"]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_it_starts_says_where_and_stops_cleanly(tmp_path: Path, how: signal.Signals) -> None:
    ready = tmp_path / "ready.json"
    process = subprocess.Popen(
        [*COMMAND, "--port", "0", "--api-key", "k-1", "--ready-file", str(ready), "--task-seconds", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        until(lambda: ready.exists() or process.poll() is not None)
        told = json.loads(ready.read_text())
        assert told["pid"] == process.pid
        headers = {"Authorization": "Bearer k-1"}
        answer = requests.post(
            f"{told['url']}/v1/videos/text2video",
            json={"model_name": "kling-v2-6", "prompt": "a cat"},
            headers=headers,
            timeout=10,
        )
        assert answer.json()["code"] == 0
    finally:
        process.send_signal(how)
        out, err = process.communicate(timeout=10)
    assert process.returncode == 0
    assert err == ""
    first, second, third = out.splitlines()
    assert first == f"Kling simulator listening on {told['url']}"
    name, _, value = second.removeprefix("export ").partition("=")
    assert name == "AIRFLOW_CONN_KLING_DEFAULT"
    connection = json.loads(value.strip("'"))
    assert connection == told["connection"]
    assert (connection["host"], connection["password"]) == (told["url"], "k-1")
    assert third.startswith("speaks tasks: text2video, ")
    assert all(name in third for name in ENDPOINTS)
    assert not ready.exists()


def test_help_shows_the_airflow_connection(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        main(["--help"])
    assert done.value.code == 0
    assert "AIRFLOW_CONN_KLING_DEFAULT" in capsys.readouterr().out


def test_it_keeps_to_this_machine(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--host", "0.0.0.0"]) == 2
    assert "--allow-remote" in capsys.readouterr().err


def test_a_port_that_is_taken_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert main(["--port", str(taken.getsockname()[1])]) == 2
    error = capsys.readouterr().err
    assert "cannot listen" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("missing", ["av", "PIL", "uvicorn"])
def test_a_missing_package_is_one_line(tmp_path: Path, missing: str) -> None:
    (tmp_path / f"{missing}.py").write_text(f"raise ModuleNotFoundError('no', name={missing!r})")
    done = subprocess.run(
        COMMAND, env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert (
        done.stderr
        == f"kling simulator: {missing} is missing: pip install 'airflow-provider-kling[simulator]'\n"
    )


def test_it_imports_nothing_of_airflow() -> None:
    program = (
        "import sys, kling_provider.simulator.server, kling_provider.simulator.testing\n"
        "print([name for name in sys.modules if name.split('.')[0] in ('airflow', 'aiohttp')])\n"
        "print(sorted({'.'.join(name.split('.')[:2]) for name in sys.modules if name.startswith('kling_provider.')}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[]", "['kling_provider.api', 'kling_provider.simulator']"]


def test_the_fixtures_serve_a_test_suite(kling_connection: str, client: Client) -> None:
    assert kling_connection == "kling_default"
    connection = json.loads(os.environ["AIRFLOW_CONN_KLING_DEFAULT"])
    assert connection["host"] == client.server.url
    assert client.server.tasks == []


def test_the_connection_names_gateway_proof_and_extras(kling: SimulatorServer) -> None:
    connection = json.loads(kling.connection_json("dmxapi", timeout=3))
    assert connection["extra"] == {"gateway": "dmxapi", "timeout": 3, "typical_seconds": 0.3}
    signed = json.loads(kling.connection_json(auth="pair"))
    assert (signed["login"], signed["password"]) == ("ak-sample", "sk-sample")
    assert kling.connection_uri().startswith("kling://:sim-key@http%3A%2F%2F127.0.0.1")


def test_a_wrong_setting_is_named_at_once() -> None:
    with pytest.raises(ValueError, match="speed"):
        SimulatorServer(speed=0)
    with pytest.raises(ValueError, match="loopback"):
        SimulatorServer("192.0.2.1")


def test_the_control_plane_tells_what_it_speaks(client: Client) -> None:
    rows = client.ask("GET", "/_simulator/endpoints").json()
    assert [row["name"] for row in rows] == list(ENDPOINTS)


@pytest.mark.parametrize(
    ("settings", "seconds"),
    [({"speed": 1}, None), ({"speed": 20}, 8.2), ({"speed": 2, "task_seconds": 3}, 1.5)],
)
def test_the_connection_says_how_much_faster_it_is_than_klings(
    settings: dict[str, Any], seconds: float | None
) -> None:
    with SimulatorServer(**settings) as server:
        extra = json.loads(server.connection_json())["extra"]
    assert extra.get("typical_seconds") == seconds
