"""ROUGE-1, ROUGE-2 and ROUGE-L: how many words, pairs of words or words in the same order the answer shares; their F-measure.

Source: Lin 2004, https://aclanthology.org/W04-1013; figures as Google's rouge_score gives them without stemming. Chinese by character.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Literal

from yangfan.scorers import base
from yangfan.scorers._tokens import words

if TYPE_CHECKING:
    from yangfan.scorers.base import Models, Sample, Score

SUMMARY = {
    "en": "ROUGE-1, -2 or -L, F-measure, from 0 to 1",
    "zh": "ROUGE-1、ROUGE-2 或 ROUGE-L 的 F 值，0 到 1",
}

Variant = Literal["1", "2", "l"]


class Parameters(base.Parameters, frozen=True):
    """Arguments."""

    variant: Variant = "l"
    """``1``: words; ``2``: pairs of words; ``l``: the longest run of words in the same order, with gaps."""


class Rouge:
    """ROUGE of one variant."""

    def __init__(self, variant: Variant) -> None:
        self._variant = variant

    def score(self, sample: Sample) -> Score:
        """From 0 to 1."""
        answer = words(sample.answer)
        return base.best([self._one(answer, words(reference)) for reference in sample.references])

    def _one(self, answer: list[str], reference: list[str]) -> Score:
        if self._variant == "l":
            return _f_measure(_common_length(answer, reference), len(answer), len(reference))
        order = int(self._variant)
        own, expected = _runs(answer, order), _runs(reference, order)
        shared = sum((own & expected).values())
        return _f_measure(shared, sum(own.values()), sum(expected.values()))


def _runs(tokens: list[str], order: int) -> Counter[tuple[str, ...]]:
    return Counter(zip(*(tokens[start:] for start in range(order)), strict=False))


def _f_measure(shared: int, own: int, expected: int) -> Score:
    precision, recall = shared / max(own, 1), shared / max(expected, 1)
    return base.Score(2 * precision * recall / (precision + recall) if shared else 0.0)


def _common_length(one: list[str], other: list[str]) -> int:
    """Length of the longest common subsequence, a row of bits for each word of `one` (Hyyrö 2004): long answers stay cheap."""
    places: dict[str, int] = {}
    for position, word in enumerate(one):
        places[word] = places.get(word, 0) | (1 << position)
    every = (1 << len(one)) - 1
    row = every
    for word in other:
        match = row & places.get(word, 0)
        row = ((row + match) | (row - match)) & every
    return len(one) - row.bit_count()


def create(parameters: Parameters, models: Models | None) -> base.Scorer:
    """The scorer."""
    del models
    return Rouge(parameters.variant)
