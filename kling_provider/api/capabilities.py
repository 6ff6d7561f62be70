"""What each model can do: model x mode x duration x feature, from the vendor's capability map.

A new model is one row of :data:`MODELS`. The matrix is the vendor's; a gateway may differ, and an unknown
model may be newer than this table, so what a model does not list is a warning, while a duration or mode
that does not exist for it is an error.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from types import MappingProxyType

FIVE_OR_TEN = ("5", "10")
THREE_TO_FIFTEEN = tuple(str(seconds) for seconds in range(3, 16))

_ALL = frozenset({"std/5", "std/10", "pro/5", "pro/10"})
_PRO = frozenset({"pro/5", "pro/10"})
_ANY = frozenset({"*"})
_NO: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Model:
    """One row of the capability matrix (classic video models of text2video and image2video).

    Features hold the ``mode/duration`` pairs they are offered for; ``*`` is all, empty is none.

    :param name: value of ``model_name``.
    :param endpoints: where it is offered.
    :param modes: values of ``mode``; empty for models without that choice.
    :param durations: values of ``duration``.
    :param features: request field -> the pairs it is offered for; ``image_tail`` alone or with ``image``.
    :param heights: output height in pixels per mode (shorter side of the picture's ratio).
    :param fps: frames per second.
    :param retired: reported to be refused since September 2026; what to use instead.
    """

    name: str
    endpoints: frozenset[str]
    modes: tuple[str, ...] = ("std", "pro")
    durations: tuple[str, ...] = FIVE_OR_TEN
    features: Mapping[str, frozenset[str]] = field(default_factory=dict)
    heights: Mapping[str, int] = field(default_factory=lambda: {"std": 720, "pro": 1080})
    fps: int = 30
    retired: str | None = None

    def offers(self, feature: str, mode: str, duration: str) -> bool:
        """Whether ``feature`` is offered for this mode and duration."""
        pairs = self.features.get(feature, _NO)
        return "*" in pairs or f"{mode}/{duration}" in pairs


_BOTH = frozenset({"text2video", "image2video"})
_IMAGE = frozenset({"image2video"})

MODELS: Mapping[str, Model] = MappingProxyType(
    {
        row.name: row
        for row in (
            Model(
                "kling-v1",
                _BOTH,
                features={
                    "cfg_scale": _ANY,
                    "text2video.camera_control": frozenset({"std/5"}),
                    "image_tail": frozenset({"std/5", "pro/5"}),
                    "masks": frozenset({"std/5", "pro/5"}),
                },
                heights={"std": 720, "pro": 720},
                retired="kling-v2-6",
            ),
            Model(
                "kling-v1-5",
                _IMAGE,
                features={
                    "cfg_scale": _ANY,
                    "image2video.camera_control": frozenset({"pro/5"}),
                    "image_tail": _PRO,
                    "image_tail_only": _PRO,
                    "masks": frozenset({"pro/5"}),
                },
                retired="kling-v2-6",
            ),
            Model(
                "kling-v1-6",
                _BOTH,
                features={"cfg_scale": _ANY, "image_tail": _PRO, "image_tail_only": _PRO},
                retired="kling-v2-6",
            ),
            Model(
                "kling-v2-master",
                _BOTH,
                modes=(),
                heights={"": 720},
                fps=24,
                retired="kling-v2-6",
            ),
            Model("kling-v2-1", _IMAGE, features={"image_tail": _PRO}, fps=24, retired="kling-v2-6"),
            Model("kling-v2-1-master", _BOTH, modes=(), heights={"": 1080}, fps=24, retired="kling-v2-6"),
            Model("kling-v2-5-turbo", _BOTH, features={"image_tail": _PRO}, fps=24),
            Model(
                "kling-v2-6", _BOTH, features={"image_tail": _PRO, "sound": _PRO, "voice_list": _PRO}, fps=24
            ),
            Model(
                "kling-v3",
                _BOTH,
                modes=("std", "pro", "4k"),
                durations=THREE_TO_FIFTEEN,
                features={
                    "cfg_scale": _ANY,
                    "image_tail": _ANY,
                    "sound": _ANY,
                    "multi_shot": _ANY,
                    "element_list": _ANY,
                },
                heights={"std": 720, "pro": 1080, "4k": 2160},
                fps=24,
            ),
        )
    }
)

DEFAULT_MODE = "std"
DEFAULT_DURATION = "5"


def models_for(endpoint: str) -> list[str]:
    """Names of the known models of an endpoint, oldest first."""
    return [model.name for model in MODELS.values() if endpoint in model.endpoints]


def closest_model(name: str, endpoint: str) -> str | None:
    """The known model of ``endpoint`` that looks most like ``name``, or None."""
    close = get_close_matches(name, models_for(endpoint), n=1)
    return close[0] if close else None


def models_with_duration(duration: str, endpoint: str) -> Collection[str]:
    """Known models of ``endpoint`` that make clips of that length and are not being retired."""
    return [
        model.name
        for model in MODELS.values()
        if duration in model.durations and endpoint in model.endpoints and not model.retired
    ]
