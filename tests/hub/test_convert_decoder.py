"""Converted models against Transformers (which made the folders) and against the file that llama.cpp's own converter made."""

from __future__ import annotations

import importlib.util
import json
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.hub import random_models
from tests.small_models import LLAMA, llama_folder, llama_tensors, write_safetensors

from yangfan.errors import ConfigurationError
from yangfan.hub.convert_decoder import architectures, convert, is_convertible, pretokenizer
from yangfan.weights import child, ggml, gguf

needs_llama = pytest.mark.skipif(ggml.missing() is not None, reason=str(ggml.missing()))
needs_transformers = pytest.mark.skipif(
    importlib.util.find_spec("transformers") is None, reason='pip install "yangfan[transformers]"'
)


def ignore(done: float, total: float) -> None:
    assert done <= total


@pytest.fixture(scope="module")
def llama_scores(random_folder: Path) -> dict[str, list[float] | str]:
    """What llama.cpp computes with every converted model, by one process for all of them."""
    folder = random_folder / "gguf"
    for name in random_models.MODELS:
        assert is_convertible(random_folder / name)
        convert(random_folder / name, folder / f"{name}.gguf")
    program = [sys.executable, str(Path(__file__).with_name("llama_scores.py"))]
    done = subprocess.run([*program, *folder.iterdir()], check=True, capture_output=True)
    return json.loads(done.stdout)


@needs_llama
@needs_transformers
@pytest.mark.parametrize("name", random_models.MODELS)
def test_a_converted_model_computes_what_transformers_computes(
    random_folder: Path, llama_scores: dict[str, list[float] | str], name: str
) -> None:
    expected = json.loads((random_folder / name / "scores.json").read_text())
    # So that a model that computes nothing would be found out.
    assert max(expected) - min(expected) > 1
    tolerance = 0.05 if name.startswith("Gemma") else 0.005
    assert llama_scores[name] == pytest.approx(expected, abs=tolerance)


def test_every_class_that_can_be_converted_is_among_the_random_models() -> None:
    names = {random_models.class_of(name) for name in random_models.MODELS}
    assert names == set(architectures())


@pytest.mark.large
@pytest.mark.timeout(900)
@needs_llama
@needs_transformers
def test_the_real_model_survives_the_way_through_a_hugging_face_folder(
    smollm2_folder: Path, smollm2_path: Path, tmp_path: Path
) -> None:
    target = tmp_path / "m.gguf"
    steps: list[tuple[int, int]] = []
    convert(smollm2_folder, target, progress=lambda done, total: steps.append((done, total)))
    theirs, ours = gguf.read(smollm2_path), gguf.read(target)
    assert {tensor.name: tensor.dimensions for tensor in ours.tensors} == {
        tensor.name: tensor.dimensions for tensor in theirs.tensors
    }
    for key in ("context_length", "attention.head_count_kv", "rope.freq_base", "vocab_size"):
        assert ours.facts[f"llama.{key}"].value == theirs.facts[f"llama.{key}"].value
    for key in ("bos_token_id", "eos_token_id", "unknown_token_id", "padding_token_id"):
        assert ours.number(f"tokenizer.ggml.{key}") == theirs.number(f"tokenizer.ggml.{key}")
    assert ours.text("tokenizer.chat_template") == theirs.text("tokenizer.chat_template")
    assert steps[-1] == (steps[-1][1], steps[-1][1])
    before, after = (
        child.perplexity(path, ignore, window_tokens=256, most_windows=1)
        for path in (smollm2_path, target)
    )
    # The weights were rounded once, from Q4_1 to bfloat16.
    assert after.value == pytest.approx(before.value, rel=0.05)
    assert after.value < 60


def test_weights_keep_every_bit_and_norms_become_floats(tmp_path: Path) -> None:
    folder = llama_folder(tmp_path / "m")
    convert(folder, tmp_path / "m.gguf", licence="apache-2.0")
    header = gguf.read(tmp_path / "m.gguf")
    places = {place.name: place for place in header.tensors}
    data = (tmp_path / "m.gguf").read_bytes()
    down = places["blk.1.ffn_down.weight"]
    assert gguf.TYPES[down.type].name == "BF16"
    begin = header.data_begin + down.offset
    assert data[begin : begin + down.size_bytes] == bytes([60, 61] * (down.size_bytes // 2))
    norm = places["output_norm.weight"]
    assert gguf.TYPES[norm.type].name == "F32"
    begin = header.data_begin + norm.offset
    assert data[begin : begin + 4] == bytes([0, 0, 60, 61])
    assert header.text("general.license") == "apache-2.0"
    assert header.number("tokenizer.ggml.eos_token_id") == 9
    assert not list(tmp_path.glob("*.part"))


def varint(value: int) -> bytes:
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def piece(text: str, score: float, kind: int) -> bytes:
    name = text.encode()
    body = (
        b"\x0a"
        + varint(len(name))
        + name
        + b"\x15"
        + struct.pack("<f", score)
        + b"\x18"
        + varint(kind)
    )
    return b"\x0a" + varint(len(body)) + body


def test_sentencepiece_gives_its_pieces_scores_and_types(tmp_path: Path) -> None:
    folder = llama_folder(tmp_path / "m")
    pieces = [("<unk>", 0.0, 2), ("<s>", 0.0, 3), ("▁the", -1.5, 1), ("<0x0A>", 0.0, 6)]
    model = b"".join(piece(*each) for each in pieces) + b"\x12\x02\x08\x01"
    (folder / "tokenizer.model").write_bytes(model)
    added = {"4": {"content": "<|sys|>", "special": True}, "5": {"content": "word"}}
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"added_tokens_decoder": added, "add_prefix_space": False})
    )
    convert(folder, tmp_path / "m.gguf")
    header = gguf.read(tmp_path / "m.gguf")
    assert header.text("tokenizer.ggml.model") == "llama"
    assert header.facts["tokenizer.ggml.add_space_prefix"].value is False
    scores, types = (
        header.facts[f"tokenizer.ggml.{key}"].value for key in ("scores", "token_type")
    )
    assert scores == [0.0, 0.0, -1.5, 0.0, *[-1000.0] * 6]
    assert types == [2, 3, 1, 6, 3, 4, 5, 5, 5, 3]
    for damaged in (model[:-3], b"\x0a\xff\xff\xff\xff\x7f", b"\x0b", b"\xff" * 20):
        (folder / "tokenizer.model").write_bytes(damaged)
        with pytest.raises(ConfigurationError, match=r"tokenizer\.model"):
            convert(folder, tmp_path / "n.gguf")
    assert not (tmp_path / "n.gguf").exists()


def changed(**fields: Any) -> Callable[[Path], object]:
    return lambda folder: (folder / "config.json").write_text(json.dumps({**LLAMA, **fields}))


def with_tensors(**more: Any) -> Callable[[Path], object]:
    def write(folder: Path) -> None:
        tensors = {
            **llama_tensors(),
            **{name.replace("__", "."): value for name, value in more.items()},
        }
        kept = {name: value for name, value in tensors.items() if value is not None}
        write_safetensors(folder / "model.safetensors", kept)

    return write


def tokenizer(**fields: Any) -> Callable[[Path], object]:
    def write(folder: Path) -> None:
        found = json.loads((folder / "tokenizer.json").read_text())
        (folder / "tokenizer.json").write_text(json.dumps({**found, **fields}))

    return write


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "another class": (changed(architectures=["GPT2LMHeadModel"]), "only LlamaForCausalLM, Mistral"),
    "no class": (changed(architectures=[]), "names no class"),
    "another activation": (changed(hidden_act="gelu"), "computes silu"),
    "heads that cannot be": (changed(num_key_value_heads=9), "cannot be"),
    "no layers": (changed(num_hidden_layers=0), "cannot be"),
    "a word for a number": (changed(hidden_size="x"), "cannot be used"),
    "a window on the wrong blocks": (
        changed(layer_types=["sliding_attention"] * 2),
        "puts windows on other blocks",
    ),
    "another pattern of windows": (changed(sliding_window_pattern=3), "other blocks"),
    "attention scaled in another way": (changed(query_pre_attn_scalar=99), "query_pre_attn_scalar"),
    "experts weighed in another way": (
        changed(architectures=["Qwen3MoeForCausalLM"], norm_topk_prob=False),
        "False for norm_topk_prob",
    ),
    "more experts than there can be": (
        changed(architectures=["MixtralForCausalLM"], num_local_experts=1 << 20),
        "cannot be",
    ),
    "no experts": (changed(architectures=["MixtralForCausalLM"]), "block_sparse_moe"),
    "long positions without factors": (
        changed(architectures=["Phi3ForCausalLM"], rope_scaling={"type": "longrope"}),
        "long_factor",
    ),
    "strange positions": (
        changed(rope_scaling={"rope_type": "longrope", "factor": 2.0}),
        "longrope",
    ),
    "a tensor too many": (with_tensors(model__strange=("F32", (2,))), "model.strange"),
    "a tensor too few": (with_tensors(model__norm__weight=None), "lacks 1 tensors"),
    "whole numbers": (with_tensors(model__norm__weight=("I8", (32,))), "type I8"),
    "no head of its own": (changed(tie_word_embeddings=False), "lm_head.weight"),
    "no tokenizer": (lambda folder: (folder / "tokenizer.json").unlink(), "neither tokenizer.json"),
    "another tokenizer": (tokenizer(model={"type": "Unigram"}), "Unigram"),
    "tokens without embeddings": (
        tokenizer(model={"type": "BPE", "vocab": {"a": 10}}),
        "token 10, and the model has embeddings for 10",
    ),
    "words cut in a strange way": (tokenizer(pre_tokenizer={"type": "Whitespace"}), "Whitespace"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_converted_is_refused_with_a_reason(tmp_path: Path, case: str) -> None:
    folder = llama_folder(tmp_path / "m")
    change, reason = REFUSED[case]
    change(folder)
    with pytest.raises(ConfigurationError, match=reason):
        convert(folder, tmp_path / "m.gguf")
    assert not list(tmp_path.glob("*.gguf*"))


SPLIT = {"type": "Split", "behavior": "Isolated", "invert": False}
QWEN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


@pytest.mark.parametrize(
    ("steps", "name"),
    [
        ([{"type": "ByteLevel"}], "gpt-2"),
        ([{"type": "Digits", "individual_digits": True}, {"type": "ByteLevel"}], "smollm"),
        (
            [{**SPLIT, "pattern": {"Regex": QWEN}}, {"type": "ByteLevel", "use_regex": False}],
            "qwen2",
        ),
        (
            [
                {**SPLIT, "pattern": {"Regex": QWEN.replace(r"|\p{N}|", r"|\p{N}{1,3}|")}},
                {"type": "ByteLevel", "use_regex": False},
            ],
            "llama-bpe",
        ),
    ],
)
def test_the_ways_to_cut_words_have_llama_cpps_names(
    steps: list[dict[str, Any]], name: str
) -> None:
    """The expressions are those in the tokenizer.json files of SmolLM2, Qwen 2.5 and Llama 3."""
    assert pretokenizer({"type": "Sequence", "pretokenizers": steps}) == name


def test_folders_of_other_models_are_known(tmp_path: Path) -> None:
    assert not is_convertible(tmp_path)
    (tmp_path / "config.json").write_text('{"architectures": ["BertModel"]}')
    assert not is_convertible(tmp_path)
