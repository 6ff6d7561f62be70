from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kling_provider.api.auth import Bearer, KeyPair
from kling_provider.api.endpoints import ENDPOINTS
from kling_provider.api.gateways import GATEWAYS
from kling_provider.exceptions import KlingBadRequestError
from kling_provider.hooks.config import KlingConfig, is_loopback_host
from tests.hooks.talking import CONNECTION, connection

KEY = "sk-very-secret-key"


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch, open_hook: Callable[..., Any]) -> Callable[..., KlingConfig]:
    """Write a connection to the environment and read it with a hook."""

    def read(
        host: str | None = None, password: str | None = KEY, login: str = "", **extra: Any
    ) -> KlingConfig:
        monkeypatch.setenv(CONNECTION, connection(host, password, login=login, **extra))
        return open_hook().config

    return read


@pytest.fixture
def refused(read: Callable[..., KlingConfig]) -> Callable[..., str]:
    """The text that refuses a connection; it never shows the password."""

    def refused(*args: Any, **kwargs: Any) -> str:
        with pytest.raises(KlingBadRequestError) as caught:
            read(*args, **kwargs)
        text = str(caught.value)
        assert text.startswith("Connection 'kling_default': ")
        assert KEY not in text
        return text

    return refused


def test_a_key_alone_is_a_connection_to_the_vendor(read):
    config = read()
    assert config.gateway is GATEWAYS["official"]
    assert config.region == "singapore"
    assert config.base_url == "https://api-singapore.klingai.com"
    assert config.credentials == Bearer(KEY)
    assert config.routes.prefix == ""
    assert config.routes.query_path is None
    assert config.timeout == (10, 60)
    assert config.namespace == ""
    assert config.media_roots == config.result_hosts == ()
    assert dict(config.http_extras) == {}
    assert config.conn_id == "kling_default"
    assert not config.is_loopback
    assert config.console_url == "https://kling.ai/dev"


def test_the_region_chooses_host_and_console(read):
    config = read(region="beijing")
    assert config.base_url == "https://api-beijing.klingai.com"
    assert config.console_url == "https://klingai.com/dev"


def test_an_access_key_as_login_makes_a_key_pair(read):
    assert read(login="access").credentials == KeyPair("access", KEY)


def test_the_gateway_brings_its_host_prefix_query_and_model(read):
    config = read(gateway="dmxapi")
    assert config.base_url == "https://www.dmxapi.cn"
    assert config.routes.prefix == "/kling"
    assert config.routes.query_path == "/kling/v1/videos/generations/{task_id}"
    assert config.region == ""
    assert config.model_for(ENDPOINTS["image2video"]) == "kling-v1-6"
    assert config.console_url == "https://www.dmxapi.cn"


def test_a_region_means_nothing_to_a_gateway_without_regions(read):
    assert read(gateway="dmxapi", region="mars").base_url == "https://www.dmxapi.cn"


@pytest.mark.parametrize(
    ("host", "base_url"),
    [
        ("http://127.0.0.1:8900", "http://127.0.0.1:8900"),
        ("127.0.0.1:8900", "http://127.0.0.1:8900"),
        ("localhost", "http://localhost"),
        ("https://localhost:8443/", "https://localhost:8443"),
        ("api.example.com", "https://api.example.com"),
        ("api.example.com:8443", "https://api.example.com:8443"),
        ("https://API.example.com", "https://api.example.com"),
        ("  https://api.example.com \n", "https://api.example.com"),
        ("http://[::1]:8900", "http://[::1]:8900"),
        ("[::1]:8900", "http://[::1]:8900"),
        ("::1", "http://[::1]"),
        ("2001:4860::1", "https://[2001:4860::1]"),
    ],
)
def test_the_host_may_be_written_in_many_ways(read, host, base_url):
    config = read(host)
    assert config.base_url == base_url
    assert config.routes.prefix == ""


def test_a_path_of_the_host_is_the_prefix(read):
    config = read("https://api.example.com/kling/")
    assert config.base_url == "https://api.example.com"
    assert config.routes.prefix == "/kling"


def test_the_extra_path_prefix_wins_over_the_path_of_the_host(read):
    assert read("https://api.example.com/kling", path_prefix="/other/").routes.prefix == "/other"


@pytest.mark.parametrize(
    ("fields", "base_url"),
    [
        ({"host": "127.0.0.1", "port": 8900}, "http://127.0.0.1:8900"),
        ({"host": "127.0.0.1", "port": 8900, "schema": "https"}, "https://127.0.0.1:8900"),
        ({"host": "https://127.0.0.1:1", "port": 8900}, "https://127.0.0.1:1"),
        ({"host": "https://127.0.0.1", "schema": "http"}, "https://127.0.0.1"),
        ({"host": "api.example.com", "schema": "public"}, "https://api.example.com"),
    ],
)
def test_port_and_schema_fields_complete_the_host(monkeypatch, open_hook, fields, base_url):
    monkeypatch.setenv(CONNECTION, json.dumps({"conn_type": "kling", "password": KEY, **fields}))
    assert open_hook().config.base_url == base_url


def test_a_connection_uri_reads_the_same(monkeypatch, open_hook, kling_simulator):
    monkeypatch.setenv(CONNECTION, kling_simulator.connection_uri("dmxapi", namespace="team"))
    config = open_hook().config
    assert (config.base_url, config.gateway.name) == (kling_simulator.url, "dmxapi")
    assert (config.credentials, config.namespace) == (Bearer(kling_simulator.api_key), "team")


def test_loopback_is_known_by_name_and_address():
    local = ["localhost", "127.0.0.1", "127.8.8.8", "::1"]
    assert [
        host for host in [*local, "10.0.0.1", "localhost.example.com", ""] if is_loopback_host(host)
    ] == local


def test_plain_http_to_another_machine_needs_allow_http(read, refused):
    text = refused("http://kling.internal:80")
    assert "kling.internal" in text
    assert "allow_http" in text
    assert "key in the open" in text
    assert read("http://kling.internal:80", allow_http=True).base_url == "http://kling.internal:80"
    assert read("http://kling.internal", allow_http="true").base_url == "http://kling.internal"
    assert "allow_http" in refused("http://kling.internal", allow_http="false")


def test_schema_http_is_no_way_around_that(monkeypatch, open_hook):
    fields = {"conn_type": "kling", "password": KEY, "host": "kling.internal", "schema": "http"}
    monkeypatch.setenv(CONNECTION, json.dumps(fields))
    with pytest.raises(KlingBadRequestError, match="allow_http"):
        _ = open_hook().config


@pytest.mark.parametrize(
    ("host", "told"),
    [
        ("ftp://example.com", "'ftp://example.com' is no web host"),
        ("https://", "no web host"),
        (f"https://user:{KEY}@example.com", "Put the key into the password"),
        ("https://example.com/?a=b", "host holds more than scheme, name, port and path"),
        ("https://example.com:99999", "ort"),
        ("https://[::1", "IPv6"),
    ],
)
def test_a_host_that_is_none_is_refused(refused, host, told):
    assert told in refused(host)


def test_gateway_custom_needs_a_host(read, refused):
    assert "Set the host" in refused(gateway="custom")
    assert read("https://example.com", gateway="custom").gateway.name == "custom"


def test_a_missing_connection_says_how_to_make_one(open_hook):
    with pytest.raises(KlingBadRequestError) as caught:
        _ = open_hook("kling_nowhere").config
    assert "no connection 'kling_nowhere'" in str(caught.value)
    assert "airflow connections add kling_nowhere --conn-type kling" in str(caught.value)


@pytest.mark.parametrize("password", [None, "   ", "\n"])
def test_a_connection_without_password_says_what_belongs_there(refused, password):
    text = refused("https://example.com", password)
    assert "the password is empty" in text
    assert "API key" in text


def test_white_space_around_a_key_is_cut_off(read):
    assert read(password=f"  {KEY}\n", login=" access ").credentials == KeyPair("access", KEY)


@pytest.mark.parametrize("password", ["two words", "line\nbreak", "clé", "tab\there"])
def test_white_space_or_odd_letters_inside_a_key_are_a_paste_gone_wrong(refused, password):
    text = refused(password=password)
    assert "Paste the key again" in text
    assert password not in text


def test_a_reseller_takes_a_token_alone(refused):
    assert "leave the login empty" in refused(gateway="dmxapi", login="access")


@pytest.mark.parametrize("value", ["dmx", "Official", ["dmxapi"], 7])
def test_an_unknown_gateway_names_the_known_ones(refused, value):
    text = refused(gateway=value)
    assert "gateway" in text
    assert "official, dmxapi, custom" in text


def test_an_unknown_region_names_the_known_ones(refused):
    assert "region='tokyo' is not known. Use one of singapore, beijing" in refused(region="tokyo")


def test_white_space_around_gateway_and_region_is_cut_off(read):
    assert read(gateway=" official ", region=" beijing ").region == "beijing"


def test_empty_extras_count_as_unset(read):
    config = read(gateway="", region=None, path_prefix="", query_path="", timeout="", external_id="")
    assert (config.gateway.name, config.region, config.timeout) == ("official", "singapore", (10, 60))


def test_path_prefix_goes_before_every_path(read, refused):
    routes = read(path_prefix="/proxy/kling/").routes
    assert routes.submit(ENDPOINTS["image2video"], {}).path == "/proxy/kling/v1/videos/image2video"
    assert routes.get_task(ENDPOINTS["image2video"], "1").path == "/proxy/kling/v1/videos/image2video/1"
    assert "must start with '/'" in refused(path_prefix="kling")


def test_query_path_replaces_the_query_without_prefix(read):
    routes = read(path_prefix="/p", query_path="/q/{endpoint}/of/{task_id}").routes
    assert routes.get_task(ENDPOINTS["text2video"], "1").path == "/q/text2video/of/1"


@pytest.mark.parametrize(
    "template", ["/q/{id}", "/q/{}", "/q/{task_id", "q/{task_id}", "/q/{endpoint}", "/q/{0}/{task_id}"]
)
def test_a_query_path_that_cannot_be_filled_in_is_refused(refused, template):
    text = refused(query_path=template)
    assert f"query_path={template!r}" in text
    assert "{task_id}" in text


@pytest.mark.parametrize(
    ("extra", "image2video", "text2video"),
    [
        ({}, "lookup", "lookup"),
        ({"gateway": "dmxapi"}, "none", "none"),
        ({"gateway": "dmxapi", "external_id": "lookup"}, "lookup", "lookup"),
        ({"external_id": {"image2video": "none"}}, "none", "lookup"),
        ({"external_id": '{"image2video": "list", "*": "none"}'}, "list", "none"),
    ],
)
def test_external_id_is_set_for_all_endpoints_or_for_one(read, extra, image2video, text2video):
    config = read(**extra)
    assert config.external_id_for(ENDPOINTS["image2video"]) == image2video
    assert config.external_id_for(ENDPOINTS["text2video"]) == text2video


@pytest.mark.parametrize("value", ["yes", {"image2video": "maybe"}, '{"image2video": 1}', ["lookup"], True])
def test_an_unknown_external_id_use_names_the_known_ones(refused, value):
    text = refused(external_id=value)
    assert "external_id=" in text
    assert "use lookup, list or none" in text


def test_the_namespace_keeps_deployments_apart(read):
    assert read(namespace="team-a").namespace == "team-a"


@pytest.mark.parametrize(
    ("value", "timeout"),
    [(5, (5, 5)), ("120", (10, 120)), (0.5, (0.5, 0.5)), ([3, 20], (3, 20)), ("[3, 20.5]", (3, 20.5))],
)
def test_the_timeout_is_seconds_or_connect_and_read(read, value, timeout):
    assert read(timeout=value).timeout == timeout


@pytest.mark.parametrize("value", ["soon", [1], [1, 2, 3], 0, -1, [0, 5], 3600, "nan", {"connect": 1}, True])
def test_a_timeout_that_is_none_is_refused(refused, value):
    text = refused(timeout=value)
    assert "timeout=" in text
    assert "seconds" in text


@pytest.mark.parametrize(
    ("value", "settle"),
    [(None, None), (5, (5, 5)), ("0", (0, 0)), ([3, 20], (3, 20)), ("[3, 20.5]", (3, 20.5))],
)
def test_settle_is_seconds_or_two_of_them(read, value, settle):
    assert read(settle=value).settle == settle


def test_the_budget_of_requests_and_usual_times_are_read(read):
    assert (read().triggerers, read().requests_per_second, read().typical_seconds) == (1, 4, {})
    config = read(triggerers="3", requests_per_second="0.5", typical_seconds='{"image2video": 40}')
    assert (config.triggerers, config.requests_per_second) == (3, 0.5)
    assert config.typical_seconds == {"image2video": 40}
    assert read(typical_seconds=12).typical_seconds == {"*": 12}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("triggerers", 0),
        ("triggerers", 1.5),
        ("triggerers", True),
        ("requests_per_second", 0),
        ("requests_per_second", "fast"),
        ("requests_per_second", "nan"),
        ("typical_seconds", -1),
        ("typical_seconds", {"image2video": "long"}),
        ("typical_seconds", [1]),
    ],
)
def test_a_wrong_budget_or_usual_time_is_refused_by_name(refused, name, value):
    assert f"extra {name}=" in refused(**{name: value})


@pytest.mark.parametrize("value", ["soon", [1], [1, 2, 3], -1, [0, 601], "nan", {"a": 1}])
def test_a_settle_that_is_none_is_refused(refused, value):
    assert "extra settle=" in refused(settle=value)


def test_the_account_is_told_apart_without_telling_the_key(read):
    accounts = {read(password=key).account for key in ("one-key", "another-key")}
    accounts |= {read(login=key, password="secret").account for key in ("ak-1", "ak-2")}
    assert len(accounts) == 4
    assert read(login="ak-1", password="other").account in accounts
    assert all(len(account) == 12 and "key" not in account for account in accounts)


def test_verify_false_is_read_from_text_and_json(read):
    assert read(verify=False).http_extras["verify"] is False
    assert read(verify="false").http_extras["verify"] is False
    assert read(verify_ssl="false").http_extras == {"verify": False}
    assert read(verify=True, verify_ssl=False).http_extras == {"verify": True}


def test_certificate_files_must_exist(read, refused, tmp_path: Path):
    there = tmp_path / "ca.pem"
    there.touch()
    assert read(verify=str(there)).http_extras["verify"] == str(there)
    assert read(cert=[str(there), str(there)]).http_extras["cert"] == [str(there), str(there)]
    gone = str(tmp_path / "gone.pem")
    assert f"extra verify='{gone}': there is no such file" in refused(verify=gone)
    assert f"extra cert='{gone}'" in refused(cert=gone)
    assert f"extra cert='{gone}'" in refused(cert=[str(there), gone])


def test_proxies_may_be_an_address_or_one_per_scheme(read, refused):
    address = "http://proxy:3128"
    assert read(proxy=address).http_extras == {"proxies": {"http": address, "https": address}}
    assert read(proxies=address).proxy_for("https://example.com") == address
    split = read(proxies=json.dumps({"https": address}))
    assert split.proxy_for("https://example.com") == address
    assert split.proxy_for("http://example.com") is None
    assert "one per scheme" in refused(proxies=["http://proxy"])


def test_proxies_of_the_environment_are_used_unless_trust_env_is_off(read, monkeypatch):
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "http://environment:1")
    assert read().proxy_for("https://example.com") == "http://environment:1"
    assert read(trust_env=False).proxy_for("https://example.com") is None
    assert read(proxy="http://mine:2").proxy_for("https://example.com") == "http://mine:2"
    monkeypatch.setenv("no_proxy", "example.com")
    assert read().proxy_for("https://example.com") is None


@pytest.mark.parametrize("name", ["media_roots", "result_hosts"])
def test_lists_may_be_written_with_commas_or_as_json(read, refused, name):
    for value in (["/a", "s3://b"], "/a, s3://b,", '["/a", "s3://b"]'):
        assert getattr(read(**{name: value}), name) == ("/a", "s3://b")
    for value in (7, {"a": 1}, [1]):
        assert f"{name}=" in refused(**{name: value})


def test_picture_limits_override_the_gateway_one_by_one(read):
    limits = read(picture_limits={"max_bytes": "20000000", "min_ratio": 0.1}).pictures
    assert (limits.max_bytes, limits.min_ratio) == (20_000_000, 0.1)
    assert (limits.min_side, limits.max_ratio) == (300, 2.5)
    assert read(picture_limits='{"min_side": 64}').pictures.min_side == 64


@pytest.mark.parametrize("value", ["big", '{"max_bytes": 1', [1], {"max_size": 1}, {"max_bytes": "many"}])
def test_picture_limits_that_are_none_name_the_known_ones(refused, value):
    text = refused(picture_limits=value)
    assert "picture_limits=" in text
    assert "JSON object" in text or "max_bytes, min_side, min_ratio, max_ratio" in text


def test_an_extra_nobody_knows_is_said_with_the_closest_one(read, told):
    read(gatway="dmxapi", colour="blue", namespace="fine", verify=True)
    text = told()
    assert (
        "extra 'gatway' means nothing to Kling connections and is not used; did you mean 'gateway'?" in text
    )
    assert "extra 'colour' means nothing to Kling connections and is not used" in text
    assert "extra 'namespace'" not in text
    assert "extra 'verify'" not in text


def test_extras_that_are_known_are_not_complained_about(read, told, tmp_path):
    known = {"gateway": "official", "region": "beijing", "path_prefix": "/p", "query_path": "/{task_id}"}
    known |= {"external_id": "none", "namespace": "n", "timeout": 5, "media_roots": "/", "result_hosts": "h"}
    known |= {"allow_http": True, "picture_limits": {}, "proxies": {}, "verify": True, "trust_env": True}
    read(**known)
    assert "means nothing" not in told()


def test_repr_never_shows_a_secret(read):
    config = read(login="access-key-1")
    assert KEY not in repr(config)
    assert "access-key-1" not in repr(config)
    assert KEY not in repr(read().credentials)
