"""A small ``make chaos``: every kill point once, and the accounts must hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts import chaos

pytestmark = pytest.mark.live


def test_twenty_videos_survive_everything(tmp_path: Path) -> None:
    accounts = chaos.run(tmp_path, seed=1, videos=20, gateway="official", kind="sqlite", most_seconds=500)
    print(accounts)
    assert accounts.violations("official") == []
    for what in (*(f"killed {point.replace('_', ' ')}" for point in chaos.POINTS), "cleared while deferred"):
        assert accounts.done[what] >= 1, accounts.done
    assert accounts.done["triggerer killed"] >= 1
    assert accounts.done["scheduler killed"] >= 1
    assert accounts.done["answers spoiled"] >= 5
    assert accounts.failed >= 1


def test_where_nothing_can_be_looked_up_every_gap_is_named(tmp_path: Path) -> None:
    accounts = chaos.run(tmp_path, seed=1, videos=10, gateway="dmxapi", kind="sqlite", most_seconds=500)
    print(accounts)
    assert accounts.violations("dmxapi") == []
    assert accounts.unknown


@pytest.mark.parametrize(
    ("figures", "told"),
    [
        ({"created": 9}, "created 9 != asked 10 + failed 0"),
        ({"paid": 11}, "paid 11 != asked 10"),
        ({"stored": 9}, "stored 9 != asked 10"),
        ({"duplicates": ["video 0001: ['1', '2']"]}, "duplicates"),
        ({"orphans": ["1"]}, "orphans"),
    ],
)
def test_the_accounts_see_what_must_not_be(figures: dict[str, object], told: str) -> None:
    good = {"asked": 10, "created": 10, "paid": 10, "stored": 10}
    assert chaos.Accounts(**good).violations("official") == []
    (violation,) = chaos.Accounts(**(good | figures)).violations("official")  # type: ignore[arg-type]
    assert told in violation


def test_a_gap_that_is_not_named_is_a_violation() -> None:
    gap = chaos.Accounts(10, paid=9, stored=9, missing=["video 0003"])
    assert gap.violations("dmxapi") == ["not stored and not told as unknown: ['video 0003']"]
    gap.unknown.append("video 0003")
    assert gap.violations("dmxapi") == []
    assert chaos.Accounts(10, paid=11).violations("dmxapi") == ["paid 11 > asked 10"]


def test_a_seed_gives_the_same_plan_again() -> None:
    plans = [chaos.Plan.draw(seed, 200, "official", 300) for seed in (1, 1, 2)]
    assert plans[0] == plans[1] != plans[2]
    assert {point: len(who) for point, who in plans[0].kills.items()} == dict.fromkeys(chaos.POINTS, 10)
    assert len(plans[0].fails) == 10
    assert len(plans[0].faults) == 800
