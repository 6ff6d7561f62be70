"""From which picture came which video, for OpenLineage, where its provider is installed.

A task at Kling is a dataset between the two (namespace ``kling``, its id as the name): whoever submits makes it from
pictures, and whoever stores makes files from it. Both are known to different Airflow tasks, or DAGs.

Nothing here is imported, and nothing is computed, unless Airflow's OpenLineage listener asks for it. It does so in a
process of its own that reaches neither Kling nor Airflow's database.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

from kling_provider.api.endpoints import endpoint_for
from kling_provider.api.messages import read_json
from kling_provider.api.places import change_each
from kling_provider.api.requests import looks_like_base64

#: Namespace of tasks at Kling; their id is the name.
TASKS = "kling"
#: Fields that take a video of somebody's own, in whatever endpoint.
_VIDEO_FIELDS = ("video_url", "video_list[].video_url", "element_video_list[].video_url", "input.video_url")
#: What object stores are also called.
_SCHEMES = {"s3a": "s3", "s3n": "s3", "gcs": "gs", "local": "file"}


def dataset_of(source: object) -> tuple[str, str] | None:
    """Name a file as OpenLineage does: namespace and name, without user, password and query.

    :param source: a URL, a URI of object storage or a path. Only a web address has a query: elsewhere ``#`` and ``?``
        are letters of the name.
    :returns: for example ``("s3://bucket", "key.png")``, ``("file", "/data/key.png")`` or
        ``("https://host", "/key.png")``; None for what names no file.
    """
    if not isinstance(source, str) or not source or looks_like_base64(source) or source.startswith("data:"):
        return None
    if "://" not in source:
        return "file", os.path.abspath(source)
    try:
        parts = urlsplit(source)
    except ValueError:
        return None
    scheme = _SCHEMES.get(parts.scheme, parts.scheme)
    # Before the @: a password, or the Airflow connection that ObjectStoragePath takes there.
    where = f"{scheme}://{parts.netloc.rpartition('@')[2]}"
    if scheme in ("http", "https", "ftp"):
        return where, parts.path or "/"
    name = source.partition("://")[2].partition("/")[2]
    return ("file", f"/{name}") if scheme == "file" else (where, name.lstrip("/"))


def sources_of(endpoint: str, request: Mapping[str, Any]) -> list[str]:
    """Every picture, sound and video that a request names.

    :param endpoint: name of the endpoint, or a raw path.
    :param request: Kling's own field names.
    """
    found: list[str] = []

    def note(source: Any, _label: str) -> Any:
        if isinstance(source, str):
            found.append(source)
        return source

    row = endpoint_for(endpoint)
    told = {name: read_json(value) for name, value in request.items()}
    change_each(told, (*row.pictures, *row.sounds, *_VIDEO_FIELDS), note)
    return found


def lineage(
    *,
    inputs: Iterable[object] = (),
    outputs: Iterable[object] = (),
    made_task: str | None = None,
    used_task: str | None = None,
    facts: Mapping[str, Any],
) -> Any:
    """Put together what an operator has to tell.

    :param inputs: files that were read.
    :param outputs: files that were written.
    :param made_task: id of the Kling task that was made.
    :param used_task: id of the Kling task whose result was used.
    :param facts: of the run: ``task_id``, ``endpoint``, ``model_name``, ``units``, ``external_task_id``.
    :returns: an OperatorLineage; None without the OpenLineage provider.
    """
    try:
        from airflow.providers.openlineage.extractors import OperatorLineage
        from openlineage.client.event_v2 import Dataset
    except ImportError:
        return None

    def datasets(sources: Iterable[object], task_id: str | None) -> list[Any]:
        names = [dataset_of(source) for source in sources]
        named = [name for name in names if name is not None] + ([(TASKS, task_id)] if task_id else [])
        return [Dataset(namespace=namespace, name=name) for namespace, name in dict.fromkeys(named)]

    return OperatorLineage(
        inputs=datasets(inputs, used_task),
        outputs=datasets(outputs, made_task),
        run_facets={"kling": _run_facet(facts)},
    )


def _run_facet(facts: Mapping[str, Any]) -> Any:
    """A facet of our own: OpenLineage lets any be sent, as long as it is a class."""
    import attr
    from openlineage.client.facet_v2 import RunFacet

    names = ("task_id", "endpoint", "external_task_id", "model_name", "units")
    facet = attr.make_class(
        "KlingRunFacet", {name: attr.ib(default=None) for name in names}, bases=(RunFacet,), kw_only=True
    )
    return facet(**{name: _plain(facts.get(name)) for name in names})


def _plain(value: Any) -> str | None:
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    return None if value in (None, "") else str(value)
