"""An Excel workbook with one sheet. It cannot be added to, so a writer that was stopped begins anew; a sheet has an end, too."""
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any, Final

from yangfan.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from yangfan.datasets.writers.base import Place

SUFFIX = ".xlsx"

MAX_ROWS: Final = 1_048_575
"""Below the heading."""
MAX_CELL_CHARACTERS: Final = 32_767


def open(part: Path, place: Place, columns: Sequence[str]) -> Workbook:  # noqa: ARG001 -- the interface of writers
    """Open a file, from its beginning."""
    return Workbook(part, columns)


class Workbook:
    """Rows of cells, all of them texts: nothing becomes a formula."""

    def __init__(self, part: Path, columns: Sequence[str]) -> None:
        """Begin the sheet.

        Raises:
            ConfigurationError: The library is not here.
        """
        try:
            import xlsxwriter
        except ImportError:
            raise ConfigurationError(
                'xlsx files need xlsxwriter: pip install "yangfan[data]"'
            ) from None
        options = {"constant_memory": True, "tmpdir": str(part.parent)}
        self._book: Any = xlsxwriter.Workbook(str(part), options)
        self._book.set_properties({"created": datetime.datetime(2000, 1, 1)})
        self._sheet: Any = self._book.add_worksheet("data")
        self._columns = tuple(columns)
        self.rows = 0
        self._is_closed = False
        self._add(0, dict(zip(columns, columns, strict=True)))

    def write(self, rows: Sequence[Any]) -> None:
        """Add rows.

        Raises:
            ConfigurationError: A sheet does not hold them.
        """
        for row in rows:
            self.rows += 1
            if self.rows > MAX_ROWS:
                raise ConfigurationError(
                    f"a sheet holds {MAX_ROWS} rows, and there are more: export csv, jsonl or parquet"
                )
            self._add(self.rows, row)

    def save(self) -> Place:
        """Nothing of it lasts before its end."""
        return {}

    def finish(self) -> None:
        """The file is whole."""
        self.close()

    def close(self) -> None:
        """Let go of it; the library knows no other way than to write it."""
        if not self._is_closed:
            self._is_closed = True
            self._book.close()

    def _add(self, number: int, row: dict[str, str]) -> None:
        for column, name in enumerate(self._columns):
            text = row.get(name, "")
            if len(text) > MAX_CELL_CHARACTERS:
                raise ConfigurationError(
                    f"row {number} has a text of {len(text)} characters, a cell holds {MAX_CELL_CHARACTERS}: export csv, jsonl or parquet"
                )
            if text:
                self._sheet.write_string(number, column, text)
