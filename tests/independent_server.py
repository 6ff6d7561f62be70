"""A second, independent Kling server for interoperability tests (standard library only).

It was written from public facts about the HTTP API alone and shares no code with the package under test or
its simulator, so what both get wrong in the same way is less likely. It speaks two dialects at once:

* classic (vendor): ``POST/GET /v1/videos/{image2video,text2video}[/{task_id or external_task_id}]`` with an
  API key or an AK/SK JWT (HS256; iss, exp and nbf are checked without any tolerance);
* seed (DMXAPI): ``POST /kling/v1/videos/{image2video,text2video}`` and
  ``GET /kling/v1/videos/generations/{task_id}`` with one static bearer token and no look-up by external id.

Results are served under ``/files/`` without authorization. Bodies are checked strictly: what the facts do
not name is refused with 400/1201. ``with IndependentKling() as kling: ... kling.url ...``
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import hmac
import json
import re
import socket
import struct
import threading
import time
import uuid
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

HTTP_OF = {1000: 401, 1001: 401, 1002: 401, 1003: 401, 1004: 401, 1100: 429, 1101: 429, 1102: 429, 1103: 403}
HTTP_OF |= {1200: 400, 1201: 400, 1202: 404, 1203: 404, 1300: 400, 1301: 400, 1302: 429, 1303: 429, 1304: 429}
HTTP_OF |= {5000: 500, 5001: 503, 5002: 504}

TEXT_MODELS = {f"kling-v{v}" for v in ("1", "1-6", "2-master", "2-1-master", "2-5-turbo", "2-6", "3")}
IMAGE_MODELS = TEXT_MODELS | {"kling-v1-5", "kling-v2-1"}
_PRO = {("pro", "5"), ("pro", "10")}
TAIL = {f"kling-v{v}": _PRO for v in ("1-5", "1-6", "2-1", "2-5-turbo", "2-6")}
TAIL["kling-v1"] = {("std", "5"), ("pro", "5")}
BRUSH = {"kling-v1": {("std", "5"), ("pro", "5")}, "kling-v1-5": {("pro", "5")}}

_SEED_BOTH = {"model_name", "prompt", "negative_prompt", "cfg_scale", "mode", "duration", "camera_control"}
_SEED_BOTH |= {"callback_url", "external_task_id"}
_PICTURES = {"image", "image_tail", "static_mask", "dynamic_masks"}
_CLASSIC_BOTH = _SEED_BOTH | {"model", "sound", "multi_shot", "shot_type", "multi_prompt", "watermark_info"}
FIELDS = {
    ("seed", "text2video"): _SEED_BOTH | {"aspect_ratio"},
    ("seed", "image2video"): _SEED_BOTH | _PICTURES,
    ("classic", "text2video"): _CLASSIC_BOTH | {"aspect_ratio"},
    ("classic", "image2video"): _CLASSIC_BOTH | _PICTURES | {"element_list", "voice_list"},
}
ENUMS = {
    "mode": {"std", "pro", "4k"},
    "duration": {str(seconds) for seconds in range(3, 16)},
    "aspect_ratio": {"16:9", "9:16", "1:1"},
    "sound": {"on", "off"},
    "shot_type": {"customize", "intelligence"},
}
CAMERA_TYPES = {"simple", "down_back", "forward_up", "right_turn_forward", "left_turn_forward"}
CAMERA_AXES = {"horizontal", "vertical", "pan", "tilt", "roll", "zoom"}
#: Lists of what this server makes none of: empty.
LISTS = {
    f"/v1/{path}"
    for path in (
        *("audio/text-to-audio", "audio/video-to-audio", "general/advanced-custom-elements"),
        *("general/ai-multi-shot", "general/custom-voices", "images/editing/expand", "images/generations"),
        *("images/kolors-virtual-try-on", "images/multi-image2image", "images/omni-image"),
        *("videos/advanced-lip-sync", "videos/avatar/image2video", "videos/effects", "videos/lip-sync"),
        *("videos/motion-control", "videos/multi-elements", "videos/multi-image2video"),
        *("videos/omni-video", "videos/video-extend"),
    )
}
FAULTS = {"html", "truncated", "empty", "list", "no_data", "null_data", "cut", "short_body", "delay"}
FAULTS |= {"redirect", "429", "error"}
OUTCOMES = {"succeed", "fail", "stuck", "no_result", "odd", "odd_passing"}
NO_RESULT: dict[str, Any] = {
    "empty": {"task_result": {}},
    "no_videos": {"task_result": {"videos": []}},
    "no_url": {"task_result": {"videos": [{"id": "1", "duration": "5.041"}]}},
    "missing": {},
}


class Refused(Exception):
    """A request the server refuses, in Kling's envelope."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


@dataclass
class Recorded:
    """One request as it arrived; header names are lower case, ``body`` is the parsed JSON (None if none).

    ``status`` is what was answered (0: the connection was cut); ``peer`` tells connections apart."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    peer: int
    at: float
    raw: bytes = b""
    body: Any = None
    status: int = 0
    fault: str = ""


@dataclass
class Outcome:
    """How a task ends: ``kind`` is one of OUTCOMES; ``vanish`` queries first answer "Task not found"."""

    kind: str = "succeed"
    message: str = "Failure to pass the risk control system"
    variant: str = "empty"
    word: str = "queueing"
    vanish: int = 0


@dataclass
class Task:
    """One booked task. ``body`` is the accepted request; ``outcome`` may be changed while it runs."""

    task_id: str
    dialect: str
    kind: str
    body: dict[str, Any]
    created: float
    schedule: tuple[float, float]
    outcome: Outcome
    video_ids: list[str]
    units: str

    @property
    def external_task_id(self) -> str:
        return str(self.body.get("external_task_id", ""))

    def status(self, now: float) -> tuple[str, float]:
        """The status word at ``now`` and the time it began."""
        starts = self.created + self.schedule[0]
        ends, kind = starts + self.schedule[1], self.outcome.kind
        if now < starts:
            return "submitted", self.created
        if now < ends or kind in ("stuck", "odd"):
            return (self.outcome.word if kind.startswith("odd") else "processing"), starts
        return ("failed" if kind == "fail" else "succeed"), ends


@dataclass
class _Fault:
    method: str
    prefix: str
    kind: str
    left: int
    skip: int
    delay: float
    booked: bool
    status: int
    code: int | None
    message: str
    location: str
    retry_after: str | None
    envelope: bool


@dataclass
class _Reply:
    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})
    cut: bool = False
    short: bool = False
    chunked: bool = False


def _envelope(status: int, code: int, message: str, **extra: Any) -> _Reply:
    answer = {"code": code, "message": message, "request_id": str(uuid.uuid4()), **extra}
    return _Reply(status, json.dumps(answer).encode())


def _need(ok: object, message: str, code: int = 1201) -> None:
    if not ok:
        raise Refused(code, message)


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _parse_json(raw: bytes) -> Any:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        _need(len({key for key, _ in pairs}) == len(pairs), "a field is given twice", 1200)
        return dict(pairs)

    def refuse(word: str) -> None:
        raise ValueError(f"{word} is not JSON")

    return json.loads(raw.decode("utf-8"), object_pairs_hook=unique, parse_constant=refuse)


def picture_size(data: bytes) -> tuple[int, int] | None:
    """Width and height from the headers of a whole PNG or JPEG file, or None if it is neither."""
    if data[:8] == b"\x89PNG\r\n\x1a\n" and data[12:16] == b"IHDR" and len(data) >= 45:
        seen, at = set(), 8
        while at + 12 <= len(data):
            (length,) = struct.unpack(">I", data[at : at + 4])
            chunk = data[at + 4 : at + 8 + length]
            if data[at + 8 + length : at + 12 + length] != struct.pack(">I", zlib.crc32(chunk)):
                return None
            seen.add(chunk[:4])
            at += 12 + length
            if chunk[:4] == b"IEND":
                break
        width, height = struct.unpack(">II", data[16:24])
        return (width, height) if {b"IDAT", b"IEND"} <= seen else None
    if data[:3] == b"\xff\xd8\xff" and b"\xff\xd9" in data[-64:]:
        at = 2
        while at + 9 < len(data) and data[at] == 0xFF:
            marker = data[at + 1]
            if marker == 0xFF:  # fill byte
                at += 1
            elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
                height, width = struct.unpack(">HH", data[at + 5 : at + 9])
                return width, height
            else:
                at += 2 + int(struct.unpack(">H", data[at + 2 : at + 4])[0])
    return None


def _check_picture(name: str, value: object) -> tuple[int, int] | None:
    """Refuse a bad picture field; the size in pixels, or None for a URL (never fetched here)."""
    _need(isinstance(value, str) and value, f"{name} must be a non-empty string")
    text = str(value)
    if re.fullmatch(r"(?i)(https?|ftp)://[^\s/]+\S*", text):
        return None
    bad = f"File is not in a valid base64 format ({name})"
    try:
        data = base64.b64decode(text, validate=True)  # refuses data: prefixes, line breaks, url-safe letters
    except (binascii.Error, ValueError):
        raise Refused(1201, bad) from None
    _need(base64.b64encode(data).decode() == text, bad)
    _need(len(data) <= 10 * 1024 * 1024, f"{name}: the file size exceeds 10MB")
    size = picture_size(data)
    if size is None:
        raise Refused(1201, f"{name}: the file format is not supported, use jpg or png")
    ok = min(size) >= 300 and max(size) * 2 <= min(size) * 5
    _need(ok, f"The resolution or aspect ratio of the input image is invalid ({name}: {size[0]}x{size[1]})")
    return size


def _check_camera(camera: object) -> str:
    _need(isinstance(camera, dict) and set(camera) <= {"type", "config"}, "camera_control is invalid")
    assert isinstance(camera, dict)
    _need(str(camera.get("type")) in CAMERA_TYPES, "camera_control.type is invalid")
    config = camera.get("config", {})
    _need(isinstance(config, dict) and set(config) <= CAMERA_AXES, "camera_control.config is invalid")
    good = all(_number(value) and -10 <= value <= 10 for value in config.values())
    _need(good, "camera_control.config values must be numbers from -10 to 10")
    if camera["type"] == "simple":
        _need(sum(value != 0 for value in config.values()) == 1, "camera_control: exactly one non-zero value")
    else:
        _need("config" not in camera or not config, "camera_control.config is only for type simple")
    return str(camera["type"])


def _check_items(
    body: dict[str, Any], name: str, keys: dict[str, type], most: int, least: int = 1
) -> list[dict[str, Any]]:
    items = body[name]
    _need(isinstance(items, list) and least <= len(items) <= most, f"{name} must hold {least}..{most} items")
    for item in items:
        _need(isinstance(item, dict) and set(item) == set(keys), f"{name}: items need just {sorted(keys)}")
        _need(all(type(item[key]) is kind for key, kind in keys.items()), f"{name}: an item has a wrong type")
    return list(items)


def check_body(
    dialect: str, kind: str, body: object, retired: set[str], unknown_code: int, matrix: bool
) -> str:
    """Raise Refused for a body Kling refuses; return why the accepted task will fail, or an empty string."""
    _need(isinstance(body, dict), "the body must be a JSON object", 1200)
    assert isinstance(body, dict)
    for name, value in body.items():
        _need(name in FIELDS[dialect, kind], f"unknown field {name}")
        if name in ENUMS:
            _need(isinstance(value, str) and value in ENUMS[name], f"{name} value {value!r} is invalid")
        elif name in ("prompt", "negative_prompt"):
            _need(isinstance(value, str) and len(value) <= 2500, f"{name} must be a string up to 2500")
        elif name in ("model_name", "model", "external_task_id", "callback_url"):
            _need(isinstance(value, str), f"{name} must be a string")
    model = body.get("model_name", "kling-v1")
    discontinued = f"The model '{model}' has been discontinued and is no longer available."
    _need(model not in retired, discontinued)
    _need(model in IMAGE_MODELS, f"model is not supported ({model})", unknown_code)
    _need(kind == "image2video" or model in TEXT_MODELS, f"model is not supported ({model})")
    mode, duration, sound = body.get("mode", "std"), body.get("duration", "5"), body.get("sound", "off")
    free = model == "kling-v3" and dialect == "classic"
    _need(free or duration in ("5", "10"), f"duration {duration!r} is not supported by {model}")
    _need(free or mode != "4k", f"mode 4k is not supported by {model}")
    if "cfg_scale" in body:
        scale = body["cfg_scale"]
        _need(_number(scale) and 0 <= scale <= 1, "cfg_scale must be a number from 0 to 1")
        _need(not model.startswith("kling-v2"), f"cfg_scale is not supported by {model}")
    if sound == "on":
        _need(free or (model == "kling-v2-6" and mode == "pro"), f"sound is not supported by {model} {mode}")
    if "watermark_info" in body:
        mark = body["watermark_info"]
        good = isinstance(mark, dict) and set(mark) <= {"enabled"}
        _need(good and isinstance(mark.get("enabled", False), bool), "watermark_info is invalid")
    if body.get("callback_url"):
        _need(re.match(r"https?://[^\s/]+", body["callback_url"]), "callback_url is invalid")
    _check_shots(body, kind, str(model), str(duration))
    camera = _check_camera(body["camera_control"]) if "camera_control" in body else ""
    single = ("image", "image_tail", "static_mask")
    sizes = {name: _check_picture(name, body[name]) for name in single if name in body}
    if "dynamic_masks" in body:
        _check_items(body, "dynamic_masks", {"mask": str, "trajectories": list}, 6, 0)
    for index, mask in enumerate(body.get("dynamic_masks", [])):
        _check_items(mask, "trajectories", {"x": int, "y": int}, 77, 2)
        name = f"dynamic_masks[{index}].mask"
        sizes[name] = _check_picture(name, mask["mask"])
    brush, tail = "static_mask" in body or bool(body.get("dynamic_masks")), "image_tail" in body
    _need(brush + tail + bool(camera) <= 1, "image_tail, masks and camera_control exclude each other")
    if kind == "image2video":
        _need("image" in body or tail, "image can not be null")
    if "element_list" in body:
        _check_items(body, "element_list", {"element_id": int}, 3)
        _need(model == "kling-v3" and "voice_list" not in body, "element_list is not supported here")
    if "voice_list" in body:
        _check_items(body, "voice_list", {"voice_id": str}, 2)
        _need(model == "kling-v2-6" and sound == "on", "voice_list needs kling-v2-6 with sound on")
    if matrix:
        if tail:
            able = model == "kling-v3" or (mode, duration) in TAIL.get(model, set())
            _need(able, f"{model} {mode} {duration} has no image_tail")
            alone = model in ("kling-v1-5", "kling-v1-6")
            _need("image" in body or alone, f"{model} needs image with image_tail")
            _need(model != "kling-v2-6" or sound == "off", "image_tail needs sound off")
        able = (mode, duration) in BRUSH.get(model, set())
        _need(able or not brush, f"{model} {mode} {duration} has no masks")
        only = ("kling-v1", "std", "5") if kind == "text2video" else ("kling-v1-5", "pro", "5")
        fits = (model, mode, duration) == only and (kind == "text2video" or camera == "simple")
        _need(not camera or fits, f"{model} {mode} {duration} has no camera_control {camera}")
    masks = [size for name, size in sizes.items() if size and "mask" in name]
    image = sizes.get("image")
    ratio_off = image and any(abs(w * image[1] - h * image[0]) > max(w, h) for w, h in masks)
    return "The masks do not match the image" if ratio_off or len(set(masks)) > 1 else ""


def _check_shots(body: dict[str, Any], kind: str, model: str, duration: str) -> None:
    multi, custom = body.get("multi_shot", False), body.get("shot_type") == "customize"
    _need(isinstance(multi, bool), "multi_shot must be a boolean")
    if multi:
        _need(model == "kling-v3" and "shot_type" in body, "multi_shot needs kling-v3 and shot_type")
        _need("image_tail" not in body, "multi_shot does not take image_tail")
        if custom:
            _need("multi_prompt" in body, "multi_prompt is required")
            shots = _check_items(body, "multi_prompt", {"index": int, "prompt": str, "duration": str}, 6)
            good = all(shot["duration"].isdecimal() and int(shot["duration"]) >= 1 for shot in shots)
            _need(good and all(len(shot["prompt"]) <= 512 for shot in shots), "multi_prompt is invalid")
            total = sum(int(shot["duration"]) for shot in shots)
            _need(total == int(duration), "multi_prompt: the durations do not add up")
    wanted = (multi and not custom) or (kind == "text2video" and not multi)
    _need(body.get("prompt") or not wanted, "prompt can not be empty")


def video_blob(video_id: str, size: int = 4096) -> bytes:
    """A small file that starts with a valid ftyp box; its content depends on ``video_id``."""
    head = struct.pack(">I4s4sI", 28, b"ftyp", b"isom", 512) + b"isomiso2mp41"
    seed = hashlib.sha256(video_id.encode()).digest()
    return head + struct.pack(">I4s", size + 8, b"mdat") + (seed * (size // len(seed) + 1))[:size]


class IndependentKling:
    """The server. Everything set in the constructor may be changed while it runs.

    ``schedule``: seconds in submitted, then in processing. ``videos_per_task``: videos in a result.
    ``video_bytes``: what ``/files/`` serves (None: ``video_blob``). ``range_support`` and ``content_length``
    (False: chunked): how. ``unknown_model_code``: 1201 or 1203. ``retired``: models refused as discontinued.
    ``matrix``: also refuse what the capability table of the model lacks (tail, masks, camera by mode/length).
    ``concurrency``: more running tasks are refused with 429/1303. ``jwt_clock_offset``: seconds the clock
    that judges tokens is ahead. ``requests``: every request, oldest first. ``tasks``: task_id -> Task.
    """

    def __init__(
        self,
        *,
        api_key: str = "api-key-kling-independent",
        access_key: str = "ak-independent",
        secret_key: str = "sk-independent",
        seed_token: str = "sk-seed-independent",
        schedule: tuple[float, float] = (0.1, 0.2),
        videos_per_task: int = 1,
        video_bytes: bytes | None = None,
        range_support: bool = True,
        content_length: bool = True,
        unknown_model_code: int = 1201,
        retired: set[str] | None = None,
        matrix: bool = True,
        concurrency: int | None = None,
        units: str = "3.5",
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.api_key, self.seed_token = api_key, seed_token
        self.access_key, self.secret_key = access_key, secret_key
        self.schedule, self.videos_per_task, self.video_bytes = schedule, videos_per_task, video_bytes
        self.range_support, self.content_length = range_support, content_length
        self.unknown_model_code, self.retired, self.matrix = unknown_model_code, retired or set(), matrix
        self.concurrency, self.units, self.jwt_clock_offset = concurrency, units, 0.0
        self.requests: list[Recorded] = []
        self.tasks: dict[str, Task] = {}
        self._address, self._ahead = (host, port), 0.0
        self._lock = threading.RLock()
        self._faults: list[_Fault] = []
        self._outcomes: list[Outcome] = []
        self._sockets: set[socket.socket] = set()
        self._stopping = threading.Event()
        self._server: ThreadingHTTPServer | None = None

    # --- life -----------------------------------------------------------------------------------------
    def start(self) -> IndependentKling:
        """Listen (on a free port unless one was given) and answer in background threads."""

        class Handler(_Handler):
            kling = self

        self._stopping.clear()
        self._server = ThreadingHTTPServer(self._address, Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def stop(self) -> None:
        """Stop listening and close every open connection; tasks and requests stay readable."""
        server, self._server = self._server, None
        if server is not None:
            self._stopping.set()
            self._address = (self._address[0], int(server.server_address[1]))  # a restart keeps the port
            server.shutdown()
            server.server_close()
            with self._lock:
                for sock in self._sockets:
                    _hang_up(sock)

    def __enter__(self) -> IndependentKling:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Base URL; the seed dialect lives under its ``/kling``."""
        port = self._server.server_address[1] if self._server else self._address[1]
        return f"http://{self._address[0]}:{port}"

    # --- what tests script and read ---------------------------------------------------------------------
    def fail_next(
        self,
        method: str,
        prefix: str,
        kind: str,
        *,
        count: int = 1,
        skip: int = 0,
        booked: bool = False,
        delay: float = 0.0,
        status: int | None = None,
        code: int | None = None,
        message: str = "scripted fault",
        location: str = "/v1/videos/elsewhere",
        retry_after: str | None = None,
        envelope: bool = True,
    ) -> None:
        """Script a fault for the next ``count`` requests of ``method`` ("*": any) whose path has ``prefix``.

        Kinds: "html" page, "truncated" JSON (the real answer, halved), "empty" body, JSON "list", "no_data",
        "null_data" (code 0 both), "cut" connection, "short_body" (less than Content-Length, then cut),
        "delay" (real answer after ``delay``), "redirect" (``status`` 302/307, ``location``), "429"
        (``envelope``, ``retry_after``), "error" {status, code, message} (no status: the code's own).
        ``booked``: the request is carried out first (a task is booked), then the fault replaces the answer; a
        request that is refused anyway gets its real refusal. ``skip``: let so many matching requests pass.
        ``delay`` (seconds) goes with every kind and comes before the answer or the cut, after the booking.
        """
        if kind not in FAULTS or count < 1:
            raise ValueError(f"fault {kind!r} x {count}; kinds are {sorted(FAULTS)}")
        fallback = {"redirect": 302, "429": 429, "error": HTTP_OF.get(code or 5000, 500)}.get(kind, 200)
        fault = _Fault(method, prefix, kind, count, skip, delay, booked, status or fallback, code, message,
                       location, retry_after, envelope)  # fmt: skip
        with self._lock:
            self._faults.append(fault)

    def expire_token_once(self, prefix: str = "/") -> None:
        """Answer 401/1004 to the next request under ``prefix``, whatever its token."""
        self.fail_next("*", prefix, "error", code=1004, message="token expired")

    def next_task(self, kind: str = "succeed", *, count: int = 1, **how: Any) -> None:
        """Script the outcome of the next ``count`` booked tasks.

        Kinds: "fail" (``message``), "stuck" in processing, "no_result" (``variant`` empty, no_videos, no_url,
        missing), "odd" (status ``word`` for ever), "odd_passing" (``word`` instead of processing, then
        succeed), "succeed". Any kind takes ``vanish=n``: n queries answer "Task not found" first
        (lists leave the task out until then). A vanished task still occupies its external_task_id.
        """
        if kind not in OUTCOMES:
            raise ValueError(f"outcome {kind!r}; kinds are {sorted(OUTCOMES)}")
        with self._lock:
            self._outcomes += [Outcome(kind, **how) for _ in range(count)]

    def clear_scripts(self) -> None:
        """Forget every fault and outcome not used yet."""
        with self._lock:
            self._faults, self._outcomes = [], []

    @property
    def unused_faults(self) -> list[str]:
        """Faults nobody has met yet, for an assertion at the end of a test."""
        with self._lock:
            return [f"{fault.method} {fault.prefix} {fault.kind} x{fault.left}" for fault in self._faults]

    def advance(self, seconds: float) -> None:
        """Move the tasks' clock forward (tokens are judged by real time plus ``jwt_clock_offset``)."""
        with self._lock:
            self._ahead += seconds

    @property
    def ledger(self) -> list[Task]:
        """Every task ever booked, oldest first: what the account pays for unless it fails."""
        with self._lock:
            return list(self.tasks.values())

    @property
    def units_spent(self) -> Decimal:
        """Units of the tasks that have succeeded so far."""
        done = [task for task in self.ledger if task.status(self._now())[0] == "succeed"]
        return sum((Decimal(task.units) for task in done), Decimal(0))

    def seen(self, method: str = "*", prefix: str = "/") -> list[Recorded]:
        """Recorded requests of one method ("*": any) under a path prefix."""
        with self._lock:
            found = [r for r in self.requests if method in ("*", r.method) and r.path.startswith(prefix)]
        return found

    # --- answering --------------------------------------------------------------------------------------
    def _now(self) -> float:
        return time.time() + self._ahead

    def _take(self, method: str, path: str) -> _Fault | None:
        with self._lock:
            for fault in self._faults:
                if fault.method in ("*", method) and path.startswith(fault.prefix):
                    if fault.skip > 0:
                        fault.skip -= 1
                        return None
                    fault.left -= 1
                    if fault.left == 0:
                        self._faults.remove(fault)
                    return fault
        return None

    def _respond(self, request: Recorded, fault: _Fault | None) -> _Reply:
        if fault is None:
            return self._answer(request)
        if fault.booked or fault.kind in ("truncated", "short_body", "delay"):
            real = self._answer(request)
            if real.status >= 300 or fault.kind == "delay":
                return real
        else:
            real = _Reply(200)
        reply = _Reply(fault.status, real.body, dict(real.headers))
        if fault.kind == "html":
            reply.headers["Content-Type"] = "text/html; charset=utf-8"
            reply.body = f"<!DOCTYPE html><html><title>{fault.message}</title></html>".encode()
        elif fault.kind in ("truncated", "short_body"):
            reply.short, reply.status = fault.kind == "short_body", real.status
            reply.body = real.body if reply.short else real.body[: len(real.body) // 2]
        elif fault.kind in ("list", "empty"):
            reply.body = b'[{"code": 0, "data": []}]' if fault.kind == "list" else b""
        elif fault.kind in ("no_data", "null_data"):
            extra: dict[str, Any] = {} if fault.kind == "no_data" else {"data": None}
            reply.body = _envelope(200, 0, "SUCCEED", **extra).body
        elif fault.kind == "redirect":
            reply.headers, reply.body = {"Location": fault.location}, b""
        elif fault.kind in ("error", "429"):
            code = fault.code if fault.code is not None else (1302 if fault.kind == "429" else 5000)
            reply = _envelope(fault.status, code, fault.message)
            if not fault.envelope:
                reply.body, reply.headers = fault.message.encode(), {"Content-Type": "text/plain"}
        reply.cut = fault.kind == "cut"
        if fault.retry_after is not None:
            reply.headers["Retry-After"] = fault.retry_after
        return reply

    def _answer(self, request: Recorded) -> _Reply:
        try:
            with self._lock:
                if request.path.startswith("/files/"):
                    return self._file(request)
                data = self._route(request)
        except Refused as refused:
            return _envelope(HTTP_OF[refused.code], refused.code, refused.message)
        except Exception as error:  # say so to the test instead of dropping the connection
            return _envelope(500, 5000, f"the fake server is wrong: {error!r}")
        return _envelope(200, 0, "SUCCEED", data=data)

    def _route(self, request: Recorded) -> Any:
        dialect = "seed" if request.path.startswith("/kling/") else "classic"
        self._authorize(dialect, request.headers.get("authorization", ""))
        if dialect == "classic" and (request.method, request.path) == ("POST", "/tasks"):
            return {"result": [], "count": 0, "next_cursor": "", "has_more": False}
        if dialect == "classic" and request.method == "GET" and request.path in LISTS:
            return []
        known = r"(?:/kling)?/v1/videos/(image2video|text2video|generations)(?:/([^/]+))?"
        found = re.fullmatch(known, request.path)
        kind, item = (found[1], unquote(found[2] or "")) if found else ("", "")
        if kind == "" or (kind == "generations") != (dialect == "seed" and item != ""):
            raise Refused(1203, f"no such resource {request.path}")
        if request.method == "POST" and not item:
            return self._create(dialect, kind, request)
        _need(request.method == "GET" and (item or dialect == "classic"), "the request method is wrong", 1202)
        if item:
            return self._view(self._find(dialect, kind, item))
        pages = {}
        for name, default, most in (("pageNum", 1, 1000), ("pageSize", 30, 500)):
            text = request.query.get(name, str(default))
            _need(text.isdecimal() and 1 <= int(text) <= most, f"{name} must be from 1 to {most}")
            pages[name] = int(text)
        mine = [task for task in self.tasks.values() if (task.dialect, task.kind) == (dialect, kind)]
        rows = [task for task in mine if not task.outcome.vanish]
        rows.sort(key=lambda task: hashlib.sha256(task.task_id.encode()).digest())  # stable but useless
        first = (pages["pageNum"] - 1) * pages["pageSize"]
        return [self._view(task) for task in rows[first : first + pages["pageSize"]]]

    def _authorize(self, dialect: str, header: str) -> None:
        _need(header.strip(), "Authorization is empty", 1001)
        scheme, _, token = header.partition(" ")
        _need(scheme == "Bearer" and token and token == token.strip(), "Authorization is invalid", 1002)
        allowed = self.seed_token if dialect == "seed" else self.api_key
        if hmac.compare_digest(token.encode(), allowed.encode()):
            return
        parts = token.split(".")
        _need(dialect == "classic" and len(parts) == 3, "api key not found", 1002)
        try:
            _need(re.fullmatch(r"[A-Za-z0-9_.-]+", token), "the token is malformed", 1002)
            decoded = [base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in parts]
            head, claims = _parse_json(decoded[0]), _parse_json(decoded[1])
            issuer, expires, begins = claims["iss"], claims["exp"], claims["nbf"]
            good = head == {"alg": "HS256", "typ": "JWT"} and type(expires) is type(begins) is int
            _need(good, "the token is malformed", 1002)
        except (ValueError, KeyError, TypeError, Refused):
            raise Refused(1002, "the token is malformed") from None
        _need(issuer == self.access_key, "access key not found", 1002)
        signed = hmac.new(self.secret_key.encode(), f"{parts[0]}.{parts[1]}".encode(), "sha256").digest()
        _need(hmac.compare_digest(signed, decoded[2]), "the signature is invalid", 1000)
        now = time.time() + self.jwt_clock_offset
        _need(now >= begins, "the token is not valid yet", 1003)
        _need(now < expires, "the token has expired", 1004)

    def _create(self, dialect: str, kind: str, request: Recorded) -> dict[str, Any]:
        is_json = request.headers.get("content-type", "").split(";")[0].strip().lower() == "application/json"
        _need(is_json, "Content-Type must be application/json", 1200)
        try:
            body = _parse_json(request.raw)
        except ValueError:
            raise Refused(1200, "the body is not valid JSON") from None
        doom = check_body(dialect, kind, body, self.retired, self.unknown_model_code, self.matrix)
        mine = [task for task in self.tasks.values() if task.dialect == dialect]
        name, now = body.get("external_task_id", ""), self._now()
        used = bool(name) and any(task.external_task_id == name for task in mine)
        _need(not used, f"External_task_id {name} already exists")
        running = sum(task.status(now)[0] not in ("succeed", "failed") for task in self.tasks.values())
        busy = self.concurrency is not None and running >= self.concurrency
        _need(not busy, "parallel task over resource pack limit", 1303)
        outcome = self._outcomes.pop(0) if self._outcomes else Outcome()
        if doom:
            outcome = Outcome("fail", doom)
        task_id, *video_ids = (str(uuid.uuid4().int)[:18] for _ in range(1 + self.videos_per_task))
        task = Task(task_id, dialect, kind, body, now, self.schedule, outcome, video_ids, self.units)
        self.tasks[task_id] = task
        stamp = int(now * 1000)
        return {"task_id": task_id, "task_status": "submitted", "task_info": _info(task), "created_at": stamp,
                "updated_at": stamp}  # fmt: skip

    def _find(self, dialect: str, kind: str, item: str) -> Task:
        mine = [t for t in self.tasks.values() if t.dialect == dialect and kind in (t.kind, "generations")]
        task = next((t for t in mine if t.task_id == item), None)
        if task is None and dialect == "classic":
            task = next((t for t in mine if t.external_task_id == item), None)
        if task is None:
            raise Refused(1201, "Task not found")
        if task.outcome.vanish > 0:
            task.outcome.vanish -= 1
            raise Refused(1201, "Task not found")
        return task

    def _view(self, task: Task) -> dict[str, Any]:
        word, since = task.status(self._now())
        view: dict[str, Any] = {"task_id": task.task_id, "task_status": word, "task_status_msg": ""}
        marked = bool(task.body.get("watermark_info", {}).get("enabled", False))
        view |= {"task_info": _info(task), "watermark_info": {"enabled": marked}}
        view |= {"created_at": int(task.created * 1000), "updated_at": int(since * 1000)}
        if word == "failed":
            view |= {"task_status_msg": task.outcome.message, "task_result": {}, "final_unit_deduction": "0"}
        elif word == "succeed":
            length = f"{task.body.get('duration', '5')}.041"
            videos = []
            for video in task.video_ids:
                url = f"{self.url}/files/{video}.mp4?pkey=sample"
                shown = {"id": video, "url": url, "watermark_url": f"{url}&mark=1" if marked else ""}
                videos.append({**shown, "duration": length})
            broken = NO_RESULT[task.outcome.variant] if task.outcome.kind == "no_result" else None
            view |= {"task_result": {"videos": videos}} if broken is None else broken
            view["final_unit_deduction"] = task.units
        return view

    def _file(self, request: Recorded) -> _Reply:
        video = request.path.removeprefix("/files/").removesuffix(".mp4")
        known = any(video in task.video_ids for task in self.tasks.values())
        if not known or request.method not in ("GET", "HEAD"):
            return _Reply(404 if not known else 405, b"not here", {"Content-Type": "text/plain"})
        data = video_blob(video) if self.video_bytes is None else self.video_bytes
        headers = {"Content-Type": "video/mp4", "ETag": f'"{hashlib.sha256(data).hexdigest()[:16]}"'}
        if not self.range_support:
            return _Reply(200, data, headers, chunked=not self.content_length)
        headers["Accept-Ranges"] = "bytes"
        wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", request.headers.get("range", ""))
        unchanged = request.headers.get("if-range", headers["ETag"]) == headers["ETag"]
        if not wanted or wanted[0] == "bytes=-" or not unchanged:
            return _Reply(200, data, headers, chunked=not self.content_length)
        first = int(wanted[1]) if wanted[1] else max(0, len(data) - int(wanted[2]))
        last = min(int(wanted[2]), len(data) - 1) if wanted[1] and wanted[2] else len(data) - 1
        if first > last:
            return _Reply(416, b"", {**headers, "Content-Range": f"bytes */{len(data)}"})
        headers["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
        return _Reply(206, data[first : last + 1], headers, chunked=not self.content_length)


def _info(task: Task) -> dict[str, str]:
    return {"external_task_id": task.external_task_id} if task.external_task_id else {}


def _hang_up(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    """Reads a request, records it, lets the server answer it and writes the answer in one piece."""

    kling: IndependentKling
    protocol_version = "HTTP/1.1"
    server_version = "IndependentKling/1"
    disable_nagle_algorithm = True
    wbufsize = -1
    timeout = 60

    def setup(self) -> None:
        super().setup()
        with self.kling._lock:
            self.kling._sockets.add(self.connection)

    def handle(self) -> None:
        with contextlib.suppress(OSError):  # the other side hung up
            super().handle()

    def finish(self) -> None:
        with self.kling._lock:
            self.kling._sockets.discard(self.connection)
        with contextlib.suppress(OSError):
            super().finish()

    def log_message(self, format: str, *args: Any) -> None:
        """Stay quiet."""

    def _serve(self) -> None:
        parts, kling = urlsplit(self.path), self.kling
        headers = {name.lower(): value for name, value in self.headers.items()}
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        request = Recorded(self.command, parts.path, query, headers, int(self.client_address[1]), time.time())
        with kling._lock:
            kling.requests.append(request)
        fault = kling._take(request.method, request.path)
        if fault is not None:
            request.fault = fault.kind
            if fault.kind == "cut" and not fault.booked:
                kling._stopping.wait(fault.delay)
                return self._cut()
        length = headers.get("content-length", "0")
        if "transfer-encoding" in headers or not length.isdecimal():
            self.close_connection = True
            return self._send(request, _envelope(411, 1200, "Content-Length is required"))
        request.raw = self.rfile.read(int(length))
        if len(request.raw) < int(length):
            return self._cut()
        try:
            request.body = _parse_json(request.raw) if request.raw else None
        except (ValueError, Refused):
            request.body = None
        reply = kling._respond(request, fault)
        if fault is not None and fault.delay:
            kling._stopping.wait(fault.delay)
        self._send(request, reply)

    def _cut(self) -> None:
        self.close_connection = True
        _hang_up(self.connection)

    def _send(self, request: Recorded, reply: _Reply) -> None:
        if reply.cut:
            return self._cut()
        request.status = reply.status
        try:
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            if reply.chunked:
                self.send_header("Transfer-Encoding", "chunked")
            else:
                self.send_header("Content-Length", str(len(reply.body)))
            if self.close_connection:
                self.send_header("Connection", "close")
            self.end_headers()
            body = reply.body[: len(reply.body) // 2] if reply.short else reply.body
            if request.method != "HEAD":
                if reply.chunked and body:
                    body = b"%x\r\n%b\r\n" % (len(body), body)
                self.wfile.write(body)
                if reply.chunked and not reply.short:
                    self.wfile.write(b"0\r\n\r\n")
            self.wfile.flush()
        except OSError:
            return self._cut()
        if reply.short:
            self._cut()

    do_GET: Callable[[_Handler], None] = _serve
    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _serve
