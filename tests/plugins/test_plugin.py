"""The plugin as every Airflow process sees it."""

from __future__ import annotations

import configparser
import importlib.metadata
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from airflow.providers.common.compat.sdk import AirflowPlugin

from kling_provider.get_provider_info import get_provider_info
from kling_provider.plugins.previews import read_roots

HAS_TABS = hasattr(AirflowPlugin, "external_views")
LOOK = """
import sys
from pathlib import Path
import airflow.plugins_manager
before = set(sys.modules)
from kling_provider.plugins.kling import KlingPlugin
print(len(KlingPlugin.fastapi_apps), len(KlingPlugin.external_views))
print(*sorted(name.partition(".")[0] for name in set(sys.modules) - before if "fastapi" in name or "core_api" in name))
"""


def look(**env: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", LOOK], env=os.environ | env, capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()[-2:]


def test_it_costs_other_processes_no_web_framework() -> None:
    counts, loaded = look()
    assert loaded == ""
    assert counts == ("1 2" if HAS_TABS else "0 0")


@pytest.mark.skipif(not HAS_TABS, reason="Airflow 3.0 has no such tabs")
def test_ui_tab_switches_it_off() -> None:
    assert look(AIRFLOW__KLING__UI_TAB="False")[0] == "0 0"


def test_airflow_finds_it_by_its_entry_point() -> None:
    (entry,) = [
        each for each in importlib.metadata.entry_points(group="airflow.plugins") if each.name == "kling"
    ]
    assert entry.value == "kling_provider.plugins.kling:KlingPlugin"


@pytest.mark.skipif(not HAS_TABS, reason="Airflow 3.0 has no such tabs")
def test_its_addresses_are_relative_to_airflows_own() -> None:
    from kling_provider.plugins.kling import PREFIX, KlingPlugin

    places = {view["destination"]: view for view in KlingPlugin.external_views}
    assert set(places) == {"task_instance", "dag_run"}
    for view in places.values():
        assert view["name"] == "Kling"
        assert view["url_route"]
        assert all(view[name].startswith("kling/") for name in ("href", "icon", "icon_dark_mode"))
    assert KlingPlugin.fastapi_apps[0]["url_prefix"] == PREFIX == "/kling"


def test_the_settings_in_the_docs_are_those_that_are_declared_and_read() -> None:
    page = (Path(__file__).parent.parent.parent / "docs" / "ui.md").read_text()
    told: dict[str, str] = {}
    for block in re.findall(r"^```ini\n(.*?)^```", page, re.MULTILINE | re.DOTALL):
        parser = configparser.ConfigParser()
        parser.read_string(block)
        told |= dict(parser["kling"])
    options = get_provider_info()["config"]["kling"]["options"]
    assert set(told) == set(options)
    assert told["preview_roots"] == options["preview_roots"]["example"]
    assert [(root.scheme, root.conn_id) for root in read_roots(told["preview_roots"])] == [
        ("file", ""),
        ("s3", "aws_default"),
    ]
    assert options["ui_tab"]["default"] == "True"
    assert options["preview_roots"]["default"] == ""
