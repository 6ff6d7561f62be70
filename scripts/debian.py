"""Debian's packages, where a command needs one and may install it."""

from __future__ import annotations

import os
import shutil
import subprocess


def install(package: str) -> None:
    """Install a package if this is Debian or Ubuntu and we are root; else, or if it fails, nothing happens.

    :param package: its name.
    """
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return
    # without the run level, the package would start a server of its own
    env = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    for command in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", package]):
        subprocess.run(["apt-get", *command], check=False, capture_output=True, env=env)
