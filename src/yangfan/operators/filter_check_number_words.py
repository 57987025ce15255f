"""Texts out that have too few or too many words; a Chinese word is a segment of jieba's.

Source: BigScience ROOTS (Laurençon et al., 2022), 01b_oscar_cleaning_and_filtering, check_number_words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import numpy as np
from msgspec import Meta

from yangfan.operators import base

if TYPE_CHECKING:
    from yangfan.operators._texts import Flags, Texts, Values

STAGE: base.Stage = "filter"
SUMMARY = {
    "en": "Drop texts with too few or too many words",
    "zh": "按词数过滤：词数过少或过多的文本被去除",
}


class Parameters(base.Parameters, frozen=True):
    """Arguments."""

    number_words_min_cutoff: (
        Annotated[int, Meta(ge=0, le=10**9, description="Fewest words / 最少词数")]
        | base.ByLanguage
    ) = 1
    number_words_max_cutoff: (
        Annotated[int, Meta(ge=0, le=10**9, description="Most words / 最多词数")] | base.ByLanguage
    ) = 10_000


class CheckNumberWords(base.Filter):
    """As many words as are allowed."""

    measures = "words"

    def __init__(self, parameters: Parameters) -> None:
        self._low = parameters.number_words_min_cutoff
        self._high = parameters.number_words_max_cutoff

    def measure(self, texts: Texts) -> Values:
        """Words of each text."""
        return texts.words.counts.astype(np.float64)

    def certain(self, texts: Texts) -> Flags:
        """Chinese texts whose signs separate enough words, and that have no more characters than they may have words."""
        low, high = self.bounds(texts)
        characters = texts.bare.lengths
        fewest = np.maximum(texts.fewest_words, characters > 0)
        return texts.is_chinese & (fewest >= low) & (characters <= high)

    def bounds(self, texts: Texts) -> tuple[Values | float, Values | float]:
        """The range that stays."""
        return (
            base.limits(texts, self._low, "number_words_min_cutoff"),
            base.limits(texts, self._high, "number_words_max_cutoff"),
        )


def create(parameters: Parameters, common: base.Common) -> base.Operator:
    """The operator."""
    del common
    return CheckNumberWords(parameters)


def missing() -> str:
    """What must be installed first."""
    return base.lacks("rjieba")
