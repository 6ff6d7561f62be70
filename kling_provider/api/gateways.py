"""Where Kling's API can be reached: one row per gateway.

A new gateway is one row of :data:`GATEWAYS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from kling_provider.api.endpoints import ExternalIdUse


@dataclass(frozen=True, slots=True)
class PictureLimits:
    """What a picture may be (Kling's documents, "image input").

    :param max_bytes: size of the file (in the new dialect :data:`NEW_DIALECT_PICTURE_BYTES`).
    :param min_side: smallest width and height, in pixels.
    :param min_ratio: smallest width / height.
    :param max_ratio: largest width / height.
    """

    max_bytes: int = 10 * 1024 * 1024
    min_side: int = 300
    min_ratio: float = 0.4
    max_ratio: float = 2.5


#: The new dialect takes larger pictures.
NEW_DIALECT_PICTURE_BYTES = 50 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class SoundLimits:
    """What a sound file may be (mp3, wav, m4a or aac; Kling's documents, "sound_file").

    :param max_bytes: size of the file.
    """

    max_bytes: int = 5 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Gateway:
    """One row of the gateway table.

    :param name: value of the connection's extra ``gateway``.
    :param hosts: base address per region; empty where the connection must name the host.
    :param path_prefix: put before every path.
    :param query_path: absolute template of the task query with ``{endpoint}`` and ``{task_id}``, or None
        for the endpoint's own query path.
    :param external_id: whether an ``external_task_id`` can be looked up afterwards: ``lookup`` by query,
        ``list`` only in the list answer, ``none`` not proven.
    :param signs_jwt: whether access key and secret key are accepted.
    :param models: the model sent where the caller names none, per endpoint. Always sent, because the
        vendor's own default is a retired model.
    :param has_new_dialect: whether it is known to speak the new dialect too.
    :param tells_costs: whether it answers ``GET /account/costs``.
    :param result_ttl_days: how long a result can be fetched.
    :param pictures: limits of picture inputs.
    :param sounds: limits of sound inputs.
    :param console: where a person looks at the account.
    """

    name: str
    hosts: Mapping[str, str] = field(default_factory=dict)
    path_prefix: str = ""
    query_path: str | None = None
    external_id: ExternalIdUse = "none"
    signs_jwt: bool = False
    models: Mapping[str, str] = field(default_factory=dict)
    has_new_dialect: bool = False
    tells_costs: bool = False
    result_ttl_days: float = 30
    pictures: PictureLimits = PictureLimits()
    sounds: SoundLimits = SoundLimits()
    console: Mapping[str, str] = field(default_factory=dict)


_CURRENT_MODELS = {
    "image2video": "kling-v2-6",
    "text2video": "kling-v2-6",
    "multi-image2video": "kling-v1-6",  # there is no other
    "multi-elements": "kling-v1-6",  # there is no other
    "omni-video": "kling-v3-omni",
    "motion-control": "kling-v3",
    "images/generations": "kling-v3",
    "images/omni-image": "kling-v3-omni",
    "images/multi-image2image": "kling-v2-1",
    "kolors-virtual-try-on": "kolors-virtual-try-on-v1-5",
}

GATEWAYS: Mapping[str, Gateway] = MappingProxyType(
    {
        row.name: row
        for row in (
            Gateway(
                "official",
                hosts={
                    "singapore": "https://api-singapore.klingai.com",
                    "beijing": "https://api-beijing.klingai.com",
                },
                external_id="lookup",
                signs_jwt=True,
                models=_CURRENT_MODELS,
                has_new_dialect=True,
                tells_costs=True,
                console={"singapore": "https://kling.ai/dev", "beijing": "https://klingai.com/dev"},
            ),
            # Its image2video page lists kling-v1, kling-v1-5 and kling-v1-6. Links are reported to live a day.
            Gateway(
                "dmxapi",
                hosts={"": "https://www.dmxapi.cn"},
                path_prefix="/kling",
                query_path="/kling/v1/videos/generations/{task_id}",
                models={**_CURRENT_MODELS, "image2video": "kling-v1-6", "text2video": "kling-v1-6"},
                result_ttl_days=1,
                console={"": "https://www.dmxapi.cn"},
            ),
            Gateway("custom", signs_jwt=True, models=_CURRENT_MODELS),
        )
    }
)

DEFAULT_GATEWAY = "official"
DEFAULT_REGION = "singapore"
