"""The benchmark of submits, stores and imports measures what it says."""

from __future__ import annotations

import ast
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from benchmarks.throughput import parsing
from benchmarks.throughput.downloads import _video
from benchmarks.throughput.row import row
from benchmarks.throughput.server import Server
from kling_provider.hooks.kling import KlingHook
from kling_provider.transfers.containers import recognise
from tests.hooks.talking import CONNECTION, REQUEST


def test_a_row_says_how_many_times_ours_an_alternative_is() -> None:
    assert row("submits", "per second", {"ours": 200.0, "theirs": 50.0}) == {
        "name": "submits",
        "ours": 200.0,
        "unit": "per second",
        "alternatives": {"theirs": 50.0},
        "ratio": {"theirs": 0.25},
    }


@pytest.mark.parametrize("tls", [False, True])
def test_the_server_books_and_gives_its_file(
    tls: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ssl

    file = _video(tmp_path / "video.mp4", 1)
    with file.open("rb") as opened:
        assert recognise(opened).extension == "mp4"
    with Server(file, tls=tls) as server:
        monkeypatch.setenv(CONNECTION, server.connection())
        assert KlingHook().submit("image2video", REQUEST).task_id == "7"
        context = ssl.create_default_context(cafile=server.certificate) if tls else None
        url = f"{server.url}/file.mp4"
        with urlopen(url, context=context) as answer:
            assert answer.read() == file.read_bytes()
        with urlopen(Request(url, headers={"Range": "bytes=1000-"}), context=context) as answer:
            assert (answer.status, answer.read()) == (206, file.read_bytes()[1000:])


def test_both_dag_files_have_the_same_three_tasks(tmp_path: Path) -> None:
    for name, parts in {"kling": parsing._KLING, "http": parsing._HTTP}.items():
        parsing._write(tmp_path / name, parts)
        files = sorted((tmp_path / name).glob("*.py"))
        assert len(files) == parsing.FILES
        tree = ast.parse(files[0].read_text())
        ids = [
            keyword.value.value
            for call in ast.walk(tree)
            if isinstance(call, ast.Call)
            for keyword in call.keywords
            if keyword.arg == "task_id" and isinstance(keyword.value, ast.Constant)
        ]
        assert ids == ["submit", "wait", "store"]
