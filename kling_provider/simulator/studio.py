"""Where films are made: on the first download, in threads of its own, each film once."""

from __future__ import annotations

import hashlib
import os
import tempfile
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from kling_provider.simulator.film import Film
from kling_provider.simulator.render import render

#: Films made at the same time; each holds its canvas and encoder, 30 to 60 MB.
AT_ONCE = 2


class Studio:
    """Keeps pictures and films in a temporary folder; :meth:`close` removes it."""

    def __init__(self) -> None:
        # Removed at the end of the process at the latest, also where nobody calls close().
        self._temporary = tempfile.TemporaryDirectory(prefix="kling-simulator-", ignore_cleanup_errors=True)
        self._folder = Path(self._temporary.name)
        self.pictures = self._folder / "pictures"
        self.pictures.mkdir()
        self._stages = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="kling-studio")
        self._films: dict[str, Future[Path]] = {}
        self._guard = threading.Lock()

    def film(self, film: Film) -> Future[Path]:
        """The file of a film, which is made if it is asked for the first time."""
        # Pictures are kept by content, so equal films are one file however many tasks ask for it.
        name = hashlib.sha256(repr(film).encode()).hexdigest()
        with self._guard:
            made = self._films.get(name)
            if made is None or (made.done() and made.exception()):
                made = self._films[name] = self._stages.submit(self._make, film, name)
            return made

    def _make(self, film: Film, name: str) -> Path:
        target = self._folder / f"{name}.mp4"
        unfinished = target.with_suffix(".part")
        render(film, unfinished)
        os.replace(unfinished, target)
        return target

    def close(self) -> None:
        """Throw everything away."""
        self._stages.shutdown(wait=False, cancel_futures=True)
        self._temporary.cleanup()
