"""A PNG file of two colours, written by hand: a square on a ground (https://www.w3.org/TR/png)."""

from __future__ import annotations

import struct
import zlib

Colour = tuple[int, int, int]


def square_on_ground(width: int, height: int, square: Colour, ground: Colour) -> bytes:
    """A PNG of `width` x `height` pixels whose middle is a square of half the shorter side. The same arguments, the same bytes."""
    side = min(width, height) // 2
    left, top = (width - side) // 2, (height - side) // 2
    empty = b"\0" * ((width + 7) // 8)
    bits = ((1 << side) - 1) << (len(empty) * 8 - left - side)
    crossing = bits.to_bytes(len(empty), "big")
    rows = [b"\0" + (crossing if top <= row < top + side else empty) for row in range(height)]
    header = struct.pack(">IIBBBBB", width, height, 1, 3, 0, 0, 0)  # one bit a pixel, of a palette
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            _chunk(b"IHDR", header),
            _chunk(b"PLTE", bytes((*ground, *square))),
            _chunk(b"IDAT", zlib.compress(b"".join(rows), 6)),
            _chunk(b"IEND", b""),
        )
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
