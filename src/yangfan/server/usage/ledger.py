"""What was used, kept for good: counted in memory, written to the spool at once, folded into the database in the background."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec
import structlog
from sqlalchemy.exc import DBAPIError

from yangfan.errors import ConfigurationError, Overloaded
from yangfan.server.usage.types import Count, Counts, UsageKey, add_all

if TYPE_CHECKING:
    from collections.abc import Callable

    from yangfan.server.usage.spool import Spool
    from yangfan.server.usage.store import UsageStore

DAY_SECONDS = 86_400
FOLD_SECONDS = 5.0
"""Between two folds."""

SYNC_SECONDS = 1.0
"""Between two times that the disk is made to keep the spool: what power loss can cost at most."""

_FOLDS_PER_SYNC = round(FOLD_SECONDS / SYNC_SECONDS)
_log = structlog.get_logger("yangfan.usage")


class _Record(msgspec.Struct, array_like=True, frozen=True):
    """A record of the spool."""

    day: int
    key_id: str
    model: str
    requests: int
    prompt_tokens: int
    completion_tokens: int


class Ledger:
    """Every call that used a model, counted once and kept through kill -9.

    Args:
        store: The database's part.
        spool: Where records are safe until they are there.
        clock: Seconds since the epoch.

    Attributes:
        since_start: What was counted since the process started, by model.
        safe: Whether the last record reached the spool.
    """

    def __init__(
        self, store: UsageStore, spool: Spool, *, clock: Callable[[], float] = time.time
    ) -> None:
        """Begin with `start`."""
        self._store = store
        self._spool = spool
        self._clock = clock
        self._pending: Counts = {}
        self._folding: Counts = {}
        self._fold_lock = asyncio.Lock()
        self._fold_task: asyncio.Task[None] | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._encode = msgspec.json.Encoder().encode
        self.since_start: dict[str, Count] = {}
        self.safe = True

    @property
    def today(self) -> int:
        """The UTC day, in days since 1970-01-01."""
        return int(self._clock()) // DAY_SECONDS

    @property
    def pending(self) -> int:
        """Rows of usage that are in memory and the spool, and not yet in the database."""
        return len(self._pending) + len(self._folding)

    async def start(self) -> None:
        """Fold what an earlier process left in the spool, then take records.

        Raises:
            ConfigurationError: The spool's folder cannot be written.
        """
        folded = await self._store.folded()
        segments = self._spool.segments()
        left = [number for number in segments if number > folded]
        counts: Counts = {}
        for number in left:
            for text in self._spool.read(number):
                record = msgspec.json.decode(text, type=_Record)
                key = UsageKey(record.day, record.key_id, record.model)
                counts.setdefault(key, Count()).add(
                    record.requests, record.prompt_tokens, record.completion_tokens
                )
        last = max([folded, *left])
        if left:
            await self._store.fold(counts, last)
        try:
            self._spool.open(last + 1)
            self._spool.forget(last)
        except OSError as error:
            raise ConfigurationError(
                f"cannot write usage into {error.filename or 'the home folder'}: {error.strerror};"
                " make room, or let the server's user write there"
            ) from None
        self._keeper = asyncio.create_task(self._keep(), name="usage ledger")

    def record(
        self, key_id: str, model: str, requests: int, prompt_tokens: int, completion_tokens: int
    ) -> None:
        """Count a call, or more tokens of one; kept when it returns."""
        day = int(self._clock()) // DAY_SECONDS
        key = (day, key_id, model)
        count = self._pending.get(key)  # pyright: ignore[reportArgumentType] - equal to the UsageKey, made at a third of the cost
        if count is None:
            count = self._pending[UsageKey(*key)] = Count()
        count.requests += requests
        count.prompt_tokens += prompt_tokens
        count.completion_tokens += completion_tokens
        total = self.since_start.get(model)
        if total is None:
            total = self.since_start[model] = Count()
        total.prompt_tokens += prompt_tokens
        total.completion_tokens += completion_tokens
        try:
            self._spool.append(
                self._encode((day, key_id, model, requests, prompt_tokens, completion_tokens))
            )
            self.safe = True
        except OSError as error:
            self.safe = False
            # The count in memory still goes to the database, if that has room.
            _log.error("usage is not safe from a crash now", error=error.strerror)

    async def fold(self) -> None:
        """Move what was counted so far into the database, exactly once whatever fails in between."""
        # A caller that leaves must not stop it half way: whether the database has committed would be unknown.
        self._fold_task = asyncio.create_task(self._fold())
        await asyncio.shield(self._fold_task)

    async def _fold(self) -> None:
        async with self._fold_lock:
            if not self._pending:
                return
            through = self._spool.rotate()
            self._folding, self._pending = self._pending, {}
            try:
                await self._store.fold(self._folding, through)
            except Exception:
                if await self._store.folded() < through:
                    add_all(self._folding, self._pending)
                    self._pending, self._folding = self._folding, {}
                    raise
            self._folding = {}
            self._spool.forget(through)

    async def counts(
        self, first_day: int, last_day: int, key_id: str | None = None, model: str | None = None
    ) -> Counts:
        """What was used from `first_day` to `last_day`, both included, up to this moment."""
        await self.fold()
        return await self._store.counts(first_day, last_day, key_id, model)

    async def tokens_by_key(self, since_day: int) -> dict[str, int]:
        """Tokens of every key since a day."""
        await self.fold()
        return await self._store.tokens_by_key(since_day)

    async def stop(self) -> None:
        """Fold the rest and close the spool."""
        if self._keeper is None:
            return
        async with self._fold_lock:
            self._keeper.cancel()
        with suppress(asyncio.CancelledError):
            await self._keeper
        await self._try_fold()
        self._spool.close()

    async def _keep(self) -> None:
        turn = 0
        while True:
            await asyncio.sleep(SYNC_SECONDS)
            turn += 1
            async with self._fold_lock:
                await asyncio.to_thread(self._spool.sync)
            if turn % _FOLDS_PER_SYNC == 0:
                await self._try_fold()

    async def _try_fold(self) -> None:
        try:
            await self.fold()
        except (OSError, DBAPIError, Overloaded) as error:
            _log.error("usage stays in the spool for now", error=str(error))
