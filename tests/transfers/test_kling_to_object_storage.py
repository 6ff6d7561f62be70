"""From Kling's storage to yours: whole, once, and with a manifest that is true."""

from __future__ import annotations

import hashlib
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote

import pytest
from airflow.providers.common.compat.sdk import Asset, AssetAlias
from airflow.sdk import DAG, task_group

from kling_provider.api.tasks import KlingTask, KlingVideo
from kling_provider.exceptions import (
    KlingBadRequestError,
    KlingServerError,
    KlingTaskFailedError,
    KlingTaskNotFoundError,
    KlingUnreadableResponseError,
)
from kling_provider.hooks.kling import KlingHook
from kling_provider.operators.kling import KlingTextToVideoOperator
from kling_provider.sensors.kling import KlingTaskSensor
from kling_provider.transfers import kling_to_object_storage as module
from kling_provider.transfers.kling_to_object_storage import KlingToObjectStorageOperator
from tests.contexts import TaskInstance
from tests.hooks.talking import REQUEST, connection
from tests.independent_server import IndependentKling, video_blob
from tests.transfers.serving import FileHost, picture, video


def store(
    task: Any, destination: Any, context: dict[str, Any] | None = None, **options: Any
) -> list[dict[str, Any]]:
    operator = KlingToObjectStorageOperator(
        task_id="store", task=task, destination=str(destination), **options
    )
    return operator.execute(context or {})


def submitted(endpoint: str = "image2video") -> KlingTask:
    request = REQUEST if endpoint == "image2video" else {"prompt": "waves"}
    return KlingHook().submit(endpoint, request)


def finished(kling: IndependentKling, videos: int = 1) -> dict[str, Any]:
    kling.videos_per_task = videos
    hook = KlingHook()
    return hook.get_task(submitted().task_id).to_dict()


def told(host: FileHost, *paths: str, **fields: Any) -> dict[str, Any]:
    """A finished task whose videos lie at ``host``."""
    videos = tuple(
        KlingVideo(f"v{n}", f"{host.url}/{path}", 5.0) for n, path in enumerate(paths or ("a.mp4",))
    )
    return KlingTask("t-1", "image2video", "succeed", videos=videos, **fields).to_dict()


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def local(connect: Any, host: FileHost) -> None:
    """A connection to loopback, so that results may lie there; Kling itself does not answer."""
    connect(host.url, "key")


def test_the_manifest_tells_the_truth(official, tmp_path):
    task = finished(official)
    (entry,) = store(task, tmp_path)
    video_id = official.ledger[0].video_ids[0]
    content = video_blob(video_id)
    path = tmp_path / f"{task['task_id']}-{video_id}.mp4"
    assert path.read_bytes() == content
    assert entry == {
        "uri": f"file://{path}",
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "media_type": "video/mp4",
        "duration": 5.041,
        "task_id": task["task_id"],
        "media_id": video_id,
    }
    assert json.loads(json.dumps(entry)) == entry
    assert files(tmp_path) == [path.name]


def test_a_real_video_of_the_simulator_is_stored_whole(kling_simulator, kling_connection, tmp_path):
    kling_simulator.set(task_seconds=0)
    (entry,) = store(submitted("text2video").task_id, tmp_path, endpoint="text2video")
    assert entry["media_type"] == "video/mp4"
    assert abs(entry["duration"] - 5) < 0.2
    content = next(tmp_path.iterdir()).read_bytes()
    assert (len(content), hashlib.sha256(content).hexdigest()) == (entry["bytes"], entry["sha256"])


@pytest.mark.parametrize("write", ["{}", "{}/", "file://{}", "file://{}/"])
def test_a_destination_may_be_a_path_or_a_uri(official, tmp_path, write):
    (entry,) = store(finished(official), write.format(tmp_path / "new" / "folder"))
    (path,) = (tmp_path / "new" / "folder").iterdir()
    assert entry["uri"] == f"file://{path}"


def test_a_relative_destination_is_taken_from_the_working_directory(official, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (entry,) = store(finished(official), "videos")
    assert files(tmp_path) == [os.path.relpath(entry["uri"].removeprefix("file://"), tmp_path)]
    assert (tmp_path / "videos").is_dir()


def test_every_video_of_a_task_is_stored(official, tmp_path):
    manifest = store(finished(official, videos=3), tmp_path)
    assert [entry["media_id"] for entry in manifest] == official.ledger[0].video_ids
    assert len({entry["sha256"] for entry in manifest}) == 3
    assert len(files(tmp_path)) == 3


def test_pictures_and_sounds_are_stored_too(local, host, tmp_path):
    host.script = [
        {"body": picture()},
        {"body": b"ID3" + b"x" * 50},
        {"body": b"RIFF\x0d\0\0\0WAVE" + b"x" * 9},
    ]
    images = ({"index": 0, "url": f"{host.url}/a"},)
    audios = ({"id": "s1", "url_mp3": f"{host.url}/b", "url_wav": f"{host.url}/c", "duration": "3"},)
    task = KlingTask("t-1", "text2video", "succeed", images=images, audios=audios).to_dict()
    manifest = store(task, tmp_path)
    assert [entry["media_type"] for entry in manifest] == ["image/png", "audio/mpeg", "audio/wav"]
    assert files(tmp_path) == ["t-1-image-0.png", "t-1-s1-mp3.mp3", "t-1-s1-wav.wav"]


def test_where_the_first_file_lies_is_pushed_for_a_next_step(official, tmp_path):
    ti = TaskInstance()
    manifest = store(finished(official, videos=2), tmp_path, {"ti": ti})
    assert ti.pushed == {"uri": manifest[0]["uri"]}
    operator = KlingToObjectStorageOperator(task_id="store", task="1", destination=str(tmp_path))
    assert (operator.output["uri"].key, operator.output.key) == ("uri", "return_value")


def test_answers_without_an_id_do_not_take_each_other_s_files(local, host, tmp_path):
    host.script = [{"body": picture(bytes([number]))} for number in range(3)]
    images = ({"type": "object_seg", "url": f"{host.url}/a"},)
    answers = [
        KlingTask("", "image-recognize", "succeed", images=images, request_id=f"r-{number}").to_dict()
        for number in range(2)
    ]
    stored = [store(answer, tmp_path)[0] for answer in (*answers, answers[0])]
    assert [entry["uri"].rpartition("/")[2] for entry in stored] == [
        "r-0-image-0.png",
        "r-1-image-0.png",
        "r-0-image-0.png",
    ]
    assert stored[0]["sha256"] == stored[2]["sha256"] != stored[1]["sha256"]


def test_the_files_of_an_answer_have_no_fresh_address(local, host, tmp_path):
    host.script = [{"status": 403}] * 9
    audios = ({"id": "a", "url": f"{host.url}/a"},)
    task = KlingTask("7", "tts", "succeed", audios=audios, request_id="r").to_dict()
    with pytest.raises(KlingServerError, match="HTTP 403"):
        store(task, tmp_path)


# --- what may be given as task ------------------------------------------------------------------------


def test_an_id_alone_is_asked_for_at_its_endpoint(official, tmp_path):
    task = submitted("text2video")
    with pytest.raises(KlingTaskNotFoundError):
        store(task.task_id, tmp_path)
    (entry,) = store(task.task_id, tmp_path, endpoint="text2video")
    assert entry["task_id"] == task.task_id


def test_the_submit_s_kling_task_names_its_endpoint_itself(official, tmp_path):
    task = submitted("text2video")
    kling_task = {"task_id": task.task_id, "endpoint": "text2video", "external_task_id": None}
    for value in (kling_task, json.dumps(kling_task)):
        (entry,) = store(value, tmp_path)
        assert entry["task_id"] == task.task_id


def test_the_connection_is_the_one_that_was_named(independent, monkeypatch, tmp_path):
    monkeypatch.setenv("AIRFLOW_CONN_KLING_OTHER", connection(independent.url, independent.api_key))
    task = KlingHook("kling_other").submit("image2video", REQUEST)
    (entry,) = store(task.task_id, tmp_path, kling_conn_id="kling_other")
    assert entry["task_id"] == task.task_id


@pytest.mark.parametrize(
    "task",
    [
        None,
        "",
        "../../account/costs",
        7.5,
        {},
        {"task_id": None},
        {"videos": []},
        {"videos": 3},
        "{'task_id': 'x'}",
    ],
)
def test_what_is_no_task_is_refused_before_any_request(official, tmp_path, task):
    with pytest.raises(KlingBadRequestError):
        store(task, tmp_path / "out")
    assert official.requests == []
    assert not (tmp_path / "out").exists()


def test_a_failed_task_has_nothing_to_store(official, tmp_path):
    official.next_task("fail", message="too many cats")
    task = submitted()
    with pytest.raises(KlingTaskFailedError, match="too many cats") as caught:
        store(task.task_id, tmp_path)
    assert caught.value.task_id == task.task_id
    assert task.task_id in str(caught.value)
    assert files(tmp_path) == []


def test_an_unfinished_task_is_to_be_waited_for(official, tmp_path):
    official.next_task("stuck")
    official.schedule = (0, 99)
    with pytest.raises(KlingBadRequestError, match="Wait for it with KlingTaskSensor first") as caught:
        store(submitted().task_id, tmp_path)
    assert "status processing" in str(caught.value)
    assert files(tmp_path) == []


# --- once ---------------------------------------------------------------------------------------------


def test_a_second_run_fetches_nothing_and_tells_the_same(official, tmp_path):
    task = finished(official, videos=2)
    first = store(task, tmp_path)
    count = len(official.requests)
    assert store(task, tmp_path) == first
    assert len(official.requests) == count
    store(task["task_id"], tmp_path)
    assert [request.path for request in official.requests[count:]] == [
        f"/v1/videos/image2video/{task['task_id']}"
    ]


def test_only_what_is_missing_is_fetched(official, tmp_path):
    task = finished(official, videos=2)
    first = store(task, tmp_path)
    Path(first[1]["uri"].removeprefix("file://")).unlink()
    count = len(official.requests)
    assert store(task, tmp_path) == first
    assert [request.path for request in official.requests[count:]] == [
        f"/files/{official.ledger[0].video_ids[1]}.mp4"
    ]


@pytest.mark.parametrize("broken", [b"", b"<html>expired</html>", video()[:100]])
def test_a_stored_file_that_is_broken_is_fetched_anew(official, tmp_path, broken):
    task = finished(official)
    (entry,) = store(task, tmp_path)
    path = Path(entry["uri"].removeprefix("file://"))
    path.write_bytes(broken)
    assert store(task, tmp_path) == [entry]
    assert path.read_bytes() == video_blob(entry["media_id"])


@pytest.mark.parametrize("filename", ["latest.mp4", "{index}.{extension}"])
def test_a_name_that_says_nothing_about_the_task_is_written_anew(official, tmp_path, filename):
    """Yesterday's latest.mp4 is not today's."""
    yesterday, today = finished(official), finished(official)
    store(yesterday, tmp_path, filename=filename)
    (entry,) = store(today, tmp_path, filename=filename)
    (path,) = tmp_path.iterdir()
    assert path.read_bytes() == video_blob(today["videos"][0]["id"])
    assert entry["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_folder_named_for_the_task_is_enough_to_know_its_file_again(official, tmp_path):
    task = finished(official)
    for _ in range(2):
        store(task, tmp_path / task["task_id"], filename="video.mp4")
    assert len(official.seen("GET", "/files")) == 1


# --- whole or not at all ------------------------------------------------------------------------------


def test_a_transfer_that_is_always_cut_leaves_nothing(local, host, tmp_path):
    host.script = [{"cut": 1000}] * 99
    with pytest.raises(KlingServerError):
        store(told(host), tmp_path)
    assert files(tmp_path) == []


def test_nobody_sees_half_a_file(local, host, tmp_path):
    seen: list[list[str]] = []
    host.content = video(5_000_000)
    host.script = [
        {"before": lambda: seen.append([name for name in files(tmp_path) if not name.startswith(".")])}
    ]
    store(told(host), tmp_path)
    assert seen == [[]]
    assert files(tmp_path) == ["t-1-v0.mp4"]


def test_a_worker_that_dies_while_it_stores_leaves_nothing(local, host, tmp_path, monkeypatch):
    def die(*_: Any) -> None:
        raise SystemExit("killed")

    monkeypatch.setattr(module.os, "replace", die)
    with pytest.raises(SystemExit):
        store(told(host), tmp_path)
    assert files(tmp_path) == []


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600)])
def test_the_file_s_mode_follows_the_umask(local, host, tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        store(told(host), tmp_path)
    finally:
        os.umask(before)
    assert (tmp_path / "t-1-v0.mp4").stat().st_mode & 0o777 == mode


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (b"<!DOCTYPE html><html>Expired</html>", "it begins with b'<!DOCTYPE html><'"),
        (b"", "is empty"),
        (video()[:200], "cut off after 200 bytes"),
        (b'{"code": 1}', "is not a video"),
    ],
)
def test_what_is_no_video_is_not_stored(official, tmp_path, answer, text):
    task = finished(official)
    official.video_bytes = answer
    with pytest.raises(KlingUnreadableResponseError, match="Nothing was stored") as caught:
        store(task, tmp_path)
    assert text in str(caught.value)
    assert task["task_id"] in str(caught.value)
    assert "may still be at Kling" in str(caught.value)
    assert files(tmp_path) == []
    assert len(official.seen("GET", "/files")) == 2


def test_max_bytes_bounds_a_file(local, host, tmp_path):
    size = len(host.content)
    with pytest.raises(KlingBadRequestError, match=f"larger than max_bytes={size - 1}"):
        store(told(host), tmp_path, max_bytes=size - 1)
    assert files(tmp_path) == []
    assert store(told(host), tmp_path, max_bytes=size)[0]["bytes"] == size


def test_a_url_that_has_expired_is_asked_for_again(official, tmp_path):
    task = finished(official, videos=2)
    for entry in task["videos"]:
        entry["url"] = entry["url"].replace("/files/", "/files/expired-")
    manifest = store(task, tmp_path)
    assert [entry["sha256"] for entry in manifest] == [
        hashlib.sha256(video_blob(name)).hexdigest() for name in official.ledger[0].video_ids
    ]
    assert len(official.seen("POST")) == 1


@pytest.mark.parametrize("answer", [{"body": b"<html>expired</html>"}, {"cut": 100, "length": None}])
def test_a_url_that_answers_something_else_is_asked_for_again(official, host, tmp_path, answer):
    """Some hosts answer an address that has expired with 200 and a page."""
    task = finished(official)
    task["videos"][0]["url"] = f"{host.url}/old.mp4"
    host.script = [answer]
    (entry,) = store(task, tmp_path)
    assert entry["sha256"] == hashlib.sha256(video_blob(entry["media_id"])).hexdigest()
    assert host.paths == ["/old.mp4"]
    assert len(official.seen("POST")) == 1


def at(
    host: FileHost, task: dict[str, Any], monkeypatch: pytest.MonkeyPatch, *, is_asked: bool = False
) -> dict[str, Any]:
    """The task with its video at ``host``, also when Kling is asked for a fresh address."""
    url = f"{host.url}/a.mp4"
    moved = {**task, "videos": [{**entry, "url": url} for entry in task["videos"]]}
    if not is_asked:
        monkeypatch.setattr(KlingHook, "get_task", lambda *_, **__: KlingTask.from_dict(moved))
    return moved


def long_ago(task: dict[str, Any], days: float = 31) -> dict[str, Any]:
    """The task as if it had been over since so many days."""
    return {**task, "updated_at": (datetime.now(UTC) - timedelta(days=days)).isoformat()}


@pytest.mark.parametrize("status", [404, 410])
def test_a_result_that_kling_has_deleted_fails_for_good(official, host, tmp_path, monkeypatch, status):
    task = at(host, finished(official), monkeypatch)
    host.script = [{"status": status}] * 99
    with pytest.raises(KlingServerError, match="may still be at Kling; a retry asks for it again") as caught:
        store(long_ago(task, days=29), tmp_path)
    assert "deleted" not in str(caught.value)
    with pytest.raises(
        KlingBadRequestError, match=f"HTTP {status}.*keeps results for 30 days: its files are deleted"
    ) as caught:
        store(long_ago(task), tmp_path)
    assert "It was paid" in str(caught.value)
    assert "set on_clear='resubmit' at the submit" in str(caught.value)
    assert caught.value.task_id == task["task_id"]
    assert files(tmp_path) == []
    assert len(official.seen("POST")) == 1


@pytest.mark.parametrize("status", [400, 401, 403])
def test_a_refusal_is_no_proof_that_a_result_is_deleted(official, host, tmp_path, monkeypatch, status):
    """A filter on the way out may answer so, for a file that is there."""
    task = at(host, finished(official), monkeypatch)
    host.script = [{"status": status}] * 99
    with pytest.raises(KlingServerError, match=f"HTTP {status}.*keeps results for 30 days") as caught:
        store(long_ago(task), tmp_path)
    assert not isinstance(caught.value, KlingBadRequestError)
    assert (caught.value.http_status, caught.value.task_id) == (status, task["task_id"])
    assert "probably deleted" in str(caught.value)
    assert "a filter" in str(caught.value)
    assert "set on_clear='resubmit' at the submit" in str(caught.value)
    host.script.clear()
    assert len(store(long_ago(task), tmp_path)) == 1


@pytest.mark.parametrize("rest", [video()[:200], picture()[:20], b""])
def test_a_file_that_is_cut_off_is_not_deleted(official, tmp_path, rest):
    task = finished(official)
    official.video_bytes = rest
    with pytest.raises(KlingUnreadableResponseError, match=r"a retry asks for it again\. Task .* 30 days"):
        store(long_ago(task), tmp_path)


def test_a_page_in_place_of_kling_s_answer_says_nothing_about_the_file(official, host, tmp_path, monkeypatch):
    task = at(host, finished(official), monkeypatch, is_asked=True)
    host.script = [{"status": 403}]
    official.fail_next("GET", "/v1", "html", status=404, count=99)
    with pytest.raises(KlingServerError) as caught:
        store(long_ago(task), tmp_path)
    assert "deleted" not in str(caught.value)


@pytest.mark.parametrize(
    ("external_id", "way"),
    [
        (
            None,
            "set on_clear='resubmit' at the submit (and choose another external_task_id, where it has one",
        ),
        ("af1-abcdef-abcdefghijklmnop-abcdefghijkl", "set on_clear='resubmit' at the submit"),
        ("order-4711", "choose another external_task_id than 'order-4711' and set on_clear='resubmit' at"),
    ],
)
def test_the_way_to_a_new_one_leads_there(official, tmp_path, external_id, way):
    """A submit with an external_task_id of its own finds the old task again, whatever on_clear says."""
    task = finished(official) | {"external_task_id": external_id}
    for answer in (b"<html>", video()[:200]):
        official.video_bytes = answer
        with pytest.raises((KlingBadRequestError, KlingServerError)) as caught:
            store(long_ago(task), tmp_path)
        assert way in str(caught.value)


def test_a_gateway_that_keeps_results_for_a_day_says_so(kling_simulator, monkeypatch, tmp_path):
    monkeypatch.setenv("AIRFLOW_CONN_KLING_DEFAULT", kling_simulator.connection_json("dmxapi"))
    kling_simulator.set(task_seconds=0, result_ttl=0)
    task = KlingHook().get_task(submitted().task_id).to_dict()
    with pytest.raises(KlingServerError, match=r"HTTP 403.*keeps results for 1 days, so .* probably deleted"):
        store(long_ago(task, days=2), tmp_path)
    assert len(kling_simulator.charges) == 1


def test_a_task_that_kling_has_forgotten_was_deleted_too(official, tmp_path):
    task = finished(official)
    task["videos"][0]["url"] = task["videos"][0]["url"].replace("/files/", "/files/expired-")
    official.tasks.clear()
    with pytest.raises(KlingTaskNotFoundError):
        store(task | {"updated_at": None}, tmp_path)
    with pytest.raises(KlingBadRequestError, match="its files are deleted"):
        store(long_ago(task), tmp_path)


def test_a_page_in_place_of_a_file_that_is_too_old_is_its_end(official, tmp_path):
    task = finished(official)
    official.video_bytes = b"<html>expired</html>"
    with pytest.raises(KlingBadRequestError, match="its files are deleted"):
        store(long_ago(task), tmp_path)


def test_what_is_older_than_promised_and_still_there_is_stored(official, tmp_path):
    assert len(store(long_ago(finished(official), days=99), tmp_path)) == 1


def test_results_of_a_real_kling_are_fetched_from_public_addresses_only(connect, host, tmp_path):
    connect("https://api.example.com", "key", trust_env=False)
    with pytest.raises(KlingBadRequestError, match="not https"):
        store(told(host), tmp_path)
    connect("https://api.example.com", "key", trust_env=False, result_hosts="127.0.0.1")
    assert len(store(told(host), tmp_path)) == 1


# --- names --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("filename", "name"),
    [
        ("{task_id}/{media_id}.{extension}", "t-1/v0.mp4"),
        ("{index:03d}-{task_id}.{extension}", "000-t-1.mp4"),
        ("clip.mp4", "clip.mp4"),
    ],
)
def test_the_filename_is_a_pattern(local, host, tmp_path, filename, name):
    (entry,) = store(told(host), tmp_path, filename=filename)
    assert files(tmp_path) == [name]
    assert entry["uri"] == f"file://{tmp_path}/{name}"


@pytest.mark.parametrize("filename", ["{title}.mp4", "{}.mp4", "{task_id", "{0}", "{task_id.x}"])
def test_a_pattern_that_cannot_be_filled_in_names_what_can(local, host, tmp_path, filename):
    with pytest.raises(KlingBadRequestError, match=r"may hold \{task_id\}, \{media_id\}, \{index\}"):
        store(told(host), tmp_path / "out", filename=filename)
    assert host.paths == []
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("folder", "filename"),
    [
        ("out", "../{media_id}.mp4"),
        ("out", "a/../../b.mp4"),
        ("out/../..", "b.mp4"),
        ("out", "/etc/b.mp4"),
        ("out", "{media_id}"),
    ],
)
def test_a_file_never_leaves_its_folder(local, host, tmp_path, folder, filename):
    task = told(host)
    task["videos"][0]["id"] = ".."
    with pytest.raises(KlingBadRequestError, match="leads out of its folder"):
        store(task, f"{tmp_path}/{folder}", filename=filename)
    assert host.paths == []
    assert files(tmp_path) == []


def test_ids_of_kling_make_harmless_names(local, host, tmp_path):
    task = told(host)
    task["videos"][0]["id"] = "../../etc/passwd\n"
    store(task, tmp_path)
    assert files(tmp_path) == ["t-1-.._.._etc_passwd_.mp4"]


def test_several_files_never_share_a_name(official, tmp_path):
    task = finished(official, videos=2)
    count = len(official.requests)
    with pytest.raises(KlingBadRequestError, match=r"Put \{index\} or \{media_id\} into it"):
        store(task, tmp_path, filename="{task_id}.{extension}")
    assert (files(tmp_path), len(official.requests)) == ([], count)
    assert len(store(task, tmp_path, filename="{task_id}-{index}.{extension}")) == 2


def test_videos_without_an_id_are_named_by_their_position(local, host, tmp_path):
    task = told(host, "a", "b")
    for entry in task["videos"]:
        entry["id"] = ""
    assert [entry["media_id"] for entry in store(task, tmp_path)] == ["video-0", "video-1"]
    assert files(tmp_path) == ["t-1-video-0.mp4", "t-1-video-1.mp4"]


def picture_of(hook: KlingHook, prompt: str) -> dict[str, Any]:
    task = hook.submit("images/generations", {"prompt": prompt})
    return hook.wait_for_task(task.task_id, endpoint="images/generations", poke_interval=0.1).to_dict()


def test_pictures_have_no_id_of_their_own_to_be_known_by(kling_simulator, kling_connection, tmp_path):
    """Theirs is image-0 in every task: the second must not be told the first one's picture, nor replace it."""
    hook = KlingHook()
    first, second = picture_of(hook, "a boat"), picture_of(hook, "a kite")
    (entry,) = store(first, tmp_path, filename="{media_id}.{extension}")
    assert store(first, tmp_path, filename="{media_id}.{extension}") == [entry]
    with pytest.raises(KlingBadRequestError, match=r"Put \{task_id\} into filename") as caught:
        store(second, tmp_path, filename="{media_id}.{extension}")
    assert f"that of task {second['task_id']} was not stored" in str(caught.value)
    assert files(tmp_path) == ["image-0.png"]
    assert hashlib.sha256((tmp_path / "image-0.png").read_bytes()).hexdigest() == entry["sha256"]
    (other,) = store(second, tmp_path / second["task_id"], filename="{media_id}.{extension}")
    assert other["sha256"] != entry["sha256"]


def test_a_file_that_is_replaced_is_named(official, tmp_path, told):
    yesterday, today = finished(official), finished(official)
    store(yesterday, tmp_path, filename="latest.mp4")
    assert "replaces it" not in told()
    store(today, tmp_path, filename="latest.mp4")
    assert f"latest.mp4 is there already; the result of task {today['task_id']} replaces it" in told()


def store_mapped(task: dict[str, Any], *, mapped: dict[str, Any] | None = None, **options: Any) -> Any:
    """Store as the first of several mapped tasks, without a database."""
    with DAG("mapped", schedule=None):
        operator = KlingToObjectStorageOperator.partial(task_id="store", **options).expand(
            task=[task, task], **{name: [value, value] for name, value in (mapped or {}).items()}
        )
    return run_mapped(operator.unmap({"task": task, **(mapped or {})}))


def run_mapped(operator: Any) -> Any:
    ti = TaskInstance(task_id=operator.task_id, map_index=0)
    context = {"ti": ti, "task": operator, "ds": "2026-01-01", "run_id": "r"}
    operator.render_template_fields(context)
    return operator.execute(context)


@pytest.mark.parametrize(
    ("folder", "filename"),
    [
        ("out", "{index}.{extension}"),
        ("out/{{ ds }}", "latest.mp4"),
        ("out/task/{{ ti.task_id }}-{{ run_id }}", "video.mp4"),
        ("out", "{{ ds }}-{index}.{extension}"),
    ],
)
def test_mapped_tasks_never_replace_each_other_s_files(official, tmp_path, folder, filename):
    task = finished(official)
    with pytest.raises(KlingBadRequestError, match="the same for all mapped tasks") as caught:
        store_mapped(task, destination=f"{tmp_path}/{folder}", filename=filename)
    assert "Put {task_id} into filename" in str(caught.value)
    assert official.seen("GET", "/files") == []
    assert files(tmp_path) == []


def test_mapped_pictures_need_more_than_their_media_id(local, host, tmp_path):
    images = ({"index": 0, "url": f"{host.url}/a"},)
    task = KlingTask("8600001", "images/generations", "succeed", images=images).to_dict()
    with pytest.raises(KlingBadRequestError, match="the same for all mapped tasks"):
        store_mapped(task, destination=str(tmp_path), filename="{media_id}.{extension}")
    assert host.paths == []


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"filename": "{task_id:>20}.{extension}"},
        {"filename": "{media_id}.{extension}"},
        {"filename": "{{ ti.map_index }}.{extension}"},
        {"filename": "{{ task.task['task_id'] }}.mp4"},
        {"filename": "order-4711.mp4"},
        {"filename": "a.mp4", "mapped": {"destination": "{folder}/b"}},
        {"destination": "{folder}", "mapped": {"filename": "a.mp4"}},
    ],
)
def test_mapped_tasks_may_have_names_that_differ(official, tmp_path, options):
    task = {**finished(official), "external_task_id": "order-4711"}

    def fill(value: str) -> str:
        return value.replace("{folder}", str(tmp_path))

    mapped = {name: fill(value) for name, value in options.pop("mapped", {}).items()}
    given = {name: fill(value) for name, value in options.items()}
    if "destination" not in mapped:
        given["destination"] = str(tmp_path)
    assert len(store_mapped(task, mapped=mapped, **given)) == 1


@pytest.mark.parametrize(
    ("filename", "is_refused"), [("{index}.mp4", True), ("{{ ti.map_index }}.mp4", False)]
)
def test_the_same_holds_in_a_mapped_task_group(official, tmp_path, filename, is_refused):
    task = finished(official)
    with DAG("grouped", schedule=None) as dag:

        @task_group
        def each(one: Any) -> None:
            KlingToObjectStorageOperator(
                task_id="store", task=one, destination=str(tmp_path), filename=filename
            )

        each.expand(one=[task, task])
    operator = dag.task_dict["each.store"].prepare_for_execution()
    operator.task = task
    if is_refused:
        with pytest.raises(KlingBadRequestError, match="the same for all mapped tasks"):
            run_mapped(operator)
    else:
        run_mapped(operator)
    assert files(tmp_path) == ([] if is_refused else ["0.mp4"])


# --- events -------------------------------------------------------------------------------------------


class Events:
    """What operators use of ``context["outlet_events"]``; an alias has no hash in Airflow 3.0."""

    def __init__(self) -> None:
        self.added: list[tuple[str, str, dict[str, Any]]] = []

    def __getitem__(self, alias: AssetAlias) -> Any:
        return SimpleNamespace(add=lambda asset, extra: self.added.append((alias.name, asset.uri, extra)))


def test_each_stored_file_is_an_asset_event(official, tmp_path):
    events, task = Events(), finished(official, videos=2)
    manifest = store(task, tmp_path, {"outlet_events": events})
    assert [(alias, uri) for alias, uri, _ in events.added] == [
        ("kling_results", entry["uri"]) for entry in manifest
    ]
    extra = events.added[0][2]
    assert extra["task_id"] == task["task_id"]
    assert extra["endpoint"] == "image2video"
    names = ("bytes", "sha256", "media_type", "duration", "media_id")
    assert {name: extra[name] for name in names} == {name: manifest[0][name] for name in names}
    assert extra.keys() == {*names, "task_id", "endpoint", "external_task_id", "model_name", "units"}
    assert (extra["external_task_id"], extra["units"]) == (task["external_task_id"], task["units"])
    assert json.loads(json.dumps(extra)) == extra
    assert "http" not in json.dumps(extra)


def test_an_event_names_the_model_that_its_submit_asked_for(official, tmp_path):
    """Kling's result does not: it is asked for upstream, of whoever has submitted this task."""
    task = finished(official)
    asked: list[Any] = []
    pushed = {("other", 3), ("submit", 3)}

    class UpstreamTells(TaskInstance):
        def xcom_pull(self, task_ids: str, key: str, map_indexes: int | None = None) -> Any:
            asked.append((task_ids, key, map_indexes))
            of = {"submit": task["task_id"], "other": "another"}[task_ids]
            if (task_ids, map_indexes) not in pushed:
                return None
            return {"task_id": of, "model_name": f"model of {task_ids}"}

    with DAG("upstream", schedule=None):
        other = KlingTextToVideoOperator(task_id="other", prompt="a boat")
        submit = KlingTextToVideoOperator(task_id="submit", prompt="a boat")
        wait = KlingTaskSensor(task_id="wait", kling_task_id=submit.kling_task)
        operator = KlingToObjectStorageOperator(task_id="store", task=task, destination=str(tmp_path))
        [other, wait] >> operator
    events = Events()
    context = {"ti": UpstreamTells(map_index=3), "task": operator, "outlet_events": events}
    operator.execute(context)
    assert events.added[0][2]["model_name"] == "model of submit"
    assert asked == [("other", "kling_task", 3), ("other", "kling_task", -1), ("submit", "kling_task", 3)]

    pushed = {("submit", -1)}  # one that is not mapped, for a store task that is
    operator.execute(context | {"outlet_events": (events := Events())})
    assert events.added[0][2]["model_name"] == "model of submit"

    known = {"task_id": task["task_id"], "endpoint": "image2video", "model_name": "kling-v2-6"}
    for given in (known, json.dumps(known)):
        store(given, tmp_path, {"outlet_events": (events := Events())})
        assert events.added[0][2]["model_name"] == "kling-v2-6"
    store(task, tmp_path, {"outlet_events": (events := Events())})
    assert events.added[0][2]["model_name"] is None


def test_a_folder_in_any_language_has_an_asset_that_every_airflow_takes(official, tmp_path):
    task, events = finished(official), Events()
    (entry,) = store(task, tmp_path / "视频 é", {"outlet_events": events})
    assert entry["uri"].startswith(f"file://{tmp_path}/视频 é/")
    uri = events.added[0][1]
    assert uri.isascii()
    assert unquote(uri) == entry["uri"]


def test_a_result_that_a_template_rendered_as_json_is_not_asked_for(host, tmp_path, kling_connection):
    """It was made at an endpoint that answers at once, so it has no id and nobody could ask for it."""
    result = {**told(host), "task_id": "", "request_id": "r-1", "endpoint": "tts"}
    (entry,) = store(f" {json.dumps(result)}", tmp_path)
    assert Path(entry["uri"].removeprefix("file://")).is_file()


@pytest.mark.parametrize(
    ("stored", "uri"),
    [
        ("file:///videos/842-1.mp4", "file:///videos/842-1.mp4"),
        ("s3://bucket/2026-01-01/842-1.mp4", "s3://bucket/2026-01-01/842-1.mp4"),
        ("s3://aws_default@bucket/842-1.mp4", "s3://bucket/842-1.mp4"),
        ("gs://google_default@bucket/842-1.mp4", "gs://bucket/842-1.mp4"),
    ],
)
def test_the_uri_of_an_event_is_one_of_an_asset(stored, uri):
    assert Asset(uri=module._public_uri(stored)).uri == uri


def test_the_alias_can_be_chosen_or_left_out(official, tmp_path):
    task = finished(official)
    for alias, expected in (("mine", ["mine"]), (None, [])):
        events = Events()
        store(task, tmp_path, {"outlet_events": events}, asset_alias=alias)
        assert [name for name, *_ in events.added] == expected


def test_the_alias_is_an_outlet_beside_the_user_s_own():
    def outlets(**options: Any) -> list[str]:
        operator = KlingToObjectStorageOperator(task_id="store", task="1", destination="/x", **options)
        return [outlet.name for outlet in operator.outlets]

    assert outlets() == ["kling_results"]
    assert outlets(asset_alias="mine", outlets=[AssetAlias("own")]) == ["own", "mine"]
    assert outlets(asset_alias=None) == []


def test_a_uri_that_no_asset_can_have_does_not_fail_a_stored_file(official, tmp_path, told):
    class Refuses(Events):
        def __getitem__(self, alias: AssetAlias) -> Any:
            raise ValueError("no")

    assert len(store(finished(official), tmp_path, {"outlet_events": Refuses()})) == 1
    assert "No asset event for file://" in told()


def test_templates_are_rendered():
    operator = KlingToObjectStorageOperator(
        task_id="store",
        task="{{ ds }}-task",
        destination="s3://b/{{ ds }}/",
        endpoint="{{ ds }}-e",
        filename="{{ ds }}-{media_id}.mp4",
        kling_conn_id="{{ ds }}-k",
        storage_conn_id="{{ ds }}-s",
    )
    operator.render_template_fields({"ds": "2026-01-01"})
    assert operator.task == "2026-01-01-task"
    assert operator.destination == "s3://b/2026-01-01/"
    assert operator.endpoint == "2026-01-01-e"
    assert operator.filename == "2026-01-01-{media_id}.mp4"
    assert operator.kling_conn_id == "2026-01-01-k"
    assert operator.storage_conn_id == "2026-01-01-s"
    assert operator.hook.kling_conn_id == "2026-01-01-k"


# --- object storage -----------------------------------------------------------------------------------


@pytest.fixture
def bucket(s3: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A new bucket, reached through the Airflow connection ``my_store``."""
    import boto3

    keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing", "region_name": "us-east-1"}
    fields = {
        "conn_type": "aws",
        "login": "testing",
        "password": "testing",
        "extra": {"region_name": "us-east-1", "endpoint_url": s3},
    }
    monkeypatch.setenv("AIRFLOW_CONN_MY_STORE", json.dumps(fields))
    bucket = boto3.resource("s3", endpoint_url=s3, **keys).Bucket(f"videos-{datetime.now(UTC):%H%M%S%f}")
    bucket.create()
    return bucket


def test_a_video_lands_in_a_bucket(official, bucket, tmp_path):
    task = finished(official, videos=2)
    folder = f"s3://{bucket.name}/2026-01-01/"
    manifest = store(task, folder, storage_conn_id="my_store")
    names = [f"2026-01-01/{task['task_id']}-{name}.mp4" for name in official.ledger[0].video_ids]
    assert [entry["uri"] for entry in manifest] == [f"s3://{bucket.name}/{name}" for name in names]
    for entry, name in zip(manifest, names, strict=True):
        content = bucket.Object(name).get()["Body"].read()
        assert content == video_blob(entry["media_id"])
        assert (entry["bytes"], entry["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
    assert sorted(item.key for item in bucket.objects.all()) == sorted(names)
    count = len(official.requests)
    assert store(task, folder, storage_conn_id="my_store") == manifest
    assert len(official.requests) == count


def test_the_storage_connection_may_stand_in_the_uri_and_is_not_told(official, bucket):
    (entry,) = store(finished(official), f"s3://my_store@{bucket.name}/x")
    assert entry["uri"].startswith(f"s3://{bucket.name}/x/")
    assert len(list(bucket.objects.all())) == 1


def test_a_bucket_gets_nothing_of_a_transfer_that_fails(local, host, bucket):
    host.script = [{"cut": 1000}] * 99
    with pytest.raises(KlingServerError):
        store(told(host), f"s3://{bucket.name}/x", storage_conn_id="my_store")
    host.script = [{"body": b"<html>"}]
    with pytest.raises(KlingUnreadableResponseError):
        store(told(host), f"s3://{bucket.name}/x", storage_conn_id="my_store")
    assert list(bucket.objects.all()) == []


def test_a_bucket_that_is_not_there_fails_and_a_retry_stores(official, bucket):
    task = finished(official)
    with pytest.raises(Exception, match=r"(?i)bucket|not exist"):
        store(task, "s3://no-such-bucket/x", storage_conn_id="my_store")
    assert len(store(task, f"s3://{bucket.name}/x", storage_conn_id="my_store")) == 1
