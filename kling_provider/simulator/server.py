"""The simulator as an object: a server in a thread, and a hand on everything in it."""

from __future__ import annotations

import ipaddress
import logging
import socket
import tempfile
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import uvicorn

from kling_provider.api.endpoints import ENDPOINTS
from kling_provider.simulator.accounts import Account, Charge
from kling_provider.simulator.app import create_app
from kling_provider.simulator.connection import Auth, connection_json, connection_uri
from kling_provider.simulator.faults import Fault
from kling_provider.simulator.journal import Recorded
from kling_provider.simulator.protocol import CuttableProtocol
from kling_provider.simulator.settings import Script, Settings
from kling_provider.simulator.simulation import Callback, Simulation
from kling_provider.simulator.tasks import SimTask
from kling_provider.simulator.tls import make_certificate

DEFAULT_ACCOUNT = Account("main", api_key="sim-key", access_key="ak-sample", secret_key="sk-sample")  # noqa: S106
START_SECONDS = 10
#: Longer than clients keep idle connections, so that the server is not the one that closes them.
KEEP_ALIVE_SECONDS = 120


class SimulatorServer:
    """A Kling on loopback, in a thread of this process.

    Use it as a context manager, or call :meth:`start` and :meth:`close`::

        with SimulatorServer(task_seconds=1) as kling:
            os.environ["AIRFLOW_CONN_KLING_DEFAULT"] = kling.connection_json()

    :param host: loopback address to listen on.
    :param port: 0 finds a free one.
    :param account: the first account and its keys.
    :param seed: of ids, jitter and shuffled lists.
    :param control: whether it has the control plane ``/_simulator``.
    :param tls: serve https with a certificate made for it; see ``certificate``.
    :param allow_remote: listen on an address others can reach. Whoever reaches it may use the control plane.
    :param settings: first settings, by name: see :class:`~kling_provider.simulator.settings.Settings`.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        account: Account = DEFAULT_ACCOUNT,
        seed: int = 0,
        control: bool = True,
        tls: bool = False,
        allow_remote: bool = False,
        **settings: Any,
    ):
        if not (allow_remote or _is_loopback(host)):
            raise ValueError(
                f"host={host!r} is not a loopback address, and this server gives away free videos."
            )
        self.account = account
        self.simulation = Simulation(account, Settings.read(settings), seed)
        self._host, self._port, self._control, self._tls = host, port, control, tls
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self.url = ""

    # --- life -------------------------------------------------------------------------------------

    def start(self) -> Self:
        """Listen. Returns when requests are accepted."""
        files: dict[str, Any] = {}
        if self._tls:
            self._folder = tempfile.TemporaryDirectory(prefix="kling-simulator-tls-")
            certificate, key = make_certificate(Path(self._folder.name), self._host)
            files = {"ssl_certfile": str(certificate), "ssl_keyfile": str(key)}
        listener = _listen(self._host, self._port)
        port = listener.getsockname()[1]
        host = f"[{self._host}]" if ":" in self._host else self._host
        self.url = f"{'https' if self._tls else 'http'}://{host}:{port}"
        config = uvicorn.Config(
            create_app(self.simulation, control=self._control),
            http=CuttableProtocol,
            ws="none",
            loop="asyncio",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,  # the gate tells the simulated server's own time
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            **files,
        )
        # Clients that are cut off on purpose are no news.
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, args=([listener],), name="kling-simulator", daemon=True
        )
        self._thread.start()
        until = time.monotonic() + START_SECONDS
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > until:
                raise RuntimeError(f"the simulator did not start on {self.url}")
            time.sleep(0.005)
        return self

    def close(self) -> None:
        """Stop listening and throw everything away. Requests that still hang are cut."""
        if self._server is not None and self._thread is not None:
            self._server.should_exit = self._server.force_exit = True
            self._thread.join(START_SECONDS)
        self.simulation.studio.close()
        if self._folder is not None:
            self._folder.cleanup()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- how to reach it --------------------------------------------------------------------------

    @property
    def api_key(self) -> str:
        """The static key, also the gateway's token."""
        return self.account.api_key

    @property
    def access_key(self) -> str:
        """For signing a JWT."""
        return self.account.access_key

    @property
    def secret_key(self) -> str:
        """For signing a JWT."""
        return self.account.secret_key

    @property
    def certificate(self) -> str | None:
        """File of the certificate clients must trust (extra ``verify``), with ``tls``."""
        return None if self._folder is None else str(Path(self._folder.name) / "simulator.pem")

    def connection_json(self, gateway: str = "official", *, auth: Auth = "key", **extra: Any) -> str:
        """The Airflow connection to this server as JSON.

        :param gateway: ``official``, ``dmxapi`` or ``custom``.
        :param auth: ``key`` or, for the JWT, ``pair``.
        :param extra: further extras of the connection.
        """
        return connection_json(self.url, self.account, gateway, auth, {**self._extra(), **extra})

    def connection_uri(self, gateway: str = "official", *, auth: Auth = "key", **extra: Any) -> str:
        """The same as a URI."""
        return connection_uri(self.url, self.account, gateway, auth, {**self._extra(), **extra})

    def _extra(self) -> dict[str, Any]:
        """What a connection should know about this Kling: its certificate, and that it is faster than the vendor's."""
        extra: dict[str, Any] = {} if self.certificate is None else {"verify": self.certificate}
        usual = self.simulation.settings.usual_seconds
        return extra if usual is None else {**extra, "typical_seconds": usual}

    # --- a hand on it -----------------------------------------------------------------------------

    def set(self, **settings: Any) -> Settings:
        """Change settings: see :class:`~kling_provider.simulator.settings.Settings`."""
        return self.simulation.set(settings)

    def fault(self, kind: str, **values: Any) -> Fault:
        """Arm a fault: see :class:`~kling_provider.simulator.faults.Fault`."""
        return self.simulation.fault({"kind": kind, **values})

    def next_task(self, outcome: str = "succeed", **values: Any) -> Script:
        """Script the next task: see :class:`~kling_provider.simulator.settings.Script`."""
        return self.simulation.next_task({"outcome": outcome, **values})

    def foreign(self, count: int = 0, running: int | None = None) -> None:
        """Put ``count`` finished tasks of others into the account; let ``running`` of theirs hold a slot."""
        self.simulation.foreign(count, running)

    def crowd(self, endpoint: str, seconds: Sequence[float], **values: Any) -> list[SimTask]:
        """Book many tasks at once: see :func:`~kling_provider.simulator.crowd.add_crowd`."""
        return self.simulation.crowd({"endpoint": endpoint, "seconds": seconds, **values})

    def add_account(self, name: str, api_key: str, access_key: str = "", secret_key: str = "") -> Account:
        """Let another account's keys in; it has tasks and slots of its own."""
        account = Account(name, api_key, access_key or f"ak-{name}", secret_key or f"sk-{name}")
        self.simulation.add_account(account)
        return account

    def change(self, task_id: str, **values: Any) -> SimTask:
        """Change a task: ``status``, ``message``, ``vanish_for``, ``stuck``, ``no_result``."""
        return self.simulation.change(task_id, values)

    def finish(self, task_id: str) -> SimTask:
        """Let a task succeed now."""
        return self.simulation.change(task_id, {"status": "succeed"})

    def reset(self) -> None:
        """Begin anew: no tasks, no faults, no requests, the first settings."""
        self.simulation.reset()

    # --- what happened ----------------------------------------------------------------------------

    @property
    def requests(self) -> list[Recorded]:
        """Every request but those to the control plane, oldest first."""
        return self.simulation.requests()

    @property
    def counts(self) -> dict[str, int]:
        """How many requests came since the beginning or the last reset, by method and path."""
        return self.simulation.counts()

    @property
    def creates(self) -> list[Recorded]:
        """The requests that ask for something to be made (POST); not those that only read."""
        reads = {row.create_path for row in ENDPOINTS.values() if row.work == "read"}
        return [
            request for request in self.requests if request.method == "POST" and request.path not in reads
        ]

    @property
    def tasks(self) -> list[SimTask]:
        """Every task booked and every call answered here, oldest first; not the foreign ones."""
        return self.simulation.tasks()

    @property
    def charges(self) -> list[Charge]:
        """The ledger: every booked task that did not fail, and every call that has a price."""
        return self.simulation.charges()

    @property
    def callbacks(self) -> Iterable[Callback]:
        """The callbacks that were sent, or would have been."""
        return list(self.simulation.callbacks)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named: asyncio sets TCP_NODELAY only then, and without it each answer takes 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    return listener
