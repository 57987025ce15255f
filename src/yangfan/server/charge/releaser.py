"""Waits for the next time at which something is to be released."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

LONGEST_WAIT_SECONDS = 3600.0
"""Between two looks at the clock on the wall, which may be set anew."""


class Releaser:
    """One task that calls `release_due` whenever a time has come.

    Args:
        name: Of the task.
        next_ms: The next time, ms since the epoch; None while there is none.
        release_due: Releases what is due.
        now_ms: Milliseconds since the epoch.
    """

    def __init__(
        self,
        name: str,
        next_ms: Callable[[], int | None],
        release_due: Callable[[], Awaitable[None]],
        now_ms: Callable[[], int],
    ) -> None:
        """Wait for nothing yet."""
        self._name = name
        self._next_ms = next_ms
        self._release_due = release_due
        self._now_ms = now_ms
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Release what came due while nothing ran, and begin to wait."""
        await self._release_due()
        self._task = asyncio.create_task(self._keep_releasing(), name=self._name)

    async def stop(self) -> None:
        """Release nothing any more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def wake(self) -> None:
        """The next time may be another one now."""
        self._changed.set()

    async def _keep_releasing(self) -> None:
        while True:
            self._changed.clear()
            next_ms = self._next_ms()
            wait_seconds = LONGEST_WAIT_SECONDS
            if next_ms is not None:
                wait_seconds = min(max((next_ms - self._now_ms()) / 1000, 0), wait_seconds)
            try:
                async with asyncio.timeout(wait_seconds):
                    await self._changed.wait()
            except TimeoutError:
                await self._release_due()
