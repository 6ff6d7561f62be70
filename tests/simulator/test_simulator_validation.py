"""What Kling refuses, with its codes and texts."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Mapping
from typing import Any

import pytest
from PIL import Image

from kling_provider.api.endpoints import ENDPOINTS
from kling_provider.api.requests import REQUESTS
from kling_provider.simulator.server import SimulatorServer
from tests.example_requests import EXAMPLES, FULL
from tests.simulator.maker import Maker, told
from tests.simulator.simulator_client import Client, Receiver, encoded, film_of, png, refused


def text_of(content: bytes) -> str:
    return base64.b64encode(content).decode()


POINTS = [{"x": 1, "y": 1}, {"x": 5, "y": 5}]


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"cfg_scale": 1.5}, "cfg_scale"),
        ({"cfg_scale": "0.5"}, "cfg_scale invalid: 0.5 is not a number"),
        ({"duration": "7"}, "duration"),
        ({"duration": 5}, "duration invalid: 5 is not a string"),
        ({"mode": "ultra"}, "mode"),
        ({"model_name": "kling-v99"}, "model is not supported"),
        ({"model_name": "kling-v3-0"}, "model is not supported"),
        ({"image_tail": "http://1.example/a.png", "camera_control": {"type": "down_back"}}, "exclude"),
        ({"camera_control": {"type": "simple", "config": {"pan": 1, "tilt": 1}}}, "exactly one"),
        ({"camera_control": '{"type": "down_back"}'}, "not a object"),
        ({"dynamic_masks": [{"mask": "http://1.example/a.png", "trajectories": POINTS[:1]}]}, "trajectories"),
        ({"prompt": "x" * 2501}, "2500"),
        ({"colour": "red"}, "colour"),
        ({"callback_url": "ftp://somewhere"}, "callback_url"),
        ({"external_task_id": 5}, "external_task_id"),
        ({"image": ""}, "image or image_tail is required"),
        ({"image": 5}, "image invalid: 5 is not a string"),
    ],
)
@pytest.mark.parametrize("gateway", ["official", "dmxapi"])
def test_wrong_fields_are_refused(client: Client, gateway: str, fields: dict[str, Any], text: str) -> None:
    refused(client.create(gateway=gateway, **fields), 400, 1201, text)
    assert client.server.tasks == []


def test_text2video_needs_a_prompt_and_a_model_that_does_it(client: Client) -> None:
    refused(client.create("text2video"), 400, 1201, "prompt is required")
    refused(client.create("text2video", prompt="a", model_name="kling-v1-5"), 400, 1201, "not supported")


@pytest.mark.parametrize(
    ("picture", "text"),
    [
        ("data:image/png;base64," + text_of(png()), "File is not in a valid base64 format"),
        (text_of(png())[:-7], "File is not in a valid base64 format"),
        (text_of(b"%PDF-1.4 no picture"), "File is not in a valid base64 format"),
        (text_of(png()[:2000]), "File is not in a valid base64 format"),
        (text_of(encoded(Image.new("RGB", (400, 400)), "GIF")), "File is not in a valid base64 format"),
        (text_of(encoded(Image.new("RGB", (299, 400)))), "resolution or aspect ratio"),
        (text_of(encoded(Image.new("RGB", (1000, 399)))), "resolution or aspect ratio"),
        (text_of(png() + bytes(10 * 1024**2)), "10MB"),
    ],
)
def test_pictures_are_looked_at(client: Client, picture: str, text: str) -> None:
    refused(client.create(image=picture), 400, 1201, text)
    masks = [{"mask": picture, "trajectories": POINTS}]
    refused(client.create(dynamic_masks=masks), 400, 1201, text)


def test_jpg_png_and_addresses_are_taken(client: Client) -> None:
    client.book(image=text_of(encoded(Image.new("RGB", (400, 400)), "JPEG")))
    client.book(image="https://pictures.example/cat.png")
    client.book(image="ftp://pictures.example/cat.png")
    assert client.server.creates[0].body["image"].startswith("<base64 of ")
    assert client.server.tasks[1].body["image"] == "https://pictures.example/cat.png"


def test_a_picture_on_this_machine_is_fetched(client: Client, receiver: Receiver) -> None:
    client.book(image=f"{receiver.url}/cat.png")
    assert film_of(client.server.tasks[0]).size == (720, 1280)
    refused(client.create(image=f"{receiver.url}/dog.txt"), 400, 1201, "base64")
    refused(client.create(image="http://127.0.0.1:9/cat.png"), 400, 1201, "Failed to download")


def test_masks_of_another_shape_fail_later(client: Client) -> None:
    name = client.book(static_mask=text_of(png((400, 400))), model_name="kling-v1")
    task = client.finished(name)
    assert task["task_status"] == "failed"
    assert "mask" in task["task_status_msg"]
    assert task["final_unit_deduction"] == "0"


def test_a_body_that_is_no_json_object(client: Client) -> None:
    for body in (b"{", b"[]", b"\xff"):
        refused(client.ask("POST", "/v1/videos/image2video", data=body), 400, 1200)


def test_the_ancient_field_model_is_ignored_and_the_default_is_an_old_model(client: Client) -> None:
    client.book(model="kling-v3", model_name=None)
    assert client.server.tasks[0].body["model_name"] == "kling-v1"


def test_the_ratio_that_clients_send_with_a_picture_is_ignored(client: Client) -> None:
    client.book(aspect_ratio="1:1")
    assert "aspect_ratio" not in client.server.tasks[0].body


def test_what_the_matrix_does_not_list_is_refused_until_kling_has_moved_on(client: Client) -> None:
    fields = {"model_name": "kling-v2-6", "cfg_scale": 0.5}
    refused(client.create(**fields), 400, 1201, "cfg_scale")
    client.server.set(validate_requests="off")
    client.book(**fields)
    client.book(model_name="kling-v99", colour="red")
    refused(client.create(duration="long"), 400, 1201, "request is invalid")


def test_a_kling_that_has_retired_its_old_models(client: Client) -> None:
    client.server.set(refuses_retired=True)
    client.book(model_name="kling-v2-6")
    text = "The model 'kling-v1' has been discontinued and is no longer available."
    refused(client.create(model_name=None), 400, 1201, text)


def test_slots_are_held_until_the_end(client: Client, kling: SimulatorServer) -> None:
    kling.set(concurrency=2, task_seconds=1000)
    first, _second = client.book(), client.book(gateway="dmxapi")
    refused(client.create(), 429, 1303)
    kling.finish(first)
    client.book()
    refused(client.create("text2video", prompt="a"), 429, 1303)
    kling.change(kling.tasks[-1].task_id, status="failed")
    client.book("text2video", prompt="a")


def test_the_ledger_knows_every_task_that_did_not_fail(client: Client, kling: SimulatorServer) -> None:
    kling.set(task_seconds=1000)
    names = [client.book(mode="pro"), client.book(model_name="kling-v2-6", duration="10"), client.book()]
    kling.change(names[2], status="failed")
    assert [(charge.task_id, str(charge.units)) for charge in kling.charges] == [
        (names[0], "3.5"),
        (names[1], "3.0"),
    ]


def test_an_account_runs_out_of_units(client: Client, kling: SimulatorServer) -> None:
    kling.set(balance_units=5)
    client.book()
    client.book()
    refused(client.create(), 429, 1102)


def test_errors_in_chinese(client: Client, kling: SimulatorServer) -> None:
    kling.set(localised_messages=True)
    client.book(external_task_id="a")
    refused(client.create(external_task_id="a"), 400, 1201, "外部任务ID已存在")
    refused(client.query("nothing"), 400, 1201, "任务不存在")
    refused(client.create(cfg_scale=7), 400, 1201, "参数非法")


@pytest.mark.parametrize(
    ("settings", "found", "second"),
    [
        ({"lookup_lag": 3600}, False, False),
        ({"unique_lag": 3600}, True, True),
        ({"accepts_duplicates": True}, True, True),
        ({"drops_external_id": True}, False, True),
    ],
)
def test_weaker_worlds(
    client: Client, kling: SimulatorServer, settings: dict[str, Any], found: bool, second: bool
) -> None:
    kling.set(**settings)
    name = client.book(external_task_id="a")
    assert (client.query("a").status_code == 200) is found
    assert client.query(name).status_code == 200
    assert (client.create(external_task_id="a").status_code == 200) is second


def test_the_id_of_a_failed_task_is_used_up_unless_set_otherwise(
    client: Client, kling: SimulatorServer
) -> None:
    kling.change(client.book(external_task_id="a"), status="failed")
    refused(client.create(external_task_id="a"), 400, 1201, "already exists")
    kling.set(reuses_failed_id=True)
    client.book(external_task_id="a")


def test_a_seed_repeats_ids(kling: SimulatorServer) -> None:
    servers = [SimulatorServer(seed=seed) for seed in (7, 7, 8)]
    ids = [list(itertools.islice(iter(server.simulation.world.new_id, None), 3)) for server in servers]
    for server in servers:
        server.close()
    assert ids[0] == ids[1] != ids[2]


def with_a_field_of_ours(value: Any) -> Any:
    """The same with a field nobody documents, in every object of it."""
    if isinstance(value, Mapping):
        return {**{name: with_a_field_of_ours(item) for name, item in value.items()}, "colour": {"red": [1]}}
    return [with_a_field_of_ours(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("name", REQUESTS)
def test_a_kling_that_ignores_what_it_does_not_know(maker: Maker, name: str) -> None:
    kling, row = maker.client.server, ENDPOINTS[name]
    body = maker.ready(row, FULL.get(name, EXAMPLES[name]))
    body.pop("cursor", None)  # only good after a first page
    kling.set(task_seconds=1000)
    refused(maker.post(name, **with_a_field_of_ours(body)), 400, 1201, "colour")
    kling.set(ignores_unknown_fields=True)
    told(maker.post(name, **with_a_field_of_ours(body)))
    if row.work != "read":
        assert "colour" not in str(kling.tasks[-1].body)


def test_an_id_is_swallowed_where_none_is_documented(client: Client, kling: SimulatorServer) -> None:
    lip_sync: dict[str, Any] = {
        "input": {"video_url": "https://media.example/a.mp4", "mode": "text2video", "text": "Ship ahoy"}
    }
    lip_sync["input"] |= {"voice_id": "v-1", "voice_language": "en"}
    speech = {"text": "Ship ahoy", "voice_id": "v-1", "voice_language": "en"}
    asked = {
        "/v1/videos/lip-sync": lip_sync,
        "/v1/audio/tts": speech,
        "/text-to-video/kling-3.0": {"prompt": "a boat"},  # which takes it in its options
    }
    for path, body in asked.items():
        body["external_task_id"] = "mine"
        kling.set(ignores_unknown_fields=False)
        refused(client.ask("POST", path, json=body), 400, 1201, "external_task_id")
        kling.set(ignores_unknown_fields=True)
        for _ in range(2):
            told(client.ask("POST", path, json=body))
    assert [task.external_task_id for task in kling.tasks] == [None] * 6
    assert told(client.ask("GET", "/tasks", params={"external_task_ids": "mine"})) == []


@pytest.mark.parametrize(
    "fields",
    [
        {"mode": "ultra"},
        {"duration": 5},
        {"cfg_scale": 1.5},
        {"camera_control": {"type": "simple", "config": {"pan": 1, "tilt": 1, "colour": "red"}}},
        {"image_tail": "https://media.example/a.png", "static_mask": "https://media.example/a.png"},
        {"image": "data:image/png;base64,AAAA"},
    ],
)
def test_all_other_rules_stay_where_unknown_fields_are_ignored(
    client: Client, fields: dict[str, Any]
) -> None:
    client.server.set(ignores_unknown_fields=True)
    refused(client.create(colour="red", **fields), 400, 1201)
    name = client.book(colour="red", external_task_id="mine")
    assert client.task("mine")["task_id"] == name
    refused(client.create(colour="red", external_task_id="mine"), 400, 1201, "already exists")
