"""Who may generate now: callers take a share of the engine's memory before they start, first come, first served."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


class Admission:
    """A pool of tokens and a number of slots, shared by requests that each hold some of both while they run.

    Strictly first in, first out: a large request at the head of the queue is never overtaken, so it is never starved.

    Attributes:
        free_tokens: Tokens of the pool that nobody holds.
        free_slots: Slots that nobody holds.
    """

    def __init__(self, *, tokens: int, slots: int) -> None:
        """Everything is free."""
        self._tokens = self.free_tokens = tokens
        self._slots = self.free_slots = slots
        self._queue: deque[tuple[int, int, asyncio.Future[None]]] = deque()

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return len(self._queue)

    @contextlib.asynccontextmanager
    async def hold(self, *, tokens: int, slots: int = 1) -> AsyncGenerator[None]:
        """Wait for `tokens` and `slots` to be free, and hold them inside the `async with`.

        More than there is in all counts as all: such a request runs alone.
        """
        tokens, slots = min(tokens, self._tokens), min(slots, self._slots)
        await self._take(tokens, slots)
        try:
            yield
        finally:
            self._give_back(tokens, slots)

    async def _take(self, tokens: int, slots: int) -> None:
        if not self._queue and self._fits(tokens, slots):
            self._grant(tokens, slots)
            return
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append((tokens, slots, granted))
        try:
            await granted
        except asyncio.CancelledError:
            if granted.cancelled():
                self._admit()  # the one who left may have been the one in the way
            else:  # granted and cancelled in the same turn of the loop
                self._give_back(tokens, slots)
            raise

    def _fits(self, tokens: int, slots: int) -> bool:
        return tokens <= self.free_tokens and slots <= self.free_slots

    def _grant(self, tokens: int, slots: int) -> None:
        self.free_tokens -= tokens
        self.free_slots -= slots

    def _give_back(self, tokens: int, slots: int) -> None:
        self.free_tokens += tokens
        self.free_slots += slots
        self._admit()

    def _admit(self) -> None:
        while self._queue:
            tokens, slots, granted = self._queue[0]
            if not granted.cancelled():
                if not self._fits(tokens, slots):
                    return
                self._grant(tokens, slots)
                granted.set_result(None)
            self._queue.popleft()
