"""How good a ranking is, when it is known what should have been found."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def recall(ranking: Sequence[int], grades: Mapping[int, int], cutoff: int) -> float:
    """The share of what is relevant that stands among the first `cutoff`, 0 to 1.

    Args:
        ranking: What was found, the best first, each once.
        grades: What is relevant, and how much, from 1; at least one.
        cutoff: How far to look, from 1.
    """
    return sum(each in grades for each in ranking[:cutoff]) / len(grades)


def ndcg(ranking: Sequence[int], grades: Mapping[int, int], cutoff: int) -> float:
    """Normalised discounted cumulative gain among the first `cutoff`, 0 to 1; 1 if nothing could stand better.

    The gain of grade g is g, discounted by log2(rank + 1) (Järvelin and Kekäläinen, Cumulated gain-based evaluation of IR techniques, 2002).
    """
    gained = _gain([grades.get(each, 0) for each in ranking[:cutoff]])
    return gained / _gain(sorted(grades.values(), reverse=True)[:cutoff])


def reciprocal_rank(ranking: Sequence[int], grades: Mapping[int, int]) -> float:
    """One over the rank of the first relevant one; 0 if none was found."""
    return next((1 / rank for rank, each in enumerate(ranking, 1) if each in grades), 0.0)


def _gain(grades: Sequence[int]) -> float:
    return sum(grade / math.log2(rank + 1) for rank, grade in enumerate(grades, 1))
