"""The few facts about a GGUF model file that are needed before it is loaded.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from pathlib import Path

MAGIC = b"GGUF"
_STRING, _ARRAY = 8, 9
_SCALARS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
_LONGEST_STRING_BYTES = 1 << 26


class NotGGUFError(ValueError):
    """The file is no GGUF file, or ends inside its header."""


def read_context_tokens(path: Path) -> int | None:
    """Return the context length that the model was trained for, None if the file does not say.

    Raises:
        NotGGUFError: The file is no GGUF file, or ends inside its header.
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        magic = file.read(4)
        if magic != MAGIC:
            raise NotGGUFError(
                f"{path} is not a GGUF model file: it begins with {magic!r} instead of {MAGIC!r}"
            )
        try:
            return _find_context_tokens(file)
        except (struct.error, UnicodeDecodeError, KeyError, MemoryError) as error:
            raise NotGGUFError(
                f"{path} is incomplete or damaged: its header cannot be read; get the file again"
            ) from error


def _find_context_tokens(file: BinaryIO) -> int | None:
    _version, _tensors, keys = _unpack(file, "IQQ")
    for _ in range(keys):
        key = _read_string(file).decode()
        (kind,) = _unpack(file, "I")
        if key.endswith(".context_length") and kind in _SCALARS:
            return int(_unpack(file, _SCALARS[kind])[0])
        _skip(file, kind)
    return None


def _skip(file: BinaryIO, kind: int) -> None:
    if kind == _STRING:
        _read_string(file)
    elif kind == _ARRAY:
        element, count = _unpack(file, "IQ")
        if element in _SCALARS:
            file.seek(count * struct.calcsize(_SCALARS[element]), 1)
        else:
            for _ in range(count):
                _skip(file, element)
    else:
        file.seek(struct.calcsize(_SCALARS[kind]), 1)


def _read_string(file: BinaryIO) -> bytes:
    (length,) = _unpack(file, "Q")
    if length > _LONGEST_STRING_BYTES:
        raise struct.error("string too long to be true")
    return file.read(length)


def _unpack(file: BinaryIO, layout: str) -> tuple[int, ...]:
    return struct.unpack("<" + layout, file.read(struct.calcsize("<" + layout)))
