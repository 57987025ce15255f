"""Read safetensors files: names, shapes and bytes of tensors, nothing of any ML library.

The format: https://huggingface.co/docs/safetensors (8 bytes of header length, a JSON header, the data).
"""

from __future__ import annotations

import math
import struct
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import msgspec

from yangfan.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

MAX_HEADER_BYTES: Final = 100 * 1024 * 1024
"""Largest JSON header of a file, the limit of the reference implementation (https://huggingface.co/docs/safetensors)."""

ITEM_BYTES: Final = {
    "F64": 8,
    "I64": 8,
    "U64": 8,
    "C64": 8,
    "F32": 4,
    "I32": 4,
    "U32": 4,
    "F16": 2,
    "BF16": 2,
    "I16": 2,
    "U16": 2,
    "I8": 1,
    "U8": 1,
    "BOOL": 1,
    "F8_E4M3": 1,
    "F8_E5M2": 1,
}
"""Bytes of one number, for the types that models use."""


class TensorInfo(msgspec.Struct, frozen=True):
    """Where a tensor is: `data_offsets` count from the end of the header."""

    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


class SafetensorsFile:
    """One file, its header checked; tensors are read when they are asked for.

    Args:
        path: The file.

    Raises:
        ConfigurationError: It is damaged: no header, or tensors that lie outside of it.
        OSError: It cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("rb") as file:
            size_bytes = path.stat().st_size
            head = file.read(8)
            header_bytes = struct.unpack("<Q", head)[0] if len(head) == 8 else 0
            if not 2 <= header_bytes <= min(MAX_HEADER_BYTES, size_bytes - 8):
                raise ConfigurationError(f"{path} is no whole safetensors file; get it again")
            self._data_offset = 8 + header_bytes
            self.tensors = self._read_header(file.read(header_bytes), size_bytes)

    def read(self, name: str) -> bytes:
        """The bytes of a tensor, row-major, little-endian."""
        begin, end = self.tensors[name].data_offsets
        with self.path.open("rb") as file:
            file.seek(self._data_offset + begin)
            return file.read(end - begin)

    def _read_header(self, header: bytes, size_bytes: int) -> dict[str, TensorInfo]:
        try:
            raw = msgspec.json.decode(header, type=dict[str, msgspec.Raw])
            raw.pop("__metadata__", None)
            tensors = {
                name: msgspec.json.decode(entry, type=TensorInfo) for name, entry in raw.items()
            }
        except msgspec.MsgspecError as error:
            raise ConfigurationError(
                f"{self.path} has a damaged header ({error}); get it again"
            ) from error
        for name, tensor in tensors.items():
            begin, end = tensor.data_offsets
            item_bytes = ITEM_BYTES.get(tensor.dtype)
            if (
                not 0 <= begin <= end <= size_bytes - self._data_offset
                or min(tensor.shape, default=0) < 0
                or item_bytes is None
                or end - begin != math.prod(tensor.shape) * item_bytes
            ):
                raise ConfigurationError(
                    f"{self.path}: tensor {name[:80]!r} does not lie inside the file as its shape says; get it again"
                )
        self._require_apart(tensors)
        return tensors

    def _require_apart(self, tensors: dict[str, TensorInfo]) -> None:
        """Tensors that share bytes are no file that a writer made."""
        places = sorted((*tensor.data_offsets, name) for name, tensor in tensors.items())
        for (_, end, first), (begin, _, second) in pairwise(places):
            if begin < end:
                raise ConfigurationError(
                    f"{self.path}: the tensors {first[:80]!r} and {second[:80]!r} overlap; get it again"
                )
