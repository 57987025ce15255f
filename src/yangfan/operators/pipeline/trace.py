"""What a chain's operators do to a batch, as far as that depends on nothing but the batch.

Operators that remember earlier texts are asked only to prepare; all others run, those behind one that remembers as if it
dropped nothing. So a batch goes through any process in one go, and whoever holds the memory decides afterwards, batch by batch
in order, what of it counts (`chain.Chain`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import numpy as np

from yangfan.operators._texts import Texts
from yangfan.operators.pipeline import frames

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from yangfan.operators import base
    from yangfan.operators._texts import Counts, Flags

NONE = -1


@dataclass(slots=True)
class Trace:
    """What became of each text.

    Attributes:
        dropper: Number of the operator that dropped it, or `NONE`.
        positions: Places of the texts that none dropped.
        texts: These texts.
        changed: For each operator that changed any, which.
        reasons: For each text that was dropped, the measured value (or None) and the reason.
        failures: For each operator that failed, why.
        reached: For each operator that remembers, the places of the texts that came to it, and what it prepared of them.
    """

    dropper: NDArray[np.int16]
    positions: Counts
    texts: list[str]
    changed: dict[int, Flags] = field(default_factory=dict[int, "Flags"])
    reasons: dict[int, tuple[float | None, str]] = field(
        default_factory=dict[int, tuple[float | None, str]]
    )
    failures: dict[int, str] = field(default_factory=dict[int, str])
    reached: dict[int, tuple[Counts, NDArray[np.uint64]]] = field(
        default_factory=dict[int, "tuple[Counts, NDArray[np.uint64]]"]
    )


def remembers(operator: base.Operator) -> bool:
    """Whether the operator's answer depends on texts before."""
    return hasattr(operator, "prepare")


def trace(operators: Sequence[base.Operator], strings: list[str], language: str) -> Trace:
    """Run the operators over a batch."""
    texts = Texts(strings, language)
    size = len(texts)
    positions: Counts = np.arange(size)
    traced = Trace(np.full(size, NONE, np.int16), positions, strings)
    for number, operator in enumerate(operators):
        if remembers(operator):
            prepared = cast("base.Remembering", operator).prepare(texts)
            traced.reached[number] = (positions, prepared)
            continue
        outcome = operator(texts)
        if outcome.failure:
            traced.failures[number] = outcome.failure
        if outcome.texts is not texts:
            pairs = zip(texts.strings, outcome.texts.strings, strict=True)
            differ = [position for position, (before, after) in enumerate(pairs) if before != after]
            if differ:
                traced.changed[number] = np.zeros(size, np.bool_)
                traced.changed[number][positions[differ]] = True
            texts = outcome.texts
        if outcome.keep is not None and not outcome.keep.all():
            dropped = np.flatnonzero(~outcome.keep)
            traced.dropper[positions[dropped]] = number
            values = None if outcome.values is None else outcome.values[dropped].tolist()
            for place, position in enumerate(positions[dropped].tolist()):
                value = None if values is None else values[place]
                reason = "" if value is None else operator.reason(value)
                traced.reasons[position] = (value, reason)
            texts, positions = texts.kept(outcome.keep), positions[outcome.keep]
    traced.texts, traced.positions = texts.strings, positions
    return traced


def packed(traced: Trace) -> frames.Traced:
    """For a frame."""
    return frames.Traced(
        {number: frames.packed(flags) for number, flags in traced.changed.items()},
        frames.packed(traced.dropper),
        traced.reasons,
        traced.failures,
        {
            number: (frames.packed(places), frames.packed(prepared))
            for number, (places, prepared) in traced.reached.items()
        },
        frames.packed_strings(traced.texts),
        frames.packed(traced.positions),
    )


def unpacked(traced: frames.Traced) -> Trace:
    """Out of a frame."""
    return Trace(
        frames.unpacked(traced.dropper),
        frames.unpacked(traced.positions),
        frames.unpacked_strings(traced.texts),
        {number: frames.unpacked(flags) for number, flags in traced.changed.items()},
        traced.reasons,
        traced.failures,
        {
            number: (frames.unpacked(places), frames.unpacked(prepared))
            for number, (places, prepared) in traced.reached.items()
        },
    )
