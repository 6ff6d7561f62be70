"""What a person who follows the log of a waiting task is told, and when: one line per change, and a bar now and then.

No I/O and no clock.
"""

from __future__ import annotations

from dataclasses import dataclass

from kling_provider.api.tasks import KlingTask

#: A bar is worth a line when this share of the usual time has passed; ten lines at most, however often Kling is asked.
MILESTONES = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0, 12.0)
_BAR_LENGTH = 10


@dataclass(slots=True)
class Story:
    """What the log of one wait has told so far.

    :param status: told last; empty before the first answer.
    :param told_until: seconds since the task was booked up to which the bars are told.
    """

    status: str = ""
    told_until: float = 0.0

    def is_change(self, task: KlingTask) -> bool:
        """Whether Kling tells of another status than before."""
        return task.status != self.status

    def is_due(self, elapsed: float | None, usual: float) -> bool:
        """Whether a milestone was passed since the last line.

        :param elapsed: seconds since the task was booked, if known.
        :param usual: seconds such a task usually takes.
        """
        return elapsed is not None and any(self.told_until < share * usual <= elapsed for share in MILESTONES)

    def next_line(self, task: KlingTask, elapsed: float | None, usual: float) -> str:
        """Say what is to be said now, and remember that it was.

        :param task: as Kling tells it.
        :param elapsed: seconds since it was booked, if known.
        :param usual: seconds such a task usually takes.
        """
        changed, self.status = self.is_change(task), task.status
        self.told_until = elapsed or self.told_until
        if elapsed is None or task.is_terminal:
            took = "" if elapsed is None else f" after {elapsed:.0f} s"
            return f"Task {task.task_id}: {task.status}{took}; usually about {usual:.0f} s."
        word = f"{task.status} now" if changed else f"still {task.status}"
        return f"Task {task.task_id}: {word}, {bar(elapsed, usual)}."


def bar(elapsed: float, usual: float) -> str:
    """Draw how far a task should be, as in ``[######....] 62 %, 102 of about 164 s``.

    :param elapsed: seconds since it was booked.
    :param usual: seconds such a task usually takes.
    """
    share = min(1.0, elapsed / usual)
    filled = int(share * _BAR_LENGTH)
    drawn = f"[{'#' * filled}{'.' * (_BAR_LENGTH - filled)}]"
    if elapsed >= usual:
        return f"{drawn} {elapsed:.0f} s, longer than the usual {usual:.0f} s"
    return f"{drawn} {int(share * 100)} %, {elapsed:.0f} of about {usual:.0f} s"
