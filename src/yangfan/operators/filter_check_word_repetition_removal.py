"""Texts out that say the same words over and over: of all runs of n words (n = 5), the share that occurs more than once.

Source: BigScience ROOTS (Laurençon et al., 2022), 01b_oscar_cleaning_and_filtering, check_word_repetition_removal.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from msgspec import Meta

from yangfan.operators import base
from yangfan.operators._texts import Flags, Texts, Values, ratio, repeated, runs

STAGE: base.Stage = "filter"
SUMMARY = {
    "en": "Drop texts that repeat runs of words",
    "zh": "按词重复率过滤：词组重复过多的文本被去除",
}


class Parameters(base.Parameters, frozen=True):
    """Arguments."""

    word_repetition_max_cutoff: (
        Annotated[float, Meta(ge=0, le=1, description="Highest share that stays / 允许的最高比例")]
        | base.ByLanguage
    ) = 0.6


class CheckWordRepetition(base.Filter):
    """Not too many repeated words."""

    measures = "word repetition"

    def __init__(self, cutoff: float | str) -> None:
        self._cutoff = cutoff

    def measure(self, texts: Texts) -> Values:
        """The share of runs that occur more than once, 0 where there is no run."""
        length = texts.by_language("word_repetition_length").astype(np.int64)
        number, hashes = runs(texts.words.hashes, texts.words.offsets, length)
        parts, counts = repeated(number, hashes)
        return ratio(np.bincount(parts, counts, minlength=len(texts)).astype(np.float64), number)

    def certain(self, texts: Texts) -> Flags:
        """Chinese texts in which few runs of characters occur more than once.

        A word has at least one character that is not special, so where a run of n words occurs again, so does the run of n such
        characters that it begins with.
        """
        length = texts.by_language("word_repetition_length").astype(np.int64)
        again = np.zeros(len(texts))
        for one in np.unique(length[texts.is_chinese]).tolist():
            parts, counts = repeated(
                *texts.bare.windows_within(one, texts.is_chinese & (length == one))
            )
            again += np.bincount(parts, counts, minlength=len(texts))
        _, high = self.bounds(texts)
        return texts.is_chinese & (
            (again == 0) | (again < high * (texts.fewest_words - length + 1))
        )

    def bounds(self, texts: Texts) -> tuple[Values | float, Values | float]:
        """The range that stays."""
        return 0.0, base.limits(texts, self._cutoff, "word_repetition_max_cutoff")


def create(parameters: Parameters, common: base.Common) -> base.Operator:
    """The operator."""
    del common
    return CheckWordRepetition(parameters.word_repetition_max_cutoff)


def missing() -> str:
    """What must be installed first."""
    return base.lacks("rjieba")
