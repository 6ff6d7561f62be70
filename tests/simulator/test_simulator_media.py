"""The files of results: every kind opens, and is as large, as long and as many as was asked for."""

from __future__ import annotations

import base64
from typing import Any

import pytest
import requests
from PIL import Image

from kling_provider.simulator.film import Film
from kling_provider.simulator.music import samples_of
from kling_provider.simulator.studio import Studio
from kling_provider.simulator.tune import Tune
from tests.simulator.maker import Maker, opened, told
from tests.simulator.simulator_client import PATIENCE, Client, Receiver, encoded, png, refused

#: Small enough to be made in no time.
SMALL = base64.b64encode(png((320, 300))).decode()


def wav(seconds: float) -> str:
    """A sound as a request carries it."""
    studio = Studio()
    content = studio.make(Tune(seconds, "spoken", "wav")).result().read_bytes()
    studio.close()
    return base64.b64encode(content).decode()


def test_a_film_with_sound_has_a_track(maker: Maker) -> None:
    body = {"prompt": "a boat", "model_name": "kling-v3", "duration": "3", "aspect_ratio": "1:1"}
    for sound, tracks in (("on", ["audio", "video"]), ("off", ["video"])):
        seconds, kinds = opened(maker.made("text2video", sound=sound, **body).videos[0].url)
        assert kinds == tracks
        assert seconds == pytest.approx(3, abs=0.1)


def test_an_avatar_speaks_as_long_as_its_sound_and_costs_that(maker: Maker) -> None:
    task = maker.made("avatar", image=SMALL, sound_file=wav(2.4))
    seconds, kinds = opened(task.videos[0].url)
    assert kinds == ["audio", "video"]
    assert seconds == pytest.approx(2.4, abs=0.1)
    assert task.videos[0].duration == 2.4


def test_pictures_are_as_many_as_asked_each_another_one_of_the_size_asked(maker: Maker) -> None:
    task = maker.made(
        "images/generations", prompt="a boat", n=3, aspect_ratio="3:2", resolution="1k", model_name="kling-v3"
    )
    assert [image["index"] for image in task.images] == [0, 1, 2]
    width, height = opened(task.images[0]["url"])[1]
    assert width / height == pytest.approx(1.5, abs=0.01)
    assert width * height == pytest.approx(1024**2, rel=0.01)
    contents = {requests.get(image["url"], timeout=PATIENCE).content for image in task.images}
    assert len(contents) == 3


def test_a_series_is_told_in_its_own_list_and_omni_pictures_take_the_ratio_of_theirs(maker: Maker) -> None:
    body = {"model_name": "kling-v3-omni", "prompt": "<<<image_1>>>", "image_list": [{"image": SMALL}]}
    booked = told(
        maker.post("images/omni-image", **body, result_type="series", series_amount=2, resolution="2k")
    )
    maker.client.server.finish(booked["task_id"])
    result = told(maker.client.ask("GET", f"/v1/images/omni-image/{booked['task_id']}"))["task_result"]
    assert [item["index"] for item in result["series_images"]] == [0, 1]
    assert "images" not in result
    width, height = opened(result["series_images"][0]["url"])[1]
    assert width / height == pytest.approx(320 / 300, abs=0.01)
    assert width * height == pytest.approx(2048**2, rel=0.01)


def test_an_expanded_picture_is_larger_by_what_was_asked(maker: Maker) -> None:
    task = maker.made(
        "images/editing/expand",
        image=SMALL,
        up_expansion_ratio=0.1,
        down_expansion_ratio=0,
        left_expansion_ratio=0.5,
        right_expansion_ratio=0.5,
    )
    assert opened(task.images[0]["url"])[1] == (640, 330)


def test_every_url_of_other_kinds_opens(maker: Maker) -> None:
    watermarked = {"watermark_info": {"enabled": True}}
    tasks = [
        maker.made("ai-multi-shot", element_frontal_image=SMALL),
        maker.made("kolors-virtual-try-on", human_image=SMALL, cloth_image=SMALL),
        maker.made("images/generations", prompt="a boat", model_name="kling-v3", **watermarked),
        maker.made("custom-voices", voice_name="captain", voice_url="https://media.example/voice.mp3"),
    ]
    for task in tasks:
        items = [*task.images, *task.voices]
        addresses = [url for item in items for name, url in item.items() if "url" in name and url]
        assert addresses
        for url in addresses:
            opened(url)
    assert len(tasks[0].images[0]) == 4
    assert tasks[2].images[0]["watermark_url"]


def test_sounds_come_in_both_forms_and_last_as_long_as_asked(maker: Maker) -> None:
    (audio,) = maker.made("text-to-audio", prompt="waves", duration=3.5).audios
    for form in ("mp3", "wav"):
        assert opened(audio[f"url_{form}"])[0] == pytest.approx(3.5, abs=0.1)
        assert audio[f"duration_{form}"] == "3.5"


def test_speech_lasts_as_long_as_it_takes_to_say_it(maker: Maker) -> None:
    lengths = []
    for text, speed in (("ship ahoy" * 4, 1), ("ship ahoy" * 8, 1), ("ship ahoy" * 8, 2)):
        data = maker.call("tts", text=text, voice_id="v-1", voice_language="en", voice_speed=speed)
        assert data["task_status"] == "succeed"
        (audio,) = data["task_result"]["audios"]
        lengths.append(float(audio["duration"]))
        assert opened(audio["url"])[0] == pytest.approx(lengths[-1], abs=0.1)
    assert lengths == [3.0, 6.0, 3.0]


def test_a_picture_is_recognised_in_four_parts(maker: Maker) -> None:
    images = maker.call("image-recognize", image=SMALL)["task_result"]["images"]
    assert [image["type"] for image in images] == ["object_seg", "head_seg", "face_seg", "cloth_seg"]
    assert all(image["is_contain"] is True for image in images)
    assert opened(images[2]["url"])[1] == (320, 300)


def test_there_is_nothing_in_a_flat_picture(maker: Maker) -> None:
    flat = base64.b64encode(encoded(Image.new("RGB", (320, 300), "grey"))).decode()
    images = maker.call("image-recognize", image=flat)["task_result"]["images"]
    assert [(image["is_contain"], image["url"]) for image in images] == [(False, "")] * 4


def test_the_same_tune_is_the_same_samples_and_other_words_are_another_tune() -> None:
    assert samples_of(Tune(1, "a")) == samples_of(Tune(1, "a")) != samples_of(Tune(1, "b"))
    assert len(samples_of(Tune(1.5, "a"))) == 1.5 * 44_100 * 2


@pytest.mark.parametrize(
    ("sound", "text"),
    [
        ("data:audio/wav;base64,AAAA", "base64"),
        (base64.b64encode(b"OggS" + bytes(40)).decode(), "format of the input audio"),
        (base64.b64encode(b"ID3" + bytes(40)).decode(), "format of the input audio"),
        (base64.b64encode(b"RIFF" + bytes(5 * 1024**2)).decode(), "5MB"),
        (wav(1.2), "duration of sound_file"),
        (17, "is not a string"),
    ],
)
def test_sounds_are_looked_at(maker: Maker, sound: Any, text: str) -> None:
    refused(maker.post("avatar", image=SMALL, sound_file=sound), 400, 1201, text)


def test_a_result_can_be_given_by_its_address(maker: Maker, client: Client) -> None:
    source = maker.made("text2video", prompt="a boat", model_name="kling-v1-6", duration="10")
    body = {"image_url": SMALL, "character_orientation": "video", "mode": "std", "model_name": "kling-v2-6"}
    task = maker.made("motion-control", video_url=source.videos[0].url, **body)
    assert task.videos[0].duration == 10
    over = source.videos[0].url.partition("pkey=")[0] + "pkey=1-1"
    refused(maker.post("motion-control", video_url=over, **body), 400, 1201, "Failed to download video_url")


@pytest.mark.parametrize(("refer_type", "seconds"), [("base", 10), ("feature", 3)])
def test_an_edit_is_as_long_as_its_video_and_anything_else_as_long_as_asked(
    maker: Maker, refer_type: str, seconds: int
) -> None:
    source = maker.made("text2video", prompt="a boat", model_name="kling-v1-6", duration="10").videos[0]
    task = maker.made(
        "omni-video",
        model_name="kling-v3-omni",
        prompt="<<<video_1>>>",
        image_list=[{"image_url": SMALL}],
        video_list=[{"video_url": source.url, "refer_type": refer_type}],
        aspect_ratio="16:9",
        duration="3",
    )
    assert task.videos[0].duration == seconds


def test_a_video_on_this_machine_is_fetched_and_measured(
    maker: Maker, client: Client, receiver: Receiver
) -> None:
    studio = client.server.simulation.studio
    receiver.files["/short.mp4"] = studio.make(Film((320, 320), 2, 24, words="a")).result().read_bytes()
    receiver.files["/long.mp4"] = studio.make(Film((320, 320), 4, 24, words="a")).result().read_bytes()
    body = {"image_url": SMALL, "character_orientation": "video", "mode": "std", "model_name": "kling-v2-6"}
    task = maker.made("motion-control", video_url=f"{receiver.url}/long.mp4", **body)
    assert task.videos[0].duration == 4
    for name, text in (("short.mp4", "The duration of video_url"), ("none.mp4", "video_url is not a video")):
        refused(maker.post("motion-control", video_url=f"{receiver.url}/{name}", **body), 400, 1201, text)
