"""Runs scenarios, each in a process of its own, and hands their rows over as they come."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator

from benchmarks.clock import Clock
from benchmarks.rows import Row
from benchmarks.scenarios import Scenario


def rows_of(scenario: Scenario, seed: int) -> Iterator[Row]:
    """Run a scenario.

    :param seed: of the durations.
    :raises RuntimeError: if its process failed; the rows before stay.
    """
    clock = Clock.starting_now(scenario.scale)
    command = [sys.executable, "-m", "benchmarks.client", str(clock), scenario.to_json(), str(seed)]
    with tempfile.TemporaryDirectory(prefix="kling-bench-") as home:
        environment = {
            **os.environ,
            "AIRFLOW_HOME": home,
            "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
            "PYTHONWARNINGS": "ignore",
        }
        with subprocess.Popen(  # noqa: S603 - ourselves
            command, stdout=subprocess.PIPE, text=True, env=environment
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith('{"scenario"'):
                    yield Row.read(json.loads(line))
        if process.returncode:
            raise RuntimeError(f"scenario {scenario.name!r} failed; BENCH_LOG=INFO tells more")
