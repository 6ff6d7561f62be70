"""A client of the simulator, and a web server on loopback."""

from __future__ import annotations

import base64
import functools
import io
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import requests
from PIL import Image

from kling_provider.simulator import art
from kling_provider.simulator.film import Film
from kling_provider.simulator.server import SimulatorServer
from kling_provider.simulator.tasks import SimTask

#: Seconds until something has gone wrong. Making a film takes one, or ten where others use the machine.
PATIENCE = 60


@functools.cache
def png(size: tuple[int, int] = (640, 360), seed: str = "a picture") -> bytes:
    return encoded(art.pattern(seed, size))


def encoded(picture: Image.Image, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind)
    return buffer.getvalue()


def until(condition: Callable[[], Any]) -> Any:
    """Ask often until something true comes back."""
    deadline = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.005)
    return value


class Client:
    """What a client of Kling does, in one line each."""

    CREATE = {"official": "/v1/videos/{}", "dmxapi": "/kling/v1/videos/{}"}
    QUERY = {"official": "/v1/videos/{}/{}", "dmxapi": "/kling/v1/videos/generations/{1}"}

    def __init__(self, server: SimulatorServer):
        self.server = server
        self.token: str | None = server.api_key
        self.picture = base64.b64encode(png()).decode()
        self.session = requests.Session()
        self.session.trust_env = False  # a REQUESTS_CA_BUNDLE would win over our certificate

    def ask(self, method: str, path: str, **options: Any) -> requests.Response:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        options = {"timeout": PATIENCE, "allow_redirects": False, "headers": headers, **options}
        return self.session.request(method, self.server.url + path, **options)

    def create(
        self, endpoint: str = "image2video", gateway: str = "official", **fields: Any
    ) -> requests.Response:
        body = {"model_name": "kling-v1-6", **fields}
        if endpoint == "image2video" and not {"image", "image_tail"} & fields.keys():
            body["image"] = self.picture
        return self.ask("POST", self.CREATE[gateway].format(endpoint), json=body)

    def book(self, endpoint: str = "image2video", gateway: str = "official", **fields: Any) -> str:
        answer = self.create(endpoint, gateway, **fields)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["data"]["task_id"])

    def query(self, name: str, endpoint: str = "image2video", gateway: str = "official") -> requests.Response:
        return self.ask("GET", self.QUERY[gateway].format(endpoint, name))

    def task(self, name: str, endpoint: str = "image2video", gateway: str = "official") -> dict[str, Any]:
        answer = self.query(name, endpoint, gateway)
        assert answer.status_code == 200, answer.text
        data: dict[str, Any] = answer.json()["data"]
        return data

    def finished(self, name: str, endpoint: str = "image2video", gateway: str = "official") -> dict[str, Any]:
        def over() -> dict[str, Any] | None:
            task = self.task(name, endpoint, gateway)
            return task if task["task_status"] in ("succeed", "failed") else None

        return dict(until(over))

    def video_url(self, **fields: Any) -> str:
        """Book, finish at once, and give the result's address."""
        name = self.book(**fields)
        self.server.finish(name)
        return str(self.task(name)["task_result"]["videos"][0]["url"])

    def listed(self, page: int = 1, size: int = 30, endpoint: str = "image2video") -> list[dict[str, Any]]:
        answer = self.ask("GET", f"/v1/videos/{endpoint}", params={"pageNum": page, "pageSize": size})
        assert answer.status_code == 200, answer.text
        return list(answer.json()["data"])


def film_of(task: SimTask) -> Film:
    """What the first video of a task shows."""
    film = task.results[0].planned.files[".mp4"]
    assert isinstance(film, Film)
    return film


def refused(answer: requests.Response, status: int, code: int, text: str = "") -> None:
    body = answer.json()
    assert (answer.status_code, body["code"]) == (status, code), answer.text
    assert text in body["message"]
    assert body["request_id"]
    assert "data" not in body


class Receiver:
    """A web server on loopback that remembers what is posted, and serves one picture and some files."""

    def __init__(self) -> None:
        self.posts: list[bytes] = []
        self.files = {"/cat.png": png((360, 640))}
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                receiver.posts.append(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def do_GET(self) -> None:
                content = receiver.files.get(self.path, b"not a picture")
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
