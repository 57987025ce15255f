"""Take a model out of the store: as a folder, as a zip archive, or to an S3-compatible store."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, cast

import msgspec

from yangfan.errors import ConfigurationError, UnknownExtension
from yangfan.hub import s3, uri
from yangfan.hub.content import require_safe_path
from yangfan.hub.disk import (
    discard,
    full_disk_said_clearly,
    require_free,
    sha256_of,
    size_bytes,
    sync,
)
from yangfan.hub.s3 import S3
from yangfan.hub.sources.base import HubSettings
from yangfan.hub.store import StoredFile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from yangfan.egress import Egress
    from yangfan.hub.importing import Tell
    from yangfan.hub.store import ModelStore

Save = Callable[[Mapping[str, Any]], None]
"""Keeps a checkpoint; it is durable when this returns."""

CHUNK_BYTES: Final = 4 * 1024 * 1024
SUMS: Final = "SHA256SUMS"
"""Beside the files: their checksums, as `sha256sum -c` reads them."""
_OLDEST: Final = (1980, 1, 1, 0, 0, 0)
"""Zip's first day: equal models make equal archives."""


class ExportOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What to take out, and where to.

    Attributes:
        files: Of the model, all of them in the store.
        target: Folder, zip file, or ``s3:bucket/folder/``.
        form: Which of them.
    """

    files: tuple[StoredFile, ...]
    target: str
    form: Literal["folder", "zip", "s3"]


class Exported(msgspec.Struct, frozen=True, kw_only=True):
    """What is there now.

    Attributes:
        location: Where.
        size_bytes: All files together; of a zip, its own size.
        sha256: Of the zip; of a folder or a bucket, of its file `SUMS`.
    """

    location: str
    size_bytes: int
    sha256: str


async def export_model(
    order: ExportOrder,
    *,
    store: ModelStore,
    egress: Egress,
    settings: HubSettings | None = None,
    state: Mapping[str, Any] | None = None,
    save: Save = lambda _: None,
    tell: Tell,
) -> Exported:
    """Write a model out. A killed call is made again with the same order: whole files are kept, a zip begins anew.

    Args:
        order: What, and where to.
        store: Where the files are.
        egress: Guard for S3.
        settings: The S3 store's address and keys.
        state: What `save` got last.
        save: Keeps how far an upload is.
        tell: Told the bytes written; whatever it raises ends the work.

    Raises:
        ConfigurationError: The target is none, holds something else, or there is no space.
        SourceUnavailable: The S3 store did not answer or refuses.
    """
    for file in order.files:
        require_safe_path(file.path)
        store.require_whole(file)
    writer = _Writer(order, store, tell)
    if order.form == "s3":
        return await writer.to_s3(
            S3(egress, (settings or HubSettings()).s3), dict(state or {}), save
        )
    return _to_disk(order, writer)


def _to_disk(order: ExportOrder, writer: _Writer) -> Exported:
    target = Path(order.target).expanduser()
    if not target.is_absolute():
        raise ConfigurationError(f"the target {order.target!r} must be a whole path, from / on")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with full_disk_said_clearly(target.parent, writer.total_bytes):
            require_free(target.parent, writer.total_bytes)
            return writer.to_folder(target) if order.form == "folder" else writer.to_zip(target)
    except OSError as error:
        raise ConfigurationError(f"cannot write {target}: {error.strerror or error}") from error


class _Writer:
    """One export."""

    def __init__(self, order: ExportOrder, store: ModelStore, tell: Tell) -> None:
        self._files = sorted(order.files, key=lambda file: file.path)
        self._target = order.target
        self._store = store
        self._tell = tell
        self.total_bytes = sum(file.size_bytes for file in self._files)
        self._done_bytes = 0
        self._sums = "".join(f"{file.sha256}  {file.path}\n" for file in self._files).encode()

    def to_folder(self, target: Path) -> Exported:
        target.mkdir(exist_ok=True)
        for file in self._files:
            path = target / file.path
            if path.is_symlink() or (path.exists() and not self._is(path, file)):
                raise ConfigurationError(
                    f"{path} is there already and is something else; take another folder"
                )
            if path.exists():
                self._advance(file.size_bytes, file)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.parent.resolve().is_relative_to(target.resolve()):
                raise ConfigurationError(
                    f"{path.parent} leads out of {target}; take another folder"
                )
            part = path.with_name(f".{path.name}.part")
            discard(part)
            with part.open("xb") as out:
                for chunk in self._chunks(file):
                    out.write(chunk)
            sync(part)
            part.replace(path)
        (target / SUMS).write_bytes(self._sums)
        return Exported(location=str(target), size_bytes=self.total_bytes, sha256=self._digest)

    def to_zip(self, target: Path) -> Exported:
        if target.suffix.lower() != ".zip" or target.is_dir():
            raise ConfigurationError(f"the target {str(target)!r} must be a file that ends in .zip")
        part = target.with_name(f".{target.name}.part")
        discard(part)
        try:
            # Weights do not get smaller, so they are stored as they are; above 4 GiB the format of the large sizes is used.
            with zipfile.ZipFile(part, "x", zipfile.ZIP_STORED, allowZip64=True) as archive:
                for file in self._files:
                    info = zipfile.ZipInfo(file.path, _OLDEST)
                    info.external_attr = 0o100644 << 16
                    info.file_size = file.size_bytes
                    with archive.open(info, "w", force_zip64=file.size_bytes >= 1 << 31) as out:
                        for chunk in self._chunks(file):
                            out.write(chunk)
                archive.writestr(zipfile.ZipInfo(SUMS, _OLDEST), self._sums)
            sync(part)
            part.replace(target)
        finally:
            discard(part)
        return Exported(
            location=str(target), size_bytes=size_bytes(target) or 0, sha256=sha256_of(target)
        )

    async def to_s3(self, client: S3, state: dict[str, Any], save: Save) -> Exported:
        bucket, folder = self._bucket()
        finished = cast("list[str]", state.get("finished", []))
        for file in self._files:
            key = folder + file.path
            if key in finished:
                self._advance(file.size_bytes, file)
                continue
            if file.size_bytes <= s3.PART_BYTES:
                await client.put(bucket, key, b"".join(self._chunks(file)))
            else:
                await self._in_parts(client, bucket, key, file, state, save)
            finished = [*finished, key]
            upload = {} if state.get("key") == key else state
            state = {**upload, "finished": finished}
            save(state)
        await client.put(bucket, folder + SUMS, self._sums)
        return Exported(
            location=f"s3:{bucket}/{folder}", size_bytes=self.total_bytes, sha256=self._digest
        )

    async def _in_parts(
        self,
        client: S3,
        bucket: str,
        key: str,
        file: StoredFile,
        state: dict[str, Any],
        save: Save,
    ) -> None:
        """Upload a large file, behind the parts that an earlier attempt has brought there."""
        finished = state.get("finished", [])
        upload, etags = "", list[str]()
        if state.get("key") == key:
            upload, etags = str(state["upload"]), list(cast("list[str]", state["etags"]))
        if not upload:
            upload = await client.begin(bucket, key)
            save({"finished": finished, "key": key, "upload": upload, "etags": etags})
        size = max(s3.PART_BYTES, -(-file.size_bytes // 9_000))
        try:
            with self._store.blob(file).open("rb") as stream:
                stream.seek(size * len(etags))
                self._advance(size * len(etags), file)
                while content := stream.read(size):
                    etags.append(
                        await client.put_part(bucket, key, upload, len(etags) + 1, content)
                    )
                    save({"finished": finished, "key": key, "upload": upload, "etags": etags})
                    self._advance(len(content), file)
            await client.finish(bucket, key, upload, etags)
        except s3.Gone:
            # The store forgot the upload, or refuses it: nothing of it is of use to another attempt.
            save({"finished": finished})
            raise

    def _bucket(self) -> tuple[str, str]:
        try:
            address = uri.parse(self._target)
        except (ConfigurationError, UnknownExtension):
            address = None
        if address is None or address.scheme != "s3" or address.choice:
            raise ConfigurationError(f"the target {self._target!r} is no s3:bucket/folder/")
        bucket, key = s3.split(address.path)
        folder = f"{key.strip('/')}/" if key.strip("/") else ""
        if folder:
            require_safe_path(folder.rstrip("/"))
        return bucket, folder

    @property
    def _digest(self) -> str:
        return hashlib.sha256(self._sums).hexdigest()

    def _is(self, path: Path, file: StoredFile) -> bool:
        return size_bytes(path) == file.size_bytes and sha256_of(path) == file.sha256

    def _chunks(self, file: StoredFile) -> Iterator[bytes]:
        with self._store.blob(file).open("rb") as stream:
            while chunk := stream.read(CHUNK_BYTES):
                yield chunk
                self._advance(len(chunk), file)

    def _advance(self, count: int, file: StoredFile) -> None:
        self._done_bytes += count
        self._tell(self._done_bytes, self.total_bytes, "bytes", file.path)
