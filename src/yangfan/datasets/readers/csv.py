"""CSV with a heading; a field may run over several lines when it is quoted.

A quote that never closes swallows no rows: where the parser runs into trouble, or into the longest row, the line that the row began
in is a flaw, and the next line is read afresh.
"""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from yangfan.datasets.readers.base import (
    BYTES,
    ROWS,
    Batch,
    Flaw,
    Options,
    Place,
    TextFile,
    line_too_long,
)
from yangfan.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SUFFIXES = (".csv",)

MAX_COLUMNS: Final = 1000


def open(file: Path, options: Options, scratch: Path) -> Table:
    """Open a file."""
    return Table(TextFile(file, options, scratch), options, options.delimiter or ",")


class Table:
    """Rows of fields under a heading."""

    is_table = True

    def __init__(self, text: TextFile, options: Options, delimiter: str) -> None:
        """Read the heading.

        Raises:
            ConfigurationError: There is none, or a delimiter that cannot be one.
        """
        self._text, self._max, self._delimiter = text, options.max_row_bytes, delimiter
        self.total_bytes = text.total_bytes
        if len(delimiter) != 1 or delimiter in '"\r\n':
            raise ConfigurationError(
                f"the delimiter must be one character, and no quote, got {delimiter[:20]!r}"
            )
        with text.path.open("rb") as file:
            file.seek(text.begin)
            lines = _Lines(file, text, self._max, text.begin, 1)
            try:
                names = next(self._parsed(lines), list[str]())
            except (csv.Error, ValueError, _TooLong) as error:
                raise ConfigurationError(f"the heading cannot be read: {error}") from None
            self._begin, self._first_line = lines.offset, lines.number
        self.columns = [name.strip() for name in names]
        require_columns(self.columns, options.columns)

    def batches(self, place: Place) -> Iterator[Batch]:
        """Batches of rows, each an object of its fields; empty ones are left out."""
        number, offset = place.get("line", self._first_line), place.get("offset", self._begin)
        with self._text.path.open("rb") as file:
            file.seek(offset)
            lines = _Lines(file, self._text, self._max, offset, number)
            batch, begin = Batch(), offset
            for number, fields, reason in self._rows(lines):
                if reason:
                    batch.flaws.append(Flaw(number, reason, fields))
                elif fields:
                    self._append(batch, number, fields)
                if len(batch) >= ROWS or lines.offset - begin >= BYTES:
                    batch.place = {"line": lines.number, "offset": lines.offset}
                    batch.done_bytes = begin = lines.offset
                    yield batch
                    batch = Batch()
            if batch:
                batch.place = {"line": lines.number, "offset": lines.offset}
                batch.done_bytes = lines.offset
                yield batch

    def _append(self, batch: Batch, number: int, fields: list[str]) -> None:
        if len(fields) != len(self.columns):
            reason = f"the row has {len(fields)} fields, the heading has {len(self.columns)}"
            batch.flaws.append(Flaw(number, reason, self._delimiter.join(fields)[:2000]))
            return
        batch.rows.append(
            {name: cell for name, cell in zip(self.columns, fields, strict=True) if name and cell}
        )
        batch.numbers.append(number)

    def _rows(self, lines: _Lines) -> Iterator[tuple[int, Any, str]]:
        """Line, fields and "" of each row; line, beginning and reason of what is none."""
        while True:
            number, offset = lines.number, lines.offset
            try:
                for fields in self._parsed(lines):
                    yield number, fields, ""
                    number, offset = lines.number, lines.offset
            except (csv.Error, ValueError, _TooLong) as error:
                shown = lines.skip_one(number, offset)
                yield number, shown, _why(error)
                continue
            return

    def _parsed(self, lines: _Lines) -> Iterator[list[str]]:
        # The module's limit holds for the whole process; ours is in _Lines.
        csv.field_size_limit(max(csv.field_size_limit(), self._max))
        for fields in csv.reader(lines, delimiter=self._delimiter, strict=True):
            lines.row_bytes = 0
            yield fields


def require_columns(names: list[str], wanted: dict[str, str]) -> None:
    """Check the heading of a table against the columns that somebody asked for.

    Raises:
        ConfigurationError: There is no heading, a name comes twice, or one that was asked for is not there.
    """
    if not any(names):
        raise ConfigurationError("the first row must name the columns, and is empty")
    if len(names) > MAX_COLUMNS:
        raise ConfigurationError(f"the table has {len(names)} columns, {MAX_COLUMNS} are allowed")
    seen = set[str]()
    for name in filter(None, names):
        if name in seen:
            raise ConfigurationError(f"the first row names the column {name[:80]!r} twice")
        seen.add(name)
    for column in wanted.values():
        if column not in seen:
            there = ", ".join(name[:80] for name in names[:40])
            raise ConfigurationError(f"there is no column {column[:80]!r}; there are: {there}")


def _why(error: Exception) -> str:
    text = str(error)
    if isinstance(error, csv.Error):
        return f"the quotes of the row do not match ({text}); double a quote that belongs to a text"
    return text


class _TooLong(Exception):
    """A row has more bytes than are allowed."""


class _Lines:
    """The lines of a file as text, for as long as a row is not too long.

    Attributes:
        offset: Where the next line begins.
        number: Of the next line, from 1.
        row_bytes: Of the row so far.
    """

    def __init__(
        self, file: BinaryIO, text: TextFile, max_row_bytes: int, offset: int, number: int
    ) -> None:
        self._file, self._text, self._max = file, text, max_row_bytes
        self.offset, self.number, self.row_bytes = offset, number, 0

    def __iter__(self) -> Iterator[str]:
        while line := self._file.readline(self._max + 1):
            self.offset += len(line)
            self.number += 1
            self.row_bytes += len(line)
            if self.row_bytes > self._max:
                raise _TooLong(f"the row has more than {self._max} bytes; is a quote missing?")
            yield self._text.text(line)

    def skip_one(self, number: int, offset: int) -> str:
        """Go to the line behind the one that begins at `offset`, and show that one."""
        self._file.seek(offset)
        line = self._file.readline(self._max + 1)
        self.offset, self.number, self.row_bytes = offset + len(line), number + 1, 0
        if len(line) > self._max and not line.endswith(b"\n"):
            self.offset += line_too_long(self._file, line, self._max)[0]
        return self._text.shown(line)
