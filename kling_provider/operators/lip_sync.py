"""Lip sync: find the faces of a video, then make one of them speak."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kling_provider.operators.typed import KlingTypedOperator


class KlingIdentifyFaceOperator(KlingTypedOperator):
    """Find the faces of a video, for :class:`KlingAdvancedLipSyncOperator` (``identify-face``).

    Takes every argument of :class:`KlingSubmitOperator` besides ``endpoint`` and ``request``. An empty string
    means unset. All fields are templated and can be mapped; Kling's limits are checked before the request.

    Answered at once: it returns ``KlingTask.to_dict()`` without a sensor, with every face and the milliseconds in
    which it is seen in ``["data"]["face_data"]``, and pushes ``session_id`` and the ``face_id`` of the first.

    :param video_id: Kling's id of a video, as another operator pushed it: at most 30 days old, 2 to 60 s.
        Exactly one of video_id and video_url.
    :param video_url: a video by URL: mp4 or mov, up to 100 MB, 2 to 60 s, 720p or 1080p, sides 512 to 2160
        pixels.
    """

    kling_endpoint = "identify-face"

    def __init__(self, *, video_id: str | None = None, video_url: str | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self._keep(locals())


class KlingAdvancedLipSyncOperator(KlingTypedOperator):
    """Make a face of a video speak a sound (``advanced-lip-sync``).

    Takes every argument of :class:`KlingSubmitOperator` besides ``endpoint`` and ``request``. An empty string
    means unset. All fields are templated and can be mapped; Kling's limits are checked before the request.

    With ``wait_for_completion`` it pushes ``video_url`` and ``video_id``. The faces come from
    :class:`KlingIdentifyFaceOperator`, for example ``session_id=faces.output["session_id"]``.

    :param session_id: of identify-face. Required.
    :param face_choose: exactly one of ``{"face_id": "...", "audio_id": "...", "sound_start_time": 0,
        "sound_end_time": 4000, "sound_insert_time": 500}``, all times in milliseconds: that piece of the sound, at
        least 2000 long, is put at ``sound_insert_time`` of the video, where it has to meet the face for at least
        2000. Instead of ``audio_id`` (a sound of :class:`KlingTextToSpeechOperator`) a ``sound_file`` can be given:
        URL, object-storage URI or path; mp3, wav, m4a or aac, up to 5 MB, 2 to 60 s. ``sound_volume`` and
        ``original_audio_volume`` go from 0 to 2 (default 1). Required.
    :param watermark_info: ``{"enabled": true}`` to get a watermarked copy too.
    :param callback_url: where Kling posts each change of status; it must reach it from outside.
    """

    kling_endpoint = "advanced-lip-sync"

    def __init__(
        self,
        *,
        session_id: str | None = None,
        face_choose: Sequence[Mapping[str, Any]] | str | None = None,
        watermark_info: Mapping[str, Any] | str | None = None,
        callback_url: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self._keep(locals())


class KlingLipSyncOperator(KlingTypedOperator):
    """Make a video speak a text or a sound, in Kling's older way (``lip-sync``).

    Takes every argument of :class:`KlingSubmitOperator` besides ``endpoint`` and ``request``. An empty string
    means unset. All fields are templated and can be mapped; Kling's limits are checked before the request.

    With ``wait_for_completion`` it pushes ``video_url`` and ``video_id``. Kling recommends
    :class:`KlingIdentifyFaceOperator` and :class:`KlingAdvancedLipSyncOperator` instead, and takes no
    ``external_task_id`` here: an unclear submit cannot be looked up.

    :param input: a video (``video_id`` or ``video_url``, exactly one), a ``mode`` and what is spoken.
        ``{"video_id": "...", "mode": "text2video", "text": "...", "voice_id": "...", "voice_language": "en"}``
        speaks up to 120 characters; ``voice_language`` is ``zh`` (Kling's default) or ``en``, ``voice_speed`` 0.8
        to 2.0 (default 1.0). ``{"video_id": "...", "mode": "audio2video", "audio_type": "file", "audio_file":
        <sound>}`` takes an object-storage URI or a path, up to 5 MB; ``"audio_type": "url"`` an ``audio_url``.
        Required.
    :param callback_url: where Kling posts each change of status; it must reach it from outside.
    """

    kling_endpoint = "lip-sync"

    def __init__(
        self,
        *,
        input: Mapping[str, Any] | str | None = None,
        callback_url: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self._keep(locals())
