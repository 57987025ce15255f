"""Parquet through pyarrow, which has no types of its own: everything unknown to the checker stays in here.

A row group that cannot be read, because it is damaged or the footer lies about it, is one flaw that stands for its rows.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false, reportMissingTypeStubs=false, reportMissingModuleSource=false

from __future__ import annotations

import base64
import datetime
import decimal
from typing import TYPE_CHECKING, Any, Final

from yangfan.datasets.readers.base import ROWS, Batch, Flaw, Options, Place
from yangfan.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SUFFIXES = (".parquet", ".pq")

MAX_GROUP_BYTES: Final = 4 * 1024**3
"""What a row group may unpack to, by its own account; it is read in pieces."""
MAX_FOOTER_BYTES: Final = 64 * 1024 * 1024


def open(file: Path, options: Options, scratch: Path) -> Parquet:  # noqa: ARG001 -- the interface of readers
    """Open a file."""
    return Parquet(file, options)


class Parquet:
    """Rows of a Parquet file."""

    is_table = False

    def __init__(self, file: Path, options: Options) -> None:
        """Read the footer.

        Raises:
            ConfigurationError: It is no Parquet file, or has no such column.
        """
        try:
            import pyarrow as arrow
            import pyarrow.parquet as parquet
        except ImportError:
            raise ConfigurationError(
                'Parquet files need pyarrow: pip install "yangfan[data]"'
            ) from None
        self.total_bytes = file.stat().st_size
        self._broken = (arrow.ArrowException, OSError, ValueError, OverflowError, MemoryError)
        self._max = options.max_row_bytes
        try:
            self._opened = parquet.ParquetFile(
                file,
                thrift_string_size_limit=MAX_FOOTER_BYTES,
                thrift_container_size_limit=10_000_000,
                buffer_size=1 << 20,
                pre_buffer=False,
            )
            names: list[str] = list(self._opened.schema_arrow.names)
        except self._broken as error:
            raise ConfigurationError(
                f"{file.name} is no Parquet file, or its footer is damaged: {str(error)[:300]}"
            ) from None
        for column in options.columns.values():
            if column not in names:
                there = ", ".join(name[:80] for name in names[:40])
                raise ConfigurationError(
                    f"{file.name} has no column {column[:80]!r}; there are: {there}"
                )

    def batches(self, place: Place) -> Iterator[Batch]:
        """Batches of rows; the place is the number of rows done."""
        done, before = place.get("row", 0), 0
        metadata = self._opened.metadata
        total = max(metadata.num_rows, 1)
        for group in range(metadata.num_row_groups):
            facts = metadata.row_group(group)
            size = facts.num_rows
            if size < 0 or size > metadata.num_rows - before:
                yield self._lost(group, before, max(metadata.num_rows - before, 1), total, "")
                return
            if before + size > done:
                yield from self._group(group, facts, before, done, total)
            before += size

    def _group(self, group: int, facts: Any, before: int, done: int, total: int) -> Iterator[Batch]:
        size, at = facts.num_rows, before
        if not 0 <= facts.total_byte_size <= MAX_GROUP_BYTES:
            yield self._lost(group, max(before, done), size, total, "it claims too many bytes")
            return
        try:
            for read in self._opened.iter_batches(ROWS, row_groups=[group], use_threads=False):
                ours = read.slice(max(done - at, 0))
                first, at = max(at, done), at + read.num_rows
                if ours.num_rows:
                    yield self._batch(ours, first, at, total)
        except self._broken as error:
            yield self._lost(group, max(at, done), before + size, total, str(error)[:300])
            return
        if at < before + size:
            yield self._lost(group, max(at, done), before + size, total, "it has fewer rows")

    def _lost(self, group: int, first: int, end: int, total: int, why: str) -> Batch:
        """The rest of a group that cannot be read."""
        reason = f"rows {first + 1} to {end} (row group {group}) cannot be read: {why or 'the footer contradicts itself'}"
        return Batch(
            flaws=[Flaw(first + 1, reason, "", rows=max(end - first, 1))],
            place={"row": end},
            done_bytes=self.total_bytes * min(end, total) // total,
        )

    def _batch(self, read: Any, first: int, end: int, total: int) -> Batch:
        batch = Batch(place={"row": end}, done_bytes=self.total_bytes * min(end, total) // total)
        # The longest cells of a batch are within the longest row, or the batch is looked at row by row.
        is_large = read.nbytes > self._max
        for position, row in enumerate(self._rows(read)):
            number = first + position + 1
            if row is None:
                reason = "a text of the row is no UTF-8; write the file again"
                batch.flaws.append(Flaw(number, reason))
                continue
            if is_large and len(str(row)) > self._max:
                reason = f"the row has more than {self._max} characters"
                batch.flaws.append(Flaw(number, reason, str(row)[:2000]))
                continue
            batch.rows.append(
                {name: _plain(value) for name, value in row.items() if value is not None}
            )
            batch.numbers.append(number)
        return batch

    def _rows(self, read: Any) -> list[Any]:
        """Rows as objects; None for one whose bytes are no text."""
        try:
            return read.to_pylist()
        except UnicodeDecodeError:
            rows: list[Any] = []
            for position in range(read.num_rows):
                try:
                    rows += read.slice(position, 1).to_pylist()
                except UnicodeDecodeError:
                    rows.append(None)
            return rows


def _plain(value: Any) -> Any:
    """A value as JSON has it."""
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items() if item is not None}
    return _plain_scalar(value)


def _plain_scalar(value: Any) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    return float(value) if isinstance(value, decimal.Decimal) else str(value)
