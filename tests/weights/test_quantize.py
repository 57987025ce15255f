"""Types, tables and rounding against the package `gguf`, which the makers of the format publish."""

# pyright: basic
# NumPy may be absent, so its types are not known.

from __future__ import annotations

import random
import struct
from pathlib import Path

import pytest
from tests.small_models import gguf_file

from yangfan.errors import ConfigurationError
from yangfan.weights import child, ggml, gguf
from yangfan.weights.quantize import type_for

reference = pytest.importorskip("gguf", reason="pip install gguf numpy")
numpy = pytest.importorskip("numpy")
needs_llama = pytest.mark.skipif(ggml.missing() is not None, reason=str(ggml.missing()))


def ignore(done: float, total: float) -> None:
    assert done <= total


def test_block_types_are_those_of_the_format() -> None:
    theirs = {
        int(kind): (kind.name, items, size)
        for kind, (items, size) in reference.GGML_QUANT_SIZES.items()
    }
    assert {number: tuple(kind) for number, kind in gguf.TYPES.items()} == theirs


def test_file_types_are_those_of_the_format() -> None:
    theirs = {
        int(kind): kind.name.removeprefix("MOSTLY_").removeprefix("ALL_")
        for kind in reference.LlamaFileType
        if kind.name != "GUESSED"
    }
    assert theirs == gguf.FILE_TYPES


ROWS, WIDTH = 8, 512


def model(path: Path, dtype: str = "F32", width: int = WIDTH) -> list[float]:
    """A model of two layers with random weights; the weights of its first ffn_down."""
    noise = random.Random(3)
    values = [noise.gauss(0, 0.1) for _ in range(ROWS * width)]
    letter = {"F32": "f", "F16": "e"}[dtype]
    data = struct.pack(f"<{len(values)}{letter}", *values)
    names = ["token_embd", "output"]
    names += [
        f"blk.{layer}.{part}" for layer in range(2) for part in ("attn_q", "attn_v", "ffn_down")
    ]
    tensors = [gguf.Tensor(f"{name}.weight", (ROWS, width), dtype, lambda: data) for name in names]
    norm = bytes(4 * width)
    tensors.append(gguf.Tensor("output_norm.weight", (width,), "F32", lambda: norm))
    facts: dict[str, gguf.Value | gguf.Array | gguf.Raw] = {
        "general.architecture": "llama",
        "general.file_type": gguf.FILE_TYPE_NUMBERS[dtype],
        "llama.block_count": 2,
        "tokenizer.ggml.tokens": ["a", "b", "扬帆"],
        "tokenizer.ggml.scores": gguf.Array(gguf.FLOAT32, [0.5] * 5000),
    }
    gguf.write(path, facts, tensors)
    return values


@needs_llama
@pytest.mark.parametrize("dtype", ["F32", "F16"])
@pytest.mark.parametrize(
    ("quantization", "types", "most_error"),
    [("Q8_0", {"Q8_0"}, 0.003), ("Q4_K_M", {"Q4_K", "Q6_K"}, 0.04)],
)
def test_quantised_weights_are_near_what_they_were(
    tmp_path: Path, dtype: str, quantization: str, types: set[str], most_error: float
) -> None:
    path = tmp_path / "m.gguf"
    values = model(path, dtype)
    child.quantize(path, tmp_path / "q.gguf", quantization, ignore)
    read = reference.GGUFReader(tmp_path / "q.gguf")
    kinds = {tensor.name: tensor.tensor_type.name for tensor in read.tensors}
    assert kinds.pop("output_norm.weight") == "F32"
    assert set(kinds.values()) == types
    for tensor in read.tensors:
        if tensor.name != "output_norm.weight":
            found = reference.dequantize(tensor.data, tensor.tensor_type).reshape(-1)
            assert numpy.abs(found - numpy.array(values, dtype="f4")).max() < most_error
    before, after = gguf.read(path), gguf.read(tmp_path / "q.gguf")
    assert after.number("general.file_type") == gguf.FILE_TYPE_NUMBERS[quantization]
    assert after.facts["tokenizer.ggml.scores"].length == 5000
    assert (
        after.facts["tokenizer.ggml.tokens"].length == before.facts["tokenizer.ggml.tokens"].length
    )
    assert not list(tmp_path.glob("*.part"))


@needs_llama
@pytest.mark.parametrize("dtype", ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "BF16", "Q4_K", "Q6_K"])
def test_every_type_that_can_be_read_is_read_as_the_reference_reads_it(dtype: str) -> None:
    library = ggml.Library()
    noise = numpy.random.default_rng(5).normal(0, 1, 1024).astype("f4")
    kind = reference.GGMLQuantizationType[dtype]
    try:
        data = reference.quantize(noise.reshape(2, 512), kind).tobytes()
    except NotImplementedError:  # the reference reads K types and writes none
        data = library.quantize(library.floats(noise.tobytes(), "F32", 1024), dtype, 2, 512)
    found = numpy.frombuffer(library.floats(data, dtype, 1024), dtype="f4")
    expected = reference.dequantize(numpy.frombuffer(data, dtype="u1"), kind).reshape(-1)
    assert numpy.array_equal(found, expected)


MIXTURE = {
    # Layers of 32 whose attn_v and ffn_down get more bits in Q4_K_M (`use_more_bits` in llama.cpp).
    "more": [0, 1, 2, 3, 6, 9, 12, 15, 18, 21, 24, 27, 28, 29, 30, 31],
}


def test_the_mixture_is_llama_cpps(tmp_path: Path) -> None:
    header = gguf.read(gguf_file(tmp_path / "m.gguf", llama__block_count=32))
    more = [
        layer
        for layer in range(32)
        if type_for(f"blk.{layer}.ffn_down.weight", (256, 8), "Q4_K_M", header) == "Q6_K"
    ]
    assert more == MIXTURE["more"]
    # It has no output.weight, so the embeddings are the output, too.
    assert type_for("token_embd.weight", (256, 8), "Q4_K_M", header) == "Q6_K"
    assert type_for("blk.4.attn_q.weight", (256, 8), "Q4_K_M", header) == "Q4_K"
    assert type_for("blk.4.attn_q.weight", (576, 8), "Q4_K_M", header) == "Q5_0"
    assert type_for("blk.0.ffn_down.weight", (576, 8), "Q4_K_M", header) == "Q8_0"
    assert type_for("blk.0.ffn_down.weight", (20, 8), "Q4_K_M", header) == "F16"
    for name in ("blk.0.attn_norm.weight", "output_norm.weight"):
        assert type_for(name, (256, 8), "Q8_0", header) is None
    assert type_for("output_norm.weight", (256,), "Q8_0", header) is None
    assert type_for("blk.0.attn_q.bias", (256, 2), "Q8_0", header) is None


@needs_llama
def test_what_cannot_be_made_smaller_is_refused_with_a_reason(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    model(path)
    with pytest.raises(ConfigurationError, match="there are: Q8_0, Q4_K_M"):
        child.quantize(path, tmp_path / "q", "Q2_K", ignore)
    child.quantize(path, tmp_path / "q.gguf", "Q4_K_M", ignore)
    for again in ("Q8_0", "Q4_K_M"):
        with pytest.raises(ConfigurationError, match="kept as Q4_K_M already"):
            child.quantize(tmp_path / "q.gguf", tmp_path / "q2", again, ignore)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ConfigurationError, match="corrupted or incomplete"):
        child.quantize(path, tmp_path / "q3", "Q8_0", ignore)
    assert {file.name for file in tmp_path.iterdir()} == {"m.gguf", "q.gguf"}


@needs_llama
def test_weights_that_are_no_numbers_are_found(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    model(path)
    data = path.read_bytes()
    begin = gguf.read(path).data_begin
    path.write_bytes(data[:begin] + struct.pack("<f", float("nan")) + data[begin + 4 :])
    with pytest.raises(ConfigurationError, match="holds what is no number"):
        child.quantize(path, tmp_path / "q.gguf", "Q8_0", ignore)


@needs_llama
def test_a_model_that_llama_cpp_cannot_load_ends_no_process_but_its_own(tmp_path: Path) -> None:
    path = gguf_file(tmp_path / "m.gguf")
    with pytest.raises(ConfigurationError, match=r"cannot load m\.gguf|process ended"):
        child.perplexity(path, ignore)


@needs_llama
def test_whoever_is_told_can_end_it(tmp_path: Path) -> None:
    class Stop(BaseException):
        pass

    def stop(done: float, total: float) -> None:
        raise Stop

    model(tmp_path / "m.gguf")
    with pytest.raises(Stop):
        child.quantize(tmp_path / "m.gguf", tmp_path / "q.gguf", "Q8_0", stop)
    assert {file.name for file in tmp_path.iterdir()} == {"m.gguf"}
