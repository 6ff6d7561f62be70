"""``python -m benchmarks.capacity``: what to size for so many videos a day, from the figures of ``make bench``."""

from __future__ import annotations

import argparse
import inspect
import math
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from benchmarks.rows import NUMBERS, Row, read

PAGE = Path(__file__).parent.parent / "docs" / "capacity.md"
#: Where the tables stand in the page.
BEGIN, END = "<!-- capacity: written by python -m benchmarks.capacity --write -->", "<!-- end of capacity -->"
LADDER = (1, 100, 1_000, 10_000, 100_000, 1_000_000)
DAY = 86_400.0
#: What the page says of the defaults.
ASSUMED = ("seconds", "peak", "megabytes", "pack", "starts", "start_seconds", "waits", "workers")
#: Airflow's tables that grow with each video, until ``airflow db clean``.
_ROWS_OF = "rows of "


@dataclass(frozen=True, slots=True)
class Needs:
    """What is asked of an installation.

    :param videos_per_day: videos that are made and stored in a day.
    :param seconds: how long Kling takes for one, on average.
    :param peak: how much busier the busiest hour is than the mean.
    :param megabytes: size of a stored video.
    :param pack: videos that the smallest pack lets run at the same time.
    :param starts: worker starts per video (``docs/operating.md`` lists them for each recipe).
    :param start_seconds: how long a worker is held by one start.
    :param starts_per_second: worker starts per second that one machine of yours manages; 0: as measured.
    :param waits: tasks that one triggerer is given (``[triggerer] capacity``).
    :param workers: tasks that one worker machine runs at the same time (``worker_concurrency``).
    """

    videos_per_day: float = 10_000
    seconds: float = 240
    peak: float = 3
    megabytes: float = 15
    pack: float = 20
    starts: float = 3
    start_seconds: float = 5
    starts_per_second: float = 0
    waits: float = 10_000
    workers: float = 16


@dataclass(frozen=True, slots=True)
class Measured:
    """What ``make bench`` has measured, as far as it is used here.

    :param requests: waits at the same time -> requests per video.
    :param cpu_ms: the same -> CPU milliseconds of the triggerer per video.
    :param lag: the same -> seconds from Kling's end to the trigger's event.
    :param kilobytes: memory of one wait.
    :param starts_per_second: worker starts that the measuring machine managed, the rest of Airflow beside them.
    :param rows: rows that one video leaves in Airflow's database.
    """

    requests: Mapping[int, float]
    cpu_ms: Mapping[int, float]
    lag: Mapping[int, float]
    kilobytes: float
    starts_per_second: float
    rows: float

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Measured:
        """Read it from a run.

        :raises ValueError: naming the scenario that is missing.
        """
        rows: list[Row] = [row for row in content["rows"] if row.is_ours and row.account == "alone"]
        mixes = [
            row for row in rows if row.scenario in ("lone", "mix-20", "mix-100", "mix-1000", "mix-10000")
        ]
        heaps = [row.heap_kb for row in rows if row.heap_kb is not None]
        airflow = content.get("airflow") or {}
        for what, is_there in {"lone or mix-...": mixes, "memory-...": heaps, "airflow": airflow}.items():
            if not is_there:
                raise ValueError(f"the run has no scenario {what}. Run make bench without --quick.")
        return cls(
            {row.waits: row.requests or 0.0 for row in mixes},
            {row.waits: row.cpu_ms or 0.0 for row in mixes},
            {row.waits: row.lag or 0.0 for row in mixes},
            max(heaps),
            airflow["starts_per_second"],
            sum(count for name, count in airflow.items() if name.startswith(_ROWS_OF)),
        )


@dataclass(frozen=True, slots=True)
class Size:
    """What is needed.

    :param needs: for what.
    :param measured: computed with what.
    """

    needs: Needs
    measured: Measured

    @property
    def per_second(self) -> float:
        """Videos per second in the busiest hour."""
        return self.needs.videos_per_day / DAY * self.needs.peak

    @property
    def waiting(self) -> float:
        """Videos under way at the same time then; each holds a slot at Kling."""
        return self.per_second * self.needs.seconds

    @property
    def packs(self) -> int:
        """Packs whose slots are enough for it."""
        return max(1, math.ceil(self.waiting / self.needs.pack))

    @property
    def triggerers(self) -> int:
        """Triggerers that hold them."""
        return max(1, math.ceil(self.waiting / self.needs.waits))

    @property
    def requests_per_second(self) -> float:
        """Requests that ask for tasks."""
        return self.per_second * self._at(self.measured.requests)

    @property
    def triggerer_core_percent(self) -> float:
        """Percent of a core, over all triggerers."""
        return self.per_second * self._at(self.measured.cpu_ms) / 10

    @property
    def triggerer_megabytes(self) -> float:
        """What the waits weigh, over all triggerers."""
        return self.waiting * self.measured.kilobytes / 1024

    @property
    def lag(self) -> float:
        """Seconds from Kling's end to the event."""
        return self._at(self.measured.lag)

    @property
    def starts_per_second(self) -> float:
        """Worker starts per second."""
        return self.per_second * self.needs.starts

    @property
    def busy_workers(self) -> float:
        """Tasks that run on workers at the same time."""
        return self.starts_per_second * self.needs.start_seconds

    @property
    def machine_starts(self) -> float:
        """Worker starts per second of one machine."""
        return self.needs.starts_per_second or self.measured.starts_per_second

    @property
    def machines(self) -> int:
        """Worker machines: for the starts' CPU, and for their places."""
        for_cpu = self.starts_per_second / self.machine_starts
        return max(1, math.ceil(max(for_cpu, self.busy_workers / self.needs.workers)))

    @property
    def executor(self) -> str:
        """What runs the tasks."""
        if self.machines == 1:
            return "LocalExecutor"
        return "Celery" if self.machines <= 20 else "Celery or Kubernetes"

    @property
    def rows_per_day(self) -> float:
        """Rows that stay in Airflow's database."""
        return self.needs.videos_per_day * self.measured.rows

    @property
    def gigabytes_per_day(self) -> float:
        """What is stored."""
        return self.needs.videos_per_day * self.needs.megabytes / 1000

    @property
    def megabits_per_second(self) -> float:
        """From Kling, and again to the storage."""
        return self.per_second * self.needs.megabytes * 8

    def _at(self, figures: Mapping[int, float]) -> float:
        """The figure of the measured number of waits that comes closest to one triggerer's."""
        waits = max(1.0, self.waiting / self.triggerers)
        return figures[min(figures, key=lambda one: abs(math.log(one / waits)))]


#: Line of the table -> how it is told.
LINES: Mapping[str, Callable[[Size], str]] = {
    "videos in the busiest hour": lambda size: _short(size.per_second * 3600),
    "under way at the same time": lambda size: _short(size.waiting),
    "Kling: packs of {pack:g} slots": lambda size: _short(size.packs),
    "triggerers": lambda size: _short(size.triggerers),
    "… their CPU, % of a core": lambda size: _short(size.triggerer_core_percent),
    "… memory of the waits, MB": lambda size: _short(size.triggerer_megabytes),
    "… requests to Kling per second": lambda size: _short(size.requests_per_second),
    "… seen so many seconds late": lambda size: _short(size.lag),
    "worker starts per second": lambda size: _short(size.starts_per_second),
    "… tasks on workers at the same time": lambda size: _short(size.busy_workers),
    "… worker machines": lambda size: _short(size.machines),
    "executor": lambda size: size.executor,
    "database: rows per day": lambda size: _short(size.rows_per_day),
    "… rows per second": lambda size: _short(size.per_second * size.measured.rows),
    "storage: GB per day": lambda size: _short(size.gigabytes_per_day),
    "… Mbit/s in, and as much out": lambda size: _short(size.megabits_per_second),
}


def table(needs: Sequence[Needs], measured: Measured) -> str:
    """A column for each."""
    sizes = [Size(one, measured) for one in needs]
    head = ["videos per day", *(f"{one.videos_per_day:,.0f}" for one in needs)]
    body = [
        [name.format(pack=needs[0].pack), *(tell(size) for size in sizes)] for name, tell in LINES.items()
    ]
    lines = [head, ["---", *("---:" for _ in needs)], *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def section(measured: Measured) -> str:
    """What stands in the page."""
    usual = Needs()
    told = ", ".join(f"{name.replace('_', ' ')} {getattr(usual, name):g}" for name in ASSUMED)
    figures = (
        f"Measured: {_short(measured.kilobytes)} KB per wait, {_short(measured.starts_per_second)} worker starts per "
        f"second on one machine, {_short(measured.rows)} rows in the database per video."
    )
    ladder = table([Needs(videos_per_day=count) for count in LADDER], measured)
    return f"{BEGIN}\n{ladder}\n\nAssumed: {told}.\n{figures}\n{END}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table, or write it into the page; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.capacity", description=__doc__)
    needs = inspect.cleandoc(Needs.__doc__ or "")  # before Python 3.13, it is indented
    helps = dict(re.findall(r"^:param (\w+): (.*?)(?=\n:param|\Z)", needs, re.DOTALL | re.MULTILINE))
    for one in fields(Needs):
        words = " ".join(helps[one.name].split()).replace("%", "%%")
        parser.add_argument(
            f"--{one.name.replace('_', '-')}", type=_positive, help=f"{words} ({one.default:g})"
        )
    parser.add_argument(
        "--numbers", type=Path, default=NUMBERS, help="a run of make bench (the last full one)"
    )
    parser.add_argument("--write", action="store_true", help="write the table of the page anew")
    told = vars(parser.parse_args(arguments))
    path, is_writing = told.pop("numbers"), told.pop("write")
    chosen = {name: value for name, value in told.items() if value is not None}
    try:
        measured = Measured.of(read(path))
    except (OSError, ValueError) as error:
        print(f"capacity: {error}", file=sys.stderr)
        return 2
    if is_writing:
        before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
        PAGE.write_text(before + section(measured) + rest.partition(END)[2], encoding="utf-8")
    elif "videos_per_day" in chosen:
        print(table([Needs(**chosen)], measured))
    else:
        print(table([Needs(videos_per_day=count, **chosen) for count in LADDER], measured))
    return 0


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not more than 0")
    return value


def _short(value: float) -> str:
    """Two digits that mean something."""
    if value == 0:
        return "0"
    if value < 0.01:
        return "< 0.01"
    rounded = float(f"{value:.2g}")
    return f"{rounded:,.0f}" if rounded >= 10 else f"{rounded:g}"


if __name__ == "__main__":
    sys.exit(main())
