"""CSV with a heading, in UTF-8 with a byte order mark: without the mark Excel takes Chinese for something else."""

from __future__ import annotations

import codecs
import csv
import io
from typing import TYPE_CHECKING, Any

from yangfan.datasets.writers.base import Appended, Place

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SUFFIX = ".csv"


def open(part: Path, place: Place, columns: Sequence[str]) -> Table:
    """Open a file."""
    return Table(part, place, columns, ",")


class Table(Appended):
    """Rows of fields under a heading."""

    def __init__(self, part: Path, place: Place, columns: Sequence[str], delimiter: str) -> None:
        super().__init__(part, place)
        self._columns, self._delimiter = tuple(columns), delimiter
        if self.is_new:
            self.file.write(codecs.BOM_UTF8)
            self._write([self._columns])

    def write(self, rows: Sequence[Any]) -> None:
        """Add rows."""
        self._write([[row.get(name, "") for name in self._columns] for row in rows])
        self.rows += len(rows)

    def finish(self) -> None:
        """The file is whole."""
        self.save()
        self.close()

    def _write(self, rows: Sequence[Sequence[str]]) -> None:
        out = io.StringIO()
        csv.writer(out, delimiter=self._delimiter, lineterminator="\n").writerows(rows)
        self.file.write(out.getvalue().encode())
