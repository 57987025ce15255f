"""JSON: one list, a row on each line, in UTF-8."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from yangfan.datasets.writers.base import Appended, Place

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SUFFIX = ".json"


def open(part: Path, place: Place, columns: Sequence[str]) -> Json:  # noqa: ARG001 -- the interface of writers
    """Open a file."""
    return Json(part, place)


class Json(Appended):
    """Elements of one list."""

    def __init__(self, part: Path, place: Place) -> None:
        super().__init__(part, place)
        if self.is_new:
            self.file.write(b"[")

    def write(self, rows: Sequence[Any]) -> None:
        """Add rows."""
        if not rows:
            return
        before = b",\n" if self.rows else b"\n"
        self.file.write(before + b",\n".join([msgspec.json.encode(row) for row in rows]))
        self.rows += len(rows)

    def finish(self) -> None:
        """The file is whole."""
        self.file.write(b"\n]\n")
        self.save()
        self.close()
