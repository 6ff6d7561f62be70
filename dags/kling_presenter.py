"""A picture speaks: a text becomes a voice, the voice an avatar, and the avatar then speaks a second language.

    speech >> avatar >> faces ------\\
                \\__ store   second_speech >> choice >> second >> store_second

The second voice is put into the clip by lip sync, which costs less than a second avatar and keeps every movement.
Kling makes the avatar as long as the first voice and bills it by the second; the second voice is cut at the end of
the clip, so give the longer text first.

What Kling answers at once (the voices, the faces) needs no sensor. It cannot be looked up either: from Airflow 3.3 on
a retry or a clear is given the answer that is written down, before 3.3 a clear sends nothing and says so.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, Param, task

from kling_provider.operators.kling import (
    KlingAdvancedLipSyncOperator,
    KlingAvatarOperator,
    KlingIdentifyFaceOperator,
    KlingReadOperator,
    KlingTextToSpeechOperator,
)
from kling_provider.transfers.kling_to_object_storage import KlingToObjectStorageOperator

PICTURES = Path(__file__).parent / "pictures"
DESTINATION = "{{ var.value.get('kling_destination', 'file:///tmp/kling') }}/{{ run_id }}/"
#: A voice of the form, or the first of Kling's own.
VOICE = "{{ params.%s or ti.xcom_pull(task_ids='voices')[0].voices[0].voice_id }}"

with DAG(
    "kling_presenter",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    tags=["kling", "example"],
    doc_md=__doc__,
    default_args={"retries": 2},
    params={
        "picture": Param(
            "ana.jpg",
            type="string",
            pattern=r"^(https?://\S+|[A-Za-z0-9_][A-Za-z0-9_.-]*)$",
            title="Who speaks",
            description="An http(s) address, or the name of a file in the folder `people` of the pictures folder.",
        ),
        "text": Param(
            "Good morning! Here is what is new in our shop this week: two coats, and a very nice shirt.",
            type="string",
            maxLength=1000,
            title="What is said first",
        ),
        "language": Param("en", enum=["en", "zh"], title="Its language"),
        "voice_id": Param(None, type=["null", "string"], title="Its voice"),
        "second_text": Param(
            "早上好!本周我们店里有新品上架:两件大衣,还有一件非常漂亮的衬衫,欢迎大家光临。",
            type="string",
            maxLength=1000,
            title="What is said then",
        ),
        "second_language": Param("zh", enum=["en", "zh"], title="Its language"),
        "second_voice_id": Param(None, type=["null", "string"], title="Its voice"),
    },
) as dag:
    voices = KlingReadOperator(task_id="voices", endpoint="presets-voices")
    speech = KlingTextToSpeechOperator(
        task_id="speech",
        text="{{ params.text }}",
        voice_id=VOICE % "voice_id",
        voice_language="{{ params.language }}",
    )
    avatar = KlingAvatarOperator(
        task_id="avatar",
        image="{{ params.picture if '://' in params.picture else var.value.get('kling_pictures', '"
        + str(PICTURES)
        + "') ~ '/people/' ~ params.picture }}",
        audio_id=speech.output["audio_id"],
        input_seconds=speech.output["audio_duration"],  # the price follows it
        max_units=40,
        prompt="She looks into the camera and speaks calmly.",
        wait_for_completion=True,
    )
    faces = KlingIdentifyFaceOperator(task_id="faces", video_id=avatar.output["video_id"])
    second_speech = KlingTextToSpeechOperator(
        task_id="second_speech",
        text="{{ params.second_text }}",
        voice_id=VOICE % "second_voice_id",
        voice_language="{{ params.second_language }}",
    )

    @task
    def choice(faces: Any, speech: Any) -> list[dict[str, Any]]:
        """Which face says what, and when: the first one, as long as both are there. Times are milliseconds."""
        face, sound = faces["data"]["face_data"][0], speech["audios"][0]
        begin, end = int(face["start_time"]), int(face["end_time"])
        return [
            {
                "face_id": face["face_id"],
                "audio_id": sound["id"],
                "sound_start_time": 0,
                "sound_end_time": min(int(float(sound["duration"]) * 1000), end - begin),
                "sound_insert_time": begin,
                "original_audio_volume": 0,
            }
        ]

    chosen: Any = choice(faces.output, second_speech.output)
    second = KlingAdvancedLipSyncOperator(
        task_id="second",
        session_id=faces.output["session_id"],
        face_choose=chosen,
        wait_for_completion=True,
    )
    voices >> [speech, second_speech]
    faces >> second_speech  # nothing is spoken for a clip without a face
    for made, name in ((avatar, "store"), (second, "store_second")):
        KlingToObjectStorageOperator(task_id=name, task=made.output, destination=DESTINATION)
