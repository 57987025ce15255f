"""Plugin applications in the database: SQL in, types out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import sqlalchemy as sa

from yangfan.server.db import insert_into, now_ms
from yangfan.server.plugins.tables import PLUGIN_APPLICATIONS
from yangfan.server.plugins.types import Application

if TYPE_CHECKING:
    from yangfan.server.db import Database

_A = PLUGIN_APPLICATIONS.c
_TEXTS = msgspec.json.Decoder(tuple[str, ...])


class PluginStore:
    """The rows of all plugin applications.

    Args:
        database: Where they live.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, name: str, app_id: str, values: dict[str, Any]) -> bool:
        """Insert one; False if there is one of that name."""
        row = {"name": name, "app_id": app_id, "created_ms": now_ms(), **_encoded(values)}
        async with self._database.write() as connection:
            done = await connection.execute(
                insert_into(connection, PLUGIN_APPLICATIONS)
                .values(row)
                .on_conflict_do_nothing(index_elements=["name"])
                .returning(_A.number)
            )
            return done.scalar() is not None

    async def get(self, name: str) -> Application | None:
        """The one of that name."""
        async with self._database.read() as connection:
            row = (
                await connection.execute(sa.select(PLUGIN_APPLICATIONS).where(_A.name == name))
            ).one_or_none()
        return None if row is None else _application(row)

    async def all(self, app_id: str) -> list[Application]:
        """Those of an application, the oldest first."""
        statement = sa.select(PLUGIN_APPLICATIONS).where(_A.app_id == app_id).order_by(_A.number)
        async with self._database.read() as connection:
            return [_application(row) for row in (await connection.execute(statement)).all()]

    async def change(self, name: str, values: dict[str, Any]) -> None:
        """Set columns of one."""
        if values:
            async with self._database.write() as connection:
                await connection.execute(
                    sa.update(PLUGIN_APPLICATIONS).where(_A.name == name).values(_encoded(values))
                )

    async def remove(self, name: str) -> None:
        """Delete one."""
        async with self._database.write() as connection:
            await connection.execute(sa.delete(PLUGIN_APPLICATIONS).where(_A.name == name))


def _encoded(values: dict[str, Any]) -> dict[str, Any]:
    return {
        name: msgspec.json.encode(value).decode() if name in {"plugins", "base_ids"} else value
        for name, value in values.items()
    }


def _application(row: Any) -> Application:
    return Application(
        name=row.name,
        app_id=row.app_id,
        plugins=_TEXTS.decode(row.plugins),
        model=row.model,
        prompt=row.prompt,
        base_ids=_TEXTS.decode(row.base_ids),
        created_ms=row.created_ms,
        mode=row.mode,
        max_steps=row.max_steps,
        max_tokens=row.max_tokens,
        max_seconds=row.max_seconds,
    )
