"""What a person does in Airflow's UI, through its REST API: trigger, look, wait, clear, mark."""

from __future__ import annotations

import contextlib
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

Json = dict[str, Any]
T = TypeVar("T")
Poll = Callable[[Json, list[Json]], None]

FINISHED = ("success", "failed")
MAP_INDEX_NONE = -1
#: How long an Airflow that is busy is asked again.
BUSY_SECONDS = 30
# printed first or not worth repeating in every line
LOG_NOISE = {"timestamp", "level", "event", "error_detail", "logger", "filename", "lineno"} | {
    "ti_id",
    "dag_id",
    "task_id",
    "run_id",
    "map_index",
    "try_number",
}


class AirflowClientError(RuntimeError):
    """Airflow did not do what was asked; the message carries the logs that say why."""


class AirflowBusyError(ConnectionError):
    """Airflow answered 500 or 503 and has written nothing: its SQLite was locked for more than five seconds."""


class AirflowClient:
    """One Airflow, 3.0.6 or later, that gives everybody a token (``simple_auth_manager_all_admins``).

    :param url: its address, without a path.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.started_at = datetime.now(UTC)
        self._token = ""

    def check(self) -> None:
        """Raise if waiting any longer is useless. Called between two looks; here it never is."""

    def wait_for_dag(self, dag_id: str, timeout: float = 60) -> Json:
        """Wait until the DAG has been parsed since the start. Any broken file raises its traceback."""

        def parsed() -> Json | None:
            for broken in self._request("GET", "/api/v2/importErrors?limit=10")["import_errors"]:
                if _time(broken["timestamp"]) > self.started_at:
                    raise AirflowClientError(f"{broken['filename']} is broken:\n{broken['stack_trace']}")
            with contextlib.suppress(FileNotFoundError):
                dag = self._request("GET", f"/api/v2/dags/{_quote(dag_id)}")
                # the row of an earlier start may describe an earlier version of the file
                if dag["last_parsed_time"] and _time(dag["last_parsed_time"]) > self.started_at:
                    return dag
            return None

        return self._wait(f"DAG {dag_id}", timeout, parsed)

    def trigger(
        self,
        dag_id: str,
        conf: Json | None = None,
        run_id: str | None = None,
        logical_date: datetime | None = None,
    ) -> str:
        """Start a run and return its id; the logical date is now unless given, as in the UI."""
        body = {"conf": conf or {}, "logical_date": (logical_date or datetime.now(UTC)).isoformat()}
        if run_id:
            body["dag_run_id"] = run_id
        return str(self._request("POST", f"/api/v2/dags/{_quote(dag_id)}/dagRuns", body)["dag_run_id"])

    def dag_run(self, dag_id: str, run_id: str) -> Json:
        """Return the run as the API shows it; ``state`` is what one mostly wants."""
        return self._request("GET", _run_path(dag_id, run_id))

    def task_instances(self, dag_id: str, run_id: str) -> list[Json]:
        """Return all task instances of a run, mapped ones one by one."""
        path, found = f"{_run_path(dag_id, run_id)}/taskInstances", list[Json]()
        while True:
            page = self._request("GET", f"{path}?limit=100&offset={len(found)}")
            found += page["task_instances"]
            if not page["task_instances"] or len(found) >= page["total_entries"]:
                return found

    def xcom(
        self,
        dag_id: str,
        run_id: str,
        task_id: str,
        key: str = "return_value",
        map_index: int = MAP_INDEX_NONE,
    ) -> Any:
        """Return the value of an XCom; FileNotFoundError if there is none."""
        path = f"{_run_path(dag_id, run_id)}/taskInstances/{_quote(task_id)}/xcomEntries/{_quote(key)}"
        return self._request("GET", f"{path}?map_index={map_index}")["value"]

    def rendered_fields(
        self, dag_id: str, run_id: str, task_id: str, map_index: int = MAP_INDEX_NONE
    ) -> Json:
        """Return the template fields as Airflow stored them after rendering."""
        return dict(self._request("GET", _task_path(dag_id, run_id, task_id, map_index))["rendered_fields"])

    def task_log(
        self, dag_id: str, run_id: str, task_id: str, try_number: int = 1, map_index: int = MAP_INDEX_NONE
    ) -> str:
        """Return the log of one try as text, a line per message, with the exceptions in it."""
        path = f"{_run_path(dag_id, run_id)}/taskInstances/{_quote(task_id)}/logs/{try_number}"
        lines = self._send("GET", f"{path}?full_content=true&map_index={map_index}", ndjson=True)
        return "\n".join(_log_line(json.loads(line)) for line in lines.decode().splitlines() if line)

    def clear(
        self, dag_id: str, run_id: str, task_ids: Sequence[str | list[str | int]], **options: Any
    ) -> Json:
        """Clear tasks of a run so that they run again; options as in the API (include_downstream, ...).

        :param task_ids: task ids, or ``[task_id, map_index]`` for one mapped task.
        """
        body = {"dry_run": False, "only_failed": False, "dag_run_id": run_id, "task_ids": list(task_ids)}
        return self._request("POST", f"/api/v2/dags/{_quote(dag_id)}/clearTaskInstances", body | options)

    def set_task_state(
        self, dag_id: str, run_id: str, task_id: str, state: str, map_index: int = MAP_INDEX_NONE
    ) -> Json:
        """Mark a task as ``success``, ``failed`` or ``skipped``, as a person does in the UI."""
        return self._request("PATCH", _task_path(dag_id, run_id, task_id, map_index), {"new_state": state})

    def create_pool(self, name: str, slots: int, include_deferred: bool) -> None:
        """Create a pool, or give an existing one these slots."""
        body = {"name": name, "slots": slots, "include_deferred": include_deferred}
        try:
            self._request("PATCH", f"/api/v2/pools/{_quote(name)}", {"description": None} | body)
        except FileNotFoundError:
            self._request("POST", "/api/v2/pools", body)

    def wait_for_run(
        self, dag_id: str, run_id: str, timeout: float = 300, on_poll: Poll | None = None
    ) -> Json:
        """Wait until the run has succeeded or failed and return it.

        :param on_poll: called with the run and its task instances about three times a second.
        :raises AirflowClientError: on time-out, with state and end of the log of each unfinished task.
        """

        def finished() -> Json | None:
            run = self.dag_run(dag_id, run_id)
            if on_poll:
                on_poll(run, self.task_instances(dag_id, run_id))
            return run if run["state"] in FINISHED else None

        try:
            return self._wait(f"run {run_id} of {dag_id}", timeout, finished)
        except TimeoutError as error:
            raise AirflowClientError(f"{error}\n{self.explain(dag_id, run_id)}") from None

    def explain(self, dag_id: str, run_id: str, lines: int = 30) -> str:
        """Return state and end of the log of every task of a run that has not succeeded."""
        parts = []
        for task in self.task_instances(dag_id, run_id):
            if task["state"] in ("success", "skipped"):
                continue
            index, number = task["map_index"], task["try_number"]
            parts.append(f"-- {task['task_id']}[{index}] is {task['state']}, try {number}:")
            if number and task["state"] != "upstream_failed":
                with contextlib.suppress(OSError, AirflowClientError):
                    log = self.task_log(dag_id, run_id, task["task_id"], number, index)
                    parts += log.splitlines()[-lines:]
        return "\n".join(parts)

    # -- HTTP

    def _wait(self, what: str, timeout: float, look: Callable[[], T | None]) -> T:
        deadline, trouble = time.monotonic() + timeout, ""
        while True:
            self.check()
            try:
                if found := look():
                    return found
            except (urllib.error.URLError, ConnectionError, TimeoutError) as error:
                trouble = f" Last error: {error}"  # a restart, or SQLite is busy for a moment
            if time.monotonic() > deadline:
                raise TimeoutError(f"Waited {timeout:.0f} s for {what}.{trouble}")
            time.sleep(0.3)

    def _request(self, method: str, path: str, body: Json | None = None) -> Json:
        deadline = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                return dict(json.loads(self._send(method, path, body) or b"{}"))
            except AirflowBusyError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.3)

    def _send(self, method: str, path: str, body: Json | None = None, ndjson: bool = False) -> bytes:
        request = urllib.request.Request(self.url + path, method=method)
        request.add_header("Accept", "application/x-ndjson" if ndjson else "application/json")
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        if self._token:
            request.add_header("Authorization", f"Bearer {self._token}")
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with direct.open(request, timeout=60) as response:
                return bytes(response.read())
        except urllib.error.HTTPError as error:
            said = error.read().decode(errors="replace")
            kind = {404: FileNotFoundError, 500: AirflowBusyError, 503: AirflowBusyError}.get(error.code)
            raise (kind or AirflowClientError)(f"{method} {path} -> {error.code}: {said}") from None


def _log_line(message: Json) -> str:
    """One structured message as text: time, level, event, what else it carries, exceptions."""
    extra = "".join(f" {name}={value!r}" for name, value in message.items() if name not in LOG_NOISE)
    head = " ".join(filter(None, [message.get("timestamp"), message.get("level")]))
    text = f"{head} {message.get('event', '')}{extra}".strip()
    for error in message.get("error_detail") or []:
        where = "".join(f", {at['filename']}:{at['lineno']}" for at in (error.get("frames") or [])[-1:])
        text += f"\n  {error['exc_type']}: {error['exc_value']}{where}"
    return text


def _quote(part: str) -> str:
    return urllib.parse.quote(part, safe="")


def _run_path(dag_id: str, run_id: str) -> str:
    return f"/api/v2/dags/{_quote(dag_id)}/dagRuns/{_quote(run_id)}"


def _task_path(dag_id: str, run_id: str, task_id: str, map_index: int) -> str:
    path = f"{_run_path(dag_id, run_id)}/taskInstances/{_quote(task_id)}"
    return path if map_index == MAP_INDEX_NONE else f"{path}/{map_index}"


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
