"""What a folder of model files holds, read from its file names and its small JSON files; nothing in it is run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

import msgspec

from yangfan.errors import ConfigurationError

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
    """

    format: FolderFormat
    kind: FolderKind
    architecture: str
    size_bytes: int


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
        architecture = _architecture(config)
        return Folder("openvino", _kind(config, architecture), architecture, _size(path, "*.bin"))
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
    config = _json(path / "config.json")
    architecture = _architecture(config)
    return Folder(
        "safetensors", _kind(config, architecture), architecture, _size(path, "*.safetensors")
    )


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
