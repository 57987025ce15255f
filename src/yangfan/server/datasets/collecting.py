"""Removes content that nobody uses any more, now and then."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import msgspec

from yangfan.errors import YangfanError

if TYPE_CHECKING:
    from yangfan.server.datasets.logic import Datasets
    from yangfan.server.jobs import Jobs

EVERY_SECONDS = 6 * 3600.0
FIRST_SECONDS = 600.0
"""How long after the start: jobs that were interrupted are back in the queue by then."""
_STATES = ("queued", "starting", "running", "paused")
_PAGE = 1000


class Collector:
    """Collects in the background.

    Args:
        datasets: Whose content.
        jobs: What they mention stays: their specs, and what they have saved so far.
    """

    def __init__(self, datasets: Datasets, jobs: Jobs) -> None:
        self._datasets = datasets
        self._jobs = jobs
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._forever())

    async def stop(self) -> None:
        """End."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def mentioned(self) -> str:
        """What all jobs say that have not ended, as one text."""
        found: list[str] = []
        for state in _STATES:
            after: str | None = None
            while True:
                jobs = await self._jobs.list(state=state, after=after, limit=_PAGE)
                found += [
                    msgspec.json.encode([job.spec, job.checkpoint]).decode()
                    for job in jobs
                    if not job.final
                ]
                if len(jobs) < _PAGE:
                    break
                after = jobs[-1].id
        return "\n".join(found)

    async def _forever(self) -> None:
        wait_seconds = FIRST_SECONDS
        while True:
            await asyncio.sleep(wait_seconds)
            wait_seconds = EVERY_SECONDS
            # A folder that cannot be read, or a shard that is gone, is no reason to stop serving: nothing was removed then.
            with contextlib.suppress(YangfanError, OSError):
                await self._datasets.collect(self.mentioned)
