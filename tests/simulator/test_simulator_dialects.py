"""Both gateways: create, query, list, costs, and who is let in."""

from __future__ import annotations

import time

import jwt
import pytest
import requests

from kling_provider.api.auth import KeyPair, sign_jwt
from kling_provider.api.decoding import decode_task
from kling_provider.simulator.server import SimulatorServer
from tests.simulator.simulator_client import Client, refused, until


@pytest.mark.parametrize("gateway", ["official", "dmxapi"])
@pytest.mark.parametrize("endpoint", ["image2video", "text2video"])
def test_a_task_walks_from_submitted_to_a_video(client: Client, gateway: str, endpoint: str) -> None:
    before = time.time() * 1000
    answer = client.create(endpoint, gateway, prompt="a cat")
    envelope = answer.json()
    assert (envelope["code"], envelope["message"]) == (0, "SUCCEED")
    assert len(envelope["request_id"]) == 36
    booked = envelope["data"]
    assert booked["task_status"] == "submitted"
    assert booked["task_id"].isdigit()

    seen: list[str] = []

    def over() -> bool:
        seen.append(client.task(booked["task_id"], endpoint, gateway)["task_status"])
        return seen[-1] == "succeed"

    until(over)
    walk = ["submitted", "processing", "succeed"]
    assert seen == sorted(seen, key=walk.index), "never backwards, and no other word"
    task = client.task(booked["task_id"], endpoint, gateway)
    assert before - 1 <= task["created_at"] <= task["updated_at"] <= time.time() * 1000
    assert 250 <= task["updated_at"] - task["created_at"] <= 350
    assert task["task_result"]["videos"][0]["duration"] == "5.0"
    assert task["final_unit_deduction"] == "2"
    decoded = decode_task(task, endpoint, "r")
    assert decoded.is_successful
    assert decoded.videos[0].url.startswith(client.server.url)


def test_the_vendor_finds_a_task_by_the_callers_id(client: Client) -> None:
    name = client.book(external_task_id="mine-1")
    found = client.task("mine-1")
    assert found["task_id"] == name
    assert found["task_info"] == {"external_task_id": "mine-1"}
    refused(client.query("mine-1", "text2video"), 400, 1201, "Task not found")


def test_dmxapi_swallows_the_callers_id_and_books_twice(client: Client) -> None:
    name = client.book(gateway="dmxapi", external_task_id="mine-1")
    client.book(gateway="dmxapi", external_task_id="mine-1")
    assert client.task(name, gateway="dmxapi")["task_info"] == {}
    refused(client.query("mine-1", gateway="dmxapi"), 400, 1201, "Task not found")
    assert [charge.external_task_id for charge in client.server.charges] == ["mine-1", "mine-1"]


def test_an_external_id_can_be_used_once(client: Client) -> None:
    client.book(external_task_id="mine-1")
    refused(client.create(external_task_id="mine-1"), 400, 1201, "External_task_id mine-1 already exists")
    client.book(external_task_id="")
    client.book(external_task_id="")
    assert len(client.server.tasks) == 3


def test_the_list_has_pages_and_limits(client: Client) -> None:
    names = [client.book() for _ in range(5)]
    assert [task["task_id"] for task in client.listed()] == names[::-1]
    assert [task["task_id"] for task in client.listed(page=2, size=2)] == names[2:0:-1]
    assert client.listed(page=4, size=2) == []
    assert client.listed(endpoint="text2video") == []
    for wrong in ({"pageNum": 0}, {"pageNum": 1001}, {"pageSize": 501}, {"pageSize": "many"}):
        refused(client.ask("GET", "/v1/videos/image2video", params=wrong), 400, 1201)


def test_a_list_may_have_larger_pages_and_an_endpoint_may_live_below_another(client: Client) -> None:
    voices = client.ask("GET", "/v1/general/custom-voices", params={"pageSize": 1000})
    assert voices.json()["data"] == []
    refused(client.ask("GET", "/v1/general/presets-voices", params={"pageSize": 1001}), 400, 1201)
    refused(client.ask("GET", "/v1/videos/multi-elements/init-selection"), 404, 1202)
    refused(client.ask("GET", "/v1/videos/multi-elements/123"), 400, 1201, "Task not found")


def test_the_gateway_has_one_query_for_every_kind(client: Client) -> None:
    body = {"prompt": "a boat", "model_name": "kling-v3"}
    name = client.ask("POST", "/kling/v1/images/generations", json=body).json()["data"]["task_id"]
    client.server.finish(name)
    task = client.task(name, gateway="dmxapi")
    assert decode_task(task, "images/generations", "r").images[0]["url"]


@pytest.mark.parametrize("order", ["oldest", "shuffled"])
def test_the_list_comes_in_any_order_but_whole(client: Client, order: str) -> None:
    names = [client.book() for _ in range(8)]
    client.server.set(list_order=order)
    listed = [task["task_id"] for page in (1, 2, 3) for task in client.listed(page, 3)]
    assert sorted(listed) == sorted(names)
    assert (listed == names) is (order == "oldest")
    assert listed != names[::-1]


def test_foreign_tasks_fill_the_list_and_the_slots(client: Client) -> None:
    client.server.foreign(count=3000, running=20)
    refused(client.create(), 429, 1303)
    client.server.foreign(running=19)
    name = client.book()
    page = client.listed(size=500)
    assert len(page) == 500
    assert page[0]["task_id"] == name
    assert client.server.charges[0].task_id == name
    assert len(client.server.charges) == 1


def test_account_costs_tell_what_is_left(client: Client) -> None:
    client.server.set(balance_units="10")
    client.book()
    answer = client.ask("GET", "/account/costs", params={"start_time": 1, "end_time": 2}).json()
    assert answer["data"]["code"] == 0
    assert answer["data"]["resource_pack_subscribe_infos"][0]["remaining_quantity"] == 8
    refused(client.ask("GET", "/account/costs"), 400, 1201)


def test_unknown_paths_and_wrong_methods(client: Client) -> None:
    refused(client.ask("GET", "/v1/videos/nothing"), 404, 1203)
    refused(client.ask("POST", "/v1/videos/image2video/"), 404, 1203)
    refused(client.ask("DELETE", "/v1/videos/image2video"), 404, 1202)
    refused(client.ask("GET", "/kling/v1/videos/image2video"), 404, 1202)
    refused(client.query("12345"), 400, 1201, "Task not found")


def test_keys_are_checked(client: Client) -> None:
    client.token = None
    refused(client.create(), 401, 1001, "Authorization is empty")
    client.token = "wrong"
    refused(client.create(), 401, 1002, "api key not found")
    refused(client.create(gateway="dmxapi"), 401, 1002)
    answer = client.ask("GET", "/v1/videos/image2video", headers={"Authorization": "sim-key"})
    refused(answer, 401, 1000)
    assert client.server.tasks == []


def test_a_signed_token_lets_in_at_the_vendor_only(client: Client, kling: SimulatorServer) -> None:
    client.token = sign_jwt(KeyPair(kling.access_key, kling.secret_key), time.time())
    client.book()
    refused(client.create(gateway="dmxapi"), 401, 1002)
    client.token = sign_jwt(KeyPair(kling.access_key, "another-secret"), time.time())
    refused(client.create(), 401, 1000)
    client.token = sign_jwt(KeyPair("another-key", kling.secret_key), time.time())
    refused(client.create(), 401, 1002)
    long = kling.add_account("long", "long-key", "ak-long", "a secret that is long enough for everybody")
    client.token = jwt.encode({"iss": long.access_key}, long.secret_key, algorithm="HS256")
    refused(client.create(), 401, 1000)


def test_a_clock_that_differs_makes_tokens_too_young_or_too_old(
    client: Client, kling: SimulatorServer
) -> None:
    client.token = sign_jwt(KeyPair(kling.access_key, kling.secret_key), time.time())
    kling.set(clock_skew=-60)
    refused(client.create(), 401, 1003)
    kling.set(clock_skew=1801)
    refused(client.create(), 401, 1004)
    kling.set(clock_skew=60)
    answer = client.create()
    assert answer.json()["data"]["created_at"] > (time.time() + 50) * 1000


def test_another_account_has_tasks_of_its_own(client: Client, kling: SimulatorServer) -> None:
    name = client.book(external_task_id="shared")
    client.token = kling.add_account("other", "other-key").api_key
    refused(client.query(name), 400, 1201, "Task not found")
    assert client.book(external_task_id="shared") != name


def test_tls_with_the_certificate_it_made() -> None:
    with SimulatorServer(tls=True) as server:
        headers = {"Authorization": f"Bearer {server.api_key}"}
        answer = requests.get(
            f"{server.url}/v1/videos/image2video", headers=headers, verify=server.certificate
        )
        assert answer.json()["code"] == 0
        assert server.certificate in server.connection_json()


def test_the_new_dialect_tells_many_tasks_at_once_and_passes_over_what_it_does_not_know(
    client: Client, kling: SimulatorServer
) -> None:
    kling.set(task_seconds=1000)
    first, second = client.book(external_task_id="boat"), client.book()
    kling.finish(first)
    told = client.ask("GET", "/tasks", params={"task_ids": f"{second},0,{first}"}).json()["data"]
    assert [(task["id"], task["status"]) for task in told] == [(second, "submitted"), (first, "succeeded")]
    assert told[1]["external_id"] == "boat"
    assert told[1]["outputs"][0]["type"] == "video"
    assert [bill["amount"] for bill in told[1]["billing"]] == ["2"]
    by_name = client.ask("GET", "/tasks", params={"external_task_ids": f"boat,{second}"}).json()["data"]
    assert [task["id"] for task in by_name] == [first]
    kling.set(tasks_see_classic=False)
    assert client.ask("GET", "/tasks", params={"task_ids": first}).json()["data"] == []


def test_the_new_dialect_wants_ids_not_too_many_and_an_api_key(
    client: Client, kling: SimulatorServer
) -> None:
    refused(client.ask("GET", "/tasks"), 400, 1201, "task_ids or external_task_ids is required")
    kling.set(batch_limit=2)
    refused(client.ask("GET", "/tasks", params={"task_ids": "1,2,3"}), 400, 1201, "at most 2")
    client.token = sign_jwt(KeyPair(kling.access_key, kling.secret_key), time.time())
    refused(client.ask("GET", "/tasks", params={"task_ids": "1"}), 401, 1002, "create an API key")
