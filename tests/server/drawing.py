"""Pictures for tests: whole files, written here byte by byte."""

from __future__ import annotations

import base64
import struct
import zlib


def png(width: int = 8, height: int = 6, colour: tuple[int, int, int] = (255, 0, 0)) -> bytes:
    """A PNG file of one colour."""
    rows = (b"\0" + bytes(colour) * width) * height
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
            _chunk(b"IDAT", zlib.compress(rows)),
            _chunk(b"IEND", b""),
        )
    )


def png_that_claims(width: int, height: int) -> bytes:
    """A PNG file with a header that promises more than there is."""
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + _chunk(b"IEND", b"")


def data_uri(data: bytes, media_type: str = "image/png") -> str:
    """The address of a picture that holds it."""
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
