"""What is installed for `make chaos` and `make cluster` starts no server on the machine."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from scripts import debian


@pytest.fixture
def policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where Debian's packages ask; nothing is there. We are root on a Debian."""
    path = tmp_path / "policy-rc.d"
    monkeypatch.setattr(debian, "POLICY", path)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    return path


def asked_of(policy: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], int]]:
    """Install something; gives the commands, each with what a package would be answered meanwhile."""
    seen = []

    def run(command: list[str], *, env: dict[str, str], **_: object) -> None:
        assert env["DEBIAN_FRONTEND"] == "noninteractive"
        # not os.spawnv: a fork of a process with threads, as that of all tests, may hang in the child
        seen.append((command[:2], subprocess.call([policy, "redis-server", "start"])))

    monkeypatch.setattr(subprocess, "run", run)
    debian.install("redis-server")
    return seen


def test_a_package_may_start_no_server(policy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = asked_of(policy, monkeypatch)
    assert asked == [(["apt-get", "update"], 101), (["apt-get", "install"], 101)]
    assert not policy.exists()


def test_a_policy_of_the_machine_stays(policy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policy.write_text("#!/bin/sh\nexit 104\n")
    policy.chmod(0o755)
    assert {answer for _, answer in asked_of(policy, monkeypatch)} == {104}
    assert policy.read_text() == "#!/bin/sh\nexit 104\n"


def test_the_policy_goes_also_if_nothing_can_be_installed(
    policy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise OSError("no apt-get")

    monkeypatch.setattr(subprocess, "run", broken)
    with pytest.raises(OSError, match="no apt-get"):
        debian.install("redis-server")
    assert not policy.exists()


def test_who_is_not_root_installs_nothing(policy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert asked_of(policy, monkeypatch) == []
