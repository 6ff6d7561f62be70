"""Fixtures for test suites of DAGs that make videos.

Put this into the ``conftest.py`` at the root of the tests::

    pytest_plugins = ["kling_provider.simulator.testing"]
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kling_provider.simulator.server import SimulatorServer

CONNECTION_ID = "kling_default"
#: How long a task takes, unless a test sets it otherwise.
TASK_SECONDS = 0.3


@pytest.fixture(scope="session")
def kling_simulator_server() -> Iterator[SimulatorServer]:
    """One server for the whole run."""
    with SimulatorServer(speed=1, task_seconds=TASK_SECONDS) as server:
        yield server


@pytest.fixture
def kling_simulator(kling_simulator_server: SimulatorServer) -> SimulatorServer:
    """A Kling without tasks, faults and memory, on which a video takes a third of a second."""
    kling_simulator_server.reset()
    return kling_simulator_server


@pytest.fixture
def kling_connection(kling_simulator: SimulatorServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """The connection ``kling_default``, leading to the simulator; gives its id."""
    monkeypatch.setenv("AIRFLOW_CONN_KLING_DEFAULT", kling_simulator.connection_json())
    return CONNECTION_ID
