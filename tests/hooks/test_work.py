"""Which piece of work a submit belongs to."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from kling_provider.api.identity import TaskIdentity
from kling_provider.hooks.work import NO_TASK, current_work, times_cleared, work_of
from tests.contexts import StateStore


def context(*, retries: Any = 0, **ti: Any) -> dict[str, Any]:
    fields = {
        "dag_id": "d",
        "run_id": "r",
        "task_id": "t",
        "map_index": -1,
        "try_number": 1,
        "max_tries": 0,
    } | ti
    return {"ti": SimpleNamespace(**fields), "task": SimpleNamespace(retries=retries)}


def test_a_first_try_is_the_first():
    work = work_of(context(retries=2, max_tries=2))
    assert work.identity == TaskIdentity("d", "r", "t", map_index=-1)
    assert (work.is_first, work.is_retry, work.max_tries) == (True, False, 2)
    assert (work.wants_new, work.key, work.store) == (False, None, None)


@pytest.mark.parametrize(
    ("tries", "max_tries", "first", "retry"),
    [
        (1, 2, True, False),
        (2, 2, False, True),
        (2, 3, False, True),  # cleared after its first try: max_tries = 1 + 2 retries
        (1, 3, False, False),
    ],
)
def test_what_was_sent_before_is_never_taken_for_a_first_try(tries, max_tries, first, retry):
    work = work_of(context(retries=2, try_number=tries, max_tries=max_tries))
    assert (work.is_first, work.is_retry, work.max_tries) == (first, retry, max_tries)


def test_a_clear_changes_the_identity_only_when_it_asks_for_a_new_video():
    cleared = context(try_number=2, max_tries=1)
    assert work_of(cleared).identity.clear_no == 0
    assert work_of(cleared, on_clear="reattach").wants_new is False
    again = work_of(cleared, on_clear="resubmit")
    assert (again.identity.clear_no, again.wants_new) == (1, True)


def test_a_mapped_task_is_known_by_its_position_or_its_key():
    assert work_of(context(map_index=7)).identity.map_index == 7
    keyed = work_of(context(map_index=7), "s3://pictures/cat.png")
    assert keyed.identity.key == keyed.key == "s3://pictures/cat.png"
    assert work_of(context(), "").identity.key is None
    assert work_of(context(), 0).identity.key == "0"


def test_the_store_of_the_context_is_handed_on():
    store = StateStore()
    assert work_of({**context(), "task_state_store": store}).store is store


@pytest.mark.parametrize(
    "nothing",
    [None, {}, {"ti": None}, {"ti": SimpleNamespace()}, {"ti": SimpleNamespace(dag_id="d", run_id="r")}],
)
def test_outside_of_a_task_there_is_no_work(nothing):
    assert work_of(nothing, "key") is NO_TASK
    assert NO_TASK.identity is None
    assert NO_TASK.is_first


def test_times_cleared_never_goes_below_zero():
    assert times_cleared(context(retries=5, max_tries=2)) == 0
    assert times_cleared({}) == 0
    assert times_cleared(context(retries=None, max_tries=2)) == 2
    assert times_cleared(context(retries=1, max_tries=4)) == 3


def test_the_running_task_is_found(monkeypatch):
    from airflow.sdk.definitions._internal import contextmanager

    monkeypatch.setattr(contextmanager, "_CURRENT_CONTEXT", [context(dag_id="running", try_number=2)])
    work = current_work("a key")
    assert (work.identity.dag_id, work.key, work.is_first) == ("running", "a key", False)


def test_no_running_task_is_no_error():
    assert current_work("a key") is NO_TASK
