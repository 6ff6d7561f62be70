"""Which endpoint makes what: the way into this folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from kling_provider.simulator.asked import Asked
from kling_provider.simulator.results import images, sounds, things, videos
from kling_provider.simulator.results.planned import Planned

#: Says what a request gives.
Plan = Callable[[Asked], list[Planned]]

_CLASSIC: Mapping[str, Plan] = {
    "motion-control": videos.as_long_as_the_input,
    "avatar": videos.as_long_as_the_input,
    "video-extend": videos.longer,
    "advanced-lip-sync": videos.spoken,
    "lip-sync": videos.spoken,
    "multi-elements": videos.changed,
    "text-to-audio": sounds.of_words,
    "video-to-audio": sounds.for_a_video,
    "tts": sounds.speech,
    "images/editing/expand": images.larger,
    "ai-multi-shot": images.other_sides,
    "image-recognize": images.parts,
    "advanced-custom-elements": things.custom_element,
    "custom-voices": things.custom_voice,
}
#: Whatever is not named above.
_BY_KIND: Mapping[str, Plan] = {
    "video": videos.of_words_and_pictures,
    "image": images.of_words_and_pictures,
    "audio": sounds.of_words,
}


def plan(asked: Asked) -> tuple[Planned, ...]:
    """What a request gives."""
    row = asked.endpoint
    family = row.name.partition("/")[0] if row.dialect == "new" else row.name
    return tuple(_CLASSIC.get(family, _BY_KIND[row.kind])(asked))
