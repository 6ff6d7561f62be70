"""Nothing is lost on the way into storage: killed workers, full disks, odd stores, huge files."""

from __future__ import annotations

import fcntl
import json
import multiprocessing
import os
import re
import resource
import signal
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.io import attach
from fsspec.implementations.memory import MemoryFileSystem

from kling_provider.api.tasks import KlingTask, KlingVideo
from kling_provider.exceptions import KlingBadRequestError, KlingServerError, KlingStorageError
from kling_provider.transfers import destinations
from kling_provider.transfers import kling_to_object_storage as module
from kling_provider.transfers.destinations import check_destination
from kling_provider.transfers.kling_to_object_storage import KlingToObjectStorageOperator
from tests.hooks.talking import CONNECTION, connection
from tests.transfers.serving import FileHost, video

CONTENT = video(300_000)


def told(url: str) -> dict[str, Any]:
    """A finished task whose video lies at ``url``."""
    return KlingTask("t-1", "image2video", "succeed", videos=(KlingVideo("v0", url, 5.0),)).to_dict()


def store(url: str, destination: object, **options: Any) -> list[dict[str, Any]]:
    operator = KlingToObjectStorageOperator(
        task_id="store", task=told(url), destination=str(destination), asset_alias=None, **options
    )
    return operator.execute({})


@pytest.fixture
def big(host: FileHost, monkeypatch: pytest.MonkeyPatch) -> FileHost:
    """A host with a video, and a connection to loopback."""
    host.content = CONTENT
    monkeypatch.setenv(CONNECTION, connection(host.url, "key"))
    return host


def in_a_child(target: Callable[..., None], *arguments: Any) -> Any:
    child = multiprocessing.get_context("spawn").Process(target=target, args=arguments)
    child.start()
    return child


# --- killed workers -------------------------------------------------------------------------------------


def test_what_a_killed_worker_left_is_removed_by_the_next_one(big: FileHost, tmp_path: Path) -> None:
    hold = threading.Event()
    big.script = [{"before": hold.wait}]
    child = in_a_child(store, f"{big.url}/a.mp4", tmp_path)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".kling-*.part")) or not big.paths:
        assert child.is_alive()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    child.kill()
    child.join()
    hold.set()
    assert child.exitcode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    assert left.name.endswith(".part")
    (entry,) = store(f"{big.url}/a.mp4", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["t-1-v0.mp4"]
    assert (tmp_path / "t-1-v0.mp4").read_bytes() == CONTENT
    assert entry["bytes"] == len(CONTENT)


def test_what_another_worker_is_writing_is_left_alone(big: FileHost, tmp_path: Path) -> None:
    with (tmp_path / f".kling-{module._HOST}-abc.part").open("wb") as busy:
        fcntl.flock(busy, fcntl.LOCK_EX)
        store(f"{big.url}/a.mp4", tmp_path)
        assert len(list(tmp_path.iterdir())) == 2


def test_a_new_part_that_another_worker_takes_for_a_leftover_is_made_anew(
    big: FileHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one has locked it first, and removes it as soon as it comes to that."""
    real, go_on = fcntl.flock, threading.Event()
    others: list[threading.Thread] = []

    def flock(file: Any, flags: int) -> None:
        if not others:
            part = Path(file.name)
            looked_at = part.open("rb")
            real(looked_at, fcntl.LOCK_EX | fcntl.LOCK_NB)

            def remove() -> None:
                assert go_on.wait(60)
                part.unlink()
                looked_at.close()

            others.append(threading.Thread(target=remove))
            others[0].start()
            if not flags & fcntl.LOCK_NB:
                go_on.set()
        real(file, flags)

    monkeypatch.setattr(module.fcntl, "flock", flock)
    big.script = [{"before": lambda: (go_on.set(), others[0].join())}]
    store(f"{big.url}/a.mp4", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["t-1-v0.mp4"]


@pytest.mark.parametrize(("age", "stays"), [(3600, True), (90_000, False)])
def test_a_part_of_another_machine_is_left_for_a_day(
    age: float, stays: bool, big: FileHost, tmp_path: Path
) -> None:
    part = tmp_path / ".kling-another-machine-abc.part"
    part.write_bytes(b"half")
    os.utime(part, (time.time() - age,) * 2)
    store(f"{big.url}/a.mp4", tmp_path)
    assert part.exists() is stays


def test_two_workers_of_one_video_leave_one_whole_file(big: FileHost, tmp_path: Path) -> None:
    both = [threading.Thread(target=store, args=(f"{big.url}/a.mp4", tmp_path)) for _ in range(4)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert [path.name for path in tmp_path.iterdir()] == ["t-1-v0.mp4"]
    assert (tmp_path / "t-1-v0.mp4").read_bytes() == CONTENT


# --- disks and stores that do not take it ---------------------------------------------------------------


def _store_on_a_full_disk(url: str, folder: Path) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    try:
        store(url, folder)
    except KlingStorageError as error:
        (folder / "error").write_text(str(error))


def test_a_full_disk_leaves_nothing_half_and_says_what_to_do(big: FileHost, tmp_path: Path) -> None:
    child = in_a_child(_store_on_a_full_disk, f"{big.url}/a.mp4", tmp_path)
    child.join()
    assert child.exitcode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["error"]
    text = (tmp_path / "error").read_text()
    assert "Task t-1 of image2video could not be stored" in text
    assert "File too large" in text
    assert "still at Kling" in text
    assert "costs nothing" in text
    store(f"{big.url}/a.mp4", tmp_path)
    assert (tmp_path / "t-1-v0.mp4").read_bytes() == CONTENT


@pytest.fixture
def odd() -> Iterator[MemoryFileSystem]:
    """fsspec's memory store: like most stores, it shows a file while it is being written."""
    store = MemoryFileSystem()
    attach("memory", fs=store)
    yield store
    store.rm("/videos", recursive=True)


def kept(store: MemoryFileSystem) -> dict[str, bytes]:
    return {path.rpartition("/")[2]: store.cat_file(path) for path in store.find("/videos")}


def test_a_store_without_atomic_uploads_gets_its_file_whole(big: FileHost, odd: MemoryFileSystem) -> None:
    (entry,) = store(f"{big.url}/a.mp4", "memory://videos/night")
    assert kept(odd) == {"t-1-v0.mp4": CONTENT}
    assert entry["bytes"] == len(CONTENT)
    asked = len(big.paths)
    store(f"{big.url}/a.mp4", "memory://videos/night")
    assert len(big.paths) == asked


def test_an_upload_that_breaks_off_leaves_no_file_under_its_name(
    big: FileHost, odd: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(self: Any, source: str, target: str, **_: Any) -> None:
        self.pipe_file(target, Path(source).read_bytes()[:1000])
        raise ConnectionResetError("cut")

    with monkeypatch.context() as patch:
        patch.setattr(MemoryFileSystem, "put_file", half)
        with pytest.raises(KlingStorageError, match="cut"):
            store(f"{big.url}/a.mp4", "memory://videos/night")
    assert kept(odd) == {}
    with monkeypatch.context() as patch:  # an upload that says nothing of what it lost
        patch.setattr(
            MemoryFileSystem, "put_file", lambda self, source, target, **_: self.pipe_file(target, b"x")
        )
        with pytest.raises(KlingStorageError, match=r"holds 1 bytes after \d+ were written"):
            store(f"{big.url}/a.mp4", "memory://videos/night")
    assert kept(odd) == {}
    store(f"{big.url}/a.mp4", "memory://videos/night")


# --- a gigabyte ---------------------------------------------------------------------------------------------

GIGABYTE = 1024**3


class Gigabyte(BaseHTTPRequestHandler):
    """An MP4 of 1 GB, made while it is sent; cut off once in the middle."""

    cuts = 1

    def do_GET(self) -> None:
        head = (
            (28).to_bytes(4, "big")
            + b"ftypisom\x00\x00\x02\x00isomiso2mp41"
            + (1).to_bytes(4, "big")
            + b"mdat"
        )
        head += (GIGABYTE - 28).to_bytes(8, "big")
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        begin = int(wanted[1]) if wanted else 0
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(GIGABYTE - begin))
        self.send_header("ETag", '"1"')
        if wanted:
            self.send_header("Content-Range", f"bytes {begin}-{GIGABYTE - 1}/{GIGABYTE}")
        self.end_headers()
        end = GIGABYTE
        if Gigabyte.cuts:
            Gigabyte.cuts -= 1
            end = GIGABYTE // 2
        part = bytes(1024 * 1024)
        self.wfile.write(head[begin:])
        at = max(begin, len(head))
        while at < end:
            at += self.wfile.write(part[: min(len(part), end - at)])
        self.close_connection = True

    def log_message(self, *_: Any) -> None:
        pass


def _measure(url: str, folder: Path) -> None:
    """Store 1 GB, and write down by how much the peak of this process's memory grew."""
    from kling_provider.hooks.kling import KlingHook

    KlingHook().get_conn()  # imports and sessions are not what is measured
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    (entry,) = store(f"{url}/a.mp4", folder)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    (folder / "grown").write_text(f"{(after - before) * 1024} {entry['bytes']}")


def test_a_gigabyte_needs_no_more_memory_than_a_few_chunks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Gigabyte)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    Gigabyte.cuts = 1
    url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv(CONNECTION, connection(url, "key"))
    child = in_a_child(_measure, url, tmp_path)
    child.join()
    server.shutdown()
    assert child.exitcode == 0
    grown, size = map(int, (tmp_path / "grown").read_text().split())
    print(f"1 GB stored; peak memory grew by {grown / 1e6:.0f} MB")
    assert size == GIGABYTE
    assert Gigabyte.cuts == 0
    assert grown < 64e6
    (tmp_path / "t-1-v0.mp4").unlink()


# --- before anything is paid --------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _believe_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(destinations, "_believed", {})


@pytest.mark.parametrize("form", ["file://{}/a/b", "{}/a/b"])
def test_a_folder_that_can_be_made_is_good_and_is_not_made(form: str, tmp_path: Path) -> None:
    check_destination(form.format(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_way_is_told(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    with pytest.raises(KlingBadRequestError, match=r"Nothing was sent\. .*a is a file"):
        check_destination(f"file://{tmp_path}/a/b")


def test_a_disk_that_cannot_be_written_is_told() -> None:
    with pytest.raises(KlingBadRequestError, match="cannot be written"):
        check_destination("file:///proc/1/videos")


def test_a_store_nobody_knows_is_told() -> None:
    with pytest.raises(KlingBadRequestError, match="cannot be written"):
        check_destination("nosuch://bucket/x")


def test_an_odd_store_is_tried_and_left_as_it_was(odd: MemoryFileSystem) -> None:
    check_destination("memory://videos/night")
    assert kept(odd) == {}


def aws(url: str, monkeypatch: pytest.MonkeyPatch, conn_id: str = "store") -> None:
    extra = {
        "region_name": "us-east-1",
        "endpoint_url": url,
        "config_kwargs": {"retries": {"max_attempts": 1}},
    }
    fields = {"conn_type": "aws", "login": "testing", "password": "testing", "extra": extra}
    monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(fields))


def test_a_bucket_is_tried_and_left_as_it_was(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import boto3

    aws(s3, monkeypatch)
    keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing", "region_name": "us-east-1"}
    bucket = boto3.resource("s3", endpoint_url=s3, **keys).Bucket(f"good-{time.time_ns()}")
    bucket.create()
    check_destination(f"s3://{bucket.name}/x/", "store")
    assert list(bucket.objects.all()) == []
    with pytest.raises(KlingBadRequestError, match="no-such-bucket"):
        check_destination("s3://no-such-bucket/x/", "store")


def test_a_store_that_does_not_answer_is_asked_again_by_a_retry(monkeypatch: pytest.MonkeyPatch) -> None:
    aws("http://127.0.0.1:9", monkeypatch, "dead_store")
    with pytest.raises(KlingServerError, match="A retry asks again"):
        check_destination("s3://some-bucket/x/", "dead_store")


def test_a_destination_that_was_good_is_believed_for_a_while(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    check_destination(str(folder))
    folder.rmdir()
    folder.write_text("now a file")
    check_destination(str(folder))
    destinations._believed.clear()
    with pytest.raises(KlingBadRequestError):
        check_destination(str(folder))


# --- what is no task -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        [{"uri": "file:///a.mp4", "bytes": 1}],
        {"uri": "file:///a.mp4"},
        {"videos": "x", "task_id": "1"},
        1.5,
        None,
    ],
)
def test_a_manifest_or_what_else_is_no_task_is_told_before_anything_is_asked(
    value: Any, big: FileHost, tmp_path: Path
) -> None:
    operator = KlingToObjectStorageOperator(task_id="store", task=value, destination=str(tmp_path))
    with pytest.raises(KlingBadRequestError):
        operator.execute({})
    assert big.paths == []
    assert list(tmp_path.iterdir()) == []
