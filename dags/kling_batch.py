"""Every night a video from each picture of a folder, and one report with the cost.

The tasks run in the Airflow pool `kling`, which counts deferred tasks and has as many slots as the account
may run at once:  airflow pools set kling 20 "Kling slots" --include-deferred

Three limits on what a night may cost: `max_units` per video; the parameter `max_units_per_run`, beyond which
pictures wait for another run; and `min_units`, below which nothing starts (what Kling tells of its packs may be
12 hours old, so it cannot guard the same night).

`idempotency_key` ties each video to its picture, not to its place in the list: after a clear, a new picture at the
head of the folder does not pay for the others again. Each run is new work: every night, and every day of a backfill,
makes and pays all pictures of the folder. Take out those that are done.
"""

from __future__ import annotations

import logging
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException
from airflow.sdk import DAG, Param, Variable, task, task_group

from kling_provider.api.pricing import USD_PER_VIDEO_UNIT
from kling_provider.hooks.kling import KlingHook
from kling_provider.operators.balance import KlingCheckBalanceOperator
from kling_provider.operators.kling import KlingImageToVideoOperator
from kling_provider.transfers.kling_to_object_storage import KlingToObjectStorageOperator

log = logging.getLogger(__name__)

#: What is the same for every picture, and decides the price.
REQUEST = {"mode": "std", "duration": "5"}


def affordable(names: list[str], max_units: float | None) -> list[str]:
    """As many of the pictures as the run may pay for, from the first on."""
    if max_units is None or not names:
        return names
    each = KlingHook().estimate_units("image2video", {"image": "https://pictures.example/a.jpg", **REQUEST})
    if each is None:
        raise AirflowFailException(
            "max_units_per_run cannot be kept: no price is published for this request."
        )
    kept = names[: int(Decimal(str(max_units)) // each)]
    if not kept:
        raise AirflowSkipException(
            f"max_units_per_run={max_units} does not pay for one video of {each} units."
        )
    if left_out := names[len(kept) :]:
        log.warning(
            "max_units_per_run=%s pays for %d videos of %s units; left out: %s",
            max_units,
            len(kept),
            each,
            left_out,
        )
    return kept


def dicts_in(values: Any) -> list[dict[str, Any]]:
    """The tasks, or files, of a mapped group: Airflow hands on one value bare, and some mark for a failed one."""
    if isinstance(values, dict):
        return [values]
    return [found for value in values for found in dicts_in(value)] if isinstance(values, list) else []


with DAG(
    "kling_batch",
    schedule="@daily",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    is_paused_upon_creation=True,
    max_active_runs=1,
    tags=["kling", "example"],
    doc_md=__doc__,
    default_args={"retries": 2, "weight_rule": "upstream"},  # what is made is stored before more is made
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
        "max_units_per_run": Param(
            1000,
            type=["null", "number"],
            exclusiveMinimum=0,
            title="At most so many units in this run",
            description="Estimated before anything is sent; pictures beyond it are left out. Empty: no limit.",
        ),
        "min_units": Param(
            10,
            type="number",
            exclusiveMinimum=0,
            title="Start nothing with fewer units left in the account",
        ),
    },
) as dag:
    balance = KlingCheckBalanceOperator(task_id="balance", min_units="{{ params.min_units }}")

    @task
    def list_pictures(params: Any = None) -> list[dict[str, str]]:
        folder = Path(Variable.get("kling_pictures", default=str(Path(__file__).parent / "pictures")))
        kinds = (".jpg", ".jpeg", ".png")
        names = params["pictures"] or sorted(
            path.name for path in folder.iterdir() if path.suffix.lower() in kinds
        )
        names = affordable(names[: params["limit"]], params["max_units_per_run"])
        return [
            {"image": name if "://" in name else str(folder / name), "idempotency_key": name}
            for name in names
        ]

    pictures = list_pictures()
    balance >> pictures

    @task_group
    def clip(image: str, idempotency_key: str) -> Any:
        """One picture: a video that is stored as soon as it is made, whatever becomes of the others."""
        video = KlingImageToVideoOperator(
            task_id="video",
            image=image,
            idempotency_key=idempotency_key,
            prompt="{{ params.prompt }}",
            wait_for_completion=True,
            pool="kling",
            max_units=5,
            **REQUEST,
        )
        store = KlingToObjectStorageOperator(
            task_id="store",
            task=video.output,
            destination="{{ var.value.get('kling_destination', 'file:///tmp/kling') }}/{{ dag_run.run_after | ds }}/",
        )
        return {"tasks": video.output, "manifests": store.output}

    @task(trigger_rule="none_skipped")  # failed ones are told of, not waited for
    def report(pictures: Any, tasks: Any, manifests: Any) -> dict[str, Any]:
        files = dicts_in(manifests)
        units = sum((Decimal(done["units"] or 0) for done in dicts_in(tasks)), Decimal(0))
        return {
            "asked": len(pictures),
            "videos": len(files),
            "bytes": sum(file["bytes"] for file in files),
            "units": str(units),
            "usd_at_list_price": str(units * USD_PER_VIDEO_UNIT),
            "uris": [file["uri"] for file in files],
        }

    @task
    def all_stored(report: Any) -> None:
        if missing := report["asked"] - report["videos"]:
            raise AirflowFailException(
                f"{missing} of {report['asked']} videos are not stored. The others are: see the report. Look at the "
                "tasks of clip that have failed, and clear them once the cause is gone, which pays nothing twice; but "
                "look in the console first for those that end in KlingSubmissionUnknownError: a clear submits anew."
            )

    clips: Any = clip.expand_kwargs(pictures)
    all_stored(report(pictures, **clips))
