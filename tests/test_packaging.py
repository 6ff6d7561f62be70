"""What is uploaded is what belongs there, shows as it is meant, and comes out the same again."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import pytest
from readme_renderer import markdown

import kling_provider
from scripts import release

pytestmark = pytest.mark.skipif(
    not (release.ROOT / ".git").exists(), reason="what belongs in it is what git tracks"
)
#: Of a commit; any will do.
SECONDS = 1_800_000_000
NAME = f"airflow_provider_kling-{kling_provider.__version__}"
PROJECT = tomllib.loads((release.ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Source distribution and wheel."""
    sdist, wheel = release.build(tmp_path_factory.mktemp("dist"), SECONDS)
    return sdist, wheel


@pytest.fixture(scope="module")
def metadata(built: tuple[Path, Path]) -> Message:
    with zipfile.ZipFile(built[1]) as wheel:
        return message_from_bytes(wheel.read(f"{NAME}.dist-info/METADATA"))


def test_the_wheel_is_the_package_and_nothing_else(built: tuple[Path, Path]) -> None:
    about = ("METADATA", "RECORD", "WHEEL", "entry_points.txt", "top_level.txt", "licenses/LICENSE")
    expected = {name for name in release.tracked() if name.startswith("kling_provider/")}
    assert "kling_provider/py.typed" in expected
    with zipfile.ZipFile(built[1]) as wheel:
        assert set(wheel.namelist()) == expected | {f"{NAME}.dist-info/{name}" for name in about}
        assert wheel.testzip() is None


def test_the_source_distribution_is_what_git_tracks(built: tuple[Path, Path]) -> None:
    expected = {name for name in release.tracked() if not name.startswith(".")}
    assert {"README.md", "LICENSE", "CHANGELOG.md", "pyproject.toml", "constraints/newest.txt"} <= expected
    with tarfile.open(built[0]) as sdist:
        files = {member.name.removeprefix(f"{NAME}/") for member in sdist.getmembers() if member.isfile()}
    written = {
        name for name in files if name == "PKG-INFO" or name.startswith("airflow_provider_kling.egg-info/")
    }
    assert files - written == expected


@pytest.fixture
def strict_umask() -> Iterator[None]:
    """The machine of somebody who lets nobody read."""
    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.mark.usefixtures("strict_umask")
def test_the_same_commit_gives_the_same_bytes(built: tuple[Path, Path], tmp_path: Path) -> None:
    again = release.build(tmp_path / "again", SECONDS)
    assert [path.name for path in again] == [path.name for path in built]
    assert [release.digest(path) for path in again] == [release.digest(path) for path in built]


def test_everything_in_it_is_of_the_time_of_the_commit(built: tuple[Path, Path]) -> None:
    with tarfile.open(built[0]) as sdist:
        assert {member.mtime for member in sdist.getmembers()} == {SECONDS}
        assert {member.mode for member in sdist.getmembers()} <= {0o644, 0o755}
        assert {(member.uid, member.gid, member.uname) for member in sdist.getmembers()} == {(0, 0, "")}


def test_the_index_would_show_it(built: tuple[Path, Path]) -> None:
    assert release.check_metadata(built).count("PASSED") == len(built)


def test_the_metadata_says_what_is_needed(metadata: Message) -> None:
    assert metadata["Name"] == "airflow-provider-kling"
    assert metadata["Version"] == kling_provider.__version__
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == PROJECT["requires-python"]
    assert metadata["Description-Content-Type"] == "text/markdown"
    readme = (release.ROOT / "README.md").read_text()
    if address := release.repository():
        readme = release.with_absolute_links(readme, address)
    assert metadata.get_payload(decode=True).decode() == readme
    assert set(metadata.get_all("Provides-Extra", [])) == set(PROJECT["optional-dependencies"])
    needed = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert len(needed) == len(PROJECT["dependencies"])


def test_every_dependency_has_a_lowest_version_that_is_tested() -> None:
    shipped = ("simulator", "s3")
    wanted = [
        *PROJECT["dependencies"],
        *(line for name in shipped for line in PROJECT["optional-dependencies"][name]),
    ]
    tested = dict(
        re.findall(
            r"^([\w.-]+)==([\w.]+)", (release.ROOT / "constraints/lowest.txt").read_text(), re.MULTILINE
        )
    )
    for line in wanted:
        name, lowest = re.fullmatch(r"([\w.-]+)(?:\[[\w,]+\])?>=([\w.]+)", line).groups()  # type: ignore[union-attr]
        assert tested[name.lower()].startswith(lowest), f"{line}, but {tested[name.lower()]} is tested"


def test_the_index_gets_links_and_pictures_that_lead_into_the_repository() -> None:
    at = "https://git.example/kling"
    written = release.with_absolute_links((release.ROOT / "README.md").read_text(), at)
    page = markdown.render(written)
    leads = re.findall(r"""\b(?:src|href)=["']?([^"'\s>]+)""", page)
    # the renderer's own marks of the headings are on the same page
    leads = [lead for lead in leads if not lead.startswith("#user-content-")]
    assert [lead for lead in leads if not re.match("https?://", lead)] == []
    tag = f"v{kling_provider.__version__}"
    assert f"{at}/raw/{tag}/docs/images/ui-tab.png" in leads
    assert {f"{at}/blob/{tag}/{path}" for path in ("README.zh-CN.md", "docs/matrix.md", "dags/")} <= set(
        leads
    )
    assert f"{at}/blob/{tag}/README.md#the-connection" in leads
    assert "https://kling.ai/dev" in leads
    for path in (lead.removeprefix(f"{at}/blob/{tag}/").partition("#")[0] for lead in leads):
        assert path.startswith("https://") or (release.ROOT / path).exists(), path


def test_code_of_the_readme_stays_as_it_is() -> None:
    readme = "```python\na[0](b)\n```\n[c](d.md)\n"
    assert release.with_absolute_links(readme, "https://git.example/kling") == (
        f"```python\na[0](b)\n```\n[c](https://git.example/kling/blob/v{kling_provider.__version__}/d.md)\n"
    )


@pytest.mark.parametrize("state", [[" M README.md"], []])
def test_only_what_is_committed_is_built(
    state: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    built = []
    monkeypatch.setattr(release, "changed", lambda: state)
    monkeypatch.setattr(release, "build", lambda folder, seconds: built.append(seconds) or [])
    monkeypatch.setattr(release.shutil, "rmtree", lambda *_, **__: None)
    monkeypatch.setattr(sys, "argv", ["release", "build"])
    assert release.main() == bool(state)
    assert built == ([] if state else [release.commit_time()])
    assert (
        "PROBLEM: These files are not as they were committed:\n M README.md" in capsys.readouterr().out
    ) == bool(state)


def test_what_is_changed_is_what_git_tracks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def git(*command: str) -> None:
        subprocess.run(
            ["git", "-c", "user.name=a", "-c", "user.email=a@b.example", *command], cwd=tmp_path, check=True
        )

    monkeypatch.setattr(release, "ROOT", tmp_path)
    (tmp_path / "a").write_text("1")
    git("init", "--quiet")
    git("add", "a")
    git("commit", "--quiet", "--message", "a")
    (tmp_path / "b").write_text("not tracked")
    assert release.changed() == []
    (tmp_path / "a").write_text("2")
    assert release.changed() == [" M a"]


def test_a_release_needs_a_clean_tree_a_changelog_a_new_tag_and_an_address() -> None:
    version = kling_provider.__version__
    changelog = f"# Changelog\n\n## {version} (2026-12-01)\n\n- All.\n"
    at = "https://git.example/kling"
    assert release.problems(changelog, "", [], at) == []
    assert len(release.problems(changelog.replace(version, "9.9.9"), "", [], at)) == 1
    assert len(release.problems(changelog, " M README.md\n", [], at)) == 1
    assert len(release.problems(changelog, "", [f"v{version}"], at)) == 1
    (problem,) = release.problems(changelog, "", [], "")
    assert problem.startswith("pyproject.toml names no [project.urls] Repository")


def test_a_version_that_is_still_made_is_not_released(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release, "__version__", "0.2.0.dev1")
    assert "0.2.0.dev1 is not a version to release." in release.problems(
        "## 0.2.0.dev1 (2026-12-01)\n", "", [], ""
    )
