"""The operators of a recipe over batches: what stays, what was dropped and why, and counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import msgspec
import numpy as np

from yangfan.errors import ConfigurationError
from yangfan.operators import base
from yangfan.operators._texts import Counts, Texts

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from yangfan.operators.pipeline.recipe import Recipe


class Tally(msgspec.Struct):
    """What one operator did so far."""

    name: str
    stage: str
    entity_match_count: int = 0
    """Texts that it changed or dropped."""
    remaining_count: int = 0
    drop_count: int = 0


@dataclass(frozen=True, slots=True)
class Drop:
    """A text that an operator dropped.

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
        texts: The texts that stay.
        positions: Their places in the batch.
        drops: The others, in the order of their places.
    """

    texts: list[str]
    positions: Counts
    drops: list[Drop]


class Chain:
    """A recipe's operators, in order.

    Args:
        recipe: What to do.
        folder: Where operators that remember may keep files.

    Raises:
        UnknownExtension: No operator of that name.
        ConfigurationError: An operator in the wrong stage, an argument out of its range, a library that is missing.
    """

    def __init__(self, recipe: Recipe, folder: Path | None = None) -> None:
        self._language = recipe.language
        self._operators: list[base.Operator] = []
        self.tallies: list[Tally] = []
        try:
            for number, (stage, step) in enumerate(recipe.steps()):
                _check_stage(stage, step.name)
                place = None if folder is None else folder / str(number)
                common = base.Common(recipe.language, place)
                self._operators.append(base.create(step.name, step.args, common))
                self.tallies.append(Tally(step.name, stage))
        except BaseException:
            self.close()
            raise

    def __call__(self, strings: list[str]) -> Cleaned:
        """Run every operator over a batch."""
        texts = Texts(strings, self._language)
        positions: Counts = np.arange(len(texts))
        drops: list[Drop] = []
        for operator, tally in zip(self._operators, self.tallies, strict=True):
            outcome = operator(texts)
            if outcome.texts is not texts:
                pairs = zip(texts.strings, outcome.texts.strings, strict=True)
                tally.entity_match_count += sum(before != after for before, after in pairs)
                texts = outcome.texts
            if outcome.keep is not None and not outcome.keep.all():
                dropped = np.flatnonzero(~outcome.keep)
                drops += _explained(operator, tally.name, positions[dropped], outcome, dropped)
                tally.drop_count += len(dropped)
                tally.entity_match_count += len(dropped)
                texts, positions = texts.kept(outcome.keep), positions[outcome.keep]
            tally.remaining_count += len(texts)
        drops.sort(key=lambda drop: drop.position)
        return Cleaned(texts.strings, positions, drops)

    def save(self) -> dict[str, Any]:
        """Everything durable, and a JSON value that says where the chain stands."""
        remembered = {
            str(number): cast("base.Remembering", operator).save()
            for number, operator in enumerate(self._operators)
            if hasattr(operator, "save")
        }
        return {"tallies": msgspec.to_builtins(self.tallies), "remembered": remembered}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go back to where `save` gave `state`."""
        self.tallies = msgspec.convert(state["tallies"], list[Tally])
        for number, remembered in state["remembered"].items():
            cast("base.Remembering", self._operators[int(number)]).restore(remembered)

    def close(self) -> None:
        """Let go of files."""
        for operator in self._operators:
            if hasattr(operator, "close"):
                cast("base.Remembering", operator).close()


def _check_stage(stage: str, name: str) -> None:
    wanted = base.load(name).STAGE
    if stage != wanted:
        raise ConfigurationError(f"{name} stands under {stage}; its stage is {wanted}")


def _explained(
    operator: base.Operator,
    name: str,
    positions: Counts,
    outcome: base.Outcome,
    dropped: Counts,
) -> list[Drop]:
    if outcome.values is None:
        return [Drop(position, name, None, "") for position in positions.tolist()]
    return [
        Drop(position, name, value, operator.reason(value))
        for position, value in zip(
            positions.tolist(), outcome.values[dropped].tolist(), strict=True
        )
    ]
