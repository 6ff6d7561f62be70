"""What the log of a wait tells, and when."""

from __future__ import annotations

import pytest

from kling_provider.api.progress import MILESTONES, Story, bar
from kling_provider.api.tasks import KlingTask

PROCESSING = KlingTask("7", "image2video", "processing")


@pytest.mark.parametrize(
    ("elapsed", "drawn"),
    [
        (0, "[..........] 0 %, 0 of about 164 s"),
        (102, "[######....] 62 %, 102 of about 164 s"),
        (163.9, "[#########.] 99 %, 164 of about 164 s"),
        (164, "[##########] 164 s, longer than the usual 164 s"),
        (400, "[##########] 400 s, longer than the usual 164 s"),
    ],
)
def test_the_bar_shows_what_passed_of_the_usual_time(elapsed: float, drawn: str) -> None:
    assert bar(elapsed, 164) == drawn


def follow(times: list[float], usual: float = 164) -> list[str]:
    """The lines of a wait in which Kling is asked at these times."""
    story, lines = Story(), []
    for elapsed in times:
        if story.is_change(PROCESSING) or story.is_due(elapsed, usual):
            lines.append(story.next_line(PROCESSING, elapsed, usual))
    return lines


def test_a_change_is_told_at_once_and_then_each_quarter_once() -> None:
    assert follow([10, 11, 12, 50, 51, 82, 102, 125, 126, 170]) == [
        "Task 7: processing now, [..........] 6 %, 10 of about 164 s.",
        "Task 7: still processing, [###.......] 30 %, 50 of about 164 s.",
        "Task 7: still processing, [#####.....] 50 %, 82 of about 164 s.",
        "Task 7: still processing, [#######...] 76 %, 125 of about 164 s.",
        "Task 7: still processing, [##########] 170 s, longer than the usual 164 s.",
    ]


def test_asking_every_second_for_hours_writes_few_lines() -> None:
    assert len(follow([float(second) for second in range(3 * 3600)])) <= len(MILESTONES) + 1


def test_the_end_and_a_task_of_unknown_age_are_told_without_a_bar() -> None:
    done = KlingTask("7", "image2video", "succeed")
    assert (
        Story("processing").next_line(done, 166.2, 164) == "Task 7: succeed after 166 s; usually about 164 s."
    )
    assert Story().next_line(PROCESSING, None, 164) == "Task 7: processing; usually about 164 s."
    assert not Story("processing").is_due(None, 164)
