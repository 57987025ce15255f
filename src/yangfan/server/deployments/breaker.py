"""A circuit breaker: who failed again and again is not asked for a while, and then by one call first."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

THRESHOLD = 5
"""Failures in a row that open it."""

OPEN_SECONDS = 5.0
"""How long it stays open the first time; each failed probe doubles that."""

MAX_OPEN_SECONDS = 60.0


class Breaker:
    """Of one replica: closed (calls pass), open (none does), half open (one does, and decides).

    Args:
        clock: Seconds of a clock that does not go back.

    Attributes:
        failures: In a row, up to now.
    """

    __slots__ = ("_clock", "_pause_seconds", "_probing", "_until", "failures")

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.failures = 0
        self._until = 0.0
        self._pause_seconds = OPEN_SECONDS
        self._probing = False

    @property
    def closed(self) -> bool:
        """Whether all calls pass."""
        return self.failures < THRESHOLD

    def allows(self) -> bool:
        """Whether a call may pass now."""
        if self.failures < THRESHOLD:
            return True
        return not self._probing and self._clock() >= self._until

    @property
    def opens_in_seconds(self) -> float:
        """How long until a call may pass; 0 if one may."""
        return 0.0 if self.closed else max(self._until - self._clock(), 0.0)

    def begin(self) -> None:
        """A call passes."""
        if self.failures >= THRESHOLD:
            self._probing = True

    def succeed(self) -> None:
        """It came back well."""
        self.failures = 0
        self._probing = False
        self._pause_seconds = OPEN_SECONDS

    def fail(self) -> None:
        """It failed, and the engine is to blame."""
        if self.failures >= THRESHOLD and self._probing:
            self._pause_seconds = min(self._pause_seconds * 2, MAX_OPEN_SECONDS)
        self._probing = False
        self.failures += 1
        if self.failures >= THRESHOLD:
            self._until = self._clock() + self._pause_seconds

    def abandon(self) -> None:
        """It ended in a way that says nothing about the engine."""
        self._probing = False
