"""What a chain's operators do to a batch, as far as that depends on nothing but the batch.

Operators that remember earlier texts are asked only to prepare; all others run, those behind one that remembers as if it
dropped nothing. So a batch goes through any process in one go, and whoever holds the memory decides afterwards, batch by batch
in order, what of it counts (`chain.Chain`).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import numpy as np

from yangfan.errors import OperatorFailed
from yangfan.operators import base
from yangfan.operators._texts import Texts
from yangfan.operators.pipeline import frames

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from yangfan.operators._texts import Counts, Flags, Values

NONE = -1
CHANGING: tuple[base.Stage, ...] = ("clean", "desensitization")
"""Stages whose operators change texts; the others measure rows."""
FEW_GONE = 0.9
"""A filter measures rows that one before has dropped, for nothing, as long as at least this share stays: taking the others together
takes longer, and what was computed of them would be computed again."""
NOTHING_LEFT = "nothing is left of one of its texts"

Step = tuple[str, "base.Operator"]
"""A stage, and an operator of it."""
Said = Callable[[int], tuple[float | None, str]]
"""The value that was measured of a row, and why it goes."""


@dataclass(slots=True)
class Trace:
    """What became of each row.

    Attributes:
        dropper: Number of the operator that dropped it, or `NONE`.
        positions: Places of the rows that none dropped.
        texts: The texts of these, those of one row after another.
        changed: For each operator that changed any, which.
        reasons: For each row that was dropped, the measured value (or None) and the reason.
        failures: For each operator that failed, why.
        reached: For each operator that remembers, the places of the rows that came to it, and what it prepared of them.
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


class Rows:
    """Rows that are still there: their texts one by one for operators that change them, each row as one for those that measure.

    Args:
        parts: All texts, those of one row after another.
        sizes: How many each row has; None for one each, which costs nothing.
        whole: The rows as one text each, where it is known.
    """

    def __init__(self, parts: Texts, sizes: Counts | None, whole: Texts | None = None) -> None:
        self.parts, self.sizes = parts, sizes
        self._whole = parts if sizes is None else whole

    @property
    def whole(self) -> Texts:
        """One text for each row: its texts under one another, empty ones left out."""
        if self._whole is None:
            assert self.sizes is not None
            joined = [
                "\n".join(filter(None, texts)) for texts in grouped(self.parts.strings, self.sizes)
            ]
            self._whole = self.parts.replaced(joined)
        return self._whole

    def changed(self, parts: Texts) -> Rows:
        """These rows with other texts."""
        return Rows(parts, self.sizes)

    def kept(self, keep: Flags) -> Rows:
        """The rows that are flagged."""
        if self.sizes is None:
            return Rows(self.parts.kept(keep), None)
        whole = None if self._whole is None else self._whole.kept(keep)
        return Rows(self.parts.kept(np.repeat(keep, self.sizes)), self.sizes[keep], whole)

    def any_of(self, of_parts: Flags) -> Flags:
        """Which rows have a text that is flagged."""
        if self.sizes is None:
            return of_parts
        owners = np.repeat(np.arange(len(self.sizes)), self.sizes)
        return np.bincount(owners[of_parts], minlength=len(self.sizes)) > 0


def grouped(texts: Sequence[str], sizes: Sequence[int] | Counts) -> list[Sequence[str]]:
    """Texts row by row."""
    ends: list[int] = np.cumsum(sizes, dtype=np.int64).tolist()
    return [texts[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def trace(
    steps: Sequence[Step], strings: list[str], language: str, sizes: Counts | None = None
) -> Trace:
    """Run the operators over a batch.

    Args:
        steps: Each operator with its stage.
        strings: The texts of the rows, those of one row after another.
        language: Of all of them, or auto.
        sizes: How many texts each row has; None for one each. Where it is given, a row goes that an operator leaves without
            one of its texts: a turn whose prompt is empty is none.

    Raises:
        OperatorFailed: An operator of third parties changes texts in a stage that measures rows of several texts.
    """
    rows = Rows(Texts(strings, language), sizes)
    size = len(strings) if sizes is None else len(sizes)
    positions: Counts = np.arange(size)
    stays: Flags = np.ones(size, np.bool_)
    traced = Trace(np.full(size, NONE, np.int16), positions, strings)
    # Of the texts that come to an operator that remembers, the words are needed anyway.
    needs_words = any(remembers(operator) for _, operator in steps)
    for number, (stage, operator) in enumerate(steps):
        if not stays.all() and (not isinstance(operator, base.Filter) or stays.mean() < FEW_GONE):
            rows, positions, stays = rows.kept(stays), positions[stays], stays[stays]
        if not len(positions):
            break
        if remembers(operator):
            prepared = cast("base.Remembering", operator).prepare(rows.whole)
            traced.reached[number] = (positions, prepared)
            continue
        given = rows.parts if stage in CHANGING else rows.whole
        outcome = _outcome(operator, given, needs_words=needs_words)
        if outcome.failure:
            traced.failures[number] = outcome.failure
        keep, values = outcome.keep, outcome.values
        if keep is not None and given is not rows.whole:
            keep, values = ~rows.any_of(~keep), None
        said = _said(operator, values)
        if outcome.texts is not given:
            if given is not rows.parts:
                raise OperatorFailed(
                    f"an operator of the stage {stage} changed a text; only those of {' and '.join(CHANGING)} may,"
                    " where rows have several texts"
                )
            left = _changed(traced, number, rows, positions, outcome.texts)
            rows = rows.changed(outcome.texts)
            if not left.all():
                keep = left if keep is None else keep & left
                said = _said_nothing(left, said)
        if keep is not None and not keep.all():
            dropped = np.flatnonzero(stays & ~keep)
            traced.dropper[positions[dropped]] = number
            for place, position in zip(dropped.tolist(), positions[dropped].tolist(), strict=True):
                traced.reasons[position] = said(place)
            stays = stays & keep
    traced.positions = positions[stays]
    of_parts = stays if sizes is None else np.repeat(stays, sizes[positions])
    traced.texts = list(itertools.compress(rows.parts.strings, of_parts.tolist()))
    return traced


def _outcome(operator: base.Operator, given: Texts, *, needs_words: bool) -> base.Outcome:
    if isinstance(operator, base.Filter) and not needs_words:
        return operator.decide(given)
    return operator(given)


def _said(operator: base.Operator, values: Values | None) -> Said:
    def said(place: int) -> tuple[float | None, str]:
        if values is None:
            return None, ""
        value = float(values[place])
        return value, operator.reason(value)

    return said


def _said_nothing(left: Flags, said: Said) -> Said:
    return lambda place: said(place) if left[place] else (None, NOTHING_LEFT)


def _changed(traced: Trace, number: int, rows: Rows, positions: Counts, after: Texts) -> Flags:
    """Note which rows an operator changed, and say which still have all of their texts."""
    pairs = list(zip(rows.parts.strings, after.strings, strict=True))
    differ = np.fromiter((old != new for old, new in pairs), np.bool_, len(pairs))
    left = np.ones(len(positions), np.bool_)
    if differ.any():
        traced.changed[number] = np.zeros(len(traced.dropper), np.bool_)
        traced.changed[number][positions[rows.any_of(differ)]] = True
        if rows.sizes is not None:
            emptied = [bool(old.strip()) and not new.strip() for old, new in pairs]
            left = ~rows.any_of(np.array(emptied, np.bool_))
    return left


def packed(traced: Trace, sizes: Counts | None) -> frames.Traced:
    """For a frame; of the texts, those that whoever asked does not have."""
    changed = itertools.compress(traced.texts, _of_changed_rows(traced, sizes).tolist())
    return frames.Traced(
        {number: frames.packed(flags) for number, flags in traced.changed.items()},
        frames.packed(traced.dropper),
        traced.reasons,
        traced.failures,
        {
            number: (frames.packed(places), frames.packed(prepared))
            for number, (places, prepared) in traced.reached.items()
        },
        frames.packed_strings(list(changed)),
        frames.packed(traced.positions),
    )


def unpacked(traced: frames.Traced, strings: Sequence[str], sizes: Counts | None) -> Trace:
    """Out of a frame.

    Args:
        traced: What `packed` gave.
        strings: The texts that were asked about.
        sizes: How many of them each row has; None for one each.
    """
    found = Trace(
        frames.unpacked(traced.dropper),
        frames.unpacked(traced.positions),
        [],
        {number: frames.unpacked(flags) for number, flags in traced.changed.items()},
        traced.reasons,
        traced.failures,
        {
            number: (frames.unpacked(places), frames.unpacked(prepared))
            for number, (places, prepared) in traced.reached.items()
        },
    )
    stays = np.zeros(len(found.dropper), np.bool_)
    stays[found.positions] = True
    of_texts = stays if sizes is None else np.repeat(stays, sizes)
    found.texts = list(itertools.compress(strings, of_texts.tolist()))
    changed = np.flatnonzero(_of_changed_rows(found, sizes)).tolist()
    for place, text in zip(changed, frames.unpacked_strings(traced.texts), strict=True):
        found.texts[place] = text
    return found


def _of_changed_rows(traced: Trace, sizes: Counts | None) -> Flags:
    """Which of the texts that are left are of a row that an operator changed."""
    of_rows = np.zeros(len(traced.positions), np.bool_)
    for flags in traced.changed.values():
        of_rows |= flags[traced.positions]
    return of_rows if sizes is None else np.repeat(of_rows, sizes[traced.positions])
