"""Where results are made: on the first download, in threads of its own, each one once."""

from __future__ import annotations

import hashlib
import os
import tempfile
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from kling_provider.simulator.draw import draw
from kling_provider.simulator.film import Film
from kling_provider.simulator.music import play
from kling_provider.simulator.render import render
from kling_provider.simulator.results.planned import Recipe
from kling_provider.simulator.still import Still
from kling_provider.simulator.tune import Tune

#: Files made at the same time; each holds its canvas and encoder, 30 to 60 MB.
AT_ONCE = 2


class Studio:
    """Keeps pictures and results in a temporary folder; :meth:`close` removes it."""

    def __init__(self) -> None:
        # Removed at the end of the process at the latest, also where nobody calls close().
        self._temporary = tempfile.TemporaryDirectory(prefix="kling-simulator-", ignore_cleanup_errors=True)
        self._folder = Path(self._temporary.name)
        self.pictures = self._folder / "pictures"
        self.pictures.mkdir()
        self._stages = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="kling-studio")
        self._files: dict[str, Future[Path]] = {}
        self._guard = threading.Lock()

    def make(self, recipe: Recipe) -> Future[Path]:
        """The file of a result, which is made if it is asked for the first time."""
        # Pictures are kept by content, so equal results are one file however many tasks ask for it.
        name = hashlib.sha256(repr(recipe).encode()).hexdigest()
        with self._guard:
            made = self._files.get(name)
            if made is None or (made.done() and made.exception()):
                made = self._files[name] = self._stages.submit(self._make, recipe, name)
            return made

    def _make(self, recipe: Recipe, name: str) -> Path:
        target = self._folder / name
        unfinished = target.with_suffix(".part")
        match recipe:
            case Film():
                render(recipe, unfinished)
            case Still():
                draw(recipe, unfinished)
            case Tune():
                play(recipe, unfinished)
        os.replace(unfinished, target)
        return target

    def close(self) -> None:
        """Throw everything away."""
        self._stages.shutdown(wait=False, cancel_futures=True)
        self._temporary.cleanup()
