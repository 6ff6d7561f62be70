"""Motion control: a picture that moves like the person in a video."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kling_provider.operators.typed import KlingTypedOperator


class KlingMotionControlOperator(KlingTypedOperator):
    """Let the person in a picture move like the one in a video (``motion-control``).

    Takes every argument of :class:`KlingSubmitOperator` besides ``endpoint`` and ``request``. An empty string
    means unset. All fields are templated and can be mapped; Kling's limits are checked before the request.

    With ``wait_for_completion`` it pushes ``video_url`` and ``video_id``. The result is as long as the reference
    video and billed by the second: say ``input_seconds``, else ``max_units`` counts with the longest that Kling takes.

    :param image_url: picture of the person: URL, object-storage URI or path; jpg or png, up to 10 MB, sides from
        300 pixels, ratio 1:2.5 to 2.5:1. Required.
    :param video_url: the movement, by URL only: mp4 or mov, up to 100 MB, sides 340 to 3850 pixels, 3 to 30 s
        (``character_orientation="image"``: 3 to 10 s). Required.
    :param character_orientation: whether the person faces as in the ``image`` or as in the ``video``. Required.
    :param mode: ``std`` (720p) or ``pro`` (1080p). Required.
    :param model_name: ``kling-v3`` (default) or ``kling-v2-6``.
    :param prompt: what else the video shows, up to 2500 characters.
    :param element_list: at most one ``{"element_id": 1}``.
    :param keep_original_sound: ``yes`` (default) or ``no``: whether the sound of the video is kept.
    :param watermark_info: ``{"enabled": true}`` to get a watermarked copy too.
    :param callback_url: where Kling posts each change of status; it must reach it from outside.
    """

    kling_endpoint = "motion-control"

    def __init__(
        self,
        *,
        image_url: str | None = None,
        video_url: str | None = None,
        character_orientation: str | None = None,
        mode: str | None = None,
        model_name: str | None = None,
        prompt: str | None = None,
        element_list: Sequence[Mapping[str, Any]] | str | None = None,
        keep_original_sound: str | None = None,
        watermark_info: Mapping[str, Any] | str | None = None,
        callback_url: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self._keep(locals())
