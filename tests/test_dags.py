"""Every example DAG runs from end to end: real hooks, real deferral, the simulator over loopback."""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kling_provider.simulator.server import SimulatorServer

DAGS = Path(__file__).parent.parent / "dags"
pytestmark = pytest.mark.xdist_group("metadata-database")


@pytest.fixture(scope="session")
def metadata_database() -> None:
    """A migrated database in the tests' Airflow home, with the pool that kling_batch needs."""
    for command in (["db", "migrate"], ["pools", "set", "kling", "5", "slots", "--include-deferred"]):
        subprocess.run([sys.executable, "-m", "airflow", *command], check=True, capture_output=True)


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the example DAGs store, reading the pictures that ship with them."""
    monkeypatch.setenv("AIRFLOW_VAR_KLING_DESTINATION", f"file://{tmp_path}/videos")
    return tmp_path / "videos"


def load(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, DAGS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for task in module.dag.tasks:  # asked more often than users may, to lose no time
        if task.is_mapped and "wait_for_completion" in task.partial_kwargs:
            task.partial_kwargs["poke_interval"] = 1
        elif hasattr(task, "poke_interval"):
            task.poke_interval = 0.2
    return module.dag


def run(dag: Any, **conf: Any) -> dict[str, Any]:
    """Run a DAG in this process; give the return values of its tasks."""
    done = dag.test(run_conf=conf or None)
    instances = done.get_task_instances()
    assert {ti.task_id: str(ti.state) for ti in instances if str(ti.state) != "success"} == {}
    values: dict[str, Any] = {}
    for ti in sorted(instances, key=lambda one: one.map_index):
        value = stored_xcom(ti)
        values[ti.task_id] = value if ti.map_index < 0 else [*values.get(ti.task_id, []), value]
    return values


def stored_xcom(ti: Any) -> Any:
    """The return value as a worker reads it."""
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        row = session.scalar(
            select(XComModel.value).where(
                XComModel.dag_id == ti.dag_id,
                XComModel.run_id == ti.run_id,
                XComModel.task_id == ti.task_id,
                XComModel.map_index == ti.map_index,
                XComModel.key == "return_value",
            )
        )
    try:
        from airflow.sdk.serde import deserialize
    except ImportError:  # before Airflow 3.2
        from airflow.serialization.serde import deserialize
    return deserialize(row)


def check_file(entry: dict[str, Any], folder: Path) -> None:
    path = Path(entry["uri"].removeprefix("file://"))
    assert path.is_relative_to(folder)
    data = path.read_bytes()
    assert (len(data), hashlib.sha256(data).hexdigest()) == (entry["bytes"], entry["sha256"])
    assert data[4:8] == b"ftyp"


@pytest.mark.parametrize("name", ["kling_image_to_video", "kling_text_to_video"])
def test_submit_wait_store(
    name: str, metadata_database: None, kling_simulator: SimulatorServer, kling_connection: str, stored: Path
) -> None:
    values = run(load(name))
    (entry,) = values["store"]
    check_file(entry, stored)
    assert entry["task_id"] == values["submit"] == values["wait"]["task_id"]
    assert [task.task_id for task in kling_simulator.tasks] == [values["submit"]]


def test_a_connection_of_the_database_is_found_by_airflow_dags_test(
    metadata_database: None,
    kling_simulator: SimulatorServer,
    stored: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It runs the trigger in its own process, where an asynchronous look-up sees the environment only."""
    monkeypatch.delenv("AIRFLOW_CONN_KLING_DEFAULT", raising=False)
    airflow = [sys.executable, "-m", "airflow"]
    add = ["connections", "add", "kling_default", "--conn-json", kling_simulator.connection_json()]
    subprocess.run([*airflow, *add], check=True, capture_output=True)
    try:
        command = [*airflow, "dags", "test", "kling_image_to_video"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    finally:
        subprocess.run([*airflow, "connections", "delete", "kling_default"], check=True, capture_output=True)
    assert "state=success" in done.stdout + done.stderr, done.stdout[-4000:]
    assert len(list(stored.rglob("*.mp4"))) == 1


def test_one_step(
    metadata_database: None, kling_simulator: SimulatorServer, kling_connection: str, stored: Path
) -> None:
    values = run(load("kling_one_step"))
    check_file(values["store"][0], stored)
    assert values["video"]["status"] == "succeed"


def test_a_batch_makes_a_video_of_every_picture_and_reports_the_cost(
    metadata_database: None,
    kling_simulator: SimulatorServer,
    kling_connection: str,
    stored: Path,
    tmp_path: Path,
    picture: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("b.png", "a.png"):
        shutil.copy(picture, folder / name)
    (folder / "notes.txt").write_text("not a picture")
    monkeypatch.setenv("AIRFLOW_VAR_KLING_PICTURES", str(folder))
    values = run(load("kling_batch"))
    report = values["report"]
    assert (report["videos"], report["units"], report["usd_at_list_price"]) == (2, "3.0", "0.420")
    for entries in values["store"]:
        check_file(entries[0], stored)
    assert len({create.body["external_task_id"] for create in kling_simulator.creates}) == 2


def test_a_batch_takes_a_list_of_pictures_too(
    metadata_database: None, kling_simulator: SimulatorServer, kling_connection: str, stored: Path
) -> None:
    address = "https://pictures.example/a.jpg"
    values = run(load("kling_batch"), pictures=[address, "dunes.jpg", "teapot.jpg"], limit=2)
    assert values["report"]["videos"] == 2
    images = sorted(create.body["image"] for create in kling_simulator.creates)  # in whatever order they ran
    assert images[0].startswith("<base64 of ")
    assert images[1] == address


@pytest.mark.parametrize(("units", "videos"), [(3, 2), (4.4, 2), (1.5, 1)])
def test_a_batch_stays_inside_the_units_of_a_run(
    units: float,
    videos: int,
    metadata_database: None,
    kling_simulator: SimulatorServer,
    kling_connection: str,
    stored: Path,
) -> None:
    values = run(load("kling_batch"), max_units_per_run=units)
    assert values["report"]["videos"] == videos == len(kling_simulator.tasks)


@pytest.mark.parametrize(("budget", "balance"), [({"max_units_per_run": 1.4}, None), ({"min_units": 11}, 10)])
def test_a_batch_that_cannot_pay_for_one_video_stops_politely(
    budget: dict[str, float],
    balance: int | None,
    metadata_database: None,
    kling_simulator: SimulatorServer,
    kling_connection: str,
    stored: Path,
) -> None:
    kling_simulator.set(balance_units=balance)
    done = load("kling_batch").test(run_conf=budget)
    assert str(done.state) == "success"
    states = {ti.task_id: str(ti.state) for ti in done.get_task_instances()}
    assert states["report"] == "skipped"
    assert kling_simulator.creates == []


def test_every_example_is_read_without_errors_and_does_nothing_while_it_is() -> None:
    names = sorted(path.stem for path in DAGS.glob("*.py"))
    assert names == ["kling_batch", "kling_image_to_video", "kling_one_step", "kling_text_to_video"]
    for name in names:
        assert load(name).dag_id == name


@pytest.mark.parametrize(
    "picture_parameter", ["/etc/passwd", "../secret.png", "file:///etc/passwd", "s3://bucket/x.png", ""]
)
def test_the_form_takes_web_addresses_and_the_pictures_folder_only(picture_parameter: str) -> None:
    dag = load("kling_image_to_video")
    with pytest.raises(Exception, match="Invalid input for param"):
        dag.params["picture"] = picture_parameter
