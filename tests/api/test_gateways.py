"""The gateway table holds together."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from kling_provider.api.capabilities import models_at
from kling_provider.api.gateways import DEFAULT_GATEWAY, DEFAULT_REGION, GATEWAYS
from kling_provider.api.requests import REQUESTS

NAMES = sorted(GATEWAYS)
#: Endpoints whose requests name their model.
WITH_A_MODEL = sorted(name for name, model in REQUESTS.items() if "model_name" in model.model_fields)


def test_the_gateways_are_the_vendor_the_reseller_and_your_own():
    assert NAMES == ["custom", "dmxapi", "official"]
    assert all(GATEWAYS[name].name == name for name in NAMES)
    assert DEFAULT_REGION in GATEWAYS[DEFAULT_GATEWAY].hosts


@pytest.mark.parametrize("name", NAMES)
def test_every_host_and_console_is_https_without_a_path(name: str):
    for address in GATEWAYS[name].hosts.values():
        assert urlsplit(address)._replace(netloc="") == ("https", "", "", "", "")
        assert urlsplit(address).hostname
    assert set(GATEWAYS[name].console) == set(GATEWAYS[name].hosts)


@pytest.mark.parametrize("name", NAMES)
def test_every_gateway_names_a_model_that_the_endpoint_knows(name: str):
    assert sorted(GATEWAYS[name].models) == WITH_A_MODEL
    for endpoint, model in GATEWAYS[name].models.items():
        assert model in models_at(endpoint)


@pytest.mark.parametrize("endpoint", WITH_A_MODEL)
def test_the_vendors_default_model_is_not_one_that_is_being_retired_if_there_is_another(endpoint: str):
    current = [name for name, model in models_at(endpoint).items() if not model.retired]
    default = GATEWAYS["official"].models[endpoint]
    assert default in (current or models_at(endpoint))
    assert bool(current) is (endpoint not in ("multi-image2video", "multi-elements"))


def test_only_the_vendor_is_trusted_to_look_up_external_ids():
    assert {name: row.external_id for name, row in GATEWAYS.items()} == {
        "official": "lookup",
        "dmxapi": "none",
        "custom": "none",
    }


def test_dmxapi_is_asked_the_way_its_dialect_has_it():
    row = GATEWAYS["dmxapi"]
    assert row.hosts == {"": "https://www.dmxapi.cn"}
    assert row.path_prefix == "/kling"
    assert row.query_path == "/kling/v1/videos/generations/{task_id}"
    assert not row.signs_jwt
    assert row.models["image2video"] == "kling-v1-6"


@pytest.mark.parametrize("name", NAMES)
def test_a_query_template_can_be_filled(name: str):
    template = GATEWAYS[name].query_path
    if template is not None:
        assert template.startswith("/")
        assert "TASK" in template.format(endpoint="E", task_id="TASK")
