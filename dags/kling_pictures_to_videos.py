"""Words become pictures, and every picture a video: one task for all pictures, then one per picture that came.

The pictures are stored before they move. The videos are made from the stored files, so that a clear, even weeks
later, when Kling has deleted its own copies, finds the very same pictures and pays for nothing again.

All pictures of a request are one task at Kling, which holds as many of the account's image slots as it makes
pictures. The videos run in the Airflow pool `kling`, which counts deferred tasks:
airflow pools set kling 20 "Kling slots" --include-deferred
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from airflow.sdk import DAG, Param, task, task_group

from kling_provider.operators.kling import KlingImageOperator, KlingImageToVideoOperator
from kling_provider.transfers.kling_to_object_storage import KlingToObjectStorageOperator

DESTINATION = "{{ var.value.get('kling_destination', 'file:///tmp/kling') }}/{{ run_id }}/"

with DAG(
    "kling_pictures_to_videos",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    tags=["kling", "example"],
    doc_md=__doc__,
    default_args={"retries": 2, "weight_rule": "upstream"},  # what is made is stored before more is made
    params={
        "prompt": Param(
            "A tiny house on the back of a giant turtle, morning light, watercolour.",
            type="string",
            maxLength=2500,
            title="What the pictures show",
        ),
        "pictures": Param(2, type="integer", minimum=1, maximum=9, title="How many"),
        "motion": Param(
            "The turtle walks slowly; smoke rises from the chimney.",
            type="string",
            maxLength=2500,
            title="What happens in the videos",
        ),
        "aspect_ratio": Param("16:9", enum=["16:9", "9:16", "1:1"], title="Format"),
    },
) as dag:
    pictures = KlingImageOperator(
        task_id="pictures",
        prompt="{{ params.prompt }}",
        n="{{ params.pictures }}",
        aspect_ratio="{{ params.aspect_ratio }}",
        wait_for_completion=True,
    )
    store_pictures = KlingToObjectStorageOperator(
        task_id="store_pictures", task=pictures.output, destination=DESTINATION
    )

    @task
    def each(stored: Any) -> list[dict[str, str]]:
        return [{"image": file["uri"], "idempotency_key": file["media_id"]} for file in stored]

    @task_group
    def moving(image: str, idempotency_key: str) -> None:
        """One picture: a video that is stored as soon as it is made, whatever becomes of the others."""
        video = KlingImageToVideoOperator(
            task_id="video",
            image=image,
            prompt="{{ params.motion }}",
            idempotency_key=idempotency_key,
            wait_for_completion=True,
            pool="kling",
            max_units=5,
        )
        KlingToObjectStorageOperator(task_id="store", task=video.output, destination=DESTINATION)

    moving.expand_kwargs(each(store_pictures.output))
