"""Videos that play, addresses that end, callbacks that come."""

from __future__ import annotations

import base64
import json
from itertools import pairwise
from pathlib import Path

import av
import pytest
import requests
from PIL import Image, ImageChops, ImageStat

from kling_provider.simulator.film import Film, frame_size
from kling_provider.simulator.render import render
from kling_provider.simulator.server import SimulatorServer
from kling_provider.simulator.tune import Tune
from tests.simulator.simulator_client import PATIENCE, Client, Receiver, encoded, film_of, png, until


def difference(one: Image.Image, other: Image.Image) -> float:
    return sum(ImageStat.Stat(ImageChops.difference(one, other)).mean)


def decode(path: Path) -> tuple[av.VideoStream, list[Image.Image], float]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = [frame.to_image(width=320, height=180) for frame in container.decode(stream)]
        assert container.duration is not None
        return stream, frames, container.duration / 1_000_000


def test_the_video_of_a_picture_is_a_real_mp4(client: Client, tmp_path: Path) -> None:
    url = client.video_url(image=base64.b64encode(png((1920, 1080))).decode())
    file = tmp_path / "video.mp4"
    file.write_bytes(requests.get(url, timeout=PATIENCE).content)
    with av.open(str(file)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert (stream.width, stream.height, stream.pix_fmt) == (1280, 720, "yuv420p")
    _, frames, seconds = decode(file)
    assert len(frames) == 150
    assert seconds == pytest.approx(5.0, abs=0.05)
    assert difference(frames[0], frames[-1]) > 6
    assert all(difference(one, other) > 0.5 for one, other in pairwise(frames[::10]))
    content = file.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat"), "players start before the whole file is there"


@pytest.mark.parametrize("colour", ["red", "black", "white"])
def test_even_a_flat_picture_is_seen_moving(tmp_path: Path, colour: str) -> None:
    picture = tmp_path / "flat.jpg"
    picture.write_bytes(encoded(Image.new("RGB", (400, 400), colour), "JPEG"))
    render(Film((320, 320), 1, 24, picture=str(picture)), tmp_path / "a.mp4")
    _, frames, _ = decode(tmp_path / "a.mp4")
    assert difference(frames[0], frames[-1]) > 3


def test_the_last_frame_is_the_tail(tmp_path: Path) -> None:
    for name, seed in (("a.png", "one"), ("b.png", "other")):
        (tmp_path / name).write_bytes(png((640, 360), seed))
    film = Film((640, 360), 1, 24, picture=str(tmp_path / "a.png"), tail=str(tmp_path / "b.png"))
    render(film, tmp_path / "fade.mp4")
    render(Film((640, 360), 1, 24, picture=str(tmp_path / "b.png")), tmp_path / "tail.mp4")
    render(Film((640, 360), 1, 24, picture=str(tmp_path / "a.png")), tmp_path / "first.mp4")
    fade, tail, first = (decode(tmp_path / f"{name}.mp4")[1] for name in ("fade", "tail", "first"))
    assert difference(fade[0], first[0]) < 1
    assert difference(fade[-1], tail[-1]) < 3
    assert difference(fade[-1], first[-1]) > 30


def test_the_same_film_is_the_same_bytes(tmp_path: Path) -> None:
    film = Film((360, 640), 1, 30, words="a cat, 一只猫", sound=Tune(1, "miaow"))
    for name in ("a.mp4", "b.mp4"):
        render(film, tmp_path / name)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


@pytest.mark.parametrize(
    ("ratio", "side", "size"),
    [(16 / 9, 720, (1280, 720)), (9 / 16, 1080, (1080, 1920)), (1, 720, (720, 720)), (2.5, 720, (1800, 720))],
)
def test_the_shorter_side_has_the_height_of_the_mode(ratio: float, side: int, size: tuple[int, int]) -> None:
    assert frame_size(ratio, side) == size


def test_model_mode_duration_and_ratio_decide_the_film(client: Client) -> None:
    client.book("text2video", prompt="a cat", aspect_ratio="9:16", mode="pro", duration="10")
    client.book("text2video", prompt="a cat", model_name="kling-v2-6")
    client.book("text2video", prompt="a cat", model_name="kling-v2-1-master")
    client.book(image_tail=client.picture, mode="pro")
    films = [film_of(task) for task in client.server.tasks]
    assert [(film.size, film.seconds, film.fps) for film in films] == [
        ((1080, 1920), 10, 30),
        ((1280, 720), 5, 24),
        ((1920, 1080), 5, 24),
        ((1920, 1080), 5, 30),
    ]


def test_results_can_be_had_in_parts(client: Client) -> None:
    url = client.video_url()
    whole = requests.get(url, timeout=PATIENCE)
    assert int(whole.headers["content-length"]) == len(whole.content)
    assert whole.headers["content-type"] == "video/mp4"
    etag, size = whole.headers["etag"], len(whole.content)
    head = requests.head(url, timeout=PATIENCE)
    assert (head.status_code, head.headers["content-length"], head.content) == (200, str(size), b"")

    def part(value: str, **headers: str) -> requests.Response:
        return requests.get(url, headers={"Range": value, **headers}, timeout=PATIENCE)

    middle = part("bytes=100-199")
    assert (middle.status_code, middle.headers["content-range"]) == (206, f"bytes 100-199/{size}")
    assert middle.content == whole.content[100:200]
    assert part("bytes=1000-").content == whole.content[1000:]
    assert part("bytes=-10").content == whole.content[-10:]
    assert part(f"bytes={size}-").status_code == 416
    assert part("bytes=100-", **{"If-Range": '"another"'}).status_code == 200
    assert part("bytes=100-", **{"If-Range": etag}).status_code == 206


def test_addresses_end_and_a_new_query_gives_a_fresh_one(client: Client, kling: SimulatorServer) -> None:
    kling.set(url_ttl=0)
    name = client.book()
    kling.finish(name)
    old = client.task(name)["task_result"]["videos"][0]["url"]
    assert requests.get(old, timeout=PATIENCE).status_code == 403
    kling.set(url_ttl=60)
    fresh = client.task(name)["task_result"]["videos"][0]["url"]
    assert requests.head(fresh, timeout=PATIENCE).status_code == 200
    assert requests.get(fresh.partition("?")[0], timeout=PATIENCE).status_code == 403
    assert requests.get(fresh.replace("pkey=1", "pkey=2"), timeout=PATIENCE).status_code == 403
    kling.set(result_ttl=0)
    assert requests.get(fresh, timeout=PATIENCE).status_code == 403
    assert requests.get(f"{kling.url}/_files/5.mp4?pkey=1-2", timeout=PATIENCE).status_code == 404


def test_a_download_can_be_cut(client: Client, kling: SimulatorServer) -> None:
    url = client.video_url()
    kling.fault("cut_body", path="/_files/", bytes=1000)
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        requests.get(url, timeout=PATIENCE)
    rest = requests.get(url, headers={"Range": "bytes=1000-"}, timeout=PATIENCE)
    assert rest.status_code == 206


def test_a_watermarked_copy_is_another_file(client: Client, kling: SimulatorServer) -> None:
    name = client.book(watermark_info={"enabled": True})
    kling.finish(name)
    video = client.task(name)["task_result"]["videos"][0]
    assert (
        requests.get(video["url"], timeout=PATIENCE).content
        != requests.get(video["watermark_url"], timeout=PATIENCE).content
    )


def test_callbacks_come_at_every_change(client: Client, receiver: Receiver) -> None:
    name = client.book(callback_url=f"{receiver.url}/done")
    until(lambda: len(receiver.posts) == 2)
    told = [json.loads(post) for post in receiver.posts]
    assert [one["task_status"] for one in told] == ["processing", "succeed"]
    assert {one["task_id"] for one in told} == {name}
    assert "code" not in told[1]
    assert requests.head(told[1]["task_result"]["videos"][0]["url"], timeout=PATIENCE).status_code == 200
    until(lambda: [one.status for one in client.server.callbacks] == [200, 200])


def test_callbacks_to_the_world_are_recorded_and_not_sent(client: Client, kling: SimulatorServer) -> None:
    client.book(callback_url="http://hooks.example/done")
    callbacks = until(lambda: kling.callbacks)
    assert callbacks[0].status is None
    assert callbacks[0].note.startswith("not sent")
