"""The database: opening it safely, transactions, migrations.

SQLite, one process, one writer (architecture, section 6): writes begin IMMEDIATE so that a reader never turns writer halfway,
and WAL is used only where SQLite is free of the WAL-reset bug, which can lose commits.
"""

from __future__ import annotations

import sqlite3
from contextlib import asynccontextmanager, closing
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.event import listens_for
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from yangfan.errors import ConfigurationError, Overloaded

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

METADATA = sa.MetaData()
"""All slices' tables register here."""

_WAL_SAFE_SINCE = ((3, 51, 3), (3, 50, 7), (3, 44, 6))
"""First release with the fix, and the back-ports to older lines (https://www.sqlite.org/wal.html)."""

BUSY_TIMEOUT_MS = 10_000


def journal_mode(version: tuple[int, int, int] = sqlite3.sqlite_version_info) -> str:
    """WAL where it is safe, TRUNCATE otherwise."""
    newest, *backports = _WAL_SAFE_SINCE
    safe = version >= newest or any(
        version[:2] == fixed[:2] and version >= fixed for fixed in backports
    )
    return "WAL" if safe else "TRUNCATE"


class now_ms(FunctionElement[int]):  # noqa: N801 - reads as the SQL function that it is
    """Milliseconds since the epoch by the database's clock, the one clock that all processes share."""

    type = sa.BigInteger()
    inherit_cache = True


@compiles(now_ms, "sqlite")
def _now_ms_sqlite(_element: object, _compiler: object, **_: object) -> str:  # pyright: ignore[reportUnusedFunction] - registered by the decorator
    return "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)"


@compiles(now_ms, "postgresql")
def _now_ms_postgresql(_element: object, _compiler: object, **_: object) -> str:  # pyright: ignore[reportUnusedFunction] - registered by the decorator
    return "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)"


def insert_into(connection: AsyncConnection, table: sa.Table) -> sqlite.Insert:
    """An INSERT that knows ON CONFLICT, which both databases write alike and SQLAlchemy keeps in their dialects."""
    if connection.dialect.name == "postgresql":
        return postgresql.insert(table)  # pyright: ignore[reportReturnType] - the same methods under another name
    return sqlite.insert(table)


class Database:
    """One SQLite file.

    Args:
        path: The file; its folder must exist.
    """

    def __init__(self, path: Path) -> None:
        """Prepare the writer and the readers; nothing is opened before `migrate`."""
        self.path = path
        self._writer = _engine(path, writer=True)
        self._readers = _engine(path, writer=False)

    async def migrate(self) -> None:
        """Create or upgrade the schema to this release's.

        Raises:
            ConfigurationError: The file is no database, is newer than this release, or cannot be written.
        """
        try:
            _probe(self.path)
            async with self._writer.connect() as connection:
                await connection.run_sync(_upgrade)
                await connection.commit()
        except (DBAPIError, sqlite3.Error, OSError) as error:
            reason = error.orig if isinstance(error, DBAPIError) else error
            raise ConfigurationError(f"cannot use the database {self.path}: {reason}") from None

    @asynccontextmanager
    async def write(self) -> AsyncGenerator[AsyncConnection]:
        """A write transaction: committed at the end of the block, rolled back if it raises. One at a time.

        Raises:
            Overloaded: The disk is full.
        """
        try:
            async with self._writer.begin() as connection:
                yield connection
        except OperationalError as error:
            if "full" in str(error.orig):
                raise Overloaded(
                    f"the disk that holds {self.path.name} is full, so nothing was changed; free some space"
                ) from None
            raise

    async def check(self) -> None:
        """Take the write lock and give it back; raises whatever stands in the way."""
        async with self.write():
            pass

    @asynccontextmanager
    async def read(self) -> AsyncGenerator[AsyncConnection]:
        """A read-only transaction on one snapshot."""
        async with self._readers.begin() as connection:
            yield connection

    async def close(self) -> None:
        """Close every connection."""
        await self._writer.dispose()
        await self._readers.dispose()


def _probe(path: Path) -> None:
    """Open the file and read it: aiosqlite's thread outlives a connection that fails, and complains when the loop is closed."""
    with closing(sqlite3.connect(path, timeout=BUSY_TIMEOUT_MS / 1000)) as connection:
        connection.execute("PRAGMA schema_version").fetchone()


def _engine(path: Path, *, writer: bool) -> AsyncEngine:
    engine = create_async_engine(
        f"sqlite+aiosqlite:///{path}",
        pool_size=1 if writer else 4,
        max_overflow=0,
        pool_timeout=BUSY_TIMEOUT_MS / 1000,
        connect_args={"timeout": BUSY_TIMEOUT_MS / 1000},
    )

    @listens_for(engine.sync_engine, "connect")
    def configure(connection: Any, _record: object) -> None:  # pyright: ignore[reportUnusedFunction] - registered by the decorator
        # SQLAlchemy's driver begins transactions lazily and deferred; take that over.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
        cursor.execute("PRAGMA foreign_keys=ON")
        if writer:
            cursor.execute(f"PRAGMA journal_mode={journal_mode()}")
            cursor.execute("PRAGMA synchronous=FULL")
        else:
            cursor.execute("PRAGMA query_only=ON")
        cursor.close()

    @listens_for(engine.sync_engine, "begin")
    def begin(connection: sa.Connection) -> None:  # pyright: ignore[reportUnusedFunction] - registered by the decorator
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writer else "BEGIN DEFERRED")

    return engine


def _upgrade(connection: sa.Connection) -> None:
    from alembic.config import Config
    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", "yangfan.server:migrations")
    scripts = ScriptDirectory.from_config(config)
    known = {revision.revision for revision in scripts.walk_revisions()}

    def steps(current: Any, _context: MigrationContext) -> Any:
        if current and current not in known and not set(current) <= known:
            raise ConfigurationError(
                "the database was written by a newer release of yangfan; upgrade yangfan, or use another --home"
            )
        return scripts._upgrade_revs("head", current)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - alembic.command does the same; it has no public name

    context = MigrationContext.configure(connection, opts={"fn": steps, "script": scripts})
    from alembic.operations import Operations

    with Operations.context(context):
        context.run_migrations()
