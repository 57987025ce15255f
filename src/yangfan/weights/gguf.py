"""Read and write GGUF files, versions 2 and 3 (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md).

The reader holds every count, length and place in a header against the file's size, so what it returns can be trusted by
programs that do not look themselves. It reads no weights.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, BinaryIO, Final, Literal, NamedTuple

import msgspec

from yangfan.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MAGIC: Final = b"GGUF"
ALIGNMENT_BYTES: Final = 32
VERSION: Final = 3
VERSIONS: Final = frozenset({2, 3})

MOST_DIMENSIONS: Final = 4
LONGEST_KEY_BYTES: Final = 1 << 16
LONGEST_STRING_BYTES: Final = 1 << 26
LONGEST_LIST: Final = 1 << 12
"""Arrays of numbers up to this length are read; of longer ones and of strings only the length is kept."""

UINT32, INT32, FLOAT32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9
SCALARS: Final = {
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
"""Number of a value's type in the file, and its letter for `struct`."""


class BlockType(NamedTuple):
    """How a tensor's numbers are kept: name, numbers in a block, bytes of a block."""

    name: str
    items: int
    size_bytes: int


TYPES: Final = {
    0: BlockType("F32", 1, 4),
    1: BlockType("F16", 1, 2),
    2: BlockType("Q4_0", 32, 18),
    3: BlockType("Q4_1", 32, 20),
    6: BlockType("Q5_0", 32, 22),
    7: BlockType("Q5_1", 32, 24),
    8: BlockType("Q8_0", 32, 34),
    9: BlockType("Q8_1", 32, 40),
    10: BlockType("Q2_K", 256, 84),
    11: BlockType("Q3_K", 256, 110),
    12: BlockType("Q4_K", 256, 144),
    13: BlockType("Q5_K", 256, 176),
    14: BlockType("Q6_K", 256, 210),
    15: BlockType("Q8_K", 256, 292),
    16: BlockType("IQ2_XXS", 256, 66),
    17: BlockType("IQ2_XS", 256, 74),
    18: BlockType("IQ3_XXS", 256, 98),
    19: BlockType("IQ1_S", 256, 50),
    20: BlockType("IQ4_NL", 32, 18),
    21: BlockType("IQ3_S", 256, 110),
    22: BlockType("IQ2_S", 256, 82),
    23: BlockType("IQ4_XS", 256, 136),
    24: BlockType("I8", 1, 1),
    25: BlockType("I16", 1, 2),
    26: BlockType("I32", 1, 4),
    27: BlockType("I64", 1, 8),
    28: BlockType("F64", 1, 8),
    29: BlockType("IQ1_M", 256, 56),
    30: BlockType("BF16", 1, 2),
    34: BlockType("TQ1_0", 256, 54),
    35: BlockType("TQ2_0", 256, 66),
    39: BlockType("MXFP4", 32, 17),
    40: BlockType("NVFP4", 64, 36),
    41: BlockType("Q1_0", 128, 18),
}
"""By the number of `enum ggml_type`; tests hold it against the package `gguf`. Of types that are not here, only where a tensor
begins is checked."""

NUMBERS: Final = {kind.name: number for number, kind in TYPES.items()}
"""Number of `enum ggml_type` by name."""

FILE_TYPES: Final = {
    0: "F32",
    1: "F16",
    2: "Q4_0",
    3: "Q4_1",
    7: "Q8_0",
    8: "Q5_0",
    9: "Q5_1",
    10: "Q2_K",
    11: "Q3_K_S",
    12: "Q3_K_M",
    13: "Q3_K_L",
    14: "Q4_K_S",
    15: "Q4_K_M",
    16: "Q5_K_S",
    17: "Q5_K_M",
    18: "Q6_K",
    19: "IQ2_XXS",
    20: "IQ2_XS",
    21: "Q2_K_S",
    22: "IQ3_XS",
    23: "IQ3_XXS",
    24: "IQ1_S",
    25: "IQ4_NL",
    26: "IQ3_S",
    27: "IQ3_M",
    28: "IQ2_S",
    29: "IQ2_M",
    30: "IQ4_XS",
    31: "IQ1_M",
    32: "BF16",
    36: "TQ1_0",
    37: "TQ2_0",
    38: "MXFP4_MOE",
    39: "NVFP4",
    40: "Q1_0",
}
"""`general.file_type`, how most tensors are kept, by the number of `enum llama_ftype`."""

FILE_TYPE_NUMBERS: Final = {name: number for number, name in FILE_TYPES.items()}

POOLING_NONE, POOLING_RANK = 0, 4
"""Numbers of `enum llama_pooling_type`: one vector a token, and one score a pair of texts."""

ENCODERS: Final = frozenset(
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

Kind = Literal["chat", "embeddings", "rerank"]

Value = bool | int | float | str | list[str] | list[int] | list[float]
"""A fact: a bool, an unsigned 32-bit integer, a 32-bit float, a string, strings, signed 32-bit integers, or 32-bit floats."""


class NotGGUFError(ConfigurationError):
    """The file is no GGUF file, or its header says what cannot be."""


def kind_of(architecture: str, pooling_type: int | None) -> Kind:
    """What a model can be asked for, by its architecture and how it sums up a text (None: it does not say)."""
    if pooling_type == POOLING_RANK:
        return "rerank"
    if architecture in ENCODERS or pooling_type:
        return "embeddings"
    return "chat"


# Reading ----------------------------------------------------------------------------------------------


class Fact(NamedTuple):
    """One value of a header.

    Attributes:
        type: Number of the value's type; of an array's elements if it is one.
        value: A number, a bool or a text; for an array a list of numbers, or None if it holds strings or is long.
        length: Of an array; 1 for a single value.
        begin: Where the entry, key included, begins in the file, in bytes.
        end: Where it ends.
    """

    type: int
    value: bool | int | float | str | list[int | float | bool] | None
    length: int
    begin: int
    end: int


class TensorPlace(NamedTuple):
    """One entry of the tensor table.

    Attributes:
        name: Its name.
        dimensions: The fastest first, as the file has them.
        type: Number of `enum ggml_type`.
        offset: Of its data, from where data begins, in bytes.
        size_bytes: Of its data; 0 for a type that is not in `TYPES`.
    """

    name: str
    dimensions: tuple[int, ...]
    type: int
    offset: int
    size_bytes: int

    @property
    def items(self) -> int:
        """Numbers in it."""
        return math.prod(self.dimensions)


class Header(NamedTuple):
    """What stands before the weights.

    Attributes:
        version: Of the format.
        facts: Every value, by key, in order.
        tensors: The table of tensors, in order.
        data_begin: Where the weights begin in the file, in bytes.
        size_bytes: Of the file.
    """

    version: int
    facts: dict[str, Fact]
    tensors: tuple[TensorPlace, ...]
    data_begin: int
    size_bytes: int

    def text(self, key: str) -> str:
        """The text of a key, "" if there is none."""
        fact = self.facts.get(key)
        return fact.value if fact is not None and isinstance(fact.value, str) else ""

    def number(self, key: str) -> int | None:
        """The whole number of a key, the largest if it holds several (some models have one for each layer); None if there is none."""
        fact = self.facts.get(key)
        if fact is None:
            return None
        values = fact.value if isinstance(fact.value, list) else [fact.value]
        numbers = [value for value in values if isinstance(value, int)]
        return max(numbers, default=None)


def read(path: Path) -> Header:
    """Read a whole header and hold every count, length and place in it against the file's size.

    Raises:
        NotGGUFError: Something in it cannot be; the message says what.
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        size_bytes = file.seek(0, 2)
        file.seek(0)
        try:
            return _read(_Reader(file, size_bytes))
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

    def number(self, letter: str, what: str) -> int:
        letter = "<" + letter
        return struct.unpack(letter, self.take(struct.calcsize(letter), what))[0]

    def string(self, what: str, longest: int = LONGEST_STRING_BYTES) -> bytes:
        length = self.number("Q", what)
        if length > longest:
            raise struct.error(f"{what} has {length} bytes")
        return self.take(length, what)


def _read(reader: _Reader) -> Header:
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
    facts: dict[str, Fact] = {}
    for _ in range(keys):
        begin = reader.position
        key = reader.string("a key", LONGEST_KEY_BYTES).decode()
        if key in facts:
            raise struct.error("it has a key twice")
        facts[key] = _read_fact(reader, begin)
    alignment = _alignment(facts)
    places = [_read_place(reader) for _ in range(tensors)]
    if len({place.name for place in places}) != tensors:
        raise struct.error("it has a tensor twice")
    start = -(-reader.position // alignment) * alignment
    for place in places:
        if place.offset % alignment or start + place.offset + place.size_bytes > reader.size_bytes:
            raise struct.error(
                f"the tensor {place.name[:64]!r} lies beyond the file, or across its alignment"
            )
    return Header(version, facts, tuple(places), start, reader.size_bytes)


def _alignment(facts: Mapping[str, Fact]) -> int:
    fact = facts.get("general.alignment")
    if fact is None or fact.type != UINT32 or not isinstance(fact.value, int):
        return ALIGNMENT_BYTES
    if not 1 <= fact.value <= 1 << 20 or fact.value & (fact.value - 1):
        raise struct.error(f"its alignment is {fact.value}")
    return fact.value


def _read_fact(reader: _Reader, begin: int) -> Fact:
    kind = reader.number("I", "the type of a value")
    if kind == STRING:
        text = reader.string("a string").decode("utf-8", "replace")
        return Fact(kind, text, 1, begin, reader.position)
    if kind in SCALARS:
        return Fact(kind, reader.number(SCALARS[kind], "a value"), 1, begin, reader.position)
    if kind != ARRAY:
        raise struct.error(f"it has a value of type {kind}")
    element, count = reader.number("I", "an array"), reader.number("Q", "an array")
    values = None
    if element in SCALARS:
        letter = SCALARS[element]
        size, what = count * struct.calcsize("<" + letter), f"an array of {count} numbers"
        reader.require(size, what)
        if count <= LONGEST_LIST:
            values = list(struct.unpack(f"<{count}{letter}", reader.take(size, what)))
        else:
            reader.skip(size, what)
    elif element == STRING:
        reader.require(8 * count, f"an array of {count} strings")
        for _ in range(count):
            reader.skip(reader.number("Q", "a string"), "a string")
    else:
        raise struct.error(f"it has an array of type {element}")
    return Fact(element, values, count, begin, reader.position)


def _read_place(reader: _Reader) -> TensorPlace:
    """The next entry of the tensor table."""
    name = reader.string("a tensor's name", LONGEST_KEY_BYTES).decode("utf-8", "replace")
    count = reader.number("I", "a tensor's dimensions")
    if count > MOST_DIMENSIONS:
        raise struct.error(f"it has a tensor with {count} dimensions")
    dimensions = tuple(reader.number("Q", "a tensor's dimensions") for _ in range(count))
    items = 1
    for length in dimensions:
        items *= length
        if not 0 < length < 1 << 63 or items >= 1 << 63:
            raise struct.error("it has a tensor of an impossible size")
    kind, offset = reader.number("I", "a tensor's type"), reader.number("Q", "a tensor's place")
    block = TYPES.get(kind)
    if block is None:
        return TensorPlace(name, dimensions, kind, offset, 0)
    if dimensions and dimensions[0] % block.items:
        raise struct.error("it has a tensor with a row that is no whole number of blocks")
    return TensorPlace(name, dimensions, kind, offset, items // block.items * block.size_bytes)


# Writing ----------------------------------------------------------------------------------------------


class Tensor(msgspec.Struct, frozen=True):
    """A tensor to write.

    Attributes:
        name: Name in the file.
        shape: As in NumPy, the fastest dimension last.
        dtype: How its numbers are written: a name of `TYPES`.
        read: Returns its bytes, in pieces or as one; called once, when it is written, so that one tensor at a time is in memory.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    read: Callable[[], bytes | Iterable[bytes]]

    @property
    def size_bytes(self) -> int:
        """Bytes of its data."""
        _, items, size = TYPES[NUMBERS[self.dtype]]
        for length in self.shape:
            size *= length
        return size // items


class Array(msgspec.Struct, frozen=True):
    """Facts of one type, where `Value` does not say which: an array of this type of `SCALARS`."""

    type: int
    values: Sequence[float]


class Raw(msgspec.Struct, frozen=True):
    """A fact as another file has it: the bytes of its type and value, its key left out."""

    data: bytes


def write(
    path: Path,
    facts: Mapping[str, Value | Array | Raw],
    tensors: Sequence[Tensor],
    progress: Callable[[int], None] | None = None,
) -> None:
    """Write a model file; whoever needs it whole or not at all writes to another name first.

    Args:
        path: Where to; an existing file is replaced.
        facts: Keys and values of the header, in order.
        tensors: What follows it, in order.
        progress: Told the bytes of the file after each tensor.
    """
    with path.open("wb") as file:
        file.write(MAGIC + struct.pack("<IQQ", VERSION, len(tensors), len(facts)))
        for key, value in facts.items():
            file.write(_string(key) + _fact(value))
        offset = 0
        for tensor in tensors:
            dimensions = struct.pack(f"<{len(tensor.shape)}Q", *reversed(tensor.shape))
            number = NUMBERS[tensor.dtype]
            file.write(_string(tensor.name) + struct.pack("<I", len(tensor.shape)) + dimensions)
            file.write(struct.pack("<IQ", number, offset))
            offset += _aligned(tensor.size_bytes)
        _pad(file)
        for tensor in tensors:
            begin = file.tell()
            data = tensor.read()
            for piece in [data] if isinstance(data, bytes) else data:
                file.write(piece)
            assert file.tell() - begin == tensor.size_bytes, tensor.name
            _pad(file)
            if progress is not None:
                progress(file.tell())


def _fact(value: Value | Array | Raw) -> bytes:
    if isinstance(value, Raw):
        return value.data
    return _array(value) if isinstance(value, Array) else _value(value)


def _array(array: Array) -> bytes:
    count, letter = len(array.values), SCALARS[array.type]
    return struct.pack(f"<IIQ{count}{letter}", ARRAY, array.type, count, *array.values)


def _value(value: Value) -> bytes:
    match value:
        case bool():
            return struct.pack("<I?", BOOL, value)
        case int():
            return struct.pack("<II", UINT32, value)
        case float():
            return struct.pack("<If", FLOAT32, value)
        case str():
            return struct.pack("<I", STRING) + _string(value)
        case _:
            return struct.pack("<I", ARRAY) + _items(value)


def _items(values: list[str] | list[int] | list[float]) -> bytes:
    texts = [_string(value) for value in values if isinstance(value, str)]
    if texts:
        return struct.pack("<IQ", STRING, len(texts)) + b"".join(texts)
    if any(isinstance(value, float) for value in values):
        return struct.pack(f"<IQ{len(values)}f", FLOAT32, len(values), *values)
    return struct.pack(f"<IQ{len(values)}i", INT32, len(values), *values)


def _string(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _aligned(size_bytes: int) -> int:
    return -(-size_bytes // ALIGNMENT_BYTES) * ALIGNMENT_BYTES


def _pad(file: BinaryIO) -> None:
    file.write(bytes(-file.tell() % ALIGNMENT_BYTES))
