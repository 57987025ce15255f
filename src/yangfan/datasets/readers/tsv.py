"""TSV with a heading: CSV with tabs between the fields."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yangfan.datasets.readers.base import Options, TextFile
from yangfan.datasets.readers.csv import Table

if TYPE_CHECKING:
    from pathlib import Path

SUFFIXES = (".tsv", ".tab")


def open(file: Path, options: Options, scratch: Path) -> Table:
    """Open a file."""
    return Table(TextFile(file, options, scratch), options, options.delimiter or "\t")
