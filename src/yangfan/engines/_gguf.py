"""The few facts about a GGUF model file that are needed before it is loaded.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

    from yangfan.engines.base import Kind

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


POOLING_NONE, POOLING_RANK = 0, 4
"""Numbers of `enum llama_pooling_type`: one vector a token, and one score a pair of texts."""

ENCODERS = frozenset(
    {
        "bert",
        "gemma-embedding",
        "jina-bert-v2",
        "jina-bert-v3",
        "modern-bert",
        "neo-bert",
        "nomic-bert",
        "nomic-bert-moe",
    }
)
"""Architectures that write no text; XLM-RoBERTa's files say bert, too."""


class NotGGUFError(ValueError):
    """The file is no GGUF file, or ends inside its header."""


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
        if self.pooling_type == POOLING_RANK:
            return "rerank"
        if self.architecture in ENCODERS or self.pooling_type:
            return "embeddings"
        return "chat"


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


VERSIONS = frozenset({2, 3})
MOST_DIMENSIONS = 4
LONGEST_KEY_BYTES = 1 << 16
_BLOCKS = {
    0: (1, 4),
    1: (1, 2),
    2: (32, 18),
    3: (32, 20),
    6: (32, 22),
    7: (32, 24),
    8: (32, 34),
    9: (32, 36),
    10: (256, 84),
    11: (256, 110),
    12: (256, 144),
    13: (256, 176),
    14: (256, 210),
    15: (256, 292),
    24: (1, 1),
    25: (1, 2),
    26: (1, 4),
    27: (1, 8),
    28: (1, 8),
    30: (1, 2),
}
"""Of `enum ggml_type`: numbers in a block, and its bytes. Of types that are not here, only where they begin is checked."""


def check(path: Path) -> None:
    """Read the whole header and hold every count, length and place in it against the file's size.

    Raises:
        NotGGUFError: Something in it cannot be; the message says what.
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        size_bytes = file.seek(0, 2)
        file.seek(0)
        try:
            _check(_Reader(file, size_bytes))
        except (struct.error, UnicodeDecodeError) as error:
            raise NotGGUFError(
                f"{path} is corrupted or incomplete: {error}; get it again"
            ) from error


class _Reader:
    """Reads a file and never beyond its end."""

    def __init__(self, file: BinaryIO, size_bytes: int) -> None:
        self._file = file
        self.size_bytes = size_bytes
        self.position = 0

    def take(self, count: int, what: str) -> bytes:
        self.require(count, what)
        self.position += count
        return self._file.read(count)

    def skip(self, count: int, what: str) -> None:
        self.require(count, what)
        self.position += count
        self._file.seek(count, 1)

    def require(self, count: int, what: str) -> None:
        if count > self.size_bytes - self.position:
            raise struct.error(f"{what} would end beyond the file")

    def number(self, layout: str, what: str) -> int:
        layout = "<" + layout
        return int(struct.unpack(layout, self.take(struct.calcsize(layout), what))[0])

    def string(self, what: str, longest: int = _LONGEST_STRING_BYTES) -> bytes:
        length = self.number("Q", what)
        if length > longest:
            raise struct.error(f"{what} has {length} bytes")
        return self.take(length, what)


def _check(reader: _Reader) -> None:
    if reader.take(4, "the file's first word") != MAGIC:
        raise struct.error("it does not begin as a GGUF file")
    version = reader.number("I", "the version")
    if version not in VERSIONS:
        raise struct.error(f"its format has version {version}, known are 2 and 3")
    tensors, keys = (
        reader.number("Q", "the count of tensors"),
        reader.number("Q", "the count of keys"),
    )
    # A key takes 13 bytes at least, a tensor 32.
    reader.require(13 * keys + 32 * tensors, f"a header with {keys} keys and {tensors} tensors")
    alignment, seen = 32, set[bytes]()
    for _ in range(keys):
        key = reader.string("a key", LONGEST_KEY_BYTES)
        key.decode()
        if key in seen:
            raise struct.error("it has a key twice")
        seen.add(key)
        kind = reader.number("I", "the type of a value")
        if key == b"general.alignment" and kind == 4:
            alignment = reader.number("I", "the alignment")
            if not 1 <= alignment <= 1 << 20 or alignment & (alignment - 1):
                raise struct.error(f"its alignment is {alignment}")
        else:
            _check_value(reader, kind)
    places = [_check_tensor(reader) for _ in range(tensors)]
    if len({name for name, _, _ in places}) != tensors:
        raise struct.error("it has a tensor twice")
    start = -(-reader.position // alignment) * alignment
    for name, offset, size in places:
        if offset % alignment or start + offset + size > reader.size_bytes:
            shown = name.decode("utf-8", "replace")[:64]
            raise struct.error(
                f"the tensor {shown!r} lies beyond the file, or across its alignment"
            )


def _check_value(reader: _Reader, kind: int) -> None:
    if kind == _STRING:
        reader.skip(reader.number("Q", "a string"), "a string")
    elif kind in _SCALARS:
        reader.skip(struct.calcsize(_SCALARS[kind]), "a value")
    elif kind == _ARRAY:
        element, count = reader.number("I", "an array"), reader.number("Q", "an array")
        if element in _SCALARS:
            reader.skip(count * struct.calcsize(_SCALARS[element]), f"an array of {count} numbers")
        elif element == _STRING:
            reader.require(8 * count, f"an array of {count} strings")
            for _ in range(count):
                reader.skip(reader.number("Q", "a string"), "a string")
        else:
            raise struct.error(f"it has an array of type {element}")
    else:
        raise struct.error(f"it has a value of type {kind}")


def _check_tensor(reader: _Reader) -> tuple[bytes, int, int]:
    """Name, offset and bytes of the next entry of the tensor table."""
    name = reader.string("a tensor's name", LONGEST_KEY_BYTES)
    dimensions = reader.number("I", "a tensor's dimensions")
    if dimensions > MOST_DIMENSIONS:
        raise struct.error(f"it has a tensor with {dimensions} dimensions")
    count = row = 1
    for number in range(dimensions):
        length = reader.number("Q", "a tensor's dimensions")
        count *= length
        if not 0 < length < 1 << 63 or count >= 1 << 63:
            raise struct.error("it has a tensor of an impossible size")
        if number == 0:
            row = length
    kind, offset = reader.number("I", "a tensor's type"), reader.number("Q", "a tensor's place")
    if kind not in _BLOCKS:
        return name, offset, 0
    items, size = _BLOCKS[kind]
    if dimensions and row % items:
        raise struct.error("it has a tensor with a row that is no whole number of blocks")
    return name, offset, count // items * size


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
