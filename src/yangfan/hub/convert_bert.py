"""Turn a BERT encoder's safetensors folder into the GGUF file that llama.cpp runs, without torch.

An encoder gives embeddings. One with a classifier of one label (BertForSequenceClassification: a cross-encoder) ranks.

The names and facts are those of llama.cpp's own converter (class BertModel in
https://github.com/ggml-org/llama.cpp/blob/master/convert_hf_to_gguf.py). Matrices become 16-bit floats; norms, biases and
the embeddings of positions and types stay at 32 bits, as there.

Checked against a forward pass in NumPy: tests/hub/test_convert_bert.py.
"""

from __future__ import annotations

import os
import struct
from array import array
from typing import TYPE_CHECKING, Final, Literal, TypeVar

import msgspec

from yangfan.errors import ConfigurationError
from yangfan.weights import gguf
from yangfan.weights.safetensors import SafetensorsFile, TensorInfo

if TYPE_CHECKING:
    from pathlib import Path

_StructT = TypeVar("_StructT", bound=msgspec.Struct)

VERSION: Final = "1.gguf"
"""Changes whenever equal input would give another file."""

ARCHITECTURE: Final = "bert"
WEIGHTS: Final = "model.safetensors"
_POOLING: Final = {"mean": 1, "cls": 2, "rank": 4}
"""Numbers of `enum llama_pooling_type`."""

_NORMAL, _UNKNOWN, _CONTROL = 1, 2, 3
"""Numbers of `enum llama_token_type`."""

_SPECIAL: Final = {
    "[UNK]": _UNKNOWN,
    "[PAD]": _CONTROL,
    "[CLS]": _CONTROL,
    "[SEP]": _CONTROL,
    "[MASK]": _CONTROL,
}

_F16, _MOSTLY_F16 = "F16", 1
_CHUNK_ITEMS = 1 << 16
_WORD_START = "\u2581"

_TOP: Final = {
    "embeddings.word_embeddings": "token_embd",
    "embeddings.position_embeddings": "position_embd",
    "embeddings.token_type_embeddings": "token_types",
    "embeddings.LayerNorm": "token_embd_norm",
}
_BLOCK: Final = {
    "attention.self.query": "attn_q",
    "attention.self.key": "attn_k",
    "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output",
    "attention.output.LayerNorm": "attn_output_norm",
    "intermediate.dense": "ffn_up",
    "output.dense": "ffn_down",
    "output.LayerNorm": "layer_output_norm",
}
_HEAD: Final = {"pooler.dense": "cls", "classifier": "cls.output"}
"""What turns the first token's vector into a score."""

_KEPT_AT_32_BITS: Final = frozenset({"position_embd.weight", "token_types.weight"})


class BertConfig(msgspec.Struct, frozen=True):
    """The fields of `config.json` that decide the file."""

    model_type: str = ""
    hidden_act: str = "gelu"
    hidden_size: int = 768
    intermediate_size: int = 3072
    layer_norm_eps: float = 1e-12
    max_position_embeddings: int = 512
    num_attention_heads: int = 12
    num_hidden_layers: int = 12
    position_embedding_type: str = "absolute"
    type_vocab_size: int = 2


class _Pooling(msgspec.Struct, frozen=True):
    pooling_mode_cls_token: bool = False
    pooling_mode_mean_tokens: bool = False


class _TokenizerConfig(msgspec.Struct, frozen=True):
    do_lower_case: bool = True


def is_bert(folder: Path) -> bool:
    """Whether `convert` is for the model in this folder."""
    try:
        return _read(folder / "config.json", BertConfig).model_type == ARCHITECTURE
    except (ConfigurationError, OSError):
        return False


def convert(folder: Path, target: Path) -> None:
    """Write the GGUF file of a model folder; `target` appears whole or not at all. Takes seconds.

    Args:
        folder: Holds config.json, vocab.txt, model.safetensors and, for models of sentence-transformers,
            1_Pooling/config.json (mean pooling without it).
        target: The file to make; its folder is made, too.

    Raises:
        ConfigurationError: The folder is not such a model, or incomplete.
    """
    config = _read(folder / "config.json", BertConfig)
    _require_bert(config, folder)
    tokenizer = _read(folder / "tokenizer_config.json", _TokenizerConfig, _TokenizerConfig())
    tokens = _tokens(folder / "vocab.txt")
    source = SafetensorsFile(folder / WEIGHTS)
    ranks = "classifier.weight" in source.tensors
    pooling = "rank" if ranks else _pooling(folder)
    tensors = _tensors(source, _names(config.num_hidden_layers, ranks=ranks))
    facts: dict[str, gguf.Value] = {
        "general.architecture": ARCHITECTURE,
        "general.name": folder.name,
        "general.file_type": _MOSTLY_F16,
        f"{ARCHITECTURE}.block_count": config.num_hidden_layers,
        f"{ARCHITECTURE}.context_length": config.max_position_embeddings,
        f"{ARCHITECTURE}.embedding_length": config.hidden_size,
        f"{ARCHITECTURE}.feed_forward_length": config.intermediate_size,
        f"{ARCHITECTURE}.attention.head_count": config.num_attention_heads,
        f"{ARCHITECTURE}.attention.layer_norm_epsilon": config.layer_norm_eps,
        f"{ARCHITECTURE}.attention.causal": False,
        f"{ARCHITECTURE}.pooling_type": _POOLING[pooling],
        "tokenizer.ggml.model": "bert",
        "tokenizer.ggml.token_type_count": config.type_vocab_size,
        "tokenizer.ggml.normalizer.lowercase": tokenizer.do_lower_case,
        "tokenizer.ggml.tokens": [_spelled(token) for token in tokens],
        "tokenizer.ggml.token_type": [_token_type(token) for token in tokens],
        **_special_tokens(tokens, folder),
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        gguf.write(part, facts, tensors)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _require_bert(config: BertConfig, folder: Path) -> None:
    if config.model_type != ARCHITECTURE:
        raise ConfigurationError(
            f"{folder} holds a model of type {config.model_type!r}, and only bert encoders can be converted here; get it as"
            " a .gguf file"
        )
    if config.hidden_act != "gelu" or config.position_embedding_type != "absolute":
        raise ConfigurationError(
            f"{folder} is an unusual bert (hidden_act {config.hidden_act!r}, position_embedding_type"
            f" {config.position_embedding_type!r}) that llama.cpp does not run; take another model"
        )


def _pooling(folder: Path) -> Literal["mean", "cls"]:
    mean = _Pooling(pooling_mode_mean_tokens=True)
    found = _read(folder / "1_Pooling" / "config.json", _Pooling, mean)
    if found.pooling_mode_cls_token:
        return "cls"
    if found.pooling_mode_mean_tokens:
        return "mean"
    raise ConfigurationError(
        f"{folder / '1_Pooling' / 'config.json'} asks for a pooling that is neither mean nor cls; take another model"
    )


def _tokens(path: Path) -> list[str]:
    try:
        lines = path.read_text("utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"cannot read the vocabulary {path}: {error}") from error
    return lines[:-1] if lines[-1] == "" else lines


def _spelled(token: str) -> str:
    """llama.cpp marks where a word begins, BERT where one goes on."""
    if _token_type(token) != _NORMAL:
        return token
    return token[2:] if token.startswith("##") else _WORD_START + token


def _token_type(token: str) -> int:
    return _SPECIAL.get(token, _NORMAL)


def _special_tokens(tokens: list[str], folder: Path) -> dict[str, gguf.Value]:
    names = {
        "unknown_token_id": "[UNK]",
        "padding_token_id": "[PAD]",
        "bos_token_id": "[CLS]",
        "seperator_token_id": "[SEP]",
        "mask_token_id": "[MASK]",
    }  # llama.cpp spells it so
    try:
        return {f"tokenizer.ggml.{name}": tokens.index(token) for name, token in names.items()}
    except ValueError as error:
        raise ConfigurationError(
            f"{folder / 'vocab.txt'} lacks a token that BERT needs: {error}"
        ) from None


def _tensors(source: SafetensorsFile, names: dict[str, str]) -> list[gguf.Tensor]:
    """Every tensor that is wanted; heads that were only there for the encoder's training are left out."""
    found = {name.removeprefix("bert."): name for name in source.tensors}
    wanted = {
        f"{bert}.{part}": f"{ours}.{part}"
        for bert, ours in names.items()
        for part in ("weight", "bias")
        if part == "weight" or not bert.endswith("_embeddings")
    }
    missing = sorted(wanted.keys() - found.keys())
    if missing:
        raise ConfigurationError(
            f"{source.path} lacks {len(missing)} tensors of a bert encoder, {missing[0]} first; get the model again"
        )
    labels = source.tensors[found["classifier.weight"]].shape[0] if "classifier" in names else 1
    if labels != 1:
        raise ConfigurationError(
            f"{source.path} sorts texts into {labels} classes instead of scoring them; take a reranker with one label"
        )
    return [_tensor(source, found[bert], ours) for bert, ours in wanted.items()]


def _names(blocks: int, *, ranks: bool) -> dict[str, str]:
    """Hugging Face's names and llama.cpp's, without ``.weight`` and ``.bias``."""
    names = {**_TOP, **(_HEAD if ranks else {})}
    for block in range(blocks):
        for bert, ours in _BLOCK.items():
            names[f"encoder.layer.{block}.{bert}"] = f"blk.{block}.{ours}"
    return names


def _tensor(source: SafetensorsFile, name: str, ours: str) -> gguf.Tensor:
    info = source.tensors[name]
    if info.dtype not in {"F32", "F16", "BF16"}:
        raise ConfigurationError(
            f"{source.path}: tensor {name} is of type {info.dtype}; F32, F16 and BF16 can be converted"
        )
    is_matrix = len(info.shape) == 2 and ours not in _KEPT_AT_32_BITS
    dtype = "F16" if is_matrix else "F32"
    return gguf.Tensor(ours, info.shape, dtype, lambda: _converted(source.read(name), info, dtype))


def _converted(data: bytes, info: TensorInfo, dtype: Literal["F32", "F16"]) -> bytes:
    if info.dtype == dtype:
        return data
    code, item_bytes = {"F32": ("f", 4), "F16": ("e", 2), "BF16": ("H", 2)}[info.dtype]
    to_code = "e" if dtype == _F16 else "f"
    whole = bytearray()
    for begin in range(0, len(data), _CHUNK_ITEMS * item_bytes):
        chunk = data[begin : begin + _CHUNK_ITEMS * item_bytes]
        count = len(chunk) // item_bytes
        if info.dtype == "BF16":  # the upper half of a 32-bit float
            halves = struct.unpack(f"<{count}H", chunk)
            chunk, code = array("I", (half << 16 for half in halves)).tobytes(), "f"
        whole += struct.pack(f"<{count}{to_code}", *struct.unpack(f"<{count}{code}", chunk))
    return bytes(whole)


def _read(path: Path, kind: type[_StructT], default: _StructT | None = None) -> _StructT:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        if default is not None:
            return default
        raise ConfigurationError(f"the model has no {path}; get it again") from None
    except msgspec.MsgspecError as error:
        raise ConfigurationError(f"{path} cannot be used: {error}; get the model again") from None
