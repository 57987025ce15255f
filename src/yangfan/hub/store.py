"""Models on this machine, by content.

    root/blobs/<sha256>                              every file once, whatever model it belongs to
    root/models/<name>/manifest.json                 the truth: which files, and from where; written last
    root/models/<name>/files/<digest>/<path>         hard links to blobs (copies where links are impossible)
    root/models/<name>/converted/                    the same for engines that read another format, made from the files
    root/partial/<name>/                             what a pull has fetched so far
    root/locks/                                      one pull per model at a time

The files of one version live in a folder named after them, so a new version never touches the old one's files and the
rename of the manifest is the only moment of change.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from yangfan.errors import ConfigurationError, YangfanError
from yangfan.hub.content import GGUF, require_safe_path
from yangfan.hub.disk import (
    full_disk_said_clearly,
    require_free,
    sha256_of,
    size_bytes,
    sync,
    write_atomically,
)
from yangfan.hub.lock import try_lock

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
VERSION: Final = "amv-"
"""How the names of models begin that a registry keeps here as its versions: they are in use like others, but not listed."""


class StoredFile(msgspec.Struct, frozen=True):
    """One file of a model: where it goes and what is in it."""

    path: str
    sha256: str
    size_bytes: int


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What `manifest.json` holds.

    Attributes:
        name: Name of the model in this store.
        kind: chat, embeddings or rerank.
        format: gguf or safetensors.
        licence: SPDX identifier, "" if unknown.
        source: Address that the files came from.
        revision: Commit or version at the source, "" if it tells none.
        files: The files, sorted by path.
        created: When the model was stored.
    """

    name: str
    kind: str
    format: str
    licence: str
    source: str
    revision: str
    files: tuple[StoredFile, ...]
    created: datetime

    @property
    def digest(self) -> str:
        """Name of the folder that holds exactly these files."""
        return hashlib.sha256(msgspec.json.encode(self.files)).hexdigest()[:16]


class StoredModel(msgspec.Struct, frozen=True):
    """A model that is here, whole.

    Attributes:
        manifest: What it is and where it came from.
        folder: Where its files are.
    """

    manifest: Manifest
    folder: Path

    @property
    def name(self) -> str:
        """Name of the model in this store."""
        return self.manifest.name

    @property
    def kind(self) -> str:
        """What it does: chat, embeddings or rerank."""
        return self.manifest.kind

    @property
    def format(self) -> str:
        """How its weights are kept: gguf or safetensors."""
        return self.manifest.format

    @property
    def path(self) -> Path:
        """What an engine opens: the (first) .gguf file, or the folder of a safetensors model."""
        if self.format == "gguf":
            first = next(file.path for file in self.manifest.files if file.path.endswith(GGUF))
            return self.folder / first
        return self.folder

    @property
    def size_bytes(self) -> int:
        """All its files together."""
        return sum(file.size_bytes for file in self.manifest.files)


class ModelStore:
    """The models under one folder. Safe for many processes at once."""

    def __init__(self, root: Path) -> None:
        """Remember the folder; it is made when something is stored.

        Args:
            root: Folder of the store; the platform's home folder, such as ``~/.yangfan``, is one.
        """
        self.root = root
        self._blobs = root / "blobs"
        self._models = root / "models"
        self._locks = root / "locks"

    def get(self, name: str) -> StoredModel | None:
        """Return a model, or None if it is not here.

        Raises:
            ConfigurationError: `name` cannot be the name of a model.
        """
        manifest = self._manifest(name)
        if manifest is None:
            return None
        return StoredModel(manifest, self._folder(manifest))

    def list(self) -> list[StoredModel]:
        """Return all models but a registry's versions, sorted by name."""
        return [*self._named(lambda name: not name.startswith(VERSION))]

    def _named(self, wanted: Callable[[str], bool]) -> Iterator[StoredModel]:
        if not self._models.is_dir():
            return
        names = sorted(entry.name for entry in self._models.iterdir() if NAME.fullmatch(entry.name))
        for name in filter(wanted, names):
            model = self.get(name)
            if model is not None:
                yield model

    def remove(self, name: str) -> bool:
        """Remove a model and every blob that no other model uses; False if it is not here.

        Blobs stay while a pull runs (it may be about to use them); the next removal takes them.

        Raises:
            ConfigurationError: `name` cannot be the name of a model, or it is being pulled right now.
        """
        if self._manifest(name) is None:
            return False
        with try_lock(self.lock_file(name)) as taken:
            if not taken:
                raise ConfigurationError(f"{name} is being pulled: stop that first")
            with full_disk_said_clearly(self.root):
                folder = self._models / name
                (folder / "manifest.json").unlink(missing_ok=True)
                sync(folder)
                shutil.rmtree(folder, ignore_errors=True)
        self.collect()
        return True

    def collect(self) -> None:
        """Remove the blobs that no model uses, unless a pull is running."""
        with try_lock(self.store_lock_file()) as taken:
            if not taken or not self._blobs.is_dir():
                return
            every = self._named(lambda _name: True)
            used = {file.sha256 for model in every for file in model.manifest.files}
            for blob in self._blobs.iterdir():
                if blob.name not in used:
                    blob.unlink(missing_ok=True)

    # For a registry, which counts by itself what its versions use: reading thousands of manifests for each removal would not do.

    def forget(self, name: str) -> None:
        """Take a model's files out of sight; their content stays until `discard`.

        Raises:
            ConfigurationError: `name` cannot be the name of a model.
        """
        _require_name(name)
        folder = self._models / name
        with full_disk_said_clearly(self.root):
            (folder / "manifest.json").unlink(missing_ok=True)
            if folder.is_dir():
                sync(folder)
            shutil.rmtree(folder, ignore_errors=True)
            shutil.rmtree(self.root / "partial" / name, ignore_errors=True)

    def discard(self, sha256s: Collection[str]) -> set[str]:
        """Remove content that no version uses any more, unless something is being fetched; what is gone.

        Content that a listed model has, or that is linked into a folder, stays.

        Args:
            sha256s: What to remove.
        """
        with try_lock(self.store_lock_file()) as taken:
            if not taken:
                return set()
            used = {file.sha256 for model in self.list() for file in model.manifest.files}
            gone: set[str] = set()
            for sha256 in set(sha256s) - used:
                blob = self._blobs / sha256
                try:
                    if blob.stat().st_nlink > 1:
                        continue
                except FileNotFoundError:
                    gone.add(sha256)
                    continue
                blob.unlink(missing_ok=True)
                gone.add(sha256)
            return gone

    def converted_file(self, model: StoredModel, version: str) -> Path:
        """Where to keep these very files in the form that an engine reads; removed with the model.

        Args:
            model: A model of this store.
            version: Of the converter, with the file's ending: another one must not find this file.
        """
        return self._models / model.name / "converted" / f"{model.manifest.digest}.{version}"

    def converted_folder_file(self, folder: Path, version: str) -> Path:
        """Where to keep a folder that is not in the store in another form; what was kept of its earlier content is removed.

        Args:
            folder: Somebody's model folder; it is never written to.
            version: As for `converted_file`.
        """
        facts = [
            (str(file.relative_to(folder)), stat.st_size, stat.st_mtime_ns)
            for file in sorted(folder.rglob("*"))
            if (stat := file.stat()) and file.is_file()
        ]
        place = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
        content = hashlib.sha256(msgspec.json.encode(facts)).hexdigest()[:16]
        kept = self.root / "converted" / f"{place}.{content}.{version}"
        for file in kept.parent.glob(f"{place}.*"):
            if file != kept:
                file.unlink(missing_ok=True)
        return kept

    def is_intact(self, model: StoredModel) -> bool:
        """Whether every file is there in its size. Cheap: no content is read."""
        return all(
            size_bytes(model.folder / file.path) == file.size_bytes for file in model.manifest.files
        )

    def damaged(self, model: StoredModel) -> tuple[StoredFile, ...]:
        """Read all content and return the files that are not what the manifest says."""
        return tuple(
            file
            for file in model.manifest.files
            if size_bytes(model.folder / file.path) != file.size_bytes
            or sha256_of(model.folder / file.path) != file.sha256
        )

    # For pulls.

    def lock_file(self, name: str) -> Path:
        """Lock that a pull of `name` holds."""
        _require_name(name)
        return self._in(self._locks) / f"{name}.lock"

    def store_lock_file(self) -> Path:
        """Lock that every pull shares and that collecting blobs takes alone. No model can have its name."""
        return self._in(self._locks) / ".store.lock"

    def partial_folder(self, name: str) -> Path:
        """Folder for what a pull of `name` has fetched so far."""
        _require_name(name)
        return self._in(self.root / "partial" / name)

    def has_blob(self, sha256: str, size: int | None = None) -> bool:
        """Whether that content is here already, in the size given."""
        found = size_bytes(self._blobs / sha256)
        return found is not None and size in {None, found}

    def blob(self, file: StoredFile) -> Path:
        """Where the content of a file is."""
        return self._blobs / file.sha256

    def require_whole(self, file: StoredFile) -> None:
        """Check that a file's content is here in its size.

        Raises:
            ConfigurationError: It is not.
        """
        if not self.has_blob(file.sha256, file.size_bytes):
            raise ConfigurationError(
                f"{file.path} of the model is no longer in the store, or not whole; import the model again"
            )

    def adopt(self, part: Path, sha256: str) -> None:
        """Make a finished, verified file a blob. `part` is gone afterwards.

        Raises:
            ConfigurationError: The disk is full.
        """
        blob = self._in(self._blobs) / sha256
        with full_disk_said_clearly(self.root):
            if size_bytes(blob) == size_bytes(part):
                part.unlink()
                return
            sync(part)
            part.chmod(0o444)
            part.replace(blob)
            sync(self._blobs)

    def discard_blob(self, sha256: str) -> None:
        """Forget content that turned out to be damaged."""
        (self._blobs / sha256).unlink(missing_ok=True)

    def publish(self, manifest: Manifest) -> StoredModel:
        """Make a model out of blobs: lay out its files, then switch to it in one step.

        Raises:
            ConfigurationError: The name is not allowed, or the disk is full.
            FetchError: A path would leave the model's folder.
        """
        _require_name(manifest.name)
        for file in manifest.files:
            require_safe_path(file.path)
        with full_disk_said_clearly(self.root):
            home = self._in(self._models / manifest.name)
            folder = self._folder(manifest)
            self.lay_out(folder, manifest.files)
            for below in sorted(
                {path.parent for path in folder.rglob("*")} | {folder, folder.parent}
            ):
                sync(below)
            write_atomically(
                home / "manifest.json", msgspec.json.format(msgspec.json.encode(manifest))
            )
            self._drop_others(folder)
            shutil.rmtree(self.root / "partial" / manifest.name, ignore_errors=True)
        return StoredModel(manifest, folder)

    def lay_out(self, folder: Path, files: Iterable[StoredFile]) -> None:
        """Give blobs their paths below a folder: hard links, copies where links are impossible.

        Raises:
            ConfigurationError: The disk is full.
            FetchError: A path would leave the folder.
        """
        with full_disk_said_clearly(self.root):
            for file in files:
                require_safe_path(file.path)
                self._lay_out(folder / file.path, file)

    def require_free(self, needed_bytes: int) -> None:
        """Check that the disk has room.

        Raises:
            ConfigurationError: It has not; the message names needed and free bytes.
        """
        require_free(self._in(self.root), needed_bytes)

    def _in(self, folder: Path) -> Path:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(
                f"cannot make the folder {folder}: {error.strerror}"
            ) from error
        return folder

    def _folder(self, manifest: Manifest) -> Path:
        return self._models / manifest.name / "files" / manifest.digest

    def _manifest(self, name: str) -> Manifest | None:
        """Read a manifest; one that cannot be read is no manifest, so that the next pull heals it."""
        _require_name(name)
        try:
            manifest = msgspec.json.decode(
                (self._models / name / "manifest.json").read_bytes(), type=Manifest
            )
            for file in manifest.files:
                require_safe_path(file.path)
        except (OSError, msgspec.MsgspecError, YangfanError):
            return None
        return manifest if manifest.name == name else None

    def _lay_out(self, path: Path, file: StoredFile) -> None:
        blob = self._blobs / file.sha256
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        try:
            os.link(blob, path)
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.ENOENT}:
                raise
            # Some file systems have no hard links, or allow too few of them.
            shutil.copyfile(blob, path)
            sync(path)

    def _drop_others(self, folder: Path) -> None:
        for other in folder.parent.iterdir():
            if other != folder:
                shutil.rmtree(other, ignore_errors=True)


def _require_name(name: str) -> None:
    if not NAME.fullmatch(name):
        raise ConfigurationError(
            f"{name[:80]!r} cannot be the name of a model: use 1 to 64 of a-z 0-9 . _ -, a letter or digit first"
        )
