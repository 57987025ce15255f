"""LoRA adapters (arXiv 2106.09685) in PEFT's folders: what one says of itself, whether it fits a base, and the GGUF file of it.

A folder holds adapter_config.json and adapter_model.safetensors (https://huggingface.co/docs/peft/developer_guides/checkpoint). The GGUF
file has the names, facts and order of rows of llama.cpp's own script
(https://github.com/ggml-org/llama.cpp/blob/master/convert_lora_to_gguf.py); numbers keep their type, bit for bit.
"""

from __future__ import annotations

import array
import math
import os
import re
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import msgspec

from yangfan.errors import ConfigurationError
from yangfan.hub.inspection import ModelFacts, require_no_pickles
from yangfan.weights import gguf
from yangfan.weights.safetensors import SafetensorsFile

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from yangfan.hub.convert_decoder import Layers

CONFIG: Final = "adapter_config.json"
WEIGHTS: Final = "adapter_model.safetensors"
GGUF: Final = "adapter.gguf"
FORMAT: Final[Literal["adapter"]] = "adapter"
"""What the format of such a version is called."""

MAX_CONFIG_BYTES: Final = 1024 * 1024
MAX_RANK: Final = 1024
_TENSOR: Final = re.compile(r"base_model\.model\.(?P<layer>.+)\.lora_(?P<side>[AB])\.weight")
_FLOATS: Final = frozenset({"F32", "F16", "BF16"})
_EXPONENTS: Final = {"F16": 0x7C00, "BF16": 0x7F80}
"""Bits of a 16-bit float that are all set in infinity and in what is no number."""


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of adapter_config.json that decide what an adapter does."""

    peft_type: str = ""
    r: int = 0
    lora_alpha: float = 8
    use_rslora: bool = False
    use_dora: bool = False
    bias: str = "none"
    fan_in_fan_out: bool = False
    modules_to_save: list[str] | None = None
    rank_pattern: dict[str, int] | None = None
    alpha_pattern: dict[str, float] | None = None
    trainable_token_indices: Any = None
    auto_mapping: dict[str, Any] | None = None
    base_model_name_or_path: str | None = None

    @property
    def alpha(self) -> float:
        """By which llama.cpp and others scale after they have divided it by the rank."""
        return self.lora_alpha * math.sqrt(self.r) if self.use_rslora else self.lora_alpha


class Adapter(NamedTuple):
    """An adapter that was read.

    Attributes:
        config: What it says of itself.
        file: Its numbers.
        layers: Hugging Face's names of the layers that it changes.
        parameters: Numbers in it.
        dtype: How most of them are kept.
    """

    config: Config
    file: SafetensorsFile
    layers: tuple[str, ...]
    parameters: int
    dtype: str


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter and no model of its own."""
    weights = [*folder.glob("*.safetensors"), *folder.glob("*.gguf")]
    return (folder / CONFIG).is_file() and {path.name for path in weights} <= {WEIGHTS, GGUF}


def read(folder: Path) -> Adapter:
    """Read an adapter, every number of it.

    Raises:
        ConfigurationError: It is none that can be served beside its base; the message says why and what to do.
    """
    config = _config(folder / CONFIG)
    path = folder / WEIGHTS
    if not path.is_file():
        raise ConfigurationError(
            f"the adapter has no {WEIGHTS}; pickled weights (.bin) are not loaded, because they can run code: save it again with PEFT"
        )
    file = SafetensorsFile(path)
    sides: dict[str, dict[str, tuple[int, ...]]] = {}
    sizes: dict[str, int] = {}
    for name, info in file.tensors.items():
        found = _TENSOR.fullmatch(name)
        if found is None:
            raise ConfigurationError(
                f"{WEIGHTS} holds {name[:120]!r}, which is no part of a LoRA layer; merge the adapter into its base with PEFT, and"
                " import the whole model"
            )
        if info.dtype not in _FLOATS or len(info.shape) != 2 or 0 in info.shape:
            raise ConfigurationError(
                f"{WEIGHTS}: {name[:120]!r} is {info.dtype} of the shape {list(info.shape)}; a LoRA layer has F32, F16 or BF16 in rows"
                " and columns"
            )
        sides.setdefault(found["layer"], {})[found["side"]] = info.shape
        sizes[info.dtype] = sizes.get(info.dtype, 0) + math.prod(info.shape)
        _require_numbers(name, file.read(name), info.dtype)
    if not sides:
        raise ConfigurationError(f"{WEIGHTS} holds no layers; save the adapter again")
    for layer, shapes in sides.items():
        if shapes.keys() != {"A", "B"} or {shapes["A"][0], shapes["B"][1]} != {config.r}:
            raise ConfigurationError(
                f"the layer {layer[:120]!r} is not of the rank {config.r} that {CONFIG} says; save the adapter again"
            )
    dtype = max(sizes, key=lambda each: sizes[each])
    return Adapter(config, file, tuple(sides), sum(sizes.values()), dtype)


def facts(folder: Path) -> ModelFacts:
    """The facts of an adapter; those of the model that answers are its base's.

    Raises:
        ConfigurationError: It is none that can be served beside its base.
    """
    require_no_pickles(folder)
    found = read(folder)
    size_bytes = (folder / WEIGHTS).stat().st_size
    return ModelFacts(
        format=FORMAT,
        kind="chat",
        architecture="",
        context_tokens=None,
        parameters=found.parameters,
        dtype=found.dtype,
        chat_template="",
        licence="",
        tokenizer="",
        weights_bytes=size_bytes,
        kv_bytes_per_token=0,
        memory_bytes_estimate=size_bytes,
    )


def convert(adapter: Adapter, base: Layers, target: Path) -> None:
    """Write an adapter for llama.cpp; `target` appears whole or not at all.

    Raises:
        ConfigurationError: It is no adapter of that base.
    """
    tensors: list[gguf.Tensor] = []
    for layer in adapter.layers:
        weight = base.names.get(layer, "")
        shape = base.shapes.get(weight)
        names = [f"base_model.model.{layer}.lora_{side}.weight" for side in "AB"]
        down, up = (adapter.file.tensors[name].shape for name in names)
        if shape != (up[0], down[1]):
            there = "no such layer" if shape is None else f"one of {list(shape)}"
            raise ConfigurationError(
                f"the adapter changes {layer[:120]!r} of {[up[0], down[1]]}, and the base has {there}: it is an adapter of another model"
            )
        rows = base.rows.get(weight)
        tensors.append(_tensor(adapter, names[0], f"{weight}.lora_a", None))
        tensors.append(_tensor(adapter, names[1], f"{weight}.lora_b", rows))
    facts: dict[str, gguf.Value | gguf.Array | gguf.Raw] = {
        "general.architecture": base.architecture,
        "general.type": "adapter",
        "adapter.type": "lora",
        "adapter.lora.alpha": float(adapter.config.alpha),
    }
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        gguf.write(part, facts, tensors)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _tensor(adapter: Adapter, name: str, ours: str, rows: Sequence[int] | None) -> gguf.Tensor:
    info = adapter.file.tensors[name]

    def data() -> bytes:
        found = adapter.file.read(name)
        if rows is None:
            return found
        size = len(found) // info.shape[0]
        return b"".join([found[row * size : (row + 1) * size] for row in rows])

    return gguf.Tensor(ours, info.shape, info.dtype, data)


def _config(path: Path) -> Config:
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise ConfigurationError(f"{CONFIG} is too large to be one")
        config = msgspec.json.decode(path.read_bytes(), type=Config)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{CONFIG} cannot be read: {error}") from error
    whole = "merge it into its base with PEFT, and import the whole model"
    if config.peft_type != "LORA":
        raise ConfigurationError(
            f"{CONFIG} says peft_type {config.peft_type[:40]!r}; only LORA is served beside its base"
        )
    library = str((config.auto_mapping or {}).get("parent_library", "transformers"))
    if library.partition(".")[0] != "transformers":
        raise ConfigurationError(
            f"{CONFIG} names the Python module {library[:80]!r} of its own, which is never loaded here; remove auto_mapping"
        )
    if not 1 <= config.r <= MAX_RANK or not math.isfinite(config.lora_alpha):
        raise ConfigurationError(
            f"{CONFIG} says the rank {config.r} and lora_alpha {config.lora_alpha:g}; a rank is from 1 to {MAX_RANK}"
        )
    unlike: dict[str, Any] = {
        "use_dora": config.use_dora,
        "modules_to_save": config.modules_to_save,
        "rank_pattern": config.rank_pattern,
        "alpha_pattern": config.alpha_pattern,
        "trainable_token_indices": config.trainable_token_indices,
        "fan_in_fan_out": config.fan_in_fan_out,
        "bias": "" if config.bias == "none" else config.bias,
    }
    set_fields = ", ".join(name for name, value in unlike.items() if value)
    if set_fields:
        raise ConfigurationError(
            f"{CONFIG} sets {set_fields}, which no engine here applies beside a base: {whole}"
        )
    return config


def _require_numbers(name: str, data: bytes, dtype: str) -> None:
    """Infinity and what is no number would answer every call with nonsense."""
    if dtype == "F32":
        fine = math.isfinite(sum(array.array("f", data)))
    else:
        bits = _EXPONENTS[dtype]
        fine = all(word & bits != bits for word in set(array.array("H", data)))
    if not fine:
        raise ConfigurationError(
            f"{WEIGHTS}: {name[:120]!r} holds infinity or what is no number: the training diverged; take an earlier checkpoint"
        )
