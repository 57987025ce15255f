"""Capacity in the database: SQL in, types out."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import sqlalchemy as sa

from yangfan.server.charge.tables import COMPUTE_UNITS, TPM_RESOURCES
from yangfan.server.charge.types import Capacity, ComputeUnits
from yangfan.server.db import insert_into

if TYPE_CHECKING:
    from yangfan.server.db import Database


class ChargeStore:
    """The rows of `tpm_resources`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> list[Capacity]:
        """Every capacity, oldest first."""
        query = sa.select(TPM_RESOURCES).order_by(TPM_RESOURCES.c.started_ms, TPM_RESOURCES.c.id)
        async with self._database.read() as connection:
            return [Capacity(*row) for row in await connection.execute(query)]

    async def put(self, capacity: Capacity) -> None:
        """Insert it, or replace what has its id."""
        values = asdict(capacity)
        async with self._database.write() as connection:
            statement = insert_into(connection, TPM_RESOURCES).values(values)
            statement = statement.on_conflict_do_update(index_elements=["id"], set_=values)
            await connection.execute(statement)

    async def remove(self, ids: list[str]) -> None:
        """Delete these."""
        async with self._database.write() as connection:
            await connection.execute(sa.delete(TPM_RESOURCES).where(TPM_RESOURCES.c.id.in_(ids)))


class UnitStore:
    """The rows of `compute_units`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> list[ComputeUnits]:
        """All of them, oldest first."""
        query = sa.select(COMPUTE_UNITS).order_by(COMPUTE_UNITS.c.started_ms, COMPUTE_UNITS.c.id)
        async with self._database.read() as connection:
            return [ComputeUnits(*row) for row in await connection.execute(query)]

    async def put(self, units: ComputeUnits) -> None:
        """Insert them, or replace what has their id."""
        values = asdict(units)
        async with self._database.write() as connection:
            statement = insert_into(connection, COMPUTE_UNITS).values(values)
            statement = statement.on_conflict_do_update(index_elements=["id"], set_=values)
            await connection.execute(statement)

    async def forget(self, before_ms: int) -> None:
        """Delete what was released before that time, ms since the epoch."""
        statement = sa.delete(COMPUTE_UNITS).where(
            COMPUTE_UNITS.c.status == "Released", COMPUTE_UNITS.c.release_ms < before_ms
        )
        async with self._database.write() as connection:
            await connection.execute(statement)
