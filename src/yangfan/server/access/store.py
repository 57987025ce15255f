"""Keys in the database: SQL in, types out."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from yangfan.server.access.tables import APPS, KEYS
from yangfan.server.access.types import App, Key
from yangfan.server.usage import Limits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from yangfan.server.db import Database


class KeyStore:
    """The rows of `keys` and `apps`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> list[Key]:
        """Every key, oldest first."""
        async with self._database.read() as connection:
            rows = await connection.execute(sa.select(KEYS).order_by(KEYS.c.number))
            return [_key(row) for row in rows]

    async def apps(self) -> list[App]:
        """Every application that is not deleted, oldest first."""
        query = (
            sa.select(APPS.c.id, APPS.c.name, APPS.c.builtin, APPS.c.created_ms)
            .where(APPS.c.deleted_ms.is_(None))
            .order_by(APPS.c.created_ms, APPS.c.id)
        )
        async with self._database.read() as connection:
            rows = await connection.execute(query)
            return [App(row.id, row.name, bool(row.builtin), row.created_ms) for row in rows]

    async def add(self, keys: Sequence[Key], app: App | None = None) -> list[Key]:
        """Insert keys, and their application if it is new, in one transaction; their `number` is replaced by the database's."""
        stored: list[Key] = []
        async with self._database.write() as connection:
            if app is not None:
                values = {**asdict(app), "builtin": int(app.builtin)}
                await connection.execute(sa.insert(APPS).values(values))
            for key in keys:
                row = (
                    await connection.execute(sa.insert(KEYS).values(_values(key)).returning(KEYS))
                ).one()
                stored.append(_key(row))
        return stored

    async def delete_app(self, app_id: str, now_ms: int) -> list[Key]:
        """Mark an application deleted and its keys revoked in one transaction; its keys as they are now."""
        async with self._database.write() as connection:
            await connection.execute(
                sa.update(APPS).where(APPS.c.id == app_id).values(deleted_ms=now_ms)
            )
            await connection.execute(
                sa.update(KEYS)
                .where(KEYS.c.app_id == app_id, KEYS.c.revoked_ms.is_(None))
                .values(revoked_ms=now_ms)
            )
            rows = await connection.execute(sa.select(KEYS).where(KEYS.c.app_id == app_id))
            return [_key(row) for row in rows]

    async def revoke(self, key_id: str, now_ms: int) -> Key | None:
        """Mark a key revoked, once and for good; the key as it is now, or None if there is none."""
        async with self._database.write() as connection:
            await connection.execute(
                sa.update(KEYS)
                .where(KEYS.c.id == key_id, KEYS.c.revoked_ms.is_(None))
                .values(revoked_ms=now_ms)
            )
            row = (
                await connection.execute(sa.select(KEYS).where(KEYS.c.id == key_id))
            ).one_or_none()
            return None if row is None else _key(row)


def _values(key: Key) -> dict[str, Any]:
    """The row of a key that has none yet."""
    values = asdict(key)
    del values["number"]
    limits = values.pop("limits")
    models = limits["models"]
    limits["models"] = None if models is None else json.dumps(sorted(models), ensure_ascii=False)
    return {**values, **limits, "builtin": int(key.builtin), "lenient": int(key.lenient)}


def _key(row: sa.Row[Any]) -> Key:
    values: dict[str, Any] = dict(zip(KEYS.columns.keys(), row, strict=True))
    limits = {field.name: values.pop(field.name) for field in fields(Limits)}
    if limits["models"] is not None:
        limits["models"] = frozenset(json.loads(limits["models"]))
    values["builtin"], values["lenient"] = bool(values["builtin"]), bool(values["lenient"])
    return Key(**values, limits=Limits(**limits))
