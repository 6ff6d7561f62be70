"""Every endpoint from its operator to the simulator and back, with what it needs made by other operators first."""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
import re
import subprocess
import sys
import wave
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from kling_provider import operators
from kling_provider.api.endpoints import ENDPOINTS, Endpoint
from kling_provider.api.places import change_each
from kling_provider.api.requests import REQUESTS, check_request
from kling_provider.operators import kling
from kling_provider.operators.kling import KlingReadOperator, KlingSubmitOperator
from kling_provider.operators.typed import KlingTypedOperator
from kling_provider.simulator.server import SimulatorServer
from tests.contexts import context_of, is_derived
from tests.example_requests import EXAMPLES, FULL, MASK, OTHER_PICTURE, PICTURE, SOUND, VIDEO
from tests.test_dags import load, metadata_database, run  # noqa: F401 - a fixture

#: Longer than the 2 seconds that an avatar speaks at least.
SPEECH = "The boat is at sea, the weather is fine, and all of the crew are well"

#: What has a typed operator: everything in the classic dialect that makes something.
MAKING = [name for name, row in ENDPOINTS.items() if row.dialect == "classic" and row.work != "read"]
OPERATORS: Mapping[str, type] = {name: getattr(kling, name) for name in kling.__all__}
TYPED: Mapping[str, type[KlingTypedOperator]] = {
    value.kling_endpoint: value for value in OPERATORS.values() if issubclass(value, KlingTypedOperator)
}

#: Operators whose name is not that of the endpoint, because people say it otherwise.
SPOKEN = {
    "tts": "TextToSpeech",
    "images/generations": "Image",
    "images/editing/expand": "ImageExpand",
    "kolors-virtual-try-on": "VirtualTryOn",
    "ai-multi-shot": "MultiShot",
    "advanced-custom-elements": "CustomElement",
    "delete-elements": "DeleteElement",
    "custom-voices": "CustomVoice",
    "delete-voices": "DeleteVoice",
}

_CLIP = {"model_name": "kling-v2-6", "mode": "std", "duration": "5"}
#: What is sent although nobody asked for it: it decides what is billed.
DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "text2video": _CLIP,
    "image2video": _CLIP,
    "multi-image2video": {**_CLIP, "model_name": "kling-v1-6"},
    "omni-video": {"model_name": "kling-v3-omni", "mode": "pro", "duration": "5"},
    "motion-control": {"model_name": "kling-v3"},
    "avatar": {"mode": "std"},
    "multi-elements": {**_CLIP, "model_name": "kling-v1-6"},
    "images/generations": {"model_name": "kling-v3", "resolution": "1k", "n": 1},
    "images/omni-image": {"model_name": "kling-v3-omni", "resolution": "1k", "n": 1},
    "images/multi-image2image": {"model_name": "kling-v2-1", "n": 1},
    "images/editing/expand": {"n": 1},
    "kolors-virtual-try-on": {"model_name": "kolors-virtual-try-on-v1-5"},
    **{
        name: {"settings": {"resolution": "720p", "duration": 5}}
        for name in ENDPOINTS
        if name.endswith("-turbo")
    },
    **{
        name: {"settings": {"resolution": "720p", "duration": 5, "audio": "off"}}
        for name in ENDPOINTS
        if re.fullmatch(r"(text-to-video|image-to-video|omni-video)/kling-(3\.0|2\.6|3\.0-omni|o1)", name)
    },
    **{
        name: {"settings": {"resolution": "720p", "audio": "original"}}
        for name in ENDPOINTS
        if name.startswith("motion-control/")
    },
}

_VIDEO, _AUDIO = {"video_id", "video_url"}, {"audio_id", "audio_url"}
_BY_KIND = {"video": _VIDEO, "image": {"image_url"}, "audio": _AUDIO}
#: What is pushed where the kind of the endpoint does not tell it.
PUSHED: Mapping[str, set[str]] = {
    "identify-face": {"session_id", "face_id"},
    **{name: {"session_id"} for name in ENDPOINTS if name.startswith("multi-elements/")},
    "video-to-audio": _VIDEO | _AUDIO,
    "advanced-custom-elements": {"element_id"},
    "custom-voices": {"voice_id"},
    "delete-elements": set(),
    "delete-voices": set(),
}
_EVERY_RESULT = set().union(*_BY_KIND.values(), *PUSHED.values())

_SHOTS = {
    "multi_shot": True,
    "shot_type": "customize",
    "multi_prompt": [{"index": 1, "prompt": "a boat leaves", "duration": "5"}],
}
#: With EXAMPLES and FULL, every field of every operator.
MORE: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "text2video": [
        {
            "prompt": "a boat",
            "model_name": "kling-v1",
            "camera_control": {"type": "simple", "config": {"zoom": 5}},
        }
    ],
    "image2video": [
        {
            "image": PICTURE,
            "model_name": "kling-v1",
            "static_mask": MASK,
            "dynamic_masks": [{"mask": MASK, "trajectories": [{"x": 1, "y": 2}, {"x": 3, "y": 4}]}],
        },
        {
            "image": PICTURE,
            "model_name": "kling-v1-5",
            "mode": "pro",
            "camera_control": {"type": "simple", "config": {"pan": -1}},
        },
        {"image": PICTURE, "mode": "pro", "sound": "on", "voice_list": [{"voice_id": "v-1"}]},
        {"image": PICTURE, "model_name": "kling-v3", **_SHOTS},
    ],
    "omni-video": [{"model_name": "kling-v3-omni", "aspect_ratio": "1:1", **_SHOTS}],
    "identify-face": [{"video_id": "1"}],
    "multi-elements/init-selection": [{"video_id": "1"}],
    "images/generations": [
        {"prompt": "a boat", "negative_prompt": "rain"},
        {"prompt": "a boat", "element_list": [{"element_id": 160}]},
    ],
    "images/omni-image": [{"prompt": "a boat", "n": 3}],
}
#: What takes a file and no URL.
WITH_FILES: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "lip-sync": [
        {"input": {"video_url": VIDEO, "mode": "audio2video", "audio_type": "file", "audio_file": SOUND}}
    ]
}


def requests_of(endpoint: str) -> list[Mapping[str, Any]]:
    """Requests that have, together, every field of an endpoint."""
    return [EXAMPLES[endpoint], *([FULL[endpoint]] if endpoint in FULL else []), *MORE.get(endpoint, ())]


class Chain:
    """Runs operators one after the other, as a DAG does, and makes what a request speaks of beforehand."""

    def __init__(self, simulator: SimulatorServer) -> None:
        self.simulator = simulator
        self.count = 0
        self.made: dict[str, Any] = {}

    def run(
        self, endpoint: str, request: Mapping[str, Any], *, wait: bool = True
    ) -> tuple[Any, dict[str, Any]]:
        """Run the endpoint's operator; gives what it returned and what it pushed."""
        self.count += 1
        operator: Any
        common: dict[str, Any] = {"task_id": f"task_{self.count}"}
        if ENDPOINTS[endpoint].work == "read":
            operator = KlingReadOperator(endpoint=endpoint, request=request, **common)
        else:
            common |= {"wait_for_completion": wait, "deferrable": False}
            if endpoint in TYPED:
                operator = TYPED[endpoint](**common, **request)
            else:
                operator = KlingSubmitOperator(endpoint=endpoint, request=request, **common)
            operator.poke_interval = 0.05
        context = context_of(operator)
        return operator.execute(context), context["ti"].pushed

    def bodies(self, endpoint: str) -> list[dict[str, Any]]:
        """What reached this endpoint."""
        path = ENDPOINTS[endpoint].create_path
        return [request.body for request in self.simulator.requests if request.path == path]

    def ready(self, endpoint: str, request: Mapping[str, Any]) -> dict[str, Any]:
        """The request with ids of things that are there, where it has invented ones."""
        ready: dict[str, Any] = self._real(request, endpoint, request)
        return ready

    def _real(self, value: Any, endpoint: str, request: Mapping[str, Any]) -> Any:
        if isinstance(value, Mapping):
            return {
                name: self._id(name, endpoint, request)
                if name.endswith("_id") and name not in ("external_task_id", "tag_id")
                else self._real(item, endpoint, request)
                for name, item in value.items()
            }
        if isinstance(value, list):
            return [self._real(item, endpoint, request) for item in value]
        return value

    def _id(self, name: str, endpoint: str, request: Mapping[str, Any]) -> Any:
        match name.removeprefix("element_") if name == "element_voice_id" else name:
            case "video_id":
                return self._clip(endpoint, request)
            case "audio_id":
                return self._pushed("tts", {**EXAMPLES["tts"], "text": SPEECH})["audio_id"]
            case "element_id":
                own = self._pushed("advanced-custom-elements")["element_id"]
                return own if endpoint == "delete-elements" else int(own)
            case "voice_id" if endpoint == "delete-voices":
                return self._pushed("custom-voices")["voice_id"]
            case "voice_id":
                return self._preset_voice()
            case "face_id":
                return self._faces()["face_id"]
            case "session_id" if endpoint == "advanced-lip-sync":
                return self._faces()["session_id"]
            case "session_id":
                return self._session(endpoint, request)
        raise AssertionError(f"nothing makes {name}")

    def _pushed(self, endpoint: str, request: Mapping[str, Any] | None = None) -> dict[str, Any]:
        key = f"{endpoint} {request}"
        if key not in self.made:
            self.made[key] = self.run(endpoint, self.ready(endpoint, request or EXAMPLES[endpoint]))[1]
        pushed: dict[str, Any] = self.made[key]
        return pushed

    def _clip(self, endpoint: str, request: Mapping[str, Any]) -> str:
        clip: dict[str, Any] = {"prompt": "a person speaks", "model_name": "kling-v1-6"}
        if endpoint == "custom-voices":
            clip |= {"model_name": "kling-v2-6", "mode": "pro", "sound": "on"}
        elif endpoint.startswith("multi-elements"):
            clip |= {"duration": request.get("duration", "5")}
        return str(self._pushed("text2video", clip)["video_id"])

    def _faces(self) -> dict[str, Any]:
        return self._pushed("identify-face", {"video_id": "of a clip"})

    def _session(self, endpoint: str, request: Mapping[str, Any]) -> str:
        """One in which something is marked, unless that is what is to be done."""
        key = "session"
        if key not in self.made:
            clip = self._clip("multi-elements", request)
            session = self.run("multi-elements/init-selection", {"video_id": clip})[1]["session_id"]
            self.made[key] = session
            if endpoint != "multi-elements/add-selection":
                example = EXAMPLES["multi-elements/add-selection"]
                marked = {name: request.get(name, example[name]) for name in ("frame_index", "points")}
                self.run("multi-elements/add-selection", {"session_id": session, **marked})
        return str(self.made[key])

    def _preset_voice(self) -> str:
        presets, _ = self.run("presets-voices", {"pageSize": 5})
        return str(presets[0]["voices"][0]["voice_id"])


@pytest.fixture
def chain(kling_simulator: SimulatorServer, kling_connection: str) -> Chain:
    kling_simulator.set(task_seconds=0.05)
    return Chain(kling_simulator)


# --- the operators themselves ---------------------------------------------------------------------------


def named(endpoint: str) -> str:
    words = SPOKEN.get(endpoint) or "".join(
        word.capitalize() for word in endpoint.rpartition("/")[2].replace("2", "-to-").split("-")
    )
    return f"Kling{words}Operator"


def test_everything_that_makes_something_has_one_operator_and_its_name_can_be_guessed() -> None:
    classes = [value for value in OPERATORS.values() if issubclass(value, KlingTypedOperator)]
    assert Counter(cls.kling_endpoint for cls in classes) == Counter(MAKING)
    assert {endpoint: cls.__name__ for endpoint, cls in TYPED.items()} == {
        name: named(name) for name in MAKING
    }


def test_the_public_names_are_all_there_and_sorted() -> None:
    families = [
        importlib.import_module(module.name)
        for module in pkgutil.iter_modules(operators.__path__, "kling_provider.operators.")
    ]
    made = {
        name
        for family in families
        for name, value in vars(family).items()
        if isinstance(value, type)
        and value.__module__ == family.__name__
        and name.startswith("Kling")
        and issubclass(value, KlingSubmitOperator | KlingReadOperator)
        and value is not KlingTypedOperator
    }
    assert kling.__all__ == sorted(made)
    assert set(kling.__all__) <= set(dir(kling))
    assert all(cls.__name__ == name for name, cls in OPERATORS.items())
    with pytest.raises(AttributeError, match="KlingNothingOperator"):
        _ = kling.KlingNothingOperator


def test_what_is_not_asked_for_is_not_imported() -> None:
    code = (
        "import json, sys; from kling_provider.operators.kling import KlingImageToVideoOperator;"
        "print(json.dumps(sorted(name for name in sys.modules if name.startswith("
        "('kling_provider.operators.', 'kling_provider.api.requests.')))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.rpartition(".")[2] for name in json.loads(done.stdout.splitlines()[-1])}
    assert loaded == {"checking", "guards", "kling", "matrix", "parts", "submit", "table", "typed", "video"}


@pytest.mark.parametrize("endpoint", MAKING)
def test_an_operator_has_exactly_the_fields_of_its_request(endpoint: str) -> None:
    operator_class, model = TYPED[endpoint], REQUESTS[endpoint]
    parameters = inspect.signature(operator_class.__init__).parameters
    own = [name for name in parameters if name not in ("self", "kwargs")]
    assert set(own) == set(model.own_fields())
    assert all(parameters[name].kind is inspect.Parameter.KEYWORD_ONLY for name in own)
    # What is required may come from expand() or default_args, so that nothing is for Python to insist on.
    assert all(parameters[name].default is None for name in own)
    assert re.findall(r":param (\w+):", operator_class.__doc__ or "") == own
    assert (operator_class.__doc__ or "").splitlines()[0].endswith(f"(``{endpoint}``).")


@pytest.mark.parametrize("endpoint", MAKING)
def test_every_field_of_an_operator_is_templated_and_objects_are_shown_as_json(endpoint: str) -> None:
    operator_class, model = TYPED[endpoint], REQUESTS[endpoint]
    common = set(KlingSubmitOperator.template_fields) - {"endpoint", "request"}
    assert set(operator_class.template_fields) == {*model.own_fields(), *common}
    is_json = {
        name
        for name in model.own_fields()
        for request in requests_of(endpoint)
        if isinstance(request.get(name), dict | list)
    }
    assert operator_class.template_fields_renderers == dict.fromkeys(is_json, "json")


@pytest.mark.parametrize("endpoint", MAKING)
def test_no_field_hides_something_else_of_an_operator(endpoint: str) -> None:
    plain = KlingSubmitOperator(task_id="task", endpoint="text2video", request={"prompt": "a boat"})
    assert [name for name in REQUESTS[endpoint].own_fields() if hasattr(plain, name)] == []


@pytest.mark.parametrize("endpoint", MAKING)
def test_a_required_field_is_described_as_one_and_no_other_is(endpoint: str) -> None:
    told = {
        name
        for name, text in re.findall(r":param (\w+):(.*?)(?=:param|\Z)", TYPED[endpoint].__doc__ or "", re.S)
        if re.search(r"\bRequired\.|\bRequired[:;]", text)
    }
    assert told == {name for name, field in REQUESTS[endpoint].model_fields.items() if field.is_required()}


@pytest.mark.parametrize("endpoint", MAKING)
def test_a_result_is_described_by_what_is_pushed(endpoint: str) -> None:
    described = TYPED[endpoint].__doc__ or ""
    body = described.partition(":param")[0]
    assert {name for name in _EVERY_RESULT if f"``{name}``" in body} == pushed_by(ENDPOINTS[endpoint])
    assert ("Answered at once: " in body) == (ENDPOINTS[endpoint].work == "call")


def as_rendered(value: Any) -> str:
    """What Jinja makes of a value."""
    return json.dumps(value) if isinstance(value, dict | list) else str(value)


@pytest.mark.parametrize("endpoint", MAKING)
def test_what_a_template_rendered_means_the_same_as_the_value(endpoint: str) -> None:
    row = ENDPOINTS[endpoint]
    for request in requests_of(endpoint):
        rendered = {name: as_rendered(value) for name, value in request.items()}
        operator = TYPED[endpoint](task_id="task", **rendered)
        fields = {name: value for name, value in request.items() if name != "external_task_id"}
        assert (
            check_request(row, operator.kling_request(), "kling-v9").given
            == check_request(row, fields, "kling-v9").given
        )


# --- operator -> Kling -> result ------------------------------------------------------------------------


def pushed_by(row: Endpoint) -> set[str]:
    return PUSHED[row.name] if row.name in PUSHED else _BY_KIND[row.kind]


def without_id(row: Endpoint, body: Mapping[str, Any]) -> dict[str, Any]:
    """The body without the derived id, which is there where Kling takes one."""
    rest = dict(body)
    if row.external_id == "none":
        return rest
    if row.dialect == "classic":
        assert is_derived(rest.pop("external_task_id"))
    else:
        assert is_derived(rest.pop("options")["external_task_id"])
    return rest


def merged(request: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The request with what it leaves out, inside its objects too."""
    return {
        **defaults,
        **{
            name: {**defaults[name], **value} if isinstance(value, dict) and name in defaults else value
            for name, value in request.items()
        },
    }


@pytest.mark.parametrize("endpoint", [name for name, row in ENDPOINTS.items() if row.work != "read"])
def test_a_request_goes_from_its_operator_to_kling_and_comes_back_as_its_result(
    endpoint: str, chain: Chain
) -> None:
    row = ENDPOINTS[endpoint]
    request = chain.ready(endpoint, EXAMPLES[endpoint])
    before = len(chain.bodies(endpoint))
    result, pushed = chain.run(endpoint, request)
    (body,) = chain.bodies(endpoint)[before:]
    assert without_id(row, body) == merged(request, DEFAULTS.get(endpoint, {}))
    assert (result["endpoint"], result["status"]) == (endpoint, "succeed")
    assert _EVERY_RESULT & set(pushed) == pushed_by(row)
    assert json.loads(json.dumps(result)) == result
    for name in pushed_by(row):
        assert isinstance(pushed[name], str)
        assert name.endswith("_id") or pushed[name].startswith("http://127.0.0.1:")
    for video in result["videos"]:
        assert video["duration"] > 0
    if row.work == "task":
        assert result["task_id"] == pushed["task_id"] == pushed["kling_task"]["task_id"] != ""
        assert pushed["kling_task"]["endpoint"] == endpoint


@pytest.mark.parametrize(
    ("endpoint", "new", "model"),
    [
        ("text2video", "text-to-video/kling-3.0", {"model_name": "kling-v3"}),
        ("image2video", "image-to-video/kling-2.6", {"model_name": "kling-v2-6"}),
        ("omni-video", "omni-video/kling-o1", {"model_name": "kling-video-o1"}),
        ("motion-control", "motion-control/kling-3.0", {}),
    ],
)
def test_the_same_arguments_can_be_sent_in_the_new_dialect(
    endpoint: str, new: str, model: dict[str, Any], chain: Chain
) -> None:
    result, pushed = chain.run(endpoint, {**EXAMPLES[endpoint], **model, "dialect": "new"})
    (body,) = chain.bodies(new)
    assert is_derived(body["options"]["external_task_id"])
    assert chain.bodies(endpoint) == []
    assert result["endpoint"] == pushed["kling_task"]["endpoint"] == new
    assert result["videos"][0]["url"] == pushed["video_url"]


@pytest.mark.parametrize(
    ("endpoint", "before", "method"),
    [
        ("advanced-presets-elements", None, "GET"),
        ("presets-voices", None, "GET"),
        ("account/costs", None, "GET"),
        ("account/billing/package", "text2video", "POST"),
        ("account/billing/balance", "text2video", "POST"),
        ("tasks", "text-to-video/kling-3.0", "POST"),
    ],
)
def test_what_only_reads_comes_back_as_plain_json(
    endpoint: str, before: str | None, method: str, chain: Chain
) -> None:
    if endpoint.endswith("balance"):
        chain.simulator.set(pays_with="balance")
    task_id = chain.run(before, EXAMPLES[before])[1]["task_id"] if before else None
    told, _ = chain.run(endpoint, EXAMPLES[endpoint])
    asked = chain.simulator.requests[-1]
    assert (asked.method, asked.path, asked.status) == (method, ENDPOINTS[endpoint].create_path, 200)
    assert json.loads(json.dumps(told)) == told
    match endpoint:
        case "advanced-presets-elements":
            assert all(task["elements"][0]["element_id"] for task in told)
        case "presets-voices":
            assert all(task["voices"][0]["voice_id"] for task in told)
        case "account/costs":
            assert told["resource_pack_subscribe_infos"]
        case "tasks":
            assert [task["task_id"] for task in told] == [task_id]
        case _:
            assert [row["task_id"] for row in told["result"]["detail"]] == [task_id]
    assert told


def test_every_endpoint_has_been_asked() -> None:
    assert set(EXAMPLES) == set(ENDPOINTS)


@pytest.mark.parametrize("endpoint", MAKING)
def test_every_argument_of_an_operator_reaches_kling(endpoint: str, chain: Chain) -> None:
    reached: set[str] = set()
    for example in requests_of(endpoint):
        chain.made.pop("session", None)
        request = chain.ready(endpoint, example)
        chain.run(endpoint, request, wait=False)
        body = chain.bodies(endpoint)[-1]
        assert {name: body.get(name) for name in request} == request
        reached |= set(request)
    assert reached >= set(REQUESTS[endpoint].own_fields())


@pytest.mark.parametrize(
    ("endpoint", "place"),
    [(row.name, place) for row in ENDPOINTS.values() for place in (*row.pictures, *row.sounds)],
)
def test_a_file_on_the_worker_reaches_kling_wherever_it_takes_one(
    endpoint: str, place: str, chain: Chain, picture: Path, tmp_path: Path
) -> None:
    sound = tmp_path / "voice.wav"
    with wave.open(str(sound), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(2 * 8000 * 4))
    files = {PICTURE: picture, OTHER_PICTURE: picture, MASK: picture, SOUND: sound}
    changed: list[str] = []

    def use_file(value: Any, label: str) -> Any:
        changed.append(label)
        return str(files[value]) if value in files else value

    for example in (*requests_of(endpoint), *WITH_FILES.get(endpoint, ())):
        request = change_each(example, (place,), use_file)
        if changed:
            break
    chain.run(endpoint, chain.ready(endpoint, request), wait=False)
    arrived: list[Any] = []
    change_each(chain.bodies(endpoint)[-1], (place,), lambda value, _label: arrived.append(value))
    assert len(arrived) == len(changed) > 0
    # What is a video in a list of contents can be given by URL only.
    assert all(value == VIDEO or re.match(r"<base64 of \d+ bytes, sha256", value) for value in arrived)


# --- mapped, and in chains, in a real DAG run -----------------------------------------------------------


def take_dags_from_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Airflow find the DAG files beside these tests."""
    folder = Path(__file__).parent / "dags"
    monkeypatch.setattr("tests.test_dags.DAGS", folder)
    bundle = {"name": "families", "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle"}
    monkeypatch.setenv(
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST",
        json.dumps([{**bundle, "kwargs": {"path": str(folder)}}]),
    )


def test_mapped_sensors_ask_nothing_on_the_worker_although_only_ids_are_handed_on(
    metadata_database: None,  # noqa: F811
    kling_simulator: SimulatorServer,
    kling_connection: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    take_dags_from_here(monkeypatch)
    connection = kling_simulator.connection_json(typical_seconds=300)
    monkeypatch.setenv("AIRFLOW_CONN_KLING_DEFAULT", connection)
    monkeypatch.setattr("kling_provider.triggers.kling.FIRST_ASK_AFTER_SECONDS", 1.0)
    values = run(load("mapped_ids"))
    assert [value["status"] for value in values["wait"]] == ["succeed", "succeed"]
    # One for each trigger; dag.test runs them one after the other.
    assert len([one for one in kling_simulator.requests if one.method == "GET"]) == 2


def test_every_family_can_be_mapped_and_chained(
    metadata_database: None,  # noqa: F811
    kling_simulator: SimulatorServer,
    kling_connection: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    take_dags_from_here(monkeypatch)
    kling_simulator.set(task_seconds=0.05)
    values = run(load("families"))
    assert [len(page) for page in values["voices"]] == [1, 2]
    assert [len(made["images"]) for made in values["images"]] == [1, 2]
    for name in ("omni", "motion", "effects", "avatar", "moving"):
        assert len({made["videos"][0]["id"] for made in values[name]}) == 2
    assert len({made["audios"][0]["id"] for made in (*values["sounds"], *values["speech"])}) == 4
    assert {values[name]["status"] for name in ("clip", "lip_sync", "edited", "reunion")} == {"succeed"}
    sent: dict[str, list[Any]] = {}
    for create in kling_simulator.creates:
        sent.setdefault(create.path.removeprefix("/v1/videos/"), []).append(create.body)
    assert sent["identify-face"] == [{"video_id": values["clip"]["videos"][0]["id"]}]
    (lip_sync,) = sent["advanced-lip-sync"]
    assert lip_sync["session_id"] == values["faces"]["data"]["session_id"]
    assert lip_sync["face_choose"][0]["face_id"] == values["faces"]["data"]["face_data"][0]["face_id"]
    assert sent["multi-elements"][0]["session_id"] == values["session"]["data"]["session_id"]
    elements = [int(made["elements"][0]["element_id"]) for made in values["element"]]
    (reunion,) = [body for body in sent["omni-video"] if "element_list" in body]
    assert sorted(item["element_id"] for item in reunion["element_list"]) == sorted(elements)
