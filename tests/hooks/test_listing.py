"""The whole account is listed: every endpoint, every page, nothing twice, and never without an end."""

from __future__ import annotations

import logging
from datetime import timedelta
from types import SimpleNamespace

import pytest

from kling_provider.api.endpoints import ENDPOINTS
from kling_provider.api.errors import ApiFailure
from kling_provider.api.tasks import KlingTask, TaskList
from kling_provider.exceptions import KlingAccountError, KlingBadRequestError, KlingServerError
from kling_provider.hooks import listing
from kling_provider.hooks.kling import KlingHook
from kling_provider.hooks.listing import list_account
from kling_provider.hooks.submit_flow import find


@pytest.fixture
def pages_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "MAX_PAGE_SIZE", 2)


def book(kling, count):
    ids = [KlingHook().submit("text2video", {"prompt": "a boat"}).task_id for _ in range(count)]
    picture = {"image": "https://pictures.example/a.jpg"}
    return {*ids, KlingHook().submit("image2video", picture).task_id}


@pytest.mark.parametrize("order", ["newest", "oldest", "shuffled"])
@pytest.mark.parametrize("count", [3, 4])
def test_every_task_of_every_endpoint_is_listed(
    kling_simulator, kling_connection, pages_of_two, order, count
):
    ids = book(kling_simulator, count)
    kling_simulator.set(list_order=order)
    found = list_account(KlingHook())
    assert sorted(task.task_id for task in found.tasks) == sorted(ids)
    assert found.is_complete


def test_a_task_that_cannot_be_read_does_not_end_the_list(kling_simulator, kling_connection, pages_of_two):
    tasks = list(book(kling_simulator, 5))
    newest = max(
        (task for task in kling_simulator.tasks if task.endpoint == "text2video"),
        key=lambda one: one.created_at,
    )
    kling_simulator.change(newest.task_id, no_result=True, status="succeed")
    found = {task.task_id for task in list_account(KlingHook()).tasks}
    assert found == set(tasks) - {newest.task_id}


@pytest.mark.parametrize("order", ["newest", "oldest"])
def test_a_page_of_tasks_that_cannot_be_read_is_no_end(
    kling_simulator, kling_connection, pages_of_two, order
):
    """Nothing says in what order a list comes, nor what it tells of results that are deleted."""
    ids = book(kling_simulator, 6)
    videos = sorted(
        (task for task in kling_simulator.tasks if task.endpoint == "text2video"),
        key=lambda one: one.created_at,
    )
    odd = {one.task_id for one in (videos[:2] if order == "oldest" else videos[-2:])}
    for task_id in odd:
        kling_simulator.change(task_id, no_result=True, status="succeed")
    kling_simulator.set(list_order=order, tasks_see_classic=False)
    found = list_account(KlingHook())
    assert {task.task_id for task in found.tasks} == ids - odd
    assert found.is_complete


def test_one_list_that_is_refused_for_good_does_not_hide_the_others(
    kling_simulator, kling_connection, caplog
):
    ids = book(kling_simulator, 2)
    kling_simulator.set(tasks_see_classic=False)
    kling_simulator.fault(
        "envelope", method="GET", path=r"/v1/images/kolors-virtual-try-on$", times=0, code=1103
    )
    found = list_account(KlingHook())
    assert {task.task_id for task in found.tasks} == ids
    assert not found.is_complete
    assert "The list of kolors-virtual-try-on is left out: " in caplog.text
    kling_simulator.fault("envelope", method="GET", times=0, code=1103)
    with pytest.raises(KlingAccountError):
        list_account(KlingHook())


def test_a_list_that_cannot_be_had_now_is_asked_for_again_by_a_retry(kling_simulator, kling_connection):
    kling_simulator.fault("html", method="GET", path=r"/v1/images/kolors-virtual-try-on$", times=0)
    with pytest.raises(KlingServerError):
        list_account(KlingHook())


def test_the_pages_are_bounded_and_what_is_left_out_is_said(
    kling_simulator, kling_connection, pages_of_two, caplog
):
    book(kling_simulator, 5)
    kling_simulator.set(tasks_see_classic=False)  # or its one list tells what was left out
    with caplog.at_level(logging.WARNING):
        found = list_account(KlingHook(), max_pages=2)
    assert not found.is_complete
    assert len(found.tasks) == 5
    assert "The list of text2video goes on after 2 pages" in caplog.text


def a_new_one(prompt="a boat"):
    return KlingHook().submit("text-to-video/kling-2.6", {"prompt": prompt}, external_task_id=prompt).task_id


@pytest.mark.parametrize("tasks_see_classic", [True, False])
def test_the_list_of_the_new_dialect_is_read_page_by_page_beside_the_classic_ones(
    kling_simulator, kling_connection, monkeypatch, tasks_see_classic
):
    kling_simulator.set(tasks_see_classic=tasks_see_classic)
    classic = book(kling_simulator, 2)
    new = {a_new_one(f"boat-{number}") for number in range(5)}
    list_new = KlingHook.list_new
    monkeypatch.setattr(KlingHook, "list_new", lambda *args, **kwargs: list_new(*args, limit=2, **kwargs))
    found = list_account(KlingHook())
    assert {task.task_id: task.endpoint == "tasks" for task in found.tasks} == dict.fromkeys(
        classic, False
    ) | dict.fromkeys(new, True)
    assert len(found.tasks) == len(classic | new)
    assert found.is_complete
    assert {task.external_task_id for task in found.tasks if task.endpoint == "tasks"} == {
        f"boat-{number}" for number in range(5)
    }


def test_the_pages_of_the_new_dialect_are_bounded_too(kling_simulator, kling_connection, monkeypatch, caplog):
    kling_simulator.set(tasks_see_classic=False)
    for number in range(3):
        a_new_one(f"boat-{number}")
    list_new = KlingHook.list_new
    monkeypatch.setattr(KlingHook, "list_new", lambda *args, **kwargs: list_new(*args, limit=1, **kwargs))
    found = list_account(KlingHook(), max_pages=2)
    assert (len(found.tasks), found.is_complete) == (2, False)
    assert "The list of tasks goes on after 2 pages" in caplog.text


def test_the_list_of_the_new_dialect_is_read_further_back_than_klings_thirty_days(
    kling_simulator, kling_connection
):
    kling_simulator.set(tasks_see_classic=False)
    lost, older = a_new_one("lost"), a_new_one("older")
    for task_id, days in ((lost, 36), (older, 61)):
        kling_simulator.simulation.world.tasks[task_id].created_at -= days * 86400
    assert [task.task_id for task in list_account(KlingHook()).tasks] == [lost]
    every = list_account(KlingHook(), look_back=timedelta(days=62)).tasks
    assert {task.task_id for task in every} == {lost, older}
    asked = [request.body for request in kling_simulator.requests if request.path.endswith("/tasks")]
    assert all(isinstance(body["start_time"], str) for body in asked)


def test_a_gateway_that_does_not_know_pages_ends_all_the_same(official):
    hook = KlingHook()
    hook.submit("image2video", {"image": "https://pictures.example/a.jpg"})
    real = hook.list_tasks
    hook.list_tasks = lambda name, *, page, page_size: real(name, page=1, page_size=page_size)
    found = list_account(hook)
    assert (len(found.tasks), found.is_complete) == (1, True)


def test_only_endpoints_that_show_external_ids_are_asked(kling_simulator, monkeypatch):
    extra = {"external_id": {"text2video": "list"}}
    monkeypatch.setenv("AIRFLOW_CONN_KLING_DEFAULT", kling_simulator.connection_json("custom", **extra))
    assert not list_account(KlingHook()).is_complete
    assert {request.path for request in kling_simulator.requests} == {"/v1/videos/text2video"}
    monkeypatch.setenv("AIRFLOW_CONN_KLING_DEFAULT", kling_simulator.connection_json("custom"))
    with pytest.raises(KlingBadRequestError, match='set the extra external_id to "lookup" or "list"'):
        list_account(KlingHook())


def test_a_short_page_is_no_end_where_ids_are_found_in_the_list_only() -> None:
    """A task that cannot be read is left out of its page, and some gateways give fewer than they are asked for."""
    config = SimpleNamespace(
        external_id_for=lambda _: "list", routes=SimpleNamespace(list_tasks=lambda *page: page)
    )
    other, ours = (
        KlingTask(name, "text2video", "submitted", external_task_id=name) for name in ("other", "ours")
    )
    flow = find(config, ENDPOINTS["text2video"], "ours")
    assert next(flow).call[1] == 1
    assert flow.send(TaskList([other])).call[1] == 2
    with pytest.raises(StopIteration) as found:
        flow.send(TaskList([ours]))
    assert found.value.value == ours
    flow = find(config, ENDPOINTS["text2video"], "ours")
    next(flow)
    unreadable = TaskList()
    unreadable.left_out = 500
    assert flow.send(unreadable).call[1] == 2
    flow.send(TaskList([other]))
    with pytest.raises(ApiFailure, match="no task in the list shows ours"):
        flow.send(TaskList([other]))
