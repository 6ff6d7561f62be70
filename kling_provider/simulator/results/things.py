"""What others are made with: elements and voices of the account."""

from __future__ import annotations

from typing import Any

from kling_provider.simulator.asked import Asked
from kling_provider.simulator.pictures import Picture
from kling_provider.simulator.results.planned import At, OwnId, Planned
from kling_provider.simulator.still import Still
from kling_provider.simulator.tune import Tune

#: Who owns what comes with Kling.
KLING = "kling"
TRIAL_SECONDS = 3.0


def custom_element(asked: Asked) -> list[Planned]:
    """advanced-custom-elements."""
    body = asked.body
    frontal = asked.picture("element_image_list.frontal_image")
    views = asked.pictures_at(("element_image_list.refer_images*",))
    voice = body.get("element_voice_id")
    return [
        element(
            body["element_name"],
            body["element_description"],
            body["reference_type"],
            owner=asked.account,
            pictures=[frontal, *views] if frontal else [],
            videos=(body.get("element_video_list") or {}).get("refer_videos") or [],
            voice={"voice_id": voice} if voice else {},
            tags=body.get("tag_list") or [],
        )
    ]


def element(
    name: str,
    description: str,
    kind: str,
    *,
    owner: str,
    pictures: list[Picture | None],
    videos: list[Any],
    voice: dict[str, Any],
    tags: list[Any],
) -> Planned:
    """An element as a result.

    :param pictures: from the front, then the others; None is drawn.
    """
    names = [f"-{number}.png" for number in range(len(pictures))]
    files = {
        ending: Still(
            (picture.size if picture else None) or (768, 768),
            f"{name}: {description}",
            picture=picture.file if picture else None,
            variant=number,
        )
        for number, (ending, picture) in enumerate(zip(names, pictures, strict=True))
    }
    told = {
        "element_id": OwnId(is_number=True),
        "element_name": name,
        "element_description": description,
        "reference_type": kind,
        "element_image_list": _views(names),
        "element_video_list": {"refer_videos": videos} if videos else {},
        "element_voice_info": voice,
        "tag_list": tags,
        "owned_by": owner,
        "status": "succeed",
    }
    return Planned("elements", told, files)


def _views(names: list[str]) -> dict[str, Any]:
    """The pictures of an element, from the front first; one that was made from a video has none."""
    if not names:
        return {}
    frontal, *others = names
    return {"frontal_image": At(frontal), "refer_images": [{"image_url": At(name)} for name in others]}


def custom_voice(asked: Asked) -> list[Planned]:
    """custom-voices."""
    return [voice(asked.body["voice_name"], owner=asked.account)]


def voice(name: str, *, owner: str) -> Planned:
    """A voice as a result."""
    told = {"voice_id": OwnId(), "voice_name": name, "trial_url": At(".mp3"), "owned_by": owner}
    return Planned("voices", told, {".mp3": Tune(TRIAL_SECONDS, name)}, TRIAL_SECONDS)
