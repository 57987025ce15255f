"""Capacity bought for models, and the limits that follow from it: the database first, then the buckets."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from yangfan.errors import NotFound
from yangfan.server.charge.releaser import Releaser
from yangfan.server.charge.types import Capacity
from yangfan.server.http.call import new_id

if TYPE_CHECKING:
    from yangfan.server.charge.store import ChargeStore

LimitModel = Callable[[str, int | None], None]
"""Gives a model a limit of tokens a minute; None for the default."""


class Charge:
    """The capacity of every model. A model without any has the limits of the settings.

    Args:
        store: Where it lives.
        limit_model: Called with a model and its tokens a minute, None for the default, whenever they change.
        clock: Seconds since the epoch.
    """

    def __init__(
        self,
        store: ChargeStore,
        limit_model: LimitModel,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Start empty; `start` reads what was bought."""
        self._store = store
        self._limit_model = limit_model
        self._clock = clock
        self._all: dict[str, Capacity] = {}
        self._releaser = Releaser("charge releaser", self._next_ms, self._release_due, self._now_ms)

    async def start(self) -> None:
        """Read what was bought, and set the limits."""
        self._all = {capacity.id: capacity for capacity in await self._store.all()}
        for model in {capacity.model for capacity in self._all.values()}:
            self._apply(model)
        await self._releaser.start()

    async def stop(self) -> None:
        """Release nothing any more."""
        await self._releaser.stop()

    def of(self, model: str) -> list[Capacity]:
        """A model's capacity, oldest first."""
        return [capacity for capacity in self._all.values() if capacity.model == model]

    async def purchase(
        self, model: str, units: int, payment: str, lifetime_seconds: int | None
    ) -> Capacity:
        """Add capacity to a model."""
        now_ms = self._now_ms()
        release_ms = None if lifetime_seconds is None else now_ms + lifetime_seconds * 1000
        capacity = Capacity(new_id("tpm-", 12), model, units, payment, now_ms, release_ms)
        await self._put(capacity)
        return capacity

    async def resize(self, capacity_id: str, units: int) -> None:
        """Change how much it is.

        Raises:
            NotFound: There is none of that id.
        """
        await self._put(replace(self._get(capacity_id), units=units))

    async def release_at(self, capacity_id: str, release_ms: int | None) -> None:
        """Release it at that time, ms since the epoch, or never.

        Raises:
            NotFound: There is none of that id.
        """
        await self._put(replace(self._get(capacity_id), release_ms=release_ms))

    async def release(self, capacity_id: str, model: str) -> None:
        """Take it from its model.

        Raises:
            NotFound: The model has none of that id.
        """
        if self._get(capacity_id).model != model:
            raise NotFound(f"{capacity_id[:64]!r} is not capacity of {model}")
        await self._remove([capacity_id])

    def _get(self, capacity_id: str) -> Capacity:
        capacity = self._all.get(capacity_id)
        if capacity is None:
            raise NotFound(
                f"no TPM resource {capacity_id[:64]!r}; DescribeTPMResource lists a model's"
            )
        return capacity

    async def _put(self, capacity: Capacity) -> None:
        await self._store.put(capacity)
        self._all[capacity.id] = capacity
        self._apply(capacity.model)
        self._releaser.wake()

    async def _remove(self, ids: list[str]) -> None:
        await self._store.remove(ids)
        for model in {self._all.pop(capacity_id).model for capacity_id in ids}:
            self._apply(model)

    def _apply(self, model: str) -> None:
        self._limit_model(model, sum(capacity.tpm for capacity in self.of(model)) or None)

    def _next_ms(self) -> int | None:
        times = (c.release_ms for c in self._all.values() if c.release_ms is not None)
        return min(times, default=None)

    async def _release_due(self) -> None:
        now_ms = self._now_ms()
        due = [
            capacity.id
            for capacity in self._all.values()
            if capacity.release_ms is not None and capacity.release_ms <= now_ms
        ]
        if due:
            await self._remove(due)

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)
