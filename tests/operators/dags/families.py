"""One task of every family, mapped, and the chains that a user would write: run by test_families.py."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from airflow.sdk import DAG

from kling_provider.operators.kling import (
    KlingAddSelectionOperator,
    KlingAdvancedLipSyncOperator,
    KlingAvatarOperator,
    KlingCustomElementOperator,
    KlingEffectsOperator,
    KlingIdentifyFaceOperator,
    KlingImageOperator,
    KlingImageToVideoOperator,
    KlingInitSelectionOperator,
    KlingMotionControlOperator,
    KlingMultiElementsOperator,
    KlingOmniVideoOperator,
    KlingReadOperator,
    KlingTextToAudioOperator,
    KlingTextToSpeechOperator,
    KlingTextToVideoOperator,
)

PICTURE = "https://media.example/boat.png"
OTHER_PICTURE = "https://media.example/harbour.jpg"
VIDEO = "https://media.example/boat.mp4"
SOUND = "https://media.example/voice.mp3"
#: Waiting in the triggerer is tested elsewhere, and takes longer.
ONCE: dict[str, Any] = {"wait_for_completion": True, "deferrable": False, "poke_interval": 1}


def id_of_sound(spoken: dict[str, Any]) -> str:
    return str(spoken["audios"][0]["id"])


def address_of_picture(made: dict[str, Any]) -> str:
    return str(made["images"][0]["url"])


with DAG("families", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)) as dag:
    # Mapped: one argument of each family comes from expand().
    voices = KlingReadOperator.partial(task_id="voices", endpoint="presets-voices").expand(
        request=[{"pageSize": 1}, {"pageSize": 2}]
    )
    speech = KlingTextToSpeechOperator.partial(
        task_id="speech",
        voice_id="{{ ti.xcom_pull('voices')[0][0]['voices'][0]['voice_id'] }}",
        voice_language="en",
    ).expand(text=["The boat is at sea, and the weather is fine", "Land has come in sight, and all are glad"])
    voices >> speech
    KlingTextToAudioOperator.partial(task_id="sounds", **ONCE).expand_kwargs(
        [{"prompt": "waves", "duration": 3}, {"prompt": "gulls", "duration": 4.5}]
    )
    KlingAvatarOperator.partial(task_id="avatar", image=PICTURE, **ONCE).expand(
        audio_id=speech.output.map(id_of_sound)
    )
    images = KlingImageOperator.partial(task_id="images", prompt="a boat", **ONCE).expand(n=[1, 2])
    KlingImageToVideoOperator.partial(task_id="moving", **ONCE).expand(
        image=images.output.map(address_of_picture)
    )
    KlingOmniVideoOperator.partial(task_id="omni", aspect_ratio="16:9", **ONCE).expand(
        prompt=["a boat", "a car"]
    )
    KlingMotionControlOperator.partial(
        task_id="motion", image_url=PICTURE, video_url=VIDEO, mode="std", **ONCE
    ).expand(character_orientation=["image", "video"])
    KlingEffectsOperator.partial(task_id="effects", effect_scene="squish", **ONCE).expand(
        input=[{"image": PICTURE}, {"image": OTHER_PICTURE}]
    )
    element = KlingCustomElementOperator.partial(
        task_id="element",
        element_description="small and red",
        reference_type="image_refer",
        element_image_list={"frontal_image": PICTURE, "refer_images": [{"image_url": OTHER_PICTURE}]},
        **ONCE,
    ).expand(element_name=["boat", "ship"])

    # Chained: ids of one are arguments of the next, alone, inside of objects, and in a template.
    clip = KlingTextToVideoOperator(task_id="clip", prompt="a person speaks", model_name="kling-v1-6", **ONCE)
    faces = KlingIdentifyFaceOperator(task_id="faces", video_id=clip.output["video_id"])
    KlingAdvancedLipSyncOperator(
        task_id="lip_sync",
        session_id=faces.output["session_id"],
        face_choose=[
            {
                "face_id": faces.output["face_id"],
                "sound_file": SOUND,
                "sound_start_time": 0,
                "sound_end_time": 3000,
                "sound_insert_time": 0,
            }
        ],
        **ONCE,
    )
    session = KlingInitSelectionOperator(task_id="session", video_id=clip.output["video_id"])
    marked = KlingAddSelectionOperator.partial(
        task_id="marked", session_id=session.output["session_id"], points=[{"x": 0.5, "y": 0.5}]
    ).expand(frame_index=[0, 10])
    edited = KlingMultiElementsOperator(
        task_id="edited",
        session_id=session.output["session_id"],
        edit_mode="removal",
        prompt="take the boat away",
        **ONCE,
    )
    marked >> edited
    reunion = KlingOmniVideoOperator(
        task_id="reunion",
        prompt="<<<element_1>>> meets <<<element_2>>>",
        aspect_ratio="16:9",
        element_list="""[
            {% for id in ti.xcom_pull('element', key='element_id') %}
              {"element_id": {{ id }}}{{ "" if loop.last else "," }}
            {% endfor %}
        ]""",
        **ONCE,
    )
    element >> reunion
