"""Videos that play, addresses that end, callbacks that come."""

from __future__ import annotations

import base64
import json
from itertools import pairwise
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

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


def names_of(url: str) -> tuple[str, dict[str, str]]:
    """Path and parameters of an address."""
    parts = urlsplit(url)
    return parts.path, dict(parse_qsl(parts.query))


def test_an_address_is_signed_anew_each_time_it_is_told(client: Client, kling: SimulatorServer) -> None:
    kling.set(resigns_addresses=True)
    name = client.book(watermark_info={"enabled": True})
    kling.finish(name)
    tellings = [client.task(name) for _ in range(3)] + [client.listed()[0]]
    videos = [one["task_result"]["videos"][0] for one in tellings]
    for field in ("url", "watermark_url"):
        urls = [str(video[field]) for video in videos]
        assert [urlsplit(url).hostname for url in urls] == ["127.0.0.1", "localhost"] * 2
        assert len({names_of(url)[0] for url in urls}) == 1
        signed = [names_of(url)[1] for url in urls]
        assert {tuple(one) for one in signed} == {("cacheKey", "x-kcdn-pid", "pkey")}
        assert [len({one[parameter] for one in signed}) for parameter in signed[0]] == [4, 4, 4]
        contents = {requests.get(url, timeout=PATIENCE).content for url in urls}
        assert len(contents) == 1
        assert b"ftyp" in contents.pop()[:12]
        mixed = urls[0].replace(signed[0]["cacheKey"], signed[1]["cacheKey"])
        assert requests.get(mixed, timeout=PATIENCE).status_code == 403
    assert kling.url.startswith("http://127.0.0.1")


def test_each_address_ends_when_it_was_told_to(client: Client, kling: SimulatorServer) -> None:
    kling.set(resigns_addresses=True, url_ttl=60)
    old = client.video_url()
    name = kling.tasks[0].task_id
    kling.set(url_ttl=0)
    over = client.task(name)["task_result"]["videos"][0]["url"]
    assert requests.head(over, timeout=PATIENCE).status_code == 403
    kling.set(resigns_addresses=False)
    assert requests.head(old, timeout=PATIENCE).status_code == 200


def test_every_dialect_call_and_callback_tells_fresh_addresses(
    client: Client, kling: SimulatorServer, receiver: Receiver
) -> None:
    kling.set(resigns_addresses=True)
    options = {"callback_url": f"{receiver.url}/done"}
    body = {"prompt": "a boat", "options": options}
    name = client.ask("POST", "/text-to-video/kling-3.0", json=body).json()["data"]["id"]
    kling.finish(name)
    until(lambda: receiver.posts)
    asked = [client.ask("GET", "/tasks", params={"task_ids": name}).json()["data"][0] for _ in range(2)]
    urls = [one["outputs"][0]["url"] for one in (*asked, json.loads(receiver.posts[-1]))]
    assert len({names_of(url)[1]["pkey"] for url in urls}) == 3
    assert all(requests.head(url, timeout=PATIENCE).status_code == 200 for url in urls)
    speech = {"text": "Ship ahoy", "voice_id": "v-1", "voice_language": "en"}
    told = client.ask("POST", "/v1/audio/tts", json=speech).json()["data"]["task_result"]["audios"][0]["url"]
    assert "cacheKey=" in told
    assert requests.head(told, timeout=PATIENCE).status_code == 200
    trials = [
        client.ask("GET", "/v1/general/presets-voices").json()["data"][0]["task_result"]["voices"][0][
            "trial_url"
        ]
        for _ in range(2)
    ]
    assert trials[0] != trials[1]
    assert all(requests.head(url, timeout=PATIENCE).status_code == 200 for url in trials)


def test_a_result_is_known_under_either_host(client: Client, kling: SimulatorServer) -> None:
    kling.set(resigns_addresses=True)
    name = client.book(duration="10")
    kling.finish(name)
    motion = {"character_orientation": "video", "mode": "std", "image_url": client.picture}
    for _ in range(2):
        url = client.task(name)["task_result"]["videos"][0]["url"]
        client.book("motion-control", model_name="kling-v3", video_url=url, **motion)
    assert [film_of(task).seconds for task in kling.tasks] == [10, 10, 10]
    assert not [one for one in kling.requests if one.path.startswith("/_files/")]


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
