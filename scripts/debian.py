"""Debian's packages, where a command needs one and may install it."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

#: Asked by Debian's packages whether they may start their servers.
POLICY = Path("/usr/sbin/policy-rc.d")
FORBIDDEN = "#!/bin/sh\nexit 101\n"


def install(package: str) -> None:
    """Install a package if this is Debian or Ubuntu and we are root; else, or if it fails, nothing happens.

    :param package: its name. If it brings a server, that is not started.
    """
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return
    env = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    with _no_server_is_started():
        for command in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", package]):
            subprocess.run(["apt-get", *command], check=False, capture_output=True, env=env)


@contextlib.contextmanager
def _no_server_is_started() -> Iterator[None]:
    """Forbid packages to start their servers, unless the machine has a policy of its own."""
    if POLICY.exists():
        yield
        return
    POLICY.write_text(FORBIDDEN)
    try:
        POLICY.chmod(0o755)
        yield
    finally:
        POLICY.unlink()
