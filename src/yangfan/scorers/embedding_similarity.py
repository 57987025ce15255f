"""How close the meaning of the answer is to the expected one's: cosine of their embeddings, by a model served here."""

from __future__ import annotations

import math
from operator import mul
from typing import TYPE_CHECKING

from yangfan.errors import Invalid, YangfanError
from yangfan.scorers import base

if TYPE_CHECKING:
    from collections.abc import Sequence

    from yangfan.scorers.base import Models, Sample, Score

SUMMARY = {
    "en": "Closeness of meaning by embeddings, from -1 to 1",
    "zh": "基于向量的语义相似度，-1 到 1",
}


class Parameters(base.Parameters, frozen=True):
    """Arguments."""

    model: str = "embedding-v1"
    """A model for embeddings, by any of its names."""


class EmbeddingSimilarity:
    """Cosine of two embeddings."""

    def __init__(self, model: str, models: Models) -> None:
        self._model = model
        self._models = models

    def score(self, sample: Sample) -> Score:
        """From -1 to 1."""
        references = [each for each in sample.references if each.strip()]
        if not references:
            return base.NO_REFERENCE
        if not sample.answer.strip():
            return base.ungradeable("the answer is empty, and nothing has no meaning to compare")
        try:
            answer, *others = self._models.embed(self._model, [sample.answer, *references])
        except YangfanError as error:
            return base.ungradeable(f"no embeddings: {error.message}")
        return base.best([_cosine(answer, other) for other in others])


def _cosine(one: Sequence[float], other: Sequence[float]) -> Score:
    length = math.sqrt(_product(one, one) * _product(other, other))
    if not length or not math.isfinite(length):
        return base.ungradeable("the model gave a vector without a direction")
    return base.Score(max(-1.0, min(1.0, _product(one, other) / length)))


def _product(one: Sequence[float], other: Sequence[float]) -> float:
    return math.fsum(map(mul, one, other))


def create(parameters: Parameters, models: Models | None) -> base.Scorer:
    """The scorer.

    Raises:
        Invalid: There is nobody to ask.
    """
    if models is None:
        raise Invalid("scorer embedding_similarity asks a model, and none can be asked here")
    return EmbeddingSimilarity(parameters.model, models)
