"""BLEU-4: shared runs of one to four tokens, and a penalty for answers that are too short.

Source: Papineni et al. 2002, https://aclanthology.org/P02-1040; smoothing (``exp``) and tokenisation as sacrebleu has them, whose
figures these are, divided by 100. The value of one sample uses the orders that its answer has; over all samples the counts are added.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

from yangfan.scorers import base
from yangfan.scorers._tokens import bleu_tokens, has_chinese

if TYPE_CHECKING:
    from collections.abc import Sequence

    from yangfan.scorers.base import Models, Sample, Score

SUMMARY = {"en": "BLEU-4, from 0 to 1", "zh": "BLEU-4，0 到 1"}

ORDER = 4


class Parameters(base.Parameters, frozen=True):
    """Arguments."""


class Bleu4:
    """BLEU with runs of up to four tokens."""

    def score(self, sample: Sample) -> Score:
        """From 0 to 1."""
        references = [reference for reference in sample.references if reference.strip()]
        if not references:
            return base.NO_REFERENCE
        chinese = any(map(has_chinese, references))
        answer = bleu_tokens(sample.answer, chinese=chinese)
        counts = _counts(answer, [bleu_tokens(each, chinese=chinese) for each in references])
        return base.Score(_bleu(counts, effective_order=True), counts=counts)

    def over_all(self, counts: Sequence[float]) -> float:
        """BLEU of the whole."""
        return _bleu(counts, effective_order=False)


def _counts(answer: list[str], references: Sequence[list[str]]) -> tuple[float, ...]:
    """Matches of each order, runs of each order, length of the answer and of the reference that comes closest to it."""
    length = len(answer)
    closest = min(map(len, references), key=lambda each: (abs(each - length), each))
    matches: list[float] = []
    totals: list[float] = []
    for order in range(1, ORDER + 1):
        own = _runs(answer, order)
        most: Counter[tuple[str, ...]] = Counter()
        for reference in references:
            most |= _runs(reference, order)
        matches.append(sum((own & most).values()))
        totals.append(max(length - order + 1, 0))
    return (*matches, *totals, length, closest)


def _runs(tokens: list[str], order: int) -> Counter[tuple[str, ...]]:
    return Counter(zip(*(tokens[start:] for start in range(order)), strict=False))


def _bleu(counts: Sequence[float], *, effective_order: bool) -> float:
    matches, totals = counts[:ORDER], counts[ORDER : 2 * ORDER]
    length, reference = counts[2 * ORDER], counts[2 * ORDER + 1]
    if not any(matches):
        return 0.0
    logarithms: list[float] = []
    halved = 1.0
    for match, total in zip(matches, totals, strict=True):
        if not total:
            break
        if match:
            logarithms.append(math.log(match / total))
        else:
            halved *= 2
            logarithms.append(math.log(1 / (halved * total)))
    if len(logarithms) < ORDER and not effective_order:
        return 0.0
    penalty = math.exp(1 - reference / length) if length < reference else 1.0
    return penalty * math.exp(sum(logarithms) / len(logarithms))


def create(parameters: Parameters, models: Models | None) -> base.OverAll:
    """The scorer."""
    del parameters, models
    return Bleu4()
