"""Stores every video of the account that finishes, whoever asked for it: another DAG, a script, the website.

It runs when the lists of the account show that videos have finished; switch it on to begin. What one look at the lists
finds is one run, with one mapped task each; more than Airflow maps get runs of their own. A video is told of once;
should Airflow tell of it again, the file is found and nothing is fetched.

Run by hand, it stores the tasks that are given: `[{"task_id": "...", "endpoint": "image2video"}]`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import DAG, Asset, AssetWatcher, Param, task

from kling_provider.transfers.kling_to_object_storage import KlingToObjectStorageOperator
from kling_provider.triggers.finished import KlingFinishedTrigger

#: Airflow maps a task over 1,024 at most ([core] max_map_length).
MOST = 1000

finished = Asset(
    "kling_finished",
    watchers=[
        AssetWatcher(name="kling", trigger=KlingFinishedTrigger(endpoints=["image2video", "text2video"]))
    ],
)


def told_to_another(event: Any, dag_run: Any) -> bool:
    """Whether Airflow made another run of this DAG of the event."""
    runs = [run.run_id for run in event.created_dagruns if run.dag_id == dag_run.dag_id]
    return bool(runs) and dag_run.run_id not in runs


with DAG(
    "kling_when_finished",
    schedule=[finished],
    start_date=datetime(2026, 1, 1),
    catchup=False,
    is_paused_upon_creation=True,  # while it is paused, nobody asks Kling
    tags=["kling", "example"],
    doc_md=__doc__,
    default_args={"retries": 2},
    params={
        "tasks": Param([], type="array", title="Tasks to store", description="Only for a run by hand."),
    },
) as dag:

    @task(inlets=[finished])
    def finished_tasks(
        params: Any = None, dag_run: Any = None, triggering_asset_events: Any = None, inlet_events: Any = None
    ) -> list[dict[str, Any]]:
        if not (triggering := triggering_asset_events.get(finished)):
            return list(params["tasks"])
        # Of the events that came while Airflow held this run back (max_active_runs), it is given the first only.
        since, until = min(event.timestamp for event in triggering), dag_run.start_date
        events = inlet_events[finished]
        if hasattr(events, "after"):  # Airflow 3.2+ need not read them all
            events = events.after(since.isoformat()).before(until.isoformat())
        held_back = [event for event in events if since <= event.timestamp <= until]
        if dag_run.clear_number:  # start_date is that of the clear: what came since is told to the runs since
            held_back = [event for event in held_back if not told_to_another(event, dag_run)]
        # An event that a person made by hand has no payload.
        payloads = [(event.extra or {}).get("payload") or {} for event in held_back]
        return [one for payload in payloads for one in payload.get("tasks", [])]

    @task
    def stored_here(tasks: Any) -> list[dict[str, Any]]:
        return list(tasks[:MOST])

    @task
    def the_rest(tasks: Any) -> list[dict[str, Any]]:
        return [{"tasks": tasks[first : first + MOST]} for first in range(MOST, len(tasks), MOST)]

    found = finished_tasks()
    KlingToObjectStorageOperator.partial(
        task_id="store",
        destination="{{ var.value.get('kling_destination', 'file:///tmp/kling') }}/finished/",
    ).expand(task=stored_here(found))
    TriggerDagRunOperator.partial(task_id="runs_for_the_rest", trigger_dag_id=dag.dag_id).expand(
        conf=the_rest(found)
    )
