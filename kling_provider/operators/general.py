"""What videos and pictures are made with: shots of an element, elements, voices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kling_provider.operators.typed import KlingTypedOperator


class KlingMultiShotOperator(KlingTypedOperator):
    """Make pictures of a thing from three more sides (``ai-multi-shot``).

    Takes every argument of :class:`KlingSubmitOperator` besides ``endpoint`` and ``request``. An empty string
    means unset. All fields are templated and can be mapped; Kling's limits are checked before the request.

    With ``wait_for_completion`` it pushes ``image_url`` of the first; every set has ``url_1``, ``url_2`` and
    ``url_3`` in ``["images"]`` of what it returns, ready for :class:`KlingCustomElementOperator`.

    :param element_frontal_image: the thing from the front: URL, object-storage URI or path; jpg or png, up to
        10 MB, sides from 300 pixels, ratio 1:2.5 to 2.5:1. Required.
    :param callback_url: where Kling posts each change of status; it must reach it from outside.
    """

    kling_endpoint = "ai-multi-shot"

    def __init__(
        self, *, element_frontal_image: str | None = None, callback_url: str | None = None, **kwargs: Any
    ):
        super().__init__(**kwargs)
        self._keep(locals())


class KlingCustomElementOperator(KlingTypedOperator):
    """Make an element of your own, which videos and pictures can show again (``advanced-custom-elements``).

    Takes every argument of :class:`KlingSubmitOperator` besides ``endpoint`` and ``request``. An empty string
    means unset. All fields are templated and can be mapped; Kling's limits are checked before the request.

    With ``wait_for_completion`` it pushes ``element_id``, for the ``element_list`` of other operators.

    :param element_name: up to 20 characters. Required.
    :param element_description: up to 100 characters. Required.
    :param reference_type: made from pictures (``image_refer``) or from a clip (``video_refer``). Required.
    :param element_image_list: for ``image_refer``: ``{"frontal_image": <picture>, "refer_images": [{"image_url":
        <picture>}]}`` with 1 to 3 more views; URL, object-storage URI or path; jpg or png, up to 10 MB, sides from
        300 pixels, ratio 1:2.5 to 2.5:1.
    :param element_video_list: for ``video_refer``: ``{"refer_videos": [{"video_url": <URL>}]}`` with one clip, by
        URL only: mp4 or mov, 3 to 8 s, 1080p, 16:9 or 9:16, up to 200 MB.
    :param element_voice_id: a voice of the account for it; for ``video_refer`` only.
    :param tag_list: what kind of thing it is, as ``{"tag_id": "o_102"}``, from ``o_101`` to ``o_108``.
    :param callback_url: where Kling posts each change of status; it must reach it from outside.
    """

    kling_endpoint = "advanced-custom-elements"

    def __init__(
        self,
        *,
        element_name: str | None = None,
        element_description: str | None = None,
        reference_type: str | None = None,
        element_image_list: Mapping[str, Any] | str | None = None,
        element_video_list: Mapping[str, Any] | str | None = None,
        element_voice_id: str | None = None,
        tag_list: Sequence[Mapping[str, Any]] | str | None = None,
        callback_url: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self._keep(locals())


class KlingDeleteElementOperator(KlingTypedOperator):
    """Delete an element of your own (``delete-elements``).

    Takes every argument of :class:`KlingSubmitOperator` besides ``endpoint`` and ``request``. An empty string
    means unset. All fields are templated and can be mapped; Kling's limits are checked before the request.

    Answered at once: it returns ``KlingTask.to_dict()`` without a sensor. Costs nothing.

    :param element_id: as :class:`KlingCustomElementOperator` pushed it. Required.
    """

    kling_endpoint = "delete-elements"

    def __init__(self, *, element_id: str | int | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self._keep(locals())


class KlingCustomVoiceOperator(KlingTypedOperator):
    """Make a voice of your own from a recording (``custom-voices``).

    Takes every argument of :class:`KlingSubmitOperator` besides ``endpoint`` and ``request``. An empty string
    means unset. All fields are templated and can be mapped; Kling's limits are checked before the request.

    With ``wait_for_completion`` it pushes ``voice_id``, for speech, lip sync and the ``voice_list`` of videos.

    :param voice_name: up to 20 characters. Required.
    :param voice_url: the recording, by URL only: mp3, wav, mp4 or mov, 5 to 30 s, one clean voice. Exactly one of
        voice_url and video_id.
    :param video_id: Kling's id of a video with the voice, as another operator pushed it: of kling-v2-6 with sound,
        of an avatar or of a lip sync.
    :param callback_url: where Kling posts each change of status; it must reach it from outside.
    """

    kling_endpoint = "custom-voices"

    def __init__(
        self,
        *,
        voice_name: str | None = None,
        voice_url: str | None = None,
        video_id: str | None = None,
        callback_url: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self._keep(locals())


class KlingDeleteVoiceOperator(KlingTypedOperator):
    """Delete a voice of your own (``delete-voices``).

    Takes every argument of :class:`KlingSubmitOperator` besides ``endpoint`` and ``request``. An empty string
    means unset. All fields are templated and can be mapped; Kling's limits are checked before the request.

    Answered at once: it returns ``KlingTask.to_dict()`` without a sensor. Costs nothing.

    :param voice_id: as :class:`KlingCustomVoiceOperator` pushed it. Required.
    """

    kling_endpoint = "delete-voices"

    def __init__(self, *, voice_id: str | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self._keep(locals())
