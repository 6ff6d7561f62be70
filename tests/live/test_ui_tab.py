"""The tab "Kling" in a headless Chromium, on a real Airflow whose people log in, with a Kling on loopback."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from airflow.providers.common.compat.sdk import AirflowPlugin

from kling_provider.simulator.server import SimulatorServer
from scripts.browser import AirflowWithLogin, airflow_is_at_least, log_in
from scripts.private_airflow import COMPONENTS
from tests.live.test_live import succeed, until

if not hasattr(AirflowPlugin, "external_views"):
    pytest.skip("Airflow 3.0 has no tabs of plugins", allow_module_level=True)
playwright = pytest.importorskip("playwright.sync_api", reason="run `make venv`")

pytestmark = pytest.mark.live

ROOT = Path(__file__).parent.parent.parent
#: For a person to look at.
SCREENSHOTS = Path(os.environ.get("SCREENSHOTS") or ROOT / ".airflow" / "screenshots")

#: Who may not see a DAG is of another team, which Airflow before 3.2 does not have.
HAS_TEAMS = airflow_is_at_least("3.2")
#: `vic` of team beta may see no DAG of team alpha, which all of these are.
USERS = {"ada": "admin"} | ({"al": "viewer:alpha", "vic": "viewer:beta"} if HAS_TEAMS else {})

DAGS = """
from datetime import datetime
from airflow.sdk import DAG, task, task_group
from kling_provider.operators.kling import KlingImageToVideoOperator, KlingTextToVideoOperator
from kling_provider.operators.kling import KlingImageOperator, KlingImageRecognizeOperator, KlingTextToAudioOperator
from kling_provider.operators.adopt import KlingAdoptOperator
from kling_provider.sensors.kling import KlingTaskSensor
from kling_provider.transfers.kling_to_object_storage import KlingToObjectStorageOperator

when = {"schedule": None, "start_date": datetime(2026, 1, 1), "catchup": False}

with DAG("lighthouse", **when):
    video = KlingImageToVideoOperator(
        task_id="video", image="PICTURE", duration="5", mode="pro", wait_for_completion=True,
        prompt="The lighthouse beam sweeps slowly over the calm sea while clouds drift by.",
    )
    store = KlingToObjectStorageOperator(task_id="store", task=video.output, destination="file://VIDEOS")

    @task
    def report(manifest):
        return {"files": len(manifest)}

    report(store.output)

class ShopVideo(KlingTextToVideoOperator):
    pass

with DAG("unstored", **when):
    submit = ShopVideo(task_id="submit", prompt="A boat. <img src=x onerror=alert(1)><script>alert(2)</script>")
    KlingTaskSensor(task_id="wait", kling_task_id=submit.kling_task)
    KlingImageRecognizeOperator(task_id="parts", image="PICTURE")
with DAG("clips", **when):

    @task_group
    def clip(prompt):
        made = KlingTextToVideoOperator(task_id="video", prompt=prompt, wait_for_completion=True)
        KlingToObjectStorageOperator(task_id="store", task=made.output, destination="file://VIDEOS")

    clip.expand(prompt=["A red kite over dunes.", "A fox in fresh snow.", "Rain on a tin roof.", "Bees in lavender."])
    KlingImageOperator(task_id="still", prompt="A poster of a lighthouse.", wait_for_completion=True)
    sound = KlingTextToAudioOperator(task_id="sound", prompt="Waves on rocks.", duration=5, wait_for_completion=True)
    KlingToObjectStorageOperator(task_id="store_sound", task=sound.output, destination="file://VIDEOS//sounds/")
with DAG("waiting", **when):
    KlingTextToVideoOperator(task_id="video", prompt="A glacier, very slowly.", wait_for_completion=True)
with DAG("taken_over", **when):
    KlingAdoptOperator(
        task_id="video", kling_task_id="{{ dag_run.conf['id'] }}", endpoint="text2video", wait_for_completion=True
    )
with DAG("forged", **when):

    @task
    def result():
        video = {"id": "v", "url": "javascript:alert(3)", "duration": 5.0, "watermark_url": "file:///etc/passwd"}
        return {
            "task_id": "1", "endpoint": "text2video", "status": "succeed", "videos": [video], "images": [],
            "audios": [], "units": "2", "created_at": "2026-01-01T00:00:00+00:00", "status_message": "<b>bold</b>",
        }

    @task
    def manifest():
        return [
            {"uri": uri, "bytes": 1, "sha256": "0", "media_type": "video/mp4", "task_id": "1", "media_id": "v"}
            for uri in ("file:///etc/passwd", "file://VIDEOS/../secret.mp4", "file://VIDEOS/link.mp4", "file://VIDEOS/text.mp4")
        ]

    @task
    def older(ti):
        ti.xcom_push(key="kling_task", value={"task_id": "1", "endpoint": "text2video", "profile": ""})

    @task(task_id="forged")
    def priced(ti):
        price = "<b>9</b>"
        ti.xcom_push(key="kling_task", value={"task_id": "1", "endpoint": "text2video", "estimated_units": price})

    result()
    manifest()
    older()
    priced()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ui tab")
    (folder / "dags").mkdir()
    videos = folder / "videos"
    videos.mkdir()
    shutil.copy(ROOT / "dags" / "pictures" / "lighthouse.jpg", videos)
    dags = DAGS.replace("PICTURE", str(videos / "lighthouse.jpg")).replace("VIDEOS", str(videos))
    (folder / "dags" / "ui.py").write_text(dags)
    (folder / "secret.mp4").write_bytes(b"\x00\x00\x00\x18ftypisom")
    (videos / "link.mp4").symlink_to(folder / "secret.mp4")
    (videos / "text.mp4").write_text("<script>alert(4)</script>")
    return folder


@pytest.fixture(scope="module")
def kling() -> Iterator[SimulatorServer]:
    with SimulatorServer(speed=1, task_seconds=3) as server:
        yield server


def an_airflow(kling: SimulatorServer, folder: Path, path: str = "") -> AirflowWithLogin:
    env = {
        "AIRFLOW_CONN_KLING_DEFAULT": kling.connection_json(),
        "AIRFLOW__KLING__PREVIEW_ROOTS": str(folder / "videos"),
    }
    team = "alpha" if HAS_TEAMS else None
    return AirflowWithLogin(
        folder / "home", users=USERS, team=team, path=path, dags_folder=folder / "dags", env=env
    )


@pytest.fixture(scope="module")
def airflow(kling: SimulatorServer, folder: Path) -> Iterator[AirflowWithLogin]:
    with an_airflow(kling, folder) as private:
        private.wait_for_dag("forged")
        yield private


@pytest.fixture(scope="module")
def runs(airflow: AirflowWithLogin, kling: SimulatorServer) -> dict[str, str]:
    """One run of each DAG: `waiting` goes on for ever, one clip fails, the others are over."""
    kling.next_task("stuck", endpoint="text2video")
    runs = {"waiting": airflow.trigger("waiting")}
    until(lambda: waits(airflow, "waiting", runs["waiting"]), 180)
    stuck = airflow.xcom("waiting", runs["waiting"], "video", "task_id")
    runs["taken_over"] = airflow.trigger("taken_over", {"id": stuck})
    kling.next_task("fail", endpoint="text2video")
    runs["clips"] = airflow.trigger("clips")
    assert airflow.wait_for_run("clips", runs["clips"], 240)["state"] == "failed"
    for dag_id in ("lighthouse", "unstored", "forged"):
        runs[dag_id] = airflow.trigger(dag_id)
    for dag_id in ("lighthouse", "unstored", "forged"):
        succeed(airflow, dag_id, runs[dag_id], 240)
    until(lambda: waits(airflow, "taken_over", runs["taken_over"]), 60)
    return runs


def waits(airflow: AirflowWithLogin, dag_id: str, run_id: str) -> bool:
    return "deferred" in [ti["state"] for ti in airflow.task_instances(dag_id, run_id)]


class Viewer:
    """A person with a browser."""

    def __init__(
        self, browser: playwright.Browser, airflow: AirflowWithLogin, runs: dict[str, str], user: str
    ):
        self.page = browser.new_page(viewport={"width": 1440, "height": 1100})
        self.page.set_default_timeout(90_000)
        self.dialogs: list[str] = []
        self.page.on("dialog", lambda dialog: (self.dialogs.append(dialog.message), dialog.dismiss()))
        #: What the browser reports of our pages: an error of a script, or what the policy has stopped.
        self.complaints: list[str] = []
        self.page.on("console", self._note)
        self.page.on(
            "pageerror", lambda error: "/kling/" in (error.stack or "") and self.complaints.append(str(error))
        )
        self._airflow, self._runs = airflow, runs
        log_in(self.page, airflow, user)

    def _note(self, message: playwright.ConsoleMessage) -> None:
        is_ours = "/kling/" in message.location["url"] or "Content Security Policy" in message.text
        if message.type == "error" and is_ours:
            self.complaints.append(f"{message.text} ({message.location['url']})")

    def look_at_complaints(self) -> list[str]:
        """What the browser complained of since the last look."""
        complaints, self.complaints = self.complaints, []
        return complaints

    def address(self, dag_id: str, task: str | None = None) -> str:
        run = f"{self._airflow.url}/dags/{dag_id}/runs/{quote(self._runs[dag_id], safe='')}"
        return f"{run}/tasks/{task}/plugin/kling-task" if task else f"{run}/plugin/kling-run"

    def open(self, dag_id: str, task: str | None = None) -> playwright.FrameLocator:
        self.page.goto(self.address(dag_id, task))
        return self.page.frame_locator("iframe[title=Kling]")

    def status(self, path: str) -> int:
        """What the api-server answers this viewer's own browser."""
        return int(self.page.request.get(self._airflow.url + path).status)

    def photograph(self, name: str) -> None:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{name}.png")


@pytest.fixture(scope="module")
def ada_logged_in(browser: playwright.Browser, airflow: AirflowWithLogin, runs: dict[str, str]) -> Viewer:
    return Viewer(browser, airflow, runs, "ada")


@pytest.fixture
def ada(ada_logged_in: Viewer) -> Iterator[Viewer]:
    """She sees everything, and her browser has nothing to complain about that a test has not looked at."""
    yield ada_logged_in
    assert ada_logged_in.look_at_complaints() == []


def cost_in(tab: playwright.FrameLocator) -> list[str]:
    """The lines of the card that tells what it costs."""
    told = tab.get_by_role("heading", name="cost").locator("..").inner_text()
    return [line for line in told.splitlines() if line]


def ready(video: playwright.Locator) -> None:
    """The video has a picture."""
    video.evaluate("""video => new Promise((done) => {
        if (video.readyState >= 4) done();
        else video.addEventListener("canplaythrough", done, { once: true });
    })""")


def plays(video: playwright.Locator) -> None:
    """The video is decoded and moves on."""
    video.evaluate(
        """video => new Promise((done, fail) => {
            video.muted = true;
            video.addEventListener("timeupdate", () => video.currentTime > 0.3 && video.readyState >= 2 && done());
            video.addEventListener("error", () => fail(new Error(video.error && video.error.message)));
            video.play().catch(fail);
        })"""
    )
    assert video.evaluate("video => video.readyState >= 2 && video.currentTime > 0.3 && !video.paused")


def test_the_tab_is_opened_by_a_click_and_the_stored_video_plays(ada: Viewer, runs: dict[str, str]) -> None:
    ada.page.goto(ada.address("lighthouse", "video").rpartition("/plugin/")[0])
    ada.page.get_by_role("link", name="Kling", exact=True).click()
    tab = ada.page.frame_locator("iframe[title=Kling]")
    plays(tab.locator("video"))
    assert "/kling/stored/lighthouse/" in tab.locator("video").evaluate("video => video.currentSrc")
    text = tab.locator("main").inner_text()
    for told in ("Image to video", "kling-v2-6", "Submitted to Kling", "Finished at Kling", "Task done"):
        assert told in text
    assert cost_in(tab) == ["COST", "2.5 units", "≈ $0.35 at list price", "Deducted by Kling."]
    assert "The lighthouse beam sweeps slowly" in text
    assert tab.locator("img.thumb").evaluate("image => image.decode().then(() => image.naturalWidth)") > 100
    ada.photograph("tab")


@pytest.mark.parametrize("task", ["submit", "wait"])
def test_a_video_that_is_not_stored_plays_from_kling_and_its_end_is_told(task: str, ada: Viewer) -> None:
    tab = ada.open("unstored", task)
    plays(tab.locator("video"))
    assert "/_files/" in tab.locator("video").evaluate("video => video.currentSrc")
    assert "30 days left" in tab.locator(".origin").inner_text()
    assert "A boat." in tab.locator(".prompt").inner_text()


def test_what_is_written_in_a_prompt_stays_text(ada: Viewer) -> None:
    tab = ada.open("unstored", "submit")
    assert "<script>alert(2)</script>" in tab.locator(".prompt").inner_text()
    assert tab.locator(".prompt img, .prompt script").count() == 0
    assert ada.dialogs == []


def test_a_script_or_a_style_that_gets_onto_a_page_is_stopped(ada: Viewer) -> None:
    tab = ada.open("unstored", "submit")
    tab.locator("video").wait_for()
    ran = tab.locator("main").evaluate(
        """(main) => new Promise((done) => {
            const loaded = [];
            const parts = ["inline", "own", "style"].map((kind) => {
                const part = document.createElement(kind === "style" ? "style" : "script");
                if (kind === "own") part.src = "dom.js?again";
                else part.textContent = kind === "style" ? "main { color: rgb(1, 2, 3) }" : "window.itRan = true";
                part.addEventListener("load", () => loaded.push(kind));
                return part;
            });
            parts[1].addEventListener("error", () => done([loaded, window.itRan, getComputedStyle(main).color]));
            main.append(parts[0], parts[2], parts[1]);
        })"""
    )
    assert ran[0] == []
    assert ran[1] is None
    assert ran[2] != "rgb(1, 2, 3)"
    complaints = ada.look_at_complaints()
    assert len(complaints) == 3
    assert all("Content Security Policy" in complaint for complaint in complaints)


def test_a_task_that_waits_shows_how_long_it_takes(ada: Viewer) -> None:
    tab = ada.open("waiting", "video")
    tab.get_by_text("of about 5 min 19 s").wait_for()
    assert 0 < tab.locator("progress").evaluate("bar => bar.value") < 1
    assert cost_in(tab) == [
        "ESTIMATED COST",
        "1.5 units",
        "≈ $0.21 at list price",
        "What Kling deducts is told when it is done.",
    ]
    ada.photograph("waiting")
    tab = ada.open("waiting")
    tab.get_by_text("about 1.5 units").wait_for()
    assert (
        "1 running · estimate of what is running: 1.5 units ≈ $0.21 at list price"
        in tab.locator(".summary").inner_text()
    )


def test_a_task_that_waits_and_has_no_estimate_says_when_its_cost_is_told(ada: Viewer) -> None:
    tab = ada.open("taken_over", "video")
    tab.get_by_text("of about 5 min 19 s").wait_for()
    assert cost_in(tab) == ["COST", "Told when it is done."]
    tab = ada.open("taken_over")
    tab.locator(".tile").wait_for()
    assert "estimate" not in tab.locator(".summary").inner_text()


def test_a_run_of_before_an_upgrade_and_a_forged_estimate_are_shown_without_one(ada: Viewer) -> None:
    for task in ("older", "forged"):
        tab = ada.open("forged", task)
        tab.get_by_text("Not told by this gateway.").wait_for()
        assert cost_in(tab) == ["COST", "Not told by this gateway."]


def test_a_run_shows_all_it_made_and_the_failed_ones_alone(ada: Viewer) -> None:
    tab = ada.open("clips")
    tab.locator(".tile").nth(5).wait_for()
    assert (
        tab.locator(".tile").count() == 6
    )  # four clips, a still, a sound; their stores are no tiles of their own
    told = tab.locator(".grid").inner_text()
    prompts = ("A red kite", "A fox in", "Rain on", "Bees in", "A poster of", "Waves on")
    assert sum(prompt in told for prompt in prompts) == 5  # the failed one tells its error instead
    tab.locator(".tile video").first.hover()
    plays(tab.locator(".tile video").first)
    summary = tab.locator(".summary").inner_text()
    assert "1 failed" in summary
    assert "deducted: ≈ $" in summary
    assert "estimate" not in summary
    assert tab.locator(".filters").inner_text().split() == [
        "All",
        "6",
        "Done",
        "5",
        "Failed",
        "1",
        "Running",
        "0",
    ]
    ada.photograph("gallery")
    tab.locator("[data-filter=failed]").click()
    tab.locator(".tile:nth-child(2)").wait_for(state="detached")
    (failed,) = tab.locator(".tile").all()
    assert "KlingTaskFailedError" in failed.inner_text()
    assert "Failure to pass the risk control system" in failed.inner_text()
    ada.photograph("gallery failed")
    failed.click()
    tab.locator(".problem").wait_for()
    assert "Failure to pass the risk control system" in tab.locator(".problem").inner_text()
    ada.photograph("failed")
    tab.locator(".back").click()
    tab.locator(".tile").nth(5).wait_for()


def test_pictures_and_sounds_are_shown_too(ada: Viewer) -> None:
    still = ada.open("clips", "still").locator(".screen img")
    assert still.evaluate("image => image.decode().then(() => image.naturalWidth)") > 100
    tab = ada.open("clips", "sound")
    plays(tab.locator("audio"))
    assert "/store_sound/" in tab.locator("audio").evaluate("audio => audio.currentSrc")
    tab.get_by_role("button", name="audio 2").click()
    plays(tab.locator("audio"))
    assert "/store_sound/" in tab.locator("audio").evaluate("audio => audio.currentSrc")
    assert "-wav.wav" in tab.locator(".origin").inner_text()


def test_an_answer_without_a_task_is_shown_too(ada: Viewer) -> None:
    tab = ada.open("unstored", "parts")
    assert tab.locator(".screen img").evaluate("image => image.decode().then(() => image.naturalWidth)") > 100
    assert cost_in(tab)[:2] == ["COST", "0.1 units"]


def test_a_run_shows_what_an_operator_of_another_name_made(ada: Viewer) -> None:
    tab = ada.open("unstored")
    tab.locator(".tile").nth(1).wait_for()
    assert sorted(tab.locator(".tile strong").all_inner_texts()) == ["parts", "submit"]


def test_it_is_dark_where_airflow_is_and_fits_a_narrow_screen(ada: Viewer) -> None:
    for theme in ("dark", "light"):
        ada.page.evaluate("theme => localStorage.setItem('theme', theme)", theme)
        tab = ada.open("lighthouse", "video")
        tab.locator("video").wait_for()
        is_dark = tab.locator("html").evaluate("page => page.classList.contains('dark')")
        assert is_dark == (theme == "dark")
        ready(tab.locator("video"))
        ada.photograph(f"tab {theme}")
    for width in (900, 420):
        ada.page.set_viewport_size({"width": width, "height": 1100})
        wide = tab.locator("html").evaluate("page => page.scrollWidth - page.clientWidth")
        assert wide <= 0
        ada.photograph(f"tab {width}")
    ada.page.goto(tab.locator("html").evaluate("() => location.href"))  # as wide as the window, alone
    ready(ada.page.locator("video"))
    assert ada.page.evaluate("document.documentElement.scrollWidth") <= 420
    ada.photograph("page 420")
    ada.page.set_viewport_size({"width": 1440, "height": 1100})


def test_a_task_of_another_operator_has_one_neutral_line(ada: Viewer) -> None:
    tab = ada.open("lighthouse", "report")
    tab.get_by_text("This task made nothing with Kling.").wait_for()
    assert tab.locator("main > *").count() == 1


def test_a_forged_result_is_harmless(ada: Viewer, runs: dict[str, str]) -> None:
    tab = ada.open("forged", "result")
    tab.get_by_text("There is nothing that can be shown.").wait_for()
    assert tab.locator("video, a, b").count() == 0
    assert "javascript:" not in tab.locator("main").inner_html()
    tab = ada.open("forged", "manifest")
    tab.get_by_text("This stored file cannot be shown here.").wait_for()
    run = quote(runs["forged"], safe="")
    assert [ada.status(f"/kling/stored/forged/{run}/manifest/-1/{number}") for number in range(4)] == [
        404
    ] * 4
    assert ada.dialogs == []
    assert all("404 (Not Found)" in complaint for complaint in ada.look_at_complaints())


@pytest.mark.skipif(not HAS_TEAMS, reason="Airflow 3.1 has no teams: each of its viewers may see each DAG")
def test_a_viewer_of_the_team_sees_it_and_one_of_another_team_gets_nothing(
    browser: playwright.Browser, airflow: AirflowWithLogin, runs: dict[str, str]
) -> None:
    file = f"/kling/stored/lighthouse/{quote(runs['lighthouse'], safe='')}/store/-1/0"
    picture = f"/kling/asked/lighthouse/{quote(runs['lighthouse'], safe='')}/video/-1/image"
    al, vic = (Viewer(browser, airflow, runs, name) for name in ("al", "vic"))
    assert [al.status(path) for path in (file, picture)] == [200, 200]
    plays(al.open("lighthouse", "video").locator("video"))
    assert [vic.status(path) for path in (file, picture, f"{file}?dag_id=forged")] == [403, 403, 403]
    for page in ("task.html", "run.html"):
        query = f"dag=lighthouse&run={quote(runs['lighthouse'], safe='')}&task=video&map={{MAP_INDEX}}"
        vic.page.goto(f"{airflow.url}/kling/{page}?{query}")
        vic.page.get_by_text("Airflow has refused it").wait_for()
        assert vic.page.locator("main > *").count() == 1


def test_who_is_not_logged_in_gets_nothing(
    browser: playwright.Browser, airflow: AirflowWithLogin, runs: dict[str, str]
) -> None:
    page = browser.new_page()
    run = quote(runs["lighthouse"], safe="")
    assert page.request.get(f"{airflow.url}/kling/stored/lighthouse/{run}/store/-1/0").status == 401
    page.goto(f"{airflow.url}/kling/task.html?dag=lighthouse&run={run}&task=video&map={{MAP_INDEX}}")
    page.get_by_text("You are not logged in.").wait_for()
    assert page.locator("main > *").count() == 1


def test_it_is_there_as_well_where_airflow_lives_below_a_path(
    browser: playwright.Browser,
    airflow: AirflowWithLogin,
    kling: SimulatorServer,
    folder: Path,
    runs: dict[str, str],
) -> None:
    below = an_airflow(kling, folder, path="/airflow")
    below.components = {"api-server": COMPONENTS["api-server"]}  # one more for the same database
    below.passwords = airflow.passwords
    with below:
        ada = Viewer(browser, below, runs, "ada")
        ada.page.goto(ada.address("lighthouse", "video").rpartition("/plugin/")[0])
        ada.page.get_by_role("link", name="Kling", exact=True).click()
        tab = ada.page.frame_locator("iframe[title=Kling]")
        plays(tab.locator("video"))
        source = tab.locator("video").evaluate("video => video.currentSrc")
        assert source.startswith(f"{below.url}/kling/stored/lighthouse/")
        assert (
            tab.locator("img.thumb").evaluate("image => image.decode().then(() => image.naturalWidth)") > 100
        )
        ada.open("clips").locator(".tile").nth(5).wait_for()
        assert ada.look_at_complaints() == []
