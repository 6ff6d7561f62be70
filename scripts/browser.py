"""A headless Chromium for tests of Airflow's UI, and a private Airflow whose people log in through its form.

with AirflowWithLogin(home, users={"ada": "admin"}) as airflow, chromium() as browser:
    page = browser.new_page()
    log_in(page, airflow, "ada")
    page.goto(f"{airflow.url}/dags")
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import secrets
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.version import Version

from scripts.debian import install
from scripts.private_airflow import COMPONENTS, PrivateAirflow

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

#: Without these, Chromium looks for its maker's hosts in the background.
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def airflow_is_at_least(version: str) -> bool:
    """Tell whether the Airflow that is installed here is this one or newer.

    :param version: such as ``3.2``.
    """
    return Version(importlib.metadata.version("apache-airflow")) >= Version(version)


class BrowserMissing(RuntimeError):
    """There is no Chromium here, and none could be installed."""


class AirflowWithLogin(PrivateAirflow):
    """A private Airflow where nobody is anybody before the login form; we ourselves are its admin.

    :param users: name -> what follows it in ``[core] simple_auth_manager_users``: a role, or role and team
        (``viewer:alpha``). One ``operator_of_the_test`` with the role admin is added.
    :param team: whose all its DAGs are: only this team's viewers see them (Airflow 3.2 and newer).
    :param path: below which it lives on its host, with a slash in front; by default none.
    """

    ME = "operator_of_the_test"

    def __init__(
        self,
        home: str | Path,
        *,
        users: Mapping[str, str],
        team: str | None = None,
        path: str = "",
        env: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        self._teams = sorted({team or "", *(role.partition(":")[2] for role in users.values())} - {""})
        self.passwords = {name: secrets.token_urlsafe(12) for name in (*users, self.ME)}
        self._password_file = Path(home).absolute() / "passwords.json"
        listed = ",".join(f"{name}:{role}" for name, role in (*users.items(), (self.ME, "admin")))
        login = {
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": listed,
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(self._password_file),
        }
        super().__init__(home, env=login | dict(env or {}), **kwargs)
        self.url += path
        if team:
            bundle = {
                "name": team,
                "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
                "kwargs": {"path": str(self.dags_folder)},
                "team_name": team,
            }
            self._extra_env["AIRFLOW__CORE__MULTI_TEAM"] = "True"
            self._extra_env["AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST"] = json.dumps([bundle])
            if airflow_is_at_least("3.3"):  # since then one of no team takes no team's triggers
                self.components = COMPONENTS | {"triggerer": (*COMPONENTS["triggerer"], "--team-name", team)}

    def prepare(self) -> None:
        """Write the passwords, else Airflow makes some up and prints them; and create the teams."""
        super().prepare()
        if not self._password_file.exists():
            for team in self._teams:
                self.cli("teams", "create", team)
        self._password_file.write_text(json.dumps(self.passwords))

    def _wait_for_api(self, timeout: float = 180) -> None:
        body = {"username": self.ME, "password": self.passwords[self.ME]}
        token = self._wait(
            "the api-server to answer", timeout, lambda: self._request("POST", "/auth/token", body)
        )
        self._token = token["access_token"]
        self._wait("the task API to answer", timeout, lambda: self._send("GET", "/execution/health"))


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """Start a Chromium with a new, empty profile; it ends with the ``with`` block.

    :raises BrowserMissing: if there is none and it cannot be installed.
    """
    executable = find_chromium()
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise BrowserMissing("The package playwright is not installed: run `make venv`.")

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=executable, headless=True, args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()


def find_chromium() -> str:
    """Return the path of Chromium; root on Debian gets it installed.

    :raises BrowserMissing: saying what to install.
    """
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    if not found:
        install("chromium")
        found = shutil.which("chromium")
    if not found:
        raise BrowserMissing("There is no Chromium: install the package `chromium`.")
    return found


def log_in(page: Page, airflow: AirflowWithLogin, user: str) -> None:
    """Log in through Airflow's form and wait for the first page behind it.

    :param page: a page of a context in which nobody is logged in.
    :param airflow: which one.
    :param user: one of its ``users``.
    """
    page.goto(f"{airflow.url}/auth/login")
    page.fill("input[name=username]", user)
    page.fill("input[name=password]", airflow.passwords[user])
    page.click("button[type=submit]")
    page.wait_for_url(lambda url: "/auth/" not in url)
