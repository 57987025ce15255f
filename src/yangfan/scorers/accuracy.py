"""Whether the answer names the right label: for classification, where models say more than the label.

Width, case, punctuation and space do not count. Where the labels are given, the answer has to name exactly one of them; otherwise it
has to be the label.
"""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

from yangfan.scorers import base

if TYPE_CHECKING:
    from collections.abc import Sequence

    from yangfan.scorers.base import Models, Sample, Score

SUMMARY = {
    "en": "The right label, whatever the case, width and punctuation: 1 or 0",
    "zh": "分类标签是否正确（忽略大小写、全半角与标点）：1 或 0",
}


class Parameters(base.Parameters, frozen=True):
    """Arguments."""

    labels: tuple[str, ...] = ()
    """All labels; an answer is then right if it names the expected one and no other."""


class Accuracy:
    """Equality of labels."""

    def __init__(self, labels: Sequence[str]) -> None:
        self._labels = [plain(label) for label in labels]

    def score(self, sample: Sample) -> Score:
        """1 or 0."""
        if not sample.references:
            return base.NO_REFERENCE
        expected = {plain(reference) for reference in sample.references}
        answer = plain(sample.answer)
        if self._labels and answer not in self._labels:
            named = _longest([label for label in self._labels if label and label in answer])
            return base.Score(float(len(named) == 1 and named[0] in expected))
        return base.Score(float(answer in expected))


def plain(text: str) -> str:
    """A label without what does not count."""
    text = unicodedata.normalize("NFKC", text).casefold()
    return "".join(each for each in text if unicodedata.category(each)[0] not in "PZC")


def _longest(labels: Sequence[str]) -> list[str]:
    """Those that are not just a part of another: `not spam` names one label, not two."""
    return [
        label
        for label in dict.fromkeys(labels)
        if not any(label != other and label in other for other in labels)
    ]


def create(parameters: Parameters, models: Models | None) -> base.Scorer:
    """The scorer."""
    del models
    return Accuracy(parameters.labels)
