"""Write GGUF files, version 3 (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, BinaryIO, Final, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

ALIGNMENT_BYTES: Final = 32
_MAGIC = b"GGUF"
_VERSION = 3
_UINT32, _INT32, _FLOAT32, _BOOL, _STRING, _ARRAY = 4, 5, 6, 7, 8, 9
_TENSOR_TYPES: Final = {"F32": (0, 4), "F16": (1, 2)}
"""Number in the file, and bytes of one item."""

Value = bool | int | float | str | list[str] | list[int] | list[float]
"""A fact: a bool, an unsigned 32-bit integer, a 32-bit float, a string, strings, signed 32-bit integers, or 32-bit floats."""


class Tensor(msgspec.Struct, frozen=True):
    """A tensor to write.

    Attributes:
        name: Name in the file.
        shape: As in NumPy, the fastest dimension last.
        dtype: How its numbers are written.
        read: Returns its bytes; called once, when it is written, so that one tensor at a time is in memory.
    """

    name: str
    shape: tuple[int, ...]
    dtype: Literal["F32", "F16"]
    read: Callable[[], bytes]

    @property
    def size_bytes(self) -> int:
        """Bytes of its data."""
        size = _TENSOR_TYPES[self.dtype][1]
        for length in self.shape:
            size *= length
        return size


def write(path: Path, facts: Mapping[str, Value], tensors: Sequence[Tensor]) -> None:
    """Write a model file; whoever needs it whole or not at all writes to another name first.

    Args:
        path: Where to; an existing file is replaced.
        facts: Keys and values of the header, in order.
        tensors: What follows it, in order.
    """
    with path.open("wb") as file:
        file.write(_MAGIC + struct.pack("<IQQ", _VERSION, len(tensors), len(facts)))
        for key, value in facts.items():
            file.write(_string(key) + _fact(value))
        offset = 0
        for tensor in tensors:
            dimensions = struct.pack(f"<{len(tensor.shape)}Q", *reversed(tensor.shape))
            number = _TENSOR_TYPES[tensor.dtype][0]
            file.write(_string(tensor.name) + struct.pack("<I", len(tensor.shape)) + dimensions)
            file.write(struct.pack("<IQ", number, offset))
            offset += _aligned(tensor.size_bytes)
        _pad(file)
        for tensor in tensors:
            data = tensor.read()
            assert len(data) == tensor.size_bytes, tensor.name
            file.write(data)
            _pad(file)


def _fact(value: Value) -> bytes:
    match value:
        case bool():
            return struct.pack("<I?", _BOOL, value)
        case int():
            return struct.pack("<II", _UINT32, value)
        case float():
            return struct.pack("<If", _FLOAT32, value)
        case str():
            return struct.pack("<I", _STRING) + _string(value)
        case list():
            return struct.pack("<I", _ARRAY) + _items(value)


def _items(values: list[str] | list[int] | list[float]) -> bytes:
    texts = [_string(value) for value in values if isinstance(value, str)]
    if texts:
        return struct.pack("<IQ", _STRING, len(texts)) + b"".join(texts)
    if any(isinstance(value, float) for value in values):
        return struct.pack(f"<IQ{len(values)}f", _FLOAT32, len(values), *values)
    return struct.pack(f"<IQ{len(values)}i", _INT32, len(values), *values)


def _string(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _aligned(size_bytes: int) -> int:
    return -(-size_bytes // ALIGNMENT_BYTES) * ALIGNMENT_BYTES


def _pad(file: BinaryIO) -> None:
    file.write(bytes(-file.tell() % ALIGNMENT_BYTES))
