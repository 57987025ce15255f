"""A multipart/form-data body with one file, read piece by piece: the file goes to disk, never whole into memory (RFC 7578)."""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING, Any

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from yangfan.errors import BodyTooLarge, Invalid

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path
    from typing import BinaryIO

MAX_FIELD_BYTES = 10_000
"""Longest of the other fields."""

MAX_PARTS = 50


class UploadForm:
    """What a form brings.

    Args:
        boundary: What stands between its parts.
        target: Where its file goes.
        max_file_bytes: Longest file.

    Attributes:
        fields: The other fields by name.
        filename: What the caller calls the file; None as long as there is none.
        size_bytes: How much of it has come.
    """

    def __init__(self, boundary: bytes, target: BinaryIO, max_file_bytes: int) -> None:
        self.fields: dict[str, str] = {}
        self.filename: str | None = None
        self.size_bytes = 0
        self._target = target
        self._max_file_bytes = max_file_bytes
        self._sha256 = hashlib.sha256()
        self._header_name, self._header_value = bytearray(), bytearray()
        self._parts = 0
        self._disposition: dict[bytes, bytes] = {}
        self._field: bytearray | None = None
        self._is_complete = False
        # The parser calls these; it gives the whole piece and where in it the part stands.
        callbacks: Any = {
            "on_part_begin": self._begin,
            "on_header_field": self._on_header_field,
            "on_header_value": self._on_header_value,
            "on_header_end": self._on_header_end,
            "on_headers_finished": self._on_headers_finished,
            "on_part_data": self._on_data,
            "on_part_end": self._end,
            "on_end": self._finish,
        }
        self._parser = MultipartParser(boundary, callbacks)

    def write(self, piece: bytes) -> None:
        """Take the next piece of the body.

        Raises:
            Invalid: It is no form of this kind.
            BodyTooLarge: The file is too long.
        """
        try:
            self._parser.write(piece)
        except FormParserError as error:
            raise Invalid(f"the body is no multipart/form-data: {error}") from None

    def finish(self) -> str:
        """The file's SHA-256.

        Raises:
            Invalid: The body ended too early, or brought no file.
        """
        if not self._is_complete:
            raise Invalid("the body ends in the middle; send the whole multipart/form-data")
        if self.filename is None:
            raise Invalid(
                'the form has no file; send one as the field "file", with a file name', param="file"
            )
        return self._sha256.hexdigest()

    def _begin(self) -> None:
        self._parts += 1
        self._disposition = {}
        if self._parts > MAX_PARTS:
            raise Invalid(f"the form has more than {MAX_PARTS} fields; send purpose and file")

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _on_header_end(self) -> None:
        if bytes(self._header_name).lower() == b"content-disposition":
            _, self._disposition = parse_options_header(bytes(self._header_value))
        self._header_name, self._header_value = bytearray(), bytearray()

    def _on_headers_finished(self) -> None:
        self._field = bytearray()
        if self._disposition.get(b"name") != b"file":
            return
        if self.filename is not None:
            raise Invalid("the form has two files; send one", param="file")
        if b"filename" not in self._disposition:
            raise Invalid('the field "file" has no file name; send a file', param="file")
        self._field = None
        self.filename = self._disposition[b"filename"].decode("utf-8", "replace")

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        part = data[start:end]
        if self._field is not None:
            self._field += part
            if len(self._field) > MAX_FIELD_BYTES:
                raise Invalid(f"a field of the form is longer than {MAX_FIELD_BYTES} bytes")
            return
        self.size_bytes += len(part)
        if self.size_bytes > self._max_file_bytes:
            raise BodyTooLarge(
                f"the file is larger than {self._max_file_bytes} bytes; send it in parts"
            )
        self._sha256.update(part)
        self._target.write(part)

    def _end(self) -> None:
        if self._field is not None:
            name = self._disposition.get(b"name", b"").decode("utf-8", "replace")
            self.fields[name] = self._field.decode("utf-8", "replace")

    def _finish(self) -> None:
        self._is_complete = True


async def read_form(
    content_type: bytes, pieces: AsyncIterator[bytes], target: Path, max_file_bytes: int
) -> tuple[UploadForm, str]:
    """Read a form to its end; the form, and the SHA-256 of its file, which is at `target`.

    Raises:
        Invalid: It is no form with a file.
        BodyTooLarge: The file is too long.
    """
    kind, options = parse_options_header(content_type)
    boundary = options.get(b"boundary", b"")
    if kind != b"multipart/form-data" or not 1 <= len(boundary) <= 200:
        raise Invalid("send multipart/form-data with the fields purpose and file")
    with target.open("wb") as file:
        form = UploadForm(boundary, file, max_file_bytes)
        async for piece in pieces:
            if piece:
                await asyncio.to_thread(form.write, piece)
    return form, form.finish()
