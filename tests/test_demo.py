"""What `make demo` makes a video of."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from scripts import accounts, demo


class Started(Exception):
    """The demo has come as far as its simulator."""


def test_the_picture_is_the_callers_whatever_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(_: object) -> str:
        raise Started

    given = tmp_path / "mine" / "lighthouse.jpg"
    given.parent.mkdir()
    given.write_bytes(b"a picture of the caller's")
    bundled = demo.DAGS / "pictures" / given.name
    home = tmp_path / "home"
    for name in accounts.SECRETS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(demo, "HOME", home)
    monkeypatch.setattr(demo, "PICTURES", home / "pictures")
    monkeypatch.setattr(demo, "_start_simulator", stop)
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # those of pytest stay
    for arguments, expected in (([], bundled.read_bytes()), (["--picture", str(given)], given.read_bytes())):
        monkeypatch.setattr(sys, "argv", ["demo", *arguments])
        with pytest.raises(Started):
            demo.main()
        assert (home / "pictures" / given.name).read_bytes() == expected
