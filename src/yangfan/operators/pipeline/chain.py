"""The operators of a recipe over batches: what stays, what was dropped and why, and counts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import msgspec
import numpy as np

from yangfan.operators import base
from yangfan.operators.pipeline.cluster import Cluster
from yangfan.operators.pipeline.hands import Hands
from yangfan.operators.pipeline.isolated import Isolated
from yangfan.operators.pipeline.steps import operators_of
from yangfan.operators.pipeline.trace import Trace, remembers, trace

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from yangfan.operators._texts import Counts, Flags
    from yangfan.operators.pipeline.recipe import Recipe
    from yangfan.operators.pipeline.rows import Batch

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
        self.tallies: list[Tally] = []
        try:
            for name, stage, operator in operators_of(recipe, folder, operators, memory_bytes):
                self._operators.append(operator)
                self.tallies.append(Tally(name, stage))
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
        stages = [tally.stage for tally in self.tallies]
        steps = list(zip(stages, self._operators, strict=True))
        return self._decided(trace(steps, strings, self._language, of_rows), of_rows)

    def over(self, batches: Iterable[Batch]) -> Iterator[tuple[Batch, Cleaned]]:
        """Run every operator over batches, in order. What `save` gives covers the batches that came out."""
        if self._hands is None:
            for batch in batches:
                yield batch, self(batch.texts, batch.sizes)
            return
        for batch, traced in self._hands.over(batches):
            sizes = None if batch.sizes is None else np.array(batch.sizes, np.int64)
            yield batch, self._decided(traced, sizes)

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

    def _decided(self, traced: Trace, sizes: Counts | None) -> Cleaned:
        """What of a batch counts, once those that remember have decided about it."""
        size = len(traced.dropper)
        alive: Flags = np.ones(size, np.bool_)
        drops: list[Drop] = []
        for number, (operator, tally) in enumerate(zip(self._operators, self.tallies, strict=True)):
            if number in traced.reached:
                dropped = self._remembered(number, operator, traced, alive, drops)
            else:
                changed = traced.changed.get(number)
                if changed is not None:
                    tally.entity_match_count += int((changed & alive).sum())
                if number in traced.failures:
                    _count_failure(tally, int(alive.sum()), traced.failures[number])
                dropped = np.flatnonzero((traced.dropper == number) & alive)
                drops += [
                    Drop(position, tally.name, *traced.reasons[position])
                    for position in dropped.tolist()
                ]
            alive[dropped] = False
            tally.drop_count += len(dropped)
            tally.entity_match_count += len(dropped)
            tally.remaining_count += int(alive.sum())
        drops.sort(key=lambda drop: drop.position)
        stays = alive[traced.positions]
        texts = traced.texts
        if not stays.all():
            of_texts = stays if sizes is None else np.repeat(stays, sizes[traced.positions])
            texts = [text for text, kept in zip(texts, of_texts.tolist(), strict=True) if kept]
        changes = [(self.tallies[number].name, flags) for number, flags in traced.changed.items()]
        return Cleaned(texts, traced.positions[stays], drops, changes)

    def _remembered(
        self,
        number: int,
        operator: base.Operator,
        traced: Trace,
        alive: Flags,
        drops: list[Drop],
    ) -> Counts:
        places, prepared = traced.reached[number]
        here = alive[places]
        places, prepared = places[here], prepared[here]
        keep, values = cast("base.Remembering", operator).decide(prepared)
        dropped = places[~keep]
        name = self.tallies[number].name
        drops += [
            Drop(position, name, value, operator.reason(value))
            for position, value in zip(dropped.tolist(), values[~keep].tolist(), strict=True)
        ]
        return dropped


def _count_failure(tally: Tally, texts: int, why: str) -> None:
    tally.failed_count += texts
    if why not in tally.failures and len(tally.failures) < MAX_FAILURES:
        tally.failures = [*tally.failures, why]
