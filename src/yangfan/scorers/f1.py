"""Overlap of the words of the answer with those of the expected one, as reading comprehension is graded.

Source: SQuAD, https://arxiv.org/abs/1606.05250, without its English articles; Chinese by character.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from yangfan.scorers import base
from yangfan.scorers._tokens import words

if TYPE_CHECKING:
    from yangfan.scorers.base import Models, Sample, Score

SUMMARY = {"en": "Overlap of words, F1, from 0 to 1", "zh": "词重叠 F1，0 到 1"}


class Parameters(base.Parameters, frozen=True):
    """Arguments."""


class F1:
    """Harmonic mean of precision and recall."""

    def score(self, sample: Sample) -> Score:
        """From 0 to 1."""
        answer = words(sample.answer)
        return base.best([_one(answer, words(reference)) for reference in sample.references])


def _one(answer: list[str], reference: list[str]) -> Score:
    if not answer or not reference:
        return base.Score(float(answer == reference))
    common = sum((Counter(answer) & Counter(reference)).values())
    return base.Score(2 * common / (len(answer) + len(reference)))


def create(parameters: Parameters, models: Models | None) -> base.Scorer:
    """The scorer."""
    del parameters, models
    return F1()
