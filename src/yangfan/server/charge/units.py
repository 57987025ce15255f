"""Compute units, and how often a model's limits hold because of them: the database first, then the buckets."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from yangfan.errors import NotFound
from yangfan.server.charge.releaser import Releaser
from yangfan.server.charge.types import ComputeUnits
from yangfan.server.http.call import new_id

if TYPE_CHECKING:
    from yangfan.server.charge.store import UnitStore

MultiplyModel = Callable[[str, int], None]
"""Makes a model's limits hold so many times."""

KEPT_MS = 30 * 86_400_000
"""Released units are shown for so long."""


class Units:
    """The compute units of every model. Each unit allows as much again as the model is allowed without any.

    Args:
        store: Where they live.
        multiply_model: Called with a model and how many times its limits hold, whenever that changes.
        clock: Seconds since the epoch.
    """

    def __init__(
        self,
        store: UnitStore,
        multiply_model: MultiplyModel,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Start empty; `start` reads what was bought."""
        self._store = store
        self._multiply_model = multiply_model
        self._clock = clock
        self._all: dict[str, ComputeUnits] = {}
        self._changing = asyncio.Lock()
        self._releaser = Releaser("unit releaser", self._next_ms, self._release_due, self._now_ms)

    async def start(self) -> None:
        """Read what was bought, finish what was begun, and set the limits."""
        await self._store.forget(self._now_ms() - KEPT_MS)
        self._all = {units.id: units for units in await self._store.all()}
        for units in list(self._all.values()):
            if units.status == "Creating":
                await self._put(replace(units, status="Running"))
            elif units.status == "Releasing":
                await self._put(replace(units, status="Released"))
            else:
                self._apply(units)
        await self._releaser.start()

    async def stop(self) -> None:
        """Release nothing any more."""
        await self._releaser.stop()

    def all(self, model: str | None = None) -> list[ComputeUnits]:
        """What is not released, of one model or of all, oldest first."""
        return [
            units
            for units in self._all.values()
            if units.status != "Released" and model in {None, units.model}
        ]

    def get(self, unit_id: str, model: str | None = None) -> ComputeUnits:
        """What has that id, released or not.

        Raises:
            NotFound: There is nothing of that id, or the model does not have it.
        """
        units = self._all.get(unit_id)
        if units is None:
            raise NotFound(
                f"no compute units {unit_id[:64]!r}; DescribeComputeUnits lists what there is"
            )
        if model not in {None, units.model}:
            raise NotFound(f"{unit_id[:64]!r} are not compute units of {model}")
        return units

    async def purchase(
        self,
        model: str | None,
        count: int,
        payment: str,
        release_ms: int | None,
        *,
        region: str = "bj",
        type_: str = "cpu",
    ) -> ComputeUnits:
        """Add units to a model, or to none."""
        units = ComputeUnits(
            new_id("unit-", 12),
            model,
            count,
            payment,
            region,
            type_,
            "Creating",
            self._now_ms(),
            release_ms,
        )
        async with self._changing:
            await self._put(units)
            units = replace(units, status="Running")
            await self._put(units)
        return units

    async def resize(self, unit_id: str, count: int) -> None:
        """Change how many they are.

        Raises:
            NotFound: There are none of that id, or they are released.
        """
        async with self._changing:
            await self._put(replace(self._unreleased(unit_id), count=count))

    async def release_at(self, unit_id: str, release_ms: int | None) -> None:
        """Release them at that time, ms since the epoch, or never.

        Raises:
            NotFound: There are none of that id, or they are released.
        """
        async with self._changing:
            await self._put(replace(self._unreleased(unit_id), release_ms=release_ms))

    async def release(self, unit_id: str, model: str | None = None) -> None:
        """Take them from their model.

        Raises:
            NotFound: There are none of that id, they are released, or the model does not have them.
        """
        async with self._changing:
            self.get(unit_id, model)
            await self._end(self._unreleased(unit_id))

    def _unreleased(self, unit_id: str) -> ComputeUnits:
        units = self.get(unit_id)
        if units.status == "Released":
            raise NotFound(f"compute units {unit_id[:64]!r} are released; buy others")
        return units

    async def _end(self, units: ComputeUnits) -> None:
        now_ms = self._now_ms()
        await self._put(replace(units, status="Releasing", release_ms=now_ms))
        await self._put(replace(units, status="Released", release_ms=now_ms))

    async def _put(self, units: ComputeUnits) -> None:
        await self._store.put(units)
        self._all[units.id] = units
        self._apply(units)
        self._releaser.wake()

    def times(self, model: str) -> int:
        """How many times the limits of a model hold."""
        running = (units for units in self.all(model) if units.status == "Running")
        return 1 + sum(units.count for units in running)

    def _apply(self, changed: ComputeUnits) -> None:
        if changed.model is not None:
            self._multiply_model(changed.model, self.times(changed.model))

    def _next_ms(self) -> int | None:
        times = (units.release_ms for units in self.all() if units.release_ms is not None)
        return min(times, default=None)

    async def _release_due(self) -> None:
        async with self._changing:
            now_ms = self._now_ms()
            for units in self.all():
                if units.release_ms is not None and units.release_ms <= now_ms:
                    await self._end(units)

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)
