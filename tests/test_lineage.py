"""What OpenLineage is told, with its provider installed and without it."""

from __future__ import annotations

import builtins
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from kling_provider.lineage import dataset_of, sources_of
from kling_provider.operators.kling import (
    KlingImageToVideoOperator,
    KlingMotionControlOperator,
    KlingTextToVideoOperator,
)
from kling_provider.simulator.server import SimulatorServer
from kling_provider.transfers.kling_to_object_storage import KlingToObjectStorageOperator
from tests.contexts import TaskInstance, context_of

needs_openlineage = pytest.mark.skipif(
    importlib.util.find_spec("airflow.providers.openlineage") is None, reason="needs the OpenLineage provider"
)


@pytest.mark.parametrize(
    ("source", "named"),
    [
        ("s3://bucket/a/b.png", ("s3://bucket", "a/b.png")),
        ("s3a://aws_default@bucket/b.png", ("s3://bucket", "b.png")),
        ("gs://bucket/b.png", ("gs://bucket", "b.png")),
        ("gcs://bucket/b.png", ("gs://bucket", "b.png")),
        ("abfss://box@account.dfs.core.windows.net/b.png", ("abfss://account.dfs.core.windows.net", "b.png")),
        ("s3://bucket/a#1.png", ("s3://bucket", "a#1.png")),
        ("s3a://aws_default@bucket/what?/#2.png", ("s3://bucket", "what?/#2.png")),
        ("file:///data/b.png", ("file", "/data/b.png")),
        ("file:///data/a#1?.png", ("file", "/data/a#1?.png")),
        ("/data/a#1?.png", ("file", "/data/a#1?.png")),
        ("ftp://me:secret@host/b.png?token=1#x", ("ftp://host", "/b.png")),
        ("/data/b.png", ("file", "/data/b.png")),
        ("https://me:secret@host:8443/b.png?X-Amz-Signature=1#x", ("https://host:8443", "/b.png")),
        ("http://host", ("http://host", "/")),
        ("http://[host/b.png", None),
        ("", None),
        (None, None),
        (b"bytes", None),
        ("data:image/png;base64,AAAA", None),
        ("iVBORw0KGgo" + "A" * 400, None),
    ],
)
def test_files_are_named_as_openlineage_does_without_secrets(
    source: Any, named: tuple[str, str] | None
) -> None:
    assert dataset_of(source) == named


def test_every_picture_sound_and_video_of_a_request_is_a_source() -> None:
    request = {
        "prompt": "https://not.a.source/",
        "image": "s3://b/a.png",
        "dynamic_masks": [{"mask": "s3://b/mask.png"}, {"mask": b"bytes"}],
    }
    assert sources_of("image2video", request) == ["s3://b/a.png", "s3://b/mask.png"]
    clips = {"image_url": "s3://b/a.png", "video_url": "https://h/dance.mp4"}
    assert sources_of("motion-control", clips) == ["s3://b/a.png", "https://h/dance.mp4"]
    spoken = {"image": "s3://b/a.png", "sound_file": "s3://b/a.mp3"}
    assert sources_of("avatar", spoken) == ["s3://b/a.png", "s3://b/a.mp3"]
    assert sources_of("omni-video", {"video_list": [{"video_url": "https://h/a.mp4"}]}) == ["https://h/a.mp4"]
    as_text = {"image_list": json.dumps([{"image_url": "s3://b/a.png"}, {"image_url": "s3://b/b.png"}])}
    assert sources_of("omni-video", as_text) == ["s3://b/a.png", "s3://b/b.png"]
    assert sources_of("omni-video", {"image_list": "[no JSON"}) == []
    assert sources_of("/v1/raw/path", {"image": "s3://b/a.png"}) == []


def run(operator: Any, **more: Any) -> tuple[Any, TaskInstance]:
    context = {**context_of(operator), **more}
    return operator.execute(context), context["ti"]


def names(datasets: Any) -> list[tuple[str, str]]:
    return [(dataset.namespace, dataset.name) for dataset in datasets]


def facet(lineage: Any) -> dict[str, Any]:
    from openlineage.client.serde import Serde

    told = json.loads(Serde.to_json(lineage.run_facets["kling"]))
    return {name: value for name, value in told.items() if not name.startswith("_")}


@needs_openlineage
def test_from_picture_to_task_to_file(
    kling_simulator: SimulatorServer, kling_connection: str, picture: Path, tmp_path: Path
) -> None:
    video = KlingImageToVideoOperator(
        task_id="video", image=str(picture), wait_for_completion=True, deferrable=False, poke_interval=1
    )
    assert video.get_openlineage_facets_on_complete(None) is None
    result, ti = run(video)
    made = video.get_openlineage_facets_on_complete(ti)
    assert names(made.inputs) == [("file", str(picture))]
    assert names(made.outputs) == [("kling", result["task_id"])]
    model = kling_simulator.creates[0].body["model_name"]
    told = {
        "task_id": result["task_id"],
        "endpoint": "image2video",
        "external_task_id": result["external_task_id"],
        "model_name": model,
    }
    assert facet(made) == {**told, "units": f"{float(result['units']):g}"}

    store = KlingToObjectStorageOperator(task_id="store", task=result, destination=str(tmp_path / "videos"))
    assert store.get_openlineage_facets_on_complete(None) is None
    manifest, ti = run(store)
    stored = store.get_openlineage_facets_on_complete(ti)
    assert names(stored.inputs) == names(made.outputs)
    assert names(stored.outputs) == [("file", manifest[0]["uri"].removeprefix("file://"))]
    assert facet(stored)["task_id"] == result["task_id"]


class Resumed(TaskInstance):
    """One that comes back from a deferral, with what it pushed before."""

    def xcom_pull(self, task_ids: str, key: str, map_indexes: int | None = None) -> Any:
        assert (task_ids, map_indexes) == (self.task_id, self.map_index)
        return self.pushed.get(key)


@needs_openlineage
@pytest.mark.parametrize("map_index", [-1, 3])
def test_after_a_deferral_and_without_a_wait(
    map_index: int, kling_simulator: SimulatorServer, kling_connection: str
) -> None:
    submit = KlingTextToVideoOperator(task_id="submit", prompt="a boat")
    task_id, ti = run(submit)
    told = submit.get_openlineage_facets_on_complete(ti)
    assert (names(told.inputs), names(told.outputs)) == ([], [("kling", task_id)])
    assert float(facet(told)["units"]) > 0  # what it is expected to cost

    kling_simulator.finish(task_id)
    done = submit.hook.get_task(task_id, endpoint="text2video").to_dict()
    event = {
        "status": "finished",
        "task": {**done, "units": None},
        "task_id": task_id,
        "endpoint": "text2video",
    }
    resumed = KlingTextToVideoOperator(task_id="submit", prompt="a boat")
    back = Resumed(task_id="submit", map_index=map_index, pushed=ti.pushed)
    resumed.execute_complete({"ti": back, "task": resumed}, event)
    again = resumed.get_openlineage_facets_on_complete(back)
    assert names(again.outputs) == [("kling", task_id)]
    assert facet(again) == facet(told) | {"external_task_id": done["external_task_id"]}
    assert facet(again)["model_name"] == kling_simulator.creates[0].body["model_name"]

    lost = KlingTextToVideoOperator(task_id="submit", prompt="a boat")
    lost.execute_complete(context_of(lost), event)  # an Airflow that does not answer
    assert "model_name" not in facet(lost.get_openlineage_facets_on_complete(back))


@needs_openlineage
def test_no_secret_of_an_address_is_told(kling_simulator: SimulatorServer, kling_connection: str) -> None:
    dance = KlingMotionControlOperator(
        task_id="dance",
        image_url="https://me:hidden@h/robot.png?token=hidden",
        video_url="https://h/dance.mp4?X-Amz-Signature=hidden",
        character_orientation="video",
        mode="std",
        input_seconds=5,
    )
    _, ti = run(dance)
    told = dance.get_openlineage_facets_on_complete(ti)
    assert names(told.inputs) == [("https://h", "/robot.png"), ("https://h", "/dance.mp4")]
    assert "hidden" not in str(told)


@needs_openlineage
def test_airflow_s_own_extractor_takes_what_is_told(
    kling_simulator: SimulatorServer, kling_connection: str
) -> None:
    from airflow.providers.openlineage.extractors.base import DefaultExtractor

    submit = KlingTextToVideoOperator(task_id="submit", prompt="a boat")
    task_id, ti = run(submit)
    told = DefaultExtractor(submit).extract_on_complete(ti)
    assert told is not None
    assert names(told.outputs) == [("kling", task_id)]


def test_without_the_provider_nothing_is_told_and_nothing_fails(
    kling_simulator: SimulatorServer, kling_connection: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    imported = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if "openlineage" in name:
            raise ImportError(name)
        return imported(name, *args, **kwargs)

    for name in [name for name in sys.modules if "openlineage" in name]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", without)
    submit = KlingTextToVideoOperator(
        task_id="submit", prompt="a boat", wait_for_completion=True, deferrable=False, poke_interval=1
    )
    result, ti = run(submit)
    assert submit.get_openlineage_facets_on_complete(ti) is None
    store = KlingToObjectStorageOperator(task_id="store", task=result, destination=str(tmp_path))
    _, ti = run(store)
    assert store.get_openlineage_facets_on_complete(ti) is None
