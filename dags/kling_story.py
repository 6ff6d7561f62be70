"""A story in several shots, and what happens next: two videos that belong together.

The first video holds all shots of the form (kling-v3, 1 to 6 shots, 3 to 15 s in all). The next one goes on from it:
kling-v3-omni takes the first video as its reference (`feature`), and the prompt asks for the next shot.

Why not KlingVideoExtendOperator? Kling's `video-extend` makes a clip 4 to 5 s longer in one piece, but only clips of
kling-v1, kling-v1-5 and kling-v1-6, which are being retired. Newer models go on in the way shown here; the result is
the next shot alone, not one longer video.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from airflow.sdk import DAG, Param, task

from kling_provider.operators.kling import KlingOmniVideoOperator, KlingTextToVideoOperator
from kling_provider.transfers.kling_to_object_storage import KlingToObjectStorageOperator

with DAG(
    "kling_story",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    tags=["kling", "example"],
    doc_md=__doc__,
    default_args={"retries": 2},
    params={
        "shots": Param(
            [
                {"prompt": "A small boat leaves the harbour at dawn, seen from the pier.", "seconds": 3},
                {"prompt": "Close-up: an old sailor looks at the horizon and nods.", "seconds": 2},
                {"prompt": "The boat, tiny, on the open sea under huge clouds.", "seconds": 3},
            ],
            type="array",
            minItems=1,
            maxItems=6,
            items={
                "type": "object",
                "required": ["prompt", "seconds"],
                "properties": {
                    "prompt": {"type": "string", "minLength": 1, "maxLength": 512},
                    "seconds": {"type": "integer", "minimum": 1, "maximum": 15},
                },
            },
            title="Shots",
            description="What each shot shows, and for how many seconds: 3 to 15 in all.",
        ),
        "next_shot": Param(
            "the boat reaches a green island, and the sailor jumps ashore.", type="string", title="Next shot"
        ),
        "next_seconds": Param(5, type="integer", minimum=3, maximum=15, title="Seconds of the next shot"),
        "aspect_ratio": Param("16:9", enum=["16:9", "9:16", "1:1"], title="Format"),
    },
) as dag:

    @task(multiple_outputs=True)
    def plan(params: Any = None) -> dict[str, Any]:
        shots = [
            {"index": number, "prompt": shot["prompt"], "duration": str(shot["seconds"])}
            for number, shot in enumerate(params["shots"], 1)
        ]
        return {"shots": shots, "duration": str(sum(shot["seconds"] for shot in params["shots"]))}

    told: Any = plan()
    first = KlingTextToVideoOperator(
        task_id="first",
        model_name="kling-v3",
        mode="std",
        multi_shot=True,
        shot_type="customize",
        multi_prompt=told["shots"],
        duration=told["duration"],
        aspect_ratio="{{ params.aspect_ratio }}",
        wait_for_completion=True,
        max_units=20,
    )
    following = KlingOmniVideoOperator(
        task_id="following",
        model_name="kling-v3-omni",
        mode="std",
        prompt="Based on <<<video_1>>>, generate the next shot: {{ params.next_shot }}",
        video_list=[{"video_url": first.output["video_url"], "refer_type": "feature"}],
        duration="{{ params.next_seconds }}",
        aspect_ratio="{{ params.aspect_ratio }}",
        wait_for_completion=True,
        max_units=20,
    )
    for made in (first, following):
        KlingToObjectStorageOperator(
            task_id=f"store_{made.task_id}",
            task=made.output,
            destination="{{ var.value.get('kling_destination', 'file:///tmp/kling') }}/{{ run_id }}/",
        )
