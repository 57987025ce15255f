"""What a pull was asked for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import msgspec

from yangfan.errors import ConfigurationError
from yangfan.hub import catalogue, content
from yangfan.hub.catalogue import CatalogueFile, CatalogueModel
from yangfan.hub.uri import ModelURI, is_uri, parse

if TYPE_CHECKING:
    from yangfan.hub.store import StoredModel


class Order(msgspec.Struct, frozen=True):
    """What was asked for, whether by catalogue name or by address.

    Attributes:
        name: Name in the store.
        kind: chat, embeddings or rerank.
        licence: SPDX identifier, "" if unknown.
        sources: Where to look, in order.
        files: Files with known content, by path.
        size_bytes: Rough size of everything, 0 if unknown.
    """

    name: str
    kind: str
    licence: str
    sources: tuple[ModelURI, ...]
    files: Mapping[str, CatalogueFile]
    size_bytes: int

    def is_met_by(self, model: StoredModel) -> bool:
        """Whether `model` is what was asked for rather than another of the same name."""
        have = {file.path: file.sha256 for file in model.manifest.files}
        known = all(have.get(path) == file.sha256 for path, file in self.files.items())
        sources = {recorded(uri) for uri in self.sources}
        return known and model.kind == self.kind and model.manifest.source in sources


def order(model: str | CatalogueModel, name: str | None, kind: str) -> Order:
    """Read what `yangfan.hub.pull.pull` was given.

    Raises:
        ConfigurationError: No such name (the message lists those that exist), or not an address.
    """
    if isinstance(model, str) and is_uri(model):
        uri = parse(model)
        return Order(name or _name_of(uri), kind, "", (uri,), {}, 0)
    if isinstance(model, str):
        shelf = catalogue.load()
        entry = shelf.find(model)
        if entry is None:
            raise ConfigurationError(
                f"no model named {model!r} in the catalogue; there are: {', '.join(shelf.names)}. "
                "An address such as hf:organisation/name#file.gguf works too"
            )
        model = entry
    return Order(
        name or model.name,
        model.kind,
        model.licence,
        tuple(parse(source) for source in model.sources),
        {file.path: file for file in model.files},
        model.size_bytes,
    )


def _name_of(uri: ModelURI) -> str:
    """Make a name from the file chosen, or else from what the source calls the model."""
    last = uri.choice.rpartition("/")[2]
    if not last or set(last) & set("*?["):
        last = uri.path.partition("?")[0].rstrip("/").rpartition("/")[2].partition("==")[0]
    if PurePosixPath(last).suffix.lower() in content.TAKEN:
        last = PurePosixPath(last).stem
    return re.sub(r"[^a-z0-9._-]+", "-", last.lower()).lstrip("._-")[:64] or "model"


def recorded(uri: ModelURI) -> str:
    """The address as manifests keep it: the query of a signed URL is a secret."""
    return str(msgspec.structs.replace(uri, path=uri.path.partition("?")[0]))
