"""The connection form in a headless Chromium, on a real Airflow, with a Kling on loopback."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import airflow as airflow_package
import pytest
from packaging.version import Version

from kling_provider.get_provider_info import CONN_FIELDS, UI_FIELD_BEHAVIOUR
from kling_provider.simulator.server import SimulatorServer
from scripts.browser import chromium
from scripts.private_airflow import COMPONENTS, PrivateAirflow

ROOT = Path(__file__).parent.parent.parent
#: Where screenshots go, to be looked at.
SCREENSHOTS = Path(os.environ.get("SCREENSHOTS") or ROOT / ".airflow" / "screenshots")

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page, Route

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(
        Version(airflow_package.__version__) < Version("3.2"), reason="its form is made another way"
    ),
]


class OnlyTheUI(PrivateAirflow):
    """No task runs here."""

    components = {"api-server": COMPONENTS["api-server"]}


@pytest.fixture(scope="module")
def kling() -> Iterator[SimulatorServer]:
    with SimulatorServer(speed=1, task_seconds=1) as server:
        yield server


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with OnlyTheUI(tmp_path_factory.mktemp("form") / "home") as airflow, chromium() as browser:
        page = browser.new_page(
            base_url=airflow.url, viewport={"width": 1280, "height": 1500}, locale="en-US"
        )
        page.set_default_timeout(60_000)
        page.route("**/connections/test", as_stored)
        yield page


def as_stored(route: Route) -> None:
    """Airflow 3.3.2 sends port 0 where a connection has none, and then refuses its own question for that."""
    body = json.loads(route.request.post_data or "{}")
    route.continue_(post_data=json.dumps(body | {"port": body["port"] or None}))


def form_of_a_new_one(page: Page, conn_id: str) -> Locator:
    page.goto("/connections")
    page.get_by_role("button", name="Add Connection").click()
    form = page.get_by_role("dialog")
    form.locator("input[name=connection_id]").fill(conn_id)
    form.get_by_role("combobox").click()
    page.keyboard.type("Kling AI")
    page.keyboard.press("Enter")
    form.locator("input[name=password]").wait_for()
    return form


def choose(page: Page, form: Locator, field: str, value: str) -> None:
    hidden = form.locator(f"input[name=element_{field}]")
    hidden.locator("xpath=..").get_by_role("combobox").click()
    page.keyboard.type(value)
    page.keyboard.press("Enter")
    assert hidden.input_value() == value


def press_test(page: Page, conn_id: str) -> dict[str, Any]:
    """Press the button of a saved connection; gives the answer to what the browser asks then."""
    row = page.get_by_role("row").filter(has_text=conn_id)
    with page.expect_response(lambda answer: answer.url.endswith("/connections/test")) as tested:
        row.get_by_role("button", name="Test Connection").click()
    return tested.value.json()


def test_the_form_explains_itself_and_a_saved_connection_is_tried(page: Page, kling: SimulatorServer) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    form = form_of_a_new_one(page, "kling_dmxapi")
    assert form.locator("input[name=schema], input[name=port]").count() == 0
    for name in ("host", "login", "password"):
        assert form.get_by_text(UI_FIELD_BEHAVIOUR["relabeling"][name], exact=True).is_visible()
        shown = form.locator(f"input[name={name}]").get_attribute("placeholder")
        assert shown == UI_FIELD_BEHAVIOUR["placeholders"][name]
    page.screenshot(path=SCREENSHOTS / "connection_form_standard.png")
    form.locator("input[name=host]").fill(kling.url)
    form.locator("input[name=password]").fill(kling.api_key)

    form.get_by_text("Extra Fields", exact=True).click()
    form.locator("#element_namespace").wait_for()
    for field in CONN_FIELDS.values():
        assert form.get_by_text(field["label"], exact=True).is_visible()
        assert form.get_by_text(field["description"], exact=True).is_visible()
    choose(page, form, "gateway", "dmxapi")
    page.screenshot(path=SCREENSHOTS / "connection_form.png")
    form.get_by_role("button", name="Save").click()
    form.wait_for(state="detached")

    told = press_test(page, "kling_dmxapi")
    assert told == {"status": True, "message": f"Kling answers (dmxapi at {kling.url})."}
    page.screenshot(path=SCREENSHOTS / "connection_tested.png")
    assert kling.charges == []


def test_the_test_button_says_what_is_wrong(page: Page, kling: SimulatorServer) -> None:
    form = form_of_a_new_one(page, "kling_wrong")
    form.locator("input[name=host]").fill(kling.url)
    form.locator("input[name=password]").fill("a-wrong-key")
    form.get_by_role("button", name="Save").click()
    form.wait_for(state="detached")
    told = press_test(page, "kling_wrong")
    assert not told["status"]
    assert told["message"].startswith("The key is wrong: ")
