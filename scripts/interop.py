"""``make interop``: clients nobody here wrote, unchanged, against the simulator.

A simulator that only this provider talks to could share the provider's misunderstandings. So two published
packages create, query and list tasks on it, and each of their calls is looked up on the simulator's side: was
it served with code 0, is the task booked with the fields that were sent, is the address a real MP4.

The packages are fetched into a temporary folder. What cannot run (no Node, no network, no such call) is told
as ``not run`` with its reason and never counts as passed. The exit code is 1 if anything failed, else 0.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import importlib
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import wave
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

import requests

if TYPE_CHECKING:
    from kling_provider.simulator.journal import Recorded
    from kling_provider.simulator.server import SimulatorServer

ROOT = Path(__file__).parents[1]
PYTHON, NODE = "klingai-api", "kling-api"
FETCH_SECONDS = 180
ANSWER_SECONDS = 60
TASK_SECONDS = 120

Outcome = Literal["passed", "failed", "not run"]


class NotRun(Exception):
    """Something lacks, on this machine or in the package; its text says what."""


class Failed(Exception):
    """The client and the simulator do not agree."""


class ClientError(Failed):
    """The client raised."""

    def __init__(self, name: str, message: str, status: int | None, code: int | None):
        super().__init__(f"{name}: {message}" + (f" (HTTP {status}, code {code})" if status else ""))
        self.message, self.status, self.code = message, status, code


# --- what is called, and what must come of it ---------------------------------------------------------


@dataclass(frozen=True, slots=True)
class File:
    """A field's value that is a file: raw base64 for one client, a path for the other."""

    name: str
    content: bytes


@dataclass(frozen=True, slots=True)
class ResultOf:
    """A field's value that is the id of what an earlier create of the same client has made."""

    create: str


@dataclass(frozen=True, slots=True)
class Work:
    """One kind of task: the client's calls for it.

    :param client: the package.
    :param path: the endpoint, as Kling has it.
    :param create: the client's method that creates.
    :param query: the client's method that asks for one task.
    :param about: what the fields are about; tells works of one method apart.
    :param given: what is given to it; all of it must arrive.
    :param is_named: whether it is given an external_task_id too.
    :param listing: the client's method that lists, if this work tries it.
    :param wait: the client's method that polls by itself, if this work tries it.
    :param save: the client's method that downloads, if this work tries it.
    :param makes: under which name the results are told.
    """

    client: str
    path: str
    create: str
    query: str
    about: str
    given: Mapping[str, Any]
    is_named: bool = True
    listing: str = ""
    wait: str = ""
    save: str = ""
    makes: str = "videos"

    @property
    def key(self) -> str:
        """Tells it from all others of its client."""
        return f"{self.create}: {self.about}"

    @property
    def fields(self) -> dict[str, Any]:
        """What is given to it, with the caller's id."""
        own = {"external_task_id": f"{self.create}-{self.about.replace(' ', '-')}"} if self.is_named else {}
        return {**self.given, **own}


def works() -> tuple[Work, ...]:
    """The table. An endpoint that the simulator learns is one more row."""
    picture, other = File("first.png", _png(320)), File("second.png", _png(336))
    speech = File("speech.wav", _wav())
    prompt = {"prompt": "The beam sweeps slowly over the calm sea."}
    frames = {**prompt, "image": picture, "image_tail": other, "model_name": "kling-v2-6", "mode": "pro"}
    camera = {"type": "simple", "config": {"zoom": 5}}
    brush = [{"mask": picture, "trajectories": [{"x": 10, "y": 10}, {"x": 90, "y": 90}]}]
    shape = {"mode": "std", "aspect_ratio": "16:9", "duration": "5"}
    tall = {"mode": "pro", "aspect_ratio": "9:16", "duration": "10"}
    one = {"n": 1, "aspect_ratio": "1:1"}
    ratios = {"up": 0.1, "down": 0.1, "left": 0.2, "right": 0.2}

    def python(kind: str, about: str, given: Mapping[str, Any], **more: Any) -> Work:
        return Work(PYTHON, f"/v1/videos/{kind}", kind, f"get_{kind}", about, given, **more)

    def node(path: str, create: str, query: str, about: str, given: Mapping[str, Any], **more: Any) -> Work:
        return Work(NODE, f"/v1/{path}", create, query, about, given, **more)

    text = partial(node, "videos/text2video", "textToVideo", "queryTextToVideoTask")
    images = partial(node, makes="images")
    return (
        python("text2video", "its defaults", prompt, is_named=False),
        python(
            "text2video",
            "every plain field",
            {**prompt, **tall, "model_name": "kling-v2-6", "negative_prompt": "people"},
            listing="list_text2video",
        ),
        python(
            "text2video",
            "camera",
            {**prompt, **shape, "model_name": "kling-v1", "cfg_scale": 0.7, "camera_control": camera},
        ),
        python("image2video", "its defaults", {"image": picture}, is_named=False),
        python("image2video", "first and last frame", frames, listing="list_image2video"),
        python(
            "image2video",
            "motion brush",
            {"image": picture, "model_name": "kling-v1", "static_mask": picture, "dynamic_masks": brush},
        ),
        text("its defaults", prompt, is_named=False),
        text(
            "with sound",
            {**prompt, **shape, "model_name": "kling-v2-6", "mode": "pro", "sound": "on"},
            wait="waitForVideoResult",
            save="saveVideoResult",
        ),
        text("kling-v1-6", {**prompt, "model_name": "kling-v1-6", "cfg_scale": 0.7}),
        node(
            *("videos/image2video", "imageToVideo", "queryImageToVideoTask"),
            "first and last frame",
            frames,
            wait="waitForVideoResult",
        ),
        node(
            *("videos/video-extend", "extendVideo", "queryExtendVideoTask"),
            "the kling-v1-6 video",
            {**prompt, "video_id": ResultOf("textToVideo: kling-v1-6")},
            is_named=False,
        ),
        node(
            *("videos/multi-image2video", "multiImageToVideo", "queryMultiImageToVideoTask"),
            "two pictures",
            {**prompt, **shape, "image_list": [{"image": picture}, {"image": other}]},
        ),
        node(
            *("videos/omni-video", "omniVideo", "queryOmniVideoTask"),
            "first frame",
            {**prompt, "image_list": [{"image_url": picture, "type": "first_frame"}], "duration": "5"},
        ),
        node(
            *("videos/avatar/image2video", "createAvatar", "queryAvatarTask"),
            "picture and sound",
            {**prompt, "image": picture, "sound_file": speech, "mode": "std"},
        ),
        images(
            *("images/generations", "generateImage", "queryImageGenTask"),
            "two images",
            {**prompt, "model_name": "kling-v2-1", "n": 2, "aspect_ratio": "3:2", "resolution": "1k"},
            wait="waitForImageResult",
            save="saveImageResult",
        ),
        images(
            *("images/editing/expand", "expandImage", "queryImageExpandTask"),
            "to all sides",
            {"image": picture, **{f"{side}_expansion_ratio": ratio for side, ratio in ratios.items()}},
        ),
        images(
            *("images/omni-image", "omniImage", "queryOmniImageTask"),
            "one picture",
            {
                **one,
                "prompt": "<<<image_1>>> in winter.",
                "image_list": [{"image": picture}],
                "resolution": "1k",
            },
        ),
        images(
            *("images/multi-image2image", "multiImageToImage", "queryMultiImageToImageTask"),
            "subjects and a scene",
            {
                **prompt,
                **one,
                "model_name": "kling-v2-1",
                "subject_image_list": [{"subject_image": picture}, {"subject_image": other}],
                "scene_image": picture,
            },
        ),
    )


def _png(side: int) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.linear_gradient("L").resize((side, side)).convert("RGB").save(file, "PNG")
    return file.getvalue()


def _wav(seconds: int = 3, rate: int = 8000) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(rate)
        sound.writeframes(bytes(2 * rate * seconds))
    return file.getvalue()


#: What a package has no call for: (package, call, request, why).
LACKS = (
    (PYTHON, "images, audio, …", "every other path", "the package has no calls for them"),
    (NODE, "list", "GET …?pageNum=&pageSize=", "the package has no call that lists"),
    (NODE, "lip-sync, effects, tts, …", "every other path", "the package has no calls for them"),
)

_MAGIC: Mapping[str, Callable[[bytes], bool]] = {
    "videos": lambda content: content[4:8] == b"ftyp",
    "images": lambda content: content.startswith((b"\x89PNG", b"\xff\xd8\xff")),
}


# --- the steps ----------------------------------------------------------------------------------------


@dataclass(slots=True)
class Session:
    """A client that talks to a simulator, and what came of it so far.

    :param made: the task id of each work that got so far, by the work's key.
    :param results: the id of its first result.
    :param finished: the client's last answer to the query.
    """

    kling: SimulatorServer
    client: Client
    driver: Driver
    folder: Path
    made: dict[str, str] = field(default_factory=dict)
    results: dict[str, str] = field(default_factory=dict)
    finished: dict[str, Any] = field(default_factory=dict)

    def call(self, method: str, *args: Any, **named: Any) -> tuple[Any, list[Recorded]]:
        """Let the client call; returns its answer and what reached the simulator meanwhile."""
        before = len(self.kling.requests)
        answer = self.driver.ask(method, *args, **named)
        return answer, self.kling.requests[before:]

    def login(self, secret_key: str | None = None) -> None:
        """Give the client the simulator's address and the keys."""
        kling = self.kling
        secret = secret_key or kling.secret_key
        self.driver.ask("login", base=kling.url, access_key=kling.access_key, secret_key=secret)

    def task_of(self, work: Work) -> str:
        """The id of the work's task.

        :raises NotRun: there is none.
        """
        try:
            return self.made[work.key]
        except KeyError:
            raise NotRun("there is no task: its create did not pass") from None

    def given(self, value: Any) -> Any:
        """A field's value as this client takes it."""
        match value:
            case File():
                if self.client.name == PYTHON:
                    return base64.b64encode(value.content).decode()
                path = self.folder / value.name
                path.write_bytes(value.content)
                return str(path)
            case ResultOf():
                if value.create not in self.results:
                    raise NotRun(f"there is no result of {value.create}")
                return self.results[value.create]
            case dict():
                return {name: self.given(one) for name, one in value.items()}
            case list():
                return [self.given(one) for one in value]
        return value


@dataclass(frozen=True, slots=True)
class Step:
    """A line of the table.

    :param call: what the client is told to do.
    :param request: what it asks Kling for.
    :param run: does it; returns if all is well.
    """

    call: str
    request: str
    run: Callable[[Session], None]


def steps(client: str) -> list[Step]:
    """Everything there is to try with a client, in order."""
    found = list(_ACCOUNT[client])
    for work in works():
        if work.client != client:
            continue
        found.append(Step(work.key, f"POST {work.path}", partial(_create, work)))
        if work.wait:
            found.append(Step(work.wait, f"GET {work.path}/{{id}}", partial(_wait, work)))
        found.append(Step(work.query, f"GET {work.path}/{{id}}", partial(_query, work)))
        if work.save:
            found.append(Step(work.save, "GET the result", partial(_save, work)))
        if work.listing:
            found.append(Step(work.listing, f"GET {work.path}?pageNum=", partial(_list, work)))
    found += _REFUSED[client]
    found += [
        Step(call, request, partial(_lacks, why)) for owner, call, request, why in LACKS if owner == client
    ]
    return found


def _create(work: Work, session: Session) -> None:
    fields = {name: session.given(value) for name, value in work.fields.items()}
    answer, seen = session.call(work.create, **fields)
    data = _data(answer)
    _served(seen, "POST", work.path)
    _must(data["task_status"] == "submitted", f"a new task is told as {data['task_status']!r}")
    task = next((one for one in session.kling.tasks if one.task_id == data["task_id"]), None)
    _must(task is not None, f"the simulator has no task {data['task_id']}")
    assert task is not None
    endpoint = task.order.endpoint.create_path
    _must(endpoint == work.path, f"the task was booked at {endpoint}")
    for name, value in work.fields.items():
        sent = seen[-1].body.get(name)
        _must(_arrived(value, sent, fields[name]), f"{name} arrived as {str(sent)[:80]}")
        if name == "external_task_id":
            _must(task.external_task_id == value, f"booked under external_task_id={task.external_task_id!r}")
        elif not _has_file(value):
            booked = task.body.get(name)
            _must(booked == fields[name], f"{name} was booked as {booked!r}")
    session.made[work.key] = data["task_id"]


def _query(work: Work, session: Session) -> None:
    task_id = session.task_of(work)
    until = time.monotonic() + TASK_SECONDS
    while True:
        answer, seen = session.call(work.query, task_id)
        data = _data(answer)
        _served(seen, "GET", f"{work.path}/{task_id}")
        if data["task_status"] in ("succeed", "failed"):
            break
        _must(time.monotonic() < until, f"still {data['task_status']} after {TASK_SECONDS} s")
        time.sleep(0.05)
    _finished(work, session, answer)
    if external := work.fields.get("external_task_id"):
        told = data["task_info"]["external_task_id"]
        _must(told == external, f"external_task_id is told as {told!r}")
        again, _ = session.call(work.query, external)
        found = _data(again)["task_id"]
        _must(found == task_id, f"asked by external_task_id it is task {found}")


def _wait(work: Work, session: Session) -> None:
    task_id = session.task_of(work)
    options = {"interval": 100, "timeout": TASK_SECONDS * 1000, "showSpinner": False}
    answer, seen = session.call(work.wait, task_id, {"method": work.query}, options)
    _served(seen, "GET", f"{work.path}/{task_id}")
    _finished(work, session, answer)


def _finished(work: Work, session: Session, answer: Any) -> None:
    """Hold a finished task against what it should have made, and fetch it."""
    data = _data(answer)
    _must(data["task_status"] == "succeed", f"the task {data['task_status']}: {data.get('task_status_msg')}")
    results = data["task_result"][work.makes]
    wanted = work.fields.get("n", 1)
    _must(len(results) == wanted, f"{len(results)} {work.makes} where {wanted} were asked for")
    for result in results:
        content = _download(result["url"], session.kling.certificate)
        _must(_MAGIC[work.makes](content), f"the address gives no {work.makes}: {content[:16]!r}")
    session.results[work.key] = str(results[0].get("id", ""))
    session.finished[work.key] = answer


def _save(work: Work, session: Session) -> None:
    session.task_of(work)
    if work.key not in session.finished:
        raise NotRun("there is no result to save")
    try:
        paths, _ = session.call(work.save, session.finished[work.key], str(session.folder / "saved"))
    except ClientError as error:
        if "private/local addresses" in error.message:
            raise NotRun(
                "the package refuses to download from loopback, and the simulator is there"
            ) from None
        raise
    _must(all(_MAGIC[work.makes](Path(path).read_bytes()) for path in paths), f"it saved no {work.makes}")


def _list(work: Work, session: Session) -> None:
    task_id = session.task_of(work)
    answer, seen = session.call(work.listing, page_num=1, page_size=50)
    _served(seen, "GET", work.path)
    _must("pageNum=1" in seen[-1].query and "pageSize=50" in seen[-1].query, f"asked {seen[-1].query!r}")
    listed = [one["task_id"] for one in _data(answer)]
    _must(task_id in listed, f"task {task_id} is not in the list of {len(listed)}")
    paged, _ = session.call(work.listing, page_num=1, page_size=1)
    _must(len(_data(paged)) == 1, f"a page of 1 has {len(_data(paged))} tasks")


def _lacks(why: str, _session: Session) -> None:
    raise NotRun(why)


def _python_login(session: Session) -> None:
    before = len(session.kling.requests)
    session.login()
    _served(session.kling.requests[before:], "GET", "/account/costs")


def _node_costs(session: Session) -> None:
    session.login()
    now = int(time.time() * 1000)
    answer, seen = session.call("getAccountInfo", now - 3_600_000, now)
    _served(seen, "GET", "/account/costs")
    packs = _data(answer)["resource_pack_subscribe_infos"]
    _must(isinstance(packs, list), f"the packs are {packs!r}")


def _node_health(session: Session) -> None:
    answer, seen = session.call("healthCheck")
    _served(seen, "GET", "/account/costs")
    _must(answer is True, f"it says {answer!r}")


def _used_twice(create: str, about: str) -> Callable[[Session], None]:
    """A step that sends the id of an earlier work again."""

    def run(session: Session) -> None:
        first = next(work for work in works() if work.key == f"{create}: {about}")
        session.task_of(first)
        external = first.fields["external_task_id"]
        try:
            session.call(create, prompt="Again.", external_task_id=external)
        except ClientError as error:
            _must((error.status, error.code) == (400, 1201), f"refused otherwise: {error}")
        else:
            raise Failed("the same external_task_id was taken twice")

    return run


def _unknown_task(query: str) -> Callable[[Session], None]:
    """A step that asks for a task nobody made."""

    def run(session: Session) -> None:
        try:
            answer, _ = session.call(query, "nobody-made-this")
        except ClientError as error:
            _must((error.status, error.code) == (400, 1201), f"refused otherwise: {error}")
        else:
            raise Failed(f"not refused: {str(answer)[:80]}")

    return run


def _wrong_secret(session: Session) -> None:
    try:
        session.login("not-the-secret")
        if session.client.name == NODE:
            session.call("getAccountInfo", 0, 1)
    except ClientError as error:
        # The Python package hides the status behind an error of its own.
        _must(error.status == 401 or "BadCredentials" in str(error), f"refused otherwise: {error}")
    else:
        raise Failed("a wrong secret key was let in")
    last = session.kling.requests[-1]
    _must(last.status == 401 and last.code in range(1000, 1005), f"answered {last.status}/{last.code}")


_COSTS, _TEXT = "GET /account/costs", "/v1/videos/text2video"

_ACCOUNT: Mapping[str, tuple[Step, ...]] = {
    PYTHON: (Step("KlingAiAPI: log in", _COSTS, _python_login),),
    NODE: (Step("getAccountInfo", _COSTS, _node_costs), Step("healthCheck", _COSTS, _node_health)),
}

_REFUSED: Mapping[str, tuple[Step, ...]] = {
    PYTHON: (
        Step("text2video: id used twice", f"POST {_TEXT}", _used_twice("text2video", "every plain field")),
        Step("get_text2video: no such task", f"GET {_TEXT}/{{id}}", _unknown_task("get_text2video")),
        Step("KlingAiAPI: wrong secret key", _COSTS, _wrong_secret),
    ),
    NODE: (
        Step("textToVideo: id used twice", f"POST {_TEXT}", _used_twice("textToVideo", "with sound")),
        Step(
            "queryTextToVideoTask: no such task", f"GET {_TEXT}/{{id}}", _unknown_task("queryTextToVideoTask")
        ),
        Step("getAccountInfo: wrong secret key", _COSTS, _wrong_secret),
    ),
}


def _must(holds: bool, what: str) -> None:
    if not holds:
        raise Failed(what)


def _data(answer: Any) -> Any:
    """The ``data`` of an envelope that tells success."""
    _must(isinstance(answer, dict) and answer.get("code") == 0, f"the client got {str(answer)[:80]}")
    return answer["data"]


def _served(seen: Sequence[Recorded], method: str, path: str) -> None:
    """What reached the simulator must be this request, signed, and answered with code 0."""
    asked = [(one.method, one.path) for one in seen]
    _must(bool(asked) and set(asked) == {(method, path)}, f"the simulator saw {asked or 'nothing'}")
    answers = {(one.status, one.code) for one in seen}
    _must(answers == {(200, 0)}, f"the simulator answered {answers}")
    signed = {one.headers.get("authorization") for one in seen}
    _must(signed == {"Bearer <JWT>"}, f"signed with {signed}")


def _has_file(value: Any) -> bool:
    match value:
        case File():
            return True
        case dict():
            return any(_has_file(one) for one in value.values())
        case list():
            return any(_has_file(one) for one in value)
    return False


def _arrived(value: Any, sent: Any, given: Any) -> bool:
    """Whether the simulator's journal, which shortens files to their digest, shows this value."""
    match value:
        case File():
            return hashlib.sha256(value.content).hexdigest() in str(sent)
        case dict():
            return isinstance(sent, dict) and all(
                _arrived(one, sent.get(name), given[name]) for name, one in value.items()
            )
        case list():
            return (
                isinstance(sent, list)
                and len(sent) == len(value)
                and all(_arrived(*three) for three in zip(value, sent, given, strict=True))
            )
    return bool(sent == given)


def _download(url: str, certificate: str | None) -> bytes:
    with requests.Session() as session:
        session.trust_env = False  # the simulator is on loopback; a proxy would not find it
        answer = session.get(url, verify=certificate or True, timeout=ANSWER_SECONDS)
    _must(answer.status_code == 200, f"the address answers {answer.status_code}")
    return answer.content


# --- the clients --------------------------------------------------------------------------------------


class Driver:
    """A client in a process of its own: one JSON line a call, one line an answer.

    :raises NotRun: it does not load here.
    """

    def __init__(self, command: Sequence[str], cwd: Path, env: Mapping[str, str], log: Path):
        self._log = log
        with log.open("wb") as complaints:  # not a pipe: nobody would empty it
            self._process = subprocess.Popen(
                command, cwd=cwd, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints
            )
        try:
            first = self._read()
        except Failed as error:
            self.close()
            raise NotRun(f"it does not start: {error}") from None
        if "unloadable" in first:
            self.close()
            raise NotRun(f"it does not load: {first['unloadable']}")
        self.version = first["loaded"]

    def ask(self, method: str, *args: Any, **named: Any) -> Any:
        """Let the client call ``method`` and return what it returns.

        :raises ClientError: it raised.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(
                json.dumps({"method": method, "args": args, "named": named}).encode() + b"\n"
            )
            self._process.stdin.flush()
        except BrokenPipeError:
            raise Failed("the client's process has ended") from None
        reply = self._read()
        if "error" in reply:
            raise ClientError(**reply["error"])
        return reply["answer"]

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        impatience = threading.Timer(ANSWER_SECONDS, self._process.kill)
        impatience.start()
        line = self._process.stdout.readline()
        impatience.cancel()
        if not line:
            told = self._log.read_text(errors="replace")
            raise Failed(f"its process ended without an answer (limit {ANSWER_SECONDS} s): {_gist(told)}")
        reply: dict[str, Any] = json.loads(line)
        return reply

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True, slots=True)
class Client:
    """A published package and how it is fetched and started.

    :param name: the package.
    :param version: the one that was read when the table was written.
    :param about: what a reader of the table should know.
    :param tls: whether it only talks https.
    :param fetch: fills a folder with the package.
    :param start: starts its driver there.
    """

    name: str
    version: str
    about: str
    tls: bool
    fetch: Callable[[Path], None]
    start: Callable[[Path, str | None], Driver]


def _fetch_python(folder: Path) -> None:
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--retries", "1"]
    # Its wheel asks for Python 3.14; what it imports, of the versions it asks for, runs on older ones.
    unpack = [*pip, "--target", str(folder), "--no-deps", "--ignore-requires-python", f"{PYTHON}==0.1.0"]
    run_program(unpack)
    run_program([*pip, "--target", str(folder), "PyJWT>=2.12.1", "requests-toolbelt>=1.0.0"])


def _fetch_node(folder: Path) -> None:
    for program, least in (("node", 18), ("npm", 0)):
        if shutil.which(program) is None:
            raise NotRun(f"there is no {program} on this machine")
        if least and int(run_program([program, "--version"]).lstrip("v").partition(".")[0]) < least:
            raise NotRun(f"the package needs {program} {least} or newer")
    npm = ["npm", "install", "--prefix", str(folder), "--ignore-scripts", "--no-audit", "--no-fund"]
    run_program([*npm, "--fetch-retries=1", f"{NODE}@1.0.0"])
    shutil.copy(ROOT / "scripts" / "interop_client.mjs", folder)


def start_python(folder: Path, _certificate: str | None) -> Driver:
    """Start the Python package that lies in ``folder``."""
    command = [sys.executable, "-m", "scripts.interop", "--client"]
    return Driver(command, ROOT, {**_bare(folder), "PYTHONPATH": str(folder)}, folder / "log")


def start_node(folder: Path, certificate: str | None) -> Driver:
    """Start the npm package that lies in ``folder``."""
    trust = {"NODE_EXTRA_CA_CERTS": certificate} if certificate else {}
    return Driver(["node", "interop_client.mjs"], folder, {**_bare(folder), **trust}, folder / "log")


def _bare(folder: Path) -> dict[str, str]:
    """An environment without anybody's keys and proxies."""
    return {"PATH": os.environ.get("PATH", ""), "HOME": str(folder)}


def run_program(command: Sequence[str]) -> str:
    """Run a command to its end and return what it prints.

    :raises NotRun: it fails.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=FETCH_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise NotRun(f"it could not be fetched within {FETCH_SECONDS} s") from None
    if done.returncode:
        raise NotRun(f"it could not be fetched: {_gist(done.stderr)}")
    return done.stdout


def _gist(told: str) -> str:
    """The lines of a program's complaint that matter."""
    lines = [line.strip() for line in told.splitlines() if line.strip()]
    return (
        " / ".join([line for line in lines if "error" in line.lower()][:2] or lines[-1:]) or "no reason given"
    )


CLIENTS = (
    Client(PYTHON, "0.1.0", "its wheel asks for Python 3.14", False, _fetch_python, start_python),
    Client(NODE, "1.0.0", "it only talks https", True, _fetch_node, start_node),
)


def serve_calls() -> None:
    """The Python package's side: what interop_client.mjs is for the other one."""
    out, sys.stdout = sys.stdout, sys.stderr

    def say(line: Mapping[str, Any]) -> None:
        print(json.dumps(line), file=out, flush=True)

    try:
        package = importlib.import_module("api")
    except (ImportError, SyntaxError) as error:
        say({"unloadable": f"{error!r} on Python {sys.version.split()[0]}"})
        return
    say({"loaded": f"Python {sys.version.split()[0]}"})
    client: Any = None
    for line in sys.stdin:
        call = json.loads(line)
        try:
            if call["method"] == "login":
                keys = call["named"]
                package.API.base = keys["base"]
                client = package.KlingAiAPI(keys["access_key"], keys["secret_key"]).__enter__()
                say({"answer": None})
            else:
                say({"answer": getattr(client, call["method"])(*call["args"], **call["named"])})
        except Exception as error:
            say({"error": _told(error)})


def _told(error: Exception) -> dict[str, Any]:
    """An error with what Kling said; the package itself only tells the HTTP status."""
    response = getattr(error, "response", None)
    told: dict[str, Any] = {}
    if response is not None:
        with contextlib.suppress(ValueError):
            told = response.json()
    return {
        "name": type(error).__name__,
        "message": told.get("message", str(error)),
        "status": getattr(response, "status_code", None),
        "code": told.get("code"),
    }


# --- the table ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Row:
    """What became of a step."""

    client: str
    call: str
    request: str
    outcome: Outcome
    why: str = ""


def try_client(client: Client, folder: Path) -> Iterator[Row]:
    """Fetch a client into ``folder`` and take every step with it."""
    from kling_provider.simulator.server import SimulatorServer

    planned = steps(client.name)
    try:
        client.fetch(folder)
        with (
            SimulatorServer(tls=client.tls, task_seconds=4) as kling,
            client.start(folder, kling.certificate) as driver,
        ):
            print(f"{client.name} {client.version} on {driver.version}; {client.about}", flush=True)
            session = Session(kling, client, driver, folder)
            for step in planned:
                yield _row(client, step, session)
    except NotRun as reason:
        for step in planned:
            yield Row(client.name, step.call, step.request, "not run", str(reason))


def _row(client: Client, step: Step, session: Session) -> Row:
    outcome: Outcome = "passed"
    why = ""
    try:
        step.run(session)
    except NotRun as reason:
        outcome, why = "not run", str(reason)
    except Failed as error:
        outcome, why = "failed", str(error)
    except Exception as error:  # an answer of another shape than it should have
        outcome, why = "failed", repr(error)
    return Row(client.name, step.call, step.request, outcome, why)


def table(rows: Sequence[Row]) -> str:
    """The rows as text, in columns."""
    cells = [("client", "call", "request", "outcome")]
    cells += [(row.client, row.call, row.request, row.outcome) for row in rows]
    widths = [max(len(line[column]) for line in cells) for column in range(4)]
    whys = ["", *(f": {row.why}" if row.why else "" for row in rows)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() + why
        for line, why in zip(cells, whys, strict=True)
    )


def summary(rows: Sequence[Row]) -> str:
    """The last line: how many there are of each outcome."""
    counts = Counter(row.outcome for row in rows)
    return f"{counts['passed']} passed, {counts['failed']} failed, {counts['not run']} not run"


def exit_code(rows: Sequence[Row]) -> int:
    """1 if anything failed. What could not run is told, not punished."""
    return int(any(row.outcome == "failed" for row in rows))


def main(clients: Sequence[Client] = CLIENTS) -> int:
    """Try every client and print the table; returns the exit code."""
    rows: list[Row] = []
    for client in clients:
        with tempfile.TemporaryDirectory(prefix="kling-interop-") as folder:
            rows += try_client(client, Path(folder))
    print(f"\n{table(rows)}\n\n{summary(rows)}")
    return exit_code(rows)


if __name__ == "__main__":
    if sys.argv[1:] == ["--client"]:
        serve_calls()
    else:
        sys.exit(main())
