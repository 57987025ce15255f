"""Texts out that say the same characters over and over.

Of all runs of n characters (n = 10, Chinese 3), the counts of the most frequent kinds, as many as the square root of the
number of kinds but none that occurs once, are summed and set over the number of runs.

Source: BigScience ROOTS (Laurençon et al., 2022), 01b_oscar_cleaning_and_filtering, check_character_repetition_removal.
"""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from msgspec import Meta

from yangfan.operators import base
from yangfan.operators._texts import Counts, Texts, Values, ratio, tallies

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
        of_length = [texts.windows_within(one, length == one) for one in np.unique(length).tolist()]
        parts = [np.repeat(np.arange(len(texts)), counts) for counts, _ in of_length]
        hashes = [found for _, found in of_length]
        kinds, counts = tallies(_joined(parts), _joined(hashes), len(texts))
        number_of_kinds = np.bincount(kinds, minlength=len(texts))
        return ratio(
            _of_most_frequent(kinds, counts, number_of_kinds),
            np.maximum(texts.lengths - length + 1, 0),
        )

    def bounds(self, texts: Texts) -> tuple[Values | float, Values | float]:
        """The range that stays."""
        return 0.0, base.limits(texts, self._cutoff, "character_repetition_max_cutoff")


def _joined(arrays: list[Any]) -> Any:
    """One array of several; of one, which is the rule, the same."""
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def _of_most_frequent(kinds: Counts, counts: Counts, number_of_kinds: Counts) -> Values:
    """In each text, the sum of the highest counts: floor(sqrt(kinds)) of them, and only of those above 1."""
    repeated = counts > 1
    kinds, counts = kinds[repeated], counts[repeated]
    order = np.lexsort((-counts, kinds))
    kinds, counts = kinds[order], counts[order]
    rank = np.arange(len(kinds)) - np.searchsorted(kinds, kinds)
    counted = rank < np.floor(np.sqrt(number_of_kinds))[kinds]
    weights = counts[counted].astype(np.float64)
    return np.bincount(kinds[counted], weights, minlength=len(number_of_kinds)).astype(np.float64)


def create(parameters: Parameters, common: base.Common) -> base.Operator:
    """The operator."""
    del common
    return CheckCharacterRepetition(parameters.default_character_repetition_max_cutoff)
