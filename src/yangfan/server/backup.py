"""Everything that a platform cannot make again, in one tar file, taken while it serves; and back.

    backup.json      what this is; first
    secret.key       the master key: whoever has the backup can open what is sealed in it
    instance         name of the server among those that share its database
    yangfan.toml     the settings file, if there is one
    usage/…          usage that was not in the database yet
    rows.jsonl       all rows of the database at one moment (`yangfan.server.rows`)
    models/…         manifests and whatever is no blob, one member each
    links.jsonl      which path of models/ is which blob
    blobs/SHA256     files of models, each once

A member is read back by rules of our own: known names, regular files, blobs only under their own digest.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import re
import shutil
import tarfile
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from yangfan.errors import ConfigurationError
from yangfan.server.db import Database

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from yangfan.server.home import Home
    from yangfan.server.settings import Settings

FORMAT = 1
CHUNK_BYTES = 1 << 20
_SINGLE = ("secret.key", "instance", "yangfan.toml")
_USAGE = re.compile(r"usage/usage-\d{1,12}\.log")
_BLOB = re.compile(r"(?:blobs|datasets/[0-9a-f]{2})/([0-9a-f]{64})")
_PART = re.compile(r"[^/\0]{1,255}")
_MAX_HEAD_BYTES = 1 << 20
_SCRATCH = ".yangfan-restore-"


class Contents(msgspec.Struct, frozen=True, kw_only=True):
    """What `backup.json` says."""

    format: int
    revision: str
    """Of the database's schema."""
    created: str
    with_models: bool


class Summary(msgspec.Struct, frozen=True):
    """What was written or read."""

    rows: int
    blobs: int
    size_bytes: int
    seconds: float


async def back_up(settings: Settings, home: Home, out: Path, *, with_models: bool) -> Summary:
    """Write a backup; a server may run meanwhile.

    Raises:
        ConfigurationError: There is no platform in this home, something cannot be read, or `out` cannot be written.
    """
    if not home.master_key.exists():
        raise ConfigurationError(f"there is no platform in {home.path}; name another with --home")
    began = time.monotonic()
    partial = out.with_name(f".{out.name}.partial")
    try:
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=".yangfan-backup-") as folder:
            counts = await _write(settings, home, partial, Path(folder), with_models=with_models)
        partial.replace(out)
    except OSError as error:
        raise ConfigurationError(f"cannot back up into {out}: {error.strerror or error}") from None
    finally:
        partial.unlink(missing_ok=True)
    size_bytes = await asyncio.to_thread(os.path.getsize, out)
    return Summary(*counts, size_bytes, time.monotonic() - began)


async def _write(
    settings: Settings, home: Home, partial: Path, scratch: Path, *, with_models: bool
) -> tuple[int, int]:
    # The spool comes first: what is folded while we work is in both, and the rows tell which of it counts.
    usage = scratch / "usage"
    usage.mkdir()
    for path in home.usage.glob("usage-*.log"):
        with suppress(FileNotFoundError):  # folded, so it is in the rows
            await asyncio.to_thread(shutil.copyfile, path, usage / path.name)
    rows = scratch / "rows.jsonl"
    revision = await _rows(settings, home, rows, scratch)
    head = Contents(
        format=FORMAT,
        revision=revision,
        created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        with_models=with_models,
    )

    def write() -> tuple[int, int]:
        blobs = 0
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
                _add_bytes(tar, "backup.json", msgspec.json.encode(head))
                for name in _SINGLE:
                    if (home.path / name).is_file():
                        _add_file(tar, name, home.path / name)
                for path in sorted(usage.iterdir()):
                    _add_file(tar, f"usage/{path.name}", path)
                _add_file(tar, "rows.jsonl", rows)
                _add_datasets(tar, home.datasets)
                if with_models:
                    blobs = _add_models(tar, settings.model_store_path)
            file.flush()
            os.fsync(file.fileno())
        with rows.open("rb") as lines:
            return sum(line.startswith(b"[") for line in lines), blobs

    return await asyncio.to_thread(write)


async def _rows(settings: Settings, home: Home, out: Path, scratch: Path) -> str:
    """All rows at one moment; of SQLite's file from a copy, so that writers wait no longer than that takes."""
    target: Path | str = settings.database or home.database
    if isinstance(target, Path):
        copy = scratch / "copy.db"
        await asyncio.to_thread(_copy_sqlite, target, copy)
        target = copy
    database = Database(target)
    try:
        with out.open("wb") as file:
            return await database.snapshot(file)
    finally:
        await database.close()


def _copy_sqlite(source: Path, target: Path) -> None:
    import sqlite3
    from contextlib import closing

    try:
        address = f"{source.absolute().as_uri()}?mode=ro"
        with (
            closing(sqlite3.connect(address, uri=True, timeout=60)) as old,
            closing(sqlite3.connect(target)) as new,
        ):
            old.backup(new)
    except sqlite3.Error as error:
        raise ConfigurationError(f"cannot use the database {source}: {error}") from None


def _add_datasets(tar: tarfile.TarFile, folder: Path) -> None:
    """Content of datasets, which the rows name; what came since they were read is harmless."""
    for path in sorted(folder.glob("??/*")):
        name = f"datasets/{path.parent.name}/{path.name}"
        if _BLOB.fullmatch(name):
            with suppress(FileNotFoundError):  # nobody used it any more
                _add_file(tar, name, path)


def _add_models(tar: tarfile.TarFile, store: Path) -> int:
    """Manifests and their files; each blob once, and only those that a model links to."""
    blobs = {path.stat().st_ino: path for path in (store / "blobs").glob("*")}
    links: list[bytes] = []
    used: dict[str, Path] = {}
    for path in sorted((store / "models").rglob("*")):
        if path.is_symlink() or not path.is_file():
            continue
        name = path.relative_to(store).as_posix()
        with suppress(FileNotFoundError):  # removed while we work: then so is its manifest
            blob = blobs.get(path.stat().st_ino)
            if blob is None:
                _add_file(tar, name, path)
            else:
                used[blob.name] = blob
                links.append(msgspec.json.encode((name, blob.name)) + b"\n")
    _add_bytes(tar, "links.jsonl", b"".join(links))
    for digest, path in sorted(used.items()):
        with suppress(FileNotFoundError):
            _add_file(tar, f"blobs/{digest}", path)
    return len(used)


def _add_bytes(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = len(data), 0o600, int(time.time())
    tar.addfile(info, io.BytesIO(data))


def _add_file(tar: tarfile.TarFile, name: str, path: Path) -> None:
    with path.open("rb") as file:
        info = tarfile.TarInfo(name)
        info.size, info.mode = os.fstat(file.fileno()).st_size, 0o600
        info.mtime = int(time.time())
        tar.addfile(info, file)


async def restore(settings: Settings, home: Home, source: Path, *, replace: bool) -> Summary:
    """Read a backup into a home folder (and a PostgreSQL, if the settings name one) that has no platform yet.

    Args:
        settings: Where models and database go.
        home: Prepared, and locked by the caller.
        source: What `back_up` wrote.
        replace: Set the old database and key aside (``….before-restore``) instead of refusing.

    Raises:
        ConfigurationError: There is a platform already, the backup is none, or damaged, or of a newer release.
    """
    began = time.monotonic()
    if settings.database is None:
        _make_way(home, replace=replace)
    try:
        with source.open("rb") as file, tarfile.open(fileobj=file, mode="r:") as tar:
            members = iter(tar)
            head = _head(tar, next(members, None))
            store = settings.model_store_path
            store.mkdir(parents=True, exist_ok=True)
            with (
                tempfile.TemporaryDirectory(dir=home.path, prefix=_SCRATCH) as folder,
                tempfile.TemporaryDirectory(dir=store, prefix=_SCRATCH) as models,
            ):
                scratch = _Scratch(Path(folder), Path(models))
                await asyncio.to_thread(_unpack, tar, members, scratch, store, home.datasets)
                counts = await _put(settings, home, scratch, head)
    except (tarfile.TarError, EOFError) as error:
        raise ConfigurationError(f"{source} is no backup, or only a part of one: {error}") from None
    except OSError as error:
        raise ConfigurationError(
            f"cannot restore from {source}: {error.strerror or error}"
        ) from None
    size_bytes = await asyncio.to_thread(os.path.getsize, source)
    return Summary(*counts, size_bytes, time.monotonic() - began)


def _make_way(home: Home, *, replace: bool) -> None:
    old = [path for path in (home.database, home.master_key, home.usage) if path.exists()]
    if not home.database.exists() and not home.master_key.exists():
        return
    if not replace:
        raise ConfigurationError(
            f"there is a platform in {home.path} already; choose an empty --home, or set it aside with --replace"
        )
    for path in old:
        aside = path.with_name(f"{path.name}.before-restore")
        if aside.is_dir():
            shutil.rmtree(aside)
        path.replace(aside)


def _head(tar: tarfile.TarFile, first: tarfile.TarInfo | None) -> Contents:
    if first is None or first.name != "backup.json" or first.size > _MAX_HEAD_BYTES:
        raise ConfigurationError("this is no backup of yangfan's")
    file = tar.extractfile(first)
    assert file is not None, "a regular file has contents"
    try:
        head = msgspec.json.decode(file.read(), type=Contents)
    except msgspec.MsgspecError as error:
        raise ConfigurationError(f"the backup's first member is damaged: {error}") from None
    if head.format != FORMAT:
        raise ConfigurationError(
            "the backup was written by a newer release of yangfan; upgrade yangfan"
        )
    return head


@dataclass(frozen=True)
class _Scratch:
    """Folders beside the places that things go to, on the same file systems, so that they are renamed and never copied."""

    home: Path
    models: Path
    held: set[str] = field(default_factory=set[str])
    """Blobs of the backup that are in their places already, by member; they are not written again."""

    def path(self, name: str) -> Path:
        """Where a member goes for now."""
        return (self.models if name.startswith(("blobs/", "models/")) else self.home) / name


def _unpack(
    tar: tarfile.TarFile,
    members: Iterable[tarfile.TarInfo],
    scratch: _Scratch,
    store: Path,
    datasets: Path,
) -> None:
    """Known members into folders of their own; blobs are checked against their names, those that are here already stay."""
    for member in members:
        if not member.isreg() or not _is_known(member.name):
            raise ConfigurationError(
                f"the backup holds {member.name[:200]!r}, which no backup of yangfan's does"
            )
        blob = _BLOB.fullmatch(member.name)
        if blob is not None:
            within = store if member.name.startswith("blobs/") else datasets.parent
            if _is_whole(within / member.name, blob[1], member.size):
                scratch.held.add(member.name)
                continue
        target = scratch.path(member.name)
        target.parent.mkdir(parents=True, exist_ok=True)
        file = tar.extractfile(member)
        assert file is not None, "a regular file has contents"
        digest = hashlib.sha256()
        with target.open("xb") as out:
            while chunk := file.read(CHUNK_BYTES):
                digest.update(chunk)
                out.write(chunk)
        target.chmod(0o600)
        if blob is not None and digest.hexdigest() != blob[1]:
            raise ConfigurationError(f"{member.name} is damaged in the backup; use another")


def _is_whole(path: Path, digest: str, size_bytes: int) -> bool:
    """Whether a blob is here with the content that its name tells."""
    if not path.is_file() or path.stat().st_size != size_bytes:
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == digest


def _is_known(name: str) -> bool:
    if name in {*_SINGLE, "rows.jsonl", "links.jsonl"} or _USAGE.fullmatch(name):
        return True
    return bool(_BLOB.fullmatch(name)) or _is_model_path(name)


def _is_model_path(name: str) -> bool:
    parts = name.split("/")
    return (
        len(parts) > 2
        and parts[0] == "models"
        and all(_PART.fullmatch(part) and part not in {".", ".."} for part in parts)
    )


async def _put(
    settings: Settings, home: Home, scratch: _Scratch, head: Contents
) -> tuple[int, int]:
    """What was unpacked goes to its place: models, then small files, and the database last."""
    blobs = await asyncio.to_thread(_put_models, settings.model_store_path, scratch)
    rows = scratch.path("rows.jsonl")
    if not rows.is_file() or not scratch.path("secret.key").is_file():
        raise ConfigurationError("the backup is incomplete: its rows or its key are missing")
    for name in _SINGLE:
        if scratch.path(name).is_file():
            scratch.path(name).replace(home.path / name)
    for path in _files(scratch.path("datasets")):
        target = home.datasets / path.relative_to(scratch.path("datasets"))
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.replace(target)
    if scratch.path("usage").is_dir():
        home.usage.mkdir(exist_ok=True, mode=0o700)
        for path in scratch.path("usage").iterdir():
            path.replace(home.usage / path.name)
    made = home.database.with_name("restoring.db")
    made.unlink(missing_ok=True)
    database = Database(settings.database or made)
    try:
        with rows.open("rb") as lines:
            count = await database.restore(head.revision, lines)
    finally:
        await database.close()
    if settings.database is None:
        made.replace(home.database)
    return count, blobs


def _put_models(store: Path, scratch: _Scratch) -> int:
    count = sum(name.startswith("blobs/") for name in scratch.held)
    blobs = store / "blobs"
    blobs.mkdir(parents=True, exist_ok=True)
    for path in _files(scratch.models / "blobs"):
        count += 1
        path.chmod(0o444)
        path.replace(blobs / path.name)
    later = [
        (path, store / path.relative_to(scratch.models))
        for path in _files(scratch.models / "models")
    ]
    links = scratch.path("links.jsonl")
    for line in links.read_bytes().splitlines() if links.is_file() else ():
        name, digest = _link(line)
        target = store / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            _same_file(blobs / digest, target)
    # A model is there once its manifest is, so manifests come behind the files.
    for path, target in later:
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)
    return count


def _link(line: bytes) -> tuple[str, str]:
    try:
        name, digest = msgspec.json.decode(line, type=tuple[str, str])
    except msgspec.MsgspecError:
        raise ConfigurationError("the backup's list of files is damaged; use another") from None
    if not _is_model_path(name) or not _BLOB.fullmatch(f"blobs/{digest}"):
        raise ConfigurationError(
            f"the backup links {name[:200]!r}, which no backup of yangfan's does"
        )
    return name, digest


def _same_file(blob: Path, target: Path) -> None:
    if not blob.exists():
        raise ConfigurationError(f"blob {blob.name} is missing in the backup; use another")
    try:
        target.hardlink_to(blob)
    except OSError:
        shutil.copyfile(blob, target)


def _files(folder: Path) -> Iterator[Path]:
    return (
        (path for path in sorted(folder.rglob("*")) if path.is_file())
        if folder.is_dir()
        else iter(())
    )
