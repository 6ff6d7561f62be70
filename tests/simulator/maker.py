"""Makes things through the API of the simulator, and opens the files it gives."""

from __future__ import annotations

import io
import wave
from collections.abc import Mapping
from typing import Any

import av
import requests
from PIL import Image

from kling_provider.api.decoding import decode_answer
from kling_provider.api.endpoints import ENDPOINTS, Endpoint
from kling_provider.api.places import change_each
from kling_provider.api.tasks import KlingTask
from tests.example_requests import EXAMPLES
from tests.simulator.simulator_client import PATIENCE, Client


class Maker:
    """Makes what a request names by id, through the API."""

    def __init__(self, client: Client):
        self.client = client

    def ready(self, row: Endpoint, request: Mapping[str, Any]) -> dict[str, Any]:
        """The request with ids of things that exist."""
        length = "10" if request.get("duration") == "10" else "5"
        makers = {
            ("video_id", "input.video_id"): lambda: self.video(length, has_sound=row.name == "custom-voices"),
            ("audio_id", "face_choose[].audio_id"): self.speech,
            ("element_list[].element_id", "contents[].element_id"): lambda: int(self.element()),
            ("element_id",): self.element,
            ("voice_id",): self.voice if row.name == "delete-voices" else lambda: "v-1",
        }
        body = dict(request)
        for paths, make in makers.items():
            body = change_each(body, paths, lambda _value, _label, make=make: make())
        if "session_id" in body:
            body |= self.session(row, length, body)
        return body

    def session(self, row: Endpoint, length: str, body: Mapping[str, Any]) -> dict[str, Any]:
        if row.name == "advanced-lip-sync":
            found = self.call("identify-face", video_id=self.video(length))
            faces = [
                {**choice, "face_id": found["face_data"][0]["face_id"]} for choice in body["face_choose"]
            ]
            return {"session_id": found["session_id"], "face_choose": faces}
        session = self.call("multi-elements/init-selection", video_id=self.video(length))["session_id"]
        if row.name == "multi-elements/delete-selection":
            marked = {name: body[name] for name in ("frame_index", "points")}
            self.call("multi-elements/add-selection", session_id=session, **marked)
        return {"session_id": session}

    def video(self, length: str = "5", *, has_sound: bool = False) -> str:
        model = (
            {"model_name": "kling-v2-6", "mode": "pro", "sound": "on"}
            if has_sound
            else {"model_name": "kling-v1-6"}
        )
        return self.made("text2video", prompt="a boat", duration=length, **model).videos[0].id

    def speech(self) -> str:
        text = "ship ahoy, and the wind is fair " * 2
        return str(
            self.call("tts", text=text, voice_id="v-1", voice_language="en")["task_result"]["audios"][0]["id"]
        )

    def element(self) -> str:
        request = EXAMPLES["advanced-custom-elements"]
        return str(self.made("advanced-custom-elements", **request).elements[0]["element_id"])

    def voice(self) -> str:
        return str(self.made("custom-voices", **EXAMPLES["custom-voices"]).voices[0]["voice_id"])

    def call(self, name: str, **request: Any) -> Any:
        return told(self.post(name, **request))

    def post(self, name: str, **request: Any) -> requests.Response:
        return self.client.ask("POST", ENDPOINTS[name].create_path, json=request)

    def made(self, name: str, **request: Any) -> KlingTask:
        """Create, finish at once, query in the endpoint's dialect and decode."""
        row = ENDPOINTS[name]
        booked = told(self.post(name, **request))
        is_new = row.dialect == "new"
        task_id = booked["id" if is_new else "task_id"]
        assert booked["status" if is_new else "task_status"] == "submitted"
        self.client.server.finish(task_id)
        if is_new:
            answer = self.client.ask("GET", "/tasks", params={"task_ids": task_id})
        else:
            answer = self.client.ask("GET", row.query_path(task_id))
        task = decode_answer(row, told(answer), "r")
        assert task.is_successful
        assert task.task_id == task_id
        return task


def told(answer: requests.Response) -> Any:
    assert answer.status_code == 200, answer.text
    assert answer.json()["code"] == 0
    return answer.json()["data"]


def opened(url: str) -> tuple[float | None, Any]:
    """Fetch a file and open it with what reads its kind; gives its length and what it is."""
    answer = requests.get(url, timeout=PATIENCE)
    assert answer.status_code == 200, answer.text
    content, ending = io.BytesIO(answer.content), url.partition("?")[0].rpartition(".")[2]
    assert (
        answer.headers["content-type"]
        == {
            "mp4": "video/mp4",
            "png": "image/png",
            "mp3": "audio/mpeg",
            "wav": "audio/wav",
        }[ending]
    )
    if ending == "png":
        picture = Image.open(content)
        picture.load()
        return None, picture.size
    if ending == "wav":
        with wave.open(content) as sound:
            return sound.getnframes() / sound.getframerate(), sound.getframerate()
    with av.open(content, "r") as container:
        assert container.duration is not None
        kinds = sorted(stream.type for stream in container.streams)
        for stream in container.streams:
            next(container.decode(stream))
            break
        return container.duration / 1_000_000, kinds
