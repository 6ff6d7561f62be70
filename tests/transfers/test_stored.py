"""Which tasks are stored is told from names alone."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath

from kling_provider.transfers.kling_to_object_storage import KlingToObjectStorageOperator
from kling_provider.transfers.stored import stored_task_ids
from tests.hooks.test_kling_hook import SOON

TASK = "867283741759111202"


def put(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


@pytest.mark.parametrize(
    "name",
    [
        f"{TASK}-8901.mp4",
        f"2026-10-01/{TASK}-8901.mp4",
        f"a/b/c/d/0_{TASK}.mp4",
        f"{TASK}.mp4",
        f"{TASK}/0.mp4",
        f"boat-{TASK}-0.mp4",
        f"{TASK}-8901.tar.gz",
    ],
)
@pytest.mark.parametrize("scheme", ["file://", "", "file:///"])
def test_an_id_in_a_name_is_found_however_deep(name: str, scheme: str, tmp_path: Path) -> None:
    put(tmp_path, name)
    folder = scheme + str(tmp_path).removeprefix("/" if scheme.endswith("///") else "")
    assert TASK in stored_task_ids(folder)
    assert TASK in stored_task_ids(folder + "/")


@pytest.mark.parametrize("task_id", ["task_01J9", "a.b=c", "a-b-c", "x"])
def test_ids_of_any_form_are_found(task_id: str, tmp_path: Path) -> None:
    put(tmp_path, f"{task_id}-8901.mp4")
    assert task_id in stored_task_ids(str(tmp_path))


@pytest.mark.parametrize("name", [f"{TASK}0-1.mp4", f"1{TASK}.mp4", f".kling-{TASK}.part", "latest.mp4"])
def test_a_longer_id_and_half_a_file_are_no_match(name: str, tmp_path: Path) -> None:
    put(tmp_path, name)
    assert TASK not in stored_task_ids(str(tmp_path))


def test_the_destination_itself_and_an_empty_folder_say_nothing(tmp_path: Path) -> None:
    put(tmp_path / TASK, "latest.mp4")
    (tmp_path / TASK / "777").mkdir()
    assert not {TASK, "777"} & stored_task_ids(str(tmp_path / TASK))


def test_a_folder_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    assert stored_task_ids(str(tmp_path / "none")) == set()


def test_what_the_transfer_stores_under_its_default_name_is_found(
    kling_simulator, kling_connection, tmp_path
):
    from kling_provider.hooks.kling import KlingHook

    task_id = KlingHook().submit("text2video", {"prompt": "a boat"}).task_id
    task = KlingHook().wait_for_task(task_id, endpoint="text2video", **SOON)
    KlingToObjectStorageOperator(
        task_id="store", task=task.to_dict(), destination=f"{tmp_path}/2026/"
    ).execute({})
    assert task_id in stored_task_ids(f"file://{tmp_path}")


@pytest.fixture
def bucket(s3: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A new bucket, reached through the Airflow connection ``names_store``."""
    import boto3

    keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing", "region_name": "us-east-1"}
    extra = {"region_name": "us-east-1", "endpoint_url": s3}
    fields = {"conn_type": "aws", "login": "testing", "password": "testing", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_NAMES_STORE", json.dumps(fields))
    bucket = boto3.resource("s3", endpoint_url=s3, **keys).Bucket(f"names-{datetime.now(UTC):%H%M%S%f}")
    bucket.create()
    return bucket


def test_a_bucket_is_listed_through_its_connection_and_nothing_is_read(bucket, monkeypatch):
    for number in range(3):
        bucket.put_object(Key=f"videos/2026-10-0{number}/{TASK}{number}-8901.mp4", Body=b"")
    bucket.put_object(Key=f"elsewhere/{TASK}9-8901.mp4", Body=b"")
    monkeypatch.setattr(ObjectStoragePath, "open", lambda *_: pytest.fail("a file was opened"))
    expected = {f"{TASK}{number}" for number in range(3)}
    for folder, conn_id in (
        (f"s3://{bucket.name}/videos/", "names_store"),
        (f"s3://names_store@{bucket.name}/videos", None),
    ):
        found = stored_task_ids(folder, conn_id)
        assert expected <= found
        assert f"{TASK}9" not in found
    assert f"{TASK}9" in stored_task_ids(f"s3://{bucket.name}", "names_store")


def test_a_file_stored_since_the_last_look_is_seen(bucket):
    folder = f"s3://{bucket.name}/videos"
    assert stored_task_ids(folder, "names_store") == set()
    bucket.put_object(Key=f"videos/{TASK}-8901.mp4", Body=b"")
    assert TASK in stored_task_ids(folder, "names_store")


def test_a_bucket_that_is_not_there_is_no_empty_one(bucket):
    with pytest.raises(FileNotFoundError):
        stored_task_ids("s3://no-such-bucket/videos", "names_store")
