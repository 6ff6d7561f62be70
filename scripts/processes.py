"""Start programs in the background so that none of them outlives the command that started it.

Every program gets a session of its own, because Airflow puts each task into a process group of its own and a
signal to the program's group would miss the tasks. A small guard process holds the other end of a pipe: when
the command ends without cleaning up (SIGTERM, ``kill -9``, a crash), the pipe closes and the guard stops what
is left.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

GRACE_SECONDS = 8.0
ORPHAN_GRACE_SECONDS = 1.0  # for processes whose program has ended before them


class ProgramDied(RuntimeError):
    """A program ended although nobody asked it to."""


class Programs:
    """Named background programs, each with its own log file, stopped together."""

    def __init__(self) -> None:
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._logs: dict[str, Path] = {}
        self._graces: dict[int, float] = {}
        self._excused: set[str] = set()
        self._guard: subprocess.Popen[bytes] | None = None

    def start(
        self,
        name: str,
        command: Sequence[str],
        *,
        log: Path,
        env: Mapping[str, str],
        cwd: Path,
        grace: float = GRACE_SECONDS,
    ) -> subprocess.Popen[bytes]:
        """Start ``command`` under ``name``; what it prints is appended to ``log``.

        :param grace: seconds it gets to end by itself when it is stopped.
        """
        self._tell_guard("")  # it must be there before the first thing it guards
        log.parent.mkdir(parents=True, exist_ok=True)
        with _leave.held_back(), log.open("ab") as output:
            program = subprocess.Popen(
                command,
                env=dict(env),
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            self._running[name], self._logs[name] = program, log
            self._excused.discard(name)
            self._graces[program.pid] = grace
            self._tell_guard(f"{program.pid} {grace}\n")
        return program

    def check(self) -> None:
        """Raise `ProgramDied`, with the end of its log, if a program has ended by itself."""
        for name, program in self._running.items():
            if name not in self._excused and program.poll() is not None:
                log = self._logs[name]
                raise ProgramDied(
                    f"{name} ended with exit code {program.returncode}; {log} ends with:\n{tail(log)}"
                )

    def pid(self, name: str) -> int:
        """The process id of a program."""
        return self._running[name].pid

    def kill(self, name: str, number: int) -> None:
        """Send a signal to ``name`` and all it started, tasks included; `check` then forgives its death."""
        program = self._running[name]
        self._excused.add(name)
        _signal(_members({program.pid}), number)
        if number == signal.SIGKILL:
            program.wait()

    def stop(self, *names: str) -> None:
        """Stop these programs, or all of them, and everything they started."""
        wanted = [self._running[name] for name in names or list(self._running) if name in self._running]
        _stop_sessions({program.pid: self._graces[program.pid] for program in wanted}, reap=wanted)
        for program in wanted:
            self._tell_guard(f"{program.pid} done\n")
        self._running = {name: program for name, program in self._running.items() if program not in wanted}
        if not self._running and self._guard is not None and self._guard.stdin is not None:
            self._guard.stdin.close()
            self._guard.wait()
            self._guard = None

    def _tell_guard(self, line: str) -> None:
        if self._guard is None:
            self._guard = subprocess.Popen(
                [sys.executable, "-I", "-S", __file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        if self._guard.stdin is not None:
            self._guard.stdin.write(line.encode())
            self._guard.stdin.flush()


def leave_in_order() -> None:
    """Make SIGTERM, and SIGHUP without nohup, end this process as an exception does: what it has started is stopped."""
    signal.signal(signal.SIGTERM, _leave)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        signal.signal(signal.SIGHUP, _leave)


class _Leaving:
    """The handler of these signals. What is just being started becomes known first, so that it is stopped too."""

    def __init__(self) -> None:
        self._starting = 0
        self._number = 0

    def __call__(self, number: int, _: object) -> None:
        self._number = number
        if not self._starting:
            raise SystemExit(128 + number)

    @contextlib.contextmanager
    def held_back(self) -> Iterator[None]:
        """Let a signal that comes within the block end the process after it."""
        self._starting += 1
        try:
            yield
        finally:
            self._starting -= 1
            if self._number:
                raise SystemExit(128 + self._number)


_leave = _Leaving()


def tail(log: Path, lines: int = 40) -> str:
    """Return the last lines of a log file."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


def children_of(pid: int) -> list[int]:
    """The processes that ``pid`` has started and that live."""
    found: list[int] = []
    for thread in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += [int(child) for child in thread.read_text().split()]
    return found


def age_of(pid: int) -> float:
    """Seconds since the process was started; 0 if it is gone."""
    try:
        started = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except (OSError, IndexError):
        return 0.0
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started / os.sysconf("SC_CLK_TCK")


def _stop_sessions(graces: Mapping[int, float], reap: Collection[subprocess.Popen[bytes]] = ()) -> None:
    """Ask every program to end; kill what it leaves behind, and after its grace the program too."""
    for leader in graces:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(leader, signal.SIGTERM)  # not to its children: it ends them in the order it knows
    _signal(_members(graces), signal.SIGCONT)  # what a test has frozen could not end
    started = time.monotonic()
    while True:
        for program in reap:
            program.poll()
        left = _members(graces)
        if not left:
            return
        waited = time.monotonic() - started
        late = [
            pid
            for pid, leader in left.items()
            if waited > graces[leader] or (leader not in left and waited > ORPHAN_GRACE_SECONDS)
        ]
        _signal(late, signal.SIGKILL)
        time.sleep(0.05)


def _members(leaders: Collection[int]) -> dict[int, int]:
    """Return the living processes of these sessions with their leaders (without /proc: only the leaders)."""
    if not Path("/proc/self/stat").exists():
        return {leader: leader for leader in leaders if _group_lives(leader)}
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                # "pid (name) state parent group session ..."; the name may hold spaces and brackets
                fields = Path(f"/proc/{entry}/stat").read_text(errors="replace").rpartition(")")[2].split()
                if int(fields[3]) in leaders and fields[0] not in "ZX":
                    found[int(entry)] = int(fields[3])
    return found


def _group_lives(leader: int) -> bool:
    try:
        os.killpg(leader, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _signal(pids: Collection[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _guard() -> None:
    """Read "pid grace" and "pid done" lines until the pipe closes, then stop what is not done."""
    graces: dict[int, float] = {}
    for line in sys.stdin:
        pid, grace = line.split()
        if grace == "done":
            graces.pop(int(pid), None)
        else:
            graces[int(pid)] = float(grace)
    _stop_sessions(graces)


if __name__ == "__main__":
    _guard()
