"""Files with a row on each line: JSON lines, and plain text."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Protocol, cast

import msgspec

from yangfan.operators.pipeline.rows import (
    Batch,
    Fault,
    Place,
    closed,
    encoded,
    is_full,
    skip_line,
    skip_mark,
    too_long,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Rows(Protocol):
    """What a line means."""

    def decode(self, line: bytes) -> tuple[str, Any]:
        """The text of a line and the payload that `encode` takes; ValueError where there is none."""
        ...

    def encode(self, payload: Any, text: str) -> bytes:
        """The line with this text, without its end."""
        ...

    def source(self, payload: Any) -> Any:
        """The row as JSON."""
        ...


class Lines:
    """A file with a row on each line."""

    def __init__(self, file: Path, max_row_bytes: int, rows: Rows) -> None:
        self._file, self._max, self._rows = file, max_row_bytes, rows
        self.total_bytes = file.stat().st_size
        self.encode = rows.encode

    def heading(self) -> bytes:
        """What stands above the first row."""
        return b""

    def source(self, payloads: Any, position: int) -> Any:
        """A row as JSON."""
        return self._rows.source(payloads[position])

    def batches(self, place: Place) -> Iterator[Batch]:
        """Batches of lines."""
        row, offset = place.get("row", 0), place.get("offset", 0)
        with self._file.open("rb") as file:
            file.seek(offset)
            if offset == 0:
                offset = skip_mark(file)
            batch, characters = Batch(), 0
            while line := file.readline(self._max + 1):
                offset += len(line)
                if len(line) > self._max and not line.endswith(b"\n"):
                    offset += skip_line(file)
                    batch.faults.append(too_long(row, line, self._max))
                else:
                    self._append(batch, row, line.rstrip(b"\r\n"))
                    characters += len(batch.texts[-1]) if batch.texts else 0
                row += 1
                if is_full(batch, characters):
                    yield closed(batch, {"row": row, "offset": offset}, offset)
                    batch, characters = Batch(), 0
            if batch.texts or batch.faults:
                yield closed(batch, {"row": row, "offset": offset}, offset)

    def _append(self, batch: Batch, row: int, line: bytes) -> None:
        try:
            text, payload = self._rows.decode(line)
        except ValueError as error:
            batch.faults.append(Fault(row, str(error), line.decode("utf-8", "replace")))
            return
        batch.texts.append(text)
        batch.rows.append(row)
        batch.payloads.append((line, text, payload))


class TextRows:
    """A text on each line."""

    def decode(self, line: bytes) -> tuple[str, Any]:
        """The line itself."""
        return line.decode("utf-8", "replace"), None

    def encode(self, payload: Any, text: str) -> bytes:
        """The text, on one line."""
        line, before, _ = payload
        return line if text == before else encoded(" ".join(text.split("\n")))

    def source(self, payload: Any) -> Any:
        """The text."""
        return payload[1]


class JsonRows:
    """A JSON object on each line, or a string, or a list with one object in it as Qianfan writes them."""

    def __init__(self, name: str) -> None:
        self._name = name
        # The other values stay as they were written, to the last digit of a number.
        self._decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
        self._encoder = msgspec.json.Encoder()

    def decode(self, line: bytes) -> tuple[str, Any]:
        """The text under the name."""
        if not line.strip():
            raise ValueError("the line is empty")
        try:
            fields = self._decoder.decode(line)
            if self._name in fields:
                text = msgspec.json.decode(fields[self._name])
                if isinstance(text, str):
                    return text, fields
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass
        return self._decoded_slowly(line)

    def _decoded_slowly(self, line: bytes) -> tuple[str, Any]:
        """What is no object with a text, or not quite JSON: surrogates alone, bytes that are no UTF-8."""
        try:
            value: Any = json.loads(line.decode("utf-8", "replace"))
        except (ValueError, RecursionError):
            raise ValueError("the line is no JSON") from None
        items = cast("list[Any]", value) if isinstance(value, list) else []
        is_list = len(items) == 1
        inner = cast("object", items[0] if is_list else value)
        if isinstance(inner, str):
            return whole(inner), (is_list, None)
        if not isinstance(inner, dict):
            raise ValueError("the line is no JSON object")  # noqa: TRY004 -- a fault of the row, as the others
        fields = cast("dict[str, Any]", inner)
        if self._name not in fields:
            raise ValueError(f"there is no {self._name!r}")
        text: Any = fields[self._name]
        if not isinstance(text, str):
            raise ValueError(f"{self._name!r} is {_kind(text)}, not a text")  # noqa: TRY004 -- a fault of the row
        return whole(text), (is_list, fields)

    def encode(self, payload: Any, text: str) -> bytes:
        """The line with this text in it."""
        line, before, fields = payload
        if text == before and not (isinstance(fields, tuple) and "\ufffd" in text):
            return line
        if isinstance(fields, tuple):
            is_list, inner = cast("tuple[bool, dict[str, Any] | None]", fields)
            value: Any = text if inner is None else {**inner, self._name: text}
            return encoded(json.dumps([value] if is_list else value, ensure_ascii=False))
        return self._encoder.encode({**fields, self._name: text})

    def source(self, payload: Any) -> Any:
        """The row as it was, or as text where it is not quite JSON."""
        line = payload[0]
        try:
            msgspec.json.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return line.decode("utf-8", "replace")
        return msgspec.Raw(line)


def whole(text: str) -> str:
    """`text` with U+FFFD for every lone surrogate."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _kind(value: object) -> str:
    for kinds, said in ((bool, "a boolean"), ((int, float), "a number"), (list, "a list")):
        if isinstance(value, kinds):
            return said
    return "null" if value is None else "an object"
