"""What is measured: each row of the plan is run in a process of its own, its peers one after the other in it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from benchmarks.durations import SIGMA, TYPICAL

Kind = Literal["batch", "window", "lone", "memory"]
Account = Literal["bulk", "lists", "hidden"]

#: Alternatives that are also run with an interval that gives them our mean lag.
ONE_BY_ONE = ("shared", "threads")
FOREIGN = (20_000, 5_000)


@dataclass(frozen=True, slots=True)
class Scenario:
    """One measurement.

    :param name: as the command line and the table call it.
    :param kind: ``batch`` (all submitted at about the same time, until the last is over), ``window`` (a steady state in
        real time), ``lone`` (each wait on a connection of its own) or ``memory``.
    :param waits: how many at the same time.
    :param peers: who waits.
    :param scale: how much faster the clocks run.
    :param medians: endpoint -> median seconds of a task.
    :param sigma: of the logarithm of the seconds.
    :param at_same_lag: who is run again at the interval whose mean lag is ours.
    :param account: ``bulk``: an API key; ``lists``: access key and secret key, which the bulk query does not take;
        ``hidden``: an API key, but the bulk query does not see classic tasks.
    :param order: of the lists.
    :param is_shared: whether 20,000 finished and 5,000 running tasks of others are in the account.
    :param batch_limit: ids that one bulk query takes, which Kling does not document.
    :param warm: seconds before a window.
    :param seconds: of a window.
    :param lessons: how many finished tasks a lone connection has learned from, in one measurement after the other.
    :param is_quick: whether ``--quick`` runs it.
    """

    name: str
    kind: Kind
    waits: int
    peers: tuple[str, ...] = ("kling",)
    scale: float = 1.0
    medians: Mapping[str, float] = field(default_factory=lambda: dict(TYPICAL))
    sigma: float = SIGMA
    at_same_lag: tuple[str, ...] = ()
    account: Account = "bulk"
    order: str = "newest"
    is_shared: bool = False
    batch_limit: int = 50
    warm: float = 0.0
    seconds: float = 0.0
    lessons: tuple[int, ...] = (0,)
    is_quick: bool = False

    @property
    def title(self) -> str:
        """What else is in the account and how it is asked, for the table."""
        asked = {
            "bulk": "bulk",
            "lists": f"lists, {self.order}",
            "hidden": f"bulk hides classic, {self.order}",
        }
        if not self.is_shared:
            return "alone" if self.account == "bulk" and self.batch_limit == 50 else asked[self.account]
        return f"shared; {asked[self.account]}"

    def to_json(self) -> str:
        """For the command line of the process that runs it."""
        return json.dumps(asdict(self))

    @classmethod
    def read(cls, text: str) -> Scenario:
        """Read what :meth:`to_json` gave."""
        values: Any = json.loads(text)
        peers = {name: tuple(values[name]) for name in ("peers", "at_same_lag", "lessons")}
        return cls(**{**values, **peers})


def _wrong_by(factor: float) -> dict[str, float]:
    return {"image2video": TYPICAL["image2video"] * factor}


SHORT = {"image2video": 7.3}
LONE = {"image2video": TYPICAL["image2video"]}
LESSONS = (0, 5, 20)
#: So many that the mean lag is known to half a second.
LONE_WAITS = 120
REGISTRY = ("runapi", "replicate", "fal")

#: In the order in which they are run and printed.
PLAN: Sequence[Scenario] = (
    Scenario("short-20", "batch", 20, ("kling", *REGISTRY), medians=SHORT, at_same_lag=("shared",)),
    Scenario("short-100", "batch", 100, ("kling", *REGISTRY), medians=SHORT, at_same_lag=("shared",)),
    Scenario(
        "lone",
        "lone",
        LONE_WAITS,
        ("kling", "threads", "http-event", *REGISTRY),
        scale=15,
        medians=LONE,
        at_same_lag=("shared",),
        lessons=LESSONS,
        is_quick=True,
    ),
    Scenario(
        "lone, default 30 % low", "lone", LONE_WAITS, scale=15, medians=_wrong_by(1 / 0.7), lessons=LESSONS
    ),
    Scenario(
        "lone, default 30 % high", "lone", LONE_WAITS, scale=15, medians=_wrong_by(1 / 1.3), lessons=LESSONS
    ),
    Scenario("lone, shared account", "lone", LONE_WAITS, scale=15, medians=LONE, is_shared=True),
    Scenario(
        "mix-20",
        "batch",
        20,
        ("kling", "http-sensor", "http-deferrable", *REGISTRY),
        scale=20,
        at_same_lag=ONE_BY_ONE,
        is_quick=True,
    ),
    Scenario("mix-100", "batch", 100, ("kling", "sessions", "http-event"), scale=10, at_same_lag=ONE_BY_ONE),
    Scenario(
        "mix-1000",
        "window",
        1_000,
        ("kling", "sessions", *REGISTRY),
        at_same_lag=ONE_BY_ONE,
        warm=30,
        seconds=90,
    ),
    Scenario("mix-10000", "window", 10_000, ("kling", "shared"), warm=90, seconds=60),
    Scenario("memory-1000", "memory", 1_000, ("kling", "threads", "sessions", "shared")),
    Scenario("memory-10000", "memory", 10_000),
    Scenario("mix-1000, bulk of 200", "window", 1_000, batch_limit=200, warm=30, seconds=45),
    Scenario("mix-1000, shared", "window", 1_000, is_shared=True, warm=30, seconds=45),
    Scenario("mix-10000, shared", "window", 10_000, is_shared=True, warm=60, seconds=45),
    Scenario(
        "mix-1000, shared, lists", "window", 1_000, account="lists", is_shared=True, warm=30, seconds=45
    ),
    *(
        Scenario(
            f"mix-200, {account}, {order}",
            "batch",
            200,
            scale=12,
            account=account,
            order=order,
            is_shared=True,
        )
        for account in ("lists", "hidden")
        for order in ("newest", "oldest", "shuffled")
    ),
)

#: What --quick runs besides: the same, shorter.
QUICK: Sequence[Scenario] = (
    Scenario("mix-1000", "window", 1_000, at_same_lag=("shared",), warm=12, seconds=20, is_quick=True),
)


def plan(*, quick: bool, wanted: Sequence[str] = ()) -> list[Scenario]:
    """What to run.

    :param quick: only what takes seconds.
    :param wanted: names, or beginnings of names.
    :raises ValueError: for one that nothing is called.
    """
    rows = [_shorter(row) for row in PLAN if row.is_quick] + list(QUICK) if quick else list(PLAN)
    chosen = []
    for name in wanted:
        found = [row for row in rows if row.name == name] or [
            row for row in rows if row.name.startswith(name)
        ]
        if not found:
            raise ValueError(
                f"no scenario begins with {name!r}. There are: {'; '.join(row.name for row in rows)}."
            )
        chosen += found
    return [row for row in rows if not wanted or row in chosen]


def _shorter(row: Scenario) -> Scenario:
    known = ("kling", "threads", "runapi")
    return replace(row, peers=tuple(peer for peer in row.peers if peer in known), at_same_lag=("shared",))
