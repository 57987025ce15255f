"""What a document is made of once it has been read, whatever it was."""

from __future__ import annotations

from typing import Literal

import msgspec

Kind = Literal["heading", "text", "table"]


class Block(msgspec.Struct, frozen=True, array_like=True):
    """A piece of a document that belongs together.

    Attributes:
        kind: What it is.
        text: Its words; a table in Markdown, the first row being its head.
        level: Of a heading, from 1.
        page: Page, slide or sheet that it stands on, from 1; 0 if there are none.
    """

    kind: Kind
    text: str
    level: int = 0
    page: int = 0


def markdown_table(rows: list[list[str]]) -> str:
    """Rows as a Markdown table; cells are put on one line, short rows filled up."""
    width = max(map(len, rows), default=0)
    lines = [
        "| " + " | ".join([_cell(cell) for cell in row] + [""] * (width - len(row))) + " |"
        for row in rows
    ]
    if lines:
        lines.insert(1, "|" + " --- |" * width)
    return "\n".join(lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
