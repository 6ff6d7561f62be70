"""The selection steps of multi-elements: what is to be changed in a video, marked by points on its frames."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from kling_provider.simulator.asked import Asked
from kling_provider.simulator.calls.desk import Desk, whole
from kling_provider.simulator.film import Film
from kling_provider.simulator.lengths import is_selectable
from kling_provider.simulator.masks import mask_of
from kling_provider.simulator.refusals import Refusal
from kling_provider.simulator.results.planned import At, Planned
from kling_provider.simulator.sessions import Point, Session
from kling_provider.simulator.still import Still

MAX_FRAMES = 10
MAX_POINTS = 10
#: ``status`` of a video that is not taken.
NOT_TAKEN = 1


def begin(desk: Desk, asked: Asked) -> tuple[Planned, ...]:
    """init-selection: a session for a video. One that is not taken is told by ``status``."""
    assert asked.clip is not None
    clip, film = asked.clip, asked.clip.as_film()
    if not is_selectable(clip.seconds):
        return whole({"status": NOT_TAKEN, "session_id": "", "final_unit_deduction": ""})
    session = desk.world.sessions.begin(
        Session(desk.world.new_id(), "selection", asked.account, clip, desk.now)
    )
    return whole(
        {
            **_head(session),
            "fps": float(film.fps),
            "original_duration": round(clip.seconds * 1000),
            "width": clip.size[0],
            "height": clip.size[1],
            "total_frame": film.frames,
            "normalized_video": At(".mp4"),
        },
        {".mp4": film},
    )


def add(_desk: Desk, asked: Asked) -> tuple[Planned, ...]:
    """add-selection: more points on a frame."""
    session, frame, points = _step(asked)
    if frame not in session.points and len(session.points) >= MAX_FRAMES:
        raise Refusal(1201, f"frame_index is invalid: at most {MAX_FRAMES} frames can be marked")
    if len(session.points.get(frame, [])) + len(points) > MAX_POINTS:
        raise Refusal(1201, f"points is invalid: at most {MAX_POINTS} points on a frame")
    session.points[frame] = [*session.points.get(frame, []), *points]
    return _marked(session, frame)


def delete(_desk: Desk, asked: Asked) -> tuple[Planned, ...]:
    """delete-selection: points taken back, which have to be exactly those that were added."""
    session, frame, points = _step(asked)
    left = list(session.points.get(frame, []))
    for point in points:
        if point not in left:
            raise Refusal(1201, f"points is invalid: {point} was not added to frame {frame}")
        left.remove(point)
    if left:
        session.points[frame] = left
    else:
        session.points.pop(frame)
    return _marked(session, frame)


def clear(_desk: Desk, asked: Asked) -> tuple[Planned, ...]:
    """clear-selection: nothing is marked any more."""
    assert asked.session is not None
    asked.session.points.clear()
    return whole(_head(asked.session))


def preview(_desk: Desk, asked: Asked) -> tuple[Planned, ...]:
    """preview-selection: the video with what is marked in it."""
    assert asked.session is not None
    film = asked.session.clip.as_film()
    return whole(
        {
            **_head(asked.session),
            "res": {"video": At(".mp4"), "video_cover": At(".png"), "tracking_output": At("-tracking.mp4")},
        },
        {
            ".mp4": replace(film, sound=None),
            ".png": Still(film.size, film.words, film.picture),
            "-tracking.mp4": Film(film.size, film.seconds, film.fps, words="what is marked"),
        },
    )


def _step(asked: Asked) -> tuple[Session, int, list[Point]]:
    assert asked.session is not None
    frame, frames = asked.body["frame_index"], asked.session.clip.as_film().frames
    if not 0 <= frame < frames:
        raise Refusal(1201, f"frame_index is invalid: the video has frames 0 to {frames - 1}")
    points = [(float(point["x"]), float(point["y"])) for point in asked.body["points"]]
    return asked.session, frame, points


def _head(session: Session) -> dict[str, Any]:
    return {"status": 0, "session_id": session.id, "final_unit_deduction": ""}


def _marked(session: Session, frame: int) -> tuple[Planned, ...]:
    points = session.points.get(frame, [])
    masks = [mask_of(points, session.clip.size)] if points else []
    return whole({**_head(session), "res": {"frame_index": frame, "rle_mask_list": masks}})
