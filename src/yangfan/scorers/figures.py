"""How sure a figure is: what scores say over all samples, with an interval in which the true figure lies 95 times of a hundred.

Shares of 0 and 1: Wilson 1927. Everything else: percentiles of the bootstrap, widened as Hesterberg 2015
(https://arxiv.org/abs/1411.5279, section 5.3) widens them for small samples.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from yangfan.scorers.base import Score, Scorer

RESAMPLES = 1000
MOST_GROUPS = 500
"""Samples beyond so many are drawn in groups: the same spread at a bounded cost."""

_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class Figure:
    """What scores say over all samples.

    Attributes:
        value: Over those that are graded; None if none is.
        low: Lower end of its interval; None where there are too few to say. `high` likewise.
        graded: How many samples have a score.
        ungradeable: How many have none, by reason.
    """

    value: float | None
    low: float | None
    high: float | None
    graded: int
    ungradeable: Counter[str]


def figure(
    scorer: Scorer | None, scores: Sequence[Score], *, confidence: float = 0.95, seed: int = 0
) -> Figure:
    """The figure over all samples, and its interval.

    Args:
        scorer: Whose scores they are, if it may be one whose figure is no mean.
        scores: One for each sample.
        confidence: How often the interval is to hold the true figure.
        seed: Of the draws.
    """
    graded = [score for score in scores if score.value is not None]
    reasons = Counter(score.reason for score in scores if score.value is None)
    if not graded:
        return Figure(None, None, None, 0, reasons)
    over_all: Callable[[Sequence[float]], float] | None = getattr(scorer, "over_all", None)
    if over_all is None or not all(score.counts for score in graded):
        values = [score.value or 0.0 for score in graded]
        value = math.fsum(values) / len(values)
        low, high = interval(values, confidence=confidence, seed=seed)
    else:
        rows = [score.counts for score in graded]
        value = over_all(_sum(rows))
        low, high = _bootstrap(rows, over_all, confidence, seed)
    return Figure(value, low, high, len(graded), reasons)


def interval(
    values: Sequence[float], *, confidence: float = 0.95, seed: int = 0
) -> tuple[float | None, float | None]:
    """Where the true mean lies, as often as `confidence` says; nowhere in particular for fewer than two values."""
    if set(values) <= {0.0, 1.0}:
        return wilson(math.fsum(values), len(values), confidence=confidence)
    rows = [(value, 1.0) for value in values]
    return _bootstrap(rows, lambda sums: sums[0] / sums[1], confidence, seed)


def wilson(
    successes: float, trials: int, *, confidence: float = 0.95
) -> tuple[float | None, float | None]:
    """The interval of a share."""
    if trials == 0:
        return None, None
    z = _NORMAL.inv_cdf((1 + confidence) / 2)
    share = successes / trials
    middle = share + z * z / (2 * trials)
    half = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


def _bootstrap(
    rows: Sequence[Sequence[float]],
    over_all: Callable[[Sequence[float]], float],
    confidence: float,
    seed: int,
) -> tuple[float | None, float | None]:
    if len(rows) < 2:
        return None, None
    draw = random.Random(seed)  # noqa: S311 - draws for statistics, the same each time
    groups = _groups(rows, draw)
    count = len(groups)
    found = sorted(over_all(_sum(draw.choices(groups, k=count))) for _ in range(RESAMPLES))
    tail = _NORMAL.cdf(-math.sqrt(count / (count - 1)) * _student((1 + confidence) / 2, count - 1))
    return _quantile(found, tail), _quantile(found, 1 - tail)


def _groups(rows: Sequence[Sequence[float]], draw: random.Random) -> list[Sequence[float]]:
    if len(rows) <= MOST_GROUPS:
        return [*rows]
    shuffled = [*rows]
    draw.shuffle(shuffled)
    return [_sum(shuffled[start::MOST_GROUPS]) for start in range(MOST_GROUPS)]


def _sum(rows: Sequence[Sequence[float]]) -> list[float]:
    return [math.fsum(column) for column in zip(*rows, strict=True)]


def _quantile(ordered: Sequence[float], share: float) -> float:
    place = share * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def _student(share: float, degrees: int) -> float:
    """Quantile of Student's t: exact for one and two degrees, else Cornish and Fisher's expansion (1e-2 at 3, 1e-4 at 10)."""
    if degrees == 1:
        return math.tan(math.pi * (share - 0.5))
    if degrees == 2:
        return (2 * share - 1) * math.sqrt(2 / (4 * share * (1 - share)))
    z = _NORMAL.inv_cdf(share)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + math.fsum(term / degrees ** (power + 1) for power, term in enumerate(terms))
