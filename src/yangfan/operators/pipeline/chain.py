"""The operators of a recipe over batches: what stays, what was dropped and why, and counts."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import msgspec
import numpy as np

from yangfan.operators import base
from yangfan.operators.pipeline.cluster import Cluster
from yangfan.operators.pipeline.hands import Hands
from yangfan.operators.pipeline.isolated import Isolated
from yangfan.operators.pipeline.rows import CHARACTERS
from yangfan.operators.pipeline.steps import operators_of
from yangfan.operators.pipeline.trace import Trace, remembers, trace

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from yangfan.operators._texts import Counts, Flags, Values
    from yangfan.operators.pipeline.recipe import Recipe
    from yangfan.operators.pipeline.rows import Batch

GROUP = 16
"""Batches that operators that remember decide about together: looking through all that they remember is quicker for many at once."""
GROUP_CHARACTERS = GROUP * 2 * CHARACTERS
"""A group with so many characters is full, however few batches it has."""
GROUP_SECONDS = 0.5
"""One that has been worked on for so long is full as well, so that nobody waits for slow operators."""

MAX_FAILURES = 20
"""Different failures of one operator that are told."""


class Tally(msgspec.Struct):
    """What one operator did so far."""

    name: str
    stage: str
    entity_match_count: int = 0
    """Texts that it changed or dropped."""
    remaining_count: int = 0
    drop_count: int = 0
    failed_count: int = 0
    """Texts that passed by it because it failed; only operators of third parties that may be skipped."""
    failures: list[str] = []
    """What went wrong there, each thing once."""


@dataclass(frozen=True, slots=True)
class Drop:
    """A row that an operator dropped.

    Attributes:
        position: Its place in the batch.
        operator: Which operator.
        value: What was measured; None where nothing is.
        reason: The same in words.
    """

    position: int
    operator: str
    value: float | None
    reason: str


@dataclass(frozen=True, slots=True)
class Cleaned:
    """A batch after all operators.

    Attributes:
        texts: The texts of the rows that stay, those of one row after another.
        positions: Places of these rows in the batch.
        drops: The others, in the order of their places.
        changes: Operators that changed texts, and which of the batch; some of these may have been dropped later.
    """

    texts: list[str]
    positions: Counts
    drops: list[Drop]
    changes: list[tuple[str, Flags]] = field(default_factory=list[tuple[str, "Flags"]])


class Chain:
    """A recipe's operators, in order.

    Args:
        recipe: What to do.
        folder: Where operators that remember may keep files.
        operators: Folder of operators that are one file.
        processes: How many processes run them; 1 for this one alone. The result is the same.
        memory_bytes: What an operator that remembers may keep in memory.
        cluster: Address of a Ray cluster that runs them instead of processes of this machine; "" for none. The result is the same.

    Raises:
        UnknownExtension: No operator of that name.
        ConfigurationError: An operator in the wrong stage, an argument out of its range, a library that is missing, no cluster.
    """

    def __init__(
        self,
        recipe: Recipe,
        folder: Path | None = None,
        *,
        operators: Path | None = None,
        processes: int = 1,
        memory_bytes: int = base.MEMORY_BYTES,
        cluster: str = "",
    ) -> None:
        self._language = recipe.language
        self._operators: list[base.Operator] = []
        self._hands: Hands | Cluster | None = None
        self._group = 1
        self.tallies: list[Tally] = []
        try:
            for name, stage, operator in operators_of(recipe, folder, operators, memory_bytes):
                self._operators.append(operator)
                self.tallies.append(Tally(name, stage))
                if remembers(operator):
                    self._group = GROUP
            if cluster:
                self._let_go_of_what_others_run()
                self._hands = Cluster(recipe, operators, cluster)
            elif processes > 1:
                self._let_go_of_what_others_run()
                self._hands = Hands(recipe, operators, processes)
        except BaseException:
            self.close()
            raise

    def __call__(self, strings: list[str], sizes: Sequence[int] | None = None) -> Cleaned:
        """Run every operator over a batch, in this process.

        Args:
            strings: The texts of the rows, those of one row after another.
            sizes: How many texts each row has; None for one each.
        """
        of_rows = None if sizes is None else np.array(sizes, np.int64)
        return self._decided([(self._traced(strings, of_rows), of_rows)])[0]

    def over(self, batches: Iterable[Batch]) -> Iterator[list[tuple[Batch, Cleaned]]]:
        """Run every operator over batches, in order; a few come out at a time. What `save` gives covers those that came out."""
        group: list[tuple[Batch, Trace, Counts | None]] = []
        begun, characters = time.monotonic(), 0
        for batch, traced in self._over(batches):
            sizes = None if batch.sizes is None else np.array(batch.sizes, np.int64)
            group.append((batch, traced, sizes))
            characters += batch.characters
            late = time.monotonic() - begun >= GROUP_SECONDS
            if len(group) >= self._group or characters >= GROUP_CHARACTERS or late:
                yield self._decided_of(group)
                group, begun, characters = [], time.monotonic(), 0
        if group:
            yield self._decided_of(group)

    def _over(self, batches: Iterable[Batch]) -> Iterator[tuple[Batch, Trace]]:
        if self._hands is not None:
            yield from self._hands.over(batches, self._group)
            return
        for batch in batches:
            sizes = None if batch.sizes is None else np.array(batch.sizes, np.int64)
            yield batch, self._traced(batch.texts, sizes)

    def _traced(self, strings: list[str], sizes: Counts | None) -> Trace:
        stages = [tally.stage for tally in self.tallies]
        steps = list(zip(stages, self._operators, strict=True))
        return trace(steps, strings, self._language, sizes)

    def _decided_of(
        self, group: list[tuple[Batch, Trace, Counts | None]]
    ) -> list[tuple[Batch, Cleaned]]:
        decided = self._decided([(traced, sizes) for _, traced, sizes in group])
        return [(batch, cleaned) for (batch, _, _), cleaned in zip(group, decided, strict=True)]

    def save(self) -> dict[str, Any]:
        """Everything durable, and a JSON value that says where the chain stands."""
        remembered = {
            str(number): cast("base.Remembering", operator).save()
            for number, operator in enumerate(self._operators)
            if remembers(operator)
        }
        return {"tallies": msgspec.to_builtins(self.tallies), "remembered": remembered}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go back to where `save` gave `state`."""
        self.tallies = msgspec.convert(state["tallies"], list[Tally])
        for number, remembered in state["remembered"].items():
            cast("base.Remembering", self._operators[int(number)]).restore(remembered)

    def close(self) -> None:
        """Let go of files and processes."""
        if self._hands is not None:
            self._hands.close()
            self._hands = None
        for operator in self._operators:
            if hasattr(operator, "close"):
                cast("base.Remembering", operator).close()

    def _let_go_of_what_others_run(self) -> None:
        """Here they were created to see that they can be."""
        for operator in self._operators:
            if isinstance(operator, Isolated) and not remembers(operator):
                operator.close()

    def _decided(self, group: list[tuple[Trace, Counts | None]]) -> list[Cleaned]:
        """What of each batch counts, once those that remember have decided about all of them."""
        batches = [_Undecided(traced, sizes) for traced, sizes in group]
        for number, (operator, tally) in enumerate(zip(self._operators, self.tallies, strict=True)):
            self._remember(number, operator, batches)
            for batch in batches:
                batch.count(number, tally)
        changing = [tally.name for tally in self.tallies]
        return [batch.decided(changing) for batch in batches]

    def _remember(self, number: int, operator: base.Operator, batches: list[_Undecided]) -> None:
        """Let an operator that remembers decide about all rows that came to it; one of third parties batch by batch."""
        came = [batch for batch in batches if number in batch.traced.reached]
        at_once = 1 if isinstance(operator, Isolated) else GROUP
        for start in range(0, len(came), at_once):
            some = came[start : start + at_once]
            reached = [batch.reached(number) for batch in some]
            keep, values = cast("base.Remembering", operator).decide(
                np.concatenate([prepared for _, prepared in reached])
            )
            begin = 0
            for batch, (places, _) in zip(some, reached, strict=True):
                end = begin + len(places)
                batch.drop(number, operator, places, keep[begin:end], values[begin:end])
                begin = end


class _Undecided:
    """A batch on its way through the operators that remember.

    Attributes:
        traced: What the others did to it.
    """

    def __init__(self, traced: Trace, sizes: Counts | None) -> None:
        self.traced, self._sizes = traced, sizes
        self._dropper = traced.dropper.copy()
        self._alive: Flags = np.ones(len(traced.dropper), np.bool_)
        self._drops: list[tuple[int, int, float | None, str]] = []

    def reached(self, number: int) -> tuple[Counts, NDArray[np.uint64]]:
        """The rows that came to an operator that remembers, and what it prepared of them."""
        places, prepared = self.traced.reached[number]
        here = self._alive[places]
        return places[here], prepared[here]

    def drop(
        self, number: int, operator: base.Operator, places: Counts, keep: Flags, values: Values
    ) -> None:
        """It has decided."""
        gone = places[~keep]
        self._drops += [
            (position, number, value, operator.reason(value))
            for position, value in zip(gone.tolist(), values[~keep].tolist(), strict=True)
        ]
        self._dropper[gone] = number

    def count(self, number: int, tally: Tally) -> None:
        """What an operator did to the rows that are left."""
        traced, alive = self.traced, self._alive
        changed = traced.changed.get(number)
        if changed is not None:
            tally.entity_match_count += int((changed & alive).sum())
        if number in traced.failures:
            _count_failure(tally, int(alive.sum()), traced.failures[number])
        dropped = np.flatnonzero((self._dropper == number) & alive)
        if number not in traced.reached:
            self._drops += [
                (position, number, *traced.reasons[position]) for position in dropped.tolist()
            ]
        alive[dropped] = False
        tally.drop_count += len(dropped)
        tally.entity_match_count += len(dropped)
        tally.remaining_count += int(alive.sum())

    def decided(self, names: list[str]) -> Cleaned:
        """What is left of it.

        Args:
            names: Of the operators.
        """
        traced = self.traced
        drops = [
            Drop(position, names[number], value, reason)
            for position, number, value, reason in sorted(self._drops)
        ]
        stays = self._alive[traced.positions]
        texts = traced.texts
        if not stays.all():
            of_texts = (
                stays if self._sizes is None else np.repeat(stays, self._sizes[traced.positions])
            )
            texts = list(itertools.compress(texts, of_texts.tolist()))
        changes = [(names[number], flags) for number, flags in traced.changed.items()]
        return Cleaned(texts, traced.positions[stays], drops, changes)


def _count_failure(tally: Tally, texts: int, why: str) -> None:
    tally.failed_count += texts
    if why not in tally.failures and len(tally.failures) < MAX_FAILURES:
        tally.failures = [*tally.failures, why]
