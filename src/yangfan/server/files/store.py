"""Files in the database: SQL in, types out. Their content is on disk."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from yangfan.server.files.tables import FILES
from yangfan.server.files.types import StoredFile

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from yangfan.server.db import Database
    from yangfan.server.files.types import Adopted

_C = FILES.c


class FileStore:
    """The rows of `files`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(
        self,
        file_id: str,
        app_id: str,
        adopted: Adopted,
        *,
        expires_seconds: int = 0,
        quota_bytes: int = 0,
        connection: AsyncConnection | None = None,
    ) -> StoredFile | None:
        """Insert one, in a transaction of the caller's if there is one; None if the application's files would be too much."""
        if connection is None:
            async with self._database.write() as own:
                return await self.add(
                    file_id,
                    app_id,
                    adopted,
                    expires_seconds=expires_seconds,
                    quota_bytes=quota_bytes,
                    connection=own,
                )
        now = time.time_ns() // 1_000_000
        if quota_bytes:
            total = sa.select(sa.func.sum(_C.size_bytes)).where(_C.app_id == app_id)
            used = int(await connection.scalar(total) or 0)
            if used + adopted.size_bytes > quota_bytes:
                return None
        values: dict[str, Any] = {
            "id": file_id,
            "app_id": app_id,
            "name": adopted.name,
            "purpose": adopted.purpose,
            "size_bytes": adopted.size_bytes,
            "sha256": adopted.sha256,
            "created_ms": now,
            "expires_ms": now + 1000 * expires_seconds if expires_seconds else None,
        }
        done = await connection.execute(sa.insert(FILES).values(values))
        (number,) = done.inserted_primary_key or (0,)
        return StoredFile(number=number, **values)

    async def expired(self) -> list[StoredFile]:
        """Those whose time is over."""
        query = sa.select(FILES).where(_C.expires_ms <= time.time_ns() // 1_000_000)
        async with self._database.read() as connection:
            return [_file(row) for row in await connection.execute(query)]

    async def get(self, file_id: str, app_id: str) -> StoredFile | None:
        """An application's file of that id."""
        query = sa.select(FILES).where(_C.id == file_id, _C.app_id == app_id, _not_over())
        async with self._database.read() as connection:
            row = (await connection.execute(query)).one_or_none()
        return None if row is None else _file(row)

    async def page(
        self,
        app_id: str,
        purpose: str | None,
        after: int | None,
        count: int,
        *,
        newest_first: bool,
    ) -> list[StoredFile]:
        """Up to `count` of an application's, behind that number."""
        query = sa.select(FILES).where(_C.app_id == app_id, _not_over()).limit(count)
        if purpose is not None:
            query = query.where(_C.purpose == purpose)
        if after is not None:
            query = query.where(_C.number < after if newest_first else _C.number > after)
        query = query.order_by(_C.number.desc() if newest_first else _C.number)
        async with self._database.read() as connection:
            return [_file(row) for row in await connection.execute(query)]

    async def remove(self, file: StoredFile) -> bool:
        """Delete one; whether nobody else has a file that holds the same."""
        async with self._database.write() as connection:
            await connection.execute(sa.delete(FILES).where(_C.number == file.number))
            left = sa.select(_C.number).where(_C.sha256 == file.sha256).limit(1)
            return (await connection.execute(left)).one_or_none() is None

    async def contents(self) -> set[str]:
        """The hash of everything that some file holds."""
        async with self._database.read() as connection:
            found = await connection.execute(sa.select(_C.sha256).distinct())
            return set(found.scalars())


def _not_over() -> sa.ColumnElement[bool]:
    return sa.or_(_C.expires_ms.is_(None), _C.expires_ms > time.time_ns() // 1_000_000)


def _file(row: sa.Row[Any]) -> StoredFile:
    return StoredFile(**dict(zip(FILES.columns.keys(), row, strict=True)))
