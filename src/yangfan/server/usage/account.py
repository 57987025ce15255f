"""A key's account: its limits, its buckets, and how much of its quotas is used and held."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from yangfan.server.usage.lanes import Lane
    from yangfan.server.usage.types import Limits


class Quota:
    """Tokens that do not come back: used up for good, or until the day ends.

    Args:
        limit: How many there are.
        used: How many are used already.
        day: The UTC day that `used` counts; None for a quota that never starts anew.
    """

    __slots__ = ("_day", "_held", "_used", "limit")

    def __init__(self, limit: int, used: int, day: int | None = None) -> None:
        self.limit = limit
        self._used = used
        self._held = 0
        self._day = day

    def left(self, today: int) -> int:
        """Tokens that can be held now."""
        if self._day is not None and self._day != today:
            self._day, self._used = today, 0
        return self.limit - self._used - self._held

    def hold(self, tokens: int) -> None:
        """Keep tokens for a call, after `left` said that there are as many."""
        self._held += tokens

    def release(self, held: int, used: int, today: int) -> None:
        """The call is over: it held so many and used so many."""
        self.left(today)
        self._held -= held
        self._used += used


class Account:
    """One key's account.

    Args:
        key_id: The key's id.
        limits: What it may use.
        own: Its own buckets and its application's.
        daily: Its daily quota, if it has one; `total` its total quota.
    """

    __slots__ = ("daily", "key_id", "limits", "own", "quotas", "total")

    def __init__(
        self,
        key_id: str,
        limits: Limits,
        own: Lane,
        *,
        daily: Quota | None = None,
        total: Quota | None = None,
    ) -> None:
        self.key_id = key_id
        self.limits = limits
        self.own = own
        self.daily = daily
        self.total = total
        self.quotas = tuple(quota for quota in (daily, total) if quota is not None)
