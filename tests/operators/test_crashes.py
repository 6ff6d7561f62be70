"""A worker that is killed with SIGKILL at the worst moment, and the try that comes after it.

The worker is a process of its own with the real hook; Airflow's task state (3.3) is a file, so that it outlives the
process, or is not there (3.0).
"""

from __future__ import annotations

import json
import multiprocessing
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from kling_provider.exceptions import KlingSubmissionUnknownError
from kling_provider.operators.kling import KlingTextToVideoOperator
from kling_provider.simulator.server import SimulatorServer
from tests.contexts import StateStore, context_of


class FileStore(StateStore):
    """Task state that outlives the process."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def values(self) -> dict[str, Any]:  # type: ignore[override]
        return json.loads(self._path.read_text()) if self._path.exists() else {}

    def set(self, key: str, value: Any) -> None:
        self._path.write_text(json.dumps(self.values | {key: value}))

    def delete(self, key: str) -> None:
        self._path.write_text(json.dumps({name: item for name, item in self.values.items() if name != key}))


def attempt(state: Path | None, try_number: int) -> str:
    """One try of a task with two retries."""
    operator = KlingTextToVideoOperator(
        task_id="video", prompt="a boat", retries=2, kling_conn_id="kling_default"
    )
    store = FileStore(state) if state else None
    return str(operator.execute(context_of(operator, store, try_number=try_number, max_tries=2)))


def killed_in_its_submit(kling: SimulatorServer, state: Path | None, *, booked: bool) -> None:
    """Run the first try in a process, and kill it while it waits for the answer to its POST."""
    kling.fault("latency", method="POST", seconds=2, booked=booked)
    worker = multiprocessing.get_context("spawn").Process(target=attempt, args=(state, 1))
    worker.start()
    deadline = time.monotonic() + 60
    while not any(request.method == "POST" for request in kling.requests):
        assert worker.is_alive(), "it ended by itself"
        assert time.monotonic() < deadline, "it never submitted"
        time.sleep(0.02)
    while booked and not kling.tasks:
        time.sleep(0.02)
    worker.kill()
    worker.join()
    assert worker.exitcode == -signal.SIGKILL


@pytest.fixture(params=["3.0", "3.3"])
def state(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    """Where Airflow keeps its task state, or None where it has none."""
    return tmp_path / "state.json" if request.param == "3.3" else None


def connect(kling: SimulatorServer, monkeypatch: pytest.MonkeyPatch, gateway: str) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_KLING_DEFAULT", kling.connection_json(gateway))


@pytest.mark.parametrize("booked", [True, False])
def test_a_worker_that_is_killed_in_its_submit_pays_once(
    booked: bool, state: Path | None, kling_simulator: SimulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(kling_simulator, monkeypatch, "official")
    killed_in_its_submit(kling_simulator, state, booked=booked)
    time.sleep(2.2)  # what the dead worker sent may still be carried out
    booked_already = [task.task_id for task in kling_simulator.tasks]
    task_id = attempt(state, 2)
    assert [task.task_id for task in kling_simulator.tasks] == [task_id]
    assert not booked_already or booked_already == [task_id]
    assert attempt(state, 3) == task_id
    assert len(kling_simulator.tasks) == 1


def test_where_nothing_can_be_looked_up_it_is_not_sent_again_and_a_person_is_told(
    state: Path | None, kling_simulator: SimulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(kling_simulator, monkeypatch, "dmxapi")
    killed_in_its_submit(kling_simulator, state, booked=True)
    for try_number in (2, 3):
        with pytest.raises(KlingSubmissionUnknownError) as caught:
            attempt(state, try_number)
        assert str(caught.value).startswith(
            "Nothing was sent. An earlier try of this task may have submitted"
        )
        assert "Look for the task in the console (https://www.dmxapi.cn)" in str(caught.value)
    assert len(kling_simulator.tasks) == len(kling_simulator.creates) == 1
