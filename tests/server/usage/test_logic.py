"""Reserve, settle, give back: on a clock of the test's own."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yangfan import errors
from yangfan.server.db import Database
from yangfan.server.http import Meter, Principal
from yangfan.server.usage import Limits, Usage
from yangfan.server.usage.buckets import SECOND_NS
from yangfan.server.usage.ledger import DAY_SECONDS, Ledger
from yangfan.server.usage.spool import Spool
from yangfan.server.usage.store import UsageStore
from yangfan.server.usage.types import Defaults


class Target:
    """A model that is called by its own name."""

    def __init__(self, model: str = "echo") -> None:
        self.model = model
        self.spellings = frozenset({model})


class Clock:
    """Time as the test wants it."""

    def __init__(self) -> None:
        self.ns = 20_000 * DAY_SECONDS * SECOND_NS

    def __call__(self) -> int:
        return self.ns

    def seconds(self) -> float:
        return self.ns / SECOND_NS

    def wait(self, seconds: float) -> None:
        self.ns += int(seconds * SECOND_NS)


Open = Callable[..., Usage]
ECHO = Target()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def ledger(tmp_path: Path, clock: Clock) -> AsyncGenerator[Ledger]:
    database = Database(tmp_path / "yangfan.db")
    await database.migrate()
    ledger = Ledger(UsageStore(database), Spool(tmp_path / "usage"), clock=clock.seconds)
    await ledger.start()
    yield ledger
    await ledger.stop()
    await database.close()


@pytest.fixture
def open_usage(ledger: Ledger, clock: Clock) -> Open:
    """Usage where every key has the same limits."""

    def make(limits: Limits | None = None, **defaults: int) -> Usage:
        limits = limits or Limits()
        return Usage(ledger, lambda _key: limits, Defaults(**defaults), clock_ns=clock)

    return make


def meter_of(usage: Usage, key: str = "k", app: str = "app") -> Meter:
    return usage.meter(Principal(key, app, "bearer"))


def spend(usage: Usage, reserved: int, used: int | None = None, key: str = "k") -> None:
    """One call from its beginning to its end."""
    meter = meter_of(usage, key)
    meter.reserve(ECHO, reserved)
    meter.settle(reserved if used is None else used, 0)
    meter.close()


def left(meter: Meter) -> tuple[int, int]:
    """Requests and tokens that the headers say are left."""
    shown = dict(meter.headers())
    return (
        int(shown[b"X-Ratelimit-Remaining-Requests"]),
        int(shown[b"X-Ratelimit-Remaining-Tokens"]),
    )


def test_all_limits_are_taken_from_or_none(open_usage: Open):
    usage = open_usage(Limits(rpm=5, tpm=100), model_tpm=50)
    with pytest.raises(errors.TokenRateLimited, match="limit is 50 a minute"):
        meter_of(usage).reserve(ECHO, 60)
    meter = meter_of(usage)
    meter.reserve(ECHO, 40)
    assert left(meter) == (4, 10)
    refused = meter_of(usage)
    with pytest.raises(errors.TokenRateLimited) as caught:
        refused.reserve(ECHO, 20)
    assert caught.value.retry_after_seconds == 12
    assert left(refused) == (4, 10)


def test_closing_an_unsettled_call_gives_back_everything(open_usage: Open):
    usage = open_usage(Limits(rpm=5, tpm=100, daily_tokens=100, total_tokens=100), app_qps=1)
    meter = meter_of(usage)
    meter.reserve(ECHO, 100)
    meter.close()
    meter.close()
    spend(usage, 100)


def test_reserving_again_takes_the_place_of_the_first(open_usage: Open):
    usage = open_usage(Limits(rpm=1, tpm=100, total_tokens=100))
    meter = meter_of(usage)
    meter.reserve(ECHO, 1)
    with pytest.raises(errors.RequestRateLimited):
        meter_of(usage).reserve(ECHO, 1)
    meter.reserve(ECHO, 100)
    assert left(meter) == (0, 0)
    meter.close()
    assert left(meter) == (1, 100)


def test_a_rough_size_may_be_taken_only_where_several_calls_of_it_fit(open_usage: Open):
    assert meter_of(open_usage()).spares(ECHO, 10**12)
    for limits in (Limits(tpm=100), Limits(daily_tokens=100), Limits(total_tokens=100)):
        usage = open_usage(limits)
        meter = meter_of(usage)
        assert meter.spares(ECHO, 25)
        assert not meter.spares(ECHO, 26)
        meter.reserve(ECHO, 4)
        assert meter_of(usage).spares(ECHO, 24)
        assert not meter_of(usage).spares(ECHO, 25)


def test_settling_twice_books_the_difference(open_usage: Open):
    usage = open_usage(Limits(tpm=100, total_tokens=100))
    meter = meter_of(usage)
    meter.reserve(ECHO, 90)
    meter.settle(10, 5)
    meter.settle(10, 5)
    meter.settle(10, 8)
    meter.close()
    assert left(meter)[1] == 82
    with pytest.raises(errors.TotalQuotaExceeded, match="82 of the key's 100 tokens are left"):
        meter_of(usage).reserve(ECHO, 83)


async def test_ledger_counts_a_call_once_however_often_it_settles(open_usage: Open, ledger: Ledger):
    meter = meter_of(open_usage())
    meter.reserve(ECHO, 90)
    for completion_tokens in (0, 5, 5, 9):
        meter.settle(10, completion_tokens)
    meter.close()
    (count,) = (await ledger.counts(0, ledger.today)).values()
    assert (count.requests, count.prompt_tokens, count.completion_tokens) == (1, 10, 9)


def test_call_that_used_more_than_it_reserved_leaves_a_debt(open_usage: Open, clock: Clock):
    usage = open_usage(Limits(tpm=60))
    spend(usage, 10, 90)
    with pytest.raises(errors.TokenRateLimited) as caught:
        meter_of(usage).reserve(ECHO, 1)
    assert caught.value.retry_after_seconds == 31
    clock.wait(31)
    spend(usage, 1)


def test_the_longest_wait_is_told(open_usage: Open, clock: Clock):
    usage = open_usage(Limits(rpm=1, tpm=60), app_qps=1)
    spend(usage, 60)
    with pytest.raises(errors.RequestRateLimited) as caught:
        meter_of(usage).reserve(ECHO, 10)
    assert caught.value.retry_after_seconds == 60
    clock.wait(60)
    spend(usage, 10)


def test_applications_keys_share_its_requests_a_second(open_usage: Open, clock: Clock):
    usage = open_usage(app_qps=2)
    spend(usage, 1, key="a")
    spend(usage, 1, key="b")
    with pytest.raises(errors.RateLimited, match="limit is 2 requests a second") as caught:
        spend(usage, 1, key="c")
    assert type(caught.value) is errors.RateLimited
    assert caught.value.retry_after_seconds == 0.5
    meter_of(usage, "d", "another app").reserve(ECHO, 1)
    clock.wait(0.5)
    spend(usage, 1, key="c")


def test_a_services_qps_is_shared_by_all_and_may_be_below_one(open_usage: Open, clock: Clock):
    usage = open_usage()
    usage.lanes.limit_service("echo", 0.5)
    spend(usage, 1, key="a")
    with pytest.raises(errors.RateLimited, match="limit is 1 requests in 2 s") as caught:
        spend(usage, 1, key="b")
    assert type(caught.value) is errors.RateLimited
    clock.wait(2)
    spend(usage, 1, key="b")
    usage.lanes.limit_service("echo", 2.5)
    spend(usage, 1, key="a")
    spend(usage, 1, key="b")
    with pytest.raises(errors.RateLimited, match=r"limit is 2 requests in 0\.8 s"):
        spend(usage, 1, key="a")
    usage.lanes.limit_service("echo", 0)
    for _ in range(5):
        spend(usage, 1, key="a")


def test_model_limit_is_shared_by_keys_and_changes_at_once(open_usage: Open):
    usage = open_usage(model_rpm=1)
    spend(usage, 1, key="a")
    with pytest.raises(errors.RequestRateLimited):
        spend(usage, 1, key="b")
    meter_of(usage, "b").reserve(Target("another"), 1)
    usage.lanes.limit_model("echo", 5)
    with pytest.raises(errors.TokenRateLimited):
        spend(usage, 6, key="b")
    usage.lanes.limit_model("echo")
    spend(usage, 6, key="a")


def test_keys_own_limit_wins_over_the_default(open_usage: Open):
    spend(open_usage(Limits(tpm=100), tpm=10), 100)
    with pytest.raises(errors.TokenRateLimited):
        spend(open_usage(tpm=10), 11)


def test_daily_quota_is_new_the_next_day(open_usage: Open, clock: Clock):
    usage = open_usage(Limits(daily_tokens=10))
    spend(usage, 10)
    with pytest.raises(errors.QuotaExceeded, match="wait for the next day"):
        spend(usage, 1)
    over_midnight = None
    clock.wait(DAY_SECONDS - 1)
    with pytest.raises(errors.QuotaExceeded):
        spend(usage, 1)
    clock.wait(1)
    over_midnight = meter_of(usage)
    over_midnight.reserve(ECHO, 4)
    clock.wait(DAY_SECONDS)
    over_midnight.settle(3, 0)
    spend(usage, 7)
    with pytest.raises(errors.QuotaExceeded, match="0 of the key's 10 tokens"):
        spend(usage, 1)


@pytest.mark.parametrize("days", [0, 1])
async def test_quotas_are_remembered_over_a_restart(
    open_usage: Open, clock: Clock, ledger: Ledger, days: int
):
    spend(open_usage(), 6)
    again = open_usage(Limits(daily_tokens=10, total_tokens=12))
    await ledger.stop()
    await again.start()
    clock.wait(days * DAY_SECONDS)
    spend(again, 4)
    with pytest.raises(errors.QuotaExceeded):
        spend(again, 7)


@pytest.mark.parametrize(
    ("limits", "prompt_tokens", "answer_tokens"),
    [
        (Limits(), 5, None),
        (Limits(rpm=1), 5, None),
        (Limits(tpm=100), 20, 20),
        (Limits(daily_tokens=100), 20, 80),
        (Limits(total_tokens=50, tpm=100), 20, 20),
        (Limits(tpm=10), 20, 1),
    ],
)
def test_answers_of_no_given_length_leave_room_for_others(
    open_usage: Open, limits: Limits, prompt_tokens: int, answer_tokens: int | None
):
    meter = meter_of(open_usage(limits))
    assert meter.answer_tokens(ECHO, prompt_tokens) == answer_tokens


CALLS = st.lists(
    st.tuples(
        st.sampled_from("ab"),
        st.integers(0, 40),
        st.integers(0, 40),
        st.sampled_from(["settle", "close", "hold"]),
        st.integers(0, 30),
    ),
    max_size=40,
)


class Nowhere:
    """A ledger that keeps nothing."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    @property
    def today(self) -> int:
        return int(self._clock.seconds()) // DAY_SECONDS

    def record(self, *_record: object) -> None:
        pass


@given(calls=CALLS)
def test_no_history_of_calls_overshoots_any_limit(calls: list[tuple[str, int, int, str, int]]):
    clock = Clock()
    limits = Limits(tpm=60, total_tokens=300)
    usage = Usage(
        Nowhere(clock),  # pyright: ignore[reportArgumentType] - only what calls need
        lambda _key: limits,
        Defaults(model_tpm=90),
        clock_ns=clock,
    )
    began, spent = clock.ns, {"a": 0, "b": 0}
    held: list[tuple[str, int, int, Meter]] = []
    for key, reserved, used, end, seconds in calls:
        clock.wait(seconds)
        meter = meter_of(usage, key)
        try:
            meter.reserve(ECHO, reserved)
        except errors.RefusedError:
            continue
        if end == "hold":
            held.append((key, reserved, min(used, reserved), meter))
        elif end == "settle":
            meter.settle(min(used, reserved), 0)
            spent[key] += min(used, reserved)
        meter.close() if end != "hold" else None
        if len(held) > 2:
            older_key, _, older_used, older = held.pop(0)
            older.settle(0, older_used)
            older.close()
            spent[older_key] += older_used
        minutes = (clock.ns - began) / (60 * SECOND_NS)
        for each in spent:
            holding = sum(tokens for owner, tokens, _, _ in held if owner == each)
            assert spent[each] + holding <= min(300, 60 * (1 + minutes))
        assert sum(spent.values()) <= 90 * (1 + minutes)
