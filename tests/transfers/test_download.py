from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

import pytest

from kling_provider.exceptions import KlingBadRequestError, KlingServerError
from kling_provider.hooks.config import KlingConfig, read_connection
from kling_provider.transfers import addresses, download, paced
from kling_provider.transfers.download import Download
from tests.hooks.talking import Listener, Proxy, free_port
from tests.test_security import PRIVATE_PLACES
from tests.transfers.serving import ETAG, video

KEY = "sk-never-to-be-sent"


def config(host: str = "http://127.0.0.1:1", **extra: Any) -> KlingConfig:
    conn = SimpleNamespace(host=host, port=None, schema=None, login="", password=KEY)
    return read_connection("kling_default", conn, extra)


def no_refresh() -> str:
    raise AssertionError("nobody should have asked for a fresh URL")


def fetch(
    url: str,
    *,
    refresh: Callable[[], str] = no_refresh,
    max_bytes: int = 10**9,
    conn: KlingConfig | None = None,
) -> bytes:
    file = io.BytesIO()
    length = Download(conn or config(), url, refresh, max_bytes).into(file)
    assert length == len(file.getvalue())
    return file.getvalue()


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "CHUNK_BYTES", 256)


def test_a_file_is_fetched_whole_in_one_request(host):
    assert fetch(f"{host.url}/a.mp4?x=%20y&z#fragment") == host.content
    assert host.paths == ["/a.mp4?x=%20y&z"]
    assert host.ranges_asked == [None]


def test_no_credentials_are_ever_sent(host, monkeypatch, tmp_path):
    netrc = tmp_path / "netrc"
    netrc.write_text("default login somebody password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    host.script = [{"status": 302, "headers": {"Location": "/next"}}, {"cut": 10}]
    fetch(host.url.replace("http://", "http://user:pass@") + "/a.mp4")
    assert len(host.headers) == 3
    for headers in host.headers:
        assert set(headers) <= {"host", "accept-encoding", "user-agent", "range", "if-range"}
        assert headers["accept-encoding"] == "identity"
        assert headers["host"] == host.url.removeprefix("http://")


@pytest.mark.usefixtures("small_chunks")
def test_a_cut_transfer_goes_on_where_it_stopped(host):
    host.script = [{"cut": 1000}, {"cut": 500}]
    assert fetch(f"{host.url}/a") == host.content
    first, second, third = host.ranges_asked
    assert first is None
    assert second == "bytes=768-"
    assert third == f"bytes={768 + 256}-"
    assert [headers.get("if-range") for headers in host.headers] == [None, ETAG, ETAG]


@pytest.mark.usefixtures("small_chunks")
def test_a_file_that_changed_meanwhile_is_fetched_anew(host):
    other = video(seed=b"other")
    host.script = [{"cut": 1000}, {"etag": '"version-2"', "body": other}]
    assert fetch(f"{host.url}/a") == other


@pytest.mark.usefixtures("small_chunks")
def test_without_etag_the_rest_is_asked_for_without_condition(host):
    host.etag = None
    host.script = [{"cut": 1000}]
    assert fetch(f"{host.url}/a") == host.content
    assert "if-range" not in host.headers[1]


@pytest.mark.usefixtures("small_chunks")
def test_a_host_that_cannot_resume_starts_over(host):
    host.ranges = False
    host.script = [{"cut": 1000}, {"cut": 2000}]
    assert fetch(f"{host.url}/a") == host.content
    assert len(host.paths) == 3


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize(
    "answer",
    [
        {"status": 416},
        {"status": 206, "headers": {"Content-Range": "bytes 0-9/4132"}, "body": b"0123456789"},
        {"status": 206, "headers": {"Content-Range": "nonsense"}, "body": b"0123456789"},
        {"status": 206, "body": b"0123456789"},
    ],
)
def test_a_host_that_resumes_at_another_place_starts_over(host, answer):
    host.script = [{"cut": 1000}, answer]
    assert fetch(f"{host.url}/a") == host.content
    assert host.ranges_asked == [None, "bytes=768-", None]


@pytest.mark.usefixtures("small_chunks")
def test_a_resumed_part_that_ends_early_is_noticed(host):
    whole = len(host.content)
    part = {"status": 206, "headers": {"Content-Range": f"bytes 768-{whole - 1}/{whole}"}, "body": b"x" * 99}
    host.script = [{"cut": 1000}, part]
    host.content = bytes(768 + 99) + host.content[768 + 99 :]
    assert len(fetch(f"{host.url}/a")) == whole


@pytest.mark.parametrize("how", [{"cut": 100}, {"length": 9999}, {"chunked": True, "cut": 100}])
def test_a_body_shorter_than_promised_is_fetched_again(host, how):
    host.script = [how]
    assert fetch(f"{host.url}/a") == host.content
    assert len(host.paths) == 2


def test_a_chunked_body_and_one_without_length_are_fine(host):
    host.script = [{"chunked": True}, {"length": None}]
    assert fetch(f"{host.url}/a") == host.content
    assert fetch(f"{host.url}/a") == host.content
    assert len(host.paths) == 2


def test_a_transfer_that_is_always_cut_is_given_up_and_can_be_retried(host):
    host.script = [{"cut": 100}] * 99
    with pytest.raises(KlingServerError, match="6 times in a row") as caught:
        fetch(f"{host.url}/a")
    assert "cut off" in str(caught.value)
    assert "submits nothing" in str(caught.value)
    assert len(host.paths) == download.ATTEMPTS == 6


@pytest.mark.parametrize("status", [500, 503, 429, 402, 204])
def test_another_status_is_tried_again_and_then_told(host, status):
    host.script = [{"status": status, "body": b""}]
    assert fetch(f"{host.url}/a") == host.content
    host.script = [{"status": status, "body": b""}] * 9
    with pytest.raises(KlingServerError, match=f"HTTP {status}"):
        fetch(f"{host.url}/a")


def test_a_host_that_refuses_connections_is_given_up():
    with pytest.raises(KlingServerError, match=r"(?i)refused"):
        fetch(f"http://127.0.0.1:{free_port()}/a")


def test_a_host_that_never_answers_is_given_up(monkeypatch):
    monkeypatch.setattr(download, "ATTEMPTS", 2)
    with Listener() as silent, pytest.raises(KlingServerError, match=r"(?i)timed out|timeout"):
        fetch(f"{silent.url}/a", conn=config(timeout=0.1))
    assert silent.has_heard(2)


def drip(count: int, pause: float) -> Callable[[Any, bytes], None]:
    """Send a little at a time, so that no single wait is long."""

    def send(wfile: Any, body: bytes) -> None:
        for begin in range(0, len(body), count):
            wfile.write(body[begin : begin + count])
            wfile.flush()
            time.sleep(pause)

    return send


@pytest.mark.parametrize("how", [{}, {"length": None}, {"chunked": True}])
def test_a_host_that_sends_next_to_nothing_is_given_up(host, monkeypatch, how):
    """The read timeout begins anew with each byte: a worker would be held for days."""
    monkeypatch.setattr(download, "ATTEMPTS", 2)
    monkeypatch.setattr(paced, "PACE_SECONDS", 0.3)
    host.script = [{"send": drip(1, 0.05), **how}] * 2
    with pytest.raises(KlingServerError, match=r"cut off: \d+ bytes came in \d+ s"):
        fetch(f"{host.url}/a")
    assert len(host.paths) == 2


def test_headers_that_trickle_in_are_given_up_too(host, monkeypatch):
    monkeypatch.setattr(download, "ATTEMPTS", 1)
    monkeypatch.setattr(paced, "PACE_SECONDS", 0.3)
    host.script = [{"before_headers": drip(1, 0.05)}]
    with pytest.raises(KlingServerError, match="bytes came in"):
        fetch(f"{host.url}/a")


class Slow(io.RawIOBase):
    """A socket that takes ``pauses`` in turn, in seconds of its own clock, to bring so many bytes each."""

    def __init__(self, pauses: Iterable[float], count: int = 256) -> None:
        self.now = 0.0
        self._pauses, self._count = iter(pauses), count

    def readinto(self, buffer: Any) -> int:
        for pause in self._pauses:
            self.now += pause
            buffer[: self._count] = b"x" * self._count
            return self._count
        return 0

    def monotonic(self) -> float:
        return self.now

    def read_by(self, monkeypatch: pytest.MonkeyPatch, disk_seconds: float = 0.0) -> int:
        """Read everything, at a disk that takes its time."""
        monkeypatch.setattr(paced, "time", self)
        came, pacing = 0, paced._Paced(self)
        while count := pacing.readinto(bytearray(1024)):
            came += count
            self.now += disk_seconds
        return came


@pytest.mark.parametrize(
    ("pauses", "disk_seconds"),
    [([0.2] * 1000, 0), ([3600, 0.1, 0.1], 0), ([0.01] * 1000, 10)],
    ids=["slow, but goes on", "begins late", "the disk takes the time"],
)
def test_a_host_is_waited_for_as_long_as_enough_comes(
    monkeypatch: pytest.MonkeyPatch, pauses: list[float], disk_seconds: float
) -> None:
    assert Slow(pauses).read_by(monkeypatch, disk_seconds) == len(pauses) * 256


@pytest.mark.parametrize("pauses", [[0.3] * 1000, [0.1] * 1000 + [50] * 9])
def test_a_host_is_given_up_once_too_little_has_come_in_a_minute(
    monkeypatch: pytest.MonkeyPatch, pauses: list[float]
) -> None:
    slow = Slow(pauses)
    with pytest.raises(paced.TooSlow):
        slow.read_by(monkeypatch)
    assert slow.now < 61 if pauses[-1] < 1 else slow.now > 200


# --- fresh URLs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_an_expired_url_is_replaced_by_a_fresh_one(host, status):
    host.script = [{"status": status}]
    assert fetch(f"{host.url}/old", refresh=lambda: f"{host.url}/fresh") == host.content
    assert host.paths == ["/old", "/fresh"]


@pytest.mark.usefixtures("small_chunks")
def test_a_url_that_expires_halfway_is_replaced_and_the_file_starts_over(host):
    host.script = [{"cut": 1000}, {"status": 403}]
    assert fetch(f"{host.url}/old", refresh=lambda: f"{host.url}/fresh") == host.content
    assert host.paths == ["/old", "/old", "/fresh"]
    assert host.ranges_asked == [None, "bytes=768-", None]


def test_kling_is_asked_twice_at_most_for_a_fresh_url(host):
    asked: list[int] = []

    def refresh() -> str:
        asked.append(1)
        return f"{host.url}/fresh"

    host.script = [{"status": 403}] * 99
    with pytest.raises(KlingServerError, match="HTTP 403") as caught:
        fetch(f"{host.url}/old", refresh=refresh)
    assert caught.value.http_status == 403
    assert len(asked) == 2


# --- limits -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [{}, {"chunked": True}, {"length": None}])
def test_never_more_than_max_bytes(host, how):
    host.script = [how, how]
    assert len(fetch(f"{host.url}/a", max_bytes=len(host.content))) == len(host.content)
    with pytest.raises(
        KlingBadRequestError, match=f"larger than max_bytes={len(host.content) - 1}; nothing was"
    ):
        fetch(f"{host.url}/a", max_bytes=len(host.content) - 1)
    assert len(host.paths) == 2


@pytest.mark.usefixtures("small_chunks")
def test_max_bytes_counts_the_file_and_not_what_was_fetched_twice(host):
    """A host without Range starts over after each cut."""
    host.ranges = False
    host.script = [{"cut": 3000}, {"cut": 3000}]
    assert len(fetch(f"{host.url}/a", max_bytes=len(host.content))) == len(host.content)


@pytest.mark.usefixtures("small_chunks")
def test_a_promised_length_beyond_max_bytes_is_not_waited_for(host):
    host.script = [{"length": 10**12, "before": lambda: threading.Event().wait(5)}]
    with pytest.raises(KlingBadRequestError, match="max_bytes"):
        fetch(f"{host.url}/a", max_bytes=10**6)


# --- redirects ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("location", ["/moved?a=b", "moved?a=b", "{url}/moved?a=b"])
def test_a_redirect_is_followed(host, status, location):
    host.script = [{"status": status, "headers": {"Location": location.format(url=host.url)}}]
    assert fetch(f"{host.url}/a") == host.content
    assert host.paths == ["/a", "/moved?a=b"]


def test_five_redirects_are_followed_and_six_are_not(host):
    host.script = [{"status": 302, "headers": {"Location": f"/{hop}"}} for hop in range(5)]
    assert fetch(f"{host.url}/a") == host.content
    host.script = [{"status": 302, "headers": {"Location": f"/{hop}"}} for hop in range(6)]
    host.paths.clear()
    with pytest.raises(KlingBadRequestError, match="more than 5 times"):
        fetch(f"{host.url}/a")
    assert len(host.paths) == 6


@pytest.mark.parametrize(
    "location",
    [
        "https://10.0.0.1/a",
        "http://169.254.169.254/latest/",
        "https://[fd00::1]/a",
        "file:///etc/passwd",
        "//10.1.1.1/a",
    ],
)
def test_a_redirect_to_a_private_place_is_refused(host, location):
    host.script = [{"status": 302, "headers": {"Location": location}}]
    with pytest.raises(KlingBadRequestError, match="not fetched"):
        fetch(f"{host.url}/a")
    assert len(host.paths) == 1


def test_a_redirect_to_no_address_is_refused(host):
    host.script = [{"status": 302, "headers": {"Location": "https://[::1?signature=secret"}}]
    with pytest.raises(KlingBadRequestError, match=r"redirects to 'https://.*no web address") as caught:
        fetch(f"{host.url}/a")
    assert "secret" not in str(caught.value)
    assert len(host.paths) == 1


def test_every_hop_is_resolved_and_checked(host, monkeypatch):
    checked: list[str] = []
    real = download.check_target

    def check(url: str, **options: Any) -> Any:
        checked.append(url)
        return real(url, **options)

    monkeypatch.setattr(download, "check_target", check)
    host.script = [
        {"status": 302, "headers": {"Location": "/1"}},
        {"status": 302, "headers": {"Location": "/2"}},
    ]
    fetch(f"{host.url}/a")
    assert checked == [f"{host.url}/a", f"{host.url}/1", f"{host.url}/2"]


def test_the_checked_address_is_the_one_connected_to(host, monkeypatch):
    """A name that leads elsewhere the second time cannot slip through."""
    answers = [["127.0.0.1"], ["10.0.0.1"]]
    monkeypatch.setattr(addresses, "_resolve", lambda *_: answers.pop(0))
    port = host.url.rpartition(":")[2]
    assert fetch(f"http://rebinding.example.com:{port}/a") == host.content
    assert host.headers[0]["host"] == f"rebinding.example.com:{port}"
    assert answers == [["10.0.0.1"]]


def test_an_address_that_does_not_answer_is_followed_by_the_next(host, monkeypatch):
    """As requests and aiohttp do; most often the first is IPv6, and this machine has no way there."""
    asked: list[str] = []

    def resolve(name: str, port: int) -> list[str]:
        asked.append(name)
        return ["127.0.0.3", "127.0.0.2", "127.0.0.1"]  # the host listens on the last one only

    monkeypatch.setattr(addresses, "_resolve", resolve)
    monkeypatch.setattr(download, "ATTEMPTS", 1)
    port = host.url.rpartition(":")[2]
    assert fetch(f"http://cdn.example.com:{port}/a") == host.content
    assert asked == ["cdn.example.com"]
    assert len(host.paths) == 1


def test_every_address_is_checked_before_any_is_used(host, monkeypatch):
    monkeypatch.setattr(addresses, "_resolve", lambda *_: ["127.0.0.1", "10.0.0.1"])
    port = host.url.rpartition(":")[2]
    with pytest.raises(KlingBadRequestError, match="is not fetched"):
        fetch(f"http://cdn.example.com:{port}/a")
    assert host.paths == []


def test_what_one_address_answers_is_not_asked_of_another(host, monkeypatch):
    monkeypatch.setattr(addresses, "_resolve", lambda *_: ["127.0.0.1", "127.0.0.2"])
    monkeypatch.setattr(download, "ATTEMPTS", 1)
    host.script = [{"status": 503}]
    with pytest.raises(KlingServerError, match="HTTP 503"):
        fetch(f"http://cdn.example.com:{host.url.rpartition(':')[2]}/a")
    assert len(host.paths) == 1


def test_a_host_none_of_whose_addresses_answers_is_given_up(monkeypatch):
    monkeypatch.setattr(addresses, "_resolve", lambda *_: ["127.0.0.1", "127.0.0.2"])
    monkeypatch.setattr(download, "ATTEMPTS", 1)
    with pytest.raises(KlingServerError, match=r"(?i)refused"):
        fetch(f"http://cdn.example.com:{free_port()}/a")


# --- what the connection allows ----------------------------------------------------------------------


def test_loopback_is_refused_to_a_connection_that_leads_elsewhere(host):
    with pytest.raises(KlingBadRequestError, match="is not https"):
        fetch(f"{host.url}/a", conn=config("https://api.example.com", trust_env=False))
    assert host.paths == []


def test_result_hosts_of_the_connection_are_allowed(host):
    conn = config("https://api.example.com", result_hosts="127.0.0.1", trust_env=False)
    assert fetch(f"{host.url}/a", conn=conn) == host.content


def test_a_proxy_of_the_connection_is_used_and_gets_its_own_credentials(host, proxy: Proxy):
    with_login = proxy.url.replace("http://", "http://me:secret@")
    conn = config("https://api.example.com", result_hosts="127.0.0.1", proxy=with_login)
    assert fetch(f"{host.url}/a", conn=conn) == host.content
    assert proxy.forwarded == [f"GET {host.url}/a"]
    assert proxy.headers[0]["proxy-authorization"].startswith("Basic ")
    assert "authorization" not in proxy.headers[0]


@pytest.mark.parametrize(
    "url",
    [
        "http://cdn.example.com/a",
        "https://localhost/",
        "https://localhost./",
        "https://x.localhost/",
        "https://[::1]/",
        "https://127.1/",
        "https://010.0.0.1/",
        "https://08.0.0.1@192.168.1.08/",
        "https://\N{FULLWIDTH DIGIT ONE}27.0.0.1/",
        "https://127\N{IDEOGRAPHIC FULL STOP}0.0.1/",
        "https://169.254.169.254./",
        "https://2852039166./",
        r"https://169.254.169.254\@cdn.example.com/",
        *PRIVATE_PLACES,
    ],
)
def test_a_proxy_is_no_way_around_the_check_of_an_address(proxy: Proxy, url):
    with pytest.raises(KlingBadRequestError, match="not fetched"):
        fetch(url, conn=config("https://api.example.com", proxy=proxy.url))
    assert proxy.forwarded == []


def test_a_name_is_left_to_the_proxy(proxy: Proxy, monkeypatch):
    monkeypatch.setattr(download, "ATTEMPTS", 1)
    for host in (
        "cdn.example.com",
        "8.8.8.8",
        "xn--bcher-kva.example",
        "b\N{LATIN SMALL LETTER U WITH DIAERESIS}ch.example",
    ):
        with pytest.raises(KlingServerError, match="Tunnel connection failed"):
            fetch(f"https://{host}/a", conn=config("https://api.example.com", proxy=proxy.url))


@pytest.mark.parametrize("url", ["https://[::1/a", "https://cdn.example.com:x/a"])
def test_an_address_that_cannot_be_read_is_told_behind_a_proxy_too(proxy: Proxy, url):
    with pytest.raises(KlingBadRequestError, match="no web address"):
        fetch(url, conn=config("https://api.example.com", proxy=proxy.url))


def test_an_api_on_loopback_needs_no_proxy_for_its_results(host, proxy: Proxy):
    assert fetch(f"{host.url}/a", conn=config(proxy=proxy.url)) == host.content
    assert proxy.forwarded == []


def test_the_certificate_of_the_host_is_checked_as_the_connection_says(monkeypatch):
    import certifi

    from kling_provider.simulator.server import SimulatorServer

    monkeypatch.setattr(download, "ATTEMPTS", 1)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", certifi.where())
    with SimulatorServer(tls=True) as server:
        path = f"{server.url}/nothing-here"
        monkeypatch.setattr(download, "EXPIRED", ())
        with pytest.raises(KlingServerError, match="CERTIFICATE_VERIFY_FAILED"):
            fetch(path, conn=config(server.url))
        for extra in ({"verify": server.certificate}, {"verify": False}, {"verify_ssl": "false"}):
            with pytest.raises(KlingServerError, match="HTTP 404"):
                fetch(path, conn=config(server.url, **extra))
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(server.certificate))
        with pytest.raises(KlingServerError, match="HTTP 404"):
            fetch(path, conn=config(server.url))
        with pytest.raises(KlingServerError, match="CERTIFICATE_VERIFY_FAILED"):
            fetch(path, conn=config(server.url, trust_env=False))


def test_a_certificate_of_another_name_is_refused(monkeypatch):
    from kling_provider.simulator.server import SimulatorServer

    monkeypatch.setattr(download, "ATTEMPTS", 1)
    monkeypatch.setattr(addresses, "_resolve", lambda *_: ["127.0.0.1"])
    with SimulatorServer(tls=True) as server:
        url = server.url.replace("127.0.0.1", "other.example.com")
        with pytest.raises(KlingServerError, match=r"(?i)hostname|other.example.com"):
            fetch(f"{url}/a", conn=config(server.url, verify=server.certificate))
        assert server.requests == []
