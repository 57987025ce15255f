"""Buckets against a slow clear oracle: what was taken in any stretch of time is never more than what there was."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from yangfan.server.usage.buckets import MINUTE_NS, SECOND_NS, Bucket

STEPS = st.lists(
    st.tuples(
        st.integers(0, 90 * SECOND_NS), st.integers(0, 130), st.integers(0, 130), st.booleans()
    ),
    max_size=30,
)


class Oracle:
    """A bucket in fractions, one line for each thing that it does."""

    def __init__(self, limit: int, period_ns: int) -> None:
        self.limit, self.level, self.seen = limit, Fraction(limit), 0
        self.rate = Fraction(limit, period_ns)

    def at(self, now_ns: int) -> None:
        self.level = min(self.limit, self.level + (now_ns - self.seen) * self.rate)
        self.seen = now_ns


@given(limit=st.integers(1, 120), steps=STEPS, period_ns=st.sampled_from([SECOND_NS, MINUTE_NS, 7]))
def test_bucket_agrees_with_the_oracle_and_never_overshoots(
    limit: int, steps: list[tuple[int, int, int, bool]], period_ns: int
):
    bucket, oracle, now_ns = Bucket(limit, 0, period_ns), Oracle(limit, period_ns), 0
    spent: list[tuple[int, int]] = []
    for elapsed_ns, wanted, used, gives_back in steps:
        now_ns += elapsed_ns
        oracle.at(now_ns)
        units = min(wanted, limit)
        wait_ns = bucket.wait_ns(units, now_ns)
        assert (wait_ns == 0) == (oracle.level >= units)
        assert bucket.remaining == max(0, int(oracle.level // 1))
        if wait_ns:
            missing = (units - oracle.level) / oracle.rate
            assert missing <= wait_ns < missing + 1, "the first whole nanosecond that has room"
            continue
        bucket.take(units)
        oracle.level -= units
        left_over = max(units - used, 0) if gives_back else 0
        bucket.give_back(left_over)
        oracle.level = min(limit, oracle.level + left_over)
        spent.append((now_ns, units - left_over))
        for first in range(len(spent)):
            stretch = spent[first:]
            most = limit + (now_ns - stretch[0][0]) * oracle.rate
            assert sum(units for _, units in stretch) <= most


def test_debt_is_paid_before_anything_else():
    bucket = Bucket(60, 0)
    bucket.take(90)
    assert bucket.remaining == 0
    assert bucket.wait_ns(1, 0) == 31 * SECOND_NS


def test_clock_that_goes_back_gives_nothing():
    bucket = Bucket(10, 100)
    bucket.take(10)
    for now_ns in (0, 100):
        assert bucket.wait_ns(1, now_ns) == MINUTE_NS // 10
    assert bucket.wait_ns(10, 100 + MINUTE_NS) == 0
