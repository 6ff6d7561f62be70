"""Videos from words and references: pictures, elements and another video."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kling_provider.operators.typed import KlingTypedOperator


class KlingOmniVideoOperator(KlingTypedOperator):
    """Make a video from words, pictures, elements and a video, or edit a video (``omni-video``).

    Takes every argument of :class:`KlingSubmitOperator` besides ``endpoint`` and ``request``. An empty string
    means unset. All fields are templated and can be mapped; Kling's limits are checked before the request.

    With ``wait_for_completion`` it pushes ``video_url`` and ``video_id``.

    :param prompt: what the video shows, up to 2500 characters; ``<<<image_1>>>``, ``<<<element_1>>>`` and
        ``<<<video_1>>>`` stand for the references, in their order. Required, unless the shots have their own.
    :param model_name: ``kling-v3-omni`` (default) or ``kling-video-o1``.
    :param image_list: up to 7 of ``{"image_url": <picture>, "type": "first_frame"}``: URL, object-storage URI or
        path; jpg or png, up to 10 MB, sides from 300 pixels, ratio 1:2.5 to 2.5:1. ``type`` is ``first_frame``,
        ``end_frame`` (with a first frame only), or left out for a reference. Pictures and elements: at most 7
        together, 4 beside a video; kling-video-o1 beside an end frame: 2 pictures and no elements.
    :param element_list: elements as ``{"element_id": 1}``; at most 3 beside frames.
    :param video_list: one ``{"video_url": <URL>, "refer_type": "feature", "keep_original_sound": "yes"}``.
        ``base`` (Kling's default) is the video to edit: no frames, and ``duration`` is ignored; ``feature`` is to
        be taken after, also for a next shot. mp4 or mov by URL only, from 3 s (``feature``: at most 10 s, newest
        models 15.5 s), sides 720 to 2160 pixels, 24 to 60 frames per second, up to 200 MB.
    :param mode: ``pro`` (1080p, default), ``std`` (720p) or ``4k`` (kling-v3-omni).
    :param aspect_ratio: ``16:9``, ``9:16`` or ``1:1``. Required, unless a first frame or a base video gives it.
    :param duration: seconds: "3" to "15", default "5"; kling-video-o1 "3" to "10", and only "5" or "10" without a
        reference (a picture that is no frame, an element or a video).
    :param sound: ``on`` (kling-v3-omni) or ``off`` (default). Not beside a video.
    :param multi_shot: several shots in one video (kling-v3-omni). Excludes an end frame.
    :param shot_type: ``customize`` (with multi_prompt) or ``intelligence`` (Kling cuts the prompt).
    :param multi_prompt: 1 to 6 of ``{"index": 1, "prompt": "...", "duration": "2"}``; durations add up.
    :param watermark_info: ``{"enabled": true}`` to get a watermarked copy too.
    :param callback_url: where Kling posts each change of status; it must reach it from outside.
    """

    kling_endpoint = "omni-video"

    def __init__(
        self,
        *,
        prompt: str | None = None,
        model_name: str | None = None,
        image_list: Sequence[Mapping[str, Any]] | str | None = None,
        element_list: Sequence[Mapping[str, Any]] | str | None = None,
        video_list: Sequence[Mapping[str, Any]] | str | None = None,
        mode: str | None = None,
        aspect_ratio: str | None = None,
        duration: str | int | None = None,
        sound: str | None = None,
        multi_shot: bool | str | None = None,
        shot_type: str | None = None,
        multi_prompt: Sequence[Mapping[str, Any]] | str | None = None,
        watermark_info: Mapping[str, Any] | str | None = None,
        callback_url: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self._keep(locals())
