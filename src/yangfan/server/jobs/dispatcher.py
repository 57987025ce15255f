"""Gives queued jobs to workers, so many at once, and ends the leases of those that went silent."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec
import structlog
from sqlalchemy.exc import DBAPIError

from yangfan.errors import NotFound, Overloaded
from yangfan.executors.base import Assignment
from yangfan.protocol.worker import Order
from yangfan.server.jobs.types import JobError

if TYPE_CHECKING:
    from yangfan.executors.base import Executor
    from yangfan.server.jobs.leases import Leases
    from yangfan.server.jobs.logic import Jobs
    from yangfan.server.jobs.tokens import JobMint
    from yangfan.server.jobs.types import Job

POLL_SECONDS = 1.0
STOP_GRACE_SECONDS = 20.0
"""How long a worker may go on when that is not wanted (any more), before its executor ends it."""

_log = structlog.get_logger("yangfan.jobs")


class Dispatcher:
    """Keeps workers busy.

    Args:
        jobs: Tells when there is something to do.
        leases: Claims jobs and ends attempts.
        executor: Runs the workers.
        mint: Makes their tokens.
        base_url: Where workers reach this server.
        owner: Name of this server among those that share the database; the same after a restart.
        at_once: How many jobs may run at a time.
        stop_grace_seconds: How long a worker may go on when that is not wanted (any more) before it is ended.
    """

    def __init__(
        self,
        jobs: Jobs,
        leases: Leases,
        executor: Executor,
        mint: JobMint,
        *,
        base_url: str,
        owner: str,
        at_once: int,
        stop_grace_seconds: float = STOP_GRACE_SECONDS,
    ) -> None:
        self._jobs = jobs
        self._leases = leases
        self._executor = executor
        self._mint = mint
        self._base_url = base_url
        self._owner = owner
        self._at_once = at_once
        self._stop_grace_seconds = stop_grace_seconds
        self._running: dict[tuple[str, int], asyncio.Task[None]] = {}
        self._unwanted: dict[tuple[str, int], float] = {}
        self._overdue: set[tuple[str, int]] = set()
        self._loop: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """End what an earlier server left behind, take its jobs up again, and begin."""
        reaped = await self._executor.reap()
        released = await self._leases.release(self._owner)
        if reaped or released:
            _log.info("jobs of an earlier server go on", jobs=released, processes=reaped)
        for job_id in await asyncio.to_thread(self._executor.kept):
            await self._forget(job_id)
        self._loop = asyncio.create_task(self._dispatch(), name="job dispatcher")

    async def stop(self) -> None:
        """End all workers; their jobs go on at the next start, from what they saved."""
        if self._loop is None:
            return
        for task in (self._loop, *self._running.values()):
            task.cancel()
        await asyncio.gather(self._loop, *self._running.values(), return_exceptions=True)
        self._loop = None
        with suppress(DBAPIError, Overloaded):  # the next start does it
            await self._leases.release(self._owner)

    async def _dispatch(self) -> None:
        submitted = self._jobs.changes.submitted
        while True:
            submitted.clear()
            try:
                await self._leases.reap()
                await self._hurry()
                free = self._at_once - len(self._running)
                if free > 0:
                    for job in await self._leases.claim(self._owner, free):
                        self._give(job)
            except (OSError, DBAPIError, Overloaded) as error:
                _log.error("jobs wait for the database", error=str(error))
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await submitted.wait()

    def _give(self, job: Job) -> None:
        key = (job.id, job.fence)
        task = asyncio.create_task(self._work(job), name=f"worker of {job.id}")
        self._running[key] = task

        def ended(_task: asyncio.Task[None]) -> None:
            self._running.pop(key, None)
            self._overdue.discard(key)
            self._jobs.changes.submitted.set()

        task.add_done_callback(ended)

    async def _work(self, job: Job) -> None:
        order = Order(
            base_url=self._base_url,
            token=self._mint.issue(job.id, job.fence, job.account, job.kind),
            folder=str(self._executor.folder(job.id)),
        )
        assignment = Assignment(job.id, job.fence, msgspec.json.encode(order))
        try:
            how = await self._executor.run(assignment)
        except OSError as error:
            how = f"the worker could not be started: {error}"
        except asyncio.CancelledError:
            if (job.id, job.fence) not in self._overdue:
                raise  # the server stops
            how = "the worker did not stop when it was asked to, so it was ended"
        await self._lose(job, how)

    async def _lose(self, job: Job, how: str) -> None:
        try:
            await self._leases.lose(job.id, job.fence, JobError("WorkerLost", how))
            await self._forget(job.id)
        except Exception as error:  # noqa: BLE001 - the lease runs out anyway, and the reaper does the same then
            _log.error("a worker ended", job=job.id, error=str(error))

    async def _forget(self, job_id: str) -> None:
        """Remove the scratch folder of a job that has ended."""
        try:
            ended = (await self._jobs.get(job_id)).final
        except NotFound:
            ended = True
        if ended:
            await asyncio.to_thread(self._executor.forget, job_id)

    async def _hurry(self) -> None:
        """End workers that do not stop although that was wanted, or their job lost, some time ago."""
        if not self._running:
            return
        now = time.monotonic()
        held = await self._leases.held(self._owner)
        unwanted = {key for key in self._running if held.get(key) != "run"}
        self._unwanted = {key: self._unwanted.get(key, now) for key in unwanted}
        for key, since in self._unwanted.items():
            if now - since > self._stop_grace_seconds and key not in self._overdue:
                self._overdue.add(key)
                self._running[key].cancel()
