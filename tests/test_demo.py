"""What `make demo` makes a video of, and when it pays for it."""

from __future__ import annotations

import io
import signal
import sys
from pathlib import Path

import pytest

from scripts import accounts, demo


class Started(Exception):
    """The demo has come as far as its simulator."""


def _stop(*_: object, **__: object) -> str:
    raise Started


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the demo keeps its things; it stops before it starts any program."""
    home = tmp_path / "home"
    for name in accounts.SECRETS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(demo, "HOME", home)
    monkeypatch.setattr(demo, "PICTURES", home / "pictures")
    monkeypatch.setattr(demo, "_start_simulator", _stop)
    monkeypatch.setattr(demo, "PrivateAirflow", _stop)
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # those of pytest stay
    return home


def test_the_picture_is_the_callers_whatever_its_name(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = tmp_path / "mine" / "lighthouse.jpg"
    given.parent.mkdir()
    given.write_bytes(b"a picture of the caller's")
    bundled = demo.DAGS / "pictures" / given.name
    for arguments, expected in (([], bundled.read_bytes()), (["--picture", str(given)], given.read_bytes())):
        monkeypatch.setattr(sys, "argv", ["demo", *arguments])
        with pytest.raises(Started):
            demo.main()
        assert (home / "pictures" / given.name).read_bytes() == expected


def test_a_real_account_is_used_only_with_a_yes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*arguments: str, terminal: str | None = None) -> int:
        monkeypatch.setenv("KLING_API_KEY", "a-secret-key")
        monkeypatch.setattr(sys, "argv", ["demo", *arguments])
        stdin = io.StringIO(terminal or "")
        stdin.isatty = lambda: terminal is not None  # type: ignore[method-assign]
        monkeypatch.setattr(sys, "stdin", stdin)
        return demo.main()

    assert run() == run(terminal="n\n") == 1
    told = capsys.readouterr()
    assert "SPENDS FROM IT" in told.out
    assert "There is no terminal to ask at; YES=1 says yes." in told.err
    for arguments, terminal in ((["--yes"], None), ([], "y\n")):
        with pytest.raises(Started):
            run(*arguments, terminal=terminal)
