"""What somebody hostile may try, one test each: it is refused, or harmless."""

from __future__ import annotations

import gzip
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from kling_provider.api import replies
from kling_provider.api.tasks import KlingTask, KlingVideo
from kling_provider.exceptions import KlingBadRequestError, KlingUnreadableResponseError
from kling_provider.links.kling import KlingConsoleLink, KlingVideoLink
from kling_provider.operators.kling import KlingImageToVideoOperator, KlingTextToVideoOperator
from kling_provider.simulator.server import SimulatorServer
from kling_provider.transfers import addresses
from kling_provider.transfers.kling_to_object_storage import KlingToObjectStorageOperator
from tests.contexts import context_of
from tests.hooks.conftest import connect, open_hook, retries  # noqa: F401 - fixtures
from tests.hooks.talking import Listener
from tests.transfers.serving import FileHost, video

SCRIPT = "<script>alert(document.cookie)</script>{{ '{{' }} 7*7 }}"


def finished(url: str, task_id: str = "t-1") -> dict[str, Any]:
    return KlingTask(task_id, "image2video", "succeed", videos=(KlingVideo("v-1", url, 5.0),)).to_dict()


def store(task: Any, destination: Any, **options: Any) -> Any:
    return KlingToObjectStorageOperator(
        task_id="store", task=task, destination=str(destination), **options
    ).execute({})


@pytest.fixture
def host() -> Iterator[FileHost]:
    host = FileHost(video())
    yield host
    threading.Thread(target=host.close, daemon=True).start()


def test_a_script_in_a_prompt_stays_text(kling_simulator: SimulatorServer, kling_connection: str) -> None:
    operator = KlingTextToVideoOperator(
        task_id="video", prompt=SCRIPT, wait_for_completion=True, deferrable=False, poke_interval=1
    )
    context = context_of(operator)
    result = operator.execute(context)
    (sent,) = kling_simulator.creates
    assert sent.body["prompt"] == SCRIPT  # to Kling as it was written, rendered by nobody
    for told in (result, context["ti"].pushed):
        assert "<script>" not in json.dumps(told)
    for link in operator.operator_extra_links:
        assert "<script>" not in link.get_link(operator, ti_key=None)


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "JavaScript:alert(1)//https://kling.ai",
        " javascript:alert(1)",
        "data:text/html,<script>alert(1)</script>",
        "file:///etc/passwd",
        "vbscript:x",
        "",
    ],
)
def test_a_result_that_is_a_script_is_no_link_and_is_not_stored(
    url: str, kling_connection: str, tmp_path: Path
) -> None:
    operator = KlingTextToVideoOperator(task_id="video", prompt="a boat")
    operator.finished_video_url = url
    assert KlingVideoLink().get_link(operator, ti_key=None) == ""  # type: ignore[arg-type]
    with pytest.raises(KlingBadRequestError):
        store(finished(url), tmp_path / "out")
    assert not list(tmp_path.rglob("*.mp4"))


@pytest.mark.parametrize(
    ("destination", "filename"),
    [
        ("{folder}/../elsewhere", "a.mp4"),
        ("file://{folder}/a/../../elsewhere", "a.mp4"),
        ("{folder}", "../a.mp4"),
        ("{folder}", "a/../../b.mp4"),
        ("{folder}", "/etc/cron.d/{{task_id}}"),
        ("memory://bucket/../other", "a.mp4"),
    ],
)
def test_a_destination_that_leads_out_is_refused_before_anything_is_fetched(
    destination: str, filename: str, host: FileHost, kling_connection: str, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    with pytest.raises(KlingBadRequestError, match="leads out of its folder"):
        store(
            finished(f"{host.url}/a.mp4"),
            destination.format(folder=folder),
            filename=filename.replace("{{", "{").replace("}}", "}"),
        )
    assert host.paths == []
    assert list(tmp_path.rglob("*")) == []


def test_ids_that_are_paths_stay_in_the_folder(host: FileHost, kling_connection: str, tmp_path: Path) -> None:
    (entry,) = store(finished(f"{host.url}/a.mp4", task_id="../../etc/passwd"), tmp_path / "out")
    (stored,) = (path for path in tmp_path.rglob("*") if path.is_file())
    assert stored.parent == tmp_path / "out"
    assert entry["uri"].endswith(stored.name)


# --- too much -----------------------------------------------------------------------------------------


class Endless:
    """Answers every request with a body that does not end, and counts what it could get rid of."""

    def __init__(self, head: bytes, chunk: bytes):
        self.sent = 0
        self._head, self._chunk = head, chunk
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                with suppress(OSError), sock:
                    sock.recv(65536)
                    sock.sendall(self._head)
                    while True:
                        sock.sendall(self._chunk)
                        self.sent += len(self._chunk)

    def close(self) -> None:
        self._listener.close()


PACKED_MEGABYTES = 64


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.usefixtures("retries")
def test_three_gigabytes_for_an_answer_are_not_read(
    packed: bool,
    connect: Callable[..., None],  # noqa: F811
    open_hook: Callable[..., Any],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(replies, "MAX_ANSWER_BYTES", 1024**2)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 3221225472\r\n"
    bomb = gzip.compress(bytes(PACKED_MEGABYTES * 1024**2))
    server = Endless(
        head + (b"Content-Encoding: gzip\r\n\r\n" if packed else b"\r\n"), bomb if packed else b" " * 65536
    )
    connect(server.url, "key", timeout=5)
    try:
        with pytest.raises(KlingUnreadableResponseError, match="more than 1 MiB where Kling's JSON was due"):
            open_hook(attempts=1).get_task("1")
    finally:
        server.close()
    assert server.sent < 64 * 1024**2


def test_an_answer_may_be_as_large_as_kling_s_are(
    connect: Callable[..., None],  # noqa: F811
    open_hook: Callable[..., Any],  # noqa: F811
) -> None:
    data = {"task_id": "1", "task_status": "processing", "note": "x" * (8 * 1024**2)}
    body = json.dumps({"code": 0, "data": data}).encode()
    answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    with Listener(answer) as server:
        connect(server.url, "key")
        assert open_hook(attempts=1).get_task("1").status == "processing"


def test_three_gigabytes_for_a_video_are_not_fetched(
    host: FileHost, kling_connection: str, tmp_path: Path
) -> None:
    host.script = [{"length": 3 * 1024**3}]
    with pytest.raises(KlingBadRequestError, match="larger than max_bytes=1000000"):
        store(finished(f"{host.url}/a.mp4"), tmp_path / "out", max_bytes=10**6)
    assert not list(tmp_path.rglob("*.mp4"))


# --- elsewhere ----------------------------------------------------------------------------------------


#: However it is written; a proxy reads all of these as we do.
PRIVATE_PLACES = [
    "http://169.254.169.254/latest/meta-data/",
    "https://169.254.169.254/latest/meta-data/",
    "https://[::ffff:169.254.169.254]/",
    "https://[::ffff:a9fe:a9fe]/",
    "https://[64:ff9b::a9fe:a9fe]/",
    "https://2852039166/",
    "https://0xa9fea9fe/",
    "https://0251.0376.0251.0376/",
    "https://169.16689662/",
    "https://10.0.0.5/",
]


@pytest.mark.parametrize("location", [*PRIVATE_PLACES, "https://metadata.example/"])
def test_a_redirect_to_a_private_host_is_not_followed(
    location: str, host: FileHost, kling_connection: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = addresses._resolve

    def resolve(name: str, port: int) -> list[str]:
        return ["169.254.169.254"] if name == "metadata.example" else real(name, port)

    monkeypatch.setattr(addresses, "_resolve", resolve)
    host.script = [{"status": 302, "headers": {"Location": location}}]
    with pytest.raises(KlingBadRequestError, match="it is not fetched"):
        store(finished(f"{host.url}/a.mp4"), tmp_path / "out")
    assert host.paths == ["/a.mp4"]


def test_a_picture_outside_the_media_roots_never_leaves_this_machine(
    kling_simulator: SimulatorServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, picture: Path
) -> None:
    roots = tmp_path / "allowed"
    roots.mkdir()
    (roots / "link.png").symlink_to(picture)
    monkeypatch.setenv("AIRFLOW_CONN_KLING_DEFAULT", kling_simulator.connection_json(media_roots=str(roots)))
    for source in (str(picture), "/etc/passwd", f"{roots}/../picture.png", str(roots / "link.png")):
        operator = KlingImageToVideoOperator(task_id="video", image=source)
        with pytest.raises(KlingBadRequestError, match="media_roots"):
            operator.execute(context_of(operator))
    assert kling_simulator.creates == []


# --- the other link -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gateway", "extra", "console"),
    [
        ("official", {}, "https://kling.ai/dev"),
        ("official", {"region": "beijing"}, "https://klingai.com/dev"),
        ("dmxapi", {}, "https://www.dmxapi.cn"),
        ("custom", {}, ""),
    ],
)
def test_the_console_is_the_gateway_s_own_and_never_what_somebody_wrote(
    gateway: str, extra: dict[str, str], console: str, kling_simulator: SimulatorServer, monkeypatch: Any
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_KLING_DEFAULT", kling_simulator.connection_json(gateway, **extra))
    operator = KlingTextToVideoOperator(task_id="video", prompt="a boat")
    assert KlingConsoleLink().get_link(operator, ti_key=None) == console  # type: ignore[arg-type]


def test_a_connection_that_cannot_be_read_gives_no_console() -> None:
    operator = KlingTextToVideoOperator(task_id="video", prompt="a boat", kling_conn_id="kling_nowhere")
    assert KlingConsoleLink().get_link(operator, ti_key=None) == ""  # type: ignore[arg-type]
