"""JSON lines, in UTF-8."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from yangfan.datasets.writers.base import Appended, Place

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SUFFIX = ".jsonl"


def open(part: Path, place: Place, columns: Sequence[str]) -> JsonLines:  # noqa: ARG001 -- the interface of writers
    """Open a file."""
    return JsonLines(part, place)


class JsonLines(Appended):
    """A value on each line."""

    _encode_lines = staticmethod(msgspec.json.Encoder().encode_lines)

    def write(self, rows: Sequence[Any]) -> None:
        """Add rows."""
        self.file.write(self._encode_lines(rows))
        self.rows += len(rows)

    def finish(self) -> None:
        """The file is whole."""
        self.save()
        self.close()
