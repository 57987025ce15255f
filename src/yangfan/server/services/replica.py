"""One engine process that is kept alive: started, watched, started again when it dies."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import structlog

from yangfan.errors import EngineFailed

if TYPE_CHECKING:
    from yangfan.engines.base import Engine

FIRST_RESTART_SECONDS = 0.1
MAX_RESTART_SECONDS = 30.0
STABLE_SECONDS = 60.0
"""An engine that ran this long starts again at the shortest pause."""

_log = structlog.get_logger("yangfan.services")


class Replica:
    """An engine and the task that keeps it running.

    Args:
        engine: Not yet started.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.last_error: str | None = None
        self.restarts = 0
        self._ready = asyncio.Event()
        self._supervisor: asyncio.Task[None] | None = None

    @property
    def ready(self) -> bool:
        """Whether it can answer now."""
        return self._ready.is_set() and self.engine.running

    async def start(self) -> None:
        """Start the engine and begin to watch it.

        Raises:
            EngineFailed: It does not start; nothing is left running.
        """
        try:
            await self.engine.start()
        except BaseException:
            await self.engine.stop()
            raise
        self._ready.set()
        self._supervisor = asyncio.create_task(
            self._supervise(), name=f"replica {self.engine.spec.model}"
        )

    async def stop(self) -> None:
        """Stop watching and stop the engine."""
        if self._supervisor is not None:
            self._supervisor.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._supervisor
        self._ready.clear()
        await self.engine.stop()

    async def wait_ready(self, deadline: float) -> bool:
        """Wait until it can answer, at most until `deadline` on the event loop's clock; whether it can."""
        if self.ready:
            return True
        try:
            async with asyncio.timeout_at(deadline):
                await self._ready.wait()
        except TimeoutError:
            return False
        return True

    def suspect(self) -> None:
        """Note that a call found the engine dead before the supervisor did."""
        if not self.engine.running:
            self._ready.clear()

    async def _supervise(self) -> None:
        clock = asyncio.get_running_loop().time
        pause = FIRST_RESTART_SECONDS
        while True:
            started = clock()
            await self.engine.wait_died()
            self._ready.clear()
            self.restarts += 1
            if clock() - started > STABLE_SECONDS:
                pause = FIRST_RESTART_SECONDS
            _log.warning(
                "engine died, restarting", model=self.engine.spec.model, restarts=self.restarts
            )
            pause = await self._start_again(pause)
            self._ready.set()

    async def _start_again(self, pause: float) -> float:
        while True:
            try:
                await self.engine.start()
            except EngineFailed as error:
                self.last_error = error.message
                _log.error(
                    "engine does not start", model=self.engine.spec.model, error=error.message
                )
                await self.engine.stop()
            else:
                return min(pause * 2, MAX_RESTART_SECONDS)
            await asyncio.sleep(pause)
            pause = min(pause * 2, MAX_RESTART_SECONDS)
