"""What ``make docs`` adds to the pages of ``docs/``; MkDocs calls it (``hooks`` in mkdocs.yml).

GitHub shows the repository, the site shows its pages, and a link must be right in both. So pages link as GitHub needs
it, by path; here the paths become those of the site.
"""

from __future__ import annotations

import ast
import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from scripts.docs_python import python_pages

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
DAGS = "dags/index.md"
CHINESE = "index.zh-CN.md"
#: Files outside docs/ that are pages, or parts of pages: where they are -> where they are on the site.
OUTSIDE = {
    "README.md": "index.md",
    "README.zh-CN.md": CHINESE,
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "benchmarks/results/bench.json": "benchmarks/bench.json",
    "benchmarks/results/waiting.png": "benchmarks/waiting.png",
}
#: A link or a picture of Markdown that is neither on the web nor on the same page.
_LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)#\s]+)")
#: Code, in which nothing is a link.
_CODE = re.compile(r"(^```.*?^```|`[^`\n]+`)", re.MULTILINE | re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are not in docs/.

    :param files: of docs/.
    :param config: MkDocs' own.
    """
    from mkdocs.structure.files import File

    for path, page in OUTSIDE.items():
        files.append(File.generated(config, page, content=(ROOT / path).read_bytes()))
    for page, text in {**dag_pages(), **python_pages()}.items():
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn the paths of the repository into those of the site.

    :param markdown: of the page.
    :param page: whose links they are.
    :param config: MkDocs' own.
    :param files: all of the site.
    """
    return with_links_of_the_site(markdown, page.file.src_uri)


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Say which language a page is in: browsers choose the shapes of characters by it.

    :param output: the page as HTML.
    :param page: which one.
    :param config: MkDocs' own.
    """
    return output.replace('lang="en"', 'lang="zh-Hans"', 1) if page.file.src_uri == CHINESE else output


def with_links_of_the_site(markdown: str, page: str) -> str:
    """Give a page with its links as they are on the site.

    :param markdown: as it is in the repository.
    :param page: its path on the site.
    """
    here = repository_path(page)

    def link(found: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(here), found[1]))
        return quote(posixpath.relpath(site_path(target), posixpath.dirname(page)))

    parts = _CODE.split(markdown)
    return "".join(part if number % 2 else _LINK.sub(link, part) for number, part in enumerate(parts))


def repository_path(page: str) -> str:
    """Where a page of the site comes from.

    :param page: its path on the site.
    """
    return next((path for path, at in OUTSIDE.items() if at == page), f"docs/{page}")


def site_path(path: str) -> str:
    """Where a file of the repository is on the site.

    :param path: in the repository.
    """
    if path == "dags":
        return DAGS
    if path in OUTSIDE:
        return OUTSIDE[path]
    return path.removeprefix("docs/")


def dag_pages() -> dict[str, str]:
    """The example DAGs on one page: its path on the site -> Markdown."""
    text = ["# Example DAGs\n\nThe files of the folder `dags/`, as they are.\n"]
    for path in sorted((ROOT / "dags").glob("*.py")):
        source = path.read_text(encoding="utf-8")
        summary = (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]
        text.append(f"\n## {path.stem}\n\n{summary}\n\n```python\n{source}```\n")
    return {DAGS: "".join(text)}
