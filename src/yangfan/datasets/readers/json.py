"""JSON: one list of rows, or values one after the other (a file of JSON lines under the wrong name is read as such).

The list is never in memory: its elements are cut out by their brackets and strings, and each is decoded by itself. An element
that is no JSON is a flaw; behind it, reading goes on at the next element, as long as brackets and quotes still tell where that is.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from yangfan.datasets.readers.base import BYTES, ROWS, Batch, Flaw, Options, Place, TextFile
from yangfan.datasets.readers.jsonl import JsonLines, value_of, why

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from yangfan.datasets.readers.base import Reader

SUFFIXES = (".json",)

CHUNK_BYTES: Final = 1 << 20
SKIPPED_ROWS: Final = 64
"""The end of a row that is too long is looked for within so many times the longest row."""

_SHOWN: Final = 8000
_QUOTE: Final = 0x22
_SPACE: Final = b" \t\r\n"
_MARKS: Final = re.compile(rb'"(?>[^"\\]+|\\.)*+"|[\[\]{},]|"', re.DOTALL)
"""A whole string, a bracket, a comma; or a quote whose string does not end in what is here."""
_IN_STRING: Final = re.compile(rb'\\.|"', re.DOTALL)
_OUTSIDE: Final = re.compile(rb'[\[\]{},"]')


def open(file: Path, options: Options, scratch: Path) -> Reader:
    """Open a file."""
    text = TextFile(file, options, scratch)
    if _has_lines(text, options.max_row_bytes):
        return JsonLines(text, options.max_row_bytes)
    return Json(text, options.max_row_bytes)


def _has_lines(text: TextFile, max_row_bytes: int) -> bool:
    """Whether the first line is a value by itself and more follows."""
    with text.path.open("rb") as file:
        file.seek(text.begin)
        line = file.readline(max_row_bytes)
        while line and line.isspace():
            line = file.readline(max_row_bytes)
        if not line.endswith(b"\n"):
            return False
        try:
            value_of(line if text.encoding == "utf-8" else text.text(line).encode())
        except (ValueError, RecursionError):
            return False
        return bool(file.read(1 << 16).strip())


class Json:
    """Elements of one list, or one value."""

    is_table = False

    def __init__(self, text: TextFile, max_row_bytes: int) -> None:
        self._text, self._max = text, max_row_bytes
        self.total_bytes = text.total_bytes

    def batches(self, place: Place) -> Iterator[Batch]:
        """Batches of elements."""
        number, offset = place.get("row", 1), place.get("offset", self._text.begin)
        with self._text.path.open("rb") as file:
            cutter = _Cutter(file, offset, self._max, in_list=place.get("in_list", False))
            if place.get("done"):
                return
            batch, begin = Batch(), offset
            for content, reason in cutter.elements():
                if reason:
                    batch.flaws.append(Flaw(number, reason, self._text.shown(content)))
                else:
                    self._append(batch, number, content)
                number += 1
                if len(batch) >= ROWS or cutter.offset - begin >= BYTES:
                    batch.place = {
                        "row": number,
                        "offset": cutter.offset,
                        "in_list": cutter.in_list,
                    }
                    batch.done_bytes = cutter.offset
                    yield batch
                    batch, begin = Batch(), cutter.offset
            if batch:
                batch.place = {"row": number, "offset": self.total_bytes, "done": True}
                batch.done_bytes = self.total_bytes
                yield batch

    def _append(self, batch: Batch, number: int, content: bytes) -> None:
        try:
            utf8 = content
            if self._text.encoding != "utf-8":
                utf8 = self._text.text(content).encode()
            value: Any = value_of(utf8)
        except (ValueError, RecursionError) as error:
            batch.flaws.append(Flaw(number, why(error), self._text.shown(content)))
            return
        batch.rows.append(value)
        batch.numbers.append(number)


class _Cutter:
    """Cuts a file into the elements of its list.

    Attributes:
        offset: Where the next element begins, or the comma before it.
        in_list: Whether the list has begun.
        is_lost: Whether nobody can tell any more where an element begins.
    """

    def __init__(self, file: BinaryIO, offset: int, max_row_bytes: int, *, in_list: bool) -> None:
        file.seek(offset)
        self._file, self._max = file, max_row_bytes
        self.offset, self.in_list = offset, in_list
        self.is_lost = False
        self._buffer = bytearray()
        self._at = 0
        self._is_all = False

    def elements(self) -> Iterator[tuple[bytes, str]]:
        """Each element, or the beginning of what is none and why."""
        if not self.in_list:
            first = self._peek()
            if first != b"[":
                if first:
                    yield self._whole()
                return
            self._take(1)
            self.in_list = True
        while True:
            following = self._peek()
            if following == b",":
                self._take(1)
            elif following == b"]":
                self._take(1)
                if self._peek():
                    yield self._rest("there is more behind the end of the list")
                return
            elif not following:
                yield b"", "the list has no end; is the file whole?"
                return
            else:
                found = self._element()
                yield found
                if self.is_lost:
                    return

    def _element(self) -> tuple[bytes, str]:
        """The next element; the buffer begins with it."""
        depth, seen = 0, 0  # of brackets, and of bytes that were looked at
        while True:
            for mark in _MARKS.finditer(self._buffer, self._at + seen):
                kind = self._buffer[mark.start()]
                if kind == _QUOTE:
                    if mark.end() - mark.start() == 1:
                        break  # a string that goes on behind the buffer
                elif kind in b"[{":
                    depth += 1
                elif kind in b"]}":
                    if depth == 0:
                        return self._cut(mark.start())
                    depth -= 1
                    if depth == 0:
                        return self._cut(mark.end())
                elif depth == 0:
                    return self._cut(mark.start())
                seen = mark.end() - self._at
            if len(self._buffer) - self._at > self._max:
                return self._skip(depth, seen)
            if not self._more():
                return self._rest("the row has no end; a bracket or a quote is missing")

    def _cut(self, end: int) -> tuple[bytes, str]:
        content = bytes(self._buffer[self._at : end])
        self._take(end - self._at)
        if len(content) > self._max:
            return content[:_SHOWN], f"the row has {len(content)} bytes, {self._max} are allowed"
        return content, ""

    def _skip(self, depth: int, seen: int) -> tuple[bytes, str]:
        """Go behind an element that is too long, without keeping it."""
        head, before = bytes(self._buffer[self._at : self._at + _SHOWN]), self.offset
        self._take(seen)
        in_string = False
        while self.offset - before < SKIPPED_ROWS * self._max:
            mark = (_IN_STRING if in_string else _OUTSIDE).search(self._buffer, self._at)
            if mark is None:
                # An escape may be cut in two.
                self._take(max(len(self._buffer) - self._at - 1, 0))
                if not self._more():
                    break
                continue
            kind = self._buffer[mark.start()]
            if kind == _QUOTE:
                in_string = not in_string
            elif not in_string:
                if depth == 0 and kind in b",]}":
                    self._take(mark.start() - self._at)
                    size = self.offset - before
                    return head, f"the row has {size} bytes, {self._max} are allowed"
                depth += 1 if kind in b"[{" else -1 if kind in b"]}" else 0
            self._take(mark.end() - self._at)
        self.is_lost = True
        return head, f"the row has more than {self._max} bytes and no end; what follows is not read"

    def _whole(self) -> tuple[bytes, str]:
        """A file that is one value and no list."""
        while len(self._buffer) - self._at <= self._max:
            if not self._more():
                content = bytes(self._buffer[self._at :])
                self._take(len(content))
                return content.strip(), ""
        self.is_lost = True
        return (
            bytes(self._buffer[self._at : self._at + _SHOWN]),
            f"the file is one value of more than {self._max} bytes; rows are the elements of a list, [...]",
        )

    def _rest(self, reason: str) -> tuple[bytes, str]:
        self.is_lost = True
        return bytes(self._buffer[self._at : self._at + _SHOWN]), reason

    def _peek(self) -> bytes:
        """The next byte that is no space; b"" at the end."""
        while True:
            while self._at < len(self._buffer):
                if self._buffer[self._at] not in _SPACE:
                    return bytes(self._buffer[self._at : self._at + 1])
                self._take(1)
            if not self._more():
                return b""

    def _take(self, count: int) -> None:
        self._at += count
        self.offset += count

    def _more(self) -> bool:
        """Read on; what was taken is dropped."""
        if self._is_all:
            return False
        chunk = self._file.read(CHUNK_BYTES)
        self._is_all = not chunk
        del self._buffer[: self._at]
        self._buffer += chunk
        self._at = 0
        return bool(chunk)
