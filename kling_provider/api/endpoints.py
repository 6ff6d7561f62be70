"""Kling's endpoints as a table: where each one lives and what it returns.

A new endpoint is one row here and one request model in ``requests.py``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from types import MappingProxyType
from typing import Literal
from urllib.parse import quote

from kling_provider.api.errors import InvalidRequest, show

Dialect = Literal["classic", "new"]
Kind = Literal["video", "image", "audio", "account"]

#: ``GET <create path>?pageNum=&pageSize=``: the vendor's limits.
MAX_PAGE = 1000
MAX_PAGE_SIZE = 500

_SAFE_ID = re.compile(r"[A-Za-z0-9_.:=-]+")
_RAW_PATH = re.compile(r"(/[A-Za-z0-9_.~-]+)+")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One row of the endpoint table.

    :param name: the public name, as in the operators' ``endpoint`` argument.
    :param dialect: ``classic`` (model_name in the body) or ``new`` (model in the path).
    :param kind: which resource pack pays and which slots are held.
    :param create_path: path of the POST, from the gateway's prefix on.
    :param typical_seconds: how long a task usually takes (published averages of a large client).
    :param pictures: dotted names of the fields that take a picture; ``[]`` marks a list.
    """

    name: str
    dialect: Dialect
    kind: Kind
    create_path: str
    typical_seconds: float
    pictures: tuple[str, ...] = ()

    @property
    def list_path(self) -> str:
        """Path of the list query (classic dialect: the create path)."""
        return self.create_path

    def query_path(self, task_id: str) -> str:
        """Path of the query for one task; ``task_id`` is checked and percent-encoded."""
        return f"{self.create_path}/{path_segment(task_id)}"


ENDPOINTS: Mapping[str, Endpoint] = MappingProxyType(
    {
        row.name: row
        for row in (
            Endpoint("text2video", "classic", "video", "/v1/videos/text2video", 319),
            Endpoint(
                "image2video",
                "classic",
                "video",
                "/v1/videos/image2video",
                164,
                pictures=("image", "image_tail", "static_mask", "dynamic_masks[].mask"),
            ),
        )
    }
)


def endpoint_for(name: str) -> Endpoint:
    """Find the row called ``name``, or make one for a raw path that starts with ``/``.

    :raises InvalidRequest: for a name that is not in the table, with the closest one.
    """
    if not isinstance(name, str):
        raise InvalidRequest(f"endpoint={show(name, 60)} is not a name: give one of {known_names()}.")
    if name in ENDPOINTS:
        return ENDPOINTS[name]
    if name.startswith("/"):
        if not _RAW_PATH.fullmatch(name) or any(set(part) == {"."} for part in name.split("/") if part):
            raise InvalidRequest(
                f"endpoint={show(name, 80)} is not a plain path: letters, digits and _.~- between "
                "slashes, no query and no dots-only part."
            )
        return Endpoint(name, "classic", "video", name, typical_seconds=180)
    close = get_close_matches(name, ENDPOINTS, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise InvalidRequest(
        f"endpoint={show(name, 60)} is not known.{hint} Known: {known_names()}; or a raw path "
        "that starts with '/'."
    )


def known_names() -> str:
    """The names of the table, for a message."""
    return ", ".join(ENDPOINTS)


def check_id(value: object, field: str = "task_id") -> str:
    """Return ``value`` if it can be a task id in a path.

    :raises InvalidRequest: for anything that could leave its path segment.
    """
    if isinstance(value, str) and _SAFE_ID.fullmatch(value) and set(value) != {"."}:
        return value
    raise InvalidRequest(
        f"{field}={show(value, 60)} is not a task id: letters, digits and _.:=- only. "
        "Pass the id that the submit returned."
    )


def path_segment(task_id: str) -> str:
    """Check and percent-encode an id for use as one path segment."""
    return quote(check_id(task_id), safe="")
