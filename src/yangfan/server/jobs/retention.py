"""Forgetting jobs that ended long ago: their rows and logs would otherwise grow for ever."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from yangfan.server.jobs.logic import Jobs

LOOK_SECONDS = 3600.0
BATCH = 500
"""Rows of one transaction: other writers wait no longer than that takes."""

_log = structlog.get_logger("yangfan.jobs")


class Retention:
    """Forgets finished jobs again and again.

    Args:
        jobs: Whose.
        keep_days: How long one is kept after its end.
    """

    def __init__(self, jobs: Jobs, keep_days: float) -> None:
        self._jobs = jobs
        self._keep_days = keep_days
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while True:
            try:
                count = await self.tidy()
            except Exception:  # noqa: BLE001 - whatever it was may be over in an hour
                _log.exception("cannot forget finished jobs")
            else:
                if count:
                    _log.info("forgot finished jobs", count=count, keep_days=self._keep_days)
            await asyncio.sleep(LOOK_SECONDS)

    async def tidy(self) -> int:
        """Forget what ended too long ago; how many jobs that were."""
        total = 0
        while count := await self._jobs.forget(self._keep_days, BATCH):
            total += count
        return total
