"""The DAG of ``make chaos``: the shape of kling_batch, and a saboteur in every worker.

The saboteur kills the process it lives in, with SIGKILL, where the plan says so: before the POST leaves, when
Kling has booked the task and the answer is not read yet, when the answer was read and no XCom was pushed, and
in the middle of a download. Each of these happens once. The provider's code is not changed for it, only
surrounded.
"""

from __future__ import annotations

import json
import os
import signal
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, task, task_group

from kling_provider.hooks.kling import KlingHook
from kling_provider.operators.kling import KlingImageToVideoOperator
from kling_provider.transfers.download import Download
from kling_provider.transfers.kling_to_object_storage import KlingToObjectStorageOperator

FOLDER = Path(os.environ["CHAOS_FOLDER"])
PLAN = json.loads((FOLDER / "plan.json").read_text())
NOW: dict[str, Any] = {}


def die_if_planned(point: str) -> None:
    """Kill this process if the plan says so, and note that it was done."""
    index = NOW.get("index")
    if index in PLAN["kills"][point]:
        try:
            os.close(os.open(FOLDER / f"killed-{point}-{index}", os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return
        os.kill(os.getpid(), signal.SIGKILL)


def sabotage() -> None:
    """Surround what the plan aims at."""
    exchange, hand_on, copy = KlingHook._exchange, KlingImageToVideoOperator._hand_on, Download._copy
    submit, store = KlingImageToVideoOperator._submit, KlingToObjectStorageOperator.execute

    def watched_exchange(self: Any, call: Any, **options: Any) -> Any:
        if call.method != "POST":
            return exchange(self, call, **options)
        die_if_planned("before_the_post")
        decode = call.decode

        def read(envelope: Any) -> Any:
            die_if_planned("after_booking")
            return decode(envelope)

        object.__setattr__(call, "decode", read)
        return exchange(self, call, **options)

    def watched_hand_on(self: Any, *arguments: Any) -> Any:
        die_if_planned("before_the_xcom")
        return hand_on(self, *arguments)

    def watched_copy(self: Any, response: Any, file: Any, total: Any) -> None:
        if NOW.get("index") in PLAN["kills"]["in_mid_download"]:
            file.write(response.read(1000))
            die_if_planned("in_mid_download")
        copy(self, response, file, total)

    def watched_submit(self: Any, context: Any, *arguments: Any) -> Any:
        NOW["index"] = context["ti"].map_index
        return submit(self, context, *arguments)

    def watched_store(self: Any, context: Any) -> Any:
        NOW["index"] = context["ti"].map_index
        return store(self, context)

    KlingHook._exchange = watched_exchange  # type: ignore[method-assign]
    KlingImageToVideoOperator._hand_on = watched_hand_on  # type: ignore[method-assign, assignment]
    KlingImageToVideoOperator._submit = watched_submit  # type: ignore[method-assign, assignment]
    Download._copy = watched_copy  # type: ignore[method-assign]
    KlingToObjectStorageOperator.execute = watched_store  # type: ignore[method-assign]


if not os.environ.get("CHAOS_IS_OVER"):
    sabotage()

with DAG(
    "chaos",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    max_active_tasks=1000,
    default_args={
        "retries": PLAN["retries"],
        "retry_delay": timedelta(seconds=5),
        "weight_rule": "upstream",  # as in kling_batch: what is made is stored before more is made
    },
) as dag:

    @task
    def list_pictures() -> list[dict[str, str]]:
        """What is asked for."""
        pictures = sorted((FOLDER / "pictures").iterdir())
        return [
            {
                "image": str(pictures[number % len(pictures)]),
                "prompt": f"video {number:04}",
                "idempotency_key": f"{number:04}",
            }
            for number in range(PLAN["videos"])
        ]

    @task_group
    def clip(image: str, prompt: str, idempotency_key: str) -> None:
        """One video, made and stored."""
        video = KlingImageToVideoOperator(
            task_id="video",
            image=image,
            prompt=prompt,
            idempotency_key=idempotency_key,
            duration="5",
            wait_for_completion=True,
            poke_interval=3,
            pool="kling",
        )
        KlingToObjectStorageOperator(
            task_id="store", task=video.output, destination=f"file://{FOLDER}/videos/"
        )

    clip.expand_kwargs(list_pictures())
