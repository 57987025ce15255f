"""Measures of rankings, held against figures worked out by hand."""

from __future__ import annotations

from math import log2

import pytest

from yangfan.plugins.knowledge_base.measures import ndcg, recall, reciprocal_rank


def test_recall_counts_what_stands_early_enough() -> None:
    assert recall([5, 1, 2], {1: 1, 9: 1}, 1) == 0
    assert recall([5, 1, 2], {1: 1, 9: 1}, 3) == 0.5
    assert recall([9, 1], {1: 1, 9: 1}, 10) == 1


def test_the_gain_is_discounted_and_normalised() -> None:
    grades = {1: 3, 2: 1}
    assert ndcg([1, 2, 7], grades, 3) == 1
    ideal = 3 + 1 / log2(3)
    assert ndcg([2, 7, 1], grades, 3) == pytest.approx((1 + 3 / 2) / ideal)
    assert ndcg([7, 8, 1], grades, 2) == 0
    assert ndcg([1], grades, 1) == 1


def test_the_first_relevant_one_counts() -> None:
    assert reciprocal_rank([4, 5, 6], {6: 1, 5: 1}) == 0.5
    assert reciprocal_rank([4], {6: 1}) == 0
