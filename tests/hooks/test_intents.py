"""The record that keeps a submit from being paid twice where it cannot be looked up."""

from __future__ import annotations

import dataclasses
import json
from types import SimpleNamespace
from typing import Any

import pytest

from kling_provider.api.auth import Bearer
from kling_provider.api.errors import Failure, Reaction
from kling_provider.api.submitting import NotThere, Refused, Submitted, Unknown
from kling_provider.api.tasks import KlingTask
from kling_provider.exceptions import KlingBadRequestError, KlingSubmissionUnknownError
from kling_provider.hooks.config import KlingConfig, read_connection
from kling_provider.hooks.intents import POSITION_KEY, Intent
from kling_provider.hooks.preparing import PreparedSubmit, prepare
from kling_provider.hooks.work import OnClear, Work, work_of
from tests.contexts import StateStore

BOOKED = Submitted(KlingTask("t-1", "text2video", "submitted"), "posted")
LOST = Failure(Reaction.SERVER, "the connection was lost")


@pytest.fixture
def config() -> KlingConfig:
    conn = SimpleNamespace(host="", port=None, schema=None, login="", password="a-secret-key")
    return read_connection("kling_default", conn, {"gateway": "dmxapi"})


def asked(config: KlingConfig, prompt: str = "waves") -> PreparedSubmit:
    return prepare(config, "text2video", {"prompt": prompt})


def work(
    store: StateStore | None,
    *,
    tries: int = 1,
    cleared: int = 0,
    key: str | None = None,
    on_clear: OnClear = "reattach",
) -> Work:
    """The work of a task with 5 retries, in its ``tries``-th try, after clears."""
    ti = SimpleNamespace(dag_id="d", run_id="r", task_id="t", try_number=tries, max_tries=5 + cleared)
    context: dict[str, Any] = {"ti": ti, "task": SimpleNamespace(retries=5), "task_state_store": store}
    return work_of(context, key, on_clear)


def earlier(intent: Intent) -> str | None:
    """What an attempt learns before it sends anything."""
    intent.read()
    return intent.earlier_task()


@pytest.fixture
def store() -> StateStore:
    return StateStore()


def test_the_first_try_finds_nothing(config, store):
    assert earlier(Intent(config, asked(config), work(store), "fail")) is None
    assert store.values == {}


def test_a_retry_takes_over_the_task_of_an_earlier_try(config, store):
    first = Intent(config, asked(config), work(store), "fail")
    first.before_post(None)
    first.after_post(BOOKED)
    assert earlier(Intent(config, asked(config), work(store, tries=2), "fail")) == "t-1"


@pytest.mark.parametrize("outcome", [None, Unknown(LOST), NotThere(LOST)])
def test_an_intent_without_an_answer_stops_the_retry(config, store, outcome):
    first = Intent(config, asked(config), work(store), "fail")
    first.before_post(None)
    if outcome is not None:
        first.after_post(outcome)
    for tries in (1, 2):  # the same try may run again after its worker was killed
        with pytest.raises(KlingSubmissionUnknownError) as caught:
            earlier(Intent(config, asked(config), work(store, tries=tries), "fail"))
        text = str(caught.value)
        assert text.startswith("Nothing was sent.")
        assert "https://www.dmxapi.cn" in text
        assert "wrote down that it would submit" in text
        assert "gateway 'dmxapi' cannot be asked" in text
        assert caught.value.endpoint == "text2video"


def test_a_refusal_erases_the_intent(config, store):
    first = Intent(config, asked(config), work(store), "fail")
    first.before_post(None)
    assert len(store.values) == 1
    first.after_post(Refused(Failure(Reaction.CONCURRENCY, "no slot", 1303, 429)))
    assert store.values == {}
    assert earlier(Intent(config, asked(config), work(store, tries=2), "fail")) is None


def test_on_unknown_retry_accepts_the_risk(config, store):
    Intent(config, asked(config), work(store), "retry").before_post(None)
    assert earlier(Intent(config, asked(config), work(store, tries=2), "retry")) is None


def test_a_clear_is_a_person_s_decision_to_send_again_once_they_were_told(config, store):
    """A try that was killed, with none after it, told nobody that something may be booked."""
    Intent(config, asked(config), work(store), "fail").before_post(None)
    for tries in (2, 3):
        with pytest.raises(KlingSubmissionUnknownError, match="clear this task to submit again"):
            earlier(Intent(config, asked(config), work(store, tries=tries, cleared=1), "fail"))
    decided = Intent(config, asked(config), work(store, tries=4, cleared=2), "fail")
    assert earlier(decided) is None
    decided.before_post(None)  # and is killed as well
    with pytest.raises(KlingSubmissionUnknownError):
        earlier(Intent(config, asked(config), work(store, tries=5, cleared=3), "fail"))


def test_a_clear_for_something_else_is_told_first_as_well(config, store):
    Intent(config, asked(config), work(store), "fail").before_post(None)
    with pytest.raises(KlingSubmissionUnknownError):
        earlier(Intent(config, asked(config, "other waves"), work(store, tries=2, cleared=1), "fail"))


@pytest.mark.parametrize("by", ["the try itself", "its retry"])
def test_whoever_tells_it_a_clear_answers_it(config, store, by):
    first = Intent(config, asked(config), work(store), "fail")
    first.before_post(None)
    if by == "the try itself":
        first.after_post(Unknown(LOST))
    else:
        with pytest.raises(KlingSubmissionUnknownError):
            earlier(Intent(config, asked(config), work(store, tries=2), "fail"))
    assert earlier(Intent(config, asked(config), work(store, tries=3, cleared=1), "fail")) is None


def test_a_clear_after_a_booked_task_finds_it_again(config, store):
    Intent(config, asked(config), work(store), "fail").after_post(BOOKED)
    cleared = work(store, tries=2, cleared=1)
    assert earlier(Intent(config, asked(config), cleared, "fail")) == "t-1"


def test_a_clear_that_asks_for_a_new_video_gets_one_and_its_retries_keep_it(config, store):
    Intent(config, asked(config), work(store), "fail").after_post(BOOKED)
    cleared = work(store, tries=2, cleared=1, on_clear="resubmit")
    again = Intent(config, asked(config), cleared, "fail")
    assert earlier(again) is None
    again.before_post(None)
    again.after_post(Submitted(KlingTask("t-2", "text2video", "submitted"), "posted"))
    retry = work(store, tries=3, cleared=1, on_clear="resubmit")
    assert earlier(Intent(config, asked(config), retry, "fail")) == "t-2"


def test_a_retry_must_ask_for_the_same(config, store):
    Intent(config, asked(config), work(store), "fail").after_post(BOOKED)
    with pytest.raises(
        KlingBadRequestError, match=r"asked text2video for something else \(prompt changed\)"
    ) as caught:
        earlier(Intent(config, asked(config, "other waves"), work(store, tries=2), "fail"))
    assert caught.value.task_id == "t-1"
    assert str(caught.value).startswith("Nothing was sent.")


def test_a_clear_may_ask_for_something_else(config, store):
    Intent(config, asked(config), work(store), "fail").after_post(BOOKED)
    changed = Intent(config, asked(config, "other waves"), work(store, tries=2, cleared=1), "fail")
    assert earlier(changed) is None


def test_each_key_has_its_own_record(config, store):
    Intent(config, asked(config), work(store, key="a"), "fail").after_post(BOOKED)
    assert earlier(Intent(config, asked(config), work(store, tries=2, key="b", cleared=1), "fail")) is None
    assert earlier(Intent(config, asked(config), work(store, tries=2), "fail")) is None
    assert earlier(Intent(config, asked(config), work(store, tries=2, key="a"), "fail")) == "t-1"


@pytest.mark.parametrize("is_booked", [True, False])
def test_a_key_that_renders_anew_in_a_retry_is_refused(config, store, is_booked):
    first = Intent(config, asked(config), work(store, key="a"), "fail")
    first.before_post(None)
    if is_booked:
        first.after_post(BOOKED)
    with pytest.raises(KlingBadRequestError, match="had idempotency_key='a', this one has 'b'") as caught:
        Intent(config, asked(config), work(store, tries=2, key="b"), "fail").read()
    assert str(caught.value).startswith("Nothing was sent.")
    assert caught.value.task_id == ("t-1" if is_booked else None)
    told = "submitted task t-1, which is paid. Collect it with KlingAdoptOperator(kling_task_id='t-1'"
    assert (told if is_booked else "may be booked and paid. Look for it in the console.") in str(caught.value)


def test_a_key_whose_submit_was_refused_may_be_another_one_in_a_retry(config, store):
    first = Intent(config, asked(config), work(store, key="a"), "fail")
    first.before_post(None)
    first.after_post(Refused(LOST))
    assert earlier(Intent(config, asked(config), work(store, tries=2, key="b"), "fail")) is None


def test_a_long_key_fits_the_store(config, store):
    Intent(config, asked(config), work(store, key="k" * 900), "fail").before_post(None)
    Intent(config, asked(config), work(store, key="k" * 899 + "x"), "fail").before_post(None)
    assert len([key for key in store.values if key != POSITION_KEY]) == 2
    assert all(len(key) <= 512 for key in store.values)


def test_the_record_is_plain_and_holds_no_secret(config, store):
    first = Intent(config, asked(config), work(store), "fail")
    first.after_post(BOOKED)
    (record,) = store.values.values()
    assert record == {
        "request": asked(config).digest,
        "fields": asked(config).field_digests,
        "external_task_id": None,
        "account": config.account,
        "max_tries": 5,
        "retries": 5,
        "posted_at": None,
        "task_id": "t-1",
    }
    assert json.loads(json.dumps(record)) == record
    assert "a-secret-key" not in json.dumps(record)


@pytest.mark.parametrize("junk", ["t-1", 7, ["t-1"]])
def test_a_record_that_is_none_is_ignored(config, store, junk):
    Intent(config, asked(config), work(store), "fail").before_post(None)
    store.values = dict.fromkeys(store.values, junk)
    assert earlier(Intent(config, asked(config), work(store, tries=2), "fail")) is None


# --- Airflow before 3.3 -------------------------------------------------------------------------------


def test_without_a_store_the_first_try_is_sent_and_leaves_nothing(config):
    intent = Intent(config, asked(config), work(None), "fail")
    assert earlier(intent) is None
    intent.before_post(None)
    intent.after_post(BOOKED)
    intent.after_post(Refused(LOST))


def test_without_a_store_a_retry_sends_nothing(config):
    with pytest.raises(KlingSubmissionUnknownError, match=r"before 3\.3"):
        earlier(Intent(config, asked(config), work(None, tries=2), "fail"))


@pytest.mark.parametrize("cleared", [0, 1])
def test_without_a_store_only_the_first_try_is_sent(config, cleared):
    with pytest.raises(KlingSubmissionUnknownError, match="start a new DAG run"):
        earlier(Intent(config, asked(config), work(None, tries=2, cleared=cleared), "fail"))


def test_without_a_store_a_retry_that_accepts_the_risk_is_sent(config):
    assert earlier(Intent(config, asked(config), work(None, tries=2), "retry")) is None


# --- the account -------------------------------------------------------------------------------------


def test_a_connection_that_leads_elsewhere_is_refused_before_it_pays(config, store):
    Intent(config, asked(config), work(store), "fail").before_post(None)
    other = dataclasses.replace(config, credentials=Bearer("another-key"))
    assert other.account != config.account
    intent = Intent(other, asked(other), work(store, tries=2), "retry")
    intent.read()
    with pytest.raises(KlingBadRequestError, match=r"was changed to another key.*Put the old key back"):
        intent.before_post(None)


@pytest.mark.parametrize("how", ["found", "cleared", "same"])
def test_a_new_key_of_the_same_account_goes_on(config, store, how):
    Intent(config, asked(config), work(store), "fail").before_post(None)
    other = config if how == "same" else dataclasses.replace(config, credentials=Bearer("a-new-key"))
    intent = Intent(other, asked(other), work(store, tries=2, cleared=int(how == "cleared")), "retry")
    intent.read()
    intent.account_is_known = how == "found"
    intent.before_post(None)
