"""What a folder says that it is, and the folders that are refused before anything opens them."""

import json
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest

from yangfan.errors import ConfigurationError
from yangfan.hub.folder import describe, require_safe

ONE = {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}


def safetensors(header: Any = ONE, data: bytes = bytes(8)) -> bytes:
    encoded = json.dumps(header).encode()
    return struct.pack("<Q", len(encoded)) + encoded + data


def make(folder: Path, config: dict[str, Any] | None = None, **files: bytes) -> Path:
    """A folder with a whole model in it, and `files` (`__` stands for a dot)."""
    folder.mkdir(exist_ok=True)
    known = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", **(config or {})}
    (folder / "config.json").write_text(json.dumps(known))
    (folder / "model.safetensors").write_bytes(safetensors())
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_bytes(content)
    return folder


class Canary:
    """Leaves a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize(
    ("architecture", "more", "kind"),
    [
        ("LlamaForCausalLM", {}, "chat"),
        ("GPT2LMHeadModel", {}, "chat"),
        ("T5ForConditionalGeneration", {}, "chat"),
        ("LlavaForConditionalGeneration", {"vision_config": {}}, "vision"),
        ("BertModel", {}, "embeddings"),
        ("BertForSequenceClassification", {"id2label": {"0": "LABEL_0"}}, "rerank"),
    ],
)
def test_the_architecture_tells_the_kind(
    tmp_path: Path, architecture: str, more: dict[str, Any], kind: str
) -> None:
    found = describe(make(tmp_path / "m", {"architectures": [architecture], **more}))
    assert (found.format, found.kind, found.architecture) == ("safetensors", kind, architecture)
    assert found.size_bytes == len(safetensors())


def test_a_language_model_of_sentence_transformers_gives_embeddings(tmp_path: Path) -> None:
    assert describe(make(tmp_path / "m", modules__json=b"[]")).kind == "embeddings"


@pytest.mark.parametrize("more", [{}, {"id2label": {"0": "bad", "1": "good"}}, {"num_labels": 3}])
def test_a_classifier_is_no_reranker(tmp_path: Path, more: dict[str, Any]) -> None:
    folder = make(tmp_path / "m", {"architectures": ["BertForSequenceClassification"], **more})
    with pytest.raises(ConfigurationError, match="classes"):
        describe(folder)


def test_other_formats_are_known_by_their_files(tmp_path: Path) -> None:
    openvino = make(tmp_path / "o", openvino_model__xml=b"", openvino_model__bin=b"1234")
    assert describe(openvino).format == "openvino"
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')
    assert describe(tmp_path / "d")[:3] == ("diffusers", "images", "StableDiffusionPipeline")


def test_a_folder_without_a_model_is_told_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no config\.json"):
        describe(tmp_path)
    (tmp_path / "config.json").write_text("{")
    (tmp_path / "model.safetensors").write_bytes(safetensors())
    with pytest.raises(ConfigurationError, match="cannot be read as JSON"):
        describe(tmp_path)


def test_a_sound_folder_is_safe(tmp_path: Path) -> None:
    index = b'{"weight_map": {"a": "model.safetensors"}}'
    require_safe(make(tmp_path / "m", model__safetensors__index__json=index))


def test_pickled_weights_alone_are_no_model(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    folder = make(tmp_path / "m", pytorch_model__bin=pickle.dumps(Canary(canary)))
    (folder / "model.safetensors").unlink()
    with pytest.raises(ConfigurationError, match="can run code"):
        describe(folder)
    assert not canary.exists()


@pytest.mark.parametrize("zipped", [False, True])
def test_a_pickle_under_another_name_is_refused_and_never_run(tmp_path: Path, zipped: bool) -> None:
    canary = tmp_path / "canary"
    folder = make(tmp_path / "m")
    file = folder / "model.safetensors"
    file.write_bytes(pickle.dumps(Canary(canary)))
    if zipped:
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("archive/data.pkl", pickle.dumps(Canary(canary)))
    with pytest.raises(ConfigurationError, match="is a pickle with another name"):
        require_safe(folder)
    assert not canary.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"1234",
        safetensors()[:-1],
        safetensors()[:20],
        struct.pack("<Q", 2**40) + b"{}",
        safetensors({"a": {"dtype": "F32", "shape": [2], "data_offsets": [8, 16]}}),
        safetensors({**ONE, "b": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}),
        safetensors(
            {**ONE, "b": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}, bytes(12)
        ),
    ],
)
def test_damaged_weights_are_refused(tmp_path: Path, content: bytes) -> None:
    folder = make(tmp_path / "m", model__safetensors=content)
    with pytest.raises(ConfigurationError, match="get it again"):
        require_safe(folder)


@pytest.mark.parametrize(
    "name",
    [
        "../model.safetensors",
        "/etc/passwd",
        "a/../../b.safetensors",
        "",
        "absent.safetensors",
        "model.bin",
    ],
)
def test_an_index_that_names_files_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    index = json.dumps({"weight_map": {"a": name}}).encode()
    folder = make(tmp_path / "m", model__safetensors__index__json=index, model__bin=b"")
    with pytest.raises(ConfigurationError, match="index"):
        require_safe(folder)


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json", "processor_config.json"])
def test_code_of_its_own_is_refused(tmp_path: Path, name: str) -> None:
    folder = make(tmp_path / "m")
    (folder / "evil.py").write_text("raise SystemExit")
    (folder / name).write_text('{"auto_map": {"AutoModel": "evil.Evil"}}')
    with pytest.raises(ConfigurationError, match="auto_map"):
        require_safe(folder)


def test_an_adapter_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="adapter"):
        require_safe(make(tmp_path / "m", adapter_config__json=b"{}"))
