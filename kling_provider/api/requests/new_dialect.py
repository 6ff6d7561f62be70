"""The new dialect: ``prompt`` or ``contents``, ``settings`` and ``options``; the model stands in the path.

Every class is made from a row of :data:`~kling_provider.api.capabilities.NEW_MODELS`, so that a resolution or
a length is written once.
"""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, create_model, model_validator

from kling_provider.api.capabilities import NEW_MODELS, Offer
from kling_provider.api.requests.parts import (
    Default,
    Id,
    Inner,
    Json,
    KlingRequest,
    Picture,
    UserId,
    VideoRatio,
    WatermarkInfo,
    WebAddress,
    Words,
    check_media_address,
    show_value,
)

#: Type of a content -> the field that holds it. ``id`` may stand beside it, for ``@id`` in the prompt.
HOLDS: dict[str, str] = {
    "prompt": "text",
    "element": "element_id",
    "voice": "voice_id",
    **dict.fromkeys(
        ("first_frame", "last_frame", "refer_image", "feature_video", "base_video", "image", "video"), "url"
    ),
}
_VIDEOS = ("feature_video", "base_video", "video")
_MAX_VOICES = 2
#: Contents of which there is at most one.
_SINGLE = frozenset({"prompt", "first_frame", "last_frame", "image", *_VIDEOS})


class Options(Inner):
    """What every create of a task takes in the new dialect."""

    callback_url: WebAddress | None = None
    external_task_id: UserId | None = None
    watermark_info: Annotated[WatermarkInfo | None, Json] = None


class Content(Inner):
    """One thing a video is made from: its ``type``, and what that type holds."""

    type: str
    text: Annotated[str, Words] | None = None
    url: Picture | None = None
    element_id: int | None = None
    voice_id: Id | None = None
    id: Id | None = None

    @model_validator(mode="after")
    def _holds_what_its_type_says(self) -> Self:
        """A prompt holds ``text``, an element ``element_id``, a voice ``voice_id``, every other type ``url``.

        Videos go by http(s) address only.
        """
        wanted = HOLDS.get(self.type)
        for name in dict.fromkeys(HOLDS.values()):
            value = getattr(self, name)
            if wanted == name and value is None:
                raise ValueError(f"type={self.type!r} needs {name}: give it")
            if wanted not in (name, None) and value is not None:
                raise ValueError(f"{name}={show_value(value)} is not for type={self.type!r}; use {wanted}")
        if self.type in _VIDEOS:
            try:
                check_media_address(self.url)
            except ValueError as error:
                raise ValueError(f"url={show_value(self.url)} {error}")
        return self


class NewRequest(KlingRequest):
    """What every request of the new dialect has."""

    offer: ClassVar[Offer]

    options: Annotated[Options | None, Json] = None


class PromptRequest(NewRequest):
    """A request that is made of words."""


class ContentsRequest(NewRequest):
    """A request that is made of contents."""

    def contents_of(self, *types: str) -> list[Content]:
        """The contents of these types."""
        contents: list[Content] = getattr(self, "contents")  # noqa: B009 - made from the table, below
        return [content for content in contents if content.type in types]

    @model_validator(mode="after")
    def _contents_go_together(self) -> Self:
        """At most one prompt, one frame of each kind and one video of each kind.

        At most 2 voices, which need ``audio='native'``.
        """
        counts = Counter(content.type for content in self.contents_of(*HOLDS))
        for kind, count in counts.items():
            if kind in _SINGLE and count > 1:
                raise ValueError(f"contents has {count} of type {kind!r}: keep one of them")
        for content in self.contents_of("prompt"):
            if len(content.text or "") > self.offer.prompt_length:
                raise ValueError(
                    f"contents: text={show_value(content.text)} of the prompt is too long: at most "
                    f"{self.offer.prompt_length} characters; shorten it"
                )
        most = self.offer.max_elements
        if most is not None and counts["element"] > most:
            raise ValueError(f"contents has {counts['element']} elements: at most {most}; leave some out")
        if counts["voice"] > _MAX_VOICES:
            raise ValueError(f"contents has {counts['voice']} voices: at most {_MAX_VOICES}; leave some out")
        if counts["voice"] and self.setting("audio") != "native":
            raise ValueError(
                "contents has a voice, which needs settings.audio='native'; set it, or leave it out"
            )
        return self

    def setting(self, name: str) -> Any:
        """A field of ``settings``, or None."""
        return getattr(getattr(self, "settings", None), name, None)


class FramesRequest(ContentsRequest):
    """A video from frames."""

    @model_validator(mode="after")
    def _last_frame_is_not_alone(self) -> Self:
        """A ``first_frame`` is required, beside a ``last_frame`` too."""
        if self.contents_of("last_frame") and not self.contents_of("first_frame"):
            raise ValueError("contents has a last_frame without a first_frame; add the first frame")
        if not self.contents_of("first_frame"):
            raise ValueError("contents has no first_frame: add {'type': 'first_frame', 'url': ...}")
        return self


class OmniRequest(ContentsRequest):
    """A video from words and references."""

    @model_validator(mode="after")
    def _references_go_together(self) -> Self:
        """A prompt is required. A ``last_frame`` needs a ``first_frame``.

        ``feature_video`` and ``base_video`` exclude each other. A ``feature_video`` goes with ``audio='off'`` only,
        a ``base_video`` with neither frames nor ``multi_shot`` nor ``audio='native'``.
        """
        if not self.contents_of("prompt"):
            raise ValueError("contents has no prompt: add {'type': 'prompt', 'text': ...}")
        frames = self.contents_of("first_frame", "last_frame")
        if self.contents_of("last_frame") and not self.contents_of("first_frame"):
            raise ValueError("contents has a last_frame without a first_frame; add the first frame")
        base, feature = self.contents_of("base_video"), self.contents_of("feature_video")
        if base and feature:
            raise ValueError("contents has a base_video and a feature_video: keep one of them")
        audio = self.setting("audio")
        if feature and audio not in (None, "off"):
            raise ValueError(f"settings.audio={audio!r} does not go with a feature_video; use 'off'")
        if base and frames:
            raise ValueError(f"contents has a {frames[0].type} beside a base_video; leave one of them out")
        if base and audio == "native":
            raise ValueError("settings.audio='native' does not go with a base_video; use 'original' or 'off'")
        if base and self.setting("multi_shot"):
            raise ValueError("settings.multi_shot=true does not go with a base_video; leave it out")
        return self


class OmniRatioRequest(OmniRequest):
    """An omni video that has to be told its ratio where no input gives one."""

    @model_validator(mode="after")
    def _has_a_ratio(self) -> Self:
        """``aspect_ratio`` is required without a ``first_frame`` and a ``base_video``."""
        if not self.contents_of("first_frame", "base_video") and self.setting("aspect_ratio") is None:
            raise ValueError(
                "settings.aspect_ratio is required where neither a first_frame nor a base_video gives one: use "
                "'16:9', '9:16' or '1:1'"
            )
        return self


class MotionRequest(ContentsRequest):
    """A picture that moves like a video; the result is as long as that."""

    @model_validator(mode="after")
    def _picture_and_video(self) -> Self:
        """An image and a video are required."""
        for kind in ("image", "video"):
            if not self.contents_of(kind):
                raise ValueError(f"contents has no {kind}: add {{'type': '{kind}', 'url': ...}}")
        return self


def _model(
    endpoint: str, base: type[NewRequest], sentence: str, ratio: str | None = None
) -> type[NewRequest]:
    """The request class of one endpoint, from its row of the table.

    :param endpoint: name of the endpoint.
    :param base: its rules.
    :param sentence: for the docstring.
    :param ratio: Kling's default ``aspect_ratio``; an empty string where it has none; None without the field.
    """
    path, _, model = endpoint.partition("/")
    offer = NEW_MODELS[model].offers[endpoint]
    words = f"{path}-{model.removeprefix('kling-').replace('.', '')}".split("-")
    name = "".join(word.capitalize() for word in words)
    chosen: dict[str, Any] = {
        "resolution": _optional(_one_of(offer.qualities), Default("720p", is_sent=True))
    }
    if ratio is not None:
        chosen["aspect_ratio"] = _optional(VideoRatio, *([Default(ratio)] if ratio else []))
    if offer.durations:
        chosen["duration"] = _optional(_seconds(offer), Default(5, is_sent=True))
    if offer.audio:
        chosen["audio"] = _optional(_one_of(offer.audio), Default(offer.audio[0], is_sent=True))
    if "multi_shot" in offer.features:
        chosen["multi_shot"] = _optional(bool, Default(True))
    if base is MotionRequest:
        chosen["character_orientation"] = (Literal["image", "video"], ...)
    settings = create_model(f"{name}Settings", __base__=Inner, __doc__=f"Settings of {endpoint}.", **chosen)
    fields: dict[str, Any] = {"settings": _optional(settings, Json)}
    if base is MotionRequest:
        fields["settings"] = (Annotated[settings, Json], ...)
    if offer.contents:
        kinds: Any = (_one_of(offer.contents), ...)
        item = create_model(f"{name}Content", __base__=Content, __doc__=Content.__doc__, type=kinds)
        fields["contents"] = (Annotated[list[item], Json, Field(min_length=1)], ...)
    else:
        fields["prompt"] = (Annotated[str, Field(max_length=offer.prompt_length), Words], ...)
    text = f"{sentence} (``POST /{endpoint}``)."
    made: type[NewRequest] = create_model(
        f"{name}Request", __base__=base, __module__=__name__, __doc__=text, **fields
    )
    made.offer = offer
    return made


def _optional(kind: Any, *marks: Any) -> tuple[Any, None]:
    special: Any = Annotated
    return (special[(kind | None, *marks)] if marks else kind | None), None


def _one_of(values: tuple[str, ...]) -> Any:
    special: Any = Literal
    return special[values]


def _seconds(offer: Offer) -> Any:
    numbers = [int(duration) for duration in offer.durations]

    def listed(value: int) -> int:
        if value not in numbers:
            raise ValueError(f"is not offered: use {' or '.join(offer.durations)}")
        return value

    return Annotated[int, Field(ge=min(numbers), le=max(numbers)), AfterValidator(listed)]


TextToVideo30TurboRequest = _model(
    "text-to-video/kling-3.0-turbo", PromptRequest, "A video from a prompt", "16:9"
)
TextToVideo30Request = _model("text-to-video/kling-3.0", PromptRequest, "A video from a prompt", "16:9")
TextToVideo26Request = _model("text-to-video/kling-2.6", PromptRequest, "A video from a prompt", "16:9")
TextToVideo25TurboRequest = _model(
    "text-to-video/kling-2.5-turbo", PromptRequest, "A video from a prompt", "16:9"
)
ImageToVideo30TurboRequest = _model(
    "image-to-video/kling-3.0-turbo", FramesRequest, "A video from a first frame"
)
ImageToVideo30Request = _model("image-to-video/kling-3.0", FramesRequest, "A video from frames and elements")
ImageToVideo26Request = _model("image-to-video/kling-2.6", FramesRequest, "A video from frames, with voices")
ImageToVideo25TurboRequest = _model("image-to-video/kling-2.5-turbo", FramesRequest, "A video from frames")
OmniVideo30OmniRequest = _model(
    "omni-video/kling-3.0-omni", OmniRatioRequest, "A video from words and references", ""
)
OmniVideoO1Request = _model("omni-video/kling-o1", OmniRequest, "A video from words and references", "")
MotionControl30Request = _model(
    "motion-control/kling-3.0", MotionRequest, "A picture that moves like a video"
)
MotionControl26Request = _model(
    "motion-control/kling-2.6", MotionRequest, "A picture that moves like a video"
)
