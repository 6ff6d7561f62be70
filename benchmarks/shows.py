"""What waiting may cost, as promises, and whether the figures keep them. No tests: a busy machine is slower."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks.peers.table import PEERS
from benchmarks.rows import Row, Show
from benchmarks.table import number, ours_of, ratio

FEWER_REQUESTS, LESS_CPU = 100, 30
MOST_REQUESTS_OF_MANY = 0.5
MOST_KB, MOST_CORE_PERCENT, MOST_LOOP_MS = 10, 10, 50
MOST_REQUESTS_ALONE, MOST_LAG_ALONE, MOST_LAG_LEARNING = 8, 5, 10


def judge(rows: Sequence[Row]) -> list[Show]:
    """Hold a run against what was promised."""
    ours = [row for row in rows if row.is_ours]
    return [
        *_against_one_by_one(rows),
        *_many(ours),
        *_ten_thousand(ours),
        *_alone(ours),
        *_shared(ours),
    ]


def _against_one_by_one(rows: Sequence[Row]) -> Iterator[Show]:
    for row in rows:
        if not row.is_same_lag or row.waits != 1000:
            continue
        ours = ours_of(rows, row)
        assert ours is not None
        fewer, less = ratio(row.requests, ours.requests) or 0, ratio(row.cpu_ms, ours.cpu_ms) or 0
        yield Show(
            f"1,000 waits, {PEERS[row.peer].name} at the same lag: {FEWER_REQUESTS}x requests, {LESS_CPU}x CPU",
            fewer >= FEWER_REQUESTS and less >= LESS_CPU,
            f"{number(fewer)}x ({number(row.requests)} : {number(ours.requests)} per task), {number(less)}x "
            f"({number(row.cpu_ms)} : {number(ours.cpu_ms)} ms); lag {number(row.lag)} : {number(ours.lag)} s",
        )


def _many(ours: Sequence[Row]) -> Iterator[Show]:
    for row in ours:
        if row.waits >= 100 and row.scenario.startswith("mix-") and not row.account.startswith("shared"):
            yield Show(
                f"{row.scenario}: at most {MOST_REQUESTS_OF_MANY} requests per task",
                (row.requests or 99) <= MOST_REQUESTS_OF_MANY and not row.lost and not row.early,
                f"{number(row.requests)}, of these {number(row.worker_requests)} by the worker; "
                f"lag {number(row.lag)} s, p95 {number(row.lag_p95)} s; {row.lost} lost, {row.early} early",
            )


def _ten_thousand(ours: Sequence[Row]) -> Iterator[Show]:
    for row in ours:
        if row.waits == 10_000 and row.heap_kb is not None:
            yield Show(
                f"10,000 waits: less than {MOST_KB} KB each",
                row.heap_kb < MOST_KB,
                f"{number(row.heap_kb)} KB (heap)",
            )
        if row.waits == 10_000 and row.core_percent is not None and row.loop_p99_ms is not None:
            yield Show(
                f"{row.scenario}: less than {MOST_CORE_PERCENT} % of a core, loop lag p99 less than {MOST_LOOP_MS} ms",
                row.core_percent < MOST_CORE_PERCENT and row.loop_p99_ms < MOST_LOOP_MS,
                f"{number(row.core_percent)} %, p99 {number(row.loop_p99_ms)} ms, max {number(row.loop_max_ms)} ms; "
                f"RSS {number(row.rss_kb)} KB each",
            )


def _alone(ours: Sequence[Row]) -> Iterator[Show]:
    for row in ours:
        if not row.scenario.startswith("lone") or row.requests is None or row.lag is None:
            continue
        is_learning = "default" in row.scenario and not row.scenario.endswith("(20 learned)")
        most_lag, most = (MOST_LAG_LEARNING, None) if is_learning else (MOST_LAG_ALONE, MOST_REQUESTS_ALONE)
        promise = f"lag at most {most_lag} s" + (f", at most {most} requests" if most else "")
        yield Show(
            f"{row.scenario}: {promise}",
            row.lag <= most_lag and (most is None or row.requests <= most) and not row.lost and not row.early,
            f"{number(row.lag)} s (p95 {number(row.lag_p95)} s), {number(row.requests)} requests, {row.done} waits",
        )


def _shared(ours: Sequence[Row]) -> Iterator[Show]:
    for row in ours:
        if row.account.startswith("shared"):
            yield Show(
                f"{row.scenario}: nothing lost among 25,000 tasks of others",
                not row.lost and not row.early,
                f"{row.done} waits; {number(row.requests)} requests, {number(row.cpu_ms)} ms CPU, "
                f"lag {number(row.lag)} s (p95 {number(row.lag_p95)} s)",
            )
