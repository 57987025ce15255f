"""What is counted of each upstream's calls."""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

BUCKETS_SECONDS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
"""Upper bounds for the time that a call to somebody else's server takes."""


class Traffic:
    """Calls by outcome, and how long they took.

    Attributes:
        outcomes: "ok", "client_gone" or an error's class, and how many calls ended so.
        counts: Calls by `BUCKETS_SECONDS`, one more for those beyond.
        seconds: All calls together.
    """

    __slots__ = ("counts", "outcomes", "seconds")

    def __init__(self) -> None:
        """Start at zero."""
        self.outcomes: dict[str, int] = {}
        self.counts = [0] * (len(BUCKETS_SECONDS) + 1)
        self.seconds = 0.0

    def add(self, outcome: str, seconds: float) -> None:
        """Count one call."""
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1
        self.counts[bisect_left(BUCKETS_SECONDS, seconds)] += 1
        self.seconds += seconds
