"""Every day, for each piece of clothing in a folder: a person wears it, the picture moves, a voice names it.

    try_on >> store_picture >> clip >> voice
                                   \\__ store_clip  \\__ store_voice

Each piece goes through all of it by itself, so one that Kling refuses keeps no other from its clip. What costs
more comes after what costs less has worked. The clips run in the Airflow pool `kling`
(airflow pools set kling 20 "Kling slots" --include-deferred); the try-ons have slots of their own at Kling, and wait
for one in the triggerer.

`idempotency_key` ties everything to the piece, not to its place in the list. The clip is made from the stored picture,
which is still there when Kling has deleted its own (after 30 days). So a clear pays for nothing that is there.

For the voices, which Kling answers at once and cannot look up, Airflow 3.3 keeps the answer; before it, and where a
cleared list has shifted, a voice sends nothing and says so. So give new pieces a new run: the folder holds what is
new on the day.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, Param, Variable, task, task_group

from kling_provider.operators.kling import (
    KlingImageToVideoOperator,
    KlingReadOperator,
    KlingTextToSpeechOperator,
    KlingVirtualTryOnOperator,
)
from kling_provider.transfers.kling_to_object_storage import KlingToObjectStorageOperator

DESTINATION = "{{ var.value.get('kling_destination', 'file:///tmp/kling') }}/{{ dag_run.run_after | ds }}/"

with DAG(
    "kling_product_clips",
    schedule="@daily",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    is_paused_upon_creation=True,
    max_active_runs=1,
    tags=["kling", "example"],
    doc_md=__doc__,
    default_args={"retries": 2, "weight_rule": "upstream"},  # what is made is stored before more is made
    params={
        "person": Param(
            "ana.jpg",
            type="string",
            pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$",
            title="Who wears it",
            description="Name of a file in the folder `people` of the pictures folder.",
        ),
        "clothes": Param(
            None,
            type=["null", "array"],
            items={"type": "string", "pattern": r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$"},
            title="Clothes",
            description="Names of files in the folder `clothes` of the pictures folder. Empty: all of them.",
        ),
        "prompt": Param(
            "She turns to the left and to the right, and smiles.", type="string", title="What she does"
        ),
        "caption": Param(
            "New in our shop today: the {product}. Come and see it.",
            type="string",
            maxLength=900,
            title="What the voice says",
            description="{product} stands for the name of the file, without its ending.",
        ),
        "voice_id": Param(
            None, type=["null", "string"], title="Voice", description="Empty: the first of Kling's own."
        ),
    },
) as dag:
    voices = KlingReadOperator(task_id="voices", endpoint="presets-voices")

    @task
    def list_products(voice_id: str, params: Any = None) -> list[dict[str, str]]:
        folder = Path(Variable.get("kling_pictures", default=str(Path(__file__).parent / "pictures")))
        kinds = (".jpg", ".jpeg", ".png")
        names = params["clothes"] or sorted(
            path.name for path in (folder / "clothes").iterdir() if path.suffix.lower() in kinds
        )
        return [
            {
                "person": str(folder / "people" / params["person"]),
                "cloth": str(folder / "clothes" / name),
                "caption": params["caption"].replace("{product}", Path(name).stem.replace("-", " ")),
                "voice_id": params["voice_id"] or voice_id,
                "idempotency_key": name,
                "filename": f"{Path(name).stem}-{{task_id}}-{{media_id}}.{{extension}}",
            }
            for name in names
        ]

    @task_group
    def product(
        person: str, cloth: str, caption: str, voice_id: str, idempotency_key: str, filename: str
    ) -> None:
        """One piece of clothing."""
        try_on = KlingVirtualTryOnOperator(
            task_id="try_on",
            human_image=person,
            cloth_image=cloth,
            idempotency_key=idempotency_key,
            wait_for_completion=True,
        )
        store_picture = KlingToObjectStorageOperator(
            task_id="store_picture", task=try_on.output, destination=DESTINATION, filename=filename
        )
        clip = KlingImageToVideoOperator(
            task_id="clip",
            image=store_picture.output["uri"],
            prompt="{{ params.prompt }}",
            duration="5",
            idempotency_key=idempotency_key,
            wait_for_completion=True,
            pool="kling",
            max_units=2,
        )
        voice = KlingTextToSpeechOperator(
            task_id="voice",
            text=caption,
            voice_id=voice_id,
            voice_language="en",
            idempotency_key=idempotency_key,
        )
        clip >> voice
        for made in (clip, voice):
            KlingToObjectStorageOperator(
                task_id=f"store_{made.label}", task=made.output, destination=DESTINATION, filename=filename
            )

    product.expand_kwargs(list_products(voices.output["voice_id"]))
