"""One sentence about what is wrong with a connection, from free requests only."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from kling_provider.api.gateways import GATEWAYS
from kling_provider.hooks import config as config_module
from kling_provider.hooks import diagnosis
from kling_provider.hooks.kling import KlingHook
from kling_provider.simulator.server import SimulatorServer
from tests.hooks.talking import Listener, free_port
from tests.independent_server import IndependentKling

pytestmark = pytest.mark.usefixtures("retries")


@pytest.fixture
def regions(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[IndependentKling, IndependentKling]]:
    """Two vendors' hosts, each with keys of its own."""
    with (
        IndependentKling(api_key="key-of-singapore") as far,
        IndependentKling(api_key="key-of-beijing") as near,
    ):
        row = replace(GATEWAYS["official"], hosts={"singapore": far.url, "beijing": near.url})
        monkeypatch.setattr(config_module, "GATEWAYS", {**GATEWAYS, "official": row})
        yield far, near


def test_a_good_connection_costs_nothing_to_test(official, open_hook):
    assert open_hook().test_connection() == (True, f"Kling answers (official at {official.url}).")
    (asked,) = official.requests
    assert (asked.method, asked.query) == ("GET", {"pageNum": "1", "pageSize": "1"})


def test_a_gateway_without_lists_is_asked_for_a_task_that_cannot_exist(reseller, open_hook):
    assert open_hook().test_connection() == (True, f"Kling answers (dmxapi at {reseller.url}).")
    (asked,) = reseller.requests
    assert (asked.method, asked.path) == ("GET", "/kling/v1/videos/generations/0")


@pytest.mark.parametrize("gateway", ["official", "dmxapi", "custom"])
def test_a_wrong_key_is_called_one(independent, connect, open_hook, gateway):
    connect(
        independent.url, "a-wrong-key", gateway=gateway, path_prefix="/kling" if gateway == "dmxapi" else ""
    )
    works, text = open_hook().test_connection()
    assert not works
    assert text.startswith("The key is wrong: ")
    assert "code 1002" in text
    assert "a-wrong-key" not in text
    assert {request.method for request in independent.requests} == {"GET"}


def test_a_key_of_another_region_is_recognised(regions, connect, open_hook):
    connect("", "key-of-beijing")
    works, text = open_hook().test_connection()
    assert not works
    assert text == "The key belongs to another region: set the extra region to 'beijing'."
    connect("", "key-of-singapore", region="beijing")
    assert "set the extra region to 'singapore'" in open_hook().test_connection()[1]
    far, near = regions
    assert {request.method for request in [*far.requests, *near.requests]} == {"GET"}


def test_a_key_of_no_region_is_wrong(regions, connect, open_hook):
    connect("", "key-of-nowhere")
    assert open_hook().test_connection()[1].startswith("The key is wrong: ")
    assert [len(kling.requests) for kling in regions] == [1, 1]


def test_a_key_is_not_shown_to_the_vendor_when_the_host_is_another(regions, independent, connect, open_hook):
    connect(independent.url, "key-of-beijing")
    assert open_hook().test_connection()[1].startswith("The key is wrong: ")
    assert [len(kling.requests) for kling in regions] == [0, 0]


@pytest.mark.parametrize("ahead", [7200, -7200])
def test_clocks_that_differ_are_told_from_a_wrong_key(signed, open_hook, ahead):
    signed.jwt_clock_offset = ahead
    works, text = open_hook().test_connection()
    assert not works
    assert "the clocks differ" in text
    assert "NTP" in text


@pytest.mark.parametrize("code", [1100, 1102, 1103, 1304])
def test_a_right_key_without_the_right(official, open_hook, code):
    official.fail_next("GET", "/", "error", code=code, message="not for you")
    works, text = open_hook().test_connection()
    assert not works
    assert text.startswith("The key is right, but the account may not do this: ")
    assert "not for you" in text


def test_a_host_that_does_not_answer(connect, open_hook):
    url = f"http://127.0.0.1:{free_port()}"
    connect(url, "key")
    works, text = open_hook().test_connection()
    assert not works
    assert f"official at {url} does not answer; check host, proxy and TLS" in text


@pytest.mark.parametrize("gateway", ["official", "dmxapi"])
def test_a_host_that_keeps_silent_is_asked_once_and_not_for_long(connect, open_hook, monkeypatch, gateway):
    monkeypatch.setattr(diagnosis, "_READ_SECONDS", 0.3)
    began = time.monotonic()
    with Listener() as silent:
        connect(silent.url, "key", gateway=gateway, timeout=30)
        works, text = open_hook(attempts=4).test_connection()
        assert not works
        assert "does not answer" in text
        assert silent.has_heard(1)
    assert time.monotonic() - began < 10


def test_what_a_test_may_take_is_nobody_else_s(official):
    hook = KlingHook(attempts=3)
    assert hook.test_connection()[0]
    assert (hook.config.timeout, hook.attempts) == ((10, 60), 3)


def test_a_connection_that_waits_for_less_is_not_waited_for_longer(official, connect, monkeypatch):
    connect(official.url, official.api_key, timeout=[2, 3])
    hook = KlingHook()
    assert diagnosis._impatient(hook, hook.config).config.timeout == (2, 3)
    connect(official.url, official.api_key, timeout=[60, 300])
    hook = KlingHook()
    assert diagnosis._impatient(hook, hook.config).config.timeout == (10, 15)


@pytest.mark.parametrize("status", [200, 404, 502])
def test_a_host_that_is_no_kling(connect, open_hook, status):
    page = b"<html>It works!</html>"
    answer = b"HTTP/1.1 %d X\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (status, len(page), page)
    with Listener(answer) as host:
        connect(host.url, "key")
        works, text = open_hook().test_connection()
    assert not works
    assert "answers, but not like Kling" in text
    assert "It works!" in text


def test_kling_s_own_problems_are_not_blamed_on_the_host(official, open_hook):
    official.fail_next("GET", "/", "error", code=5001, message="closed for repairs", count=9)
    works, text = open_hook().test_connection()
    assert not works
    assert "has a problem of its own" in text
    assert "closed for repairs" in text


def test_a_rate_limit_is_told_as_it_is(official, open_hook):
    official.fail_next("GET", "/", "429", count=9)
    works, text = open_hook().test_connection()
    assert not works
    assert "code 1302" in text


@pytest.mark.parametrize(
    ("password", "extra", "told"),
    [(None, {}, "the password is empty"), ("key", {"gateway": "nope"}, "gateway='nope' is not known")],
)
def test_a_connection_that_cannot_be_read_is_explained_not_raised(connect, open_hook, password, extra, told):
    connect("https://kling.invalid", password, **extra)
    works, text = open_hook().test_connection()
    assert not works
    assert told in text


def test_a_missing_connection_is_explained_not_raised():
    works, text = KlingHook("kling_nowhere").test_connection()
    assert not works
    assert "no connection 'kling_nowhere'" in text


def test_a_certificate_that_is_not_trusted_is_told_from_a_wrong_key(connect, open_hook):
    with SimulatorServer(tls=True) as kling:
        connect(kling.url, kling.api_key)
        works, text = open_hook().test_connection()
        assert not works
        assert f"official at {kling.url} does not answer; check host, proxy and TLS" in text
        assert "CERTIFICATE_VERIFY_FAILED" in text
        assert kling.requests == []


def test_a_gateway_of_ones_own_needs_a_host(connect, open_hook):
    connect("", "key", gateway="custom")
    works, text = open_hook().test_connection()
    assert not works
    assert "host" in text
    assert "custom" in text


def test_a_page_for_an_answer_to_the_gateways_question_is_no_answer(connect, open_hook):
    page = b"<html>Welcome to nginx!</html>"
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (len(page), page)
    with Listener(answer) as host:
        connect(host.url, "sk-token", gateway="dmxapi")
        works, text = open_hook().test_connection()
    assert not works
    assert f"dmxapi at {host.url} answers, but not like Kling" in text


@pytest.mark.parametrize("gateway", ["official", "dmxapi"])
def test_the_simulator_is_not_charged_for_a_test(kling_simulator, monkeypatch, open_hook, gateway):
    monkeypatch.setenv("AIRFLOW_CONN_KLING_DEFAULT", kling_simulator.connection_json(gateway))
    assert open_hook().test_connection()[0]
    assert (kling_simulator.charges, kling_simulator.creates) == ([], [])
