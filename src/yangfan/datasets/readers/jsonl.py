"""JSON lines: a JSON value on each line. Empty lines are no rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

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

SUFFIXES = (".jsonl", ".ndjson")


def open(file: Path, options: Options, scratch: Path) -> JsonLines:
    """Open a file."""
    return JsonLines(TextFile(file, options, scratch), options.max_row_bytes)


class JsonLines:
    """A JSON value on each line."""

    is_table = False

    def __init__(self, text: TextFile, max_row_bytes: int) -> None:
        self._text, self._max = text, max_row_bytes
        self.total_bytes = text.total_bytes
        self._decode = msgspec.json.Decoder().decode

    def batches(self, place: Place) -> Iterator[Batch]:
        """Batches of lines."""
        number = place.get("line", 1)
        offset = place.get("offset", self._text.begin)
        is_utf8 = self._text.encoding == "utf-8"
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
                    try:
                        value = self._decode(line if is_utf8 else self._text.text(line))
                    except (ValueError, RecursionError) as error:
                        batch.flaws.append(Flaw(number, why(error), self._text.shown(line)))
                    else:
                        batch.rows.append(value)
                        batch.numbers.append(number)
                number += 1
                if len(batch) >= ROWS or offset - begin >= BYTES:
                    batch.place, batch.done_bytes = {"line": number, "offset": offset}, offset
                    yield batch
                    batch, begin = Batch(), offset
            if batch:
                batch.place, batch.done_bytes = {"line": number, "offset": offset}, offset
                yield batch


def why(error: BaseException) -> str:
    """Why something is no JSON, in words."""
    if isinstance(error, RecursionError):
        return "the JSON is nested too deeply"
    if isinstance(error, UnicodeDecodeError):
        return "the row is no UTF-8; save the file in one encoding"
    if isinstance(error, msgspec.DecodeError):
        return f"the row is no JSON: {str(error).removeprefix('JSON is malformed: ')}"
    return str(error)


def value_of(content: bytes) -> Any:
    """A JSON value. Raises ValueError or RecursionError."""
    return msgspec.json.decode(content)
