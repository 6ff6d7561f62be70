"""What the two pages make of a run, in a headless Chromium; Airflow's API is a table here."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from kling_provider.api.tasks import KlingTask
from kling_provider.plugins import pages
from kling_provider.plugins.pages import PAGES

playwright = pytest.importorskip("playwright.sync_api", reason="run `make venv`")

STATIC = Path(pages.__file__).parent / "static"
AIRFLOW = "http://airflow.test"
KINDS = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
FACTS = {
    "previews": True,
    "usual_seconds": {},
    "usd_per_unit": {},
    "usd_per_video_unit": 0.14,
    "result_ttl_days": 30,
}
TASK_ID = "8f1d0c52"
PICTURE = '<svg xmlns="http://www.w3.org/2000/svg" width="16" height="9"/>'
#: No time passes between two looks: a page that will look again says so, and looks when it is told to.
CLOCK = """
const waiting = [];
const setTimer = window.setTimeout;
window.setTimeout = (action, ms) => {
    if (ms < 4000) return setTimer(action, ms);
    waiting.push(action);
    document.documentElement.dataset.waits = "yes";
};
window.lookAgain = () => {
    delete document.documentElement.dataset.waits;
    for (const action of waiting.splice(0)) action();
};
"""


class Run:
    """A run of a DAG as Airflow's API tells it, and a browser that looks at it."""

    def __init__(self, page: playwright.Page) -> None:
        self.page = page
        #: Whether the list of task instances has their rendered fields, as from Airflow 3.2 on.
        self.lists_fields = True
        #: Whether the viewer may see the tasks of the DAG.
        self.sees_tasks = True
        self.tis: list[dict[str, Any]] = []
        #: Task -> the tasks behind it.
        self.graph: dict[str, list[str]] = {}
        #: Task -> the error its log ends with.
        self.errors: dict[str, dict[str, str]] = {}
        #: The paths of all requests since the last look.
        self.asked: list[str] = []
        page.add_init_script(CLOCK)
        page.route("**/*", self._answer)

    def add(
        self, task_id: str, operator: str, state: str | None = "success", *, map_index: int = -1,
        fields: dict[str, Any] | None = None, behind: str | None = None, **xcoms: Any,
    ) -> None:  # fmt: skip
        """Add a task instance; ``behind`` names the task in front of it."""
        self.graph.setdefault(task_id, [])
        if behind:
            self.graph[behind].append(task_id)
        began = None if state in (None, "scheduled", "queued") else "2026-01-01T00:00:00Z"
        self.tis.append(
            {
                "task_id": task_id, "operator_name": operator, "map_index": map_index, "state": state,
                "try_number": 1, "max_tries": 0, "start_date": began, "end_date": began,
                "rendered_fields": fields or {}, "xcoms": xcoms,
            }
        )  # fmt: skip

    def open(self, page: str, task_id: str = "") -> playwright.Locator:
        self.page.goto(f"{AIRFLOW}/kling/{page}.html?dag=d&run=r&task={task_id}&map=-1")
        return self.page.locator("main")

    @property
    def looks_again(self) -> bool:
        return self.page.locator("html").get_attribute("data-waits") is not None

    def look_again(self) -> None:
        """Let the page look once more, until it waits for its next look."""
        self.page.locator("html[data-waits]").wait_for(state="attached")
        self.asked.clear()
        self.page.evaluate("lookAgain()")
        self.page.locator("html[data-waits]").wait_for(state="attached")

    def _answer(self, route: playwright.Route) -> None:
        address = urlsplit(route.request.url)
        self.asked.append(address.path)
        if address.netloc != "airflow.test" or "/stored/" in address.path:
            route.fulfill(body=PICTURE, content_type="image/svg+xml")
        elif address.path.startswith("/kling/"):
            self._answer_ourselves(route, address.path.removeprefix("/kling/"))
        else:
            status, told = self._tell(address.path.removeprefix("/api/v2/dags/d/"), parse_qs(address.query))
            route.fulfill(status=status, json=told)

    def _answer_ourselves(self, route: playwright.Route, name: str) -> None:
        if name in PAGES:
            answer = pages.answer_with(PAGES[name])
            route.fulfill(body=bytes(answer.body), headers=dict(answer.headers))
        elif name == "facts.json":
            route.fulfill(json=FACTS)
        else:
            route.fulfill(path=STATIC / name, content_type=KINDS[Path(name).suffix])

    def _tell(self, path: str, query: dict[str, list[str]]) -> tuple[int, Any]:
        if path == "tasks":
            fields = {
                ti["task_id"]: ["kling_conn_id"] for ti in self.tis if ti["operator_name"] != "PythonOperator"
            }
            tasks = [
                {"task_id": name, "downstream_task_ids": after, "template_fields": fields.get(name, [])}
                for name, after in self.graph.items()
            ]
            return 200, {"tasks": tasks, "total_entries": len(tasks)}
        match = re.fullmatch(r"dagRuns/r/taskInstances(?:/(\w+)(?:/xcomEntries(?:/(\w+))?)?)?(/.*)?", path)
        assert match
        task_id, key, rest = match.groups()
        if task_id is None:
            start = int(query["offset"][0])
            hidden = ["xcoms"] if self.lists_fields else ["xcoms", "rendered_fields"]
            listed = [{name: ti[name] for name in ti if name not in hidden} for ti in self.tis]
            return 200, {"task_instances": listed[start : start + 100], "total_entries": len(listed)}
        index = int(query.get("map_index", ["-1"])[0])
        (ti,) = [ti for ti in self.tis if (ti["task_id"], ti["map_index"]) == (task_id, index)]
        if rest:
            error = self.errors.get(task_id)
            return (200, {"content": [{"error_detail": [error]}]}) if error else (404, {})
        if "/xcomEntries" not in path:
            return 200, {name: value for name, value in ti.items() if name != "xcoms"}
        if key is None:
            return 200, {"xcom_entries": [{"key": name, "map_index": index} for name in ti["xcoms"]]}
        return 200, {"value": ti["xcoms"][key]}


@pytest.fixture
def run(browser: playwright.Browser) -> Iterator[Run]:
    page = browser.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield Run(page)
    assert errors == []
    page.close()


def result(task_id: str, endpoint: str, **more: Any) -> dict[str, Any]:
    return KlingTask(task_id, endpoint, "succeed").to_dict() | {"units": "1"} | more


def manifest_of(told: dict[str, Any], extension: str) -> list[dict[str, Any]]:
    """What the store returns for a result, the last file first: a copy is found by its id, not by its place."""
    task = KlingTask.from_dict(told)
    return [
        {
            "uri": f"s3://b/{task.name}-{file.media_id}.{extension}", "bytes": 1000, "sha256": "0",
            "media_type": "video/mp4", "duration": file.duration, "task_id": task.task_id, "media_id": file.media_id,
        }
        for file in reversed(task.files)
    ]  # fmt: skip


def chain(run: Run, number: int) -> None:
    """Submit, wait and store."""
    told = result(f"task-{number}-", "text2video")
    told["videos"] = [
        {"id": f"v{number}", "url": f"https://k.test/{number}.mp4", "duration": 5.0, "watermark_url": None}
    ]
    job = {"task_id": told["task_id"], "endpoint": "text2video"}
    fields = {"prompt": f"Number {number}."}
    run.add(
        f"submit_{number}",
        "KlingTextToVideoOperator",
        fields=fields,
        return_value=told["task_id"],
        kling_task=job,
    )
    wait = {"kling_task_id": told["task_id"]}
    run.add(f"wait_{number}", "KlingTaskSensor", fields=wait, behind=f"submit_{number}", return_value=told)
    run.add(
        f"store_{number}", "KlingToObjectStorageOperator", fields={"task": told}, behind=f"wait_{number}",
        return_value=manifest_of(told, "mp4"),
    )  # fmt: skip


SOUND = {
    "id": "s",
    "url_mp3": "https://k.test/a.mp3",
    "url_wav": "https://k.test/a.wav",
    "duration_mp3": "5.1",
}
SHOTS = {"index": 0} | {f"url_{number}": f"https://k.test/{number}.png" for number in (1, 2, 3)}
PICTURES = [{"index": number, "url": f"https://k.test/{number}.png"} for number in (0, 1)]


@pytest.mark.parametrize(
    ("endpoint", "files", "copies"),
    [
        ("text-to-audio", {"audios": [SOUND]}, ["s-mp3", "s-wav"]),
        ("ai-multi-shot", {"images": [SHOTS]}, ["image-0-1", "image-0-2", "image-0-3"]),
        ("images/generations", {"images": PICTURES}, ["image-0", "image-1"]),
    ],
)
def test_every_file_of_a_result_is_shown_with_its_own_stored_copy(
    endpoint: str, files: dict[str, Any], copies: list[str], run: Run
) -> None:
    told = result(TASK_ID, endpoint, **files)
    run.add(
        "make", "KlingOperator", fields={"prompt": "x"}, return_value=told, kling_task={"task_id": TASK_ID}
    )
    entries = manifest_of(told, "bin")
    run.add(
        "store",
        "KlingStore",
        fields={"task": told},
        behind="make",
        return_value=[*entries, entries[0] | {"media_id": "other"}],
    )
    tab = run.open("task", "make")
    buttons = tab.locator(".choice button")
    buttons.nth(len(copies) - 1).wait_for()
    for button, media_id in zip(buttons.all(), copies, strict=True):
        button.click()
        assert f"s3://b/{TASK_ID}-{media_id}.bin" in tab.locator(".origin").inner_text()
    if endpoint == "text-to-audio":
        buttons.first.click()
        assert "5.1 s" in tab.locator(".origin").inner_text()


def test_an_answer_without_a_task_is_shown_with_its_cost_and_its_stored_copy(run: Run) -> None:
    told = result(
        "",
        "image-recognize",
        images=[{"type": "head", "url": "https://k.test/h.png"}],
        request_id="req-7",
        units="0.5",
    )
    run.add(
        "parts",
        "KlingImageRecognizeOperator",
        fields={"image": "x"},
        return_value=told,
        kling_task={"task_id": ""},
    )
    run.add(
        "store",
        "KlingToObjectStorageOperator",
        fields={"task": told},
        behind="parts",
        return_value=manifest_of(told, "png"),
    )
    tab = run.open("task", "parts")
    assert "s3://b/req-7-image-0.png" in tab.locator(".origin").inner_text()
    text = tab.inner_text()
    assert "0.5 units" in text
    assert "Kling request" in text
    tab = run.open("run")
    tab.locator(".tile").wait_for()
    assert "1 task at Kling · deducted: 0.5 units" in tab.locator(".summary").inner_text()
    assert tab.locator(".tile img").get_attribute("src") == "/kling/stored/d/r/store/-1/0"


@pytest.mark.parametrize(
    ("step", "lists_fields", "sees_tasks"),
    [
        *(("submit", True, True), ("wait", True, True), ("store", True, True)),
        *(("submit", False, True), ("wait", False, True), ("store", False, True)),
        ("submit", True, False),
    ],
)
def test_in_a_long_loop_each_task_finds_its_own_video(
    step: str, lists_fields: bool, sees_tasks: bool, run: Run
) -> None:
    for number in range(30):
        chain(run, number)
    run.lists_fields, run.sees_tasks = lists_fields, sees_tasks
    tab = run.open("task", f"{step}_21")
    assert "s3://b/task-21--v21.mp4" in tab.locator(".origin").inner_text()
    assert "Number 21." in tab.locator(".prompt").inner_text()
    assert "https://k.test/21.mp4" in tab.locator(".origin").inner_text()


def test_what_waits_for_its_turn_is_no_task_at_kling(run: Run) -> None:
    job = {"task_id": TASK_ID, "endpoint": "text2video"}
    run.add("video", "KlingTextToVideoOperator", "deferred", fields={"prompt": "x"}, kling_task=job)
    run.add("wait", "KlingTaskSensor", None, behind="video")
    run.add("store", "KlingToObjectStorageOperator", None, behind="wait")
    run.add("left_out", "KlingTextToVideoOperator", "skipped", fields={"prompt": "y"})
    run.add("broken", "KlingTextToVideoOperator", "failed")
    tab = run.open("run")
    tab.locator(".tile").nth(1).wait_for()
    assert tab.locator(".tile strong").all_inner_texts() == ["video", "broken"]
    assert tab.locator(".summary").inner_text() == "2 tasks at Kling · 1 failed · 1 running"


def test_a_stored_file_is_shown_with_its_own_task_only(run: Run) -> None:
    chain(run, 1)
    run.add("next", "KlingVideoExtendOperator", None, behind="store_1")
    run.add("left_out", "KlingTextToVideoOperator", "skipped", fields={"prompt": "y"})
    run.add("behind_it", "KlingToObjectStorageOperator", "upstream_failed", fields={"task": "None"})
    run.add("refused", "KlingTextToVideoOperator", "failed", fields={"prompt": "z"})
    tab = run.open("run")
    tab.locator(".tile").nth(1).wait_for()
    assert tab.locator(".tile strong").all_inner_texts() == ["submit_1", "refused"]
    assert tab.locator(".tile.failed .media.empty").count() == 1
    assert (
        tab.locator(".summary").inner_text()
        == "2 tasks at Kling · 1 failed · deducted: 1 unit ≈ $0.14 at list price"
    )


def test_what_another_run_submitted_is_shown_where_it_is_stored(run: Run) -> None:
    told = result(
        "given-",
        "text2video",
        videos=[{"id": "v", "url": "https://k.test/v.mp4", "duration": 5.0, "watermark_url": None}],
    )
    entries = manifest_of(told, "mp4")
    bare = [entries[0] | {"uri": "s3://b/bare.mp4", "task_id": "bare-"}]
    run.add("archive", "KlingToObjectStorageOperator", fields={"task": told}, return_value=entries)
    run.add("shop", "KlingToObjectStorageOperator", fields={"task": "bare-"}, return_value=bare)
    tab = run.open("run")
    tab.locator(".tile").nth(1).wait_for()
    assert tab.locator(".tile strong").all_inner_texts() == ["archive", "shop"]
    assert "2 tasks at Kling" in tab.locator(".summary").inner_text()
    assert "s3://b/bare.mp4" in run.open("task", "shop").locator(".origin").inner_text()


def test_what_makes_nothing_at_kling_is_no_task_at_kling(run: Run) -> None:
    run.add("balance", "KlingCheckBalanceOperator", return_value="123.5")
    run.add("voices", "KlingReadOperator", fields={"request": {"page": 1}}, return_value=[{"voice_id": "1"}])
    tab = run.open("run")
    tab.get_by_text("Nothing made with Kling so far.").wait_for()
    assert tab.locator(".tile").count() == 0
    chain(run, 1)
    tab = run.open("run")
    tab.locator(".tile").wait_for()
    assert tab.locator(".tile strong").all_inner_texts() == ["submit_1"]
    tab = run.open("task", "balance")
    tab.get_by_text("There is no video, picture or sound here.").wait_for()
    assert "123.5" not in tab.inner_text()


def test_why_a_store_failed_is_told_beside_the_video_that_is_still_at_kling(run: Run) -> None:
    chain(run, 1)
    run.tis[2]["state"] = "failed"
    run.tis[2]["xcoms"] = {}
    run.errors["store_1"] = {"exc_type": "KlingStorageError", "exc_value": "The bucket refuses it."}
    tab = run.open("task", "store_1")
    assert tab.locator(".problem").inner_text().startswith("KlingStorageError\n\nThe bucket refuses it.")
    assert "https://k.test/1.mp4" in tab.locator(".origin").inner_text()
    assert "bad" in tab.locator(".walk li", has_text="Task failed").get_attribute("class")
    tab = run.open("task", "submit_1")
    assert "https://k.test/1.mp4" in tab.locator(".origin").inner_text()
    assert tab.locator(".problem").count() == 0
    assert "good" in tab.locator(".walk li", has_text="Task done").get_attribute("class")


@pytest.mark.parametrize("step", ["submit", "store"])
def test_a_result_that_was_too_long_for_a_rendered_field_is_found_by_what_was_stored(
    step: str, run: Run
) -> None:
    chain(run, 1)
    run.tis[2]["rendered_fields"] = {
        "task": "Truncated. You can change this behaviour in [core]max_templated_field_length."
    }
    tab = run.open("task", f"{step}_1")
    assert "s3://b/task-1--v1.mp4" in tab.locator(".origin").inner_text()
    assert "Truncated" not in tab.inner_text()
    run.tis[2] |= {"state": "running", "xcoms": {}}
    tab = run.open("run")
    tab.locator(".tile").wait_for()
    assert tab.locator(".tile strong").all_inner_texts() == ["submit_1"]


def test_a_run_that_has_not_begun_has_one_tile(run: Run) -> None:
    run.add("video", "KlingTextToVideoOperator", "queued")
    run.add("store", "KlingToObjectStorageOperator", None, behind="video")
    tab = run.open("run")
    tab.locator(".tile").wait_for()
    assert tab.locator(".tile strong").all_inner_texts() == ["video"]


@pytest.mark.parametrize("state", ["running", "success"])
def test_a_run_without_kling_is_looked_at_again_until_it_is_over(state: str, run: Run) -> None:
    run.add("report", "PythonOperator", state)
    run.open("run").get_by_text("This run made nothing with Kling.").wait_for()
    assert run.looks_again == (state == "running")


def test_a_run_is_not_read_whole_at_every_look(run: Run) -> None:
    for number in range(3):
        chain(run, number)
    job = {"task_id": TASK_ID, "endpoint": "text2video"}
    run.add("last", "KlingTextToVideoOperator", "deferred", fields={"prompt": "x"}, kling_task=job)
    run.add("report", "PythonOperator", None, behind="last")
    tab = run.open("run")
    tab.locator(".tile").nth(3).wait_for()
    tab.locator(".tile").first.evaluate("tile => tile.dataset.same = 'yes'")
    run.look_again()
    asked = [
        path.rpartition("/dagRuns/r/")[2] for path in run.asked if "/dagRuns/" in path
    ]  # a film may come late
    assert set(asked) == {"taskInstances"}
    run.tis[9]["state"] = "failed"
    run.look_again()
    assert "1 failed" in tab.locator(".summary").inner_text()
    read = [path.split("/taskInstances/")[1] for path in run.asked if "/xcomEntries" in path]
    assert {name.partition("/")[0] for name in read} == {"last"}
    assert tab.locator(".tile").first.get_attribute("data-same") == "yes"


def test_so_many_cards_are_drawn_at_once_mapped_or_not(run: Run) -> None:
    for number in range(30):
        chain(run, number)
    tab = run.open("run")
    tab.get_by_text("Show more (6 left)").click()
    tab.locator(".tile").nth(29).wait_for()
    assert tab.locator(".tile").count() == 30
    assert not tab.locator(".more").is_visible()
    assert "30 tasks at Kling" in tab.locator(".summary").inner_text()


def test_an_operator_of_another_name_is_known_by_its_connection(run: Run) -> None:
    told = result(
        TASK_ID,
        "text2video",
        videos=[{"id": "v", "url": "https://k.test/v.mp4", "duration": 5.0, "watermark_url": None}],
    )
    run.add(
        "shop", "ShopVideo", fields={"prompt": "x"}, return_value=TASK_ID, kling_task={"task_id": TASK_ID}
    )
    run.add("wait", "ShopWait", fields={"kling_task_id": TASK_ID}, behind="shop", return_value=told)
    tab = run.open("run")
    tab.locator(".tile").wait_for()
    tab = run.open("task", "shop")
    assert "https://k.test/v.mp4" in tab.locator(".origin").inner_text()
