"""Another quantisation of a GGUF model, in llama.cpp's own arithmetic and mixture, by its library: no compiler, no torch.

Which type each tensor gets follows llama.cpp's `llama_tensor_get_type`
(https://github.com/ggml-org/llama.cpp/blob/master/src/llama-quant.cpp) for Q8_0 and Q4_K_M. A row whose length is no multiple of 256
cannot be kept in a K type and falls back, as there: Q4_K to Q5_0, Q6_K to Q8_0; of 32, to F16.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from yangfan.errors import ConfigurationError
from yangfan.weights import gguf

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from yangfan.weights.ggml import Library

QUANTIZATIONS: Final = ("Q8_0", "Q4_K_M")

_FALLBACKS: Final = {"Q4_K": "Q5_0", "Q6_K": "Q8_0"}
_ROWS_AT_ONCE_ITEMS: Final = 1 << 22
"""Numbers that are in memory as 32-bit floats besides the tensor itself."""
_KEPT: Final = (
    "_norm.weight",
    "ffn_gate_inp.weight",
    "position_embd.weight",
    "token_types.weight",
    "rope_freqs.weight",
)
_LAYER: Final = re.compile(r"blk\.(\d+)\.")


def type_for(
    name: str, dimensions: tuple[int, ...], quantization: str, header: gguf.Header
) -> str | None:
    """The type that a tensor gets, None if it stays as it is."""
    if len(dimensions) < 2 or not name.endswith("weight") or name.endswith(_KEPT):
        return None
    dtype = "Q8_0" if quantization == "Q8_0" else _mixed(name, header)
    if dimensions[0] % 256 and dtype in _FALLBACKS:
        dtype = _FALLBACKS[dtype]
    return dtype if dimensions[0] % 32 == 0 else "F16"


def _mixed(name: str, header: gguf.Header) -> str:
    """Q4_K_M: most in Q4_K; what hurts most in Q6_K."""
    names = {tensor.name for tensor in header.tensors}
    if name == "output.weight" or (name == "token_embd.weight" and "output.weight" not in names):
        return "Q6_K"
    layers = header.number(f"{header.text('general.architecture')}.block_count") or 0
    found = _LAYER.match(name)
    layer = int(found[1]) if found else 0
    if name.endswith(("attn_v.weight", "ffn_down.weight", "ffn_down_exps.weight")) and _wants_more(
        layer, layers
    ):
        return "Q6_K"
    return "Q4_K"


def _wants_more(layer: int, layers: int) -> bool:
    """The first and the last eighth of the layers, and every third between them (`use_more_bits`)."""
    eighth = layers // 8
    return layer < eighth or layer >= 7 * layers // 8 or (layer - eighth) % 3 == 2


def quantize(
    library: Library,
    source: Path,
    target: Path,
    quantization: str,
    progress: Callable[[int, int], None],
) -> None:
    """Write `target`; whoever needs it whole or not at all gives another name first.

    Args:
        library: llama.cpp's.
        source: A GGUF file, checked here.
        target: The file to make.
        quantization: One of `QUANTIZATIONS`.
        progress: Told the tensors' source bytes done and all.

    Raises:
        ConfigurationError: There is no such quantisation, the model has it already, or its weights cannot be read.
        NotGGUFError: `source` is damaged.
    """
    if quantization not in QUANTIZATIONS:
        raise ConfigurationError(
            f"{quantization!r} is no quantisation that is made here; there are: {', '.join(QUANTIZATIONS)}"
        )
    header = gguf.read(source)
    kept = gguf.FILE_TYPES.get(header.number("general.file_type") or 0, "F32")
    if kept not in {"F32", "F16", "BF16"} and (kept == quantization or quantization == "Q8_0"):
        raise ConfigurationError(
            f"the model is kept as {kept} already; {quantization} would make it no smaller: start from F16 or BF16"
        )
    facts = _facts(source, header, quantization)
    total = sum(tensor.size_bytes for tensor in header.tensors)
    done = 0

    def tell(size_bytes: int) -> None:
        nonlocal done
        done += size_bytes
        progress(done, total)

    tensors = [
        _tensor(library, source, header, tensor, quantization, tell) for tensor in header.tensors
    ]
    gguf.write(target, facts, tensors)


def _facts(
    source: Path, header: gguf.Header, quantization: str
) -> dict[str, gguf.Value | gguf.Array | gguf.Raw]:
    """The source's facts, byte for byte, but for how the weights are kept."""
    facts: dict[str, gguf.Value | gguf.Array | gguf.Raw] = {}
    with source.open("rb") as file:
        for key, fact in header.facts.items():
            begin = fact.begin + 8 + len(key.encode())
            file.seek(begin)
            facts[key] = gguf.Raw(file.read(fact.end - begin))
    facts["general.file_type"] = gguf.FILE_TYPE_NUMBERS[quantization]
    facts["general.quantization_version"] = 2
    facts.pop("general.alignment", None)  # the writer has its own
    return facts


def _tensor(
    library: Library,
    source: Path,
    header: gguf.Header,
    place: gguf.TensorPlace,
    quantization: str,
    tell: Callable[[int], None],
) -> gguf.Tensor:
    if place.type not in gguf.TYPES:
        raise ConfigurationError(
            f"the tensor {place.name} is of type {place.type}, which is not known here"
        )
    kept = gguf.TYPES[place.type].name
    dtype = type_for(place.name, place.dimensions, quantization, header) or kept

    def read() -> Iterator[bytes]:
        with source.open("rb") as file:
            file.seek(header.data_begin + place.offset)
            if dtype == kept:
                yield file.read(place.size_bytes)
                tell(place.size_bytes)
                return
            row_items = place.dimensions[0]
            rows = place.items // row_items
            row_bytes = place.size_bytes // rows
            at_once = max(1, _ROWS_AT_ONCE_ITEMS // row_items)
            for begin in range(0, rows, at_once):
                count = min(at_once, rows - begin)
                data = file.read(count * row_bytes)
                floats = library.floats(data, kept, count * row_items)
                if not library.are_numbers(floats):
                    raise ConfigurationError(
                        f"the tensor {place.name} holds what is no number; the model is damaged"
                    )
                yield library.quantize(floats, dtype, count, row_items)
                tell(len(data))

    return gguf.Tensor(place.name, tuple(reversed(place.dimensions)), dtype, read)
