"""Model versions that no service serves, run by the platform for as long as the work asks them."""

from __future__ import annotations

import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import msgspec

from yangfan.errors import Conflict, EngineFailed, Overloaded, UnreachableError
from yangfan.worker.server import Lost

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from yangfan.errors import RefusedError
    from yangfan.worker.task import Task

ROOM_SECONDS = 300.0
"""How long a version waits for room."""

START_SECONDS = 3600.0
"""How long it may load; its engine has a limit of its own, which is reached sooner."""

MOST_FAILURES = 3
"""Questions in a row that a borrowed version does not answer, each after a minute of trying: it is then asked no more."""

_PAUSES_SECONDS = (0.05, 0.05, 0.1, 0.1, 0.2, 0.5)


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A version to be borrowed.

    Attributes:
        version: ``amv-…``.
        title: ``SET:VERSION``, for people.
        options: What its engine is told beside what the version says.
    """

    version: str
    title: str = ""
    options: dict[str, Any] = {}


@contextmanager
def borrowed(
    task: Task, wanted: Wanted, tell: Callable[[str], None], *, room_seconds: float = 0.0
) -> Generator[str]:
    """The name by which a version can be asked within the block; it is given back at the end.

    Args:
        task: Who asks.
        wanted: Which version.
        tell: Told what happens, for people.
        room_seconds: How long it may wait for room, if that is longer than `ROOM_SECONDS`.

    Raises:
        Conflict: It cannot run here, or found no room in time; the message says why and what to do.
        Stopped: As `Task.check`.
    """
    keep = False
    try:
        yield _name(task, wanted, tell, max(room_seconds, ROOM_SECONDS))
        keep = True
    finally:
        # The server takes it back by itself where it is not told.
        with suppress(Lost, UnreachableError):
            task.give_back(wanted.version, wanted.options, keep=keep)


def _name(task: Task, wanted: Wanted, tell: Callable[[str], None], room_seconds: float) -> str:
    title = wanted.title or wanted.version
    pauses = iter(_PAUSES_SECONDS)
    began, waiting_since = time.monotonic(), None
    while True:
        loan = task.borrow(wanted.version, wanted.options)
        now = time.monotonic()
        if loan.state == "ready":
            return loan.name
        if loan.state == "failed":
            raise Conflict(f"{title} cannot be asked: {loan.message}")
        if loan.state == "starting":
            tell(f"starting {title} on an engine of its own")
            if now - began > START_SECONDS:
                raise Conflict(f"{title} has not started after {START_SECONDS:.0f} s")
        else:
            tell(f"waiting for room for {title}: {loan.message}")
            # Others may have been started before it: that was no wait for room.
            waiting_since = now if waiting_since is None else waiting_since
            if now - waiting_since > room_seconds:
                raise Conflict(f"{title} found no room within {room_seconds:.0f} s: {loan.message}")
        time.sleep(next(pauses, _PAUSES_SECONDS[-1]))


class Patience:
    """Counts questions in a row that a borrowed version could not answer; threads may share it."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._failures = 0

    def answered(self) -> None:
        """It answered one."""
        self._failures = 0

    def failed(self, error: RefusedError) -> Conflict | None:
        """It did not answer one; why it is asked no more, if this was one too many."""
        if not isinstance(error, (EngineFailed, Overloaded)):
            return None
        self._failures += 1
        if self._failures < MOST_FAILURES:
            return None
        return Conflict(
            f"{self._title} is asked no more: its engine failed {self._failures} questions in a row, the last with: {error.message}."
            " `yangfan services create` runs it as a service, and `yangfan services logs` then shows what its engine says"
        )
