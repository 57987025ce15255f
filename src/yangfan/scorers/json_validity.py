"""Whether the answer is JSON: the text alone, or in one Markdown code block."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from yangfan.scorers import base

if TYPE_CHECKING:
    from collections.abc import Sequence

    from yangfan.scorers.base import Models, Sample, Score

SUMMARY = {"en": "The answer is JSON: 1 or 0", "zh": "回答是合法的 JSON：1 或 0"}

_BLOCK = re.compile(r"\s*```(?:json)?\s*\n(.*?)\n?\s*```\s*", re.DOTALL | re.IGNORECASE)


class Parameters(base.Parameters, frozen=True):
    """Arguments."""

    code_block: bool = True
    """Whether JSON in one Markdown code block counts."""
    required: tuple[str, ...] = ()
    """Names that the object has to have; the answer is then an object."""


class JsonValidity:
    """Validity of JSON."""

    def __init__(self, required: Sequence[str], *, code_block: bool) -> None:
        self._required = required
        self._code_block = code_block

    def score(self, sample: Sample) -> Score:
        """1 or 0, and what is wrong."""
        text = sample.answer
        block = _BLOCK.fullmatch(text) if self._code_block else None
        try:
            found: Any = msgspec.json.decode(block.group(1) if block else text)
        except (msgspec.DecodeError, RecursionError) as error:
            return base.Score(0.0, f"no JSON: {error}"[:300])
        if self._required and not isinstance(found, dict):
            return base.Score(0.0, "JSON, but no object")
        missing = [name for name in self._required if name not in found]
        if missing:
            return base.Score(0.0, f"the object lacks {', '.join(missing)}")
        return base.Score(1.0)


def create(parameters: Parameters, models: Models | None) -> base.Scorer:
    """The scorer."""
    del models
    return JsonValidity(parameters.required, code_block=parameters.code_block)
