"""What each model can do: model x endpoint x quality x duration x feature, from the vendor's capability map.

A new model is one row: of :data:`MODELS` (classic video), :data:`IMAGE_MODELS`, or :data:`NEW_MODELS` (new
dialect). Checks, simulator and reference pages read these rows. The matrix is the vendor's; what it does not
list is refused unless the caller says that he knows better (``validate="warn"``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from types import MappingProxyType
from typing import Literal

FIVE_OR_TEN = ("5", "10")
THREE_TO_TEN = tuple(str(seconds) for seconds in range(3, 11))
THREE_TO_FIFTEEN = tuple(str(seconds) for seconds in range(3, 16))
STD_PRO = ("std", "pro")
STD_PRO_4K = ("std", "pro", "4k")
RESOLUTIONS = ("720p", "1080p")
RESOLUTIONS_4K = ("720p", "1080p", "4k")

_PRO = frozenset({"pro/5", "pro/10"})
_FULL_HD = frozenset({"1080p/5", "1080p/10"})
_ANY = frozenset({"*"})
_NO: frozenset[str] = frozenset()

#: What decides the quality: a field of the classic video endpoints, or one of pictures and the new dialect.
QualityField = Literal["mode", "resolution"]


@dataclass(frozen=True, slots=True)
class Offer:
    """What one model can do at one endpoint: a row of the capability matrix.

    Features hold the ``quality/duration`` pairs they are offered for (quality alone where there is no duration);
    ``*`` is all, and what is missing is not offered.

    :param qualities: values of ``mode`` or ``resolution``; empty for a model without that choice.
    :param durations: lengths of clips in seconds, as text; empty where the length follows an input.
    :param features: feature -> the pairs it is offered for.
    :param quality_field: which field chooses the quality.
    :param durations_without_references: the lengths that are left where no reference is given.
    :param excludes: pairs of features that do not go together.
    :param needs: feature -> the field without which it is refused.
    :param max_pictures_with_a_tail: pictures it takes beside a last frame, None where no limit is known.
    :param camera_types: the camera movements it has, where not all.
    :param instead: what to use where the model is retired and its successor is not offered.
    :param contents: types of ``contents`` (new dialect); without any there is a ``prompt`` instead.
    :param audio: values of ``settings.audio`` (new dialect), Kling's default first.
    :param prompt_length: longest prompt (new dialect), in characters.
    :param max_elements: elements it takes (new dialect), None where no limit is known.
    """

    qualities: tuple[str, ...] = STD_PRO
    durations: tuple[str, ...] = FIVE_OR_TEN
    features: Mapping[str, frozenset[str]] = field(default_factory=dict)
    quality_field: QualityField = "mode"
    durations_without_references: tuple[str, ...] = ()
    excludes: frozenset[tuple[str, str]] = frozenset()
    needs: Mapping[str, str] = field(default_factory=dict)
    max_pictures_with_a_tail: int | None = None
    camera_types: tuple[str, ...] = ()
    instead: str | None = None
    contents: tuple[str, ...] = ()
    audio: tuple[str, ...] = ()
    prompt_length: int = 2500
    max_elements: int | None = None

    def offers(self, feature: str, quality: str, duration: str = "") -> bool:
        """Whether ``feature`` is offered for this quality and duration."""
        pairs = self.features.get(feature, _NO)
        return "*" in pairs or _pair(quality, duration) in pairs

    def pairs_of(self, feature: str) -> tuple[str, ...]:
        """Every ``quality/duration`` pair that ``feature`` is offered for, in the order of the table."""
        return tuple(
            _pair(quality, duration)
            for quality in self.qualities or ("",)
            for duration in self.durations or ("",)
            if self.offers(feature, quality, duration)
        )


def _pair(quality: str, duration: str) -> str:
    return f"{quality}/{duration}" if duration else quality


@dataclass(frozen=True, slots=True)
class Model:
    """A model, and what it does where.

    :param name: value of ``model_name``, or the last part of the path in the new dialect.
    :param offers: endpoint -> what it can do there.
    :param heights: output height in pixels per quality (shorter side of the picture's ratio).
    :param fps: frames per second.
    :param retired: reported to be refused since September 2026; what to use instead.
    """

    name: str
    offers: Mapping[str, Offer]
    heights: Mapping[str, int] = field(default_factory=lambda: {"std": 720, "pro": 1080})
    fps: int = 30
    retired: str | None = None

    @property
    def endpoints(self) -> frozenset[str]:
        """Where it is offered."""
        return frozenset(self.offers)


def _table(*rows: Model) -> Mapping[str, Model]:
    return MappingProxyType({row.name: row for row in rows})


_HEIGHTS_4K: Mapping[str, int] = {"std": 720, "pro": 1080, "4k": 2160}
#: Endpoints whose results the old models share: the model is not asked for, or has no choice of its own.
_OLD = {
    "video-extend": Offer(instead="omni-video with kling-v3-omni and a feature video in video_list"),
    "effects": Offer(instead="no model_name at all"),
}
_MASTER = {"text2video": Offer(qualities=()), "image2video": Offer(qualities=())}
_MOTION = Offer(durations=(), features={"element_list": _ANY})
_V3 = Offer(STD_PRO_4K, THREE_TO_FIFTEEN, {"cfg_scale": _ANY, "sound": _ANY, "multi_shot": _ANY})
_V3_IMAGE = replace(_V3, features={**_V3.features, "image_tail": _ANY, "element_list": _ANY})

#: Classic video: text2video, image2video and what is built on their models.
MODELS: Mapping[str, Model] = _table(
    Model(
        "kling-v1",
        {
            "text2video": Offer(features={"cfg_scale": _ANY, "camera_control": frozenset({"std/5"})}),
            "image2video": Offer(
                features={
                    "cfg_scale": _ANY,
                    "image_tail": frozenset({"std/5", "pro/5"}),
                    "masks": frozenset({"std/5", "pro/5"}),
                }
            ),
            **_OLD,
        },
        heights={"std": 720, "pro": 720},
        retired="kling-v2-6",
    ),
    Model(
        "kling-v1-5",
        {
            "image2video": Offer(
                features={
                    "cfg_scale": _ANY,
                    "camera_control": frozenset({"pro/5"}),
                    "image_tail": _PRO,
                    "image_tail_only": _PRO,
                    "masks": frozenset({"pro/5"}),
                },
                camera_types=("simple",),
            ),
            **_OLD,
        },
        retired="kling-v2-6",
    ),
    Model(
        "kling-v1-6",
        {
            "text2video": Offer(features={"cfg_scale": _ANY}),
            "image2video": Offer(features={"cfg_scale": _ANY, "image_tail": _PRO, "image_tail_only": _PRO}),
            "multi-image2video": Offer(instead="omni-video with kling-v3-omni and image_list"),
            "multi-elements": Offer(instead="omni-video with kling-v3-omni and a base video in video_list"),
            **_OLD,
        },
        retired="kling-v2-6",
    ),
    Model("kling-v2-master", _MASTER, heights={"": 720}, fps=24, retired="kling-v2-6"),
    Model("kling-v2-1", {"image2video": Offer(features={"image_tail": _PRO})}, fps=24, retired="kling-v2-6"),
    Model("kling-v2-1-master", _MASTER, heights={"": 1080}, fps=24, retired="kling-v2-6"),
    Model(
        "kling-v2-5-turbo",
        {"text2video": Offer(), "image2video": Offer(features={"image_tail": _PRO})},
        fps=24,
    ),
    Model(
        "kling-v2-6",
        {
            "text2video": Offer(features={"sound": _PRO}),
            "image2video": Offer(
                features={"image_tail": _PRO, "sound": _PRO, "voice_list": _PRO},
                excludes=frozenset({("image_tail", "sound")}),
            ),
            "motion-control": _MOTION,
        },
        fps=24,
    ),
    Model(
        "kling-v3",
        {
            "text2video": _V3,
            "image2video": _V3_IMAGE,
            "motion-control": _MOTION,
        },
        heights=_HEIGHTS_4K,
        fps=24,
    ),
    Model(
        "kling-video-o1",
        {
            "omni-video": Offer(
                STD_PRO,
                THREE_TO_TEN,
                {"image_tail": _ANY, "element_list": _ANY, "video_list": _ANY},
                durations_without_references=FIVE_OR_TEN,
                excludes=frozenset({("image_tail", "element_list")}),
                max_pictures_with_a_tail=2,
            )
        },
        fps=24,
    ),
    Model(
        "kling-v3-omni",
        {
            "omni-video": Offer(
                STD_PRO_4K,
                THREE_TO_FIFTEEN,
                {
                    "sound": _ANY,
                    "multi_shot": _ANY,
                    "image_tail": _ANY,
                    "element_list": _ANY,
                    "video_list": _ANY,
                },
            )
        },
        heights=_HEIGHTS_4K,
        fps=24,
    ),
)

_1K_2K = ("1k", "2k")


def _pictures(*resolutions: str, features: Mapping[str, frozenset[str]] | None = None, **needs: str) -> Offer:
    return Offer(resolutions, (), features or {}, "resolution", needs=needs)


_OLD_PICTURES = {"images/generations": _pictures(*_1K_2K)}

#: Pictures. Some names are those of a video model, and are another model here.
IMAGE_MODELS: Mapping[str, Model] = _table(
    Model("kling-v1", _OLD_PICTURES, retired="kling-v3"),
    Model(
        "kling-v1-5",
        {"images/generations": _pictures(*_1K_2K, image="image_reference")},
        retired="kling-v3",
    ),
    Model(
        "kling-v2",
        {**_OLD_PICTURES, "images/multi-image2image": _pictures()},
        retired="kling-v2-1",
    ),
    Model("kling-v2-new", _OLD_PICTURES, retired="kling-v3"),
    Model(
        "kling-v2-1",
        {
            "images/generations": _pictures(*_1K_2K, image="image_reference"),
            "images/multi-image2image": _pictures(),
        },
    ),
    Model("kling-v3", {"images/generations": _pictures(*_1K_2K, features={"element_list": _ANY})}),
    Model("kling-image-o1", {"images/omni-image": _pictures(*_1K_2K, features={"element_list": _ANY})}),
    Model(
        "kling-v3-omni",
        {"images/omni-image": _pictures("1k", "2k", "4k", features={"element_list": _ANY})},
    ),
    Model("kolors-virtual-try-on-v1", {"kolors-virtual-try-on": _pictures()}),
    Model("kolors-virtual-try-on-v1-5", {"kolors-virtual-try-on": _pictures()}),
)

_NATIVE = ("off", "native")
_FRAMES = ("prompt", "first_frame", "last_frame")
_REFERENCES = (*_FRAMES, "refer_image", "feature_video", "base_video", "element")


def _new(name: str, heights: Mapping[str, int], **offers: Offer) -> Model:
    return Model(
        name, {f"{path.replace('_', '-')}/{name}": offer for path, offer in offers.items()}, heights, fps=24
    )


def _resolution(
    resolutions: tuple[str, ...],
    durations: tuple[str, ...],
    features: Mapping[str, frozenset[str]] | None = None,
    *,
    contents: tuple[str, ...] = (),
    audio: tuple[str, ...] = (),
    prompt_length: int = 2500,
    max_elements: int | None = None,
    without_references: tuple[str, ...] = (),
    excludes: Iterable[tuple[str, str]] = (),
) -> Offer:
    return Offer(
        resolutions,
        durations,
        features or {},
        "resolution",
        durations_without_references=without_references,
        excludes=frozenset(excludes),
        contents=contents,
        audio=audio,
        prompt_length=prompt_length,
        max_elements=max_elements,
    )


_HEIGHTS = {"720p": 720, "1080p": 1080}
_HEIGHTS_NEW_4K = {**_HEIGHTS, "4k": 2160}
_MOVED = ("prompt", "image", "video")
_MOTION_AUDIO = ("original", "off")

#: The new dialect, where the model is the last part of the path.
NEW_MODELS: Mapping[str, Model] = _table(
    _new(
        "kling-3.0-turbo",
        _HEIGHTS,
        text_to_video=_resolution(RESOLUTIONS, THREE_TO_FIFTEEN, prompt_length=3072),
        image_to_video=_resolution(RESOLUTIONS, THREE_TO_FIFTEEN, contents=("prompt", "first_frame")),
    ),
    _new(
        "kling-3.0",
        _HEIGHTS_NEW_4K,
        text_to_video=_resolution(
            RESOLUTIONS_4K,
            THREE_TO_FIFTEEN,
            {"sound": _ANY, "multi_shot": _ANY},
            audio=_NATIVE,
            prompt_length=3072,
        ),
        image_to_video=_resolution(
            RESOLUTIONS_4K,
            THREE_TO_FIFTEEN,
            {"sound": _ANY, "multi_shot": _ANY, "last_frame": _ANY, "element": _ANY},
            contents=(*_FRAMES, "element"),
            audio=_NATIVE,
            prompt_length=3072,
            max_elements=3,
        ),
        motion_control=_resolution(
            RESOLUTIONS,
            (),
            {"element": _ANY},
            contents=(*_MOVED, "element"),
            audio=_MOTION_AUDIO,
            prompt_length=3072,
            max_elements=1,
        ),
    ),
    _new(
        "kling-2.6",
        _HEIGHTS,
        text_to_video=_resolution(RESOLUTIONS, FIVE_OR_TEN, {"sound": _FULL_HD}, audio=_NATIVE),
        image_to_video=_resolution(
            RESOLUTIONS,
            FIVE_OR_TEN,
            {"sound": _FULL_HD, "last_frame": _FULL_HD, "voice": _ANY},
            contents=(*_FRAMES, "voice"),
            audio=_NATIVE,
            excludes=[("last_frame", "sound")],
        ),
        motion_control=_resolution(RESOLUTIONS, (), contents=_MOVED, audio=_MOTION_AUDIO),
    ),
    _new(
        "kling-2.5-turbo",
        _HEIGHTS,
        text_to_video=_resolution(RESOLUTIONS, FIVE_OR_TEN),
        image_to_video=_resolution(RESOLUTIONS, FIVE_OR_TEN, {"last_frame": _FULL_HD}, contents=_FRAMES),
    ),
    _new(
        "kling-3.0-omni",
        _HEIGHTS_NEW_4K,
        omni_video=_resolution(
            RESOLUTIONS_4K,
            THREE_TO_FIFTEEN,
            dict.fromkeys(("sound", "multi_shot", "last_frame", "element", "feature_video"), _ANY),
            contents=_REFERENCES,
            audio=("off", "native", "original"),
            prompt_length=3072,
        ),
    ),
    _new(
        "kling-o1",
        _HEIGHTS,
        omni_video=_resolution(
            RESOLUTIONS,
            THREE_TO_TEN,
            dict.fromkeys(("last_frame", "element", "feature_video"), _ANY),
            contents=_REFERENCES,
            audio=("off", "original"),
            without_references=FIVE_OR_TEN,
        ),
    ),
)

#: Names that people and other programs use, and Kling refuses -> what is meant.
NOT_MODELS: Mapping[str, str] = MappingProxyType({"kling-v3-0": "kling-v3", "kling-v2-5": "kling-v2-5-turbo"})

DEFAULT_MODE = "std"
DEFAULT_DURATION = "5"

_ALL_MODELS = (*MODELS.values(), *IMAGE_MODELS.values(), *NEW_MODELS.values())


def models_at(endpoint: str) -> Mapping[str, Model]:
    """The known models of an endpoint by name, oldest first; none where it has no choice of models."""
    return {model.name: model for model in _ALL_MODELS if endpoint in model.offers}


def endpoints_of(name: str) -> list[str]:
    """Where requests can name this model."""
    tables = (MODELS, IMAGE_MODELS)
    return [
        endpoint
        for table in tables
        if name in table
        for endpoint in table[name].offers
        if endpoint not in _OLD
    ]


def models_for(endpoint: str) -> list[str]:
    """Names of the known models of an endpoint, oldest first."""
    return list(models_at(endpoint))


def current_models_for(endpoint: str) -> list[str]:
    """Those that are not being retired; all of them where every one is."""
    names = models_at(endpoint)
    return [name for name, model in names.items() if not model.retired] or list(names)


def closest_model(name: str, endpoint: str) -> str | None:
    """The known model of ``endpoint`` that looks most like ``name``, a current one if there is any, or None."""
    for names in (current_models_for(endpoint), models_for(endpoint)):
        close = get_close_matches(name, names, n=1)
        if close:
            return close[0]
    return None


def models_with_duration(duration: str, endpoint: str) -> list[str]:
    """Known models of ``endpoint`` that make clips of that length and are not being retired."""
    return [
        name
        for name, model in models_at(endpoint).items()
        if duration in model.offers[endpoint].durations and not model.retired
    ]
