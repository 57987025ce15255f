"""One server for each database: whoever holds its lock serves from it, others are refused or stand by (decision 0019).

SQLite's file lies in a home folder, which has a lock of its own. On PostgreSQL it is an advisory lock of a session: the database gives
it back by itself as soon as that session ends, however the server behind it ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import sqlalchemy as sa
import structlog
from sqlalchemy.exc import SQLAlchemyError

from yangfan.errors import ConfigurationError
from yangfan.server.db import session_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

LOCK = 0x59616E68
"""Key of the advisory lock, beside that of writers in `yangfan.server.db`."""

GRACE_SECONDS = 2.0
"""For the session of a server that was just killed to be noticed as gone, before another is refused."""

POLL_SECONDS = 1.0
"""Between two tries of a server that stands by, and between two looks of the holder at its session."""

MAX_NAME_BYTES = 63
"""PostgreSQL cuts the name of a session here."""

_log = structlog.get_logger("yangfan.server")
_HOLDER = sa.text(
    "SELECT s.application_name FROM pg_locks l JOIN pg_stat_activity s USING (pid)"
    " WHERE l.locktype = 'advisory' AND l.granted AND l.objid = :key"
    " AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)


@asynccontextmanager
async def holding(
    url: str | None,
    *,
    standby: bool,
    lost: Callable[[], None],
    poll_seconds: float = POLL_SECONDS,
) -> AsyncGenerator[None]:
    """Be the server of a database during the block.

    Args:
        url: Of the PostgreSQL database; None where there is none, and nothing to do.
        standby: Wait for another server to end; otherwise its presence is an error.
        lost: Called if another server took over because this one's session broke.
        poll_seconds: Between two tries.

    Raises:
        ConfigurationError: Another server serves from it, or it cannot be reached.
    """
    if url is None:
        yield
        return
    name = f"yangfan on {socket.gethostname()}"[: MAX_NAME_BYTES - 20] + f", process {os.getpid()}"
    engine = session_of(url, name)
    try:
        held = [await _take(engine, standby=standby, poll_seconds=poll_seconds)]
        watching = asyncio.create_task(_watch(engine, held, lost, poll_seconds))
        try:
            yield
        finally:
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching
            for connection in held:
                await _close(connection)
    finally:
        await engine.dispose()


async def _take(engine: AsyncEngine, *, standby: bool, poll_seconds: float) -> AsyncConnection:
    told = False
    clock = asyncio.get_running_loop().time
    deadline = clock() + GRACE_SECONDS
    while True:
        connection = await _connected(engine)
        if await _has_taken(connection):
            return connection
        holder = (await connection.execute(_HOLDER, {"key": LOCK})).scalars().first()
        await connection.close()
        if not standby and clock() > deadline:
            raise ConfigurationError(
                f"another server ({holder or 'of another user'}) serves from this database, and two would run every service twice:"
                " stop that one, give this one a database of its own, or start it with --standby to take over when the other ends"
            )
        if standby and not told:
            _log.info("standing by", holder=holder)
            told = True
        await asyncio.sleep(poll_seconds)


async def _connected(engine: AsyncEngine) -> AsyncConnection:
    try:
        return await engine.connect()
    except (SQLAlchemyError, OSError) as error:
        reason = getattr(error, "orig", None) or error
        raise ConfigurationError(f"cannot use the database: {reason}") from None


async def _has_taken(connection: AsyncConnection) -> bool:
    return bool(await connection.scalar(sa.select(sa.func.pg_try_advisory_lock(LOCK))))


async def _watch(
    engine: AsyncEngine, held: list[AsyncConnection], lost: Callable[[], None], poll_seconds: float
) -> None:
    """Look whether the session is still there; take the lock anew where it broke, and give way to whoever was faster.

    `held` has the session that it is in now, or nothing; whoever started this closes it.
    """
    while True:
        await asyncio.sleep(poll_seconds)
        try:
            if held:
                await held[0].execute(sa.select(1))
                continue
            held.append(await engine.connect())
            if not await _has_taken(held[0]):
                _log.error("another server has taken over this database; this one ends")
                lost()
                return
            _log.warning("has the database again")
        except (SQLAlchemyError, OSError) as error:
            _log.warning("lost the session that holds the database", error=str(error)[:200])
            if held:
                await _close(held.pop())


async def _close(connection: AsyncConnection) -> None:
    """Close a session that may be broken."""
    with contextlib.suppress(SQLAlchemyError, OSError):
        await connection.close()
