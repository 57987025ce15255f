"""The catalogue's models as the platform's own sets, each with one version for every content that it ever had."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import msgspec

from yangfan.hub import catalogue
from yangfan.server.models.logic import ECHO
from yangfan.server.models.types import Facts, File

if TYPE_CHECKING:
    from yangfan.hub.catalogue import CatalogueModel
    from yangfan.server.models.store import RegistryStore
    from yangfan.server.models.types import SetType

SET_TYPES: dict[str, SetType] = {
    "chat": "Text2Text",
    "images": "Text2Image",
    "embeddings": "TextRepresentation",
    "rerank": "TextRepresentation",
    "vision": "ImageUnderstanding",
}
"""What Qianfan calls a set of models, by the word that engines use for what they do."""

APPLICATIONS = {
    "chat": "chat",
    "images": "Text-to-Image",
    "embeddings": "embedding",
    "rerank": "reranker",
    "vision": "Image-to-Text",
}
"""Its `modelApplicationType`, likewise (specification D.2)."""

_ECHO = catalogue.CatalogueModel(
    name=ECHO,
    title=catalogue.Title(
        en="Echo, which repeats what it is told", zh="回声（重复收到的内容，用于试用）"
    ),
    kind="chat",
    format="gguf",
    licence="Apache-2.0",
    size_bytes=0,
    parameters=0,
    context_tokens=0,
    sources=(),
)


def memory_estimate_bytes(size_bytes: int) -> int:
    """What one replica needs, where nothing better is known: its weights, a tenth for buffers, and 256 MiB for a program with its cache."""
    return size_bytes + size_bytes // 10 + 256 * 1024 * 1024


async def sync(store: RegistryStore, now_ms: int) -> None:
    """Give every model of the catalogue its set and version. Reads presets only, and writes nothing where nothing is new."""
    known = await store.preset_versions()
    wanted = [_ECHO, *catalogue.load().models]
    lacking = [model for model in wanted if version_id(model) not in known]
    if not lacking:
        return
    async with store.write() as connection:
        for model in lacking:
            set_id = _id("am-", model.name)
            found = await store.find_set(connection, id=set_id)
            number = (
                await store.add_set(
                    connection,
                    set_id,
                    model.name,
                    "PlatformPreset",
                    SET_TYPES[model.kind],
                    description=f"{model.title.zh} / {model.title.en}",
                    now_ms=now_ms,
                )
                if found is None
                else found.number
            )
            version = await store.add_version(connection, number, _values(model), now_ms)
            files = (File(file.path, file.sha256, file.size_bytes) for file in model.files)
            await store.set_files(connection, version, files)


def version_id(model: CatalogueModel) -> str:
    """The id of what a catalogue entry names: another one as soon as its content or its sources change."""
    content = (model.name, model.format, model.sources, model.files, model.size_bytes)
    return _id("amv-", msgspec.json.encode(content).decode())


def name_of(reference: str) -> str:
    """The name of the catalogue's model that this version's id stands for; "" if it is none of the catalogue's."""
    models = (_ECHO, *catalogue.load().models)
    return next((model.name for model in models if version_id(model) == reference), "")


def _id(prefix: str, text: str) -> str:
    """The same id at every start and on every machine."""
    return prefix + hashlib.sha256(f"preset/{text}".encode()).hexdigest()[:12]


def _values(model: CatalogueModel) -> dict[str, Any]:
    return {
        "id": version_id(model),
        "description": f"{model.title.zh} / {model.title.en}",
        "state": "Ready",
        "source_type": "PlatformPreset",
        "application": APPLICATIONS[model.kind],
        "kind": model.kind,
        "format": ECHO if model.name == ECHO else model.format,
        "size_bytes": model.size_bytes,
        "memory_bytes": memory_estimate_bytes(model.size_bytes),
        "facts": Facts(
            context_tokens=model.context_tokens,
            parameters=model.parameters,
            licence=model.licence,
        ),
        "source": model.sources[0] if model.sources else "",
    }
