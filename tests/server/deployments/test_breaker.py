"""The circuit breaker of one replica, on a clock that the test moves."""

from __future__ import annotations

from yangfan.server.deployments.breaker import MAX_OPEN_SECONDS, OPEN_SECONDS, THRESHOLD, Breaker


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def fail(breaker: Breaker, times: int = 1) -> None:
    """Let calls through that fail."""
    for _ in range(times):
        breaker.begin()
        breaker.fail()


def test_opens_after_failures_in_a_row_only():
    breaker = Breaker(Clock())
    fail(breaker, THRESHOLD - 1)
    breaker.begin()
    breaker.succeed()
    fail(breaker, THRESHOLD - 1)
    assert breaker.allows()
    fail(breaker)
    assert not breaker.allows()
    assert breaker.opens_in_seconds == OPEN_SECONDS


def test_one_call_passes_after_the_pause_and_closes_it():
    clock = Clock()
    breaker = Breaker(clock)
    fail(breaker, THRESHOLD)
    clock.now = OPEN_SECONDS
    assert breaker.allows()
    breaker.begin()
    assert not breaker.allows()
    breaker.succeed()
    assert breaker.closed
    assert breaker.allows()


def test_failed_probe_doubles_the_pause_up_to_a_limit():
    clock = Clock()
    breaker = Breaker(clock)
    fail(breaker, THRESHOLD)
    pauses: list[float] = []
    for _ in range(6):
        clock.now += breaker.opens_in_seconds
        fail(breaker)
        pauses.append(breaker.opens_in_seconds)
    assert pauses == [2 * OPEN_SECONDS, 4 * OPEN_SECONDS, 8 * OPEN_SECONDS, *[MAX_OPEN_SECONDS] * 3]


def test_probe_that_ends_without_a_verdict_lets_the_next_one_pass():
    clock = Clock()
    breaker = Breaker(clock)
    fail(breaker, THRESHOLD)
    clock.now = OPEN_SECONDS
    breaker.begin()
    breaker.abandon()
    assert breaker.allows()
