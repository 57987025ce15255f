"""What is counted while the server runs, how late the event loop is, and who else wants to know of each call."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from yangfan.server.metrics.histogram import SECONDS, TOKENS, Histogram

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from yangfan.server.http import Observed

LAG_PERIOD_SECONDS = 0.25
"""Between two looks at how late the event loop wakes a sleeper."""

MAX_SERIES = 2000
"""Pairs of endpoint and model that are told apart; served models are few, but nothing here may grow without end."""

LIMITER: dict[str, str] = {
    "RequestRateLimited": "requests_per_minute",
    "TokenRateLimited": "tokens_per_minute",
    "RateLimited": "requests_per_second",
    "QuotaExceeded": "daily_quota",
    "TotalQuotaExceeded": "total_quota",
    "ModelForbidden": "model_not_allowed",
    "Overloaded": "overload",
    "PreemptibleLimited": "preemptible",
}
"""Error classes by which calls are turned away, and what the decision is called."""

Series = tuple[str, str]
"""Endpoint and model, or model and kind of tokens."""


class _Counted:
    """The calls of one endpoint to one model that ended in one way, and where else they count; looked up once for each call.

    Attributes:
        calls: How many.
        seconds: How long they took, with those that ended otherwise.
        decision: Of the limiter, where that is what they ended by.
        tokens: The model's prompts and answers; None before the first.
    """

    __slots__ = ("calls", "decision", "seconds", "tokens")

    def __init__(self, seconds: Histogram, decision: str) -> None:
        self.calls = 0
        self.seconds = seconds
        self.decision = decision
        self.tokens: tuple[Histogram, Histogram] | None = None


class Metrics:
    """Counts calls (`yangfan.server.http.Observer`).

    Args:
        told: Further observers: the request log, the tracer.
        traces: Whether the tracer is among them.
    """

    def __init__(
        self, told: Sequence[Callable[[Observed], None]] = (), *, traces: bool = False
    ) -> None:
        """Start at zero; `start` begins to watch the event loop."""
        self.traces = traces
        self.in_flight = 0
        self._counted: dict[tuple[str, str, str], _Counted] = {}
        self.durations: dict[Series, Histogram] = {}
        self.first_events: dict[Series, Histogram] = {}
        self.tokens: dict[Series, Histogram] = {}
        self.decisions: dict[str, int] = {}
        self.loop_lag = Histogram()
        self._told = tuple(told)
        self._watch: asyncio.Task[None] | None = None

    def began(self) -> None:
        """An API call was found its route."""
        self.in_flight += 1

    def ended(self, call: Observed) -> None:
        """Count it and tell the others."""
        self.in_flight -= 1
        key = (call.endpoint, call.model, call.outcome)
        counted = self._counted.get(key) or self._count(key)
        counted.calls += 1
        counted.seconds.add(call.seconds)
        if call.first_event_seconds is not None:
            series = (call.endpoint, call.model)
            first = self.first_events.get(series) or self._new(self.first_events, series)
            first.add(call.first_event_seconds)
        if call.prompt_tokens or call.completion_tokens:
            prompt, completion = counted.tokens or self._count_tokens(counted, call.model)
            prompt.add(call.prompt_tokens)
            completion.add(call.completion_tokens)
        decision = counted.decision
        if not decision and call.model and call.admitted:
            decision = "admitted"
        if decision:
            self.decisions[decision] = self.decisions.get(decision, 0) + 1
        for tell in self._told:
            tell(call)

    @property
    def outcomes(self) -> dict[tuple[str, str, str], int]:
        """How many calls of each endpoint to each model ended how."""
        return {key: counted.calls for key, counted in self._counted.items()}

    def _count(self, key: tuple[str, str, str]) -> _Counted:
        endpoint, model, outcome = key
        series = (endpoint, model)
        duration = self.durations.get(series) or self._new(self.durations, series)
        counted = self._counted[key] = _Counted(duration, LIMITER.get(outcome, ""))
        return counted

    def _count_tokens(self, counted: _Counted, model: str) -> tuple[Histogram, Histogram]:
        prompt, completion = (
            self.tokens.get((model, kind)) or self._new(self.tokens, (model, kind), TOKENS)
            for kind in ("prompt", "completion")
        )
        counted.tokens = (prompt, completion)
        return prompt, completion

    async def start(self) -> None:
        """Begin to watch the event loop."""
        self._watch = asyncio.create_task(self._measure_lag(), name="event loop lag")

    async def stop(self) -> None:
        """Stop watching."""
        if self._watch is not None:
            self._watch.cancel()
            with suppress(asyncio.CancelledError):
                await self._watch

    def _new(
        self,
        table: dict[Series, Histogram],
        series: Series,
        bounds: tuple[float, ...] = SECONDS,
    ) -> Histogram:
        histogram = Histogram(bounds)
        if len(table) < MAX_SERIES:
            table[series] = histogram
        return histogram

    async def _measure_lag(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            due = clock() + LAG_PERIOD_SECONDS
            await asyncio.sleep(LAG_PERIOD_SECONDS)
            self.loop_lag.add(max(clock() - due, 0.0))
