"""What a model does not offer for a request, and the ways out, from the capability matrix."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kling_provider.api.capabilities import (
    NOT_MODELS,
    Model,
    Offer,
    closest_model,
    models_at,
    models_for,
)
from kling_provider.api.requests.parts import show_value


def offer_for(endpoint: str, body: Mapping[str, Any]) -> Offer | None:
    """What the request's model offers at the endpoint; None where it is not known or there is no choice."""
    model = _model_for(endpoint, body)
    return model.offers[endpoint] if model else None


def doubts_about(endpoint: str, body: Mapping[str, Any]) -> list[str]:
    """What the matrix does not list, one sentence each, with the way out.

    :param endpoint: name of the endpoint.
    :param body: the request with its model and defaults; its fields have their types.
    """
    name = str(body.get("model_name"))
    if name in NOT_MODELS and name not in models_at(endpoint):
        meant = NOT_MODELS[name] if NOT_MODELS[name] in models_at(endpoint) else closest_model(name, endpoint)
        hint = f"did you mean {meant!r}" if meant else f"use one of {', '.join(models_for(endpoint))}"
        return [f"model_name={name!r} does not exist, Kling refuses it; {hint}?"]
    model = _model_for(endpoint, body)
    if model is None or not _is_chosen(endpoint, body):
        return []
    return list(_doubts(_Asked(endpoint, body, model)))


def notes_on(endpoint: str, body: Mapping[str, Any], ignored: Mapping[str, str]) -> list[str]:
    """What is no mistake, but should be known: unknown and retired models, fields that Kling ignores.

    :param endpoint: name of the endpoint.
    :param body: the request with its model and defaults.
    :param ignored: field -> why Kling ignores it in this request.
    """
    notes = [
        f"{name}={show_value(body[name])} is ignored by {endpoint} {why}."
        for name, why in ignored.items()
        if name in body
    ]
    known = models_at(endpoint)
    name = body.get("model_name")
    if not known or endpoint in _NOT_ASKED:
        return notes
    if "/" in endpoint and endpoint.rpartition("/")[2] in known:
        return notes
    if name is None:
        notes.append(
            f"{endpoint} is sent without model_name, and Kling's own default may be a retired model. Name one: "
            f"{', '.join(_current(endpoint))}."
        )
    elif name not in known:
        close = NOT_MODELS.get(str(name)) or closest_model(str(name), endpoint)
        hint = f" Did you mean {close!r}?" if close else ""
        notes.append(
            f"model_name={name!r} is not a known model of {endpoint} and is sent as it is.{hint} "
            f"Known: {', '.join(known)}."
        )
    elif known[name].retired:
        instead = known[name].offers[endpoint].instead or repr(known[name].retired)
        notes.append(f"{name} is being retired by Kling and may be refused; consider {instead}.")
    return notes


#: Their results have a model, but a request does not name it.
_NOT_ASKED = frozenset({"video-extend", "effects"})


def _model_for(endpoint: str, body: Mapping[str, Any]) -> Model | None:
    name = body.get("model_name", endpoint.rpartition("/")[2])
    return models_at(endpoint).get(name) if isinstance(name, str) else None


def _is_chosen(endpoint: str, body: Mapping[str, Any]) -> bool:
    return endpoint not in _NOT_ASKED


def _current(endpoint: str) -> list[str]:
    names = models_at(endpoint)
    return [name for name, model in names.items() if not model.retired] or list(names)


class _Asked:
    """What a request asks of its model, whatever the dialect calls it."""

    def __init__(self, endpoint: str, body: Mapping[str, Any], model: Model):
        self.endpoint = endpoint
        self.model = model
        self.offer = model.offers[endpoint]
        is_new = "model_name" not in body
        fields = (body.get("settings") or {}) if is_new else body
        self.before = "settings." if is_new else ""
        self.quality = str(fields.get(self.offer.quality_field) or "")
        self.duration = str(fields.get("duration") or "")
        self.features = _new_features(body, fields) if is_new else _classic_features(body)
        base = [video for video in body.get("video_list") or () if video.get("refer_type") != "feature"]
        self.follows_an_input = bool(base)
        self.is_bare = not _references(body)

    def quality_is(self, quality: str) -> str:
        return f"{self.before}{self.offer.quality_field}={quality!r}"

    def length_is(self, duration: str) -> str:
        return f"{self.before}duration={int(duration) if self.before else duration!r}"

    def where(self) -> str:
        """The quality and length that were asked for, as far as the model has these choices."""
        said = [self.quality_is(self.quality)] if self.quality else []
        said += [self.length_is(self.duration)] if self.duration else []
        return f" with {' and '.join(said)}" if said else ""

    def others(self, feature: str | None = None, quality: str = "", duration: str = "") -> list[str]:
        """Current models that offer a quality, a length, or a feature with them."""
        return [
            name
            for name in _current(self.endpoint)
            if name != self.model.name
            for offer in (models_at(self.endpoint)[name].offers[self.endpoint],)
            if not quality or quality in offer.qualities
            if not duration or not offer.durations or duration in offer.durations
            if feature is None or offer.offers(feature, quality, duration)
        ]


def _classic_features(body: Mapping[str, Any]) -> dict[str, str]:
    """Feature of the matrix -> what asks for it."""
    frames = [image.get("type") for image in body.get("image_list") or () if isinstance(image, Mapping)]
    masks = [name for name in ("static_mask", "dynamic_masks") if name in body]
    asked = {
        "cfg_scale": "cfg_scale" in body,
        "camera_control": "camera_control" in body,
        "image_tail": "image_tail" in body and "image" in body,
        "image_tail_only": "image_tail" in body and "image" not in body,
        "masks": bool(masks),
        "sound": body.get("sound") == "on",
        "multi_shot": bool(body.get("multi_shot")),
        "element_list": bool(body.get("element_list")),
        "voice_list": bool(body.get("voice_list")),
        "video_list": bool(body.get("video_list")),
        "image": "image" in body,
    }
    said = {"image_tail_only": "image_tail without image", "masks": " and ".join(masks)}
    found = {
        feature: said.get(feature) or f"{feature}={show_value(body[feature])}"
        for feature, is_asked in asked.items()
        if is_asked
    }
    if "end_frame" in frames:
        found["image_tail"] = "an image of type='end_frame'"
    return found


def _new_features(body: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, str]:
    kinds = {content.get("type") for content in body.get("contents") or ()}
    found = {
        kind: f"a content of type={kind!r}"
        for kind in ("last_frame", "element", "voice", "feature_video")
        if kind in kinds
    }
    if settings.get("audio") == "native":
        found["sound"] = "settings.audio='native'"
    if settings.get("multi_shot"):
        found["multi_shot"] = "settings.multi_shot=True"
    return found


def _references(body: Mapping[str, Any]) -> bool:
    """Whether an omni video has something to take after, besides a frame."""
    if "contents" in body:
        return any(content.get("type") == "refer_image" for content in body["contents"])
    images = [image for image in body.get("image_list") or () if not image.get("type")]
    return bool(images or body.get("element_list") or body.get("video_list"))


def _doubts(asked: _Asked) -> Iterator[str]:
    yield from _basic_doubts(asked)
    offer, name = asked.offer, asked.model.name
    has_pair = asked.quality in (offer.qualities or ("",)) and asked.duration in (offer.durations or ("",))
    for feature, said in asked.features.items():
        if feature == "image" or offer.offers(feature, asked.quality, asked.duration):
            continue
        if not has_pair and offer.pairs_of(feature):
            continue  # what is wrong is the quality or the length, and that has been said
        yield f"{said} is not offered by {name}{asked.where()}. {_way_out(asked, feature)}."
    for first, second in offer.excludes:
        if first in asked.features and second in asked.features:
            others = [
                other
                for other in asked.others(first, asked.quality, asked.duration)
                if not models_at(asked.endpoint)[other].offers[asked.endpoint].excludes
            ]
            instead = f", or use {' or '.join(others)}" if others else ""
            yield (
                f"{asked.features[first]} and {asked.features[second]} do not go together with {name}. Leave one of "
                f"them out{instead}."
            )


def _basic_doubts(asked: _Asked) -> Iterator[str]:
    """Quality and length by themselves."""
    offer, name = asked.offer, asked.model.name
    if asked.quality and asked.quality not in offer.qualities:
        others = asked.others(quality=asked.quality)
        instead = f", or a model that has it: {', '.join(others)}" if others else ""
        way_out = (
            f"Use one of {', '.join(offer.qualities)}"
            if offer.qualities
            else f"Leave {offer.quality_field} out"
        )
        yield f"{asked.quality_is(asked.quality)} is not offered by {name}. {way_out}{instead}."
    if not asked.duration or not offer.durations or asked.follows_an_input:
        return
    if asked.duration not in offer.durations:
        others = asked.others(duration=asked.duration)
        way_out = f", or a model that makes {asked.duration} s clips: {', '.join(others)}" if others else ""
        yield (
            f"{asked.length_is(asked.duration)} is not offered by {name}, which makes clips of "
            f"{', '.join(offer.durations)} s. Use one of these{way_out}."
        )
        return
    bare = offer.durations_without_references
    if bare and asked.is_bare and asked.duration not in bare:
        reference = "a refer_image" if asked.before else "an image without type, an element or a video"
        yield (
            f"{asked.length_is(asked.duration)} is not offered by {name} without a reference. Use "
            f"{' or '.join(bare)}, or give {reference}."
        )


def _way_out(asked: _Asked, feature: str) -> str:
    """Which quality, length or model offers it."""
    offer, quality, duration = asked.offer, asked.quality, asked.duration
    ways = []
    qualities = [other for other in offer.qualities if offer.offers(feature, other, duration)]
    durations = [other for other in offer.durations if offer.offers(feature, quality, other)]
    if qualities:
        ways.append(asked.quality_is(qualities[0]))
    elif durations:
        ways.append(asked.length_is(durations[0]))
    elif offer.pairs_of(feature):
        other_quality, _, other_duration = offer.pairs_of(feature)[0].partition("/")
        ways.append(f"{asked.quality_is(other_quality)} and {asked.length_is(other_duration)}")
    others = asked.others(feature, quality, duration)
    if others:
        ways.append(f"a model that offers it: {', '.join(others)}")
    use = f"Use {', or '.join(ways)}, or l" if ways else "L"
    return f"{use}eave it out"
