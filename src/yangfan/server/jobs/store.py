"""Jobs in the database: SQL in, types out. Every function works inside the caller's transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import sqlalchemy as sa

from yangfan.server.db import insert_into, now_ms
from yangfan.server.jobs.tables import JOB_LOGS, JOBS
from yangfan.server.jobs.types import (
    FINAL,
    WORKING,
    Job,
    JobError,
    LogLine,
    LogPlace,
    Progress,
    State,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

_LISTED = ("kind", "state", "subject", "account")


async def insert(connection: AsyncConnection, values: Mapping[str, Any]) -> Job | None:
    """A new job in the queue; None if one of its account, kind and idempotency key is there already."""
    statement = (
        insert_into(connection, JOBS)
        .values(
            {
                "state": "queued",
                "desired": "run",
                "fence": 0,
                "revision": 0,
                "owner": "",
                "run_after_ms": now_ms(),
                "attempts": 0,
                "progress_done": 0.0,
                "progress_unit": "",
                "progress_note": "",
                "checkpoint": "{}",
                "saves": 0,
                "created_ms": now_ms(),
                **values,
            }
        )
        .on_conflict_do_nothing(index_elements=["account", "kind", "idempotency_key"])
        .returning(JOBS)
    )
    row = (await connection.execute(statement)).one_or_none()
    return None if row is None else _job(row)


async def by_key(
    connection: AsyncConnection, account: str, kind: str, idempotency_key: str
) -> Job | None:
    """The job that was submitted under this idempotency key."""
    query = sa.select(JOBS).where(
        JOBS.c.account == account,
        JOBS.c.kind == kind,
        JOBS.c.idempotency_key == idempotency_key,
    )
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else _job(row)


async def get(connection: AsyncConnection, id: str, *, lock: bool = False) -> Job | None:
    """A job; with `lock`, nobody else changes it before the end of the transaction."""
    query = sa.select(JOBS).where(JOBS.c.id == id)
    row = (await connection.execute(query.with_for_update() if lock else query)).one_or_none()
    return None if row is None else _job(row)


async def find(
    connection: AsyncConnection, wanted: Mapping[str, str], after: Job | None, limit: int
) -> tuple[Job, ...]:
    """Jobs, the youngest first, those with the values `wanted` (kind, state, subject, account) only."""
    query = sa.select(JOBS).order_by(JOBS.c.created_ms.desc(), JOBS.c.id.desc()).limit(limit)
    for name in _LISTED:
        if name in wanted:
            query = query.where(JOBS.c[name] == wanted[name])
    if after is not None:
        query = query.where(
            sa.tuple_(JOBS.c.created_ms, JOBS.c.id)
            < sa.tuple_(sa.literal(after.created_ms), sa.literal(after.id))
        )
    return tuple(_job(row) for row in await connection.execute(query))


async def move(
    connection: AsyncConnection,
    id: str,
    fence: int,
    states: Collection[State],
    values: Mapping[str, Any],
    *further: sa.ColumnElement[bool],
) -> Job | None:
    """The one way in which a job changes: fenced, from one of `states`; None if it is not so (any more)."""
    statement = (
        sa.update(JOBS)
        .where(JOBS.c.id == id, JOBS.c.fence == fence, JOBS.c.state.in_(states), *further)
        .values({"revision": JOBS.c.revision + 1, **values})
        .returning(JOBS)
    )
    row = (await connection.execute(statement)).one_or_none()
    return None if row is None else _job(row)


async def waiting(connection: AsyncConnection, limit: int) -> list[tuple[str, int]]:
    """Id and fence of jobs whose turn it is, the longest waiting first."""
    query = (
        sa.select(JOBS.c.id, JOBS.c.fence)
        .where(JOBS.c.state == "queued", JOBS.c.run_after_ms <= now_ms())
        .order_by(JOBS.c.run_after_ms, JOBS.c.created_ms, JOBS.c.id)
        .limit(limit)
    )
    return [(row.id, row.fence) for row in await connection.execute(query)]


async def expired(connection: AsyncConnection) -> list[Job]:
    """Jobs whose lease has run out."""
    query = sa.select(JOBS).where(JOBS.c.state.in_(WORKING), JOBS.c.lease_until_ms < now_ms())
    return [_job(row) for row in await connection.execute(query)]


async def owned(
    connection: AsyncConnection, owner: str, *further: sa.ColumnElement[bool]
) -> list[Job]:
    """Jobs on which workers of `owner` are said to work."""
    query = sa.select(JOBS).where(JOBS.c.state.in_(WORKING), JOBS.c.owner == owner, *further)
    return [_job(row) for row in await connection.execute(query)]


async def remove(connection: AsyncConnection, id: str) -> bool:
    """Delete a job that has ended, and its log; whether it had."""
    statement = sa.delete(JOBS).where(JOBS.c.id == id, JOBS.c.state.in_(FINAL)).returning(JOBS.c.id)
    if (await connection.execute(statement)).one_or_none() is None:
        return False
    await connection.execute(sa.delete(JOB_LOGS).where(JOB_LOGS.c.job_id == id))
    return True


async def forget(connection: AsyncConnection, keep_ms: int, limit: int) -> list[str]:
    """Delete up to `limit` jobs that ended longer ago, and their logs; their ids."""
    old = (
        sa.select(JOBS.c.id)
        .where(JOBS.c.state.in_(FINAL), JOBS.c.finished_ms < now_ms() - keep_ms)
        .limit(limit)
    )
    ids = [row.id for row in await connection.execute(old)]
    if ids:
        await connection.execute(sa.delete(JOB_LOGS).where(JOB_LOGS.c.job_id.in_(ids)))
        await connection.execute(sa.delete(JOBS).where(JOBS.c.id.in_(ids)))
    return ids


async def clock(connection: AsyncConnection) -> int:
    """Milliseconds since the epoch by the database's clock."""
    return int((await connection.execute(sa.select(now_ms()))).scalar_one())


async def count(connection: AsyncConnection) -> dict[tuple[str, str], int]:
    """How many jobs there are, by kind and state."""
    query = sa.select(JOBS.c.kind, JOBS.c.state, sa.func.count()).group_by(
        JOBS.c.kind, JOBS.c.state
    )
    return {(row[0], row[1]): row[2] for row in await connection.execute(query)}


async def oldest_waiting(connection: AsyncConnection) -> int | None:
    """When the longest waiting job whose turn it is could have begun, ms since the epoch; None where none waits."""
    query = sa.select(sa.func.min(JOBS.c.run_after_ms)).where(JOBS.c.state == "queued")
    return (await connection.execute(query)).scalar_one()


async def ended(
    connection: AsyncConnection, after_ms: int, upto_ms: int
) -> list[tuple[str, str, int]]:
    """Kind, state and milliseconds from the first start of the jobs that ended in that time."""
    query = sa.select(JOBS.c.kind, JOBS.c.state, JOBS.c.started_ms, JOBS.c.finished_ms).where(
        JOBS.c.state.in_(FINAL), JOBS.c.finished_ms > after_ms, JOBS.c.finished_ms <= upto_ms
    )
    return [
        (row.kind, row.state, row.finished_ms - (row.started_ms or row.finished_ms))
        for row in await connection.execute(query)
    ]


async def write_log(
    connection: AsyncConnection, id: str, fence: int, lines: Sequence[tuple[int, int, str]]
) -> None:
    """Add lines (number, ms since the epoch, text) of one attempt; those that are there already stay as they are."""
    rows = [
        {"job_id": id, "fence": fence, "number": number, "at_ms": at_ms, "text": text}
        for number, at_ms, text in lines
    ]
    if rows:
        await connection.execute(insert_into(connection, JOB_LOGS).on_conflict_do_nothing(), rows)


async def read_log(
    connection: AsyncConnection, id: str, after: LogPlace, limit: int
) -> tuple[LogLine, ...]:
    """Lines behind a place, in order."""
    place = sa.tuple_(JOB_LOGS.c.fence, JOB_LOGS.c.number)
    query = (
        sa.select(JOB_LOGS)
        .where(
            JOB_LOGS.c.job_id == id,
            place > sa.tuple_(sa.literal(after.fence), sa.literal(after.number)),
        )
        .order_by(JOB_LOGS.c.fence, JOB_LOGS.c.number)
        .limit(limit)
    )
    return tuple(
        LogLine(LogPlace(row.fence, row.number), row.at_ms, row.text)
        for row in await connection.execute(query)
    )


def encode(value: Mapping[str, Any]) -> str:
    """JSON for a text column."""
    return msgspec.json.encode(value).decode()


def _job(row: sa.Row[Any]) -> Job:
    return Job(
        id=row.id,
        kind=row.kind,
        spec=msgspec.json.decode(row.spec),
        subject=row.subject,
        account=row.account,
        state=row.state,
        desired=row.desired,
        progress=Progress(
            row.progress_done, row.progress_total, row.progress_unit, row.progress_note
        ),
        attempts=row.attempts,
        max_attempts=row.max_attempts,
        error=None if row.error_code is None else JobError(row.error_code, row.error_message or ""),
        result=None if row.result is None else msgspec.json.decode(row.result),
        checkpoint=msgspec.json.decode(row.checkpoint),
        saves=row.saves,
        created_ms=row.created_ms,
        started_ms=row.started_ms,
        finished_ms=row.finished_ms,
        run_after_ms=row.run_after_ms,
        fence=row.fence,
        revision=row.revision,
    )
