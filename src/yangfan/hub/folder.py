"""What a folder of model files holds, read from its file names and its small JSON files; nothing in it is run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

import msgspec

from yangfan.errors import ConfigurationError, FetchError
from yangfan.hub.content import require_safe_path
from yangfan.hub.convert_bert import is_bert
from yangfan.weights.safetensors import SafetensorsFile

if TYPE_CHECKING:
    from pathlib import Path

FolderFormat = Literal["safetensors", "openvino", "diffusers"]
FolderKind = Literal["chat", "vision", "embeddings", "rerank", "images"]

MAX_CONFIG_BYTES = 4 * 1024 * 1024
"""Largest config.json that is read."""

_ENDINGS = (
    ("ForConditionalGeneration", "vision"),
    ("ForImageTextToText", "vision"),
    ("ForVision2Seq", "vision"),
    ("ForCausalLM", "chat"),
    ("LMHeadModel", "chat"),
    ("ForSequenceClassification", "rerank"),
)
"""What a class of Hugging Face's is for, by the end of its name; every other class gives embeddings."""


class Folder(NamedTuple):
    """What was found.

    Attributes:
        format: How the weights are kept.
        kind: The first thing that the model is for.
        architecture: First of `architectures` in config.json, or `_class_name` of a diffusers pipeline; "" where neither says.
        size_bytes: All weights together.
        becomes: The format that it can be converted to here, "" if there is none that needs it.
    """

    format: FolderFormat
    kind: FolderKind
    architecture: str
    size_bytes: int
    becomes: str = ""


_PICKLE_SIGNS = (b"PK\x03\x04", b"\x80")
"""How PyTorch's files begin: a zip with a pickle in it, or the pickle itself."""

_CONFIGS = (
    *("config.json", "tokenizer_config.json", "generation_config.json"),
    *("processor_config.json", "preprocessor_config.json"),
)


def require_safe(path: Path) -> None:
    """Refuse a folder of safetensors that brings code, or whose weights are not what they say; nothing in it is run.

    Raises:
        ConfigurationError: It names code of its own, is an adapter, its index names files elsewhere, or a weights file is a pickle,
            damaged or incomplete.
    """
    for name in _CONFIGS:
        if (path / name).is_file() and "auto_map" in _json(path / name):
            raise ConfigurationError(
                f"{path / name} has auto_map: the model brings Python code of its own, which is never run here. If Transformers itself"
                " knows the architecture, remove that entry; otherwise take another model"
            )
    if (path / "adapter_config.json").is_file():
        raise ConfigurationError(
            f"{path} is an adapter and no model; serve its base model and name the adapter in that model's options"
        )
    for index in path.glob("*.safetensors.index.json"):
        _require_safe_index(path, index)
    for file in sorted(path.glob("*.safetensors")):
        try:
            with file.open("rb") as opened:
                head = opened.read(4)
            if head.startswith(_PICKLE_SIGNS) and _is_pickle(file):
                raise ConfigurationError(
                    f"{file} is a pickle with another name; pickles can run code and are not loaded: get the model in safetensors"
                )
            SafetensorsFile(file)
        except OSError as error:
            raise ConfigurationError(f"{file} cannot be read: {error}") from None


def _is_pickle(file: Path) -> bool:
    """A safetensors header may be as long as a pickle's sign says; only then is it followed by a brace."""
    with file.open("rb") as opened:
        return opened.read(9)[8:] != b"{"


def _require_safe_index(path: Path, index: Path) -> None:
    names = _json(index).get("weight_map")
    if not isinstance(names, dict):
        raise ConfigurationError(f"{index} has no weight_map; get the model again")
    for name in sorted({str(name) for name in cast("dict[str, Any]", names).values()}):
        try:
            require_safe_path(name)
        except FetchError as error:
            raise ConfigurationError(f"{index}: {error.message}") from None
        if not name.endswith(".safetensors") or not (path / name).is_file():
            raise ConfigurationError(
                f"{index} names {name[:200]!r}, which is no .safetensors file in the folder; get the model again"
            )


def examine(path: Path) -> Folder:
    """Tell what model lies in the folder `path`, which is to be served as it is.

    Raises:
        ConfigurationError: As of `describe`; or it brings code, or other weights than it says.
    """
    found = describe(path)
    if found.format == "safetensors":
        require_safe(path)
    return found


def describe(path: Path) -> Folder:
    """Tell what model lies in the folder `path`.

    Raises:
        ConfigurationError: It holds no model that any engine here could load; the message says what was missing.
    """
    if (path / "model_index.json").is_file():
        index = _json(path / "model_index.json")
        return Folder(
            "diffusers", "images", str(index.get("_class_name", "")), _size(path, "*.safetensors")
        )
    if any(path.glob("openvino*.xml")):
        config = _json(path / "config.json") if (path / "config.json").is_file() else {}
        return _described(path, "openvino", config, "*.bin")
    if not (path / "config.json").is_file():
        raise ConfigurationError(
            f"no model in the folder {path}: it has no config.json (Hugging Face), no model_index.json (diffusers) and no"
            " openvino_model.xml"
        )
    if not any(path.glob("*.safetensors")):
        raise ConfigurationError(
            f"the folder {path} has no .safetensors file; pickled weights (.bin, .pt) are not loaded, because they can run code:"
            " convert them, or get the model in safetensors"
        )
    return _described(path, "safetensors", _json(path / "config.json"), "*.safetensors")


def _described(path: Path, format_: FolderFormat, config: dict[str, Any], weights: str) -> Folder:
    architecture = _architecture(config)
    kind = _kind(config, architecture)
    if kind == "rerank" and _labels(config) != 1:
        raise ConfigurationError(
            f"the model in {path} sorts texts into {_labels(config)} classes; only those with one label rank, and others are not served"
        )
    if kind == "chat" and (path / "modules.json").is_file():
        kind = "embeddings"  # Sentence Transformers' own list of layers
    becomes = "gguf" if format_ == "safetensors" and is_bert(path) else ""
    return Folder(format_, kind, architecture, _size(path, weights), becomes)


def _labels(config: dict[str, Any]) -> int:
    """How many classes a classifier has; Transformers writes their names, two where it was told nothing."""
    names = config.get("id2label")
    if isinstance(names, dict):
        return len(cast("dict[str, Any]", names))
    number = config.get("num_labels")
    return number if isinstance(number, int) else 2


def _kind(config: dict[str, Any], architecture: str) -> FolderKind:
    for ending, kind in _ENDINGS:
        if architecture.endswith(ending):
            # BART, T5 and Whisper are ForConditionalGeneration, too, and read no pictures.
            if kind == "vision" and "vision_config" not in config:
                return "chat"
            return cast("FolderKind", kind)
    return "embeddings"


def _architecture(config: dict[str, Any]) -> str:
    names = config.get("architectures")
    return str(cast("list[Any]", names)[0]) if isinstance(names, list) and names else ""


def _json(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise ConfigurationError(
                f"{path} is larger than {MAX_CONFIG_BYTES} bytes; it is no configuration"
            )
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"{path} cannot be read as JSON: {error}; get the model again"
        ) from None


def _size(path: Path, pattern: str) -> int:
    return sum(file.stat().st_size for file in path.rglob(pattern))
