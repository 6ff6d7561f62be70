"""``python -m kling_provider.probe`` against gateways that keep ids, lose them, repeat, and fall silent."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest

from kling_provider.api.errors import Failure, Reaction
from kling_provider.api.tasks import FAILED, KlingTask
from kling_provider.probe.__main__ import main
from kling_provider.probe.concluding import extras_to_set, proven_use
from kling_provider.probe.plan import reusable_id
from kling_provider.probe.seen import Free, Paid, Sighting
from kling_provider.simulator.server import SimulatorServer

PATIENCE = "0.3"


@pytest.fixture(autouse=True)
def _quick(kling_connection: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks follow each other faster, and the connection's default leads to the simulator."""
    monkeypatch.setattr("kling_provider.probe.paid.FIRST_PAUSE", 0.02)
    monkeypatch.setattr("kling_provider.probe.paid.LONGEST_PAUSE", 0.05)
    monkeypatch.setattr("kling_provider.hooks.kling._wait_before_retry", lambda _: 0)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Probe:
    def __init__(self, capsys: pytest.CaptureFixture[str]):
        self._capsys = capsys
        self.code = 0
        self.progress = ""

    def text(self, *arguments: str) -> str:
        self._capsys.readouterr()
        self.code = main(["--patience", PATIENCE, *arguments])
        out, self.progress = self._capsys.readouterr()
        return out

    def __call__(self, *arguments: str) -> dict[str, Any]:
        return dict(json.loads(self.text("--yes", "--json", *arguments)))


@pytest.fixture
def probe(capsys: pytest.CaptureFixture[str]) -> Probe:
    return Probe(capsys)


def connect(simulator: SimulatorServer, patch: pytest.MonkeyPatch, gateway: str, **extra: Any) -> None:
    patch.setenv("AIRFLOW_CONN_KLING_DEFAULT", simulator.connection_json(gateway, **extra))


def test_the_documented_kling_needs_no_extra_and_costs_one_task(
    probe: Probe, kling_simulator: SimulatorServer
) -> None:
    report = probe()
    (task,) = kling_simulator.tasks
    found = report["findings"]
    assert probe.code == 0
    assert report["extras"] == {}
    assert report["booked"] == [{"task_id": task.task_id, "external_task_id": task.external_task_id}]
    assert (found["lookup"]["found"], found["lookup"]["lag_seconds"]) == (True, 0)
    assert found["listed"]["found"] is True
    refusal = {name: found["duplicate"][name] for name in ("answer", "code", "http_status", "message")}
    assert refusal == {
        "answer": "refused",
        "code": 1201,
        "http_status": 400,
        "message": f"External_task_id {task.external_task_id} already exists",
    }
    assert found["id_format"]["kept"] is True
    assert len(set(str(task.external_task_id))) == len(str(task.external_task_id)) == 64
    assert found["batch"]["sees_classic"] is True
    assert (found["batch_limit"]["largest_taken"], found["batch_limit"]["refused"]) == (50, 100)
    assert str(task.units) == "1.5"


def test_the_report_for_people_names_the_task_its_price_and_how_to_collect_it(
    probe: Probe, kling_simulator: SimulatorServer
) -> None:
    text = probe.text("--yes")
    (task,) = kling_simulator.tasks
    assert f"task {task.task_id} was booked (kling-v2-6, 5 s, std; 1.5 units, 0.21 USD" in text
    assert "Extras to set: {}" in text
    assert f'KlingAdoptOperator(task_id="collect", kling_task_id="{task.task_id}"' in text
    assert str(task.external_task_id) in probe.progress
    assert kling_simulator.api_key not in text + probe.progress


def test_the_documentation_shows_what_it_prints(probe: Probe, kling_simulator: SimulatorServer) -> None:
    page = (Path(__file__).parent.parent / "docs/pay-once.md").read_text()
    (shown,) = re.findall(r"^```text\n(Connection .*?)^```", page, re.MULTILINE | re.DOTALL)

    def told(text: str) -> str:
        words = re.sub(r"\d{18}", "TASK", re.sub(r"probe-\S+", "ID", text)).split()
        return re.sub(r":\d+\)", ":PORT)", re.sub(r"\d\.\d s", "SECONDS", " ".join(words)))

    assert told(probe.text("--yes")) == told(shown)


@pytest.mark.parametrize("answer", ["no\n", "", "certainly\n"])
def test_without_a_yes_nothing_is_spent(
    answer: str, probe: Probe, kling_simulator: SimulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    text = probe.text()
    assert probe.code == 0
    assert len(kling_simulator.creates) == 0
    assert "Nothing was submitted, as you said." in text
    assert "pages of 500 are given" in text
    assert "2 tasks of it, each paid: 3 units, 0.42 USD" in probe.progress


def test_a_yes_on_the_terminal_is_one(
    probe: Probe, kling_simulator: SimulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal("yes\n"))
    probe.text()
    assert len(kling_simulator.tasks) == 1


def test_without_a_terminal_only_the_free_part_runs_and_says_so(
    probe: Probe, kling_simulator: SimulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("yes\n"))
    report = json.loads(probe.text("--json"))
    assert len(kling_simulator.creates) == 0
    assert "there is no terminal" in report["note"]
    assert report["findings"]["list"]["page_size"] == 500


def test_a_gateway_that_accepts_duplicates_is_told_loudly_with_both_tasks(
    probe: Probe, kling_simulator: SimulatorServer
) -> None:
    kling_simulator.set(accepts_duplicates=True)
    report = probe()
    ids = [task.task_id for task in kling_simulator.tasks]
    assert len(ids) == 2
    assert [one["task_id"] for one in report["booked"]] == ids
    assert report["findings"]["duplicate"]["answer"] == "accepted"
    assert f"THIS GATEWAY ACCEPTS DUPLICATES: task {ids[1]}" in probe.progress


def test_where_ids_are_dropped_no_repeat_is_paid_and_none_is_recommended(
    probe: Probe, kling_simulator: SimulatorServer
) -> None:
    kling_simulator.set(drops_external_id=True)
    report = probe()
    assert len(kling_simulator.creates) == 1
    assert report["extras"] == {"external_id": {"text2video": "none"}}
    assert report["findings"]["duplicate"]["answer"] == "not tried"
    assert report["findings"]["id_format"]["kept"] is False


def test_a_thorough_probe_pays_to_see_a_repeat_without_ids(
    probe: Probe, kling_simulator: SimulatorServer
) -> None:
    kling_simulator.set(drops_external_id=True)
    report = probe("--thorough")
    assert report["findings"]["duplicate"]["answer"] == "accepted"
    assert len(kling_simulator.tasks) == len(report["booked"]) == 2


def test_a_lag_is_measured_and_the_time_to_settle_follows_it(
    probe: Probe, kling_simulator: SimulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(kling_simulator, monkeypatch, "official", settle=[0.2, 60])
    kling_simulator.set(lookup_lag=0.5)
    report = probe("--patience", "3")
    assert 0.4 <= report["findings"]["lookup"]["lag_seconds"] <= 1.5
    settle = report["extras"]["settle"]
    assert settle[0] >= 1
    assert settle[1] == 60
    assert "external_id" not in report["extras"]


def test_a_task_that_shows_its_id_and_is_not_found_in_time_is_none(
    probe: Probe, kling_simulator: SimulatorServer
) -> None:
    kling_simulator.set(lookup_lag=3600)
    report = probe()
    assert report["findings"]["lookup"]["found"] is False
    assert report["findings"]["duplicate"]["answer"] == "refused", (
        "the id was kept, so a repeat tells something"
    )
    assert report["extras"]["external_id"] == {"text2video": "none"}


def test_ids_that_only_the_list_shows_are_list(probe: Probe, kling_simulator: SimulatorServer) -> None:
    kling_simulator.fault(
        "envelope",
        code=1201,
        message="Task not found",
        method="GET",
        path=r"/v1/videos/text2video/[Pp]robe",
        times=0,
    )
    report = probe()
    assert report["extras"] == {"external_id": {"text2video": "list"}}
    assert len(kling_simulator.tasks) == 1


def test_a_gateway_of_one_s_own_that_looks_ids_up_is_recommended_to_be_set_so(
    probe: Probe, kling_simulator: SimulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(kling_simulator, monkeypatch, "custom", external_id={"image2video": "none"})
    extras = probe()["extras"]
    assert extras == {"external_id": {"image2video": "none", "text2video": "lookup"}}


def test_dmxapi_as_it_is_stays_none(
    probe: Probe, kling_simulator: SimulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(kling_simulator, monkeypatch, "dmxapi")
    report = probe()
    found = report["findings"]
    assert probe.code == 0
    assert report["extras"] == {}
    assert (found["list"]["page_size"], found["batch"]["answers"]) == (0, False)
    assert [task.body["model_name"] for task in kling_simulator.tasks] == ["kling-v1-6"]


def test_pictures_are_probed_with_a_picture_of_its_own(
    probe: Probe, kling_simulator: SimulatorServer
) -> None:
    assert probe("--endpoint", "image2video")["findings"]["lookup"]["found"] is True
    assert [task.endpoint for task in kling_simulator.tasks] == ["image2video"]


@pytest.mark.parametrize("fault", ["cut_after", "truncated", "html"])
def test_an_unclear_answer_is_looked_for_and_the_probe_goes_on(
    fault: str, probe: Probe, kling_simulator: SimulatorServer
) -> None:
    kling_simulator.fault(fault, method="POST")
    report = probe()
    tasks = kling_simulator.tasks
    assert len(tasks) == (0 if fault == "html" else 1)
    assert probe.code == (1 if fault == "html" else 0)
    assert [one["task_id"] for one in report["booked"]] == [task.task_id for task in tasks]


def test_a_proxy_that_sends_the_submit_twice_does_not_mislead(
    probe: Probe, kling_simulator: SimulatorServer
) -> None:
    kling_simulator.fault("replay", method="POST", answer="second")
    report = probe()
    assert [one["task_id"] for one in report["booked"]] == [task.task_id for task in kling_simulator.tasks]
    assert len(str(report["booked"][0]["external_task_id"])) == 64
    assert report["extras"] == {}


def test_a_refusal_of_the_first_submit_is_not_believed_against_a_look_up(
    probe: Probe, kling_simulator: SimulatorServer
) -> None:
    kling_simulator.fault("envelope", code=1201, message="in use", method="POST", booked=True)
    report = probe()
    assert [one["task_id"] for one in report["booked"]] == [task.task_id for task in kling_simulator.tasks]
    assert len(kling_simulator.tasks) == 1


def test_a_probe_that_is_stopped_has_told_the_ids(
    probe: Probe, kling_simulator: SimulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("kling_provider.probe.paid.ask", interrupt)
    assert probe.text("--yes") == ""
    assert probe.code == 130
    (task,) = kling_simulator.tasks
    assert f"Task {task.task_id} is booked" in probe.progress
    assert str(task.external_task_id) in probe.progress


def test_an_unclear_answer_that_stays_unclear_is_never_sent_again(
    probe: Probe, kling_simulator: SimulatorServer
) -> None:
    kling_simulator.set(lookup_lag=3600)
    kling_simulator.fault("cut_after", method="POST")
    text = probe.text("--yes")
    assert probe.code == 1
    assert len(kling_simulator.creates) == 1
    name = kling_simulator.tasks[0].external_task_id
    assert f"Look for external_task_id {name} in the console" in " ".join(text.split())
    assert f'KlingAdoptOperator(task_id="collect", external_task_id="{name}"' in text


@pytest.mark.parametrize(("accepts", "answer"), [(True, "accepted"), (False, "unclear")])
def test_an_unclear_answer_to_the_repeat_is_looked_into(
    accepts: bool, answer: str, probe: Probe, kling_simulator: SimulatorServer
) -> None:
    kling_simulator.set(accepts_duplicates=accepts)
    kling_simulator.fault("cut_after", method="POST", skip=1)
    report = probe()
    assert len(kling_simulator.creates) == 2
    assert report["findings"]["duplicate"]["answer"] == answer
    assert len(report["booked"]) == len(kling_simulator.tasks)
    assert len(report["unclear_external_task_ids"]) == (0 if accepts else 1)


def test_a_submit_that_is_refused_costs_nothing(probe: Probe, kling_simulator: SimulatorServer) -> None:
    kling_simulator.set(concurrency=0)
    report = probe()
    assert probe.code == 1
    assert len(kling_simulator.creates) == 1
    assert "refused, nothing was booked" in report["findings"]["submit"]["text"]
    assert report["extras"] == {}


def test_a_long_id_that_is_refused_gives_way_to_one_like_the_derived_ones(
    probe: Probe, kling_simulator: SimulatorServer
) -> None:
    kling_simulator.fault("envelope", code=1201, message="external_task_id invalid", method="POST")
    report = probe()
    (task,) = kling_simulator.tasks
    assert len(str(task.external_task_id)) == 40
    assert report["extras"] == {}
    assert "was refused: external_task_id invalid" in report["findings"]["id_format"]["text"]


def test_what_is_listed_already_tells_order_ids_and_look_up_for_free(
    probe: Probe, kling_simulator: SimulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(4):
        probe()
    kling_simulator.set(list_order="oldest", tasks_see_classic=False, batch_limit=500)
    connect(kling_simulator, monkeypatch, "custom")
    created = len(kling_simulator.creates)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    report = json.loads(probe.text("--json"))
    found = report["findings"]
    assert len(kling_simulator.creates) == created
    assert found["list_order"]["order"] == "oldest"
    assert found["list_ids"]["with_id"] == 4
    assert found["lookup"]["found"] is True
    assert found["batch"] == {
        "text": "does not tell of tasks of the classic dialect",
        "answers": True,
        "sees_classic": False,
    }
    assert (found["batch_limit"]["largest_taken"], found["batch_limit"]["refused"]) == (500, None)
    assert report["extras"] == {"external_id": {"text2video": "lookup"}}


@pytest.mark.parametrize("reuses", [True, False])
def test_the_id_of_a_failed_task_is_tried_only_by_a_thorough_probe(
    reuses: bool, probe: Probe, kling_simulator: SimulatorServer
) -> None:
    kling_simulator.set(reuses_failed_id=reuses)
    probe()
    kling_simulator.change(kling_simulator.tasks[0].task_id, status=FAILED)
    report = probe()
    assert "(--thorough)" in report["findings"]["failed_id"]["text"]
    assert len(kling_simulator.tasks) == 2
    report = probe("--thorough")
    assert report["findings"]["failed_id"]["reusable"] is reuses
    assert len(kling_simulator.tasks) == (4 if reuses else 3)
    assert len(report["booked"]) == (2 if reuses else 1)


def test_the_price_of_a_thorough_probe_includes_the_third_task(
    probe: Probe, kling_simulator: SimulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe()
    kling_simulator.change(kling_simulator.tasks[0].task_id, status=FAILED)
    monkeypatch.setattr("sys.stdin", Terminal("no\n"))
    probe.text("--thorough")
    assert "3 tasks of it, each paid: 4.5 units" in probe.progress
    assert len(kling_simulator.tasks) == 1


def test_ids_of_dags_are_never_tried_again() -> None:
    """A retry of the DAG's task would collect the probe's video."""

    def failed(name: str) -> KlingTask:
        return KlingTask("1", "text2video", FAILED, external_task_id=name)

    derived = failed("af1-aaaaaa-bbbbbbbbbbbbbbbb-cccccccccccc")
    assert reusable_id([derived]) is None
    assert reusable_id([derived, failed("boat"), failed("probe-x")]) == "probe-x"


@pytest.mark.parametrize("password", ["wrong", ""])
def test_a_connection_that_does_not_work_says_so_and_nothing_else_is_asked(
    password: str, probe: Probe, kling_simulator: SimulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = json.loads(kling_simulator.connection_json()) | {"password": password}
    monkeypatch.setenv("AIRFLOW_CONN_KLING_DEFAULT", json.dumps(connection))
    text = probe.text("--yes")
    assert probe.code == 1
    assert ("The key is wrong" in text) if password else ("the password is empty" in probe.progress)
    assert len(kling_simulator.creates) == 0


def test_an_account_with_access_key_and_secret_key_is_told_that_bulk_needs_an_api_key(
    probe: Probe, kling_simulator: SimulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_KLING_DEFAULT", kling_simulator.connection_json(auth="pair"))
    text = probe.text("--yes")
    assert "create an API key [code 1002, HTTP 401]" in text
    assert kling_simulator.secret_key not in text + probe.progress


def test_a_look_up_that_has_trouble_of_its_own_decides_nothing() -> None:
    task = KlingTask("1", "text2video", "submitted")
    trouble = Sighting(asks=3, failure=Failure(Reaction.SERVER, "busy", 5000, 500))
    paid = Paid("probe-x", task=task, lookup=trouble, patience=60)
    assert proven_use(Free(True, ""), paid) is None
    assert extras_to_set(Free(True, ""), paid, "text2video", now="lookup", external_id={}, settle=None) == {}
