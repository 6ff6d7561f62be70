"""What both hooks do when Kling, the network or the key does not behave: the same tests for each."""

from __future__ import annotations

import base64
import re
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from kling_provider.exceptions import (
    KlingAccountError,
    KlingAuthError,
    KlingBadRequestError,
    KlingConcurrencyLimitError,
    KlingContentPolicyError,
    KlingError,
    KlingRateLimitError,
    KlingServerError,
    KlingSubmissionUnknownError,
    KlingTaskFailedError,
    KlingTaskNotFoundError,
    KlingUnreadableResponseError,
)
from kling_provider.hooks import kling as module
from kling_provider.hooks.work import NO_TASK, work_of
from kling_provider.simulator.server import SimulatorServer
from tests.hooks.talking import CONNECTION, REQUEST, Listener, connection, free_port

CLASSES = {
    1000: KlingAuthError,
    1001: KlingAuthError,
    1002: KlingAuthError,
    1003: KlingAuthError,
    1004: KlingAuthError,
    1100: KlingAccountError,
    1101: KlingAccountError,
    1102: KlingAccountError,
    1103: KlingAccountError,
    1200: KlingBadRequestError,
    1201: KlingBadRequestError,
    1202: KlingBadRequestError,
    1203: KlingBadRequestError,
    1300: KlingContentPolicyError,
    1301: KlingContentPolicyError,
    1302: KlingRateLimitError,
    1303: KlingConcurrencyLimitError,
    1304: KlingAccountError,
    4242: KlingBadRequestError,
}
#: What comes instead of an answer -> what a safe request ends in, and what its text says.
SPOILED = {
    "html": (KlingUnreadableResponseError, "an HTML page where Kling's JSON object was due: <!DOCTYPE html>"),
    "truncated": (KlingUnreadableResponseError, "truncated JSON"),
    "empty": (KlingUnreadableResponseError, "an empty answer"),
    "list": (KlingUnreadableResponseError, "a JSON list"),
    "no_data": (KlingUnreadableResponseError, "code 0 without data"),
    "null_data": (KlingUnreadableResponseError, "code 0 without data"),
    "cut": (KlingServerError, "the connection was lost before an answer came"),
    "short_body": (KlingServerError, "the connection was lost before an answer came"),
}


# --- answers Kling gives ------------------------------------------------------------------------------


@pytest.mark.parametrize("road", ["official", "reseller"])
@pytest.mark.parametrize("code", CLASSES)
def test_a_refused_submit_is_told_with_code_message_and_request_id(road, code, request, open_hook):
    kling = request.getfixturevalue(road)
    kling.fail_next(
        "POST", "/", "error", code=code, status=None if code != 4242 else 418, message="not today"
    )
    with pytest.raises(KlingError) as caught:
        open_hook().submit("image2video", REQUEST, external_task_id="mine-1")
    error = caught.value
    assert type(error) is CLASSES[code]
    assert error.code == code
    assert error.endpoint == "image2video"
    assert error.external_task_id == "mine-1"
    for part in ("not today", f"code {code}", error.request_id, "image2video", "mine-1", "HTTP 4"):
        assert part in str(error)
    assert len(kling.requests) == 1


@pytest.mark.parametrize("code", [code for code in CLASSES if code not in (1302, 1303)])
def test_a_refused_query_is_believed_at_once(code, official, open_hook, retries):
    official.fail_next(
        "GET", "/", "error", code=code, message="not today", status=418 if code == 4242 else None
    )
    with pytest.raises(CLASSES[code], match=rf"not today \[code {code}, HTTP \d+, request_id "):
        open_hook().get_task("1")
    assert len(official.requests) == 1
    assert retries == []


def test_a_429_without_envelope_is_a_rate_limit(reseller, open_hook):
    reseller.fail_next("POST", "/", "429", envelope=False, message="slow down")
    with pytest.raises(KlingRateLimitError, match="slow down") as caught:
        open_hook().submit("image2video", REQUEST)
    assert (caught.value.code, caught.value.http_status) == (None, 429)
    assert len(reseller.requests) == 1


@pytest.mark.parametrize("unknown_model_code", [1201, 1203])
def test_an_unknown_model_is_a_bad_request(reseller, open_hook, unknown_model_code):
    reseller.unknown_model_code = unknown_model_code
    with pytest.raises(KlingBadRequestError, match="model is not supported") as caught:
        open_hook().submit("image2video", {**REQUEST, "model_name": "kling-v99"})
    assert caught.value.code == unknown_model_code
    assert reseller.ledger == []


@pytest.mark.parametrize("road", ["official", "signed", "reseller"])
def test_a_wrong_key_is_an_auth_error_whatever_is_asked(road, request, connect, open_hook):
    kling = request.getfixturevalue(road)
    extra = {"gateway": "dmxapi"} if road == "reseller" else {}
    login = kling.access_key if road == "signed" else ""
    connect(kling.url, "a-wrong-key", login=login, **extra)
    hook = open_hook()
    for call in (lambda: hook.submit("image2video", REQUEST), lambda: hook.get_task("1")):
        with pytest.raises(KlingAuthError) as caught:
            call()
        assert caught.value.code == (1000 if road == "signed" else 1002)
        assert caught.value.request_id in str(caught.value)
        assert "extra `region`" in str(caught.value)
        assert "a-wrong-key" not in str(caught.value)
    assert len(kling.requests) == 2


@pytest.mark.parametrize("gateway", ["official", "dmxapi"])
def test_the_simulator_refuses_in_the_same_classes(kling_simulator, monkeypatch, open_hook, gateway):
    monkeypatch.setenv(CONNECTION, kling_simulator.connection_json(gateway))
    hook = open_hook()
    for code in (1102, 1302, 1303, 1301):
        kling_simulator.fault("envelope", code=code, method="POST", message="not today")
        with pytest.raises(CLASSES[code], match="not today") as caught:
            hook.submit("image2video", REQUEST)
        assert type(caught.value) is CLASSES[code]
        assert (caught.value.code, caught.value.request_id is None) == (code, False)
    kling_simulator.set(concurrency=0)
    with pytest.raises(KlingConcurrencyLimitError):
        hook.submit("image2video", REQUEST)
    assert kling_simulator.charges == []


def test_a_wait_with_a_wrong_key_ends_at_once(official, connect, open_hook):
    connect(official.url, "a-wrong-key")
    with pytest.raises(KlingAuthError, match="Asking for task 1 of image2video failed") as caught:
        open_hook().wait_for_task("1", timeout=5)
    assert caught.value.task_id == "1"
    assert len(official.requests) == 1


def test_a_look_up_with_a_wrong_key_is_no_absence(official, connect, open_hook):
    connect(official.url, "a-wrong-key")
    with pytest.raises(KlingAuthError, match="Looking up external_task_id mine-1"):
        open_hook().find_task("mine-1", endpoint="image2video")


# --- expired tokens -------------------------------------------------------------------------------------


def test_an_expired_token_is_signed_anew_once(signed, open_hook):
    hook = open_hook()
    signed.expire_token_once()
    task = hook.submit("image2video", REQUEST)
    signed.expire_token_once()
    assert hook.get_task(task.task_id).is_successful
    assert [request.status for request in signed.requests] == [401, 200, 401, 200]
    assert len(signed.ledger) == 1


def test_the_token_that_is_signed_anew_is_a_new_one(signed, open_hook, monkeypatch):
    behind = SimpleNamespace(seconds=1400)
    clock = SimpleNamespace(time=lambda: time.time() - behind.seconds, sleep=time.sleep)
    monkeypatch.setattr(module, "time", clock)
    hook = open_hook()
    hook.list_tasks("image2video")
    behind.seconds, signed.jwt_clock_offset = 0, 500
    hook.list_tasks("image2video")
    assert [request.status for request in signed.requests] == [200, 401, 200]
    tokens = [request.headers["authorization"] for request in signed.requests]
    assert tokens[0] == tokens[1] != tokens[2]


@pytest.mark.parametrize(("ahead", "code"), [(7200, 1004), (-7200, 1003)])
def test_a_token_that_is_rejected_twice_is_an_auth_error_about_the_clock(
    signed, open_hook, ahead, code, retries
):
    signed.jwt_clock_offset = ahead
    hook = open_hook()
    for call in (lambda: hook.list_tasks("image2video"), lambda: hook.submit("image2video", REQUEST)):
        with pytest.raises(KlingAuthError, match="clock") as caught:
            call()
        assert caught.value.code == code
        assert caught.value.request_id in str(caught.value)
    assert [request.method for request in signed.requests] == ["GET", "GET", "POST", "POST"]


def test_a_static_key_has_nothing_to_sign_anew(official, open_hook):
    official.expire_token_once()
    with pytest.raises(KlingAuthError):
        open_hook().submit("image2video", REQUEST)
    assert len(official.requests) == 1


# --- answers that are none --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", SPOILED)
def test_a_query_is_asked_again_after_a_spoiled_answer(kind, official, open_hook, retries):
    hook = open_hook()
    task_id = hook.submit("image2video", REQUEST).task_id
    official.fail_next("GET", "/", kind, count=4 if (hook.kind, kind) == ("async", "cut") else 2)
    assert hook.get_task(task_id).task_id == task_id
    assert 2 <= len(retries) <= 4  # aiohttp repeats a GET once by itself when it is cut


@pytest.mark.parametrize("kind", SPOILED)
def test_a_query_that_stays_spoiled_says_what_came(kind, official, open_hook, retries):
    hook = open_hook()
    task_id = hook.submit("image2video", REQUEST).task_id
    official.fail_next("GET", "/", kind, count=99)
    expected, text = SPOILED[kind]
    with pytest.raises(expected) as caught:
        hook.get_task(task_id)
    assert type(caught.value) is expected
    assert text in str(caught.value)
    assert task_id in str(caught.value)
    assert module.DEFAULT_ATTEMPTS == 4
    assert len(official.seen("GET")) in (
        (4, 8) if kind == "cut" else (4,)
    )  # aiohttp repeats a cut GET itself


@pytest.mark.parametrize(
    ("kind", "http_status"), [("html", 502), ("html", 200), ("status", 503), ("empty", 504)]
)
def test_a_page_of_a_proxy_is_shown_in_200_characters(
    kling_simulator, kling_connection, open_hook, retries, kind, http_status
):
    page = "<html>" + "x" * 190 + "THIS-COMES-AFTER-200-CHARACTERS" + "</html>"
    kling_simulator.fault(kind, times=0, http_status=http_status, body=page)
    with pytest.raises(KlingUnreadableResponseError, match=f"HTTP {http_status}") as caught:
        open_hook(attempts=1).get_task("1")
    assert ("<html>xxx" in str(caught.value)) is (kind != "empty")
    assert "THIS-COMES-AFTER" not in str(caught.value)


@pytest.mark.parametrize("kind", SPOILED)
@pytest.mark.parametrize("booked", [True, False])
def test_a_submit_whose_answer_is_lost_is_unknown_where_it_cannot_be_looked_up(
    kind, booked, reseller, open_hook
):
    reseller.fail_next("POST", "/", kind, booked=booked)
    with pytest.raises(KlingSubmissionUnknownError) as caught:
        open_hook().submit("image2video", REQUEST)
    text = str(caught.value)
    assert SPOILED[kind][1] in text
    assert "may have been booked" in text
    assert "https://www.dmxapi.cn" in text
    assert "KlingTaskSensor" in text
    assert len(reseller.requests) == 1
    assert "next_task" not in text


@pytest.mark.parametrize("kind", SPOILED)
def test_a_submit_whose_answer_is_lost_is_found_where_it_can_be_looked_up(kind, official, open_hook):
    official.fail_next("POST", "/", kind, booked=True)
    task = open_hook().submit("image2video", REQUEST, external_task_id="mine-1")
    assert [booked.task_id for booked in official.ledger] == [task.task_id]
    assert task.external_task_id == "mine-1"
    assert [request.method for request in official.requests] == ["POST", "GET"]
    assert official.requests[1].path == "/v1/videos/image2video/mine-1"


@pytest.mark.parametrize("kind", ["html", "empty", "list", "no_data", "cut"])
def test_a_submit_that_was_never_booked_is_sent_again_with_the_same_id(kind, official, open_hook):
    official.fail_next("POST", "/", kind, booked=False)
    task = open_hook().submit("image2video", REQUEST, external_task_id="mine-1")
    assert [booked.task_id for booked in official.ledger] == [task.task_id]
    assert task.external_task_id == "mine-1"
    asked = [(request.method, request.path.removeprefix("/v1/videos")) for request in official.requests]
    look_up, the_list = ("GET", "/image2video/mine-1"), ("GET", "/image2video")
    assert asked == [("POST", "/image2video"), *[look_up] * 4, the_list, ("POST", "/image2video")]


def test_a_submit_that_stays_unclear_is_left_to_the_next_try(official, open_hook):
    official.fail_next("POST", "/", "html", booked=False, count=3)
    with pytest.raises(KlingServerError, match="knows no such task") as caught:
        open_hook().submit("image2video", REQUEST, external_task_id="mine-1")
    assert "mine-1" in str(caught.value)
    assert not isinstance(caught.value, AirflowFailException)
    assert len(official.seen("POST")) == 3
    assert official.ledger == []


def test_a_lost_answer_is_looked_up_while_kling_is_still_booking(official, open_hook):
    official.next_task(vanish=2)
    official.fail_next("POST", "/", "cut", booked=True)
    task = open_hook().submit("image2video", REQUEST, external_task_id="mine-1")
    assert [booked.task_id for booked in official.ledger] == [task.task_id]
    assert len(official.seen("GET")) == 3


def test_a_lost_answer_that_cannot_be_looked_up_now_is_looked_up_by_a_retry(official, open_hook, retries):
    official.fail_next("POST", "/", "cut", booked=True)
    official.fail_next("GET", "/", "html", count=99)
    with pytest.raises(KlingServerError, match=r"mine-1.*A retry looks for it before it sends") as caught:
        open_hook(attempts=2).submit("image2video", REQUEST, external_task_id="mine-1")
    assert not isinstance(caught.value, AirflowFailException)
    assert len(official.seen("POST")) == 1
    assert len(official.seen("GET")) == 8


def test_a_server_error_after_a_submit_is_unclear_too(official, reseller, connect, open_hook):
    reseller.fail_next("POST", "/kling", "error", code=5002)
    with pytest.raises(KlingSubmissionUnknownError) as caught:
        open_hook().submit("image2video", REQUEST)
    assert caught.value.code == 5002
    connect(official.url, official.api_key)
    official.fail_next("POST", "/v1", "error", code=5000, booked=True)
    task = open_hook().submit("image2video", REQUEST, external_task_id="mine-1")
    assert [booked.task_id for booked in official.ledger] == [task.task_id]


def test_the_simulator_keeps_one_charge_after_a_cut(kling_simulator, kling_connection, open_hook):
    for kind in ("cut_after", "cut_body", "truncated"):
        kling_simulator.fault(kind, method="POST")
        task = open_hook().submit("image2video", REQUEST, external_task_id=f"mine-{kind}")
        assert kling_simulator.charges[-1].task_id == task.task_id
    assert len(kling_simulator.charges) == len(kling_simulator.creates) == 3


def test_on_unknown_retry_lets_airflow_try_again(reseller, open_hook):
    reseller.fail_next("POST", "/", "html", booked=True)
    hook = open_hook()
    prepared = hook.prepare("image2video", REQUEST)
    with pytest.raises(KlingUnreadableResponseError):
        hook.submit_prepared(prepared, NO_TASK, on_unknown="retry")


# --- ids that are taken -------------------------------------------------------------------------------


def test_an_id_that_exists_is_an_error_that_names_the_task_and_its_age(official, open_hook):
    hook = open_hook()
    first = hook.submit("image2video", REQUEST, external_task_id="mine-1")
    with pytest.raises(KlingBadRequestError) as caught:
        hook.submit("image2video", REQUEST, external_task_id="mine-1")
    text = str(caught.value)
    assert f"external_task_id='mine-1' is taken: task {first.task_id} of image2video" in text
    assert re.search(r", \d{1,2} s old, status succeed", text)
    assert "on_existing='adopt'" in text
    assert caught.value.task_id == first.task_id
    assert len(official.ledger) == 1


def test_an_id_that_exists_is_adopted_on_request(official, open_hook):
    hook = open_hook()
    first = hook.submit("image2video", REQUEST, external_task_id="mine-1")
    prepared = hook.prepare("image2video", REQUEST, external_task_id="mine-1")
    task, existed = hook.submit_prepared(prepared, NO_TASK, on_existing="adopt")
    assert (task.task_id, existed) == (first.task_id, True)
    assert len(official.ledger) == 1


def test_an_id_whose_task_failed_cannot_be_used_again(official, open_hook):
    hook = open_hook()
    official.next_task("fail", message="too many cats")
    first = hook.submit("image2video", REQUEST, external_task_id="mine-1")
    with pytest.raises(KlingBadRequestError, match="too many cats") as caught:
        hook.submit("image2video", REQUEST, external_task_id="mine-1")
    assert f"belongs to task {first.task_id}" in str(caught.value)
    assert "choose another" in str(caught.value)


def test_an_id_that_exists_and_cannot_be_found_may_be_paid(official, open_hook):
    hook = open_hook()
    official.next_task(vanish=99)
    hook.submit("image2video", REQUEST, external_task_id="mine-1")
    with pytest.raises(KlingSubmissionUnknownError, match="already exists"):
        hook.submit("image2video", REQUEST, external_task_id="mine-1")
    assert len(official.ledger) == 1


def test_an_id_that_exists_where_it_cannot_be_looked_up_is_a_bad_request(reseller, open_hook):
    hook = open_hook()
    hook.submit("image2video", REQUEST, external_task_id="mine-1")
    with pytest.raises(KlingBadRequestError, match="mine-1 already exists"):
        hook.submit("image2video", REQUEST, external_task_id="mine-1")


@pytest.mark.parametrize("name", ["None", "a b", "x" * 65, "123", "ä"])
def test_an_id_that_cannot_be_one_is_not_sent(official, open_hook, name):
    with pytest.raises(KlingBadRequestError, match=r"Nothing was sent. external_task_id="):
        open_hook().submit("image2video", REQUEST, external_task_id=name)
    assert official.requests == []


def work(**ti: Any) -> Any:
    fields = {
        "dag_id": "d",
        "run_id": "r",
        "task_id": "t",
        "map_index": -1,
        "try_number": 1,
        "max_tries": 3,
    } | ti
    return work_of({"ti": SimpleNamespace(**fields), "task": SimpleNamespace(retries=3)})


def test_a_retry_looks_first_and_takes_the_next_number_for_a_failed_task(official, open_hook):
    hook = open_hook()
    prepared = hook.prepare("image2video", REQUEST)
    official.next_task("fail")
    failed, _ = hook.submit_prepared(prepared, work())
    again, existed = hook.submit_prepared(prepared, work(try_number=2))
    assert not existed
    assert again.task_id != failed.task_id
    same, existed = hook.submit_prepared(prepared, work(try_number=3))
    assert (same.task_id, existed) == (again.task_id, True)
    methods = [request.method for request in official.requests]
    assert methods == ["POST", "GET", "GET", "GET", "POST", "GET", "GET"]
    names = [task.external_task_id for task in official.ledger]
    assert len(set(names)) == 2


def test_work_that_kling_fails_again_and_again_ends(official, open_hook, monkeypatch):
    monkeypatch.setattr("kling_provider.hooks.submit_flow.MOST_FAILED_TASKS", 2)
    hook = open_hook()
    prepared = hook.prepare("image2video", REQUEST)
    official.next_task("fail", count=2)
    hook.submit_prepared(prepared, work())
    hook.submit_prepared(prepared, work(try_number=2))
    with pytest.raises(KlingTaskFailedError, match="failed 2 tasks of image2video"):
        hook.submit_prepared(prepared, work(try_number=3))
    assert len(official.ledger) == 2


def test_a_look_up_that_is_not_answered_stops_a_retry_before_it_pays(official, open_hook, retries):
    official.fail_next("GET", "/", "error", code=5001, count=9)
    hook = open_hook(attempts=2)
    with pytest.raises(KlingServerError):
        hook.submit_prepared(hook.prepare("image2video", REQUEST), work(try_number=2))
    assert official.seen("POST") == []


def test_a_retry_where_nothing_can_be_looked_up_sends_nothing(reseller, open_hook):
    hook = open_hook()
    with pytest.raises(KlingSubmissionUnknownError, match="Nothing was sent"):
        hook.submit_prepared(hook.prepare("image2video", REQUEST), work(try_number=2))
    assert reseller.requests == []


def test_the_record_of_an_earlier_try_leads_back_to_its_task(reseller, open_hook):
    from tests.contexts import StateStore

    store, ti = StateStore(), SimpleNamespace(dag_id="d", run_id="r", task_id="t", try_number=1, max_tries=2)
    context = {"ti": ti, "task": SimpleNamespace(retries=2), "task_state_store": store}
    hook = open_hook()
    prepared = hook.prepare("image2video", REQUEST)
    first, existed = hook.submit_prepared(prepared, work_of(context))
    assert not existed
    ti.try_number = 2
    again, existed = hook.submit_prepared(prepared, work_of(context))
    assert (again.task_id, existed) == (first.task_id, True)
    assert len(reseller.ledger) == 1


# --- redirects ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("method", ["POST", "GET"])
def test_a_redirect_is_an_error_and_is_never_followed(status, method, reseller, open_hook):
    with Listener() as elsewhere:
        location = f"{elsewhere.url}/steal?token=secret-part"
        reseller.fail_next(method, "/", "redirect", status=status, location=location)
        hook = open_hook()
        with pytest.raises(KlingBadRequestError, match="never follow a redirect") as caught:
            hook.submit("image2video", REQUEST) if method == "POST" else hook.get_task("1")
        assert f"{elsewhere.url}/steal" in str(caught.value)
        assert "secret-part" not in str(caught.value)
        assert elsewhere.heard == []
    assert len(reseller.requests) == 1


def test_a_redirect_to_the_list_is_not_taken_for_a_booking(official, open_hook):
    official.fail_next("POST", "/", "redirect", status=302, location="/v1/videos/image2video")
    with pytest.raises(KlingBadRequestError):
        open_hook().submit("image2video", REQUEST, external_task_id="mine-1")
    assert len(official.requests) == 1


# --- retries ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [{"kind": "error", "code": code} for code in (1302, 1303, 5000, 5001, 5002)]
    + [
        {"kind": "429"},
        {"kind": "429", "envelope": False},
        {"kind": "error", "status": 503, "envelope": False},
    ],
)
def test_a_safe_request_is_repeated_when_that_can_help(fault, official, open_hook, retries):
    official.fail_next("GET", "/", count=3, **fault)
    assert open_hook().list_tasks("image2video") == []
    assert len(official.requests) == 4
    assert all(0.2 <= seconds <= 8 for seconds in retries)
    assert len(set(retries)) == 3  # jittered


def test_attempts_bounds_how_often(official, open_hook, retries):
    official.fail_next("GET", "/", "error", code=5000, count=9)
    with pytest.raises(KlingServerError):
        open_hook(attempts=2).list_tasks("image2video")
    assert len(official.requests) == 2


@pytest.mark.parametrize(
    ("asked", "least", "most"), [("7", 7, 7), ("86400", 60, 60), ("soon", 0.2, 8), ("0", 0.2, 8)]
)
def test_retry_after_is_honoured_within_reason(official, open_hook, retries, asked, least, most):
    official.fail_next("GET", "/", "429", retry_after=asked)
    open_hook().list_tasks("image2video")
    assert len(retries) == 1
    assert least <= retries[0] <= most


def test_a_wait_between_retries_really_happens(official, open_hook, monkeypatch):
    monkeypatch.setattr(module, "_wait_before_retry", lambda state: 0.15)
    official.fail_next("GET", "/", "429")
    open_hook().list_tasks("image2video")
    first, second = (request.at for request in official.requests)
    assert second - first >= 0.14


@pytest.mark.parametrize("fault", [{"code": 1302}, {"code": 1303}, {"code": 5000}, {"code": 5001}])
def test_a_submit_is_sent_once_whatever_is_answered(fault, reseller, open_hook, retries):
    reseller.fail_next("POST", "/", "error", retry_after="1", **fault)
    with pytest.raises(KlingError):
        open_hook().submit("image2video", REQUEST)
    assert len(reseller.requests) == 1
    assert retries == []


# --- the network --------------------------------------------------------------------------------------


@pytest.mark.parametrize("gateway", ["official", "dmxapi"])
def test_a_refused_connection_is_sure_to_have_sent_nothing(connect, open_hook, gateway, retries):
    connect(f"http://127.0.0.1:{free_port()}", "key", gateway=gateway)
    with pytest.raises(KlingServerError, match="the request did not get through") as caught:
        open_hook().submit("image2video", REQUEST)
    assert type(caught.value) is KlingServerError
    assert caught.value.http_status is None
    assert retries == []
    with pytest.raises(KlingServerError):
        open_hook().get_task("1")
    assert len(retries) >= 3


def test_a_name_that_does_not_resolve_has_sent_nothing(connect, open_hook):
    connect("https://kling.invalid", "key", gateway="dmxapi")
    with pytest.raises(KlingServerError, match="the request did not get through"):
        open_hook().submit("image2video", REQUEST)


def test_a_submit_that_is_never_answered_may_be_paid(connect, open_hook):
    with Listener() as silent:
        connect(silent.url, "key", gateway="dmxapi", timeout=[5, 0.15])
        began = time.monotonic()
        with pytest.raises(KlingSubmissionUnknownError):
            open_hook().submit("image2video", REQUEST)
        assert 0.14 < time.monotonic() - began < 2
        assert len(silent.heard) == 1


def test_a_submit_that_is_answered_too_late_is_found(independent, connect, open_hook):
    connect(independent.url, independent.api_key, timeout=[5, 0.15])
    independent.fail_next("POST", "/", "delay", delay=1)
    task = open_hook().submit("image2video", REQUEST, external_task_id="mine-1")
    assert [booked.task_id for booked in independent.ledger] == [task.task_id]


def test_a_query_that_is_never_answered_ends_in_time(connect, open_hook, retries):
    with Listener() as silent:
        connect(silent.url, "key", timeout=0.1)
        with pytest.raises(KlingServerError, match=r"(?i)time"):
            open_hook(attempts=2).get_task("1")
        assert len(silent.heard) == 2


def test_a_host_that_does_not_take_the_connection_ends_in_time(connect, open_hook):
    import socket

    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        crowd = [socket.socket() for _ in range(4)]
        for sock in crowd:
            sock.setblocking(False)
            sock.connect_ex(full.getsockname())
        connect(f"http://127.0.0.1:{full.getsockname()[1]}", "key", gateway="dmxapi", timeout=[0.15, 30])
        began = time.monotonic()
        with pytest.raises(KlingServerError, match="the request did not get through"):
            open_hook().submit("image2video", REQUEST)
        assert time.monotonic() - began < 3
        for sock in crowd:
            sock.close()


# --- proxies and TLS ----------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", ["proxy", "proxies", "per scheme"])
def test_a_proxy_of_the_connection_is_used(shape, independent, connect, open_hook, proxy):
    extra = {"proxies": {"http": proxy.url}} if shape == "per scheme" else {shape: proxy.url}
    connect(independent.url, independent.api_key, **extra)
    hook = open_hook()
    hook.submit("image2video", REQUEST)
    hook.list_tasks("image2video", page=2)
    where = f"{independent.url}/v1/videos/image2video"
    assert proxy.forwarded == [f"POST {where}", f"GET {where}?pageNum=2&pageSize=30"]


def test_a_proxy_of_the_environment_gives_way_to_the_connection_s(
    independent, connect, open_hook, proxy, monkeypatch
):
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    connect(independent.url, independent.api_key, proxy=proxy.url)
    assert open_hook().list_tasks("image2video") == []
    assert len(proxy.forwarded) == 1


def test_a_proxy_of_the_environment_is_used_unless_trust_env_is_off(
    independent, connect, open_hook, proxy, monkeypatch
):
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    connect(independent.url, independent.api_key, trust_env=False)
    open_hook().list_tasks("image2video")
    assert proxy.forwarded == []
    connect(independent.url, independent.api_key)
    open_hook().list_tasks("image2video")
    assert len(proxy.forwarded) == 1


def test_a_dead_proxy_has_sent_nothing(independent, connect, open_hook):
    connect(
        independent.url, independent.seed_token, gateway="dmxapi", proxy=f"http://127.0.0.1:{free_port()}"
    )
    with pytest.raises(KlingServerError, match="did not get through"):
        open_hook().submit("image2video", REQUEST)
    assert independent.requests == []


@pytest.mark.parametrize("machine", ["127.0.0.1", "default"])
def test_a_netrc_never_replaces_the_key(machine, official, open_hook, monkeypatch, tmp_path):
    netrc = tmp_path / "netrc"
    name = "default" if machine == "default" else f"machine {machine}"
    netrc.write_text(f"{name} login somebody password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    open_hook().list_tasks("image2video")
    assert official.requests[0].headers["authorization"] == f"Bearer {official.api_key}"


@pytest.fixture(scope="module")
def tls_simulator() -> Any:
    with SimulatorServer(tls=True, task_seconds=0.05, speed=1) as server:
        yield server


def test_verify_says_whose_certificates_are_trusted(tls_simulator, connect, open_hook, monkeypatch):
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)
    connect(tls_simulator.url, tls_simulator.api_key)
    with pytest.raises(KlingServerError, match=r"(?i)certificate") as caught:
        open_hook(attempts=1).list_tasks("image2video")
    assert "the request did not get through" in str(caught.value)
    for verify in (tls_simulator.certificate, False, "false"):
        connect(tls_simulator.url, tls_simulator.api_key, verify=verify)
        open_hook(attempts=1).list_tasks("image2video")


def test_verify_wins_over_the_bundle_of_the_environment(tls_simulator, connect, open_hook, monkeypatch):
    import certifi

    monkeypatch.setenv("REQUESTS_CA_BUNDLE", certifi.where())
    for extra in ({"verify": tls_simulator.certificate}, {"verify_ssl": False}):
        connect(tls_simulator.url, tls_simulator.api_key, **extra)
        assert open_hook(attempts=1).list_tasks("image2video") == []


def test_a_refused_certificate_has_sent_nothing_so_a_submit_is_not_unknown(tls_simulator, connect, open_hook):
    connect(tls_simulator.url, tls_simulator.api_key, gateway="dmxapi")
    with pytest.raises(KlingServerError, match="the request did not get through"):
        open_hook().submit("image2video", REQUEST)


@pytest.mark.parametrize("shape", [list, "one file"])
def test_a_client_certificate_of_the_connection_is_shown(
    shape, tls_simulator, connect, open_hook, tmp_path: Path
):
    folder = Path(tls_simulator.certificate).parent
    certificate, key = Path(tls_simulator.certificate), next(folder.glob("*key*"))
    both = tmp_path / "both.pem"
    both.write_text(key.read_text() + certificate.read_text())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(certificate)
    body = b'{"code": 0, "data": [], "request_id": "r"}'

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: Any) -> None:
            pass

    server = Server(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        url, trust = f"https://127.0.0.1:{server.server_port}", {"verify": str(certificate)}
        connect(url, "key", **trust)
        with pytest.raises(KlingServerError):
            open_hook(attempts=1).list_tasks("image2video")
        cert = [str(certificate), str(key)] if shape is list else str(both)
        connect(url, "key", cert=cert, **trust)
        assert open_hook(attempts=1).list_tasks("image2video") == []
    finally:
        server.shutdown()
        server.server_close()


# --- secrets ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("road", ["official", "signed", "reseller"])
def test_no_key_token_or_picture_is_in_any_message(road, request, open_hook, picture, told, retries):
    kling = request.getfixturevalue(road)
    encoded = base64.b64encode(picture.read_bytes()).decode()
    asked = {"image": str(picture), "prompt": "a cat"}
    hook = open_hook(attempts=2)
    texts = []
    for kind in ("html", "cut", "truncated", "error", "redirect", "429"):
        kling.fail_next("*", "/", kind, count=9)
        for call in (lambda: hook.submit("image2video", asked), lambda: hook.get_task("1")):
            with pytest.raises(KlingError) as caught:
                call()
            chain: BaseException | None = caught.value
            while chain is not None:
                texts += [str(chain), repr(chain)]
                chain = chain.__cause__ or chain.__context__
        kling.clear_scripts()
    with pytest.raises(KlingTaskNotFoundError):
        hook.get_task("1")
    seen = told() + "\n".join(texts) + repr(hook.config)
    tokens = {request.headers["authorization"].removeprefix("Bearer ") for request in kling.requests}
    assert len(kling.seen("POST")) == 6
    assert "image2video" in seen
    for secret in (kling.api_key, kling.secret_key, kling.seed_token, *tokens, encoded[:48], "iVBORw0KGgo"):
        assert secret not in seen


def test_a_signed_token_is_masked_in_logs(signed, open_hook, monkeypatch, request):
    masked: list[str] = []
    monkeypatch.setattr(module, "mask_secret", lambda secret, *_: masked.append(secret))
    hook = open_hook()
    hook.list_tasks("image2video")
    if request.node.callspec.id == "sync":
        assert signed.secret_key in masked
        assert any(secret.startswith("eyJ") for secret in masked)
    else:  # on the triggerer's loop that would block, or end, the triggerer of Airflow 3.0 to 3.3.1
        assert masked == []


def test_a_connection_without_password_sends_nothing(independent, monkeypatch, open_hook):
    monkeypatch.setenv(CONNECTION, connection(independent.url, None))
    for call in ("submit", "prepare"):
        with pytest.raises(KlingBadRequestError, match="the password is empty"):
            getattr(open_hook(), call)("image2video", REQUEST)
    assert independent.requests == []
