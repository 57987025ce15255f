"""Which format a file has, and who reads and writes it: JSON lines, CSV and TSV, Parquet, plain text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yangfan.errors import ConfigurationError
from yangfan.operators.pipeline.lines import JsonRows, Lines, TextRows
from yangfan.operators.pipeline.rows import Bytes, Place, Reader, Writer
from yangfan.operators.pipeline.table import Table

if TYPE_CHECKING:
    from pathlib import Path

SUFFIXES = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".txt": "txt",
    ".parquet": "parquet",
}


def format_of(file: Path) -> str:
    """The format that a file's name says.

    Raises:
        ConfigurationError: It says none that is known.
    """
    suffix = file.suffix.lower()
    if suffix not in SUFFIXES:
        raise ConfigurationError(
            f"{file.name} has no format that is known by its name; there are: {', '.join(SUFFIXES)}"
        )
    return SUFFIXES[suffix]


def reader(file: Path, name: str, max_row_bytes: int) -> Reader:
    """The reader of a file.

    Args:
        file: What to read.
        name: The column or key that holds the text.
        max_row_bytes: Longer rows are faults.

    Raises:
        ConfigurationError: There is no such file, or no such column.
    """
    if not file.is_file():
        raise ConfigurationError(f"there is no file {file}")
    kind = format_of(file)
    if kind == "parquet":
        from yangfan.operators.pipeline.parquet import ParquetReader

        return ParquetReader(file, name)
    if kind == "jsonl":
        return Lines(file, max_row_bytes, JsonRows(name))
    if kind == "txt":
        return Lines(file, max_row_bytes, TextRows())
    return Table(file, max_row_bytes, name, "\t" if kind == "tsv" else ",")


def writer(source: Reader, kind: str, part: Path, place: Place) -> Writer:
    """The writer of the format of `source`, which goes on at `place` of the file `part`."""
    if kind == "parquet":
        from yangfan.operators.pipeline.parquet import ParquetReader, ParquetWriter

        assert isinstance(source, ParquetReader)
        return ParquetWriter(source, part, place)
    assert isinstance(source, Lines | Table)
    return Bytes(part, place, source.encode, source.heading())
