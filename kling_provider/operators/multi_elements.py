"""Multi-elements: mark what is to be changed in a video, then add, swap or remove it.

A session lives 24 hours: KlingInitSelectionOperator begins it, KlingAddSelectionOperator marks something,
KlingPreviewSelectionOperator shows it, KlingMultiElementsOperator makes the new video.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kling_provider.operators.typed import KlingTypedOperator


class KlingInitSelectionOperator(KlingTypedOperator):
    """Begin a session in which something of a video is marked (``multi-elements/init-selection``).

    Takes every argument of :class:`KlingSubmitOperator` besides ``endpoint`` and ``request``. An empty string
    means unset. All fields are templated and can be mapped; Kling's limits are checked before the request.

    Answered at once: it returns ``KlingTask.to_dict()`` without a sensor, with size and length of the video in
    ``["data"]``, and pushes ``session_id``, which is good for 24 hours.

    :param video_id: Kling's id of a video, as another operator pushed it: at most 30 days old, 2 to 5 s or 7 to
        10 s. Exactly one of video_id and video_url.
    :param video_url: a video by URL: mp4 or mov, 2 to 5 s or 7 to 10 s, sides 720 to 2160 pixels, 24, 30 or 60
        frames per second.
    """

    kling_endpoint = "multi-elements/init-selection"

    def __init__(self, *, video_id: str | None = None, video_url: str | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self._keep(locals())


class KlingAddSelectionOperator(KlingTypedOperator):
    """Mark something in a frame of the video by points on it (``multi-elements/add-selection``).

    Takes every argument of :class:`KlingSubmitOperator` besides ``endpoint`` and ``request``. An empty string
    means unset. All fields are templated and can be mapped; Kling's limits are checked before the request.

    Answered at once: it returns ``KlingTask.to_dict()`` without a sensor, with what Kling took the points for in
    ``["data"]["res"]``, and pushes ``session_id``.

    :param session_id: of init-selection, for example ``session.output["session_id"]``. Required.
    :param frame_index: number of the frame, from 0. A session takes up to 10 frames. Required.
    :param points: 1 to 10 of ``{"x": 0.5, "y": 0.25}``, as shares of the frame's width and height. Required.
    """

    kling_endpoint = "multi-elements/add-selection"

    def __init__(
        self,
        *,
        session_id: str | None = None,
        frame_index: int | str | None = None,
        points: Sequence[Mapping[str, Any]] | str | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self._keep(locals())


class KlingDeleteSelectionOperator(KlingTypedOperator):
    """Take points in a frame back (``multi-elements/delete-selection``).

    Takes every argument of :class:`KlingSubmitOperator` besides ``endpoint`` and ``request``. An empty string
    means unset. All fields are templated and can be mapped; Kling's limits are checked before the request.

    Answered at once: it returns ``KlingTask.to_dict()`` without a sensor, with what is still marked in
    ``["data"]["res"]``, and pushes ``session_id``.

    :param session_id: of init-selection, for example ``session.output["session_id"]``. Required.
    :param frame_index: number of the frame, from 0. Required.
    :param points: 1 to 10 of ``{"x": 0.5, "y": 0.25}``: exactly those that were added. Required.
    """

    kling_endpoint = "multi-elements/delete-selection"

    def __init__(
        self,
        *,
        session_id: str | None = None,
        frame_index: int | str | None = None,
        points: Sequence[Mapping[str, Any]] | str | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self._keep(locals())


class KlingClearSelectionOperator(KlingTypedOperator):
    """Take all marks of a session back (``multi-elements/clear-selection``).

    Takes every argument of :class:`KlingSubmitOperator` besides ``endpoint`` and ``request``. An empty string
    means unset. All fields are templated and can be mapped; Kling's limits are checked before the request.

    Answered at once: it returns ``KlingTask.to_dict()`` without a sensor, and pushes ``session_id``.

    :param session_id: of init-selection, for example ``session.output["session_id"]``. Required.
    """

    kling_endpoint = "multi-elements/clear-selection"

    def __init__(self, *, session_id: str | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self._keep(locals())


class KlingPreviewSelectionOperator(KlingTypedOperator):
    """Show what is marked all through the video (``multi-elements/preview-selection``).

    Takes every argument of :class:`KlingSubmitOperator` besides ``endpoint`` and ``request``. An empty string
    means unset. All fields are templated and can be mapped; Kling's limits are checked before the request.

    Answered at once: it returns ``KlingTask.to_dict()`` without a sensor, with the addresses of a video, its cover
    and the tracking in ``["data"]["res"]``, and pushes ``session_id``.

    :param session_id: of init-selection, for example ``session.output["session_id"]``. Required.
    """

    kling_endpoint = "multi-elements/preview-selection"

    def __init__(self, *, session_id: str | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self._keep(locals())


class KlingMultiElementsOperator(KlingTypedOperator):
    """Add, swap or remove what a session has marked in a video (``multi-elements``).

    Takes every argument of :class:`KlingSubmitOperator` besides ``endpoint`` and ``request``. An empty string
    means unset. All fields are templated and can be mapped; Kling's limits are checked before the request.

    With ``wait_for_completion`` it pushes ``video_url`` and ``video_id``. Kling offers it with kling-v1-6 only,
    which is being retired; :class:`KlingOmniVideoOperator` with a ``base`` video is the newer way.

    :param session_id: of init-selection, for example ``session.output["session_id"]``. Required.
    :param edit_mode: ``addition``, ``swap`` or ``removal``. Required.
    :param image_list: what is put in, as ``{"image": <picture>}``: 1 or 2 for an addition, exactly 1 for a swap,
        none for a removal. URL, object-storage URI or path; jpg or png, up to 10 MB, sides from 300 pixels, ratio
        1:2.5 to 2.5:1.
    :param prompt: what is to be done, up to 2500 characters. Required.
    :param negative_prompt: what must not happen, up to 2500 characters.
    :param model_name: ``kling-v1-6`` (default), the only one.
    :param mode: ``std`` (default) or ``pro``.
    :param duration: seconds: "5" (default) for a video of 2 to 5 s, "10" for one of 7 to 10 s.
    :param watermark_info: ``{"enabled": true}`` to get a watermarked copy too.
    :param callback_url: where Kling posts each change of status; it must reach it from outside.
    """

    kling_endpoint = "multi-elements"

    def __init__(
        self,
        *,
        session_id: str | None = None,
        edit_mode: str | None = None,
        image_list: Sequence[Mapping[str, Any]] | str | None = None,
        prompt: str | None = None,
        negative_prompt: str | None = None,
        model_name: str | None = None,
        mode: str | None = None,
        duration: str | int | None = None,
        watermark_info: Mapping[str, Any] | str | None = None,
        callback_url: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self._keep(locals())
