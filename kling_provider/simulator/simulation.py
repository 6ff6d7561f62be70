"""One running simulator: the world, its clock, its lock, and what stands between it and the clients."""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, cast
from urllib.parse import parse_qsl, urlencode, urlsplit

from kling_provider.api.gateways import GATEWAYS
from kling_provider.simulator.accounts import Account, Charge
from kling_provider.simulator.crowd import add_crowd
from kling_provider.simulator.faults import Fault, Faults
from kling_provider.simulator.foreign import add_foreign
from kling_provider.simulator.journal import Journal, Recorded
from kling_provider.simulator.presets import PRESETS
from kling_provider.simulator.results.planned import Recipe
from kling_provider.simulator.settings import Script, Settings
from kling_provider.simulator.studio import Studio
from kling_provider.simulator.tasks import SimTask
from kling_provider.simulator.world import World

#: The id of the result in the name of a file.
_ID = re.compile(r"\d+")
#: The two names this machine has for itself.
_OTHER_NAMES = {"127.0.0.1": "localhost", "localhost": "127.0.0.1"}


@dataclass(frozen=True, slots=True)
class Callback:
    """A callback that was sent, or would have been.

    :param at: epoch seconds.
    :param url: where to.
    :param body: the bare task object.
    :param status: HTTP status of the answer, None if there was none.
    :param note: why it was not sent, or what went wrong.
    """

    at: float
    url: str
    body: Mapping[str, Any]
    status: int | None
    note: str = ""


class Simulation:
    """A Kling, thread-safe: the HTTP side and a test may both work on it.

    :param account: the first account and its keys.
    :param settings: how it behaves at first, and again after :meth:`reset`.
    :param seed: of ids, jitter and shuffled lists.
    """

    def __init__(self, account: Account, settings: Settings | None = None, seed: int = 0):
        self._first = (account, settings or Settings(), seed)
        self.lock = threading.RLock()
        self.studio = Studio()
        self.generation = 0
        self.base = ""  # where clients last reached this server; callbacks name result addresses with it
        self._begin()

    def _begin(self) -> None:
        account, settings, seed = self._first
        self.accounts = [account]
        self.world = World(settings, seed + self.generation)
        self.faults = Faults()
        self.journal = Journal()
        self.callbacks: list[Callback] = []
        self._times_told: Counter[str] = Counter()  # name of a file -> how often its address was told
        self.generation += 1

    def reset(self) -> None:
        """Begin anew: no tasks, no faults, the first settings. What still hangs is cut, not carried out."""
        with self.lock:
            self._begin()

    @property
    def now(self) -> float:
        """Real time. Only the work of tasks goes faster."""
        return time.time()

    @property
    def settings(self) -> Settings:
        """How it behaves."""
        return self.world.settings

    # --- turned by tests and by the control plane ---------------------------------------------------

    def set(self, values: Mapping[str, Any]) -> Settings:
        """Change settings by name.

        :raises ValueError: naming what is wrong.
        """
        with self.lock:
            settings = cast(Settings, Settings.read({**self.settings.model_dump(), **values}))
            self.world.set(settings, self.now)
            return settings

    def fault(self, values: Mapping[str, Any]) -> Fault:
        """Arm a fault."""
        fault = cast(Fault, Fault.read(values))
        with self.lock:
            self.faults.add(fault)
        return fault

    def next_task(self, values: Mapping[str, Any]) -> Script:
        """Script the next task."""
        script = cast(Script, Script.read(values))
        with self.lock:
            self.world.next_tasks(script)
        return script

    def change(self, task_id: str, values: Mapping[str, Any]) -> SimTask:
        """Change a task; the values of :meth:`World.change`."""
        with self.lock:
            return self.world.change(task_id, self.now, **values)

    def foreign(self, count: int = 0, running: int | None = None) -> None:
        """Put somebody else's tasks into the first account."""
        with self.lock:
            add_foreign(self.world, self.accounts[0], self.now, count, running)

    def crowd(self, values: Mapping[str, Any]) -> list[SimTask]:
        """Book many tasks of ours at once; the values of :func:`~kling_provider.simulator.crowd.add_crowd`."""
        with self.lock:
            tasks = add_crowd(self.world, self.accounts[0], self.now, **values)
            return [replace(task) for task in tasks]

    def add_account(self, account: Account) -> None:
        """Let another account's keys in."""
        with self.lock:
            self.accounts.append(account)

    # --- seen by tests and by the control plane -----------------------------------------------------

    def tasks(self) -> list[SimTask]:
        """Copies of all tasks but the foreign ones, oldest first."""
        with self.lock:
            self.world.advance(self.now)
            return [replace(task) for task in self.world.tasks.values() if not task.is_foreign]

    def charges(self) -> list[Charge]:
        """The ledger."""
        with self.lock:
            self.world.advance(self.now)
            return list(self.world.charges())

    def requests(self) -> list[Recorded]:
        """The requests, oldest first."""
        with self.lock:
            return [replace(record) for record in self.journal.requests]

    def counts(self) -> dict[str, int]:
        """How many requests came since the beginning, by method and path; ids stand as ``{id}``."""
        with self.lock:
            return dict(self.journal.counts)

    # --- result addresses ---------------------------------------------------------------------------

    def address(self, base: str, task: SimTask, name: str) -> str:
        """Where a file can be fetched, for a while.

        :param base: address of this server.
        :param task: whose result it is.
        :param name: of the file.
        """
        ends = self.kept_until(task)
        if self.settings.url_ttl is not None:
            ends = min(ends, self.now + self.settings.url_ttl)
        end = int(ends * 1000)
        if not self.settings.resigns_addresses:
            return f"{base}/_files/{name}?pkey={end:x}-{_seal(name, end)}"
        with self.lock:
            time_told = self._times_told[name] = self._times_told[name] + 1
        key = _seal(name, time_told)
        if time_told % 2 == 0:
            base = under_its_other_name(base)
        signed = {"cacheKey": key, "x-kcdn-pid": time_told, "pkey": f"{end:x}-{_seal(name, end, key)}"}
        return f"{base}/_files/{name}?{urlencode(signed)}"

    def own_file(self, url: str) -> tuple[str, Mapping[str, str]] | None:
        """Name and parameters of a file at an address of this server; None for any other address."""
        place, _, query = url.partition("?")
        for base in {self.base, under_its_other_name(self.base)}:
            name = place.removeprefix(f"{base}/_files/")
            if self.base and name != place:
                return name, dict(parse_qsl(query))
        return None

    def may_fetch(self, name: str, query: Mapping[str, str]) -> bool:
        """Whether an address is right and not over.

        :param name: of the file.
        :param query: the parameters of the address.
        """
        told, _, seal = query.get("pkey", "").partition("-")
        try:
            ends = int(told, 16)
        except ValueError:
            return False
        with self.lock:
            task = self._maker(name)
            kept_until = self.kept_until(task) if task else 0
        right = _seal(name, ends, query.get("cacheKey", ""))
        return seal == right and self.now * 1000 < ends and self.now < kept_until

    def recipe(self, name: str) -> Recipe | None:
        """What the file called ``name`` holds, None if there is none."""
        with self.lock:
            self.world.advance(self.now)
            task = self._maker(name)
        if task is None or not task.has_result:
            return None
        files = {
            f"{one.id}{ending}": recipe
            for one in task.results
            for ending, recipe in one.planned.files.items()
        }
        return files.get(name)

    def kept_until(self, task: SimTask) -> float:
        """When the results of a task are thrown away, epoch seconds."""
        if task.order.endpoint.work == "read":  # what comes with Kling stays
            return self.now + 86400
        ttl = self.settings.result_ttl
        return task.updated_at + (GATEWAYS[task.gateway].result_ttl_days * 86400 if ttl is None else ttl)

    def _maker(self, name: str) -> SimTask | None:
        result_id = _ID.match(name)
        return (self.world.maker(result_id[0]) or PRESETS.get(result_id[0])) if result_id else None


def under_its_other_name(base: str) -> str:
    """The address of a server on this machine under the other one of its two names; any other as it is."""
    host = urlsplit(base).hostname or ""
    return base.replace(host, _OTHER_NAMES.get(host, host), 1)


def _seal(name: str, number: int, key: str = "") -> str:
    return hashlib.sha256(f"{name}/{number}/{key}".encode()).hexdigest()[:16]
