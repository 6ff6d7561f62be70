"""`make demo` as a newcomer runs it: it ends with a video, and however it ends, nothing is left running."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import av
import pytest

from tests.live.test_live import ROOT, until

pytestmark = pytest.mark.live


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """It would make a real video with one. What a failed test has left is not left to the next."""
    for name in ("KLING_API_KEY", "KLING_ACCESS_KEY", "KLING_SECRET_KEY", "AIRFLOW_CONN_KLING_DEFAULT"):
        monkeypatch.delenv(name, raising=False)
    yield
    for pid in left_running():
        os.kill(pid, signal.SIGKILL)


def left_running() -> dict[int, str]:
    """Command lines of what the demo has started: Airflow's processes name its folder in their environment only."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            variables = (process / "environ").read_bytes().split(b"\0")
        except OSError:  # it has ended
            continue
        if f"AIRFLOW_HOME={ROOT}/.airflow".encode() in variables or f"{ROOT}/.airflow" in command:
            found[int(process.name)] = command
    return found


def test_it_ends_with_a_video_and_leaves_nothing_running() -> None:
    done = subprocess.run(
        ["make", "demo"], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = re.findall(r"^  video +(\S+\.mp4)$", done.stdout, re.MULTILINE)
    with av.open(path) as video:
        frames = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
        rate = video.streams.video[0].average_rate
    assert frames[0].shape == (720, 1280, 3)
    assert rate is not None
    assert len(frames) / float(rate) == pytest.approx(5, abs=0.2)
    assert abs(frames[0].astype(int) - frames[-1]).mean() > 5  # it moves
    assert left_running() == {}


@pytest.mark.parametrize(("how", "grace"), [(signal.SIGINT, 0), (signal.SIGKILL, 30)])
def test_it_leaves_nothing_running_when_it_is_stopped_halfway(
    how: signal.Signals, grace: float, tmp_path: Path
) -> None:
    """Ctrl-C goes to all of the terminal's group, so to make too; after a kill -9, a guard cleans up."""
    with (tmp_path / "output").open("wb") as output:
        demo = subprocess.Popen(
            ["make", "demo"], cwd=ROOT, stdout=output, stderr=output, start_new_session=True
        )
    said = (tmp_path / "output").read_text
    until(lambda: "Run " in said() or demo.poll() is not None, 120)
    assert demo.poll() is None, said()
    assert len(left_running()) > 4
    os.killpg(demo.pid, how)
    assert demo.wait(60) != 0
    deadline = time.monotonic() + grace
    while left_running() and time.monotonic() < deadline:
        time.sleep(0.2)
    assert left_running() == {}
    if how is signal.SIGINT:
        assert "Stopped." in said()
