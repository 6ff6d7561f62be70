"""Check names and ids that come from users, before any request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from kling_provider.api.endpoints import Endpoint, check_id, endpoint_for
from kling_provider.api.errors import InvalidRequest
from kling_provider.exceptions import KlingBadRequestError

T = TypeVar("T")


def checked_endpoint(name: str) -> Endpoint:
    """The endpoint's row.

    :raises KlingBadRequestError: if there is none, with the closest name.
    """
    return checked(endpoint_for, name)


def checked_id(task_id: str) -> str:
    """The id, if it can be one.

    :raises KlingBadRequestError: if it could leave its place in the path.
    """
    return checked(check_id, task_id)


def checked(check: Callable[[Any], T], value: Any) -> T:
    """Run a check of the pure core; its complaint becomes an exception of ours.

    :raises KlingBadRequestError: with the text of the complaint.
    """
    try:
        return check(value)
    except InvalidRequest as error:
        raise KlingBadRequestError(f"Nothing was sent. {error}")
