"""What reading and writing a file of rows is, whatever its format.

A reader yields batches of rows with their texts, and after each batch the place to go on from. What cannot be read as a row
with a text never stops it: the row comes as a fault, with its number and a reason. A writer writes rows back, those whose
text did not change as they came: to the byte, but for CSV's quotes.
"""

from __future__ import annotations

import io
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

from yangfan.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

ROWS = 2048
"""Most rows in a batch."""
CHARACTERS = 1 << 16
"""A batch is full when its texts have this many characters: what operators compute of it, eight bytes for each, stays in a
processor's cache."""

Place = dict[str, int]
"""Where to go on reading: JSON."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A row without a text that can be read."""

    row: int
    reason: str
    source: Any


@dataclass(slots=True)
class Batch:
    """Rows that were read together.

    Attributes:
        texts: Their texts, lone surrogates and bytes that are no UTF-8 replaced by U+FFFD; those of one row after another.
        sizes: How many of the texts each row has; None for one each.
        rows: Their numbers in the file, from 0.
        payloads: The rows, for the writer of the same format.
        faults: What was no row.
        place: Where the next batch begins.
        done_bytes: Bytes of the file read so far.
    """

    texts: list[str] = field(default_factory=list[str])
    rows: list[int] = field(default_factory=list[int])
    payloads: Any = field(default_factory=list[Any])
    faults: list[Fault] = field(default_factory=list[Fault])
    place: Place = field(default_factory=dict[str, int])
    done_bytes: int = 0
    sizes: list[int] | None = None

    @property
    def characters(self) -> int:
        """Of all texts."""
        return sum(map(len, self.texts))


class Reader(Protocol):
    """Rows of a file."""

    total_bytes: int

    def batches(self, place: Place) -> Iterator[Batch]:
        """Batches from a place on; ``{}`` is the beginning."""
        ...

    def source(self, payloads: Any, position: int) -> Any:
        """A row as JSON, as much of it as is needed to put it back."""
        ...


class Writer(Protocol):
    """Rows into a file."""

    def write(self, payloads: Any, positions: Sequence[int], texts: Sequence[str]) -> None:
        """Write the rows at `positions`, with these texts."""
        ...

    def save(self) -> Place:
        """Everything written made durable, and where it ends."""
        ...

    def finish(self, out: Path) -> None:
        """Make the file `out`."""
        ...

    def close(self) -> None:
        """Let go of the file."""
        ...


class Bytes:
    """A file that lines are added to."""

    def __init__(
        self, part: Path, place: Place, encode: Callable[[Any, str], bytes], heading: bytes
    ) -> None:
        self._part, self._encode = part, encode
        # A run that was stopped between its end and its last breath has the file in its place already.
        self._is_finished = bool(place) and not part.exists()
        if self._is_finished:
            self._place = place
            self._file: BinaryIO = io.BytesIO()
            return
        part.touch()
        self._file = part.open("r+b")
        if place:
            self._file.truncate(place["size"])
            self._file.seek(place["size"])
        else:
            self._file.truncate(0)
            self._file.write(heading)

    def write(self, payloads: Any, positions: Sequence[int], texts: Sequence[str]) -> None:
        """Add the rows."""
        lines = [
            self._encode(payloads[position], text)
            for position, text in zip(positions, texts, strict=True)
        ]
        if lines:
            self._file.write(b"\n".join(lines) + b"\n")

    def save(self) -> Place:
        """Everything on disk."""
        if self._is_finished:
            return self._place
        self._file.flush()
        os.fsync(self._file.fileno())
        return {"size": self._file.tell()}

    def finish(self, out: Path) -> None:
        """The file under its name."""
        self.save()
        self._file.close()
        if not self._is_finished:
            self._part.replace(out)
        elif not out.exists():
            raise ConfigurationError(f"{self._part} is gone; start again with --restart")

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


def encoded(text: str) -> bytes:
    """UTF-8."""
    return text.encode("utf-8", "replace")


def is_full(batch: Batch, characters: int) -> bool:
    """Whether a batch has as much as is worked on at once."""
    rows = max(len(batch.texts), len(batch.rows)) + len(batch.faults)
    return rows >= ROWS or characters >= CHARACTERS


def closed(batch: Batch, place: Place, done_bytes: int) -> Batch:
    """The batch with where it ends."""
    batch.place, batch.done_bytes = place, done_bytes
    return batch


def too_long(row: int, line: bytes, limit: int) -> Fault:
    """The fault of a row that is longer than allowed; of the row only its beginning is kept."""
    return Fault(
        row, f"the row is longer than {limit} bytes", line[:200].decode("utf-8", "replace")
    )


def skip_line(file: BinaryIO) -> int:
    """Go behind the next line feed, and say how many bytes that was."""
    skipped = 0
    while piece := file.readline(1 << 20):
        skipped += len(piece)
        if piece.endswith(b"\n"):
            break
    return skipped


def skip_mark(file: BinaryIO) -> int:
    """Go behind a byte order mark at the beginning, and say how many bytes that was."""
    if file.read(3) == b"\xef\xbb\xbf":
        return 3
    file.seek(0)
    return 0
