"""Bring somebody's own model into the store: fetch, unpack, check, read its facts, and only then publish.

As in `yangfan.hub.pull`, bytes gather in part files and become blobs when they are whole and verified, so an import that was
killed goes on where it was, and two imports that share files store them once.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import msgspec

from yangfan.errors import ConfigurationError, FetchError, SourceUnavailable, YangfanError
from yangfan.hub import adapters, archive, content, convert_decoder, inspection, uri
from yangfan.hub.attempt import Attempt, create_source
from yangfan.hub.disk import discard, sha256_of, size_bytes
from yangfan.hub.inspection import Format, Kind, ModelFacts
from yangfan.hub.lock import lock
from yangfan.hub.order import Order, recorded
from yangfan.hub.sources.base import HubSettings, Listing, RemoteFile, Source, Workspace
from yangfan.hub.store import Manifest, StoredFile

if TYPE_CHECKING:
    from yangfan.egress import Egress
    from yangfan.hub.progress import Progress
    from yangfan.hub.store import ModelStore, StoredModel
    from yangfan.hub.uri import ModelURI

Merge = Callable[[Path, Path, Path], None]
"""(base, file, target): write a pipeline that draws with a LoRA file in it. ConfigurationError says why it cannot be."""

PICTURES_LORA: Final = "pytorch_lora_weights.safetensors"
"""What diffusers calls such a file, where others lie beside it."""

Tell = Callable[[float, float | None, str, str], None]
"""(done, total, unit, note): how far it is. Whatever it raises ends the import; what came so far stays for another try."""

COMPANIONS: Final = frozenset({"README.md", "LICENSE", "LICENSE.md", "NOTICE"})
"""Files beside a model that say what one may do with it."""

_ADAPTERS: Final = COMPANIONS | {adapters.CONFIG, adapters.WEIGHTS}
"""What an adapter consists of; the tokenizers that some bring are their bases'."""

_SCHEME: Final = re.compile(r"[a-z][a-z0-9_]+:")


class ImportOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What to import.

    Attributes:
        source: A path on this machine, or an address: ``https://…``, ``s3:bucket/key``, ``hf:``, ``modelscope:``, ``pypi:``, ``file:``. A
            single file may be a zip or tar archive.
        name: Name in the store.
        kind: What it is for; None to read it from the model.
        format: What it must be; None for either.
        revision: Branch, tag or commit, where the address does not name one.
        base: Name in the store of the model that an adapter changes.
    """

    source: str
    name: str
    kind: Kind | None = None
    format: Format | None = None
    revision: str | None = None
    base: str = ""


class Imported(msgspec.Struct, frozen=True, kw_only=True):
    """A model that is in the store now.

    Attributes:
        files: Its files, sorted by path.
        format: How its weights are kept.
        kind: What it is for.
        facts: Everything that was read out of it.
        licence: As it names it, "" if it names none.
        source: Address that it came from, without secrets.
        revision: Commit or version there, "" if the source tells none.
        size_bytes: All its files together.
        memory_bytes_estimate: What one replica needs (`yangfan.hub.inspection.estimate`).
    """

    files: tuple[StoredFile, ...]
    format: Format
    kind: Kind
    facts: ModelFacts
    licence: str
    source: str
    revision: str
    size_bytes: int
    memory_bytes_estimate: int


async def import_model(
    order: ImportOrder,
    *,
    store: ModelStore,
    egress: Egress,
    settings: HubSettings | None = None,
    tell: Tell,
    merge: Merge | None = None,
) -> Imported:
    """Fetch a model, check it, and publish it in the store; what is there already is not fetched again.

    Args:
        order: What to import.
        store: Where to.
        egress: Guard for every fetch but those of the package index.
        settings: Hubs' addresses, tokens and keys.
        tell: Told the bytes that are here, in this thread.
        merge: Makes a model of a LoRA file for a base that draws; None refuses such files.

    Raises:
        ConfigurationError: No address, no model, another format or kind than ordered, or no space; the message says what to change.
        ChecksumMismatch: What arrived is not what the source promised.
        EgressDenied: The policy forbids the address.
        SourceUnavailable: The source did not answer or has nothing there; another try goes on where this one stopped.
        FetchError: The source offered something that is not safe to keep.
    """
    address = parse(order)
    try:
        async with (
            lock(store.lock_file(order.name)),
            lock(store.store_lock_file(), shared=True),
        ):
            found = store.get(order.name)
            if found is None or not _is(found, order, address) or not store.is_intact(found):
                importing = _Import(order, address, store, tell, merge)
                workspace = Workspace(
                    egress, importing.scratch, settings or HubSettings(), importing.report
                )
                found = await importing.run(workspace)
    except (FetchError, ConfigurationError) as error:
        if not _may_go_on(error):
            store.collect()  # the files of a model that was refused are nobody's
        raise
    return describe(found)


def _is(model: StoredModel, order: ImportOrder, address: ModelURI) -> bool:
    """Whether an import that was killed behind its last step made this model."""
    return (
        model.manifest.source == recorded(address)
        and order.kind in {None, model.kind}
        and order.format in {None, model.format}
    )


def parse(order: ImportOrder) -> ModelURI:
    """The address of an order.

    Raises:
        ConfigurationError: It is none.
    """
    source = order.source.strip()
    if not _SCHEME.match(source):
        source = f"file:{source}"
    address = uri.parse(source)
    if (
        order.revision
        and address.revision is None
        and address.scheme not in {"file", "https", "http", "s3"}
    ):
        address = msgspec.structs.replace(address, revision=order.revision)
    return address


def describe(model: StoredModel) -> Imported:
    """Read the facts of a model that is in the store."""
    facts = facts_of(model.folder, _kind(model.kind))
    return Imported(
        files=model.manifest.files,
        format=facts.format,
        kind=facts.kind,
        facts=facts,
        licence=facts.licence or model.manifest.licence,
        source=model.manifest.source,
        revision=model.manifest.revision,
        size_bytes=model.size_bytes,
        memory_bytes_estimate=facts.memory_bytes_estimate,
    )


def facts_of(folder: Path, kind: Kind | None = None) -> ModelFacts:
    """The facts of what lies in a folder: a model, or an adapter for one.

    Raises:
        ConfigurationError: It is neither, or not the kind; the message tells why.
    """
    if adapters.is_adapter(folder):
        return adapters.facts(folder)
    return inspection.inspect(folder, kind=kind)


def adapter_file(folder: Path, base: StoredModel, store: ModelStore) -> Path | None:
    """Make an adapter what llama.cpp reads, and its base, too, where that is no GGUF file yet.

    Args:
        folder: Of the adapter; the file is put into it.
        base: The model that it changes.
        store: Where that is.

    Returns:
        The adapter's file; None where llama.cpp does not run its base.

    Raises:
        ConfigurationError: It is an adapter of another model, or cannot be served.
    """
    read = adapters.read(folder)
    known = convert_decoder.layers_of(base.path)
    if known is None:
        return None
    target = folder / adapters.GGUF
    adapters.convert(read, known, target)
    if base.format == "safetensors":
        whole = store.converted_file(base, convert_decoder.VERSION)
        if not whole.is_file():
            store.require_free(base.size_bytes)
            convert_decoder.convert(base.path, whole)
    return target


def _kind(text: str) -> Kind | None:
    return msgspec.convert(text, Kind) if text else None


class _Import:
    """One import under its lock."""

    def __init__(
        self,
        order: ImportOrder,
        address: ModelURI,
        store: ModelStore,
        tell: Tell,
        merge: Merge | None,
    ) -> None:
        self._order = order
        self._address = address
        self._store = store
        self._tell = tell
        self._merge = merge
        self._partial = store.partial_folder(order.name)
        self.scratch = self._partial / "scratch"
        self._done: dict[str, int] = {}
        self._attempt: Attempt | None = None

    async def run(self, workspace: Workspace) -> StoredModel:
        shutil.rmtree(self.scratch, ignore_errors=True)
        self.scratch.mkdir()
        try:
            return await self._run(workspace)
        except (FetchError, ConfigurationError) as error:
            if not _may_go_on(error):
                shutil.rmtree(self._partial, ignore_errors=True)
            raise
        finally:
            shutil.rmtree(self.scratch, ignore_errors=True)

    async def _run(self, workspace: Workspace) -> StoredModel:
        source = await self._source(workspace)
        address = self._address
        wanted = Order(self._order.name, self._order.kind or "", "", (address,), {}, 0)
        self._attempt = Attempt(wanted, address, self._store, workspace, is_taken)
        gathered = await self._attempt.gather(source)
        if self._merge is not None and (merged := self._drawing(gathered.files, self._merge)):
            gathered = gathered._replace(files=merged)
        facts = self._inspect(gathered.files)
        if facts.format == adapters.FORMAT:
            gathered = gathered._replace(files=self._adapter(gathered.files))
        if self._order.format not in {None, facts.format} and not (
            facts.format == adapters.FORMAT and self._order.format == "safetensors"
        ):
            raise ConfigurationError(
                f"the model is {facts.format}, and {self._order.format} was ordered"
            )
        return self._store.publish(
            Manifest(
                name=self._order.name,
                kind=facts.kind,
                format=facts.format,
                licence=facts.licence,
                source=recorded(self._address),
                revision=gathered.revision,
                files=gathered.files,
                created=datetime.now(UTC),
            )
        )

    def _drawing(self, files: tuple[StoredFile, ...], merge: Merge) -> tuple[StoredFile, ...]:
        """The files of a base that draws with a LoRA file in it, if that is what was brought; () if not."""
        base = self._store.get(self._order.base) if self._order.base else None
        names = [file.path for file in files if file.path.endswith(content.SAFETENSORS)]
        if PICTURES_LORA in names:
            names = [PICTURES_LORA]
        is_whole = any(file.path == "model_index.json" for file in files)
        if base is None or base.kind != "images" or is_whole or len(names) != 1:
            return ()
        self._store.require_free(base.size_bytes)
        tree, made = self.scratch / "lora", self.scratch / "merged"
        self._store.lay_out(tree, files)
        merge(base.folder, tree / names[0], made)
        found: list[StoredFile] = []
        for path in sorted(made.rglob("*")):
            if path.is_file():
                name, size = path.relative_to(made).as_posix(), path.stat().st_size
                found.append(StoredFile(name, sha256_of(path), size))
                self._store.adopt(path, found[-1].sha256)
        return tuple(found)

    def _inspect(self, files: tuple[StoredFile, ...]) -> ModelFacts:
        """Read the facts before the model can be seen by anybody."""
        tree = self.scratch / "tree"
        self._store.lay_out(tree, files)
        return facts_of(tree, self._order.kind)

    def _adapter(self, files: tuple[StoredFile, ...]) -> tuple[StoredFile, ...]:
        """The files of an adapter, and what llama.cpp reads instead of them."""
        tree = self.scratch / "tree"
        base = self._store.get(self._order.base) if self._order.base else None
        if base is None:
            name = (
                adapters.read(tree).config.base_model_name_or_path
                or "a model that it does not name"
            )
            raise ConfigurationError(
                f"this is a LoRA adapter of {name[:120]} and no model of its own: import that first, and name it with the adapter"
                " (importMeta.baseModel, yangfan models import --base)"
            )
        made = adapter_file(tree, base, self._store)
        kept = tuple(file for file in files if file.path in _ADAPTERS)
        if made is None:
            return kept
        stored = StoredFile(adapters.GGUF, sha256_of(made), made.stat().st_size)
        self._store.adopt(made, stored.sha256)
        return tuple(sorted((*kept, stored), key=lambda file: file.path))

    async def _source(self, workspace: Workspace) -> Source:
        """Where the files come from, and which of them are wanted: those of an archive if the address names one."""
        local = self._local_archive()
        if local is not None:
            return self._unpacked(local)
        source = create_source(self._address, workspace)
        path = urlsplit(self._address.path).path.lower()
        if self._address.scheme in {"https", "http", "s3"} and path.endswith(archive.ENDINGS):
            return self._unpacked(await self._download(source, workspace))
        return source

    def _local_archive(self) -> Path | None:
        if self._address.scheme != "file":
            return None
        path = Path(self._address.path.removeprefix("//")).expanduser()
        if path.is_dir():  # such as that of an upload, which may hold an archive and nothing else
            path = next(iter(path.iterdir()), path) if len(list(path.iterdir())) == 1 else path
        is_plain = path.is_file() and not path.is_symlink()
        return path if is_plain and archive.is_archive(path) else None

    async def _download(self, source: Source, workspace: Workspace) -> Path:
        whole = Order(self._order.name, "", "", (self._address,), {}, 0)
        attempt = Attempt(whole, self._address, self._store, workspace)
        return await attempt.download_one(source, self._partial)

    def _unpacked(self, path: Path) -> Source:
        folder = self.scratch / "members"
        folder.mkdir()
        places = archive.unpack(
            path,
            folder,
            wanted=is_taken_below,
            room=self._store.require_free,
            progress=lambda done, total: self._tell(done, total, "bytes", f"unpacking {path.name}"),
        )
        return _Members(_without_shared_folder(places))

    def report(self, progress: Progress) -> None:
        """Add up what the files of the model have."""
        if progress.stage == "listing":
            self._tell(
                progress.done_bytes, progress.total_bytes, "bytes", f"asking {progress.file}"
            )
            return
        self._done[progress.file] = progress.done_bytes
        total = self._attempt.total_bytes if self._attempt is not None else progress.total_bytes
        self._tell(
            sum(self._done.values()), total or None, "bytes", f"{progress.stage} {progress.file}"
        )


def _may_go_on(error: YangfanError) -> bool:
    """Whether another try could use the bytes that are here."""
    return isinstance(error, SourceUnavailable) or "no space" in error.message


def is_taken(path: str) -> bool:
    """Whether a file is part of a model, or says what one may do with it."""
    return content.is_taken(path) or path in COMPANIONS


def is_taken_below(path: str) -> bool:
    """As `is_taken`, in an archive whose files may all lie in one folder."""
    return content.is_taken(path) or path.rpartition("/")[2] in COMPANIONS


def _without_shared_folder(places: dict[str, Path]) -> dict[str, Path]:
    """Archives often hold one folder with everything in it."""
    parts = [path.split("/")[:-1] for path in places if content.is_taken(path)]
    shared = 0
    while parts and all(len(part) > shared and part[shared] == parts[0][shared] for part in parts):
        shared += 1
    prefix = "".join(f"{part}/" for part in parts[0][:shared]) if parts else ""
    return {
        path.removeprefix(prefix): place
        for path, place in places.items()
        if path.startswith(prefix)
    }


class _Members:
    """What was unpacked, as a source."""

    def __init__(self, places: dict[str, Path]) -> None:
        self._places = places

    async def list(self) -> Listing:
        return Listing(
            tuple(
                RemoteFile(path, size_bytes(place)) for path, place in sorted(self._places.items())
            )
        )

    async def fetch(self, file: RemoteFile, part: Path, progress: Callable[[int], None]) -> None:
        discard(part)
        progress(size_bytes(self._places[file.path].replace(part)) or 0)
