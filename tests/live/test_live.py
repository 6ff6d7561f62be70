"""A real scheduler, triggerer and API server, the real hooks, and a Kling on loopback."""

from __future__ import annotations

import base64
import json
import re
import shlex
import shutil
import signal
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kling_provider.simulator.server import SimulatorServer
from scripts.private_airflow import PrivateAirflow

pytestmark = pytest.mark.live

ROOT = Path(__file__).parent.parent.parent
API_KEY = "api-key-kling-live-0123456789abcdef"
SECRET_KEY = "secret-key-live-0123456789abcdef"
DMXAPI_TOKEN = "sk-dmxapi-live-0123456789abcdef"

#: DAGs for what the examples do not show; the connection `pair` signs a JWT.
MORE_DAGS = """
from datetime import datetime, timedelta
from airflow.sdk import DAG
from kling_provider.operators.kling import KlingImageToVideoOperator, KlingTextToVideoOperator
from kling_provider.sensors.kling import KlingTaskSensor

when = {"schedule": None, "start_date": datetime(2026, 1, 1), "catchup": False}

with DAG("signed", **when):
    video = KlingImageToVideoOperator(
        task_id="video", image="PICTURE", prompt="live", kling_conn_id="pair", wait_for_completion=True
    )
with DAG("base64", **when):
    KlingImageToVideoOperator(  # with another `validate`, this file would not be a DAG file at all
        task_id="video", image=open("PICTURE.b64").read(), prompt="live", validate="off"
    )
with DAG("waits", **when):
    submit = KlingTextToVideoOperator(task_id="submit", prompt="{{ params.prompt }}", params={"prompt": "waits"})
    for mode in ("deferrable", "reschedule", "poke"):
        KlingTaskSensor(
            task_id=mode,
            kling_task_id=submit.kling_task,
            poke_interval=7 if mode == "reschedule" else 1,  # faster, Airflow's own scheduler trips over it
            timeout=15,
            deferrable=mode == "deferrable",
            mode="reschedule" if mode == "reschedule" else "poke",
        )
with DAG("mapped", **when):
    KlingTextToVideoOperator.partial(task_id="video", wait_for_completion=True, retries=1).expand(
        prompt=["one", "two", "three", "four"]
    )
"""


@pytest.fixture(scope="module")
def kling() -> Iterator[SimulatorServer]:
    from kling_provider.simulator.accounts import Account

    account = Account("main", api_key=API_KEY, access_key="ak-live", secret_key=SECRET_KEY)
    with SimulatorServer(account=account, speed=1, task_seconds=4) as server:
        server.add_account("dmxapi", DMXAPI_TOKEN)
        yield server


@pytest.fixture(scope="module")
def airflow(kling: SimulatorServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateAirflow]:
    folder = tmp_path_factory.mktemp("live airflow")  # with a space in its path
    dags = folder / "dags"
    shutil.copytree(ROOT / "dags", dags, ignore=shutil.ignore_patterns("__pycache__"))
    picture = dags / "pictures" / "lighthouse.jpg"
    (dags / "pictures" / "lighthouse.jpg.b64").write_text(base64.b64encode(picture.read_bytes()).decode())
    (dags / "more.py").write_text(MORE_DAGS.replace("PICTURE", str(picture)))
    (dags / "readme.py").write_text(readme_dag(folder))
    pair = {"conn_type": "kling", "host": kling.url, "login": "ak-live", "password": SECRET_KEY}
    env = {
        "AIRFLOW_CONN_KLING_DEFAULT": json.dumps(
            {"conn_type": "kling", "host": kling.url, "password": API_KEY}
        ),
        "AIRFLOW_CONN_PAIR": json.dumps(pair),
        "AIRFLOW_VAR_KLING_DESTINATION": f"file://{folder}/videos",
    }
    with PrivateAirflow(folder / "home", dags_folder=dags, env=env) as private:
        private.create_pool("kling", 5, include_deferred=True)
        for dag_id in ("waits", "readme_dmxapi", "kling_image_to_video"):
            private.wait_for_dag(dag_id)
        yield private


def readme_dag(folder: Path) -> str:
    """The README's three-task DAG, pasted; only its name, connection and folder are the test's own."""
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    (block,) = [block for block in blocks if 'DAG("picture_to_video"' in block]
    return (
        block.replace('DAG("picture_to_video"', 'DAG("readme_dmxapi"')
        .replace('{"retries": 2}', '{"retries": 2, "kling_conn_id": "readme"}')
        .replace("file:///tmp/videos/", f"file://{folder}/videos/")
    )


def test_a_picture_becomes_a_stored_video(airflow: PrivateAirflow, kling: SimulatorServer) -> None:
    before = len(kling.charges)
    run_id = airflow.trigger("kling_image_to_video", {"prompt": "live"})
    succeed(airflow, "kling_image_to_video", run_id, 120)
    (entry,) = airflow.xcom("kling_image_to_video", run_id, "store")
    data = Path(entry["uri"].removeprefix("file://")).read_bytes()
    assert len(data) == entry["bytes"]
    assert data[4:8] == b"ftyp"
    task_id = airflow.xcom("kling_image_to_video", run_id, "submit")
    assert entry["task_id"] == task_id
    assert len(kling.charges) == before + 1
    events = airflow._request("GET", "/api/v2/assets/events?limit=10")["asset_events"]
    assert entry["sha256"] in [event["extra"].get("sha256") for event in events]


def test_the_readmes_connection_and_dag_run_as_they_are_pasted(
    airflow: PrivateAirflow, kling: SimulatorServer
) -> None:
    blocks = re.findall(r"^```bash\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    (command,) = [block for block in blocks if "connections add" in block]
    words = shlex.split(command.replace("$DMXAPI_TOKEN", DMXAPI_TOKEN))[1:]
    words[words.index("kling_default")] = "readme"
    airflow.cli(*words, "--conn-host", kling.url)
    run_id = airflow.trigger("readme_dmxapi")
    succeed(airflow, "readme_dmxapi", run_id, 120)
    (entry,) = airflow.xcom("readme_dmxapi", run_id, "store")
    assert Path(entry["uri"].removeprefix("file://")).stat().st_size == entry["bytes"]
    assert kling.creates[-1].path == "/kling/v1/videos/image2video"


def test_the_triggerer_may_die_while_a_video_is_waited_for(
    airflow: PrivateAirflow, kling: SimulatorServer
) -> None:
    kling.next_task(seconds=12)
    before = len(kling.creates)
    run_id = airflow.trigger("kling_image_to_video", {"prompt": "the triggerer dies"})
    until(lambda: state_of(airflow, "kling_image_to_video", run_id, "wait") == "deferred")
    airflow.kill("triggerer", signal.SIGKILL)
    airflow.restart("triggerer")
    succeed(airflow, "kling_image_to_video", run_id, 180)
    assert len(kling.creates) == before + 1


def test_a_clear_collects_the_old_video_and_pays_nothing(
    airflow: PrivateAirflow, kling: SimulatorServer
) -> None:
    run_id = airflow.trigger("kling_one_step")
    succeed(airflow, "kling_one_step", run_id, 120)
    first = airflow.xcom("kling_one_step", run_id, "video")
    before = len(kling.creates)
    airflow.clear("kling_one_step", run_id, ["video", "store"])
    succeed(airflow, "kling_one_step", run_id, 120)
    again = airflow.xcom("kling_one_step", run_id, "video")
    assert again["task_id"] == first["task_id"]
    assert len(kling.creates) == before
    assert airflow.xcom("kling_one_step", run_id, "video", key="kling_task")["adopted"] is True


@pytest.mark.parametrize(
    ("outcome", "told"),
    [("fail", "KlingTaskFailedError"), ("stuck", "KlingTaskTimeoutError")],
)
def test_every_mode_ends_alike(
    outcome: str, told: str, airflow: PrivateAirflow, kling: SimulatorServer
) -> None:
    kling.next_task(outcome=outcome, message="Failure to pass the risk control system")
    run_id = airflow.trigger("waits")
    assert airflow.wait_for_run("waits", run_id, 120)["state"] == "failed"
    task_id = kling.tasks[-1].task_id
    for mode in ("deferrable", "reschedule", "poke"):
        assert state_of(airflow, "waits", run_id, mode) == "failed"
        log = airflow.task_log("waits", run_id, mode)
        assert told in log
        assert task_id in log


def test_mapped_tasks_make_one_video_each(airflow: PrivateAirflow, kling: SimulatorServer) -> None:
    before = len(kling.creates)
    run_id = airflow.trigger("mapped")
    succeed(airflow, "mapped", run_id, 180)
    prompts = [create.body["prompt"] for create in kling.creates[before:]]
    assert sorted(prompts) == ["four", "one", "three", "two"]


def test_no_secret_and_no_picture_reaches_database_or_logs(
    airflow: PrivateAirflow, kling: SimulatorServer
) -> None:
    run_id = airflow.trigger("signed")
    succeed(airflow, "signed", run_id, 120)
    refused = airflow.trigger("base64")
    assert airflow.wait_for_run("base64", refused, 60)["state"] == "failed"
    assert "holds picture" in airflow.task_log("base64", refused, "video")
    picture = base64.b64encode((ROOT / "dags/pictures/lighthouse.jpg").read_bytes()).decode()
    forbidden = [
        API_KEY,
        SECRET_KEY,
        DMXAPI_TOKEN,
        "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3Mi",
        picture[100:160],
    ]
    with sqlite3.connect(airflow.db_path) as connection:
        dump = "\n".join(connection.iterdump())
    files = [path for path in airflow.logs_dir.rglob("*") if path.is_file()]
    assert len(files) > 5
    texts = {"the database": dump} | {str(path): path.read_text(errors="replace") for path in files}
    found = [
        f"{secret[:12]}… in {name}" for secret in forbidden for name, text in texts.items() if secret in text
    ]
    assert found == []
    assert "signed" in dump
    assert any("signed" in name for name in texts)


def succeed(airflow: PrivateAirflow, dag_id: str, run_id: str, timeout: float) -> None:
    run = airflow.wait_for_run(dag_id, run_id, timeout)
    assert run["state"] == "success", airflow.explain(dag_id, run_id)


def state_of(airflow: PrivateAirflow, dag_id: str, run_id: str, task_id: str) -> Any:
    return next(ti["state"] for ti in airflow.task_instances(dag_id, run_id) if ti["task_id"] == task_id)


def until(holds: Any, timeout: float = 60) -> None:
    deadline = time.monotonic() + timeout
    while not holds():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.2)
