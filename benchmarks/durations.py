"""How long the videos of a benchmark take. The seed comes from the command line; the code that waits never sees it."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

#: Median seconds of the two kinds of video that people make most, as ComfyUI's authors saw them.
TYPICAL: Mapping[str, float] = {"image2video": 164.0, "text2video": 319.0}
SIGMA = 0.15


@dataclass(frozen=True, slots=True)
class Job:
    """A video to be made.

    :param endpoint: where.
    :param seconds: how long it takes.
    :param age: how long ago it was submitted.
    """

    endpoint: str
    seconds: float
    age: float = 0.0


class Mix:
    """Draws jobs.

    :param medians: endpoint -> median seconds.
    :param sigma: of the logarithm; 0: all take the median.
    :param seed: of the dice.
    """

    def __init__(self, medians: Mapping[str, float], sigma: float, seed: int):
        self._medians = dict(medians)
        self._sigma = sigma
        self._dice = random.Random(seed)  # noqa: S311 - durations, no secrets

    @property
    def mean(self) -> float:
        """Mean seconds of all it draws."""
        mean = sum(self._medians.values()) / len(self._medians)
        return mean * math.exp(self._sigma**2 / 2)

    def new(self, count: int) -> list[Job]:
        """Jobs that are submitted now."""
        return [self._one() for _ in range(count)]

    def under_way(self, count: int) -> list[Job]:
        """Jobs of all ages, as they are found where as many begin as end: the longer ones more often."""
        many = self.new(max(20 * count, 1000))
        found: Sequence[Job] = self._dice.choices(many, [job.seconds for job in many], k=count)
        return [Job(job.endpoint, job.seconds, self._dice.uniform(0, job.seconds)) for job in found]

    def _one(self) -> Job:
        endpoint = self._dice.choice(sorted(self._medians))
        return Job(endpoint, self._medians[endpoint] * math.exp(self._dice.gauss(0, self._sigma)))
