"""identify-face: the faces of a video, for advanced-lip-sync."""

from __future__ import annotations

from kling_provider.simulator.asked import Asked
from kling_provider.simulator.calls.desk import Desk, whole
from kling_provider.simulator.results.planned import At, Planned
from kling_provider.simulator.sessions import Face, Session
from kling_provider.simulator.still import Still

FACE_SIZE = (320, 320)


def identify_face(desk: Desk, asked: Asked) -> tuple[Planned, ...]:
    """One face, seen from begin to end."""
    assert asked.clip is not None
    clip, film = asked.clip, asked.clip.as_film()
    faces = (Face(desk.world.new_id(), 0, round(clip.seconds * 1000)),)
    session = desk.world.sessions.begin(
        Session(desk.world.new_id(), "faces", asked.account, clip, desk.now, faces)
    )
    names = [f"-{number}.png" for number in range(len(faces))]
    return whole(
        {
            "session_id": session.id,
            "final_unit_deduction": "",
            "face_data": [
                {"face_id": face.id, "face_image": At(name), "start_time": face.start, "end_time": face.end}
                for face, name in zip(faces, names, strict=True)
            ],
        },
        {name: Still(FACE_SIZE, f"a face of {film.words}", film.picture) for name in names},
    )
