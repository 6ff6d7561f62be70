"""What the web application behind the tab gives, to whom, and how."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("airflow.api_fastapi.core_api.security")
from airflow.api_fastapi.core_api import security
from airflow.models.dag import DagModel
from airflow.models.renderedtifields import RenderedTaskInstanceFields
from airflow.models.xcom import XComModel
from airflow.providers.common.compat.sdk import conf
from airflow.sdk.io import attach
from airflow.sdk.io.store import ObjectStore
from fastapi import HTTPException
from fastapi.testclient import TestClient
from sqlalchemy import create_engine
from sqlalchemy.orm import Session
from sqlalchemy.pool import StaticPool

from kling_provider.plugins import manifests, previews
from kling_provider.plugins.app import make_app

MP4 = b"\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isomiso2" + bytes(range(256)) * 3000
RUN = "manual__2026-01-01T00:00:00+00:00"
FILE = f"/stored/mine/{RUN}/group.store/-1/0"
STATIC = Path(manifests.__file__).parent / "static"
NOTHING = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'; sandbox"


class Rights:
    """An auth manager that lets in who asks for the DAG `mine`, and notes what was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, str | None]] = []

    def is_authorized_dag(self, *, method: str, access_entity: Any, details: Any, user: Any) -> bool:
        self.asked.append((method, access_entity.name, details.id))
        return details.id == "mine"


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "a.mp4").write_bytes(MP4)
    (tmp_path / "videos" / "in.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"0" * 50)
    (tmp_path / "secret.mp4").write_bytes(MP4)
    return tmp_path / "videos"


@pytest.fixture
def rights(monkeypatch: pytest.MonkeyPatch) -> Rights:
    rights = Rights()
    monkeypatch.setattr(security, "get_auth_manager", lambda: rights)
    if hasattr(DagModel, "get_team_name"):
        monkeypatch.setattr(DagModel, "get_team_name", staticmethod(lambda *_, **__: None))
    return rights


@pytest.fixture
def client(rights: Rights, videos: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    monkeypatch.setenv("AIRFLOW__KLING__PREVIEW_ROOTS", str(videos))
    engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    for model in (XComModel, RenderedTaskInstanceFields):
        model.__table__.create(engine)
    monkeypatch.setattr(manifests, "create_session", lambda: Session(engine))
    with Session(engine) as session:
        for number, (dag_id, task_id, map_index, value) in enumerate(
            [
                (
                    "mine",
                    "group.store",
                    -1,
                    [{"uri": f"file://{videos}/a.mp4"}, {"uri": "file:///etc/passwd"}],
                ),
                ("mine", "as_text", -1, json.dumps([{"uri": f"file://{videos}/a.mp4"}])),
                ("mine", "mapped", 4, [{"uri": f"file://{videos}/a.mp4"}]),
                ("mine", "odd", -1, {"uri": f"file://{videos}/a.mp4"}),
                ("mine", "odder", -1, ["text", {"uri": ["list"]}, {"uri": f"file://{videos}/../secret.mp4"}]),
                ("mine", "no_json", -1, "[{"),
                ("others", "store", -1, [{"uri": f"file://{videos}/a.mp4"}]),
            ]
        ):
            session.add(
                XComModel(
                    dag_run_id=number, dag_id=dag_id, run_id=RUN, task_id=task_id, map_index=map_index,
                    key="return_value", value=value,
                )
            )  # fmt: skip
        fields = {"image": f"{videos}/in.png", "image_list": [{"image": f"file://{videos}/in.png"}]}
        fields |= {"as_text": json.dumps({"image": f"{videos}/in.png"}), "prompt": "/etc/passwd"}
        session.execute(
            RenderedTaskInstanceFields.__table__.insert().values(
                dag_id="mine", run_id=RUN, task_id="video", map_index=-1, rendered_fields=fields
            )
        )
        session.commit()
    app = make_app()
    app.dependency_overrides[security.get_user] = lambda: "ada"
    with TestClient(app) as client:
        yield client


def test_a_stored_video_is_given_whole(client: TestClient) -> None:
    answer = client.get(FILE)
    assert answer.status_code == 200
    assert answer.content == MP4
    assert answer.headers["content-type"] == "video/mp4"
    assert answer.headers["content-length"] == str(len(MP4))
    assert answer.headers["content-disposition"] == "inline"
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"] == NOTHING
    assert answer.headers["cache-control"] == "private, no-store"


@pytest.mark.parametrize(
    ("asked", "status", "told", "body"),
    [
        ("bytes=0-99", 206, f"bytes 0-99/{len(MP4)}", MP4[:100]),
        ("bytes=700000-", 206, f"bytes 700000-{len(MP4) - 1}/{len(MP4)}", MP4[700000:]),
        ("bytes=-5", 206, f"bytes {len(MP4) - 5}-{len(MP4) - 1}/{len(MP4)}", MP4[-5:]),
        ("bytes=10-99999999", 206, f"bytes 10-{len(MP4) - 1}/{len(MP4)}", MP4[10:]),
        (f"bytes={len(MP4)}-", 416, f"bytes */{len(MP4)}", b""),
        ("bytes=9-3", 416, f"bytes */{len(MP4)}", b""),
        ("bytes=-0", 416, f"bytes */{len(MP4)}", b""),
        ("bytes=-", 200, None, MP4),
        ("bytes=0-1,5-6", 200, None, MP4),
        ("lines=1-2", 200, None, MP4),
    ],
)
def test_a_player_may_ask_for_a_part(
    asked: str, status: int, told: str | None, body: bytes, client: TestClient
) -> None:
    answer = client.get(FILE, headers={"Range": asked})
    assert (answer.status_code, answer.headers.get("content-range"), answer.content) == (status, told, body)


def test_head_tells_the_same_without_the_bytes(client: TestClient) -> None:
    answer = client.head(FILE)
    assert (answer.status_code, answer.headers["content-length"], answer.content) == (200, str(len(MP4)), b"")


@pytest.mark.parametrize("task", ["group.store/-1/0", "as_text/-1/0", "mapped/4/0"])
def test_the_manifest_is_that_of_exactly_this_task_instance(task: str, client: TestClient) -> None:
    assert client.get(f"/stored/mine/{RUN}/{task}").content == MP4


@pytest.mark.parametrize(
    "task",
    [
        *("group.store/-1/1", "group.store/-1/2", "group.store/-1/-1", "group.store/0/0", "mapped/3/0"),
        *("mapped/-1/0", "odd/-1/0", "odder/-1/0", "odder/-1/1", "odder/-1/2", "no_json/-1/0", "store/-1/0"),
    ],
)
def test_a_forged_or_missing_entry_gives_nothing(task: str, client: TestClient) -> None:
    answer = client.get(f"/stored/mine/{RUN}/{task}")
    assert (answer.status_code, answer.content) == (404, b"")


@pytest.mark.parametrize(
    "path",
    [
        f"stored/mine/{RUN}/mapped/{10**20}/0",
        f"asked/mine/{RUN}/video/{10**20}/image",
        f"stored/mine/{RUN}/mapped/-2/0",
    ],
)
def test_a_map_index_that_no_database_holds_is_no_address(path: str, client: TestClient) -> None:
    assert client.get(f"/{path}").status_code == 422


@pytest.mark.parametrize(
    "path", [f"stored/mine/{RUN}/mapped/4/{10**20}", f"asked/mine/{RUN}/video/-1/image_list.{'9' * 5000}"]
)
def test_a_place_that_no_list_has_gives_nothing(path: str, client: TestClient) -> None:
    assert client.get(f"/{path}").status_code == 404


@pytest.mark.parametrize("way", ["stored", "asked"])
def test_the_dag_in_the_path_is_the_one_that_airflow_checks(
    way: str, client: TestClient, rights: Rights
) -> None:
    for query in ("", "?dag_id=mine"):
        answer = client.get(f"/{way}/others/{RUN}/store/-1/0{query}")
        assert (answer.status_code, answer.json()) == (403, {"detail": "Forbidden"})
    assert {name for _, _, name in rights.asked} == {"others"}


def test_xcoms_and_task_instances_must_both_be_allowed(client: TestClient, rights: Rights) -> None:
    client.get(FILE)
    assert sorted(rights.asked) == [("GET", "TASK_INSTANCE", "mine"), ("GET", "XCOM", "mine")]


def test_who_is_not_logged_in_gets_nothing(client: TestClient) -> None:
    def nobody() -> None:
        raise HTTPException(401)

    client.app.dependency_overrides[security.get_user] = nobody  # type: ignore[attr-defined]
    assert client.get(FILE).status_code == 401


def test_without_roots_no_stored_file_is_given(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    assert client.get("/facts.json").json()["previews"] is True
    for setting in ("", "/", "videos"):
        monkeypatch.setenv("AIRFLOW__KLING__PREVIEW_ROOTS", setting)
        assert client.get(FILE).status_code == 404
        assert client.get("/facts.json").json()["previews"] is False


def test_a_percent_sign_in_airflow_cfg_costs_the_previews_and_not_the_tab(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("AIRFLOW__KLING__PREVIEW_ROOTS")
    with in_airflow_cfg("/srv/100% videos"):
        assert client.get("/facts.json").json()["previews"] is False
        assert client.get(FILE).status_code == 404
    assert "No stored file is shown in the Kling tab: '%' must be followed by '%'" in caplog.text
    with in_airflow_cfg("/srv/100%% videos"):
        assert client.get("/facts.json").json()["previews"] is True


@contextmanager
def in_airflow_cfg(preview_roots: str) -> Iterator[None]:
    conf.read_string(f"[kling]\npreview_roots = {preview_roots}")
    try:
        yield
    finally:
        conf.remove_option("kling", "preview_roots", remove_default=False)


@pytest.fixture
def in_bucket(s3: str, client: TestClient, monkeypatch: pytest.MonkeyPatch) -> str:
    """Tasks whose files lie in a bucket, which is read with the connection `reader`; gives their address."""
    import boto3

    keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing", "region_name": "us-east-1"}
    extra = {"region_name": "us-east-1", "endpoint_url": s3}
    fields = {"conn_type": "aws", "login": "testing", "password": "testing", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_READER", json.dumps(fields))
    bucket = boto3.resource("s3", endpoint_url=s3, **keys).Bucket(f"films-{time.time_ns()}")
    bucket.create()
    bucket.put_object(Key="videos/2026/a b+c.mp4", Body=MP4)
    bucket.put_object(Key="videos//run/a.mp4", Body=MP4)
    bucket.put_object(Key="videos/page.mp4", Body=b"<html>")
    bucket.put_object(Key="other/a.mp4", Body=MP4)
    uris = ["2026/a b+c.mp4", "page.mp4", "missing.mp4", "../other/a.mp4", "", "2026"]
    manifest = [{"uri": f"s3://{bucket.name}/videos/{name}"} for name in uris]
    manifest.append({"uri": f"s3://{bucket.name}/other/a.mp4"})
    manifest.append({"uri": f"s3://no_such_connection@{bucket.name}/videos/2026/a b+c.mp4"})
    manifest.append({"uri": f"s3://{bucket.name}/videos//run/a.mp4"})
    manifest.append({"uri": f"s3://{bucket.name}/videos/run/a.mp4"})
    with manifests.create_session() as session:
        session.add(
            XComModel(
                dag_run_id=90, dag_id="mine", run_id=RUN, task_id="to_s3", map_index=-1,
                key="return_value", value=manifest,
            )
        )  # fmt: skip
        session.commit()
    monkeypatch.setenv("AIRFLOW__KLING__PREVIEW_ROOTS", f"/srv/videos, s3://reader@{bucket.name}/videos")
    return f"/stored/mine/{RUN}/to_s3/-1"


@pytest.mark.parametrize("number", [0, 7, 8])
def test_a_file_in_a_bucket_is_given_with_the_connection_of_its_root(
    number: int, client: TestClient, in_bucket: str
) -> None:
    whole = client.get(f"{in_bucket}/{number}")
    assert (whole.status_code, whole.headers["content-type"]) == (200, "video/mp4")
    assert whole.content == MP4
    assert client.head(f"{in_bucket}/{number}").headers["content-length"] == str(len(MP4))


@pytest.mark.parametrize(("asked", "start", "end"), [("0-99", 0, 100), ("700000-", 700000, len(MP4))])
def test_a_player_may_ask_for_a_part_of_a_file_in_a_bucket(
    asked: str, start: int, end: int, client: TestClient, in_bucket: str
) -> None:
    part = client.get(f"{in_bucket}/0", headers={"Range": f"bytes={asked}"})
    assert (part.status_code, part.content) == (206, MP4[start:end])
    assert part.headers["content-range"] == f"bytes {start}-{end - 1}/{len(MP4)}"


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5, 6, 9])
def test_nothing_else_of_a_bucket_is_given(number: int, client: TestClient, in_bucket: str) -> None:
    answer = client.get(f"{in_bucket}/{number}")
    assert (answer.status_code, answer.content) == (404, b"")


@pytest.fixture
def stale(monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    """What Airflow keeps of the connection `reader` as long as the process lives."""
    monkeypatch.setattr(previews, "_renewed", {})
    store = attach("s3", "reader")
    yield store
    vars(store).pop("fs", None)


class Refuses:
    """A store whose keys are no longer those of the account."""

    def info(self, path: str) -> dict[str, int]:
        raise PermissionError("The AWS Access Key Id you provided does not exist in our records.")


def test_new_keys_of_the_connection_are_used_without_a_restart(
    client: TestClient, in_bucket: str, stale: ObjectStore
) -> None:
    stale.fs = Refuses()
    assert client.get(f"{in_bucket}/0").content == MP4


def test_a_store_that_refuses_is_a_warning_and_is_not_asked_for_new_keys_at_every_look(
    client: TestClient, in_bucket: str, stale: ObjectStore, caplog: pytest.LogCaptureFixture
) -> None:
    client.get(f"{in_bucket}/2")  # what is not there is no news
    for _ in range(2):
        stale.fs = Refuses()
        client.get(f"{in_bucket}/0")
    assert client.get(f"{in_bucket}/0").status_code == 404
    assert isinstance(stale.fs, Refuses)
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    refusal = "PermissionError: The AWS Access Key Id you provided does not exist in our records."
    assert warnings == [f"Not shown in the Kling tab: {refusal}"] * 2


@pytest.mark.parametrize("field", ["image", "image_list.0.image", "as_text.image"])
def test_a_picture_that_was_asked_for_is_given(field: str, client: TestClient) -> None:
    answer = client.get(f"/asked/mine/{RUN}/video/-1/{field}")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")


@pytest.mark.parametrize(
    "field", ["prompt", "image.0", "image_list.1.image", "image_list", "__class__", ".", "x"]
)
def test_no_other_field_gives_a_file(field: str, client: TestClient) -> None:
    assert client.get(f"/asked/mine/{RUN}/video/-1/{field}").status_code == 404


@pytest.mark.parametrize(
    "path", ["/task.html", "/run.html", "/task.js", "/kling.css", "/icon.svg", "/facts.json", "/nowhere"]
)
def test_every_answer_protects_its_viewer(path: str, client: TestClient) -> None:
    answer = client.get(path)
    policy = answer.headers["content-security-policy"]
    assert answer.status_code == (404 if path == "/nowhere" else 200)
    assert policy.startswith("default-src 'none'; ")
    assert path.endswith(".html") or policy == NOTHING
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"


def policy_of(answer: Any) -> dict[str, list[str]]:
    rules = (rule.split() for rule in answer.headers["content-security-policy"].split(";"))
    return {name: allowed for name, *allowed in rules}


@pytest.mark.parametrize("page", ["/task.html", "/run.html"])
def test_a_page_runs_its_own_script_alone_by_a_nonce_of_this_answer(page: str, client: TestClient) -> None:
    nonces = set()
    for _ in range(3):
        answer = client.get(page)
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert answer.headers["cache-control"] == "no-store"
        marked = re.findall(r'<(\w+) [^>]*nonce="([^"]*)"', answer.text)
        assert (
            [name for name, _ in marked]
            == ["link", "script"]
            == re.findall(r"<(link|script|style)", answer.text)
        )
        (nonce,) = {nonce for _, nonce in marked}
        assert len(nonce) >= 22  # 128 bits
        nonces.add(nonce)
        assert policy_of(answer) == {
            "default-src": ["'none'"],
            "script-src": [f"'nonce-{nonce}'"],
            "style-src": [f"'nonce-{nonce}'"],
            "connect-src": ["'self'"],
            "img-src": ["'self'", "https:", "http://127.0.0.1:*", "http://localhost:*"],
            "media-src": ["'self'", "https:", "http://127.0.0.1:*", "http://localhost:*"],
            "frame-ancestors": ["'self'"],
            "base-uri": ["'none'"],
            "form-action": ["'none'"],
        }
        assert not re.search(r"<script>|<script [^>]*>[^<]|style=|\son\w+=|https?://", answer.text)
        assert (STATIC / re.findall(r'src="([^"]*)"', answer.text)[0]).is_file()
    assert len(nonces) == 3
    assert client.head(page).status_code == 200


def test_nothing_of_the_request_comes_into_a_page(client: TestClient) -> None:
    answer = client.get(
        "/task.html?dag=%22%3E%3Cscript%3Ealert(1)%3C/script%3E&nonce=mine", headers={"X-Nonce": "mine"}
    )
    assert "alert" not in answer.text + str(answer.headers)
    assert "mine" not in answer.text + str(answer.headers)


@pytest.mark.parametrize(
    "path", ["/../kling.py", "/%2e%2e/kling.py", "/..%2fkling.py", "/static/../../__init__.py"]
)
def test_the_package_is_no_folder_of_the_web_server(path: str, client: TestClient) -> None:
    assert client.get(path).status_code == 404


def test_the_facts_hold_prices_and_times_and_nothing_of_this_deployment(
    client: TestClient, videos: Path
) -> None:
    facts = client.get("/facts.json")
    assert facts.json()["usd_per_unit"]["text2video"] == 0.14
    assert facts.json()["usd_per_unit"]["kolors-virtual-try-on"] is None
    assert facts.json()["usual_seconds"]["image2video"] == 164
    assert str(videos) not in facts.text


def test_no_script_makes_markup_of_text_or_reads_the_session() -> None:
    scripts = {path.name: path.read_text() for path in STATIC.glob("*.js")}
    assert len(scripts) >= 6
    unsafe = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function|document\.cookie|localStorage"
    for name, text in scripts.items():
        assert not re.search(unsafe, text), name
