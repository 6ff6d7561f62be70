"""A Kling that makes waiting hard: a third, independent server (standard library only).

It was written from public facts about the HTTP API alone and shares no code with the package under test or
its simulator. It answers questions and takes no submits: a test books tasks directly and says when they end.

* classic, one task: ``GET <path>/{task_id}``, also under ``/kling`` and as DMXAPI's ``generations/{task_id}``;
* classic, a list: ``GET <path>?pageNum=&pageSize=``;
* new dialect, many tasks: ``GET /tasks?task_ids=a,b``; its list: ``POST /tasks`` with a cursor.

API keys are taken everywhere, access key and secret key (HS256) on the classic paths only. What the facts
leave open (the order of a list, how many ids a bulk query takes, whether it sees classic tasks, ...) is a
setting, and so is everything that may go wrong; all can be combined and changed while it runs. Every request
is recorded with its time. ``with NastyKling() as kling: ... kling.url ...``
"""

from __future__ import annotations

import asyncio
import base64
import bisect
import fcntl
import hashlib
import hmac
import json
import random
import select
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

IMAGE, TEXT = "/v1/videos/image2video", "/v1/videos/text2video"
NEW = "/image-to-video/kling-3.0"
#: Foreign tasks are this old at most, in seconds, and the finished ones so much at least.
HISTORY, FINISHED_AGO = 90 * 86400.0, 600.0
#: A running task is told as submitted for this part of its time, at most so many seconds.
SUBMITTED_PART, SUBMITTED_SECONDS = 0.1, 10.0
UNITS = "3.5"
_real_monotonic = time.monotonic


@dataclass
class Faults:
    """What is hard about this Kling; the defaults are what a friendly one does.

    Lists
    :param order: ``newest``, ``oldest``, ``fixed`` (shuffled once) or ``shuffled`` (anew for every request).
    :param repeats: share of a page's entries that are replaced by some other entry of the list.
    :param missing: share of a page's entries that are left out of it.
    :param first_page_for_ever: the page number means nothing.
    :param no_list: 404 instead.
    :param unreadable: share of entries in front of which an odd one stands: no id, no object, no result.
    :param no_created_at: times are not told.

    Bulk
    :param no_bulk: 404 instead.
    :param blind_to_classic: ``/tasks`` does not know classic ids.
    :param bulk_limit: more ids are refused with ``bulk_refusal`` (400 with code 1201, or 413 and 414 as a proxy does).
    :param forgetful: share of ids that a bulk answer leaves out at random.
    :param talkative: strangers' tasks stand in bulk answers, and some entries twice.

    Anything
    :param hide_newest: seconds for which a new task is told nowhere named in ``hide_from``.
    :param hide_from: of ``list``, ``bulk`` and ``single``.
    :param burst_every: seconds from burst to burst of 429 with code 1302.
    :param burst_seconds: how long one lasts; every other one has a Retry-After.
    :param retry_after: seconds told in it.
    :param drop_every: each so-manieth request loses its connection, in turn before and in the middle of the answer.
    :param html: share of requests answered with an HTML page, with status 200 or 502.
    :param errors: share answered with 500, 503 and 504, with and without Kling's envelope.
    :param slow: share answered after ``slow_seconds``.
    :param clock_ahead: seconds that the server's clock, and what it tells of times, is ahead.
    :param key_rejected: 401 with code 1002.
    :param down: every connection is cut before the answer.
    """

    order: str = "newest"
    repeats: float = 0.0
    missing: float = 0.0
    first_page_for_ever: bool = False
    no_list: bool = False
    unreadable: float = 0.0
    no_created_at: bool = False
    no_bulk: bool = False
    blind_to_classic: bool = False
    bulk_limit: int | None = None
    bulk_refusal: int = 400
    forgetful: float = 0.0
    talkative: bool = False
    hide_newest: float = 0.0
    hide_from: frozenset[str] = frozenset({"list", "bulk", "single"})
    burst_every: float = 0.0
    burst_seconds: float = 0.0
    retry_after: int = 7
    drop_every: int = 0
    html: float = 0.0
    errors: float = 0.0
    slow: float = 0.0
    slow_seconds: float = 5.0
    clock_ahead: float = 0.0
    key_rejected: bool = False
    down: bool = False


@dataclass
class Task:
    """A booked task. ``outcome``: succeed, failed, no_result (succeed, without one), no_url or unknown.

    ``hidden_until``: it is told nowhere named in ``hidden_from`` before that time.
    """

    task_id: str
    path: str
    booked: float
    ends: float
    outcome: str = "succeed"
    units: str = UNITS
    external_id: str = ""
    hidden_until: float = 0.0
    hidden_from: frozenset[str] = frozenset({"list", "bulk", "single"})
    is_foreign: bool = False

    @property
    def is_new(self) -> bool:
        """Whether it belongs to the new dialect."""
        return not self.path.startswith("/v1/")

    @property
    def url(self) -> str:
        """Where its video is."""
        return f"https://v1-fdl.kechuangai.com/{self.task_id}.mp4?pkey=sample"

    def word(self, now: float) -> str:
        """The classic status word."""
        if now < self.booked + min(SUBMITTED_PART * (self.ends - self.booked), SUBMITTED_SECONDS):
            return "submitted"
        if now < self.ends:
            return "processing"
        return "failed" if self.outcome == "failed" else "succeed"


@dataclass
class Asked:
    """One request. ``kind``: single, bulk, list, new_list or other. ``status`` 0: no answer.

    ``told``: those of our tasks that the answer told of; ``over``: those it told to be over.
    """

    at: float
    kind: str
    path: str
    ids: tuple[str, ...] = ()
    page: int = 0
    status: int = 0
    fault: str = ""
    told: tuple[str, ...] = ()
    over: tuple[str, ...] = ()


class _Refused(Exception):
    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


@dataclass
class _Answer:
    status: int
    body: bytes
    kind: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    cut: str = ""  # "", "before" or "middle"
    delay: float = 0.0


class NastyKling:
    """The server.

    :param clock: gives epoch seconds.
    :param seed: of everything random.
    :param faults: settings by name, see `Faults`; ``kling.faults`` can be changed while it runs.
    """

    def __init__(self, clock: Callable[[], float] = time.time, seed: int = 0, **faults: Any) -> None:
        self.clock, self.dice = clock, random.Random(seed)
        self.faults = Faults(**faults)
        self.api_key, self.access_key, self.secret_key = "api-key-kling-nasty", "ak-nasty", "sk-nasty"
        self.requests: list[Asked] = []
        self.tasks: dict[str, Task] = {}
        self.url = ""
        self._rows: dict[str, list[tuple[float, str]]] = {}  # path -> (booked, id), oldest first
        self._foreign: dict[str, bytes] = {}  # encoded once: there are many
        self._lock = threading.RLock()
        self._started = clock()
        self._connections: set[_Connection] = set()
        self._listener: socket.socket | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    # --- life -----------------------------------------------------------------------------------------
    def start(self) -> NastyKling:
        """Listen, in a thread of its own."""
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, args=(ready,), name="nasty-kling", daemon=True)
        self._thread.start()
        assert ready.wait(10)
        return self

    def stop(self) -> None:
        """Close everything; tasks and requests stay readable."""
        if self._loop is not None and self._thread is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(10)

    def __enter__(self) -> NastyKling:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _serve(self, ready: threading.Event) -> None:
        self._loop = loop = asyncio.SelectorEventLoop()
        loop.time = _real_monotonic  # type: ignore[method-assign]  # whatever a test does to the time
        server = loop.run_until_complete(loop.create_server(lambda: _Connection(self), sock=self._listener))
        ready.set()
        loop.run_forever()
        server.close()
        for connection in list(self._connections):
            connection.transport.abort()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()

    def is_at_work(self) -> bool:
        """Whether a request is in hand, or has arrived and is not read yet, or an answer is on its way."""
        connections = list(self._connections)
        if any(connection.is_at_work for connection in connections):
            return True
        unread = select.poll()
        for where in (self._listener, *(connection.socket for connection in connections)):
            if where is not None and where.fileno() >= 0:
                unread.register(where, select.POLLIN)
        return bool(unread.poll(0))

    @property
    def open_connections(self) -> int:
        """How many connections clients hold."""
        return len(self._connections)

    # --- what there is --------------------------------------------------------------------------------
    def book(self, seconds: float, path: str = IMAGE, *, ago: float = 0.0, **more: Any) -> Task:
        """Book a task that takes so long.

        :param ago: it was booked so many seconds ago.
        :param more: further fields of `Task`.
        """
        with self._lock:
            booked = self.clock() - ago
            task = Task(self._new_id(), path, booked, booked + seconds, **more)
            self.tasks[task.task_id] = task
            if task.outcome != "unknown":
                bisect.insort(self._rows.setdefault(path, []), (booked, task.task_id))
            return task

    def book_foreign(
        self, finished: int = 0, running: int = 0, path: str = IMAGE, within: float = HISTORY
    ) -> None:
        """Fill the account with tasks of somebody else.

        :param within: the finished ones are spread over so many seconds; small puts them between ours.
        """
        with self._lock:
            now, rows = self.clock(), self._rows.setdefault(path, [])
            for number in range(finished + running):
                task_id = self._new_id()
                if number < finished:
                    booked = now - self.dice.uniform(min(FINISHED_AGO, within), within + FINISHED_AGO)
                    ends = booked + 100
                else:
                    booked, ends = now - self.dice.uniform(0, FINISHED_AGO), now + 10 * HISTORY
                task = Task(task_id, path, booked, ends, is_foreign=True)
                self._foreign[task_id] = json.dumps(self._classic(task, now)).encode()
                rows.append((booked, task_id))
            rows.sort()

    def _new_id(self) -> str:
        return str(self.dice.randrange(10**17, 10**18))

    # --- what was asked -------------------------------------------------------------------------------
    def asked(self, kind: str = "", since: float = 0.0) -> list[Asked]:
        """The requests of a kind (all of them if empty), from a time on."""
        return [one for one in list(self.requests) if one.at >= since and kind in ("", one.kind)]

    def counts(self) -> Counter[str]:
        """How many requests of each kind there were."""
        return Counter(one.kind for one in list(self.requests))

    def connection(self, auth: str = "key", **extra: Any) -> str:
        """The Airflow connection that leads here, as JSON; ``auth``: key or pair."""
        proof = {"password": self.api_key}
        if auth == "pair":
            proof = {"login": self.access_key, "password": self.secret_key}
        return json.dumps(
            {"conn_type": "kling", "host": self.url, **proof, "extra": {"gateway": "official", **extra}}
        )

    # --- answering ------------------------------------------------------------------------------------
    def _respond(self, method: str, target: str, headers: dict[str, str], body: bytes) -> _Answer:
        parts = urlsplit(target)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        with self._lock:
            asked = self._record(method, parts.path, query)
            self.requests.append(asked)
            answer = self._spoiled(asked, len(self.requests))
            if answer is None:
                try:
                    self._authorize(parts.path, headers.get("authorization", ""))
                    answer = _Answer(200, self._answer(method, parts.path, query, body, asked))
                except _Refused as refused:
                    answer = _envelope(refused.status, refused.code, refused.message)
                except Exception as error:  # say so to the test instead of dropping the connection
                    answer = _envelope(500, 5000, f"the nasty server is wrong: {error!r}")
                answer = self._damaged(asked, answer, len(self.requests))
            asked.status = 0 if answer.cut else answer.status
            if answer.status != 200 or answer.cut:
                asked.told = asked.over = ()
            return answer

    def _record(self, method: str, path: str, query: dict[str, str]) -> Asked:
        at, bare = self.clock(), path.removeprefix("/kling")
        if bare == "/tasks":
            ids = tuple(filter(None, query.get("task_ids", "").split(",")))
            return Asked(at, "bulk" if method == "GET" else "new_list", path, ids)
        if "pageNum" in query or "pageSize" in query or bare in self._rows:
            number = query.get("pageNum", "1")
            return Asked(at, "list", path, page=int(number) if number.isdecimal() else 0)
        if method == "GET" and bare.startswith("/v1/"):
            return Asked(at, "single", path, (unquote(bare.rpartition("/")[2]),))
        return Asked(at, "other", path)

    def _spoiled(self, asked: Asked, number: int) -> _Answer | None:
        """An answer that has nothing to do with the question, or None."""
        faults, since = self.faults, self.clock() - self._started
        if faults.down:
            asked.fault = "down"
            return _Answer(0, b"", cut="before")
        if faults.key_rejected:
            asked.fault = "key_rejected"
            return _envelope(401, 1002, "api key not found")
        if faults.drop_every and number % (2 * faults.drop_every) == 0:
            asked.fault = "drop"
            return _Answer(0, b"", cut="before")
        if faults.burst_every and since % faults.burst_every < faults.burst_seconds:
            asked.fault = "burst"
            told = {"Retry-After": str(faults.retry_after)} if since // faults.burst_every % 2 else {}
            return _envelope(429, 1302, "request frequency exceeds the limit", told)
        if self.dice.random() < faults.html:
            asked.fault = "html"
            page = b"<!DOCTYPE html><html><body>nginx</body></html>"
            return _Answer(self.dice.choice((200, 502)), page, "text/html")
        if self.dice.random() < faults.errors:
            asked.fault = "error"
            status, code = self.dice.choice(((500, 5000), (503, 5001), (504, 5002)))
            if self.dice.random() < 0.5:
                return _Answer(status, b"upstream connect error", "text/plain")
            return _envelope(status, code, "service busy")
        return None

    def _damaged(self, asked: Asked, answer: _Answer, number: int) -> _Answer:
        faults = self.faults
        if faults.drop_every and number % (2 * faults.drop_every) == faults.drop_every:
            asked.fault, answer.cut = "drop", "middle"
        elif self.dice.random() < faults.slow:
            asked.fault, answer.delay = "slow", faults.slow_seconds
        return answer

    def _authorize(self, path: str, header: str) -> None:
        scheme, _, token = header.partition(" ")
        if not header:
            raise _Refused(401, 1001, "Authorization is empty")
        if scheme == "Bearer" and hmac.compare_digest(token.encode(), self.api_key.encode()):
            return
        if token.count(".") != 2:
            raise _Refused(401, 1002, "api key not found")
        head, claims, signature = token.split(".")
        told = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
        good = hmac.new(self.secret_key.encode(), f"{head}.{claims}".encode(), "sha256").digest()
        if (
            told["iss"] != self.access_key
            or base64.urlsafe_b64encode(good).rstrip(b"=").decode() != signature
        ):
            raise _Refused(401, 1002, "the signature is invalid")
        if not told["nbf"] - 600 <= self.clock() < told["exp"] + 600:  # its own clock may be off: be generous
            raise _Refused(401, 1004, "the token has expired")
        if path == "/tasks":
            raise _Refused(401, 1002, "this API does not support AK/SK, create an API key in the console")

    def _answer(self, method: str, path: str, query: dict[str, str], body: bytes, asked: Asked) -> bytes:
        faults, bare = self.faults, path.removeprefix("/kling")
        if asked.kind in ("bulk", "new_list"):
            if faults.no_bulk:
                raise _Refused(404, 1203, f"no such resource {path}")
            return self._bulk(asked) if asked.kind == "bulk" else self._new_list(json.loads(body or b"{}"))
        if method != "GET":
            raise _Refused(404, 1202, "the request method is wrong")
        if asked.kind == "list":
            if faults.no_list:
                raise _Refused(404, 1203, f"no such resource {path}")
            return self._list(bare, query, asked)
        return self._single(bare, asked)

    def _single(self, path: str, asked: Asked) -> bytes:
        (task_id,), now = asked.ids, self.clock()
        task = self.tasks.get(task_id)
        where, _, _ = path.rpartition("/")
        known = task is not None and where in (task.path, "/v1/videos/generations")
        if task_id in self._foreign:
            return _success(self._foreign[task_id])
        if not known or task is None or not self._is_told(task, "single", now):
            raise _Refused(400, 1201, "Task not found")
        self._note(asked, [task], now)
        return _success(json.dumps(self._classic(task, now)).encode())

    def _bulk(self, asked: Asked) -> bytes:
        faults, now = self.faults, self.clock()
        if not asked.ids:
            raise _Refused(400, 1201, "task_ids or external_task_ids is required")
        if faults.bulk_limit is not None and len(asked.ids) > faults.bulk_limit:
            raise _Refused(faults.bulk_refusal, 1201, f"task_ids: at most {faults.bulk_limit} are allowed")
        tasks = [self.tasks[one] for one in dict.fromkeys(asked.ids) if one in self.tasks]
        tasks = [
            task
            for task in tasks
            if self._is_told(task, "bulk", now)
            and not (faults.blind_to_classic and not task.is_new)
            and self.dice.random() >= faults.forgetful
        ]
        self._note(asked, tasks, now)
        told = [self._new(task, now) for task in tasks]
        if faults.talkative and len(asked.ids) > 1:
            stranger = Task(self._new_id(), NEW, now - 500, now - 400, is_foreign=True)
            told += [self._new(stranger, now), *told[:2]]
        self.dice.shuffle(told)
        return _success(json.dumps(told).encode())

    def _new_list(self, wanted: dict[str, Any]) -> bytes:
        """The new dialect's own tasks, newest first; the cursor is the place in the list."""
        now, first, limit = self.clock(), int(wanted.get("cursor") or 0), int(wanted.get("limit", 100))
        tasks = [task for task in self.tasks.values() if task.is_new and self._is_told(task, "list", now)]
        tasks.sort(key=lambda task: -task.booked)
        page = [self._new(task, now) for task in tasks[first : first + limit]]
        more = first + limit < len(tasks)
        told = {"result": page, "count": len(page), "has_more": more}
        return _success(json.dumps(told | {"next_cursor": str(first + limit) if more else ""}).encode())

    def _list(self, path: str, query: dict[str, str], asked: Asked) -> bytes:
        numbers = []
        for name, default, most in (("pageNum", 1, 1000), ("pageSize", 30, 500)):
            text = query.get(name, str(default))
            if not (text.isdecimal() and 1 <= int(text) <= most):
                raise _Refused(400, 1201, f"{name} must be from 1 to {most}")
            numbers.append(int(text))
        (page, size), faults, now = numbers, self.faults, self.clock()
        asked.page = page
        rows = self._page_of(path, 1 if faults.first_page_for_ever else page, size, now)
        everything = self._rows.get(path, [])
        shown: list[str] = []
        for row in rows:
            if self.dice.random() < faults.missing:
                continue
            shown.append(self.dice.choice(everything)[1] if self.dice.random() < faults.repeats else row)
        ours = [self.tasks[one] for one in shown if one in self.tasks]
        ours = [task for task in ours if self._is_told(task, "list", now)]
        self._note(asked, ours, now)
        told = {task.task_id: json.dumps(self._classic(task, now)).encode() for task in ours}
        entries: list[bytes] = []
        for one in shown:
            if self.dice.random() < faults.unreadable:
                entries.append(json.dumps(self._odd(one, now)).encode())
            if (entry := self._foreign.get(one) or told.get(one)) is not None:
                entries.append(entry)
        return _success(b"[" + b",".join(entries) + b"]")

    def _page_of(self, path: str, page: int, size: int, now: float) -> list[str]:
        """Ids on a page, in the order that is set; hidden ones are no entries of the list at all."""
        order, first = self.faults.order, (page - 1) * size
        rows = [
            one
            for _, one in self._rows.get(path, [])
            if one in self._foreign or self._is_told(self.tasks[one], "list", now)
        ]
        if order == "shuffled":  # a page of a list that is shuffled anew is a sample of it
            return self.dice.sample(rows, max(0, min(size, len(rows) - first)))
        if order == "fixed":
            rows.sort(key=lambda one: hashlib.sha256(one.encode()).digest())
        elif order == "newest":
            rows.reverse()
        return rows[first : first + size]

    def _odd(self, near: str, now: float) -> Any:
        stranger = Task(self._new_id(), IMAGE, now - 500, now - 400, outcome="no_result")
        good = self._classic(stranger, now)
        return self.dice.choice(
            [
                good,  # succeed, without a result
                {name: value for name, value in good.items() if name != "task_id"},
                good | {"task_id": None},
                good | {"task_status": self.dice.choice(["queueing", "", None, 7, ["succeed"]])},
                good | {"task_result": [near]},
                None,
                near,
            ]
        )

    def _is_told(self, task: Task, where: str, now: float) -> bool:
        if task.outcome == "unknown" or (now < task.hidden_until and where in task.hidden_from):
            return False
        return not (now < task.booked + self.faults.hide_newest and where in self.faults.hide_from)

    def _note(self, asked: Asked, tasks: Iterable[Task], now: float) -> None:
        asked.told = tuple(task.task_id for task in tasks)
        asked.over = tuple(one for one in asked.told if now >= self.tasks[one].ends)

    def _times(self, task: Task, now: float, names: Sequence[str]) -> dict[str, int]:
        if self.faults.no_created_at:
            return {}
        changed = task.ends if now >= task.ends else max(task.booked, now - 1)
        return {
            name: int((at + self.faults.clock_ahead) * 1000)
            for name, at in zip(names, (task.booked, changed), strict=True)
        }

    def _classic(self, task: Task, now: float) -> dict[str, Any]:
        word = task.word(now)
        told: dict[str, Any] = {"task_id": task.task_id, "task_status": word, "task_status_msg": ""}
        told["task_info"] = {"external_task_id": task.external_id} if task.external_id else {}
        told |= {"watermark_info": {"enabled": False}, **self._times(task, now, ("created_at", "updated_at"))}
        if word == "failed":
            told |= {"task_status_msg": "Failure to pass the risk control system", "task_result": {}}
            told["final_unit_deduction"] = "0"
        elif word == "succeed":
            video = {"id": task.task_id[::-1], "url": task.url, "watermark_url": "", "duration": "5.041"}
            if task.outcome == "no_url":
                del video["url"]
            told["task_result"] = {} if task.outcome == "no_result" else {"videos": [video]}
            told["final_unit_deduction"] = task.units
        return told

    def _new(self, task: Task, now: float) -> dict[str, Any]:
        word = task.word(now)
        told: dict[str, Any] = {"id": task.task_id, "status": "succeeded" if word == "succeed" else word}
        told |= {"message": "", "outputs": [], "billing": [], "external_id": task.external_id}
        told |= self._times(task, now, ("create_time", "update_time"))
        if word == "failed":
            told |= {"message": "Failure to pass the risk control system"}
            told["billing"] = [{"charge_type": "unit", "amount": "0", "package_type": "video"}]
        elif word == "succeed":
            video = {"type": "video", "id": task.task_id[::-1], "url": task.url, "watermark_url": ""}
            if task.outcome == "no_url":
                del video["url"]
            told["outputs"] = [] if task.outcome == "no_result" else [video | {"duration": "5.041"}]
            told["billing"] = [{"charge_type": "unit", "amount": task.units, "package_type": "video"}]
        return told


def _success(data: bytes) -> bytes:
    return b'{"code":0,"message":"SUCCEED","request_id":"%s","data":' % _request_id() + data + b"}"


def _envelope(status: int, code: int, message: str, headers: dict[str, str] | None = None) -> _Answer:
    if status in (413, 414):  # what stands in front of Kling says so in its own words
        return _Answer(status, b"<html><h1>Request-URI Too Large</h1></html>", "text/html")
    told = {"code": code, "message": message, "request_id": _request_id().decode()}
    return _Answer(status, json.dumps(told).encode(), headers=headers or {})


def _request_id() -> bytes:
    return hashlib.sha256(str(_real_monotonic()).encode()).hexdigest()[:32].encode()


#: Linux tells with it how many bytes the peer has had no room for yet.
_SIOCOUTQNSD = 0x894B


class _Connection(asyncio.BufferedProtocol):
    """One keep-alive connection: reads requests one after the other and answers each at once, or later."""

    transport: asyncio.Transport

    def __init__(self, kling: NastyKling) -> None:
        self._kling = kling
        self._chunk = bytearray(65536)
        self._data = b""
        self._reading_since = self._answered_at = 0.0
        self._due: float | None = None
        self.socket: Any = None

    @property
    def is_at_work(self) -> bool:
        # Between the buffer being given and filled the bytes are nowhere to be seen. A false alarm ends by itself.
        now = _real_monotonic()
        is_reading = self._reading_since > 0 and now - self._reading_since < 2
        return is_reading or (now - self._answered_at < 2 and self._has_unsent)

    @property
    def _has_unsent(self) -> bool:
        """Whether more than one go is needed for an answer: a long page of a list, on a busy machine."""
        try:
            (unsent,) = struct.unpack("i", fcntl.ioctl(self.socket.fileno(), _SIOCOUTQNSD, b"\0" * 4))
        except (OSError, ValueError):  # it is closed
            unsent = 0
        return unsent > 0 or self.transport.get_write_buffer_size() > 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport, self.socket = transport, transport.get_extra_info("socket")
        self._kling._connections.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._kling._connections.discard(self)

    def get_buffer(self, hint: int) -> bytearray:
        self._reading_since = _real_monotonic()
        return self._chunk

    def eof_received(self) -> bool:
        self._reading_since = 0.0
        return False

    def buffer_updated(self, count: int) -> None:
        self._data += self._chunk[:count]
        try:
            self._read_on()
        finally:
            self._reading_since = 0.0

    def _read_on(self) -> None:
        while self._due is None:
            head, found, rest = self._data.partition(b"\r\n\r\n")
            if not found:
                return
            first, *lines = head.decode("latin-1").split("\r\n")
            method, target, _ = first.split(" ", 2)
            headers = {
                name.strip().lower(): text.strip()
                for name, _, text in (line.partition(":") for line in lines)
            }
            length = int(headers.get("content-length", "0"))
            if len(rest) < length:
                return
            self._data = rest[length:]
            answer = self._kling._respond(method, target, headers, rest[:length])
            if answer.delay:
                self._due = self._kling.clock() + answer.delay
                self._wait(answer)
            elif not self._send(answer):
                return

    def _wait(self, answer: _Answer) -> None:
        if self._due is not None and self._kling.clock() < self._due:
            asyncio.get_running_loop().call_later(0.001, self._wait, answer)
            return
        self._due = None
        if not self.transport.is_closing() and self._send(answer):
            self._read_on()

    def _send(self, answer: _Answer) -> bool:
        """Answer; False if that was the end of the connection."""
        if answer.cut == "before":
            self.transport.abort()
            return False
        head = [f"HTTP/1.1 {answer.status} -", f"Content-Type: {answer.kind}"]
        head += [
            f"Content-Length: {len(answer.body)}",
            *(f"{name}: {told}" for name, told in answer.headers.items()),
        ]
        body = answer.body[: len(answer.body) // 2] if answer.cut else answer.body
        self._answered_at = _real_monotonic()
        self.transport.write("\r\n".join([*head, "", ""]).encode() + body)
        if answer.cut:
            self.transport.close()
        return not answer.cut
