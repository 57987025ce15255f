"""Whether the answer is the expected one, character by character but for the space around it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yangfan.scorers import base

if TYPE_CHECKING:
    from yangfan.scorers.base import Models, Sample, Score

SUMMARY = {"en": "Exactly the expected answer: 1 or 0", "zh": "与预期回答完全一致：1 或 0"}


class Parameters(base.Parameters, frozen=True):
    """Arguments."""

    ignore_case: bool = False


class Exact:
    """Equality."""

    def __init__(self, *, ignore_case: bool) -> None:
        self._ignore_case = ignore_case

    def score(self, sample: Sample) -> Score:
        """1 or 0."""
        if not sample.references:
            return base.NO_REFERENCE
        answer = self._plain(sample.answer)
        return base.Score(float(any(answer == self._plain(each) for each in sample.references)))

    def _plain(self, text: str) -> str:
        text = text.strip()
        return text.casefold() if self._ignore_case else text


def create(parameters: Parameters, models: Models | None) -> base.Scorer:
    """The scorer."""
    del models
    return Exact(ignore_case=parameters.ignore_case)
