"""What things cost here, which slots they hold, and what a script does to what is answered at once."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from kling_provider.api.billing import BILLING_PATHS
from kling_provider.simulator.server import SimulatorServer
from tests.api.facts import ENDPOINT_FACTS
from tests.simulator.maker import Maker, told
from tests.simulator.simulator_client import Client, png, refused
from tests.simulator.test_simulator_media import wav

SMALL = base64.b64encode(png((320, 300))).decode()
IMAGES = "/v1/images/generations"


def images(client: Client, **fields: Any) -> Any:
    return client.ask("POST", IMAGES, json={"prompt": "a boat", "model_name": "kling-v3", **fields})


def test_pictures_hold_a_slot_each_of_their_own_pack(client: Client, kling: SimulatorServer) -> None:
    kling.set(concurrency=9, task_seconds=1000)
    first = told(images(client, n=8))["task_id"]
    refused(images(client, n=2), 429, 1303)
    told(images(client, n=1))
    told(
        client.ask(
            "POST", "/v1/images/kolors-virtual-try-on", json={"human_image": SMALL, "cloth_image": SMALL}
        )
    )
    client.book()
    kling.finish(first)
    series = {"model_name": "kling-v3-omni", "prompt": "a", "result_type": "series", "series_amount": 8}
    told(client.ask("POST", "/v1/images/omni-image", json=series))
    refused(images(client), 429, 1303)
    held = kling.simulation.world.slots_held
    assert [held("main", pack) for pack in ("image", "video", "try-on")] == [9, 1, 1]


@pytest.mark.parametrize(
    ("endpoint", "body", "units"),
    [
        ("images/generations", {"prompt": "a", "model_name": "kling-v3", "n": 3}, "24"),
        ("ai-multi-shot", {"element_frontal_image": SMALL}, "20"),
        ("text-to-audio", {"prompt": "a", "duration": 3}, "0.25"),
        ("avatar", {"image": SMALL, "sound_file": wav(3.0), "mode": "pro"}, "2.4"),
        ("custom-voices", {"voice_name": "a", "voice_url": "https://media.example/a.mp3"}, "0.05"),
    ],
)
def test_a_task_costs_what_the_facts_say(
    maker: Maker, kling: SimulatorServer, endpoint: str, body: dict[str, Any], units: str
) -> None:
    task = maker.made(endpoint, **body)
    assert str(task.units) == units
    assert [f"{charge.units.normalize():f}" for charge in kling.charges] == [units]


def test_the_length_of_the_input_decides_the_price(maker: Maker, kling: SimulatorServer) -> None:
    video = maker.made("text2video", prompt="a", model_name="kling-v3", duration="8").videos[0]
    body = {"image_url": SMALL, "character_orientation": "image", "mode": "std", "model_name": "kling-v2-6"}
    maker.made("motion-control", video_url=video.url, **body)
    assert str(kling.charges[-1].units.normalize()) == "4"  # 8 s at 0.5


def test_calls_are_charged_at_once_and_what_is_free_is_not_in_the_ledger(
    maker: Maker, client: Client, kling: SimulatorServer
) -> None:
    found = maker.call("identify-face", video_url="https://media.example/a.mp4")
    assert found["final_unit_deduction"] == "0.05"
    maker.call("tts", text="a", voice_id="v-1", voice_language="en")
    session = maker.call("multi-elements/init-selection", video_url="https://media.example/a.mp4")
    maker.call("multi-elements/clear-selection", session_id=session["session_id"])
    assert [(charge.endpoint, charge.status) for charge in kling.charges] == [
        ("identify-face", "succeed"),
        ("tts", "succeed"),
    ]
    assert len(kling.tasks) == len(kling.creates) == 4
    rows = told(client.ask("POST", BILLING_PATHS["package"], json={}))["result"]["detail"]
    columns = ("product_function", "unit_before_deduction", "deduction_amount", "unit_after_deduction")
    assert [tuple(row[name] for name in columns) for row in rows] == [
        ("identify-face", "5000", "0.05", "4999.95"),
        ("tts", "4999.95", "0.05", "4999.9"),
    ]
    documented = ENDPOINT_FACTS["account/billing/package"]["response_data"]["result"]["detail"][0]
    assert rows[0].keys() == documented.keys()
    for task in kling.tasks:
        assert told(client.ask("GET", "/tasks", params={"task_ids": task.task_id})) == []


def test_a_video_pack_does_not_pay_for_pictures(client: Client, kling: SimulatorServer) -> None:
    kling.set(balance_units=0, image_units=10)
    refused(client.create(), 429, 1102)
    told(images(client))
    refused(images(client), 429, 1102)
    answer = client.ask("GET", "/account/costs", params={"start_time": 1, "end_time": 2})
    packs = told(answer)["resource_pack_subscribe_infos"]
    assert [(pack["resource_pack_name"].split()[0], pack["remaining_quantity"]) for pack in packs] == [
        ("Video", 0),
        ("Image", 2),
    ]


def test_a_row_of_the_billing_tells_every_kind(maker: Maker, client: Client, kling: SimulatorServer) -> None:
    kling.set(pays_with="balance")
    maker.made("kolors-virtual-try-on", human_image=SMALL, cloth_image=SMALL)
    maker.made("text-to-video/kling-2.6", prompt="a", settings={"resolution": "1080p", "audio": "native"})
    path = BILLING_PATHS["balance"]
    rows = told(client.ask("POST", path, json={}))["result"]["detail"]
    assert [
        (row["model_name"], row["resolution"], row["duration"], row["video_sound"], row["list_price"])
        for row in rows
    ] == [
        ("kolors-virtual-try-on-v1", "", "", "off", "0.07"),
        ("kling-2.6", "1080p", "5.04", "native", "0.7"),
    ]
    only = {"filters": [{"key": "product_type", "values": ["try-on"]}]}
    assert told(client.ask("POST", path, json=only))["result"]["detail"] == rows[:1]


def test_a_script_reaches_a_call_only_by_its_name(maker: Maker, kling: SimulatorServer) -> None:
    kling.next_task("fail")
    speech = {"text": "a", "voice_id": "v-1", "voice_language": "en"}
    maker.call("tts", **speech)
    kling.next_task("fail", endpoint="tts", message="no such words")
    refused(maker.post("tts", **speech), 400, 1301, "no such words")
    assert len(kling.charges) == 1
    name = told(maker.post("text2video", prompt="a", model_name="kling-v1-6"))["task_id"]
    assert next(task for task in kling.tasks if task.task_id == name).script.outcome == "fail"


def test_faults_meet_every_endpoint(maker: Maker, kling: SimulatorServer) -> None:
    kling.fault("envelope", code=5000, path="/v1/audio/tts")
    speech = {"text": "a", "voice_id": "v-1", "voice_language": "en"}
    refused(maker.post("tts", **speech), 500, 5000)
    assert kling.tasks == []
    kling.fault("replay", path="/v1/audio/tts")
    maker.call("tts", **speech)
    assert len(kling.charges) == 2
