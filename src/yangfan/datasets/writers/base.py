"""What writing a file of rows is, whatever its format.

A file of this folder offers two names:

    SUFFIX      how the name of its file ends
    def open(part: Path, place: Place, columns: Sequence[str]) -> Writer

A writer adds rows to the file `part`. What `save` returned last is the place from which another writer of the same file goes on,
and what the first one wrote behind that place is gone; {} is the beginning. Equal rows make equal files, byte for byte.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

Place = dict[str, Any]
"""Where to go on: JSON."""


class Writer(Protocol):
    """Rows into a file."""

    def write(self, rows: Sequence[Any]) -> None:
        """Add rows: JSON values; objects of texts under `columns` where the format is a table."""
        ...

    def save(self) -> Place:
        """Make everything written durable, and tell where it ends."""
        ...

    def finish(self) -> None:
        """The file is whole."""
        ...

    def close(self) -> None:
        """Let go of the file; nothing more is written."""
        ...


class Appended:
    """A file that grows at its end, and is cut to where it was saved last."""

    def __init__(self, part: Path, place: Place) -> None:
        part.touch()
        self.file: BinaryIO = part.open("r+b")
        size = place.get("size", 0)
        self.file.truncate(size)
        self.file.seek(size)
        self.rows = int(place.get("rows", 0))
        self.is_new = not place

    def save(self) -> Place:
        """Everything on disk."""
        self.file.flush()
        os.fsync(self.file.fileno())
        return {"size": self.file.tell(), "rows": self.rows}

    def close(self) -> None:
        """Let go of the file."""
        self.file.close()
