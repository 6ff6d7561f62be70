"""Hooks of one process share their connections, and what costs money never goes out over a stale one."""

from __future__ import annotations

import json
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from kling_provider.exceptions import KlingSubmissionUnknownError
from kling_provider.hooks import kling as module
from kling_provider.hooks import sessions
from kling_provider.hooks.kling import KlingHook
from tests.hooks.talking import REQUEST, connection


def peers(kling: Any) -> int:
    return len({request.peer for request in kling.requests})


def test_twenty_submits_by_twenty_hooks_take_one_connection(official):
    for _ in range(20):
        KlingHook().submit("image2video", REQUEST)
    assert len(official.ledger) == 20
    assert peers(official) == 1


def test_each_thread_has_a_session_of_its_own(official):
    hook = KlingHook()
    hook.submit("image2video", REQUEST)
    ours, theirs = hook.get_conn(), []

    def other() -> None:
        theirs.append(hook.get_conn())
        hook.submit("image2video", REQUEST)

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert theirs[0] is not ours
    assert peers(official) == 2


#: In a process of its own: in a fork of this one, threads of the simulator that were making a film may hang.
FORKS = """
import json, os, sys

from kling_provider.hooks.kling import KlingHook

hook, request = KlingHook(), json.loads(sys.argv[1])
hook.submit("image2video", request)
child = os.fork()
if child == 0:
    try:
        hook.submit("image2video", request)
    finally:
        os._exit(0)
os.waitpid(child, 0)
hook.submit("image2video", request)
"""


def test_a_fork_does_not_speak_into_its_parents_socket(official):
    subprocess.run([sys.executable, "-c", FORKS, json.dumps(REQUEST)], check=True)
    first, of_the_child, last = (request.peer for request in official.requests)
    assert first == last != of_the_child


@pytest.mark.parametrize(
    "extra",
    [
        {"proxy": "http://127.0.0.1:1"},
        {"verify": False},
        {"trust_env": False},
        {"proxies": {"http": "http://h"}},
    ],
)
def test_other_proxies_or_tls_options_get_another_session(extra, independent, connect):
    connect(independent.url, independent.api_key)
    plain = KlingHook().get_conn()
    connect(independent.url, independent.api_key, **extra)
    assert KlingHook().get_conn() is not plain
    connect(independent.url, independent.api_key)
    assert KlingHook().get_conn() is plain


def test_another_host_gets_another_session(independent, connect):
    connect(independent.url, independent.api_key)
    first = KlingHook().get_conn()
    connect(independent.url.replace("127.0.0.1", "localhost"), independent.api_key)
    assert KlingHook().get_conn() is not first


def test_two_accounts_share_the_connection_and_each_brings_its_own_key(independent, monkeypatch):
    for name in ("A", "B"):
        monkeypatch.setenv(f"AIRFLOW_CONN_KLING_{name}", connection(independent.url, f"key-of-{name}"))
        independent.api_key = f"key-of-{name}"
        KlingHook(f"kling_{name.lower()}").submit("image2video", REQUEST)
    assert [request.headers["authorization"] for request in independent.requests] == [
        "Bearer key-of-A",
        "Bearer key-of-B",
    ]
    assert peers(independent) == 1


def test_the_oldest_session_is_closed_when_there_are_too_many(independent, connect, monkeypatch):
    monkeypatch.setattr(sessions, "MOST_SESSIONS", 2)
    made = []
    for name in ("a", "b", "c"):
        connect(independent.url, independent.api_key, proxies={"ftp": f"http://{name}"})
        KlingHook().list_tasks("image2video")
        made.append(KlingHook().get_conn())
    connect(independent.url, independent.api_key, proxies={"ftp": "http://c"})
    assert KlingHook().get_conn() is made[2]
    connect(independent.url, independent.api_key, proxies={"ftp": "http://a"})
    assert KlingHook().get_conn() is not made[0]


# --- stale connections --------------------------------------------------------------------------------


class ImpatientServer:
    """Resets a connection that brings a request after ``patience`` seconds of silence, and answers all others."""

    ANSWER = b'{"code":0,"message":"","request_id":"r","data":{"task_id":"7","task_status":"submitted"}}'

    def __init__(self, patience: float, *, closes_at_once: bool = False) -> None:
        self.patience, self.closes_at_once = patience, closes_at_once
        self.connections = 0
        self.answered: list[str] = []
        self.cookies: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with sock, suppress(OSError):
            while True:
                waited_since = time.monotonic()
                data = sock.recv(65536)
                if not data:
                    return
                if time.monotonic() - waited_since > self.patience:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    return
                while b"\r\n\r\n" not in data or (data[:4] == b"POST" and not data.endswith(b"}")):
                    data += sock.recv(65536)
                self.answered.append(data.split()[0].decode())
                self.cookies += [line for line in data.split(b"\r\n") if line.lower().startswith(b"cookie:")]
                head = b"HTTP/1.1 200 OK\r\nSet-Cookie: who=somebody\r\nContent-Length: %d\r\n\r\n"
                sock.sendall(head % len(self.ANSWER) + self.ANSWER)
                if self.closes_at_once:
                    return

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def impatient(connect: Any) -> Iterator[Any]:
    servers = []

    def make(patience: float = 60, **options: Any) -> ImpatientServer:
        servers.append(ImpatientServer(patience, **options))
        connect(servers[-1].url, "key", gateway="dmxapi")
        return servers[-1]

    yield make
    for server in servers:
        server.close()


def idle_limit(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    for where in (sessions, module):
        monkeypatch.setattr(where, "MAX_IDLE_SECONDS", seconds)


def test_a_submit_is_not_sent_over_a_connection_that_has_been_idle(impatient, open_hook, monkeypatch):
    idle_limit(monkeypatch, 0.05)
    server, hook = impatient(patience=0.2), open_hook()
    for _ in range(3):
        assert hook.submit("image2video", REQUEST).task_id == "7"
        time.sleep(0.3)
    assert server.answered == ["POST"] * 3
    assert server.connections == 3


def test_sent_over_one_it_would_be_lost(impatient, open_hook, monkeypatch):
    idle_limit(monkeypatch, 60)
    server, hook = impatient(patience=0.2), open_hook()
    hook.submit("image2video", REQUEST)
    time.sleep(0.3)
    with pytest.raises(KlingSubmissionUnknownError):
        hook.submit("image2video", REQUEST)
    assert server.answered == ["POST"]


def test_submits_in_quick_succession_share_a_connection(official, open_hook):
    hook = open_hook()
    for _ in range(5):
        hook.submit("image2video", REQUEST)
    assert peers(official) == 1


def test_a_closing_that_was_heard_of_costs_a_submit_nothing(impatient, open_hook, monkeypatch):
    idle_limit(monkeypatch, 60)
    server, hook = impatient(closes_at_once=True), open_hook()
    for _ in range(3):
        assert hook.submit("image2video", REQUEST).task_id == "7"
        time.sleep(0.05)  # the end of the connection arrives
    assert server.answered == ["POST"] * 3


def test_a_query_may_use_an_idle_connection(official, open_hook, monkeypatch):
    idle_limit(monkeypatch, 0.0)
    hook = open_hook()
    for _ in range(3):
        hook.list_tasks("image2video")
        time.sleep(0.02)
    assert peers(official) == 1


def test_the_limit_is_below_what_servers_grant():
    assert sessions.MAX_IDLE_SECONDS < 2  # gunicorn


def test_what_one_answer_sets_does_not_come_back_with_the_next_request(impatient):
    server = impatient()
    for _ in range(2):
        KlingHook().submit("image2video", REQUEST)
    assert server.answered == ["POST"] * 2
    assert server.cookies == []
