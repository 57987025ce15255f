"""Which buckets a call takes from: its application's, its key's and its model's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yangfan.server.usage.account import Lane
from yangfan.server.usage.buckets import MINUTE_NS, SECOND_NS, Bucket

if TYPE_CHECKING:
    from collections.abc import Callable

    from yangfan.server.usage.account import Account
    from yangfan.server.usage.types import Defaults, Limits


class Rates:
    """All buckets.

    Args:
        defaults: Limits where nothing narrower is said.
        clock_ns: Nanoseconds of a clock that does not go back.
    """

    def __init__(self, defaults: Defaults, clock_ns: Callable[[], int]) -> None:
        """Make buckets when they are first needed."""
        self.now_ns = clock_ns
        self._defaults = defaults
        self._apps: dict[str, tuple[Bucket, ...]] = {}
        self._models: dict[str, Lane] = {}
        self._lanes: dict[str, dict[str, Lane]] = {}

    def limit_model(self, model: str, *, rpm: int | None, tpm: int | None) -> None:
        """Give a model limits of its own; None for no limit. Its buckets are full at once."""
        self._models[model] = Lane(requests=self._buckets(rpm), tokens=self._buckets(tpm))
        self._lanes[model] = {}

    def lane(self, account: Account, model: str) -> Lane:
        """The buckets that an account's calls to a model take from."""
        lanes = self._lanes.get(model)
        if lanes is None:
            defaults = self._defaults
            self.limit_model(model, rpm=defaults.model_rpm, tpm=defaults.model_tpm)
            lanes = self._lanes[model]
        lane = lanes.get(account.key_id)
        if lane is None:
            of_model, own = self._models[model], account.own
            lane = lanes[account.key_id] = Lane(
                own.seconds, own.requests + of_model.requests, own.tokens + of_model.tokens
            )
        return lane

    def own_lane(self, app_id: str, limits: Limits) -> Lane:
        """New buckets for a key with these limits, and the one that its application's keys share."""
        defaults = self._defaults
        return Lane(
            self._app(app_id),
            self._buckets(limits.rpm or defaults.rpm),
            self._buckets(limits.tpm or defaults.tpm),
        )

    def _app(self, app_id: str) -> tuple[Bucket, ...]:
        if app_id not in self._apps:
            self._apps[app_id] = self._buckets(self._defaults.app_qps, SECOND_NS)
        return self._apps[app_id]

    def _buckets(self, limit: int | None, period_ns: int = MINUTE_NS) -> tuple[Bucket, ...]:
        return () if limit is None else (Bucket(limit, self.now_ns(), period_ns),)
