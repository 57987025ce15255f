"""Workbooks: each sheet a heading and a table (read by python-calamine, in Rust)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from yangfan.errors import Invalid
from yangfan.plugins.knowledge_base.blocks import Block, markdown_table
from yangfan.plugins.knowledge_base.readers._zip import MAX_RATIO, MAX_TOTAL_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROWS_A_TABLE = 200
MAX_ROWS = 200_000


def read(path: Path) -> Iterator[Block]:
    """The blocks of all sheets; a sheet is a page. Long sheets become several tables with the same head.

    Raises:
        Invalid: It is no workbook.
    """
    import python_calamine

    _require_modest(path)
    try:
        workbook: Any = python_calamine.CalamineWorkbook
        with workbook.from_path(str(path)) as book:
            for number, name in enumerate(book.sheet_names, 1):
                yield from _sheet(name, number, book.get_sheet_by_name(name).to_python())
    except (python_calamine.CalamineError, OSError) as error:
        raise Invalid(
            f"the file is no workbook that can be read: {error}; save it again as .xlsx"
        ) from None


def _sheet(name: str, number: int, rows: list[list[Any]]) -> Iterator[Block]:
    if len(rows) > MAX_ROWS:
        raise Invalid(f"the sheet {name[:80]} has {len(rows)} rows; at most {MAX_ROWS} are read")
    told = [[_shown(value) for value in row] for row in rows]
    told = [row for row in told if any(row)]
    if not told:
        return
    yield Block("heading", name, 1, number)
    head, rest = told[0], told[1:]
    for start in range(0, max(len(rest), 1), ROWS_A_TABLE):
        yield Block("table", markdown_table([head, *rest[start : start + ROWS_A_TABLE]]), 0, number)


def _shown(value: Any) -> str:
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(value).strip()


def _require_modest(path: Path) -> None:
    """A workbook that unpacks to a flood is refused before it is unpacked."""
    import zipfile

    try:
        with zipfile.ZipFile(path) as package:
            for member in package.infolist():
                most = min(MAX_TOTAL_BYTES, MAX_RATIO * max(member.compress_size, 4096))
                if member.file_size > most:
                    raise Invalid(
                        f"{member.filename} in the workbook unpacks to {member.file_size} bytes; it is not read"
                    )
    except zipfile.BadZipFile as error:
        raise Invalid(f"the file is no workbook: {error}; save it again as .xlsx") from None
