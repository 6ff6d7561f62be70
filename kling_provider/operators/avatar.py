"""Avatars: a picture that speaks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kling_provider.operators.typed import KlingTypedOperator


class KlingAvatarOperator(KlingTypedOperator):
    """Let the person in a picture speak a sound (``avatar``).

    Takes every argument of :class:`KlingSubmitOperator` besides ``endpoint`` and ``request``. An empty string
    means unset. All fields are templated and can be mapped; Kling's limits are checked before the request.

    With ``wait_for_completion`` it pushes ``video_url`` and ``video_id``. The result is as long as the sound and
    billed by the second: say ``input_seconds``, else ``max_units`` counts with the longest that Kling takes.

    :param image: picture of the person: URL, object-storage URI or path; jpg or png, up to 10 MB, sides from
        300 pixels, ratio 1:2.5 to 2.5:1. Required.
    :param audio_id: what to speak: a sound of :class:`KlingTextToSpeechOperator`, for example its
        ``output["audio_id"]``, at most 30 days old, 2 to 300 s. Exactly one of audio_id and sound_file.
    :param sound_file: what to speak, like ``image``: mp3, wav, m4a or aac, up to 5 MB, 2 to 300 s.
    :param prompt: how the person acts, up to 2500 characters.
    :param mode: ``std`` (default) or ``pro``.
    :param watermark_info: ``{"enabled": true}`` to get a watermarked copy too.
    :param callback_url: where Kling posts each change of status; it must reach it from outside.
    """

    kling_endpoint = "avatar"

    def __init__(
        self,
        *,
        image: str | None = None,
        audio_id: str | None = None,
        sound_file: str | None = None,
        prompt: str | None = None,
        mode: str | None = None,
        watermark_info: Mapping[str, Any] | str | None = None,
        callback_url: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self._keep(locals())
