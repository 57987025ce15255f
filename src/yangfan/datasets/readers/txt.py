"""Plain text: a text on each line, or in each file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yangfan.datasets.readers.base import (
    BYTES,
    ROWS,
    Batch,
    Flaw,
    Options,
    Place,
    TextFile,
    line_too_long,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SUFFIXES = (".txt", ".md", ".text")


def open(file: Path, options: Options, scratch: Path) -> Texts:
    """Open a file."""
    return Texts(TextFile(file, options, scratch), options.max_row_bytes, whole=options.whole_files)


class Texts:
    """A text on each line; blank lines are none. Or the whole file, if it is not too long."""

    is_table = False

    def __init__(self, text: TextFile, max_row_bytes: int, *, whole: bool) -> None:
        self._text, self._max, self._whole = text, max_row_bytes, whole
        self.total_bytes = text.total_bytes

    def batches(self, place: Place) -> Iterator[Batch]:
        """Batches of texts."""
        if self._whole:
            if not place:
                yield self._all()
            return
        number, offset = place.get("line", 1), place.get("offset", self._text.begin)
        with self._text.path.open("rb") as file:
            file.seek(offset)
            batch, begin = Batch(), offset
            while line := file.readline(self._max + 1):
                offset += len(line)
                if len(line) > self._max and not line.endswith(b"\n"):
                    skipped, reason = line_too_long(file, line, self._max)
                    offset += skipped
                    begin += skipped
                    batch.flaws.append(Flaw(number, reason, self._text.shown(line)))
                elif not line.isspace():
                    self._append(batch, number, line.rstrip(b"\r\n"))
                number += 1
                if len(batch) >= ROWS or offset - begin >= BYTES:
                    batch.place, batch.done_bytes = {"line": number, "offset": offset}, offset
                    yield batch
                    batch, begin = Batch(), offset
            if batch:
                batch.place, batch.done_bytes = {"line": number, "offset": offset}, offset
                yield batch

    def _all(self) -> Batch:
        batch = Batch(place={"done": True}, done_bytes=self.total_bytes)
        with self._text.path.open("rb") as file:
            file.seek(self._text.begin)
            content = file.read(self._max + 1)
        if len(content) > self._max:
            reason = f"the file has {self.total_bytes} bytes, {self._max} are allowed for one text"
            batch.flaws.append(Flaw(1, reason, self._text.shown(content)))
        elif content.strip():
            self._append(batch, 1, content)
        return batch

    def _append(self, batch: Batch, number: int, content: bytes) -> None:
        try:
            text = self._text.text(content)
        except ValueError as error:
            batch.flaws.append(Flaw(number, str(error), self._text.shown(content)))
            return
        batch.rows.append(text)
        batch.numbers.append(number)
