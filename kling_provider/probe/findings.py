"""What a probe has found out, in words and as plain values. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kling_provider.api.errors import Failure, Reaction, shorten
from kling_provider.api.tasks import KlingTask
from kling_provider.probe.concluding import FEWEST_IN_ORDER, Order, found_for_free, order_of, said
from kling_provider.probe.plan import Plan, reusable_id
from kling_provider.probe.seen import Free, Paid, Sighting


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found out, or was not.

    :param key: its name for programs.
    :param title: its name for people.
    :param text: what was found.
    :param facts: the same as plain values.
    """

    key: str
    title: str
    text: str
    facts: Mapping[str, Any] = field(default_factory=dict)


def findings(free: Free, paid: Paid | None, plan: Plan | None) -> list[Finding]:
    """Say what was found out.

    :param free: what the free part showed.
    :param paid: what the paid part showed; None if nothing was submitted.
    :param plan: what was or would have been submitted; None if the connection does not work.
    """
    found = [Finding("connection", "connection", free.says, {"works": free.works})]
    if not free.works or plan is None:
        return found
    found += [_pages(free), _order(free), _ids(free), _batch_ids(free, paid), _batch_size(free)]
    if paid is None:
        return [*found, _free_lookup_finding(free), _failed(free, None)]
    found.append(_submit(paid, plan))
    if paid.task is None:
        return [*found, _free_lookup_finding(free), _failed(free, None)]
    name = paid.external_id
    return [
        *found,
        _sighting("lookup", "look-up by id", paid.lookup, paid, paid.task),
        _sighting("listed", "list shows it", paid.listed, paid, paid.task),
        _repeat(paid, paid.task),
        _id_format(paid, name),
        _failed(free, paid),
    ]


# --- the free part -------------------------------------------------------------------------------


def _pages(free: Free) -> Finding:
    told = f"{len(free.tasks)} tasks told"
    if not free.page_size:
        text = f"there is none: {said(free.list_failure)}"
    elif free.list_failure:
        text = f"pages of {free.page_size}, no larger: {said(free.list_failure)}; {told}"
    else:
        text = f"pages of {free.page_size} are given; {told}"
    return Finding("list", "list", text, {"page_size": free.page_size, "tasks": len(free.tasks)})


_ORDERS: Mapping[Order, str] = {
    "newest": "newest first",
    "oldest": "oldest first",
    "none": "by no time",
    "unknown": f"not known: it takes {FEWEST_IN_ORDER} tasks of different times to tell",
}


def _order(free: Free) -> Finding:
    order = order_of(free.tasks)
    return Finding("list_order", "list order", _ORDERS[order], {"order": order})


def _ids(free: Free) -> Finding:
    count = sum(task.external_task_id is not None for task in free.tasks)
    text = (
        f"{count} of {len(free.tasks)} tasks show an external_task_id" if free.tasks else "no task to tell by"
    )
    return Finding("list_ids", "ids in the list", text, {"with_id": count})


def _batch_ids(free: Free, paid: Paid | None) -> Finding:
    batch = free.batch
    sees = batch.sees_classic if batch.sees_classic is not None or paid is None else paid.sees_new
    if not batch.largest:
        text = f"not to be had: {said(batch.failure)}"
    elif sees is None:
        text = "answers; there was no task to ask it for"
    else:
        text = f"{'tells' if sees else 'does not tell'} of tasks of the classic dialect"
    return Finding("batch", "GET /tasks", text, {"answers": batch.largest > 0, "sees_classic": sees})


def _batch_size(free: Free) -> Finding:
    batch = free.batch
    if not batch.largest:
        text = "not known"
    elif batch.failure is None:
        text = f"{batch.largest} ids are taken, more were not tried"
    else:
        text = f"{batch.largest} ids are taken, {batch.refused} are not: {said(batch.failure)}"
    refused = batch.refused or None
    return Finding("batch_limit", "batch limit", text, {"largest_taken": batch.largest, "refused": refused})


def _free_lookup_finding(free: Free) -> Finding:
    works = found_for_free(free)
    name = free.known.external_task_id if free.known else None
    if works:
        text = f"finds a listed task by {name}; how soon a new one can be found takes a task"
    elif name is None:
        text = "not known: no listed task shows an external_task_id; it takes a task to find out"
    else:
        words = said(free.known_answer) if isinstance(free.known_answer, Failure) else "told of another task"
        text = f"{'does not find' if works is False else 'no clear answer about'} {name}: {words}"
    return Finding("lookup", "look-up by id", text, {"found": works, "lag_seconds": None})


# --- the paid part -------------------------------------------------------------------------------


def _submit(paid: Paid, plan: Plan) -> Finding:
    facts = {"task_id": paid.task.task_id if paid.task else None, "external_task_id": paid.external_id}
    if paid.task is not None:
        how = " after an unclear answer" if paid.first else ""
        text = f"task {paid.task.task_id} was booked{how} ({plan.request}; {plan.price()})"
    elif paid.unclear:
        text = (
            f"UNCLEAR: {said(paid.first)}; not found within {paid.patience:g} s, but it may be booked and paid. "
            f"Look for external_task_id {paid.external_id} in the console. Nothing was sent again"
        )
    else:
        text = f"refused, nothing was booked: {said(paid.first)}"
    return Finding("submit", "submit", text, facts)


def _sighting(key: str, title: str, seen: Sighting, paid: Paid, task: KlingTask) -> Finding:
    found = seen.shows(paid.external_id) and seen.task_is(task)
    facts = {"found": found, "lag_seconds": round(seen.lag, 2) if found else None}
    if not seen.asks:
        text = "not asked: there is no list"
    elif seen.task is None:
        text = f"not found within {paid.patience:g} s: {said(seen.failure)}"
    elif not seen.task_is(task):
        text = f"told of task {seen.task.task_id} instead"
    elif not found:
        text = f"told of the task, under the external_task_id {seen.task.external_task_id or '(none)'}"
    elif not seen.lag:
        text = f"at the first ask ({seen.seconds:.1f} s after the submit)"
    else:
        text = f"{seen.seconds:.1f} s after the submit"
    return Finding(key, title, text, facts)


def _repeat(paid: Paid, task: KlingTask) -> Finding:
    answer = paid.repeat
    facts: dict[str, Any] = {"answer": "not tried"}
    if answer is None:
        text = "not tried: the gateway does not keep the id, so a repeat would be a second paid task (--thorough)"
    elif isinstance(answer, KlingTask) and answer.task_id == task.task_id:
        facts = {"answer": "same task"}
        text = "answered with the first task again: a repeat costs nothing"
    elif isinstance(answer, KlingTask):
        facts = {"answer": "accepted", "task_id": answer.task_id}
        text = (
            f"ACCEPTED: task {answer.task_id} is a second one, and is paid too; a repeat is never safe here"
        )
    else:
        facts = _facts_of(answer)
        text = f"{facts['answer']}: {said(answer)}"
        if facts["answer"] == "refused" and not answer.is_duplicate_id:
            text += " (not in the words this provider knows)"
        if facts["answer"] == "unclear":
            text += f"; no second task was found within {paid.patience:g} s"
    return Finding("duplicate", "duplicate", text, facts)


def _facts_of(failure: Failure) -> dict[str, Any]:
    """Whether a repeat was refused for its id, for another reason, or perhaps not at all."""
    is_about_id = failure.reaction is Reaction.BAD_REQUEST and failure.code is not None
    refused = "refused" if is_about_id else "not known"
    return {
        "answer": "unclear" if failure.leaves_submit_unclear else refused,
        "code": failure.code,
        "http_status": failure.http_status,
        "message": shorten(failure.message),
    }


def _id_format(paid: Paid, name: str) -> Finding:
    shown = sorted(paid.shown_ids)
    what = "64 characters of A-Z a-z 0-9 _ -" if paid.wide_refusal is None else f"{len(name)} of a-z -"
    kept = name in shown
    if kept:
        text = f"{what} are kept as sent; this provider sends no others"
    elif shown:
        text = f"ids are changed: {name} was sent, {', '.join(shown)} is shown"
    else:
        text = "ids are taken, but not kept" if paid.wide_refusal is None else "not kept"
    if paid.wide_refusal is not None:
        text += f". One of 64 characters of A-Z a-z 0-9 _ - was refused: {said(paid.wide_refusal)}"
    return Finding("id_format", "id format", text, {"kept": kept, "length": len(name), "shown": shown})


def _failed(free: Free, paid: Paid | None) -> Finding:
    facts: dict[str, Any] = {"reusable": None}
    if paid is not None and paid.failed_id is not None:
        answer = paid.reuse
        if isinstance(answer, KlingTask):
            facts["reusable"] = True
            text = f"{paid.failed_id} was taken again: task {answer.task_id}"
        elif answer is not None and answer.is_duplicate_id:
            facts["reusable"] = False
            text = f"{paid.failed_id} is refused: {said(answer)}"
        else:
            text = f"not known: {said(answer)}"
    elif reusable_id(free.failed):
        text = f"not tried with {reusable_id(free.failed)}: it may cost another task (--thorough)"
    elif free.failed:
        text = "not tried: the ids of failed tasks belong to DAGs, which would collect the probe's video"
    else:
        text = "not known: no listed task has failed and shows an external_task_id"
    return Finding("failed_id", "id of a failed task", text, facts)
