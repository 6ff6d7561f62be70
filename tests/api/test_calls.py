"""What is sent where, per gateway, and how the answer is read; without sending it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from kling_provider.api.calls import Call, Routes
from kling_provider.api.endpoints import ENDPOINTS, MAX_PAGE, MAX_PAGE_SIZE, endpoint_for
from kling_provider.api.errors import ApiFailure, InvalidRequest, Reaction
from kling_provider.api.gateways import GATEWAYS
from kling_provider.api.replies import Envelope

ROW = ENDPOINTS["image2video"]


def routes(gateway: str) -> Routes:
    row = GATEWAYS[gateway]
    return Routes(row.path_prefix, row.query_path)


def unreadable(call: Call[Any], data: Any) -> str:
    with pytest.raises(ApiFailure) as caught:
        call.decode(Envelope(data, "r"))
    failure = caught.value.failure
    assert (failure.reaction, failure.request_id) == (Reaction.UNREADABLE, "r")
    return failure.message


@pytest.mark.parametrize(
    ("where", "submit", "query", "listing", "costs"),
    [
        (
            routes("official"),
            "/v1/videos/image2video",
            "/v1/videos/image2video/12%3A3",
            "/v1/videos/image2video",
            "/account/costs",
        ),
        (
            routes("dmxapi"),
            "/kling/v1/videos/image2video",
            "/kling/v1/videos/generations/12%3A3",
            "/kling/v1/videos/image2video",
            "/kling/account/costs",
        ),
        (
            Routes("/proxy", "/q/{endpoint}/{task_id}/state"),
            "/proxy/v1/videos/image2video",
            "/q/image2video/12%3A3/state",
            "/proxy/v1/videos/image2video",
            "/proxy/account/costs",
        ),
    ],
    ids=["official", "dmxapi", "template"],
)
def test_every_gateway_is_asked_on_its_own_paths(
    where: Routes, submit: str, query: str, listing: str, costs: str
):
    moment = datetime(2026, 10, 1, tzinfo=UTC)
    calls = [
        where.submit(ROW, {"image": "u"}),
        where.get_task(ROW, "12:3"),
        where.list_tasks(ROW, 1, 30),
        where.account_costs(moment, moment),
    ]
    assert [(call.method, call.path) for call in calls] == [
        ("POST", submit),
        ("GET", query),
        ("GET", listing),
        ("GET", costs),
    ]


def test_an_external_id_is_looked_up_on_the_create_path_of_every_gateway():
    assert routes("official").find_task(ROW, "mine").path == "/v1/videos/image2video/mine"
    assert routes("dmxapi").find_task(ROW, "mine").path == "/kling/v1/videos/image2video/mine"


def test_a_raw_path_is_asked_under_itself():
    row = endpoint_for("/v1/videos/omni-video")
    assert routes("dmxapi").submit(row, {}).path == "/kling/v1/videos/omni-video"
    assert routes("official").get_task(row, "1").path == "/v1/videos/omni-video/1"


def test_only_a_create_may_not_be_repeated():
    where, moment = routes("official"), datetime(2026, 10, 1, tzinfo=UTC)
    assert not where.submit(ROW, {}).may_repeat
    assert where.get_task(ROW, "1").may_repeat
    assert where.find_task(ROW, "a").may_repeat
    assert where.list_tasks(ROW, 1, 1).may_repeat
    assert where.account_costs(moment, moment).may_repeat


def test_a_create_carries_its_body_and_its_ids():
    body = {"image": b"picture", "external_task_id": "mine"}
    call = routes("official").submit(ROW, body)
    assert call.body == body
    assert (call.endpoint, call.external_task_id, call.task_id) == ("image2video", "mine", None)
    assert call.what == "Submitting to image2video (external_task_id mine)"
    assert routes("official").submit(ROW, {}).what == "Submitting to image2video"


def test_a_query_carries_its_ids():
    by_id, by_name = routes("official").get_task(ROW, "12"), routes("official").find_task(ROW, "mine")
    assert (by_id.task_id, by_id.external_task_id, by_id.body) == ("12", None, None)
    assert (by_name.task_id, by_name.external_task_id, by_name.body) == (None, "mine", None)
    assert "12" in by_id.what
    assert "mine" in by_name.what


@pytest.mark.parametrize("gateway", sorted(GATEWAYS))
@pytest.mark.parametrize("task_id", ["../../account/costs", "..", "a/b", ""])
def test_no_id_leads_elsewhere(gateway: str, task_id: str):
    with pytest.raises(InvalidRequest, match="is not a task id"):
        routes(gateway).get_task(ROW, task_id)
    with pytest.raises(InvalidRequest, match="is not a task id"):
        routes(gateway).find_task(ROW, task_id)


def test_an_answer_is_read_as_a_task_of_the_endpoint():
    data = {"task_id": "12", "task_status": "processing"}
    for call in (
        routes("official").submit(ROW, {}),
        routes("official").get_task(ROW, "12"),
        routes("official").find_task(ROW, "mine"),
    ):
        task = call.decode(Envelope(data, "r-1"))
        assert (task.task_id, task.endpoint, task.status, task.request_id) == (
            "12",
            "image2video",
            "processing",
            "r-1",
        )


def test_being_told_of_another_task_is_unreadable():
    message = unreadable(routes("official").get_task(ROW, "12"), {"task_id": "13", "task_status": "failed"})
    assert message == "asked for task 12, told of 13"


def test_a_page_of_tasks_is_read_in_the_order_told():
    call = routes("official").list_tasks(ROW, 2, 500)
    assert call.params == {"pageNum": 2, "pageSize": 500}
    tasks = call.decode(Envelope([{"task_id": "2"}, {"task_id": "1"}], "r"))
    assert [(task.task_id, task.endpoint) for task in tasks] == [("2", "image2video"), ("1", "image2video")]
    assert call.decode(Envelope([], "r")) == []


@pytest.mark.parametrize("data", [{"task_id": "1"}, "x", 5, {}])
def test_a_list_that_is_none_is_unreadable(data: Any):
    assert "where a list of tasks was due" in unreadable(routes("official").list_tasks(ROW, 1, 30), data)


@pytest.mark.parametrize(("page", "size"), [(1, 1), (MAX_PAGE, MAX_PAGE_SIZE)])
def test_the_vendors_page_limits_are_taken(page: int, size: int):
    assert routes("official").list_tasks(ROW, page, size).params == {"pageNum": page, "pageSize": size}


@pytest.mark.parametrize(
    ("page", "size", "named"),
    [
        (0, 30, "page=0: use a whole number from 1 to 1000"),
        (1001, 30, "page="),
        (-1, 30, "page="),
        (1.5, 30, "page="),
        ("2", 30, "page="),
        (1, 0, "page_size="),
        (1, 501, "page_size=501: use a whole number from 1 to 500"),
        (1, None, "page_size="),
    ],
)
def test_a_page_beyond_the_vendors_limits_is_refused(page: Any, size: Any, named: str):
    with pytest.raises(InvalidRequest, match=named):
        routes("official").list_tasks(ROW, page, size)


def test_costs_are_asked_in_milliseconds():
    start, end = datetime(2026, 9, 21, 14, 13, 20, tzinfo=UTC), datetime(2026, 9, 21, 14, 13, 21, tzinfo=UTC)
    call = routes("official").account_costs(start, end)
    assert call.params == {"start_time": 1790000000000, "end_time": 1790000001000}
    named = routes("official").account_costs(start, end, "pack")
    assert named.params == {**call.params, "resource_pack_name": "pack"}
    assert call.decode(Envelope({"code": 0}, "r")) == {"code": 0}
    assert "where an object was due" in unreadable(call, [1])
