"""Bring a model into the store: `pull` is the whole interface.

The order of events is what makes it safe to stop anywhere: bytes gather in a part file, a verified part becomes a blob
in one rename, and the manifest that makes the model visible is written last.
"""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING

from yangfan.errors import ChecksumMismatch, FetchError, SourceUnavailable
from yangfan.hub.attempt import Attempt
from yangfan.hub.lock import lock
from yangfan.hub.order import Order, order
from yangfan.hub.progress import Progress, Report, ignore
from yangfan.hub.sources.base import HubSettings, Workspace

if TYPE_CHECKING:
    from yangfan.egress import Egress
    from yangfan.hub.catalogue import CatalogueModel
    from yangfan.hub.store import ModelStore, StoredModel


async def pull(
    model: str | CatalogueModel,
    *,
    store: ModelStore,
    egress: Egress,
    progress: Report | None = None,
    name: str | None = None,
    kind: str = "chat",
    verify: bool = False,
    settings: HubSettings | None = None,
) -> StoredModel:
    """Bring a model here, or find that it is here already.

    Sources are tried in order. A cut connection continues where it was cut, in this call or a later one. Only one pull
    of a model runs at a time; a second one waits and then finds the model.

    Args:
        model: Name in the catalogue, an entry of one, or an address such as
            ``hf:Qwen/Qwen3-0.6B-GGUF#Qwen3-0.6B-Q8_0.gguf``.
        store: Where to put it.
        egress: Guard for every fetch but those of the package index.
        progress: Told how far it is, from this event loop.
        name: Name in the store; None for the catalogue's, or one made from the address.
        kind: chat, embeddings or rerank, for addresses; the catalogue knows its own.
        verify: Read all content of a model that is here and fetch what is damaged; otherwise sizes are compared.
        settings: Hubs' addresses and tokens.

    Raises:
        ConfigurationError: No such name (the message lists those that exist), not an address, or no space.
        ChecksumMismatch: What arrived is not what was promised; it was thrown away.
        EgressDenied: The policy forbids the address.
        SourceUnavailable: No source has it, or none answered.
        FetchError: A source offered something that is not a model, or not safe to keep.
    """
    wanted = order(model, name, kind)
    report = progress or ignore
    if not verify and (found := _present(wanted, store)):
        return found
    waiting = Progress(wanted.name, 0, None, "waiting")
    async with (
        lock(store.lock_file(wanted.name), waiting=lambda: report(waiting)),
        lock(store.store_lock_file(), shared=True),
    ):
        found = _present(wanted, store)
        if found and verify:
            report(Progress(wanted.name, 0, found.size_bytes, "verifying"))
            damaged = await asyncio.to_thread(store.damaged, found)
            for file in damaged:
                store.discard_blob(file.sha256)
            found = None if damaged else found
        if found is None:
            found = await _fetch(wanted, store, egress, report, settings or HubSettings())
        report(Progress(wanted.name, found.size_bytes, found.size_bytes, "done"))
        return found


def _present(wanted: Order, store: ModelStore) -> StoredModel | None:
    model = store.get(wanted.name)
    return model if model and wanted.is_met_by(model) and store.is_intact(model) else None


async def _fetch(
    wanted: Order, store: ModelStore, egress: Egress, report: Report, settings: HubSettings
) -> StoredModel:
    """Try the sources in wanted."""
    store.require_free(wanted.size_bytes)
    failures: list[FetchError] = []
    for uri in wanted.sources:
        scratch = store.partial_folder(wanted.name) / "scratch"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        workspace = Workspace(egress, scratch, settings, report)
        try:
            return await Attempt(wanted, uri, store, workspace).run()
        except FetchError as error:
            failures.append(error)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    raise _summary(wanted, failures)


def _summary(wanted: Order, failures: list[FetchError]) -> FetchError:
    """One error for all sources; wrong bytes outweigh everything else."""
    if len(failures) == 1:
        return failures[0]
    kinds = {type(failure) for failure in failures}
    said = "; ".join(
        f"{uri.scheme}: {error.message}"
        for uri, error in zip(wanted.sources, failures, strict=True)
    )
    message = f"no source has {wanted.name}: {said}"
    if ChecksumMismatch in kinds:
        return ChecksumMismatch(message)
    return kinds.pop()(message) if len(kinds) == 1 else SourceUnavailable(message)
