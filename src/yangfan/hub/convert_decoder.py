"""Turn a Hugging Face folder of a language model into the GGUF file that llama.cpp runs, without torch and without loss.

Weights keep their type, bit for bit; only norms and biases, which llama.cpp wants so, become 32-bit floats. Names, facts and the
order of rows are those of llama.cpp's own converter (classes LlamaModel, Qwen2Model, Qwen3Model and Ernie4_5Model in
https://github.com/ggml-org/llama.cpp/blob/master/convert_hf_to_gguf.py); which regular expression a tokenizer cuts words by is
read from tokenizer.json and compared with those in `pretokenizers.toml`, where that converter compares a hash.

Checked against Transformers and llama.cpp themselves: tests/hub/test_convert_decoder.py.
"""

from __future__ import annotations

import importlib.resources
import math
import os
import struct
import tomllib
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

import msgspec

from yangfan.errors import ConfigurationError
from yangfan.hub.inspection import read_json
from yangfan.weights import gguf
from yangfan.weights.safetensors import SafetensorsFile, TensorInfo

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

VERSION: Final = "1.gguf"
"""Changes whenever equal input would give another file."""


class _Architecture(NamedTuple):
    """How llama.cpp calls it, and whether it turns neighbouring numbers (so that rows must be reordered) or halves."""

    name: str
    is_interleaved: bool = False


ARCHITECTURES: Final = {
    "LlamaForCausalLM": _Architecture("llama", is_interleaved=True),
    "MistralForCausalLM": _Architecture("llama", is_interleaved=True),
    "Qwen2ForCausalLM": _Architecture("qwen2"),
    "Qwen3ForCausalLM": _Architecture("qwen3"),
    "Ernie4_5ForCausalLM": _Architecture("ernie4_5"),
}
"""What can be converted, by the class that config.json names."""

_TOP: Final = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}
_BLOCK: Final = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
_LEFT_OUT: Final = (".rotary_emb.inv_freq", ".attention.masked_bias")
_NEEDED: Final = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")

_FLOATS: Final = {"F32": ("f", 4), "F16": ("e", 2), "BF16": ("H", 2)}

_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED, _UNUSED, _BYTE = 1, 2, 3, 4, 5, 6
"""Numbers of `enum llama_token_type`; SentencePiece has the same."""

MAX_TOKENS: Final = 1 << 22


class _Rope(msgspec.Struct, frozen=True):
    """`rope_parameters` of config.json, or `rope_scaling` as older folders call it."""

    rope_type: str = ""
    type: str = ""
    rope_theta: float | None = None
    factor: float = 1.0
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    original_max_position_embeddings: int | None = None


class _Config(msgspec.Struct, frozen=True):
    """The fields of config.json that decide the file."""

    architectures: tuple[str, ...] = ()
    hidden_act: str = "silu"
    hidden_size: int = 0
    intermediate_size: int = 0
    num_hidden_layers: int = 0
    num_attention_heads: int = 0
    num_key_value_heads: int | None = None
    head_dim: int | None = None
    max_position_embeddings: int = 2048
    rms_norm_eps: float = 1e-6
    rope_theta: float | None = None
    rope_scaling: _Rope | None = None
    rope_parameters: _Rope | None = None
    tie_word_embeddings: bool = False
    vocab_size: int = 0
    bos_token_id: int | list[int] | None = None
    eos_token_id: int | list[int] | None = None
    pad_token_id: int | None = None

    @property
    def key_value_heads(self) -> int:
        return self.num_key_value_heads or self.num_attention_heads

    @property
    def head_size(self) -> int:
        return self.head_dim or self.hidden_size // self.num_attention_heads

    @property
    def rope(self) -> _Rope:
        return self.rope_parameters or self.rope_scaling or _Rope()

    @property
    def rope_base(self) -> float:
        return self.rope.rope_theta or self.rope_theta or 10_000.0


def is_convertible(folder: Path) -> bool:
    """Whether `convert` is for the model in this folder, by what config.json says."""
    try:
        names = read_json(folder / "config.json").get("architectures")
    except ConfigurationError:
        return False
    return (
        isinstance(names, list) and str(next(iter(cast("list[Any]", names)), "")) in ARCHITECTURES
    )


def convert(
    folder: Path,
    target: Path,
    *,
    licence: str = "",
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write the GGUF file of a model folder; `target` appears whole or not at all.

    Args:
        folder: Holds config.json, the safetensors files and the tokenizer (tokenizer.json, or tokenizer.model of SentencePiece).
        target: The file to make; its folder is made, too.
        licence: To write into it.
        progress: Told the bytes written and those to write; whatever it raises ends the work.

    Raises:
        ConfigurationError: The folder is not such a model, or incomplete, or its tokenizer is not known here.
    """
    config = _config(folder)
    architecture = ARCHITECTURES[config.architectures[0]]
    weights = _Weights(folder)
    tensors = _tensors(config, architecture, weights)
    vocabulary = _vocabulary(folder, config, weights)
    facts: dict[str, gguf.Value | gguf.Array | gguf.Raw] = {
        "general.architecture": architecture.name,
        "general.type": "model",
        "general.name": folder.name,
        **({"general.license": licence} if licence else {}),
        "general.file_type": gguf.FILE_TYPE_NUMBERS[weights.dtype],
        "general.quantization_version": 2,
        **_facts(config, architecture),
        **vocabulary,
    }
    total = sum(tensor.size_bytes for tensor in tensors)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        gguf.write(
            part, facts, tensors, progress and (lambda done: progress(min(done, total), total))
        )
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _config(folder: Path) -> _Config:
    raw = read_json(folder / "config.json")
    try:
        config = msgspec.convert(raw, _Config)
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"config.json cannot be used: {error}") from error
    name = config.architectures[0] if config.architectures else ""
    if name not in ARCHITECTURES:
        raise ConfigurationError(
            f"the model is a {name or 'model that names no class'}, and only {', '.join(ARCHITECTURES)} and bert encoders can be "
            "converted to GGUF here; get it as a .gguf file"
        )
    if (
        not 0 < config.num_hidden_layers <= 1024
        or not 0 < config.key_value_heads <= config.num_attention_heads
        or config.hidden_size < 1
        or not 0 < config.vocab_size <= MAX_TOKENS
        or config.head_size < 2
        or config.head_size % 2
    ):
        raise ConfigurationError("config.json says layers, heads or sizes that cannot be")
    if config.hidden_act != "silu":
        raise ConfigurationError(
            f"the model uses {config.hidden_act!r} where llama.cpp computes silu; take another model"
        )
    return config


# Facts ------------------------------------------------------------------------------------------------


def _facts(config: _Config, architecture: _Architecture) -> dict[str, gguf.Value]:
    name = architecture.name
    facts: dict[str, gguf.Value] = {
        f"{name}.block_count": config.num_hidden_layers,
        f"{name}.context_length": config.max_position_embeddings,
        f"{name}.embedding_length": config.hidden_size,
        f"{name}.feed_forward_length": config.intermediate_size,
        f"{name}.attention.head_count": config.num_attention_heads,
        f"{name}.attention.head_count_kv": config.key_value_heads,
        f"{name}.attention.key_length": config.head_size,
        f"{name}.attention.value_length": config.head_size,
        f"{name}.attention.layer_norm_rms_epsilon": config.rms_norm_eps,
        f"{name}.rope.freq_base": config.rope_base,
        f"{name}.rope.dimension_count": config.head_size,
        f"{name}.vocab_size": config.vocab_size,
    }
    kind = config.rope.rope_type or config.rope.type
    if kind in {"linear", "yarn"}:
        facts[f"{name}.rope.scaling.type"] = kind
        facts[f"{name}.rope.scaling.factor"] = config.rope.factor
        if config.rope.original_max_position_embeddings:
            facts[f"{name}.rope.scaling.original_context_length"] = (
                config.rope.original_max_position_embeddings
            )
    elif kind not in {"", "default", "llama3"}:
        raise ConfigurationError(
            f"the model scales its positions by {kind!r}; linear, yarn and llama3 can be converted"
        )
    return facts


def _rope_factors(config: _Config) -> list[float]:
    """What Llama 3.1 divides each frequency by (`_compute_llama3_parameters` in Transformers' modeling_rope_utils.py)."""
    rope, size = config.rope, config.head_size
    original = rope.original_max_position_embeddings or 8192
    factors: list[float] = []
    for position in range(0, size, 2):
        length = 2 * math.pi * config.rope_base ** (position / size)
        if length < original / rope.high_freq_factor:
            factors.append(1.0)
        elif length > original / rope.low_freq_factor:
            factors.append(rope.factor)
        else:
            smooth = (original / length - rope.low_freq_factor) / (
                rope.high_freq_factor - rope.low_freq_factor
            )
            factors.append(1 / ((1 - smooth) / rope.factor + smooth))
    return factors


# Weights ----------------------------------------------------------------------------------------------


class _Weights:
    """All tensors of a folder, whatever files they are in."""

    def __init__(self, folder: Path) -> None:
        self._files: dict[str, SafetensorsFile] = {}
        for path in sorted(folder.glob("*.safetensors")):
            file = SafetensorsFile(path)
            for name in file.tensors:
                if name in self._files:
                    raise ConfigurationError(f"the tensor {name[:80]!r} is in two files")
                self._files[name] = file

    @property
    def names(self) -> list[str]:
        return list(self._files)

    @property
    def dtype(self) -> str:
        """How most of the weights are kept."""
        sizes: dict[str, int] = {}
        for name in self._files:
            info = self.info(name)
            sizes[info.dtype] = (
                sizes.get(info.dtype, 0) + info.data_offsets[1] - info.data_offsets[0]
            )
        return max(sizes, key=lambda dtype: sizes[dtype])

    def info(self, name: str) -> TensorInfo:
        return self._files[name].tensors[name]

    def read(self, name: str) -> bytes:
        return self._files[name].read(name)


def _tensors(config: _Config, architecture: _Architecture, weights: _Weights) -> list[gguf.Tensor]:
    names = _names(config, weights)
    heads = {"attn_q": config.num_attention_heads, "attn_k": config.key_value_heads}
    tensors: list[gguf.Tensor] = []
    kind = config.rope.rope_type or config.rope.type
    if kind == "llama3":
        factors = _rope_factors(config)
        data = struct.pack(f"<{len(factors)}f", *factors)
        tensors.append(gguf.Tensor("rope_freqs.weight", (len(factors),), "F32", lambda: data))
    for name, ours in names.items():
        part = ours.split(".")[-2]
        count = heads.get(part, 0) if architecture.is_interleaved else 0
        tensors.append(_tensor(weights, name, ours, count))
    return tensors


def _names(config: _Config, weights: _Weights) -> dict[str, str]:
    """Hugging Face's name of every tensor that is taken, and llama.cpp's; nothing may be left over and nothing lack."""
    known = dict(_TOP)
    for block in range(config.num_hidden_layers):
        for theirs, ours in _BLOCK.items():
            for part in ("weight", "bias"):
                known[f"model.layers.{block}.{theirs}.{part}"] = f"blk.{block}.{ours}.{part}"
    held = [name for name in weights.names if not name.endswith(_LEFT_OUT)]
    strange = sorted(set(held) - known.keys())
    if strange:
        raise ConfigurationError(
            f"the model has {len(strange)} tensors that its class does not have, {strange[0][:120]!r} first; it cannot be converted"
        )
    needed = [
        f"model.layers.{b}.{part}" for b in range(config.num_hidden_layers) for part in _needed()
    ]
    lacking = sorted({*needed, "model.embed_tokens.weight", "model.norm.weight"} - set(held))
    if not config.tie_word_embeddings and "lm_head.weight" not in held:
        lacking.append("lm_head.weight")
    if lacking:
        raise ConfigurationError(
            f"the model lacks {len(lacking)} tensors, {lacking[0]} first; get it again"
        )
    if config.tie_word_embeddings:
        held = [name for name in held if name != "lm_head.weight"]
    return {name: known[name] for name in known if name in set(held)}


def _needed() -> list[str]:
    return [f"{theirs}.weight" for theirs in _BLOCK if theirs.endswith(("layernorm", *_NEEDED))]


def _tensor(weights: _Weights, name: str, ours: str, heads: int) -> gguf.Tensor:
    info = weights.info(name)
    if info.dtype not in _FLOATS:
        raise ConfigurationError(
            f"the tensor {name} is of type {info.dtype}; F32, F16 and BF16 can be converted"
        )
    rows = next(iter(info.shape), 0)
    if len(info.shape) not in {1, 2} or (heads and rows % (2 * heads)):
        raise ConfigurationError(f"the tensor {name} has a shape that cannot be: {info.shape}")
    dtype = info.dtype if len(info.shape) == 2 else "F32"

    def read() -> bytes:
        data = weights.read(name)
        if heads:
            data = _interleaved(data, rows, heads)
        return data if dtype == info.dtype else _as_floats(data, info.dtype)

    return gguf.Tensor(ours, info.shape, dtype, read)


def _interleaved(data: bytes, rows: int, heads: int) -> bytes:
    """Rows as llama.cpp wants them: it turns neighbours where Transformers turns a head's halves (`LlamaModel.permute` there)."""
    row_bytes, size = len(data) // rows, rows // heads
    half = size // 2
    order = (
        head * size + side * half + position
        for head in range(heads)
        for position in range(half)
        for side in (0, 1)
    )
    return b"".join([data[row * row_bytes : (row + 1) * row_bytes] for row in order])


def _as_floats(data: bytes, dtype: str) -> bytes:
    """32-bit floats; only for norms and biases, which are short."""
    letter, size = _FLOATS[dtype]
    values = struct.unpack(f"<{len(data) // size}{letter}", data)
    if dtype == "BF16":  # the upper half of a 32-bit float
        return struct.pack(f"<{len(values)}I", *(value << 16 for value in values))
    return struct.pack(f"<{len(values)}f", *values)


# Vocabulary -------------------------------------------------------------------------------------------


class _AddedToken(msgspec.Struct, frozen=True):
    id: int
    content: str
    special: bool = False


class _Model(msgspec.Struct, frozen=True):
    type: str = ""
    vocab: dict[str, int] = msgspec.field(default_factory=dict[str, int])
    merges: list[str | list[str]] = msgspec.field(default_factory=list[str | list[str]])
    byte_fallback: bool = False


class _Tokenizer(msgspec.Struct, frozen=True):
    model: _Model
    added_tokens: tuple[_AddedToken, ...] = ()
    pre_tokenizer: dict[str, Any] | None = None
    normalizer: dict[str, Any] | None = None


def _vocabulary(
    folder: Path, config: _Config, weights: _Weights
) -> dict[str, gguf.Value | gguf.Array | gguf.Raw]:
    rows = weights.info("model.embed_tokens.weight").shape[0]
    if rows > MAX_TOKENS:
        raise ConfigurationError(f"the model has embeddings for {rows} tokens")
    if (folder / "tokenizer.model").is_file():
        facts = _sentencepiece(folder, rows)
    elif (folder / "tokenizer.json").is_file():
        facts = _byte_pairs(folder, rows)
    else:
        raise ConfigurationError(
            "the model has neither tokenizer.json nor tokenizer.model; get it again"
        )
    tokens = cast("list[str]", facts["tokenizer.ggml.tokens"])
    return {**facts, **_special_tokens(folder, config, tokens)}


def _byte_pairs(folder: Path, rows: int) -> dict[str, gguf.Value | gguf.Array | gguf.Raw]:
    found = _read_tokenizer(folder)
    if found.model.type != "BPE" or found.model.byte_fallback:
        raise ConfigurationError(
            f"tokenizer.json is a {found.model.type or 'tokenizer that names no type'}"
            f"{' with bytes to fall back on' if found.model.byte_fallback else ''} and there is no tokenizer.model; byte-level BPE and "
            "SentencePiece can be converted"
        )
    tokens = [f"[PAD{number}]" for number in range(rows)]
    types = [_UNUSED] * rows
    for text, number in found.model.vocab.items():
        _require_number(number, rows)
        tokens[number], types[number] = text, _NORMAL
    for token in found.added_tokens:
        _require_number(token.id, rows)
        tokens[token.id] = token.content
        types[token.id] = _CONTROL if token.special else _USER_DEFINED
    merges = [" ".join(merge) if isinstance(merge, list) else merge for merge in found.model.merges]
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": pretokenizer(found.pre_tokenizer, found.normalizer),
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": types,
        **({"tokenizer.ggml.merges": merges} if merges else {}),
    }


def _require_number(number: int, rows: int) -> None:
    if not 0 <= number < rows:
        raise ConfigurationError(
            f"the tokenizer has a token {number}, and the model has embeddings for {rows}"
        )


def _read_tokenizer(folder: Path) -> _Tokenizer:
    try:
        return msgspec.json.decode((folder / "tokenizer.json").read_bytes(), type=_Tokenizer)
    except msgspec.MsgspecError as error:
        raise ConfigurationError(f"tokenizer.json cannot be used: {error}") from error


def pretokenizer(
    steps: Mapping[str, Any] | None, normalizer: Mapping[str, Any] | None = None
) -> str:
    """llama.cpp's name for the way in which a tokenizer.json cuts words before it merges bytes.

    Raises:
        ConfigurationError: It is not among those in `pretokenizers.toml`.
    """
    del normalizer  # llama.cpp's names say nothing of it
    signature = "; ".join(_steps(steps or {}))
    table = (
        importlib.resources.files("yangfan.hub").joinpath("pretokenizers.toml").read_text("utf-8")
    )
    for entry in tomllib.loads(table)["pretokenizer"]:
        if entry["steps"] == signature:
            return entry["name"]
    raise ConfigurationError(
        f"the tokenizer cuts words in a way that is not known here ({signature[:200]}); get the model as a .gguf file"
    )


def _steps(step: Mapping[str, Any]) -> list[str]:
    match step.get("type"):
        case "Sequence":
            inner = cast("list[dict[str, Any]]", step.get("pretokenizers") or [])
            return [text for one in inner for text in _steps(one)]
        case "ByteLevel":
            return ["gpt2"] if step.get("use_regex", True) else []
        case "Digits":
            return ["digit"] if step.get("individual_digits") else ["digits"]
        case "Split":
            pattern = step.get("pattern")
            text = (
                cast("dict[str, Any]", pattern).get("Regex") if isinstance(pattern, dict) else None
            )
            return [f"{step.get('behavior')} {text}"]
        case other:
            return [str(other)]


def _special_tokens(folder: Path, config: _Config, tokens: list[str]) -> dict[str, gguf.Value]:
    told = (
        read_json(folder / "tokenizer_config.json")
        if (folder / "tokenizer_config.json").is_file()
        else {}
    )
    by_config = {
        "bos": _first(config.bos_token_id),
        "eos": _first(config.eos_token_id),
        "unknown": None,
        "padding": config.pad_token_id,
    }
    names = {"bos": "bos", "eos": "eos", "unknown": "unk", "padding": "pad"}
    facts: dict[str, gguf.Value] = {}
    for ours, theirs in names.items():
        text = told.get(f"{theirs}_token")
        if isinstance(text, dict):
            text = cast("dict[str, Any]", text).get("content")
        number = tokens.index(text) if isinstance(text, str) and text in tokens else by_config[ours]
        if number is not None and 0 <= number < len(tokens):
            facts[f"tokenizer.ggml.{ours}_token_id"] = number
    for side in ("bos", "eos"):
        adds = told.get(f"add_{side}_token")
        if isinstance(adds, bool):
            facts[f"tokenizer.ggml.add_{side}_token"] = adds
    if isinstance(told.get("add_prefix_space"), bool):
        facts["tokenizer.ggml.add_space_prefix"] = told["add_prefix_space"]
    template = _template(folder, told)
    if template:
        facts["tokenizer.chat_template"] = template
    return facts


def _template(folder: Path, told: dict[str, Any]) -> str:
    file = folder / "chat_template.jinja"
    if file.is_file():
        return file.read_text("utf-8")
    found = told.get("chat_template")
    return found if isinstance(found, str) else ""


def _first(value: int | list[int] | None) -> int | None:
    return next(iter(value), None) if isinstance(value, list) else value


# SentencePiece ----------------------------------------------------------------------------------------


def _sentencepiece(folder: Path, rows: int) -> dict[str, gguf.Value | gguf.Array | gguf.Raw]:
    """Pieces of a tokenizer.model (https://github.com/google/sentencepiece/blob/master/src/sentencepiece_model.proto)."""
    try:
        pieces = list(_pieces((folder / "tokenizer.model").read_bytes()))
    except (IndexError, struct.error, UnicodeDecodeError, ValueError) as error:
        raise ConfigurationError(
            f"tokenizer.model cannot be read: {error}; get the model again"
        ) from error
    if not pieces or len(pieces) > rows:
        raise ConfigurationError(
            f"tokenizer.model has {len(pieces)} tokens, and the model has embeddings for {rows}"
        )
    tokens = [piece.text for piece in pieces]
    types = [piece.type for piece in pieces]
    scores = [piece.score for piece in pieces]
    for number in range(len(pieces), rows):
        tokens.append(f"[PAD{number}]")
        types.append(_UNUSED)
        scores.append(-1000.0)
    for token in _added_tokens(folder):
        _require_number(token.id, rows)
        if types[token.id] in {_UNUSED, _NORMAL} and tokens[token.id] != token.content:
            tokens[token.id] = token.content
            types[token.id] = _CONTROL if token.special else _USER_DEFINED
    return {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.pre": "default",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.scores": gguf.Array(gguf.FLOAT32, scores),
        "tokenizer.ggml.token_type": types,
    }


def _added_tokens(folder: Path) -> list[_AddedToken]:
    """Tokens that came after SentencePiece: older folders list them beside the tokenizer's settings, newer ones in tokenizer.json."""
    found: list[_AddedToken] = []
    if (folder / "tokenizer_config.json").is_file():
        told = read_json(folder / "tokenizer_config.json").get("added_tokens_decoder", {})
        try:
            named = msgspec.convert(told, dict[str, dict[str, Any]])
            found += [
                msgspec.convert({**token, "id": int(number)}, _AddedToken)
                for number, token in named.items()
            ]
        except (msgspec.ValidationError, ValueError) as error:
            raise ConfigurationError(f"tokenizer_config.json cannot be used: {error}") from error
    if (folder / "tokenizer.json").is_file():
        found += _read_tokenizer(folder).added_tokens
    return found


class _Piece(NamedTuple):
    text: str
    score: float
    type: int


def _pieces(data: bytes) -> list[_Piece]:
    pieces: list[_Piece] = []
    for number, value in _fields(data):
        if number != 1 or not isinstance(value, bytes):
            continue
        text, score, kind = "", 0.0, _NORMAL
        for inner, item in _fields(value):
            if inner == 1 and isinstance(item, bytes):
                text = item.decode()
            elif inner == 2 and isinstance(item, bytes):
                (score,) = struct.unpack("<f", item)
            elif inner == 3 and isinstance(item, int):
                kind = item
        if kind not in range(_NORMAL, _BYTE + 1):
            raise ValueError(f"a token of type {kind}")
        pieces.append(_Piece(text, score, kind))
    return pieces


def _fields(data: bytes) -> list[tuple[int, bytes | int]]:
    """Fields of a protocol buffer: number, and a number or bytes (https://protobuf.dev/programming-guides/encoding/)."""
    found: list[tuple[int, bytes | int]] = []
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
        wire = key & 7
        if wire == 0:
            value, position = _varint(data, position)
            found.append((key >> 3, value))
            continue
        if wire == 2:
            size, position = _varint(data, position)
        elif wire in {1, 5}:
            size = 8 if wire == 1 else 4
        else:
            raise ValueError(f"a field of type {wire}")
        if position + size > len(data):
            raise ValueError("a field would end beyond the file")
        found.append((key >> 3, data[position : position + size]))
        position += size
    return found


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
        if shift > 63:
            raise ValueError("a number without end")
