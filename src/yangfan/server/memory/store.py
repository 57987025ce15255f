"""Memories in the database: SQL in, types out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import sqlalchemy as sa

from yangfan.server.memory.tables import MEMORIES
from yangfan.server.memory.types import Kind, Pair, Record

if TYPE_CHECKING:
    from collections.abc import Callable

    from yangfan.server.db import Database

_PAIRS = msgspec.json.Decoder(tuple[Pair, ...])
_C = MEMORIES.c


class MemoryStore:
    """The rows of `memories`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, memory_id: str, kind: Kind, app_id: str, description: str) -> None:
        """Insert an empty one."""
        values = {
            "id": memory_id,
            "kind": kind,
            "app_id": app_id,
            "description": description,
            "pairs": "[]",
        }
        async with self._database.write() as connection:
            await connection.execute(sa.insert(MEMORIES).values(values))

    async def get(self, memory_id: str) -> Record | None:
        """The one of that id."""
        async with self._database.read() as connection:
            found = await connection.execute(sa.select(MEMORIES).where(_C.id == memory_id))
            row = found.one_or_none()
        return None if row is None else _record(row)

    async def page(
        self,
        kind: Kind,
        app_id: str | None,
        first_id: str | None,
        count: int,
        *,
        newest_first: bool,
    ) -> list[Record]:
        """Up to `count`, from that id on; none if there is no such id."""
        query = sa.select(MEMORIES).where(_C.kind == kind).limit(count)
        if app_id is not None:
            query = query.where(_C.app_id == app_id)
        if first_id is not None:
            at = sa.select(_C.number).where(_C.id == first_id).scalar_subquery()
            query = query.where(_C.number <= at if newest_first else _C.number >= at)
        query = query.order_by(_C.number.desc() if newest_first else _C.number)
        async with self._database.read() as connection:
            return [_record(row) for row in await connection.execute(query)]

    async def change(self, memory_id: str, new_pairs: Callable[[Record], tuple[Pair, ...]]) -> bool:
        """Replace its pairs by what the function makes of them, in one transaction; False if there is none of that id."""
        async with self._database.write() as connection:
            found = await connection.execute(sa.select(MEMORIES).where(_C.id == memory_id))
            row = found.one_or_none()
            if row is None:
                return False
            text = msgspec.json.encode(new_pairs(_record(row))).decode()
            await connection.execute(
                sa.update(MEMORIES).where(_C.id == memory_id).values(pairs=text)
            )
        return True

    async def remove(self, memory_id: str) -> None:
        """Delete it."""
        async with self._database.write() as connection:
            await connection.execute(sa.delete(MEMORIES).where(_C.id == memory_id))


def _record(row: sa.Row[Any]) -> Record:
    values: dict[str, Any] = dict(zip(MEMORIES.columns.keys(), row, strict=True))
    pairs = _PAIRS.decode(values.pop("pairs"))
    return Record(**values, pairs=pairs)
