"""TSV with a heading: CSV with tabs between the fields."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yangfan.datasets.writers.csv import Table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from yangfan.datasets.writers.base import Place

SUFFIX = ".tsv"


def open(part: Path, place: Place, columns: Sequence[str]) -> Table:
    """Open a file."""
    return Table(part, place, columns, "\t")
