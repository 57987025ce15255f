"""Who may use how much, and who used what: the accounts of keys, and the ledger behind them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from yangfan.server.usage.account import Account, Quota
from yangfan.server.usage.lanes import Lanes
from yangfan.server.usage.meter import AccountMeter

if TYPE_CHECKING:
    from collections.abc import Callable

    from yangfan.server.http import Principal
    from yangfan.server.usage.ledger import Ledger
    from yangfan.server.usage.types import Defaults, Limits


class Usage:
    """The meters of all calls.

    Args:
        ledger: Where usage is booked; started and stopped with this.
        limits_of: A key's limits by its id.
        defaults: Limits where nothing narrower is said.
        clock_ns: Nanoseconds of a clock that does not go back.
    """

    def __init__(
        self,
        ledger: Ledger,
        limits_of: Callable[[str], Limits],
        defaults: Defaults,
        *,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Start empty; `start` reads what was used."""
        self.ledger = ledger
        self.lanes = Lanes(defaults, clock_ns)
        self._clock_ns = clock_ns
        self._limits_of = limits_of
        self._accounts: dict[str, Account] = {}
        self._first_day = ledger.today
        self._used_first_day: dict[str, int] = {}
        self._used_ever: dict[str, int] = {}

    async def start(self) -> None:
        """Recover the ledger and read how much of the quotas is used."""
        await self.ledger.start()
        self._first_day = self.ledger.today
        self._used_first_day = await self.ledger.tokens_by_key(self._first_day)
        self._used_ever = await self.ledger.tokens_by_key(0)

    async def stop(self) -> None:
        """Keep everything in the database."""
        await self.ledger.stop()

    def meter(self, principal: Principal) -> AccountMeter:
        """The meter of one call."""
        account = self._accounts.get(principal.key_id)
        if account is None:
            account = self._accounts[principal.key_id] = self._account(principal)
        return AccountMeter(account, self.lanes, self.ledger, self._clock_ns)

    def _account(self, principal: Principal) -> Account:
        limits = self._limits_of(principal.key_id)
        key_id = principal.key_id
        daily, total = limits.daily_tokens, limits.total_tokens
        used_first_day = self._used_first_day.get(key_id, 0)
        return Account(
            key_id,
            limits,
            self.lanes.of_key(principal.app_id, limits),
            daily=None if daily is None else Quota(daily, used_first_day, self._first_day),
            total=None if total is None else Quota(total, self._used_ever.get(key_id, 0)),
        )
