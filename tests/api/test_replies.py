"""Whatever comes back is either an envelope or a failure that says what it was."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kling_provider.api.errors import ApiFailure, Failure, Reaction
from kling_provider.api.replies import Envelope, Reply, read_envelope, seconds_from
from tests.api.properties import promise

NOW = 1790000000.0


def reply(answer: Any, status: int = 200, **headers: str | None) -> Reply:
    return Reply(status, json.dumps(answer).encode(), **headers)


def failure(answer: Reply) -> Failure:
    with pytest.raises(ApiFailure) as caught:
        read_envelope(answer, NOW)
    return caught.value.failure


@pytest.mark.parametrize("code", [0, "0"])
@pytest.mark.parametrize("data", [{"task_id": "1"}, [], {}, [{"task_id": "1"}]], ids=str)
def test_code_0_with_data_is_a_success(code: object, data: Any):
    answer = reply({"code": code, "message": "SUCCEED", "request_id": "r-1", "data": data})
    assert read_envelope(answer, NOW) == Envelope(data, "r-1")


@pytest.mark.parametrize("request_id", [None, ""])
def test_a_missing_request_id_is_none(request_id: str | None):
    assert read_envelope(reply({"code": 0, "data": {}, "request_id": request_id}), NOW).request_id is None
    assert read_envelope(reply({"code": 0, "data": {}}), NOW).request_id is None


@pytest.mark.parametrize("request_id", [17, ["r"], {"r": 1}])
def test_a_request_id_of_another_type_is_told_as_text(request_id: Any):
    assert read_envelope(reply({"code": 0, "data": {}, "request_id": request_id}), NOW).request_id == str(
        request_id
    )


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"", 200, "an empty answer where Kling's JSON was due"),
        (b" \n ", 200, "an empty answer where Kling's JSON was due"),
        (b"<html><h1>Bad gateway</h1></html>", 502, "an HTML page where Kling's JSON object was due: <html>"),
        (b"<!doctype html>sign in", 200, "an HTML page"),
        (b'{"code":0,"data":{"task_id":"1', 200, "an unreadable answer (truncated JSON?)"),
        (b'[{"code":0}]', 200, "a JSON list"),
        (b'"ok"', 200, 'an unreadable answer where Kling\'s JSON object was due: "ok"'),
        (b"OK", 200, "an unreadable answer"),
        (b"null", 200, "an unreadable answer"),
        (b"\xff\xfe\x00\x01", 200, "an unreadable answer"),
        (b"[" * 200_000, 200, "a JSON list"),
        (b'{"a":' * 200_000, 200, "an unreadable answer (truncated JSON?)"),
        (b'{"code": 1' + b"0" * 6000 + b"}", 200, "an unreadable answer"),
        (b"<html>gone</html>", 404, "an HTML page"),
        (b"<html>no</html>", 403, "an HTML page"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_an_answer_that_is_not_klings_is_unreadable_and_described(body: bytes, status: int, said: str):
    found = failure(Reply(status, body))
    assert found.reaction is Reaction.UNREADABLE
    assert found.message.startswith(said)
    assert (found.code, found.http_status) == (None, status)


def test_only_the_beginning_of_an_unreadable_answer_is_shown():
    shown = failure(Reply(200, b"<html>" + b"x" * 194 + b"y" * 800)).message
    assert "x" * 194 in shown
    assert "y" not in shown
    assert "1000 characters" in shown


@pytest.mark.parametrize(
    ("status", "reaction"), [(429, Reaction.RATE), (401, Reaction.AUTH), (407, Reaction.AUTH)]
)
def test_without_an_envelope_the_status_says_rate_or_key(status: int, reaction: Reaction):
    assert failure(Reply(status, b"<html>no</html>", "7")).reaction is reaction
    assert failure(Reply(status, b"<html>no</html>", "7")).retry_after == 7


@pytest.mark.parametrize(
    "answer", [{"code": 0}, {"code": 0, "data": None}, {"code": "0", "message": "SUCCEED"}]
)
def test_code_0_without_data_is_unreadable_and_says_so(answer: dict[str, Any]):
    found = failure(reply({**answer, "request_id": "r-2"}))
    assert found.reaction is Reaction.UNREADABLE
    assert found.message.startswith("code 0 without data: {")
    assert (found.code, found.request_id) == (0, "r-2")


@pytest.mark.parametrize("code", [None, True, "", "zero", "²", "--5", "-", "0x0", 0.5, [], {}], ids=repr)
def test_json_without_klings_code_is_unreadable(code: Any):
    found = failure(reply({"code": code, "data": {"task_id": "1"}}))
    assert found.reaction is Reaction.UNREADABLE
    assert found.message.startswith("JSON without Kling's code: {")


@pytest.mark.parametrize(("code", "number"), [(1303, 1303), ("1303", 1303), ("-1", -1)])
def test_a_code_may_come_as_a_string(code: Any, number: int):
    assert failure(reply({"code": code, "message": "no"}, 429)).code == number


def test_a_refusal_is_told_with_code_message_request_id_and_retry_after():
    found = failure(reply({"code": 1302, "message": "too fast", "request_id": "r-3"}, 429, retry_after="12"))
    assert found == Failure(Reaction.RATE, "too fast", 1302, 429, "r-3", 12.0)


@pytest.mark.parametrize("code", [1201, 1303, 5000])
def test_a_refusal_inside_http_200_is_a_refusal(code: int):
    found = failure(reply({"code": code, "message": "no", "data": {"task_id": "1"}}))
    assert (found.code, found.http_status) == (code, 200)


@pytest.mark.parametrize(
    ("status", "reaction"), [(400, Reaction.BAD_REQUEST), (502, Reaction.SERVER), (401, Reaction.AUTH)]
)
def test_code_0_inside_an_http_error_is_not_a_success(status: int, reaction: Reaction):
    assert failure(reply({"code": 0, "message": "x", "data": {}}, status)).reaction is reaction


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"error": {"message": "invalid token", "type": "one_api_error"}}, "invalid token"),
        ({"error": "invalid token"}, "invalid token"),
        ({"message": "no", "error": {"message": "inner"}}, "no"),
        ({"error": {}}, '{"error": {}}'),
        ({"detail": "x"}, '{"detail": "x"}'),
    ],
)
def test_a_one_api_gateways_message_is_found(answer: dict[str, Any], message: str):
    found = failure(reply(answer, 401))
    assert (found.message, found.reaction, found.code) == (message, Reaction.AUTH, None)


def test_task_not_found_counts_only_in_klings_envelope():
    assert failure(reply({"code": 1201, "message": "Task not found"}, 400)).reaction is Reaction.NOT_FOUND
    assert failure(reply({"error": {"message": "Task not found"}}, 404)).reaction is Reaction.BAD_REQUEST
    assert failure(Reply(404, b"Task not found")).reaction is Reaction.UNREADABLE


# -- redirects


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
def test_a_redirect_is_never_followed_and_says_where_it_led(status: int):
    answer = reply(
        {"code": 0, "data": {}}, status, location="https://evil.example/steal?token=secret#x", retry_after="3"
    )
    found = failure(answer)
    assert (found.reaction, found.http_status, found.retry_after) == (Reaction.BAD_REQUEST, status, 3.0)
    assert "the host redirects to https://evil.example/steal. " in found.message
    assert "Set the connection's host" in found.message
    assert "secret" not in found.message


@pytest.mark.parametrize(
    ("location", "where"),
    [
        (None, "nowhere"),
        ("", "nowhere"),
        ("/login?x=y", "/login"),
        ("https://user:secret@evil.example/", "https://evil.example/"),
        ("https://evil.example:8443/a", "https://evil.example:8443/a"),
        ("http://[broken", "nowhere"),
    ],
)
def test_a_redirect_to_anything_is_described(location: str | None, where: str):
    assert f"redirects to {where}. " in failure(Reply(302, b"", location=location)).message


# -- Retry-After


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("", None),
        ("0", 0),
        ("12", 12),
        ("1.5", 1.5),
        ("-3", 0),
        (format_datetime(datetime.fromtimestamp(NOW + 30, UTC), usegmt=True), 30),
        (format_datetime(datetime.fromtimestamp(NOW - 30, UTC), usegmt=True), 0),
        ("Mon, 21 Sep 2026 14:13:50 -0000", 30),
        ("Mon, 21 Sep 2026 16:13:50 +0200", 30),
        ("soon", None),
        ("nan", None),
        ("inf", None),
        ("1e999", None),
        ("Mon, 99 Sep 2026 14:13:50 GMT", None),
        ("Mon, 21 Sep 99999 14:13:50 GMT", None),
        ("Mon, 01 Jan 0001 00:00:00 +2359", 0),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str | None, seconds: float | None):
    assert seconds_from(header, NOW) == seconds


def test_a_date_without_a_zone_is_utc_wherever_we_are(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TZ", "Asia/Shanghai")
    time.tzset()
    try:
        assert seconds_from("Mon, 21 Sep 2026 14:13:50 -0000", NOW) == 30
    finally:
        monkeypatch.undo()
        time.tzset()


# -- anything at all

junk = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=9)
    | st.sampled_from(["0", "1303"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
envelopes = st.dictionaries(
    st.sampled_from(["code", "message", "request_id", "data", "error"]), junk | st.just(0), max_size=5
)


@promise
@given(
    st.integers(100, 599),
    st.binary(max_size=40) | (envelopes | junk).map(lambda value: json.dumps(value).encode()),
    st.none() | st.text(max_size=30),
    st.none() | st.text(max_size=30),
)
def test_no_answer_at_all_is_anything_but_an_envelope_or_a_failure(
    status: int, body: bytes, retry_after: str | None, location: str | None
):
    try:
        envelope = read_envelope(Reply(status, body, retry_after, location), NOW)
    except ApiFailure as error:
        found = error.failure
        assert found.http_status == status
        assert found.message
        assert found.retry_after is None or 0 <= found.retry_after < float("inf")
        assert isinstance(found.request_id, str | None)
    else:
        assert envelope.data is not None
        assert isinstance(envelope.request_id, str | None)
        assert status < 300
