"""One engine process that is kept alive: started, watched, started again when it dies."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from typing import TYPE_CHECKING

import structlog

from yangfan.errors import EngineFailed

if TYPE_CHECKING:
    from collections.abc import Callable

    from yangfan.engines.base import Engine

FIRST_RESTART_SECONDS = 0.1
"""Pause before the second start in a row; the first comes at once, each later one after twice the pause."""

MAX_RESTART_SECONDS = 30.0
STABLE_SECONDS = 60.0
"""An engine that ran this long starts again at once."""

NOTICE_SECONDS = 0.2
"""The system tells of a process's end a little after its connections broke; at most so much later."""

PROBE_SECONDS = 10.0
"""Pause between two looks at a running engine."""

MAX_SILENT_PROBES = 3
"""An engine that did not answer so many looks in a row hangs; it is killed, and so started anew."""

_log = structlog.get_logger("yangfan.services")


class Replica:
    """An engine and the task that keeps it running.

    Args:
        engine: Not yet started.
        told: Called whenever it can answer again.

    Attributes:
        restarts: How often the engine died.
        start_seconds: How long its last start took.
    """

    def __init__(self, engine: Engine, told: Callable[[], None] | None = None) -> None:
        self.engine = engine
        self._told = told
        self.last_error: str | None = None
        self.restarts = 0
        self.start_seconds = 0.0
        self._ready = asyncio.Event()
        self._watches: list[asyncio.Task[None]] = []

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
            await self._start_engine()
        except BaseException:
            await self.engine.stop()
            raise
        self._become_ready()
        model = self.engine.spec.model
        self._watches = [
            asyncio.create_task(self._supervise(), name=f"restarts of {model}"),
            asyncio.create_task(self._probe(), name=f"probes of {model}"),
        ]

    async def stop(self) -> None:
        """Stop watching and stop the engine."""
        for watch in self._watches:
            watch.cancel()
        await asyncio.gather(*self._watches, return_exceptions=True)
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

    async def suspect(self) -> None:
        """A call failed on the engine: find out whether it is dead, before the call is tried again."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(NOTICE_SECONDS):
                await self.engine.wait_died()
        if not self.engine.running:
            self._ready.clear()

    def _become_ready(self) -> None:
        self._ready.set()
        if self._told is not None:
            self._told()

    async def _start_engine(self) -> None:
        clock = asyncio.get_running_loop().time
        began = clock()
        await self.engine.start()
        self.start_seconds = clock() - began

    async def _supervise(self) -> None:
        clock = asyncio.get_running_loop().time
        pause_seconds = 0.0
        while True:
            started = clock()
            await self.engine.wait_died()
            self._ready.clear()
            self.restarts += 1
            if clock() - started > STABLE_SECONDS:
                pause_seconds = 0.0
            _log.warning(
                "engine died, restarting", model=self.engine.spec.model, restarts=self.restarts
            )
            running = False
            while not running:
                await asyncio.sleep(pause_seconds)
                pause_seconds = min(
                    max(pause_seconds * 2, FIRST_RESTART_SECONDS), MAX_RESTART_SECONDS
                )
                running = await self._start_again()
            self._become_ready()

    async def _probe(self) -> None:
        """Look whether the engine still answers: a process that hangs does not end by itself."""
        silent = 0
        while True:
            await asyncio.sleep(PROBE_SECONDS)
            if not self.ready:
                silent = 0
                continue
            try:
                await self.engine.slots()
            except EngineFailed as error:
                silent += 1
                self.last_error = error.message
            else:
                silent = 0
            pid = self.engine.pid
            if silent >= MAX_SILENT_PROBES and pid is not None:
                _log.error("engine hangs, killing it", model=self.engine.spec.model, pid=pid)
                silent = 0
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)

    async def _start_again(self) -> bool:
        try:
            await self._start_engine()
        except Exception as error:  # noqa: BLE001 - whatever it was: a watch that ends leaves the model dead for good
            self.last_error = str(error)
            _log.error("engine does not start", model=self.engine.spec.model, error=self.last_error)
            await self.engine.stop()
            return False
        return True
