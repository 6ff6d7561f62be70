"""Every night a video from each picture of a folder, and one report with the cost.

The tasks run in the Airflow pool `kling`, which counts deferred tasks and has as many slots as the account
may run at once:  airflow pools set kling 20 "Kling slots" --include-deferred

`idempotency_key` ties each video to its picture, not to its place in the list: a new picture at the head of
the folder does not pay for all the others again. Safe to backfill.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, Param, Variable, task

from kling_provider.api.pricing import USD_PER_VIDEO_UNIT
from kling_provider.operators.kling import KlingImageToVideoOperator
from kling_provider.transfers.kling_to_object_storage import KlingToObjectStorageOperator

with DAG(
    "kling_batch",
    schedule="@daily",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    is_paused_upon_creation=True,
    max_active_runs=1,
    tags=["kling", "example"],
    doc_md=__doc__,
    default_args={"retries": 2},
    params={
        "pictures": Param(
            None,
            type=["null", "array"],
            items={"type": "string", "pattern": r"^(https?://\S+|[A-Za-z0-9_][A-Za-z0-9_.-]*)$"},
            title="Pictures",
            description="http(s) addresses, or names of files in the pictures folder. Empty: the whole folder.",
        ),
        "prompt": Param(
            "The camera moves in slowly; soft wind.", type="string", title="Prompt", maxLength=2500
        ),
        "limit": Param(500, type="integer", minimum=1, title="At most so many pictures"),
    },
) as dag:

    @task
    def list_pictures(params: Any = None) -> list[dict[str, str]]:
        folder = Path(Variable.get("kling_pictures", default=str(Path(__file__).parent / "pictures")))
        kinds = (".jpg", ".jpeg", ".png")
        names = params["pictures"] or sorted(
            path.name for path in folder.iterdir() if path.suffix.lower() in kinds
        )
        return [
            {"image": name if "://" in name else str(folder / name), "idempotency_key": name}
            for name in names[: params["limit"]]
        ]

    videos = KlingImageToVideoOperator.partial(
        task_id="video",
        prompt="{{ params.prompt }}",
        duration="5",
        wait_for_completion=True,
        pool="kling",
        max_units=5,
    ).expand_kwargs(list_pictures())

    stored = KlingToObjectStorageOperator.partial(
        task_id="store",
        destination="{{ var.value.get('kling_destination', 'file:///tmp/kling') }}/{{ dag_run.run_after | ds }}/",
    ).expand(task=videos.output)

    @task
    def report(tasks: Any, manifests: Any) -> dict[str, Any]:
        units = sum((Decimal(done["units"] or 0) for done in tasks), Decimal(0))
        return {
            "videos": sum(len(files) for files in manifests),
            "bytes": sum(file["bytes"] for files in manifests for file in files),
            "units": str(units),
            "usd_at_list_price": str(units * USD_PER_VIDEO_UNIT),
            "uris": [file["uri"] for files in manifests for file in files],
        }

    report(videos.output, stored.output)
