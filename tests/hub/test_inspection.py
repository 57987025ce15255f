"""What is read out of a model, and what is refused because it is not what it says."""

from __future__ import annotations

import json
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.small_models import LLAMA, gguf_file, llama_folder, llama_tensors, write_safetensors

from yangfan.errors import ConfigurationError
from yangfan.hub.inspection import BATCH_TOKENS, OVERHEAD_BYTES, Kind, inspect


def test_a_hugging_face_folder_tells_what_it_is(tmp_path: Path) -> None:
    facts = inspect(llama_folder(tmp_path / "m"))
    items = 10 * 32 + 32 + 2 * (2 * 32 + 2 * 32 * 32 + 2 * 16 * 32 + 3 * 64 * 32)
    assert (facts.format, facts.kind, facts.architecture) == (
        "safetensors",
        "chat",
        "LlamaForCausalLM",
    )
    assert (facts.context_tokens, facts.parameters, facts.dtype) == (256, items, "BF16")
    assert facts.chat_template == "{{ messages[0].content }}"
    assert (facts.licence, facts.tokenizer) == ("apache-2.0", "BPE")
    # Two layers, two key-value heads of 8 numbers, keys and values, two bytes each.
    assert facts.kv_bytes_per_token == 2 * 2 * (8 + 8) * 2
    expected = 2 * items + 256 * 128 + BATCH_TOKENS * 10 * 4 + OVERHEAD_BYTES["safetensors"]
    assert facts.memory_bytes_estimate == expected


def test_a_gguf_file_tells_what_it_is(tmp_path: Path) -> None:
    gguf_file(tmp_path / "m.gguf")
    facts = inspect(tmp_path)
    assert (facts.format, facts.kind, facts.architecture) == ("gguf", "chat", "llama")
    assert (facts.context_tokens, facts.parameters, facts.dtype) == (128, 96, "F16")
    assert (facts.licence, facts.tokenizer, facts.chat_template) == (
        "mit",
        "gpt2",
        "{{ messages }}",
    )
    assert facts.kv_bytes_per_token == 2 * 2 * (8 + 8) * 2


def test_the_real_model_tells_what_it_is(smollm2_path: Path, tmp_path: Path) -> None:
    (tmp_path / "m.gguf").symlink_to(smollm2_path)
    facts = inspect(tmp_path)
    assert (facts.architecture, facts.context_tokens, facts.dtype) == ("llama", 8192, "Q4_1")
    assert facts.parameters == 134_515_008
    assert facts.kv_bytes_per_token == 30 * 3 * 128 * 2
    assert "<|im_start|>" in facts.chat_template


@pytest.mark.parametrize(
    ("card", "licence"),
    [
        ("---\nlicense: mit\n---\n", "mit"),
        ("---\nlicense: other\nlicense_name: qwen-research\n---\n", "qwen-research"),
        ("---\nlicense: 'cc-by-4.0'\n---\n", "cc-by-4.0"),
        ("no front matter\nlicense: mit\n", ""),
        ("---\nlicense: [a, b]\n---\n", ""),
    ],
)
def test_the_licence_comes_from_the_card(tmp_path: Path, card: str, licence: str) -> None:
    folder = llama_folder(tmp_path)
    (folder / "README.md").write_text(card)
    assert inspect(folder).licence == licence


def test_the_licence_is_known_by_its_text(tmp_path: Path) -> None:
    folder = llama_folder(tmp_path)
    (folder / "README.md").unlink()
    (folder / "LICENSE").write_text("\n                 Apache License\n           Version 2.0")
    assert inspect(folder).licence == "apache-2.0"


@pytest.mark.parametrize(
    ("told", "template"),
    [
        ([{"name": "tools", "template": "t"}, {"name": "default", "template": "d"}], "d"),
        ([7], ""),
        (None, ""),
    ],
)
def test_templates_come_in_several_shapes(tmp_path: Path, told: Any, template: str) -> None:
    folder = llama_folder(tmp_path)
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": told}))
    assert inspect(folder).chat_template == template
    (folder / "chat_template.jinja").write_text("of its own")
    assert inspect(folder).chat_template == "of its own"


@pytest.mark.parametrize(
    ("kind", "is_possible"), [("chat", True), ("embeddings", True), ("images", False)]
)
def test_the_caller_may_say_what_a_model_is_for_where_it_can_be(
    tmp_path: Path, kind: Kind, is_possible: bool
) -> None:
    folder = llama_folder(tmp_path)
    if is_possible:
        assert inspect(folder, kind=kind).kind == kind
    else:
        with pytest.raises(ConfigurationError, match="for chat, not for images"):
            inspect(folder, kind=kind)


def changed(**fields: Any) -> Callable[[Path], object]:
    return lambda folder: (folder / "config.json").write_text(json.dumps({**LLAMA, **fields}))


def renamed_pickle(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(pickle.dumps({"a": 1}) + bytes(100))


def torch_pickle(folder: Path) -> None:
    with zipfile.ZipFile(folder / "extra.json", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}))


def overlapping(folder: Path) -> None:
    header = {name: {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} for name in ("a", "b")}
    encoded = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(encoded)) + encoded + bytes(8))


def index(places: dict[str, str]) -> Callable[[Path], object]:
    return lambda folder: (folder / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": places})
    )


HOSTILE: dict[str, tuple[Callable[[Path], object], str]] = {
    "code of its own": (changed(auto_map={"AutoModel": "x.y"}), "auto_map"),
    "a pickle under another name": (renamed_pickle, "pickle"),
    "PyTorch's zip under another name": (torch_pickle, "extra.json is a pickle"),
    "tensors that overlap": (overlapping, "overlap"),
    "an index that leads out": (index({"a": "../x.safetensors"}), "cannot be stored safely"),
    "an index that lies": (index({"lm_head.weight": "model.safetensors"}), "and it is not"),
    "no configuration": (lambda folder: (folder / "config.json").unlink(), "config.json"),
    "a configuration that is none": (lambda f: (f / "config.json").write_text("[1]"), "JSON"),
    "fewer words than it says": (changed(vocab_size=1 << 20), "config.json says 1048576 tokens"),
    "other widths than it says": (changed(hidden_size=64), "config.json says 10 tokens of 64"),
    "a negative context": (changed(max_position_embeddings=-5), "-5 for max_position"),
    "a tokenizer that is none": (
        lambda f: (f / "tokenizer.json").write_text("{"),
        "tokenizer.json",
    ),
    "an adapter": (lambda f: (f / "adapter_config.json").write_text("{}"), "adapter"),
    "a classifier": (
        changed(architectures=["BertForSequenceClassification"], id2label={"0": "a", "1": "b"}),
        "2 classes",
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_folder_that_is_not_what_it_says_is_refused_with_a_reason(
    tmp_path: Path, case: str
) -> None:
    folder = llama_folder(tmp_path / "m")
    change, reason = HOSTILE[case]
    change(folder)
    with pytest.raises(ConfigurationError, match=reason) as refused:
        inspect(folder)
    assert str(tmp_path) not in refused.value.message


def test_a_folder_of_pickles_is_refused(tmp_path: Path) -> None:
    folder = llama_folder(tmp_path / "m")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ConfigurationError, match="can run code"):
        inspect(folder)


def test_a_split_model_is_one(tmp_path: Path) -> None:
    folder = llama_folder(tmp_path / "m")
    (folder / "model.safetensors").unlink()
    tensors = llama_tensors()
    names = sorted(tensors)
    halves = {"a.safetensors": names[:5], "b.safetensors": names[5:]}
    for file, part in halves.items():
        write_safetensors(folder / file, {name: tensors[name] for name in part})
    index({name: file for file, part in halves.items() for name in part})(folder)
    assert inspect(folder).parameters == inspect(llama_folder(tmp_path / "n")).parameters


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"general__type": "adapter"}, "adapter"),
        ({"general__type": "mmproj"}, "reads pictures"),
        ({"general__type": "imatrix"}, "importance"),
        ({"general__architecture": ""}, "no architecture"),
        ({"llama__context_length": 1 << 31}, "context"),
        ({"llama__block_count": (1 << 32) - 1}, "block_count"),
    ],
)
def test_a_gguf_file_that_is_no_model_is_refused(
    tmp_path: Path, facts: dict[str, Any], reason: str
) -> None:
    gguf_file(tmp_path / "m.gguf", **facts)
    with pytest.raises(ConfigurationError, match=reason):
        inspect(tmp_path)


def test_a_gguf_file_that_lies_is_refused_by_its_name_alone(tmp_path: Path) -> None:
    path = gguf_file(tmp_path / "m.gguf")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ConfigurationError, match=r"^m\.gguf is corrupted or incomplete"):
        inspect(tmp_path)


def test_a_model_with_its_eye_sees(tmp_path: Path) -> None:
    gguf_file(tmp_path / "m.gguf")
    gguf_file(tmp_path / "mmproj.gguf", general__type="mmproj", general__architecture="clip")
    assert inspect(tmp_path).kind == "vision"
