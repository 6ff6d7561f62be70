"""The reference says all that the tables say, and the committed pages are what the generator gives now."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field

from kling_provider.api.__main__ import main
from kling_provider.api.capabilities import IMAGE_MODELS, MODELS, NEW_MODELS
from kling_provider.api.endpoints import ENDPOINTS
from kling_provider.api.reference.endpoints import families, pages
from kling_provider.api.reference.fields import rows_of, rules_of
from kling_provider.api.reference.writing import (
    WIDTH,
    Bullets,
    Heading,
    Paragraph,
    Table,
    to_markdown,
    to_text,
)
from kling_provider.api.requests import REQUESTS
from kling_provider.api.requests.parts import Default, Part

PAGES = Path(__file__).parents[2] / "docs" / "api"
MODEL_NAMES = sorted({*MODELS, *IMAGE_MODELS, *NEW_MODELS})


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(list(arguments)) == 0
    return capsys.readouterr().out


# --- the pages ------------------------------------------------------------------------------------------


def test_the_committed_pages_are_what_the_generator_gives_now(tmp_path: Path) -> None:
    assert main(["--markdown", str(tmp_path)]) == 0
    names = {path.name for path in tmp_path.iterdir()}
    assert {path.name for path in PAGES.iterdir()} == names
    different = [
        name for name in sorted(names) if (PAGES / name).read_text() != (tmp_path / name).read_text()
    ]
    assert different == [], "run: make reference"


def test_every_endpoint_has_its_place() -> None:
    assert sorted(name for family in families() for name in family.endpoints) == sorted(ENDPOINTS)
    assert all(family.title for family in families())
    index = to_markdown(pages()["README"])
    assert [name for name in ENDPOINTS if f"| `{name}` |" not in index] == []


def test_every_link_of_the_pages_leads_somewhere() -> None:
    for path in PAGES.glob("*.md"):
        for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text()):
            assert (path.parent / target).exists(), f"{path.name}: {target}"


# --- in a terminal --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--models",),
        ("--prices",),
        *((name,) for name in ENDPOINTS),
        *(("--model", n) for n in MODEL_NAMES),
    ],
    ids=" ".join,
)
def test_everything_fits_into_a_terminal(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    lines = told(capsys, *arguments).splitlines()
    assert lines
    assert [line for line in lines if len(line) > WIDTH] == []
    assert not any("`" in line for line in lines)


def test_the_list_names_every_endpoint(capsys: pytest.CaptureFixture[str]) -> None:
    assert set(ENDPOINTS) <= set(told(capsys).split())


@pytest.mark.parametrize("name", sorted(REQUESTS))
def test_an_endpoint_is_told_with_every_field(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = set(told(capsys, name).split())
    assert {row.name for row in rows_of(REQUESTS[name])} <= words


def test_an_endpoint_is_told_with_limits_rules_models_and_prices(capsys: pytest.CaptureFixture[str]) -> None:
    text = " ".join(told(capsys, "image2video").split())
    for said in (
        "prompt text at most 2500 characters",
        'mode text "std", always sent std, pro, 4k',
        "model_name text kling-v2-6, always sent",
        "cfg_scale number 0.5 0 to 1",
        "At most one of image_tail, masks and camera_control",
        "kling-v3 std, pro, 4k 3 to 15",
        "kling-v2-6 voice pro 1.2 video 0.168 second",
    ):
        assert said in text


def test_what_costs_nothing_or_has_no_price_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert told(capsys, "account/costs").endswith("Free.\n")
    assert told(capsys, "effects").endswith("No price is published.\n")


def test_a_model_is_told_with_its_own_prices_only(capsys: pytest.CaptureFixture[str]) -> None:
    text = told(capsys, "--model", "kling-v2-6")
    assert "kling-2.6" in text
    assert "image2video     voice   pro      1.2    video  0.168  second" in text
    assert "4k" not in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["image2vide"], "Did you mean 'image2video'?"),
        (["/v1/videos/text2video"], "Give a name."),
        (["--model", "kling-v9"], "Known: kling-v1,"),
    ],
)
def test_what_is_not_known_is_said(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    answer = capsys.readouterr()
    assert said in answer.err
    assert answer.out == ""


def test_it_needs_no_airflow() -> None:
    code = "import sys, kling_provider.api.__main__ as it; it.main([]); sys.exit('airflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "image2video" in done.stdout


def test_a_pager_that_is_closed_is_no_fault() -> None:
    command = f"{sys.executable} -m kling_provider.api --prices | true"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
    assert done.stderr == ""


# --- how fields are read --------------------------------------------------------------------------------


class Inner(Part):
    """Something inside.

    More about it.
    """

    size: Annotated[int, Field(ge=1)]


class Request(Part):
    """A request."""

    plain: str
    words: Annotated[list[Annotated[str, Field(max_length=1)]], Field(min_length=2, max_length=2)]
    either: Annotated[Literal["auto"] | int | None, Default("auto", is_sent=True)] = None
    said: Annotated[float | None, Field(ge=-1, le=1, description="How much")] = None
    inner: list[Inner] | None = None
    any: dict[str, int] | None = None


def test_fields_are_read_from_types_and_marks() -> None:
    assert [(row.name, row.kind, row.default, row.limits) for row in rows_of(Request)] == [
        ("plain", "text", "required", ""),
        ("words", "list of texts", "required", "exactly 2 items; each at most 1 character"),
        ("either", "text or whole number", '`"auto"`, always sent', "`auto`"),
        ("said", "number", "", "-1 to 1. How much"),
        ("inner", "list of objects", "", "Something inside"),
        ("inner[].size", "whole number", "required", "at least 1"),
        ("any", "object", "", ""),
    ]


def test_every_rule_over_several_fields_is_said() -> None:
    for name, model in REQUESTS.items():
        own = [
            rule
            for rule in model.__pydantic_decorators__.model_validators.values()
            if rule.info.mode == "after"
        ]
        assert all(rule.func.__doc__ for rule in own), name
        assert len(rules_of(model)) >= len(own), name


# --- how it is written ----------------------------------------------------------------------------------


BLOCKS = [
    Heading("`Title`", 1),
    Paragraph("Some `words`."),
    Bullets(["one", "two"]),
    Table(("name", "either"), [("`a`", "x|y"), ("`b`", "")]),
]


def test_markdown_keeps_code_and_escapes_bars() -> None:
    assert to_markdown(BLOCKS) == (
        "# `Title`\n\nSome `words`.\n\n- one\n- two\n\n| name | either |\n| --- | --- |\n| `a` | x\\|y |\n| `b` |  |\n"
    )


def test_text_is_plain() -> None:
    assert to_text(BLOCKS) == (
        "Title\n=====\n\nSome words.\n\n* one\n* two\n\nname  either\n----  ------\na     x|y\nb\n"
    )


def test_a_wide_table_is_broken_between_words_first() -> None:
    rows = [("a_name_that_cannot_be_broken", "some words that can be broken")]
    text = to_text([Table(("name", "words"), rows)], 45)
    assert "a_name_that_cannot_be_broken  some words that" in text
    narrow = to_text([Table(("name", "words"), rows)], 25)
    assert max(map(len, narrow.splitlines())) <= 25


def test_columns_that_say_nothing_are_left_out() -> None:
    assert Table.of(("a", "b", "c"), [("1", "", "3"), ("", "", "4")]) == Table(
        ["a", "c"], [["1", "3"], ["", "4"]]
    )
