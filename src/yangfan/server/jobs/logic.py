"""What can be done with jobs: submit, look, cancel, pause, resume, delete."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from yangfan.errors import Conflict, NotFound
from yangfan.server.db import now_ms
from yangfan.server.http.call import new_id
from yangfan.server.jobs import store
from yangfan.server.jobs.changes import Changes
from yangfan.server.jobs.ending import Endings
from yangfan.server.jobs.types import BEFORE_ALL, WORKING, Census, LogPlace

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from sqlalchemy.ext.asyncio import AsyncConnection

    from yangfan.server.db import Database
    from yangfan.server.jobs.hooks import Hooks
    from yangfan.server.jobs.types import Job, LogLine

LOG_PAGE_LINES = 1000
SETTLING_MS = 1000
"""A transaction that ends a job takes its time from the clock before others can see it; what is younger waits for the next census."""

POLL_SECONDS = 1.0
"""How soon a watcher sees what another process changed."""


class Jobs:
    """Durable jobs.

    Args:
        database: Where they are kept.
        backoff_seconds: Wait before the second attempt; each further wait is twice as long.

    Attributes:
        endings: How attempts end.
        changes: Tells waiters within this process.
    """

    def __init__(self, database: Database, *, backoff_seconds: float = 1.0) -> None:
        self._database = database
        self.endings = Endings(backoff_seconds)
        self.changes = Changes()

    def register(self, kind: str, hooks: Hooks) -> None:
        """Have `hooks` told of every job of `kind`; before any job runs.

        Raises:
            ValueError: The kind has hooks already.
        """
        self.endings.register(kind, hooks)

    async def submit(
        self,
        kind: str,
        spec: Mapping[str, Any],
        *,
        account: str = "",
        subject: str = "",
        idempotency_key: str = "",
        max_attempts: int = 3,
        connection: AsyncConnection | None = None,
    ) -> Job:
        """Put a job into the queue.

        Args:
            kind: Name of a file in `yangfan.worker.works`.
            spec: What that takes; what msgspec can write as JSON.
            account: Whose it is.
            subject: Id of what it is about.
            idempotency_key: A second call with the same account, kind and key gets the first one's job.
            max_attempts: At so many failed attempts in a row without anything saved it fails for good.
            connection: A write transaction to do it in; its own otherwise.

        Raises:
            Conflict: The idempotency key stands for a job with another spec.
        """
        if connection is None:
            async with self._database.write() as own:
                job = await self._submit(
                    own, kind, spec, account, subject, idempotency_key, max_attempts
                )
        else:
            job = await self._submit(
                connection, kind, spec, account, subject, idempotency_key, max_attempts
            )
        self.changes.submitted.set()
        return job

    async def _submit(
        self,
        connection: AsyncConnection,
        kind: str,
        spec: Mapping[str, Any],
        account: str,
        subject: str,
        idempotency_key: str,
        max_attempts: int,
    ) -> Job:
        text = store.encode(spec)
        values = {
            "id": new_id("jb-", 16),
            "kind": kind,
            "spec": text,
            "account": account,
            "subject": subject,
            "idempotency_key": idempotency_key or None,
            "max_attempts": max_attempts,
        }
        job = await store.insert(connection, values)
        if job is None:
            job = await store.by_key(connection, account, kind, idempotency_key)
            assert job is not None, "what kept the insert out is there"
            if store.encode(job.spec) != text:
                raise Conflict(
                    f"idempotency key {idempotency_key!r} stands for job {job.id}, which is to do something else; use a new key"
                )
        return job

    async def get(self, id: str) -> Job:
        """A job as it is now.

        Raises:
            NotFound: There is none of that id.
        """
        async with self._database.read() as connection:
            return _there(await store.get(connection, id), id)

    async def list(
        self, *, after: str | None = None, limit: int = 100, **wanted: str
    ) -> tuple[Job, ...]:
        """Jobs, the youngest first.

        Args:
            after: Id of the last job of the page before.
            limit: How many at most.
            wanted: Only those with this `kind`, `state`, `subject`, `account`.

        Raises:
            NotFound: There is no job `after`.
        """
        async with self._database.read() as connection:
            last = None if after is None else _there(await store.get(connection, after), after)
            return await store.find(connection, wanted, last, limit)

    async def cancel(self, id: str) -> Job:
        """Ask for its end: at once if nothing works on it, otherwise at the worker's next beat. A second call changes nothing.

        Raises:
            NotFound: There is none of that id.
            Conflict: It has ended otherwise.
        """
        async with self._changing(id) as (connection, job):
            if job.state in {"queued", "paused"}:
                moved = await self.endings.cancel(connection, job, states=("queued", "paused"))
            elif job.state in WORKING:
                moved = await self._wish(connection, job, "cancel")
            elif job.state == "cancelled":
                return job
            else:
                raise Conflict(f"job {id} has {job.state} already, so it cannot be cancelled")
        return self._told(moved)

    async def pause(self, id: str) -> Job:
        """Ask it to stop and keep what it has saved; `resume` goes on from there.

        Raises:
            NotFound: There is none of that id.
            Conflict: It has ended, or is about to be cancelled.
        """
        async with self._changing(id) as (connection, job):
            if job.final or job.desired == "cancel":
                raise Conflict(f"job {id} {_is(job)}, so it cannot be paused")
            if job.state == "paused":
                return job
            if job.state == "queued":
                values = {"state": "paused", "desired": "pause"}
                moved = await store.move(connection, id, job.fence, ("queued",), values)
            else:
                moved = await self._wish(connection, job, "pause")
        return self._told(moved)

    async def resume(self, id: str) -> Job:
        """Let a paused job go on, or take back a wish to pause it.

        Raises:
            NotFound: There is none of that id.
            Conflict: It has ended, or is about to be cancelled.
        """
        async with self._changing(id) as (connection, job):
            if job.final or job.desired == "cancel":
                raise Conflict(f"job {id} {_is(job)}, so it cannot go on")
            if job.state == "paused":
                values = {"state": "queued", "desired": "run", "run_after_ms": now_ms()}
                moved = await store.move(connection, id, job.fence, ("paused",), values)
            elif job.desired == "pause":
                moved = await self._wish(connection, job, "run")
            else:
                return job
        self.changes.submitted.set()
        return self._told(moved)

    async def delete(self, id: str) -> None:
        """Forget a job that has ended, and its log.

        Raises:
            NotFound: There is none of that id.
            Conflict: It has not ended; cancel it first.
        """
        async with self._changing(id) as (connection, job):
            if not await store.remove(connection, id):
                raise Conflict(f"job {id} {_is(job)}; cancel it before you delete it")
        self.changes.tell(id)

    async def census(self, since_ms: int | None) -> Census:
        """Count them; `ended` holds those that ended after that time, none for None."""
        async with self._database.read() as connection:
            now = await store.clock(connection)
            upto = now - SETTLING_MS
            jobs = await store.count(connection)
            oldest = await store.oldest_waiting(connection)
            ended = [] if since_ms is None else await store.ended(connection, since_ms, upto)
        age = 0.0 if oldest is None else max(now - oldest, 0) / 1000
        seconds = [(kind, state, took_ms / 1000) for kind, state, took_ms in ended]
        return Census(jobs, age, seconds, upto)

    async def forget(self, keep_days: float, limit: int) -> int:
        """Forget up to `limit` jobs that ended more than so many days ago, and their logs; how many."""
        async with self._database.write() as connection:
            forgotten = await store.forget(connection, int(keep_days * 86_400_000), limit)
        for id in forgotten:
            self.changes.tell(id)
        return len(forgotten)

    async def log(
        self, id: str, *, after: LogPlace = BEFORE_ALL, limit: int = LOG_PAGE_LINES
    ) -> tuple[LogLine, ...]:
        """Lines that its workers wrote, behind a place, in order."""
        async with self._database.read() as connection:
            return await store.read_log(connection, id, after, limit)

    async def watch(self, id: str, *, quiet_seconds: float = 15.0) -> AsyncGenerator[Job]:
        """The job now and at each change until it has ended, or this server is about to; at least every `quiet_seconds`.

        Raises:
            NotFound: There is none of that id, or it was deleted meanwhile.
        """
        seen, quiet = -1, 0.0
        with self.changes.of(id) as changed:
            while True:
                changed.clear()
                job = await self.get(id)
                if job.revision != seen or quiet >= quiet_seconds:
                    seen, quiet = job.revision, 0.0
                    yield job
                if job.final or self.changes.closed:
                    return
                if not await _set_within(changed, POLL_SECONDS):
                    quiet += POLL_SECONDS

    @asynccontextmanager
    async def _changing(self, id: str) -> AsyncGenerator[tuple[AsyncConnection, Job]]:
        async with self._database.write() as connection:
            yield connection, _there(await store.get(connection, id, lock=True), id)

    async def _wish(self, connection: AsyncConnection, job: Job, desired: str) -> Job | None:
        return await store.move(connection, job.id, job.fence, WORKING, {"desired": desired})

    def _told(self, job: Job | None) -> Job:
        assert job is not None, "the row is locked, so it is as it was read"
        self.changes.tell(job.id)
        return job


async def _set_within(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True


def _there(job: Job | None, id: str) -> Job:
    if job is None:
        raise NotFound(f"there is no job {id}; `yangfan jobs list` shows those that there are")
    return job


def _is(job: Job) -> str:
    if job.desired == "cancel" and not job.final:
        return "is about to be cancelled"
    return f"has {job.state}" if job.state in {"succeeded", "failed"} else f"is {job.state}"
