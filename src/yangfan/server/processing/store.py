"""Processing tasks in the database: SQL in, types out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import sqlalchemy as sa

from yangfan.server.processing.tables import TASKS
from yangfan.server.processing.types import ProcessingTask

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from yangfan.server.db import Database
    from yangfan.server.processing.types import Kind

_C = TASKS.c
_JSON = ("order", "result")


class TaskStore:
    """The rows of `processing_tasks`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, connection: AsyncConnection, values: Mapping[str, Any]) -> ProcessingTask:
        """Insert one."""
        done = await connection.execute(sa.insert(TASKS).values(_encoded(values)))
        (number,) = done.inserted_primary_key or (0,)
        found = await connection.execute(sa.select(TASKS).where(_C.number == number))
        return _task(found.one())

    async def get(self, kind: Kind, reference: int | str) -> ProcessingTask | None:
        """The task of that id or number."""
        text = str(reference)
        one = _C.number == int(text) if text.isdecimal() and len(text) < 10 else _C.id == text
        query = sa.select(TASKS).where(_C.kind == kind, one)
        async with self._database.read() as connection:
            row = (await connection.execute(query)).one_or_none()
        return None if row is None else _task(row)

    async def of_job(self, connection: AsyncConnection, job_id: str) -> ProcessingTask | None:
        """The task that a job works on."""
        query = sa.select(TASKS).where(_C.job_id == job_id)
        row = (await connection.execute(query)).one_or_none()
        return None if row is None else _task(row)

    async def page(
        self,
        kind: Kind,
        *,
        offset: int = 0,
        count: int = 10,
        before: int | None = None,
        after: int | None = None,
        word: str = "",
        states: Sequence[str] = (),
        newest_first: bool = True,
    ) -> tuple[int, list[ProcessingTask]]:
        """How many there are, and some of them.

        Args:
            kind: Of this kind.
            offset: How many to leave out.
            count: How many at most.
            before: Only those with smaller numbers; `after` likewise.
            after: Only those with larger numbers.
            word: Only those with this in their name.
            states: Only those in these states; all if empty.
            newest_first: In which order.
        """
        where = [_C.kind == kind]
        if word:
            where.append(_C.name.contains(word, autoescape=True))
        if states:
            where.append(_C.state.in_(states))
        counted = sa.select(sa.func.count()).select_from(TASKS).where(*where)
        if before is not None:
            where.append(_C.number < before)
        if after is not None:
            where.append(_C.number > after)
        order = _C.number.desc() if newest_first else _C.number
        query = sa.select(TASKS).where(*where).order_by(order).offset(offset).limit(count)
        async with self._database.read() as connection:
            total = (await connection.execute(counted)).scalar_one()
            return total, [_task(row) for row in await connection.execute(query)]

    async def running(self, kind: Kind) -> int:
        """How many have not ended."""
        query = (
            sa.select(sa.func.count())
            .select_from(TASKS)
            .where(_C.kind == kind, _C.state == "running")
        )
        async with self._database.read() as connection:
            return (await connection.execute(query)).scalar_one()

    async def end(self, connection: AsyncConnection, number: int, **values: Any) -> None:
        """Change one that has ended."""
        await connection.execute(
            sa.update(TASKS).where(_C.number == number).values(_encoded(values))
        )

    async def remove(self, connection: AsyncConnection, number: int) -> None:
        """Delete one."""
        await connection.execute(sa.delete(TASKS).where(_C.number == number))


def _encoded(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: msgspec.json.encode(value).decode()
        if name in _JSON
        else int(value)
        if isinstance(value, bool)
        else value
        for name, value in values.items()
    }


def _task(row: sa.Row[Any]) -> ProcessingTask:
    values = dict(zip(TASKS.columns.keys(), row, strict=True))
    for name in _JSON:
        values[name] = msgspec.json.decode(values[name])
    values["made_destination"] = bool(values["made_destination"])
    return ProcessingTask(**values)
