"""Parquet through pyarrow, which has no types of its own: everything unknown to the checker stays in here.

A Parquet file cannot be added to, so what is written between two saves is a file of its own, and the whole is put together
at the end, row group by row group; a run that was never saved in between writes its output once.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false, reportMissingTypeStubs=false, reportMissingModuleSource=false

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from yangfan.errors import ConfigurationError
from yangfan.operators.pipeline.rows import ROWS, Batch, Fault, Place

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


class ParquetReader:
    """Rows of a Parquet file."""

    def __init__(self, file: Path, name: str) -> None:
        try:
            import pyarrow as arrow
            import pyarrow.parquet as parquet
        except ImportError:
            raise ConfigurationError(
                'Parquet files need pyarrow: pip install "yangfan[data]"'
            ) from None
        self.total_bytes = file.stat().st_size
        self.name = name
        try:
            self._opened = parquet.ParquetFile(file)
        except (arrow.ArrowException, OSError) as error:
            raise ConfigurationError(f"{file.name} is no Parquet file: {error}") from None
        self.schema: Any = self._opened.schema_arrow
        if name not in self.schema.names:
            raise ConfigurationError(
                f"{file.name} has no column {name!r}; there are: {', '.join(self.schema.names)}"
            )
        kind = self.schema.field(name).type
        if not (arrow.types.is_string(kind) or arrow.types.is_large_string(kind)):
            raise ConfigurationError(f"the column {name!r} of {file.name} is {kind}, not string")

    def batches(self, place: Place) -> Iterator[Batch]:
        """Batches of rows; the place is the number of rows done."""
        done = place.get("row", 0)
        rows = self._opened.metadata.num_rows
        before = 0
        for group in range(self._opened.metadata.num_row_groups):
            size = self._opened.metadata.row_group(group).num_rows
            if before + size <= done:
                before += size
                continue
            at = before
            for batch in self._opened.iter_batches(ROWS, row_groups=[group]):
                ours = batch.slice(max(done - at, 0))
                first, at = max(at, done), at + batch.num_rows
                if ours.num_rows:
                    yield self._batch(ours, first, at, rows)
            before += size

    def _batch(self, batch: Any, first: int, end: int, rows: int) -> Batch:
        column = batch.column(batch.schema.get_field_index(self.name))
        texts: list[Any] = _strings(column)
        there = [position for position, text in enumerate(texts) if text is not None]
        return Batch(
            [texts[position] for position in there],
            [first + position for position in there],
            (batch, there),
            [
                Fault(first + position, f"{self.name!r} is null", None)
                for position, text in enumerate(texts)
                if text is None
            ],
            {"row": end},
            self.total_bytes * end // max(rows, 1),
        )

    def source(self, payloads: Any, position: int) -> Any:
        """The row's text; its number says where the rest is."""
        batch, there = payloads
        column = batch.column(batch.schema.get_field_index(self.name))
        return _strings(column.slice(there[position], 1))[0]


class ParquetWriter:
    """Rows into Parquet files, one for each save."""

    def __init__(self, source: ParquetReader, part: Path, place: Place) -> None:
        self._source, self._part = source, part
        self._pieces = place.get("pieces", 0)
        self._open: Any = None
        for left in part.parent.glob(f"{part.name}.*"):
            if int(left.suffix[1:]) >= self._pieces:
                left.unlink()

    def write(self, payloads: Any, positions: Sequence[int], texts: Sequence[str]) -> None:
        """Add the rows."""
        import pyarrow as arrow
        import pyarrow.parquet as parquet

        if not texts:
            return
        batch, there = payloads
        index = batch.schema.get_field_index(self._source.name)
        rows = batch.take(arrow.array([there[position] for position in positions]))
        column = arrow.array(
            [text.encode("utf-8", "replace").decode("utf-8") for text in texts],
            batch.schema.field(index).type,
        )
        if self._open is None:
            self._open = parquet.ParquetWriter(self._piece(self._pieces), self._source.schema)
        columns = [*rows.columns[:index], column, *rows.columns[index + 1 :]]
        self._open.write_batch(arrow.RecordBatch.from_arrays(columns, schema=self._source.schema))

    def save(self) -> Place:
        """What was written since the last save, as a whole file."""
        if self._open is not None:
            self._open.close()
            self._open = None
            self._pieces += 1
        return {"pieces": self._pieces}

    def finish(self, out: Path) -> None:
        """One file of all pieces."""
        import pyarrow.parquet as parquet

        self.save()
        if self._pieces == 1:
            # A run that was stopped between its end and its last breath has the file in its place already.
            if self._piece(0).exists() or not out.exists():
                self._piece(0).replace(out)
            return
        with parquet.ParquetWriter(self._part, self._source.schema) as whole:
            for number in range(self._pieces):
                piece = parquet.ParquetFile(self._piece(number))
                for batch in piece.iter_batches():
                    whole.write_batch(batch)
        self._part.replace(out)

    def close(self) -> None:
        """Let go of the piece that is open; it is written again later."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def _piece(self, number: int) -> Path:
        return self._part.with_name(f"{self._part.name}.{number}")


def _strings(column: Any) -> list[Any]:
    """The strings of a column; Parquet does not make sure that they are UTF-8."""
    try:
        return column.to_pylist()
    except UnicodeDecodeError:
        import pyarrow as arrow

        binary = column.cast(
            arrow.large_binary() if arrow.types.is_large_string(column.type) else arrow.binary()
        )
        return [
            None if text is None else text.decode("utf-8", "replace") for text in binary.to_pylist()
        ]
