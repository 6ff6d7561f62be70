"""What the end of a submit becomes: a task, or an exception with the next step."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from kling_provider.api.errors import Failure, Reaction
from kling_provider.api.submitting import NotThere, Refused, Submitted, Unknown, UsedUp
from kling_provider.api.tasks import KlingTask
from kling_provider.exceptions import (
    EXCEPTIONS,
    KlingBadRequestError,
    KlingConcurrencyLimitError,
    KlingServerError,
    KlingSubmissionUnknownError,
)
from kling_provider.hooks.config import read_connection
from kling_provider.hooks.outcomes import task_or_raise
from kling_provider.hooks.preparing import prepare

TASK = KlingTask("t-1", "text2video", "processing")
FAILED = KlingTask("t-1", "text2video", "failed", status_message="too many cats")
LOST = Failure(Reaction.SERVER, "cut off", 5000, 500, "request-1")


def end(outcome: Any, *, gateway: str = "official", host: str = "", **options: Any) -> KlingTask:
    conn = SimpleNamespace(host=host, port=None, schema=None, login="", password="key")
    config = read_connection("kling_default", conn, {"gateway": gateway})
    return task_or_raise(outcome, config, prepare(config, "text2video", {"prompt": "a"}), "mine-1", **options)


@pytest.mark.parametrize("how", ["posted", "unclear", "existed"])
def test_a_submitted_task_is_given(how):
    assert end(Submitted(TASK, how)) is TASK


def test_a_task_that_was_there_before_is_refused_on_request_only():
    for how in ("posted", "unclear"):
        assert end(Submitted(TASK, how), refuse_existing=True) is TASK
    with pytest.raises(KlingBadRequestError) as caught:
        end(Submitted(TASK, "existed"), refuse_existing=True)
    text = str(caught.value)
    assert (
        "external_task_id='mine-1' is taken: task t-1 of text2video, of unknown age, status processing"
        in text
    )
    assert "on_existing='adopt'" in text
    assert (caught.value.task_id, caught.value.external_task_id) == ("t-1", "mine-1")


def test_the_age_of_a_task_that_exists_is_told():
    booked = datetime.now(UTC) - timedelta(seconds=90)
    old = KlingTask("t-1", "text2video", "succeed", created_at=booked)
    with pytest.raises(KlingBadRequestError, match=r"9[01] s old, status succeed"):
        end(Submitted(old, "existed"), refuse_existing=True)


def test_a_task_that_failed_before_tells_why():
    with pytest.raises(
        KlingBadRequestError, match="task t-1 of text2video, which Kling has failed"
    ) as caught:
        end(UsedUp(FAILED))
    assert "(too many cats)" in str(caught.value)
    with pytest.raises(KlingBadRequestError, match="no reason told"):
        end(UsedUp(KlingTask("t-1", "text2video", "failed")))


@pytest.mark.parametrize("reaction", list(Reaction))
def test_a_refusal_is_the_class_of_its_reaction(reaction):
    failure = Failure(reaction, "no", 1234, 400, "request-1")
    with pytest.raises(EXCEPTIONS[reaction]) as caught:
        end(Refused(failure))
    assert type(caught.value) is EXCEPTIONS[reaction]
    assert "Submitting to text2video (external_task_id mine-1) failed: no" in str(caught.value)
    assert (caught.value.code, caught.value.http_status, caught.value.request_id) == (1234, 400, "request-1")


def test_a_submit_that_left_no_trace_can_be_tried_again():
    with pytest.raises(KlingServerError, match="A retry looks again before it sends") as caught:
        end(NotThere(LOST))
    assert type(caught.value) is KlingServerError
    assert "request-1" in str(caught.value)
    assert caught.value.external_task_id == "mine-1"


@pytest.mark.parametrize(
    ("gateway", "host", "console"),
    [
        ("official", "", "https://kling.ai/dev"),
        ("dmxapi", "", "https://www.dmxapi.cn"),
        ("custom", "https://kling.example.com", "https://kling.example.com"),
    ],
)
def test_an_unknown_submit_says_where_to_look(gateway, host, console):
    with pytest.raises(KlingSubmissionUnknownError) as caught:
        end(Unknown(LOST), gateway=gateway, host=host)
    text = str(caught.value)
    assert f"({console})" in text
    assert f"Gateway {gateway!r}" in text
    assert "cut off [code 5000, HTTP 500, request_id request-1]" in text


def test_an_unknown_submit_may_be_tried_again_on_request():
    with pytest.raises(KlingServerError):
        end(Unknown(LOST), on_unknown="retry")
    with pytest.raises(KlingConcurrencyLimitError):
        end(Unknown(Failure(Reaction.CONCURRENCY, "x")), on_unknown="retry")
