"""Classic omni videos: pictures, elements and a video as references, with or without frames."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from kling_provider.api.requests.parts import (
    MAX_ELEMENTS,
    Default,
    ElementRef,
    Inner,
    Json,
    MediaUrl,
    Picture,
    ShotsRequest,
    VideoRatio,
    check_references,
)

#: Pictures and elements together, and how many of them beside a reference video.
MAX_REFERENCES = 7
MAX_REFERENCES_BESIDE_A_VIDEO = 4


class OmniImage(Inner):
    """A picture: a frame, or a reference where ``type`` is left out."""

    image_url: Picture
    type: Literal["first_frame", "end_frame"] | None = None


class OmniVideo(Inner):
    """A reference video, by URL only: ``feature`` to take after, ``base`` (Kling's default) to edit."""

    video_url: MediaUrl
    refer_type: Annotated[Literal["feature", "base"] | None, Default("base")] = None
    keep_original_sound: Literal["yes", "no"] | None = None

    @property
    def is_base(self) -> bool:
        """Whether it is the video to edit."""
        return self.refer_type != "feature"


def _videos(fields: Mapping[str, Any]) -> list[Any]:
    videos = fields.get("video_list")
    return videos if isinstance(videos, list) else []


class OmniVideoRequest(ShotsRequest):
    """A video from words and references (``POST /v1/videos/omni-video``)."""

    mode: Annotated[Literal["std", "pro", "4k"] | None, Default("pro", is_sent=True)] = None
    image_list: Annotated[list[OmniImage] | None, Json, Field(max_length=MAX_REFERENCES)] = None
    element_list: Annotated[list[ElementRef] | None, Json] = None
    video_list: Annotated[list[OmniVideo] | None, Json, Field(max_length=1)] = None
    aspect_ratio: VideoRatio | None = None

    @classmethod
    def ignored(cls, fields: Mapping[str, Any]) -> Mapping[str, str]:
        """A video that is edited keeps its length."""
        why = super().ignored(fields)
        if any(
            isinstance(video, Mapping) and video.get("refer_type") != "feature" for video in _videos(fields)
        ):
            why = {**why, "duration": "with a base video, whose length the result has"}
        return why

    @model_validator(mode="after")
    def _has_a_prompt(self) -> Self:
        """A prompt is required, unless the shots have their own."""
        self.need_a_prompt()
        return self

    @model_validator(mode="after")
    def _references_are_there(self) -> Self:
        """What the prompt refers to is there: ``<<<image_1>>>``, ``<<<element_1>>>``, ``<<<video_1>>>``."""
        fields = {"image": "image_list", "element": "element_list", "video": "video_list"}
        counts = {kind: (field, len(getattr(self, field) or ())) for kind, field in fields.items()}
        check_references(self.words(), counts)
        return self

    @model_validator(mode="after")
    def _references_go_together(self) -> Self:
        """At most 7 pictures and elements together, or 4 beside a video; at most 3 elements beside frames.

        An ``end_frame`` needs a ``first_frame`` and excludes ``multi_shot``. A base video takes no frames, and no
        video goes with sound. ``aspect_ratio`` is required without a first frame and a base video.
        """
        images, elements, videos = self.image_list or [], self.element_list or [], self.video_list or []
        most = MAX_REFERENCES_BESIDE_A_VIDEO if videos else MAX_REFERENCES
        if len(images) + len(elements) > most:
            beside = "beside a reference video" if videos else "together"
            raise ValueError(
                f"image_list and element_list have {len(images)} and {len(elements)} items: at most {most} "
                f"{beside}; leave some out"
            )
        frames = [image.type for image in images if image.type]
        for kind in ("first_frame", "end_frame"):
            if frames.count(kind) > 1:
                raise ValueError(f"image_list has {frames.count(kind)} of type {kind!r}: keep one of them")
        if "end_frame" in frames and "first_frame" not in frames:
            raise ValueError(
                "image_list has type='end_frame' without a 'first_frame'; add the first frame, or leave "
                "type out to use the picture as a reference"
            )
        if "end_frame" in frames and self.multi_shot:
            raise ValueError(
                "multi_shot=true takes no pair of first_frame and end_frame; leave the end_frame out of image_list"
            )
        if frames and len(elements) > MAX_ELEMENTS:
            raise ValueError(
                f"element_list has {len(elements)} items: at most {MAX_ELEMENTS} beside frames; leave some out"
            )
        has_base = any(video.is_base for video in videos)
        if has_base and frames:
            raise ValueError(
                f"image_list has type={frames[0]!r}, but a video with refer_type='base' takes no frames; leave "
                "type out, or use refer_type='feature'"
            )
        if videos and self.sound == "on":
            raise ValueError("sound='on' does not go with a reference video in video_list; use sound='off'")
        if "first_frame" not in frames and not has_base and self.aspect_ratio is None:
            raise ValueError(
                "aspect_ratio is required where neither a first_frame nor a base video gives one: use "
                "'16:9', '9:16' or '1:1'"
            )
        return self
