"""Keeping files by what they hold: two that hold the same lie on disk once."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from yangfan.errors import ConfigurationError, Invalid, NotFound, Overloaded, QuotaExceeded
from yangfan.hub.disk import full_disk_said_clearly, require_free, sha256_of
from yangfan.protocol.v2.files import MAX_FILE_BYTES, PURPOSES
from yangfan.server.files.contents import plain_name, settle, tidy
from yangfan.server.files.form import read_form
from yangfan.server.files.types import Adopted

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncConnection

    from yangfan.server.files.store import FileStore
    from yangfan.server.files.types import StoredFile

MAX_NAME_CHARACTERS = 255
MIN_EXPIRES_SECONDS, MAX_EXPIRES_SECONDS = 3600, 30 * 86_400
"""How long a file may be kept that is not kept for good."""


class Files:
    """All files.

    Args:
        store: Who has which.
        folder: Where their content lies; made when the first one comes.
        max_file_bytes: Longest file.
        quota_bytes: What one application may have here, all its files together; 0 for no limit.
    """

    def __init__(
        self,
        store: FileStore,
        folder: Path,
        *,
        max_file_bytes: int = MAX_FILE_BYTES,
        quota_bytes: int = 0,
    ) -> None:
        self._store = store
        self._folder = folder
        self._max_file_bytes = max_file_bytes
        self._quota_bytes = quota_bytes
        # Between the last row that has a content and the content itself, nobody may come with the same again.
        self._lock = asyncio.Lock()

    async def upload(
        self, app_id: str, content_type: bytes, pieces: AsyncIterator[bytes]
    ) -> StoredFile:
        """Take the file that a multipart/form-data body brings.

        Raises:
            Invalid: It is no such form, has no file, or the purpose is none.
            BodyTooLarge: The file is too long.
            QuotaExceeded: The application's files would be too much.
            Overloaded: The disk is full.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        coming = self._folder / f"coming-{secrets.token_hex(16)}"
        try:
            require_free(self._folder, 0)
            with full_disk_said_clearly(self._folder):
                form, sha256 = await read_form(content_type, pieces, coming, self._max_file_bytes)
            name, purpose = plain_name(form.filename or ""), form.fields.get("purpose", "")
            _check(name, purpose, form.size_bytes)
            expires = _expiry(form.fields)
            await self.sweep()
            async with self._lock:
                path = self.content(sha256)
                await asyncio.to_thread(settle, coming, path)
                file = await self._store.add(
                    _new_id(),
                    app_id,
                    Adopted(name, purpose, form.size_bytes, sha256),
                    expires_seconds=expires,
                    quota_bytes=self._quota_bytes,
                )
                if file is None:
                    if sha256 not in await self._store.contents():
                        path.unlink(missing_ok=True)
                    raise QuotaExceeded(
                        f"files of one application may have {self._quota_bytes} bytes together; delete some first"
                        " (`yangfan files list`), or have the setting `files_quota_bytes` raised"
                    )
                return file
        except ConfigurationError as error:
            raise Overloaded(f"the file cannot be kept: {error.message}") from None
        finally:
            coming.unlink(missing_ok=True)

    @asynccontextmanager
    async def adopting(
        self,
    ) -> AsyncGenerator[Callable[[Path, str, str], Awaitable[Adopted]]]:
        """Take contents in that lie on this disk already; `keep` makes files of them before the block ends.

        What it gives takes the content's place, its name and its purpose, and leaves it where it is, too.
        """

        async def adopt(path: Path, name: str, purpose: str) -> Adopted:
            size_bytes, sha256 = await asyncio.to_thread(_facts, path)
            await asyncio.to_thread(_share, path, self.content(sha256))
            return Adopted(name, purpose, size_bytes, sha256)

        async with self._lock:
            yield adopt

    async def keep(
        self,
        connection: AsyncConnection,
        app_id: str,
        adopted: Adopted,
        *,
        expires_seconds: int = 0,
    ) -> str:
        """Make a file of what was adopted, in the caller's transaction; its id. Results count towards no quota."""
        file = await self._store.add(
            _new_id(), app_id, adopted, expires_seconds=expires_seconds, connection=connection
        )
        assert file is not None, "no quota was given"
        return file.id

    async def sweep(self) -> None:
        """Delete the files whose time is over."""
        for file in await self._store.expired():
            async with self._lock:
                if await self._store.remove(file):
                    await asyncio.to_thread(self.content(file.sha256).unlink, missing_ok=True)

    async def get(self, file_id: str, app_id: str) -> StoredFile:
        """A file of an application's.

        Raises:
            NotFound: It has none of that id.
        """
        found = await self._store.get(file_id, app_id)
        if found is None:
            raise NotFound(f"no file {file_id[:64]!r}; GET /v2/files lists those there are")
        return found

    async def page(
        self,
        app_id: str,
        purpose: str | None,
        after: str | None,
        count: int,
        *,
        newest_first: bool,
    ) -> tuple[list[StoredFile], bool]:
        """Up to `count` of an application's behind the one of that id, and whether more follow.

        Raises:
            NotFound: It has none of that id.
        """
        number = None if after is None else (await self.get(after, app_id)).number
        found = await self._store.page(
            app_id, purpose, number, count + 1, newest_first=newest_first
        )
        return found[:count], len(found) > count

    async def delete(self, file_id: str, app_id: str) -> None:
        """Delete a file; what it holds as well, if no other file holds the same.

        Raises:
            NotFound: The application has none of that id.
        """
        file = await self.get(file_id, app_id)
        async with self._lock:
            if await self._store.remove(file):
                await asyncio.to_thread(self.content(file.sha256).unlink, missing_ok=True)

    def content(self, sha256: str) -> Path:
        """Where that content lies."""
        return self._folder / sha256[:2] / sha256

    async def tidy(self) -> None:
        """Remove what a server that was killed left half done: called before the first upload."""
        wanted = await self._store.contents()
        await asyncio.to_thread(tidy, self._folder, wanted)


def _new_id() -> str:
    return f"file-{secrets.token_hex(12)}"


def expires_seconds_of(anchor: object, seconds: object, param: str) -> int:
    """How long a file is kept, as a caller says it.

    Raises:
        Invalid: It is not said properly.
    """
    text = str(seconds)
    if anchor != "created_at" or not (text.isascii() and text.isdigit()):
        raise Invalid(f"{param} is {{anchor: created_at, seconds: a whole number}}", param=param)
    count = int(text[:12])
    if not MIN_EXPIRES_SECONDS <= count <= MAX_EXPIRES_SECONDS:
        raise Invalid(
            f"{param} seconds must be in [{MIN_EXPIRES_SECONDS}, {MAX_EXPIRES_SECONDS}], got {count}",
            param=param,
        )
    return count


def _expiry(fields: Mapping[str, str]) -> int:
    anchor, seconds = fields.get("expires_after[anchor]"), fields.get("expires_after[seconds]")
    if anchor is None and seconds is None:
        return 0
    return expires_seconds_of(anchor, seconds, "expires_after")


def _facts(path: Path) -> tuple[int, str]:
    return path.stat().st_size, sha256_of(path)


def _share(path: Path, place: Path) -> None:
    """Have a content at its place, too, so that it is there whole or not at all."""
    if place.exists():
        return
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        os.link(path, place)
    except OSError:
        coming = place.parent.parent / f"coming-{secrets.token_hex(16)}"
        shutil.copyfile(path, coming)
        settle(coming, place)


def _check(name: str, purpose: str, size_bytes: int) -> None:
    if not name or len(name) > MAX_NAME_CHARACTERS:
        raise Invalid(
            f"the file needs a name of at most {MAX_NAME_CHARACTERS} characters", param="file"
        )
    if purpose not in PURPOSES:
        raise Invalid(
            f"purpose must be one of {', '.join(PURPOSES)}, got {purpose[:64]!r}", param="purpose"
        )
    if size_bytes == 0:
        raise Invalid("the file is empty; send one that holds something", param="file")
    if purpose in {"batch", "fine-tune"} and not name.casefold().endswith(".jsonl"):
        raise Invalid(
            f"a file for {purpose} is JSON lines, and its name ends in .jsonl, got {name[:64]!r}",
            param="file",
        )
