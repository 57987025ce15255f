"""A token bucket in whole numbers: no rounding, so no overshoot."""

from __future__ import annotations

SECOND_NS = 1_000_000_000
MINUTE_NS = 60 * SECOND_NS


class Bucket:
    """Holds `limit` units when full and refills evenly by `limit` units each period.

    Whatever is taken in any stretch of time is at most `limit` and what flowed in meanwhile. The level is kept in units times
    nanoseconds of the period, a whole number. Callers give the time, in nanoseconds of any clock that does not go back.

    Args:
        limit: Units a period, at least 1.
        now_ns: The time now; it starts full.
        period_ns: Time to refill from empty.
    """

    __slots__ = ("_full", "_level", "_period_ns", "_seen_ns", "limit")

    def __init__(self, limit: int, now_ns: int, period_ns: int = MINUTE_NS) -> None:
        self.limit = limit
        self._period_ns = period_ns
        self._full = self._level = limit * period_ns
        self._seen_ns = now_ns

    @property
    def period_seconds(self) -> float:
        """How long it takes to refill from empty."""
        return self._period_ns / SECOND_NS

    def wait_ns(self, units: int, now_ns: int) -> int:
        """How long until `units` can be taken: 0 for now. It makes no sense for more than `limit`."""
        elapsed_ns = now_ns - self._seen_ns
        if elapsed_ns > 0:
            self._seen_ns = now_ns
            level = self._level + elapsed_ns * self.limit
            self._level = level if level < self._full else self._full
        missing = units * self._period_ns - self._level
        return 0 if missing <= 0 else -(-missing // self.limit)

    def take(self, units: int) -> None:
        """Take `units`, after `wait_ns` told that they are there; more than there is leaves a debt."""
        self._level -= units * self._period_ns

    def give_back(self, units: int) -> None:
        """Return units that were taken and not used."""
        # What flowed in since is added later: the sum is the same, and so is the brim.
        level = self._level + units * self._period_ns
        self._level = level if level < self._full else self._full

    @property
    def remaining(self) -> int:
        """Whole units that could be taken when `wait_ns` was last asked, and since."""
        return self._level // self._period_ns if self._level > 0 else 0
