"""Pictures that v2 answers name by URL: files under names that nobody can guess, for a day at most."""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Route

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.requests import Request

LIFETIME_SECONDS = 24 * 3600
MAX_BYTES = 1024**3
PATH = "/pictures"

_NAME = re.compile(r"[A-Za-z0-9_-]{43}\.png")


class Shelf:
    """A folder of pictures. The URL is the only key to one; a restart changes nothing, time and lack of room remove the oldest.

    Args:
        folder: Where; made when the first picture comes.
        lifetime_seconds: How long a picture stays at most.
        max_bytes: All of them together.
    """

    def __init__(
        self,
        folder: Path,
        *,
        lifetime_seconds: float = LIFETIME_SECONDS,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self._folder = folder
        self._lifetime_seconds = lifetime_seconds
        self._max_bytes = max_bytes

    async def put(self, picture: bytes) -> str:
        """Keep a PNG file; returns the path of its URL."""
        return await asyncio.to_thread(self._put, picture)

    @property
    def routes(self) -> list[Route]:
        """What this file answers."""
        return [Route(f"{PATH}/{{name}}", self._get, methods=["GET"])]

    def _put(self, picture: bytes) -> str:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._make_room(len(picture))
        name = f"{secrets.token_urlsafe(32)}.png"
        part = self._folder / f"{name}.part"
        part.write_bytes(picture)
        part.rename(self._folder / name)
        return f"{PATH}/{name}"

    def _make_room(self, size_bytes: int) -> None:
        kept: list[tuple[float, int, Path]] = []
        oldest = time.time() - self._lifetime_seconds
        for file in self._folder.iterdir():
            with suppress(FileNotFoundError):
                state = file.stat()
                if state.st_mtime < oldest:
                    file.unlink()
                else:
                    kept.append((state.st_mtime, state.st_size, file))
        taken = size_bytes + sum(size for _, size, _ in kept)
        for _, size, file in sorted(kept):
            if taken <= self._max_bytes:
                return
            file.unlink(missing_ok=True)
            taken -= size

    async def _get(self, request: Request) -> Response:
        name: str = request.path_params["name"]
        file = self._folder / name
        with suppress(OSError):
            if (
                _NAME.fullmatch(name)
                and file.stat().st_mtime > time.time() - self._lifetime_seconds
            ):
                headers = {
                    "Cache-Control": "private, max-age=3600",
                    "X-Content-Type-Options": "nosniff",
                }
                return FileResponse(file, media_type="image/png", headers=headers)
        return PlainTextResponse("no such picture, or its time is over; draw it again\n", 404)
