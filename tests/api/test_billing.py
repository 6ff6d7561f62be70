"""Kling's billing rows are read whatever is in them, and held against tasks, storage and the price list."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kling_provider.api.audit import audit, uncollected
from kling_provider.api.billing import BILLING_PATHS, MAX_ROWS, BillingRow, decode_page
from kling_provider.api.calls import Routes
from kling_provider.api.endpoints import ENDPOINTS
from kling_provider.api.errors import ApiFailure, InvalidRequest, Reaction
from kling_provider.api.identity import TaskIdentity, external_task_id, identity_of, namespace_prefix
from kling_provider.api.replies import Envelope
from kling_provider.api.tasks import KlingTask, KlingVideo
from tests.api.properties import promise

FACTS = json.loads((Path(__file__).parent.parent / "data" / "kling-api.json").read_text())
NOW = datetime(2026, 10, 31, tzinfo=UTC)
DETAIL = {
    "task_id": "1",
    "api_key_name": "key",
    "product_function": "image2video",
    "model_name": "kling-v2-6",
    "resolution": "1080p",
    "duration": "5.04",
    "refer_video_input": "",
    "video_sound": "native",
    "voice_control": "off",
    "deduction_time": "1790000000000",
    "unit_before_deduction": "100",
    "deduction_amount": "5",
    "unit_after_deduction": "95",
}


def page(*details: Any, **rest: Any) -> dict[str, Any]:
    return {
        "result": {"detail": list(details), "count": len(details)},
        "next_cursor": "",
        "has_more": False,
        **rest,
    }


def row(kind: str = "package", **changes: Any) -> BillingRow:
    (only,) = decode_page(page({**DETAIL, **changes}), kind, "r").rows
    return only


# --- what is sent, and how it is read -------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["package", "balance"])
def test_the_billing_is_asked_as_the_facts_say(kind: str) -> None:
    (fact,) = [one for one in FACTS["endpoints"] if one["name"] == f"account/billing/{kind}"]
    start = datetime(2026, 9, 21, 14, 13, 20, tzinfo=UTC)
    call = Routes("/kling").billing(kind, start, start + timedelta(seconds=1), "next", 7)
    assert (call.method, call.path) == (fact["query"]["method"], "/kling" + fact["query"]["path"])
    assert call.body == {
        "start_time": "1790000000000",
        "end_time": "1790000001000",
        "limit": 7,
        "cursor": "next",
    }
    assert set(call.body) <= {field["name"] for field in fact["fields"]}
    (limit,) = [field for field in fact["fields"] if field["name"] == "limit"]
    assert (limit["max"], limit["default"]) == (MAX_ROWS, MAX_ROWS)
    first = Routes().billing(kind, start, start)
    assert first.body is not None
    assert "cursor" not in first.body
    assert first.body["limit"] == MAX_ROWS


def test_a_post_that_only_reads_may_be_repeated_and_a_create_may_not() -> None:
    for kind in BILLING_PATHS:
        assert Routes().billing(kind, NOW, NOW).may_repeat
    for endpoint in ENDPOINTS.values():
        assert not Routes().submit(endpoint, {}).may_repeat


@pytest.mark.parametrize("limit", [0, 501, -1, 1.5, "2", None])
def test_a_limit_beyond_the_vendors_is_refused(limit: Any) -> None:
    with pytest.raises(InvalidRequest, match=r"limit=.*: use a whole number from 1 to 500"):
        Routes().billing("package", NOW, NOW, None, limit)


def test_a_kind_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(InvalidRequest, match="kind='pack': use one of package, balance"):
        Routes().billing("pack", NOW, NOW)


def test_every_field_of_a_package_row_is_read() -> None:
    assert row() == BillingRow(
        "1",
        product="image2video",
        model_name="kling-v2-6",
        mode="pro",
        duration=Decimal("5.04"),
        sound="on",
        units=Decimal(5),
        deducted_at=datetime(2026, 9, 21, 14, 13, 20, tzinfo=UTC),
    )


def test_a_balance_row_carries_money_and_no_units() -> None:
    paid = row("balance", cash_type="balance", list_price="0.70", currency="USD")
    assert (paid.units, paid.amount, paid.currency) == (None, Decimal("0.70"), "USD")


@pytest.mark.parametrize(
    ("told", "mode", "sound"),
    [
        ({"resolution": "720p", "video_sound": "off"}, "std", "off"),
        ({"resolution": "4K", "video_sound": "original"}, "4k", "original"),
        ({"resolution": "8k", "voice_control": "true"}, "8k", "voice"),
        ({"resolution": "", "video_sound": ""}, None, None),
    ],
)
def test_words_become_those_of_a_request_or_stand_as_they_are(
    told: dict[str, str], mode: str | None, sound: str | None
) -> None:
    assert (row(**told).mode, row(**told).sound) == (mode, sound)


@pytest.mark.parametrize("name", sorted(DETAIL))
@pytest.mark.parametrize("odd", [None, "", "?", [], {}, "NaN", True, -1])
@pytest.mark.parametrize("kind", ["package", "balance"])
def test_one_odd_field_does_not_hide_the_row(name: str, odd: Any, kind: str) -> None:
    assert isinstance(row(kind, **{name: odd}), BillingRow)


def test_an_empty_row_is_a_row_and_no_row_is_left_out_with_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert decode_page(page({}, "text"), "package", "r").rows == (BillingRow(""),)
    assert "A row of the billing is left out" in caplog.text


@pytest.mark.parametrize("data", [{}, {"result": None}, {"result": {}}, {"result": {"detail": None}}])
def test_an_account_without_rows_is_read(data: dict[str, Any]) -> None:
    assert decode_page(data, "package", "r").rows == ()


@pytest.mark.parametrize("data", [[], "text", 1, {"result": [1]}, {"result": {"detail": {"a": 1}}}])
def test_what_is_no_page_is_unreadable(data: Any) -> None:
    with pytest.raises(ApiFailure) as caught:
        Routes().billing("package", NOW, NOW).decode(Envelope(data, "r"))
    assert (caught.value.failure.reaction, caught.value.failure.request_id) == (Reaction.UNREADABLE, "r")


def test_more_rows_need_a_cursor() -> None:
    assert decode_page(page(has_more=True, next_cursor="a"), "package", "r").next_cursor == "a"
    assert decode_page(page(has_more=False, next_cursor="a"), "package", "r").next_cursor is None
    with pytest.raises(ApiFailure, match="no next_cursor"):
        decode_page(page(has_more=True), "package", "r")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@promise
@given(details=st.lists(st.fixed_dictionaries({}, optional=dict.fromkeys(DETAIL, JSON)), max_size=4))
def test_whatever_stands_in_the_rows_they_are_read_and_audited_to_json(details: list[Any]) -> None:
    for kind in BILLING_PATHS:
        rows = decode_page(page(*details), kind, "r").rows
        assert len(rows) == len(details)
        tasks = [task(one.task_id, number) for number, one in enumerate(rows)]
        json.dumps(audit(rows, tasks, set()).to_dict(), allow_nan=False)


# --- whose task it is -----------------------------------------------------------------------------------


@promise
@given(namespace=st.text(max_size=10), number=st.integers(0, 99))
def test_a_derived_id_tells_its_namespace_and_its_work(namespace: str, number: int) -> None:
    mine = external_task_id(namespace, work(number), "a" * 12)
    assert mine.startswith(namespace_prefix(namespace))
    assert not mine.startswith(namespace_prefix(namespace + "x"))
    assert identity_of(mine) == identity_of(external_task_id("other", work(number), "b" * 12))
    assert identity_of(mine) != identity_of(external_task_id(namespace, work(number + 1), "a" * 12))


@pytest.mark.parametrize("other", ["", "mine", "af1-", "af1-4oymiq-xu6hlswfqjb4pure", "af2-4oymiq-x-y"])
def test_another_id_names_no_work(other: str) -> None:
    assert identity_of(other) is None


# --- what nobody has stored ------------------------------------------------------------------------------


def work(number: int, **changes: int) -> TaskIdentity:
    return TaskIdentity("dag", "run", "submit", map_index=number, **changes)


def task(
    task_id: str,
    number: int | None = None,
    *,
    status: str = "succeed",
    namespace: str = "",
    age: float | None = 1,
    digest: str = "a" * 12,
    **changes: Any,
) -> KlingTask:
    """A task that ended ``age`` days ago, with a video if it succeeded."""
    external_id = None if number is None else external_task_id(namespace, work(number), digest)
    ended = None if age is None else NOW - timedelta(days=age)
    videos = (KlingVideo(f"{task_id}-video", "https://files.example/a.mp4"),) if status == "succeed" else ()
    told = {"external_task_id": external_id, "updated_at": ended, "videos": videos, **changes}
    return KlingTask(task_id, "image2video", status, **told)


def without_files(task_id: str, number: int) -> KlingTask:
    """A custom voice: it is used at Kling, by its id."""
    voice = {"voice_id": "829", "voice_name": "me", "trial_url": "https://files.example/trial.mp3"}
    return replace(task(task_id, number), endpoint="custom-voices", videos=(), voices=(voice,))


def left(
    tasks: list[KlingTask], stored: set[str] | None = None, older: float = 0.25, younger: float = 30
) -> list[str]:
    found = uncollected(tasks, "", stored or set(), NOW, timedelta(days=older), timedelta(days=younger))
    return [one.task_id for one in found]


def test_only_succeeded_tasks_of_the_namespace_that_are_not_stored_are_left() -> None:
    tasks = [
        task("stored", 1),
        task("missing", 2),
        task("failed", 3, status="failed"),
        task("running", 4, status="processing"),
        task("odd", 5, status="queueing"),
        task("foreign", 6, namespace="other"),
        task("nobody's"),
        KlingTask("by hand", "image2video", "succeed", external_task_id="by-hand", updated_at=NOW),
    ]
    assert left(tasks, {"stored"}) == ["missing"]


def test_what_has_no_files_is_not_left() -> None:
    element = replace(task("element", 2), videos=(), elements=({"element_id": "1"},))
    picture = replace(task("picture", 3), videos=(), images=({"url": "https://files.example/a.png"},))
    assert left([without_files("voice", 1), element, picture]) == ["picture"]


def test_age_counts_from_the_end_and_the_oldest_comes_first() -> None:
    tasks = [task(f"{age}", number, age=age) for number, age in enumerate([0.2, 0.25, 5, 29.9, 30, 31])]
    assert left(tasks) == ["29.9", "5", "0.25"]
    assert left(tasks, older=30, younger=37) == ["31", "30"]


def test_a_task_told_twice_is_left_once_and_one_without_times_is_not_lost() -> None:
    assert left([task("1", 1, age=None), task("1", 1, age=None)]) == ["1"]


# --- the audit -------------------------------------------------------------------------------------------


def bill(task_id: str, units: str = "1.5", **changes: Any) -> BillingRow:
    told = {"resolution": "720p", "video_sound": "off", "deduction_amount": units, **changes}
    return row(task_id=task_id, **told)


def test_paid_and_stored_is_in_order() -> None:
    report = audit([bill("1")], [task("1", 1)], {"1"})
    assert not any(report.findings.values())
    assert (report.paid.tasks, report.paid.units, report.estimates.compared) == (1, Decimal("1.5"), 1)
    assert report.to_dict()["paid"] == {"tasks": 1, "units": "1.5", "amounts": {}}


def test_paid_and_stored_nowhere_is_found_with_its_units() -> None:
    report = audit([bill("1"), bill("2")], [task("1", 1), task("2", 2)], {"1"})
    (missing,) = report.not_collected
    assert (missing.task_id, missing.units) == ("2", Decimal("1.5"))
    assert missing.ended_at == NOW - timedelta(days=1)


def test_what_still_runs_or_has_just_ended_is_not_missed_yet() -> None:
    tasks = [task("1", 1, status="processing"), task("2", 2, age=0.1), task("3", 3), task("4", 4, age=0.1)]
    rows = [bill(one.task_id) for one in tasks]
    report = audit(rows, tasks, {"4"}, settled_before=NOW - timedelta(hours=6))
    assert [one.task_id for one in report.not_collected] == ["3"]
    assert report.pending == 2


def test_what_has_no_files_is_neither_missed_nor_pending() -> None:
    report = audit([bill("1", "0.05"), bill("2")], [without_files("1", 1), task("2", 2)], set())
    assert [one.task_id for one in report.not_collected] == ["2"]
    assert (report.paid.tasks, report.pending) == (2, 0)


def test_two_paid_tasks_with_one_id_are_paid_twice() -> None:
    tasks = [task("1", 1), task("2", 1), task("3", 2)]
    report = audit([bill(one.task_id) for one in tasks], tasks, {"1", "2", "3"})
    (twice,) = report.paid_twice
    assert twice.is_same_request
    assert [one.task_id for one in twice.tasks] == ["1", "2"]


def test_two_paid_requests_of_one_work_are_told_as_such() -> None:
    tasks = [task("1", 1), task("2", 1, digest="b" * 12)]
    (twice,) = audit([bill("1"), bill("2")], tasks, {"1", "2"}).paid_twice
    assert not twice.is_same_request


def test_a_failed_task_beside_the_paid_one_is_no_second_payment() -> None:
    tasks = [task("1", 1, status="failed"), task("2", 1)]
    assert audit([bill("2")], tasks, {"2"}).paid_twice == ()
    assert audit([bill("1", "0"), bill("2")], tasks, {"2"}).findings == dict.fromkeys(
        ("paid, not collected", "paid twice", "charged although failed", "charge is not the estimate"), 0
    )


def test_a_new_number_after_a_clear_or_a_failure_is_other_work() -> None:
    ids = [
        external_task_id("", work(1, **change), "a" * 12) for change in ({}, {"clear_no": 1}, {"fail_no": 1})
    ]
    tasks = [
        KlingTask(str(number), "image2video", "succeed", external_task_id=one)
        for number, one in enumerate(ids)
    ]
    assert audit([bill("0"), bill("1"), bill("2")], tasks, {"0", "1", "2"}).paid_twice == ()


def test_a_payment_of_another_period_for_the_same_work_is_seen() -> None:
    tasks = [task("1", 1, age=20, units=Decimal("1.5")), task("2", 1)]
    (twice,) = audit([bill("2")], tasks, {"1", "2"}).paid_twice
    assert [one.task_id for one in twice.tasks] == ["1", "2"]
    assert audit([], tasks, {"1", "2"}).paid_twice == ()


def test_a_charge_for_a_failed_task_is_found() -> None:
    report = audit([bill("1")], [task("1", 1, status="failed")], set())
    assert [one.task_id for one in report.failed] == ["1"]
    assert (report.not_collected, report.pending) == ((), 0)


def test_a_charge_that_is_not_the_list_price_is_found_and_summed() -> None:
    tasks = [task("1", 1), task("2", 2), task("3", 3)]
    rows = [bill("1"), bill("2", "2.5"), bill("3", model_name="kling-unheard-of")]
    estimates = audit(rows, tasks, {"1", "2", "3"}).estimates
    (difference,) = estimates.differences
    assert (difference.task_id, difference.estimated, difference.charged) == (
        "2",
        Decimal("1.5"),
        Decimal("2.5"),
    )
    assert (estimates.compared, estimates.without_price) == (2, 1)
    assert (estimates.estimated, estimates.charged) == (Decimal("3.0"), Decimal("4.0"))


@pytest.mark.parametrize(
    ("told", "units"),
    [
        ({"resolution": "1080p", "video_sound": "native"}, "5"),
        ({"resolution": "1080p", "video_sound": "native", "voice_control": "on"}, "6"),
        ({"resolution": "1080p", "duration": "10.1"}, "5"),
        ({"model_name": "kling-v3", "resolution": "4k", "duration": "3.041"}, "9"),
        ({"model_name": "kling-v2-1-master", "resolution": "1080p"}, "10"),
        ({"model_name": "kling-v1-6", "video_sound": None, "duration": "4.98"}, "2"),
    ],
)
def test_the_row_says_enough_to_ask_the_price_list(told: dict[str, Any], units: str) -> None:
    estimates = audit([bill("1", units, **told)], [task("1", 1)], {"1"}).estimates
    assert (estimates.compared, estimates.differences) == (1, ())


@pytest.mark.parametrize(
    ("endpoint", "told", "units"),
    [
        ("motion-control", {"model_name": "kling-v3", "duration": "8.04", "video_sound": "original"}, "7.2"),
        ("avatar", {"resolution": "1080p", "duration": "12.4"}, "9.6"),
        ("video-extend", {"model_name": "kling-v1", "duration": "4.5"}, "1"),
        ("advanced-lip-sync", {"duration": "5.04"}, "0.5"),
        ("text2video", {"resolution": "1080p", "voice_control": "on"}, "5"),  # it has no voices: sound alone
    ],
)
def test_the_price_is_that_of_the_endpoint(endpoint: str, told: dict[str, Any], units: str) -> None:
    paid = replace(task("1", 1), endpoint=endpoint)
    estimates = audit([bill("1", units, **told)], [paid], {"1"}).estimates
    assert (estimates.compared, estimates.differences) == (1, ())


@pytest.mark.parametrize(
    ("endpoint", "told"),
    [
        ("omni-video", {"model_name": "kling-v3-omni"}),  # with a reference video or without
        ("images/generations", {"model_name": "kling-v3"}),  # of how many pictures
        ("image2video", {"video_sound": "humming"}),
        ("image2video", {"duration": "0"}),
    ],
)
def test_where_a_row_does_not_tell_the_price_nothing_is_compared(endpoint: str, told: dict[str, Any]) -> None:
    paid = replace(task("1", 1), endpoint=endpoint)
    estimates = audit([bill("1", "99", **told)], [paid], {"1"}).estimates
    assert (estimates.compared, estimates.without_price) == (0, 1)


NEW = {"resolution": "1080p", "video_sound": "native"}


@pytest.mark.parametrize(
    ("told", "units"),
    [
        ({**NEW, "product_function": "image-to-video/kling-2.6", "model_name": "kling-2.6"}, "5"),
        ({**NEW, "product_function": "image-to-video", "model_name": "kling-2.6"}, "5"),
        ({**NEW, "product_function": "image-to-video", "model_name": "kling-v2-6"}, "5"),
        (
            {**NEW, "product_function": "Image to Video", "model_name": "kling-2.6", "voice_control": "on"},
            "6",
        ),
        ({**NEW, "product_function": "text2video", "model_name": "kling-v3", "video_sound": "off"}, "4.0"),
        ({"product_function": "text-to-video", "model_name": "kling-3.0-turbo"}, "4.0"),
        ({"product_function": "motion-control", "model_name": "kling-2.6"}, "2.5"),
    ],
)
def test_of_the_new_dialect_the_row_tells_the_endpoint(told: dict[str, Any], units: str) -> None:
    paid = replace(task("1", 1), endpoint="tasks")
    estimates = audit([bill("1", units, **told)], [paid], {"1"}).estimates
    assert (estimates.compared, estimates.unnamed, estimates.differences) == (1, 0, ())
    assert audit([bill("1", "99", **told)], [paid], {"1"}).estimates.differences


@pytest.mark.parametrize("product", ["", "video generation", "image", "/", "text-to-video/kling-9"])
def test_where_not_even_the_row_tells_the_endpoint_that_is_counted(product: str) -> None:
    paid = replace(task("1", 1), endpoint="tasks")
    row_of_it = bill("1", product_function=product, model_name="kling-2.6")
    estimates = audit([row_of_it, bill("2")], [paid, task("2", 2)], {"1", "2"}).estimates
    assert (estimates.compared, estimates.without_price, estimates.unnamed) == (1, 1, 1)


def test_an_omni_video_of_the_new_dialect_has_an_endpoint_and_no_price() -> None:
    paid = replace(task("1", 1), endpoint="tasks")
    row_of_it = bill("1", product_function="omni-video", model_name="kling-3.0-omni")
    estimates = audit([row_of_it], [paid], {"1"}).estimates
    assert (estimates.compared, estimates.without_price, estimates.unnamed) == (0, 1, 0)


def test_a_length_without_end_is_compared_with_nothing() -> None:
    assert audit([bill("1", duration="1e999")], [task("1", 1)], {"1"}).estimates.compared == 0


def test_a_task_paid_from_two_packs_is_compared_as_one() -> None:
    report = audit([bill("1", "1"), bill("1", "0.5")], [task("1", 1)], {"1"})
    assert (report.paid.tasks, report.paid.units, report.estimates.differences) == (1, Decimal("1.5"), ())


def test_what_was_paid_back_is_not_paid() -> None:
    report = audit([bill("1"), bill("1", "-1.5")], [task("1", 1)], set())
    assert (report.paid.tasks, report.not_collected) == (0, ())


def test_money_is_summed_per_currency_and_not_held_against_units() -> None:
    rows = [
        row("balance", task_id="1", list_price="0.7", currency="USD"),
        row("balance", task_id="2", list_price="5", currency="CNY"),
    ]
    report = audit(rows, [task("1", 1), task("2", 2)], {"1"})
    assert report.paid.amounts == {"USD": Decimal("0.7"), "CNY": Decimal(5)}
    assert (report.estimates.compared, report.estimates.without_price) == (0, 2)
    (missing,) = report.not_collected
    assert (missing.units, missing.amounts) == (None, {"CNY": Decimal(5)})


def test_what_is_not_ours_is_counted_apart() -> None:
    tasks = [task("1", 1, namespace="other"), task("2"), task("3", 3, namespace="team")]
    rows = [bill("1"), bill("2", "4"), bill("3"), bill("gone", "2"), bill("", "1")]
    report = audit(rows, tasks, set(), namespace="team")
    assert (report.rows, report.paid.tasks) == (5, 1)
    assert (report.not_ours.tasks, report.not_ours.units) == (2, Decimal("5.5"))
    assert (report.unlisted.tasks, report.unlisted.units) == (2, Decimal(3))
