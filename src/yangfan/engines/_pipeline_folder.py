"""Whether a diffusers folder may be opened: weights in safetensors, components of known libraries, no code. Nothing in it is run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import msgspec

from yangfan.engines._safetensors import check_weights
from yangfan.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

LIBRARIES = frozenset({"diffusers", "transformers", "stable_diffusion"})
"""Where a component's class may come from; stable_diffusion is diffusers' own name for its safety checker, which is not loaded."""

MAX_JSON_BYTES = 4 * 1024 * 1024
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
        check_weights(file)
    holders = {file.parent for file in weights}
    for pattern in _PICKLES:
        for file in folder.rglob(pattern):
            if file.parent not in holders:
                raise ConfigurationError(
                    f"{file} is a pickle, which can run code, and no .safetensors file lies beside it: get the model in safetensors"
                )
    if not weights:
        raise ConfigurationError(f"the folder {folder} has no .safetensors file")


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
