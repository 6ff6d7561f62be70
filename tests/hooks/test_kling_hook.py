"""What both hooks do with a Kling that behaves: the same tests for each, over real sockets."""

from __future__ import annotations

import base64
import copy
import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import jwt
import pytest

from kling_provider.api.auth import TOKEN_SECONDS
from kling_provider.exceptions import (
    KlingBadRequestError,
    KlingTaskFailedError,
    KlingTaskNotFoundError,
    KlingTaskTimeoutError,
    KlingUnreadableResponseError,
)
from kling_provider.hooks.kling import KlingAsyncHook, KlingHook
from tests.hooks.talking import REQUEST, URL_PICTURE, Listener

SOON = {"timeout": 5, "poke_interval": 0.02}


@dataclass
class World:
    """A Kling and the road to it."""

    server: Any
    prefix: str
    query: str
    model: str

    def posts(self) -> list[Any]:
        return [request for request in self.server.requests if request.method == "POST"]


@pytest.fixture(
    params=[
        "simulator official",
        "simulator signed",
        "simulator dmxapi",
        "independent official",
        "independent signed",
        "independent dmxapi",
    ]
)
def world(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> World:
    who, how = request.param.split()
    if who == "simulator":
        server = request.getfixturevalue("kling_simulator")
        server.set(task_seconds=0.05)
        gateway, auth = (
            ("dmxapi", "key") if how == "dmxapi" else ("official", "pair" if how == "signed" else "key")
        )
        monkeypatch.setenv("AIRFLOW_CONN_KLING_DEFAULT", server.connection_json(gateway, auth=auth))
    else:
        server = request.getfixturevalue({"dmxapi": "reseller"}.get(how, how))
    if how == "dmxapi":
        return World(server, "/kling/v1/videos/", "/kling/v1/videos/generations/", "kling-v1-6")
    return World(server, "/v1/videos/", "/v1/videos/image2video/", "kling-v2-6")


def test_a_picture_becomes_a_video_in_three_lines(world, open_hook, picture):
    hook = open_hook()
    booked = hook.submit("image2video", {"image": str(picture), "prompt": "it moves"})
    task = hook.wait_for_task(booked.task_id, **SOON)
    assert (booked.status, booked.endpoint, booked.is_terminal) == ("submitted", "image2video", False)
    assert (task.task_id, task.status, task.is_successful) == (booked.task_id, "succeed", True)
    assert task.videos[0].url.startswith("http://127.0.0.1:")
    assert task.videos[0].id
    assert 5 <= task.videos[0].duration < 5.2
    assert task.units > 0
    assert task.request_id
    assert abs(task.created_at - datetime.now(UTC)) < timedelta(seconds=10)
    assert hook.get_task(booked.task_id).videos[0].id == task.videos[0].id
    (post,) = world.posts()
    assert post.path == world.prefix + "image2video"
    assert post.body["model_name"] == world.model
    assert world.server.requests[-1].path == world.query + booked.task_id


def test_a_text_becomes_a_video_at_its_own_endpoint(world, open_hook):
    hook = open_hook()
    booked = hook.submit("text2video", {"prompt": "waves", "aspect_ratio": "9:16"})
    task = hook.wait_for_task(booked.task_id, endpoint="text2video", **SOON)
    assert (task.endpoint, task.is_successful) == ("text2video", True)
    assert world.posts()[0].path == world.prefix + "text2video"
    seed = "generations" in world.query
    assert (
        world.server.requests[-1].path == (world.query if seed else "/v1/videos/text2video/") + task.task_id
    )


def test_the_free_test_of_a_connection_says_that_kling_answers(world, open_hook):
    works, text = open_hook().test_connection()
    assert works
    assert "Kling answers" in text
    assert world.server.url in text
    assert world.posts() == []


@pytest.mark.parametrize("road", ["official", "signed", "reseller"])
def test_what_is_sent_is_what_was_asked_for_and_no_more(road, request, open_hook, picture):
    kling = request.getfixturevalue(road)
    asked = {
        "model_name": "kling-v1-6",
        "image": str(picture),
        "prompt": "a cat — ein Kätzchen 🐈",
        "negative_prompt": "",
        "image_tail": "",
        "callback_url": "",
        "cfg_scale": "0.7",
        "mode": "pro",
        "duration": 10,
        "external_task_id": "my-own_id1",
    }
    before = copy.deepcopy(asked)
    open_hook().submit("image2video", asked)
    assert asked == before
    (post,) = kling.seen("POST")
    assert post.body == {
        "model_name": "kling-v1-6",
        "image": base64.b64encode(picture.read_bytes()).decode(),
        "prompt": "a cat — ein Kätzchen 🐈",
        "cfg_scale": 0.7,
        "mode": "pro",
        "duration": "10",
        "external_task_id": "my-own_id1",
    }
    assert post.headers["content-type"] == "application/json"
    assert b"data:" not in post.raw


def test_the_model_and_what_decides_the_price_are_always_sent(reseller, open_hook):
    open_hook().submit("image2video", {"image": URL_PICTURE})
    assert reseller.seen("POST")[0].body == {
        "model_name": "kling-v1-6",
        "image": URL_PICTURE,
        "mode": "std",
        "duration": "5",
    }


@pytest.mark.parametrize("url", [URL_PICTURE, "http://h/?X-Amz-Signature=a%2Fb&b=%20", "ftp://h/ä.png"])
def test_a_web_address_goes_through_letter_by_letter(official, open_hook, url):
    open_hook().submit("image2video", {"image": url})
    assert official.seen("POST")[0].body["image"] == url


def test_every_picture_of_a_request_is_encoded_and_the_caller_keeps_his(reseller, open_hook, picture):
    content = picture.read_bytes()
    plain = base64.b64encode(content).decode()
    points = [{"x": 1, "y": 2}, {"x": 3, "y": 4}]
    asked = {
        "model_name": "kling-v1",
        "image": content,
        "static_mask": str(picture),
        "dynamic_masks": [{"mask": f"file://{picture}", "trajectories": points}],
    }
    before = copy.deepcopy(asked)
    open_hook().submit("image2video", asked)
    body = reseller.seen("POST")[0].body
    assert body["image"] == body["static_mask"] == plain
    assert body["dynamic_masks"] == [{"mask": plain, "trajectories": points}]
    assert asked == before


def test_the_simulator_gets_the_same_bytes(kling_simulator, kling_connection, open_hook, picture):
    open_hook().submit("image2video", {"image": str(picture)})
    content = picture.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    (post,) = kling_simulator.creates
    assert post.body["image"] == f"<base64 of {len(content)} bytes, sha256 {digest}>"


def test_a_raw_path_is_an_endpoint_too(official, open_hook):
    hook = open_hook()
    task = hook.submit("/v1/videos/text2video", {"model_name": "kling-v1-6", "prompt": "waves"})
    assert task.endpoint == "/v1/videos/text2video"
    assert hook.get_task(task.task_id, endpoint="/v1/videos/text2video").is_successful
    assert {request.path for request in official.requests} == {
        "/v1/videos/text2video",
        f"/v1/videos/text2video/{task.task_id}",
    }


def test_path_prefix_and_query_path_are_where_requests_go(independent, connect, open_hook):
    connect(
        independent.url,
        independent.seed_token,
        gateway="custom",
        path_prefix="/kling",
        query_path="/kling/v1/videos/generations/{task_id}",
    )
    hook = open_hook()
    task = hook.submit("image2video", REQUEST)
    hook.get_task(task.task_id)
    paths = [request.path for request in independent.requests]
    assert paths == ["/kling/v1/videos/image2video", f"/kling/v1/videos/generations/{task.task_id}"]


def test_all_videos_of_a_result_are_kept(official, open_hook):
    official.videos_per_task = 3
    hook = open_hook()
    task = hook.wait_for_task(hook.submit("image2video", REQUEST).task_id, **SOON)
    assert [video.id for video in task.videos] == official.ledger[0].video_ids
    assert len({video.url for video in task.videos}) == 3
    assert task.units == Decimal("3.5")


def test_a_task_is_found_by_the_callers_id(official, open_hook):
    hook = open_hook()
    task = hook.submit("text2video", {"prompt": "waves"}, external_task_id="mine-1")
    found = hook.find_task("mine-1", endpoint="text2video")
    assert (found.task_id, found.external_task_id) == (task.task_id, "mine-1")
    assert hook.find_task("mine-2", endpoint="text2video") is None
    assert hook.find_task("mine-1", endpoint="image2video") is None


def test_a_gateway_that_cannot_look_up_is_not_asked_to(reseller, open_hook):
    with pytest.raises(KlingBadRequestError, match='set the extra external_id to "lookup"'):
        open_hook().find_task("mine-1", endpoint="image2video")
    assert reseller.requests == []


def test_the_extra_external_id_lets_a_gateway_look_up(independent, connect, open_hook):
    connect(independent.url, independent.api_key, gateway="custom", external_id="lookup")
    hook = open_hook()
    hook.submit("image2video", REQUEST, external_task_id="mine-1")
    assert hook.find_task("mine-1", endpoint="image2video").external_task_id == "mine-1"


def test_lists_come_in_pages(official, open_hook):
    hook = open_hook()
    made = {hook.submit("image2video", REQUEST).task_id for _ in range(3)}
    pages = [hook.list_tasks("image2video", page=page, page_size=2) for page in (1, 2, 3)]
    assert [len(page) for page in pages] == [2, 1, 0]
    assert {task.task_id for page in pages for task in page} == made
    assert hook.list_tasks("text2video") == []
    asked = [request.query for request in official.seen("GET")]
    assert asked[0] == {"pageNum": "1", "pageSize": "2"}
    assert asked[-1] == {"pageNum": "1", "pageSize": "30"}


@pytest.mark.parametrize(
    "bad", [{"page": 0}, {"page": 1001}, {"page_size": 0}, {"page_size": 501}, {"page": "1"}]
)
def test_a_page_that_cannot_be_is_not_asked_for(official, open_hook, bad):
    with pytest.raises(KlingBadRequestError, match=f"Nothing was sent. {next(iter(bad))}="):
        open_hook().list_tasks("image2video", **bad)
    assert official.requests == []


def test_the_account_s_costs_are_asked_in_milliseconds(kling_simulator, kling_connection, open_hook):
    start, end = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
    data = open_hook().get_account_costs(start, end, resource_pack_name="big one")
    assert "resource_pack_subscribe_infos" in data
    (asked,) = kling_simulator.requests
    assert asked.path == "/account/costs"
    assert asked.query == "start_time=1767225600000&end_time=1767312000000&resource_pack_name=big+one"
    open_hook().get_account_costs(start, end)
    assert "resource_pack_name" not in kling_simulator.requests[-1].query


def test_a_price_is_told_without_reading_or_sending_anything(official, open_hook):
    hook = open_hook()
    request = {"image": "/no/such/picture.png", "mode": "pro", "duration": "10"}
    assert hook.estimate_units("image2video", request) == Decimal("5.0")  # of the gateway's default model
    assert hook.estimate_units("image2video", {**request, "model_name": "kling-v1-6"}) == Decimal("7")
    assert hook.estimate_units("image2video", {**request, "model_name": "kling-v9"}) is None
    with pytest.raises(KlingBadRequestError, match="duration"):
        hook.estimate_units("image2video", {**request, "duration": "7"})
    with pytest.raises(KlingBadRequestError, match="image2video"):
        hook.estimate_units("image2vide", request)
    assert official.requests == []


# --- waiting ------------------------------------------------------------------------------------------


def test_a_failed_task_tells_kling_s_reason(world, open_hook):
    world.server.next_task("fail", message="the cat refused")
    hook = open_hook()
    task_id = hook.submit("text2video", {"prompt": "a cat"}).task_id
    with pytest.raises(KlingTaskFailedError) as caught:
        hook.wait_for_task(task_id, endpoint="text2video", **SOON)
    error = caught.value
    assert "the cat refused" in str(error)
    assert task_id in str(error)
    assert error.request_id in str(error)
    assert (error.task_id, error.endpoint) == (task_id, "text2video")


def test_a_stuck_task_ends_in_a_time_out_that_says_it_goes_on(world, open_hook):
    world.server.next_task("stuck")
    hook = open_hook()
    task_id = hook.submit("text2video", {"prompt": "a cat"}).task_id
    with pytest.raises(KlingTaskTimeoutError) as caught:
        hook.wait_for_task(task_id, endpoint="text2video", timeout=0.15, poke_interval=0.03)
    assert task_id in str(caught.value)
    assert "was not over after 0.15 s (last status: " in str(caught.value)
    assert "may still finish" in str(caught.value)
    assert len(world.posts()) == 1


def test_the_time_out_tells_the_last_failure(official, open_hook):
    hook = open_hook()
    task_id = hook.submit("image2video", REQUEST).task_id
    official.fail_next("GET", "/", "error", code=5001, message="closed for repairs", count=99)
    with pytest.raises(KlingTaskTimeoutError, match="The last ask failed: closed for repairs") as caught:
        hook.wait_for_task(task_id, timeout=0.1, poke_interval=0.03)
    assert caught.value.code == 5001


def test_the_poke_interval_is_the_gap_between_two_asks(official, open_hook):
    official.next_task("stuck")
    hook = open_hook()
    task_id = hook.submit("image2video", REQUEST).task_id
    with pytest.raises(KlingTaskTimeoutError):
        hook.wait_for_task(task_id, timeout=0.5, poke_interval=0.2)
    asked = [request.at for request in official.seen("GET")]
    assert 3 <= len(asked) <= 4
    assert asked[1] - asked[0] >= 0.19


def test_an_id_that_takes_a_while_to_appear_is_waited_for(official, open_hook):
    official.next_task(vanish=3)
    hook = open_hook()
    task_id = hook.submit("image2video", REQUEST).task_id
    assert hook.wait_for_task(task_id, **SOON).is_successful


def test_blips_do_not_end_a_wait(official, open_hook):
    hook = open_hook()
    task_id = hook.submit("image2video", REQUEST).task_id
    for kind in ("html", "cut", "truncated", "429"):
        official.fail_next("GET", "/", kind)
    assert hook.wait_for_task(task_id, timeout=5, poke_interval=0.005).is_successful
    assert official.unused_faults == []


@pytest.mark.parametrize("variant", ["empty", "no_videos", "no_url", "missing"])
def test_a_success_without_a_result_is_an_error_that_says_so(official, open_hook, variant, retries):
    official.next_task("no_result", variant=variant)
    hook = open_hook(attempts=2)
    task_id = hook.submit("image2video", REQUEST).task_id
    with pytest.raises(KlingUnreadableResponseError, match=r"no result in it|without url"):
        hook.get_task(task_id)


def test_a_status_nobody_knows_counts_as_running(official, open_hook):
    official.schedule = (0, 0.15)
    official.next_task("odd_passing", word="dreaming")
    hook = open_hook()
    task_id = hook.submit("image2video", REQUEST).task_id
    assert hook.get_task(task_id).status == "dreaming"
    assert hook.wait_for_task(task_id, **SOON).is_successful


@pytest.mark.parametrize(
    "task_id", ["../../account/costs", "..", "a/b", "a?b", "", "a b", None, 7.5, "a%2Fb"]
)
def test_an_id_that_could_leave_its_place_is_not_asked_for(official, open_hook, task_id):
    hook = open_hook()
    with pytest.raises(KlingBadRequestError, match="Nothing was sent"):
        hook.get_task(task_id)
    with pytest.raises(KlingBadRequestError, match="Nothing was sent"):
        hook.wait_for_task(task_id, **SOON)
    with pytest.raises(KlingBadRequestError, match="Nothing was sent"):
        hook.find_task(task_id, endpoint="image2video")
    assert official.requests == []


def test_an_unknown_id_is_named(world, open_hook):
    with pytest.raises(KlingTaskNotFoundError) as caught:
        open_hook().get_task("8675309")
    assert "8675309" in str(caught.value)
    assert caught.value.request_id in str(caught.value)
    assert caught.value.task_id == "8675309"


def test_an_unknown_endpoint_is_not_asked_for(official, open_hook):
    hook = open_hook()
    for call in (
        lambda: hook.submit("img2video", REQUEST),
        lambda: hook.get_task("1", endpoint="img2video"),
        lambda: hook.list_tasks("img2video"),
        lambda: hook.find_task("a", endpoint="img2video"),
        lambda: hook.wait_for_task("1", endpoint="img2video"),
    ):
        with pytest.raises(KlingBadRequestError, match="Did you mean 'image2video'"):
            call()
    assert official.requests == []


def test_an_answer_about_another_task_is_not_believed(connect, open_hook, retries):
    body = b'{"code": 0, "message": "", "request_id": "r1", "data": {"task_id": "2", "task_status": "submitted"}}'
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body)
    with Listener(head + body) as kling:
        connect(kling.url, "key")
        with pytest.raises(KlingUnreadableResponseError, match="asked for task 1, told of 2"):
            open_hook().get_task("1")


# --- how requests look --------------------------------------------------------------------------------


def test_requests_say_who_asks_and_prove_it(reseller, open_hook):
    hook = open_hook()
    hook.get_task(hook.submit("image2video", REQUEST).task_id)
    for request in reseller.requests:
        assert re.fullmatch(r"airflow-provider-kling/\S+ python/3\.\d+\.\d+", request.headers["user-agent"])
        assert request.headers["authorization"] == f"Bearer {reseller.seed_token}"
        assert request.headers["accept"] == "application/json"


def test_a_key_pair_signs_one_token_and_keeps_it(signed, open_hook):
    hook = open_hook()
    hook.get_task(hook.submit("image2video", REQUEST).task_id)
    first, second = (request.headers["authorization"] for request in signed.requests)
    assert first == second
    claims = jwt.decode(first.removeprefix("Bearer "), signed.secret_key, algorithms=["HS256"])
    assert claims["iss"] == signed.access_key
    assert claims["exp"] - claims["nbf"] == TOKEN_SECONDS + 5


def test_extras_never_leave_as_headers(independent, connect, open_hook):
    connect(
        independent.url,
        independent.api_key,
        gateway="official",
        namespace="a-namespace",
        region="beijing",
        timeout=7,
        Authorization="Bearer stolen",
        x_secret="do-not-send",
        media_roots="/",
        trust_env=True,
    )
    hook = open_hook()
    hook.submit("image2video", REQUEST)
    hook.list_tasks("image2video")
    known = {"host", "user-agent", "accept", "accept-encoding", "connection", "authorization"}
    for request in independent.requests:
        assert set(request.headers) - known <= {"content-type", "content-length"}
        assert request.headers["authorization"] == f"Bearer {independent.api_key}"


def test_many_requests_share_one_connection(official, open_hook):
    hook = open_hook()
    for _ in range(5):
        hook.list_tasks("image2video")
    assert len({request.peer for request in official.requests}) == 1


def test_get_conn_gives_the_pooled_session(official):
    hook = KlingHook()
    assert hook.get_conn() is hook.get_conn()
    assert hook.get_conn().trust_env is True


async def test_closing_the_async_hook_reads_the_connection_anew(independent, connect):
    connect(independent.url, "rotated away")
    async with KlingAsyncHook() as hook:
        assert await hook.test_connection() == (False, (await hook.test_connection())[1])
        connect(independent.url, independent.api_key)
        await hook.close()
        assert await hook.list_tasks("image2video") == []
        session = hook._client
    assert session.closed


async def test_a_rejected_key_is_read_anew_by_the_next_ask(independent, connect):
    from kling_provider.api.polling import Finished, TaskPoller, Wait

    connect(independent.url, independent.api_key)
    async with KlingAsyncHook() as hook:
        task = await hook.submit("image2video", REQUEST)
        poller = TaskPoller(
            poke_interval=1, deadline=lambda _: 2e12, visible_by=0, random=lambda: 0, answered=True
        )
        independent.api_key = "the-new-key"
        assert isinstance(await hook.poll_once(poller, task.task_id, "image2video"), Wait)
        connect(independent.url, "the-new-key")
        assert isinstance(await hook.poll_once(poller, task.task_id, "image2video"), Finished)


def test_the_connection_s_id_is_the_hook_s_first_argument(independent, monkeypatch, open_hook):
    from tests.hooks.talking import connection

    monkeypatch.setenv("AIRFLOW_CONN_KLING_OTHER", connection(independent.url, independent.api_key))
    assert open_hook("kling_other").list_tasks("image2video") == []
    assert KlingHook.get_ui_field_behaviour()["relabeling"]["password"]


# --- pictures ------------------------------------------------------------------------------------------


def test_media_roots_and_picture_limits_of_the_connection_hold(
    independent, connect, open_hook, picture, tmp_path
):
    connect(independent.url, independent.api_key, media_roots=str(tmp_path / "inside"))
    with pytest.raises(KlingBadRequestError, match="outside the connection's media_roots"):
        open_hook().submit("image2video", {"image": str(picture)})
    connect(independent.url, independent.api_key, picture_limits={"min_side": 400})
    with pytest.raises(KlingBadRequestError, match="at least 400"):
        open_hook().submit("image2video", {"image": str(picture)})
    assert independent.requests == []


def test_a_bad_request_is_refused_before_anything_is_sent(official, open_hook, tmp_path):
    (tmp_path / "fake.png").write_bytes(b"%PDF-1.7")
    (tmp_path / "empty.png").touch()
    for request, told in (
        ({"image": URL_PICTURE, "mode": "ultra"}, "mode='ultra'"),
        ({"image": str(tmp_path / "fake.png")}, "is not a jpg or png picture"),
        ({"image": str(tmp_path / "empty.png")}, "is empty"),
        ({"image": str(tmp_path)}, f"image='{tmp_path}'"),
        ({"image": str(tmp_path / "gone.png")}, "no such file"),
        ({"image": "data:image/png;base64,iVBORw0KGgo"}, "picture data"),
        ({"prompt": "no picture"}, "image"),
    ):
        with pytest.raises(KlingBadRequestError, match="Nothing was sent") as caught:
            open_hook().submit("image2video", request)
        assert told in str(caught.value)
    assert official.requests == []


def test_prepare_sends_nothing_and_tells_the_price(official, open_hook):
    prepared = open_hook().prepare("image2video", REQUEST, external_task_id="mine-1")
    assert prepared.estimated_units > 0
    assert (prepared.own_id, prepared.can_look_up) == ("mine-1", True)
    assert official.requests == []
    with pytest.raises(KlingBadRequestError, match="given beside another one"):
        open_hook().prepare("image2video", {**REQUEST, "external_task_id": "b-1"}, external_task_id="a-1")


# --- inside a running task ---------------------------------------------------------------------------


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The task instance that is running now."""
    from airflow.sdk.definitions._internal import contextmanager

    ti = SimpleNamespace(dag_id="d", run_id="r", task_id="t", map_index=-1, try_number=1, max_tries=0)
    context = {"ti": ti, "task": SimpleNamespace(retries=0)}
    monkeypatch.setattr(contextmanager, "_CURRENT_CONTEXT", [context])
    return ti


def test_a_submit_inside_a_task_carries_the_derived_id(running, official, open_hook):
    hook = open_hook()
    task = hook.submit("image2video", REQUEST)
    again = hook.submit("image2video", REQUEST, key="second picture")
    ids = [post.body["external_task_id"] for post in official.seen("POST")]
    assert all(re.fullmatch(r"af1-[a-z2-7]{6}-[a-z2-7]{16}-[a-z2-7]{12}", name) for name in ids)
    assert ids[0] != ids[1]
    assert ids[0].split("-")[::3] == ids[1].split("-")[::3]
    assert task.task_id != again.task_id


def test_the_namespace_is_part_of_the_derived_id(running, independent, connect, open_hook):
    for name in ("team-a", "team-b"):
        connect(independent.url, independent.api_key, namespace=name)
        open_hook().submit("image2video", REQUEST)
    first, second = (post.body["external_task_id"].split("-") for post in independent.seen("POST"))
    assert first[1] != second[1]
    assert first[2:] == second[2:]


def test_the_same_submit_in_a_retry_finds_its_task_and_posts_nothing(running, official, open_hook):
    first = open_hook().submit("image2video", REQUEST)
    running.try_number, running.max_tries = 2, 2
    assert open_hook().submit("image2video", REQUEST).task_id == first.task_id
    assert len(official.seen("POST")) == 1


def test_no_id_is_made_up_outside_of_a_task(official, open_hook):
    open_hook().submit("image2video", REQUEST)
    assert "external_task_id" not in official.seen("POST")[0].body


def test_a_gateway_that_cannot_look_up_gets_no_derived_id(running, reseller, open_hook):
    open_hook().submit("image2video", REQUEST)
    assert "external_task_id" not in reseller.seen("POST")[0].body
