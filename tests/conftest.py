"""Fixtures for all tests. Airflow gets a home of its own before it is imported anywhere."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

_HOME = tempfile.TemporaryDirectory(prefix="kling-airflow-", ignore_cleanup_errors=True)
for _name in [name for name in os.environ if name.startswith(("AIRFLOW", "KLING"))]:
    del os.environ[_name]
for _name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
    os.environ.pop(_name, None)
os.environ |= {
    "AIRFLOW_HOME": _HOME.name,
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__DAGS_FOLDER": str(Path(__file__).parent.parent / "dags"),
    "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
    "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
}

#: Set by scripts/matrix.py: a server with an empty database for each of pytest's processes. Else SQLite.
if _server := os.environ.get("TEST_POSTGRES"):
    _database = f"{_server}/{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
    os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] = _database

pytest_plugins = ["kling_provider.simulator.testing"]


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """The address of an S3 server; each test makes a bucket of its own."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    yield f"http://127.0.0.1:{port}"
    server.stop()


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A real 640x360 png with something in it."""
    from PIL import Image

    path = tmp_path / "picture.png"
    Image.radial_gradient("L").resize((640, 360)).convert("RGB").save(path)
    return path


@pytest.fixture(autouse=True)
def _no_time_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits that protect a real scheduler or a real Kling would only slow the tests."""
    monkeypatch.setattr("kling_provider.triggers.kling.FIRST_ASK_AFTER_SECONDS", 0.0)
    monkeypatch.setattr("kling_provider.triggers.slots.FIRST_EVENT_AFTER_SECONDS", 0.0)
    for name, pauses in {
        "SETTLE_SECONDS": (0.01, 0.02),
        "LOOKUP_PAUSES": (0.01, 0.02),
        "EXISTS_PAUSES": (0.01,) * 6,
        "REFUSAL_PAUSES": (0.0, 0.01, 0.02),
    }.items():
        monkeypatch.setattr(f"kling_provider.api.submitting.{name}", pauses)
    monkeypatch.setattr("kling_provider.operators.guards.RECHECK_SECONDS", 0.01)
    monkeypatch.setattr("kling_provider.operators.submit.FIRST_PAUSE_ON_WORKER", 0.01)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium; where none can be had, there is nothing to see, but in the CI that is a failure."""
    from scripts.browser import BrowserMissing, chromium, find_chromium

    try:
        with open(Path(tempfile.gettempdir(), "kling-chromium.lock"), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # pytest's other processes may have to install it as well
            find_chromium()
        with chromium() as browser:
            yield browser
    except BrowserMissing as missing:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(missing))
