"""Numbers about the provider at work, through Airflow's own metrics (StatsD, Datadog, OpenTelemetry).

Rules
  * Every name starts with ``kling.``; Airflow puts its prefix (``airflow.``) before it.
  * Nothing here ever raises, and with metrics off a call is one look at a remembered word.
  * Plain StatsD has no tags, and Airflow drops them. There each number is sent a second time with the value of its
    first tag in the name (``kling.refused.1303``). A gauge, which every process would overwrite, carries all its
    tags in that name, and the host as one of them.
"""

from __future__ import annotations

import contextlib
import logging
import re
import socket
from collections.abc import Callable
from datetime import timedelta
from functools import cache
from typing import Any, Literal

log = logging.getLogger(__name__)

#: What neither a tag nor a name can hold everywhere; Airflow would drop the number, or the tag.
_UNFIT = re.compile(r"[^A-Za-z0-9_./-]+")
#: What would make several parts of one part of a name.
_PARTING = re.compile(r"[./]+")


def count(name: str, value: float = 1, **tags: str) -> None:
    """Add to a counter.

    :param name: without the leading ``kling.``.
    :param value: how much.
    :param tags: what it is about; the one to tell apart first comes first.
    """
    _send(name, tags, 1, lambda stats, full, known: stats.incr(full, count=value, tags=known))


def gauge(name: str, value: float, **tags: str) -> None:
    """Say how much there is now, in this process.

    :param name: without the leading ``kling.``.
    :param value: how much.
    :param tags: what it is about; the host is added.
    """
    tags = {**tags, "host": socket.gethostname()}
    _send(name, tags, len(tags), lambda stats, full, known: stats.gauge(full, value, tags=known))


def timing(name: str, seconds: float, **tags: str) -> None:
    """Say how long something took.

    :param name: without the leading ``kling.``.
    :param seconds: how long; on the wire it is milliseconds, as all of Airflow's timings are.
    :param tags: what it is about; the one to tell apart first comes first.
    """
    # a plain number would be milliseconds; a timedelta is understood alike by every backend
    _send(
        name, tags, 1, lambda stats, full, known: stats.timing(full, timedelta(seconds=seconds), tags=known)
    )


def _send(name: str, tags: dict[str, str], in_name: int, send: Callable[[Any, str, Any], None]) -> None:
    """Give a number to Airflow; ``in_name`` of the tags go into the name where there are no tags."""
    try:
        kind = _backend()
        if kind == "off":
            return
        full = f"kling.{name}"
        known = {key: _UNFIT.sub("_", str(value))[:80] for key, value in tags.items() if value}
        send(_stats(), full, known)
        if kind == "untagged" and known:
            parts = [_PARTING.sub("_", value) for value in list(known.values())[:in_name]]
            send(_stats(), ".".join([full, *parts]), known)
    except Exception:  # a number nobody sees must not cost a video that is paid
        log.debug("The metric kling.%s was not sent", name, exc_info=True)


@cache
def _backend() -> Literal["off", "untagged", "tagged"]:
    """Whether anybody listens, and whether tags reach them."""
    from airflow.providers.common.compat.sdk import conf

    def is_on(name: str) -> bool:
        return bool(conf.getboolean("metrics", name, fallback=False))

    if is_on("statsd_datadog_enabled"):
        return "tagged"
    if is_on("statsd_on"):
        return "tagged" if is_on("statsd_influxdb_enabled") else "untagged"
    return "tagged" if is_on("otel_on") else "off"


@cache
def _stats() -> Any:
    """Airflow's own Stats of this process: initialised, in a worker and in the triggerer."""
    from airflow.providers.common.compat.sdk import Stats

    with contextlib.suppress(ImportError):
        # Since 3.2 a Stats that nobody has initialised swallows everything, and the triggerer initialises another
        # copy of it. Loading Airflow's serializers initialises this one. 3.0 and 3.1 have neither.
        import airflow.sdk.serde  # noqa: F401
    return Stats
