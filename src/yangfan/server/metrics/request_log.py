"""One JSON line for each API call: who, what, how long, how it ended; never what was said.

Lines are encoded in the call and written in the background, so that a slow disk slows nobody down. A killed process loses the lines of its last
half second; usage, which must not be lost, is elsewhere (docs/decisions/0011).
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from pathlib import Path

    from yangfan.server.http import Observed

FLUSH_SECONDS = 0.5
MAX_PENDING_LINES = 100_000
"""Beyond, lines are dropped and counted: a disk that does not keep up must not fill the memory."""

MAX_LOG_BYTES = 16 * 1024 * 1024
KEPT_FILES = 4


class RequestLog:
    """The log of calls.

    Args:
        path: The file; older ones get a number behind their name.
    """

    def __init__(self, path: Path) -> None:
        """Begin with `start`."""
        self._path = path
        self._lines: list[bytes] = []
        self._dropped = 0
        self._encode = msgspec.json.Encoder().encode
        self._writer: asyncio.Task[None] | None = None

    def __call__(self, call: Observed) -> None:
        """Keep a line for the next flush."""
        if len(self._lines) < MAX_PENDING_LINES:
            self._lines.append(self._encode(call))
        else:
            self._dropped += 1

    async def start(self) -> None:
        """Begin to write."""
        self._writer = asyncio.create_task(self._write(), name="request log")

    async def stop(self) -> None:
        """Write the rest."""
        if self._writer is not None:
            self._writer.cancel()
            with suppress(asyncio.CancelledError):
                await self._writer
        self._flush()

    async def _write(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            if self._lines:
                await asyncio.to_thread(self._flush)

    def _flush(self) -> None:
        lines, self._lines = self._lines, []
        dropped, self._dropped = self._dropped, 0
        if dropped:
            lines.append(self._encode({"dropped_lines": dropped}))
        if not lines:
            return
        with suppress(OSError):  # a full disk costs the log, never the server
            if self._path.exists() and self._path.stat().st_size > MAX_LOG_BYTES:
                self._rotate()
            with self._path.open("ab") as file:
                file.write(b"\n".join(lines) + b"\n")

    def _rotate(self) -> None:
        for number in range(KEPT_FILES - 1, -1, -1):
            old = self._path if number == 0 else self._path.with_name(f"{self._path.name}.{number}")
            if old.exists():
                old.replace(self._path.with_name(f"{self._path.name}.{number + 1}"))
