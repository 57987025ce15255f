"""One model from one source: list, choose, fetch, verify, publish."""

from __future__ import annotations

import asyncio
import hashlib
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

import msgspec

from yangfan import extensions
from yangfan.errors import ChecksumMismatch, ConfigurationError, FetchError, SourceUnavailable
from yangfan.hub import content
from yangfan.hub.disk import discard, sha256_of, size_bytes
from yangfan.hub.http import Gone
from yangfan.hub.order import Order, recorded
from yangfan.hub.progress import Progress
from yangfan.hub.store import Manifest, ModelStore, StoredFile, StoredModel

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping
    from pathlib import Path

    from yangfan.hub.sources.base import RemoteFile, Source, Workspace
    from yangfan.hub.uri import ModelURI

T = TypeVar("T")

SOURCES: Final = "yangfan.hub.sources"
LIST_TRIES: Final = 2
"""Tries to reach a source at all: the next source is a better idea than patience."""
FETCH_TRIES: Final = 6
"""Tries in a row that bring no further byte of a file."""
MAX_RETRY_SECONDS: Final = 30.0

_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_SPLIT: Final = re.compile(r"-\d{5}-of-\d{5}(?=\.gguf$)", re.IGNORECASE)


class Gathered(NamedTuple):
    """Files of a model that are blobs now, sorted by path, and the commit or version that they belong to."""

    files: tuple[StoredFile, ...]
    revision: str


class Attempt:
    """One model from one source.

    Attributes:
        total_bytes: Size of all files that are taken, as far as the source tells; 0 before it is asked.
    """

    def __init__(
        self,
        order: Order,
        uri: ModelURI,
        store: ModelStore,
        workspace: Workspace,
        is_taken: Callable[[str], bool] = content.is_taken,
    ) -> None:
        """Remember what to do.

        Args:
            order: What was asked for.
            uri: Where to look.
            store: Where blobs go.
            workspace: What the source may use.
            is_taken: Whether a file belongs to the model, by its path.
        """
        self._order = order
        self._uri = uri
        self._store = store
        self._workspace = workspace
        self._report = workspace.report
        self._is_taken = is_taken
        self.total_bytes = 0

    async def run(self) -> StoredModel:
        """Gather the files and make them a model."""
        gathered = await self.gather(create_source(self._uri, self._workspace))
        return self._store.publish(
            Manifest(
                name=self._order.name,
                kind=self._order.kind,
                format=content.format_of(file.path for file in gathered.files) or "",
                licence=self._order.licence,
                source=recorded(self._uri),
                revision=gathered.revision,
                files=gathered.files,
                created=datetime.now(UTC),
            )
        )

    async def gather(self, source: Source) -> Gathered:
        """Make every file that is taken a blob."""
        self._report(Progress(str(self._uri), 0, None, "listing"))
        listing = await self._persist(source.list, LIST_TRIES, lambda: 0)
        chosen = self._choose(listing.files)
        self.total_bytes = sum(file.size_bytes or 0 for file in chosen.values())
        missing = [file for file in chosen.values() if not self._has(file)]
        self._store.require_free(sum(file.size_bytes or 0 for file in missing))
        files = [
            await self._file(source, path, file, listing.revision)
            for path, file in sorted(chosen.items())
        ]
        return Gathered(tuple(files), listing.revision)

    async def download_one(self, source: Source, folder: Path) -> Path:
        """Fetch the only file of a source, whatever it is, and return where it is; it is no blob."""
        self._report(Progress(str(self._uri), 0, None, "listing"))
        listing = await self._persist(source.list, LIST_TRIES, lambda: 0)
        if len(listing.files) != 1:
            raise FetchError(f"{self._uri} holds {len(listing.files)} files instead of one archive")
        file = listing.files[0]
        content.require_safe_path(file.path)
        self._store.require_free(file.size_bytes or 0)
        part = folder / f"{self._key(file, listing.revision)}.archive"
        await self._bring(source, file.path, file, part)
        return part

    def _choose(self, offered: tuple[RemoteFile, ...]) -> dict[str, RemoteFile]:
        """Pick the files to take, by the path to store them under."""
        chosen: dict[str, RemoteFile] = {}
        for file in offered:
            path = self._uri.chosen(file.path)
            if path is None or not self._is_taken(path):
                continue
            content.require_safe_path(path)
            if file.sha256 is not None and not _SHA256.fullmatch(file.sha256):
                # It becomes a file name here, so it must be what it claims.
                raise FetchError(f"{self._uri} lists {path} with a checksum that is none")
            if path in chosen:
                raise FetchError(f"{self._uri} lists {path} twice")
            chosen[path] = self._expected(path, file)
        weights = content.format_of(chosen)
        absent = sorted(self._order.files.keys() - chosen.keys())
        if weights is None or absent:
            lacking = (
                ", ".join(absent) or f"no {' or '.join((content.GGUF, content.SAFETENSORS))} file"
            )
            raise Gone(
                f"{self._uri} holds nothing to run ({lacking}); pickles (.bin, .pt) are never fetched. "
                f"It has: {_some(file.path for file in offered)}"
            )
        if weights == "gguf":
            _require_one_gguf(self._uri, chosen)
        return chosen

    def _expected(self, path: str, file: RemoteFile) -> RemoteFile:
        """Add what the catalogue knows, and refuse a source that says otherwise."""
        known = self._order.files.get(path)
        if known is None:
            return file
        if file.sha256 not in {None, known.sha256} or file.size_bytes not in {
            None,
            known.size_bytes,
        }:
            raise ChecksumMismatch(f"{self._uri} holds another {path} than the catalogue knows")
        return msgspec.structs.replace(file, sha256=known.sha256, size_bytes=known.size_bytes)

    def _has(self, file: RemoteFile) -> bool:
        return file.sha256 is not None and self._store.has_blob(file.sha256, file.size_bytes)

    async def _file(self, source: Source, path: str, file: RemoteFile, revision: str) -> StoredFile:
        """Make one file a blob, unless its content is here already."""
        if file.sha256 is not None and file.size_bytes is not None and self._has(file):
            self._report(Progress(path, file.size_bytes, file.size_bytes, "verifying"))
            return StoredFile(path, file.sha256, file.size_bytes)
        part = self._store.partial_folder(self._order.name) / self._key(file, revision)
        record = part.with_name(f"{part.name}.done")
        if file.version and (done := self._finished(record)) is not None:
            self._report(Progress(path, done.size_bytes, done.size_bytes, "verifying"))
            return msgspec.structs.replace(done, path=path)
        continued = bool(size_bytes(part))
        try:
            stored = await self._bring(source, path, file, part)
        except ChecksumMismatch:
            if not continued:
                raise
            # What an earlier pull left may be to blame: once more, from the first byte.
            stored = await self._bring(source, path, file, part)
        self._store.adopt(part, stored.sha256)
        record.write_bytes(msgspec.json.encode(stored))
        return stored

    def _finished(self, record: Path) -> StoredFile | None:
        """What an earlier attempt has made of a file whose checksum the source does not tell, if the blob is still here."""
        try:
            done = msgspec.json.decode(record.read_bytes(), type=StoredFile)
        except (OSError, msgspec.MsgspecError):
            return None
        return done if self._store.has_blob(done.sha256, done.size_bytes) else None

    async def _bring(self, source: Source, path: str, file: RemoteFile, part: Path) -> StoredFile:
        """Fetch into `part` and verify; a `part` with wrong bytes is thrown away."""

        def advance(done_bytes: int) -> None:
            self._report(Progress(path, done_bytes, file.size_bytes, "downloading"))

        await self._persist(
            lambda: source.fetch(file, part, advance), FETCH_TRIES, lambda: size_bytes(part) or 0
        )
        size = size_bytes(part) or 0
        self._report(Progress(path, size, file.size_bytes, "verifying"))
        try:
            digest = await asyncio.to_thread(_verified, part, path, file)
        except ChecksumMismatch:
            discard(part)
            raise
        return StoredFile(path, digest, size)

    def _key(self, file: RemoteFile, revision: str) -> str:
        """Name of the part file: the content's own if it is known, or else all that decides the content."""
        if file.sha256 is not None:
            return file.sha256
        parts = (recorded(self._uri), revision, file.path, str(file.size_bytes), file.version)
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    async def _persist(
        self, action: Callable[[], Awaitable[T]], tries: int, reached: Callable[[], int]
    ) -> T:
        """Try until it works, pausing longer each time; an attempt that brought bytes starts the count anew."""
        return await persistently(
            action, tries, self._workspace.settings.retry_seconds, reached=reached
        )


async def persistently(
    action: Callable[[], Awaitable[T]],
    tries: int,
    retry_seconds: float,
    *,
    reached: Callable[[], int] = lambda: 0,
) -> T:
    """Do something until it works, pausing longer each time.

    Args:
        action: What to do.
        tries: So many failures in a row are the end.
        retry_seconds: The first pause; each further one is twice as long.
        reached: How far it is: an attempt that got further starts the count anew.

    Raises:
        SourceUnavailable: The last failure; `Gone` at once, for it would not change.
    """
    failed = 0
    while True:
        before = reached()
        try:
            return await action()
        except Gone:
            raise
        except SourceUnavailable:
            failed = 1 if reached() > before else failed + 1
            if failed >= tries:
                raise
        await asyncio.sleep(min(retry_seconds * 2 ** (failed - 1), MAX_RETRY_SECONDS))


def create_source(uri: ModelURI, workspace: Workspace) -> Source:
    """The source that an address names.

    Raises:
        UnknownExtension: There is no such source.
        ConfigurationError: The address is not one of the source's.
    """
    return extensions.load(SOURCES, uri.scheme).create(uri, workspace)


def _verified(part: Path, path: str, file: RemoteFile) -> str:
    """Return the SHA-256 of a part that is what it should be.

    Raises:
        ChecksumMismatch: It is not.
    """
    size = size_bytes(part)
    if file.size_bytes not in {None, size}:
        raise ChecksumMismatch(
            f"{path} has {size} bytes, {file.size_bytes} were promised; it was thrown away"
        )
    digest = sha256_of(part)
    if file.sha256 not in {None, digest}:
        raise ChecksumMismatch(
            f"{path} is not what was promised: sha256 {digest}, expected {file.sha256}; it was thrown away. "
            "Try again; if it stays so, the source has changed or somebody on the way changes it"
        )
    content.require_genuine(part, path)
    return digest


def _require_one_gguf(uri: ModelURI, chosen: Mapping[str, RemoteFile]) -> None:
    """Refuse a repository's whole shelf of quantisations; the parts of one split file are one."""
    whole = {_SPLIT.sub("", path) for path in chosen if path.lower().endswith(content.GGUF)}
    if len(whole) > 1:
        raise ConfigurationError(
            f"{uri} holds {len(whole)} models: choose one with #, of: {_some(whole)}"
        )


def _some(paths: Iterable[str]) -> str:
    """At most a dozen names, for a message."""
    names = sorted(paths)
    more = f" and {len(names) - 12} more" if len(names) > 12 else ""
    return (", ".join(name[:120] for name in names[:12]) or "nothing") + more
