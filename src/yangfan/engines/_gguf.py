"""The few facts about a GGUF model file that are needed before it is loaded.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

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
        pooling_type: Number of `enum llama_pooling_type` for models that give embeddings, None for the others.
    """

    architecture: str = ""
    context_tokens: int | None = None
    pooling_type: int | None = None
    type: str = ""
    original_context_tokens: int | None = None

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
        except (struct.error, UnicodeDecodeError, KeyError, MemoryError) as error:
            raise NotGGUFError(
                f"{path} is incomplete or damaged: its header cannot be read; get the file again"
            ) from error


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
        elif key.endswith(".rope.scaling.original_context_length") and kind in _SCALARS:
            length = int(_unpack(file, _SCALARS[kind])[0])
            facts = facts._replace(original_context_tokens=length)
        elif key.endswith(".context_length") and kind in _SCALARS:
            facts = facts._replace(context_tokens=int(_unpack(file, _SCALARS[kind])[0]))
        elif key.endswith(".pooling_type") and kind in _SCALARS:
            facts = facts._replace(pooling_type=int(_unpack(file, _SCALARS[kind])[0]))
        elif key.startswith("tokenizer.") and facts.context_tokens is not None:
            break  # the vocabulary is long, and the model's own keys come before it
        else:
            _skip(file, kind)
    return facts


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
