"""How an attempt ends: done, tried again, given up, cancelled, paused; with the hooks in the same transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from yangfan.server.db import now_ms
from yangfan.server.jobs import store
from yangfan.server.jobs.hooks import Hooks
from yangfan.server.jobs.types import WORKING, State

if TYPE_CHECKING:
    from collections.abc import Collection

    import sqlalchemy as sa
    from sqlalchemy.ext.asyncio import AsyncConnection

    from yangfan.server.jobs.types import Job, JobError

MAX_BACKOFF_SECONDS = 300.0
_NO_HOOKS = Hooks()


class Endings:
    """Ends attempts.

    Args:
        backoff_seconds: Wait before the second attempt; each further wait is twice as long, up to five minutes.
    """

    def __init__(self, backoff_seconds: float) -> None:
        self._backoff_seconds = backoff_seconds
        self._hooks: dict[str, Hooks] = {}

    def register(self, kind: str, hooks: Hooks) -> None:
        """Have `hooks` told of every job of `kind`.

        Raises:
            ValueError: The kind has hooks already.
        """
        if kind in self._hooks:
            raise ValueError(f"jobs of kind {kind} have hooks already")
        self._hooks[kind] = hooks

    def hooks(self, kind: str) -> Hooks:
        """What is told of a kind."""
        return self._hooks.get(kind, _NO_HOOKS)

    async def succeed(
        self, connection: AsyncConnection, id: str, fence: int, result: dict[str, Any]
    ) -> Job | None:
        """The work is done; None if the job is not this attempt's."""
        values: dict[str, Any] = {
            "state": "succeeded",
            "desired": "run",
            "result": store.encode(result),
            "error_code": None,
            "error_message": None,
            **_over(),
        }
        job = await store.move(connection, id, fence, WORKING, values)
        if job is not None:
            await self.hooks(job.kind).succeeded(connection, job, result)
        return job

    async def cancel(
        self,
        connection: AsyncConnection,
        job: Job,
        *further: sa.ColumnElement[bool],
        states: Collection[State] = WORKING,
    ) -> Job | None:
        """It is cancelled."""
        values: dict[str, Any] = {"state": "cancelled", "desired": "cancel", **_over()}
        moved = await store.move(connection, job.id, job.fence, states, values, *further)
        if moved is not None:
            await self.hooks(moved.kind).cancelled(connection, moved)
        return moved

    async def pause(
        self, connection: AsyncConnection, job: Job, *further: sa.ColumnElement[bool]
    ) -> Job | None:
        """The worker has stopped, to go on when asked. It did not fail, so the attempt does not count."""
        values: dict[str, Any] = {"state": "paused", "desired": "pause", **_left(job)}
        return await store.move(connection, job.id, job.fence, WORKING, values, *further)

    async def release(self, connection: AsyncConnection, job: Job) -> Job | None:
        """The server that worked on it is gone, which is not the job's fault: into the queue again, at once."""
        if job.desired != "run":
            return await self.stop(connection, job)
        values: dict[str, Any] = {"state": "queued", "run_after_ms": now_ms(), **_left(job)}
        return await store.move(connection, job.id, job.fence, WORKING, values)

    async def fail(
        self,
        connection: AsyncConnection,
        job: Job,
        error: JobError,
        *further: sa.ColumnElement[bool],
        retryable: bool,
    ) -> Job | None:
        """The attempt failed: what was asked for is done, or it is tried again, or given up."""
        if job.desired != "run":
            return await self.stop(connection, job, *further)
        values: dict[str, Any] = {"error_code": error.code, "error_message": error.message}
        if retryable and job.attempts < job.max_attempts:
            wait_seconds = self._backoff_seconds * 2 ** max(0, job.attempts - 1)
            wait_ms = int(1000 * min(wait_seconds, MAX_BACKOFF_SECONDS))
            values |= {
                "state": "queued",
                "run_after_ms": now_ms() + wait_ms,
                "lease_until_ms": None,
                "owner": "",
            }
            return await store.move(connection, job.id, job.fence, WORKING, values, *further)
        values |= {"state": "failed", **_over()}
        moved = await store.move(connection, job.id, job.fence, WORKING, values, *further)
        if moved is not None:
            await self.hooks(moved.kind).failed(connection, moved, error)
        return moved

    async def stop(
        self, connection: AsyncConnection, job: Job, *further: sa.ColumnElement[bool]
    ) -> Job | None:
        """What was asked for has happened: cancelled or paused; a wish that was taken back puts it into the queue."""
        if job.desired == "cancel":
            return await self.cancel(connection, job, *further)
        if job.desired == "pause":
            return await self.pause(connection, job, *further)
        return await self.release(connection, job)


def _over() -> dict[str, Any]:
    return {"lease_until_ms": None, "owner": "", "finished_ms": now_ms()}


def _left(job: Job) -> dict[str, Any]:
    return {"lease_until_ms": None, "owner": "", "attempts": max(0, job.attempts - 1)}
