"""Usage in the database: SQL in, types out."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import sqlalchemy as sa

from yangfan.server.db import insert_into
from yangfan.server.usage.tables import FOLDED, USAGE
from yangfan.server.usage.types import Count, Counts, UsageKey

if TYPE_CHECKING:
    from yangfan.server.db import Database

_COUNTS = ("requests", "prompt_tokens", "completion_tokens")


class UsageStore:
    """The rows of `usage`.

    Args:
        database: Where they are.
        spool: Name of the spool that is folded into them, among those of other servers with the same database.
    """

    def __init__(self, database: Database, spool: str = "") -> None:
        self._database = database
        self._spool = spool

    async def folded(self) -> int:
        """Number of the last spool segment whose records are in the table; 0 for none."""
        # Before there were names, there was one spool without.
        query = sa.select(sa.func.max(FOLDED.c.segment)).where(
            FOLDED.c.spool.in_((self._spool, ""))
        )
        async with self._database.read() as connection:
            return await connection.scalar(query) or 0

    async def fold(self, counts: Counts, segment: int) -> None:
        """Add `counts` and note that they are all up to spool segment `segment`, in one transaction."""
        rows = [{**key._asdict(), **asdict(count)} for key, count in counts.items()]
        async with self._database.write() as connection:
            add = insert_into(connection, USAGE)
            add = add.on_conflict_do_update(
                index_elements=["day", "key_id", "model"],
                set_={name: USAGE.c[name] + add.excluded[name] for name in _COUNTS},
            )
            note = insert_into(connection, FOLDED).values(spool=self._spool, segment=segment)
            note = note.on_conflict_do_update(index_elements=["spool"], set_={"segment": segment})
            if rows:
                await connection.execute(add, rows)
            await connection.execute(note)

    async def counts(
        self, first_day: int, last_day: int, key_id: str | None, model: str | None
    ) -> Counts:
        """What was used from `first_day` to `last_day`, both included."""
        query = sa.select(USAGE).where(USAGE.c.day.between(first_day, last_day))
        if key_id is not None:
            query = query.where(USAGE.c.key_id == key_id)
        if model is not None:
            query = query.where(USAGE.c.model == model)
        async with self._database.read() as connection:
            rows = await connection.execute(query)
            return {
                UsageKey(row.day, row.key_id, row.model): Count(
                    row.requests, row.prompt_tokens, row.completion_tokens
                )
                for row in rows
            }

    async def tokens_by_key(self, since_day: int) -> dict[str, int]:
        """Tokens of every key since a day."""
        total = sa.func.sum(USAGE.c.prompt_tokens + USAGE.c.completion_tokens)
        query = (
            sa.select(USAGE.c.key_id, total)
            .where(USAGE.c.day >= since_day)
            .group_by(USAGE.c.key_id)
        )
        async with self._database.read() as connection:
            return {row[0]: int(row[1]) for row in await connection.execute(query)}
