"""The documentation is true: every block runs, every name it lists exists."""

from __future__ import annotations

import importlib.util
import inspect
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from airflow.providers.common.compat.sdk import AirflowFailException
from airflow.sdk import DAG

from kling_provider import exceptions
from kling_provider.api.endpoints import ENDPOINTS
from kling_provider.api.errors import KLING_CODES, Reaction
from kling_provider.api.progress import Story
from kling_provider.api.reference.operators import OPERATORS, operator_for
from kling_provider.api.tasks import KlingTask
from kling_provider.exceptions import KlingBadRequestError, KlingError
from kling_provider.hooks import config
from kling_provider.hooks.kling import KlingHook
from kling_provider.operators import kling
from kling_provider.operators.kling import (
    KlingImageToVideoOperator,
    KlingMotionControlOperator,
    KlingTextToVideoOperator,
)
from kling_provider.simulator.server import SimulatorServer
from kling_provider.transfers.kling_to_object_storage import KlingToObjectStorageOperator
from scripts import chaos, docs_site
from scripts.docs_python import python_pages
from tests.contexts import TaskInstance, context_of

ROOT = Path(__file__).parent.parent
PAGES = [
    "README.md",
    "README.zh-CN.md",
    "CONTRIBUTING.md",
    *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")),
]
PYTHON_BLOCKS = 10
FAMILIES = "docs/families.md"
FAMILY_PAGES = [page for page in PAGES if page.startswith("docs/families/")]
#: What each of them says, in this order.
FAMILY_SECTIONS = [
    "When to take it",
    "A DAG",
    "What matters",
    "What it costs",
    "What goes wrong",
    "What comes next",
]
#: Where the sections were when all families were on one page: links to them are out in the world.
OLD_ADDRESSES = [
    "video",
    "several-pictures-in-one-video",
    "omni-references-and-edits",
    "motion",
    "make-a-video-longer",
    "effects",
    "avatar",
    "lip-sync",
    "change-something-in-a-video",
    "sound",
    "speech",
    "pictures",
    "try-on",
    "elements-and-voices-of-your-own",
    "read-presets-account-and-lists",
    "the-new-dialect",
    "what-this-version-does-not-know",
]
FILM = "docs/recipes.md"
#: What it asks for is in nobody's tables, the simulator's neither.
NOT_AT_THE_SIMULATOR = "newer_than_this_version"


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)


def python_blocks() -> list[Any]:
    return [
        pytest.param(block, id=f"{page}-{number}")
        for page in PAGES
        for number, block in enumerate(blocks(page, "python"), 1)
    ]


def test_the_blocks_are_found() -> None:
    assert len(python_blocks()) >= PYTHON_BLOCKS


@pytest.mark.parametrize("block", python_blocks())
def test_every_python_block_runs(
    block: str, kling_simulator: SimulatorServer, kling_connection: str, request: pytest.FixtureRequest
) -> None:
    names: dict[str, Any] = {"__name__": "block"}
    exec(compile(block, "block", "exec"), names)
    for name, value in names.items():
        if name.startswith("test_"):
            arguments = value.__code__.co_varnames[: value.__code__.co_argcount]
            value(*[request.getfixturevalue(argument) for argument in arguments])
    if "make_video" in names:
        url = names["make_video"].function("https://pictures.example/lighthouse.jpg")
        assert url.startswith(kling_simulator.url)


class OneOfMany(TaskInstance):
    """A task instance that reads what the tasks of its DAG have pushed."""

    xcoms: dict[tuple[str, str], Any]

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcoms[self.task_id, key] = value

    def xcom_pull(self, task_ids: str, key: str = "return_value", **_: Any) -> Any:
        return self.xcoms[task_ids, key]


def run_in_order(dag: Any, folder: Path) -> dict[str, Any]:
    """Execute every task of a DAG, without a scheduler; give what they return."""
    xcoms: dict[tuple[str, str], Any] = {}
    for task in dag.topological_sort():
        for name, value in {"deferrable": False, "poke_interval": 0.2, "destination": str(folder)}.items():
            if hasattr(task, name):
                setattr(task, name, value)
        ti = OneOfMany(dag_id=dag.dag_id, task_id=task.task_id)
        ti.xcoms = xcoms
        run = SimpleNamespace(run_after=datetime.now(UTC), clear_number=0)
        context = {"ti": ti, "task": task, "dag_run": run}
        task.render_template_fields(context)
        xcoms[task.task_id, "return_value"] = task.execute(context)
    return {task_id: value for (task_id, key), value in xcoms.items() if key == "return_value"}


def dags_of_the_families() -> list[Any]:
    found = []
    for block in (block for page in FAMILY_PAGES for block in blocks(page, "python")):
        names: dict[str, Any] = {"__name__": "block"}
        exec(compile(block, "block", "exec"), names)
        found += [value for value in names.values() if isinstance(value, DAG)]
    return found


def test_every_operator_is_shown_or_told_of() -> None:
    dags = dags_of_the_families()
    assert len(dags) == sum(len(blocks(page, "python")) for page in FAMILY_PAGES)
    assert len({dag.dag_id for dag in dags}) == len(dags)
    shown = {type(task).__name__ for dag in dags for task in dag.tasks}
    pages = "".join((ROOT / page).read_text() for page in FAMILY_PAGES)
    assert set(kling.__all__) <= shown | {name for name in kling.__all__ if f"`{name}`" in pages}
    table = (ROOT / FAMILIES).read_text()
    assert {name for name in kling.__all__ if f"`{name}`" not in table} == set()
    # Five of the selections are a word in the README.
    assert set(kling.__all__) - {
        name for name in kling.__all__ if f"`{name}" in (ROOT / "README.md").read_text()
    } == {name for name in kling.__all__ if "Selection" in name}


@pytest.mark.parametrize("page", FAMILY_PAGES)
def test_every_family_has_a_how_to_and_a_row_in_the_table(page: str) -> None:
    assert re.findall("^## (.*)$", (ROOT / page).read_text(), re.MULTILINE) == FAMILY_SECTIONS
    assert blocks(page, "python")
    assert f"({page.removeprefix('docs/')})" in (ROOT / FAMILIES).read_text()


def test_what_was_on_one_page_is_found_at_its_old_address() -> None:
    text = (ROOT / FAMILIES).read_text()
    assert [anchor for anchor in OLD_ADDRESSES if f'<a id="{anchor}"></a>' not in text] == []


@pytest.mark.parametrize("dag", dags_of_the_families(), ids=lambda dag: dag.dag_id)
def test_every_family_runs_from_step_to_step(
    dag: Any, kling_simulator: SimulatorServer, kling_connection: str, tmp_path: Path
) -> None:
    if dag.dag_id == NOT_AT_THE_SIMULATOR:
        return
    returned = run_in_order(dag, tmp_path / "stored")
    assert set(returned) == set(dag.task_ids)
    for task_id, value in returned.items():
        if isinstance(value, dict) and "status" in value:
            assert (task_id, value["status"]) == (task_id, "succeed")


@pytest.mark.parametrize("handed_on", ["kling_task", "output"])
def test_the_three_tasks_of_the_readme_serve_other_families_too(
    handed_on: str, kling_simulator: SimulatorServer, kling_connection: str, tmp_path: Path
) -> None:
    (block,) = [block for block in blocks("README.md", "python") if 'DAG("picture_to_video"' in block]
    other = re.sub(r" +image=.*\n", "", block.replace("KlingImageToVideo", "KlingTextToVideo"))
    assert other.count("submit.kling_task") == 1
    names: dict[str, Any] = {"__name__": "block"}
    exec(compile(other.replace("submit.kling_task", f"submit.{handed_on}"), "block", "exec"), names)
    returned = run_in_order(names["store"].dag, tmp_path)
    assert [row["media_type"] for row in returned["store"]] == ["video/mp4"]
    assert [task.endpoint for task in kling_simulator.tasks] == ["text2video"]


def test_the_film_of_the_recipes_is_made(
    kling_simulator: SimulatorServer, kling_connection: str, tmp_path: Path
) -> None:
    names: dict[str, Any] = {"__name__": "block"}
    exec(compile(blocks(FILM, "python")[-1], "block", "exec"), names)
    returned = run_in_order(next(value for value in names.values() if isinstance(value, DAG)), tmp_path)
    stored = [row for name, rows in returned.items() if name.startswith("store_") for row in rows]
    assert [row["media_type"] for row in stored] == ["image/png", *["video/mp4"] * 3]


def test_the_nightly_recipe_makes_what_is_new_only(
    kling_simulator: SimulatorServer, kling_connection: str, tmp_path: Path
) -> None:
    names: dict[str, Any] = {"__name__": "block"}
    recipe = blocks(FILM, "python")[0].replace("s3://my_aws@shop", tmp_path.as_uri())
    exec(compile(recipe, "block", "exec"), names)
    pictures = names["pictures"].function
    (tmp_path / "pictures").mkdir()
    for name in ("a--boat.jpg", "car.png", "notes.txt", "{odd}.png"):
        (tmp_path / "pictures" / name).touch()
    first, second = pictures()
    assert [Path(row["image"]).name for row in (first, second)] == ["a--boat.jpg", "car.png"]
    made = KlingHook().submit("text2video", {"prompt": "x"}, external_task_id="boat")
    KlingToObjectStorageOperator(
        task_id="store",
        task=KlingHook().wait_for_task(made.task_id, endpoint="text2video").to_dict(),
        destination=names["VIDEOS"],
        filename=first["filename"],
    ).execute({})
    assert pictures() == [second]


def test_the_budget_of_the_recipes_refuses_what_is_too_much(kling_connection: str) -> None:
    names: dict[str, Any] = {"__name__": "block"}
    exec(compile(blocks(FILM, "python")[1], "block", "exec"), names)
    within_budget = names["within_budget"].function
    assert within_budget(["a boat"] * 2) == ["a boat"] * 2
    with pytest.raises(AirflowFailException, match="a night may cost 40"):
        within_budget(["a boat"] * 100)


def test_the_script_of_the_migration_runs(
    kling_simulator: SimulatorServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DMXAPI_TOKEN", kling_simulator.api_key)
    Image.new("RGB", (400, 300)).save("lighthouse.jpg")
    script = blocks("docs/migration.md", "python")[0]
    there = script.replace("https://www.dmxapi.cn", kling_simulator.url).replace("sleep(5)", "sleep(0.1)")
    assert there != script
    printed: list[str] = []
    exec(compile(there, "block", "exec"), {"__name__": "__main__", "print": printed.append})
    (url,) = printed
    assert requests.get(url, timeout=10).content[4:8] == b"ftyp"


def test_the_messages_of_the_docs_are_those_of_the_provider(
    tmp_path: Path, kling_connection: str, kling_simulator: SimulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image

    Image.new("RGB", (200, 120)).save(tmp_path / "icon.png")
    monkeypatch.setenv("AIRFLOW_CONN_KLING_PAIR", kling_simulator.connection_json(auth="pair"))
    for page in [FAMILIES, *FAMILY_PAGES]:
        said = []
        for mistake in mistakes(str(tmp_path)).get(Path(page).stem, []):
            with pytest.raises(KlingBadRequestError) as error:
                run(mistake)
            said.append(str(error.value).replace(f"{tmp_path}/", ""))
        assert [" ".join(block.split()) for block in blocks(page, "text")] == said, page
    assert kling_simulator.creates == []


def run(written: Callable[[], Any]) -> None:
    """Parse and run a task."""
    operator = written()
    operator.execute(context_of(operator))


def mistakes(folder: str) -> dict[str, list[Callable[[], Any]]]:
    """Of each page, what somebody has written to see its messages."""
    url = "https://images.example.com/a.jpg"
    video = "https://videos.example.com/dance.mp4"
    frames = {"image": url, "image_tail": url}
    references = [{"image_url": url}]
    edited = [{"video_url": "s3://bucket/a.mp4"}]
    piece = {
        "face_id": "0",
        "audio_id": "1",
        "sound_start_time": 0,
        "sound_end_time": 1500,
        "sound_insert_time": 0,
    }
    squish = partial(kling.KlingEffectsOperator, task_id="squish", effect_scene="squish")
    dance = partial(KlingMotionControlOperator, task_id="dance", image_url=url, mode="std")
    kite = partial(KlingTextToVideoOperator, task_id="words", prompt="A kite.", dialect="new")
    return {
        "families": [
            lambda: KlingTextToVideoOperator(
                task_id="video", prompt="a boat", model_name="kling-v2-6", duration="8"
            ),
            lambda: dance(image_url="robot.png", video_url="/data/dance.mp4", character_orientation="video"),
            lambda: KlingImageToVideoOperator(task_id="video", image=f"{folder}/icon.png"),
        ],
        "video": [
            lambda: KlingTextToVideoOperator(task_id="video", prompt="A storm at sea.", sound="on"),
            lambda: KlingImageToVideoOperator(task_id="video", mode="pro", sound="on", **frames),
        ],
        "omni": [
            lambda: kling.KlingOmniVideoOperator(
                task_id="video",
                prompt="<<<image_1>>> meets <<<image_2>>>.",
                image_list=references,
                aspect_ratio="16:9",
            ),
            lambda: kling.KlingOmniVideoOperator(
                task_id="video", prompt="<<<image_1>>> runs.", image_list=references
            ),
            lambda: kling.KlingOmniVideoOperator(
                task_id="edit", prompt="Let it snow in <<<video_1>>>.", video_list=edited
            ),
        ],
        "motion": [
            lambda: dance(video_url=video, character_orientation="video", max_units=10),
            lambda: dance(video_url=video),
        ],
        "extend": [
            lambda: kling.KlingVideoExtendOperator(
                task_id="longer", video_id="https://videos.example.com/train.mp4"
            )
        ],
        "effects": [
            lambda: squish(effect_scene="hug", input={"image": url}),
            lambda: squish(input={"image": url}, max_units=5),
            lambda: squish(input={"image": url, "duration": "10"}),
        ],
        "avatar": [
            lambda: kling.KlingAvatarOperator(task_id="avatar", image=url, audio_id="1", max_units=10),
            lambda: kling.KlingAvatarOperator(
                task_id="avatar", image=url, audio_id="1", sound_file="https://s.example/a.mp3"
            ),
        ],
        "lip-sync": [
            lambda: kling.KlingAdvancedLipSyncOperator(task_id="spoken", session_id="1", face_choose=[piece])
        ],
        "multi-elements": [
            lambda: kling.KlingAddSelectionOperator(
                task_id="mark", session_id="1", frame_index=0, points=[{"x": 640, "y": 360}]
            ),
            lambda: kling.KlingMultiElementsOperator(
                task_id="swapped", session_id="1", edit_mode="swap", prompt="A dog."
            ),
        ],
        "sound": [
            lambda: kling.KlingTextToAudioOperator(task_id="waves", prompt="Waves.", duration=12),
            lambda: kling.KlingVideoToAudioOperator(task_id="heard", sound_effect_prompt="rain"),
        ],
        "speech": [lambda: kling.KlingTextToSpeechOperator(task_id="speech", text="Hello", voice_id="1")],
        "pictures": [
            lambda: kling.KlingImageOperator(
                task_id="house", prompt="a house", image=url, negative_prompt="rain"
            ),
            lambda: kling.KlingImageExpandOperator(
                task_id="wider",
                image=url,
                **{f"{side}_expansion_ratio": 1 for side in ("up", "down", "left", "right")},
            ),
        ],
        "try-on": [
            lambda: kling.KlingVirtualTryOnOperator(task_id="try_on", human_image=url),
            lambda: kling.KlingVirtualTryOnOperator(
                task_id="try_on",
                human_image="data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAA",
                cloth_image=url,
            ),
        ],
        "elements": [
            lambda: kling.KlingCustomElementOperator(
                task_id="element",
                element_name="Robbie",
                element_description="a robot",
                reference_type="image_refer",
            ),
            lambda: kling.KlingCustomVoiceOperator(
                task_id="voice", voice_name="Ana", voice_url="/data/ana.mp3"
            ),
        ],
        "reading": [
            lambda: kling.KlingReadOperator(
                task_id="videos", endpoint="image2video", request={"pageSize": 1000}
            ),
            lambda: kling.KlingReadOperator(task_id="said", endpoint="tts"),
        ],
        "new-dialect": [
            lambda: kite(model_name="kling-v3", negative_prompt="rain"),
            lambda: kite(model_name="kling-v3", kling_conn_id="kling_pair"),
        ],
        "newer": [
            lambda: kling.KlingSubmitOperator(
                task_id="field", endpoint="text2video", request={"prompt": "a boat", "wheather": "stormy"}
            ),
            lambda: kling.KlingSubmitOperator(
                task_id="field", endpoint="text2vidoe", request={"prompt": "a boat"}
            ),
        ],
    }


def without_ids(text: str) -> str:
    """A message without what is another one in each run."""
    return re.sub(r"(?<=external_task_id )\S+?(?=[),])|(?<=request_id )[-\w]+|\b86\d{16}\b", "-", text)


def test_the_log_of_a_wait_is_what_is_logged() -> None:
    log = "".join(blocks("docs/waiting.md", "text"))
    task_id = "860000000028224082"
    task = KlingTask.from_dict({"task_id": task_id, "endpoint": "image2video", "status": "submitted"})
    processing = [("processing", at) for at in (21.8, 104.9, 131.9, 165.2)]
    story = Story()
    told = [
        story.next_line(replace(task, status=status), at, 164)
        for status, at in [("submitted", 11.9), *processing, ("succeed", 179.9)]
    ]
    assert re.findall(rf"INFO (Task {task_id}: .*)", log) == told


def test_what_a_failed_task_says_is_what_it_says(
    kling_simulator: SimulatorServer, kling_connection: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = "https://images.example.com/lighthouse.jpg"
    video = partial(KlingImageToVideoOperator, task_id="submit", image=picture, deferrable=False)
    wrong = json.loads(kling_simulator.connection_json()) | {"password": "not-the-key"}
    monkeypatch.setenv("AIRFLOW_CONN_KLING_WRONG", json.dumps(wrong))
    shown = [
        without_ids(" ".join(block.split("exception\n")[1].split()))
        for block in blocks("docs/operating.md", "text")
    ]
    kling_simulator.fault("envelope", method="POST", code=1301, message="Prompt is risky, please modify it")
    said = []
    for submit in (video(), video(wait_for_completion=True), video(kling_conn_id="kling_wrong")):
        with pytest.raises(KlingError) as error:
            submit.execute(context_of(submit))
        said.append(without_ids(f"{type(error.value).__name__}: {error.value}"))
        kling_simulator.next_task("fail")
    assert shown == said


@pytest.mark.parametrize("page", PAGES)
def test_every_shell_block_names_commands_that_exist(page: str) -> None:
    makefile = (ROOT / "Makefile").read_text()
    for block in [*blocks(page, "bash"), *blocks(page, "console")]:
        for line in block.splitlines():
            words = shlex.split(line.removeprefix("$ "))
            assert words[0] in ("make", "pip", "airflow", "python"), line
            if words[0] == "make":
                assert f"\n{words[1]}:" in makefile, line


def test_the_connection_of_the_readme_is_one() -> None:
    (command,) = [block for block in blocks("README.md", "bash") if "connections add" in block]
    words = shlex.split(command)
    extra = json.loads(words[words.index("--conn-extra") + 1])

    class Connection:
        host = port = schema = login = None
        password = "token"

    read = config.read_connection("kling_default", Connection(), extra)
    assert read.base_url == "https://www.dmxapi.cn"
    assert read.routes.prefix == "/kling"


def test_the_reference_lists_every_exception_and_code() -> None:
    table = (ROOT / "docs/reference.md").read_text()
    for reaction in Reaction:
        assert f"| `{exceptions.EXCEPTIONS[reaction].__name__}` |" in table
    ranges = {
        int(number)
        for first, last in re.findall(r"\b(1\d{3}|5\d{3})(?:–(1\d{3}|5\d{3}))?", table)
        for number in range(int(first), int(last or first) + 1)
    }
    assert set(KLING_CODES) <= ranges


def test_the_reference_lists_every_extra() -> None:
    table = (ROOT / "docs/reference.md").read_text().split("## Connection extras")[1].split("## ")[0]
    listed = {
        name
        for row in re.findall(r"^\| (`.+?) \|", table, re.MULTILINE)
        for name in re.findall(r"`(\w+)`", row)
    }
    assert listed == config._KLING_EXTRAS | config._HTTP_EXTRAS


def test_the_recommended_settings_are_those_of_the_proof() -> None:
    rows = re.findall(
        r"^\| `\[(\w+)\] (\w+)` \| (\d+) \|", (ROOT / "docs/chaos.md").read_text(), re.MULTILINE
    )
    told = {f"AIRFLOW__{section.upper()}__{name.upper()}": value for section, name, value in rows}
    assert told == chaos.AIRFLOW_SETTINGS


def test_the_chinese_readme_has_the_same_blocks_sections_and_links() -> None:
    english, chinese = ((ROOT / page).read_text() for page in ("README.md", "README.zh-CN.md"))
    block = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
    assert block.findall(chinese) == block.findall(english)
    sections = [re.findall(r"^#+(?= )", block.sub("", text), re.MULTILINE) for text in (english, chinese)]
    assert sections[0] == sections[1]
    links = [
        sorted(re.findall(r"\]\((?!README|#)([^)]+)\)", block.sub("", text))) for text in (english, chinese)
    ]
    assert links[0] == links[1]
    rows = [len(re.findall(r"^\|", text, re.MULTILINE)) for text in (english, chinese)]
    assert rows[0] == rows[1]


def test_every_page_is_in_the_navigation_of_the_site() -> None:
    nav = (ROOT / "mkdocs.yml").read_text().partition("\nnav:\n")[2]
    named = re.findall(r"(?:- |: )(\S+\.md)$", nav, re.MULTILINE)
    written = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    made = {page for page in docs_site.OUTSIDE.values() if page.endswith(".md")}
    assert sorted(named) == sorted(written | made | {docs_site.DAGS} | set(python_pages()))


def make_docs(folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """Build a site into ``folder`` with the command of ``make docs``, and ``more`` behind it."""
    if importlib.util.find_spec("mkdocs") is None:
        pytest.skip("the extra docs is not installed")
    (recipe,) = re.findall(r"^docs:.*\n\t.*(-m mkdocs .*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    command = [sys.executable, *shlex.split(recipe), "--site-dir", str(folder), *more]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site; a warning, a dead link or a dead anchor ends the build."""
    folder = tmp_path_factory.mktemp("site")
    build = make_docs(folder)
    assert build.returncode == 0, build.stderr
    assert "WARNING -" not in build.stderr
    return folder


@pytest.mark.parametrize("link", ["nothing.md", "index.md#nothing", "#nothing"])
def test_a_dead_link_ends_the_build(link: str, tmp_path: Path) -> None:
    pages, config = tmp_path / "pages", tmp_path / "mkdocs.yml"
    pages.mkdir()
    config.write_text(f"INHERIT: {ROOT / 'mkdocs.yml'}\ndocs_dir: {pages}\nhooks: []\nnav: [index.md]\n")
    for text, ends in (("[here](index.md)", 0), (f"[there]({link})", 1)):
        (pages / "index.md").write_text(text)
        build = make_docs(tmp_path / "site", "--config-file", str(config))
        assert build.returncode == ends, build.stderr


def test_the_site_loads_nothing_from_elsewhere(site: Path) -> None:
    loads = re.compile(r"<(?:script|img|iframe|source|video)\b[^>]*\ssrc=[\"']?([^\"'\s>]+)")
    links = re.compile(
        r"<link\b(?=[^>]*rel=[\"']?(?:stylesheet|preconnect|icon|preload))[^>]*href=[\"']?([^\"'\s>]+)"
    )
    pages = list(site.rglob("*.html"))
    assert pages
    for page in pages:
        text = page.read_text()
        assert [at for at in loads.findall(text) + links.findall(text) if re.match(r"(https?:)?//", at)] == []


def test_the_chinese_page_says_that_it_is_chinese(site: Path) -> None:
    said = {
        page.name: re.search(r"<html lang=\"([\w-]+)\"", page.read_text()) for page in site.glob("*.html")
    }
    assert {name: found[1] for name, found in said.items() if found and found[1] != "en"} == {
        "index.zh-CN.html": "zh-Hans"
    }


def test_the_site_tells_every_argument_of_every_class() -> None:
    for text in python_pages().values():
        for told in text.split("\n## ")[1:]:
            module, name = re.search(r"`from (\S+) import (\w+)`", told).groups()  # type: ignore[union-attr]
            found = getattr(importlib.import_module(module), name)
            arguments = set(inspect.signature(found.__init__).parameters) - {"self", "kwargs", "args"}
            missing = {argument for argument in arguments if f"| `{argument}` |" not in told}
            assert not missing, f"{name}: {missing}"


def test_the_pages_of_the_api_name_the_operators() -> None:
    typed = [getattr(kling, name) for name in kling.__all__]
    assert {
        one.kling_endpoint: one.__name__ for one in typed if getattr(one, "kling_endpoint", "")
    } == OPERATORS
    index = (ROOT / "docs/api/README.md").read_text()
    for row in ENDPOINTS.values():
        assert f"| `{row.name}` | `{operator_for(row)}` |" in index


def test_links_in_code_stay_as_they_are_and_others_become_those_of_the_site() -> None:
    text = "[a](../README.md#x) `[b](c.md)` [d](https://e.example/f.md) [g](../dags/) [h](#i)"
    assert docs_site.with_links_of_the_site(text, "api/README.md".removeprefix("api/")) == (
        "[a](index.md#x) `[b](c.md)` [d](https://e.example/f.md) [g](dags/index.md) [h](#i)"
    )
    assert docs_site.with_links_of_the_site("[a](docs/api/README.md)", "index.md") == "[a](api/README.md)"


def test_every_link_to_a_file_leads_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", (ROOT / page).read_text()):
            assert ((ROOT / page).parent / target).exists(), f"{page}: {target}"


def test_the_readme_names_every_example_dag() -> None:
    text = (ROOT / "README.md").read_text()
    for path in (ROOT / "dags").glob("*.py"):
        assert f"`{path.stem}`" in text
