"""What the owner of a kind of work wants done when a job of it changes, in the same transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from yangfan.server.jobs.types import Job, JobError


class Hooks:
    """Subclass it and override what matters; each does nothing by default.

    All are called with the connection of the transaction that changes the job: what they write is kept exactly when the change is
    kept, so their effects happen exactly once. One that raises undoes both; one that refuses `succeeded` (a RefusedError) makes the
    job fail with that error.
    """

    async def succeeded(
        self, connection: AsyncConnection, job: Job, result: dict[str, Any]
    ) -> None:
        """The work is done and returned `result`."""

    async def failed(self, connection: AsyncConnection, job: Job, error: JobError) -> None:
        """No attempt is left, or none would help."""

    async def cancelled(self, connection: AsyncConnection, job: Job) -> None:
        """Somebody cancelled it."""

    async def saved(self, connection: AsyncConnection, job: Job, state: dict[str, Any]) -> None:
        """The worker saved `state`; each save is told once, however often the worker is killed."""
