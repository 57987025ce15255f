"""The database on a real PostgreSQL: the same promises as the file's, and its own ways to be wrong."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncGenerator

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from tests.postgresql import PostgreSQL

from yangfan.errors import ConfigurationError
from yangfan.server.access.tables import KEYS
from yangfan.server.db import METADATA, Database, now_ms

SECRET = "canary-7f3a9c"


@pytest.fixture
def url(postgresql: PostgreSQL) -> str:
    return postgresql.new()


@pytest.fixture
async def database(url: str) -> AsyncGenerator[Database]:
    database = Database(url)
    await database.migrate()
    yield database
    await database.close()


def key(number: int) -> dict[str, object]:
    return {
        "id": str(number),
        "kind": "bearer",
        "app_id": "a",
        "secret_hash": b"h",
        "created_ms": 1_800_000_000_000,
    }


async def test_the_schema_is_the_declared_one(database: Database):
    importlib.import_module("yangfan.server.app")  # every slice declares its tables

    def tables(connection: sa.Connection) -> dict[str, dict[str, tuple[str, bool]]]:
        found = sa.inspect(connection)
        return {
            table: {
                column["name"]: (str(column["type"]), column["nullable"])
                for column in found.get_columns(table)
            }
            for table in found.get_table_names()
        }

    async with database.read() as connection:
        found = await connection.run_sync(tables)
    kinds = {
        "TEXT": "TEXT",
        "INTEGER": "BIGINT",
        "REAL": "DOUBLE PRECISION",
        "BLOB": "BYTEA",
    }
    assert set(found) - {"alembic_version"} == set(METADATA.tables)
    for name, table in METADATA.tables.items():
        assert list(found[name]) == [column.name for column in table.columns], name
        for column in table.columns:
            kind, nullable = found[name][column.name]
            declared = column.type.compile(dialect=sa.create_engine("sqlite://").dialect)
            serial = column is table.autoincrement_column and column.autoincrement
            assert kind == ("INTEGER" if serial is True else kinds[declared]), (name, column.name)
            assert nullable == column.nullable, (name, column.name)


async def test_processes_that_start_together_migrate_once(url: str):
    databases = [Database(url) for _ in range(4)]
    await asyncio.gather(*(database.migrate() for database in databases))
    async with databases[0].read() as connection:
        found = await connection.execute(sa.text("SELECT version_num FROM alembic_version"))
        assert len(found.all()) == 1
    for database in databases:
        await database.close()


async def test_writers_of_two_processes_wait_for_each_other(database: Database, url: str):
    other = Database(url)

    async def add(database: Database) -> None:
        async with database.write() as connection:
            found = await connection.execute(sa.select(sa.func.count()).select_from(KEYS))
            await asyncio.sleep(0)
            await connection.execute(sa.insert(KEYS).values(key(found.scalar_one())))

    await asyncio.gather(*(add(each) for _ in range(10) for each in (database, other)))
    async with database.read() as connection:
        found = await connection.execute(sa.select(sa.func.count()).select_from(KEYS))
        assert found.scalar_one() == 20
    await other.close()


async def test_readers_write_nothing_and_see_one_snapshot(database: Database):
    async with database.read() as connection:
        count = sa.select(sa.func.count()).select_from(KEYS)
        assert (await connection.execute(count)).scalar_one() == 0
        async with database.write() as writer:
            await writer.execute(sa.insert(KEYS).values(key(1)))
        assert (await connection.execute(count)).scalar_one() == 0
        with pytest.raises(DBAPIError, match="read-only transaction"):
            await connection.execute(sa.insert(KEYS).values(key(2)))


async def test_the_clock_is_the_databases(database: Database):
    async with database.write() as connection:
        first = (await connection.execute(sa.select(now_ms()))).scalar_one()
        await connection.execute(sa.text("SELECT pg_sleep(0.01)"))
        second = (await connection.execute(sa.select(now_ms()))).scalar_one()
    assert second >= first + 10, "not the time at which the transaction began"


@pytest.mark.parametrize(
    "url",
    [
        f"mysql://u:{SECRET}@h/n",
        f"postgresql://u:{SECRET}@h",
        f"postgresql://u:{SECRET}@h:port/n",
        f"{SECRET}",
    ],
)
def test_an_address_that_is_none_is_told_without_its_password(url: str):
    with pytest.raises(ConfigurationError) as raised:
        Database(url)
    assert "postgresql://USER:PASSWORD@HOST:PORT/NAME" in raised.value.message
    assert SECRET not in raised.value.message


async def test_a_server_that_is_not_there_is_told_without_its_password():
    database = Database(f"postgresql://u:{SECRET}@127.0.0.1:1/n")
    with pytest.raises(ConfigurationError) as raised:
        await database.migrate()
    await database.close()
    assert raised.value.message.startswith(
        "cannot use the database postgresql://u:***@127.0.0.1:1/n: "
    )
    assert SECRET not in raised.value.message + repr(database)


async def test_a_database_that_is_not_there_is_told(url: str):
    database = Database(url.replace("/test_", "/none_"))
    with pytest.raises(ConfigurationError, match=r'database "none_[0-9]+" does not exist'):
        await database.migrate()
    await database.close()
