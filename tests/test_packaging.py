"""What is uploaded is what belongs there, shows as it is meant, and comes out the same again."""

from __future__ import annotations

import os
import re
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import pytest

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
    assert metadata.get_payload(decode=True).decode() == (release.ROOT / "README.md").read_text()
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


def test_a_release_needs_a_clean_tree_a_changelog_and_a_new_tag() -> None:
    version = kling_provider.__version__
    changelog = f"# Changelog\n\n## {version} (2026-12-01)\n\n- All.\n"
    assert release.problems(changelog, "", []) == []
    assert len(release.problems(changelog.replace(version, "9.9.9"), "", [])) == 1
    assert len(release.problems(changelog, " M README.md\n", [])) == 1
    assert len(release.problems(changelog, "", [f"v{version}"])) == 1


def test_a_version_that_is_still_made_is_not_released(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release, "__version__", "0.2.0.dev1")
    assert "0.2.0.dev1 is not a version to release." in release.problems(
        "## 0.2.0.dev1 (2026-12-01)\n", "", []
    )
