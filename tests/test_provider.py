"""How Airflow sees the package."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import types
import warnings
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import BaseOperator, BaseSensorOperator
from airflow.triggers.base import BaseTrigger

import kling_provider
from kling_provider.get_provider_info import CONN_FIELDS, get_provider_info
from kling_provider.hooks import config
from kling_provider.hooks.kling import KlingAsyncHook, KlingHook


def bare(code: str) -> Any:
    """Run code in a process of its own and read the JSON it prints last."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def test_the_entry_point_leads_to_the_provider_info() -> None:
    (entry,) = [
        entry
        for entry in distribution("airflow-provider-kling").entry_points
        if entry.group == "apache_airflow_provider"
    ]
    assert entry.load()() == get_provider_info()
    assert get_provider_info()["package-name"] == "airflow-provider-kling"


def test_reading_the_provider_info_imports_nothing_of_airflow() -> None:
    loaded = bare(
        "import json, sys; import kling_provider.get_provider_info as info; info.get_provider_info();"
        "print(json.dumps([name for name in sys.modules if name.split('.')[0] in ('airflow', 'pydantic')]))"
    )
    assert loaded == []


def named_in(info: Any, key: str = "") -> list[tuple[str, str]]:
    """Every module and class anywhere in the provider info, with the key it stands under."""
    if isinstance(info, dict):
        return [found for name, value in info.items() for found in named_in(value, name)]
    if isinstance(info, list):
        return [found for value in info for found in named_in(value, key)]
    return [(key, info)] if str(info).startswith("kling_provider.") else []


def test_every_module_and_class_it_names_can_be_imported() -> None:
    named = named_in(get_provider_info())
    assert {key for key, _ in named} == {
        *("python-modules", "python-module", "extra-links", "hook-class-name", "class-name", "plugin-class")
    }
    for key, path in named:
        module, _, name = (path, "", "") if key.startswith("python-module") else path.rpartition(".")
        assert hasattr(importlib.import_module(module), name or "__name__"), path


def test_it_names_every_module_in_which_airflow_looks_for_something() -> None:
    listed = {path for key, path in named_in(get_provider_info()) if key.startswith("python-module")}
    folder = Path(kling_provider.__file__).parent
    for kind, base in {
        "operators": BaseOperator,
        "sensors": BaseSensorOperator,
        "transfers": BaseOperator,
        "triggers": BaseTrigger,
    }.items():
        for path in (folder / kind).glob("*.py"):
            module = importlib.import_module(f"kling_provider.{kind}.{path.stem}")
            own = {
                name
                for name, value in vars(module).items()
                if isinstance(value, type) and issubclass(value, base) and value.__module__ == module.__name__
            } - {"KlingTypedOperator"}  # what the typed ones are derived from
            modules = [importlib.import_module(one) for one in listed if f".{kind}." in one]
            exported = {
                name for one in modules for name in (*vars(one), *getattr(one, "__all__", ()))
            }  # some are lazy
            assert own <= exported, module.__name__


def test_airflow_lists_what_there_is() -> None:
    from airflow.providers_manager import ProvidersManager

    manager, info = ProvidersManager(), get_provider_info()
    assert set(info["extra-links"]) <= set(manager.extra_links_class_names)
    assert {"kling"} <= set(manager.taskflow_decorators)
    listed = {
        told.trigger_class_name for told in manager.trigger if told.package_name == info["package-name"]
    }
    assert listed == set(info["triggers"][0]["python-modules"])
    assert "kling_provider.plugins.kling.KlingPlugin" in {told.plugin_class for told in manager.plugins}


def test_airflow_finds_hook_connection_type_and_form() -> None:
    from airflow.providers_manager import ProvidersManager

    manager = ProvidersManager()
    assert "airflow-provider-kling" in manager.providers
    hook = manager.hooks["kling"]
    assert hook is not None
    assert hook.hook_class_name == "kling_provider.hooks.kling.KlingHook"
    assert hook.connection_testable


def test_the_form_offers_only_extras_that_are_read() -> None:
    assert set(CONN_FIELDS) <= config._KLING_EXTRAS
    assert CONN_FIELDS["gateway"]["schema"]["enum"] == list(config.GATEWAYS)
    regions = list(config.GATEWAYS["official"].hosts)
    assert sorted(CONN_FIELDS["region"]["schema"]["enum"]) == sorted(regions)


def test_the_form_of_older_airflows_is_made_from_the_same_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    wtforms = types.ModuleType("wtforms")
    validators = types.ModuleType("wtforms.validators")
    wtforms.__dict__["StringField"] = lambda label, **rest: (label, rest)
    validators.__dict__["any_of"] = list
    monkeypatch.setitem(sys.modules, "wtforms", wtforms)
    monkeypatch.setitem(sys.modules, "wtforms.validators", validators)
    assert {"get_connection_form_widgets", "get_ui_field_behaviour"} <= set(vars(KlingHook))  # not inherited
    widgets = KlingHook.get_connection_form_widgets()
    assert list(widgets) == list(CONN_FIELDS)
    label, rest = widgets["gateway"]
    assert label == "Gateway"
    gateway = CONN_FIELDS["gateway"]
    assert rest == {
        "validators": [gateway["schema"]["enum"]],
        "default": "official",
        "description": gateway["description"],
    }
    assert KlingHook.get_ui_field_behaviour()["hidden_fields"] == ["schema", "port"]
    assert KlingHook.get_ui_field_behaviour()["relabeling"]["password"].startswith("API key")


def test_importing_an_operator_stays_light() -> None:
    heavy = [
        *("aiohttp", "requests", "requests_toolbelt", "urllib3", "httpx", "jwt", "tenacity"),
        *("av", "PIL", "imagesize", "pandas", "numpy", "fastapi", "uvicorn", "sqlalchemy", "email_validator"),
        *(
            "fsspec",
            "upath",
            "airflow.models",
            "airflow.providers.http.hooks.http",
            "kling_provider.simulator",
        ),
    ]
    tell = f"print(json.dumps([name for name in {heavy} if name in sys.modules]))"
    airflows_own = bare(
        "import json, sys; from airflow.sdk import BaseOperator, BaseSensorOperator;"
        f"from airflow.triggers.base import BaseTrigger; {tell}"
    )
    loaded = bare(
        "import json, sys; import kling_provider.operators.kling, kling_provider.sensors.kling,"
        "kling_provider.triggers.kling, kling_provider.transfers.kling_to_object_storage;" + tell
    )
    assert set(loaded) <= set(airflows_own)


def test_a_dag_file_builds_no_request_model_but_those_it_uses() -> None:
    built, used = bare(
        "import json; from kling_provider.operators.kling import KlingImageToVideoOperator;"
        "from kling_provider.api.requests import REQUESTS;"
        "told = lambda: sorted(name for name, model in REQUESTS.items() if model.__pydantic_complete__);"
        "before = told(); KlingImageToVideoOperator(task_id='t', image='https://example.com/a.png');"
        "print(json.dumps([before, told()]))"
    )
    assert (built, used) == ([], ["image2video"])


def test_threads_that_check_their_first_request_at_once_do_not_disturb_each_other() -> None:
    failed = bare(
        """
import json, sys, threading
from kling_provider.api.endpoints import ENDPOINTS
from kling_provider.api.requests import check_request

sys.setswitchinterval(1e-6)
together, failed = threading.Barrier(8), []
camera = {"type": "simple", "config": {"pan": 3}}
given = {"model_name": "kling-v1", "image": "https://example.com/a.png", "camera_control": camera}

def check():
    together.wait()
    try:
        body = check_request(ENDPOINTS["image2video"], given, validate="warn").body
        assert body["camera_control"]["config"]["pan"] == 3, body
    except Exception as error:
        failed.append(repr(error))

threads = [threading.Thread(target=check) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(json.dumps(failed))
"""
    )
    assert failed == []


def test_the_sync_and_the_async_hook_offer_the_same() -> None:
    def public(hook: type) -> set[str]:
        return {name for name in vars(hook) if not name.startswith("_")}

    only_sync, only_async = (
        public(KlingHook) - public(KlingAsyncHook),
        public(KlingAsyncHook) - public(KlingHook),
    )
    of_the_form = {"get_connection_form_widgets", "get_ui_field_behaviour"}
    assert only_sync == {"config", "get_conn"} | of_the_form
    assert only_async == {"get_config", "close"}


def test_the_contract_of_public_names_holds() -> None:
    names = {
        "kling_provider.hooks.kling": "KlingHook KlingAsyncHook",
        "kling_provider.operators.kling": (
            "KlingSubmitOperator KlingImageToVideoOperator KlingTextToVideoOperator"
        ),
        "kling_provider.operators.adopt": "KlingAdoptOperator",
        "kling_provider.operators.balance": "KlingCheckBalanceOperator",
        "kling_provider.sensors.kling": "KlingTaskSensor",
        "kling_provider.triggers.kling": "KlingTaskTrigger",
        "kling_provider.transfers.kling_to_object_storage": "KlingToObjectStorageOperator",
        "kling_provider.api.tasks": "KlingTask",
        "kling_provider.exceptions": (
            "KlingError KlingBadRequestError KlingTaskNotFoundError KlingContentPolicyError KlingAuthError "
            "KlingAccountError KlingTaskFailedError KlingSubmissionUnknownError KlingTaskTimeoutError "
            "KlingRateLimitError KlingConcurrencyLimitError KlingServerError KlingStorageError "
            "KlingUnreadableResponseError"
        ),
    }
    for module, classes in names.items():
        for name in classes.split():
            assert hasattr(importlib.import_module(module), name)


def test_which_exceptions_airflow_retries() -> None:
    from airflow.providers.common.compat.sdk import (
        AirflowException,
        AirflowFailException,
        AirflowSensorTimeout,
    )

    from kling_provider import exceptions as kling

    final = {
        kling.KlingBadRequestError,
        kling.KlingTaskNotFoundError,
        kling.KlingContentPolicyError,
        kling.KlingAuthError,
        kling.KlingAccountError,
        kling.KlingTaskFailedError,
        kling.KlingSubmissionUnknownError,
    }
    retried = {
        kling.KlingRateLimitError,
        kling.KlingConcurrencyLimitError,
        kling.KlingServerError,
        kling.KlingStorageError,
        kling.KlingUnreadableResponseError,
    }
    assert all(issubclass(one, kling.KlingError) for one in final | retried)
    assert issubclass(kling.KlingError, AirflowException)
    assert all(issubclass(one, AirflowFailException) for one in final)
    assert not any(issubclass(one, AirflowFailException | AirflowSensorTimeout) for one in retried)
    assert issubclass(kling.KlingTaskTimeoutError, AirflowSensorTimeout)
    assert issubclass(kling.KlingTaskNotFoundError, kling.KlingBadRequestError)
    assert issubclass(kling.KlingUnreadableResponseError, kling.KlingServerError)


def test_the_version_is_told_once() -> None:
    assert distribution("airflow-provider-kling").version == kling_provider.__version__


def test_the_package_raises_no_warnings_of_its_own_on_import() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        importlib.reload(importlib.import_module("kling_provider.api.requests"))
