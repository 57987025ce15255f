"""A model whose every word is written down beforehand: a GGUF file in which each token names the ones that follow it.

Its attention and its feed-forward layer are zero and its tokens are unit vectors, so the output layer is a table: for each token the
favourite successor, the second, and so on. A grammar or a `logit_bias` that forbids the favourite brings the next one. It runs in
milliseconds, and llama.cpp reads its chat template as that of any other model.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from yangfan.weights import gguf

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

END = "</s>"
_SPECIAL = ["<unk>", "<s>", END]
_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED, _BYTE = 1, 2, 3, 4, 6
_HEAD_WIDTH, _INNER = 32, 32
_LOGITS = (40.0, 30.0, 20.0)


def token_ids(successors: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Number of every token of the model that `write` makes."""
    words = dict.fromkeys(_SPECIAL)
    words |= dict.fromkeys(f"<0x{byte:02X}>" for byte in range(256))
    for word, following in successors.items():
        words |= dict.fromkeys((word, *following))
    return {word: number for number, word in enumerate(words)}


def write(path: Path, successors: Mapping[str, Sequence[str]], template: str) -> None:
    """Write the model.

    Args:
        path: Where to.
        successors: What may follow a token, the likeliest first, at most three.
        template: Its chat template (Jinja).
    """
    ids = token_ids(successors)
    width = -(-len(ids) // _HEAD_WIDTH) * _HEAD_WIDTH

    def matrix(
        name: str, rows: int, columns: int, values: Mapping[tuple[int, int], float]
    ) -> gguf.Tensor:
        numbers = [0.0] * (rows * columns)
        for (row, column), value in values.items():
            numbers[row * columns + column] = value
        data = struct.pack(f"<{len(numbers)}f", *numbers)
        return gguf.Tensor(name, (rows, columns), "F32", lambda: data)

    def norm(name: str) -> gguf.Tensor:
        data = struct.pack(f"<{width}f", *[1.0] * width)
        return gguf.Tensor(f"{name}.weight", (width,), "F32", lambda: data)

    scale = width**0.5  # what the last norm makes of a unit vector
    table = {
        (ids[next_word], ids[word]): logit / scale
        for word, following in successors.items()
        for next_word, logit in zip(following, _LOGITS, strict=False)
    }
    tensors = [
        matrix("token_embd.weight", len(ids), width, {(at, at): 1.0 for at in ids.values()}),
        matrix("output.weight", len(ids), width, table),
        norm("output_norm"),
        norm("blk.0.attn_norm"),
        norm("blk.0.ffn_norm"),
        *(
            matrix(f"blk.0.{part}.weight", width, width, {})
            for part in ("attn_q", "attn_k", "attn_v", "attn_output")
        ),
        matrix("blk.0.ffn_gate.weight", _INNER, width, {}),
        matrix("blk.0.ffn_up.weight", _INNER, width, {}),
        matrix("blk.0.ffn_down.weight", width, _INNER, {}),
    ]
    kinds = [
        _UNKNOWN if word == "<unk>"
        else _CONTROL if word in _SPECIAL
        else _BYTE if word.startswith("<0x")
        else _USER_DEFINED
        for word in ids
    ]  # fmt: skip
    facts: dict[str, gguf.Value] = {
        "general.architecture": "llama",
        "llama.block_count": 1,
        "llama.context_length": 8192,
        "llama.embedding_length": width,
        "llama.feed_forward_length": _INNER,
        "llama.attention.head_count": width // _HEAD_WIDTH,
        "llama.attention.layer_norm_rms_epsilon": 1e-9,
        "llama.rope.dimension_count": _HEAD_WIDTH,
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": list(ids),
        "tokenizer.ggml.scores": [0.0] * len(ids),
        "tokenizer.ggml.token_type": kinds,
        "tokenizer.ggml.unknown_token_id": 0,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.add_bos_token": False,
        "tokenizer.ggml.add_space_prefix": False,
        "tokenizer.chat_template": template,
    }
    gguf.write(path, facts, tensors)
