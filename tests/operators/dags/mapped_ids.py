"""Two submits that hand on bare ids, as mapped ones do, and a sensor for each."""

from __future__ import annotations

from datetime import datetime

from airflow.sdk import DAG

from kling_provider.operators.kling import KlingTextToVideoOperator
from kling_provider.sensors.kling import KlingTaskSensor

with DAG("mapped_ids", schedule=None, start_date=datetime(2026, 1, 1)) as dag:
    submits = KlingTextToVideoOperator.partial(task_id="submit").expand(prompt=["a boat", "a kite"])
    KlingTaskSensor.partial(task_id="wait", endpoint="text2video", poke_interval=1).expand(
        kling_task_id=submits.output
    )
