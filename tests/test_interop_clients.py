"""The harness of ``make interop`` itself, without the network: nothing may pass that did not happen."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from scripts.interop import (
    CLIENTS,
    NODE,
    PYTHON,
    Client,
    NotRun,
    Row,
    exit_code,
    run_program,
    start_python,
    steps,
    summary,
    table,
    try_client,
)

#: Stand-ins for the Python package: each claims success without doing what it says.
LIAR = """
class API: pass
class KlingAiAPI(API):
    def __init__(self, access_key, secret_key): pass
    def __enter__(self): return self
    def __getattr__(self, name):
        data = {"task_id": "1", "task_status": "submitted"}
        return lambda *args, **named: {"code": 0, "data": [data] if name.startswith("list") else data}
"""
FORGETFUL = """
import requests
class API: base = ""
class KlingAiAPI(API):
    def __init__(self, access_key, secret_key): self.keys = access_key, secret_key
    def __enter__(self):
        import jwt, time
        claims = {"iss": self.keys[0], "exp": int(time.time()) + 1800, "nbf": int(time.time()) - 5}
        self.session = requests.Session()
        self.session.headers["Authorization"] = "Bearer " + jwt.encode(claims, self.keys[1], algorithm="HS256")
        return self
    def text2video(self, prompt, **fields):
        answer = self.session.post(self.base + "/v1/videos/text2video", json={"prompt": "Something else."})
        answer.raise_for_status()
        return answer.json()
"""
MORTAL = LIAR.replace("data = {", "import os; os._exit(3); data = {")


def stand_in(source: str) -> Client:
    def fetch(folder: Path) -> None:
        if source:
            (folder / "api.py").write_text(source)

    return Client(PYTHON, "0", "a stand-in", False, fetch, start_python)


def test_a_missing_node_is_reported_and_does_not_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    node = next(client for client in CLIENTS if client.name == NODE)
    rows = list(try_client(node, tmp_path))
    assert len(rows) == len(steps(NODE)) > 20
    assert {(row.outcome, row.why) for row in rows} == {("not run", "there is no node on this machine")}
    assert exit_code(rows) == 0


def test_a_package_that_cannot_be_fetched_is_told_with_the_fetchers_own_words() -> None:
    failing = "import sys; print('hint\\nERROR: no such host', file=sys.stderr); sys.exit(1)"
    with pytest.raises(NotRun, match=r"could not be fetched: ERROR: no such host$"):
        run_program([sys.executable, "-c", failing])


def test_a_package_that_this_python_cannot_load_is_reported(tmp_path: Path) -> None:
    rows = list(try_client(stand_in("type New[T] = ("), tmp_path))
    assert {row.outcome for row in rows} == {"not run"}
    assert "SyntaxError" in rows[0].why


def test_a_client_that_only_claims_success_does_not_pass(tmp_path: Path) -> None:
    rows = list(try_client(stand_in(LIAR), tmp_path))
    assert {row.outcome for row in rows} == {"failed", "not run"}
    create = next(row for row in rows if row.request == "POST /v1/videos/text2video")
    assert (create.outcome, create.why) == ("failed", "the simulator saw nothing")
    assert exit_code(rows) == 1


def test_a_field_that_does_not_arrive_fails_the_create(tmp_path: Path) -> None:
    rows = list(try_client(stand_in(FORGETFUL), tmp_path))
    create = next(row for row in rows if row.request == "POST /v1/videos/text2video")
    assert (create.outcome, create.why) == ("failed", "prompt arrived as Something else.")


def test_a_client_that_dies_fails_and_what_follows_does_not_pass(tmp_path: Path) -> None:
    rows = list(try_client(stand_in(MORTAL), tmp_path))
    assert not any(row.outcome == "passed" for row in rows)
    assert any("its process ended" in row.why for row in rows)


def test_the_table_names_every_step_with_its_outcome_and_reason() -> None:
    rows = [
        Row("klingai-api", "text2video", "POST /v1/videos/text2video", "passed"),
        Row("kling-api", "list", "GET", "not run", "the package has no call that lists"),
    ]
    assert table(rows).splitlines() == [
        "client       call        request                     outcome",
        "klingai-api  text2video  POST /v1/videos/text2video  passed",
        "kling-api    list        GET                         not run: the package has no call that lists",
    ]


def test_only_a_failure_fails_the_command_and_all_are_counted() -> None:
    passed, skipped = Row("a", "b", "c", "passed"), Row("a", "b", "c", "not run", "no node")
    failed = Row("a", "b", "c", "failed", "why")
    assert exit_code([passed, skipped]) == 0
    assert exit_code([passed, skipped, failed]) == 1
    assert summary([passed, passed, failed, skipped]) == "2 passed, 1 failed, 1 not run"
