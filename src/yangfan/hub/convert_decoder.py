"""Turn a Hugging Face folder of a language model into the GGUF file that llama.cpp runs, without torch and without loss.

Weights keep their type, bit for bit; only norms, biases and the gates of experts, which llama.cpp wants so, become 32-bit
floats. Names, facts and the order of rows are those of llama.cpp's own converter
(https://github.com/ggml-org/llama.cpp/blob/master/convert_hf_to_gguf.py); what differs from class to class is in
`decoders.toml`. Which regular expression a tokenizer cuts words by is read from tokenizer.json and compared with those in
`pretokenizers.toml`, where that converter compares a hash.

Checked against Transformers and llama.cpp themselves: tests/hub/test_convert_decoder.py.
"""

from __future__ import annotations

import functools
import importlib.resources
import math
import os
import re
import struct
import tomllib
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

import msgspec

from yangfan.errors import ConfigurationError
from yangfan.hub.inspection import read_json
from yangfan.weights import gguf
from yangfan.weights.safetensors import SafetensorsFile, TensorInfo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

VERSION: Final = "1.gguf"
"""Changes whenever equal input would give another file."""


class _Architecture(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What differs from the usual; `decoders.toml` says what the fields mean."""

    name: str
    interleaves: bool = False
    adds_one: bool = False
    activations: tuple[str, ...] = ("silu",)
    top: dict[str, str] = msgspec.field(default_factory=dict[str, str])
    tensors: dict[str, str] = msgspec.field(default_factory=dict[str, str])
    without: tuple[str, ...] = ()
    sparse: tuple[str, ...] = ()
    dense_blocks: str = ""
    grouped: tuple[str, ...] = ()
    numbers: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict[str, tuple[str, ...]])
    floats: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict[str, tuple[str, ...]])
    every: int = 0
    defaults: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])
    only: dict[str, list[Any]] = msgspec.field(default_factory=dict[str, list[Any]])


@functools.cache
def architectures() -> Mapping[str, _Architecture]:
    """What can be converted, by the class that config.json names."""
    table = importlib.resources.files("yangfan.hub").joinpath("decoders.toml").read_text("utf-8")
    return msgspec.convert(tomllib.loads(table), dict[str, _Architecture])


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
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
_LEFT_OUT: Final = re.compile(r".*\.rotary_emb\.inv_freq|.*\.attention\.masked_bias|model\.mtp_.*")
"""What can be computed from the configuration, and what only foretells several tokens at once."""

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
    partial_rotary_factor: float | None = None
    long_factor: list[float] | None = None
    short_factor: list[float] | None = None


class _Config(msgspec.Struct, frozen=True):
    """The fields of config.json that decide the file."""

    architectures: tuple[str, ...] = ()
    hidden_act: str | None = None
    hidden_activation: str | None = None
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
    rope_local_base_freq: float | None = None
    partial_rotary_factor: float = 1.0
    original_max_position_embeddings: int | None = None
    query_pre_attn_scalar: float | None = None
    layer_types: list[str] | None = None
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

    @property
    def rope_kind(self) -> str:
        return self.rope.rope_type or self.rope.type

    @property
    def rope_size(self) -> int:
        """How many numbers of a head are turned."""
        part = self.rope.partial_rotary_factor
        return int(self.head_size * (self.partial_rotary_factor if part is None else part))


def is_convertible(folder: Path) -> bool:
    """Whether `convert` is for the model in this folder, by what config.json says."""
    try:
        names = read_json(folder / "config.json").get("architectures")
    except ConfigurationError:
        return False
    return (
        isinstance(names, list) and str(next(iter(cast("list[Any]", names)), "")) in architectures()
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
    plan = _plan(folder)
    weights = _Weights(folder)
    tensors = _tensors(plan, weights)
    facts: dict[str, gguf.Value | gguf.Array | gguf.Raw] = {
        "general.architecture": plan.architecture.name,
        "general.type": "model",
        "general.name": folder.name,
        **({"general.license": licence} if licence else {}),
        "general.file_type": gguf.FILE_TYPE_NUMBERS[weights.dtype],
        "general.quantization_version": 2,
        **_facts(plan),
        **_vocabulary(folder, plan, weights),
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


class _Plan(NamedTuple):
    """What the folder's configuration makes of its architecture."""

    architecture: _Architecture
    config: _Config
    raw: Mapping[str, Any]

    def number(self, *fields: str) -> float | None:
        """The first of these fields of config.json that holds a number."""
        for field in fields:
            value = self.raw.get(field)
            if isinstance(value, int | float) and not isinstance(value, bool):
                return value
        return None

    @property
    def experts(self) -> int:
        """How many there are in each block that has some."""
        return int(self.number(*self.architecture.numbers.get("expert_count", ())) or 0)

    @property
    def dense_blocks(self) -> int:
        """How many blocks at the beginning have no experts."""
        return int(self.number(self.architecture.dense_blocks) or 0)


class Layers(NamedTuple):
    """What adapters are held against.

    Attributes:
        architecture: As llama.cpp calls it.
        names: llama.cpp's name of each layer's weight, by Transformers' name of the layer.
        shapes: Rows and columns, by llama.cpp's names.
        rows: Which of Transformers' rows each of llama.cpp's is, where the order differs.
    """

    architecture: str
    names: Mapping[str, str]
    shapes: Mapping[str, tuple[int, ...]]
    rows: Mapping[str, Sequence[int]]


def layers_of(model: Path) -> Layers | None:
    """The layers of a GGUF file or a model folder; None where its class is not known here.

    Raises:
        ConfigurationError: It is damaged.
    """
    if model.is_file():
        return _layers_of_gguf(gguf.read(model))
    if not is_convertible(model):
        return None
    plan, weights = _plan(model), _Weights(model)
    sources = _sources(plan, weights)
    shapes = {ours: weights.info(source.names[0]).shape for ours, source in sources.items()}
    return _layers(plan, sources, shapes)


def _layers_of_gguf(header: gguf.Header) -> Layers | None:
    name = header.text("general.architecture")
    shapes = {each.name: each.dimensions[::-1] for each in header.tensors}

    def number(key: str) -> int:
        return header.number(f"{name}.{key}") or 0

    heads = number("attention.head_count")
    config = _Config(
        num_hidden_layers=number("block_count"),
        num_attention_heads=heads,
        num_key_value_heads=number("attention.head_count_kv") or heads,
        hidden_size=number("embedding_length"),
        head_dim=number("attention.key_length") or None,
        tie_word_embeddings="output.weight" not in shapes,
    )
    if not 0 < config.key_value_heads <= config.num_attention_heads:
        return None
    for architecture in architectures().values():
        if architecture.name != name:
            continue
        plan = _Plan(architecture, config, {})
        sources = {
            ours: source
            for ours, source in _wanted(plan)
            if source.names and not ours.endswith(".bias")
        }
        if sources.keys() <= shapes.keys():
            return _layers(plan, sources, shapes)
    return None


def _layers(
    plan: _Plan, sources: Mapping[str, _Source], shapes: Mapping[str, tuple[int, ...]]
) -> Layers:
    """Layers that are one tensor here and there."""
    taken = [source.names for ours, source in sources.items() if ours.endswith(".weight")]
    names = {
        source.names[0].removesuffix(".weight"): ours
        for ours, source in sources.items()
        if len(source.names) == 1 and taken.count(source.names) == 1 and ours.endswith(".weight")
    }
    rows = {ours: source.rows for ours, source in sources.items() if source.rows is not None}
    return Layers(plan.architecture.name, names, shapes, rows)


def _plan(folder: Path) -> _Plan:
    raw = read_json(folder / "config.json")
    named = raw.get("architectures")
    name = str(next(iter(cast("list[Any]", named)), "")) if isinstance(named, list) else ""
    if name not in architectures():
        raise ConfigurationError(
            f"the model is a {name or 'model that names no class'}, and only {', '.join(architectures())} and bert encoders can be "
            "converted to GGUF here; get it as a .gguf file"
        )
    architecture = architectures()[name]
    raw = {**architecture.defaults, **_one_rope(raw)}
    try:
        config = msgspec.convert(raw, _Config)
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"config.json cannot be used: {error}") from error
    plan = _Plan(architecture, config, raw)
    if (
        not 0 < config.num_hidden_layers <= 1024
        or not 0 < config.key_value_heads <= config.num_attention_heads
        or config.num_attention_heads % config.key_value_heads
        or config.hidden_size < 1
        or not 0 < config.vocab_size <= MAX_TOKENS
        or config.head_size < 2
        or config.head_size % 2
        or not 0 < config.rope_size <= config.head_size
        or ("expert_count" in architecture.numbers and not 0 < plan.experts <= 4096)
    ):
        raise ConfigurationError("config.json says layers, heads or sizes that cannot be")
    _require_same_computation(plan)
    return plan


def _one_rope(raw: dict[str, Any]) -> dict[str, Any]:
    """Positions as most folders write them, where a folder has one way for windows and another for the rest."""
    told = raw.get("rope_parameters")
    whole = cast("dict[str, Any]", told).get("full_attention") if isinstance(told, dict) else None
    if whole is None:
        return raw
    window = cast("dict[str, Any]", told).get("sliding_attention")
    base = cast("dict[str, Any]", window).get("rope_theta") if isinstance(window, dict) else None
    return {
        **raw,
        "rope_parameters": whole,
        **({} if base is None else {"rope_local_base_freq": base}),
    }


def _require_same_computation(plan: _Plan) -> None:
    """Refuse a configuration with which llama.cpp would compute something else.

    Raises:
        ConfigurationError: So it is; the message names the field.
    """
    architecture, config, raw = plan.architecture, plan.config, plan.raw
    for activation in filter(None, (config.hidden_act, config.hidden_activation)):
        if activation not in architecture.activations:
            raise ConfigurationError(
                f"the model uses {activation!r} where llama.cpp computes {architecture.activations[-1]}; take another model"
            )
    for field, values in architecture.only.items():
        if raw.get(field) is not None and raw[field] not in values:
            raise ConfigurationError(
                f"config.json says {str(raw[field])[:80]} for {field}, with which llama.cpp computes something else; take another model"
            )
    blocks = range(1, config.num_hidden_layers + 1)
    seen = [
        "sliding_attention"
        if architecture.every and block % architecture.every
        else "full_attention"
        for block in blocks
    ]
    pattern = plan.number("sliding_window_pattern", "_sliding_window_pattern")
    if (config.layer_types or seen) != seen or (
        pattern or architecture.every
    ) != architecture.every:
        raise ConfigurationError(
            "config.json puts windows on other blocks than llama.cpp does; take another model"
        )
    scale = config.query_pre_attn_scalar
    heads = config.num_attention_heads
    if scale and scale not in {config.head_size, config.hidden_size / heads}:
        raise ConfigurationError(
            f"config.json says {scale:g} for query_pre_attn_scalar, with which llama.cpp computes something else; take another model"
        )


# Facts ------------------------------------------------------------------------------------------------


def _facts(plan: _Plan) -> dict[str, gguf.Value]:
    config, name = plan.config, plan.architecture.name
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
        f"{name}.rope.dimension_count": config.rope_size,
        f"{name}.vocab_size": config.vocab_size,
    }
    for key, fields in plan.architecture.numbers.items():
        number = plan.number(*fields)
        if number is not None:
            facts[f"{name}.{key}"] = int(number)
    for key, fields in plan.architecture.floats.items():
        number = plan.number(*fields)
        if number is not None:
            facts[f"{name}.{key}"] = float(number)
    if plan.number("moe_num_shared_experts"):
        shared = int(plan.number("moe_num_shared_experts") or 0)
        each = int(plan.number("moe_intermediate_size") or 0)
        facts[f"{name}.expert_shared_feed_forward_length"] = shared * each
    if config.rope_local_base_freq:
        facts[f"{name}.rope.freq_base_swa"] = config.rope_local_base_freq
    return {**facts, **_scaling(plan)}


def _scaling(plan: _Plan) -> dict[str, gguf.Value]:
    config, key = plan.config, f"{plan.architecture.name}.rope.scaling"
    kind, rope = config.rope_kind, config.rope
    original = rope.original_max_position_embeddings
    if kind in {"linear", "yarn"}:
        return {
            f"{key}.type": kind,
            f"{key}.factor": rope.factor,
            **({f"{key}.original_context_length": original} if original else {}),
        }
    if _long_factors(plan):
        trained = original or config.original_max_position_embeddings or 4096
        longer = config.max_position_embeddings / trained
        # `_compute_longrope_parameters` in Transformers' modeling_rope_utils.py; the paper: https://arxiv.org/abs/2402.13753
        by = math.sqrt(1 + math.log(longer) / math.log(trained)) if longer > 1 else 1.0
        return {f"{key}.attn_factor": by, f"{key}.original_context_length": trained}
    if kind not in {"", "default", "llama3"}:
        raise ConfigurationError(
            f"the model scales its positions by {kind!r}; linear, yarn, llama3 and phi3's longrope can be converted"
        )
    return {}


def _long_factors(plan: _Plan) -> dict[str, list[float]]:
    """What Phi-3 divides frequencies by, for texts as long as it was trained for and for longer ones."""
    rope = plan.config.rope
    if plan.architecture.name != "phi3" or plan.config.rope_kind not in {"longrope", "su"}:
        return {}
    found = {"long": rope.long_factor or [], "short": rope.short_factor or []}
    if any(len(factors) != plan.config.rope_size // 2 for factors in found.values()):
        raise ConfigurationError("config.json lacks long_factor or short_factor, or some of them")
    return found


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


class _Source(NamedTuple):
    """Where a tensor of the new file comes from.

    Attributes:
        names: Tensors of the folder, more than one for experts, which are kept as one.
        rows: Which rows to take, in order; None for all as they are.
    """

    names: tuple[str, ...]
    rows: Sequence[int] | None = None


def _tensors(plan: _Plan, weights: _Weights) -> list[gguf.Tensor]:
    tensors: list[gguf.Tensor] = []
    factors = {f"rope_factors_{name}": each for name, each in _long_factors(plan).items()}
    if plan.config.rope_kind == "llama3":
        factors["rope_freqs"] = _rope_factors(plan.config)
    for name, each in factors.items():
        data = struct.pack(f"<{len(each)}f", *each)
        tensors.append(gguf.Tensor(f"{name}.weight", (len(each),), "F32", lambda data=data: data))
    sources = _sources(plan, weights)
    return [*tensors, *(_tensor(plan, weights, ours, source) for ours, source in sources.items())]


def _sources(plan: _Plan, weights: _Weights) -> dict[str, _Source]:
    """Where every tensor comes from, by llama.cpp's name; nothing may be left over and nothing lack."""
    held = {name for name in weights.names if not _LEFT_OUT.fullmatch(name)}
    if plan.config.tie_word_embeddings:
        held -= {"lm_head.weight", "output.weight"}
    sources = dict(_wanted(plan))
    # Biases are as the folder has them.
    sources = {
        ours: source
        for ours, source in sources.items()
        if not ours.endswith(".bias") or not held.isdisjoint(source.names)
    }
    lacking = [name for source in sources.values() for name in source.names if name not in held]
    if lacking:
        raise ConfigurationError(
            f"the model lacks {len(lacking)} tensors, {lacking[0]} first; get it again"
        )
    strange = sorted(held - {name for source in sources.values() for name in source.names})
    if strange:
        raise ConfigurationError(
            f"the model has {len(strange)} tensors that its class does not have, {strange[0][:120]!r} first; it cannot be converted"
        )
    return sources


def _wanted(plan: _Plan) -> Iterator[tuple[str, _Source]]:
    """llama.cpp's name of each tensor, with the bias that it may have, and where it comes from."""
    for theirs, ours in _top(plan).items():
        if ours != "output.weight" or not plan.config.tie_word_embeddings:
            yield ours, _Source((theirs,))
    for block in range(plan.config.num_hidden_layers):
        begin = f"model.layers.{block}."
        for theirs, ours in _block(plan, block).items():
            if "." in ours:
                yield f"blk.{block}.{ours}", _Source((begin + theirs,))
                continue
            order = _order(plan, ours)
            experts = range(plan.experts if "{}" in theirs else 1)
            for part in ("weight", "bias"):
                names = tuple(f"{begin}{theirs.format(expert)}.{part}" for expert in experts)
                yield f"blk.{block}.{ours}.{part}", _Source(names, order)
        for theirs in plan.architecture.grouped:
            for ours in ("attn_q", "attn_k", "attn_v"):
                order = _order(plan, ours, is_grouped=True)
                yield f"blk.{block}.{ours}.weight", _Source((f"{begin}{theirs}.weight",), order)


def _top(plan: _Plan) -> dict[str, str]:
    replaced = set(plan.architecture.top.values())
    usual = {theirs: ours for theirs, ours in _TOP.items() if ours not in replaced}
    return {**usual, **plan.architecture.top}


def _block(plan: _Plan, block: int) -> dict[str, str]:
    """Names of a block's tensors without `.weight`, Transformers' and llama.cpp's."""
    architecture = plan.architecture
    left_out, more = (*architecture.without, *architecture.sparse), architecture.tensors
    if block < plan.dense_blocks:  # experts, and what belongs to them, begin later
        left_out = architecture.without
        more = {theirs: ours for theirs, ours in more.items() if not theirs.startswith("mlp.")}
    usual = {theirs: ours for theirs, ours in _BLOCK.items() if theirs not in left_out}
    return {**usual, **more}


def _order(plan: _Plan, ours: str, *, is_grouped: bool = False) -> list[int] | None:
    """The rows of queries, keys or values that make llama.cpp's tensor, None for all in order.

    It turns neighbours where Transformers turns a head's halves (`LlamaModel.permute` in llama.cpp's converter). In grouped tensors
    (InternLM2), the queries that share a key, the key and the value follow each other.
    """
    config = plan.config
    size, shared = config.head_size, config.num_attention_heads // config.key_value_heads
    counts = {
        "attn_q": config.num_attention_heads,
        "attn_k": config.key_value_heads,
        "attn_v": config.key_value_heads,
    }
    turns = plan.architecture.interleaves and ours in {"attn_q", "attn_k"}
    if ours not in counts or not (turns or is_grouped):
        return None
    heads = list(range(counts[ours]))
    if is_grouped:
        width, place = shared + 2, {"attn_k": shared, "attn_v": shared + 1}
        heads = (
            [head // shared * width + head % shared for head in heads]
            if ours == "attn_q"
            else [head * width + place[ours] for head in heads]
        )
    half = size // 2
    within = (
        [side * half + position for position in range(half) for side in (0, 1)]
        if turns
        else list(range(size))
    )
    return [head * size + row for head in heads for row in within]


def _tensor(plan: _Plan, weights: _Weights, ours: str, source: _Source) -> gguf.Tensor:
    name, rows = source.names[0], source.rows
    info = weights.info(name)
    for each in source.names:
        other = weights.info(each)
        if other.dtype not in _FLOATS:
            raise ConfigurationError(
                f"the tensor {each} is of type {other.dtype}; F32, F16 and BF16 can be converted"
            )
        if (other.shape, other.dtype) != (info.shape, info.dtype):
            raise ConfigurationError(f"the tensors {name} and {each} differ in shape or type")
    # One row is a vector: the gate of an expert that all share, a bias for each expert.
    shape = info.shape[1:] if len(info.shape) == 2 and info.shape[0] == 1 else info.shape
    if len(shape) not in {1, 2} or (rows is not None and max(rows, default=0) >= shape[0]):
        raise ConfigurationError(f"the tensor {name} has a shape that cannot be: {info.shape}")
    count = shape[0]
    if rows is not None:
        shape = (len(rows), *shape[1:])
    if len(source.names) > 1:
        shape = (len(source.names), *shape)
    as_floats = len(shape) == 1 or ours.endswith("ffn_gate_inp.weight")
    dtype = "F32" if as_floats else info.dtype
    one = 1.0 if plan.architecture.adds_one and ours.endswith("_norm.weight") else 0.0

    def read(name: str) -> bytes:
        data = weights.read(name)
        if rows is not None:
            row_bytes = len(data) // count
            data = b"".join([data[row * row_bytes : (row + 1) * row_bytes] for row in rows])
        return data if not one and dtype == info.dtype else _as_floats(data, info.dtype, one)

    return gguf.Tensor(ours, shape, dtype, lambda: (read(name) for name in source.names))


def _as_floats(data: bytes, dtype: str, more: float) -> bytes:
    """32-bit floats, and so much more; only for norms, biases and gates, which are short."""
    letter, size = _FLOATS[dtype]
    count = len(data) // size
    values = struct.unpack(f"<{count}{letter}", data)
    if dtype == "BF16":  # the upper half of a 32-bit float
        widened = struct.pack(f"<{count}I", *(value << 16 for value in values))
        values = struct.unpack(f"<{count}f", widened)
    return struct.pack(f"<{count}f", *(value + more for value in values))


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
    folder: Path, plan: _Plan, weights: _Weights
) -> dict[str, gguf.Value | gguf.Array | gguf.Raw]:
    table = next(theirs for theirs, ours in _top(plan).items() if ours == "token_embd.weight")
    rows = weights.info(table).shape[0]
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
    return {**facts, **_special_tokens(folder, plan.config, tokens)}


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
