"""Every day a video from a prompt, vertical, stored under the day.

Safe to backfill: each day's run makes its own video once, however often it is retried or cleared.
"""

from __future__ import annotations

from datetime import datetime

from airflow.sdk import DAG

from kling_provider.operators.kling import KlingTextToVideoOperator
from kling_provider.sensors.kling import KlingTaskSensor
from kling_provider.transfers.kling_to_object_storage import KlingToObjectStorageOperator

with DAG(
    "kling_text_to_video",
    schedule="@daily",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    is_paused_upon_creation=True,
    max_active_runs=3,
    tags=["kling", "example"],
    doc_md=__doc__,
    default_args={"retries": 2},
) as dag:
    submit = KlingTextToVideoOperator(
        task_id="submit",
        prompt="A paper boat sails down a gutter in the rain, on a {{ dag_run.run_after.strftime('%A') }} morning.",
        aspect_ratio="9:16",
        duration="5",
    )
    wait = KlingTaskSensor(task_id="wait", kling_task_id=submit.kling_task)
    store = KlingToObjectStorageOperator(
        task_id="store",
        task=wait.output,
        destination="{{ var.value.get('kling_destination', 'file:///tmp/kling') }}/{{ dag_run.run_after | ds }}/",
    )
    submit >> wait >> store
