"""Which answer leads to which reaction, and what a person on call can read in it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kling_provider.api.errors import (
    KLING_CODES,
    ApiFailure,
    Failure,
    Reaction,
    reaction_for,
    shorten,
)
from kling_provider.exceptions import EXCEPTIONS, KlingServerError, from_failure
from tests.api.properties import promise

CODES = {
    1000: Reaction.AUTH,
    1001: Reaction.AUTH,
    1002: Reaction.AUTH,
    1003: Reaction.RESIGN,
    1004: Reaction.RESIGN,
    1100: Reaction.ACCOUNT,
    1101: Reaction.ACCOUNT,
    1102: Reaction.ACCOUNT,
    1103: Reaction.ACCOUNT,
    1200: Reaction.BAD_REQUEST,
    1201: Reaction.BAD_REQUEST,
    1202: Reaction.BAD_REQUEST,
    1203: Reaction.BAD_REQUEST,
    1300: Reaction.CONTENT_POLICY,
    1301: Reaction.CONTENT_POLICY,
    1302: Reaction.RATE,
    1303: Reaction.CONCURRENCY,
    1304: Reaction.ACCOUNT,
    5000: Reaction.SERVER,
    5001: Reaction.SERVER,
    5002: Reaction.SERVER,
}


@pytest.mark.parametrize(("code", "reaction"), CODES.items())
def test_a_known_code_decides_whatever_the_http_status(code: int, reaction: Reaction):
    for http_status in (200, 400, 401, 403, 404, 429, 500, 503):
        assert reaction_for(code, http_status, "no") is reaction, http_status


def test_no_code_is_left_out():
    assert set(KLING_CODES) == set(CODES)


@pytest.mark.parametrize(
    ("http_status", "reaction"),
    [
        (400, Reaction.BAD_REQUEST),
        (401, Reaction.AUTH),
        (403, Reaction.ACCOUNT),
        (404, Reaction.BAD_REQUEST),
        (407, Reaction.AUTH),
        (408, Reaction.SERVER),
        (429, Reaction.RATE),
        (499, Reaction.BAD_REQUEST),
        (500, Reaction.SERVER),
        (502, Reaction.SERVER),
        (524, Reaction.SERVER),
    ],
)
@pytest.mark.parametrize("code", [None, 0, 4711])
def test_without_a_known_code_the_http_status_decides(code: int | None, http_status: int, reaction: Reaction):
    assert reaction_for(code, http_status, "no") is reaction


@pytest.mark.parametrize(
    ("code", "reaction"), [(4999, Reaction.BAD_REQUEST), (5000, Reaction.SERVER), (5999, Reaction.SERVER)]
)
def test_an_unknown_code_of_the_server_range_is_a_server_error(code: int, reaction: Reaction):
    assert reaction_for(code, 200, "no") is reaction


@pytest.mark.parametrize("code", [1200, 1201, 1203])
@pytest.mark.parametrize("message", ["Task not found", "TASK NOT FOUND", "sorry, task not found: 12"])
def test_an_unknown_task_is_told_from_a_bad_request_by_its_text(code: int, message: str):
    assert reaction_for(code, 400, message) is Reaction.NOT_FOUND


@pytest.mark.parametrize("code", [None, 0, 1002, 1202, 1303, 5000])
def test_task_not_found_counts_only_in_an_envelope_of_kling_that_can_mean_it(code: int | None):
    assert reaction_for(code, 400, "Task not found") is not Reaction.NOT_FOUND


@pytest.mark.parametrize(
    ("reaction", "transient", "unclear"),
    [
        (Reaction.BAD_REQUEST, False, False),
        (Reaction.NOT_FOUND, False, False),
        (Reaction.CONTENT_POLICY, False, False),
        (Reaction.AUTH, False, False),
        (Reaction.RESIGN, False, False),
        (Reaction.ACCOUNT, False, False),
        (Reaction.RATE, True, False),
        (Reaction.CONCURRENCY, True, False),
        (Reaction.SERVER, True, True),
        (Reaction.UNREADABLE, True, True),
    ],
)
def test_what_may_be_asked_again_and_what_leaves_a_submit_unclear(
    reaction: Reaction, transient: bool, unclear: bool
):
    failure = Failure(reaction, "no")
    assert (failure.is_transient, failure.leaves_submit_unclear) == (transient, unclear)
    assert not Failure(reaction, "no", never_sent=True).leaves_submit_unclear


@pytest.mark.parametrize(
    ("reaction", "message", "is_duplicate"),
    [
        (Reaction.BAD_REQUEST, "External_task_id af1-x already exists", True),
        (Reaction.BAD_REQUEST, "EXTERNAL_TASK_ID AF1-X ALREADY EXISTS", True),
        (Reaction.BAD_REQUEST, "model is not supported", False),
        (Reaction.SERVER, "External_task_id af1-x already exists", False),
    ],
)
def test_a_taken_id_is_recognised(reaction: Reaction, message: str, is_duplicate: bool):
    assert Failure(reaction, message).is_duplicate_id is is_duplicate


@pytest.mark.parametrize("code", sorted(KLING_CODES))
def test_a_described_failure_tells_message_code_status_request_id_and_advice(code: int):
    row = KLING_CODES[code]
    text = Failure(row.reaction, "what Kling says", code, row.http_status, "req-77").describe()
    for part in ("what Kling says", f"code {code}", f"HTTP {row.http_status}", "request_id req-77"):
        assert part in text
    assert row.meaning in text
    assert row.advice in text


def test_a_described_failure_says_nothing_of_what_it_does_not_know():
    assert Failure(Reaction.SERVER, "cut").describe() == "cut"
    assert Failure(Reaction.SERVER, "cut", http_status=502).describe() == "cut [HTTP 502]"
    assert Failure(Reaction.BAD_REQUEST, "no", code=4711).describe() == "no [code 4711]"


def test_a_carried_failure_reads_like_the_failure():
    failure = Failure(Reaction.RATE, "slow", 1302, 429, "r")
    assert str(ApiFailure(failure)) == failure.describe()
    assert ApiFailure(failure).failure is failure


@pytest.mark.parametrize("reaction", list(Reaction))
def test_every_reaction_has_its_exception_with_the_numbers_in_it(reaction: Reaction):
    failure = Failure(reaction, "no", 4711, 418, "req-1")
    error = from_failure(failure, "Asking", endpoint="image2video", task_id="1", external_task_id="e")
    assert type(error) is EXCEPTIONS[reaction]
    assert (error.code, error.http_status, error.request_id) == (4711, 418, "req-1")
    assert (error.endpoint, error.task_id, error.external_task_id) == ("image2video", "1", "e")
    assert str(error) == "Asking failed: no [code 4711, HTTP 418, request_id req-1]"


def test_an_unreadable_answer_is_a_server_error():
    assert issubclass(EXCEPTIONS[Reaction.UNREADABLE], KlingServerError)


@pytest.mark.parametrize(
    ("value", "limit", "shown"),
    [
        ("abc", 3, "abc"),
        ("abcd", 3, "abc… (4 characters)"),
        ("a\n  b\tc", 10, "a b c"),
        (b"secret picture", 32, "<14 bytes>"),
        (None, 10, "None"),
        ({"a": 1}, 10, "{'a': 1}"),
    ],
)
def test_a_shown_value_is_short_and_on_one_line(value: object, limit: int, shown: str):
    assert shorten(value, limit) == shown


@promise
@given(st.text(), st.integers(1, 50))
def test_no_more_than_the_limit_is_ever_shown(text: str, limit: int):
    shown = shorten(text, limit)
    assert shown.startswith(" ".join(text.split())[:limit])
    assert len(shown) <= limit + len("… (9999 characters)")
    assert "\n" not in shown
