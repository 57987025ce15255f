"""The models that have a name here: `catalogue.toml`, read and checked."""

from __future__ import annotations

import importlib.resources
import tomllib
from typing import Literal

import msgspec

from yangfan.errors import ConfigurationError


class Title(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to call a model in front of people."""

    zh: str
    en: str


class CatalogueFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file of a model whose content is known: whatever source it comes from, it must be this."""

    path: str
    sha256: str
    size_bytes: int


class CatalogueModel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One model.

    Attributes:
        name: Name to pull and serve it by.
        title: What to call it in front of people.
        kind: What it does.
        format: How its weights are kept.
        licence: SPDX identifier.
        size_bytes: All its files together.
        approximate: Whether `size_bytes` was read somewhere rather than measured.
        parameters: Number of weights.
        context_tokens: Longest input, prompt and answer together.
        sources: Addresses, tried in this order (`yangfan.hub.uri`).
        files: Files with known content; others may come with them.
    """

    name: str
    title: Title
    kind: Literal["chat", "embeddings", "rerank", "images"]
    format: Literal["gguf", "safetensors"]
    licence: str
    size_bytes: int
    approximate: bool = False
    parameters: int
    context_tokens: int
    sources: tuple[str, ...]
    files: tuple[CatalogueFile, ...] = ()


class Catalogue(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All models, in the order in which they are shown."""

    models: tuple[CatalogueModel, ...]

    def find(self, name: str) -> CatalogueModel | None:
        """Return the model of that exact name, or None."""
        return next((model for model in self.models if model.name == name), None)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all models."""
        return tuple(model.name for model in self.models)


def load(text: str | None = None) -> Catalogue:
    """Read a catalogue.

    Args:
        text: TOML of another catalogue; None for the one that comes with this package.

    Raises:
        ConfigurationError: The text is not a catalogue; the message says where.
    """
    if text is None:
        text = (importlib.resources.files("yangfan.hub") / "catalogue.toml").read_text("utf-8")
    try:
        return msgspec.convert(tomllib.loads(text), Catalogue)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ConfigurationError(f"the model catalogue is not valid: {error}") from error
