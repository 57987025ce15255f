"""Texts out that say the same characters over and over.

Of all runs of n characters (n = 10, Chinese 3), the counts of the most frequent kinds, as many as the square root of the
number of kinds but none that occurs once, are summed and set over the number of runs.

Source: BigScience ROOTS (Laurençon et al., 2022), 01b_oscar_cleaning_and_filtering, check_character_repetition_removal.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from msgspec import Meta

from yangfan.operators import base
from yangfan.operators._texts import Counts, Texts, Values, ratio, repeated

STAGE: base.Stage = "filter"
SUMMARY = {
    "en": "Drop texts that repeat runs of characters",
    "zh": "按字符重复率过滤：字符片段重复过多的文本被去除",
}


class Parameters(base.Parameters, frozen=True):
    """Arguments."""

    default_character_repetition_max_cutoff: (
        Annotated[float, Meta(ge=0, le=1, description="Highest share that stays / 允许的最高比例")]
        | base.ByLanguage
    ) = 0.2


class CheckCharacterRepetition(base.Filter):
    """Not too many repeated characters."""

    measures = "character repetition"

    def __init__(self, cutoff: float | str) -> None:
        self._cutoff = cutoff

    def measure(self, texts: Texts) -> Values:
        """The share of the most frequent runs in all runs, 0 where there is none."""
        length = texts.by_language("character_repetition_length").astype(np.int64)
        number = np.maximum(texts.lengths - length + 1, 0)
        found = [
            repeated(*texts.windows_within(one, length == one))
            for one in np.unique(length).tolist()
        ]
        parts, counts = (np.concatenate(of_lengths) for of_lengths in zip(*found, strict=True))
        kinds = number - np.bincount(parts, counts - 1.0, minlength=len(texts)).astype(np.float64)
        return ratio(_of_most_frequent(parts, counts, kinds), number)

    def bounds(self, texts: Texts) -> tuple[Values | float, Values | float]:
        """The range that stays."""
        return 0.0, base.limits(texts, self._cutoff, "character_repetition_max_cutoff")


def _of_most_frequent(parts: Counts, counts: Counts, kinds: Values) -> Values:
    """In each text, the sum of the highest counts: floor(sqrt(kinds)) of them, and only of those above 1, which are given."""
    order = np.lexsort((-counts, parts))
    parts, counts = parts[order], counts[order]
    rank = np.arange(len(parts)) - np.searchsorted(parts, parts)
    counted = rank < np.floor(np.sqrt(kinds))[parts]
    weights = counts[counted].astype(np.float64)
    return np.bincount(parts[counted], weights, minlength=len(kinds)).astype(np.float64)


def create(parameters: Parameters, common: base.Common) -> base.Operator:
    """The operator."""
    del common
    return CheckCharacterRepetition(parameters.default_character_repetition_max_cutoff)
