"""Pictures on their way to the API: which are taken, which are refused, and what a refusal says."""

from __future__ import annotations

import base64
import copy
import io
import os
import random
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from kling_provider.api.endpoints import ENDPOINTS
from kling_provider.api.errors import InvalidRequest
from kling_provider.api.gateways import PictureLimits, SoundLimits
from kling_provider.media import load_media
from tests.api.properties import promise

ROW = ENDPOINTS["image2video"]
LIMITS = PictureLimits()
LINE = [{"x": 1, "y": 2}, {"x": 3, "y": 4}]


def picture(width: int = 640, height: int = 360, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), "teal").save(file, kind, **options)
    return file.getvalue()


PNG, JPEG = picture(), picture(kind="JPEG")


@pytest.fixture
def put(tmp_path: Path) -> Callable[..., str]:
    def write(name: str = "boat.png", data: bytes = PNG) -> str:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return str(path)

    return write


def load(
    source: Any, field: str = "image", *, limits: PictureLimits = LIMITS, roots: tuple[str, ...] = ()
) -> Any:
    return load_media({field: source}, ROW, limits, SoundLimits(), roots)[field]


def refusal(source: Any, field: str = "image", **options: Any) -> str:
    with pytest.raises(InvalidRequest) as caught:
        load(source, field, **options)
    assert str(caught.value).startswith(f"{field}=")
    return str(caught.value)


# -- what is taken


@pytest.mark.parametrize("field", ["image", "image_tail", "static_mask"])
@pytest.mark.parametrize("data", [PNG, JPEG], ids=["png", "jpg"])
def test_a_picture_on_disk_becomes_its_bytes(put: Callable[..., str], field: str, data: bytes):
    assert load(put("any.name", data), field) == data


@pytest.mark.parametrize("scheme", ["file://", "FILE://", "local://"])
def test_a_local_uri_becomes_the_bytes_of_the_file(put: Callable[..., str], scheme: str):
    assert load(scheme + put()) == PNG


def test_a_path_below_home_is_found(put: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    put()
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load("~/boat.png") == PNG


@pytest.mark.parametrize("kind", [bytes, bytearray])
def test_bytes_from_a_hook_are_taken_as_they_are(kind: type):
    loaded = load(kind(JPEG))
    assert loaded == JPEG
    assert type(loaded) is bytes


@pytest.mark.parametrize(
    "url",
    [
        "https://media.example/boat.png?sig=1#x",
        "http://media.example/nothing-is-fetched",
        "HTTPS://MEDIA.example/boat.png",
        "ftp://media.example/boat.png",
        "FTP://media.example/boat.png",
    ],
)
@pytest.mark.parametrize("roots", [(), ("/data",)])
def test_a_url_passes_through_unchanged(url: str, roots: tuple[str, ...]):
    assert load(url, roots=roots) == url


def test_fields_that_are_no_pictures_and_unset_ones_are_left_alone():
    request = {"prompt": "/etc/hostname", "image": None, "dynamic_masks": None, "cfg_scale": 0.5}
    assert load_media(request, ROW, LIMITS, SoundLimits()) == request
    assert load_media({}, ROW, LIMITS, SoundLimits()) == {}


def test_every_mask_of_a_list_is_loaded_into_a_copy(put: Callable[..., str]):
    path = put()
    request = {
        "image": path,
        "static_mask": path,
        "dynamic_masks": [
            {"mask": path, "trajectories": LINE},
            {"mask": "https://media.example/m.png", "trajectories": LINE},
        ],
    }
    before = copy.deepcopy(request)
    loaded = load_media(request, ROW, LIMITS, SoundLimits())
    assert loaded == {
        "image": PNG,
        "static_mask": PNG,
        "dynamic_masks": [
            {"mask": PNG, "trajectories": LINE},
            {"mask": "https://media.example/m.png", "trajectories": LINE},
        ],
    }
    assert request == before


def test_the_callers_dict_is_unchanged_when_a_picture_is_refused(put: Callable[..., str]):
    request = {"image": put(), "dynamic_masks": [{"mask": "/nowhere.png", "trajectories": LINE}]}
    before = copy.deepcopy(request)
    with pytest.raises(InvalidRequest, match=r"dynamic_masks\[0\].mask='/nowhere.png'"):
        load_media(request, ROW, LIMITS, SoundLimits())
    assert request == before


# -- limits, on both sides


def test_the_size_limit_holds_at_the_byte(put: Callable[..., str]):
    path = put()
    assert load(path, limits=PictureLimits(max_bytes=len(PNG))) == PNG
    assert "is larger than" in refusal(path, limits=PictureLimits(max_bytes=len(PNG) - 1))
    assert load(PNG, limits=PictureLimits(max_bytes=len(PNG))) == PNG
    assert "is larger than" in refusal(PNG, limits=PictureLimits(max_bytes=len(PNG) - 1))


def test_the_vendors_limit_is_ten_megabytes(put: Callable[..., str]):
    def of_size(size: int) -> bytes:  # a jpg may carry comments
        rest = size - len(JPEG)
        comments = b""
        while rest > 0:
            part = min(rest, 65535) if rest - min(rest, 65535) not in range(1, 4) else rest - 4
            comments += b"\xff\xfe" + (part - 2).to_bytes(2, "big") + b"x" * (part - 4)
            rest -= part
        return JPEG[:2] + comments + JPEG[2:]

    most = 10 * 1024 * 1024
    assert len(load(put("most.jpg", of_size(most)))) == most
    text = refusal(put("more.jpg", of_size(most + 1)))
    assert "is larger than 10 MB. Make it smaller, or give a URL." in text


def test_a_huge_file_is_not_read_into_memory(tmp_path: Path):
    path = tmp_path / "huge.png"
    with path.open("wb") as file:
        file.write(PNG)
        file.truncate(1 << 40)
    assert "is larger than 10 MB" in refusal(str(path))


@pytest.mark.parametrize(("width", "height"), [(300, 300), (300, 750), (750, 300), (1920, 1080)])
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_the_smallest_sides_and_the_widest_ratios_are_taken(width: int, height: int, kind: str):
    data = picture(width, height, kind)
    assert load(data) == data


@pytest.mark.parametrize(
    ("width", "height", "rule"),
    [
        (299, 300, "is 299x300 pixels; every side must be at least 300. Enlarge it."),
        (300, 299, "is 300x299 pixels; every side must be at least 300. Enlarge it."),
        (751, 300, "is 751x300 pixels; width:height must be between 1:2.5 and 2.5:1. Crop it."),
        (300, 751, "is 300x751 pixels; width:height must be between 1:2.5 and 2.5:1. Crop it."),
    ],
)
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_one_pixel_further_is_refused(put: Callable[..., str], width: int, height: int, rule: str, kind: str):
    path = put("edge", picture(width, height, kind))
    assert refusal(path) == f"image='{path}' {rule}"


def test_a_gateways_own_limits_are_used():
    assert load(picture(100, 100), limits=PictureLimits(min_side=100))
    assert "at least 641" in refusal(PNG, limits=PictureLimits(min_side=641, min_ratio=0.1))
    assert "between 1:1 and 1.5:1" in refusal(PNG, limits=PictureLimits(min_ratio=1, max_ratio=1.5))


# -- what is no picture


@pytest.mark.parametrize(
    ("name", "data", "rule"),
    [
        ("empty.png", b"", "is empty. Give a jpg or png picture."),
        ("paper.png", b"%PDF-1.7\n" + b"x" * 999, "is not a jpg or png picture, whatever its name says"),
        ("anim.jpg", picture(kind="GIF"), "is not a jpg or png picture"),
        ("new.jpg", picture(kind="WEBP"), "is not a jpg or png picture"),
        ("page.jpg", b"<html>404</html>", "is not a jpg or png picture"),
        ("text.png", base64.b64encode(PNG), "is not a jpg or png picture"),
        ("cut.png", PNG[:-1], "is a damaged or cut-off picture. Make it anew."),
        ("cut.png", PNG[:20], "is a damaged or cut-off picture"),
        ("cut.png", PNG[:8], "is a damaged or cut-off picture"),
        ("cut.jpg", JPEG[:-1], "is a damaged or cut-off picture"),
        ("cut.jpg", JPEG[:-2], "is a damaged or cut-off picture"),
        ("cut.jpg", JPEG[:100], "is a damaged or cut-off picture"),
        ("cut.jpg", JPEG[:3], "is a damaged or cut-off picture"),
        ("odd.jpg", b"\xff\xd8\xff" + b"\x00" * 500 + b"\xff\xd9", "is a damaged or cut-off picture"),
    ],
)
def test_what_is_no_picture_is_refused_whatever_its_name_says(
    put: Callable[..., str], name: str, data: bytes, rule: str
):
    path = put(name, data)
    text = refusal(path)
    assert text.startswith(f"image='{path}' ")
    assert rule in text


def with_preview(data: bytes) -> bytes:
    """A jpg the way cameras make it: a small jpg with an end of its own stands inside, near the front."""
    preview = picture(160, 120, "JPEG")
    return data[:2] + b"\xff\xe1" + (len(preview) + 2).to_bytes(2, "big") + preview + data[2:]


def test_the_end_of_a_preview_is_not_the_end_of_the_picture():
    whole = with_preview(JPEG)
    assert load(whole) == whole
    assert "cut-off" in refusal(whole[:-2])
    assert "cut-off" in refusal(whole[: len(whole) - len(JPEG) // 2])


@pytest.mark.parametrize(
    "data", [PNG, JPEG, picture(kind="JPEG", progressive=True)], ids=["png", "jpg", "progressive"]
)
def test_a_film_behind_a_photo_does_no_harm(data: bytes):
    motion_photo = data + b"\x00\xff\xda" * 70_000
    assert load(motion_photo) == motion_photo


def test_bytes_are_never_shown():
    text = refusal(b"secret picture data")
    assert text.startswith("image=")
    assert "<19 bytes>" in text
    assert "secret" not in text


# -- what cannot be read


def test_a_missing_file_is_named_with_the_ways_out(tmp_path: Path):
    path = str(tmp_path / "no.png")
    assert refusal(path) == (
        f"image='{path}': there is no such file on this worker. Give a path the worker sees, an object-storage "
        "URI or a URL."
    )
    assert "there is no such file" in refusal(f"file://{path}")


def test_a_directory_is_refused_and_no_descriptor_is_lost(tmp_path: Path):
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        text = refusal(str(tmp_path))
    assert "cannot be read" in text
    assert "directory" in text
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("scheme", ["", "file://", "FILE://", "local://"])
def test_a_named_pipe_is_refused_at_once(tmp_path: Path, scheme: str):
    path = tmp_path / "pipe.png"
    os.mkfifo(path)
    assert "is not a regular file. Give the file itself." in refusal(f"{scheme}{path}")


def test_a_device_is_refused():
    assert "is not a regular file" in refusal("/dev/zero")


def test_a_link_to_a_device_is_refused(tmp_path: Path):
    (tmp_path / "x.png").symlink_to("/dev/zero")
    assert "is not a regular file" in refusal(str(tmp_path / "x.png"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_without_the_right_to_read_it_is_refused(put: Callable[..., str]):
    path = put()
    os.chmod(path, 0)
    assert "cannot be read: [Errno 13]" in refusal(path)


def test_a_file_that_cannot_be_opened_is_refused(put: Callable[..., str], monkeypatch: pytest.MonkeyPatch):
    path = put()

    def denied(*_: Any) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("kling_provider.media.os.open", denied)
    assert "cannot be read: [Errno 13] Permission denied" in refusal(path)


@pytest.mark.parametrize("source", ["a\0b.png", "x" * 5000, "nope://bucket/boat.png", "s3:/bucket/boat.png"])
def test_a_source_that_makes_no_sense_is_refused(source: str):
    text = refusal(source)
    assert "cannot be read" in text or "there is no such file" in text
    assert len(text) < 600


# -- media_roots


@pytest.fixture
def fenced(put: Callable[..., str], tmp_path: Path) -> tuple[str, ...]:
    put("in/boat.png")
    put("in/deep/boat.png")
    put("inside-out/boat.png")
    put("secret.png")
    (tmp_path / "in" / "way-out.png").symlink_to(tmp_path / "secret.png")
    (tmp_path / "in" / "door").symlink_to(tmp_path)
    (tmp_path / "in" / "way-in.png").symlink_to(tmp_path / "in" / "boat.png")
    (tmp_path / "link").symlink_to(tmp_path / "in")
    return (str(tmp_path / "in"),)


@pytest.mark.parametrize(
    "inside", ["in/boat.png", "in/deep/boat.png", "in/deep/../boat.png", "in/way-in.png", "link/boat.png"]
)
@pytest.mark.parametrize("scheme", ["", "file://"])
def test_a_picture_inside_media_roots_is_taken(
    fenced: tuple[str, ...], tmp_path: Path, inside: str, scheme: str
):
    assert load(f"{scheme}{tmp_path}/{inside}", roots=fenced) == PNG
    assert load(f"{tmp_path}/{inside}", roots=("s3://bucket", f"{scheme}{fenced[0]}/")) == PNG


@pytest.mark.parametrize(
    "outside",
    [
        "secret.png",
        "in/../secret.png",
        "in/way-out.png",
        "in/door/secret.png",
        "inside-out/boat.png",
        "not-there.png",
    ],
)
@pytest.mark.parametrize("scheme", ["", "file://", "FILE://", "local://"])
def test_a_picture_outside_media_roots_is_refused_before_it_is_opened(
    fenced: tuple[str, ...], tmp_path: Path, outside: str, scheme: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("kling_provider.media.os.open", lambda *_: pytest.fail("it was opened"))
    text = refusal(f"{scheme}{tmp_path}/{outside}", roots=fenced)
    assert f"lies outside the connection's media_roots ({fenced[0]})" in text
    assert "add its folder to media_roots" in text


def test_a_root_that_is_a_link_is_its_target(fenced: tuple[str, ...], tmp_path: Path):
    assert load(f"{tmp_path}/in/boat.png", roots=(f"{tmp_path}/link",)) == PNG
    assert "media_roots" in refusal(f"{tmp_path}/secret.png", roots=(f"{tmp_path}/link",))


@pytest.mark.parametrize(
    "uri",
    [
        "s3://other/boat.png",
        "s3://bucket/out/boat.png",
        "s3://bucket/inside-out/boat.png",
        "s3://bucket/in/../out/boat.png",
        "s3://conn@bucket/in/boat.png",
        "S3://bucket/in/boat.png",
        "gs://bucket/in/boat.png",
    ],
)
def test_a_uri_outside_media_roots_is_refused(uri: str):
    assert "lies outside" in refusal(uri, roots=("s3://bucket/in", "/data"))


# -- object storage


@pytest.fixture
def store() -> Iterator[Any]:
    """An object storage in memory, known to Airflow for the time of a test."""
    from airflow.sdk.io import attach
    from airflow.sdk.io import store as stores
    from fsspec.implementations.memory import MemoryFileSystem

    memory = MemoryFileSystem()
    memory.store.clear()
    attach("memory", fs=memory)
    yield memory
    stores._STORE_CACHE.pop("memory", None)
    memory.store.clear()


def test_a_picture_in_object_storage_becomes_its_bytes(store: Any):
    store.pipe("/in/boat.png", PNG)
    assert load("memory://in/boat.png") == PNG
    assert load("memory://in/boat.png", roots=("memory://in/",)) == PNG
    assert "lies outside" in refusal("memory://in/boat.png", roots=("memory://out",))


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (None, "there is no such file"),
        (b"", "is empty"),
        (b"%PDF", "is not a jpg or png"),
        (PNG + b"x", "larger"),
    ],
)
def test_a_bad_picture_in_object_storage_is_named(store: Any, data: bytes | None, rule: str):
    if data is not None:
        store.pipe("/in/boat.png", data)
    text = refusal("memory://in/boat.png", limits=PictureLimits(max_bytes=len(PNG)))
    assert text.startswith("image='memory://in/boat.png'")
    assert rule in text


# -- masks


def masks(image: Any, static: Any, *dynamic: Any) -> dict[str, Any]:
    request: dict[str, Any] = {"dynamic_masks": [{"mask": each, "trajectories": LINE} for each in dynamic]}
    return request | {name: it for name, it in (("image", image), ("static_mask", static)) if it is not None}


SMALL, OTHER = picture(320, 320), picture(640, 640)


@pytest.mark.parametrize(
    "request_body",
    [
        masks(PNG, PNG),
        masks(PNG, picture(1280, 720)),
        masks(PNG, picture(1281, 720)),
        masks(PNG, PNG, PNG, PNG),
        masks("https://media.example/x.png", SMALL, SMALL),
        masks(PNG, "https://media.example/x.png"),
        masks(None, SMALL, SMALL),
    ],
    ids=range(7),
)
def test_masks_of_one_size_and_the_pictures_ratio_are_taken(request_body: dict[str, Any]):
    assert load_media(request_body, ROW, LIMITS, SoundLimits()) == request_body


@pytest.mark.parametrize(
    ("request_body", "said"),
    [
        (
            masks(PNG, SMALL),
            "static_mask is 320x320 pixels, but image is 640x360; a mask needs the picture's ratio",
        ),
        (masks(PNG, None, SMALL), "dynamic_masks[0].mask is 320x320 pixels, but image is 640x360"),
        (masks(PNG, picture(1300, 720)), "static_mask is 1300x720 pixels, but image is 640x360"),
        (
            masks(OTHER, OTHER, OTHER, SMALL),
            "dynamic_masks[1].mask is 320x320 pixels, but static_mask is 640x640; all masks need one size",
        ),
        (
            masks(None, None, OTHER, SMALL),
            "dynamic_masks[1].mask is 320x320 pixels, but dynamic_masks[0].mask is",
        ),
    ],
    ids=range(5),
)
def test_masks_that_kling_would_fail_later_are_refused_now(request_body: dict[str, Any], said: str):
    with pytest.raises(InvalidRequest) as caught:
        load_media(request_body, ROW, LIMITS, SoundLimits())
    assert said in str(caught.value)


def test_a_tail_may_have_another_size():
    request = {"image": PNG, "image_tail": OTHER}
    assert load_media(request, ROW, LIMITS, SoundLimits()) == request


# -- memory


def peak_of(source: Any, limits: PictureLimits = LIMITS) -> int:
    load(source, limits=limits)
    tracemalloc.start()
    try:
        load(source, limits=limits)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_looking_at_a_picture_copies_nothing(put: Callable[..., str], kind: str):
    noise = Image.frombytes("RGB", (1000, 1000), random.Random(0).randbytes(3_000_000))
    file = io.BytesIO()
    noise.save(file, kind)
    data = file.getvalue()
    assert peak_of(data) < len(data) / 4
    assert peak_of(put("noise", data)) < len(data) * 5 / 4


def test_a_small_file_takes_no_more_room_for_a_large_limit(put: Callable[..., str]):
    assert peak_of(put(), PictureLimits(max_bytes=2**30)) < 2**20


def test_a_file_without_a_size_is_read_all_the_same():
    assert "is not a jpg or png picture" in refusal("/proc/self/status")


@promise
@given(st.binary(max_size=200))
def test_no_picture_at_all_is_taken_for_more_than_it_is(data: bytes):
    with pytest.raises(InvalidRequest):
        load(PNG[:8] + data)
    with pytest.raises(InvalidRequest):
        load(JPEG[:3] + data)


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (OSError("SlowDown"), "cannot be read now: SlowDown"),
        (RuntimeError("no route to the bucket"), "cannot be read now"),
    ],
)
def test_a_bucket_that_does_not_answer_now_is_not_a_wrong_picture(monkeypatch, raised, expected):
    from kling_provider.media import MediaUnavailable

    class Path:
        def __init__(self, *_):
            pass

        def open(self, *_):
            raise raised

    monkeypatch.setattr("airflow.providers.common.compat.sdk.ObjectStoragePath", Path)
    with pytest.raises(MediaUnavailable, match=expected) as caught:
        load_media({"image": "s3://key:secret@bucket/a.png"}, ROW, PictureLimits(), SoundLimits())
    assert "secret" not in str(caught.value)
    assert "image=" in str(caught.value)


# -- sounds

AVATAR = ENDPOINTS["avatar"]
LIP_SYNC = ENDPOINTS["advanced-lip-sync"]


@pytest.mark.parametrize(
    "data",
    [
        b"ID3\x04 an mp3",
        b"\xff\xfb\x90 an mp3 without tags",
        b"RIFF1234WAVE",
        b"\x00\x00\x00\x20ftypM4A ",
        b"\xff\xf1P aac",
    ],
)
def test_a_sound_is_read_and_known_by_its_first_bytes(put: Callable[..., str], data: bytes):
    request = {"image": "https://media.example/a.png", "sound_file": put("voice", data)}
    assert load_media(request, AVATAR, LIMITS, SoundLimits())["sound_file"] == data


def test_a_sound_inside_a_list_is_read_and_an_address_passes_through(put: Callable[..., str]):
    path = put("voice.mp3", b"ID3 voice")
    faces = {"face_choose": [{"sound_file": path}, {"sound_file": "https://media.example/v.mp3"}]}
    loaded = load_media(faces, LIP_SYNC, LIMITS, SoundLimits())
    assert [face["sound_file"] for face in loaded["face_choose"]] == [
        b"ID3 voice",
        "https://media.example/v.mp3",
    ]
    assert faces["face_choose"][0]["sound_file"] == path


def test_what_is_no_sound_or_too_large_is_refused(put: Callable[..., str]):
    def told(data: bytes, limits: SoundLimits = SoundLimits()) -> str:  # noqa: B008
        with pytest.raises(InvalidRequest) as caught:
            load_media({"sound_file": put("voice", data)}, AVATAR, LIMITS, limits)
        return str(caught.value)

    assert "is not an mp3, wav, m4a or aac file" in told(b"hello")
    assert "is not an mp3, wav, m4a or aac file" in told(b"")
    assert "is larger than 1 MB" in told(b"ID3" + bytes(2**20), SoundLimits(max_bytes=2**20))
    assert load_media({"sound_file": b"ID3" + bytes(97)}, AVATAR, LIMITS, SoundLimits(max_bytes=100))


def test_the_new_dialects_contents_are_pictures_but_for_addresses(put: Callable[..., str]):
    contents = [{"type": "prompt", "text": "a boat"}, {"type": "first_frame", "url": put()}]
    row = ENDPOINTS["image-to-video/kling-3.0"]
    loaded = load_media({"contents": contents}, row, LIMITS, SoundLimits())
    assert loaded["contents"] == [contents[0], {"type": "first_frame", "url": PNG}]
