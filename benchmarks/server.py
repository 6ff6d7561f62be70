"""The simulator in a process of its own, and the hand of the benchmark on it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from benchmarks.clock import Clock, install
from benchmarks.durations import Job

#: What every task of a benchmark was asked with, and how the watcher calls that.
BODY = {"model_name": "kling-v2-6", "mode": "std", "duration": "5"}
PROFILE_OF_BODY = "kling-v2-6 std 5"
START_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Booked:
    """A task at the simulator.

    :param task_id: its id.
    :param endpoint: its endpoint.
    :param created_at: when it was booked, epoch seconds of the benchmark's clock.
    :param ends_at: when it is over; Kling's ``updated_at``.
    """

    task_id: str
    endpoint: str
    created_at: float
    ends_at: float


class Kling:
    """A simulator in another process. Use as a context manager.

    :param clock: what it lives by.
    :param settings: of the simulator.
    """

    def __init__(self, clock: Clock, **settings: Any):
        self._clock = clock
        self._settings = {"speed": 1, "concurrency": 1_000_000, **settings}
        self._process: subprocess.Popen[str] | None = None
        self.url = ""

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "benchmarks.server", str(self._clock), json.dumps(self._settings)]
        self._process = subprocess.Popen(  # noqa: S603 - ourselves
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()
        if not self.url:
            raise RuntimeError("the simulator did not start")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        self._process.communicate()  # the end of its input ends it
        self._process = None

    def connect(self, conn_id: str, *, signed: bool = False, **extra: Any) -> None:
        """Make the Airflow connection that leads here, in this process's environment.

        :param signed: with access key and secret key, which the bulk query does not take.
        """
        login = {"login": "ak-sample", "password": "sk-sample"} if signed else {"password": "sim-key"}
        connection = {
            "conn_type": "kling",
            "host": self.url,
            **login,
            "extra": {"gateway": "official", **extra},
        }
        os.environ[f"AIRFLOW_CONN_{conn_id.upper()}"] = json.dumps(connection)

    def connect_http(self, conn_id: str) -> None:
        """The same for the HTTP provider, which knows no JWT: the API key as a fixed header."""
        host, _, port = self.url.removeprefix("http://").partition(":")
        extra = {"Authorization": "Bearer sim-key"}
        connection = {"conn_type": "http", "host": host, "port": int(port), "schema": "http", "extra": extra}
        os.environ[f"AIRFLOW_CONN_{conn_id.upper()}"] = json.dumps(connection)

    def book(self, jobs: Sequence[Job]) -> list[Booked]:
        """Book tasks, in the order of the jobs."""
        booked: dict[int, Booked] = {}
        for endpoint in {job.endpoint for job in jobs}:
            places = [place for place, job in enumerate(jobs) if job.endpoint == endpoint]
            told = self.turn(
                "/crowd",
                endpoint=endpoint,
                seconds=[jobs[place].seconds for place in places],
                ages=[jobs[place].age for place in places],
                body=BODY,
            )
            for place, task in zip(places, told, strict=True):
                booked[place] = Booked(task["task_id"], endpoint, task["created_at"], task["ends_at"])
        return [booked[place] for place in range(len(jobs))]

    def foreign(self, finished: int, running: int) -> None:
        """Put other people's tasks into the account."""
        self.turn("/foreign", count=finished, running=running)

    def requests(self) -> dict[str, int]:
        """How many requests came so far, by method and path."""
        return dict(self._ask("/counts", None))

    def turn(self, door: str, **values: Any) -> Any:
        """Use the control plane."""
        return self._ask(door, values)

    def _ask(self, door: str, values: Mapping[str, Any] | None) -> Any:
        body = None if values is None else json.dumps(values).encode()
        with urllib.request.urlopen(f"{self.url}/_simulator{door}", body, timeout=120) as answer:  # noqa: S310
            return json.load(answer)


def main() -> None:
    """Serve until standard input ends."""
    install(Clock.read(sys.argv[1]))
    from kling_provider.simulator.server import SimulatorServer

    with SimulatorServer(**json.loads(sys.argv[2])) as server:
        print(server.url, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
