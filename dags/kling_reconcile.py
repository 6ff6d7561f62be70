"""Every night: store what was paid and nobody has collected, before Kling deletes it (on day 30).

It lists the tasks of the account, keeps those whose `external_task_id` was derived in this connection's namespace,
takes away those whose id stands in the name of a file under the Variable `kling_destination`, and stores the rest
under `reconciled/` there. It submits nothing, so it costs nothing.

Give it the folder that all your DAGs store under: a video that lies elsewhere is stored once more. Tasks with an
`external_task_id` of your own choice are not seen; collect those by their id. Voices and elements have no files.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import DAG, Param, Variable, task

from kling_provider.api.audit import uncollected
from kling_provider.hooks.kling import KlingHook
from kling_provider.hooks.listing import list_account
from kling_provider.transfers.kling_to_object_storage import KlingToObjectStorageOperator
from kling_provider.transfers.stored import stored_task_ids

log = logging.getLogger(__name__)

#: Warn of what will be deleted so soon, and of what was deleted not longer ago.
SOON = timedelta(days=3)
LATELY = timedelta(days=7)
KEYS = ("task_id", "endpoint", "external_task_id")

with DAG(
    "kling_reconcile",
    schedule="@daily",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    is_paused_upon_creation=True,
    max_active_runs=1,
    tags=["kling", "example"],
    doc_md=__doc__,
    default_args={"retries": 2},
    params={
        "older_than_hours": Param(
            6,
            type="number",
            minimum=0,
            title="Only videos that were ready so many hours ago",
            description="Younger ones may still be on their way in a running DAG.",
        ),
        "limit": Param(
            500, type="integer", minimum=1, maximum=1000, title="At most so many in a run, oldest first"
        ),
        "max_pages": Param(
            100,
            type="integer",
            minimum=1,
            maximum=1000,
            title="At most so many pages of 500 tasks per endpoint",
        ),
    },
) as dag:

    @task
    def survey(params: Any = None) -> dict[str, Any]:
        hook = KlingHook()
        kept = timedelta(days=hook.config.gateway.result_ttl_days)
        listing = list_account(hook, max_pages=params["max_pages"])
        stored = stored_task_ids(Variable.get("kling_destination", default="file:///tmp/kling"))
        now = datetime.now(UTC)

        def left(older_than: timedelta, younger_than: timedelta) -> list[Any]:
            return uncollected(listing.tasks, hook.config.namespace, stored, now, older_than, younger_than)

        due = left(timedelta(hours=params["older_than_hours"]), kept)
        soon = {one.task_id for one in left(kept - SOON, kept)}
        lost = left(kept, kept + LATELY)
        for one in due:
            if one.task_id in soon:
                log.warning(
                    "Task %s of %s was ready on %s and stored nowhere; Kling deletes it within %d days.",
                    *(one.task_id, one.endpoint, one.updated_at, SOON.days),
                )
        for one in lost:
            log.error(
                "Task %s of %s (%s units) was ready on %s and stored nowhere; it was paid, and Kling has deleted it.",
                *(one.task_id, one.endpoint, one.units, one.updated_at),
            )
        if left_out := due[params["limit"] :]:
            log.warning("limit=%s leaves %d tasks to the next run.", params["limit"], len(left_out))
        return {
            "due": [{key: getattr(one, key) for key in KEYS} for one in due[: params["limit"]]],
            "left_out": len(left_out),
            "deleted_soon": sorted(soon & {one.task_id for one in due}),
            "lost": [one.task_id for one in lost],
            "listed": len(listing.tasks),
            "is_complete": listing.is_complete,
        }

    @task
    def due(found: Any) -> list[dict[str, str]]:
        tasks: list[dict[str, str]] = found["due"]
        return tasks

    found = survey()
    stored = KlingToObjectStorageOperator.partial(
        task_id="store",
        destination="{{ var.value.get('kling_destination', 'file:///tmp/kling') }}/reconciled/",
    ).expand(task=due(found))

    @task(trigger_rule="none_failed")  # nothing to store is a good night
    def report(found: Any, manifests: Any) -> dict[str, Any]:
        files = [file for manifest in manifests or () for file in manifest]
        told = {
            "stored": sorted({file["task_id"] for file in files}),
            "uris": [file["uri"] for file in files],
            "bytes": sum(file["bytes"] for file in files),
            **{name: value for name, value in found.items() if name != "due"},
        }
        log.info("Stored %d of %d listed tasks: %s", len(told["stored"]), found["listed"], told)
        return told

    report(found, stored.output)
