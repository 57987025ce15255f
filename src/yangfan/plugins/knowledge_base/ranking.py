"""Which chunks answer a question: BM25 over terms, cosine over vectors, and the two put together."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

K1 = 1.2
B = 0.75
"""Robertson and Zaragoza, The Probabilistic Relevance Framework: BM25 and Beyond (2009)."""

RRF_K = 60
"""Cormack, Clarke, Buettcher: Reciprocal Rank Fusion (2009)."""

MAX_CANDIDATES = 2000
"""How many chunks are looked at for one question; the rarest of its terms say which."""


@dataclass(frozen=True, slots=True)
class Corpus:
    """What BM25 must know of all chunks together.

    Attributes:
        chunks: How many there are.
        terms: How many terms they have in all.
        frequencies: In how many chunks each term of the question stands.
    """

    chunks: int
    terms: int
    frequencies: Mapping[str, int]

    def weight(self, term: str) -> float:
        """Inverse document frequency, never below zero."""
        found = self.frequencies.get(term, 0)
        return math.log(1 + (self.chunks - found + 0.5) / (found + 0.5))


def telling_terms(terms: Sequence[str], frequencies: Mapping[str, int]) -> list[str]:
    """The terms to look candidates up by: the rarest that are there, until they lead to `MAX_CANDIDATES` chunks.

    Which they are depends on counts only, so every database finds the same candidates.
    """
    there = sorted((frequencies[term], term) for term in terms if frequencies.get(term))
    chosen: list[str] = []
    reached = 0
    for frequency, term in there:
        if chosen and reached + frequency > MAX_CANDIDATES:
            break
        chosen.append(term)
        reached += frequency
    return chosen


def bm25(
    terms: Sequence[str], candidates: Iterable[tuple[int, str, int]], corpus: Corpus
) -> list[tuple[int, float]]:
    """Candidates with a term of the question in them, the best first; equal ones by id.

    Args:
        terms: Of the question.
        candidates: Id, segmented text and number of terms of each.
        corpus: Of all chunks.
    """
    mean = max(corpus.terms / max(corpus.chunks, 1), 1.0)
    weights = [(f" {term} ", corpus.weight(term)) for term in terms]
    scored: list[tuple[int, float]] = []
    for id, text, length in candidates:
        # Neighbours share a space, so each is doubled before occurrences are counted.
        padded = f" {text.replace(' ', '  ')} "
        norm = K1 * (1 - B + B * length / mean)
        score = 0.0
        for term, weight in weights:
            if count := padded.count(term):
                score += weight * count * (K1 + 1) / (count + norm)
        if score > 0.0:
            scored.append((id, score))
    scored.sort(key=lambda item: (-item[1], item[0]))
    return scored


def fused(
    rankings: Sequence[Sequence[int]], weights: Sequence[float] = ()
) -> list[tuple[int, float]]:
    """Several rankings as one, by reciprocal rank fusion; equal ones by id.

    Args:
        rankings: Ids, the best first.
        weights: What each ranking counts; 1 for each by default.
    """
    scores: dict[int, float] = {}
    for number, ranking in enumerate(rankings):
        weight = weights[number] if weights else 1.0
        for rank, id in enumerate(ranking, 1):
            scores[id] = scores.get(id, 0.0) + weight / (RRF_K + rank)
    return sorted(scores.items(), key=lambda item: (-item[1], item[0]))
