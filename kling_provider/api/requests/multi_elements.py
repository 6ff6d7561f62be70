"""Multi-elements: mark what is to be changed in a video, then add, swap or remove it.

A session lives 24 hours: init-selection makes it; add, delete, clear and preview work on it; the task uses it.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from kling_provider.api.requests.parts import (
    Default,
    Id,
    ImageItem,
    Json,
    KlingRequest,
    ModelName,
    OneVideo,
    Part,
    Prompt,
    Seconds,
    WatermarkedRequest,
)

#: Points on one frame. A session takes up to 10 frames.
MAX_POINTS_ON_A_FRAME = 10
#: edit_mode -> how many pictures it takes, from and to.
PICTURES_OF_AN_EDIT = {"addition": (1, 2), "swap": (1, 1), "removal": (0, 0)}

Share = Annotated[float, Field(ge=0, le=1)]


class InitSelectionRequest(OneVideo, KlingRequest):
    """Begin a session for a video of 2-5 or 7-10 s (``POST /v1/videos/multi-elements/init-selection``).

    ``video_id`` is a ``videos[].id`` of a result that is at most 30 days old.
    """


class FramePoint(Part):
    """A point on a frame, as shares of its width and height."""

    x: Share
    y: Share


class SelectionRequest(KlingRequest):
    """What the steps of a session share."""

    session_id: Id


class AddSelectionRequest(SelectionRequest):
    """Mark something by points on a frame (``POST /v1/videos/multi-elements/add-selection``)."""

    frame_index: int
    points: Annotated[list[FramePoint], Json, Field(min_length=1, max_length=MAX_POINTS_ON_A_FRAME)]


class DeleteSelectionRequest(AddSelectionRequest):
    """Take points back (``POST /v1/videos/multi-elements/delete-selection``): exactly those that were added."""


class ClearSelectionRequest(SelectionRequest):
    """Take all marks back (``POST /v1/videos/multi-elements/clear-selection``)."""


class PreviewSelectionRequest(SelectionRequest):
    """See what is marked (``POST /v1/videos/multi-elements/preview-selection``)."""


class MultiElementsRequest(WatermarkedRequest):
    """Add, swap or remove what a session has marked (``POST /v1/videos/multi-elements``).

    ``duration`` "5" is for a video of 2-5 s, "10" for one of 7-10 s.
    """

    model_name: ModelName | None = None
    session_id: Id
    edit_mode: Literal["addition", "swap", "removal"]
    image_list: Annotated[list[ImageItem] | None, Json, Field(max_length=2)] = None
    prompt: Prompt
    negative_prompt: Prompt | None = None
    mode: Annotated[Literal["std", "pro"] | None, Default("std", is_sent=True)] = None
    duration: Annotated[Seconds | None, Default("5", is_sent=True)] = None

    @model_validator(mode="after")
    def _an_edit_has_its_pictures(self) -> Self:
        """``addition`` takes 1 or 2 pictures, ``swap`` exactly one, ``removal`` none."""
        least, most = PICTURES_OF_AN_EDIT[self.edit_mode]
        count = len(self.image_list or [])
        if not least <= count <= most:
            wanted = f"{least} to {most}" if least < most else f"exactly {most}" if most else "none"
            raise ValueError(
                f"image_list has {count} items, but edit_mode={self.edit_mode!r} takes {wanted}; change one of the two"
            )
        return self
