"""Stores every video of the account that finishes, whoever asked for it: another DAG, a script, the website.

It runs when the lists of the account show that a video has finished; switch it on to begin. Several that finish at
about the same time may come as one run, with one mapped task each. A video is told of once; should Airflow tell of it
again after a restart, the file is found and nothing is fetched.

Run by hand, it stores the tasks that are given: `[{"task_id": "...", "endpoint": "image2video"}]`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from airflow.sdk import DAG, Asset, AssetWatcher, Param, task

from kling_provider.transfers.kling_to_object_storage import KlingToObjectStorageOperator
from kling_provider.triggers.finished import KlingFinishedTrigger

finished = Asset(
    "kling_finished",
    watchers=[
        AssetWatcher(name="kling", trigger=KlingFinishedTrigger(endpoints=["image2video", "text2video"]))
    ],
)

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

    @task
    def finished_tasks(params: Any = None, triggering_asset_events: Any = None) -> list[dict[str, Any]]:
        events = triggering_asset_events.get(finished, [])
        return [*params["tasks"], *(event.extra["payload"] for event in events)]

    KlingToObjectStorageOperator.partial(
        task_id="store",
        destination="{{ var.value.get('kling_destination', 'file:///tmp/kling') }}/finished/",
    ).expand(task=finished_tasks())
