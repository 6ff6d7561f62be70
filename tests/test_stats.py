"""What Airflow's StatsD client says about us, heard on a real UDP socket."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kling_provider import stats
from kling_provider.api.endpoints import ENDPOINTS
from kling_provider.api.price_list import classic_names
from kling_provider.api.tasks import KlingTask
from kling_provider.exceptions import KlingBadRequestError, KlingError, KlingSubmissionUnknownError
from kling_provider.hooks.counting import count_task
from kling_provider.operators.adopt import KlingAdoptOperator
from kling_provider.operators.kling import KlingTextToVideoOperator
from kling_provider.simulator.server import SimulatorServer
from tests.contexts import StateStore, context_of
from tests.hooks.talking import Talker


class Ear:
    """A StatsD server that only listens."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.setblocking(False)  # loopback hands over before sendto returns

    @property
    def env(self) -> dict[str, str]:
        host, port = self.socket.getsockname()
        settings = {"STATSD_ON": "True", "STATSD_HOST": host, "STATSD_PORT": str(port)}
        return {f"AIRFLOW__METRICS__{name}": value for name, value in settings.items()}

    def lines(self) -> list[str]:
        """What was said about us since the last time."""
        found = []
        with contextlib.suppress(BlockingIOError):
            while True:
                found.append(self.socket.recv(4096).decode())
        return [line.removeprefix("airflow.") for line in found if line.startswith("airflow.kling.")]

    def counted(self) -> dict[str, float]:
        """The counters among it, without the leading ``kling.``."""
        sums: Counter[str] = Counter()
        for line in self.lines():
            name, _, said = line.removeprefix("kling.").partition(":")
            value, _, kind = said.partition("|")
            assert kind == "c"
            sums[name] += float(value)  # type: ignore[assignment]
        return dict(sums)


@pytest.fixture
def ear() -> Iterator[Ear]:
    ear = Ear()
    yield ear
    ear.socket.close()


@pytest.fixture
def listen(ear: Ear, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Ear]]:
    """Turns Airflow's metrics on, with more of its settings; its own client sends them."""
    forget = stats._backend.cache_clear

    def on(**settings: str) -> Ear:
        for name, value in (ear.env | {f"AIRFLOW__METRICS__{n}": v for n, v in settings.items()}).items():
            monkeypatch.setenv(name, value)
        client = airflows_client()
        monkeypatch.setattr(stats, "_stats", lambda: client)
        forget()
        return ear

    yield on
    forget()


@pytest.fixture
def heard(listen: Callable[..., Ear]) -> Ear:
    """Plain StatsD, the first that Airflow's documents show."""
    return listen()


def airflows_client() -> Any:
    try:
        from airflow.sdk.observability.metrics.statsd_logger import get_statsd_logger

        return get_statsd_logger()
    except ImportError:  # before 3.2
        from airflow.metrics.statsd_logger import get_statsd_logger as get_older

        return get_older(None)


# -- the door


def test_plain_statsd_gets_the_name_and_once_more_the_name_with_the_first_tag(heard: Ear) -> None:
    stats.count("refused", 2, code="1303", endpoint="image2video")
    assert heard.lines() == ["kling.refused:2|c", "kling.refused.1303:2|c"]


def test_a_gauge_of_one_process_is_not_overwritten_by_another(
    heard: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "triggerer-1.example.com")
    stats.gauge("watcher.in_flight", 7, conn_id="kling_default")
    named = "kling.watcher.in_flight.kling_default.triggerer-1_example_com:7|g"
    assert heard.lines() == ["kling.watcher.in_flight:7|g", named]


def test_seconds_go_out_as_milliseconds(heard: Ear) -> None:
    stats.timing("wait.seconds", 164.25, endpoint="image2video")
    said = [line.partition(":") for line in heard.lines()]
    assert [name for name, _, _ in said] == ["kling.wait.seconds", "kling.wait.seconds.image2video"]
    assert {(float(value.partition("|")[0]), value.partition("|")[2]) for _, _, value in said} == {
        (164250.0, "ms")
    }


def test_where_tags_arrive_nothing_is_said_twice(listen: Callable[..., Ear]) -> None:
    ear = listen(STATSD_INFLUXDB_ENABLED="True")
    stats.count("refused", code="1303", endpoint="image2video/kling-v2-6", model="")
    assert ear.lines() == ["kling.refused,code=1303,endpoint=image2video/kling-v2-6:1|c"]


def test_what_does_not_fit_into_a_name_is_replaced_not_dropped(heard: Ear) -> None:
    stats.count("submitted", endpoint="/v1/videos/möwe, 2=3")
    assert heard.lines() == ["kling.submitted:1|c", "kling.submitted._v1_videos_m_we_2_3:1|c"]


def test_fractions_of_units_are_kept(heard: Ear) -> None:
    stats.count("units", 3.5)
    assert heard.lines() == ["kling.units:3.5|c"]


def test_with_metrics_off_airflows_are_not_even_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stats, "_stats", lambda: pytest.fail("nobody listens"))
    stats._backend.cache_clear()
    stats.count("submitted", endpoint="image2video")
    assert stats._backend() == "off"


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ({"STATSD_ON": "True"}, "untagged"),
        ({"STATSD_ON": "True", "STATSD_INFLUXDB_ENABLED": "True"}, "tagged"),
        ({"STATSD_ON": "True", "STATSD_DATADOG_ENABLED": "True"}, "tagged"),
        ({"OTEL_ON": "True"}, "tagged"),
        ({}, "off"),
    ],
)
def test_which_backends_take_tags(
    settings: dict[str, str], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(f"AIRFLOW__METRICS__{name}", value)
    stats._backend.cache_clear()
    assert stats._backend() == kind
    stats._backend.cache_clear()


@pytest.mark.parametrize("broken", ["_backend", "_stats"])
def test_metrics_that_are_broken_cost_nobody_a_video(
    broken: str, heard: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise RuntimeError("no such backend")

    monkeypatch.setattr(stats, broken, fail)
    stats.count("submitted")
    stats.gauge("watcher.in_flight", 1)
    stats.timing("wait.seconds", 1)
    assert heard.lines() == []


def test_a_process_that_nobody_prepared_for_metrics_is_heard(ear: Ear) -> None:
    """As in the triggerer: Airflow has initialised another copy of its Stats there, or none."""
    code = "from kling_provider import stats; stats.count('submitted', endpoint='image2video')"
    subprocess.run([sys.executable, "-c", code], env={**os.environ, **ear.env}, check=True)
    assert ear.lines() == ["kling.submitted:1|c", "kling.submitted.image2video:1|c"]


def test_loading_it_loads_nothing_of_airflow() -> None:
    code = "import json, sys; import kling_provider.stats; print(json.dumps('airflow' in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) is False


# -- what a submit counts, on the simulator


@pytest.fixture
def kling(kling_simulator: SimulatorServer, kling_connection: str) -> SimulatorServer:
    return kling_simulator


def run(store: StateStore | None = None, *, try_number: int = 1, **arguments: Any) -> Any:
    fields = {"task_id": "video", "prompt": "a boat", "model_name": "kling-v2-6", "retries": 3}
    operator = KlingTextToVideoOperator(**fields | arguments)
    return operator.execute(context_of(operator, store, try_number=try_number, max_tries=3))


def test_a_video_is_counted_once_with_its_units(kling: SimulatorServer, heard: Ear) -> None:
    run()
    (charge,) = kling.charges
    units = float(charge.units)
    assert heard.counted() == {
        "submitted": 1,
        "submitted.text2video": 1,
        "units": units,
        "units.text2video": units,
    }


def test_a_retry_that_finds_its_video_adopts_it(kling: SimulatorServer, heard: Ear) -> None:
    run()
    heard.lines()
    run(try_number=2)
    assert heard.counted() == {"adopted": 1, "adopted.text2video": 1}


@pytest.mark.parametrize("code", [1102, 1301, 1303])
def test_a_refusal_is_counted_by_its_code(code: int, kling: SimulatorServer, heard: Ear) -> None:
    kling.fault("envelope", method="POST", code=code, times=0)
    with pytest.raises(KlingError):
        run(deferrable=False, slot_timeout=1)
    counted = heard.counted()
    assert counted == dict.fromkeys(["refused", f"refused.{code}"], len(kling.creates))


def test_an_unclear_answer_is_counted_and_so_is_the_video_it_has_made(
    kling: SimulatorServer, heard: Ear
) -> None:
    kling.fault("cut_after", method="POST")
    run()
    counted = heard.counted()
    assert (counted["unclear"], counted["unclear.cut"]) == (1, 1)
    assert (counted["submitted"], counted.get("adopted")) == (1, None)


def test_a_proxys_page_is_an_unclear_answer_of_its_status(kling: SimulatorServer, heard: Ear) -> None:
    kling.fault("html", method="POST")
    run()
    assert heard.counted()["unclear.http_502"] == 1


def test_what_only_a_person_can_find_out_is_counted_as_unknown(
    kling: SimulatorServer, heard: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_KLING_DEFAULT", kling.connection_json(external_id="none"))
    kling.fault("cut_after", method="POST")
    with pytest.raises(KlingSubmissionUnknownError):
        run(StateStore())
    counted = heard.counted()
    assert counted == {"unclear": 1, "unclear.cut": 1, "unknown": 1, "unknown.text2video": 1}


def test_an_id_that_is_taken_is_no_refusal(kling: SimulatorServer, heard: Ear) -> None:
    run(external_task_id="mine")
    heard.lines()
    with pytest.raises(KlingBadRequestError, match="is taken"):
        run(external_task_id="mine")
    assert heard.counted() == {}
    run(external_task_id="mine", on_existing="adopt")
    assert heard.counted() == {"adopted": 1, "adopted.text2video": 1}


def test_a_server_that_cannot_be_reached_is_told_from_one_that_refuses(
    heard: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        host = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        connection = {"conn_type": "kling", "host": host, "password": "key-0123456789abcdef"}
        monkeypatch.setenv("AIRFLOW_CONN_KLING_DEFAULT", json.dumps(connection))
        with pytest.raises(KlingError):
            run()
    assert heard.counted() == {"refused": 1, "refused.never_sent": 1}


def test_taking_over_a_video_from_elsewhere_is_an_adoption(kling: SimulatorServer, heard: Ear) -> None:
    task_id = run()
    heard.lines()
    operator = KlingAdoptOperator(task_id="adopt", kling_task_id=task_id, endpoint="text2video")
    operator.execute(context_of(operator))
    assert heard.counted() == {"adopted": 1, "adopted.text2video": 1}


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_both_hooks_count_alike(kind: str, kling: SimulatorServer, heard: Ear) -> None:
    talker = Talker(kind)
    talker.submit("text2video", {"prompt": "a boat", "model_name": "kling-v2-6"})
    talker.close()
    counted = heard.counted()
    assert counted["submitted.text2video"] == 1
    assert counted["units.text2video"] > 0


def test_account_and_model_are_told_as_tags(kling: SimulatorServer, listen: Callable[..., Ear]) -> None:
    ear = listen(STATSD_INFLUXDB_ENABLED="True")
    run()
    tags = "endpoint=text2video,conn_id=kling_default,model=kling-v2-6"
    first, second = ear.lines()
    assert first == f"kling.submitted,{tags}:1|c"
    assert second.startswith(f"kling.units,{tags},pack=video:")


def packs_of_the_page() -> dict[str, str]:
    """Endpoint -> pack, as the price list tells it, of what is paid in units."""
    page = (Path(__file__).parent.parent / "docs" / "api" / "prices.md").read_text()
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith("| `")]
    paid = [(row[0], row[5]) for row in rows if len(row) > 5 and row[5]]
    return {name: pack for names, pack in paid for name in re.findall("`([^`]+)`", names)}


def test_units_are_told_under_the_pack_of_the_price_list(listen: Callable[..., Ear]) -> None:
    packs = packs_of_the_page()
    assert set(packs.values()) == {"video", "image"}
    ear = listen(STATSD_INFLUXDB_ENABLED="True")
    told = {}
    for name, row in ENDPOINTS.items():
        if classic_names(name)[0] in packs:
            prepared: Any = SimpleNamespace(endpoint=row, model_name=None, estimated_units=Decimal(1))
            count_task("kling_default", prepared, KlingTask("1", name, "submitted"), adopted=False)
            told[name] = ear.lines()[-1].partition("pack=")[2].partition(":")[0]
    assert set(told) >= set(packs)
    assert told == {name: packs[classic_names(name)[0]] for name in told}


def test_a_request_that_was_lost_on_the_way_is_counted_as_unknown(kling: SimulatorServer, heard: Ear) -> None:
    from kling_provider.api.submitting import Memory

    operator = KlingTextToVideoOperator(task_id="video", prompt="another prompt")
    known = {"memory": Memory(posts=1).to_dict(), "digest": "an older digest"}
    with pytest.raises(KlingSubmissionUnknownError):
        operator.resume_submit(context_of(operator), {"status": "slot", "handed_on": known})
    assert heard.counted() == {"unknown": 1, "unknown.text2video": 1}


# -- what the documents say of it


def test_every_number_that_is_told_is_explained_and_no_other() -> None:
    called: set[str] = set()
    for path in Path(stats.__file__).parent.rglob("*.py"):
        if "import stats" in (text := path.read_text()):
            called |= set(re.findall(r"stats\.(?:count|gauge|timing)\(\s*\"([a-z_.]+)\"", text))
    page = (Path(__file__).parent.parent / "docs" / "operating.md").read_text()
    assert set(re.findall(r"^\| `kling\.([a-z_.]+)` \|", page, re.MULTILINE)) == called
