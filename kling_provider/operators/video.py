"""Videos from a prompt, from frames, from several pictures, and their extension."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kling_provider.operators.typed import KlingTypedOperator


class KlingImageToVideoOperator(KlingTypedOperator):
    """Make a video from a first and/or last frame (``image2video``).

    Takes every argument of :class:`KlingSubmitOperator` besides ``endpoint`` and ``request``. An empty string
    means unset. All fields are templated and can be mapped; Kling's limits are checked before the request.

    With ``wait_for_completion`` it pushes ``video_url`` and ``video_id``.

    :param image: first frame: URL, object-storage URI or path. At least one of image and image_tail. jpg or
        png, up to 10 MB, sides from 300 pixels, ratio 1:2.5 to 2.5:1.
    :param prompt: what happens, up to 2500 characters.
    :param model_name: Kling's model; by default a current one of the gateway, never the vendor's default.
    :param image_tail: last frame, like ``image``. Excludes masks and camera_control.
    :param negative_prompt: what must not happen, up to 2500 characters.
    :param cfg_scale: how closely to follow the prompt, 0 to 1 (default 0.5). Not for models v2.x.
    :param mode: ``std`` (720p, default), ``pro`` (1080p) or ``4k`` (kling-v3).
    :param duration: seconds: "5" (default) or "10"; "3" to "15" for kling-v3.
    :param sound: ``on`` (kling-v2-6 pro, kling-v3) or ``off`` (default).
    :param camera_control: ``{"type": "simple", "config": {"zoom": 5}}`` with exactly one of horizontal,
        vertical, pan, tilt, roll, zoom (-10 to 10), or a preset ``{"type": "down_back"}``.
    :param static_mask: picture of what must not move; the size of the other masks, the ratio of ``image``.
    :param dynamic_masks: up to 6 of ``{"mask": <picture>, "trajectories": [{"x": 1, "y": 2}, ...]}`` with 2 to
        77 points in pixels, origin bottom-left.
    :param element_list: up to 3 of ``{"element_id": 1}`` (kling-v3). Excludes voice_list.
    :param voice_list: up to 2 of ``{"voice_id": "..."}`` (kling-v2-6 pro, sound on).
    :param multi_shot: several shots in one video (kling-v3).
    :param shot_type: ``customize`` (with multi_prompt) or ``intelligence`` (Kling cuts the prompt).
    :param multi_prompt: 1 to 6 of ``{"index": 1, "prompt": "...", "duration": "2"}``; durations add up.
    :param watermark_info: ``{"enabled": true}`` to get a watermarked copy too.
    :param callback_url: where Kling posts each change of status; it must reach it from outside.
    """

    kling_endpoint = "image2video"

    def __init__(
        self,
        *,
        image: str | None = None,
        prompt: str | None = None,
        model_name: str | None = None,
        image_tail: str | None = None,
        negative_prompt: str | None = None,
        cfg_scale: float | str | None = None,
        mode: str | None = None,
        duration: str | int | None = None,
        sound: str | None = None,
        camera_control: Mapping[str, Any] | str | None = None,
        static_mask: str | None = None,
        dynamic_masks: Sequence[Mapping[str, Any]] | str | None = None,
        element_list: Sequence[Mapping[str, Any]] | str | None = None,
        voice_list: Sequence[Mapping[str, Any]] | str | None = None,
        multi_shot: bool | str | None = None,
        shot_type: str | None = None,
        multi_prompt: Sequence[Mapping[str, Any]] | str | None = None,
        watermark_info: Mapping[str, Any] | str | None = None,
        callback_url: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self._keep(locals())


class KlingTextToVideoOperator(KlingTypedOperator):
    """Make a video from a prompt (``text2video``).

    Takes every argument of :class:`KlingSubmitOperator` besides ``endpoint`` and ``request``. An empty string
    means unset. All fields are templated and can be mapped; Kling's limits are checked before the request.

    With ``wait_for_completion`` it pushes ``video_url`` and ``video_id``.

    :param prompt: what the video shows, up to 2500 characters. Required, unless multi_prompt has the shots.
    :param model_name: Kling's model; by default a current one of the gateway, never the vendor's default.
    :param negative_prompt: what it must not show, up to 2500 characters.
    :param cfg_scale: how closely to follow the prompt, 0 to 1 (default 0.5). Not for models v2.x.
    :param mode: ``std`` (720p, default), ``pro`` (1080p) or ``4k`` (kling-v3).
    :param duration: seconds: "5" (default) or "10"; "3" to "15" for kling-v3.
    :param aspect_ratio: ``16:9`` (Kling's default), ``9:16`` or ``1:1``.
    :param sound: ``on`` (kling-v2-6 pro, kling-v3) or ``off`` (default).
    :param camera_control: as for :class:`KlingImageToVideoOperator`.
    :param multi_shot: several shots in one video (kling-v3).
    :param shot_type: ``customize`` (with multi_prompt) or ``intelligence`` (Kling cuts the prompt).
    :param multi_prompt: 1 to 6 of ``{"index": 1, "prompt": "...", "duration": "2"}``; durations add up.
    :param watermark_info: ``{"enabled": true}`` to get a watermarked copy too.
    :param callback_url: where Kling posts each change of status; it must reach it from outside.
    """

    kling_endpoint = "text2video"

    def __init__(
        self,
        *,
        prompt: str | None = None,
        model_name: str | None = None,
        negative_prompt: str | None = None,
        cfg_scale: float | str | None = None,
        mode: str | None = None,
        duration: str | int | None = None,
        aspect_ratio: str | None = None,
        sound: str | None = None,
        camera_control: Mapping[str, Any] | str | None = None,
        multi_shot: bool | str | None = None,
        shot_type: str | None = None,
        multi_prompt: Sequence[Mapping[str, Any]] | str | None = None,
        watermark_info: Mapping[str, Any] | str | None = None,
        callback_url: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self._keep(locals())


class KlingMultiImageToVideoOperator(KlingTypedOperator):
    """Make a video in which up to 4 pictures appear (``multi-image2video``).

    Takes every argument of :class:`KlingSubmitOperator` besides ``endpoint`` and ``request``. An empty string
    means unset. All fields are templated and can be mapped; Kling's limits are checked before the request.

    With ``wait_for_completion`` it pushes ``video_url`` and ``video_id``. Kling offers it with kling-v1-6 only,
    which is being retired; :class:`KlingOmniVideoOperator` with ``image_list`` is the newer way.

    :param image_list: 1 to 4 of ``{"image": <picture>}``: URL, object-storage URI or path; jpg or png, up to
        10 MB, sides from 300 pixels, ratio 1:2.5 to 2.5:1. Required.
    :param prompt: what the video shows, up to 2500 characters. Required.
    :param model_name: ``kling-v1-6`` (default), the only one.
    :param negative_prompt: what it must not show, up to 2500 characters.
    :param mode: ``std`` (720p, default) or ``pro`` (1080p).
    :param duration: seconds: "5" (default) or "10".
    :param aspect_ratio: ``16:9`` (Kling's default), ``9:16`` or ``1:1``.
    :param watermark_info: ``{"enabled": true}`` to get a watermarked copy too.
    :param callback_url: where Kling posts each change of status; it must reach it from outside.
    """

    kling_endpoint = "multi-image2video"

    def __init__(
        self,
        *,
        image_list: Sequence[Mapping[str, Any]] | str | None = None,
        prompt: str | None = None,
        model_name: str | None = None,
        negative_prompt: str | None = None,
        mode: str | None = None,
        duration: str | int | None = None,
        aspect_ratio: str | None = None,
        watermark_info: Mapping[str, Any] | str | None = None,
        callback_url: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self._keep(locals())


class KlingVideoExtendOperator(KlingTypedOperator):
    """Make a video 4 to 5 seconds longer (``video-extend``).

    Takes every argument of :class:`KlingSubmitOperator` besides ``endpoint`` and ``request``. An empty string
    means unset. All fields are templated and can be mapped; Kling's limits are checked before the request.

    With ``wait_for_completion`` it pushes ``video_url`` and ``video_id`` of the whole, longer video, which can be
    extended again, up to 3 minutes in all. Model and mode are those of the video. To go on from a clip of a newer
    model, give it to :class:`KlingOmniVideoOperator` as a ``feature`` video.

    :param video_id: Kling's id of the video, as another operator pushed it (not the task_id): made by
        text2video, image2video or video-extend with kling-v1, kling-v1-5 or kling-v1-6, at most 30 days ago.
        Required.
    :param prompt: what happens next, up to 2500 characters.
    :param negative_prompt: what must not happen, up to 2500 characters. Videos of kling-v1 ignore it.
    :param cfg_scale: how closely to follow the prompt, 0 to 1 (default 0.5). Videos of kling-v1 ignore it.
    :param watermark_info: ``{"enabled": true}`` to get a watermarked copy too.
    :param callback_url: where Kling posts each change of status; it must reach it from outside.
    """

    kling_endpoint = "video-extend"

    def __init__(
        self,
        *,
        video_id: str | None = None,
        prompt: str | None = None,
        negative_prompt: str | None = None,
        cfg_scale: float | str | None = None,
        watermark_info: Mapping[str, Any] | str | None = None,
        callback_url: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self._keep(locals())
