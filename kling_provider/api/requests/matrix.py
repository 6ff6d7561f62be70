"""What a model does not offer for a request, and the ways out, from the capability matrix."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kling_provider.api.capabilities import (
    NOT_MODELS,
    Model,
    Offer,
    closest_model,
    current_models_for,
    endpoints_of,
    models_at,
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
    name = body.get("model_name")
    known = models_at(endpoint)
    if isinstance(name, str) and name in NOT_MODELS and name not in known:
        meant = NOT_MODELS[name] if NOT_MODELS[name] in known else closest_model(name, endpoint)
        hint = (
            f"did you mean {meant!r}?" if meant else f"use one of {', '.join(current_models_for(endpoint))}."
        )
        return [f"model_name={name!r} does not exist, Kling refuses it; {hint}"]
    if isinstance(name, str) and known and name not in known and (elsewhere := endpoints_of(name)):
        return [
            f"model_name={name!r} is not offered by {endpoint}, only by {', '.join(elsewhere)}. Use one of "
            f"{', '.join(current_models_for(endpoint))}, or another endpoint."
        ]
    model = _model_for(endpoint, body)
    return [] if model is None else list(_doubts(_Asked(endpoint, body, model)))


def notes_on_the_model(endpoint: str, body: Mapping[str, Any]) -> list[str]:
    """What is no mistake, but should be known: a model that is missing, unknown or retired.

    :param endpoint: name of an endpoint whose requests name their model.
    :param body: the request with its model.
    """
    known, name = models_at(endpoint), body.get("model_name")
    if name is None:
        return [
            f"{endpoint} is sent without model_name, and Kling's own default may be a retired model. Name one: "
            f"{', '.join(current_models_for(endpoint))}."
        ]
    if name in known:
        if not known[name].retired:
            return []
        instead = known[name].offers[endpoint].instead or repr(known[name].retired)
        return [f"{name} is being retired by Kling and may be refused; consider {instead}."]
    if name in NOT_MODELS or endpoints_of(str(name)):
        return []  # a doubt, see above
    close = closest_model(str(name), endpoint)
    hint = f" Did you mean {close!r}?" if close else ""
    return [
        f"model_name={name!r} is not a known model of {endpoint} and is sent as it is.{hint} "
        f"Known: {', '.join(known)}."
    ]


def _model_for(endpoint: str, body: Mapping[str, Any]) -> Model | None:
    """The model that a request names, or that stands in the path."""
    name = body.get("model_name", endpoint.rpartition("/")[2])
    return models_at(endpoint).get(name) if isinstance(name, str) else None


class _Asked:
    """What a request asks of its model, whatever the dialect calls it."""

    def __init__(self, endpoint: str, body: Mapping[str, Any], model: Model):
        self.endpoint = endpoint
        self.body = body
        self.model = model
        self.offer = model.offers[endpoint]
        self.is_new = "model_name" not in body
        fields = (body.get("settings") or {}) if self.is_new else body
        self.quality = str(fields.get(self.offer.quality_field) or "")
        self.duration = str(fields.get("duration") or "")
        self.features = _new_features(body, fields) if self.is_new else _classic_features(body)
        needs = self.offer.needs.items()
        self.lacks = {name: needed for name, needed in needs if name in body and needed not in body}
        self.camera = (body.get("camera_control") or {}).get("type")
        self.pictures = len(body.get("image_list") or ())
        self.follows_an_input = any(
            video.get("refer_type") != "feature" for video in body.get("video_list") or ()
        )
        self.is_bare = not (_refers_new(body) if self.is_new else _refers(body))

    def shown(self, name: str) -> str:
        return show_value(self.body[name])

    def quality_is(self, quality: str) -> str:
        return f"{'settings.' if self.is_new else ''}{self.offer.quality_field}={quality!r}"

    def length_is(self, duration: str) -> str:
        return f"settings.duration={duration}" if self.is_new else f"duration={duration!r}"

    def where(self) -> str:
        """The quality and length that were asked for, as far as there is such a choice."""
        said = [self.quality_is(self.quality)] if self.quality else []
        said += [self.length_is(self.duration)] if self.duration else []
        return f" with {' and '.join(said)}" if said else ""

    def others(self, feature: str = "", quality: str = "", duration: str = "") -> list[str]:
        """Other current models that offer a quality, a length, or a feature with them."""
        offers = {
            name: models_at(self.endpoint)[name].offers[self.endpoint]
            for name in current_models_for(self.endpoint)
        }
        return [
            name
            for name, offer in offers.items()
            if name != self.model.name
            and (not quality or quality in offer.qualities)
            and (not duration or duration in offer.durations)
            and (not feature or offer.offers(feature, quality, duration))
        ]


def _classic_features(body: Mapping[str, Any]) -> dict[str, str]:
    """Feature of the matrix -> the words for what asks for it."""
    found = {
        name: f"{name}={show_value(body[name])}"
        for name in ("cfg_scale", "camera_control", "element_list", "voice_list", "video_list")
        if body.get(name) not in (None, [])
    }
    if body.get("sound") == "on":
        found["sound"] = "sound='on'"
    if body.get("multi_shot"):
        found["multi_shot"] = "multi_shot=True"
    if "image_tail" in body:
        tail = f"image_tail={show_value(body['image_tail'])}"
        found |= {"image_tail": tail} if "image" in body else {"image_tail_only": f"{tail} without image"}
    masks = [name for name in ("static_mask", "dynamic_masks") if body.get(name)]
    if masks:
        found["masks"] = " and ".join(f"{name}={show_value(body[name])}" for name in masks)
    if any(image.get("type") == "end_frame" for image in body.get("image_list") or ()):
        found["image_tail"] = "type='end_frame' in image_list"
    return found


def _new_features(body: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, str]:
    kinds = {content["type"] for content in body.get("contents") or ()}
    found = {
        kind: f"type={kind!r} in contents"
        for kind in ("last_frame", "element", "voice", "feature_video")
        if kind in kinds
    }
    if settings.get("audio") == "native":
        found["sound"] = "settings.audio='native'"
    if settings.get("multi_shot"):
        found["multi_shot"] = "settings.multi_shot=True"
    return found


def _refers(body: Mapping[str, Any]) -> bool:
    """Whether an omni video has something to take after, besides frames."""
    images = [image for image in body.get("image_list") or () if not image.get("type")]
    return bool(images or body.get("element_list") or body.get("video_list"))


def _refers_new(body: Mapping[str, Any]) -> bool:
    return any(content["type"] == "refer_image" for content in body.get("contents") or ())


def _doubts(asked: _Asked) -> Iterator[str]:
    basic = list(_doubts_of_quality_and_length(asked))
    yield from basic
    yield from _doubts_of_features(asked, is_told=bool(basic))
    yield from _doubts_of_pairs(asked)


def _doubts_of_quality_and_length(asked: _Asked) -> Iterator[str]:
    offer, name = asked.offer, asked.model.name
    if asked.quality and asked.quality not in offer.qualities:
        others = asked.others(quality=asked.quality)
        instead = f", or a model that has it: {', '.join(others)}" if others else ""
        use = (
            f"Use one of {', '.join(offer.qualities)}"
            if offer.qualities
            else f"Leave {offer.quality_field} out"
        )
        yield f"{asked.quality_is(asked.quality)} is not offered by {name}. {use}{instead}."
    if not asked.duration or not offer.durations or asked.follows_an_input:
        return
    if asked.duration not in offer.durations:
        others = asked.others(duration=asked.duration)
        instead = f", or a model that makes {asked.duration} s clips: {', '.join(others)}" if others else ""
        yield (
            f"{asked.length_is(asked.duration)} is not offered by {name}, which makes clips of "
            f"{', '.join(offer.durations)} s. Use one of these{instead}."
        )
        return
    bare = offer.durations_without_references
    if bare and asked.is_bare and asked.duration not in bare:
        reference = "a refer_image" if asked.is_new else "an image without type, an element or a video"
        yield (
            f"{asked.length_is(asked.duration)} is not offered by {name} without a reference. Use "
            f"{' or '.join(bare)}, or give {reference}."
        )


def _doubts_of_features(asked: _Asked, *, is_told: bool) -> Iterator[str]:
    offer, name = asked.offer, asked.model.name
    for feature, said in asked.features.items():
        if offer.offers(feature, asked.quality, asked.duration):
            continue
        pairs = offer.pairs_of(feature)
        if pairs and is_told:
            continue  # it is the quality or the length that is wrong, and that has been said
        yield f"{said} is not offered by {name}{asked.where() if pairs else ''}. {_way_out(asked, feature)}."
    if offer.camera_types and asked.camera and asked.camera not in offer.camera_types:
        yield (
            f"camera_control.type={asked.camera!r} is not offered by {name}. Use "
            f"{' or '.join(repr(kind) for kind in offer.camera_types)}, or leave camera_control out."
        )


def _doubts_of_pairs(asked: _Asked) -> Iterator[str]:
    """What goes together, and what does not."""
    offer, name, features = asked.offer, asked.model.name, asked.features
    for first, second in sorted(offer.excludes):
        if first in features and second in features:
            yield f"{features[first]} does not go together with {features[second]} in {name}. Leave one of them out."
    for field, needed in asked.lacks.items():
        yield f"{field}={asked.shown(field)} needs {needed} with {name}. Set {needed}, or use another model."
    most = offer.max_pictures_with_a_tail
    if most is not None and "image_tail" in features and asked.pictures > most:
        yield (
            f"image_list has {asked.pictures} items beside type='end_frame': at most {most} with {name}. Leave "
            "some out."
        )


def _way_out(asked: _Asked, feature: str) -> str:
    """Which quality, length or model offers it."""
    offer, quality, duration = asked.offer, asked.quality, asked.duration
    qualities = [other for other in offer.qualities if offer.offers(feature, other, duration)]
    durations = [other for other in offer.durations if offer.offers(feature, quality, other)]
    ways = []
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
    return f"Use {', or '.join(ways)}, or leave it out" if ways else "Leave it out"
