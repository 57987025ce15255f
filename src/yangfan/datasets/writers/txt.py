"""Plain text in UTF-8: a text after the other, each with a line end. A text of several lines stays one of several lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from yangfan.datasets.writers.base import Appended, Place

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SUFFIX = ".txt"


def open(part: Path, place: Place, columns: Sequence[str]) -> Texts:  # noqa: ARG001 -- the interface of writers
    """Open a file."""
    return Texts(part, place)


class Texts(Appended):
    """A text on each line, or on several."""

    def write(self, rows: Sequence[Any]) -> None:
        """Add rows: texts."""
        self.file.write("".join(f"{text}\n" for text in rows).encode())
        self.rows += len(rows)

    def finish(self) -> None:
        """The file is whole."""
        self.save()
        self.close()
