from __future__ import annotations

import io
import wave
from pathlib import Path

import pytest
from PIL import Image

from kling_provider.transfers import containers
from kling_provider.transfers.containers import MediaType, NotMedia, recognise
from tests.independent_server import video_blob
from tests.transfers.serving import video


def box(kind: bytes, content: bytes = b"") -> bytes:
    return (len(content) + 8).to_bytes(4, "big") + kind + content


def long_box(kind: bytes, content: bytes = b"") -> bytes:
    return (1).to_bytes(4, "big") + kind + (len(content) + 16).to_bytes(8, "big") + content


FTYP = box(b"ftyp", b"isom\0\0\0\0")


def encoded(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, kind)
    return buffer.getvalue()


def sound() -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(b"\0\0" * 10)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "mime", "extension"),
    [
        (video(), "video/mp4", "mp4"),
        (video_blob("1"), "video/mp4", "mp4"),
        (FTYP + box(b"moov", b"x" * 9) + box(b"mdat"), "video/mp4", "mp4"),
        (FTYP + long_box(b"mdat", b"x" * 99), "video/mp4", "mp4"),
        (FTYP + (0).to_bytes(4, "big") + b"mdat" + b"to the end", "video/mp4", "mp4"),
        (encoded("PNG"), "image/png", "png"),
        (encoded("JPEG"), "image/jpeg", "jpg"),
        (sound(), "audio/wav", "wav"),
        (b"ID3\x04" + b"\0" * 20, "audio/mpeg", "mp3"),
        (b"\xff\xfb\x90\x64" + b"\0" * 20, "audio/mpeg", "mp3"),
    ],
)
def test_media_are_recognised_by_their_first_bytes(content, mime, extension):
    assert recognise(io.BytesIO(content)) == MediaType(mime, extension)


def test_a_real_video_is_recognised_and_every_cut_of_its_boxes_is_noticed(kling_simulator, tmp_path: Path):
    import requests

    task = requests.post(
        f"{kling_simulator.url}/v1/videos/text2video",
        json={"model_name": "kling-v1-6", "prompt": "waves"},
        headers={"Authorization": f"Bearer {kling_simulator.api_key}"},
        timeout=10,
    ).json()["data"]
    kling_simulator.finish(task["task_id"])
    told = requests.get(
        f"{kling_simulator.url}/v1/videos/text2video/{task['task_id']}",
        headers={"Authorization": f"Bearer {kling_simulator.api_key}"},
        timeout=10,
    ).json()["data"]
    content = requests.get(told["task_result"]["videos"][0]["url"], timeout=30).content
    assert recognise(io.BytesIO(content)).mime == "video/mp4"
    for length in (len(content) - 1, len(content) // 2, 40):
        with pytest.raises(NotMedia, match=f"cut off after {length} bytes"):
            recognise(io.BytesIO(content[:length]))


def test_reading_starts_at_the_beginning():
    file = io.BytesIO(video())
    file.seek(0, io.SEEK_END)
    assert recognise(file).extension == "mp4"


@pytest.mark.parametrize(
    "content",
    [
        video()[:-1],
        video()[:40],
        FTYP + box(b"mdat", b"x" * 50)[:30],
        FTYP + b"\0\0\0",
        FTYP + (3).to_bytes(4, "big") + b"mdat",
        FTYP + long_box(b"mdat", b"x" * 99)[:50],
    ],
)
def test_an_mp4_that_is_cut_off_is_noticed(content):
    with pytest.raises(NotMedia, match=f"is an MP4 that is cut off after {len(content)} bytes"):
        recognise(io.BytesIO(content))


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        *((encoded("PNG")[:-cut], "PNG") for cut in (1, 4, 12, 20, len(encoded("PNG")) - 16)),
        *((encoded("JPEG")[:-cut], "JPEG") for cut in (1, 2, 50, len(encoded("JPEG")) - 3)),
        *((sound()[:-cut], "WAV") for cut in (10, 20)),
    ],
)
def test_a_picture_or_a_sound_that_is_cut_off_is_noticed(content, kind):
    with pytest.raises(NotMedia, match=f"is a {kind} that is cut off after {len(content)} bytes"):
        recognise(io.BytesIO(content))


def test_a_preview_inside_a_jpeg_is_not_taken_for_its_end():
    preview = encoded("JPEG")
    whole = encoded("JPEG")
    exif = b"\xff\xe1" + (len(preview) + 2).to_bytes(2, "big") + preview
    content = whole[:2] + exif + whole[2:]
    assert recognise(io.BytesIO(content)).extension == "jpg"
    with pytest.raises(NotMedia, match="cut off"):
        recognise(io.BytesIO(content[:-2]))


def test_the_end_of_a_jpeg_may_lie_across_two_reads(monkeypatch):
    for length in (1, 2, 3, 7):
        monkeypatch.setattr(containers, "_READ_BYTES", length)
        assert recognise(io.BytesIO(encoded("JPEG"))).extension == "jpg"


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_what_a_program_appends_to_a_picture_does_no_harm(kind):
    recognise(io.BytesIO(encoded(kind) + b"appended" * 9))


@pytest.mark.parametrize("told", [0, 0x7FFFF024, 0xFFFFFFFF])
def test_a_sound_of_an_encoder_that_did_not_know_its_length_is_whole(told):
    whole = sound()
    assert recognise(io.BytesIO(whole[:4] + told.to_bytes(4, "little") + whole[8:])).extension == "wav"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html>", "begins with b'<!DOCTYPE html><'"),
        ("<html>expired</html>".encode("utf-16"), "is not a video"),
        (b'{"code": 1, "message": "no"}', "is not a video"),
        (b"RIFF\0\0\0\0WEBP", "is not a video"),
        (b"%PDF-1.7", "is not a video"),
        (b"\xff", "is not a video"),
        (b"\0" * 500, "is not a video"),
    ],
)
def test_what_is_no_media_says_what_it_is_instead(content, told):
    with pytest.raises(NotMedia) as caught:
        recognise(io.BytesIO(content))
    assert told in str(caught.value)
