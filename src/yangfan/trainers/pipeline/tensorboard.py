"""Event files for TensorBoard: scalars, and nothing else.

A file is records of TFRecord (length, its checksum, bytes, their checksum) whose bytes are messages of `tensorflow.Event`
(https://github.com/tensorflow/tensorboard/blob/master/tensorboard/compat/proto/event.proto). The package itself would bring a web server.
"""

from __future__ import annotations

import struct
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_POLYNOMIAL = 0x82F63B78
"""CRC-32C (Castagnoli), reflected."""


def _table() -> tuple[int, ...]:
    found: list[int] = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)
        found.append(value)
    return tuple(found)


_TABLE = _table()


class EventFile:
    """Appends scalars.

    Args:
        folder: Of the run; the file's name says when it began. One that is there is gone on with.
    """

    def __init__(self, folder: Path) -> None:
        there = sorted(folder.glob("events.out.tfevents.*"))
        self._path = (
            there[-1] if there else folder / f"events.out.tfevents.{int(time.time())}.yangfan"
        )
        if not there:
            self._append(_double(1, time.time()) + _bytes(3, b"brain.Event:2"))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Append the values of a step."""
        summary = b"".join(
            _bytes(1, _bytes(1, name.encode()) + _float(2, value)) for name, value in values.items()
        )
        self._append(_double(1, time.time()) + _varint(2 << 3) + _varint(step) + _bytes(5, summary))

    def _append(self, event: bytes) -> None:
        length = struct.pack("<Q", len(event))
        with self._path.open("ab") as file:
            file.write(length + _masked(length) + event + _masked(event))


def crc32c(data: bytes) -> int:
    """The checksum of TFRecord (RFC 3720, appendix B.4)."""
    value = 0xFFFFFFFF
    for byte in data:
        value = _TABLE[(value ^ byte) & 0xFF] ^ value >> 8
    return value ^ 0xFFFFFFFF


def _masked(data: bytes) -> bytes:
    value = crc32c(data)
    return struct.pack("<I", ((value >> 15 | value << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _double(field: int, value: float) -> bytes:
    return _varint(field << 3 | 1) + struct.pack("<d", value)


def _float(field: int, value: float) -> bytes:
    return _varint(field << 3 | 5) + struct.pack("<f", value)
