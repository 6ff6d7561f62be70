"""What does not depend on waiting: submits, stores, imports. ``python -m benchmarks.throughput``.

Each module says what its alternatives do; :class:`~benchmarks.throughput.row.Figures` is what they give.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.throughput.row import Figures


def rows(*, quick: bool = False) -> Iterator[Figures]:
    """Measure everything, a row at a time.

    :param quick: less of each.
    """
    from benchmarks.throughput import downloads, memory, parsing, submits
    from benchmarks.throughput.pictures import make_picture

    with tempfile.TemporaryDirectory(prefix="kling-bench-") as folder:
        picture = make_picture(Path(folder) / "noise.png")
        yield from submits.measure(picture, quick=quick)
        yield from memory.measure(picture)
    yield from downloads.measure(quick=quick)
    yield from parsing.measure(quick=quick)
