"""Sounds: from a text, for a video, and speech."""

from __future__ import annotations

from typing import Any

from kling_provider.operators.typed import KlingTypedOperator


class KlingTextToAudioOperator(KlingTypedOperator):
    """Make a sound from words (``text-to-audio``).

    Takes every argument of :class:`KlingSubmitOperator` besides ``endpoint`` and ``request``. An empty string
    means unset. All fields are templated and can be mapped; Kling's limits are checked before the request.

    With ``wait_for_completion`` it pushes ``audio_url`` (mp3) and ``audio_id``; the result has a wav as well.

    :param prompt: what is heard, up to 200 characters. Required.
    :param duration: seconds, 3.0 to 10.0, at most one decimal. Required.
    :param callback_url: where Kling posts each change of status; it must reach it from outside.
    """

    kling_endpoint = "text-to-audio"

    def __init__(
        self,
        *,
        prompt: str | None = None,
        duration: float | str | None = None,
        callback_url: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self._keep(locals())


class KlingVideoToAudioOperator(KlingTypedOperator):
    """Make the sound for a silent video (``video-to-audio``).

    Takes every argument of :class:`KlingSubmitOperator` besides ``endpoint`` and ``request``. An empty string
    means unset. All fields are templated and can be mapped; Kling's limits are checked before the request.

    With ``wait_for_completion`` it pushes ``video_url`` and ``video_id`` of the video with its sound, and
    ``audio_url`` (mp3) and ``audio_id`` of the sound alone.

    :param video_id: Kling's id of a video, as another operator pushed it: at most 30 days old, 3 to 20 s.
        Exactly one of video_id and video_url.
    :param video_url: a video by URL: mp4 or mov, up to 100 MB, 3 to 20 s.
    :param sound_effect_prompt: which noises are heard, up to 200 characters.
    :param bgm_prompt: which music is heard, up to 200 characters.
    :param asmr_mode: bring small noises out; default false.
    :param callback_url: where Kling posts each change of status; it must reach it from outside.
    """

    kling_endpoint = "video-to-audio"

    def __init__(
        self,
        *,
        video_id: str | None = None,
        video_url: str | None = None,
        sound_effect_prompt: str | None = None,
        bgm_prompt: str | None = None,
        asmr_mode: bool | str | None = None,
        callback_url: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self._keep(locals())


class KlingTextToSpeechOperator(KlingTypedOperator):
    """Speak a text (``tts``).

    Takes every argument of :class:`KlingSubmitOperator` besides ``endpoint`` and ``request``. An empty string
    means unset. All fields are templated and can be mapped; Kling's limits are checked before the request.

    Answered at once: it returns ``KlingTask.to_dict()`` without a sensor, and pushes ``audio_url`` and
    ``audio_id``, which avatars and lip sync take for 30 days.

    :param text: what is spoken, up to 1000 characters. Required.
    :param voice_id: whose voice: one of Kling's (:class:`KlingReadOperator` with ``presets-voices`` lists them) or
        your own (:class:`KlingCustomVoiceOperator`). Required.
    :param voice_language: ``zh`` or ``en``. Required: Kling's default is Chinese.
    :param voice_speed: 0.8 to 2.0 (default 1.0), at most one decimal.
    """

    kling_endpoint = "tts"

    def __init__(
        self,
        *,
        text: str | None = None,
        voice_id: str | None = None,
        voice_language: str | None = None,
        voice_speed: float | str | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self._keep(locals())
