"""Effects: a ready-made scene with one or two pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kling_provider.operators.typed import KlingTypedOperator


class KlingEffectsOperator(KlingTypedOperator):
    """Put one or two pictures into a scene from Kling's list (``effects``).

    Takes every argument of :class:`KlingSubmitOperator` besides ``endpoint`` and ``request``. An empty string
    means unset. All fields are templated and can be mapped; Kling's limits are checked before the request.

    With ``wait_for_completion`` it pushes ``video_url`` and ``video_id``.

    :param effect_scene: name of the scene. Kling lists over 200, and takes some away from time to time; retired
        ones are refused before the request. Required.
    :param input: ``{"image": <picture>}``, or ``{"images": [<picture>, <picture>]}`` for scenes with two
        characters, of which the first stands on the left: URL, object-storage URI or path; jpg or png, up to
        10 MB, sides from 300 pixels, ratio 1:2.5 to 2.5:1. Older scenes with two characters also take
        ``model_name`` (``kling-v1``, ``kling-v1-5``, ``kling-v1-6``), ``mode`` (``std`` or ``pro``) and
        ``duration`` ("5" or "10") in it. Required.
    :param watermark_info: ``{"enabled": true}`` to get a watermarked copy too.
    :param callback_url: where Kling posts each change of status; it must reach it from outside.
    """

    kling_endpoint = "effects"

    def __init__(
        self,
        *,
        effect_scene: str | None = None,
        input: Mapping[str, Any] | str | None = None,
        watermark_info: Mapping[str, Any] | str | None = None,
        callback_url: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self._keep(locals())
