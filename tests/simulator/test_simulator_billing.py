"""What the simulated Kling tells of its deductions."""

from __future__ import annotations

import time
from typing import Any

import pytest

from kling_provider.api.billing import BILLING_PATHS, decode_page
from tests.simulator.simulator_client import Client, refused


def ask(client: Client, kind: str = "package", **body: Any) -> dict[str, Any]:
    answer = client.ask("POST", BILLING_PATHS[kind], json=body)
    assert answer.status_code == 200, answer.text
    data: dict[str, Any] = answer.json()["data"]
    return data


def ended(client: Client, count: int = 1, **fields: Any) -> list[str]:
    names = [client.book(**fields) for _ in range(count)]
    for name in names:
        client.server.finish(name)
    return names


def test_a_deduction_is_a_row_with_what_decided_the_price(client: Client) -> None:
    (name,) = ended(client, model_name="kling-v2-6", mode="pro", duration="10", sound="on")
    data = ask(client)
    (row,) = data["result"]["detail"]
    assert row == {
        **row,
        "task_id": name,
        "model_name": "kling-v2-6",
        "resolution": "1080p",
        "duration": "10.04",
        "video_sound": "native",
        "deduction_amount": "10",
    }
    assert abs(int(row["deduction_time"]) / 1000 - time.time()) < 5
    assert (data["result"]["count"], data["has_more"]) == (1, False)
    assert decode_page(data, "package", "r").rows[0].task_id == name


def test_only_what_succeeded_is_deducted(client: Client) -> None:
    client.book()
    client.server.change(client.book(), status="failed")
    client.server.foreign(count=5)
    assert ask(client)["result"]["detail"] == []


def test_pages_follow_their_cursors(client: Client) -> None:
    names = ended(client, 5)
    told, body = [], {"limit": 2}
    while True:
        data = ask(client, **body)
        told += [row["task_id"] for row in data["result"]["detail"]]
        if not data["has_more"]:
            break
        body["cursor"] = data["next_cursor"]
    assert told == names


def test_the_balance_tells_money(client: Client) -> None:
    client.server.set(pays_with="balance", price_factor=2)
    ended(client)
    assert ask(client)["result"]["detail"] == []
    (row,) = ask(client, "balance")["result"]["detail"]
    assert (row["list_price"], row["currency"], row["cash_type"]) == ("0.56", "USD", "balance")
    assert "deduction_amount" not in row


def test_a_period_bounds_the_rows(client: Client) -> None:
    ended(client)
    now = int(time.time() * 1000)
    assert ask(client, start_time=str(now - 60_000), end_time=str(now + 60_000))["result"]["count"] == 1
    assert ask(client, start_time=str(now - 120_000), end_time=str(now - 60_000))["result"]["count"] == 0


def test_each_account_sees_its_own(client: Client) -> None:
    ended(client)
    client.server.add_account("other", "other-key")
    client.token = "other-key"
    assert ask(client)["result"]["count"] == 0


def test_another_price_is_charged_and_told(client: Client) -> None:
    client.server.set(price_factor="1.5")
    (name,) = ended(client)
    assert client.task(name)["final_unit_deduction"] == "3"
    assert ask(client)["result"]["detail"][0]["deduction_amount"] == "3"


@pytest.mark.parametrize(
    "wrong",
    [
        {"limit": 0},
        {"limit": 501},
        {"limit": "2"},
        {"cursor": "nowhere"},
        {"start_time": 1},
        {"end_time": "soon"},
        {"filters": [{"key": "package_name", "values": ["a"]}]},
    ],
)
def test_what_cannot_be_asked_is_refused(client: Client, wrong: dict[str, Any]) -> None:
    refused(client.ask("POST", BILLING_PATHS["package"], json=wrong), 400, 1201)


def test_the_door_is_guarded_as_every_other(client: Client) -> None:
    refused(client.ask("GET", BILLING_PATHS["balance"]), 404, 1202)
    refused(client.ask("POST", BILLING_PATHS["package"], data="no json"), 400, 1200)
    client.token = "wrong"
    refused(client.ask("POST", BILLING_PATHS["package"], json={}), 401, 1002)
