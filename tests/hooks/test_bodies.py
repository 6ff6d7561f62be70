"""A request's body is streamed: its bytes are those of the plain encoding, its length is exact, its memory small."""

from __future__ import annotations

import base64
import json
import random
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from kling_provider.api.calls import Call
from kling_provider.api.errors import ApiFailure
from kling_provider.exceptions import KlingServerError, KlingSubmissionUnknownError
from kling_provider.hooks import bodies
from kling_provider.hooks.bodies import CHUNK_BYTES, STEP_BYTES, JsonBody
from tests.api.properties import promise
from tests.hooks.talking import REQUEST


def plain(fields: Any) -> bytes:
    """What was sent when the body was still built as one text."""

    def encoded(value: Any) -> Any:
        if isinstance(value, bytes):
            return base64.b64encode(value).decode("ascii")
        if isinstance(value, dict):
            return {name: encoded(item) for name, item in value.items()}
        return [encoded(item) for item in value] if isinstance(value, list) else value

    return json.dumps(encoded(fields), ensure_ascii=False, separators=(",", ":")).encode()


def noise(length: int) -> bytes:
    return (bytes(range(251)) * (length // 251 + 1))[:length]


FIELDS = st.dictionaries(
    st.text(),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=8,
    ),
    max_size=5,
)
BODIES = {
    "empty": {},
    "no file": {"prompt": 'Kätzchen 🐈 \x00 "quoted" </script>', "cfg_scale": 0.5, "n": None},
    "empty file": {"image": b""},
    "small file": {"prompt": "a", "image": b"\x00\xff\xfe"},
    "several files": {
        "image": noise(1000),
        "image_tail": noise(STEP_BYTES),
        "dynamic_masks": [{"mask": noise(7)}, {"mask": noise(CHUNK_BYTES)}],
    },
    "many elements": {"image_list": [{"image": noise(1 + number)} for number in range(40)]},
    "a step less": {"image": noise(STEP_BYTES - 1)},
    "a step": {"image": noise(STEP_BYTES)},
    "a step more": {"image": noise(STEP_BYTES + 1), "last": "field"},
    "long text": {"prompt": "é" * CHUNK_BYTES, "image": noise(5), "negative_prompt": "x" * CHUNK_BYTES},
    "ten megabytes": {"model_name": "kling-v1", "image": noise(10_000_001)},
}


@promise
@given(FIELDS)
def test_the_streamed_bytes_are_those_of_the_plain_encoding_and_its_length_is_told(fields: dict[str, Any]):
    with pytest.MonkeyPatch.context() as patch:  # so small that some values take several chunks
        patch.setattr(bodies, "STEP_BYTES", 3)
        patch.setattr(bodies, "CHUNK_BYTES", 8)
        body = JsonBody(fields)
        assert b"".join(body) == plain(fields)
        assert len(body) == len(plain(fields))
        assert b"".join(body) == plain(fields)  # an attempt that is repeated


@promise
@given(FIELDS, st.integers(0, 50))
def test_a_body_is_handed_over_with_its_last_chunk_and_not_before(fields: dict[str, Any], taken: int):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bodies, "STEP_BYTES", 3)
        patch.setattr(bodies, "CHUNK_BYTES", 8)
        body = JsonBody(fields)
        chunks = iter(body)
        got = b"".join(chunk for _, chunk in zip(range(taken), chunks, strict=False))
        assert body.is_handed_over is (len(got) == len(body))
        list(chunks)
        assert body.is_handed_over
        iter(body).__next__()
        assert body.is_handed_over is (len(list(body)) == 1)


@pytest.mark.parametrize("fields", BODIES.values(), ids=BODIES)
async def test_each_body_is_the_plain_encoding_in_bounded_chunks(fields: dict[str, Any]):
    body = JsonBody(fields)
    chunks = list(body)
    assert b"".join(chunks) == plain(fields)
    assert [chunk async for chunk in body] == chunks
    assert len(body) == len(plain(fields))
    longest_text = max((len(item.encode()) for item in fields.values() if isinstance(item, str)), default=0)
    assert max(map(len, chunks)) <= CHUNK_BYTES + STEP_BYTES // 3 * 4 + longest_text
    assert all(len(chunk) >= CHUNK_BYTES for chunk in chunks[:-1])


@pytest.mark.parametrize("fields", [{"a": {1}}, {"a": object()}, {b"a": 1}])
def test_what_json_cannot_hold_is_refused(fields: dict[Any, Any]):
    with pytest.raises(TypeError):
        JsonBody(fields)


# --- over loopback ------------------------------------------------------------------------------------


@pytest.mark.parametrize("fields", BODIES.values(), ids=BODIES)
def test_what_arrives_has_a_length_is_not_chunked_and_is_the_plain_encoding(fields, official, open_hook):
    call = Call("POST", "/v1/videos/image2video", lambda _: None, "Trying", body=fields)
    with suppress(ApiFailure):  # most of these are no request that Kling takes
        open_hook().send(call)
    (post,) = official.requests
    assert post.raw == plain(fields)
    assert post.headers["content-length"] == str(len(plain(fields)))
    assert "transfer-encoding" not in post.headers


def test_the_simulator_gets_every_picture_of_a_large_request(
    kling_simulator, kling_connection, open_hook, large_picture
):
    content = large_picture.read_bytes()
    asked = {"image": str(large_picture), "image_tail": content, "mode": "pro", "prompt": "🐈"}
    open_hook().submit("image2video", asked)
    (post,) = kling_simulator.creates
    assert f"base64 of {len(content)} bytes" in post.body["image"]
    assert post.body["image"] == post.body["image_tail"]
    assert post.body["prompt"] == "🐈"
    assert "transfer-encoding" not in post.headers


def test_a_submit_that_is_signed_anew_sends_the_same_bytes(signed, open_hook, large_picture):
    signed.expire_token_once()
    open_hook().submit("image2video", {"image": str(large_picture)})
    first, second = signed.seen("POST")
    assert (first.status, second.status) == (401, 200)
    assert first.raw == second.raw
    assert len(first.raw) > large_picture.stat().st_size * 4 / 3


# --- an upload that breaks ----------------------------------------------------------------------------


class CuttingServer:
    """Resets its first ``cuts`` connections in the middle of the upload, and answers the later ones."""

    ANSWER = b'{"code":0,"message":"","request_id":"r","data":{"task_id":"7","task_status":"submitted"}}'

    def __init__(self, cuts: int) -> None:
        self.cuts, self.heard, self.methods = cuts, [], []
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen()
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                with sock, suppress(OSError):
                    self._hear(sock)

    def _hear(self, sock: socket.socket) -> None:
        head, _, body = self._more(sock, b"\r\n\r\n").partition(b"\r\n\r\n")
        self.methods.append(head.split()[0].decode())
        (length,) = [
            int(line[15:]) for line in head.lower().split(b"\r\n") if line[:15] == b"content-length:"
        ]
        if len(self.methods) <= self.cuts:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return
        while len(body) < length:
            body += sock.recv(2**20)
        self.heard.append(body)
        answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(self.ANSWER)
        sock.sendall(answer + self.ANSWER)

    @staticmethod
    def _more(sock: socket.socket, end: bytes) -> bytes:
        got = b""
        while end not in got:
            got += sock.recv(4096)
        return got

    def close(self) -> None:
        self._listener.close()


@pytest.fixture(params=["official", "dmxapi"])
def cutting(request: pytest.FixtureRequest, connect: Any) -> Iterator[Any]:
    servers = []

    def make(cuts: int) -> CuttingServer:
        servers.append(CuttingServer(cuts))
        connect(servers[-1].url, "key", gateway=request.param)
        return servers[-1]

    yield make
    for server in servers:
        server.close()


@pytest.fixture(scope="module")
def large_picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """10 MB: more than sockets hold back."""
    path = tmp_path_factory.mktemp("pictures") / "noise.png"
    pixels = random.Random(0).randbytes(1800 * 1900 * 3)
    Image.frombytes("RGB", (1800, 1900), pixels).save(path, compress_level=0)
    return path


def test_an_upload_that_breaks_was_not_sent_and_goes_out_again_without_a_look_up(
    cutting, open_hook, large_picture
):
    server = cutting(cuts=1)
    task = open_hook().submit("image2video", {"image": str(large_picture)}, external_task_id="mine-1")
    assert task.task_id == "7"
    assert server.methods == ["POST", "POST"]
    (body,) = server.heard
    assert json.loads(body)["image"] == base64.b64encode(large_picture.read_bytes()).decode()


def test_an_upload_that_breaks_twice_is_no_unclear_submit(cutting, open_hook, large_picture):
    server = cutting(cuts=9)
    with pytest.raises(KlingServerError, match="the request did not get through") as caught:
        open_hook().submit("image2video", {"image": str(large_picture)}, external_task_id="mine-1")
    assert type(caught.value) is KlingServerError
    assert server.methods == ["POST", "POST"]


def test_a_small_submit_that_is_cut_off_stays_unclear(reseller, open_hook):
    reseller.fail_next("POST", "/", "cut")
    with pytest.raises(KlingSubmissionUnknownError):
        open_hook().submit("image2video", REQUEST)
    assert len(reseller.requests) == 1


# --- memory -------------------------------------------------------------------------------------------

MEASURE = """
import asyncio, sys, tracemalloc
from kling_provider.hooks.kling import KlingAsyncHook, KlingHook

kind, source = sys.argv[1:]
picture = open(source, "rb").read() if kind.endswith("bytes") else source

def submit(image):
    if kind.startswith("sync"):
        KlingHook().submit("image2video", {"image": image})
        return
    async def run():
        async with KlingAsyncHook() as hook:
            await hook.submit("image2video", {"image": image})
    asyncio.run(run())

submit("https://example.com/a.png")  # imports are not what is measured
tracemalloc.start()
submit(picture)
print(tracemalloc.get_traced_memory()[1])
"""


@pytest.mark.parametrize("given_as", ["path", "uri", "bytes"])
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_submit_needs_little_more_memory_than_its_picture(kind, given_as, official, large_picture):
    source = f"file://{large_picture}" if given_as == "uri" else str(large_picture)
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, f"{kind} {given_as}", source],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    peak, size = int(done.stdout.split()[-1]), large_picture.stat().st_size
    assert len(official.ledger) == 2
    # Built as one text, a body took 5 times the picture, and 4 times where the caller held the bytes.
    assert peak < 1.6 * size, f"{peak / size:.2f} times the picture"
