"""A model that comes inside this package: ``builtin:shapes-demo``. Needs no network, so it can be had anywhere."""

from __future__ import annotations

import asyncio
import hashlib
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from yangfan.errors import ConfigurationError
from yangfan.hub.sources.base import Listing, RemoteFile

if TYPE_CHECKING:
    from collections.abc import Callable

    from yangfan.hub.sources.base import Source, Workspace
    from yangfan.hub.uri import ModelURI


def create(uri: ModelURI, workspace: Workspace) -> Source:  # noqa: ARG001 - the interface of sources
    """Make the source."""
    return _Builtin(Path(str(resources.files("yangfan.hub") / "assets")), uri.path)


class _Builtin:
    """A folder of the package; its files are a few megabytes at most."""

    def __init__(self, assets: Path, name: str) -> None:
        self._assets = assets
        self._name = name
        self._folder = assets / name

    async def list(self) -> Listing:
        names = sorted(folder.name for folder in self._assets.iterdir() if folder.is_dir())
        if self._name not in names:
            raise ConfigurationError(
                f"no model {self._name!r} inside this package; there are: {', '.join(names)}"
            )
        return Listing(await asyncio.to_thread(self._files))

    async def fetch(self, file: RemoteFile, part: Path, progress: Callable[[int], None]) -> None:
        data = await asyncio.to_thread((self._folder / file.path).read_bytes)
        await asyncio.to_thread(part.write_bytes, data)
        progress(len(data))

    def _files(self) -> tuple[RemoteFile, ...]:
        return tuple(
            RemoteFile(
                file.relative_to(self._folder).as_posix(),
                file.stat().st_size,
                hashlib.sha256(file.read_bytes()).hexdigest(),
            )
            for file in sorted(self._folder.rglob("*"))
            if file.is_file()
        )
