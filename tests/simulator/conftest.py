from __future__ import annotations

from collections.abc import Iterator

import pytest

from kling_provider.simulator.server import SimulatorServer
from tests.simulator.maker import Maker
from tests.simulator.simulator_client import Client, Receiver


@pytest.fixture
def client(kling_simulator: SimulatorServer) -> Client:
    return Client(kling_simulator)


@pytest.fixture
def kling(kling_simulator: SimulatorServer) -> SimulatorServer:
    return kling_simulator


@pytest.fixture
def maker(client: Client) -> Maker:
    return Maker(client)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.server.shutdown()
    receiver.server.server_close()
