"""Bridges in the database: SQL in, types out; keys only sealed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec
import sqlalchemy as sa

from yangfan.server.db import insert_into
from yangfan.server.plugins.tables import PLUGIN_BRIDGES
from yangfan.server.plugins.tools import Tool
from yangfan.server.plugins.types import Bridge

if TYPE_CHECKING:
    from yangfan.server.access import Vault
    from yangfan.server.db import Database

_B = PLUGIN_BRIDGES.c
_TOOLS = msgspec.json.Decoder(tuple[Tool, ...])
_TEXTS = msgspec.json.Decoder(tuple[str, ...])


class BridgeStore:
    """The rows of all bridges.

    Args:
        database: Where they live.
        vault: Seals the keys.
    """

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault

    async def add(self, bridge: Bridge) -> bool:
        """Insert one; False if its application has one of that id."""
        async with self._database.write() as connection:
            done = await connection.execute(
                insert_into(connection, PLUGIN_BRIDGES)
                .values(self._row(bridge))
                .on_conflict_do_nothing(index_elements=["app_id", "id"])
                .returning(_B.number)
            )
            return done.scalar() is not None

    async def all(self, app_id: str) -> list[Bridge]:
        """Those of an application, the oldest first."""
        statement = sa.select(PLUGIN_BRIDGES).where(_B.app_id == app_id).order_by(_B.number)
        async with self._database.read() as connection:
            return [self._bridge(row) for row in (await connection.execute(statement)).all()]

    async def get(self, app_id: str, bridge_id: str) -> Bridge | None:
        """One of an application's."""
        statement = sa.select(PLUGIN_BRIDGES).where(_B.app_id == app_id, _B.id == bridge_id)
        async with self._database.read() as connection:
            row = (await connection.execute(statement)).one_or_none()
        return None if row is None else self._bridge(row)

    async def replace(self, bridge: Bridge) -> None:
        """Write all of one anew."""
        async with self._database.write() as connection:
            await connection.execute(
                sa.update(PLUGIN_BRIDGES)
                .where(_B.app_id == bridge.app_id, _B.id == bridge.id)
                .values(self._row(bridge))
            )

    async def remove(self, app_id: str, bridge_id: str) -> None:
        """Delete one."""
        async with self._database.write() as connection:
            await connection.execute(
                sa.delete(PLUGIN_BRIDGES).where(_B.app_id == app_id, _B.id == bridge_id)
            )

    def _row(self, bridge: Bridge) -> dict[str, Any]:
        sealed = self._vault.seal(bridge.secret, _label(bridge)) if bridge.secret else None
        return {
            "app_id": bridge.app_id,
            "id": bridge.id,
            "kind": bridge.kind,
            "title": bridge.title,
            "description": bridge.description,
            "address": bridge.address,
            "source_url": bridge.source_url,
            "auth": bridge.auth,
            "auth_name": bridge.auth_name,
            "secret_sealed": sealed,
            "tools": msgspec.json.encode(bridge.tools).decode(),
            "left_out": msgspec.json.encode(bridge.left_out).decode(),
            "created_ms": bridge.created_ms,
            "read_ms": bridge.read_ms,
        }

    def _bridge(self, row: Any) -> Bridge:
        bridge = Bridge(
            id=row.id,
            app_id=row.app_id,
            kind=row.kind,
            title=row.title,
            description=row.description,
            address=row.address,
            source_url=row.source_url,
            auth=row.auth,
            auth_name=row.auth_name,
            secret="",
            tools=_TOOLS.decode(row.tools),
            left_out=_TEXTS.decode(row.left_out),
            created_ms=row.created_ms,
            read_ms=row.read_ms,
        )
        if row.secret_sealed is None:
            return bridge
        secret = self._vault.open(row.secret_sealed, _label(bridge))
        return replace(bridge, secret=secret)


def _label(bridge: Bridge) -> str:
    """What the seal is bound to: a key moved to another row does not open."""
    return f"bridge:{bridge.app_id}/{bridge.id}"
