"""BM25, candidates and fusion, each against a plain form of its own."""

from __future__ import annotations

import math
import random

import pytest

from yangfan.plugins.knowledge_base.ranking import (
    MAX_CANDIDATES,
    Corpus,
    bm25,
    fused,
    telling_terms,
)


def plain_bm25(terms: list[str], texts: list[list[str]]) -> list[tuple[int, float]]:
    """The formula word by word."""
    mean = sum(map(len, texts)) / len(texts)
    scores: list[tuple[int, float]] = []
    for number, words in enumerate(texts):
        score = 0.0
        for term in terms:
            found = sum(term in other for other in texts)
            weight = math.log(1 + (len(texts) - found + 0.5) / (found + 0.5))
            count = words.count(term)
            score += (
                weight * count * 2.2 / (count + 1.2 * (0.25 + 0.75 * len(words) / mean))
                if count
                else 0
            )
        if score:
            scores.append((number, score))
    return sorted(scores, key=lambda item: (-item[1], item[0]))


def test_bm25_is_the_formula() -> None:
    dice = random.Random(7)
    words = [f"w{number}" for number in range(30)] + ["w", "w1 2".replace(" ", "")]
    for _ in range(50):
        texts = [dice.choices(words, k=dice.randint(1, 40)) for _ in range(20)]
        terms = dice.sample(words, 4)
        corpus = Corpus(
            len(texts),
            sum(map(len, texts)),
            {term: sum(term in text for text in texts) for term in terms},
        )
        rows = [(number, " ".join(text), len(text)) for number, text in enumerate(texts)]
        expected = plain_bm25(terms, texts)
        found = bm25(terms, rows, corpus)
        assert [number for number, _ in found] == [number for number, _ in expected]
        assert [score for _, score in found] == pytest.approx([score for _, score in expected])


def test_the_rarest_terms_lead_to_candidates() -> None:
    frequencies = {"a": MAX_CANDIDATES, "b": 3, "c": 10, "d": 5 * MAX_CANDIDATES, "gone": 0}
    assert telling_terms(["a", "b", "c", "d", "gone", "never"], frequencies) == ["b", "c"]
    assert telling_terms(["d"], frequencies) == ["d"]
    assert telling_terms(["never", "gone"], frequencies) == []


def test_fusion() -> None:
    assert [number for number, _ in fused([[1, 2, 3], [3, 1, 4]])] == [1, 3, 2, 4]
    assert fused([[5], []]) == [(5, 1 / 61)]
    assert [number for number, _ in fused([[1], [2]], [1.0, 2.0])] == [2, 1]
    assert [number for number, _ in fused([[2], [1]])] == [1, 2], "equal ones by id"
