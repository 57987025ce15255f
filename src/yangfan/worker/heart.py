"""The heartbeat of a worker: a thread of its own, so that the work cannot starve it."""

from __future__ import annotations

import os
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from yangfan.errors import UnreachableError
from yangfan.worker.server import Lost

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from yangfan.worker.server import ServerLine
    from yangfan.worker.task import Task

LOST = 3
"""Exit status of a worker whose job is another's now."""

NEWS_SECONDS = 0.25
"""Between two beats while there is news."""


class Heart:
    """Beats while the block runs: renews the lease, tells progress and log, hears what is wanted.

    If the job is another worker's, or the server was silent for a whole lease, the process ends at once: whatever it still did
    would be refused.

    Args:
        task: The work's side.
        server: The line to the server.
        lease_seconds: How long the server waits for a beat.
    """

    def __init__(self, task: Task, server: ServerLine, lease_seconds: float) -> None:
        self._task = task
        self._server = server
        self._lease_seconds = lease_seconds
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heart", daemon=True)

    def __enter__(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop, and tell the rest."""
        self._over.set()
        self._task.news.set()
        self._thread.join()
        with suppress(UnreachableError, Lost):  # what comes next meets the same and says so
            while not self._task.told:
                self._task.beat(lambda beat: self._server.beat(beat, patiently=True))

    def _beat(self) -> None:
        heard = time.monotonic()
        while not self._over.is_set():
            began = time.monotonic()
            try:
                self._task.beat(self._server.beat)
                heard = time.monotonic()
            except Lost as error:
                _end(str(error))
            except UnreachableError as error:
                if time.monotonic() - heard > self._lease_seconds:
                    _end(error.message)
            self._over.wait(NEWS_SECONDS)
            self._task.news.wait(max(0.0, self._lease_seconds / 5 - (time.monotonic() - began)))


def _end(message: str) -> None:
    sys.stderr.write(f"yangfan worker: {message}\n")
    sys.stderr.flush()
    os._exit(LOST)
