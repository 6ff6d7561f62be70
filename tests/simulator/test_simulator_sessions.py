"""Sessions of identify-face and multi-elements, and what is deleted: which steps go, and which are refused."""

from __future__ import annotations

import base64
import io
from typing import Any

import pytest
from PIL import Image

from kling_provider.api.endpoints import ENDPOINTS
from kling_provider.simulator.masks import run_lengths
from kling_provider.simulator.server import SimulatorServer
from tests.simulator.maker import Maker, opened, told
from tests.simulator.simulator_client import Client, refused

POINT, OTHER = {"x": 0.5, "y": 0.5}, {"x": 0.25, "y": 0.75}
STEP = "multi-elements/{}-selection"


@pytest.fixture
def session(maker: Maker) -> str:
    return str(maker.call(STEP.format("init"), video_id=maker.video())["session_id"])


def step(maker: Maker, name: str, session: str, **fields: Any) -> Any:
    return maker.post(STEP.format(name), session_id=session, **fields)


def test_a_session_tells_what_the_video_is(maker: Maker) -> None:
    data = maker.call(STEP.format("init"), video_id=maker.video())
    assert (data["status"], data["width"], data["height"]) == (0, 1280, 720)
    assert (data["fps"], data["total_frame"], data["original_duration"]) == (30.0, 150, 5000)


def test_masks_are_where_the_points_are(maker: Maker, session: str) -> None:
    res = told(step(maker, "add", session, frame_index=3, points=[POINT]))["res"]
    assert res["frame_index"] == 3
    (mask,) = res["rle_mask_list"]
    assert mask["rle_mask"]["size"] == mask["png_mask"]["size"] == [1280, 720]
    picture = Image.open(io.BytesIO(base64.b64decode(mask["png_mask"]["base64"])))
    assert picture.size == (1280, 720)
    assert (picture.getpixel((640, 360)), picture.getpixel((10, 10))) == (255, 0)
    assert mask["rle_mask"]["counts"] == run_lengths(picture)


def test_run_lengths_are_those_of_coco() -> None:
    """A column of three and one of two: 1 zero, 2 ones, 1 zero, 2 ones, in differences from the third on."""
    mask = Image.new("L", (2, 3))
    for at in ((0, 1), (0, 2), (1, 1), (1, 2)):
        mask.putpixel(at, 255)
    assert run_lengths(mask) == "1210"
    long = Image.new("L", (1, 100))
    assert run_lengths(long) == "T3"  # 100 = 4 + 3 * 32


def test_points_are_deleted_as_they_were_added(maker: Maker, session: str) -> None:
    told(step(maker, "add", session, frame_index=0, points=[POINT, OTHER]))
    text = "was not added to frame"
    refused(step(maker, "delete", session, frame_index=0, points=[{"x": 0.5, "y": 0.51}]), 400, 1201, text)
    refused(step(maker, "delete", session, frame_index=1, points=[POINT]), 400, 1201, text)
    assert told(step(maker, "delete", session, frame_index=0, points=[POINT]))["res"]["rle_mask_list"]
    assert not told(step(maker, "delete", session, frame_index=0, points=[OTHER]))["res"]["rle_mask_list"]


def test_ten_points_on_ten_frames_are_the_most(maker: Maker, session: str) -> None:
    told(step(maker, "add", session, frame_index=0, points=[POINT] * 10))
    refused(step(maker, "add", session, frame_index=0, points=[POINT]), 400, 1201, "at most 10 points")
    for frame in range(1, 10):
        told(step(maker, "add", session, frame_index=frame, points=[POINT]))
    refused(step(maker, "add", session, frame_index=10, points=[POINT]), 400, 1201, "at most 10 frames")
    refused(step(maker, "add", session, frame_index=150, points=[POINT]), 400, 1201, "frames 0 to 149")
    told(step(maker, "clear", session))
    told(step(maker, "add", session, frame_index=10, points=[POINT]))


def test_a_preview_is_a_film_a_picture_and_a_film(maker: Maker, session: str) -> None:
    res = told(step(maker, "preview", session))["res"]
    assert opened(res["video_cover"])[1] == (1280, 720)
    assert {name: url.partition("?")[0][-4:] for name, url in res.items()} == {
        "video": ".mp4",
        "video_cover": ".png",
        "tracking_output": ".mp4",
    }


def test_a_video_of_the_wrong_length_is_told_by_status_and_costs_nothing(maker: Maker) -> None:
    video = maker.made("text2video", prompt="a", model_name="kling-v3", duration="6").videos[0].id
    data = maker.call(STEP.format("init"), video_id=video)
    assert (data["status"], data["session_id"]) == (1, "")


def test_a_task_needs_a_session_of_its_kind_and_a_length_that_fits(maker: Maker, session: str) -> None:
    body = {"edit_mode": "removal", "prompt": "take it away"}
    refused(
        maker.post("multi-elements", session_id=session, duration="10", **body), 400, 1201, "10 needs a video"
    )
    assert maker.made("multi-elements", session_id=session, **body).videos[0].duration == 5
    faces = maker.call("identify-face", video_id=maker.video())["session_id"]
    refused(maker.post("multi-elements", session_id=faces, **body), 400, 1201, "session_id is invalid")


@pytest.mark.parametrize("name", ["add", "delete", "clear", "preview"])
def test_sessions_end_and_are_nobody_elses(
    maker: Maker, client: Client, kling: SimulatorServer, session: str, name: str
) -> None:
    fields = {"frame_index": 0, "points": [POINT]} if name in ("add", "delete") else {}
    refused(step(maker, name, "nothing", **fields), 400, 1201, "no such session")
    kling.set(session_seconds=0)
    refused(step(maker, name, session, **fields), 400, 1201, "has expired")
    kling.set(session_seconds=60)
    client.token = kling.add_account("other", "other-key").api_key
    refused(step(maker, name, session, **fields), 400, 1201, "no such session")


FACE = {"sound_start_time": 0, "sound_end_time": 3000, "sound_insert_time": 500}


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({}, None),
        ({"face_id": "nobody"}, "face_id is invalid"),
        ({"sound_insert_time": 3500}, "sound_insert_time is invalid"),
        ({"sound_end_time": 9000}, "sound_end_time is invalid"),
        ({"sound_end_time": 1000}, "2000 ms"),
        ({"audio_id": "a-1"}, "audio_id is invalid"),
    ],
)
def test_a_face_speaks_while_it_is_seen(maker: Maker, change: dict[str, Any], text: str | None) -> None:
    found = maker.call("identify-face", video_id=maker.video())
    (face,) = found["face_data"]
    assert (face["start_time"], face["end_time"]) == (0, 5000)
    assert opened(face["face_image"])[1] == (320, 320)
    choice = {"face_id": face["face_id"], "audio_id": maker.speech(), **FACE, **change}
    body = {"session_id": found["session_id"], "face_choose": [choice]}
    if text is None:
        task = maker.made("advanced-lip-sync", **body)
        assert task.videos[0].duration == 5
    else:
        refused(maker.post("advanced-lip-sync", **body), 400, 1201, text)


def test_advanced_lip_sync_is_found_by_its_own_id_only_but_its_list_shows_the_callers(
    maker: Maker, client: Client
) -> None:
    found = maker.call("identify-face", video_id=maker.video())
    choice = {"face_id": found["face_data"][0]["face_id"], "audio_id": maker.speech(), **FACE}
    told(
        maker.post(
            "advanced-lip-sync",
            session_id=found["session_id"],
            face_choose=[choice],
            external_task_id="mine-1",
        )
    )
    refused(client.ask("GET", "/v1/videos/advanced-lip-sync/mine-1"), 400, 1201, "Task not found")
    (listed,) = told(client.ask("GET", "/v1/videos/advanced-lip-sync"))
    assert listed["task_info"]["external_task_id"] == "mine-1"


@pytest.mark.parametrize(("what", "field"), [("element", "element_id"), ("voice", "voice_id")])
@pytest.mark.parametrize("path", [0, 1])
def test_what_is_deleted_is_gone(maker: Maker, client: Client, what: str, field: str, path: int) -> None:
    row = ENDPOINTS[f"delete-{what}s"]
    name = getattr(maker, what)()
    paths = (row.create_path, *row.other_paths)
    url = paths[min(path, len(paths) - 1)]
    assert told(client.ask("POST", url, json={field: name}))["task_status"] == "succeed"
    refused(client.ask("POST", url, json={field: name}), 400, 1201, "does not exist")
    for unknown in ("1", maker.video()):
        refused(client.ask("POST", url, json={field: unknown}), 400, 1201, "does not exist")
    if what == "element":
        use = {"prompt": "a", "model_name": "kling-v3", "element_list": [{"element_id": int(name)}]}
        refused(maker.post("images/generations", **use), 400, 1201, "element_list[0].element_id")
    else:
        use = {"text": "a", "voice_id": name, "voice_language": "en"}
        refused(maker.post("tts", **use), 400, 1201, "voice_id is invalid")


def test_the_presets_cannot_be_deleted_but_used(maker: Maker, client: Client) -> None:
    (first, *_) = told(
        client.ask("GET", "/v1/general/presets-elements".replace("presets", "advanced-presets"))
    )
    element = first["task_result"]["elements"][0]["element_id"]
    refused(maker.post("delete-elements", element_id=str(element)), 400, 1201, "does not exist")
    maker.made(
        "images/generations", prompt="a", model_name="kling-v3", element_list=[{"element_id": element}]
    )
    pages = [
        told(client.ask("GET", "/v1/general/presets-voices", params={"pageNum": n, "pageSize": 2}))
        for n in (1, 2, 3)
    ]
    assert [len(page) for page in pages] == [2, 2, 0]


def test_an_extension_is_as_its_source_and_five_seconds_longer(maker: Maker, client: Client) -> None:
    source = maker.made("text2video", prompt="a", model_name="kling-v1-6", mode="pro", aspect_ratio="9:16")
    task = maker.made("video-extend", video_id=source.videos[0].id, prompt="it goes on")
    assert task.videos[0].duration == 10
    assert task.data["parent_video"]["id"] == source.videos[0].id
    assert client.server.tasks[-1].body["mode"] == "pro"
    again = maker.made("video-extend", video_id=task.videos[0].id)
    assert again.videos[0].duration == 15
    assert [str(charge.units) for charge in client.server.charges] == ["3.5", "3.5", "3.5"]


def test_what_cannot_be_extended(maker: Maker, client: Client, kling: SimulatorServer) -> None:
    new = maker.made("text2video", prompt="a", model_name="kling-v2-6").videos[0].id
    refused(maker.post("video-extend", video_id=new), 400, 1201, "kling-v2-6 cannot be extended")
    refused(maker.post("video-extend", video_id="867283743071928320"), 400, 1201, "does not exist")
    old = maker.video()
    running = told(maker.post("text2video", prompt="a", model_name="kling-v1-6"))["task_id"]
    unmade = next(task for task in kling.tasks if task.task_id == running).video_ids[0]
    refused(maker.post("video-extend", video_id=unmade), 400, 1201, "does not exist")
    kling.set(result_ttl=0)
    refused(maker.post("video-extend", video_id=old), 400, 1201, "older than 30 days")
    client.token = kling.add_account("other", "other-key").api_key
    refused(maker.post("video-extend", video_id=old), 400, 1201, "does not exist")


def test_a_voice_is_copied_from_a_video_that_has_one(maker: Maker) -> None:
    refused(maker.post("custom-voices", voice_name="me", video_id=maker.video()), 400, 1201, "has no voice")
    voice = maker.made("custom-voices", voice_name="me", video_id=maker.video(has_sound=True)).voices[0]
    assert (voice["voice_name"], voice["owned_by"]) == ("me", "main")
    assert opened(voice["trial_url"])[0] == pytest.approx(3, abs=0.1)
