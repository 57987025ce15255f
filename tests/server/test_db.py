"""The database: opened safely, migrated once, never guessed about."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError, OperationalError

from yangfan.errors import ConfigurationError, Overloaded
from yangfan.server.access.tables import KEYS
from yangfan.server.db import Database, journal_mode


@pytest.mark.parametrize(
    ("version", "mode"),
    [
        ((3, 40, 1), "TRUNCATE"),
        ((3, 44, 5), "TRUNCATE"),
        ((3, 44, 6), "WAL"),
        ((3, 44, 9), "WAL"),
        ((3, 45, 0), "TRUNCATE"),
        ((3, 46, 1), "TRUNCATE"),
        ((3, 50, 6), "TRUNCATE"),
        ((3, 50, 7), "WAL"),
        ((3, 51, 0), "TRUNCATE"),
        ((3, 51, 2), "TRUNCATE"),
        ((3, 51, 3), "WAL"),
        ((3, 52, 0), "WAL"),
        ((4, 0, 0), "WAL"),
    ],
)
def test_wal_only_where_sqlite_has_the_fix(version: tuple[int, int, int], mode: str):
    assert journal_mode(version) == mode


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "yangfan.db"


@pytest.fixture
async def database(path: Path) -> AsyncGenerator[Database]:
    database = Database(path)
    await database.migrate()
    yield database
    await database.close()


def row(key_id: str) -> dict[str, object]:
    return {
        "id": key_id,
        "kind": "bearer",
        "app_id": "a",
        "secret_hash": b"h",
        "created_ms": 1,
    }


async def count(database: Database) -> int:
    async with database.read() as connection:
        found = await connection.execute(sa.select(sa.func.count()).select_from(KEYS))
        return found.scalar_one()


async def test_journal_mode_is_the_rules(database: Database, path: Path):
    with sqlite3.connect(path) as connection:
        (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    connection.close()
    expected = {"WAL": "wal", "TRUNCATE": "delete"}[journal_mode()]
    assert mode == expected, "truncate is a connection's own choice; the file only remembers wal"


async def test_writers_are_durable_and_readers_read_only(database: Database):
    async with database.write() as connection:
        mode = (await connection.exec_driver_sql("PRAGMA journal_mode")).scalar_one()
        assert mode == journal_mode().lower()
        assert (await connection.exec_driver_sql("PRAGMA synchronous")).scalar_one() == 2
        assert (await connection.exec_driver_sql("PRAGMA foreign_keys")).scalar_one() == 1
    async with database.read() as connection:
        with pytest.raises(OperationalError, match="readonly database"):
            await connection.execute(sa.insert(KEYS).values(row("x")))


async def test_block_that_raises_writes_nothing(database: Database):
    async def fail() -> None:
        async with database.write() as connection:
            await connection.execute(sa.insert(KEYS).values(row("x")))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()
    assert await count(database) == 0


async def test_writes_side_by_side_wait_for_each_other(database: Database):
    async def write(number: int) -> None:
        async with database.write() as connection:
            found = await connection.execute(sa.select(sa.func.count()).select_from(KEYS))
            await asyncio.sleep(0)
            await connection.execute(sa.insert(KEYS).values(row(f"{found.scalar_one()}")))
        del number

    await asyncio.gather(*map(write, range(20)))
    assert await count(database) == 20


@pytest.mark.parametrize(
    ("column", "value", "says"),
    [
        ("created_ms", "now", "cannot store TEXT value in INTEGER"),
        ("kind", "other", "keys_kind"),
        ("secret_hash", None, "NOT NULL"),
    ],
)
async def test_table_is_strict(database: Database, column: str, value: object, says: str):
    insert = (
        "INSERT INTO keys (id, kind, app_id, secret_hash, created_ms)"
        " VALUES (:id, :kind, :app_id, :secret_hash, :created_ms)"
    )
    async with database.write() as connection:
        with pytest.raises(IntegrityError, match=says):
            await connection.exec_driver_sql(insert, {**row("x"), column: value})


async def test_migrating_again_changes_nothing(database: Database, path: Path):
    async with database.write() as connection:
        await connection.execute(sa.insert(KEYS).values(row("kept")))
    again = Database(path)
    await again.migrate()
    assert await count(again) == 1
    await again.close()


async def test_migrated_schema_is_the_declared_one(database: Database):
    def columns(connection: sa.Connection) -> dict[str, tuple[str, bool]]:
        found = sa.inspect(connection).get_columns("keys")
        return {column["name"]: (str(column["type"]), column["nullable"]) for column in found}

    async with database.read() as connection:
        found = await connection.run_sync(columns)
    declared = {column.name: column for column in KEYS.columns}
    assert list(found) == list(declared)
    for name, (kind, nullable) in found.items():
        assert nullable == declared[name].nullable, name
        wanted = declared[name].type.compile(dialect=sa.create_engine("sqlite://").dialect)
        assert kind == wanted, name


async def refused(path: Path) -> str:
    database = Database(path)
    try:
        with pytest.raises(ConfigurationError) as raised:
            await database.migrate()
    finally:
        await database.close()
    return raised.value.message


async def test_database_of_a_newer_release_is_left_alone(path: Path):
    database = Database(path)
    await database.migrate()
    await database.close()
    connection = sqlite3.connect(path)
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()
    assert "written by a newer release of yangfan; upgrade yangfan, or use another --home" in (
        await refused(path)
    )
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == ("9999",)
    connection.close()


async def test_file_that_is_no_database_is_left_alone(path: Path):
    path.write_bytes(b"dear diary" * 1000)  # noqa: ASYNC240 - a small file
    message = await refused(path)
    assert message == f"cannot use the database {path}: file is not a database"
    assert path.read_bytes() == b"dear diary" * 1000  # noqa: ASYNC240 - a small file


async def test_folder_in_its_place_or_missing_folder_is_told(path: Path, tmp_path: Path):
    path.mkdir()  # noqa: ASYNC240 - a test
    assert f"cannot use the database {path}: unable to open" in await refused(path)
    elsewhere = tmp_path / "no" / "yangfan.db"
    assert f"cannot use the database {elsewhere}: unable to open" in await refused(elsewhere)


async def test_full_disk_changes_nothing_and_says_so(tmp_path: Path):
    database = Database(tmp_path / "yangfan.db")
    await database.migrate()
    async with database.write() as connection:
        await connection.exec_driver_sql("CREATE TABLE fill (data BLOB)")
    async with database.write() as connection:
        pages = (await connection.exec_driver_sql("PRAGMA page_count")).scalar_one()
        await connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
    with pytest.raises(Overloaded, match=r"disk that holds yangfan\.db is full"):
        async with database.write() as connection:
            await connection.exec_driver_sql("INSERT INTO fill VALUES (zeroblob(100000))")
    async with database.read() as connection:
        assert (await connection.exec_driver_sql("SELECT count(*) FROM fill")).scalar_one() == 0
    await database.close()
