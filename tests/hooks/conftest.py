from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from tests.hooks.talking import CONNECTION, Proxy, Talker, connection
from tests.independent_server import IndependentKling

OpenHook = Callable[..., Talker]
Connect = Callable[..., None]


@pytest.fixture(params=["sync", "async"])
def open_hook(request: pytest.FixtureRequest) -> Iterator[OpenHook]:
    """Makes hooks; every test that uses it runs once for KlingHook and once for KlingAsyncHook."""
    opened: list[Talker] = []

    def make(conn_id: str = "kling_default", **arguments: object) -> Talker:
        opened.append(Talker(request.param, conn_id, **arguments))
        return opened[-1]

    yield make
    for talker in opened:
        talker.close()


@pytest.fixture
def independent() -> Iterator[IndependentKling]:
    """A Kling that shares no code with us; a video takes no time."""
    kling = IndependentKling(schedule=(0, 0)).start()
    yield kling
    threading.Thread(target=kling.stop, daemon=True).start()  # nobody needs to wait for that


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Connect:
    """Sets the connection kling_default: host, password, login= and extras by name."""

    def to(host: str | None, password: str | None, *, login: str = "", **extra: object) -> None:
        monkeypatch.setenv(CONNECTION, connection(host, password, login=login, **extra))

    return to


@pytest.fixture
def official(independent: IndependentKling, connect: Connect) -> IndependentKling:
    """The independent Kling, reached as the vendor with an API key."""
    connect(independent.url, independent.api_key)
    return independent


@pytest.fixture
def signed(independent: IndependentKling, connect: Connect) -> IndependentKling:
    """The independent Kling, reached as the vendor with access key and secret key."""
    connect(independent.url, independent.secret_key, login=independent.access_key)
    return independent


@pytest.fixture
def reseller(independent: IndependentKling, connect: Connect) -> IndependentKling:
    """The independent Kling, reached as DMXAPI with its token."""
    connect(independent.url, independent.seed_token, gateway="dmxapi")
    return independent


@pytest.fixture
def retries(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Retries come at once; gives the seconds they would have waited."""
    import kling_provider.hooks.kling as module

    would_wait, real = [], module._wait_before_retry

    def soon(state: object) -> float:
        would_wait.append(real(state))
        return 0.001

    monkeypatch.setattr(module, "_wait_before_retry", soon)
    return would_wait


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    proxy = Proxy()
    yield proxy
    threading.Thread(target=proxy.close, daemon=True).start()


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """Everything that was logged so far, by whatever road."""
    caplog.set_level("DEBUG")
    out: list[str] = []

    def read() -> str:
        captured = capsys.readouterr()
        out.append(captured.out + captured.err)
        return "".join(out) + caplog.text

    return read
