"""The few facts about a GGUF model file that are needed before it is loaded.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from yangfan.weights import gguf
from yangfan.weights.gguf import MAGIC, NotGGUFError

if TYPE_CHECKING:
    from pathlib import Path

    from yangfan.engines.base import Kind

_STRING, _ARRAY = gguf.STRING, gguf.ARRAY
_SCALARS = gguf.SCALARS
_LONGEST_STRING_BYTES = gguf.LONGEST_STRING_BYTES


class Facts(NamedTuple):
    """What a model file says of itself.

    Attributes:
        architecture: Such as ``llama`` or ``bert``; "" if the file does not say.
        context_tokens: Context length that the model was trained for, None if the file does not say.
        type: ``model``, ``adapter``, …; "" if the file does not say.
        original_context_tokens: Context length before RoPE scaling, None if the file does not say.
        file_type: Number of `enum llama_ftype`, how most tensors are kept; None if the file does not say.
        pooling_type: Number of `enum llama_pooling_type` for models that give embeddings, None for the others.
    """

    architecture: str = ""
    context_tokens: int | None = None
    pooling_type: int | None = None
    type: str = ""
    original_context_tokens: int | None = None
    file_type: int | None = None

    @property
    def kind(self) -> Kind:
        """What the model can be asked for."""
        return gguf.kind_of(self.architecture, self.pooling_type)


def read_facts(path: Path) -> Facts:
    """Return what the header says.

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
            return _read_facts(file)
        except (
            struct.error,
            ValueError,
            ArithmeticError,
            KeyError,
            MemoryError,
            RecursionError,
        ) as error:
            raise NotGGUFError(
                f"{path} is incomplete or damaged: its header cannot be read; get the file again"
            ) from error


def check(path: Path) -> None:
    """Read the whole header and hold every count, length and place in it against the file's size.

    Raises:
        NotGGUFError: Something in it cannot be; the message says what.
        OSError: The file cannot be read.
    """
    gguf.read(path)


def _read_facts(file: BinaryIO) -> Facts:
    facts = Facts()
    _version, _tensors, keys = _unpack(file, "IQQ")
    for _ in range(keys):
        key = _read_string(file).decode()
        (kind,) = _unpack(file, "I")
        if key == "general.architecture" and kind == _STRING:
            facts = facts._replace(architecture=_read_string(file).decode())
        elif key == "general.type" and kind == _STRING:
            facts = facts._replace(type=_read_string(file).decode())
        elif key == "general.file_type" and kind in _SCALARS:
            facts = facts._replace(file_type=int(_unpack(file, _SCALARS[kind])[0]))
        elif key.endswith(".rope.scaling.original_context_length") and kind in _SCALARS:
            facts = facts._replace(original_context_tokens=_read_length(file, kind))
        elif key.endswith(".context_length") and kind in _SCALARS:
            facts = facts._replace(context_tokens=_read_length(file, kind))
        elif key.endswith(".pooling_type") and kind in _SCALARS:
            facts = facts._replace(pooling_type=int(_unpack(file, _SCALARS[kind])[0]))
        elif key.startswith("tokenizer.") and facts.context_tokens is not None:
            break  # the vocabulary is long, and the model's own keys come before it
        else:
            _skip(file, kind)
    return facts


def copy_header(path: Path, target: Path) -> None:
    """Write the facts of a model's file, its vocabulary among them, to a file without tensors.

    Raises:
        NotGGUFError: The file is no GGUF file, or ends inside its header.
        OSError: It cannot be read, or `target` not written.
    """
    with path.open("rb") as file:
        try:
            start, end, head = _find_facts(file)
        except (struct.error, KeyError, MemoryError, RecursionError) as error:
            raise NotGGUFError(
                f"{path} is incomplete or damaged: its header cannot be read; get the file again"
            ) from error
        file.seek(start)
        whole = head + file.read(end - start)
    target.write_bytes(whole + bytes(_ALIGNMENT_BYTES + -len(whole) % _ALIGNMENT_BYTES))


def _find_facts(file: BinaryIO) -> tuple[int, int, bytes]:
    """Where the facts begin and end, and what stands before those of a file that has no tensors."""
    if file.read(4) != MAGIC:
        raise struct.error("not GGUF")
    version, _tensors, keys = _unpack(file, "IQQ")
    start = file.tell()
    for _ in range(keys):
        _read_string(file)
        _skip(file, _unpack(file, "I")[0])
    return start, file.tell(), MAGIC + struct.pack("<IQQ", version, 0, keys)


def _read_length(file: BinaryIO, kind: int) -> int:
    length = int(_unpack(file, _SCALARS[kind])[0])
    if not 0 < length < 1 << 31:
        raise struct.error(f"a length of {length}")
    return length


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


# Whole or not -----------------------------------------------------------------------------------------

_ALIGNMENT_BYTES = 32
_MOST_TENSORS = 1 << 20
_MOST_DIMENSIONS = 4

BLOCKS = {
    0: (1, 4),  # F32
    1: (1, 2),  # F16
    2: (32, 18),  # Q4_0
    3: (32, 20),  # Q4_1
    6: (32, 22),  # Q5_0
    7: (32, 24),  # Q5_1
    8: (32, 34),  # Q8_0
    10: (256, 84),  # Q2_K
    11: (256, 110),  # Q3_K
    12: (256, 144),  # Q4_K
    13: (256, 176),  # Q5_K
    14: (256, 210),  # Q6_K
    30: (1, 2),  # BF16
}
"""Number of `enum ggml_type`: values in a block, and its bytes (ggml-common.h)."""


def check_tensors(path: Path) -> None:
    """Read the table of tensors and make sure that each lies inside the file: for readers that do not look themselves.

    Raises:
        NotGGUFError: The file is no GGUF file, ends before its last tensor does, or keeps one in a way that is not in `BLOCKS`.
        OSError: It cannot be read.
    """
    size_bytes = path.stat().st_size
    with path.open("rb") as file:
        try:
            end_bytes = _read_end(file)
        except (struct.error, UnicodeDecodeError, KeyError, MemoryError, OverflowError) as error:
            raise NotGGUFError(
                f"{path} is incomplete or damaged: its header cannot be read; get the file again"
            ) from error
    if end_bytes > size_bytes:
        raise NotGGUFError(
            f"{path} is incomplete: it has {size_bytes} bytes and its tensors need {end_bytes}; get the file again"
        )


def _read_end(file: BinaryIO) -> int:
    """Where the last tensor ends."""
    if file.read(4) != MAGIC:
        raise struct.error("not GGUF")
    _version, tensors, keys = _unpack(file, "IQQ")
    if tensors > _MOST_TENSORS:
        raise struct.error("too many tensors to be true")
    alignment = _ALIGNMENT_BYTES
    for _ in range(keys):
        key = _read_string(file).decode()
        (kind,) = _unpack(file, "I")
        if key == "general.alignment" and kind in _SCALARS:
            alignment = int(_unpack(file, _SCALARS[kind])[0])
        else:
            _skip(file, kind)
    if alignment < 1:
        raise struct.error("no alignment")
    end = 0
    for _ in range(tensors):
        _read_string(file).decode()
        (dimensions,) = _unpack(file, "I")
        if dimensions > _MOST_DIMENSIONS:
            raise struct.error("too many dimensions to be true")
        shape = _unpack(file, "Q" * dimensions)
        kind, offset = _unpack(file, "IQ")
        values, block_bytes = BLOCKS[kind]
        end = max(end, offset + -(-math.prod(shape) // values) * block_bytes)
    start = -(-file.tell() // alignment) * alignment
    return start + end
