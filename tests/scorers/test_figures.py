"""Intervals hold the true figure as often as they claim, in simulations; what cannot be graded is counted, never averaged."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest

from yangfan.scorers import base, figures

RUNS = 200


def coverage(draw_value: Callable[[random.Random], float], truth: float, size: int) -> float:
    """The share of intervals, each from so many draws, that hold the truth."""
    draw = random.Random(7)
    held = 0
    for run in range(RUNS):
        low, high = figures.interval([draw_value(draw) for _ in range(size)], seed=run)
        assert low is not None
        assert high is not None
        held += low <= truth <= high
    return held / RUNS


Draw = Callable[[random.Random], float]

KINDS: dict[str, tuple[Draw, float, int]] = {
    "share": (lambda draw: float(draw.random() < 0.8), 0.8, 20),
    "rare": (lambda draw: float(draw.random() < 0.05), 0.05, 60),
    "normal": (lambda draw: draw.gauss(3.0, 1.0), 3.0, 10),
    "grades": (lambda draw: float(draw.choice((1, 3, 4, 4, 5, 5))), 22 / 6, 30),
    "skewed": (lambda draw: draw.betavariate(1, 4), 0.2, 50),
}
"""What is drawn, its true mean, and how many samples there are."""


@pytest.mark.parametrize("name", KINDS)
def test_intervals_hold_the_truth_as_often_as_they_claim(
    name: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(figures, "RESAMPLES", 400)
    draw_value, truth, size = KINDS[name]
    held = coverage(draw_value, truth, size)
    # Three standard errors of a share of 0.95 over so many runs, and what skew costs a bootstrap of fifty.
    assert 0.95 - 3 * math.sqrt(0.95 * 0.05 / RUNS) - 0.01 <= held, f"{name}: {held}"
    assert held < 1.0 or name in {"share", "rare"}


def test_many_samples_are_drawn_in_groups_and_the_spread_stays():
    draw = random.Random(9)
    values = [draw.gauss(0, 1) for _ in range(20_000)]
    low, high = figures.interval(values)
    assert low is not None
    assert high is not None
    assert high - low == pytest.approx(2 * 1.96 / math.sqrt(20_000), rel=0.15)


def test_what_cannot_be_graded_is_counted_with_its_reason_and_not_averaged():
    scores = [base.Score(1.0), base.ungradeable("no expected answer"), base.Score(0.5)]
    found = figures.figure(None, scores)
    assert (found.value, found.graded) == (0.75, 2)
    assert found.ungradeable == {"no expected answer": 1}
    nothing = figures.figure(None, scores[1:2])
    assert (nothing.value, nothing.low, nothing.high, nothing.graded) == (None, None, None, 0)
    assert figures.figure(None, [base.Score(0.3)]).low is None
    with pytest.raises(AssertionError, match="a score is a number"):
        base.Score(math.nan)
    with pytest.raises(AssertionError, match="says why"):
        base.Score(None)
