"""What a sound is, as a value. The room next door, ``music``, makes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Tune:
    """A short melody.

    :param seconds: length.
    :param words: another melody for other words.
    :param form: the kind of file.
    """

    seconds: float
    words: str = ""
    form: Literal["mp3", "wav"] = "mp3"
