"""What workers and those who start them do with jobs: claim, beat, save, finish, fail, lose. Every step is fenced."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from yangfan.errors import Conflict, NotFound, RefusedError
from yangfan.server.db import now_ms
from yangfan.server.jobs import store
from yangfan.server.jobs.tables import JOBS
from yangfan.server.jobs.types import WORKING, JobError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import sqlalchemy as sa

    from yangfan.server.db import Database
    from yangfan.server.jobs.logic import Jobs
    from yangfan.server.jobs.types import Desired, Job, Progress

LEASE_SECONDS = 30.0
MAX_LOG_LINES = 20_000
"""Lines kept of one attempt."""


class Leases:
    """The workers' side of jobs.

    A call whose answer was lost may come again: it changes nothing more and is answered as the first time.

    Args:
        database: Where jobs are kept.
        jobs: Knows hooks and waiters.
        lease_seconds: A worker that is silent so long has lost its job, by the database's clock.
    """

    def __init__(
        self, database: Database, jobs: Jobs, *, lease_seconds: float = LEASE_SECONDS
    ) -> None:
        self._database = database
        self._jobs = jobs
        self._endings = jobs.endings
        self.lease_seconds = lease_seconds

    async def claim(self, owner: str, limit: int) -> list[Job]:
        """Take up to `limit` jobs whose turn it is; whoever comes second gets none of them."""
        async with self._database.read() as connection:
            found = await store.waiting(connection, limit)
        claimed: list[Job] = []
        for id, fence in found:
            values = {
                "state": "starting",
                "fence": fence + 1,
                "attempts": JOBS.c.attempts + 1,
                "owner": owner,
                "lease_until_ms": self._lease(),
                "started_ms": _first(JOBS.c.started_ms),
            }
            async with self._database.write() as connection:
                job = await store.move(
                    connection, id, fence, ("queued",), values, JOBS.c.desired == "run"
                )
            if job is not None:
                claimed.append(job)
                self._jobs.changes.tell(id)
        return claimed

    async def start(self, id: str, fence: int) -> Job:
        """The worker is there and asks what to do.

        Raises:
            Conflict: The job is not this worker's (any more).
        """
        values = {"state": "running", "lease_until_ms": self._lease()}
        async with self._database.write() as connection:
            job = await store.move(connection, id, fence, WORKING, values)
        return self._own(job, id)

    async def beat(
        self,
        id: str,
        fence: int,
        progress: Progress | None,
        lines: Sequence[tuple[int, int, str]],
    ) -> Job:
        """The worker lives: the lease is renewed, and what it tells is kept.

        Raises:
            Conflict: The job is not this worker's (any more).
        """
        values: dict[str, Any] = {"lease_until_ms": self._lease()}
        if progress is not None:
            values |= {
                "progress_done": progress.done,
                "progress_total": progress.total,
                "progress_unit": progress.unit,
                "progress_note": progress.note,
            }
        async with self._database.write() as connection:
            job = await store.move(connection, id, fence, WORKING, values)
            if job is not None:
                kept = [line for line in lines if line[0] < MAX_LOG_LINES]
                await store.write_log(connection, id, fence, kept)
        return self._own(job, id)

    async def save(self, id: str, fence: int, number: int, state: dict[str, Any]) -> Job:
        """Keep a checkpoint, the `number`-th of the job; the attempts that failed before it are forgiven.

        Raises:
            Conflict: The job is not this worker's (any more), or another save is next.
        """
        values = {
            "checkpoint": store.encode(state),
            "saves": number,
            "attempts": 1,
            "lease_until_ms": self._lease(),
        }
        async with self._database.write() as connection:
            job = await store.move(
                connection, id, fence, WORKING, values, JOBS.c.saves == number - 1
            )
            if job is not None:
                await self._endings.hooks(job.kind).saved(connection, job, state)
            else:
                found = await store.get(connection, id)
                if found is not None and (found.fence, found.saves) == (fence, number):
                    return found
        return self._own(job, id)

    async def finish(self, id: str, fence: int, result: dict[str, Any]) -> Job:
        """The work is done.

        Raises:
            Conflict: The job is not this worker's (any more).
        """
        try:
            async with self._database.write() as connection:
                job = await self._endings.succeed(connection, id, fence, result)
        except RefusedError as error:
            refused = JobError(type(error).__name__, error.message)
            return await self.fail(id, fence, refused, retryable=error.retryable)
        return await self._settled(job, id, fence)

    async def fail(self, id: str, fence: int, error: JobError, *, retryable: bool) -> Job:
        """The attempt failed.

        Raises:
            Conflict: The job is not this worker's (any more).
        """
        async with self._database.write() as connection:
            found = await store.get(connection, id, lock=True)
            job = None
            if found is not None and found.fence == fence:
                job = await self._endings.fail(connection, found, error, retryable=retryable)
        return await self._settled(job, id, fence)

    async def stop(self, id: str, fence: int) -> Job:
        """The worker stopped because it was asked to.

        Raises:
            Conflict: The job is not this worker's (any more).
        """
        async with self._database.write() as connection:
            found = await store.get(connection, id, lock=True)
            job = None
            if found is not None and found.fence == fence:
                job = await self._endings.stop(connection, found)
        return await self._settled(job, id, fence)

    async def lose(self, id: str, fence: int, error: JobError) -> None:
        """The worker of this attempt has ended; if it said nothing before, the attempt failed."""
        async with self._database.write() as connection:
            found = await store.get(connection, id, lock=True)
            if found is None or found.fence != fence or found.state not in WORKING:
                return
            await self._endings.fail(connection, found, error, retryable=True)
        self._jobs.changes.tell(id)

    async def reap(self) -> int:
        """End the attempts whose lease has run out; how many. Any process may do it, side by side with others."""
        async with self._database.read() as connection:
            expired = await store.expired(connection)
        count = 0
        for job in expired:
            error = JobError(
                "WorkerLost",
                f"the worker was silent for more than {self.lease_seconds:g} s; its machine may be gone or overloaded",
            )
            async with self._database.write() as connection:
                found = await store.get(connection, job.id, lock=True)
                if found is None or found.fence != job.fence or found.state not in WORKING:
                    continue
                still = JOBS.c.lease_until_ms < now_ms()
                moved = await self._endings.fail(connection, found, error, still, retryable=True)
            if moved is not None:
                count += 1
                self._jobs.changes.tell(job.id)
        return count

    async def release(self, owner: str) -> int:
        """Put the jobs of workers that ended with their server into the queue again; how many."""
        async with self._database.write() as connection:
            released = [
                await self._endings.release(connection, job)
                for job in await store.owned(connection, owner)
            ]
        for job in filter(None, released):
            self._jobs.changes.tell(job.id)
        return len(released)

    async def held(self, owner: str) -> dict[tuple[str, int], Desired]:
        """Id and fence of the jobs on which workers of an owner are to work, and what is wanted of them."""
        async with self._database.read() as connection:
            found = await store.owned(connection, owner)
        return {(job.id, job.fence): job.desired for job in found}

    def _lease(self) -> sa.ColumnElement[int]:
        return now_ms() + int(1000 * self.lease_seconds)

    def _own(self, job: Job | None, id: str) -> Job:
        if job is None:
            raise _not_yours(id)
        self._jobs.changes.tell(id)
        return job

    async def _settled(self, job: Job | None, id: str, fence: int) -> Job:
        """The job that was moved, or the one that the same attempt had moved already."""
        if job is None:
            try:
                found = await self._jobs.get(id)
            except NotFound:
                raise _not_yours(id) from None
            if found.fence != fence or found.state in WORKING:
                raise _not_yours(id)
            return found
        return self._own(job, id)


def _first(column: sa.Column[Any]) -> sa.ColumnElement[Any]:
    from sqlalchemy import func

    return func.coalesce(column, now_ms())


def _not_yours(id: str) -> Conflict:
    return Conflict(
        f"job {id} is not this worker's any more: it was taken over, has ended or was deleted; stop"
    )
