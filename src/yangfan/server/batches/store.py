"""Batches in the database: SQL in, types out."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec
import sqlalchemy as sa

from yangfan.server.batches.tables import BATCHES
from yangfan.server.batches.types import Batch, Order, Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from yangfan.server.batches.types import Form, State

_C = BATCHES.c


async def add(connection: AsyncConnection, batch: Batch) -> Batch:
    """Insert one; its number is given here."""
    done = await connection.execute(
        sa.insert(BATCHES).values(
            id=batch.id,
            app_id=batch.app_id,
            job_id=batch.job_id,
            form=batch.form,
            state=batch.state,
            created_ms=batch.created_ms,
            expires_ms=batch.expires_ms,
            asked=_json(batch.order),
            outcome=_json(batch.outcome),
        )
    )
    (number,) = done.inserted_primary_key or (0,)
    return replace(batch, number=number)


async def save(connection: AsyncConnection, batch: Batch) -> None:
    """Keep its state and what has become of it."""
    await connection.execute(
        sa.update(BATCHES)
        .where(_C.number == batch.number)
        .values(state=batch.state, outcome=_json(batch.outcome))
    )


async def get(connection: AsyncConnection, id: str, app_id: str | None = None) -> Batch | None:
    """The one of that id, if it is the application's."""
    query = sa.select(BATCHES).where(_C.id == id)
    if app_id is not None:
        query = query.where(_C.app_id == app_id)
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else _batch(row)


async def of_job(connection: AsyncConnection, job_id: str) -> Batch | None:
    """The one that a job works on."""
    row = (await connection.execute(sa.select(BATCHES).where(_C.job_id == job_id))).one_or_none()
    return None if row is None else _batch(row)


async def page(
    connection: AsyncConnection,
    app_id: str,
    form: Form | None,
    after: int | None,
    count: int,
    *,
    newest_first: bool,
) -> list[Batch]:
    """Up to `count` of an application's, behind that number."""
    query = sa.select(BATCHES).where(_C.app_id == app_id).limit(count)
    if form is not None:
        query = query.where(_C.form == form)
    if after is not None:
        query = query.where(_C.number < after if newest_first else _C.number > after)
    query = query.order_by(_C.number.desc() if newest_first else _C.number)
    return [_batch(row) for row in await connection.execute(query)]


async def in_states(connection: AsyncConnection, states: Sequence[State]) -> list[Batch]:
    """Everybody's in these states."""
    query = sa.select(BATCHES).where(_C.state.in_(states)).order_by(_C.number)
    return [_batch(row) for row in await connection.execute(query)]


async def count(connection: AsyncConnection, app_id: str, states: Sequence[State]) -> int:
    """How many of an application's are in these states."""
    query = sa.select(sa.func.count()).where(_C.app_id == app_id, _C.state.in_(states))
    return await connection.scalar(query) or 0


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _batch(row: sa.Row[Any]) -> Batch:
    return Batch(
        number=row.number,
        id=row.id,
        app_id=row.app_id,
        job_id=row.job_id,
        form=row.form,
        state=row.state,
        created_ms=row.created_ms,
        expires_ms=row.expires_ms,
        order=msgspec.json.decode(row.asked, type=Order),
        outcome=msgspec.json.decode(row.outcome, type=Outcome),
    )
