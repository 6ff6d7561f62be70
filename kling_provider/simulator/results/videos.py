"""Videos: a picture or words that move, and other people's videos made longer, heard, or redone."""

from __future__ import annotations

from dataclasses import replace

from kling_provider.simulator.asked import Asked
from kling_provider.simulator.film import Film, frame_size
from kling_provider.simulator.pictures import Picture
from kling_provider.simulator.results.planned import At, OwnId, Planned
from kling_provider.simulator.tune import Tune

#: What one extension adds.
EXTENSION_SECONDS = 5


def of_words_and_pictures(asked: Asked) -> list[Planned]:
    """text2video, image2video, multi-image2video, omni-video, effects, and the new dialect's own."""
    first = asked.picture("image", "image_url", "input.image*", "image_list*") or asked.content_picture(
        "first_frame", "image", "refer_image"
    )
    tail = asked.picture("image_tail") or asked.content_picture("last_frame") or _end_frame(asked)
    if asked.clip and (_is_edit(asked) or not first):
        return [video(_resized(asked, asked.clip.as_film()), asked.has_watermark)]
    inner = asked.body.get("input") or {}
    film = _film(asked, first or tail, asked.seconds(float(inner.get("duration") or 5)))
    if tail and first:
        film = replace(film, tail=tail.file)
    return [video(film, asked.has_watermark)]


def as_long_as_the_input(asked: Asked) -> list[Planned]:
    """motion-control and avatar: a picture, for as long as a video moves or a sound lasts."""
    given = asked.clip or asked.sound
    seconds = given.seconds if given else 5.0
    film = _film(asked, asked.picture("image", "image_url") or asked.content_picture("image"), seconds)
    is_heard = asked.sound is not None or (
        asked.body.get("keep_original_sound") != "no" and asked.settings.get("audio") != "off"
    )
    return [video(heard(film) if is_heard else film, asked.has_watermark)]


def longer(asked: Asked) -> list[Planned]:
    """video-extend: the same, and some seconds more."""
    source = _source(asked)
    return [video(replace(source, seconds=source.seconds + EXTENSION_SECONDS), asked.has_watermark)]


def spoken(asked: Asked) -> list[Planned]:
    """The lip syncs: the same video, and now one hears it."""
    clip = asked.session.clip if asked.session else asked.clip
    film = clip.as_film() if clip else _film(asked, None, asked.seconds())
    return [video(heard(film), asked.has_watermark)]


def changed(asked: Asked) -> list[Planned]:
    """multi-elements: the video of the session, with other words on it."""
    assert asked.session is not None
    film = replace(asked.session.clip.as_film(), seconds=asked.seconds())
    picture = asked.picture("image_list*")
    tail = picture.file if picture else None
    return [video(replace(film, tail=tail, words=asked.words or film.words), asked.has_watermark)]


def with_sound(asked: Asked) -> list[Planned]:
    """video-to-audio: the video with its sound, beside the sound alone."""
    return [video(heard(_source(asked)), asked.has_watermark)]


def video(film: Film, has_watermark: bool = False) -> Planned:
    """A film as a result."""
    told = {
        "id": OwnId(),
        "url": At(".mp4"),
        "watermark_url": At("-watermark.mp4") if has_watermark else "",
        "duration": f"{film.seconds:.1f}",
    }
    files = {".mp4": film}
    if has_watermark:
        files["-watermark.mp4"] = replace(film, watermark=True)
    return Planned("videos", told, files, film.seconds)


def heard(film: Film) -> Film:
    """The same film, with a sound."""
    return replace(film, sound=Tune(film.seconds, film.words or "a film"))


def _film(asked: Asked, leading: Picture | None, seconds: float) -> Film:
    words = leading.url if leading and leading.file is None else asked.words
    film = Film(
        size=frame_size(asked.ratio(leading), asked.height()),
        seconds=seconds,
        fps=asked.fps(),
        picture=leading.file if leading else None,
        words=str(words or asked.endpoint.name),
    )
    return heard(film) if asked.has_sound else film


def _source(asked: Asked) -> Film:
    assert asked.clip is not None
    return asked.clip.as_film()


def _resized(asked: Asked, film: Film) -> Film:
    """A reference video in the asked quality: an edit is as long as it, anything else as long as asked."""
    ratio = asked.ratio(default=film.size[0] / film.size[1])
    film = replace(
        film,
        size=frame_size(ratio, asked.height()),
        seconds=film.seconds if _is_edit(asked) else asked.seconds(),
        words=asked.words or film.words,
        sound=None,
    )
    return heard(film) if asked.has_sound else film


def _is_edit(asked: Asked) -> bool:
    """Whether the video that it names is the one to change, not one to take after."""
    videos = asked.body.get("video_list") or ()
    return any(item.get("refer_type", "base") == "base" for item in videos) or any(
        item.get("type") == "base_video" for item in asked.contents
    )


def _end_frame(asked: Asked) -> Picture | None:
    for number, item in enumerate(asked.body.get("image_list") or ()):
        if item.get("type") == "end_frame":
            return asked.picture(f"image_list[{number}].image_url")
    return None
