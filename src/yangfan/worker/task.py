"""The work's side of a job: what to do, where to go on, and how to tell how far it is."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from yangfan.protocol.worker import Beat, Line, ProgressNow

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from yangfan.protocol.worker import BorrowedModel, Desired, StartedJob
    from yangfan.worker.server import ServerLine

MAX_LINE_CHARS = 4000
MAX_LINES = 20_000
MAX_LINES_A_BEAT = 500


class Stopped(BaseException):
    """Somebody wants the work stopped. No Exception, so that no work swallows it by accident."""


class Cancelled(Stopped):
    """The job is cancelled."""


class Paused(Stopped):
    """The job is to go on later from what it saved."""


class Task:
    """One attempt at a job. A kind of work gets it as the argument of its `run`.

    Attributes:
        id: Of the job.
        spec: What to do.
        state: What was saved last, {} at first: how a killed job goes on.
        attempt: 1 for the first since something was saved.
        folder: Scratch folder of the job, kept from attempt to attempt on one machine, removed when the job has ended.
    """

    def __init__(self, id: str, started: StartedJob, folder: Path, server: ServerLine) -> None:
        """Made by the worker program."""
        self.id = id
        self.spec: Mapping[str, Any] = started.spec
        self.state: dict[str, Any] = started.state
        self.attempt = started.attempt
        self.folder = folder
        self._saves = started.saves
        self._server = server
        self._desired: Desired = started.desired
        self._lock = threading.Lock()
        self._progress: ProgressNow | None = None
        self._lines: list[Line] = []
        self._line_count = 0
        self.news = threading.Event()

    def progress(
        self, done: float, total: float | None = None, unit: str = "", note: str = ""
    ) -> None:
        """Tell how far the work is; cheap enough for every step of a loop.

        Raises:
            Stopped: As `check`.
        """
        self.check()
        with self._lock:
            self._progress = ProgressNow(done, total, unit, note)
        self.news.set()

    def log(self, text: str) -> None:
        """Write a line (or several) into the job's log."""
        now_ms = time.time_ns() // 1_000_000
        with self._lock:
            for line in text.splitlines():
                if self._line_count < MAX_LINES:
                    self._lines.append(Line(self._line_count, now_ms, line[:MAX_LINE_CHARS]))
                    self._line_count += 1
        self.news.set()

    def save(self, state: Mapping[str, Any]) -> None:
        """Keep a checkpoint; it is durable when this returns.

        Raises:
            Stopped: As `check`, before anything is saved.
            Lost: Another worker has taken the job over.
        """
        self.check()
        self._server.save(self._saves + 1, dict(state))
        self._saves += 1
        self.state = dict(state)

    def ask(self, path: str, body: Any) -> Any:
        """Make a v2 inference call (``/v2/chat/completions``, ``/v2/embeddings``, …) for the job's account; its answer as JSON.

        Live traffic goes first. Several threads may ask at once.

        Raises:
            Stopped: As `check`.
            RefusedError: The call was refused, or the engine failed.
            ConnectionFailed: The server does not answer.
        """
        self.check()
        return self._server.call(path, body)

    def borrow(self, version: str, options: Mapping[str, Any]) -> BorrowedModel:
        """Have a model version run that `ask` can then name; `yangfan.worker.lending` waits for it.

        Raises:
            Stopped: As `check`.
            Lost: Another worker has taken the job over.
        """
        self.check()
        return self._server.borrow(version, dict(options))

    def give_back(self, version: str, options: Mapping[str, Any], *, keep: bool) -> None:
        """Need it no longer.

        Raises:
            Lost: Another worker has taken the job over.
            ConnectionFailed: The server does not answer.
        """
        self._server.give_back(version, dict(options), keep=keep)

    def check(self) -> None:
        """Stop here if somebody wants that; call it often where nothing else is called.

        Raises:
            Cancelled: The job is cancelled.
            Paused: The job is to go on later.
        """
        if self._desired == "cancel":
            raise Cancelled
        if self._desired == "pause":
            raise Paused

    def wanted(self, desired: Desired) -> None:
        """The worker program heard what is wanted."""
        self._desired = desired

    def beat(self, tell: Callable[[Beat], Desired]) -> None:
        """Tell what is new, and hear what is wanted; what could not be told is told the next time."""
        with self._lock:
            self.news.clear()
            progress, lines = self._progress, self._lines[:MAX_LINES_A_BEAT]
            self._progress = None
        try:
            self.wanted(tell(Beat(progress=progress, lines=lines)))
        except BaseException:
            with self._lock:
                self._progress = self._progress or progress
            raise
        with self._lock:
            del self._lines[: len(lines)]
            if self._lines:
                self.news.set()

    @property
    def told(self) -> bool:
        """Whether the server knows everything that the work told."""
        with self._lock:
            return self._progress is None and not self._lines
