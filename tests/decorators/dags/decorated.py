"""Functions that write requests: mapped, waited for in the triggerer, and stored."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from airflow.sdk import DAG, task

from kling_provider.transfers.kling_to_object_storage import KlingToObjectStorageOperator

with DAG("decorated", schedule=None, start_date=datetime(2026, 1, 1)) as dag:

    @task
    def products() -> list[dict[str, str]]:
        return [{"name": "teapot", "colour": "blue"}, {"name": "shirt", "colour": "red"}]

    @task.kling(endpoint="text2video", wait_for_completion=True, poke_interval=1)
    def video(product: dict[str, str], *, dag_run: Any = None) -> dict[str, Any]:
        return {"prompt": f"A {product['colour']} {product['name']} of {dag_run.dag_id}.", "duration": "5"}

    KlingToObjectStorageOperator.partial(
        task_id="store", destination="{{ var.value.get('kling_destination') }}"
    ).expand(task=video.expand(product=products()))
