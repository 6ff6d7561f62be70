"""One operator that submits and waits: two worker starts for a video, no worker held in between."""

from __future__ import annotations

from datetime import datetime

from airflow.sdk import DAG

from kling_provider.operators.kling import KlingImageToVideoOperator
from kling_provider.transfers.kling_to_object_storage import KlingToObjectStorageOperator

with DAG(
    "kling_one_step",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    tags=["kling", "example"],
    doc_md=__doc__,
    default_args={"retries": 2},
) as dag:
    video = KlingImageToVideoOperator(
        task_id="video",
        image="{{ var.value.get('kling_pictures', '"
        + __file__.rpartition("/")[0]
        + "/pictures') }}/lighthouse.jpg",
        prompt="Waves roll against the rocks, seen from a slowly rising drone.",
        duration="5",
        wait_for_completion=True,
        max_units=5,
    )
    KlingToObjectStorageOperator(
        task_id="store",
        task=video.output,
        destination="{{ var.value.get('kling_destination', 'file:///tmp/kling') }}/{{ run_id }}/",
    )
