"""A request that was read: its fields, and what is known of the pictures, sounds and videos it names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from kling_provider.api.capabilities import Model, models_at
from kling_provider.api.dialects import external_id_in
from kling_provider.api.endpoints import Endpoint
from kling_provider.simulator.film import Film
from kling_provider.simulator.pictures import Picture

if TYPE_CHECKING:
    from kling_provider.simulator.sessions import Session
    from kling_provider.simulator.tasks import SimTask

#: Length of a video that nobody has seen.
UNSEEN_SECONDS = 5.0
#: Size of it.
UNSEEN_SIZE = (1280, 720)
#: Length of a sound that nobody has heard.
UNHEARD_SECONDS = 5.0

#: Stands in where an endpoint has no choice of models.
_ANY_MODEL = Model("", {})
_RATIOS = ("16:9", "9:16", "1:1", "4:3", "3:4", "3:2", "2:3", "21:9")


@dataclass(frozen=True, slots=True)
class Clip:
    """A video that a request names.

    :param shown: its id or address.
    :param seconds: length; a usual one where it was not seen.
    :param size: width and height in pixels.
    :param is_seen: whether length and size are known.
    :param film: what it shows, if it was made here.
    :param task: that made it, if it was made here.
    """

    shown: str
    seconds: float = UNSEEN_SECONDS
    size: tuple[int, int] = UNSEEN_SIZE
    is_seen: bool = False
    film: Film | None = None
    task: SimTask | None = None

    def as_film(self) -> Film:
        """What it shows, as far as somebody knows."""
        return self.film or Film(self.size, self.seconds, 24, words=self.shown)


@dataclass(frozen=True, slots=True)
class Heard:
    """A sound that a request names.

    :param seconds: length; a usual one where it was not heard.
    :param is_heard: whether the length is known.
    """

    seconds: float = UNHEARD_SECONDS
    is_heard: bool = False


@dataclass(frozen=True)
class Asked:
    """A request that passed the rules.

    :param endpoint: where it came in.
    :param body: its fields, with the defaults that decide what is billed; files shortened.
    :param pictures: label such as ``image_list[0].image`` -> the picture.
    :param clips: label -> the video.
    :param sounds: label -> the sound.
    :param session: the session it works on, if it names one.
    :param account: name of the account that asks.
    """

    endpoint: Endpoint
    body: Mapping[str, Any]
    pictures: Mapping[str, Picture] = field(default_factory=dict)
    clips: Mapping[str, Clip] = field(default_factory=dict)
    sounds: Mapping[str, Heard] = field(default_factory=dict)
    session: Session | None = None
    account: str = ""

    @property
    def external_task_id(self) -> str | None:
        """The caller's id, or None."""
        return external_id_in(self.endpoint.dialect, self.body) or None

    @cached_property
    def settings(self) -> Mapping[str, Any]:
        """Where the fields stand that say how a result is made."""
        return (self.body.get("settings") or {}) if self.endpoint.dialect == "new" else self.body

    @cached_property
    def options(self) -> Mapping[str, Any]:
        """Where the fields stand that every task has."""
        return options_of(self.endpoint, self.body)

    @cached_property
    def contents(self) -> list[Mapping[str, Any]]:
        """The contents of the new dialect."""
        return list(self.body.get("contents") or ())

    @property
    def has_watermark(self) -> bool:
        """Whether a watermarked copy is made as well."""
        return bool((self.options.get("watermark_info") or {}).get("enabled"))

    @property
    def words(self) -> str:
        """What it says."""
        shots = [str(shot["prompt"]) for shot in self.body.get("multi_prompt") or ()]
        prompts = [str(item["text"]) for item in self.contents if item.get("type") == "prompt"]
        said = [
            self.body.get(name) for name in ("prompt", "text", "effect_scene", "voice_name", "element_name")
        ]
        return " / ".join(str(word) for word in (*said, *prompts, *shots) if word)

    @property
    def model_name(self) -> str:
        """The model, or nothing where there is no choice."""
        return model_of(self.endpoint, self.body)

    @property
    def quality(self) -> str:
        """``std``, ``pro``, ``4k``, ``720p``, ``1080p``, ``1k``, ``2k``, or nothing."""
        return str(self.settings.get("mode") or self.settings.get("resolution") or "")

    @property
    def has_sound(self) -> bool:
        """Whether the result can be heard."""
        return self.settings.get("sound") == "on" or self.settings.get("audio") in ("native", "original")

    def ratio(self, *pictures: Picture | None, default: float = 16 / 9) -> float:
        """Width / height of the result: as asked, or as the first of the pictures."""
        leading = next((picture for picture in pictures if picture), None)
        named = ratio_of(self.settings.get("aspect_ratio"))
        return named or (leading.ratio if leading else default)

    def seconds(self, default: float = UNSEEN_SECONDS) -> float:
        """The length that is asked for."""
        return float(self.settings.get("duration") or default)

    def height(self) -> int:
        """Shorter side of the film."""
        model = models_at(self.endpoint.name).get(self.model_name, _ANY_MODEL)
        return model.heights.get(self.quality) or next(iter(model.heights.values()))

    def fps(self) -> int:
        """Frames per second."""
        return models_at(self.endpoint.name).get(self.model_name, _ANY_MODEL).fps

    def picture(self, *labels: str) -> Picture | None:
        """The first of these pictures that is there; a label may end in ``*``."""
        return next(iter(self.pictures_at(labels)), None)

    def pictures_at(self, labels: Iterable[str]) -> list[Picture]:
        """All of these pictures that are there."""
        return [
            picture
            for wanted in labels
            for label, picture in self.pictures.items()
            if label == wanted or (wanted.endswith("*") and label.startswith(wanted[:-1]))
        ]

    def content_picture(self, *types: str) -> Picture | None:
        """The first picture among the contents of these types."""
        for wanted in types:
            for number, item in enumerate(self.contents):
                if item.get("type") == wanted and f"contents[{number}].url" in self.pictures:
                    return self.pictures[f"contents[{number}].url"]
        return None

    @property
    def clip(self) -> Clip | None:
        """The video it names, if it names one."""
        return next(iter(self.clips.values()), None)

    @property
    def sound(self) -> Heard | None:
        """The sound it names, if it names one."""
        return next(iter(self.sounds.values()), None)

    @property
    def input_seconds(self) -> float | None:
        """Length of the input that decides the price, where one does."""
        given = self.clip or self.sound
        return given.seconds if given else None


def options_of(endpoint: Endpoint, body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Where a request has the fields that every task has: callback, watermark, the caller's id."""
    return (body.get("options") or {}) if endpoint.dialect == "new" else body


def model_of(endpoint: Endpoint, body: Mapping[str, Any]) -> str:
    """The model of a request, or nothing where there is no choice."""
    if endpoint.dialect == "new":
        return endpoint.name.rpartition("/")[2]
    inner = body.get("input")
    return str(
        body.get("model_name") or (inner.get("model_name") if isinstance(inner, Mapping) else "") or ""
    )


def ratio_of(name: object) -> float | None:
    """Width / height of a ratio's name, None for none and for ``auto``."""
    if name not in _RATIOS:
        return None
    width, height = str(name).split(":")
    return int(width) / int(height)
