"""What goes between a pipeline and the processes that it starts: frames of MessagePack, arrays and texts as bytes; no pickle."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from yangfan.operators._texts import Counts

_LENGTH = struct.Struct("<Q")


class Array(msgspec.Struct, frozen=True, array_like=True):
    """An array of numbers."""

    kind: str
    """NumPy's name of the type."""
    shape: tuple[int, ...]
    content: bytes


class Strings(msgspec.Struct, frozen=True, array_like=True):
    """Texts, lone surrogates included."""

    lengths: bytes
    content: bytes


class Traced(msgspec.Struct, frozen=True, array_like=True):
    """What operators without memory did to a batch (`trace.Trace`)."""

    changed: dict[int, Array]
    dropper: Array
    reasons: dict[int, tuple[float | None, str]]
    failures: dict[int, str]
    reached: dict[int, tuple[Array, Array]]
    texts: Strings
    """Those of rows that are left and that an operator changed."""
    positions: Array


class Start(msgspec.Struct, frozen=True):
    """The first frame: what the process is to do.

    Attributes:
        recipe: Of a process that runs a chain's operators; None for one that runs one operator of third parties.
        operators: Folder of operators that are one file.
        name: The operator; `args`, `file` or `module`, `language` and `folder` go with it.
        memory_bytes: What the process may take; 0 for no limit.
        cpu_seconds: What one answer may take of a processor; 0 for no limit.
    """

    recipe: dict[str, Any] | None = None
    operators: str = ""
    name: str = ""
    args: dict[str, Any] = {}
    file: str = ""
    module: str = ""
    language: str = "auto"
    folder: str = ""
    memory_bytes: int = 0
    cpu_seconds: float = 0.0


class Ask(msgspec.Struct, frozen=True):
    """A question: what to do, and with what of it."""

    do: str
    texts: Strings | None = None
    array: Array | None = None
    state: dict[str, Any] = {}


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """What came of it; `error` where nothing did.

    Attributes:
        stage: After the start, the operator's stage.
        remembers: After the start, whether it has a memory.
        reasons: Of the values of texts that do not stay, in words.
    """

    error: str = ""
    traced: Traced | None = None
    texts: Strings | None = None
    keep: Array | None = None
    values: Array | None = None
    array: Array | None = None
    reasons: list[tuple[float, str]] = []
    state: dict[str, Any] = {}
    stage: str = ""
    remembers: bool = False


def write(file: BinaryIO, content: bytes) -> None:
    """Send a frame."""
    file.write(_LENGTH.pack(len(content)))
    file.write(content)
    file.flush()


def read(file: BinaryIO) -> bytes | None:
    """The next frame, or None where none comes any more."""
    head = file.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(head)
    content = file.read(length)
    return content if len(content) == length else None


def packed(array: NDArray[Any]) -> Array:
    """An array for a frame."""
    return Array(array.dtype.str, array.shape, array.tobytes())


def unpacked(array: Array) -> NDArray[Any]:
    """An array out of a frame.

    Raises:
        ValueError: It is none of numbers.
    """
    kind = np.dtype(array.kind)
    if kind.kind not in "biuf":
        raise ValueError(f"{array.kind!r} is no kind of number")
    return np.frombuffer(array.content, kind).reshape(array.shape)


def packed_strings(strings: list[str]) -> Strings:
    """Texts for a frame."""
    lengths: Counts = np.fromiter(map(len, strings), np.int64, len(strings))
    return Strings(lengths.tobytes(), "".join(strings).encode("utf-8", "surrogatepass"))


def unpacked_strings(strings: Strings) -> list[str]:
    """Texts out of a frame."""
    joined = strings.content.decode("utf-8", "surrogatepass")
    ends: list[int] = np.cumsum(np.frombuffer(strings.lengths, np.int64)).tolist()
    return [joined[start:end] for start, end in zip([0, *ends], ends, strict=False)]
