"""The new dialect: creates, the query, the list by cursor, callbacks; and who is let in."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import pytest

from kling_provider.api.auth import KeyPair, sign_jwt
from kling_provider.api.endpoints import ENDPOINTS
from kling_provider.simulator.server import SimulatorServer
from tests.example_requests import EXAMPLES
from tests.simulator.maker import Maker, opened, told
from tests.simulator.simulator_client import Client, Receiver, film_of, png, refused, until

NEW = [row.name for row in ENDPOINTS.values() if row.dialect == "new" and row.work == "task"]
TEXT = "text-to-video/kling-2.6"
PICTURE = base64.b64encode(png((360, 640))).decode()


def new(client: Client, name: str = TEXT, **body: Any) -> str:
    body = body or dict(EXAMPLES[name])
    return str(told(client.ask("POST", f"/{name}", json=body))["id"])


def listed(client: Client, **body: Any) -> list[str]:
    return [task["id"] for task in told(client.ask("POST", "/tasks", json=body))["result"]]


@pytest.mark.parametrize("name", NEW)
def test_it_takes_api_keys_only(client: Client, kling: SimulatorServer, name: str) -> None:
    client.token = sign_jwt(KeyPair(kling.access_key, kling.secret_key), time.time())
    refused(client.ask("POST", f"/{name}", json=EXAMPLES[name]), 401, 1002, "create an API key")
    refused(client.ask("POST", "/tasks", json={}), 401, 1002, "create an API key")
    assert kling.tasks == []


def test_a_create_tells_the_task_in_its_own_words(client: Client) -> None:
    body = {"prompt": "a boat", "options": {"external_task_id": "mine-1"}}
    data = told(client.ask("POST", f"/{TEXT}", json=body))
    assert data.keys() == {"id", "status", "message", "create_time", "update_time", "external_id"}
    assert (data["status"], data["external_id"]) == ("submitted", "mine-1")
    (found,) = told(client.ask("GET", "/tasks", params={"external_task_ids": "mine-1"}))
    assert found["id"] == data["id"]
    assert (found["outputs"], found["billing"]) == ([], [])
    refused(client.ask("POST", f"/{TEXT}", json=body), 400, 1201, "External_task_id mine-1 already exists")
    refused(client.create(external_task_id="mine-1"), 400, 1201, "already exists")


def test_what_it_has_made_is_told_with_its_bill(maker: Maker, client: Client) -> None:
    body = {"prompt": "a boat", "settings": {"resolution": "1080p", "duration": 5, "audio": "native"}}
    name = new(client, **body)
    client.server.finish(name)
    (task,) = told(client.ask("GET", "/tasks", params={"task_ids": name}))
    (output,) = task["outputs"]
    assert (task["status"], output["type"], output["duration"]) == ("succeeded", "video", "5.0")
    assert task["billing"] == [{"charge_type": "unit", "amount": "5", "package_type": "video"}]
    film = film_of(client.server.tasks[0])
    assert (film.size, film.sound is not None) == ((1920, 1080), True)


def test_a_frame_decides_the_ratio(client: Client) -> None:
    contents = [{"type": "first_frame", "url": PICTURE}, {"type": "prompt", "text": "it moves"}]
    name = new(client, "image-to-video/kling-3.0", contents=contents, settings={"duration": 3})
    client.server.finish(name)
    (task,) = told(client.ask("GET", "/tasks", params={"task_ids": name}))
    seconds, _ = opened(task["outputs"][0]["url"])
    assert seconds == pytest.approx(3, abs=0.1)
    assert film_of(client.server.tasks[0]).size == (720, 1280)
    assert client.server.tasks[0].body["contents"][0]["url"].startswith("<file of ")


@pytest.mark.parametrize(
    ("name", "body", "text"),
    [
        (
            TEXT,
            {"prompt": "a", "settings": {"duration": "5"}},
            "settings.duration invalid: 5 is not a integer",
        ),
        (TEXT, {"prompt": "a", "settings": {"duration": 7}}, "duration"),
        (TEXT, {"prompt": "a", "settings": {"audio": "native"}}, "1080p"),
        (TEXT, {"prompt": "a", "negative_prompt": "b"}, "negative_prompt"),
        (TEXT, {}, "prompt"),
        ("image-to-video/kling-3.0", {}, "contents cannot be empty"),
        ("image-to-video/kling-3.0", {"contents": []}, "contents cannot be empty"),
        ("image-to-video/kling-3.0", {"contents": [{"type": "first_frame", "url": "data:x"}]}, "base64"),
        ("image-to-video/kling-3.0", {"contents": [{"type": "last_frame", "url": PICTURE}]}, "first_frame"),
        (
            "omni-video/kling-o1",
            {
                "contents": [{"type": "prompt", "text": "a"}],
                "settings": {"duration": 7, "aspect_ratio": "1:1"},
            },
            "Duration only supports 5 or 10 seconds when no refer_image is provided",
        ),
    ],
)
def test_wrong_requests_are_refused(client: Client, name: str, body: dict[str, Any], text: str) -> None:
    refused(client.ask("POST", f"/{name}", json=body), 400, 1201, text)
    assert client.server.tasks == []


def test_the_list_has_cursors_and_filters(client: Client, kling: SimulatorServer) -> None:
    names = [new(client, prompt=f"boat {number}") for number in range(5)]
    classic = told(
        client.ask("POST", "/v1/images/generations", json={"prompt": "a", "model_name": "kling-v3"})
    )
    kling.finish(names[0])
    kling.change(names[1], status="failed")
    assert listed(client) == [classic["task_id"], *names[::-1]]
    seen, body = [], {"limit": 4}
    while True:
        page = told(client.ask("POST", "/tasks", json=body))
        seen += [task["id"] for task in page["result"]]
        assert page["count"] == len(page["result"])
        if not page["has_more"]:
            break
        body["cursor"] = page["next_cursor"]
    assert seen == [classic["task_id"], *names[::-1]]
    assert listed(client, filters=[{"key": "status", "values": ["succeeded", "failed"]}]) == names[1::-1]
    assert listed(client, filters=[{"key": "product_type", "values": ["image"]}]) == [classic["task_id"]]
    kling.set(tasks_see_classic=False)
    assert listed(client) == names[::-1]
    assert told(client.ask("GET", "/tasks", params={"task_ids": classic["task_id"]})) == []
    now = int(time.time() * 1000)
    assert listed(client, start_time=str(now - 60_000), end_time=str(now + 60_000)) == names[::-1]
    assert listed(client, end_time=str(now - 60_000)) == []
    for wrong in (
        {"limit": 501},
        {"limit": "2"},
        {"cursor": "nowhere"},
        {"filters": [{"key": "colour", "values": []}]},
    ):
        refused(client.ask("POST", "/tasks", json=wrong), 400, 1201)


def test_its_callbacks_are_in_its_own_words(client: Client, receiver: Receiver) -> None:
    name = new(client, prompt="a boat", options={"callback_url": f"{receiver.url}/done"})
    until(lambda: len(receiver.posts) == 2)
    posts = [json.loads(post) for post in receiver.posts]
    assert [post["status"] for post in posts] == ["processing", "succeeded"]
    assert posts[1]["id"] == name
    assert posts[1]["outputs"][0]["type"] == "video"


def test_it_does_not_exist_at_the_gateway(client: Client) -> None:
    refused(client.ask("POST", f"/kling/{TEXT}", json={"prompt": "a"}), 404, 1203)
    refused(client.ask("GET", "/kling/v1/general/presets-voices"), 404, 1203)
