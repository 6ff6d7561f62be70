"""Both hooks read the whole billing, however many pages it has, and do not take an endless one for it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from kling_provider.api import billing
from kling_provider.exceptions import (
    KlingAuthError,
    KlingBadRequestError,
    KlingServerError,
    KlingUnreadableResponseError,
)
from kling_provider.hooks import flows
from kling_provider.hooks.kling import KlingHook


def period() -> dict[str, datetime]:
    now = datetime.now(UTC)
    return {"start": now - timedelta(hours=1), "end": now + timedelta(minutes=1)}


def paid(kling: Any, count: int = 1, **request: Any) -> list[str]:
    ids = []
    for _ in range(count):
        ids.append(KlingHook().submit("text2video", {"prompt": "a boat", **request}).task_id)
        kling.finish(ids[-1])
    return ids


def asked(kling: Any) -> list[Any]:
    return [request for request in kling.requests if request.path in billing.BILLING_PATHS.values()]


def test_every_deduction_is_told_as_a_row(kling_simulator, kling_connection, open_hook):
    (task_id,) = paid(kling_simulator, mode="pro", sound="on", duration="10")
    (row,) = open_hook().get_billing(**period())
    assert (row.task_id, row.product, row.model_name) == (task_id, "text2video", "kling-v2-6")
    assert (row.mode, row.duration, row.sound, row.units) == ("pro", Decimal("10.04"), "on", Decimal(10))
    assert row.deducted_at.tzinfo is UTC
    assert open_hook().get_billing(**period(), kind="balance") == []


def test_an_account_that_pays_with_money_has_it_in_its_balance(kling_simulator, kling_connection, open_hook):
    kling_simulator.set(pays_with="balance")
    paid(kling_simulator)
    (row,) = open_hook().get_billing(**period(), kind="balance")
    assert (row.units, row.amount, row.currency) == (None, Decimal("0.21"), "USD")
    assert open_hook().get_billing(**period()) == []


def test_all_pages_are_read_in_order(kling_simulator, kling_connection, open_hook, monkeypatch):
    monkeypatch.setattr("kling_provider.api.calls.billing_body", small_pages(2))
    ids = paid(kling_simulator, 5)
    assert [row.task_id for row in open_hook().get_billing(**period())] == ids
    assert ["cursor" in request.body for request in asked(kling_simulator)] == [False, True, True]


def small_pages(limit: int) -> Any:
    real = billing.billing_body
    return lambda start, end, cursor, _: real(start, end, cursor, limit)


def test_only_the_period_is_told(kling_simulator, kling_connection, open_hook):
    paid(kling_simulator)
    now = datetime.now(UTC)
    assert open_hook().get_billing(now - timedelta(days=2), now - timedelta(days=1)) == []


@pytest.mark.parametrize("kind", ["html", "cut_after", "truncated", "status"])
def test_a_blip_is_tried_again_although_it_is_a_post(
    kind, kling_simulator, kling_connection, open_hook, retries
):
    (task_id,) = paid(kling_simulator)
    kling_simulator.fault(kind, method="POST", path="/account/billing")
    assert [row.task_id for row in open_hook().get_billing(**period())] == [task_id]
    assert len(asked(kling_simulator)) == 2
    assert len(kling_simulator.tasks) == 1


def test_a_page_that_stays_away_is_an_error_and_no_half_sum(
    kling_simulator, kling_connection, open_hook, retries, monkeypatch
):
    monkeypatch.setattr("kling_provider.api.calls.billing_body", small_pages(1))
    paid(kling_simulator, 2)
    kling_simulator.fault("status", method="POST", path="/account/billing", skip=1, times=0)
    with pytest.raises(KlingServerError, match=r"Asking for the account's billing \(package\) failed"):
        open_hook().get_billing(**period())


def test_an_expired_token_is_signed_anew(kling_simulator, open_hook, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_KLING_DEFAULT", kling_simulator.connection_json(auth="pair"))
    kling_simulator.fault("expired_token", method="POST", path="/account/billing")
    assert open_hook().get_billing(**period()) == []


def test_a_wrong_key_and_a_wrong_kind_are_told(kling_simulator, open_hook, connect):
    connect(kling_simulator.url, "wrong")
    with pytest.raises(KlingAuthError, match="billing"):
        open_hook().get_billing(**period())
    count = len(kling_simulator.requests)
    with pytest.raises(KlingBadRequestError, match=r"Nothing was sent. kind='pack'"):
        open_hook().get_billing(**period(), kind="pack")
    assert len(kling_simulator.requests) == count


def test_the_billing_is_no_create(kling_simulator, kling_connection, open_hook):
    open_hook().get_billing(**period())
    assert kling_simulator.creates == []
    assert len(kling_simulator.requests) == 1


class Round:
    """A server whose cursors lead round, or on for ever."""

    def __init__(self) -> None:
        self.cursors: list[str] = []
        self.asked = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                cursor = (
                    outer.cursors[outer.asked % len(outer.cursors)] if outer.cursors else f"c{outer.asked}"
                )
                outer.asked += 1
                rows = {"result": {"detail": [{"task_id": "1"}]}, "next_cursor": cursor, "has_more": True}
                body = json.dumps({"code": 0, "message": "", "request_id": "r", "data": rows}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def going_round(connect) -> Iterator[Round]:
    server = Round()
    connect(server.url, "key")
    yield server
    threading.Thread(target=server.close, daemon=True).start()


@pytest.mark.parametrize(("cursors", "requests"), [(["a"], 2), (["a", "b"], 3), (["a", "b", "b"], 3)])
def test_a_cursor_that_leads_round_is_an_error_and_no_double_sum(cursors, requests, going_round, open_hook):
    going_round.cursors = cursors
    with pytest.raises(KlingUnreadableResponseError, match=f"after {requests} pages the cursor"):
        open_hook().get_billing(**period())
    assert going_round.asked == requests


def test_pages_without_end_are_an_error(going_round, open_hook, monkeypatch):
    monkeypatch.setattr(flows, "MAX_BILLING_PAGES", 4)
    with pytest.raises(KlingUnreadableResponseError, match="after 4 pages the cursor 'c3' leads on"):
        open_hook().get_billing(**period())
    assert going_round.asked == 4
