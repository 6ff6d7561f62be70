"""All peers, by the name that the command line takes."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.peers import http_provider, ours, per_task, registry
from benchmarks.peers.base import Peer

PEERS: Mapping[str, Peer] = {
    "kling": Peer("airflow-provider-kling", 0, ours.opened, is_ours=True),
    "threads": Peer(
        "per task, a thread per ask",
        60,
        per_task.threads,
        note="the Anthropic provider's pattern and interval",
    ),
    "sessions": Peer(
        "per task, a session each",
        30,
        per_task.sessions,
        note="the Databricks provider's pattern and interval",
    ),
    "shared": Peer(
        "per task, one session", 30, per_task.shared, note="the best that asking one by one can be"
    ),
    "http-sensor": Peer(
        "HttpSensor, poke",
        60,
        http_provider.sensor,
        threads=1,
        most=http_provider.MOST_WORKERS,
        note="holds a worker for each wait, for which a thread stands here; with mode='reschedule' the requests are "
        "the same, and each is a worker start",
    ),
    "http-deferrable": Peer(
        "HttpSensor, deferrable", 60, http_provider.sensor_trigger, note="cannot wait: any 200 ends it"
    ),
    "http-event": Peer(
        "HttpEventTrigger",
        60,
        http_provider.event_trigger,
        note="no operator defers to it; made for AssetWatchers",
    ),
    "runapi": Peer("runapi-kling", 2, registry.runapi, threads=1, most=registry.MOST_THREADS),
    "replicate": Peer("replicate", 0.5, registry.replicate),
    "fal": Peer("fal-client", 0.1, registry.fal, asks_at_end=1),
}
