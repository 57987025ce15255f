"""Whether a diffusers folder may be opened: weights in safetensors, components of known libraries, no code. Nothing in it is run."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, cast

import msgspec

from yangfan.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

LIBRARIES = frozenset({"diffusers", "transformers", "stable_diffusion"})
"""Where a component's class may come from; stable_diffusion is diffusers' own name for its safety checker, which is not loaded."""

MAX_JSON_BYTES = 4 * 1024 * 1024
MAX_HEADER_BYTES = 100 * 1024 * 1024
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")


def check_folder(folder: Path) -> None:
    """Refuse what could run code or is no pipeline.

    Raises:
        ConfigurationError: The message names the file and what is wrong with it.
    """
    index = _json(folder / "model_index.json")
    for name, value in index.items():
        if isinstance(value, list) and value:
            library = cast("list[Any]", value)[0]
            if library is not None and library not in LIBRARIES:
                raise ConfigurationError(
                    f"{folder / 'model_index.json'}: the component {name} comes from {library!r}; only parts of diffusers and"
                    " transformers are loaded, because anything else is code of the model's"
                )
    for file in folder.rglob("*.py"):
        raise ConfigurationError(
            f"{file} is code, and code of a model is not run; get the model without it"
        )
    for file in folder.rglob("*.json"):
        if file.parent != folder and b'"auto_map"' in _read(file):
            raise ConfigurationError(
                f"{file} asks for code of the model's (auto_map), which is not run; get a model without it"
            )
    weights = list(folder.rglob("*.safetensors"))
    for file in weights:
        _check_weights(file)
    holders = {file.parent for file in weights}
    for pattern in _PICKLES:
        for file in folder.rglob(pattern):
            if file.parent not in holders:
                raise ConfigurationError(
                    f"{file} is a pickle, which can run code, and no .safetensors file lies beside it: get the model in safetensors"
                )
    if not weights:
        raise ConfigurationError(f"the folder {folder} has no .safetensors file")


def _check_weights(file: Path) -> None:
    """Eight bytes of length, then JSON: whatever else bears the name (a pickle, a zip) is refused."""
    with file.open("rb") as stream:
        head = stream.read(9)
    size = struct.unpack("<Q", head[:8])[0] if len(head) == 9 else 0
    if head[8:] != b"{" or not 2 <= size <= min(MAX_HEADER_BYTES, file.stat().st_size - 8):
        raise ConfigurationError(
            f"{file} is no safetensors file, or cut short; get the model again"
        )


def _json(file: Path) -> dict[str, Any]:
    try:
        return msgspec.json.decode(_read(file), type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"{file} cannot be read as JSON: {error}; get the model again"
        ) from None


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            # Tokenizers are larger than any configuration, and what asks for code stands in the small files.
            return stream.read(MAX_JSON_BYTES)
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read: {error.strerror}") from None
