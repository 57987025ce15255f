"""The database: opening it safely, transactions, migrations.

A file of SQLite's, one process, one writer (architecture, section 6): writes begin IMMEDIATE so that a reader never turns writer
halfway, and WAL is used only where SQLite is free of the WAL-reset bug, which can lose commits. Or a database of PostgreSQL's, for
several processes: there an advisory lock makes writes follow one another just so (docs/decisions/0016), so everybody may read and
then write within one transaction, and nobody else needs to know which of the two it is.
"""

from __future__ import annotations

import importlib.util
import sqlite3
from contextlib import asynccontextmanager, closing, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, BinaryIO

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.event import listens_for
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from yangfan.errors import ConfigurationError, Overloaded
from yangfan.server import rows

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator, Iterable
    from pathlib import Path

    from alembic.script import ScriptDirectory

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


@compiles(sa.Integer, "postgresql")
def _integer_postgresql(_element: object, _compiler: object, **_: object) -> str:  # pyright: ignore[reportUnusedFunction] - registered by the decorator
    return "BIGINT"  # SQLite's INTEGER has 64 bits, and milliseconds since the epoch need them


@compiles(sa.REAL, "postgresql")
def _real_postgresql(_element: object, _compiler: object, **_: object) -> str:  # pyright: ignore[reportUnusedFunction] - registered by the decorator
    return "DOUBLE PRECISION"  # SQLite's REAL


def insert_into(connection: AsyncConnection, table: sa.Table) -> sqlite.Insert:
    """An INSERT that knows ON CONFLICT, which both databases write alike and SQLAlchemy keeps in their dialects."""
    if connection.dialect.name == "postgresql":
        return postgresql.insert(table)  # pyright: ignore[reportReturnType] - the same methods under another name
    return sqlite.insert(table)


_WRITE_LOCK = 0x59616E67
"""Key of PostgreSQL's advisory lock that a writer holds until its transaction ends: "Yang" in ASCII."""

_POSTGRESQL_CONNECTIONS = 4
_POSTGRESQL_NAMES = frozenset({"postgresql", "postgres", "postgresql+asyncpg"})


class Database:
    """One file of SQLite's, or one database of PostgreSQL's.

    Args:
        target: The file, whose folder must exist; or a URL such as ``postgresql://USER:PASSWORD@HOST/NAME``.

    Raises:
        ConfigurationError: The URL is not one of PostgreSQL's, or its driver is not installed.

    Attributes:
        name: What messages call it; never a password.
    """

    def __init__(self, target: Path | str) -> None:
        """Prepare the writer and the readers; nothing is opened before `migrate`."""
        if isinstance(target, str):
            url = _postgresql_url(target)
            self.path = None
            self.name = url.set(drivername="postgresql").render_as_string(hide_password=True)
            self._writer = _postgresql_engine(url, writer=True)
            self._readers = _postgresql_engine(url, writer=False)
        else:
            self.path = target
            self.name = str(target)
            self._writer = _sqlite_engine(target, writer=True)
            self._readers = _sqlite_engine(target, writer=False)

    async def migrate(self, backups: Path | None = None) -> None:
        """Create or upgrade the schema to this release's; of several processes, one does it and the others wait.

        Args:
            backups: Folder for a copy of a database that is about to be upgraded.

        Raises:
            ConfigurationError: It is no database, cannot be reached or written, or is newer than this release.
        """
        with self._explained():
            if self.path is not None:
                _probe(self.path)
            async with self._writer.connect() as connection:
                await self._take_turn(connection)
                await connection.run_sync(self._back_up, backups)
                await connection.run_sync(_upgrade)
                await connection.commit()

    async def restore(self, revision: str, lines: Iterable[bytes]) -> int:
        """Make the schema of a revision in an empty database, put rows into it, and upgrade it; how many rows.

        Raises:
            ConfigurationError: It is not empty, cannot be used, or rows or revision are not of a release up to this one.
        """

        def fill(connection: sa.Connection) -> int:
            if sa.inspect(connection).get_table_names():
                raise ConfigurationError(
                    f"{self.name} is not empty; restore into an empty database"
                )
            if revision not in _known_revisions():
                raise ConfigurationError(_TOO_NEW)
            _upgrade(connection, revision)
            count = rows.load(connection, lines)
            _upgrade(connection)
            return count

        with self._explained():
            async with self._writer.connect() as connection:
                await self._take_turn(connection)
                count = await connection.run_sync(fill)
                await connection.commit()
        return count

    async def snapshot(self, out: BinaryIO) -> str:
        """Write all rows as they are at one moment, while others write; the revision of the schema.

        Raises:
            ConfigurationError: It cannot be read.
        """

        def copy(connection: sa.Connection) -> str:
            out.writelines(rows.dump(connection))
            return current_revision(connection) or ""

        with self._explained():
            if self.path is not None:
                _probe(self.path)
            async with self._readers.begin() as connection:
                return await connection.run_sync(copy)

    def _back_up(self, connection: sa.Connection, folder: Path | None) -> None:
        """Copy what is about to be upgraded; the last few copies are kept."""
        revision = current_revision(connection)
        if folder is None or revision is None or revision not in _known_revisions() - {_head()}:
            return
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        ending = "jsonl" if self.path is None else "db"
        path = folder / f"before-upgrade-{stamp}-{revision}.{ending}"
        partial = path.with_suffix(".partial")
        if self.path is None:
            with partial.open("wb") as file:
                file.writelines(rows.dump(connection))
        else:
            with (
                closing(sqlite3.connect(self.path)) as old,
                closing(sqlite3.connect(partial)) as new,
            ):
                old.backup(new)
        partial.replace(path)
        for outdated in sorted(folder.glob("before-upgrade-*"))[:-_BACKUPS_KEPT]:
            outdated.unlink()

    @contextmanager
    def _explained(self) -> Generator[None]:
        """Turn what the drivers raise into a sentence without a password."""
        try:
            yield
        except Exception as error:
            if not isinstance(error, DBAPIError | sqlite3.Error | OSError | _driver_errors()):
                raise
            reason = error.orig if isinstance(error, DBAPIError) else error
            raise ConfigurationError(f"cannot use the database {self.name}: {reason}") from None

    @asynccontextmanager
    async def write(self) -> AsyncGenerator[AsyncConnection]:
        """A write transaction: committed at the end of the block, rolled back if it raises. One at a time.

        Raises:
            Overloaded: The disk is full.
        """
        try:
            async with self._writer.begin() as connection:
                await self._take_turn(connection)
                yield connection
        except DBAPIError as error:
            if any(sign in str(error.orig) for sign in _DISK_FULL):
                name = self.name if self.path is None else self.path.name
                raise Overloaded(
                    f"the disk that holds {name} is full, so nothing was changed; free some space"
                ) from None
            raise

    async def about_postgresql(self) -> tuple[str, str | None]:
        """Version of the PostgreSQL behind it, and the version of pgvector that is or could be installed there, None for none.

        Raises:
            ConfigurationError: It cannot be reached.
        """
        vector = "SELECT coalesce(installed_version, default_version) FROM pg_available_extensions WHERE name = 'vector'"
        with self._explained():
            async with self._readers.begin() as connection:
                version = await connection.scalar(sa.text("SHOW server_version"))
                return str(version), await connection.scalar(sa.text(vector))

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

    async def _take_turn(self, connection: AsyncConnection) -> None:
        """Wait until no other writer is left; SQLite's BEGIN IMMEDIATE has done it already."""
        if self.path is None:
            await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_WRITE_LOCK)))


_DISK_FULL = ("disk is full", "No space left on device")


def _postgresql_url(text: str) -> sa.URL:
    try:
        url = sa.make_url(text)
    except (ArgumentError, ValueError):  # its text quotes the URL, password included
        raise ConfigurationError(_WRONG_URL) from None
    if url.drivername not in _POSTGRESQL_NAMES or not url.database:
        raise ConfigurationError(_WRONG_URL)
    if importlib.util.find_spec("asyncpg") is None:
        raise ConfigurationError(
            'PostgreSQL\'s driver is not installed here; type: pip install "yangfan[server,postgresql]"'
        )
    query = dict(url.query)
    if "sslmode" in query:
        query["ssl"] = query.pop("sslmode")  # libpq's word and the driver's
    return url.set(drivername="postgresql+asyncpg", query=query)


_WRONG_URL = (
    "settings: `database` must be a URL of PostgreSQL's, postgresql://USER:PASSWORD@HOST:PORT/NAME;"
    " leave it out to use a file in the home folder"
)


def _postgresql_engine(url: sa.URL, *, writer: bool) -> AsyncEngine:
    settings = {"application_name": "yangfan"}
    if not writer:
        settings |= {
            "default_transaction_read_only": "on",
            "default_transaction_isolation": "repeatable read",
        }
    return create_async_engine(
        url,
        pool_size=_POSTGRESQL_CONNECTIONS,
        max_overflow=0,
        pool_timeout=BUSY_TIMEOUT_MS / 1000,
        pool_pre_ping=True,  # a server that was restarted costs no call
        connect_args={"server_settings": settings, "timeout": BUSY_TIMEOUT_MS / 1000},
    )


def session_of(url: str, name: str) -> AsyncEngine:
    """Sessions of PostgreSQL's that last as long as their connection and commit each statement, for locks that belong to one.

    Args:
        url: As in the setting `database`.
        name: What `pg_stat_activity` calls them.

    Raises:
        ConfigurationError: The URL is not one of PostgreSQL's, or its driver is not installed.
    """
    return create_async_engine(
        _postgresql_url(url),
        poolclass=sa.NullPool,
        isolation_level="AUTOCOMMIT",
        connect_args={
            "server_settings": {"application_name": name},
            "timeout": BUSY_TIMEOUT_MS / 1000,
        },
    )


def _driver_errors() -> type[Exception]:
    """What the driver raises while it connects, before SQLAlchemy can wrap it."""
    try:
        import asyncpg  # pyright: ignore[reportMissingTypeStubs] - it has none
    except ImportError:
        return OSError
    return asyncpg.PostgresError


def _probe(path: Path) -> None:
    """Open the file and read it: aiosqlite's thread outlives a connection that fails, and complains when the loop is closed."""
    with closing(sqlite3.connect(path, timeout=BUSY_TIMEOUT_MS / 1000)) as connection:
        connection.execute("PRAGMA schema_version").fetchone()


def _sqlite_engine(path: Path, *, writer: bool) -> AsyncEngine:
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


_TOO_NEW = (
    "the database was written by a newer release of yangfan; upgrade yangfan, or use another --home"
)
_BACKUPS_KEPT = 3


def current_revision(connection: sa.Connection) -> str | None:
    """Where the schema of a database stands; None if it has none yet."""
    from alembic.migration import MigrationContext

    return MigrationContext.configure(connection).get_current_revision()


def _scripts() -> ScriptDirectory:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", "yangfan.server:migrations")
    return ScriptDirectory.from_config(config)


def _known_revisions() -> set[str]:
    return {revision.revision for revision in _scripts().walk_revisions()}


def _head() -> str:
    head = _scripts().get_current_head()
    assert head is not None, "there are migrations"
    return head


def _upgrade(connection: sa.Connection, target: str = "head") -> None:
    from alembic.migration import MigrationContext
    from alembic.operations import Operations

    scripts = _scripts()
    known = _known_revisions()

    def steps(current: Any, _context: MigrationContext) -> Any:
        if current and current not in known and not set(current) <= known:
            raise ConfigurationError(_TOO_NEW)
        return scripts._upgrade_revs(target, current)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - alembic.command does the same; it has no public name

    context = MigrationContext.configure(connection, opts={"fn": steps, "script": scripts})
    with Operations.context(context):
        context.run_migrations()
