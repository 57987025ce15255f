"""Comma- and tab-separated values: a table whose first row is its head; long ones become several with the same head."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from yangfan.errors import Invalid
from yangfan.plugins.knowledge_base.blocks import Block, markdown_table
from yangfan.plugins.knowledge_base.readers._text import text_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROWS_A_TABLE = 200
MAX_FIELD_CHARS = 1024 * 1024


def read(path: Path) -> Iterator[Block]:
    """The table of a file.

    Raises:
        Invalid: A field is too long, which is what a missing quote makes.
    """
    text = text_of(path)
    head = text[:65536]
    delimiter = max(",\t;|", key=lambda sign: head.count(sign))
    csv.field_size_limit(MAX_FIELD_CHARS)
    rows: list[list[str]] = []
    first: list[str] = []
    try:
        for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter):
            if not any(cell.strip() for cell in row):
                continue
            if not first:
                first = row
                continue
            rows.append(row)
            if len(rows) == ROWS_A_TABLE:
                yield Block("table", markdown_table([first, *rows]))
                rows = []
    except csv.Error as error:
        raise Invalid(
            f"the table cannot be read: {error}; look for a quote that is not closed"
        ) from None
    if rows or first:
        yield Block("table", markdown_table([first, *rows]))
