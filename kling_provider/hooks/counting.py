"""What submits come to, as numbers for whoever operates Airflow; docs/operating.md says what they mean.

Every create passes here twice: its answer, if it was no task, and its end. Tags: the endpoint, the connection, and
the model where there is a choice.
"""

from __future__ import annotations

from kling_provider import stats
from kling_provider.api.errors import Failure
from kling_provider.api.pricing import pack_of
from kling_provider.api.tasks import FAILED, KlingTask
from kling_provider.hooks.preparing import PreparedSubmit


def count_answer(conn_id: str, prepared: PreparedSubmit, failure: Failure) -> None:
    """Count a create that was not answered with a task: ``refused``, or ``unclear``.

    :param conn_id: of the account it is sent to.
    :param prepared: the submit.
    :param failure: what was heard.
    """
    if failure.is_duplicate_id:
        return  # the task is there, and is counted when it is found
    if failure.leaves_submit_unclear:
        stats.count("unclear", 1, code=_word_for(failure), **_tags(conn_id, prepared))
    else:
        stats.count("refused", 1, code=_word_for(failure), **_tags(conn_id, prepared))


def count_task(conn_id: str, prepared: PreparedSubmit, task: KlingTask, adopted: bool) -> None:
    """Count the end of a submit that has its task: ``submitted`` and what it costs, or ``adopted``.

    :param conn_id: of the account it is sent to.
    :param prepared: the submit.
    :param task: which Kling has told.
    :param adopted: whether it was there before.
    """
    tags = _tags(conn_id, prepared)
    if adopted:
        stats.count("adopted", 1, **tags)
        return
    stats.count("submitted", 1, **tags)
    if prepared.estimated_units and task.status != FAILED:
        pack = pack_of(prepared.endpoint.name) or ""
        stats.count("units", float(prepared.estimated_units), **tags, pack=pack)


def count_unknown(conn_id: str, prepared: PreparedSubmit) -> None:
    """Count the end of a submit that may have been paid, which only a person can find out.

    :param conn_id: of the account it is sent to.
    :param prepared: the submit.
    """
    stats.count("unknown", 1, **_tags(conn_id, prepared))


def _tags(conn_id: str, prepared: PreparedSubmit) -> dict[str, str]:
    return {
        "endpoint": prepared.endpoint.name,
        "conn_id": conn_id,
        "model": str(prepared.model_name or ""),
    }


def _word_for(failure: Failure) -> str:
    """Kling's code; where there is none, what was heard instead."""
    if failure.code is not None:
        return str(failure.code)
    if failure.http_status is not None:
        return f"http_{failure.http_status}"
    if failure.never_sent:
        return "never_sent"
    return "timed_out" if failure.timed_out else "cut"
