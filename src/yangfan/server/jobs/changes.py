"""Who waits for a job to change, within this process; what other processes change is found by looking again."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator


class Changes:
    """Tells waiters of changes."""

    def __init__(self) -> None:
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self.submitted = asyncio.Event()
        self.closed = False

    def tell(self, id: str) -> None:
        """A job has changed."""
        for event in self._waiting.get(id, ()):
            event.set()

    def close(self) -> None:
        """The server is about to stop, so nobody is to wait any longer."""
        self.closed = True
        for events in self._waiting.values():
            for event in events:
                event.set()

    @contextmanager
    def of(self, id: str) -> Generator[asyncio.Event]:
        """An event that is set at each change of a job."""
        event = asyncio.Event()
        self._waiting.setdefault(id, set()).add(event)
        try:
            yield event
        finally:
            waiting = self._waiting[id]
            waiting.discard(event)
            if not waiting:
                del self._waiting[id]
