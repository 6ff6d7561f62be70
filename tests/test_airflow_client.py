"""The client of the demo and the live tests, against an Airflow whose database is locked."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from scripts import airflow_client
from scripts.airflow_client import AirflowBusyError, AirflowClient


class Busy(ThreadingHTTPServer):
    """Answers with these codes in turn, then with 200."""

    codes: list[int]
    asked = 0


class Handler(BaseHTTPRequestHandler):
    server: Busy

    def do_POST(self) -> None:
        self.server.asked += 1
        self.send_response(self.server.codes.pop(0) if self.server.codes else 200)
        self.send_header("Content-Length", "14")
        self.end_headers()
        self.wfile.write(b'{"cleared": 1}')

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def busy() -> Iterator[Busy]:
    with Busy(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def clear(server: Busy) -> object:
    return AirflowClient(f"http://127.0.0.1:{server.server_port}").clear("dag", "run", ["task"])


def test_what_an_airflow_with_a_locked_database_refuses_is_asked_again(busy: Busy) -> None:
    busy.codes = [500, 503]
    assert clear(busy) == {"cleared": 1}
    assert busy.asked == 3


def test_an_airflow_that_stays_busy_is_given_up(busy: Busy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(airflow_client, "BUSY_SECONDS", 0)
    busy.codes = [500] * 20
    with pytest.raises(AirflowBusyError, match="clearTaskInstances -> 500"):
        clear(busy)
    assert busy.asked == 1


def test_what_is_not_found_is_not_asked_for_again(busy: Busy) -> None:
    busy.codes = [404]
    with pytest.raises(FileNotFoundError):
        clear(busy)
    assert busy.asked == 1
