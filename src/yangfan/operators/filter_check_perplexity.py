"""Texts out that a language model finds unlikely: letters at random, words in no order, text in a wrong encoding.

The model is a small one of characters (n-grams of up to 4 in Chinese, 6 in English) that comes with the platform. Its
perplexity is that of tokens of a fixed number of characters, calibrated against the wire's default of 1110 on a book that
the model has not seen (tables/ngrams.json says how many of its paragraphs pass). Baidu's model is not public, so values are
not comparable with Baidu's. Being trained on few and mostly technical texts, it tells text from no text, not good from bad.

Source: BigScience ROOTS (Laurençon et al., 2022), 01b_oscar_cleaning_and_filtering, check_perplexity; Wenzek et al., 2020,
"CCNet"; Witten and Bell, 1991, for the smoothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import numpy as np
from msgspec import Meta

from yangfan.errors import ConfigurationError
from yangfan.operators import _ngrams, base

if TYPE_CHECKING:
    from yangfan.operators._texts import Texts, Values

STAGE: base.Stage = "filter"
SUMMARY = {
    "en": "Drop texts that a small character model finds unlikely",
    "zh": "按困惑度过滤：字符语言模型认为不通顺的文本被去除",
}

LANGUAGES = ("zh", "en")
HIGHEST = 1e9
"""Perplexities are cut off here: a few characters never seen would make a number without meaning."""


class Parameters(base.Parameters, frozen=True):
    """Arguments."""

    perplexity_max_cutoff: Annotated[
        float, Meta(ge=1, description="Highest perplexity that stays / 允许的最高困惑度")
    ] = 1110


class CheckPerplexity(base.Filter):
    """Only what reads like text."""

    measures = "perplexity"

    def __init__(self, cutoff: float) -> None:
        self._cutoff = cutoff

    def measure(self, texts: Texts) -> Values:
        """The perplexity of each text under the model of its language, 1 for an empty text."""
        values = np.ones(len(texts))
        languages = np.array(texts.languages, dtype=object)
        for language in LANGUAGES:
            of_language = languages == language
            if of_language.any():
                nats = _ngrams.model(language).nats(texts.kept(of_language))
                exponent = nats * _ngrams.facts()[language].characters_per_token
                values[of_language] = np.exp(np.minimum(exponent, np.log(HIGHEST)))
        return values

    def bounds(self, texts: Texts) -> tuple[Values | float, Values | float]:
        """The range that stays."""
        del texts
        return 0.0, self._cutoff


def create(parameters: Parameters, common: base.Common) -> base.Operator:
    """The operator."""
    if common.language not in (base.AUTO, *LANGUAGES):
        raise ConfigurationError(
            f"filter_check_perplexity has no model of {common.language!r}; there are: {', '.join(LANGUAGES)}"
        )
    return CheckPerplexity(parameters.perplexity_max_cutoff)
