"""The operators that a recipe names, made ready to run: those of our own in this process, those of third parties in processes of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yangfan.errors import ConfigurationError
from yangfan.operators import base
from yangfan.operators.pipeline.isolated import isolated

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from yangfan.operators.pipeline.recipe import Recipe


def operators_of(
    recipe: Recipe,
    folder: Path | None,
    operators: Path | None,
    memory_bytes: int = base.MEMORY_BYTES,
) -> Iterator[tuple[str, str, base.Operator]]:
    """Each operator of a recipe with its name and its stage.

    Args:
        recipe: What to do.
        folder: Where operators that remember may keep files; each gets a folder of its own in there.
        operators: Folder of operators that are one file.
        memory_bytes: What an operator that remembers may keep in memory.

    Raises:
        UnknownExtension: No operator of that name.
        ConfigurationError: An operator in the wrong stage, an argument out of its range, a library that is missing.
    """
    for number, (stage, step) in enumerate(recipe.steps()):
        place = None if folder is None else folder / str(number)
        common = base.Common(recipe.language, place, memory_bytes)
        found = base.foreign(step.name, operators)
        if found is None:
            _check_stage(stage, step.name, base.load(step.name).STAGE)
            yield step.name, stage, base.create(step.name, step.args, common)
            continue
        operator = isolated(found, step, common, recipe.custom)
        try:
            _check_stage(stage, step.name, operator.stage)
        except ConfigurationError:
            operator.close()
            raise
        yield step.name, stage, operator


def _check_stage(stage: str, name: str, wanted: str) -> None:
    if stage != wanted:
        raise ConfigurationError(f"{name} stands under {stage}; its stage is {wanted}")
