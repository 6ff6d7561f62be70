"""How long the videos and sounds of a request may be, where their length is known."""

from __future__ import annotations

from collections.abc import Mapping

from kling_provider.simulator.asked import Asked
from kling_provider.simulator.refusals import Refusal

#: A clip of 5 s may last 5.04 s.
TOLERANCE = 0.5
#: Endpoint, or what stands before the model in the new dialect -> shortest and longest video, in seconds.
VIDEOS: Mapping[str, tuple[float, float]] = {
    "omni-video": (3, 15.5),
    "motion-control": (3, 30),
    "identify-face": (2, 60),
    "lip-sync": (2, 60),
    "video-to-audio": (3, 20),
    "video-extend": (0, 180 - 5),  # with what it adds, three minutes in all
    "advanced-custom-elements": (3, 8),
}
#: motion-control, where the character looks as in the picture.
LONGEST_MOTION_OF_A_PICTURE = 10
SOUNDS: Mapping[str, tuple[float, float]] = {
    "avatar": (2, 300),
    "advanced-lip-sync": (2, 60),
    "lip-sync": (2, 60),
    "custom-voices": (5, 30),
}
#: What init-selection takes. What it does not take is told, not refused.
SELECTABLE = ((2.0, 5.0), (7.0, 10.0))
#: Milliseconds that a face has to be seen and the sound has to be heard together.
SHORTEST_OVERLAP = 2000


def refuse_wrong_lengths(asked: Asked) -> None:
    """Hold what is known of videos and sounds against Kling's limits.

    :raises Refusal: 1201.
    """
    row = asked.endpoint
    family = row.name.partition("/")[0] if row.dialect == "new" else row.name
    shortest, longest = VIDEOS.get(family, (0, float("inf")))
    if asked.settings.get("character_orientation") == "image":
        longest = LONGEST_MOTION_OF_A_PICTURE
    for label, clip in asked.clips.items():
        if clip.is_seen and not shortest <= clip.seconds + TOLERANCE <= longest + 2 * TOLERANCE:
            raise Refusal(
                1201,
                f"The duration of {label} is invalid: {clip.seconds:g}s is not {shortest:g}s to {longest:g}s",
            )
    shortest, longest = SOUNDS.get(family, (0, float("inf")))
    for label, sound in asked.sounds.items():
        if sound.is_heard and not shortest <= sound.seconds + TOLERANCE <= longest + 2 * TOLERANCE:
            raise Refusal(
                1201,
                f"The duration of {label} is invalid: {sound.seconds:g}s is not {shortest:g}s to {longest:g}s",
            )
    if family == "advanced-lip-sync":
        _refuse_wrong_face(asked)
    if family == "multi-elements":
        _refuse_wrong_session(asked)


def is_selectable(seconds: float) -> bool:
    """Whether init-selection takes a video of that length."""
    return any(low - TOLERANCE <= seconds <= high + TOLERANCE for low, high in SELECTABLE)


def _refuse_wrong_face(asked: Asked) -> None:
    assert asked.session is not None
    choice = asked.body["face_choose"][0]
    face = next((one for one in asked.session.faces if one.id == choice["face_id"]), None)
    if face is None:
        raise Refusal(1201, "face_id is invalid: it is no face of this session")
    length = choice["sound_end_time"] - choice["sound_start_time"]
    if (
        asked.sound
        and asked.sound.is_heard
        and choice["sound_end_time"] > (asked.sound.seconds + TOLERANCE) * 1000
    ):
        raise Refusal(1201, "sound_end_time is invalid: the sound is shorter")
    begin = choice["sound_insert_time"]
    if min(begin + length, face.end) - max(begin, face.start) < SHORTEST_OVERLAP:
        raise Refusal(1201, "sound_insert_time is invalid: sound and face meet for less than 2 seconds")


def _refuse_wrong_session(asked: Asked) -> None:
    assert asked.session is not None
    clip, wanted = asked.session.clip, asked.seconds()
    low, high = SELECTABLE[wanted > SELECTABLE[0][1]]
    if clip.is_seen and not low - TOLERANCE <= clip.seconds <= high + TOLERANCE:
        raise Refusal(
            1201,
            f"duration is invalid: {wanted:g} needs a video of {low:g}s to {high:g}s, it has {clip.seconds:g}s",
        )
