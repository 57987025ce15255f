"""Files of a model on their way here: gathered in a folder under an unguessable id, piece after piece, until an import takes them."""

from __future__ import annotations

import asyncio
import re
import secrets
import shutil
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from yangfan.errors import (
    BodyTooLarge,
    ConfigurationError,
    Conflict,
    FetchError,
    Invalid,
    NotFound,
    Overloaded,
)
from yangfan.hub.content import require_safe_path
from yangfan.hub.disk import full_disk_said_clearly, require_free

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

LIFETIME_SECONDS = 7 * 24 * 3600
"""An upload that nobody added to for so long is removed at the next start."""

MAX_FILES = 10_000

_ID = re.compile(r"up-[0-9a-f]{32}")


class Uploads:
    """The folder of uploads.

    Args:
        folder: Where; made when the first upload begins.
        max_bytes: All files of one upload together.
        clock: Seconds since the epoch.
    """

    def __init__(
        self, folder: Path, *, max_bytes: int, clock: Callable[[], float] = time.time
    ) -> None:
        self._folder = folder
        self.max_bytes = max_bytes
        self._clock = clock
        self._writing: set[Path] = set()

    async def create(self) -> str:
        """Begin an upload; its id."""
        upload_id = f"up-{secrets.token_hex(16)}"
        (self._folder / upload_id).mkdir(mode=0o700, parents=True)
        return upload_id

    def folder(self, upload_id: str) -> Path:
        """Where its files are.

        Raises:
            NotFound: There is no such upload.
        """
        folder = self._folder / upload_id
        if not _ID.fullmatch(upload_id) or not folder.is_dir():
            raise NotFound(
                f"there is no upload {upload_id[:80]!r}; it was imported or removed, or its time was over"
            )
        return folder

    def files(self, upload_id: str) -> dict[str, int]:
        """Path and bytes so far of every file.

        Raises:
            NotFound: There is no such upload.
        """
        folder = self.folder(upload_id)
        return {
            path.relative_to(folder).as_posix(): path.stat().st_size
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }

    async def append(
        self, upload_id: str, path: str, offset_bytes: int, pieces: AsyncIterator[bytes]
    ) -> int:
        """Add to a file; how many bytes it has now. What came before a connection broke stays, and the next call goes on from there.

        Args:
            upload_id: Which upload.
            path: Of the file within the model's folder, ``config.json``.
            offset_bytes: How much of the file is here already, by the caller's count.
            pieces: What to add.

        Raises:
            NotFound: There is no such upload.
            Invalid: The path is not one that can be kept.
            Conflict: The file has another size than `offset_bytes`, or somebody is adding to it.
            BodyTooLarge: The upload would be larger than `max_bytes`.
            Overloaded: The disk is full.
        """
        folder = self.folder(upload_id)
        try:
            require_safe_path(path)
        except FetchError as error:
            raise Invalid(error.message, param="path") from None
        target = folder / path
        if target in self._writing:
            raise Conflict(f"somebody is adding to {path} of {upload_id}; wait for the end of that")
        self._writing.add(target)
        try:
            return await self._append(folder, target, offset_bytes, pieces)
        except ConfigurationError as error:
            raise Overloaded(error.message) from None
        finally:
            self._writing.discard(target)

    async def _append(
        self, folder: Path, target: Path, offset_bytes: int, pieces: AsyncIterator[bytes]
    ) -> int:
        here = self.files(folder.name)
        path = target.relative_to(folder).as_posix()
        size = here.get(path, 0)
        if size != offset_bytes:
            raise Conflict(
                f"{path} has {size} bytes here, not {offset_bytes}; go on from offset={size}"
            )
        if len(here) >= MAX_FILES and path not in here:
            raise Invalid(f"an upload has at most {MAX_FILES} files", param="path")
        room = self.max_bytes - sum(here.values())
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            out = target.open("ab")
        except OSError as error:
            raise Invalid(f"{path} cannot be a file here: {error.strerror}", param="path") from None
        with full_disk_said_clearly(folder), out:
            async for piece in pieces:
                room -= len(piece)
                if room < 0:
                    raise BodyTooLarge(
                        f"an upload has at most {self.max_bytes} bytes (the setting max_upload_bytes)"
                    )
                require_free(folder, len(piece))
                await asyncio.to_thread(out.write, piece)
                size += len(piece)
        return size

    async def remove(self, upload_id: str) -> None:
        """Throw an upload away.

        Raises:
            NotFound: There is no such upload.
        """
        await asyncio.to_thread(shutil.rmtree, self.folder(upload_id), ignore_errors=True)

    def forget(self, upload_id: str) -> None:
        """Throw an upload away if it is there."""
        if _ID.fullmatch(upload_id):
            shutil.rmtree(self._folder / upload_id, ignore_errors=True)

    async def start(self) -> None:
        """Throw away what nobody added to for a week."""
        await asyncio.to_thread(self._expire)

    def _expire(self) -> None:
        oldest = self._clock() - LIFETIME_SECONDS
        with suppress(FileNotFoundError):
            for folder in self._folder.iterdir():
                times = [path.stat().st_mtime for path in (folder, *folder.rglob("*"))]
                if max(times) < oldest:
                    shutil.rmtree(folder, ignore_errors=True)
