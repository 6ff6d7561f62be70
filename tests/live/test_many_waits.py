"""Many sensors wait on a real Airflow, and its triggerer is killed meanwhile (``python -m scripts.many_waits``)."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts import many_waits

pytestmark = pytest.mark.live


def test_forty_waits_survive_the_triggerer(tmp_path: Path) -> None:
    report = many_waits.run(tmp_path, tasks=40, kill_triggerer=True, over=10)
    print(report)
    assert report.faults() == []
    assert report.changed_rows == []
    assert (
        sum(report.requests.values()) < 2 * 40
    )  # each worker asks once; the triggerer asks for all together


@pytest.mark.parametrize(
    ("figures", "told"),
    [
        ({"succeeded": 9}, "9 of 10 tasks returned their own result"),
        ({"at_once": 9}, "only 9 waited at once"),
        ({"strange_lines": {3: ["Task 860000000000000001 is over"]}}, "other videos in logs"),
        ({"blocked": ["Triggerer's async thread was blocked"]}, "blocked"),
        ({"worker_starts": 21}, "21 worker starts"),
        ({"changed_rows": [(1, [], None)]}, "changed rows"),
    ],
)
def test_the_report_sees_what_must_not_be(figures: dict[str, object], told: str) -> None:
    good: dict[str, object] = {
        "tasks": 10,
        "succeeded": 10,
        "at_once": 10,
        "strange_lines": {},
        "blocked": [],
    }
    good |= {
        "blocked_at_start": ["at first"],
        "requests": {},
        "worker_starts": 20,
        "changed_rows": None,
        "lag": (1.0, 2.0),
    }
    good |= {"seconds_to_defer": 1.0, "seconds_to_end": 1.0}
    assert many_waits.Report(**good).faults() == []  # type: ignore[arg-type]
    (fault,) = many_waits.Report(**(good | figures)).faults()  # type: ignore[arg-type]
    assert told in fault


def test_a_line_about_another_video_is_found() -> None:
    logs = {0: "Task 111111111 is over\nTask 222222222 is over", 1: "Task 222222222 is over"}
    assert many_waits.strange_lines(logs, ["111111111", "222222222"]) == {0: ["Task 222222222 is over"]}
