"""Texts out with too large a share of special characters: punctuation, digits, whitespace, listed symbols, emoji.

Source: BigScience ROOTS (Laurençon et al., 2022), 01b_oscar_cleaning_and_filtering, check_special_characters; the set is the
published one (tables/languages.json).
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from yangfan.operators import base
from yangfan.operators._texts import Texts, Values, ratio

STAGE: base.Stage = "filter"
SUMMARY = {
    "en": "Drop texts with too large a share of punctuation, digits, whitespace, symbols and emoji",
    "zh": "按特殊字符比例过滤：标点、数字、空白、符号、表情占比过高的文本被去除",
}


class Parameters(base.Parameters, frozen=True):
    """Arguments."""

    special_characters_max_cutoff: (
        Annotated[float, Meta(ge=0, le=1, description="Highest share that stays / 允许的最高比例")]
        | base.ByLanguage
    ) = 0.3


class CheckSpecialCharacters(base.Filter):
    """Not too many special characters."""

    measures = "share of special characters"

    def __init__(self, cutoff: float | str) -> None:
        self._cutoff = cutoff

    def measure(self, texts: Texts) -> Values:
        """Special characters over all, 0 for an empty text."""
        return ratio(texts.sums(texts.special), texts.lengths)

    def bounds(self, texts: Texts) -> tuple[Values | float, Values | float]:
        """The range that stays."""
        return 0.0, base.limits(texts, self._cutoff, "special_characters_max_cutoff")


def create(parameters: Parameters, common: base.Common) -> base.Operator:
    """The operator."""
    del common
    return CheckSpecialCharacters(parameters.special_characters_max_cutoff)
