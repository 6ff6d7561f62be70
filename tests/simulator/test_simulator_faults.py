"""Every fault does what it says, and what is booked is booked."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
import requests

from kling_provider.simulator.server import SimulatorServer
from tests.simulator.simulator_client import Client, refused, until


@pytest.mark.parametrize(
    ("kind", "booked"),
    [("cut_before", 0), ("cut_after", 1), ("cut_body", 1)],
)
@pytest.mark.parametrize("tls", [False, True])
def test_a_cut_connection_has_no_answer(kind: str, booked: int, tls: bool, kling: SimulatorServer) -> None:
    server = SimulatorServer(tls=True).start() if tls else kling
    client = Client(server)
    client.session.verify = server.certificate or True
    server.fault(kind, method="POST")
    wanted: Any = requests.exceptions.ChunkedEncodingError if kind == "cut_body" else requests.ConnectionError
    with pytest.raises(wanted):
        client.create()
    assert len(server.tasks) == booked
    assert server.requests[-1].faults == [kind]
    client.book()
    if tls:
        server.close()


@pytest.mark.parametrize(
    ("fault", "status", "start", "booked"),
    [
        ({"kind": "status", "http_status": 429, "retry_after": 7}, 429, "upstream", 0),
        ({"kind": "status", "booked": True}, 503, "upstream", 1),
        ({"kind": "html"}, 502, "<html>", 0),
        ({"kind": "html", "booked": True, "http_status": 200}, 200, "<html>", 1),
        ({"kind": "truncated"}, 200, '{"code":0,', 1),
        ({"kind": "empty"}, 200, "", 1),
        ({"kind": "list"}, 200, "[{", 1),
        ({"kind": "no_data"}, 200, '{"code": 0', 1),
        ({"kind": "redirect"}, 302, "", 0),
        ({"kind": "redirect", "http_status": 307, "location": "https://evil.example/"}, 307, "", 0),
    ],
)
def test_answers_that_are_not_kling(
    client: Client, fault: dict[str, Any], status: int, start: str, booked: int
) -> None:
    client.server.fault(**fault)
    answer = client.create()
    assert answer.status_code == status
    assert answer.text.startswith(start)
    assert len(client.server.tasks) == booked
    assert answer.headers.get("retry-after") == ("7" if "retry_after" in fault else None)
    if fault["kind"] == "redirect":
        assert answer.headers["location"] == fault.get("location", "/v1/videos/image2video")
    if fault["kind"] in ("truncated", "empty"):
        with pytest.raises(requests.JSONDecodeError):
            answer.json()
    if fault["kind"] == "no_data":
        assert "data" not in answer.json()
    client.book()


def test_any_code_of_kling_can_be_had(client: Client) -> None:
    for code, status in ((1302, 429), (5001, 503), (1103, 403), (1301, 400)):
        client.server.fault("envelope", code=code, message="as asked")
        refused(client.create(), status, code, "as asked")
    client.server.fault("expired_token")
    refused(client.create(), 401, 1004)
    client.book()


def test_a_proxy_that_repeats_the_post(client: Client) -> None:
    client.server.fault("replay", method="POST")
    refused(client.create(external_task_id="a"), 400, 1201, "already exists")
    assert len(client.server.tasks) == 1
    client.server.fault("replay", method="POST", answer="first")
    assert client.create().json()["data"]["task_id"] == client.server.tasks[1].task_id
    assert len(client.server.tasks) == 3


def test_a_late_answer_comes_late_and_books_although_nobody_waits(client: Client) -> None:
    client.server.fault("latency", seconds=0.5)
    started = time.monotonic()
    with pytest.raises(requests.ReadTimeout):
        client.ask("POST", "/v1/videos/text2video", json={"prompt": "a cat"}, timeout=0.05)
    assert client.server.tasks == []
    until(lambda: client.server.tasks)
    assert time.monotonic() - started >= 0.5


def test_a_late_answer_with_booked_is_booked_first(client: Client) -> None:
    client.server.fault("latency", seconds=5, booked=True)
    with pytest.raises(requests.ReadTimeout):
        client.ask("POST", "/v1/videos/text2video", json={"prompt": "a cat"}, timeout=0.05)
    until(lambda: client.server.tasks)
    assert client.server.requests[-1].status is None


def test_what_hangs_over_a_reset_books_nothing_afterwards(client: Client) -> None:
    client.server.fault("latency", seconds=0.5)
    outcome: list[object] = []

    def hang() -> None:
        try:
            outcome.append(client.create())
        except requests.ConnectionError as error:
            outcome.append(error)

    thread = threading.Thread(target=hang)
    thread.start()
    until(lambda: client.server.requests)
    client.server.reset()
    thread.join()
    assert isinstance(outcome[0], requests.ConnectionError)
    assert client.server.tasks == []


def test_a_fault_meets_only_its_requests_and_so_many_of_them(client: Client) -> None:
    client.server.fault("status", method="GET", path="/v1/videos/.*/[0-9]+$", times=2, skip=1)
    name = client.book()
    assert [client.query(name).status_code for _ in range(5)] == [200, 503, 503, 200, 200]
    client.server.fault("status", path="/kling/", times=0)
    assert [client.create(gateway="dmxapi").status_code for _ in range(3)] == [503] * 3
    client.book()


@pytest.mark.parametrize(
    ("outcome", "values", "status", "message"),
    [
        ("fail", {"message": "Failure to pass the risk control system"}, "failed", "risk control"),
        ("fail", {"seconds": 0}, "failed", "risk"),
        ("no_result", {}, "succeed", ""),
    ],
)
def test_the_next_task_can_be_scripted(
    client: Client, outcome: str, values: dict[str, Any], status: str, message: str
) -> None:
    client.server.next_task(outcome, **values)
    task = client.finished(client.book())
    assert task["task_status"] == status
    assert message in task["task_status_msg"]
    assert "task_result" not in task
    assert client.finished(client.book())["task_result"]


def test_a_stuck_task_never_ends_and_keeps_its_slot(client: Client, kling: SimulatorServer) -> None:
    kling.set(task_seconds=0, concurrency=1)
    kling.next_task("stuck")
    name = client.book()
    assert client.task(name)["task_status"] == "processing"
    refused(client.create(), 429, 1303)
    kling.change(name, stuck=False)
    assert client.task(name)["task_status"] == "succeed"


def test_a_task_vanishes_and_comes_back(client: Client, kling: SimulatorServer) -> None:
    kling.next_task("vanish")
    name = client.book()
    refused(client.query(name), 400, 1201, "Task not found")
    assert client.listed() == []
    kling.change(name, vanish_for=0)
    client.finished(name)
    kling.change(name, vanish_for=3600)
    refused(client.query(name), 400, 1201)


def test_an_unknown_word_is_told_until_the_task_ends(client: Client, kling: SimulatorServer) -> None:
    kling.set(task_seconds=1000)
    kling.next_task("unknown_word", word="dreaming", seconds=20)
    name = client.book()
    until(lambda: client.task(name)["task_status"] == "dreaming")
    kling.set(speed=1_000_000)
    assert client.finished(name)["task_status"] == "succeed"
    kling.set(speed=1)
    other = client.book()
    kling.change(other, status="resting")
    assert client.task(other)["task_status"] == "resting"


def test_a_task_may_make_several_videos(client: Client, kling: SimulatorServer) -> None:
    kling.next_task(videos=3)
    videos = client.finished(client.book())["task_result"]["videos"]
    assert len({video["id"] for video in videos}) == 3


def test_speed_changes_running_work(client: Client, kling: SimulatorServer) -> None:
    kling.set(task_seconds=10_000)
    name = client.book()
    assert client.task(name)["task_status"] == "submitted"
    kling.set(speed=1_000_000)
    client.finished(name)


def test_the_control_plane_does_it_over_http(client: Client) -> None:
    def turn(door: str, /, **values: Any) -> Any:
        answer = client.ask("POST", f"/_simulator{door}", json=values)
        return answer.json() if answer.ok else (answer.status_code, answer.json()["error"])

    assert turn("/settings", speed=5, task_seconds={"image2video": 1000})["speed"] == 5
    assert turn("/faults", kind="html", path="/v1")["times"] == 1
    assert [fault["kind"] for fault in client.ask("GET", "/_simulator/faults").json()] == ["html"]
    assert client.create().status_code == 502
    assert turn("/next_task", outcome="stuck", times=2)["outcome"] == "stuck"
    name = client.book(external_task_id="mine")
    assert turn(f"/tasks/{name}", status="failed", message="no")["status"] == "failed"
    assert client.task(name)["task_status_msg"] == "no"
    assert turn("/foreign", count=2)["tasks"] == 3
    assert [task["task_id"] for task in client.ask("GET", "/_simulator/tasks").json()] == [name]
    assert client.ask("GET", "/_simulator/charges").json() == []
    requests_seen = client.ask("GET", "/_simulator/requests").json()
    assert [one["status"] for one in requests_seen] == [502, 200, 200]
    assert "sim-key" not in str(requests_seen)
    assert requests_seen[0]["headers"]["authorization"] == "Bearer <key>"
    assert client.picture not in str(requests_seen)

    assert turn("/settings", sped=5)[0] == 400
    assert "Known: speed" in turn("/settings", sped=5)[1]
    assert turn("/faults", kind="magic")[0] == 400
    assert turn("/faults", kind="html", path="(")[0] == 400
    assert turn("/tasks/12345", status="failed")[0] == 404
    assert turn(f"/tasks/{name}", colour="red")[0] == 400
    assert turn("/foreign", colour="red")[0] == 400
    assert turn("/accounts", name="b", api_key="b-key", access_key="x", secret_key="y")["accounts"][-1] == "b"
    assert turn("/reset")["speed"] == 1
    assert client.ask("GET", "/_simulator/requests").json() == []
    assert client.server.tasks == []


def test_the_control_plane_can_be_left_out() -> None:
    with SimulatorServer(control=False) as server:
        refused(Client(server).ask("GET", "/_simulator/settings"), 404, 1203)
