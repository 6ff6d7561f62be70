"""Which stored files may be looked at, whatever an XCom says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kling_provider.plugins.previews import NotReadable, NotShown, Root, open_stored, read_roots

MP4 = b"\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isomiso2" + b"x" * 1000


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "videos"
    (folder / "2026").mkdir(parents=True)
    (folder / "2026" / "a video.mp4").write_bytes(MP4)
    (tmp_path / "secret.mp4").write_bytes(MP4)
    (tmp_path / "videos-of-others").mkdir()
    (tmp_path / "videos-of-others" / "b.mp4").write_bytes(MP4)
    return folder


def test_a_file_below_a_root_is_read_in_parts(root: Path) -> None:
    file = open_stored(f"file://{root}/2026/a video.mp4", read_roots(f" {root} , /elsewhere"))
    assert (file.size, file.media.mime) == (len(MP4), "video/mp4")
    assert b"".join(file.chunks(3, 100)) == MP4[3:100]
    assert b"".join(file.chunks(0, file.size)) == MP4


def test_a_plain_path_and_a_root_with_scheme_and_slash_are_the_same(root: Path) -> None:
    assert open_stored(f"{root}/2026/a video.mp4", read_roots(f"file://{root}/")).size == len(MP4)


@pytest.mark.parametrize(
    "uri",
    [
        "file:///etc/passwd",
        "/etc/passwd",
        "file://ROOT/../secret.mp4",
        "file://ROOT/2026/../../secret.mp4",
        "file://ROOT/%2e%2e/secret.mp4",
        "file://ROOT/./2026/a video.mp4",
        "file://ROOT-of-others/b.mp4",
        "file://ROOT/2026",
        "file://ROOT",
        "file://ROOT/missing.mp4",
        "file://ROOT/2026/a video.mp4\x00.png",
        "file://ROOT/2026/a video.mp4\n",
        "file://ROOT/2026/a\u202evideo.mp4",
        "file://host/ROOT/2026/a video.mp4",
        "file:ROOT/2026/a video.mp4",
        "simplecache::file://ROOT/2026/a video.mp4",
        "s3://bucket/a.mp4",
        "http://169.254.169.254/latest/meta-data",
        "javascript:alert(1)",
        "",
        "..",
    ],
)
def test_nothing_else_is_read(uri: str, root: Path) -> None:
    with pytest.raises(NotShown):
        open_stored(uri.replace("ROOT", str(root)), read_roots(str(root)))


@pytest.mark.parametrize(
    "uri", ["file://ROOT//2026///a video.mp4", "file:///ROOT/2026/a video.mp4", "//ROOT/2026/a video.mp4"]
)
def test_on_a_disk_two_slashes_are_one(uri: str, root: Path) -> None:
    assert open_stored(uri.replace("ROOT", str(root)), read_roots(f"/{root}//")).size == len(MP4)


def test_a_name_may_have_any_space_of_any_script(root: Path) -> None:
    (root / "夏\u3000旅行").mkdir()
    (root / "夏\u3000旅行" / "灯台\u00a0.mp4").write_bytes(MP4)
    assert open_stored(
        f"file://{root}/夏\u3000旅行/灯台\u00a0.mp4", read_roots(f"{root}/夏\u3000旅行")
    ).size == len(MP4)


def test_without_roots_nothing_is_read(root: Path) -> None:
    assert read_roots("") == ()
    with pytest.raises(NotShown):
        open_stored(f"file://{root}/2026/a video.mp4", ())


def test_a_link_below_a_root_leads_nowhere_else(root: Path, tmp_path: Path) -> None:
    (root / "link.mp4").symlink_to(tmp_path / "secret.mp4")
    (root / "folder").symlink_to(tmp_path)
    for name in ("link.mp4", "folder/secret.mp4"):
        with pytest.raises(NotShown, match="below none"):
            open_stored(f"file://{root}/{name}", read_roots(str(root)))


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="only Linux tells what is open")
def test_a_folder_that_becomes_a_link_while_a_file_is_opened_leads_nowhere_else(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "a video.mp4").write_bytes(MP4)
    open_ = os.open

    def swap_and_open(path: str, flags: int, *args: object, **kwargs: object) -> int:
        (root / "2026").rename(tmp_path / "away")
        (root / "2026").symlink_to(tmp_path / "secrets")
        return open_(path, flags)

    monkeypatch.setattr("kling_provider.plugins.previews.os.open", swap_and_open)
    with pytest.raises(NotShown, match="below none"):
        open_stored(f"file://{root}/2026/a video.mp4", read_roots(str(root)))


def test_a_root_that_is_a_link_itself_is_what_it_leads_to(root: Path, tmp_path: Path) -> None:
    (tmp_path / "current").symlink_to(root)
    for way in (tmp_path / "current", root):
        assert open_stored(f"file://{way}/2026/a video.mp4", read_roots(str(tmp_path / "current"))).size


@pytest.mark.parametrize(
    "content", [b"<html><script>alert(1)</script>", b"GIF89a", b"<svg/>", b"", b"%PDF-1.7"]
)
def test_a_file_is_what_its_first_bytes_are_not_what_its_name_says(content: bytes, root: Path) -> None:
    (root / "page.mp4").write_bytes(content)
    with pytest.raises(NotShown):
        open_stored(f"file://{root}/page.mp4", read_roots(str(root)))


def test_a_pipe_does_not_make_the_server_wait(root: Path) -> None:
    os.mkfifo(root / "pipe.mp4")
    with pytest.raises(NotShown, match="is no file"):
        open_stored(f"file://{root}/pipe.mp4", read_roots(str(root)))


def test_an_object_is_read_with_the_connection_of_its_root(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str | None]] = []

    class Store:
        def info(self, path: str) -> dict[str, int]:
            return {"size": len(MP4)}

        def cat_file(self, path: str, start: int, end: int) -> bytes:
            return MP4[start:end]

    class Path_:
        fs, path = Store(), "bucket/videos/a.mp4"

    def storage_path(uri: str, conn_id: str | None) -> Path_:
        asked.append((uri, conn_id))
        return Path_()

    monkeypatch.setattr("kling_provider.transfers.destinations.storage_path", storage_path)
    roots = read_roots("s3://reader@bucket/videos")
    assert roots == (Root("s3", "reader", ("bucket", "videos")),)
    file = open_stored("s3://admin@bucket/videos/a.mp4", roots)
    assert b"".join(file.chunks(10, 600)) == MP4[10:600]
    assert asked == [("s3://bucket/videos/a.mp4", "reader")]


@pytest.mark.parametrize(
    "uri",
    [
        "s3://bucket/other/a.mp4",
        "s3://bucket/videos",
        "s3://bucket/videos-2/a.mp4",
        "s3://bucket/videos/../other/a.mp4",
        "s3://elsewhere/videos/a.mp4",
        "gs://bucket/videos/a.mp4",
        "s3://bucket/videos/a.mp4::file:///etc/passwd",
        "s3:///bucket/videos/a.mp4",
        "s3://bucket//videos/a.mp4",
        "s3://bucket/videos//../../other/a.mp4",
    ],
)
def test_no_other_object_is_read(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kling_provider.transfers.destinations.storage_path", lambda *_: pytest.fail("asked"))
    with pytest.raises(NotShown):
        open_stored(uri, read_roots("s3://bucket/videos"))


def test_a_store_that_does_not_answer_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_package(uri: str, conn_id: str | None) -> None:
        raise ImportError("s3fs")

    monkeypatch.setattr("kling_provider.transfers.destinations.storage_path", no_package)
    with pytest.raises(NotReadable, match="s3fs"):
        open_stored("s3://bucket/videos/a.mp4", read_roots("s3://bucket/videos"))


@pytest.mark.parametrize("setting", ["/", "videos", "file://", "s3://", "file:///a/../b", "s3:bucket"])
def test_a_root_that_is_no_folder_is_refused(setting: str) -> None:
    with pytest.raises(ValueError, match=r"folder|path|written"):
        read_roots(setting)
