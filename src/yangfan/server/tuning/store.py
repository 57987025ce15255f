"""Tuning in the database: SQL in, types out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import sqlalchemy as sa

from yangfan.server.tuning.tables import JOBS, TASKS
from yangfan.server.tuning.types import TuningJob, TuningTask

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from sqlalchemy.ext.asyncio import AsyncConnection

    from yangfan.server.db import Database

USES = "uses"
"""Among what is kept of a task: ids of the dataset versions that it reads, and of the run whose model rewards it."""

_JSON = frozenset({"hyper_parameters", "dataset", "more", "result"})
T = TypeVar("T", TuningJob, TuningTask)


class TuningStore:
    """The rows of `tuning_jobs` and `tuning_tasks`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def write(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A transaction that writes."""
        return self._database.write()

    async def add_job(self, values: dict[str, Any]) -> TuningJob:
        """Insert a job."""
        async with self._database.write() as connection:
            done = await connection.execute(sa.insert(JOBS).values(_texts(values)))
            (number,) = done.inserted_primary_key or (0,)
        return TuningJob(number=number, **values)

    async def add_task(self, connection: AsyncConnection, values: dict[str, Any]) -> None:
        """Insert a task."""
        await connection.execute(sa.insert(TASKS).values(_texts(values)))

    async def find_job(self, **wanted: Any) -> TuningJob | None:
        """The job with these values of its columns."""
        query = sa.select(JOBS).filter_by(**wanted)
        async with self._database.read() as connection:
            return _one(await connection.execute(query), JOBS, TuningJob)

    async def find_task(
        self, connection: AsyncConnection | None = None, **wanted: Any
    ) -> TuningTask | None:
        """The task with these values of its columns."""
        query = sa.select(TASKS).filter_by(**wanted)
        if connection is not None:
            return _one(await connection.execute(query), TASKS, TuningTask)
        async with self._database.read() as own:
            return _one(await own.execute(query), TASKS, TuningTask)

    async def page_jobs(
        self, first_id: str | None, count: int, *, newest_first: bool, **wanted: str
    ) -> list[TuningJob]:
        """Up to `count` jobs from that id on."""
        query = _page(sa.select(JOBS).filter_by(**wanted), JOBS, first_id, newest_first)
        async with self._database.read() as connection:
            found = await connection.execute(query.limit(count))
            return [_struct(row, JOBS, TuningJob) for row in found]

    async def page_tasks(
        self, first_id: str | None, count: int, *, newest_first: bool, **wanted: str
    ) -> list[TuningTask]:
        """Up to `count` tasks from that id on."""
        query = _page(sa.select(TASKS).filter_by(**wanted), TASKS, first_id, newest_first)
        async with self._database.read() as connection:
            found = await connection.execute(query.limit(count))
            return [_struct(row, TASKS, TuningTask) for row in found]

    async def user_of(self, version_id: str) -> str | None:
        """The run that needs a model version now, or will if it goes on; None if none does."""
        query = (
            sa.select(TASKS.c.id)
            .join(JOBS, JOBS.c.id == TASKS.c.job_id)
            .where(JOBS.c.base_id == version_id, TASKS.c.state == "running")
            .limit(1)
        )
        async with self._database.read() as connection:
            found = await connection.scalar(query)
        return None if found is None else f"the tuning task {found}"

    async def user_of_part(
        self, used: str, connection: AsyncConnection | None = None
    ) -> str | None:
        """The run that reads a dataset version, or another run's model, now or if it goes on; None if none does."""
        if connection is None:
            async with self._database.read() as own:
                return await self.user_of_part(used, own)
        query = sa.select(TASKS.c.id, TASKS.c.more).where(TASKS.c.state == "running")
        for task, more in await connection.execute(query):
            if used in msgspec.json.decode(more).get(USES, ()):
                return f"the tuning task {task}"
        return None

    async def change_task(self, connection: AsyncConnection, number: int, **values: Any) -> None:
        """Change columns of a task."""
        await connection.execute(
            sa.update(TASKS).where(TASKS.c.number == number).values(_texts(values))
        )

    async def set_mode(self, job: TuningJob, mode: str) -> bool:
        """Give a job that has no runs another way of training; False if it has some."""
        ran = sa.select(TASKS.c.id).where(TASKS.c.job_id == job.id).exists()
        change = sa.update(JOBS).where(JOBS.c.number == job.number, ~ran).values(mode=mode)
        async with self._database.write() as connection:
            return (await connection.execute(change)).rowcount == 1

    async def remove_task(self, number: int) -> None:
        """Delete a task."""
        async with self._database.write() as connection:
            await connection.execute(sa.delete(TASKS).where(TASKS.c.number == number))

    async def remove_job(self, number: int) -> None:
        """Delete a job that has no tasks."""
        async with self._database.write() as connection:
            await connection.execute(sa.delete(JOBS).where(JOBS.c.number == number))


def _page(
    query: sa.Select[Any], table: sa.Table, first_id: str | None, newest_first: bool
) -> sa.Select[Any]:
    number = table.c.number
    if first_id is not None:
        at = sa.select(number).where(table.c.id == first_id).scalar_subquery()
        query = query.where(number <= at if newest_first else number >= at)
    return query.order_by(number.desc() if newest_first else number)


def _one(found: sa.Result[Any], table: sa.Table, kind: type[T]) -> T | None:
    row = found.one_or_none()
    return None if row is None else _struct(row, table, kind)


def _texts(values: dict[str, Any]) -> dict[str, Any]:
    return {
        name: msgspec.json.encode(value).decode() if name in _JSON else value
        for name, value in values.items()
    }


def _struct(row: sa.Row[Any], table: sa.Table, kind: type[T]) -> T:
    values: dict[str, Any] = dict(zip(table.columns.keys(), row, strict=True))
    decoded = {
        name: msgspec.json.decode(value) if name in _JSON else value
        for name, value in values.items()
    }
    return kind(**decoded)
