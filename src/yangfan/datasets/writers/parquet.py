"""Parquet: a column of texts for each field.

A Parquet file cannot be added to, so what is written between two saves is a file of its own, and the whole is put together at the
end, row group by row group.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false, reportMissingTypeStubs=false, reportMissingModuleSource=false

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from yangfan.errors import ConfigurationError
from yangfan.hub.disk import sync

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from yangfan.datasets.writers.base import Place

SUFFIX = ".parquet"


def open(part: Path, place: Place, columns: Sequence[str]) -> Parquet:
    """Open a file."""
    return Parquet(part, place, columns)


class Parquet:
    """Rows into Parquet files, one for each save."""

    def __init__(self, part: Path, place: Place, columns: Sequence[str]) -> None:
        """Begin, or go on.

        Raises:
            ConfigurationError: The library is not here.
        """
        try:
            import pyarrow as arrow
        except ImportError:
            raise ConfigurationError(
                'Parquet files need pyarrow: pip install "yangfan[data]"'
            ) from None
        self._schema: Any = arrow.schema([(name, arrow.string()) for name in columns])
        self._part, self._columns = part, tuple(columns)
        self._pieces, self.rows = int(place.get("pieces", 0)), int(place.get("rows", 0))
        self._open: Any = None
        for left in part.parent.glob(f"{part.name}.*"):
            if not left.suffix[1:].isdecimal() or int(left.suffix[1:]) >= self._pieces:
                left.unlink()

    def write(self, rows: Sequence[Any]) -> None:
        """Add rows; an empty text that is not there is null."""
        import pyarrow as arrow
        import pyarrow.parquet as parquet

        if not rows:
            return
        if self._open is None:
            self._open = parquet.ParquetWriter(
                self._piece(self._pieces), self._schema, compression="zstd"
            )
        table = arrow.table(
            {name: [row.get(name) for row in rows] for name in self._columns}, self._schema
        )
        self._open.write_table(table)
        self.rows += len(rows)

    def save(self) -> Place:
        """What was written since the last save, as a whole file."""
        if self._open is not None:
            self._open.close()
            self._open = None
            sync(self._piece(self._pieces))
            self._pieces += 1
        return {"pieces": self._pieces, "rows": self.rows}

    def finish(self) -> None:
        """One file of all pieces."""
        import pyarrow.parquet as parquet

        self.save()
        with parquet.ParquetWriter(self._part, self._schema, compression="zstd") as whole:
            for number in range(self._pieces):
                piece = parquet.ParquetFile(self._piece(number))
                for group in range(piece.metadata.num_row_groups):
                    whole.write_table(piece.read_row_group(group))
        sync(self._part)
        for number in range(self._pieces):
            self._piece(number).unlink()

    def close(self) -> None:
        """Let go of the file."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def _piece(self, number: int) -> Path:
        return self._part.with_name(f"{self._part.name}.{number}")
