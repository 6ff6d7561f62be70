"""The process that waits: runs one scenario and prints its rows, one JSON object a line."""

from __future__ import annotations

import sys

from benchmarks.clock import Clock, install

if __name__ == "__main__":
    CLOCK = Clock.read(sys.argv[1])
    install(CLOCK)  # before anything else is imported

import asyncio
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from benchmarks.batches import affordable, batch, spread
from benchmarks.durations import Job, Mix
from benchmarks.lone import lone
from benchmarks.memory import weigh
from benchmarks.peers import ours
from benchmarks.peers.base import Peer
from benchmarks.peers.table import PEERS
from benchmarks.rows import Row
from benchmarks.scenarios import FOREIGN, Scenario
from benchmarks.server import Kling
from benchmarks.waits import wait_for
from benchmarks.windows import window

#: A mapped task's instances start so long after each other.
SECONDS_BETWEEN_SUBMITS = 0.25
WORKERS_LOOKED_AT = 5


class Client:
    """Runs a scenario.

    :param scenario: what.
    :param clock: its clock.
    :param seed: of the durations.
    """

    def __init__(self, scenario: Scenario, clock: Clock, seed: int):
        self._scenario, self._clock, self._seed = scenario, clock, seed
        self._connections = 0

    async def run(self) -> None:
        """Run all peers, and print a row for each."""
        scenario = self._scenario
        lag = None
        with self._kling() as kling:
            for name in scenario.peers:
                rows = await self._rows(kling, name, None)
                if PEERS[name].is_ours:
                    lag = rows[-1].lag
                _print(rows)
            if lag:
                for name in scenario.at_same_lag:
                    _print(await self._rows(kling, name, 2 * lag))

    async def _rows(self, kling: Kling, name: str, interval: float | None) -> list[Row]:
        scenario, peer = self._scenario, PEERS[name]
        waits = 1 if scenario.kind == "lone" else scenario.waits
        row = Row(scenario.name, name, waits, scale=scenario.scale, account=scenario.title)
        row.is_same_lag = interval is not None
        self._begin_anew(kling)
        await self._warm_up(kling, peer)
        conn_id = self._connection(kling)
        if scenario.kind == "memory":
            return [await weigh(row, kling, peer, self._mix(), conn_id)]
        if scenario.kind == "window":
            rows = [await self._window(kling, conn_id, row, interval)]
        elif scenario.kind == "lone" and peer.is_ours:
            rows = await self._lone(kling, conn_id, row)
        else:
            rows = [await batch(row, kling, peer, self._jobs(peer, interval), conn_id, interval)]
        if peer.is_ours:
            fresh = [Job(one, 300) for one in scenario.medians for _ in range(WORKERS_LOOKED_AT)]
            asked = await ours.requests_of_the_worker(kling, self._connection(kling), kling.book(fresh))
            for one in rows:
                one.worker_requests, one.requests = asked, (one.requests or 0) + asked
        return rows

    def _jobs(self, peer: Peer, interval: float | None) -> list[Job]:
        """The jobs of a batch; or of lone waits, as many side by side as do not disturb each other."""
        mix = self._mix()
        if self._scenario.kind == "lone":
            return mix.new(affordable(peer, self._scenario, interval))
        jobs = mix.new(self._scenario.waits)
        return spread(jobs, min(SECONDS_BETWEEN_SUBMITS * len(jobs), mix.mean / 4))

    async def _window(self, kling: Kling, conn_id: str, row: Row, interval: float | None) -> Row:
        scenario = self._scenario
        return await window(
            row,
            kling,
            PEERS[row.peer],
            self._mix(),
            conn_id,
            warm=scenario.warm,
            seconds=scenario.seconds,
            interval=interval,
        )

    async def _lone(self, kling: Kling, conn_id: str, row: Row) -> list[Row]:
        """Fresh, while it learns, and when it has learned. What it learns from is over when it is asked for."""
        scenario, mix = self._scenario, self._mix()
        rows, lessons, learned = [], [], 0
        for total in scenario.lessons:
            told = f"{row.scenario} ({total} learned)" if total else row.scenario
            rows.append(Row(told, row.peer, 1, scale=row.scale, account=row.account))
            # Each wait before teaches one more.
            lessons.append([[over(job) for job in mix.new(total - learned)] for _ in range(scenario.waits)])
            learned = total + 1
        rounds = [[mix.new(1) for _ in range(scenario.waits)] for _ in rows]
        return await lone(rows, kling, PEERS[row.peer], lessons, rounds, conn_id)

    async def _warm_up(self, kling: Kling, peer: Peer) -> None:
        """Let it wait for what is over already: what it imports and opens is not what a wait costs."""
        async with peer.open(kling, self._connection(kling), peer.interval) as waiter:
            await wait_for(waiter, kling.book([Job("image2video", 1, age=100)])[0])

    def _mix(self) -> Mix:
        """The same jobs for every peer."""
        return Mix(self._scenario.medians, self._scenario.sigma, self._seed)

    @contextmanager
    def _kling(self) -> Iterator[Kling]:
        scenario = self._scenario
        settings = {"list_order": scenario.order, "batch_limit": scenario.batch_limit}
        with Kling(self._clock, tasks_see_classic=scenario.account != "hidden", **settings) as kling:
            yield kling

    def _begin_anew(self, kling: Kling) -> None:
        kling.turn("/reset")
        if self._scenario.is_shared:
            kling.foreign(*FOREIGN)

    def _connection(self, kling: Kling) -> str:
        """One that nothing was learned on."""
        self._connections += 1
        conn_id = f"bench_{self._connections}"
        kling.connect(conn_id, signed=self._scenario.account == "lists")
        return conn_id


def over(job: Job) -> Job:
    """The same job, over already."""
    return replace(job, age=job.seconds + 60)


def _print(rows: list[Row]) -> None:
    for row in rows:
        print(json.dumps(row.to_dict()), flush=True)


def main(clock: Clock) -> None:
    """Run the scenario of the command line: clock, scenario, seed."""
    logging.basicConfig(level=os.environ.get("BENCH_LOG", "ERROR"), stream=sys.stderr)
    asyncio.run(Client(Scenario.read(sys.argv[2]), clock, int(sys.argv[3])).run())


if __name__ == "__main__":
    main(CLOCK)
