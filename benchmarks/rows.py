"""What is written of a measurement: plain values, in a file that plots and the capacity page read."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

SCHEMA = 1
RESULTS = Path(__file__).parent / "results"
NUMBERS = RESULTS / "bench.json"
#: This package, in the table of peers.
OURS = "kling"


@dataclass(slots=True)
class Row:
    """One peer in one scenario. What was not measured is None.

    :param scenario: its name.
    :param peer: key in the table of peers.
    :param waits: tasks that were waited for at the same time.
    :param done: waits that ended while it was measured.
    :param scale: how much faster than real the clocks ran.
    :param account: what else is in the account, and how it can be asked.
    :param interval: seconds between two asks; None where the peer decides.
    :param requests: requests per waited task, all that the account saw.
    :param worker_requests: the part of them that the worker makes before it defers.
    :param cpu_ms: CPU milliseconds of the waiting process per waited task.
    :param core_percent: percent of a core that the waiting process used; in real time only.
    :param lag: mean seconds between Kling's end of a task and the peer's; None if nobody waited to the end.
    :param lag_p95: 95 of 100 lags are not longer.
    :param lag_max: the longest.
    :param loop_p99_ms: 99 of 100 beats of the event loop are not later; in real time only.
    :param loop_max_ms: the latest.
    :param rss_kb: memory in RAM per waiting task, over the process without waits.
    :param heap_kb: the same as Python's allocator counts it.
    :param lost: waits that failed, or did not end in time.
    :param early: waits that ended before the task did.
    :param is_same_lag: run with the interval whose mean lag is ours.
    :param is_computed: not run: the requests are duration by interval, as the rate would be the machine's limit.
    :param details: further figures.
    """

    scenario: str
    peer: str
    waits: int
    done: int = 0
    scale: float = 1.0
    account: str = "alone"
    interval: float | None = None
    requests: float | None = None
    worker_requests: float = 0.0
    cpu_ms: float | None = None
    core_percent: float | None = None
    lag: float | None = None
    lag_p95: float | None = None
    lag_max: float | None = None
    loop_p99_ms: float | None = None
    loop_max_ms: float | None = None
    rss_kb: float | None = None
    heap_kb: float | None = None
    lost: int = 0
    early: int = 0
    is_same_lag: bool = False
    is_computed: bool = False
    details: dict[str, float] = field(default_factory=dict)

    @property
    def is_ours(self) -> bool:
        """Whether this package waited."""
        return self.peer == OURS

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Row:
        """Read what :func:`to_dict` gave; later versions may know more."""
        known = {one.name for one in fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in known})

    def to_dict(self) -> dict[str, Any]:
        """As plain values, rounded to what means something."""
        return {name: _rounded(value) for name, value in asdict(self).items()}


@dataclass(slots=True)
class Show:
    """A promise, and whether it was kept.

    :param name: what was promised.
    :param passed: whether the figures keep it; None where its scenario did not run.
    :param figures: what was measured.
    """

    name: str
    passed: bool | None
    figures: str


def write(
    path: Path,
    rows: Sequence[Row],
    shows: Sequence[Show],
    throughput: Sequence[Mapping[str, Any]],
    airflow: Mapping[str, float],
    *,
    seed: int,
    is_quick: bool,
) -> None:
    """Write a run.

    :param throughput: what :mod:`benchmarks.throughput` has measured.
    :param airflow: what :mod:`benchmarks.airflow_costs` has.
    """
    content = {
        "schema": SCHEMA,
        "machine": machine(),
        "seed": seed,
        "is_quick": is_quick,
        "rows": [row.to_dict() for row in rows],
        "shows": [asdict(show) for show in shows],
        "throughput": [dict(row) for row in throughput],
        "airflow": _rounded(dict(airflow)),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read(path: Path = NUMBERS) -> dict[str, Any]:
    """Read a run; its rows as :class:`Row`.

    :raises ValueError: if another version wrote it.
    """
    content = json.loads(path.read_text(encoding="utf-8"))
    if content.get("schema") != SCHEMA:
        raise ValueError(
            f"{path.name} has schema {content.get('schema')!r}, not {SCHEMA}. Run make bench again."
        )
    return {**content, "rows": [Row.read(row) for row in content["rows"]]}


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    from importlib.metadata import version

    return {
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "airflow": version("apache-airflow"),
    }


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {name: _rounded(item) for name, item in value.items()}
    return value
