"""A file or folder that is on this machine already: ``file:/models/mine.gguf``, ``file:~/models/bge``."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from yangfan.errors import FetchError
from yangfan.hub.disk import full_disk_said_clearly
from yangfan.hub.http import Gone
from yangfan.hub.sources.base import Listing, RemoteFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from yangfan.hub.sources.base import Source, Workspace
    from yangfan.hub.uri import ModelURI

CHUNK_BYTES: Final = 1024 * 1024


def create(uri: ModelURI, workspace: Workspace) -> Source:  # noqa: ARG001 - the interface of sources
    """Make the source."""
    path = uri.path.removeprefix("//") if uri.path.startswith("///") else uri.path
    return _Local(Path(path))


class _Local:
    """One file, or everything below one folder. Links are followed as long as they stay below it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._root = path

    async def list(self) -> Listing:
        return Listing(tuple(await asyncio.to_thread(lambda: tuple(self._files()))))

    async def fetch(self, file: RemoteFile, part: Path, progress: Callable[[int], None]) -> None:
        with (
            full_disk_said_clearly(part.parent, file.size_bytes),
            self._open(file) as stream,
            _create(part) as out,
        ):
            while chunk := await asyncio.to_thread(stream.read, CHUNK_BYTES):
                out.write(chunk)
                progress(out.tell())

    def _files(self) -> Iterator[RemoteFile]:
        try:
            path = self._path.expanduser().resolve(strict=True)
        except (OSError, RuntimeError) as error:
            raise Gone(f"{self._path} cannot be read: {error}") from error
        if path.is_file():
            self._root = path.parent
            yield _remote(path.name, path)
            return
        self._root = path
        for file in sorted(path.rglob("*")):
            if file.is_file():
                self._require_inside(file)
                yield _remote(file.relative_to(path).as_posix(), file)

    def _require_inside(self, file: Path) -> None:
        if not file.resolve().is_relative_to(self._root):
            raise FetchError(
                f"{file} links to a place outside {self._root}: copy the real file there, or give the folder that holds it"
            )

    def _open(self, file: RemoteFile) -> BinaryIO:
        path = self._root / file.path
        self._require_inside(path)
        return path.open("rb")


def _remote(name: str, file: Path) -> RemoteFile:
    facts = file.stat()
    return RemoteFile(name, facts.st_size, version=f"{facts.st_ino}-{facts.st_mtime_ns}")


def _create(part: Path) -> BinaryIO:
    return part.open("wb")
