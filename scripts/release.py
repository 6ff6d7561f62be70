"""``make build`` and ``make release-check``: what is uploaded, made so that anybody gets the same bytes again.

Both build from a copy of the files that git tracks, with the time of the last commit as the time of everything.
docs/releasing.md is the recipe they belong to.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import urllib.parse
from collections.abc import Sequence
from pathlib import Path

from kling_provider import __version__

ROOT = Path(__file__).parent.parent
DIST = ROOT / "dist"
#: Code of Markdown, in which nothing is a link; and a link or a picture.
_CODE = re.compile(r"(^```.*?^```)", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")


class ReleaseError(RuntimeError):
    """Nothing could be built; the message carries what was printed."""


def _output(command: Sequence[str | Path], **options: str | Path | int | dict[str, str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    if done.returncode:
        raise ReleaseError(f"{' '.join(map(str, command))} failed:\n{done.stdout}{done.stderr}")
    return str(done.stdout)


def tracked() -> list[str]:
    """The files that git tracks, as paths from the root."""
    names = _output(["git", "ls-files", "-z"], cwd=ROOT).split("\0")
    return [name for name in names if name and (ROOT / name).exists()]


def changed() -> list[str]:
    """The tracked files that are not as the last commit has them, as ``git status`` tells them."""
    return _output(["git", "status", "--porcelain", "--untracked-files=no"], cwd=ROOT).splitlines()


def commit_time() -> int:
    """When the last commit was made, in seconds since 1970."""
    return int(_output(["git", "log", "-1", "--format=%ct"], cwd=ROOT))


def repository() -> str:
    """The address at which everybody finds the repository; empty as long as pyproject.toml names none."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return str(project.get("urls", {}).get("Repository", "")).rstrip("/")


def with_absolute_links(readme: str, address: str) -> str:
    """The README as the index can show it: its links and pictures lead into the repository, at this version's tag.

    :param readme: its Markdown, in which they are paths.
    :param address: of the repository. Files are found below it as at GitHub.
    """

    def absolute(found: re.Match[str]) -> str:
        picture, text, path = found.groups()
        base = f"{address}/{'raw' if picture else 'blob'}/v{__version__}/README.md"
        return f"{picture}[{text}]({urllib.parse.urljoin(base, path)})"

    parts = _CODE.split(readme)
    return "".join(part if number % 2 else _LINK.sub(absolute, part) for number, part in enumerate(parts))


def build(folder: Path, seconds: int) -> list[Path]:
    """Build the source distribution, and the wheel from it; gives both.

    :param folder: where they go; made if need be.
    :param seconds: the time of everything in them, since 1970.
    :raises ReleaseError: with what the build has printed.
    """
    environment = dict(os.environ) | {"SOURCE_DATE_EPOCH": str(seconds)}
    with tempfile.TemporaryDirectory(prefix="kling-build-") as scratch:
        for name in tracked():
            target = Path(scratch, name)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, target)
            target.chmod(mode_of((ROOT / name).stat().st_mode))
        if address := repository():
            readme = Path(scratch, "README.md")
            readme.write_text(with_absolute_links(readme.read_text(), address))
        command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), scratch]
        _output(
            command, env=environment, cwd=scratch, umask=0o022
        )  # the wheel keeps the modes of what is written
    sdist, wheel = (next(folder.glob(kind)) for kind in ("*.tar.gz", "*.whl"))
    strip(sdist, seconds)
    return [sdist, wheel]


def mode_of(mode: int) -> int:
    """A file's mode without what the builder's umask has added or taken."""
    return 0o755 if mode & 0o100 else 0o644


def strip(sdist: Path, seconds: int) -> None:
    """Write a source distribution anew without who built it and when; setuptools does this for wheels only.

    :param seconds: the time of everything in it, since 1970.
    """
    packed = io.BytesIO()
    with (
        tarfile.open(sdist) as old,
        gzip.GzipFile(filename="", mode="wb", fileobj=packed, mtime=seconds) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as new,
    ):
        for member in sorted(old.getmembers(), key=lambda member: member.name):
            if content := old.extractfile(member):
                info = tarfile.TarInfo(member.name)
                info.size, info.mode, info.mtime = member.size, mode_of(member.mode), seconds
                new.addfile(info, content)
    sdist.write_bytes(packed.getvalue())


def check_metadata(files: Sequence[Path]) -> str:
    """Have the metadata and the rendered README checked as the index checks them; gives what was said.

    :raises ReleaseError: if they would not be shown as they are meant.
    """
    return _output([sys.executable, "-m", "twine", "--no-color", "check", "--strict", *files])


def problems(changelog: str, status: str, tags: Sequence[str], address: str) -> list[str]:
    """What speaks against a release of this version.

    :param changelog: its text.
    :param status: ``git status --porcelain``.
    :param tags: all tags.
    :param address: of the repository; empty if it is not known.
    """
    heading = re.escape(__version__)
    rules = {
        f"{__version__} is not a version to release.": re.fullmatch(r"\d+\.\d+\.\d+", __version__),
        f"CHANGELOG.md has no heading '## {__version__} (YYYY-MM-DD)'.": re.search(
            rf"^## {heading} \(\d{{4}}-\d\d-\d\d\)$", changelog, re.MULTILINE
        ),
        "There are changes that are not committed.": not status.strip(),
        f"The tag v{__version__} is there already.": f"v{__version__}" not in tags,
        "pyproject.toml names no [project.urls] Repository: the README's links and pictures would lead nowhere on the "
        "index.": bool(address),
    }
    return [text for text, holds in rules.items() if not holds]


def check() -> list[str]:
    """Everything that can be known before a release."""
    found = problems(
        (ROOT / "CHANGELOG.md").read_text(),
        _output(["git", "status", "--porcelain"], cwd=ROOT),
        _output(["git", "tag"], cwd=ROOT).split(),
        repository(),
    )
    with tempfile.TemporaryDirectory(prefix="kling-release-") as scratch:
        one, other = (build(Path(scratch, name), commit_time()) for name in ("one", "other"))
        for path, again in zip(one, other, strict=True):
            print(f"{digest(path)}  {path.name}")
            if path.read_bytes() != again.read_bytes():
                found.append(f"{path.name}: two builds of one commit differ.")
        print(check_metadata(one))
    return found


def digest(path: Path) -> str:
    """The sha256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main() -> int:
    """Build, or check."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("build", "check"))
    try:
        if parser.parse_args().what == "build":
            if files := changed():
                raise ReleaseError("\n".join(["These files are not as they were committed:", *files]))
            shutil.rmtree(DIST, ignore_errors=True)
            for path in build(DIST, commit_time()):
                print(f"{digest(path)}  {path.relative_to(ROOT)}")
            return 0
        found = check()
    except ReleaseError as error:
        found = [str(error)]
    for problem in found:
        print(f"PROBLEM: {problem}")
    print("Not ready." if found else f"Version {__version__} can be released.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
