"""CSV and TSV."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any, BinaryIO

from yangfan.errors import ConfigurationError
from yangfan.operators.pipeline.rows import (
    Batch,
    Fault,
    Place,
    closed,
    encoded,
    is_full,
    skip_line,
    skip_mark,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


class Table:
    """CSV or TSV with a heading; a field may run over several lines when it is quoted."""

    def __init__(self, file: Path, max_row_bytes: int, name: str, delimiter: str) -> None:
        self._file, self._max, self._delimiter = file, max_row_bytes, delimiter
        self.total_bytes = file.stat().st_size
        with file.open("rb") as opened:
            skip_mark(opened)
            lines = _CountedLines(opened, max_row_bytes)
            self._columns: list[str] = next(self._parsed(lines), list[str]())
            self._begin = opened.tell()
        if name not in self._columns:
            raise ConfigurationError(
                f"{file.name} has no column {name!r}; there are: {', '.join(self._columns)}"
            )
        self._index = self._columns.index(name)

    def heading(self) -> bytes:
        """The names of the columns."""
        return self._line(self._columns) + b"\n"

    def source(self, payloads: Any, position: int) -> Any:
        """A row as JSON."""
        return dict(zip(self._columns, payloads[position], strict=False))

    def encode(self, payload: Any, text: str) -> bytes:
        """The row with this text in it."""
        fields = list(payload)
        fields[self._index] = text
        return self._line(fields)

    def batches(self, place: Place) -> Iterator[Batch]:
        """Batches of rows."""
        row, offset = place.get("row", 0), place.get("offset", self._begin)
        with self._file.open("rb") as file:
            file.seek(offset)
            batch, characters = Batch(), 0
            rows = self._rows(file)
            for fields, reason in rows:
                offset = file.tell()
                if reason:
                    batch.faults.append(Fault(row, reason, fields))
                else:
                    batch.texts.append(fields[self._index])
                    batch.rows.append(row)
                    batch.payloads.append(fields)
                    characters += len(fields[self._index])
                row += 1
                if is_full(batch, characters):
                    yield closed(batch, {"row": row, "offset": offset}, offset)
                    batch, characters = Batch(), 0
            if batch.texts or batch.faults:
                yield closed(batch, {"row": row, "offset": offset}, offset)

    def _rows(self, file: BinaryIO) -> Iterator[tuple[Any, str]]:
        """The fields of each row, or why they are none; after a row that never ends, the next line is read afresh."""
        while True:
            begin = file.tell()
            try:
                for fields in self._parsed(_CountedLines(file, self._max)):
                    if fields and len(fields) <= self._index:
                        yield fields, f"the row has {len(fields)} fields of {len(self._columns)}"
                    elif fields:
                        yield fields, ""
                    begin = file.tell()
            except (csv.Error, _TooLong) as error:
                file.seek(begin)
                first = file.readline(self._max)
                if first and not first.endswith(b"\n"):
                    skip_line(file)
                yield first[:200].decode("utf-8", "replace"), str(error)
                continue
            return

    def _parsed(self, lines: _CountedLines) -> Iterator[list[str]]:
        # The module's limit holds for the whole process; ours is in _CountedLines.
        csv.field_size_limit(max(csv.field_size_limit(), self._max))
        parsed = csv.reader(lines, delimiter=self._delimiter, strict=True)
        for fields in parsed:
            lines.bytes = 0
            yield fields

    def _line(self, fields: Sequence[str]) -> bytes:
        out = io.StringIO()
        csv.writer(out, delimiter=self._delimiter, lineterminator="").writerow(fields)
        return encoded(out.getvalue())


class _TooLong(Exception):
    """A row has more bytes than are allowed."""


class _CountedLines:
    """The lines of a file as text, for as long as a row is not too long."""

    def __init__(self, file: BinaryIO, max_row_bytes: int) -> None:
        self._file, self._max = file, max_row_bytes
        self.bytes = 0

    def __iter__(self) -> Iterator[str]:
        while line := self._file.readline(self._max + 1):
            self.bytes += len(line)
            if self.bytes > self._max:
                raise _TooLong(f"the row is longer than {self._max} bytes")
            yield line.decode("utf-8", "replace")
