from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import tenacity

from tests.hooks.conftest import connect, independent, official, proxy, reseller, told  # noqa: F401 - fixtures
from tests.transfers.serving import FileHost, video


@pytest.fixture
def host() -> Iterator[FileHost]:
    """A host that serves a video."""
    host = FileHost(video())
    yield host
    threading.Thread(target=host.close, daemon=True).start()


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A transfer that was cut goes on at once."""
    monkeypatch.setattr(tenacity, "wait_random_exponential", lambda **_: tenacity.wait_none())
