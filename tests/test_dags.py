"""Every example DAG runs from end to end: real hooks, real deferral, the simulator over loopback."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import airflow
import pytest
import requests
from airflow.sdk.execution_time import supervisor
from packaging.version import Version

from kling_provider.api.identity import TaskIdentity, digest_request, external_task_id
from kling_provider.hooks.kling import KlingHook
from kling_provider.simulator.server import SimulatorServer

DAGS = Path(__file__).parent.parent / "dags"


@pytest.fixture(scope="session")
def metadata_database() -> None:
    """A migrated database in the tests' Airflow home, with the pool that kling_batch needs."""
    for command in (["db", "migrate"], ["pools", "set", "kling", "5", "slots", "--include-deferred"]):
        subprocess.run([sys.executable, "-m", "airflow", *command], check=True, capture_output=True)
    if not hasattr(supervisor.in_process_api_server, "cache_info"):
        # Before 3.3, dag.test makes a server for each task, which takes seconds.
        supervisor.in_process_api_server = functools.lru_cache(maxsize=1)(supervisor.in_process_api_server)


#: Before it, nothing remembers what is answered at once, and a clear of it sends nothing.
HAS_TASK_STATE = Version(airflow.__version__) >= Version("3.3")


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
    for task in module.dag.tasks:  # asked more often than users may, and never again, to lose no time
        if not task.is_mapped:
            task.retries = 0
        if task.is_mapped and "wait_for_completion" in task.partial_kwargs:
            task.partial_kwargs["poke_interval"] = 1
        elif hasattr(task, "poke_interval"):
            task.poke_interval = 0.2
    return module.dag


def run(dag: Any, **conf: Any) -> dict[str, Any]:
    """Run a DAG in this process; give the return values of its tasks."""
    return values_of(dag.test(run_conf=conf or None))


def values_of(done: Any, *, skipped: str = "") -> dict[str, Any]:
    """The return values of the tasks of a run that went well, but for one that had nothing to do."""
    instances = [ti for ti in done.get_task_instances() if (ti.task_id, ti.state) != (skipped, "skipped")]
    assert {ti.task_id: str(ti.state) for ti in instances if str(ti.state) != "success"} == {}
    values: dict[str, Any] = {}
    for ti in sorted(instances, key=lambda one: one.map_index):
        value = stored_xcom(ti)
        values[ti.task_id] = value if ti.map_index < 0 else [*values.get(ti.task_id, []), value]
    return values


def run_cleared(dag: Any, done: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clear every task of a run that is over, and run it again, as a person does in the UI."""

    def same_run(*, dag: Any, session: Any, **_: Any) -> Any:
        again = session.merge(done)
        again.dag = dag
        again.clear_number += 1
        again.set_state("running")
        session.commit()
        return again

    where = (
        "airflow.models.dagrun.get_or_create_dagrun"  # dag.test() clears the run of that date before it asks
    )
    if not hasattr(airflow.models.dagrun, "get_or_create_dagrun"):  # before Airflow 3.2
        where = "airflow.models.dag._get_or_create_dagrun"
    monkeypatch.setattr(where, same_run)
    again = dag.test(logical_date=done.logical_date, run_after=done.run_after)
    assert again.run_id == done.run_id
    assert {str(ti.state) for ti in again.get_task_instances()} == {"success"}


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


#: How a file of each kind begins, and after how many bytes.
BEGINNINGS = {"video/mp4": (4, b"ftyp"), "image/png": (0, b"\x89PNG"), "audio/mpeg": (0, b"ID3")}


def check_file(entry: dict[str, Any], folder: Path, media_type: str = "video/mp4") -> None:
    path = Path(entry["uri"].removeprefix("file://"))
    assert path.is_relative_to(folder)
    data = path.read_bytes()
    assert (len(data), hashlib.sha256(data).hexdigest()) == (entry["bytes"], entry["sha256"])
    at, beginning = BEGINNINGS[media_type]
    assert (entry["media_type"], data[at:].startswith(beginning)) == (media_type, True)


def test_a_submit_that_had_to_wait_goes_on_in_a_dag_that_is_tested(
    metadata_database: None,
    stored: Path,
    kling_simulator: SimulatorServer,
    kling_connection: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """dag.test() keeps of a deferral what its event says, and nothing else."""
    monkeypatch.setattr("kling_provider.triggers.slots.FIRST_EVENT_AFTER_SECONDS", 0.2)
    kling_simulator.fault("envelope", method="POST", code=1302)
    (entry,) = run(load("kling_one_step"))["store"]
    check_file(entry, stored)
    assert len(kling_simulator.creates) == 2


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


def test_what_others_have_made_is_stored(
    metadata_database: None,
    kling_simulator: SimulatorServer,
    kling_connection: str,
    stored: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By hand; tests/live/test_assets.py lets it start by itself."""
    if Version(airflow.__version__) < Version(
        "3.1"
    ):  # there, no dag processor has told the database of the asset
        monkeypatch.setattr(
            "airflow.sdk.execution_time.task_runner._validate_task_inlets_and_outlets", lambda **_: None
        )
    made = [
        KlingHook().submit(name, {"prompt": "a boat"}) for name in ("text2video", "text-to-video/kling-3.0")
    ]
    for task in made:
        kling_simulator.finish(task.task_id)
    tasks = [{"task_id": task.task_id, "endpoint": task.endpoint} for task in made]
    done = load("kling_when_finished").test(run_conf={"tasks": tasks})
    files = flat(values_of(done, skipped="runs_for_the_rest")["store"])
    assert [entry["task_id"] for entry in files] == [task.task_id for task in made]
    for entry in files:
        check_file(entry, stored)


def test_each_stored_file_is_an_event_in_airflow_s_database(
    metadata_database: None, kling_simulator: SimulatorServer, kling_connection: str, stored: Path
) -> None:
    from airflow.models.asset import AssetEvent, AssetModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    values = run(load("kling_one_step"))
    (entry,) = values["store"]
    with create_session() as session:
        found = session.execute(
            select(AssetModel.uri, AssetEvent.extra)
            .join(AssetModel, AssetModel.id == AssetEvent.asset_id)
            .where(AssetModel.uri == entry["uri"])
        ).all()
    ((uri, extra),) = found
    assert uri == entry["uri"]
    assert extra == {
        **{
            name: entry[name] for name in ("bytes", "sha256", "media_type", "duration", "media_id", "task_id")
        },
        "endpoint": "image2video",
        "external_task_id": values["video"]["external_task_id"],
        "model_name": kling_simulator.creates[0].body["model_name"],
        "units": values["video"]["units"],
    }


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
    for entries in values["clip.store"]:
        check_file(entries[0], stored)
    assert len({create.body["external_task_id"] for create in kling_simulator.creates}) == 2


def test_a_picture_that_kling_refuses_keeps_no_other_from_being_stored(
    metadata_database: None, kling_simulator: SimulatorServer, kling_connection: str, stored: Path
) -> None:
    kling_simulator.next_task("fail")
    done = load("kling_batch").test()
    assert str(done.state) == "failed"
    states = {(ti.task_id, ti.map_index): str(ti.state) for ti in done.get_task_instances()}
    assert [states["clip.store", index] for index in range(3)].count("success") == 2
    assert states["report", -1] == "success"
    assert states["all_stored", -1] == "failed"
    (report,) = [stored_xcom(ti) for ti in done.get_task_instances() if ti.task_id == "report"]
    assert (report["asked"], report["videos"], report["units"]) == (3, 2, "3.0")
    assert len(list(stored.rglob("*.mp4"))) == len(kling_simulator.charges) == 2


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


#: DAG -> what it submits to, in order; which tasks store what.
PIPELINES: dict[str, tuple[list[str], dict[str, str]]] = {
    "kling_product_clips": (
        ["kolors-virtual-try-on"] * 2 + ["image2video"] * 2 + ["tts"] * 2,
        {
            "product.store_picture": "image/png",
            "product.store_clip": "video/mp4",
            "product.store_voice": "audio/mpeg",
        },
    ),
    "kling_presenter": (
        ["tts", "avatar", "identify-face", "tts", "advanced-lip-sync"],
        {"store": "video/mp4", "store_second": "video/mp4"},
    ),
    "kling_story": (
        ["text2video", "omni-video"],
        {"store_first": "video/mp4", "store_following": "video/mp4"},
    ),
    "kling_pictures_to_videos": (
        ["images/generations", "image2video", "image2video"],
        {"store_pictures": "image/png", "moving.store": "video/mp4"},
    ),
}


@pytest.mark.parametrize("name", PIPELINES)
def test_each_step_hands_its_result_to_the_next_and_a_clear_of_all_pays_nothing_again(
    name: str,
    metadata_database: None,
    kling_simulator: SimulatorServer,
    kling_connection: str,
    stored: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked, stores = PIPELINES[name]
    kling_simulator.set(resigns_addresses=True)
    done = load(name).test()
    values = values_of(done)
    files = [(entry, media_type) for task_id, media_type in stores.items() for entry in flat(values[task_id])]
    for entry, media_type in files:
        check_file(entry, stored, media_type)
    assert sorted(path for path in stored.rglob("*") if path.is_file()) == sorted(
        Path(entry["uri"].removeprefix("file://")) for entry, _ in files
    )
    assert [task.endpoint for task in kling_simulator.tasks] == asked

    if "tts" in asked and not HAS_TASK_STATE:
        return
    paid = len(kling_simulator.charges)
    run_cleared(load(name), done, monkeypatch)
    assert (len(kling_simulator.creates), len(kling_simulator.charges)) == (len(asked), paid)


def flat(values: Any) -> list[dict[str, Any]]:
    return [entry for value in values for entry in (value if isinstance(value, list) else [value])]


def test_products_are_chosen_spoken_of_and_stored_under_their_names(
    metadata_database: None, kling_simulator: SimulatorServer, kling_connection: str, stored: Path
) -> None:
    values = run(load("kling_product_clips"), clothes=["striped-shirt.jpg"], voice_id="829000000000000013")
    names = [
        Path(entry["uri"]).name
        for task_id in ("product.store_clip", "product.store_voice")
        for entry in flat(values[task_id])
    ]
    assert [(name.startswith("striped-shirt-"), name[-4:]) for name in names] == [
        (True, ".mp4"),
        (True, ".mp3"),
    ]
    assert kling_simulator.creates[-1].body == {
        "text": "New in our shop today: the striped shirt. Come and see it.",
        "voice_id": "829000000000000013",
        "voice_language": "en",
    }


@pytest.mark.parametrize(
    ("shots", "seconds"),
    [([("a", 1), ("b", 1)], "'2'"), ([("a", 10), ("b", 6)], "'16'")],
    ids=["short", "long"],
)
def test_a_story_that_is_too_short_or_too_long_costs_nothing(
    shots: list[tuple[str, int]],
    seconds: str,
    metadata_database: None,
    kling_simulator: SimulatorServer,
    kling_connection: str,
    stored: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    told = [{"prompt": prompt, "seconds": length} for prompt, length in shots]
    done = load("kling_story").test(run_conf={"shots": told})
    assert str(done.state) == "failed"
    assert f"duration={seconds}" in capsys.readouterr().out
    assert kling_simulator.creates == []


def paid_before(
    kling: SimulatorServer,
    identity: TaskIdentity,
    namespace: str = "",
    outcome: str = "succeed",
    prompt: str = "a boat",
) -> str:
    """Make a task as an earlier run of some DAG would have, to its end; gives its id."""
    request = {"prompt": prompt, "model_name": "kling-v2-6"}
    external_id = external_task_id(namespace, identity, digest_request("text2video", "classic", request))
    task_id = KlingHook().submit("text2video", request, external_task_id=external_id).task_id
    kling.change(task_id, status=outcome)
    return task_id


def work(number: int) -> TaskIdentity:
    return TaskIdentity("some_dag", "scheduled__2026-10-01", "submit", map_index=number)


def put(folder: Path, task_id: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{task_id}-8901.mp4").write_bytes(b"stored by its own DAG")


def test_a_paid_video_that_nobody_collected_is_stored_once_and_nothing_is_paid(
    metadata_database: None, kling_simulator: SimulatorServer, kling_connection: str, stored: Path
) -> None:
    have, missing = (paid_before(kling_simulator, work(number)) for number in (1, 2))
    paid_before(kling_simulator, work(3), outcome="failed")
    paid_before(kling_simulator, work(4), namespace="other-team")
    kling_simulator.next_task("stuck")
    paid_before(kling_simulator, work(5), outcome="processing")
    KlingHook().submit("text2video", {"prompt": "made by hand"}, external_task_id="by-hand")
    put(stored / "2026-10-01", have)
    creates, charges = len(kling_simulator.creates), len(kling_simulator.charges)

    values = run(load("kling_reconcile"), older_than_hours=0)
    assert values["due"] == [
        {
            "task_id": missing,
            "endpoint": "text2video",
            "external_task_id": values["due"][0]["external_task_id"],
        }
    ]
    ((entry,),) = values["store"]
    check_file(entry, stored / "reconciled")
    assert entry["task_id"] == missing
    report = values["report"]
    assert (report["stored"], report["lost"], report["deleted_soon"]) == ([missing], [], [])
    assert (report["listed"], report["is_complete"]) == (6, True)

    again = load("kling_reconcile").test(run_conf={"older_than_hours": 0})
    assert str(again.state) == "success"
    instances = {ti.task_id: ti for ti in again.get_task_instances()}
    assert str(instances["store"].state) == "skipped"
    assert stored_xcom(instances["report"])["stored"] == []
    assert len(list(stored.rglob("*.mp4"))) == 2
    assert (len(kling_simulator.creates), len(kling_simulator.charges)) == (creates, charges)


def made_by_a_dag(kling: SimulatorServer, number: int, endpoint: str, request: dict[str, Any]) -> str:
    """A task of any endpoint, made by an earlier run of some DAG, to its end; gives its id."""
    hook = KlingHook()
    external_id = external_task_id("", work(number), hook.prepare(endpoint, request).digest)
    task_id = hook.submit(endpoint, request, external_task_id=external_id).task_id
    kling.finish(task_id)
    return task_id


VOICE = {"voice_name": "me", "voice_url": "https://sounds.example/me.mp3"}
ELEMENT = {
    "element_name": "teapot",
    "element_description": "a teapot",
    "reference_type": "image_refer",
    "element_image_list": {
        "frontal_image": "https://pictures.example/front.jpg",
        "refer_images": [{"image_url": "https://pictures.example/side.jpg"}],
    },
}


def test_voices_and_elements_have_nothing_to_store_and_are_not_missed(
    metadata_database: None, kling_simulator: SimulatorServer, kling_connection: str, stored: Path
) -> None:
    made_by_a_dag(kling_simulator, 1, "custom-voices", VOICE)
    made_by_a_dag(kling_simulator, 2, "advanced-custom-elements", ELEMENT)
    missing = paid_before(kling_simulator, work(3))
    before = run(load("kling_audit"), older_than_hours=0)["compare"]
    assert [paid["task_id"] for paid in before["not_collected"]] == [missing]
    assert before["pending"] == 0

    values = run(load("kling_reconcile"), older_than_hours=0)
    assert values["report"]["stored"] == [missing]
    again = load("kling_reconcile").test(run_conf={"older_than_hours": 0})
    states = {ti.task_id: str(ti.state) for ti in again.get_task_instances()}
    assert (str(again.state), states["store"]) == ("success", "skipped")


@pytest.mark.parametrize("tasks_see_classic", [True, False])
def test_a_video_of_the_new_dialect_is_stored_once_and_audited(
    tasks_see_classic: bool,
    metadata_database: None,
    kling_simulator: SimulatorServer,
    kling_connection: str,
    stored: Path,
) -> None:
    kling_simulator.set(tasks_see_classic=tasks_see_classic)
    request = {"prompt": "a boat", "settings": {"duration": 5}}
    missing = made_by_a_dag(kling_simulator, 1, "text-to-video/kling-2.6", request)
    kling_simulator.set(price_factor=2)
    dear = made_by_a_dag(kling_simulator, 2, "text-to-video/kling-2.6", request)
    put(stored / "2026-10-01", dear)
    told = run(load("kling_audit"), older_than_hours=0)["compare"]
    assert [paid["task_id"] for paid in told["not_collected"]] == [missing]
    assert (told["estimates"]["compared"], told["estimates"]["unnamed"]) == (2, 0)
    assert [one["task_id"] for one in told["estimates"]["differences"]] == [dear]

    values = run(load("kling_reconcile"), older_than_hours=0)
    assert [task["endpoint"] for task in values["due"]] == ["tasks"]
    ((entry,),) = values["store"]
    check_file(entry, stored / "reconciled")
    assert values["report"]["stored"] == [missing]
    assert run(load("kling_audit"), older_than_hours=0)["compare"]["not_collected"] == []
    again = load("kling_reconcile").test(run_conf={"older_than_hours": 0})
    assert {ti.task_id: str(ti.state) for ti in again.get_task_instances()}["store"] == "skipped"
    assert len(list(stored.rglob("*.mp4"))) == 2


def test_a_video_of_the_new_dialect_that_is_lost_is_said_to_be(
    metadata_database: None, kling_simulator: SimulatorServer, kling_connection: str, stored: Path
) -> None:
    lost = made_by_a_dag(kling_simulator, 1, "text-to-video/kling-2.6", {"prompt": "a boat"})
    task = kling_simulator.simulation.world.tasks[lost]
    task.created_at -= 31 * 86400
    task.updated_at -= 31 * 86400
    instances = {ti.task_id: ti for ti in load("kling_reconcile").test().get_task_instances()}
    assert stored_xcom(instances["report"])["lost"] == [lost]


def test_an_audit_of_long_ago_reads_the_lists_as_far_back(
    metadata_database: None, kling_simulator: SimulatorServer, kling_connection: str, stored: Path
) -> None:
    old = made_by_a_dag(kling_simulator, 1, "text-to-video/kling-2.6", {"prompt": "a boat"})
    task = kling_simulator.simulation.world.tasks[old]
    task.created_at -= 90 * 86400
    task.updated_at -= 90 * 86400
    now = datetime.now(UTC)
    start, end = ((now - timedelta(days=days)).isoformat() for days in (90.5, 80))
    told = run(load("kling_audit"), start=start, end=end)["compare"]
    assert (told["rows"], told["paid"]["tasks"], told["unlisted"]["tasks"]) == (1, 1, 0)


def test_a_running_dag_gets_its_chance_first(
    metadata_database: None, kling_simulator: SimulatorServer, kling_connection: str, stored: Path
) -> None:
    paid_before(kling_simulator, work(1))
    done = load("kling_reconcile").test()
    instances = {ti.task_id: ti for ti in done.get_task_instances()}
    assert stored_xcom(instances["due"]) == []
    assert str(instances["report"].state) == "success"


def test_what_is_deleted_soon_and_what_is_lost_is_said_loudly(
    metadata_database: None,
    kling_simulator: SimulatorServer,
    kling_connection: str,
    stored: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    soon, lost = (paid_before(kling_simulator, work(number)) for number in (1, 2))
    tasks = kling_simulator.simulation.world.tasks
    tasks[soon].updated_at -= 28 * 86400
    tasks[lost].updated_at -= 31 * 86400
    report = run(load("kling_reconcile"))["report"]
    assert (report["stored"], report["deleted_soon"], report["lost"]) == ([soon], [soon], [lost])
    assert f"Task {soon} of text2video was ready on" in caplog.text
    assert f"Task {lost} of text2video (1.5 units) was ready on" in caplog.text


@pytest.mark.parametrize("name", ["kling_reconcile", "kling_audit"])
def test_a_gateway_that_shows_no_external_ids_has_no_accounts_to_keep_and_says_so(
    name: str,
    metadata_database: None,
    kling_simulator: SimulatorServer,
    stored: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_KLING_DEFAULT", kling_simulator.connection_json("dmxapi"))
    done = load(name).test()
    assert str(done.state) == "failed"
    assert "is not known to show external_task_ids" in capsys.readouterr().out
    assert kling_simulator.requests == []


def test_an_audit_finds_what_was_not_collected_paid_twice_and_priced_otherwise(
    metadata_database: None, kling_simulator: SimulatorServer, kling_connection: str, stored: Path
) -> None:
    fine = paid_before(kling_simulator, work(1))
    missing = paid_before(kling_simulator, work(2))
    kling_simulator.set(accepts_duplicates=True)
    first, second = (book_again(kling_simulator, work(3)) for _ in range(2))
    kling_simulator.set(price_factor=2)
    dear = paid_before(kling_simulator, work(4))
    paid_before(kling_simulator, work(5), outcome="failed")
    paid_before(kling_simulator, work(6), namespace="other-team")
    for task_id in (fine, first, second, dear):
        put(stored / "2026-10-01", task_id)
    before = len(kling_simulator.creates)

    values = run(load("kling_audit"), older_than_hours=0)
    told = values["compare"]
    assert told["paid"] == {"tasks": 5, "units": "9.0", "amounts": {}}
    assert [paid["task_id"] for paid in told["not_collected"]] == [missing]
    ((twice),) = told["paid_twice"]
    assert (twice["is_same_request"], {one["task_id"] for one in twice["tasks"]}) == (True, {first, second})
    (difference,) = told["estimates"]["differences"]
    assert (difference["task_id"], difference["estimated"], difference["charged"]) == (dear, "1.5", "3")
    assert (told["not_ours"]["tasks"], told["unlisted"]["tasks"], told["failed"]) == (1, 0, [])
    assert values["report"] == {
        "paid, not collected": 1,
        "paid twice": 1,
        "charged although failed": 0,
        "charge is not the estimate": 1,
    }
    assert len(kling_simulator.creates) == before

    failing = load("kling_audit").test(run_conf={"older_than_hours": 0, "fail_on_findings": True})
    assert str(failing.state) == "failed"
    empty = run(
        load("kling_audit"), start="2026-01-01T00:00:00Z", end="2026-01-02T00:00:00Z", fail_on_findings=True
    )
    assert empty["compare"]["rows"] == 0


def book_again(kling: SimulatorServer, identity: TaskIdentity) -> str:
    """Make a task as a client would that does not look before it sends again."""
    digest = digest_request("text2video", "classic", {"prompt": "twice"})
    body = {
        "prompt": "twice",
        "model_name": "kling-v2-6",
        "external_task_id": external_task_id("", identity, digest),
    }
    answer = requests.post(
        f"{kling.url}/v1/videos/text2video",
        json=body,
        headers={"Authorization": f"Bearer {kling.api_key}"},
        timeout=10,
    )
    task_id = str(answer.json()["data"]["task_id"])
    kling.finish(task_id)
    return task_id


def test_every_example_is_read_without_errors_and_does_nothing_while_it_is() -> None:
    names = sorted(path.stem for path in DAGS.glob("*.py"))
    assert names == [
        "kling_audit",
        "kling_batch",
        "kling_image_to_video",
        "kling_one_step",
        "kling_pictures_to_videos",
        "kling_presenter",
        "kling_product_clips",
        "kling_reconcile",
        "kling_story",
        "kling_text_to_video",
        "kling_when_finished",
    ]
    for name in names:
        assert load(name).dag_id == name


@pytest.mark.parametrize(
    "picture_parameter", ["/etc/passwd", "../secret.png", "file:///etc/passwd", "s3://bucket/x.png", ""]
)
def test_the_form_takes_web_addresses_and_the_pictures_folder_only(picture_parameter: str) -> None:
    dag = load("kling_image_to_video")
    with pytest.raises(Exception, match="Invalid input for param"):
        dag.params["picture"] = picture_parameter
