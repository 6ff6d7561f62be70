"""Kling's endpoints as a table: where each one lives and what it returns.

A new endpoint is one row here and one request model in ``requests``; CONTRIBUTING.md tells the rest.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import partial
from types import MappingProxyType
from typing import Literal
from urllib.parse import quote

from kling_provider.api.errors import InvalidRequest, show

Dialect = Literal["classic", "new"]
Kind = Literal["video", "image", "audio", "account"]
Work = Literal["task", "call", "read"]
ExternalIdUse = Literal["lookup", "list", "none"]

#: ``GET <create path>?pageNum=&pageSize=``: the vendor's limits.
MAX_PAGE = 1000
MAX_PAGE_SIZE = 500
#: A session of multi-elements ends so long after init-selection.
SESSION_HOURS = 24
#: ``GET /tasks`` and ``POST /tasks`` of the new dialect: query and list of all its endpoints.
TASKS_PATH = "/tasks"

_SAFE_ID = re.compile(r"[A-Za-z0-9_.:=-]+")
_RAW_PATH = re.compile(r"(/[A-Za-z0-9_.~-]+)+")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One row of the endpoint table.

    :param name: the public name, as in the operators' ``endpoint`` argument.
    :param dialect: ``classic`` (model_name in the body) or ``new`` (model in the path).
    :param kind: which resource pack pays and which slots are held.
    :param create_path: path of the POST, from the gateway's prefix on; of the GET, if it only reads.
    :param typical_seconds: how long a task usually takes (published averages of a large client where there is
        one, else a guess).
    :param pictures: dotted names of the fields that take a picture; ``[]`` marks a list.
    :param sounds: the same of the fields that take a sound file.
    :param work: ``task`` runs for a while and is asked for; ``call`` is over with its answer; ``read`` changes
        nothing and costs nothing.
    :param external_id: how the vendor lets a caller's own id be looked up: by query, only in the list, or not.
    :param is_free: a ``call`` that may be repeated, because it costs nothing and does the same again.
    :param answer_lives_hours: how long the answer of a ``call`` is worth something; 0: it has no end.
    :param max_page_size: of its list.
    :param other_paths: what other versions of the documents call it.
    :param successor: what the vendor recommends instead.
    """

    name: str
    dialect: Dialect
    kind: Kind
    create_path: str
    typical_seconds: float = 0
    pictures: tuple[str, ...] = ()
    sounds: tuple[str, ...] = ()
    work: Work = "task"
    external_id: ExternalIdUse = "lookup"
    is_free: bool = False
    answer_lives_hours: float = 0
    max_page_size: int = MAX_PAGE_SIZE
    other_paths: tuple[str, ...] = ()
    successor: str | None = None

    @property
    def list_path(self) -> str:
        """Path of the list query."""
        return self.create_path if self.dialect == "classic" else TASKS_PATH

    def query_path(self, task_id: str) -> str:
        """Path of the query for one task (classic dialect); ``task_id`` is checked and percent-encoded."""
        return f"{self.create_path}/{path_segment(task_id)}"

    @property
    def is_raw(self) -> bool:
        """Whether it was made for a path, so that nothing is checked."""
        return self.name.startswith("/")

    @property
    def slots(self) -> str:
        """Whose slots it holds: the account's pack of this name."""
        return "try-on" if self.name == "kolors-virtual-try-on" else self.kind


def _videos() -> Iterator[Endpoint]:
    video = partial(Endpoint, dialect="classic", kind="video")
    call = partial(video, work="call", external_id="none")
    yield video("text2video", create_path="/v1/videos/text2video", typical_seconds=319)
    yield video(
        "image2video",
        create_path="/v1/videos/image2video",
        typical_seconds=164,
        pictures=("image", "image_tail", "static_mask", "dynamic_masks[].mask"),
    )
    yield video(
        "multi-image2video",
        create_path="/v1/videos/multi-image2video",
        typical_seconds=240,
        pictures=("image_list[].image",),
    )
    yield video(
        "omni-video",
        create_path="/v1/videos/omni-video",
        typical_seconds=300,
        pictures=("image_list[].image_url",),
    )
    yield video(
        "motion-control",
        create_path="/v1/videos/motion-control",
        typical_seconds=400,
        pictures=("image_url",),
    )
    yield video("video-extend", create_path="/v1/videos/video-extend", typical_seconds=300)
    yield video(
        "effects",
        create_path="/v1/videos/effects",
        typical_seconds=320,
        pictures=("input.image", "input.images[]"),
    )
    yield video(
        "avatar",
        create_path="/v1/videos/avatar/image2video",
        typical_seconds=400,
        pictures=("image",),
        sounds=("sound_file",),
    )
    yield call("identify-face", create_path="/v1/videos/identify-face")
    yield video(
        "advanced-lip-sync",
        create_path="/v1/videos/advanced-lip-sync",
        typical_seconds=455,
        sounds=("face_choose[].sound_file",),
        external_id="list",  # the query documents task_id only
    )
    yield video(
        "lip-sync",
        create_path="/v1/videos/lip-sync",
        typical_seconds=455,
        sounds=("input.audio_file",),
        external_id="none",  # its create documents no external_task_id
        successor="identify-face and advanced-lip-sync",
    )
    selection = "/v1/videos/multi-elements/"
    step = partial(call, answer_lives_hours=SESSION_HOURS)
    yield step("multi-elements/init-selection", create_path=selection + "init-selection")
    yield step("multi-elements/add-selection", create_path=selection + "add-selection")
    yield step("multi-elements/delete-selection", create_path=selection + "delete-selection")
    yield step("multi-elements/clear-selection", create_path=selection + "clear-selection")
    yield step("multi-elements/preview-selection", create_path=selection + "preview-selection")
    yield video(
        "multi-elements",
        create_path="/v1/videos/multi-elements",
        typical_seconds=300,
        pictures=("image_list[].image",),
    )


def _sounds() -> Iterator[Endpoint]:
    audio = partial(Endpoint, dialect="classic", kind="audio")
    yield audio("text-to-audio", create_path="/v1/audio/text-to-audio", typical_seconds=40)
    yield audio("video-to-audio", create_path="/v1/audio/video-to-audio", typical_seconds=60)
    yield audio("tts", create_path="/v1/audio/tts", work="call", external_id="none")


def _images() -> Iterator[Endpoint]:
    image = partial(Endpoint, dialect="classic", kind="image", typical_seconds=32)
    yield image("images/generations", create_path="/v1/images/generations", pictures=("image",))
    yield image("images/omni-image", create_path="/v1/images/omni-image", pictures=("image_list[].image",))
    yield image(
        "images/multi-image2image",
        create_path="/v1/images/multi-image2image",
        pictures=("subject_image_list[].subject_image", "scene_image", "style_image"),
    )
    yield image("images/editing/expand", create_path="/v1/images/editing/expand", pictures=("image",))
    yield image(
        "kolors-virtual-try-on",
        create_path="/v1/images/kolors-virtual-try-on",
        typical_seconds=19,
        pictures=("human_image", "cloth_image"),
    )
    yield image(
        "image-recognize",
        create_path="/v1/videos/image-recognize",  # an image tool, although it lives there
        pictures=("image",),
        work="call",
        external_id="none",
    )


def _elements_and_voices() -> Iterator[Endpoint]:
    image = partial(Endpoint, dialect="classic", kind="image")
    audio = partial(Endpoint, dialect="classic", kind="audio")
    yield image(
        "ai-multi-shot",
        create_path="/v1/general/ai-multi-shot",
        typical_seconds=60,
        pictures=("element_frontal_image",),
    )
    yield image(
        "advanced-custom-elements",
        create_path="/v1/general/advanced-custom-elements",
        typical_seconds=60,
        pictures=("element_image_list.frontal_image", "element_image_list.refer_images[].image_url"),
    )
    yield image(
        "advanced-presets-elements",
        create_path="/v1/general/advanced-presets-elements",
        work="read",
        external_id="none",
    )
    yield image(
        "delete-elements",
        create_path="/v1/general/delete-elements",
        work="call",
        external_id="none",
        is_free=True,
        other_paths=("/v1/general/delete-advanced-elements",),
    )
    yield audio(
        "custom-voices", create_path="/v1/general/custom-voices", typical_seconds=60, max_page_size=1000
    )
    yield audio(
        "presets-voices",
        create_path="/v1/general/presets-voices",
        work="read",
        external_id="none",
        max_page_size=1000,
    )
    yield audio(
        "delete-voices",
        create_path="/v1/general/delete-voices",
        work="call",
        external_id="none",
        is_free=True,
    )


def _accounts() -> Iterator[Endpoint]:
    read = partial(Endpoint, kind="account", work="read", external_id="none")
    yield read("account/costs", dialect="classic", create_path="/account/costs")
    yield read("account/billing/package", dialect="new", create_path="/account/billing/package")
    yield read("account/billing/balance", dialect="new", create_path="/account/billing/balance")
    yield read("tasks", dialect="new", create_path=TASKS_PATH)


#: The new dialect: path -> (typical seconds, whether it takes pictures, its models).
_NEW_DIALECT: Mapping[str, tuple[float, bool, tuple[str, ...]]] = {
    "text-to-video": (319, False, ("kling-3.0-turbo", "kling-3.0", "kling-2.6", "kling-2.5-turbo")),
    "image-to-video": (164, True, ("kling-3.0-turbo", "kling-3.0", "kling-2.6", "kling-2.5-turbo")),
    "omni-video": (300, True, ("kling-3.0-omni", "kling-o1")),
    "motion-control": (400, True, ("kling-3.0", "kling-2.6")),
}


def _new_dialect() -> Iterator[Endpoint]:
    for path, (seconds, takes_pictures, models) in _NEW_DIALECT.items():
        for model in models:
            name = f"{path}/{model}"
            pictures = ("contents[].url",) if takes_pictures else ()
            yield Endpoint(name, "new", "video", f"/{name}", seconds, pictures=pictures)


ENDPOINTS: Mapping[str, Endpoint] = MappingProxyType(
    {
        row.name: row
        for family in (_videos, _sounds, _images, _elements_and_voices, _new_dialect, _accounts)
        for row in family()
    }
)


def endpoint_for(name: str) -> Endpoint:
    """Find the row called ``name``, or make one for a raw path that starts with ``/``.

    :raises InvalidRequest: for a name that is not in the table, with the closest one.
    """
    if not isinstance(name, str):
        raise InvalidRequest(f"endpoint={show(name, 60)} is not a name: give one of {known_names()}.")
    if name in ENDPOINTS:
        return ENDPOINTS[name]
    if name.startswith("/"):
        if not _RAW_PATH.fullmatch(name) or any(set(part) == {"."} for part in name.split("/") if part):
            raise InvalidRequest(
                f"endpoint={show(name, 80)} is not a plain path: letters, digits and _.~- between "
                "slashes, no query and no dots-only part."
            )
        return _raw(name)
    close = get_close_matches(name, ENDPOINTS, n=1)
    known = (
        f"Did you mean {close[0]!r}?"
        if close
        else f"Known: {known_names()}; or a raw path that starts with '/'."
    )
    raise InvalidRequest(f"endpoint={show(name, 60)} is not known. {known}")


def _raw(path: str) -> Endpoint:
    """A row for a raw path: like the one that has it, or as little as can be assumed."""
    for row in ENDPOINTS.values():
        if path in (row.create_path, *row.other_paths) and row.work != "read":
            return replace(row, name=path, create_path=path)
    if path.split("/")[1] in _NEW_DIALECT:
        return Endpoint(path, "new", "video", path, 180, pictures=("contents[].url",))
    # What is not known to be a task, or to keep the caller's id, must not be sent again on an empty look-up.
    return Endpoint(path, "classic", "video", path, 180, external_id="none")


def known_names() -> str:
    """The names of the table, for a message."""
    return ", ".join(ENDPOINTS)


def check_id(value: object, field: str = "task_id") -> str:
    """Return ``value`` if it can be a task id in a path.

    :raises InvalidRequest: for anything that could leave its path segment.
    """
    if isinstance(value, str) and _SAFE_ID.fullmatch(value) and set(value) != {"."}:
        return value
    raise InvalidRequest(
        f"{field}={show(value, 60)} is not a task id: letters, digits and _.:=- only. "
        "Pass the id that the submit returned."
    )


def path_segment(task_id: str) -> str:
    """Check and percent-encode an id for use as one path segment."""
    return quote(check_id(task_id), safe="")
