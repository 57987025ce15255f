"""What reading a file of rows is, whatever its format.

A file of this folder offers two names:

    SUFFIXES    how the names of its files end
    def open(file: Path, options: Options, scratch: Path) -> Reader

A reader yields batches of rows and after each batch the place to go on from, which is JSON: a reader that is made anew and given
that place yields what the first one would have yielded next. What is no row never stops it: it comes as a `Flaw`, with its number
and a reason. Readers use bounded memory, however long a line or a cell claims to be.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Protocol

import msgspec

from yangfan.datasets import encodings
from yangfan.operators.pipeline.rows import skip_line

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROWS: Final = 1024
"""Most rows in a batch."""
BYTES: Final = 2 * 1024 * 1024
"""A batch is full when what was read for it has so many bytes."""
MAX_ROW_BYTES: Final = 8 * 1024 * 1024
"""Longest row, unless something else is asked for."""
SHOWN_CHARACTERS: Final = 2000
"""Of a row that is refused, so much of its text is kept."""

Place = dict[str, Any]
"""Where to go on reading; {} is the beginning."""


class Options(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How to read files.

    Attributes:
        columns: Which column or key of the file holds a field of the sample, by the field: ``{"prompt": "question"}``.
        encoding: Of text files; None to find it out.
        delimiter: Between the fields of a csv file; None for a comma (a tab in tsv).
        whole_files: Whether a txt file is one text, and not one a line.
        sheet: Name of the sheet of an xlsx file; None for the first.
        max_row_bytes: Longer rows are refused; in [1 KiB, 64 MiB].
    """

    columns: dict[str, str] = msgspec.field(default_factory=dict[str, str])
    encoding: str | None = None
    delimiter: str | None = None
    whole_files: bool = False
    sheet: str | None = None
    max_row_bytes: int = MAX_ROW_BYTES


@dataclass(frozen=True, slots=True)
class Flaw:
    """What is no row.

    Attributes:
        number: As those of `Batch.numbers`.
        reason: Why, and what to change, for a person.
        source: The beginning of what stands there.
        rows: How many rows it stands for.
    """

    number: int
    reason: str
    source: str = ""
    rows: int = 1


@dataclass(slots=True)
class Batch:
    """Rows that were read together.

    Attributes:
        rows: As JSON values: objects, lists, strings.
        numbers: Of each row: the line that it begins in, from 1, for formats with lines; the how-manieth it is, from 1, otherwise.
        flaws: What was no row.
        place: Where the next batch begins.
        done_bytes: Bytes of the file read so far.
    """

    rows: list[Any] = field(default_factory=list[Any])
    numbers: list[int] = field(default_factory=list[int])
    flaws: list[Flaw] = field(default_factory=list[Flaw])
    place: Place = field(default_factory=dict[str, Any])
    done_bytes: int = 0

    def __len__(self) -> int:
        """Rows and flaws."""
        return len(self.rows) + len(self.flaws)


class Reader(Protocol):
    """Rows of a file.

    Attributes:
        total_bytes: What `Batch.done_bytes` ends with.
        is_table: Whether rows are cells under headings, so that lists and objects are texts in them.
    """

    total_bytes: int
    is_table: bool

    def batches(self, place: Place) -> Iterator[Batch]:
        """Batches from a place on."""
        ...


class TextFile:
    """A file of text: its encoding, and its lines as bytes, none longer than allowed.

    Attributes:
        path: The file itself, or a copy of it in UTF-8 if it is UTF-16.
        encoding: utf-8 or gb18030.
        begin: Where the text begins, behind a byte order mark.
    """

    def __init__(self, file: Path, options: Options, scratch: Path) -> None:
        """Find out the encoding.

        Raises:
            ConfigurationError: The encoding asked for is none that is read here.
        """
        encoding = encodings.named(options.encoding) if options.encoding else ""
        if not encoding or encoding == "utf-16":
            found = encodings.detect(file)
            encoding = "utf-16-le" if encoding and not found.startswith("utf-16") else found
        self.begin = encodings.mark_bytes(file)
        if encoding.startswith("utf-16"):
            self.path = scratch / f"{file.name}.utf-8"
            encodings.to_utf8(file, encoding, self.path)
            encoding, self.begin = "utf-8", 0
        else:
            self.path = file
        self.encoding = encoding
        self.total_bytes = self.path.stat().st_size

    def text(self, line: bytes) -> str:
        """A line as text. Raises ValueError where it is none."""
        try:
            text = line.decode(self.encoding)
        except UnicodeDecodeError as error:
            raise ValueError(
                f"byte {error.start + 1} of the row is no {self.encoding}; save the file in one encoding"
            ) from None
        if "\0" in text:
            raise ValueError("the row has a zero byte; is the file binary?")
        return text

    def shown(self, line: bytes) -> str:
        """The beginning of a line, for people."""
        return line[: 4 * SHOWN_CHARACTERS].decode(self.encoding, "replace")[:SHOWN_CHARACTERS]


def line_too_long(file: BinaryIO, line: bytes, limit_bytes: int) -> tuple[int, str]:
    """Leave the rest of a line unread in memory: how many bytes that skipped, and the reason to give."""
    skipped = skip_line(file)
    return skipped, f"the row has {len(line) + skipped} bytes, {limit_bytes} are allowed"
