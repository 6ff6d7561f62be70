"""One picture becomes a stored video: submit >> wait >> store.

Run it from the UI: the form asks for picture, prompt and model. The picture is an http(s) address or the name
of a file in the pictures folder (Airflow Variable `kling_pictures`, by default the one beside this file).
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from airflow.sdk import DAG, Param

from kling_provider.operators.kling import KlingImageToVideoOperator
from kling_provider.sensors.kling import KlingTaskSensor
from kling_provider.transfers.kling_to_object_storage import KlingToObjectStorageOperator

PICTURES = Path(__file__).parent / "pictures"

with DAG(
    "kling_image_to_video",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    is_paused_upon_creation=False,
    tags=["kling", "example"],
    doc_md=__doc__,
    default_args={"retries": 2},
    params={
        "picture": Param(
            "lighthouse.jpg",
            type="string",
            title="Picture",
            description="An http(s) address, or the name of a file in the pictures folder.",
            pattern=r"^(https?://\S+|[A-Za-z0-9_][A-Za-z0-9_.-]*)$",
        ),
        "prompt": Param(
            "The lighthouse beam sweeps slowly over the calm sea while clouds drift by.",
            type=["null", "string"],
            title="Prompt",
            description="What happens in the video.",
            maxLength=2500,
        ),
        "model_name": Param(
            None,
            type=["null", "string"],
            title="Model",
            description="Empty: a current model of the gateway.",
            examples=["kling-v2-6", "kling-v2-5-turbo", "kling-v3"],
        ),
    },
) as dag:
    submit = KlingImageToVideoOperator(
        task_id="submit",
        image="{{ params.picture if '://' in params.picture else var.value.get('kling_pictures', '"
        + str(PICTURES)
        + "') ~ '/' ~ params.picture }}",
        prompt="{{ params.prompt or '' }}",
        model_name="{{ params.model_name or '' }}",
    )
    wait = KlingTaskSensor(task_id="wait", kling_task_id=submit.kling_task)
    store = KlingToObjectStorageOperator(
        task_id="store",
        task=wait.output,
        destination="{{ var.value.get('kling_destination', 'file:///tmp/kling') }}/{{ run_id }}/",
    )
    submit >> wait >> store
