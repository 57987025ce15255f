"""Excel workbooks (.xlsx): one sheet, whose first row names the columns.

The library that reads them keeps a sheet in memory, as a rectangle from the first cell to the last. So every part is read through
once before, and a workbook whose rectangle or whose parts are too large is refused: two cells far apart are enough for a bomb.
"""

from __future__ import annotations

import datetime
import re
import struct
import zipfile
import zlib
from typing import TYPE_CHECKING, Any, Final, cast

from yangfan.datasets.readers.base import ROWS, Batch, Flaw, Options, Place
from yangfan.datasets.readers.csv import require_columns
from yangfan.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SUFFIXES = (".xlsx",)

MAX_UNPACKED_BYTES: Final = 512 * 1024 * 1024
"""All parts of a workbook together."""
MAX_CELLS: Final = 12_000_000
"""Rows times columns of the largest sheet; the library needs some 40 bytes for each."""
MAX_PARTS: Final = 2000
CHUNK_BYTES: Final = 1 << 20

_CELL: Final = re.compile(rb"""\sr\s*=\s*["']([A-Z]{1,3})([0-9]{1,7})["']""")
_TAIL: Final = 64
"""Longer than any reference of a cell."""


def open(file: Path, options: Options, scratch: Path) -> Sheet:  # noqa: ARG001 -- the interface of readers
    """Open a file."""
    return Sheet(file, options)


class Sheet:
    """Rows of a sheet."""

    is_table = True

    def __init__(self, file: Path, options: Options) -> None:
        """Check the workbook and read the heading.

        Raises:
            ConfigurationError: It is no workbook, too large, or has no such sheet or column.
        """
        try:
            import python_calamine as calamine
        except ImportError:
            raise ConfigurationError(
                'xlsx files need python-calamine: pip install "yangfan[data]"'
            ) from None
        self._max = options.max_row_bytes
        self.total_bytes = file.stat().st_size
        _require_harmless(file)
        try:
            book = calamine.CalamineWorkbook.from_path(file)  # pyright: ignore[reportUnknownMemberType] -- PathLike without its type
            names = list(book.sheet_names)
            if options.sheet is not None and options.sheet not in names:
                raise ConfigurationError(
                    f"{file.name} has no sheet {options.sheet[:80]!r}; there are: {', '.join(names[:40])}"
                )
            self._sheet = (
                book.get_sheet_by_name(options.sheet)
                if options.sheet is not None
                else book.get_sheet_by_index(0)
            )
            heading = next(iter(self._sheet.iter_rows()), list[Any]())
        except (calamine.CalamineError, ValueError, OSError) as error:
            raise ConfigurationError(
                f"{file.name} cannot be read as a workbook: {str(error)[:300]}; save it again as .xlsx, or as .csv"
            ) from None
        self.columns = [_text(cell).strip() for cell in heading]
        require_columns(self.columns, options.columns)

    def batches(self, place: Place) -> Iterator[Batch]:
        """Batches of rows, each an object of its cells as texts; empty cells are left out, and empty rows are none."""
        done = place.get("row", 0)
        height = max(self._sheet.height, 1)
        batch, number = Batch(), 0
        for number, cells in enumerate(self._sheet.iter_rows()):
            if number == 0 or number <= done:  # the heading, and what an earlier attempt has read
                continue
            row = {
                name: _text(cell)
                for name, cell in zip(self.columns, cells, strict=False)
                if name and cell != ""
            }
            if sum(map(len, row.values())) > self._max:
                reason = f"the row has more than {self._max} characters"
                batch.flaws.append(Flaw(number + 1, reason, str(next(iter(row.values())))[:2000]))
            elif row:
                batch.rows.append(row)
                batch.numbers.append(number + 1)
            if len(batch) >= ROWS:
                yield self._closed(batch, number, height)
                batch = Batch()
        if batch:
            yield self._closed(batch, number, height)

    def _closed(self, batch: Batch, number: int, height: int) -> Batch:
        batch.place = {"row": number}
        batch.done_bytes = self.total_bytes * min(number + 1, height) // height
        return batch


def _text(cell: Any) -> str:
    """A cell as text: whole numbers without a point, dates as ISO 8601."""
    if isinstance(cell, str):
        return cell
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 1e15:
        return str(int(cell))
    if isinstance(cell, datetime.date | datetime.time):
        return cell.isoformat()
    return str(cell)


def _require_harmless(file: Path) -> None:
    """Read every part through once.

    Raises:
        ConfigurationError: It is no zip archive, or too much.
    """
    total = 0
    try:
        with zipfile.ZipFile(file) as parts:
            infos = parts.infolist()
            if len(infos) > MAX_PARTS:
                raise ConfigurationError(
                    f"{file.name} has {len(infos)} parts, {MAX_PARTS} are allowed: refused"
                )
            for info in infos:
                with parts.open(info) as stream:
                    is_sheet = "worksheets/" in info.filename.lower()
                    total += _read_through(cast("Any", stream), file.name, total, is_sheet=is_sheet)
    except (
        zipfile.BadZipFile,
        zlib.error,
        struct.error,
        EOFError,
        NotImplementedError,
        OSError,  # a place in the file that cannot be
        OverflowError,
        RuntimeError,
        ValueError,
    ) as error:
        raise ConfigurationError(
            f"{file.name} is no whole workbook: {error}; save it again as .xlsx"
        ) from None


def _read_through(stream: Any, name: str, before: int, *, is_sheet: bool) -> int:
    rows = columns = size = 0
    tail = b""
    while chunk := stream.read(CHUNK_BYTES):
        size += len(chunk)
        if before + size > MAX_UNPACKED_BYTES:
            raise ConfigurationError(
                f"{name} unpacks to more than {MAX_UNPACKED_BYTES} bytes: refused; save it as .csv, which has no limit"
            )
        if not is_sheet:
            continue
        if b"\0" in chunk:
            raise ConfigurationError(f"{name} has a sheet that is no UTF-8: refused")
        for letters, digits in set(_CELL.findall(tail + chunk)):
            rows, columns = max(rows, int(digits)), max(columns, _column(letters))
        tail = chunk[-_TAIL:]
    if rows * columns > MAX_CELLS:
        raise ConfigurationError(
            f"{name} has a sheet of {rows} rows and {columns} columns: refused, {MAX_CELLS} cells are allowed; save it as .csv, which has no limit"
        )
    return size


def _column(letters: bytes) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + letter - 64
    return number
