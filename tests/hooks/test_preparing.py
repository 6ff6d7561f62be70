"""What a submit is, before it is sent: its body, its price, and the digest that makes it the same one again."""

from __future__ import annotations

import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from kling_provider.api.endpoints import ENDPOINTS
from kling_provider.exceptions import KlingBadRequestError
from kling_provider.hooks.kling import KlingHook
from kling_provider.hooks.preparing import PreparedSubmit
from kling_provider.simulator.server import SimulatorServer
from tests.example_requests import EXAMPLES

PICTURE = "https://media.example/a.png"
LIGHTHOUSE = Path(__file__).parents[2] / "dags" / "pictures" / "lighthouse.jpg"
NEW = "image-to-video/kling-3.0"


@pytest.fixture(autouse=True)
def _connected(kling_connection: str) -> None:
    """Every hook here would talk to the simulator."""


def prepared(endpoint: str, request: Any, **arguments: Any) -> PreparedSubmit:
    return KlingHook().prepare(endpoint, request, **arguments)


def frame(url: Any = PICTURE, **more: Any) -> dict[str, Any]:
    return {"contents": [{"type": "first_frame", "url": url}], **more}


@pytest.mark.parametrize("endpoint", [name for name in EXAMPLES if ENDPOINTS[name].work != "read"])
def test_defaults_are_no_part_of_what_was_asked(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a release with another default would pay a running retry's video a second time."""
    from kling_provider.api.requests import checking

    before = prepared(endpoint, EXAMPLES[endpoint])
    real = checking._body
    monkeypatch.setattr(checking, "_body", lambda *given: {**real(*given), "a_default_of_tomorrow": 1})
    monkeypatch.setattr("kling_provider.hooks.preparing.estimate_units", lambda *_, **__: None)
    after = prepared(endpoint, EXAMPLES[endpoint])
    assert after.body != before.body
    assert after.digest == before.digest


def test_the_settings_that_we_fill_in_are_not_asked_for() -> None:
    plain = prepared(NEW, frame())
    said = prepared(NEW, frame(settings={"resolution": "720p", "duration": 5, "audio": "off"}))
    assert plain.body["settings"] == said.body["settings"]
    assert plain.digest != said.digest


def test_files_count_by_content_wherever_they_lie(tmp_path: Path) -> None:
    copy = tmp_path / "other.jpg"
    copy.write_bytes(LIGHTHOUSE.read_bytes())
    assert prepared(NEW, frame(str(LIGHTHOUSE))).digest == prepared(NEW, frame(str(copy))).digest
    assert prepared(NEW, frame(str(LIGHTHOUSE))).digest != prepared(NEW, frame()).digest
    assert prepared(NEW, frame(str(copy))).body["contents"][0]["url"] == LIGHTHOUSE.read_bytes()


def test_the_callers_id_and_callback_are_no_part_of_the_request() -> None:
    told = {"external_task_id": "mine-1", "callback_url": "https://hooks.example/k"}
    new = prepared(NEW, frame(options=told))
    assert new.digest == prepared(NEW, frame()).digest
    assert new.own_id == "mine-1"
    assert new.body_with("mine-1")["options"] == told
    assert new.body_with(None)["options"] == {"callback_url": told["callback_url"]}
    classic = prepared("text2video", {"prompt": "x", **told})
    assert classic.digest == prepared("text2video", {"prompt": "x"}).digest
    assert classic.own_id == "mine-1"


def test_a_watermark_is_part_of_the_request() -> None:
    marked = {"watermark_info": {"enabled": True}}
    assert prepared(NEW, frame(options=marked)).digest != prepared(NEW, frame()).digest


def test_one_request_in_two_dialects_is_two() -> None:
    request = {"image": PICTURE, "prompt": "drift"}
    classic, new = (prepared("image2video", request, dialect=dialect) for dialect in ("classic", "new"))
    assert classic.digest != new.digest
    assert (classic.endpoint.name, new.endpoint.name) == ("image2video", "image-to-video/kling-2.6")
    assert classic.estimated_units == new.estimated_units == Decimal("1.5")
    assert new.model_name == "kling-2.6"
    assert new.body["contents"][1] == {"type": "first_frame", "url": PICTURE}


def test_a_picture_is_read_before_it_is_said_in_the_other_dialect() -> None:
    new = prepared("image2video", {"image": str(LIGHTHOUSE)}, dialect="new")
    assert new.body["contents"] == [{"type": "first_frame", "url": LIGHTHOUSE.read_bytes()}]


def test_what_the_other_dialect_cannot_say_is_refused() -> None:
    with pytest.raises(KlingBadRequestError, match="negative_prompt cannot be said in the new dialect"):
        prepared("text2video", {"prompt": "x", "negative_prompt": "rain"}, dialect="new")
    with pytest.raises(KlingBadRequestError, match="has no counterpart in the new dialect"):
        prepared("tts", EXAMPLES["tts"], dialect="new")


def test_a_key_pair_does_not_open_the_new_dialect(
    kling_simulator: SimulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    signed = kling_simulator.connection_json(auth="pair")
    monkeypatch.setenv("AIRFLOW_CONN_KLING_DEFAULT", signed)
    with pytest.raises(KlingBadRequestError, match="takes API keys only"):
        prepared(NEW, frame())
    with pytest.raises(KlingBadRequestError, match="takes API keys only"):
        prepared("text2video", {"prompt": "x"}, dialect="new")
    assert kling_simulator.requests == []


def test_what_only_reads_cannot_be_submitted_to() -> None:
    with pytest.raises(KlingBadRequestError, match=r"it only reads\. Use KlingReadOperator"):
        prepared("presets-voices", {})


@pytest.mark.parametrize(("validate", "is_refused"), [("strict", True), ("warn", False), ("off", False)])
def test_how_strict_the_tables_are_taken_is_the_callers_choice(
    validate: Any, is_refused: bool, caplog: pytest.LogCaptureFixture
) -> None:
    request = {"prompt": "x", "model_name": "kling-v2-6", "duration": "7"}
    if is_refused:
        with pytest.raises(KlingBadRequestError, match="duration='7'"):
            prepared("text2video", request, validate=validate)
        return
    assert prepared("text2video", request, validate=validate).body["duration"] == "7"
    assert ("duration='7'" in caplog.text) == (validate == "warn")


def test_an_endpoint_of_tomorrow_is_used_raw(
    kling_simulator: SimulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = "/v1/videos/of-tomorrow"
    raw = prepared(path, {"dream": {"of": ["sheep"]}})
    assert (raw.endpoint.create_path, raw.body) == (path, {"dream": {"of": ["sheep"]}})
    assert raw.estimated_units is None
    assert not raw.can_look_up  # nobody knows whether it keeps the caller's id
    known = kling_simulator.connection_json(external_id={path: "lookup"})
    monkeypatch.setenv("AIRFLOW_CONN_KLING_DEFAULT", known)
    assert prepared(path, {}).can_look_up


def test_the_path_of_an_endpoint_that_is_known_is_used_like_it() -> None:
    assert prepared("/v1/videos/text2video", {"prompt": "x"}).can_look_up
    speech = prepared("/v1/audio/tts", {"text": "x"}).endpoint
    assert (speech.name, speech.work, speech.external_id) == ("/v1/audio/tts", "call", "none")
    model = prepared("/text-to-video/kling-4.0", {"prompt": "x"})
    assert (model.endpoint.dialect, model.can_look_up) == ("new", True)
    assert model.body_with("mine") == {"prompt": "x", "options": {"external_task_id": "mine"}}


def test_an_id_of_ones_own_is_refused_where_the_endpoint_takes_none() -> None:
    for endpoint in ("tts", "lip-sync", "identify-face"):
        with pytest.raises(KlingBadRequestError, match=f"external_task_id='mine-1' is not for {endpoint}"):
            prepared(endpoint, EXAMPLES[endpoint], external_task_id="mine-1")


def test_the_new_dialect_takes_larger_pictures(tmp_path: Path) -> None:
    large = tmp_path / "large.png"
    noise = Image.frombytes("RGB", (2000, 2000), random.Random(1).randbytes(12_000_000))
    noise.save(large, compress_level=0)
    assert large.stat().st_size > 10 * 2**20
    assert prepared(NEW, frame(str(large))).body["contents"]
    assert prepared("image2video", {"image": str(large)}, dialect="new").body["contents"]
    with pytest.raises(KlingBadRequestError, match="larger than 10 MB"):
        prepared("image2video", {"image": str(large)})


@pytest.mark.parametrize("validate", ["strict", "warn"])
def test_the_other_dialects_own_limits_are_kept(validate: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A ratio is required in the new omni dialect, and not known to be missing before it is said there."""
    request = {
        "prompt": "x",
        "model_name": "kling-3.0-turbo",
        "duration": "5",
        "sound": "on",
    }
    if validate == "strict":
        with pytest.raises(KlingBadRequestError, match="audio"):
            prepared("text2video", request, dialect="new", validate=validate)
    else:
        prepared("text2video", request, dialect="new", validate=validate)
        assert "audio" in caplog.text


def test_a_result_of_this_connection_is_the_same_however_it_is_signed(
    kling_simulator: SimulatorServer,
) -> None:
    port = kling_simulator.url.rpartition(":")[2]
    told = [
        prepared(
            "omni-video",
            {
                **EXAMPLES["omni-video"],
                "video_list": [{"video_url": f"http://{host}:{port}/_files/1.mp4?pkey={number}"}],
            },
        )
        for number, host in enumerate(("127.0.0.1", "localhost"))
    ]
    assert told[0].digest == told[1].digest
