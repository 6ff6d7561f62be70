"""The documentation is true: every block runs, every name it lists exists."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from kling_provider import exceptions
from kling_provider.api.errors import KLING_CODES, Reaction
from kling_provider.hooks import config
from kling_provider.simulator.server import SimulatorServer
from scripts import chaos

ROOT = Path(__file__).parent.parent
PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")),
]
PYTHON_BLOCKS = 10


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


def test_every_link_to_a_file_leads_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", (ROOT / page).read_text()):
            assert ((ROOT / page).parent / target).exists(), f"{page}: {target}"


def test_the_readme_names_every_example_dag() -> None:
    text = (ROOT / "README.md").read_text()
    for path in (ROOT / "dags").glob("*.py"):
        assert f"`{path.stem}`" in text
