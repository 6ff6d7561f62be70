"""Headings, paragraphs, bullets and tables as Markdown, or as text for a terminal.

Text is Markdown with single backticks around code, which a terminal is spared.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

#: Columns of a terminal that a page is laid out for.
WIDTH = 100
_GAP = "  "
_NARROWEST = 10


@dataclass(frozen=True, slots=True)
class Heading:
    """A title; ``level`` 1 is the page's."""

    text: str
    level: int = 2


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Sentences."""

    text: str


@dataclass(frozen=True, slots=True)
class Bullets:
    """Short sentences that stand for themselves."""

    items: Sequence[str]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells under a header; every row has as many cells as the header."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    @classmethod
    def of(cls, header: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
        """A table without the columns that say nothing."""
        filled = [number for number in range(len(header)) if any(row[number] for row in rows)]
        return cls(
            [header[number] for number in filled], [[row[number] for number in filled] for row in rows]
        )


Block = Heading | Paragraph | Bullets | Table


def in_code(names: Iterable[str]) -> str:
    """Names in a row, as code."""
    return ", ".join(f"`{name}`" for name in names)


def to_markdown(blocks: Iterable[Block]) -> str:
    """Write a page."""
    return "\n\n".join(_markdown(block) for block in blocks) + "\n"


def to_text(blocks: Iterable[Block], width: int = WIDTH) -> str:
    """Write for a terminal of so many columns."""
    return "\n\n".join("\n".join(_text(block, width)) for block in blocks) + "\n"


def _markdown(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"{'#' * level} {text}"
        case Paragraph(text):
            return text
        case Bullets(items):
            return "\n".join(f"- {item}" for item in items)
        case Table(header, rows):
            lines = [header, ["---"] * len(header), *rows]
            return "\n".join(
                f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines
            )


def _text(block: Block, width: int) -> Iterator[str]:
    match block:
        case Heading(text, level):
            plain = _plain(text)
            yield plain
            yield ("=" if level < 3 else "-") * len(plain)
        case Paragraph(text):
            yield from textwrap.wrap(_plain(text), width, break_on_hyphens=False)
        case Bullets(items):
            for item in items:
                yield from textwrap.wrap(
                    _plain(item), width, initial_indent="* ", subsequent_indent="  ", break_on_hyphens=False
                )
        case Table(header, rows):
            cells = [[_plain(cell) for cell in row] for row in rows]
            widths = _widths([header, *cells], width)
            for row in (header, ["-" * each for each in widths], *cells):
                yield from _lines(row, widths)


def _plain(text: str) -> str:
    return text.replace("`", "")


def _widths(rows: Sequence[Sequence[str]], width: int) -> list[int]:
    """As wide as the longest cell; where that is too much, the widest columns that can be broken between words."""
    columns = list(zip(*rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    words = [max((len(word) for cell in column for word in cell.split()), default=0) for column in columns]
    while sum(widths) + len(_GAP) * (len(widths) - 1) > width and max(widths) > _NARROWEST:
        room = [each if each > word else 0 for each, word in zip(widths, words, strict=True)]
        widths[room.index(max(room)) if any(room) else widths.index(max(widths))] -= 1
    return widths


def _lines(row: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    wrapped = [
        textwrap.wrap(cell, each, break_on_hyphens=False) for cell, each in zip(row, widths, strict=True)
    ]
    for number in range(max(map(len, wrapped), default=0)):
        parts = (lines[number] if number < len(lines) else "" for lines in wrapped)
        yield _GAP.join(f"{part:<{each}}" for part, each in zip(parts, widths, strict=True)).rstrip()
