"""Which buckets a call takes from: its application's, its key's and its model's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yangfan.server.usage.buckets import MINUTE_NS, SECOND_NS, Bucket

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from yangfan.server.usage.types import Defaults, Limits


class Lane:
    """The buckets that some calls take from; empty where nothing is limited.

    Args:
        seconds: Of requests a second.
        requests: Of requests a minute.
        tokens: Of tokens a minute.

    Attributes:
        singles: `seconds` and `requests`, from which every call takes one.
        is_limited: Whether there is any bucket.
    """

    __slots__ = ("is_limited", "requests", "seconds", "singles", "tokens")

    def __init__(
        self,
        seconds: Sequence[Bucket] = (),
        requests: Sequence[Bucket] = (),
        tokens: Sequence[Bucket] = (),
    ) -> None:
        self.seconds = tuple(seconds)
        self.requests = tuple(requests)
        self.tokens = tuple(tokens)
        self.singles = self.seconds + self.requests
        self.is_limited = bool(self.singles or self.tokens)

    def __add__(self, other: Lane) -> Lane:
        """The buckets of both."""
        return Lane(
            self.seconds + other.seconds,
            self.requests + other.requests,
            self.tokens + other.tokens,
        )


class Lanes:
    """All lanes, made when they are first needed.

    Args:
        defaults: Limits where nothing narrower is said.
        clock_ns: Nanoseconds of a clock that does not go back.
    """

    def __init__(self, defaults: Defaults, clock_ns: Callable[[], int]) -> None:
        self._defaults = defaults
        self._clock_ns = clock_ns
        self._of_apps: dict[str, Lane] = {}
        self._of_models: dict[str, Lane] = {}
        self._tpm_of_models: dict[str, int | None] = {}
        self._times_of_models: dict[str, int] = {}
        self._qps_of_services: dict[str, float] = {}
        self._of_calls: dict[str, dict[str, Lane]] = {}
        """By model, then key."""

    def of_key(self, app_id: str, limits: Limits) -> Lane:
        """A new lane for a key with these limits, and the one that its application's keys share."""
        defaults = self._defaults
        if app_id not in self._of_apps:
            self._of_apps[app_id] = Lane(seconds=self._buckets(defaults.app_qps, SECOND_NS))
        own = Lane(
            requests=self._buckets(limits.rpm or defaults.rpm),
            tokens=self._buckets(limits.tpm or defaults.tpm),
        )
        return self._of_apps[app_id] + own

    def of_call(self, key_id: str, own: Lane, model: str) -> Lane:
        """The lane of a key, whose own is given, to a model."""
        of_keys = self._of_calls.get(model)
        if of_keys is None:
            self._renew(model)
            of_keys = self._of_calls[model]
        lane = of_keys.get(key_id)
        if lane is None:
            lane = of_keys[key_id] = own + self._of_models[model]
        return lane

    def limit_model(self, model: str, tpm: int | None = None) -> None:
        """Give a model so many tokens a minute instead of the default. Its buckets are full at once."""
        self._tpm_of_models[model] = tpm
        self._renew(model)

    def multiply_model(self, model: str, times: int) -> None:
        """Let a model have its requests and tokens a minute so many times. Its buckets are full at once."""
        if times != self._times_of_models.get(model, 1):
            self._times_of_models[model] = times
            self._renew(model)

    def limit_service(self, name: str, qps: float) -> None:
        """Let a service have so many requests a second, all callers together; 0 for any number. Its bucket is full at once."""
        if qps != self._qps_of_services.get(name, 0.0):
            self._qps_of_services[name] = qps
            self._renew(name)

    def _renew(self, model: str) -> None:
        defaults, times = self._defaults, self._times_of_models.get(model, 1)
        tpm = self._tpm_of_models.get(model) or defaults.model_tpm
        self._of_models[model] = Lane(
            seconds=self._seconds(self._qps_of_services.get(model, 0.0)),
            requests=self._buckets(defaults.model_rpm, times=times),
            tokens=self._buckets(tpm, times=times),
        )
        self._of_calls[model] = {}

    def _seconds(self, qps: float) -> tuple[Bucket, ...]:
        """A bucket of whole requests that fills at any rate, below one a second too."""
        if not qps:
            return ()
        limit = max(int(qps), 1)
        return (Bucket(limit, self._clock_ns(), round(limit / qps * SECOND_NS)),)

    def _buckets(
        self, limit: int | None, period_ns: int = MINUTE_NS, *, times: int = 1
    ) -> tuple[Bucket, ...]:
        return () if limit is None else (Bucket(limit * times, self._clock_ns(), period_ns),)
