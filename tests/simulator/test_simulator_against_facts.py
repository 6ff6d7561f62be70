"""The simulator against Kling's documents, with nothing of the package between them.

Whatever the simulator checks and bills, it checks and bills with the package's own tables: where those are wrong,
both are, and agree. So every price here was worked out by hand from the published one, and every request was
written by hand from the documents; both come from ``tests/data/kling-api.json`` and go over plain HTTP.
"""

from __future__ import annotations

import base64
import io
import json
import wave
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import requests

from kling_provider.simulator.server import SimulatorServer

PRICING = json.loads(
    (Path(__file__).parent.parent / "data" / "kling-api.json").read_text(), parse_float=Decimal
)["pricing"]

PICTURE = "https://media.example/boat.png"
CLIP = "https://media.example/boat.mp4"
PATIENCE = 60

V = "/v1/videos/"
I = "/v1/images/"  # noqa: E741 - beside V
T2V, I2V, OMNI = V + "text2video", V + "image2video", V + "omni-video"
SECOND, PER_CLIP = "video_units_per_second", "video_units_per_clip_5s_10s"
FIVE, TEN = 0, 1  # places in the price of a clip


class Kling:
    """A client that knows what the documents say of the wire, and nothing else."""

    def __init__(self, server: SimulatorServer):
        self.server = server
        self.headers = {"Authorization": f"Bearer {server.api_key}", "Content-Type": "application/json"}

    def post(self, path: str, body: dict[str, Any]) -> requests.Response:
        return requests.post(self.server.url + path, json.dumps(body), headers=self.headers, timeout=PATIENCE)

    def get(self, path: str) -> Any:
        return requests.get(self.server.url + path, headers=self.headers, timeout=PATIENCE).json()["data"]

    def made(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Create, let it finish, and tell it as the query does."""
        answer = self.post(path, body)
        assert answer.status_code == 200, answer.text
        data: dict[str, Any] = answer.json()["data"]
        match data:
            case {"task_id": task_id, "task_status": "submitted"}:
                self.server.finish(task_id)
                return dict(self.get(f"{path}/{task_id}"))
            case {"id": task_id, "status": "submitted"}:
                self.server.finish(task_id)
                return dict(self.get(f"/tasks?task_ids={task_id}")[0])
        return data  # it was answered at once

    def clip(self, seconds: str = "5") -> dict[str, Any]:
        """A video that was made here: ``id`` and ``url``."""
        body = {"model_name": "kling-v1-6", "prompt": "a boat", "duration": seconds}
        return dict(self.made(T2V, body)["task_result"]["videos"][0])

    def billed(self, kind: str = "package") -> dict[str, dict[str, Any]]:
        """The rows of the bill, by task."""
        answer = self.post(f"/account/billing/{kind}", {})
        return {row["task_id"]: row for row in answer.json()["data"]["result"]["detail"]}


@pytest.fixture
def kling(kling_simulator: SimulatorServer) -> Kling:
    kling_simulator.set(task_seconds=1000)
    return Kling(kling_simulator)


def published(*keys: Any) -> Decimal:
    price = PRICING
    for key in keys:
        price = price[key]
    return Decimal(price)


def shots(*seconds: int, words: str = "a boat") -> list[dict[str, Any]]:
    return [{"index": number, "prompt": words, "duration": str(one)} for number, one in enumerate(seconds, 1)]


def text(model: str, **fields: Any) -> dict[str, Any]:
    return {"model_name": model, "prompt": "a boat", **fields}


def picture(model: str, **fields: Any) -> dict[str, Any]:
    return {"model_name": model, "image": PICTURE, **fields}


def new(**settings: Any) -> dict[str, Any]:
    return {"prompt": "a boat", "settings": settings}


def made_of(*kinds: str, **settings: Any) -> dict[str, Any]:
    """A request of the new dialect."""
    contents = [
        {"type": "prompt", "text": "a boat"}
        if kind == "prompt"
        else {"type": kind, "url": CLIP if "video" in kind else PICTURE}
        for kind in kinds
    ]
    return {"contents": contents, "settings": settings}


def sounding(seconds: int) -> str:
    """A wav of silence."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(2 * 8000 * seconds))
    return base64.b64encode(buffer.getvalue()).decode()


FEATURE = [{"video_url": CLIP, "refer_type": "feature"}]

#: What is asked, the published price it is billed by, how many times that, and the product, worked out by hand.
PRICES: list[tuple[str, dict[str, Any], tuple[Any, ...], int, str]] = [
    (T2V, text("kling-v3"), (SECOND, "kling-v3", "std", "silent"), 5, "3"),
    (T2V, text("kling-v3", duration="7", sound="on"), (SECOND, "kling-v3", "std", "sound"), 7, "6.3"),
    (T2V, text("kling-v3", duration="3", mode="pro"), (SECOND, "kling-v3", "pro", "silent"), 3, "2.4"),
    (
        I2V,
        picture("kling-v3", duration="15", mode="pro", sound="on"),
        (SECOND, "kling-v3", "pro", "sound"),
        15,
        "18",
    ),
    (I2V, picture("kling-v3", duration="4", mode="4k", sound="on"), (SECOND, "kling-v3", "4k"), 4, "12"),
    (T2V, text("kling-v2-6"), (SECOND, "kling-v2-6", "std", "silent"), 5, "1.5"),
    (T2V, text("kling-v2-6", duration="10", mode="pro"), (SECOND, "kling-v2-6", "pro", "silent"), 10, "5"),
    (T2V, text("kling-v2-6", mode="pro", sound="on"), (SECOND, "kling-v2-6", "pro", "sound"), 5, "5"),
    (
        I2V,
        picture("kling-v2-6", duration="10", mode="pro", sound="on", voice_list=[{"voice_id": "v-1"}]),
        (SECOND, "kling-v2-6", "pro", "sound_and_voice"),
        10,
        "12",
    ),
    (I2V, picture("kling-v2-5-turbo", mode="pro"), (SECOND, "kling-v2-5-turbo", "pro"), 5, "2.5"),
    (I2V, picture("kling-v2-1", duration="10"), (PER_CLIP, "kling-v2-1", "std", TEN), 1, "4"),
    (T2V, text("kling-v2-1-master", duration="10"), (PER_CLIP, "kling-v2-1-master", TEN), 1, "20"),
    (T2V, text("kling-v1-6", mode="pro", duration="10"), (PER_CLIP, "kling-v1-6", "pro", TEN), 1, "7"),
    (I2V, picture("kling-v1"), (PER_CLIP, "kling-v1", "std", FIVE), 1, "1"),
    (
        V + "multi-image2video",
        text("kling-v1-6", image_list=[{"image": PICTURE}] * 4, mode="pro"),
        (PER_CLIP, "multi-image2video", "pro", FIVE),
        1,
        "3.5",
    ),
    # Kling takes an omni video that names no mode for one in pro.
    (
        OMNI,
        text("kling-v3-omni", aspect_ratio="1:1"),
        (SECOND, "kling-v3-omni", "no_video", "pro", "silent"),
        5,
        "4",
    ),
    (
        OMNI,
        text("kling-v3-omni", aspect_ratio="1:1", mode="std", sound="on", duration="8"),
        (SECOND, "kling-v3-omni", "no_video", "std", "sound"),
        8,
        "6.4",
    ),
    (
        OMNI,
        text("kling-v3-omni", aspect_ratio="1:1", mode="pro", duration="7", video_list=FEATURE),
        (SECOND, "kling-v3-omni", "with_video", "pro"),
        7,
        "8.4",
    ),
    (
        OMNI,
        text("kling-video-o1", aspect_ratio="1:1", mode="std", duration="6", video_list=FEATURE),
        (SECOND, "kling-video-o1", "with_video", "std"),
        6,
        "5.4",
    ),
    (I + "generations", text("kling-v3", n=3), ("image_units_per_image", "kling-v3"), 3, "24"),
    (I + "generations", text("kling-v2-1", n=2), ("image_units_per_image", "kling-v2-1 text"), 2, "8"),
    (
        I + "generations",
        text("kling-v2-1", image=PICTURE, image_reference="subject", n=2),
        ("image_units_per_image", "kling-v2-1 image"),
        2,
        "16",
    ),
    (I + "omni-image", text("kling-image-o1", n=9), ("image_units_per_image", "kling-image-o1"), 9, "72"),
    (
        I + "omni-image",
        text("kling-v3-omni", resolution="4k", n=2),
        ("image_units_per_image", "kling-v3-omni 4k"),
        2,
        "32",
    ),
    (
        I + "omni-image",
        text("kling-v3-omni", result_type="series", series_amount=5, n=9),
        ("image_units_per_image", "kling-v3-omni"),
        5,
        "40",
    ),
    (
        I + "multi-image2image",
        text("kling-v2-1", subject_image_list=[{"subject_image": PICTURE}] * 2, n=2),
        ("image_units_per_image", "kling-v2-1 multi"),
        2,
        "32",
    ),
    (
        "/v1/general/ai-multi-shot",
        {"element_frontal_image": PICTURE},
        ("image_units_per_image", "ai-multi-shot"),
        1,
        "20",
    ),
    (
        "/v1/audio/text-to-audio",
        {"prompt": "waves", "duration": 9.5},
        ("other_units", "text/video-to-audio"),
        1,
        "0.25",
    ),
    (
        "/v1/audio/tts",
        {"text": "Ship ahoy", "voice_id": "v-1", "voice_language": "en"},
        ("other_units", "tts"),
        1,
        "0.05",
    ),
    (V + "image-recognize", {"image": PICTURE}, ("other_units", "image-recognize"), 1, "0.1"),
    (
        V + "avatar/image2video",
        {"image": PICTURE, "sound_file": sounding(4), "mode": "pro"},
        ("other_units", "avatar per s", "pro"),
        4,
        "3.2",
    ),
    # What the new dialect has no prices of its own for costs what the classic one does: 720p is std, 1080p pro.
    ("/text-to-video/kling-3.0", new(), (SECOND, "kling-v3", "std", "silent"), 5, "3"),
    (
        "/text-to-video/kling-3.0",
        new(resolution="1080p", audio="native", duration=10),
        (SECOND, "kling-v3", "pro", "sound"),
        10,
        "12",
    ),
    ("/text-to-video/kling-3.0-turbo", new(), (SECOND, "kling-3.0-turbo", "720p"), 5, "4"),
    (
        "/text-to-video/kling-2.6",
        new(resolution="1080p", audio="native", duration=5),
        (SECOND, "kling-v2-6", "pro", "sound"),
        5,
        "5",
    ),
    (
        "/omni-video/kling-3.0-omni",
        made_of("prompt", "first_frame", audio="native", duration=6),
        (SECOND, "kling-v3-omni", "no_video", "std", "sound"),
        6,
        "4.8",
    ),
    (
        "/omni-video/kling-o1",
        made_of("prompt", "refer_image", "feature_video", resolution="1080p", duration=7, aspect_ratio="1:1"),
        (SECOND, "kling-video-o1", "with_video", "pro"),
        7,
        "8.4",
    ),
]


def is_billed(kling: Kling, told: dict[str, Any], units: str) -> None:
    """See that the answer, the ledger and the bill all say so."""
    (charge,) = kling.server.charges[-1:]
    assert charge.units == Decimal(units)
    row = kling.billed()[charge.task_id]
    assert Decimal(row["deduction_amount"]) == Decimal(units)
    assert Decimal(row["unit_before_deduction"]) - Decimal(row["unit_after_deduction"]) == Decimal(units)
    deducted = told["billing"][0]["amount"] if "billing" in told else told["final_unit_deduction"]
    assert isinstance(deducted, str)
    assert Decimal(deducted) == Decimal(units)


@pytest.mark.parametrize(
    ("path", "body", "price", "times", "units"), PRICES, ids=[f"{row[0]}-{row[4]}" for row in PRICES]
)
def test_it_costs_what_is_published(
    kling: Kling, path: str, body: dict[str, Any], price: tuple[Any, ...], times: int, units: str
) -> None:
    assert published(*price) * times == Decimal(units), "whoever wrote this row cannot count"
    is_billed(kling, kling.made(path, body), units)


def test_what_follows_the_length_of_a_video_is_billed_by_it(kling: Kling) -> None:
    long = kling.clip("10")
    motion = {"image_url": PICTURE, "video_url": long["url"], "character_orientation": "video"}
    assert published(SECOND, "kling-v3 motion", "std") * 10 == 9
    told = kling.made(V + "motion-control", {"model_name": "kling-v3", "mode": "std", **motion})
    is_billed(kling, told, "9")
    assert published(SECOND, "kling-v2-6", "motion", "pro") * 10 == 8
    told = kling.made(V + "motion-control", {"model_name": "kling-v2-6", "mode": "pro", **motion})
    is_billed(kling, told, "8")
    edited = text("kling-v3-omni", mode="std", video_list=[{"video_url": long["url"], "refer_type": "base"}])
    assert published(SECOND, "kling-v3-omni", "with_video", "std") * 10 == 9
    is_billed(kling, kling.made(OMNI, {**edited, "duration": "3"}), "9")  # its own duration is ignored


def test_what_is_made_from_a_video_costs_what_is_published(kling: Kling) -> None:
    told = kling.made(V + "video-extend", {"video_id": kling.clip()["id"]})
    assert published(PER_CLIP, "video-extend", "v1-5/v1-6 std") == 2
    is_billed(kling, told, "2")
    spoken = {"mode": "text2video", "text": "Ship ahoy", "voice_id": "v-1", "voice_language": "en"}
    told = kling.made(V + "lip-sync", {"input": {"video_id": kling.clip("10")["id"], **spoken}})
    assert published("other_units", "lip-sync per 5 s") * 2 == 1
    is_billed(kling, told, "1")
    session = kling.made(V + "multi-elements/init-selection", {"video_id": kling.clip("10")["id"]})
    body = {"session_id": session["session_id"], "edit_mode": "removal", "mode": "pro", "duration": "10"}
    told = kling.made(V + "multi-elements", text("kling-v1-6", **body))
    assert published(PER_CLIP, "multi-elements", "pro", TEN) == 10
    is_billed(kling, told, "10")
    faces = kling.made(V + "identify-face", {"video_id": kling.clip()["id"]})
    assert published("other_units", "identify-face") == Decimal("0.05")
    is_billed(kling, faces, "0.05")


def test_the_balance_pays_the_published_money(kling: Kling) -> None:
    kling.server.set(pays_with="balance")
    worn = {"model_name": "kolors-virtual-try-on-v1-5", "human_image": PICTURE, "cloth_image": PICTURE}
    asked = [
        (I + "kolors-virtual-try-on", worn, published("try_on_usd"), "0.07"),
        (T2V, text("kling-v3"), 3 * published("currency_per_video_unit_usd"), "0.42"),
        (I + "generations", text("kling-v3", n=3), 24 * published("currency_per_image_unit_usd"), "0.084"),
        ("/text-to-video/kling-3.0", new(), 3 * published("currency_per_video_unit_usd"), "0.42"),
    ]
    for path, body, price, dollars in asked:
        assert price == Decimal(dollars)
        told = kling.made(path, body)
        row = kling.billed("balance")[told.get("id") or told["task_id"]]
        assert (Decimal(row["list_price"]), row["currency"]) == (Decimal(dollars), "USD")


def test_what_fails_is_free(kling: Kling) -> None:
    assert PRICING["failed_tasks_charged"] is False
    name = kling.post(T2V, text("kling-v3")).json()["data"]["task_id"]
    kling.server.change(name, status="failed")
    assert kling.get(f"{T2V}/{name}")["final_unit_deduction"] == "0"
    assert kling.server.charges == []
    assert kling.billed() == {}


CAMERA = {"type": "simple", "config": {"zoom": 5}}
FIRST, END = ({"image_url": PICTURE, "type": kind} for kind in ("first_frame", "end_frame"))
BASE = [{"video_url": CLIP, "refer_type": "base"}]


def masks(count: int, points: int) -> list[dict[str, Any]]:
    path = [{"x": number, "y": number} for number in range(points)]
    return [{"mask": PICTURE, "trajectories": path}] * count


def omni(**fields: Any) -> dict[str, Any]:
    return text("kling-v3-omni", **{"aspect_ratio": "16:9", **fields})


def cut(**fields: Any) -> dict[str, Any]:
    return text("kling-v3", multi_shot=True, **fields)


ACCEPTED: dict[str, tuple[str, dict[str, Any]]] = {
    "an end frame alone, of v1-5 in pro": (
        I2V,
        {"model_name": "kling-v1-5", "image_tail": PICTURE, "mode": "pro"},
    ),
    "one camera movement": (T2V, text("kling-v1", camera_control=CAMERA)),
    "a preset camera": (T2V, text("kling-v1", camera_control={"type": "down_back"})),
    "six masks of 77 points": (I2V, picture("kling-v1", dynamic_masks=masks(6, 77))),
    "voices with sound": (
        I2V,
        picture("kling-v2-6", mode="pro", sound="on", voice_list=[{"voice_id": "a"}, {"voice_id": "b"}]),
    ),
    "a prompt of 2500": (T2V, {"model_name": "kling-v3", "prompt": "x" * 2500}),
    "an empty id": (T2V, text("kling-v3", external_task_id="")),
    "six shots that add up": (
        T2V,
        cut(shot_type="customize", duration="7", multi_prompt=shots(1, 1, 1, 1, 1, 2)),
    ),
    "shots that Kling cuts": (T2V, cut(shot_type="intelligence")),
    "frames of an omni video": (
        OMNI,
        {"model_name": "kling-v3-omni", "prompt": "a", "image_list": [FIRST, END]},
    ),
    "seven pictures": (OMNI, omni(image_list=[{"image_url": PICTURE}] * 7)),
    "four pictures with a video": (OMNI, omni(image_list=[{"image_url": PICTURE}] * 4, video_list=FEATURE)),
    "an edit without a ratio": (OMNI, {"model_name": "kling-v3-omni", "prompt": "a", "video_list": BASE}),
    "nine pictures": (I + "generations", text("kling-v3", n=9, aspect_ratio="21:9", resolution="2k")),
    "a series as long as it gets": (
        I + "omni-image",
        text("kling-v3-omni", result_type="series", series_amount=9),
    ),
    "the slowest speech": (
        "/v1/audio/tts",
        {"text": "a", "voice_id": "v", "voice_language": "zh", "voice_speed": 0.8},
    ),
    "speech faster than there is, which is clamped": (
        "/v1/audio/tts",
        {"text": "a", "voice_id": "v", "voice_language": "zh", "voice_speed": 2.5},
    ),
    "3.0 with 15 s in 4k": (
        "/text-to-video/kling-3.0",
        new(resolution="4k", duration=15, aspect_ratio="1:1"),
    ),
    "2.6 between two frames, silent": (
        "/image-to-video/kling-2.6",
        made_of("first_frame", "last_frame", resolution="1080p"),
    ),
    "o1 of words, 10 s": ("/omni-video/kling-o1", made_of("prompt", duration=10, aspect_ratio="16:9")),
    "o1 with a picture, 7 s": (
        "/omni-video/kling-o1",
        made_of("prompt", "refer_image", duration=7, aspect_ratio="16:9"),
    ),
}

REFUSED: dict[str, tuple[str, dict[str, Any]]] = {
    "no frame": (I2V, {"model_name": "kling-v2-6", "prompt": "a boat"}),
    "an end frame and a mask": (
        I2V,
        picture("kling-v1", image_tail=PICTURE, static_mask=PICTURE),
    ),
    "an end frame and a camera": (
        I2V,
        picture("kling-v1-5", mode="pro", image_tail=PICTURE, camera_control=CAMERA),
    ),
    "a mask and a camera": (
        I2V,
        picture("kling-v1-5", mode="pro", static_mask=PICTURE, camera_control=CAMERA),
    ),
    "two camera movements": (
        T2V,
        text("kling-v1", camera_control={"type": "simple", "config": {"zoom": 5, "pan": 1}}),
    ),
    "a camera that does not move": (T2V, text("kling-v1", camera_control={"type": "simple", "config": {}})),
    "a preset camera that is told how": (
        T2V,
        text("kling-v1", camera_control={"type": "down_back", "config": {"zoom": 5}}),
    ),
    "a data address": (I2V, {"model_name": "kling-v2-6", "image": "data:image/png;base64,iVBORw0KGgo="}),
    "seven masks": (I2V, picture("kling-v1", dynamic_masks=masks(7, 5))),
    "a path of one point": (I2V, picture("kling-v1", dynamic_masks=masks(1, 1))),
    "a path of 78 points": (I2V, picture("kling-v1", dynamic_masks=masks(1, 78))),
    "a voice without sound": (I2V, picture("kling-v2-6", mode="pro", voice_list=[{"voice_id": "a"}])),
    "three voices": (
        I2V,
        picture("kling-v2-6", mode="pro", sound="on", voice_list=[{"voice_id": "a"}] * 3),
    ),
    "sound of v2-6 in std": (T2V, text("kling-v2-6", sound="on")),
    "sound of v2-6 between two frames": (
        I2V,
        picture("kling-v2-6", mode="pro", image_tail=PICTURE, sound="on"),
    ),
    "cfg_scale of a v2 model": (T2V, text("kling-v2-5-turbo", cfg_scale=0.5)),
    "four elements": (I2V, picture("kling-v3", element_list=[{"element_id": 160}] * 4)),
    "4k of an old model": (T2V, text("kling-v2-6", mode="4k")),
    "a model that does not exist": (T2V, text("kling-v3-0")),
    "a model that needs a picture": (T2V, text("kling-v2-1")),
    "7 s of v2-6": (T2V, text("kling-v2-6", duration="7")),
    "16 s of v3": (T2V, text("kling-v3", duration="16")),
    "2 s of v3": (T2V, text("kling-v3", duration="2")),
    "a classic duration that is a number": (T2V, text("kling-v3", duration=5)),
    "a prompt of 2501": (T2V, {"model_name": "kling-v3", "prompt": "x" * 2501}),
    "shots of no kind": (T2V, cut(multi_prompt=shots(2, 3))),
    "shots that do not add up": (T2V, cut(shot_type="customize", duration="6", multi_prompt=shots(2, 3))),
    "seven shots": (T2V, cut(shot_type="customize", duration="7", multi_prompt=shots(*[1] * 7))),
    "a shot of 513": (T2V, cut(shot_type="customize", multi_prompt=shots(5, words="x" * 513))),
    "shots between two frames": (
        I2V,
        picture("kling-v3", image_tail=PICTURE, multi_shot=True, shot_type="intelligence", prompt="a"),
    ),
    "shots of an old model": (T2V, text("kling-v2-6", multi_shot=True, shot_type="intelligence")),
    "no ratio": (OMNI, {"model_name": "kling-v3-omni", "prompt": "a"}),
    "eight pictures": (OMNI, omni(image_list=[{"image_url": PICTURE}] * 8)),
    "five pictures with a video": (OMNI, omni(image_list=[{"image_url": PICTURE}] * 5, video_list=FEATURE)),
    "an end without a begin": (OMNI, omni(image_list=[END])),
    "an end of o1 with three pictures": (
        OMNI,
        text("kling-video-o1", image_list=[FIRST, END, {"image_url": PICTURE}]),
    ),
    "sound with a video": (OMNI, omni(video_list=FEATURE, sound="on")),
    "an edit with a frame": (OMNI, omni(video_list=BASE, image_list=[FIRST])),
    "motion without a mode": (
        V + "motion-control",
        {
            "model_name": "kling-v3",
            "image_url": PICTURE,
            "video_url": CLIP,
            "character_orientation": "image",
        },
    ),
    "an avatar that says nothing": (V + "avatar/image2video", {"image": PICTURE}),
    "an avatar that says two things": (
        V + "avatar/image2video",
        {"image": PICTURE, "sound_file": sounding(4), "audio_id": "1"},
    ),
    "two videos": (V + "identify-face", {"video_id": "1", "video_url": CLIP}),
    "no video": (V + "multi-elements/init-selection", {}),
    "an effect that is gone": (V + "effects", {"effect_scene": "kiss", "input": {"images": [PICTURE] * 2}}),
    "ten pictures": (I + "generations", text("kling-v3", n=10)),
    "4k of v3's pictures": (I + "generations", text("kling-v3", resolution="4k")),
    "negative words beside a picture": (
        I + "generations",
        text("kling-v3", image=PICTURE, negative_prompt="rain"),
    ),
    "a picture four times as large": (
        I + "editing/expand",
        {"image": PICTURE, **{f"{side}_expansion_ratio": 0.5 for side in ("up", "down", "left", "right")}},
    ),
    "a series of ten": (I + "omni-image", text("kling-v3-omni", result_type="series", series_amount=10)),
    "2.9 s of sound": ("/v1/audio/text-to-audio", {"prompt": "waves", "duration": 2.9}),
    "speech without a language": ("/v1/audio/tts", {"text": "a", "voice_id": "v"}),
    "a new duration that is text": ("/text-to-video/kling-3.0", new(duration="5")),
    "negative words in the new dialect": (
        "/text-to-video/kling-3.0",
        {"prompt": "a", "negative_prompt": "b"},
    ),
    "2.6 with sound in 720p": ("/text-to-video/kling-2.6", new(audio="native")),
    "2.6 between two frames in 720p": ("/image-to-video/kling-2.6", made_of("first_frame", "last_frame")),
    "2.5 between two frames in 720p": (
        "/image-to-video/kling-2.5-turbo",
        made_of("first_frame", "last_frame"),
    ),
    "a last frame alone": ("/image-to-video/kling-3.0", made_of("last_frame")),
    "a last frame of turbo": (
        "/image-to-video/kling-3.0-turbo",
        made_of("first_frame", "last_frame"),
    ),
    "o1 of words, 7 s": ("/omni-video/kling-o1", made_of("prompt", duration=7, aspect_ratio="16:9")),
    "a new video with sound beside one": (
        "/omni-video/kling-3.0-omni",
        made_of("prompt", "feature_video", audio="native", aspect_ratio="16:9"),
    ),
    "a new edit with a frame": (
        "/omni-video/kling-3.0-omni",
        made_of("prompt", "first_frame", "base_video"),
    ),
    "no contents": ("/image-to-video/kling-3.0", {"settings": {"duration": 5}}),
}


@pytest.mark.parametrize("what", ACCEPTED)
def test_what_the_documents_allow_is_taken(kling: Kling, what: str) -> None:
    answer = kling.post(*ACCEPTED[what])
    assert (answer.status_code, answer.json()["code"]) == (200, 0), answer.text


@pytest.mark.parametrize("what", REFUSED)
def test_what_the_documents_forbid_is_refused(kling: Kling, what: str) -> None:
    answer = kling.post(*REFUSED[what])
    assert (answer.status_code, answer.json()["code"]) == (400, 1201), answer.text
    assert kling.server.tasks == []
    assert kling.billed() == {}
