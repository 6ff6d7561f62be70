"""What both hooks do before a submit: check, read pictures and sounds, derive the id. Nothing is sent here."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from typing import Any

from kling_provider.api.auth import KeyPair
from kling_provider.api.dialects import external_id_in, to_new, what_is_asked, with_external_id
from kling_provider.api.endpoints import Dialect, Endpoint, endpoint_for
from kling_provider.api.errors import InvalidRequest, shorten
from kling_provider.api.identity import (
    TaskIdentity,
    check_user_id,
    digest_request,
    external_task_id,
    is_derived,
)
from kling_provider.api.places import change_each
from kling_provider.api.pricing import estimate_units
from kling_provider.api.requests import REQUESTS, CheckedRequest, Validate, check_request
from kling_provider.exceptions import KlingBadRequestError, KlingServerError
from kling_provider.hooks.config import KlingConfig
from kling_provider.hooks.work import Work
from kling_provider.media import MediaUnavailable, load_media

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PreparedSubmit:
    """A submit that passed every check.

    :param endpoint: where it goes.
    :param body: what is sent, without external_task_id; files that were read are bytes.
    :param digest: of what the caller asked for, part of the derived id.
    :param own_id: the external_task_id the caller chose, or None.
    :param estimated_units: what it will cost, or None where no price is published.
    :param field_digests: one per field, to name what changed between two tries.
    :param can_look_up: whether the task can be found by its external_task_id afterwards.
    :param namespace: of the connection, part of the derived id.
    """

    endpoint: Endpoint
    body: Mapping[str, Any] = field(repr=False)
    digest: str
    own_id: str | None
    estimated_units: Decimal | None
    can_look_up: bool
    namespace: str
    field_digests: Mapping[str, str] = field(default_factory=dict)

    @property
    def model_name(self) -> str | None:
        """The model that is asked for, if the endpoint has a choice; in the new dialect it is in the path."""
        in_path = self.endpoint.name.rpartition("/")[2]
        return in_path if self.endpoint.dialect == "new" else self.body.get("model_name")

    def other_request(self, work: Work) -> Callable[[str], bool] | None:
        """Tell an id of the same work with another request; None where another request is fine."""
        if self.own_id is not None or work.identity is None or work.was_cleared or not work.submits_once:
            return None
        ours = external_task_id(self.namespace, work.identity, self.digest)
        same_work = ours.removesuffix(self.digest)
        return lambda other: other.startswith(same_work) and other != ours

    def id_for(self, identity: TaskIdentity | None) -> str | None:
        """The external_task_id to send: the caller's, a derived one where it can be looked up, or none."""
        if self.own_id is not None or identity is None or not self.can_look_up:
            return self.own_id
        return external_task_id(self.namespace, identity, self.digest)

    def body_with(self, external_id: str | None) -> dict[str, Any]:
        """What is sent."""
        return with_external_id(self.endpoint.dialect, self.body, external_id)


def prepare(
    config: KlingConfig,
    endpoint: str,
    request: Mapping[str, Any],
    own_id: str | None = None,
    *,
    dialect: Dialect = "classic",
    validate: Validate = "strict",
    input_seconds: float | None = None,
) -> PreparedSubmit:
    """Check a request, read its pictures and sounds and work out what it is.

    :param config: of the connection.
    :param endpoint: name of the endpoint, or a raw path.
    :param request: Kling's own field names. Never changed.
    :param own_id: an external_task_id chosen by the caller.
    :param dialect: ``new`` says a classic request in the new dialect.
    :param validate: how strict the tables are taken.
    :param input_seconds: length of the video or sound that the price follows; None: the longest Kling takes.
    :raises KlingBadRequestError: naming field, value, rule and way out; nothing was sent.
    """
    try:
        row = endpoint_for(endpoint)
        spoken: Dialect = "new" if dialect == "new" else row.dialect
        checked = _checked(config, row, request, validate)
        for warning in checked.warnings if spoken == row.dialect else ():
            log.warning("%s", warning)
        chosen = _own_id(own_id, external_id_in(row.dialect, checked.given))
        loaded = load_media(checked.body, row, config.pictures_for(spoken), config.sounds, config.media_roots)
        body = with_external_id(row.dialect, loaded, None)
        given = what_is_asked(row.dialect, _with_media_of(loaded, checked.given, row))
        digested = partial(digest_request, row.name, spoken, result_hosts=config.own_result_hosts)
        digest = digested(given)
        field_digests = {name: digested({name: item}) for name, item in given.items()}
        _refuse_needless(chosen, row)
        _refuse_foreign(chosen, digest)
        if spoken != row.dialect:
            row, body = _in_new_dialect(row, body, validate)
        _refuse_key_pair(config, row)
        estimated = estimate_units(row.name, body, input_seconds=input_seconds)
    except InvalidRequest as error:
        raise KlingBadRequestError(f"Nothing was sent. {error}", endpoint=shorten(endpoint, 80))
    except MediaUnavailable as error:
        raise KlingServerError(f"Nothing was sent. {error} A retry reads it again.", endpoint=endpoint)
    return PreparedSubmit(
        endpoint=row,
        body=body,
        digest=digest,
        own_id=chosen,
        estimated_units=estimated,
        can_look_up=config.external_id_for(row) != "none",
        namespace=config.namespace,
        field_digests=field_digests,
    )


def estimate(
    config: KlingConfig, endpoint: str, request: Mapping[str, Any], input_seconds: float | None = None
) -> Decimal | None:
    """Check a request, but for its pictures, and say what it will cost. Nothing is read or sent.

    :param config: of the connection.
    :param endpoint: name of the endpoint, or a raw path.
    :param request: Kling's own field names.
    :param input_seconds: length of the video or sound that the price follows; None: the longest Kling takes.
    :returns: units, or None where no price is published.
    :raises KlingBadRequestError: naming field, value, rule and way out.
    """
    try:
        row = endpoint_for(endpoint)
        body = _checked(config, row, request, "strict").body
        return estimate_units(row.name, body, input_seconds=input_seconds)
    except InvalidRequest as error:
        raise KlingBadRequestError(f"Nothing was sent. {error}", endpoint=shorten(endpoint, 80))


def _checked(
    config: KlingConfig, row: Endpoint, request: Mapping[str, Any], validate: Validate
) -> CheckedRequest:
    if row.work == "read":
        raise InvalidRequest(
            f"endpoint={row.name!r} submits nothing, it only reads. Use KlingReadOperator, or KlingHook.read."
        )
    return check_request(row, request, config.model_for(row), validate=validate)


def _with_media_of(loaded: Mapping[str, Any], given: Mapping[str, Any], row: Endpoint) -> dict[str, Any]:
    """What the caller gave, without our defaults, with the files that were read: what the derived id is made of."""
    found: dict[str, Any] = {}
    paths = (*row.pictures, *row.sounds)
    change_each(loaded, paths, lambda value, label: found.setdefault(label, value))
    return change_each(given, paths, lambda _, label: found[label])


def _in_new_dialect(
    row: Endpoint, body: Mapping[str, Any], validate: Validate
) -> tuple[Endpoint, dict[str, Any]]:
    """The request in the other dialect, held against that one's own limits."""
    row, body = to_new(row, body)
    checked = check_request(row, body, validate=validate)
    for warning in checked.warnings:
        log.warning("%s", warning)
    return row, checked.body


def _refuse_key_pair(config: KlingConfig, row: Endpoint) -> None:
    """Kling answers a signed token there with 1002, which sounds like a wrong key."""
    if row.dialect == "new" and isinstance(config.credentials, KeyPair):
        raise InvalidRequest(
            f"endpoint={row.name!r} is of the new dialect, which takes API keys only, and connection "
            f"{config.conn_id!r} holds an access key and a secret key. Make an API key in the console and put it into "
            "the connection's password, with the login empty; or use the classic endpoint."
        )


def _own_id(argument: str | None, in_request: str | None) -> str | None:
    """The operator's argument and Kling's field mean the same."""
    in_request = None if in_request is None else check_user_id(str(in_request))
    if argument in (None, ""):
        return in_request
    checked = check_user_id(str(argument))
    if in_request is not None and in_request != checked:
        raise InvalidRequest(
            f"external_task_id={checked!r} was given beside another one in the request ({in_request!r}). "
            "Give it once."
        )
    return checked


def _refuse_needless(own_id: str | None, row: Endpoint) -> None:
    """Sent all the same, it would be refused by Kling, or swallowed and never found again."""
    model = REQUESTS.get(row.name)
    if own_id is None or model is None or {"external_task_id", "options"} & set(model.model_fields):
        return
    raise InvalidRequest(
        f"external_task_id={own_id!r} is not for {row.name}, which takes none. Leave it out; an idempotency_key tells "
        "pieces of work apart all the same."
    )


def _refuse_foreign(own_id: str | None, digest: str) -> None:
    """An id that was derived for another request would collect a video that was not asked for."""
    if own_id is not None and is_derived(own_id) and not own_id.endswith(f"-{digest}"):
        raise InvalidRequest(
            f"external_task_id={own_id!r} was derived for another request than this one (its last part would be "
            f"{digest!r}). Leave external_task_id out to have one derived, or collect that task with "
            "KlingAdoptOperator."
        )
